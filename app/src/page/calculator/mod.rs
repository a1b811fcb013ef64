//! What would I pay? A plan, seats and an amount of work; on our keys or on one's own. The form asks by GET, so an answer
//! has an address that can be sent to somebody.

mod question;
mod result;

use crate::ui::layout::public_about;
use crate::ui::pack::round_dollars;
use crate::ui::table::Chips;
use crate::visitor;
use domain::calculator::{Scenario, estimate};
use domain::catalogue::Catalogue;
use domain::plan::Plan;
use domain::subscription::MOST_SEATS;
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use question::Question;

#[component]
pub fn CalculatorPage() -> impl IntoView {
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    let server = &visitor.server;
    let (catalogue, rates) = (server.catalogue.load_full(), server.rates.load_full());
    let now = server.clock.now();
    let question = Question::from_query(&use_query_map().get_untracked(), &catalogue, now);
    let answer = question.plan(&catalogue).and_then(|plan| {
        let pack = question.pack.as_ref().and_then(|id| catalogue.pack(id).ok());
        let scenario = Scenario { plan, seats: question.seats, runs: question.runs.clone(), pack };
        let estimate = estimate(&catalogue, &rates, now, &scenario)?;
        Some(result::view(&catalogue, plan, &question, &estimate))
    });
    public_about(
        "What would I pay?",
        "What a plan, its seats and your runs cost a month, on credit or with your own keys, and where one becomes cheaper than the other.",
        view! {
            <div class="grid grid-cols-[minmax(0,1fr)] gap-8 pb-8 pt-6 sm:pt-12">
                <div class="grid max-w-3xl gap-3">
                    <h1 class="text-40 font-semibold tracking-tight">"What would I pay?"</h1>
                    <p class="lede">
                        "Worked out by the same rules that bill you: the plan's price, the provider's list price of each run, \
                         and what the credit for it is bought for. Back to the " <a href="/pricing">"prices"</a> "."
                    </p>
                </div>
                <div class="grid grid-cols-[minmax(0,1fr)] items-start gap-10 lg:grid-cols-[20rem_minmax(0,1fr)] lg:gap-14">
                    <div class="grid gap-6">{presets(&catalogue, &question)} {form(&catalogue, &question, now)}</div>
                    {answer.unwrap_or_else(unanswered)}
                </div>
            </div>
        },
    )
}

fn unanswered() -> AnyView {
    view! {
        <section class="empty" aria-label="Result">
            <h2 class="section-title">"There is no price for this"</h2>
            <p class="lede">
                "A plan by agreement, or a task whose model has no rate at the moment, cannot be worked out here. Choose \
                 another plan or leave that task out."
            </p>
        </section>
    }
    .into_any()
}

/// People like you, and one task alone.
fn presets(catalogue: &Catalogue, question: &Question) -> AnyView {
    let profiles = catalogue
        .profiles
        .iter()
        .map(|profile| {
            let href = question.address(&format!("profile={}", profile.id));
            (format!("{} · {}", profile.name, profile.description), href, question.is_profile(profile))
        })
        .collect();
    let tasks = catalogue
        .skills
        .iter()
        .map(|skill| {
            let href = question.address(&format!("only={}", skill.id));
            (skill.name.clone(), href, question.is_only(&skill.id))
        })
        .collect();
    view! {
        <div class="grid gap-3">
            <Chips label="Somebody like" chips=profiles />
            <Chips label="100 runs of" chips=tasks />
        </div>
    }
    .into_any()
}

fn form(catalogue: &Catalogue, question: &Question, now: Timestamp) -> AnyView {
    let option = |value: String, label: String, is_chosen: bool| -> AnyView {
        view! {
            <option value=value selected=is_chosen>
                {label}
            </option>
        }
        .into_any()
    };
    let plans: Vec<AnyView> = question::priced(catalogue, now)
        .map(|plan| option(plan.id.to_string(), plan_label(plan, now), plan.id == question.plan))
        .collect();
    let mut packs = vec![option(String::new(), "The smallest that lasts a month".to_owned(), question.pack.is_none())];
    packs.extend(catalogue.packs.iter().map(|pack| {
        let label = format!("{} packs for {}", round_dollars(pack.amount), round_dollars(pack.price));
        option(pack.id.to_string(), label, question.pack.as_ref() == Some(&pack.id))
    }));
    let runs: Vec<AnyView> =
        catalogue.skills.iter().map(|skill| runs_field(question, &skill.id, &skill.name)).collect();
    view! {
        <form class="grid gap-5" method="get" action="/pricing/calculator#result">
            <div class="field">
                <label for="plan">"Plan"</label>
                <select class="input" id="plan" name="plan">
                    {plans}
                </select>
            </div>
            <div class="field">
                <label for="seats">"People"</label>
                <input
                    class="input"
                    id="seats"
                    name="seats"
                    type="number"
                    min="1"
                    max=MOST_SEATS.to_string()
                    value=question.seats.to_string()
                    aria-invalid=question.seats_problem.as_ref().map(|_| "true")
                    aria-describedby=question.seats_problem.as_ref().map(|_| "seats-problem")
                />
                {question
                    .seats_problem
                    .clone()
                    .map(|problem| {
                        view! {
                            <p class="field-problem" id="seats-problem">
                                {problem}
                            </p>
                        }
                    })}
            </div>
            <fieldset class="grid gap-2">
                <legend class="field-label mb-2">"Runs of each person a month"</legend>
                {runs}
            </fieldset>
            <div class="field">
                <label for="pack">"Credit is bought in"</label>
                <select class="input" id="pack" name="pack">
                    {packs}
                </select>
            </div>
            <button class="button button-primary" type="submit">
                "Work it out"
            </button>
        </form>
    }
    .into_any()
}

fn plan_label(plan: &Plan, now: Timestamp) -> String {
    let by = if plan.per_seat { "a seat a month" } else { "a month" };
    let price = |mode| plan.price_at(now).and_then(|price| price.of(mode)).map(round_dollars).unwrap_or_default();
    let (standard, byok) = (price(domain::subscription::KeyMode::Standard), price(domain::subscription::KeyMode::Byok));
    if standard == byok {
        format!("{}, {standard} {by}", plan.name)
    } else {
        format!("{}, {standard} or {byok} {by}", plan.name)
    }
}

fn runs_field(question: &Question, skill: &domain::id::SkillId, name: &str) -> AnyView {
    let id = format!("run-{skill}");
    let problem_id = format!("{id}-problem");
    let problem = question.problems.get(skill).cloned();
    let described_by = problem.as_ref().map(|_| problem_id.clone());
    let value = question.runs.get(skill).copied().unwrap_or_default().to_string();
    view! {
        <div class="runs-field">
            <label for=id.clone()>{name.to_owned()}</label>
            <input
                class="input"
                id=id.clone()
                name=id
                type="number"
                inputmode="numeric"
                min="0"
                max=domain::calculator::MOST_RUNS.to_string()
                value=value
                aria-invalid=problem.as_ref().map(|_| "true")
                aria-describedby=described_by
            />
            {problem
                .map(|problem| {
                    view! {
                        <p class="field-problem" id=problem_id>
                            {problem}
                        </p>
                    }
                })}
        </div>
    }
    .into_any()
}
