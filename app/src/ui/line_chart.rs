//! Owns: lines of money over money, drawn on the server, with the same figures as a table that the keyboard reaches.
//! Lines differ in dash as well as in colour, and each has its name beside its swatch.

use crate::ui::chart::nice_top;
use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, Money, text};
use crate::ui::pack::round_dollars;
use crate::ui::table::Table;
use domain::money::Usd;
use leptos::prelude::*;

/// The drawing's height and width in its own units; it is stretched to the width there is.
const HEIGHT: i64 = 200;
const WIDTH: i64 = 1_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub label: &'static str,
    /// Which chart colour, 1 to 6.
    pub colour: u8,
    /// One amount for each place of the chart's `at`.
    pub amounts: Vec<Usd>,
}

/// Lines of money, and a place on them that is marked.
#[component]
pub fn LineChart(
    #[prop(into)] title: String,
    /// What runs from left to right.
    across: &'static str,
    /// The places from left to right, rising.
    at: Vec<Usd>,
    lines: Vec<Line>,
    mark: (Usd, String),
) -> impl IntoView {
    let highest = lines.iter().flat_map(|line| &line.amounts).map(|amount| amount.nanos()).max().unwrap_or_default();
    let top = nice_top(highest);
    let axis = [top, top / 2, 0].map(|nanos| round_dollars(Usd::from_nanos(nanos)));
    let right = at.last().copied().unwrap_or_default();
    let ends = [0, right.nanos() / 2, right.nanos()].map(|nanos| text(Usd::from_nanos(nanos), Digits::Cents));
    let legend = legend(&lines);
    let table = table(&title, across, &at, &lines);
    let (marked, name) = mark;
    let marked = share(marked.nanos(), right.nanos());
    view! {
        <figure class="grid gap-3">
            <figcaption class="sr-only">{title}</figcaption>
            {legend}
            <div class="chart line-chart" aria-hidden="true">
                <div class="chart-axis">{axis.map(|label| view! { <span>{label}</span> }).collect_view()}</div>
                <div class="grid gap-1">
                    <svg class="chart-drawing" height=HEIGHT>
                        {[0, HEIGHT / 2, HEIGHT]
                            .map(|y| view! { <line class="chart-line" x1="0" x2="100%" y1=y y2=y></line> })
                            .collect_view()}
                        <line class="line-mark" x1=percent(marked) x2=percent(marked) y1="0" y2=HEIGHT></line>
                        <text class="line-mark-name" x=percent(marked) y="14" dx="6">
                            {name}
                        </text>
                        <svg
                            width="100%"
                            height=HEIGHT
                            viewBox=format!("0 0 {WIDTH} {HEIGHT}")
                            preserveAspectRatio="none"
                        >
                            {lines.iter().map(|line| drawn(line, &at, right, top)).collect_view()}
                        </svg>
                    </svg>
                    <div class="flex justify-between gap-3 text-12 text-ink-muted">
                        {ends.map(|label| view! { <span>{label}</span> }).collect_view()}
                    </div>
                    <p class="text-center text-12 text-ink-muted">{across}</p>
                </div>
            </div>
            {table}
        </figure>
    }
}

fn drawn(line: &Line, at: &[Usd], right: Usd, top: i64) -> AnyView {
    let points: Vec<String> = at
        .iter()
        .zip(&line.amounts)
        .map(|(at, amount)| {
            let x = share(at.nanos(), right.nanos()).saturating_mul(WIDTH).div_euclid(10_000);
            let y = HEIGHT.saturating_sub(share(amount.nanos(), top).saturating_mul(HEIGHT).div_euclid(10_000));
            format!("{x},{y}")
        })
        .collect();
    view! { <polyline class=format!("line line-{}", line.colour) points=points.join(" ")></polyline> }.into_any()
}

fn legend(lines: &[Line]) -> AnyView {
    let entries = lines
        .iter()
        .map(|line| {
            view! {
                <li class="flex items-center gap-2">
                    <svg class="line-key" viewBox="0 0 24 8" aria-hidden="true">
                        <polyline class=format!("line line-{}", line.colour) points="0,4 24,4"></polyline>
                    </svg>
                    {line.label}
                </li>
            }
        })
        .collect_view();
    view! { <ul class="flex flex-wrap gap-x-6 gap-y-2 text-13">{entries}</ul> }.into_any()
}

fn table(title: &str, across: &'static str, at: &[Usd], lines: &[Line]) -> AnyView {
    let heads = lines.iter().map(|line| view! { <th class="number" scope="col">{line.label}</th> }).collect_view();
    let rows = at
        .iter()
        .enumerate()
        .map(|(place, at)| {
            let cells = lines
                .iter()
                .map(|line| {
                    let amount = line.amounts.get(place).copied().unwrap_or_default();
                    view! {
                        <td class="number">
                            <Money amount=amount digits=Digits::Cents />
                        </td>
                    }
                })
                .collect_view();
            view! {
                <tr>
                    <th scope="row">{text(*at, Digits::Cents)}</th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    view! {
        <details>
            <summary class="text-13 text-ink-muted">"Show as a table"</summary>
            <div class="mt-3">
                <Table caption=title.to_owned()>
                    <thead>
                        <tr>
                            <th scope="col">{across}</th>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </Table>
            </div>
        </details>
    }
    .into_any()
}
