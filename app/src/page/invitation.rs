//! Where the link of an invitation leads: what is offered, and joining as who one is.

use crate::page::sign_in;
use crate::post::{Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::form_page;
use crate::visitor;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::error::{Error, Result};
use server::member::{self, HasUser, Joining, load_joining};
use server::session;

#[component]
pub fn InvitationPage() -> impl IntoView {
    let token = use_query_map().get_untracked().get("token").unwrap_or_default();
    let refused = Refused::current();
    let content = Suspend::new(async move {
        let Ok(visitor) = visitor::current() else { return ().into_any() };
        match load_joining(&visitor.server, &token).await {
            Ok(joining) => {
                let signed_in = visitor.user.as_ref().map(|user| user.email.clone());
                offer(joining, signed_in, token, refused).into_any()
            }
            Err(Error::Denied(denial)) => view! {
                <h1 class="page-title">"This invitation does not work"</h1>
                <p>{denial.sentence()}</p>
                <p class="lede">
                    "A link works once and for 7 days, and a newer mail replaces it. Whoever invited you can send another from "
                    "their Team page."
                </p>
            }
            .into_any(),
            Err(error @ Error::Internal(_)) => crate::error::in_place_of_page(&visitor.server, error),
        }
    })
    .into_any();
    form_page("Invitation", content)
}

fn offer(joining: Joining, signed_in: Option<String>, token: String, refused: Refused) -> impl IntoView {
    let Joining { account_name, email, role, inviter, has_user, .. } = joining;
    let email = email.to_string();
    let address = format!("/invitation?token={token}");
    let inviter = if inviter.is_empty() { "Somebody".to_owned() } else { inviter };
    let way = match (signed_in, has_user) {
        (Some(signed_in), _) if signed_in == email => as_oneself(&account_name, token).into_any(),
        (Some(signed_in), _) => as_another(&signed_in, &email, address).into_any(),
        (None, HasUser::Yes) => view! {
            <a class="button button-primary w-full" href=sign_in::address(&address)>
                "Sign in to join"
            </a>
        }
        .into_any(),
        (None, HasUser::No) => as_somebody_new(&email, token, &refused).into_any(),
    };
    view! {
        <div class="grid gap-2">
            <h1 class="page-title">"Join " {account_name}</h1>
            <p class="lede">{inviter} " invites " {email} "."</p>
        </div>
        <p>
            "You will be " <strong class="font-medium">{role.label()}</strong> ": " {role.summary()} "."
        </p>
        {refused.notice(&["password"])}
        {way}
    }
}

fn as_oneself(account_name: &str, token: String) -> impl IntoView + use<> {
    view! {
        <form method="post">
            <input type="hidden" name="do" value="accept" />
            <input type="hidden" name="token" value=token />
            <Submit label=format!("Join {account_name}") wide=true />
        </form>
    }
}

fn as_another(signed_in: &str, invited: &str, address: String) -> impl IntoView + use<> {
    let text = format!("The invitation is for {invited}, and you are signed in as {signed_in}.");
    view! {
        <p>{text}</p>
        <form method="post" action="/sign-out">
            <input type="hidden" name="next" value=address />
            <Submit label="Sign out and come back here" wide=true />
        </form>
    }
}

fn as_somebody_new(email: &str, token: String, refused: &Refused) -> impl IntoView + use<> {
    view! {
        <form class="grid gap-5" method="post">
            <input type="hidden" name="do" value="sign-up" />
            <input type="hidden" name="token" value=token />
            // Password managers keep the pair.
            <input class="sr-only" name="email" type="email" value=email.to_owned() autocomplete="username" readonly tabindex="-1" aria-label="E-mail" />
            <Field
                label="Choose a password"
                name="password"
                kind="password"
                hint="At least 12 characters. A few words are easy to keep in mind."
                problem=refused.problem("password")
                autocomplete="new-password"
                min_length=12
            />
            <Submit label="Sign up and join" wide=true />
        </form>
    }
}

/// `POST /invitation`: joins, and opens the account.
pub async fn submit(post: Post) -> Response {
    let outcome = join(&post).await.map(|()| "/overview".to_owned());
    post.answer(outcome).await
}

async fn join(post: &Post) -> Result<()> {
    let token = post.text("token");
    if post.text("do") == "sign-up" {
        let password = SecretString::from(post.text("password"));
        let user = member::sign_up_invited(&post.server, token, &password, post.ip()?).await?;
        return sign_in::start(post, &user).await;
    }
    let user = post.user()?;
    let account_id = member::accept(&post.server, user, token).await?;
    session::choose_account(&post.session, &account_id).await
}
