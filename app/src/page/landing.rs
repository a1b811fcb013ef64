//! What Tokenbank is, for somebody who never saw it. Every number comes from the catalogue and its rates.

use crate::ui::band::Band;
use crate::ui::layout::public;
use crate::ui::money::{Digits, Money, grouped, text_in_cents};
use crate::ui::pack::{offers, percent_text, round_dollars};
use crate::ui::table::Table;
use crate::visitor;
use domain::catalogue::{Catalogue, Skill};
use domain::money::Usd;
use domain::quote::{Draft, History, Media, Quote, quote, typical};
use domain::rate::RateBook;
use domain::time::Timestamp;
use leptos::prelude::*;

/// The task that the examples on this page are about.
const EXAMPLE: &str = "prd";

#[component]
pub fn LandingPage() -> impl IntoView {
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    let (catalogue, rates) = (visitor.server.catalogue.load_full(), visitor.server.rates.load_full());
    let now = visitor.server.clock.now();
    let example = example(&catalogue, &rates, now);
    public(
        "Prepaid credit for AI agents",
        view! {
            <section class="grid items-center gap-10 py-8 sm:py-16 lg:grid-cols-[1.1fr_1fr] lg:gap-16">
                <div class="grid gap-5">
                    <h1 class="text-40 font-semibold tracking-tight">"Know the price before the model runs."</h1>
                    <p class="lede max-w-prose text-16">
                        "Tokenbank is the billing console and gateway in front of your AI agents. You buy credit once, see "
                        "what each run will cost before it starts, and find every call on a statement, metered to the "
                        "nano-dollar."
                    </p>
                    <p class="flex flex-wrap gap-3">
                        <a class="button button-primary button-large" href="/sign-up">
                            "Sign up"
                        </a>
                        <a class="button button-large" href="/pricing">
                            "See the prices"
                        </a>
                    </p>
                </div>
                {example.as_ref().map(|example| preview(example, &catalogue))}
            </section>
            {three_steps()}
            {worked_line(&catalogue, example.as_ref())}
            <section class="grid gap-12 py-8 lg:grid-cols-2" aria-label="Prices">
                {pack_table(&catalogue)} {task_table(&catalogue, &rates, now)}
                <p class="lede lg:col-span-2">
                    "Plans, limits and the rate of every model stand on the " <a href="/pricing">"pricing page"</a>
                    ". What it would be for you, works out the " <a href="/pricing/calculator">"calculator"</a> "."
                </p>
            </section>
        },
    )
}

/// The example task with its quote at the sizes that the catalogue expects.
struct Example {
    skill: Skill,
    quote: Quote,
    typical: Usd,
}

