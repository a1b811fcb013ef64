//! Owns: that no form of the console is sent twice by an impatient second press.
//! Does not own: the promise itself: every form that matters carries an id, so the server finds the first press anyway.

use leptos::prelude::*;

/// From the first press on, a form that was sent says that it is on its way and takes no second press; until the answer
/// is there, or the page is seen again by going back.
#[island]
pub fn PressOnce() -> impl IntoView {
    #[cfg(feature = "hydrate")]
    watch::forms();
}

#[cfg(feature = "hydrate")]
mod watch {
    use leptos::prelude::*;
    use wasm_bindgen::JsCast as _;
    use web_sys::{Element, HtmlFormElement, SubmitEvent};

    const BUSY: &str = "aria-busy";

    pub fn forms() {
        let _ = window_event_listener_untyped("submit", |event| {
            let Some(form) = event.target().and_then(|target| target.dyn_into::<HtmlFormElement>().ok()) else {
                return;
            };
            // A form that asks for a page may be sent as often as one likes.
            if event.default_prevented() || !form.method().eq_ignore_ascii_case("post") {
                return;
            }
            if form.has_attribute(BUSY) {
                event.prevent_default();
                return;
            }
            let _ = form.set_attribute(BUSY, "true");
            if let Some(button) = event.dyn_ref::<SubmitEvent>().and_then(SubmitEvent::submitter) {
                let _ = button.set_attribute(BUSY, "true");
            }
        });
        let _ = window_event_listener_untyped("pageshow", |_| {
            if let Ok(busy) = document().query_selector_all("[aria-busy]:is(form, button)") {
                for at in 0..busy.length() {
                    if let Some(element) = busy.get(at).and_then(|node| node.dyn_into::<Element>().ok()) {
                        let _ = element.remove_attribute(BUSY);
                    }
                }
            }
        });
    }
}
