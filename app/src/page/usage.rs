//! What ran, what it used and what it cost.

use crate::ui::layout::{Section, console};
use crate::visitor::signed_in;
use leptos::prelude::*;

#[component]
pub fn UsagePage() -> impl IntoView {
    console(Section::Usage, "Usage", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Usage"</h1> })
    })
}

/// One run to its last token.
#[component]
pub fn ExecutionPage() -> impl IntoView {
    console(Section::Usage, "Run", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Run"</h1> })
    })
}
