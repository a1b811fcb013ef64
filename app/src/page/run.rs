//! One run while it streams, and after it ended.

use crate::ui::layout::{Section, console};
use crate::visitor::signed_in;
use leptos::prelude::*;

#[component]
pub fn RunPage() -> impl IntoView {
    console(Section::Tasks, "Run", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Run"</h1> })
    })
}
