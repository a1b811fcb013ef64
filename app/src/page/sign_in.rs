//! Signing in and out.

use crate::post::{Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::form_page;
use crate::ui::notice::{Notice, Tone};
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::account::{self, SecondFactor, User, load_second_factor};
use server::error::Result;
use server::session;

/// The address of the sign-in page that returns to `next` afterwards.
pub fn address(next: &str) -> String {
    let mut address = String::from("/sign-in?next=");
    for byte in next.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => address.push(char::from(byte)),
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address
}

#[component]
pub fn SignInPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    let next = refused.typed("next").or_else(|| query.get("next")).unwrap_or_default();
    let news = match query.get("after").as_deref() {
        Some("verified") => Some("Your e-mail is verified. Sign in to begin."),
        Some("reset") => Some("Your password is changed, and every other session was ended. Sign in with the new one."),
        Some("deleted") => Some("The account is deleted, and your sign-in with it."),
        Some("email") => Some("Your new e-mail counts from now on. Sign in with it."),
        Some("sign-out") => Some("You are signed out."),
        Some(_) | None => None,
    };
    form_page(
        "Sign in",
        view! {
            <h1 class="page-title">"Sign in"</h1>
            {news.map(|news| view! { <Notice tone=Tone::Positive title=news /> })}
            {refused.notice(&["email", "password"])}
            <form class="grid gap-5" method="post" action="/sign-in">
                <input type="hidden" name="next" value=next />
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
                    problem=refused.problem("password")
                    autocomplete="current-password"
                />
                <Submit label="Sign in" wide=true />
            </form>
            <p class="lede text-14">
                "Forgot it? " <a href="/reset-password">"Reset your password"</a> ". No account yet? "
                <a href="/sign-up">"Sign up"</a> "."
            </p>
        },
    )
}

/// `POST /sign-in`: starts the session and goes where the visitor wanted to go.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let password = SecretString::from(post.text("password"));
        let user = account::sign_in(&post.server, post.text("email"), &password, post.ip()?).await?;
        begin(&post, &user).await
    }
    .await;
    post.answer(outcome).await
}

/// Where somebody goes whose password is right: on, or to the second step when they have a second factor.
async fn begin(post: &Post, user: &User) -> Result<String> {
    let next = post.local_path("next", "/overview");
    match load_second_factor(&post.server, &user.user_id).await? {
        SecondFactor::On { .. } => {
            session::await_second(&post.server, &post.session, user).await?;
            Ok(address(&next).replacen("/sign-in?", "/sign-in/code?", 1))
        }
        SecondFactor::Off | SecondFactor::Waiting { .. } => {
            start(post, user).await?;
            Ok(next)
        }
    }
}

/// Starts the session of somebody who has shown who they are.
pub async fn start(post: &Post, user: &User) -> Result<()> {
    session::start(&post.session, user).await?;
    session::note_browser(&post.session, post.user_agent()).await
}

/// `POST /sign-out`: ends the session.
pub async fn sign_out(post: Post) -> Response {
    let next = post.local_path("next", "/sign-in?after=sign-out");
    let outcome = session::end(&post.session).await.map(|()| next);
    post.answer(outcome).await
}
