//! The members of the account, their roles, the open invitations, and what each role may do.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Pick, Submit};
use crate::ui::icon::{Glyph, Icon};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::{InvitationId, UserId};
use domain::member::{Permission, Role};
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account::User;
use server::error::Result;
use server::member::{self, Invitation, Member, list_invitations, list_members};
use server::{Server, session, subscription};

#[component]
pub fn TeamPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Team, "Team", async move {
        let (server, user) = signed_in()?;
        let members = list_members(&server, &user.account_id).await?;
        let invitations = list_invitations(&server, &user.account_id).await?;
        let seats = seats_line(&server, &user, members.len()).await?;
        let manages = user.role.may(Permission::ManageMembers);
        let now = server.clock.now();
        Ok(view! {
            <div class="grid grid-cols-1 gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Team"</h1>
                    <p class="lede">{seats}</p>
                </div>
                {refused.notice(&["email"])}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {if manages {
                    invite_form(&user, &refused).into_any()
                } else {
                    may_not_invite(&user).into_any()
                }}
                {(!invitations.is_empty()).then(|| open_invitations(invitations, &user, now))}
                <section class="grid grid-cols-1 gap-4" aria-labelledby="members">
                    <h2 class="text-20 font-semibold" id="members">
                        "Members"
                    </h2>
                    <ul class="card divide-y divide-line p-0">
                        {members.iter().map(|member| member_row(member, &user)).collect_view()}
                    </ul>
                </section>
                {matrix()}
                {leave(&user)}
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "invited" => Some("The invitation is on its way."),
        "resent" => Some("A new link is on its way. The one before does nothing any more."),
        "revoked" => Some("The invitation is taken back. Its link does nothing any more."),
        "role" => Some("The role is changed, from now on."),
        "removed" => Some("The member is out, and their API keys of this account have ended."),
        "transferred" => Some("The account has a new owner. You are an admin of it now."),
        _ => None,
    }
}

/// How many people there are, and what one more means for the bill.
async fn seats_line(server: &Server, user: &User, members: usize) -> Result<String> {
    let plan = subscription::load_current(server, &user.account_id).await?;
    let per_seat = server.catalogue.load().plan(&plan.plan).is_some_and(|plan| plan.per_seat);
    let people = if members == 1 { "1 member".to_owned() } else { format!("{members} members") };
    let name = &user.account_name;
    Ok(match (per_seat, plan.status) {
        (true, Some(_)) => {
            let seats = if plan.seats == 1 { "1 seat".to_owned() } else { format!("{} seats", plan.seats) };
            format!("{people} of {name}, {seats} paid. Each member is a seat; one more is prorated to the day.")
        }
        (true, None) | (false, _) => format!("{people} of {name}. Your plan has no price for each member."),
    })
}

/// The roles that this user may give.
fn roles_to_give(user: &User) -> impl Iterator<Item = Role> + use<> {
    let giver = user.role;
    Role::ALL.iter().copied().filter(move |role| giver.may_give(*role))
}

fn options(user: &User, chosen: Role) -> Vec<(String, String, bool)> {
    roles_to_give(user).map(|role| (role.to_string(), role.label().to_owned(), role == chosen)).collect()
}

fn invite_form(user: &User, refused: &Refused) -> impl IntoView + use<> {
    let chosen = refused.typed("role").and_then(|role| role.parse().ok()).unwrap_or(Role::Developer);
    let roles = roles_to_give(user)
        .map(|role| (role.to_string(), format!("{}: {}", role.label(), role.summary()), role == chosen))
        .collect();
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="invite">
            <h2 class="section-title" id="invite">
                "Invite somebody"
            </h2>
            <form class="grid grid-cols-1 items-start gap-4 sm:grid-cols-[minmax(0,1fr)_minmax(0,1fr)_auto]" method="post" action="/team">
                <ForAccount />
                <input type="hidden" name="do" value="invite" />
                <Field
                    label="E-mail"
                    name="email"
                    kind="email"
                    value=refused.of("invite").typed("email")
                    problem=refused.problem("email")
                />
                <Pick label="Role" name="role" options=roles />
                <div class="sm:pt-7">
                    <Submit label="Send the invitation" />
                </div>
            </form>
            <p class="text-13 text-ink-muted">"They get a link by mail. It works once, for 7 days, and only for that address."</p>
        </section>
    }
}

