//! Owns: the modal, on the browser's own `<dialog>`: it keeps the focus inside, and Esc closes it.
//! Does not own: opening it; an island calls `show_modal()` through `node_ref`.

use leptos::html;
use leptos::prelude::*;

/// A modal with a title and its content; its buttons go into a `<div class="dialog-foot">`.
#[component]
pub fn Dialog(
    id: &'static str,
    #[prop(into)] title: String,
    #[prop(optional)] node_ref: NodeRef<html::Dialog>,
    children: Children,
) -> impl IntoView {
    let title_id = format!("{id}-title");
    let labelled_by = title_id.clone();
    view! {
        <dialog class="dialog" id=id aria-labelledby=labelled_by node_ref=node_ref>
            <h2 class="section-title px-6 pt-5" id=title_id>
                {title}
            </h2>
            {children()}
        </dialog>
    }
}
