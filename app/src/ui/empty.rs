//! Owns: what a page shows when there is nothing yet: what this is for, and the one thing to do.

use leptos::prelude::*;

/// An empty state with at most one button.
#[component]
pub fn Empty(
    #[prop(into)] title: String,
    #[prop(into)] text: String,
    /// Where the button leads, and what it says.
    #[prop(optional)]
    action: Option<(&'static str, &'static str)>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <p class="font-semibold">{title}</p>
            <p class="lede max-w-prose">{text}</p>
            {action
                .map(|(href, label)| {
                    view! {
                        <a class="button button-primary mt-2" href=href>
                            {label}
                        </a>
                    }
                })}
        </div>
    }
}