fn may_not_invite(user: &User) -> impl IntoView + use<> {
    let sentence = user.require(Permission::ManageMembers).err().map(|denial| denial.sentence());
    sentence.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })
}

fn open_invitations(invitations: Vec<Invitation>, user: &User, now: Timestamp) -> impl IntoView + use<> {
    let rows = invitations.into_iter().map(|invitation| invitation_row(invitation, user, now)).collect_view();
    view! {
        <section class="grid grid-cols-1 gap-4" aria-labelledby="invitations">
            <h2 class="text-20 font-semibold" id="invitations">
                "Open invitations"
            </h2>
            <ul class="card divide-y divide-line p-0">{rows}</ul>
        </section>
    }
}

fn invitation_row(invitation: Invitation, user: &User, now: Timestamp) -> impl IntoView + use<> {
    let Invitation { invitation_id, email, role, expires_at, .. } = invitation;
    let is_expired = expires_at <= now;
    let zone = user.time_zone.clone();
    let button = |what: &'static str, label: &'static str| {
        let name = format!("{label} the invitation of {email}");
        view! {
            <form method="post" action="/team">
                <ForAccount />
                <input type="hidden" name="do" value=what />
                <input type="hidden" name="invitation_id" value=invitation_id.to_string() />
                <button class="button" aria-label=name>
                    {label}
                </button>
            </form>
        }
        .into_any()
    };
    let buttons = user.role.may(Permission::ManageMembers).then(|| {
        view! {
            <div class="flex gap-2">{button("resend", "Send again")} {button("revoke", "Revoke")}</div>
        }
    });
    view! {
        <li class="person-row">
            <div class="min-w-0">
                <p class="clip font-medium" title=email.clone()>
                    {email.clone()}
                </p>
                <p class="text-13 text-ink-muted">
                    {role.label()} " · "
                    {if is_expired {
                        view! { <span class="state state-caution">"Expired"</span> }.into_any()
                    } else {
                        view! {
                            <span class="state state-live">"Invited"</span>
                            ", until "
                            <When at=expires_at zone=zone />
                        }
                            .into_any()
                    }}
                </p>
            </div>
            {buttons}
        </li>
    }
}

/// One member. Whoever may, changes the role in place; what cannot be undone by a click is behind "More".
fn member_row(member: &Member, user: &User) -> AnyView {
    let Member { user_id, email, role, created_at } = member.clone();
    let is_self = user_id == user.user_id;
    let may_change = user.role.may(Permission::ManageMembers) && user.role.may_give(role);
    let zone = user.time_zone.clone();
    view! {
        <li class="person-row">
            <div class="min-w-0">
                <p class="clip font-medium" title=email.clone()>
                    {email.clone()}
                    {is_self.then_some(" (you)")}
                </p>
                <p class="text-13 text-ink-muted">"Since " <When at=created_at zone=zone /></p>
            </div>
            {if may_change {
                view! {
                    <div class="flex flex-wrap items-center gap-2">
                        {role_form(&user_id, &email, role, user)}
                        {(!is_self).then(|| more(&user_id, &email, role, user))}
                    </div>
                }
                    .into_any()
            } else {
                view! { <p class="text-ink-muted">{role.label()}</p> }.into_any()
            }}
        </li>
    }
    .into_any()
}

fn role_form(user_id: &UserId, email: &str, role: Role, user: &User) -> AnyView {
    let options = options(user, role)
        .into_iter()
        .map(|(value, label, selected)| view! { <option value=value selected=selected>{label}</option> })
        .collect_view();
    view! {
        <form class="flex gap-2" method="post" action="/team">
            <ForAccount />
            <input type="hidden" name="do" value="role" />
            <input type="hidden" name="user_id" value=user_id.to_string() />
            <select class="input input-small" name="role" aria-label=format!("Role of {email}")>
                {options}
            </select>
            <button class="button" aria-label=format!("Save the role of {email}")>
                "Save"
            </button>
        </form>
    }
    .into_any()
}

