//! Owns: the box that says why an account is frozen and what lifts it.

use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use leptos::prelude::*;
use server::freeze::Frozen;

/// Every cause that holds, with what to do; nothing when the account is not frozen.
pub fn frozen_notice(causes: Vec<Frozen>, zone: &str) -> AnyView {
    if causes.is_empty() {
        return ().into_any();
    }
    let causes = causes
        .into_iter()
        .map(|frozen| {
            let reason = frozen.cause.reason();
            view! {
                <li>
                    <span class="font-medium">{reason} ", since "</span>
                    <When at=frozen.frozen_at zone=zone.to_owned() />
                    ". "
                    {frozen.cause.what_lifts_it()}
                </li>
            }
        })
        .collect_view();
    view! {
        <div id="frozen">
            <Notice tone=Tone::Danger title="This account is frozen: new runs wait, running work is finished">
                <ul class="grid list-disc gap-1 pl-5">{causes}</ul>
            </Notice>
        </div>
    }
    .into_any()
}
