//! The browser half: hydrates the islands that the server's pages contain.

// Naming the crate links its islands in.
use app as _;

/// Called by the page when the module is loaded.
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_islands();
}
