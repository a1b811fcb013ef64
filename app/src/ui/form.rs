//! Owns: the fields of forms. What was typed is kept and the problem stands beside its field, without JavaScript.
//! Does not own: how a refused form comes back (`crate::post`).

use leptos::prelude::*;

/// One labelled input. `problem` marks it invalid and is read out with it.
#[component]
pub fn Field(
    #[prop(into)] label: String,
    name: &'static str,
    #[prop(default = "text")] kind: &'static str,
    #[prop(optional_no_strip, into)] value: Option<String>,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional_no_strip, into)] problem: Option<String>,
    #[prop(default = "off")] autocomplete: &'static str,
    #[prop(optional)] min_length: Option<u32>,
    #[prop(optional)] optional: bool,
    /// When several fields of a page have the same name.
    #[prop(optional)]
    id: Option<&'static str>,
) -> impl IntoView {
    let id = id.unwrap_or(name);
    let hint_id = format!("{id}-hint");
    let problem_id = format!("{id}-problem");
    let described_by: Vec<&str> =
        [hint.as_ref().map(|_| hint_id.as_str()), problem.as_ref().map(|_| problem_id.as_str())]
            .into_iter()
            .flatten()
            .collect();
    let described_by = (!described_by.is_empty()).then(|| described_by.join(" "));
    let invalid = problem.is_some().then_some("true");
    view! {
        <div class="field">
            <label for=id>{label}</label>
            <input
                class="input"
                id=id
                name=name
                type=kind
                value=value
                required=!optional
                autocomplete=autocomplete
                minlength=min_length.map(|length| length.to_string())
                aria-invalid=invalid
                aria-describedby=described_by
            />
            {hint.map(|hint| view! { <p class="field-hint" id=hint_id>{hint}</p> })}
            {problem.map(|problem| view! { <p class="field-problem" id=problem_id>{problem}</p> })}
        </div>
    }
    .into_any()
}

/// One labelled choice. Each option has its value, its text, and whether it is chosen.
#[component]
pub fn Pick(#[prop(into)] label: String, name: &'static str, options: Vec<(String, String, bool)>) -> impl IntoView {
    let options = options
        .into_iter()
        .map(|(value, text, selected)| view! { <option value=value selected=selected>{text}</option> })
        .collect_view();
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <select class="input" id=name name=name>
                {options}
            </select>
        </div>
    }
    .into_any()
}

/// The button that sends its form.
#[component]
pub fn Submit(#[prop(into)] label: String, #[prop(optional)] wide: bool) -> impl IntoView {
    let class = if wide { "button button-primary w-full" } else { "button button-primary" };
    view! {
        <button class=class type="submit">
            {label}
        </button>
    }
}
