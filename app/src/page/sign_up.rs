//! Signing up: an account with its owner, then a link to the mailbox.

use crate::post::{Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::form_page;
use crate::visitor;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::account::{self, SignUp};

#[component]
pub fn SignUpPage() -> impl IntoView {
    if use_query_map().get_untracked().get("sent").is_some() {
        return form_page("Check your mail", link_sent());
    }
    let refused = Refused::current();
    form_page(
        "Sign up",
        view! {
            <div class="grid gap-2">
                <h1 class="page-title">"Sign up"</h1>
                <p class="lede">"No card needed. You buy credit when you want to run something."</p>
            </div>
            {refused.notice(&["email", "password", "account_name"])}
            <form class="grid gap-5" method="post" action="/sign-up">
                <Field
                    label="E-mail"
                    name="email"
                    kind="email"
                    value=refused.typed("email")
                    problem=refused.problem("email")
                    autocomplete="username"
                />
                <Field
                    label="Password"
                    name="password"
                    kind="password"
                    hint="At least 12 characters. A few words are easy to keep in mind."
                    problem=refused.problem("password")
                    autocomplete="new-password"
                    min_length=12
                />
                <Field
                    label="Name of your account (optional)"
                    name="account_name"
                    value=refused.typed("account_name")
                    hint="Your company, team or project. It stands on your receipts."
                    problem=refused.problem("account_name")
                    autocomplete="organization"
                    optional=true
                />
                <Submit label="Create the account" wide=true />
            </form>
            <p class="lede text-14">"Have an account? " <a href="/sign-in">"Sign in"</a> "."</p>
        },
    )
}

/// What stands here after the form was sent, whether or not the e-mail had an account.
fn link_sent() -> impl IntoView {
    view! {
        <h1 class="page-title">"Check your mail"</h1>
        <p>
            "We sent you a link. Open it to verify your e-mail, then sign in. It works once; if it does not arrive "
            "in a few minutes, look into the spam folder, or sign up again with the same e-mail."
        </p>
        <MailboxHint />
        <p>
            <a class="button" href="/sign-in">
                "Go to sign in"
            </a>
        </p>
    }
}

/// In the demo no mail leaves the machine: where it can be read.
#[component]
pub fn MailboxHint() -> impl IntoView {
    visitor::current().ok().and_then(|visitor| visitor.mailbox()).map(|mailbox| {
        view! {
            <p class="notice notice-info">
                <span>"In the demo, mail stays on this machine: "<a href=mailbox>"open the mailbox"</a>"."</span>
            </p>
        }
    })
}

/// `POST /sign-up`.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let sign_up = SignUp {
            email: post.text("email").to_owned(),
            password: SecretString::from(post.text("password")),
            account_name: post.text("account_name").to_owned(),
            time_zone: String::new(),
        };
        account::sign_up(&post.server, sign_up, post.ip()?).await?;
        Ok("/sign-up?sent=1".to_owned())
    }
    .await;
    post.answer(outcome).await
}
