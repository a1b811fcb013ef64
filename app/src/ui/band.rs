//! Owns: the thin band of a quote, drawn to scale from nothing to the most it can cost: P50 to P90 filled, the likely
//! cost and, after the run, the actual one as marks. What it says stands in words beside it.

use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, text};
use domain::money::Usd;
use leptos::prelude::*;

/// A quote's band.
#[component]
pub fn Band(
    p50: Usd,
    likely: Usd,
    p90: Usd,
    ceiling: Usd,
    #[prop(optional_no_strip)] actual: Option<Usd>,
) -> impl IntoView {
    let at = |amount: Usd| share(amount.min(ceiling).nanos().max(0), ceiling.nanos().max(1));
    let spoken = |amount: Usd| text(amount, Digits::Short);
    let description = format!(
        "Likely {}, usually between {} and {}, at most {}{}",
        spoken(likely),
        spoken(p50),
        spoken(p90),
        spoken(ceiling),
        actual.map(|actual| format!("; it cost {}", spoken(actual))).unwrap_or_default(),
    );
    view! {
        <svg class="band" role="img" aria-label=description>
            <rect class="band-track" y="6" width="100%" height="8" rx="4"></rect>
            <rect
                class="band-range"
                y="6"
                x=percent(at(p50))
                width=percent(at(p90).saturating_sub(at(p50)).max(50))
                height="8"
            ></rect>
            {actual
                .map(|actual| {
                    view! { <rect class="band-spent" y="6" width=percent(at(actual)) height="8" rx="4"></rect> }
                })}
            {mark("band-likely", at(likely))}
            {mark("band-ceiling", 10_000)}
            {actual.map(|actual| mark("band-actual", at(actual)))}
        </svg>
    }
}

/// An upright line at a place on the band, in hundredths of a percent.
fn mark(class: &'static str, place: i64) -> impl IntoView {
    view! { <line class=class x1=percent(place) x2=percent(place) y1="1" y2="19"></line> }
}
