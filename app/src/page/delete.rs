//! Deleting an account or one's own sign-in: what goes, what stays and why, what stands in the way, and the last step.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::Field;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::visitor::signed_in;
use axum::response::Response;
use domain::member::Permission;
use leptos::prelude::*;
use secrecy::SecretString;
use server::account::{self, Confirmation, Deletion, Leftover, User, load_deletion, load_user};
use server::error::Result;
use server::session;

/// `GET /settings/delete`.
#[component]
pub fn DeleteAccountPage() -> impl IntoView {
    let refused = Refused::current();
    console(Section::Settings, "Delete this account", async move {
        let (server, user) = signed_in()?;
        user.require(Permission::ManageAccount)?;
        let deletion = load_deletion(&server, &user.account_id).await?;
        let may_go_on = deletion.obstacles.is_empty();
        Ok(view! {
            <div class="grid max-w-2xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/settings">"Settings"</a>
                    </p>
                    <h1 class="page-title">"Delete " {user.account_name.clone()}</h1>
                    <p class="lede">"This cannot be undone."</p>
                </div>
                {refused.notice(&["account_name", "current_password"])}
                {what_goes(&deletion)}
                {what_stays()}
                {obstacles(&deletion)}
                {may_go_on.then(|| last_step(&user, &deletion, &refused))}
            </div>
        })
    })
}

fn counted(number: i64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

fn what_goes(deletion: &Deletion) -> impl IntoView + use<> {
    let Deletion { members, only_here, runs, api_keys, balance, .. } = deletion;
    let spendable = balance.spendable();
    view! {
        <section class="grid gap-2" aria-labelledby="goes">
            <h2 class="section-title" id="goes">
                "What is deleted"
            </h2>
            <ul class="list-disc space-y-1 pl-5">
                <li>"The account's name, and every open invitation"</li>
                <li>
                    {counted(*members, "membership", "memberships")}
                    ", and with them the sign-in of whoever belongs to no other account: "
                    {counted(*only_here, "person", "people")}
                </li>
                <li>"The inputs and outputs of " {counted(*runs, "run", "runs")} ", within minutes"</li>
                <li>{counted(*api_keys, "API key", "API keys")} ", at once"</li>
                {spendable
                    .is_positive()
                    .then(|| {
                        view! {
                            <li>
                                "Your right to spend " <Money amount=spendable digits=Digits::Cents />
                                " of credit that is left"
                            </li>
                        }
                    })}
            </ul>
        </section>
    }
}

fn what_stays() -> impl IntoView {
    view! {
        <section class="grid gap-2" aria-labelledby="stays">
            <h2 class="section-title" id="stays">
                "What stays, without a name"
            </h2>
            <ul class="list-disc space-y-1 pl-5">
                <li>"Postings, purchases, invoices and receipts: the law asks for them, and the books would not add up"</li>
                <li>"What each run used and cost, without its texts"</li>
                <li>"The address that had a trial, so that a trial is given once"</li>
                <li>"What Stripe itself keeps about payments"</li>
            </ul>
        </section>
    }
}

fn obstacles(deletion: &Deletion) -> Option<impl IntoView + use<>> {
    if deletion.obstacles.is_empty() {
        return None;
    }
    let list = deletion.obstacles.iter().map(|obstacle| view! { <li>{obstacle.clone()}</li> }).collect_view();
    Some(view! {
        <Notice tone=Tone::Caution title="Not yet: something has to end first">
            <ul class="list-disc space-y-1 pl-5">{list}</ul>
        </Notice>
    })
}

fn last_step(user: &User, deletion: &Deletion, refused: &Refused) -> impl IntoView + use<> {
    let paid = deletion.balance.paid;
    let name = user.account_name.clone();
    view! {
        <form class="card grid gap-4" method="post" action="/settings/delete">
            <ForAccount />
            <Field
                label=format!("Type {name} to confirm")
                name="account_name"
                value=refused.typed("account_name")
                problem=refused.problem("account_name")
            />
            <Field
                label="Your password"
                name="current_password"
                kind="password"
                problem=refused.problem("current_password")
                autocomplete="current-password"
            />
            {paid
                .is_positive()
                .then(|| {
                    view! {
                        <label class="flex items-start gap-2.5">
                            <input class="mt-1" type="checkbox" name="give_up" value="yes" />
                            <span>
                                "I give up " <Money amount=paid digits=Digits::Cents />
                                " of credit that I paid for. To keep it, spend it or ask for a refund first."
                            </span>
                        </label>
                    }
                })}
            <div>
                <button class="button button-danger">{format!("Delete {name} for good")}</button>
            </div>
        </form>
    }
}

/// `POST /settings/delete`.
pub async fn submit(post: Post) -> Response {
    let outcome = delete_account(&post).await;
    post.answer(outcome).await
}

async fn delete_account(post: &Post) -> Result<String> {
    let user = post.user()?;
    let confirmation = Confirmation {
        name: post.text("account_name").to_owned(),
        password: SecretString::from(post.text("current_password")),
        leftover: if post.text("give_up") == "yes" { Leftover::GiveUp } else { Leftover::Keep },
    };
    account::delete_account(&post.server, user, confirmation, post.ip()?).await?;
    if load_user(&post.server, &user.user_id).await?.is_some() {
        return Ok("/overview".to_owned());
    }
    session::end(&post.session).await?;
    Ok("/sign-in?after=deleted".to_owned())
}

/// `GET /settings/delete-user`.
#[component]
pub fn DeleteUserPage() -> impl IntoView {
    let refused = Refused::current();
    console(Section::Settings, "Delete your sign-in", async move {
        let (_, user) = signed_in()?;
        Ok(view! {
            <div class="grid max-w-2xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/settings">"Settings"</a>
                    </p>
                    <h1 class="page-title">"Delete your sign-in"</h1>
                    <p class="lede">
                        "You leave every account, and nobody can sign in as " {user.email.clone()} " any more. This cannot be undone."
                    </p>
                </div>
                {refused.notice(&["current_password"])}
                <p>
                    "Accounts that others own go on without you; what you ran stays in their usage, without your address. An account "
                    "that you alone own must be handed over under Team, or deleted, first."
                </p>
                <form class="card grid gap-4" method="post" action="/settings/delete-user">
                    <Field
                        label="Your password"
                        name="current_password"
                        kind="password"
                        problem=refused.problem("current_password")
                        autocomplete="current-password"
                    />
                    <div>
                        <button class="button button-danger">"Delete my sign-in for good"</button>
                    </div>
                </form>
            </div>
        })
    })
}

/// `POST /settings/delete-user`.
pub async fn submit_user(post: Post) -> Response {
    let outcome = async {
        let password = SecretString::from(post.text("current_password"));
        account::delete_user(&post.server, post.user()?, &password, post.ip()?).await?;
        session::end(&post.session).await?;
        Ok("/sign-in?after=deleted".to_owned())
    }
    .await;
    post.answer(outcome).await
}
