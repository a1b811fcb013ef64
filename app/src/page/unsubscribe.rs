//! Ending mails of a kind from a mail: the link opens this page, and its button does it, because mail scanners follow links.
//! Needs no sign-in: the secret in the link is the proof.

use crate::error::DenialNotice;
use crate::post::{Post, Refused};
use crate::ui::form::Submit;
use crate::ui::layout::form_page;
use crate::ui::notice::{Notice, Tone};
use crate::visitor;
use axum::response::Response;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::error::Error;
use server::notice;

/// `GET /unsubscribe`.
#[component]
pub fn UnsubscribePage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let (token, is_done) = (query.get("token").unwrap_or_default(), query.get("done").is_some());
    let refused = Refused::current();
    let content = Suspend::new(async move {
        if is_done {
            return view! {
                <Notice tone=Tone::Positive title="You get no more mails like that one">
                    <p>"It still stands under Alerts. " <a href="/alerts/settings">"Choose what you are told"</a></p>
                </Notice>
            }
            .into_any();
        }
        let Ok(visitor) = visitor::current() else { return ().into_any() };
        match notice::load_stop(&visitor.server, &token).await {
            Ok(kind) => view! {
                <p>"You will get no more mails of this kind: “" {kind.label()} "”. It will still stand under Alerts."</p>
                <form method="post">
                    <input type="hidden" name="token" value=token />
                    <Submit label="No more of these mails" />
                </form>
            }
            .into_any(),
            Err(Error::Denied(denial)) => view! { <DenialNotice denial=denial /> }.into_any(),
            Err(error @ Error::Internal(_)) => crate::error::in_place_of_page(&visitor.server, error),
        }
    });
    form_page(
        "Fewer mails",
        view! {
            <h1 class="page-title">"Fewer mails"</h1>
            {refused.notice(&[])}
            {content}
        },
    )
}

/// `POST /unsubscribe`.
pub async fn submit(post: Post) -> Response {
    let outcome = notice::stop_mail(&post.server, post.text("token")).await.map(|_| "/unsubscribe?done=1".to_owned());
    post.answer(outcome).await
}
