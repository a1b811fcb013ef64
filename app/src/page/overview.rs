//! Where one stands: the balance, this month's spend, the last runs.

use crate::ui::layout::{Section, console};
use crate::visitor::signed_in;
use leptos::prelude::*;

#[component]
pub fn OverviewPage() -> impl IntoView {
    console(Section::Overview, "Overview", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Overview"</h1> })
    })
}
