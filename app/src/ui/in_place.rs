//! Owns: forms that are answered where they stand: sent without leaving the page, and only the parts that they name are
//! exchanged for those of the answer.
//! Does not own: the answer: it is the page that a browser without JavaScript would show after the same form.

use leptos::prelude::*;

/// Makes the forms of its page with `data-parts-done` answer in place. `data-parts` names, by their ids, what is exchanged
/// whatever the answer is; `data-parts-done`, what is exchanged as well when it worked. A part may say in `data-waiting` what
/// stands in it until the answer is there. What a person typed into a password field stays when the form was refused.
#[island]
pub fn InPlace() -> impl IntoView {
    #[cfg(feature = "hydrate")]
    send::forms();
}

#[cfg(feature = "hydrate")]
mod send {
    use leptos::prelude::*;
    use wasm_bindgen::JsCast as _;
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{
        Document, DomParser, Element, FormData, HtmlElement, HtmlFormElement, HtmlInputElement, NodeList, RequestInit,
        Response, SubmitEvent, SupportedType, UrlSearchParams,
    };

    const BUSY: &str = "aria-busy";
    const LOST: &str = "No answer came back. Reload the page and look at it before you try again.";

    pub fn forms() {
        let listener = Closure::<dyn Fn(SubmitEvent)>::new(|event: SubmitEvent| {
            let Some(form) = event.target().and_then(|target| target.dyn_into::<HtmlFormElement>().ok()) else {
                return;
            };
            if !form.has_attribute("data-parts-done") {
                return;
            }
            event.prevent_default();
            if !form.has_attribute(BUSY) {
                leptos::task::spawn_local(send(form, event.submitter()));
            }
        });
        // The document hears of it before the window does, where whoever prevents second presses listens.
        let _ = document().add_event_listener_with_callback("submit", listener.as_ref().unchecked_ref());
        listener.forget();
    }

    async fn send(form: HtmlFormElement, button: Option<HtmlElement>) {
        let always = parts(&form, "data-parts");
        let busy = [Some(form.clone().into()), button.clone()];
        let busy: Vec<HtmlElement> = busy.into_iter().flatten().collect();
        for element in &busy {
            let _ = element.set_attribute(BUSY, "true");
        }
        say(&always, None);
        let answer = post(&form, button.as_ref()).await;
        for element in &busy {
            let _ = element.remove_attribute(BUSY);
        }
        match answer {
            Some((worked, page)) => show(&form, worked, &page, always),
            None => say(&always, Some(LOST)),
        }
    }

    /// Whether it worked, and the page that answers.
    async fn post(form: &HtmlFormElement, button: Option<&HtmlElement>) -> Option<(bool, Document)> {
        let fields = FormData::new_with_form(form).ok()?;
        if let Some(button) = button
            && let (Some(name), Some(value)) = (button.get_attribute("name"), button.get_attribute("value"))
        {
            fields.append_with_str(&name, &value).ok()?;
        }
        let body = UrlSearchParams::new_with_str_sequence_sequence(fields.as_ref()).ok()?;
        let request = RequestInit::new();
        request.set_method("POST");
        request.set_body(body.as_ref());
        let sent = window().fetch_with_str_and_init(&form.action(), &request);
        let response: Response = JsFuture::from(sent).await.ok()?.dyn_into().ok()?;
        let text = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
        let page = DomParser::new().ok()?.parse_from_string(&text, SupportedType::TextHtml).ok()?;
        Some((response.ok(), page))
    }

    fn show(form: &HtmlFormElement, worked: bool, page: &Document, mut ids: Vec<String>) {
        if worked {
            ids.extend(parts(form, "data-parts-done"));
        }
        let exchange: Option<Vec<(Element, Element)>> =
            ids.iter().map(|id| Some((document().get_element_by_id(id)?, page.get_element_by_id(id)?))).collect();
        // Another page than expected, such as that for signing in.
        let Some(exchange) = exchange.filter(|parts| !parts.is_empty()) else {
            let _ = window().location().reload();
            return;
        };
        let focused = document().active_element().map(|element| element.id());
        let typed = if worked { Vec::new() } else { secrets(form) };
        for (here, there) in exchange {
            here.set_inner_html(&there.inner_html());
        }
        for (id, value) in typed {
            if let Some(input) = input(&id) {
                input.set_value(&value);
            }
        }
        focus(form, focused);
    }

    /// Back to where the person was, or to what is wrong.
    fn focus(form: &HtmlFormElement, focused: Option<String>) {
        let wrong = form.query_selector("[aria-invalid]").ok().flatten();
        let before = focused.filter(|id| !id.is_empty()).and_then(|id| document().get_element_by_id(&id));
        // A button that was pressed to the end of its way takes no focus any more; its neighbour does.
        let before = before.and_then(|element| {
            if element.has_attribute("disabled") {
                element.parent_element()?.query_selector("button:not([disabled])").ok()?
            } else {
                Some(element)
            }
        });
        if let Some(element) = wrong.or(before).and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
            let _ = element.focus();
        }
    }

    /// The password fields of a form as they were typed, which no answer brings back.
    fn secrets(form: &HtmlFormElement) -> Vec<(String, String)> {
        let fields = form.query_selector_all("input[type=password][id]").ok();
        let ids = fields.iter().flat_map(|fields: &NodeList| (0..fields.length()).filter_map(move |at| fields.get(at)));
        ids.filter_map(|node| node.dyn_into::<HtmlInputElement>().ok())
            .map(|field| (field.id(), field.value()))
            .collect()
    }

    fn input(id: &str) -> Option<HtmlInputElement> {
        document().get_element_by_id(id)?.dyn_into().ok()
    }

    fn parts(form: &HtmlFormElement, attribute: &str) -> Vec<String> {
        form.get_attribute(attribute).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// Puts words into the parts that say something while one waits: theirs, or these.
    fn say(parts: &[String], words: Option<&str>) {
        for part in parts.iter().filter_map(|id| document().get_element_by_id(id)) {
            if let Some(waiting) = part.get_attribute("data-waiting") {
                part.set_text_content(Some(words.unwrap_or(&waiting)));
            }
        }
    }
}
