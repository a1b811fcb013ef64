//! Owns: one bar cut into parts, drawn to scale, with its legend. Colours repeat what the legend says in words.

use crate::ui::money::{Digits, Money, text};
use domain::money::Usd;
use leptos::prelude::*;

/// One part of a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub label: &'static str,
    pub amount: Usd,
    /// Which chart colour, 1 to 6.
    pub colour: u8,
}

/// One stacked bar of money and its legend. Parts of zero are in the legend and not in the bar.
#[component]
pub fn StackedBar(#[prop(into)] label: String, parts: Vec<Part>) -> impl IntoView {
    let total = parts.iter().map(|part| part.amount.nanos().max(0)).fold(0_i64, i64::saturating_add);
    let spoken: Vec<String> =
        parts.iter().map(|part| format!("{} {}", part.label, text(part.amount, Digits::Short))).collect();
    let description = format!("{label}: {}", spoken.join(", "));
    view! {
        <div class="grid gap-3">
            <svg class="bar" role="img" aria-label=description>
                {segments(&parts, total)}
            </svg>
            <ul class="flex flex-wrap gap-x-6 gap-y-2 text-13">
                {parts
                    .into_iter()
                    .map(|part| {
                        view! {
                            <li class="flex items-center gap-2">
                                <span class=format!("swatch fill-{}", part.colour) aria-hidden="true"></span>
                                <span class="text-ink-muted">{part.label}</span>
                                <Money amount=part.amount />
                            </li>
                        }
                    })
                    .collect_view()}
            </ul>
        </div>
    }
}

/// The rectangles, in hundredths of a percent, with a hair of space between them.
fn segments(parts: &[Part], total: i64) -> Vec<AnyView> {
    let mut start = 0_i64;
    parts
        .iter()
        .filter(|part| part.amount.is_positive() && total > 0)
        .map(|part| {
            let x = share(start, total);
            start = start.saturating_add(part.amount.nanos());
            let width = share(start, total).saturating_sub(x);
            view! {
                <rect
                    class=format!("fill-{}", part.colour)
                    x=percent(x)
                    width=percent(width)
                    height="100%"
                    stroke="var(--color-surface)"
                    stroke-width="1.5"
                ></rect>
            }
            .into_any()
        })
        .collect()
}

/// `part` of `total` in hundredths of a percent.
pub fn share(part: i64, total: i64) -> i64 {
    let scaled = i128::from(part).saturating_mul(10_000).checked_div(i128::from(total)).unwrap_or(0);
    i64::try_from(scaled).unwrap_or(0)
}

/// Hundredths of a percent as an SVG length: 1,234 is `12.34%`.
pub fn percent(hundredths: i64) -> String {
    let magnitude = hundredths.max(0);
    format!("{}.{:02}%", magnitude / 100, magnitude % 100)
}
