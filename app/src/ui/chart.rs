//! Owns: a bar chart of money by day, drawn on the server, with the same figures as a table that the keyboard reaches.

use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, Money, text};
use crate::ui::table::Table;
use domain::money::Usd;
use leptos::prelude::*;

/// Pixels of the tallest bar.
const HEIGHT: i64 = 140;

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Below the bar, short: `14`.
    pub tick: String,
    /// In the table and on hover: `14 Nov 2026`.
    pub label: String,
    pub amount: Usd,
    /// Beside the amount: `12 runs`.
    pub detail: String,
}

/// Bars of money, the first at the left.
#[component]
pub fn BarChart(#[prop(into)] title: String, unit: &'static str, bars: Vec<Bar>) -> impl IntoView {
    let top = nice_top(bars.iter().map(|bar| bar.amount.nanos()).max().unwrap_or_default());
    let axis = [top, top / 2, 0].map(|nanos| text(Usd::from_nanos(nanos), Digits::Short));
    let rows = table_rows(&bars);
    let svg = drawing(&bars, top);
    view! {
        <figure class="grid gap-3">
            <figcaption class="sr-only">{title.clone()}</figcaption>
            <div class="chart" aria-hidden="true">
                <div class="chart-axis">{axis.map(|label| view! { <span>{label}</span> }).collect_view()}</div>
                {svg}
            </div>
            <details>
                <summary class="text-13 text-ink-muted">"Show as a table"</summary>
                <div class="mt-3">
                    <Table caption=title>
                        <thead>
                            <tr>
                                <th scope="col">"Day"</th>
                                <th class="number" scope="col">
                                    {unit}
                                </th>
                                <th class="number" scope="col">
                                    "Runs"
                                </th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </Table>
                </div>
            </details>
        </figure>
    }
}

fn table_rows(bars: &[Bar]) -> impl IntoView + use<> {
    bars.iter()
        .map(|bar| {
            view! {
                <tr>
                    <th scope="row">{bar.label.clone()}</th>
                    <td class="number">
                        <Money amount=bar.amount />
                    </td>
                    <td class="number">{bar.detail.clone()}</td>
                </tr>
            }
        })
        .collect_view()
}

/// The bars; each has a wide transparent one over it, so that the pointer finds small ones.
fn drawing(bars: &[Bar], top: i64) -> impl IntoView + use<> {
    let count = i64::try_from(bars.len()).unwrap_or(i64::MAX).max(1);
    let step = 10_000_i64.checked_div(count).unwrap_or(10_000);
    let every = (count + 9).div_euclid(10);
    let drawn = bars
        .iter()
        .zip(0_i64..)
        .map(|(bar, at)| {
            let height = share(bar.amount.nanos(), top).saturating_mul(HEIGHT).div_euclid(10_000);
            let height = if bar.amount.is_positive() { height.max(2) } else { 0 };
            let x = step.saturating_mul(at);
            let has_tick = at.rem_euclid(every) == 0;
            view! {
                <g class="chart-bar">
                    <title>{format!("{}: {}, {}", bar.label, text(bar.amount, Digits::Short), bar.detail)}</title>
                    <rect class="chart-target" x=percent(x) width=percent(step) height=HEIGHT + 8></rect>
                    <rect
                        class="fill-1"
                        x=percent(x.saturating_add(step / 6))
                        y=HEIGHT + 8 - height
                        width=percent(step * 2 / 3)
                        height=height
                        rx="2"
                    ></rect>
                    {has_tick
                        .then(|| {
                            view! {
                                <text class="chart-tick" x=percent(x.saturating_add(step / 2)) y=HEIGHT + 26>
                                    {bar.tick.clone()}
                                </text>
                            }
                        })}
                </g>
            }
        })
        .collect_view();
    view! {
        <svg class="chart-drawing" height=HEIGHT + 32>
            {[8, 8 + HEIGHT / 2, 8 + HEIGHT]
                .map(|y| view! { <line class="chart-line" x1="0" x2="100%" y1=y y2=y></line> })
                .collect_view()}
            {drawn}
        </svg>
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below `highest`, so that the axis reads easily.
pub fn nice_top(highest: i64) -> i64 {
    let mut unit = 1_000_000_i64;
    loop {
        for factor in [1, 2, 5] {
            let top = unit.saturating_mul(factor);
            if top >= highest {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (highest, top) in
            [(0, 1_000_000), (1_000_000, 1_000_000), (1_500_000, 2_000_000), (2_100_000_000, 5_000_000_000)]
        {
            assert_eq!(nice_top(highest), top);
        }
        assert_eq!(nice_top(i64::MAX), i64::MAX);
    }
}