fn example(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> Option<Example> {
    let skill =
        catalogue.skills.iter().find(|skill| skill.id.as_str() == EXAMPLE).or(catalogue.skills.first())?.clone();
    let draft = Draft {
        skill: Some(skill.id.clone()),
        model: skill.model.clone(),
        // Four bytes a token, less what the skill's own prompt takes.
        input_bytes: skill.prior_input_tokens.saturating_mul(4).saturating_sub(skill.prompt_bytes),
        media: Media::default(),
        max_output_tokens: None,
        writes_cache: false,
    };
    let quote = quote(catalogue, rates, now, &draft, &History::default()).ok()?;
    let typical = typical(catalogue, rates, now, &skill)?;
    Some(Example { skill, quote, typical })
}

/// The cost preview as it looks in the console, as a picture.
fn preview(example: &Example, catalogue: &Catalogue) -> impl IntoView + use<> {
    let Example { skill, quote, .. } = example;
    let model = model_name(catalogue, skill);
    let balance = catalogue.packs.first().and_then(domain::pack::Pack::spendable).unwrap_or_default();
    let after = balance.saturating_sub(quote.likely);
    view! {
        <figure class="card grid gap-5 p-6 shadow-float">
            <figcaption class="grid gap-0.5">
                <span class="font-semibold">{skill.name.clone()}</span>
                <span class="text-13 text-ink-muted">
                    {format!(
                        "{model} · about {} tokens in, {} out",
                        grouped(quote.input_tokens),
                        grouped(quote.output_tokens),
                    )}
                </span>
            </figcaption>
            <p class="figure">"≈ " <Money amount=quote.likely digits=Digits::Cents /></p>
            <div class="grid gap-1.5">
                <Band p50=quote.p50 likely=quote.likely p90=quote.p90 ceiling=quote.ceiling />
                <p class="flex justify-between gap-4 text-13">
                    <span class="text-ink-muted">
                        "usually " <Money amount=quote.p50 digits=Digits::Cents /> " to "
                        <Money amount=quote.p90 digits=Digits::Cents />
                    </span>
                    <span>"at most " <Money amount=quote.ceiling digits=Digits::Cents /></span>
                </p>
            </div>
            <p class="border-t border-line pt-4 text-14 text-ink-muted">
                "Paid from: credits · balance " <Money amount=balance digits=Digits::Cents /> " → about "
                <Money amount=after digits=Digits::Cents />
            </p>
        </figure>
    }
}

fn three_steps() -> impl IntoView {
    let step = |title: &'static str, text: &'static str| {
        view! {
            <li class="grid content-start gap-1.5 border-t-2 border-line pt-4">
                <h3 class="text-16">{title}</h3>
                <p class="text-14 text-ink-muted">{text}</p>
            </li>
        }
    };
    view! {
        <section class="grid gap-6 py-8" aria-labelledby="steps">
            <h2 class="text-20 font-semibold" id="steps">
                "One run, from price to statement"
            </h2>
            <ol class="grid gap-6 sm:grid-cols-3">
                {step(
                    "Before: a price",
                    "A likely cost, the usual range, and the most it can be. Cheaper models that can do it stand beside it.",
                )}
                {step(
                    "During: a limit",
                    "The most it can cost is set aside. The run stops there and says so; it cannot spend what you do not have.",
                )}
                {step(
                    "After: a statement",
                    "Tokens × rate = cost, with the rate's date. Empty or failed answers are not charged.",
                )}
            </ol>
        </section>
    }
}

/// What the markup means, in one line.
fn worked_line(catalogue: &Catalogue, example: Option<&Example>) -> impl IntoView + use<> {
    let pack = catalogue.packs.first()?;
    let markup = percent_text(catalogue.markup).replace(".0 %", " %");
    let (price, amount) = (pack.price, pack.amount);
    let cost = example.map(|example| {
        let article = if example.skill.name.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
        format!("{article} {} costs about {} of it", example.skill.name, text_in_cents(example.typical))
    });
    Some(view! {
        <section class="grid gap-3 py-8" aria-labelledby="markup">
            <h2 class="text-20 font-semibold" id="markup">
                {format!("What {markup} means")}
            </h2>
            <p class="max-w-3xl text-28 font-medium tracking-tight">
                <Money amount=price digits=Digits::Cents /> " buys " <Money amount=amount digits=Digits::Cents />
                {cost.map(|cost| format!("; {cost}."))}
            </p>
            <p class="lede max-w-prose">
                "The markup is charged once, when you buy. After that, $1 of credit pays $1 of what the provider charges. "
                "Credit that you bought never expires."
            </p>
        </section>
    })
}

fn pack_table(catalogue: &Catalogue) -> impl IntoView + use<> {
    let rows = offers(catalogue)
        .into_iter()
        .map(|offer| {
            view! {
                <tr>
                    <th scope="row">{format!("{} pack", round_dollars(offer.pack.amount))}</th>
                    <td class="number">
                        <Money amount=offer.pack.price digits=Digits::Cents />
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
        <div class="grid content-start gap-3">
            <h2 class="text-20 font-semibold">"Packs"</h2>
            <Table caption="Credit packs with their effective markup">
                <thead>
                    <tr>
                        <th scope="col">"Pack"</th>
                        <th class="number" scope="col">
                            "You pay"
                        </th>
                        <th class="number" scope="col">
                            "You can spend"
                        </th>
                        <th class="number" scope="col">
                            "Markup"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </div>
    }
}

fn task_table(catalogue: &Catalogue, rates: &RateBook, now: Timestamp) -> impl IntoView + use<> {
    let rows = catalogue
        .skills
        .iter()
        .filter_map(|skill| Some((skill, typical(catalogue, rates, now, skill)?)))
        .map(|(skill, cost)| {
            view! {
                <tr>
                    <th scope="row">{skill.name.clone()}</th>
                    <td class="text-ink-muted">{model_name(catalogue, skill)}</td>
                    <td class="number">
                        <Money amount=cost />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="grid content-start gap-3">
            <h2 class="text-20 font-semibold">"What tasks cost"</h2>
            <Table caption="Typical cost of each task">
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
}

fn model_name(catalogue: &Catalogue, skill: &Skill) -> String {
    catalogue.model(&skill.model).map_or_else(|_| skill.model.to_string(), |model| model.name.clone())
}
