//! Owns: the box that says what happened and what to do.

use leptos::prelude::*;

/// What a notice means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Info,
    Positive,
    Caution,
    Danger,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Tone::Info => "notice notice-info",
            Tone::Positive => "notice notice-positive",
            Tone::Caution => "notice notice-caution",
            Tone::Danger => "notice notice-danger",
        }
    }

    /// Danger interrupts a screen reader; the rest waits for its turn.
    const fn role(self) -> &'static str {
        match self {
            Tone::Danger => "alert",
            Tone::Info | Tone::Positive | Tone::Caution => "status",
        }
    }
}

/// A notice: a title in the colour of its meaning, then a sentence or two.
#[component]
pub fn Notice(tone: Tone, #[prop(into)] title: String, #[prop(optional)] children: Option<Children>) -> impl IntoView {
    view! {
        <div class=tone.class() role=tone.role()>
            <p class="notice-title">{title}</p>
            {children.map(|children| children())}
        </div>
    }
}
