//! The plans side by side. Both prices are in the page; the radio buttons choose which is shown, in the style sheet, and
//! the form asks the server for the rest.

use super::choice::{Choice, Offer, address, offer};
use super::limits::{count_text, kept_text};
use crate::ui::icon::{Glyph, Icon};
use crate::ui::money::{Digits, text};
use crate::ui::pack::round_dollars;
use domain::catalogue::{Catalogue, Trial, TrialKind, TrialModels};
use domain::money::Usd;
use domain::plan::{Allowance, Plan, PlanPrice};
use domain::subscription::{CurrentPlan, KeyMode, MOST_SEATS};
use domain::time::Timestamp;
use leptos::prelude::*;

/// The visitor's comparison, and the columns.
pub fn board(
    catalogue: &Catalogue,
    choice: &Choice,
    current: Option<&CurrentPlan>,
    contact: Option<&str>,
    now: Timestamp,
) -> AnyView {
    let listed: Vec<&Plan> = catalogue.plans.iter().filter(|plan| plan.listed).collect();
    let has_seats = listed.iter().any(|plan| plan.per_seat);
    let price = |plan: &Plan| plan.price_at(now).cloned();
    let most_saved = listed.iter().filter_map(|plan| price(plan)?.byok_saving_percent()).max();
    let columns = listed
        .iter()
        .filter_map(|plan| Some(column(catalogue, plan, &price(plan)?, choice, (current, contact), now)))
        .collect_view();
    view! {
        <form class="plan-board grid gap-5" id="plans" method="get" action="/pricing#plans" data-mode=choice.mode.as_str()>
            <div class="flex flex-wrap items-end gap-x-6 gap-y-4">
                {key_switch(choice.mode, most_saved)}
                {has_seats
                    .then(|| {
                        view! {
                            <div class="flex items-end gap-2">
                                <div class="field">
                                    <label class="text-13" for="seats">
                                        "Seats"
                                    </label>
                                    <input
                                        class="input w-24"
                                        id="seats"
                                        name="seats"
                                        type="number"
                                        min="1"
                                        max=MOST_SEATS.to_string()
                                        required
                                        value=choice.seats.to_string()
                                    />
                                </div>
                                <button class="button plan-update" type="submit">
                                    "Show prices"
                                </button>
                            </div>
                        }
                    })}
                <a class="button sm:ml-auto" href="/pricing/calculator">
                    "What would I pay?"
                </a>
            </div>
            <div class="plans">{columns}</div>
        </form>
    }
    .into_any()
}

fn key_switch(mode: KeyMode, most_saved: Option<i64>) -> AnyView {
    let segment = |value: KeyMode, label: &'static str, more: Option<String>| -> AnyView {
        view! {
            <label class="segment">
                <input type="radio" name="mode" id=format!("mode-{value}") value=value.as_str() checked=value == mode />
                <span>{label}</span>
                {more.map(|more| view! { <span class="segment-more">{more}</span> })}
            </label>
        }
        .into_any()
    };
    let saved = most_saved.map(|percent| format!("up to {percent} % less"));
    view! {
        <fieldset class="segments">
            <legend class="sr-only">"Whose keys the models run on"</legend>
            {segment(KeyMode::Standard, "Our keys", None)}
            {segment(KeyMode::Byok, "Your keys", saved)}
        </fieldset>
    }
    .into_any()
}

