//! Resetting a password: asking for the link, and choosing the new password.

use crate::page::sign_up::MailboxHint;
use crate::post::{Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::form_page;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::account;

#[component]
pub fn ResetPasswordPage() -> impl IntoView {
    if use_query_map().get_untracked().get("sent").is_some() {
        return form_page("Check your mail", link_sent());
    }
    let refused = Refused::current();
    form_page(
        "Reset your password",
        view! {
            <div class="grid gap-2">
                <h1 class="page-title">"Reset your password"</h1>
                <p class="lede">"We send you a link with which you choose a new one."</p>
            </div>
            {refused.notice(&["email"])}
            <form class="grid gap-5" method="post" action="/reset-password">
                <Field
                    label="E-mail"
                    name="email"
                    kind="email"
                    value=refused.typed("email")
                    problem=refused.problem("email")
                    autocomplete="username"
                />
                <Submit label="Send the link" wide=true />
            </form>
            <p class="lede text-14">"Remember it? " <a href="/sign-in">"Sign in"</a> "."</p>
        },
    )
}

fn link_sent() -> impl IntoView {
    view! {
        <h1 class="page-title">"Check your mail"</h1>
        <p>
            "If this e-mail has an account, a link is on its way. It works once. Until you use it, your old password "
            "stays valid."
        </p>
        <MailboxHint />
    }
}

/// Where the link leads.
#[component]
pub fn NewPasswordPage() -> impl IntoView {
    let token = use_query_map().get_untracked().get("token").unwrap_or_default();
    let refused = Refused::current();
    form_page(
        "Choose a new password",
        view! {
            <div class="grid gap-2">
                <h1 class="page-title">"Choose a new password"</h1>
                <p class="lede">"Every session of yours is ended, on all devices."</p>
            </div>
            {refused.notice(&["password"])}
            <form class="grid gap-5" method="post">
                <input type="hidden" name="token" value=token />
                <Field
                    label="New password"
                    name="password"
                    kind="password"
                    hint="At least 12 characters. A few words are easy to keep in mind."
                    problem=refused.problem("password")
                    autocomplete="new-password"
                    min_length=12
                />
                <Submit label="Change the password" wide=true />
            </form>
        },
    )
}

/// `POST /reset-password`: the same answer whether or not the e-mail has an account.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        account::request_password_reset(&post.server, post.text("email"), post.ip()?).await?;
        Ok("/reset-password?sent=1".to_owned())
    }
    .await;
    post.answer(outcome).await
}

/// `POST /reset-password/new`.
pub async fn submit_new(post: Post) -> Response {
    let password = SecretString::from(post.text("password"));
    let outcome = account::reset_password(&post.server, post.text("token"), &password)
        .await
        .map(|()| "/sign-in?after=reset".to_owned());
    post.answer(outcome).await
}
