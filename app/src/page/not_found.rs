//! The page for an address that shows nothing.

use crate::error::set_status;
use crate::ui::layout::form_page;
use axum::http::StatusCode;
use leptos::prelude::*;

#[component]
pub fn NotFoundPage() -> impl IntoView {
    set_status(StatusCode::NOT_FOUND);
    form_page(
        "Page not found",
        view! {
            <h1 class="page-title">"Page not found"</h1>
            <p>"There is nothing at this address. It may have been mistyped, or the thing it showed is not yours."</p>
            <p class="flex gap-3">
                <a class="button" href="/overview">
                    "Go to the overview"
                </a>
            </p>
        },
    )
}