/// One plan: what it is, what it costs either way, the button, and the four numbers that tell plans apart.
fn column(
    catalogue: &Catalogue,
    plan: &Plan,
    price: &PlanPrice,
    choice: &Choice,
    (current, contact): (Option<&CurrentPlan>, Option<&str>),
    now: Timestamp,
) -> AnyView {
    let id = format!("plan-{}", plan.id);
    let labelled_by = id.clone();
    let is_current = current.is_some_and(|current| current.plan == plan.id);
    let either = |mode: KeyMode, class: &'static str| {
        let button = button(catalogue, plan, price, (mode, choice.seats), current, contact);
        (
            view! { <div class=class>{price_text(plan, price, mode, choice.seats, now)}</div> },
            view! { <div class=class>{button}</div> },
        )
    };
    let (standard_price, standard_button) = either(KeyMode::Standard, "in-standard");
    let (byok_price, byok_button) = either(KeyMode::Byok, "in-byok");
    view! {
        <section class="plan" aria-labelledby=labelled_by data-current=is_current.then_some("true")>
            <div class="grid content-start gap-1">
                <div class="flex flex-wrap items-center justify-between gap-2">
                    <h2 class="text-16 font-semibold" id=id>
                        {plan.name.clone()}
                    </h2>
                    {is_current.then(|| view! { <span class="plan-mark">"Your plan"</span> })}
                </div>
                <p class="text-14 text-ink-muted">{plan.description.clone()}</p>
            </div>
            <div>{standard_price} {byok_price}</div>
            <div>{standard_button} {byok_button}</div>
            {facts(plan)}
        </section>
    }
    .into_any()
}

fn price_text(plan: &Plan, price: &PlanPrice, mode: KeyMode, seats: u32, now: Timestamp) -> AnyView {
    let Some(unit) = price.of(mode) else {
        return view! {
            <p class="plan-price text-20">"By agreement"</p>
            <p class="plan-note">"Priced to what you need"</p>
        }
        .into_any();
    };
    let by = if plan.per_seat { " a seat a month" } else { " a month" };
    let quantity = plan.quantity(seats);
    let together = plan.month(now, mode, seats).and_then(Usd::from_cents).filter(|_| quantity > 1);
    let note = match (together, saving(price, mode)) {
        (Some(together), _) => format!("{} a month for {quantity} seats", text(together, Digits::Cents)),
        (None, Some(saving)) => saving,
        (None, None) if unit.is_zero() => "No card needed".to_owned(),
        (None, None) => "The same with your own keys".to_owned(),
    };
    let saved = together.and_then(|_| saving(price, mode));
    view! {
        <p class="plan-price">
            {round_dollars(unit)} <span class="plan-by">{by}</span>
        </p>
        <p class="plan-note">{note} {saved.map(|saved| view! { <br /> {saved} })}</p>
    }
    .into_any()
}

/// What the own-key price saves, from either side.
fn saving(price: &PlanPrice, mode: KeyMode) -> Option<String> {
    let percent = price.byok_saving_percent()?;
    Some(match mode {
        KeyMode::Standard => format!("{} with your keys, {percent} % less", round_dollars(price.byok?)),
        KeyMode::Byok => format!("{percent} % less than {} on our keys", round_dollars(price.standard?)),
    })
}

fn button(
    catalogue: &Catalogue,
    plan: &Plan,
    price: &PlanPrice,
    (mode, seats): (KeyMode, u32),
    current: Option<&CurrentPlan>,
    contact: Option<&str>,
) -> AnyView {
    let name = &plan.name;
    if price.of(mode).is_none() {
        return match contact {
            Some(contact) => {
                let href = format!("mailto:{contact}?subject={name}");
                view! { <a class="button w-full" href=href>"Write to us"</a> }.into_any()
            }
            None => view! { <p class="plan-note">"Ask whoever runs this installation"</p> }.into_any(),
        };
    }
    let quantity = plan.quantity(seats);
    let is_free = price.of(mode).is_some_and(Usd::is_zero);
    let rank = |id: &domain::id::PlanId| catalogue.plans.iter().position(|plan| &plan.id == id);
    let (label, href, is_primary) = match offer(current, &plan.id, mode, quantity, is_free, rank) {
        Offer::SignUp => ("Sign up".to_owned(), "/sign-up".to_owned(), false),
        Offer::Choose if is_free => ("See your plan".to_owned(), "/plan".to_owned(), false),
        Offer::Choose => (format!("Choose {name}"), address(&plan.id, mode, quantity), true),
        Offer::Current => ("Manage your plan".to_owned(), "/plan".to_owned(), false),
        Offer::SwitchKeys => {
            let keys = match mode {
                KeyMode::Standard => "Switch to our keys",
                KeyMode::Byok => "Switch to your keys",
            };
            (keys.to_owned(), address(&plan.id, mode, quantity), true)
        }
        Offer::ChangeSeats => (format!("Change to {quantity} seats"), address(&plan.id, mode, quantity), true),
        Offer::Upgrade => (format!("Upgrade to {name}"), address(&plan.id, mode, quantity), true),
        Offer::Downgrade => (format!("Downgrade to {name}"), address(&plan.id, mode, quantity), false),
    };
    let class = if is_primary { "button button-primary w-full" } else { "button w-full" };
    view! { <a class=class href=href>{label}</a> }.into_any()
}

