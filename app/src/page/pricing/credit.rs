//! Credit: what the markup means in one worked line, the packs, what tasks cost, and the rate card with its date.

use super::limits::per_million;
use crate::ui::money::{Digits, Money, text_in_cents};
use crate::ui::pack::{offers, percent_text, round_dollars};
use crate::ui::table::Table;
use crate::ui::when::in_zone;
use domain::catalogue::{Catalogue, Model, ModelClass};
use domain::money::Rate;
use domain::quote::typical;
use domain::rate::{ModelRate, RateBook};
use domain::route::offered;
use domain::time::Timestamp;
use leptos::prelude::*;

/// The task that the worked line is about.
const EXAMPLE: &str = "prd";

pub fn section(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> AnyView {
    let markup = percent_text(catalogue.markup).replace(".0 %", " %");
    view! {
        <section class="grid gap-8" aria-labelledby="credit">
            <div class="grid gap-3">
                <h2 class="text-28 font-semibold tracking-tight" id="credit">
                    {format!("1 credit dollar = 1 provider dollar; {markup} once, at purchase")}
                </h2>
                {worked_line(catalogue, rates, now)}
            </div>
            <div class="grid gap-10 lg:grid-cols-2">
                {pack_table(catalogue)} {task_table(catalogue, rates, now)}
            </div>
        </section>
    }
    .into_any()
}

/// `$11.50 buys $10.00; a PRD costs about 10.5 ¢ of it, so it lasts for 95.`
fn worked_line(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> Option<AnyView> {
    let pack = catalogue.packs.first()?;
    let skill = catalogue.skills.iter().find(|skill| skill.id.as_str() == EXAMPLE).or(catalogue.skills.first())?;
    let cost = typical(catalogue, rates, now, skill).filter(|cost| cost.is_positive())?;
    let lasts = pack.amount.nanos().checked_div(cost.nanos())?;
    let (price, amount) = (pack.price, pack.amount);
    let name = skill.name.clone();
    Some(
        view! {
            <p class="lede max-w-prose">
                <Money amount=price digits=Digits::Cents /> " buys " <Money amount=amount digits=Digits::Cents />
                {format!(
                    " of credit. A {name} costs about {} of it, so it lasts for {lasts} of them. Empty or failed answers \
                     are not charged, and credit that you bought never expires.",
                    text_in_cents(cost),
                )}
            </p>
        }
        .into_any(),
    )
}

fn pack_table(catalogue: &Catalogue) -> AnyView {
    let rows = offers(catalogue)
        .into_iter()
        .map(|offer| {
            let bonus = offer.pack.bonus;
            view! {
                <tr>
                    <th class="whitespace-nowrap" scope="row">{format!("{} pack", round_dollars(offer.pack.amount))}</th>
                    <td class="number">
                        <Money amount=offer.pack.price digits=Digits::Cents />
                    </td>
                    <td class="number">
                        {if bonus.is_positive() {
                            view! { <Money amount=bonus digits=Digits::Cents /> }.into_any()
                        } else {
                            view! { <span class="text-ink-muted">"—"</span> }.into_any()
                        }}
                    </td>
                    <td class="number">
                        <Money amount=offer.spendable digits=Digits::Cents />
                    </td>
                    <td class="number">{offer.markup}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="grid min-w-0 content-start gap-3">
            <h3 class="text-16 font-semibold">"Packs"</h3>
            <Table caption="Credit packs with their effective markup">
                <thead>
                    <tr>
                        <th scope="col">"Pack"</th>
                        <th class="number" scope="col">
                            "You pay"
                        </th>
                        <th class="number" scope="col">
                            "Bonus"
                        </th>
                        <th class="number" scope="col">
                            "You can spend"
                        </th>
                        <th class="number" scope="col">
                            "Effective markup"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </div>
    }
    .into_any()
}

fn task_table(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> AnyView {
    let rows = catalogue
        .skills
        .iter()
        .filter_map(|skill| Some((skill, typical(catalogue, rates, now, skill)?)))
        .map(|(skill, cost)| {
            let model =
                catalogue.model(&skill.model).map_or_else(|_| skill.model.to_string(), |model| model.name.clone());
            view! {
                <tr>
                    <th scope="row">{skill.name.clone()}</th>
                    <td class="text-ink-muted">{model}</td>
                    <td class="number">
                        <Money amount=cost />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="grid min-w-0 content-start gap-3">
            <h3 class="text-16 font-semibold">"What tasks cost"</h3>
            <Table caption="Typical cost of each task, in credit">
                <thead>
                    <tr>
                        <th scope="col">"Task"</th>
                        <th scope="col">"Model"</th>
                        <th class="number" scope="col">
                            "Typical cost"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </div>
    }
    .into_any()
}

/// What each model costs, for a million tokens, and from when on.
pub fn rate_card(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> AnyView {
    let priced: Vec<(&Model, &ModelRate)> = offered(catalogue, rates, now)
        .into_iter()
        .filter_map(|model| Some((model, rates.rate_of(model, now)?)))
        .collect();
    let checked = day(catalogue.shipped_rates.checked_at);
    let rows = priced.iter().map(|(model, rate)| rate_row(model, rate)).collect_view();
    view! {
        <section class="grid grid-cols-[minmax(0,1fr)] gap-4" aria-labelledby="rates">
            <div class="grid gap-1">
                <h2 class="text-28 font-semibold tracking-tight" id="rates">
                    "Rate card"
                </h2>
                <p class="lede max-w-prose">
                    {format!(
                        "What the providers charge for a million tokens, and what your credit pays: the same. Last compared \
                         with their price lists on {checked}. A change counts from its date on; what was charged before is \
                         never repriced.",
                    )}
                </p>
            </div>
            <Table caption="Rates of every model, in dollars for a million tokens">
                <thead>
                    <tr>
                        <th scope="col">"Model"</th>
                        <th scope="col">"Class"</th>
                        <th class="number" scope="col">
                            "Input"
                        </th>
                        <th class="number" scope="col">
                            "Output"
                        </th>
                        <th class="number" scope="col">
                            "Cache read"
                        </th>
                        <th class="number" scope="col">
                            "Cache write"
                        </th>
                        <th class="number" scope="col">
                            "Since"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </section>
    }
    .into_any()
}

fn rate_row(model: &Model, rate: &ModelRate) -> AnyView {
    let class = match model.class {
        ModelClass::Fast => "Fast",
        ModelClass::Standard => "Standard",
        ModelClass::Heavy => "Heavy",
    };
    let price = |rate: Option<Rate>| -> AnyView {
        match rate.and_then(per_million) {
            Some(amount) => view! { <Money amount=amount /> }.into_any(),
            None => view! { <span class="text-ink-muted">"as input"</span> }.into_any(),
        }
    };
    let prices = &rate.prices;
    view! {
        <tr>
            <th class="whitespace-nowrap" scope="row">
                {model.name.clone()} <span class="block text-13 font-normal text-ink-muted">{model.provider.name()}</span>
            </th>
            <td class="text-ink-muted">{class}</td>
            <td class="number">{price(Some(prices.input))}</td>
            <td class="number">{price(Some(prices.output))}</td>
            <td class="number">{price(prices.cache_read)}</td>
            <td class="number">{price(prices.cache_write_5m)}</td>
            <td class="number text-ink-muted">{day(rate.effective_at)}</td>
        </tr>
    }
    .into_any()
}

/// `1 Oct 2025`.
pub fn day(at: Timestamp) -> String {
    in_zone(at, "UTC").strftime("%-d %b %Y").to_string()
}
