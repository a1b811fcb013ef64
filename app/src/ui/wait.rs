//! Owns: a "no" that waiting helps about, with its seconds counting down while it is looked at.
//! Does not own: the words (`domain::denial`). Without JavaScript it says how long it was when the page was made.

use domain::denial::Denial;
use leptos::prelude::*;

/// Said in place of a denial whose time is over.
const NOW: &str = "You can try again now.";

/// What a denial says, counting down. Whoever hears the page is told when the time is over, not each second.
#[island]
pub fn Wait(denial: Denial) -> impl IntoView {
    let waited = RwSignal::new(0_u64);
    #[cfg(feature = "hydrate")]
    count_seconds(waited);
    let left = Memo::new(move |_| denial.after_waiting(waited.get()).map(|later| later.sentence()));
    view! {
        <p class="notice-title">{move || left.get().unwrap_or_else(|| NOW.to_owned())}</p>
        <p class="sr-only" role="status">
            {move || left.with(Option::is_none).then_some(NOW)}
        </p>
    }
}

/// Counts the seconds since now into `waited`, also while the browser looks elsewhere.
#[cfg(feature = "hydrate")]
pub fn count_seconds(waited: RwSignal<u64>) {
    let began = js_sys::Date::now();
    set_interval(
        move || {
            let seconds = ((js_sys::Date::now() - began) / 1_000.0) as u64;
            if seconds != waited.get_untracked() {
                waited.set(seconds);
            }
        },
        std::time::Duration::from_millis(250),
    );
}