fn more(user_id: &UserId, email: &str, role: Role, user: &User) -> AnyView {
    let id = user_id.to_string();
    let may_hand_over = user.role.may(Permission::ManageAccount) && role != Role::Owner;
    let hand_over = may_hand_over.then(|| {
        let id = id.clone();
        view! {
            <form class="grid gap-2 p-2.5" method="post" action="/team">
                <ForAccount />
                <input type="hidden" name="do" value="transfer" />
                <input type="hidden" name="user_id" value=id />
                <p class="text-13">"They become the owner, and you an admin. Only they can undo it."</p>
                <button class="button">"Hand the account over"</button>
            </form>
        }
    });
    view! {
        <details class="menu" name="member-menu">
            <summary class="button" aria-label=format!("More about {email}")>
                "More"
            </summary>
            <div class="menu-panel w-72 divide-y divide-line">
                {hand_over} <form class="grid gap-2 p-2.5" method="post" action="/team">
                    <ForAccount />
                    <input type="hidden" name="do" value="remove" />
                    <input type="hidden" name="user_id" value=id />
                    <p class="text-13">
                        "They lose this account at once, and API keys they made for it stop working. What they ran stays in "
                        "your usage."
                    </p>
                    <button class="button button-danger">"Remove from the team"</button>
                </form>
            </div>
        </details>
    }
    .into_any()
}

/// What each role may do, from the rules themselves.
fn matrix() -> impl IntoView {
    let cell = |role: Role, permission: Permission| {
        if role.may(permission) {
            view! {
                <td>
                    <span class="sr-only">"yes"</span>
                    <Icon glyph=Glyph::Check />
                </td>
            }
            .into_any()
        } else {
            view! {
                <td class="text-ink-muted">
                    <span class="sr-only">"no"</span>
                    <span aria-hidden="true">"–"</span>
                </td>
            }
            .into_any()
        }
    };
    let rows = Permission::ALL
        .iter()
        .map(|&permission| {
            let cells = Role::ALL.iter().map(|&role| cell(role, permission)).collect_view();
            view! {
                <tr>
                    <th scope="row">{sentence_case(permission.what())}</th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    let heads = Role::ALL.iter().map(|role| view! { <th scope="col">{role.label()}</th> }).collect_view();
    view! {
        <details>
            <summary class="font-medium">"What each role may do"</summary>
            <div class="pt-4">
                <Table caption="What each role may do">
                    <thead>
                        <tr>
                            <th scope="col">"May"</th>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </Table>
            </div>
        </details>
    }
}

fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn leave(user: &User) -> impl IntoView + use<> {
    let name = user.account_name.clone();
    view! {
        <details>
            <summary class="font-medium">"Leave this account"</summary>
            <form class="grid max-w-prose justify-items-start gap-3 pt-4" method="post" action="/team">
                <ForAccount />
                <input type="hidden" name="do" value="leave" />
                <p>
                    "You lose " <strong class="font-medium">{name}</strong>
                    " at once, and API keys you made for it stop working. You come back only by a new invitation. Your sign-in "
                    "stays."
                </p>
                <button class="button button-danger">"Leave the account"</button>
            </form>
        </details>
    }
}

/// `POST /team`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let role = || -> Result<Role> {
        let unknown = |_| Denial::invalid("role", "Not a role", "Choose one from the list.");
        Ok(post.text("role").parse().map_err(unknown)?)
    };
    let member = UserId::new(post.text("user_id"));
    let invitation = InvitationId::new(post.text("invitation_id"));
    let done = match post.text("do") {
        "invite" => member::invite(server, user, post.text("email"), role()?).await.map(|_| "invited"),
        "resend" => member::resend(server, user, &invitation).await.map(|()| "resent"),
        "revoke" => member::revoke(server, user, &invitation).await.map(|()| "revoked"),
        "role" => member::change_role(server, user, &member, role()?).await.map(|()| "role"),
        "transfer" => member::transfer(server, user, &member).await.map(|()| "transferred"),
        "remove" => member::remove(server, user, &member).await.map(|()| "removed"),
        "leave" => {
            member::leave(server, user).await?;
            session::rotate(&post.session).await?;
            return Ok("/overview".to_owned());
        }
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }?;
    Ok(format!("/team?done={done}"))
}
