//! Owns: the few line icons, drawn on a 20-pixel grid in the colour of the text beside them.

use leptos::prelude::*;

/// Which icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyph {
    Overview,
    Tasks,
    Agent,
    Usage,
    Credits,
    Plan,
    Key,
    Team,
    Settings,
    Accounts,
    Bell,
    User,
    Sun,
    Moon,
    Screen,
    SignOut,
    Check,
}

impl Glyph {
    const fn path(self) -> &'static str {
        match self {
            Glyph::Overview => "M3 4h6v5H3zM11 4h6v8h-6zM3 11h6v5H3zM11 14h6v2h-6z",
            Glyph::Tasks => "M4 5h12M4 10h8M4 15h5M13.5 12.5v5l4-2.5z",
            Glyph::Agent => "M4 7h12v9H4zM10 7V3.500M7.500 11v1.500M12.500 11v1.500",
            Glyph::Usage => "M3.5 16.5h13M5.5 16.5v-5M10 16.5v-12M14.5 16.5v-8",
            Glyph::Credits => "M3 6.5h14v9H3zM3 9.5h14M6 13h3M5 6.5 13 3l1.5 3.5",
            Glyph::Plan => "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
            Glyph::Key => "M7 12.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10.5 9H17M14.5 9v3M17 9v2",
            Glyph::Team => {
                "M7.5 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM2.5 16c.3-3 2.3-4.500 5-4.500s4.700 1.500 5 4.500M13 9a2.200 2.200 0 1 0-.5-4.300M14 11.700c2 .4 3.200 1.800 3.500 4.300"
            }
            Glyph::Settings => {
                "M3 6h7M15 6h2M3 14h2M10 14h7M12.500 8.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM7.500 16.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z"
            }
            Glyph::Accounts => "M3 7.500h10v9H3zM7 7.500v-4h10v9h-4",
            Glyph::Bell => "M5.5 13.500V9a4.500 4.500 0 0 1 9 0v4.500l1.500 1.500H4zM8.500 17h3",
            Glyph::User => "M10 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17c.5-3.5 3-5 6-5s5.5 1.5 6 5",
            Glyph::Sun => {
                "M10 13.2a3.2 3.2 0 1 0 0-6.400 3.2 3.2 0 0 0 0 6.400zM10 2.5v1.800M10 15.700v1.800M2.5 10h1.800M15.700 10h1.800M4.700 4.700 6 6M14 14l1.300 1.300M4.700 15.300 6 14M14 6l1.300-1.300"
            }
            Glyph::Moon => "M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z",
            Glyph::Screen => "M3 4.5h14v9H3zM7.5 16.5h5M10 13.5v3",
            Glyph::SignOut => "M8 3.5H4v13h4M8.5 10H17M13.5 6.5 17 10l-3.5 3.5",
            Glyph::Check => "M4 10.5 8 14.5 16 5.5",
        }
    }
}

/// An icon beside a word; it says nothing to a screen reader.
#[component]
pub fn Icon(glyph: Glyph) -> impl IntoView {
    view! {
        <svg
            class="size-5 flex-none"
            viewBox="0 0 20 20"
            fill="none"
            stroke="currentColor"
            stroke-width="1.5"
            stroke-linecap="round"
            stroke-linejoin="round"
            aria-hidden="true"
        >
            <path d=glyph.path()></path>
        </svg>
    }
}