fn facts(plan: &Plan) -> AnyView {
    let limits = &plan.limits;
    let runs = match limits.executions_a_month {
        Allowance::AtMost(0) => ("From credit".to_owned(), "Runs on our keys"),
        Allowance::AtMost(_) if plan.per_seat => {
            (format!("{} a seat", count_text(limits.executions_a_month)), "Runs a month")
        }
        Allowance::AtMost(_) | Allowance::Unlimited => (count_text(limits.executions_a_month), "Runs a month"),
    };
    let fact = |(value, what): (String, &'static str)| -> AnyView {
        view! {
            <div class="plan-fact">
                <dt>{what}</dt>
                <dd>{value}</dd>
            </div>
        }
        .into_any()
    };
    view! {
        <dl class="plan-facts">
            {fact(runs)} {fact((count_text(limits.running_agents), "Running agents"))}
            {fact((kept_text(limits.log_retention_hours), "Logs kept"))} {fact((limits.support.clone(), "Support"))}
        </dl>
    }
    .into_any()
}

/// How to try it before paying.
pub fn trials(catalogue: &Catalogue) -> AnyView {
    let offered: Vec<AnyView> = TrialKind::ALL
        .iter()
        .filter_map(|&kind| catalogue.trial(kind))
        .map(|trial| {
            view! {
                <li class="grid content-start gap-1 border-t-2 border-line pt-3">
                    <h3 class="flex items-center gap-2 text-14 font-semibold">
                        <Icon glyph=Glyph::Check />
                        {trial_title(trial)}
                    </h3>
                    <p class="text-14 text-ink-muted">{trial_text(trial, catalogue)}</p>
                </li>
            }
            .into_any()
        })
        .collect();
    view! {
        <section class="grid gap-4" aria-labelledby="trials">
            <h2 class="text-20 font-semibold" id="trials">
                "Try it first"
            </h2>
            <ul class="grid gap-5 sm:grid-cols-3">{offered}</ul>
        </section>
    }
    .into_any()
}

fn trial_title(trial: &Trial) -> String {
    match trial.kind {
        TrialKind::OwnKey => format!("{} days with your own key", trial.days),
        TrialKind::Managed => format!("{} days and {}, no card", trial.days, round_dollars(trial.amount)),
        TrialKind::ManagedWithCard => format!("{} days and {}, with a card", trial.days, round_dollars(trial.amount)),
    }
}

fn trial_text(trial: &Trial, catalogue: &Catalogue) -> String {
    let models = match &trial.models {
        TrialModels::All => "Every model".to_owned(),
        TrialModels::Only(models) => {
            let names: Vec<String> = models
                .iter()
                .map(|id| catalogue.model(id).map_or_else(|_| id.to_string(), |model| model.name.clone()))
                .collect();
            names.join(" and ")
        }
    };
    match trial.kind {
        TrialKind::OwnKey => format!("{models}, at your provider's price. Nothing is charged here."),
        TrialKind::Managed => format!("{models}, on our keys. It ends by itself."),
        TrialKind::ManagedWithCard => {
            format!("{models}, on our keys. Then the plan you chose begins, unless you cancel before.")
        }
    }
}
