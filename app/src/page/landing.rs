//! What Tokenbank is, for somebody who never saw it.

use crate::ui::layout::public;
use leptos::prelude::*;

#[component]
pub fn LandingPage() -> impl IntoView {
    public("Prepaid credit for AI agents", view! { <h1 class="page-title">"Tokenbank"</h1> })
}
