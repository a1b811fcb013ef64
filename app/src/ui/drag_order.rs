//! Owns: changing the order of a list by the mouse. What the mouse did is sent by the form that the item holds already, whose
//! buttons do the same by the keyboard.
//! Does not own: the order (the page's form), or sending it in place ([`crate::ui::in_place`]).

use leptos::prelude::*;

/// Lets the items (`data-item`) of the page's lists be dragged by whatever in them is `draggable`; an item is put among its own
/// neighbours alone. Its form gets the new place, counted from 0, in its field `at`, and is sent.
#[island]
pub fn DragOrder() -> impl IntoView {
    #[cfg(feature = "hydrate")]
    drag::items();
}

#[cfg(feature = "hydrate")]
mod drag {
    use leptos::prelude::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use wasm_bindgen::JsCast as _;
    use wasm_bindgen::closure::Closure;
    use web_sys::{DragEvent, Element, HtmlFormElement, HtmlInputElement, Node};

    const DRAGGED: &str = "data-dragged";

    /// What is on its way, and what it stood before.
    type Dragged = Rc<RefCell<Option<(Element, Option<Node>)>>>;

    pub fn items() {
        let dragged = Dragged::default();
        on("dragstart", &dragged, begin);
        on("dragover", &dragged, over);
        on("drop", &dragged, |dragged, event| {
            if dragged.borrow().is_some() {
                event.prevent_default();
            }
        });
        on("dragend", &dragged, end);
    }

    fn on(name: &str, dragged: &Dragged, does: fn(&Dragged, &DragEvent)) {
        let dragged = dragged.clone();
        let listener = Closure::<dyn Fn(DragEvent)>::new(move |event: DragEvent| does(&dragged, &event));
        let _ = document().add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        listener.forget();
    }

    fn item_at(event: &DragEvent) -> Option<Element> {
        event.target()?.dyn_into::<Element>().ok()?.closest("[data-item]").ok()?
    }

    fn begin(dragged: &Dragged, event: &DragEvent) {
        let (Some(item), Some(transfer)) = (item_at(event), event.data_transfer()) else { return };
        transfer.set_effect_allowed("move");
        transfer.set_drag_image(&item, 12, 12);
        let _ = item.set_attribute(DRAGGED, "");
        let before = item.next_sibling();
        *dragged.borrow_mut() = Some((item, before));
    }

    /// The item goes where it would be put, so that one sees it.
    fn over(dragged: &Dragged, event: &DragEvent) {
        let dragged = dragged.borrow();
        let (Some((item, _)), Some(other)) = (dragged.as_ref(), item_at(event)) else { return };
        let Some(list) = item.parent_element().filter(|list| other.parent_element().as_ref() == Some(list)) else {
            return;
        };
        event.prevent_default();
        if other == *item {
            return;
        }
        let place = other.get_bounding_client_rect();
        let is_above = f64::from(event.client_y()) < place.top() + place.height() / 2.0;
        let before = if is_above { Some(other.into()) } else { other.next_sibling() };
        if before.as_ref() != Some(item.as_ref()) {
            let _ = list.insert_before(item, before.as_ref());
        }
    }

    fn end(dragged: &Dragged, event: &DragEvent) {
        let Some((item, before)) = dragged.borrow_mut().take() else { return };
        let _ = item.remove_attribute(DRAGGED);
        let Some(list) = item.parent_element() else { return };
        // Let go beside the list, or Esc was pressed.
        if event.data_transfer().is_none_or(|transfer| transfer.drop_effect() == "none") {
            let _ = list.insert_before(&item, before.as_ref());
        } else if item.next_sibling() != before {
            send(&list, &item);
        }
    }

    fn send(list: &Element, item: &Element) {
        let items = list.children();
        let Some(at) = (0..items.length()).find(|at| items.item(*at).as_ref() == Some(item)) else { return };
        let field = item.query_selector("input[name=at]").ok().flatten();
        let Some(field) = field.and_then(|field| field.dyn_into::<HtmlInputElement>().ok()) else { return };
        field.set_value(&at.to_string());
        if let Some(form) =
            field.closest("form").ok().flatten().and_then(|form| form.dyn_into::<HtmlFormElement>().ok())
        {
            let _ = form.request_submit();
        }
    }
}
