//! Confirming a new e-mail: the link opens this page, and its button does it, because mail scanners follow links.

use crate::post::{Post, Refused};
use crate::ui::form::Submit;
use crate::ui::layout::form_page;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account;

#[component]
pub fn ConfirmEmailPage() -> impl IntoView {
    let token = use_query_map().get_untracked().get("token").unwrap_or_default();
    let refused = Refused::current();
    let was_refused = refused.denial().is_some();
    form_page(
        "Confirm your new e-mail",
        view! {
            <h1 class="page-title">"Confirm your new e-mail"</h1>
            {refused.notice(&[])}
            {(!was_refused)
                .then(|| {
                    view! {
                        <p>"From now on you sign in with this address."</p>
                        <form method="post">
                            <input type="hidden" name="token" value=token />
                            <Submit label="Use this e-mail" />
                        </form>
                    }
                })}
        },
    )
}

/// `POST /confirm-email`.
pub async fn submit(post: Post) -> Response {
    let outcome = account::confirm_new_email(&post.server, post.text("token"))
        .await
        .map(|()| if post.user().is_ok() { "/settings" } else { "/sign-in?after=email" }.to_owned());
    post.answer(outcome).await
}
