//! How a key has been doing: a line of the last 30 days with a table of the same, and what was run with it this month.

use crate::ui::money::{Digits, text};
use domain::id::ProviderKeyId;
use domain::money::Usd;
use domain::time::Timestamp;
use leptos::prelude::*;
use server::provider_key::KeyDay;

const DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// The last 30 days of a key.
pub fn line(id: &ProviderKeyId, days: &[KeyDay], now: Timestamp) -> AnyView {
    let days: Vec<KeyDay> = days.iter().filter(|day| day.provider_key_id == *id).cloned().collect();
    if days.is_empty() {
        return view! { <p class="text-13 text-ink-muted">"Nothing is known of its days yet."</p> }.into_any();
    }
    let of = |back: i64| {
        let at = now.day().plus_seconds(-back * DAY_SECONDS);
        days.iter().find(|day| day.day == at)
    };
    let count = |kind: fn(&KeyDay) -> bool| days.iter().filter(|day| kind(day)).count();
    let good = count(|day| day.failed == 0 && day.limited == 0);
    let trouble = days.len() - good;
    let label = format!("The last 30 days: {good} good, {trouble} with trouble, the others without a sign");
    let bars = (0..DAYS)
        .rev()
        .zip(0_i64..)
        .map(|(back, at)| {
            let (class, height) = match of(back) {
                None => ("fill-line-strong", 4),
                Some(day) if day.failed > 0 => ("fill-danger", 16),
                Some(day) if day.limited > 0 => ("fill-caution", 11),
                Some(_) => ("fill-positive", 16),
            };
            let (x, y) = (at * 7, 16 - height);
            view! { <rect class=class x=x y=y width="5" height=height rx="1" /> }
        })
        .collect_view();
    let rows = days
        .iter()
        .rev()
        .map(|day| {
            let (good, limited, failed, runs) = (day.good, day.limited, day.failed, day.runs);
            view! {
                <tr>
                    <th scope="row">{day.day.utc_day()}</th>
                    <td class="number">{good}</td>
                    <td class="number">{limited}</td>
                    <td class="number">{failed}</td>
                    <td class="number">{runs}</td>
                    <td class="number">{text(day.cost, Digits::Short)}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <details class="grid gap-2">
            <summary class="w-fit cursor-pointer">
                <svg class="inline-block" width="210" height="16" viewBox="0 0 210 16" role="img" aria-label=label>
                    {bars}
                </svg>
            </summary>
            <div class="table-scroll" role="region" aria-label="The last 30 days" tabindex="0">
                <table class="table text-13">
                    <thead>
                        <tr>
                            <th scope="col">"Day, UTC"</th>
                            <th scope="col" class="number">"Good"</th>
                            <th scope="col" class="number">"Slowed"</th>
                            <th scope="col" class="number">"Failed"</th>
                            <th scope="col" class="number">"Runs"</th>
                            <th scope="col" class="number">"List price"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </details>
    }
    .into_any()
}

/// `$3.10 of list price in 30 days`; `None` when nothing was run with it.
pub fn spend(id: &ProviderKeyId, days: &[KeyDay]) -> Option<String> {
    let days = days.iter().filter(|day| day.provider_key_id == *id);
    let (runs, cost) =
        days.fold((0_i64, Usd::ZERO), |(runs, cost), day| (runs + day.runs, cost.saturating_add(day.cost)));
    let count = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
    (runs > 0).then(|| format!("{count}, {} of list price in 30 days", text(cost, Digits::Short)))
}
