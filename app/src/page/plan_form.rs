//! The form that chooses a plan: which one, whose keys, how many seats. Nothing is charged before it was shown.

use crate::post::Refused;
use crate::ui::form::{Field, Submit};
use crate::ui::money::{Digits, text};
use crate::ui::plan::dollars;
use domain::catalogue::{Catalogue, Trial};
use domain::id::{PlanChangeId, PlanId};
use domain::plan::Plan;
use domain::subscription::KeyMode;
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use server::subscription::PlanView;

/// What the form begins with: what was typed, what a link asked for, or what one has.
pub struct Chosen {
    plan: PlanId,
    key_mode: KeyMode,
    seats: String,
    trial: bool,
}

impl Chosen {
    pub fn read(query: &ParamsMap, refused: &Refused, view: &PlanView) -> Chosen {
        let wish = |typed: &str, asked: &str| refused.typed(typed).or_else(|| query.get(asked));
        let seats = view.current.seats.max(view.members);
        Chosen {
            plan: wish("plan", "to").map_or_else(|| view.current.plan.clone(), PlanId::new),
            key_mode: wish("mode", "mode").and_then(|mode| mode.parse().ok()).unwrap_or(view.current.key_mode),
            seats: wish("seats", "seats").unwrap_or_else(|| seats.to_string()),
            trial: wish("trial", "trial").is_some(),
        }
    }
}

/// The form itself; it posts to the page of the plan.
pub fn change_form(
    (catalogue, trial): (&Catalogue, Option<&Trial>),
    view: &PlanView,
    chosen: &Chosen,
    refused: &Refused,
    form_id: &PlanChangeId,
    now: Timestamp,
) -> AnyView {
    let plans: Vec<AnyView> = catalogue
        .plans
        .iter()
        .filter(|plan| plan.listed || plan.id == view.current.plan)
        .filter_map(|plan| plan_row(plan, view, &chosen.plan, now))
        .collect();
    let mode = |mode: KeyMode, label: &'static str, hint: &'static str| -> AnyView {
        view! {
            <label class="flex items-start gap-3">
                <input class="mt-1" type="radio" name="mode" value=mode.as_str() checked=chosen.key_mode == mode />
                <span class="grid">
                    <span class="font-medium">{label}</span>
                    <span class="text-13 text-ink-muted">{hint}</span>
                </span>
            </label>
        }
        .into_any()
    };
    let label = if view.live.is_some() { "See what the change costs" } else { "Continue to payment" };
    let plan_problem = refused.problem("plan");
    view! {
        <section class="grid gap-4" aria-labelledby="choose">
            <div class="grid gap-1">
                <h2 class="text-20 font-semibold" id="choose">
                    {if view.live.is_some() { "Change the plan" } else { "Choose a plan" }}
                </h2>
                <p class="lede">
                    {if view.live.is_some() {
                        "More is had at once and its part of the period is charged; less comes when the paid period ends."
                    } else {
                        "You pay on Stripe's page; we never see your card. You can end the plan at any time."
                    }}
                </p>
            </div>
            <form class="card grid gap-6" method="post" action="/plan">
                <input type="hidden" name="what" value="choose" />
                <input type="hidden" name="plan_change_id" value=form_id.to_string() />
                <fieldset class="grid gap-3">
                    <legend class="field-label mb-2">"Plan"</legend>
                    {plans}
                    {plan_problem.map(|problem| view! { <p class="field-problem">{problem}</p> })}
                </fieldset>
                <fieldset class="grid gap-3">
                    <legend class="field-label mb-2">"Provider keys"</legend>
                    {mode(KeyMode::Standard, "Our keys", "Executions of the plan run on our keys.")}
                    {mode(KeyMode::Byok, "Your own keys", "Cheaper. Needs at least one key of yours that works.")}
                </fieldset>
                <div class="max-w-48">
                    <Field
                        label="Seats"
                        name="seats"
                        kind="number"
                        value=Some(chosen.seats.clone())
                        hint="Counts for plans that are sold by the seat."
                        problem=refused.problem("seats")
                    />
                </div>
                {trial.map(|trial| trial_choice(catalogue, trial, chosen.trial))}
                <p>
                    <Submit label=label />
                </p>
            </form>
        </section>
    }
    .into_any()
}

/// The trial with a card, with what happens at its end.
fn trial_choice(catalogue: &Catalogue, trial: &Trial, is_chosen: bool) -> AnyView {
    let plans: Vec<&str> =
        trial.plans.iter().filter_map(|id| catalogue.plan(id)).map(|plan| plan.name.as_str()).collect();
    let with = if plans.is_empty() { String::new() } else { format!(" With {}.", plans.join(" or ")) };
    let label = format!("Begin with a trial: {} days and {} of credit", trial.days, text(trial.amount, Digits::Cents));
    view! {
        <label class="flex items-start gap-3">
            <input class="mt-1" type="checkbox" name="trial" value="1" checked=is_chosen />
            <span class="grid">
                <span class="font-medium">{label}</span>
                <span class="text-13 text-ink-muted">
                    {format!(
                        "Nothing is paid today.{with} Your card is charged when the trial ends, unless you end the plan before.",
                    )}
                </span>
            </span>
        </label>
    }
    .into_any()
}

fn plan_row(plan: &Plan, view: &PlanView, chosen: &PlanId, now: Timestamp) -> Option<AnyView> {
    let price = plan.price_at(now)?;
    let each = if plan.per_seat { " a seat and month" } else { " a month" };
    let price_text = |usd| format!("{}{each}", text(usd, Digits::Cents));
    let (standard, byok) = (price.standard, price.byok);
    let is_current = plan.id == view.current.plan;
    let amount = match (standard, byok) {
        (None, _) => return Some(by_agreement(plan)),
        (Some(standard), _) if standard.is_zero() => "Free".to_owned(),
        (Some(standard), Some(byok)) => {
            format!("{}, with your keys {}", price_text(standard), text(byok, Digits::Cents))
        }
        (Some(standard), None) => price_text(standard),
    };
    // What it costs for the seats there are, beside the price of one.
    let seats = view.current.seats.max(view.members);
    let month = plan
        .month(now, KeyMode::Standard, seats)
        .filter(|_| plan.per_seat && seats > 1)
        .map(|month| format!("; {} for {seats} seats", text(dollars(month), Digits::Cents)));
    Some(
        view! {
            <label class="flex items-start gap-3">
                <input class="mt-1" type="radio" name="plan" value=plan.id.to_string() checked=&plan.id == chosen />
                <span class="grid">
                    <span class="font-medium">
                        {plan.name.clone()}
                        {is_current.then(|| view! { <span class="text-13 text-ink-muted">" (yours)"</span> })}
                    </span>
                    <span>{amount} {month}</span>
                    <span class="text-13 text-ink-muted">{plan.description.clone()}</span>
                </span>
            </label>
        }
        .into_any(),
    )
}

fn by_agreement(plan: &Plan) -> AnyView {
    view! {
        <p class="pl-7 text-ink-muted">
            <span class="font-medium">{plan.name.clone()}</span>
            ": by agreement. Write to the people who run this site."
        </p>
    }
    .into_any()
}
