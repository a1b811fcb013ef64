//! The account's name and zone, one's own sign-in and sessions, the accounts one belongs to, and the way out.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Pick, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::{When, zones};
use crate::visitor::{self, signed_in};
use axum::response::Response;
use domain::denial::Denial;
use domain::member::Permission;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::account::{self, SecondFactor, User, load_second_factor};
use server::error::Result;
use server::member::{self, Membership, list_accounts};
use server::session::{self, SignedIn};

#[component]
pub fn SettingsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Settings, "Settings", async move {
        let (server, user) = signed_in()?;
        let browser = visitor::current()?.session;
        let sessions = session::list(&server, &browser, &user.user_id).await?;
        let second_factor = load_second_factor(&server, &user.user_id).await?;
        let accounts = list_accounts(&server, &user.user_id).await?;
        let fields = ["account_name", "time_zone", "current_password", "password", "email"];
        Ok(view! {
            <div class="grid grid-cols-1 gap-8">
                <h1 class="page-title">"Settings"</h1>
                {refused.notice(&fields)}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {account_part(&user, &refused.of("account"))}
                {email_part(&user, &refused.of("email"))}
                {password_part(&refused.of("password"))}
                {second_factor_part(&second_factor)}
                {alerts_part()}
                {sessions_part(sessions, &user.time_zone)}
                {accounts_part(accounts, &user, &refused.of("open"))}
                {delete_part(&user)}
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "account" => Some("The account is changed."),
        "email" => Some("We sent a link to the new address. Until you open it, the old one stays."),
        "password" => Some("Your password is changed, and every other session was ended."),
        "end" => Some("That browser is signed out."),
        "end-others" => Some("Every other browser is signed out."),
        "open" => Some("Your new account is open. You look at it now."),
        _ => None,
    }
}

/// A part of the page: what it is about on the left, its controls on the right.
fn part(id: &'static str, title: &'static str, text: AnyView, controls: AnyView) -> AnyView {
    view! {
        <section class="setting" aria-labelledby=id>
            <div class="grid content-start gap-1">
                <h2 class="section-title" id=id>
                    {title}
                </h2>
                <p class="text-13 text-ink-muted">{text}</p>
            </div>
            <div class="grid grid-cols-1 content-start gap-4">{controls}</div>
        </section>
    }
    .into_any()
}

fn account_part(user: &User, refused: &Refused) -> AnyView {
    let text = "Its name stands on receipts, and its time zone is that of every date you see.".into_any();
    if let Err(denial) = user.require(Permission::ManageAccount) {
        let facts = view! {
            <dl class="pair-list">
                <dt>"Name"</dt>
                <dd class="min-w-0">
                    <span class="clip" title=user.account_name.clone()>
                        {user.account_name.clone()}
                    </span>
                </dd>
                <dt>"Time zone"</dt>
                <dd>{user.time_zone.clone()}</dd>
                <dt>"Your role"</dt>
                <dd>{user.role.label()}</dd>
            </dl>
            <p class="text-13 text-ink-muted">{denial.sentence()}</p>
        };
        return part("account", "This account", text, facts.into_any());
    }
    let chosen = refused.typed("time_zone").unwrap_or_else(|| user.time_zone.clone());
    let options = zones(&chosen).into_iter().map(|zone| (zone.clone(), zone.clone(), zone == chosen)).collect();
    let form = view! {
        <form class="grid max-w-md grid-cols-1 gap-4" method="post" action="/settings">
            <ForAccount />
            <input type="hidden" name="do" value="account" />
            <Field
                label="Name of the account"
                name="account_name"
                value=Some(refused.typed("account_name").unwrap_or_else(|| user.account_name.clone()))
                problem=refused.problem("account_name")
                autocomplete="organization"
            />
            <Pick label="Time zone" name="time_zone" options=options />
            <div>
                <Submit label="Save the account" />
            </div>
        </form>
    };
    part("account", "This account", text, form.into_any())
}

fn email_part(user: &User, refused: &Refused) -> AnyView {
    let email = user.email.clone();
    let text = view! { "You sign in as " <strong class="font-medium">{email}</strong> "." }.into_any();
    let is_open = refused.denial().is_some();
    let form = view! {
        <details open=is_open>
            <summary class="font-medium">"Change your e-mail"</summary>
            <form class="grid max-w-md grid-cols-1 gap-4 pt-4" method="post" action="/settings">
                <input type="hidden" name="do" value="email" />
                <Field
                    label="New e-mail"
                    name="email"
                    kind="email"
                    value=refused.typed("email")
                    problem=refused.problem("email")
                    hint="It counts when you have opened the link that we send there."
                    autocomplete="email"
                />
                <Field
                    label="Your password"
                    id="email-password"
                    name="current_password"
                    kind="password"
                    problem=refused.problem("current_password")
                    autocomplete="current-password"
                />
                <div>
                    <Submit label="Send the link" />
                </div>
            </form>
        </details>
    };
    part("email-part", "Your e-mail", text, form.into_any())
}

fn password_part(refused: &Refused) -> AnyView {
    let text = "Changing it signs you out everywhere else.".into_any();
    let is_open = refused.denial().is_some();
    let form = view! {
        <details open=is_open>
            <summary class="font-medium">"Change your password"</summary>
            <form class="grid max-w-md grid-cols-1 gap-4 pt-4" method="post" action="/settings">
                <input type="hidden" name="do" value="password" />
                <Field
                    label="Present password"
                    id="present-password"
                    name="current_password"
                    kind="password"
                    problem=refused.problem("current_password")
                    autocomplete="current-password"
                />
                <Field
                    label="New password"
                    name="password"
                    kind="password"
                    hint="At least 12 characters. A few words are easy to keep in mind."
                    problem=refused.problem("password")
                    autocomplete="new-password"
                    min_length=12
                />
                <div>
                    <Submit label="Change the password" />
                </div>
            </form>
        </details>
    };
    part("password-part", "Your password", text, form.into_any())
}

fn second_factor_part(second_factor: &SecondFactor) -> AnyView {
    let text = "A code of an app on your phone, beside your password.".into_any();
    let (state, label) = match second_factor {
        SecondFactor::On { .. } => (view! { <span class="state state-positive">"On"</span> }.into_any(), "Change it"),
        SecondFactor::Waiting { .. } => {
            (view! { <span class="state state-caution">"Begun"</span> }.into_any(), "Go on")
        }
        SecondFactor::Off => (view! { <span class="state">"Off"</span> }.into_any(), "Set it up"),
    };
    let control = view! {
        <p class="flex items-center gap-4">
            {state} <a class="button" href="/settings/second-factor" aria-label=format!("{label}: second factor")>
                {label}
            </a>
        </p>
    };
    part("second-factor", "Your second factor", text, control.into_any())
}

fn alerts_part() -> AnyView {
    let text = "Budgets, what you are told, and where programs are told.".into_any();
    let links = view! {
        <p class="flex flex-wrap gap-3">
            <a class="button" href="/alerts/settings">
                "Budgets and preferences"
            </a>
            <a class="button" href="/settings/webhooks">
                "Webhooks"
            </a>
        </p>
    };
    part("alerts", "Alerts and webhooks", text, links.into_any())
}

fn sessions_part(sessions: Vec<SignedIn>, zone: &str) -> AnyView {
    let text = "Where you are signed in. End what you do not know, then change your password.".into_any();
    let has_others = sessions.iter().any(|session| !session.is_current);
    let rows = sessions.into_iter().map(|session| session_row(session, zone.to_owned())).collect_view();
    let list = view! {
        <ul class="card divide-y divide-line p-0">{rows}</ul>
        {has_others
            .then(|| {
                view! {
                    <form method="post" action="/settings">
                        <input type="hidden" name="do" value="end-others" />
                        <button class="button">"Sign out everywhere else"</button>
                    </form>
                }
            })}
    };
    part("sessions", "Your sessions", text, list.into_any())
}

fn session_row(session: SignedIn, zone: String) -> impl IntoView {
    let SignedIn { session_id, browser, started_at, seen_at, is_current } = session;
    let name = format!("Sign out {browser}");
    view! {
        <li class="person-row">
            <div class="min-w-0">
                <p class="font-medium">{browser}</p>
                <p class="text-13 text-ink-muted">
                    "Since " <When at=started_at zone=zone.clone() />
                    {if is_current {
                        view! { ", this browser" }.into_any()
                    } else {
                        view! { ", last seen " <When at=seen_at zone=zone /> }.into_any()
                    }}
                </p>
            </div>
            {(!is_current)
                .then(|| {
                    view! {
                        <form method="post" action="/settings">
                            <input type="hidden" name="do" value="end" />
                            <input type="hidden" name="session_id" value=session_id />
                            <button class="button" aria-label=name>
                                "Sign out"
                            </button>
                        </form>
                    }
                })}
        </li>
    }
}

fn accounts_part(accounts: Vec<Membership>, user: &User, refused: &Refused) -> AnyView {
    let text = "Each has its own credit, plan and members. The one you look at is chosen at the top right.".into_any();
    let rows = accounts.into_iter().map(|account| account_row(account, user)).collect_view();
    let is_open = refused.denial().is_some();
    let list = view! {
        <ul class="card divide-y divide-line p-0">{rows}</ul>
        <details open=is_open>
            <summary class="font-medium">"Open another account"</summary>
            <form class="grid max-w-md grid-cols-1 gap-4 pt-4" method="post" action="/settings">
                <input type="hidden" name="do" value="open" />
                <Field
                    label="Name of the new account"
                    id="new-account"
                    name="account_name"
                    value=refused.typed("account_name")
                    problem=refused.problem("account_name")
                    hint="It starts on the free plan with nothing in it, and you own it."
                />
                <div>
                    <Submit label="Open the account" />
                </div>
            </form>
        </details>
    };
    part("accounts", "Your accounts", text, list.into_any())
}

fn account_row(account: Membership, user: &User) -> impl IntoView + use<> {
    let is_current = account.account_id == user.account_id;
    let name = account.account_name.clone();
    view! {
        <li class="person-row">
            <div class="min-w-0">
                <p class="clip font-medium" title=name.clone()>
                    {name.clone()}
                </p>
                <p class="text-13 text-ink-muted">{account.role.label()}</p>
            </div>
            {if is_current {
                view! { <p class="text-13 text-ink-muted">"You look at it now"</p> }.into_any()
            } else {
                view! {
                    <form method="post" action="/accounts/switch">
                        <input type="hidden" name="next" value="/overview" />
                        <input type="hidden" name="account_id" value=account.account_id.to_string() />
                        <button class="button" aria-label=format!("Open {name}")>
                            "Open"
                        </button>
                    </form>
                }
                    .into_any()
            }}
        </li>
    }
}

fn delete_part(user: &User) -> AnyView {
    let may_delete = user.role.may(Permission::ManageAccount);
    let text = "What is deleted, and what the law keeps, is shown before anything happens.".into_any();
    let links = view! {
        <p class="flex flex-wrap gap-3">
            {may_delete.then(|| view! { <a class="button" href="/settings/delete">"Delete this account"</a> })}
            <a class="button" href="/settings/delete-user">
                "Delete your sign-in"
            </a>
        </p>
    };
    part("delete", "Delete", text, links.into_any())
}

/// `POST /settings`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await.map(|done| format!("/settings?done={done}"));
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<&'static str> {
    let (server, user) = (&post.server, post.user()?);
    let current = SecretString::from(post.text("current_password"));
    match post.text("do") {
        "account" => {
            account::change_account(server, user, post.text("account_name"), post.text("time_zone")).await?;
            Ok("account")
        }
        "email" => {
            account::request_email_change(server, user, post.text("email"), &current, post.ip()?).await?;
            Ok("email")
        }
        "password" => {
            let new = SecretString::from(post.text("password"));
            account::change_password(server, user, (&current, &new), post.ip()?).await?;
            crate::page::sign_in::start(post, user).await?;
            Ok("password")
        }
        "end" => session::end_one(server, &user.user_id, post.text("session_id")).await.map(|()| "end"),
        "end-others" => session::end_others(server, &post.session, &user.user_id).await.map(|()| "end-others"),
        "open" => {
            let account_id = member::open_another(server, user, post.text("account_name")).await?;
            session::choose_account(&post.session, &account_id).await?;
            Ok("open")
        }
        other => Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
}
