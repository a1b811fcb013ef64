//! The balance by kind, the packs, and the statement.

use crate::post::Post;
use crate::ui::layout::{Section, console};
use crate::visitor::signed_in;
use axum::response::Response;
use leptos::prelude::*;

#[component]
pub fn CreditsPage() -> impl IntoView {
    console(Section::Credits, "Credits", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Credits"</h1> })
    })
}

/// Where Checkout returns to.
#[component]
pub fn BoughtPage() -> impl IntoView {
    console(Section::Credits, "Purchase", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Purchase"</h1> })
    })
}

/// `POST /credits`: begins the purchase of a pack.
pub async fn submit(post: Post) -> Response {
    post.answer(Ok("/credits".to_owned())).await
}
