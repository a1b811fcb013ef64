//! Owns: the frame of a table: a caption for screen readers, and sideways scrolling that the keyboard reaches.

use leptos::prelude::*;

/// A table. The children are its `<thead>`, `<tbody>` and `<tfoot>`; columns of numbers have the class `number`.
#[component]
pub fn Table(#[prop(into)] caption: String, children: Children) -> impl IntoView {
    let label = caption.clone();
    view! {
        <div class="table-scroll" role="region" aria-label=label tabindex="0">
            <table class="table">
                <caption class="sr-only">{caption}</caption>
                {children()}
            </table>
        </div>
    }
}

/// A link to the rows before or after these, for lists that are paged by their last row.
#[component]
pub fn Pager(
    /// The first page, when this is a later one.
    first: Option<String>,
    /// The page after this one, when there is one.
    next: Option<String>,
) -> impl IntoView {
    let any = first.is_some() || next.is_some();
    any.then(|| {
        view! {
            <nav class="flex justify-between gap-3" aria-label="Pages">
                {first.map(|href| view! { <a class="button" href=href>"Newest"</a> })} <span></span>
                {next.map(|href| view! { <a class="button" href=href rel="next">"Older"</a> })}
            </nav>
        }
    })
}

/// A row of filters as links: what is chosen is in the URL. Each has its label, its address, and whether it is chosen.
#[component]
pub fn Chips(label: &'static str, chips: Vec<(String, String, bool)>) -> impl IntoView {
    view! {
        <nav class="flex flex-wrap items-center gap-2" aria-label=label>
            <span class="text-13 text-ink-muted">{label}</span>
            {chips
                .into_iter()
                .map(|(label, href, is_chosen)| {
                    view! {
                        <a class="chip" href=href aria-current=is_chosen.then_some("true")>
                            {label}
                        </a>
                    }
                })
                .collect_view()}
        </nav>
    }
}
