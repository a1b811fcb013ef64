//! Verifying an e-mail: the link opens this page, and its button does it, because mail scanners follow links.

use crate::post::{Post, Refused};
use crate::ui::form::Submit;
use crate::ui::layout::form_page;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account;

#[component]
pub fn VerifyEmailPage() -> impl IntoView {
    let token = use_query_map().get_untracked().get("token").unwrap_or_default();
    let refused = Refused::current();
    let was_refused = refused.denial().is_some();
    form_page(
        "Verify your e-mail",
        view! {
            <h1 class="page-title">"Verify your e-mail"</h1>
            {refused.notice(&[])}
            {(!was_refused)
                .then(|| {
                    view! {
                        <p>"One step left: this tells us that the mailbox is yours."</p>
                        <form method="post">
                            <input type="hidden" name="token" value=token />
                            <Submit label="Verify my e-mail" />
                        </form>
                    }
                })}
            {was_refused
                .then(|| {
                    view! {
                        <p>
                            "If you verified it before, simply sign in. For a new link, "<a href="/sign-up">"sign up again"</a>
                            " with the same e-mail."
                        </p>
                    }
                })}
        },
    )
}

/// `POST /verify-email`.
pub async fn submit(post: Post) -> Response {
    let outcome =
        account::verify_email(&post.server, post.text("token")).await.map(|()| "/sign-in?after=verified".to_owned());
    post.answer(outcome).await
}
