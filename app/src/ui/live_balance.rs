//! Owns: the figure at the top of the console: what the account can spend, kept true while the page is looked at.
//! Does not own: the balance (`GET /live/balance`). Without JavaScript it is as true as the page.

use crate::ui::money::{Digits, text};
use domain::money::Usd;
use leptos::prelude::*;

/// How often a page that is looked at asks again.
#[cfg(feature = "hydrate")]
const ASK_EVERY: std::time::Duration = std::time::Duration::from_secs(4);

/// What the account can spend. Asks only while somebody looks, and at once when they come back.
#[island]
pub fn LiveBalance(spendable: Usd) -> impl IntoView {
    let shown = RwSignal::new(spendable);
    #[cfg(feature = "hydrate")]
    ask::keep_true(shown);
    view! {
        <span class="money font-semibold" data-live="spendable" title=move || shown.get().to_string()>
            {move || text(shown.get(), Digits::Short)}
        </span>
    }
}

#[cfg(feature = "hydrate")]
mod ask {
    use super::ASK_EVERY;
    use domain::money::Usd;
    use leptos::prelude::*;
    use wasm_bindgen::JsCast as _;
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{Response, VisibilityState};

    /// Asks now and then for as long as the page lives.
    pub fn keep_true(shown: RwSignal<Usd>) {
        let ask = move || {
            if document().visibility_state() == VisibilityState::Visible {
                leptos::task::spawn_local(async move {
                    if let Some(spendable) = load().await
                        && spendable != shown.get_untracked()
                    {
                        shown.set(spendable);
                    }
                });
            }
        };
        set_interval(ask, ASK_EVERY);
        let _ = window_event_listener(leptos::ev::visibilitychange, move |_| ask());
    }

    /// `None` while the server cannot be reached, or after signing out: the figure stays as it was.
    async fn load() -> Option<Usd> {
        let response: Response =
            JsFuture::from(window().fetch_with_str("/live/balance")).await.ok()?.dyn_into().ok()?;
        if !response.ok() {
            return None;
        }
        let text = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
        text.trim().parse().ok().map(Usd::from_nanos)
    }
}
