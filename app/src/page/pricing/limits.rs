//! Every limit of every plan, as one table.

use crate::ui::money::{Digits, grouped, text};
use crate::ui::pack::{percent_text, round_dollars};
use crate::ui::table::Table;
use domain::catalogue::{Catalogue, ModelClass};
use domain::money::Usd;
use domain::plan::{Allowance, PayPerUse, Plan, PlanLimits};
use domain::subscription::KeyMode;
use domain::time::Timestamp;
use leptos::prelude::*;

/// Whether a plan includes any run at all.
pub fn includes_runs(limits: &PlanLimits) -> bool {
    limits.executions_a_month != Allowance::AtMost(0)
}

pub fn count_text(allowance: Allowance) -> String {
    match allowance {
        Allowance::AtMost(0) => "None".to_owned(),
        Allowance::AtMost(number) => grouped(number),
        Allowance::Unlimited => "Unlimited".to_owned(),
    }
}

/// How long logs are kept.
pub fn kept_text(hours: u64) -> String {
    match (hours % 24, hours / 24) {
        (0, 365) => "1 year".to_owned(),
        (0, days) if days > 1 => format!("{days} days"),
        _ => format!("{hours} hours"),
    }
}

pub fn section(catalogue: &Catalogue, now: Timestamp) -> AnyView {
    let plans: Vec<&Plan> = catalogue.plans.iter().filter(|plan| plan.listed).collect();
    let head = plans.iter().map(|plan| view! { <th scope="col">{plan.name.clone()}</th> }).collect_view();
    let rows = rows(catalogue, now)
        .into_iter()
        .map(|(label, value)| {
            let cells = plans.iter().map(|plan| view! { <td>{value(plan)}</td> }).collect_view();
            view! {
                <tr>
                    <th scope="row">{label}</th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    let unlisted = catalogue.plans.iter().find(|plan| !plan.listed && plan.id == catalogue.signup_plan).map(|plan| {
        let agents = count_text(plan.limits.running_agents);
        let logs = kept_text(plan.limits.log_retention_hours);
        format!(" Before you choose one, your account runs {agents} agent and keeps logs for {logs}.")
    });
    view! {
        <section class="grid grid-cols-[minmax(0,1fr)] gap-4" aria-labelledby="limits">
            <div class="grid gap-1">
                <h2 class="text-28 font-semibold tracking-tight" id="limits">
                    "Every limit, side by side"
                </h2>
                <p class="lede max-w-prose">
                    {format!(
                        "One run on our keys takes at most {} tokens, input and output together. With your own key your \
                         provider's limits count.",
                        grouped(catalogue.limits.execution_tokens),
                    )} {unlisted}
                </p>
            </div>
            <div class="limit-table">
                <Table caption="Limits of every plan">
                    <thead>
                        <tr>
                            <th scope="col">
                                <span class="sr-only">"Limit"</span>
                            </th>
                            {head}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </Table>
            </div>
        </section>
    }
    .into_any()
}

type Value<'a> = Box<dyn Fn(&Plan) -> String + 'a>;

/// The rows: what each is called, and what it is for a plan.
fn rows(catalogue: &Catalogue, now: Timestamp) -> Vec<(&'static str, Value<'_>)> {
    let price = move |plan: &Plan, mode| {
        let by = if plan.per_seat { " a seat" } else { "" };
        match plan.price_at(now).and_then(|price| price.of(mode)) {
            Some(unit) => format!("{}{by}", round_dollars(unit)),
            None => "By agreement".to_owned(),
        }
    };
    let seat = |plan: &Plan, text: String| {
        if plan.per_seat && text != "Unlimited" && text != "None" { format!("{text} a seat") } else { text }
    };
    let mut rows: Vec<(&'static str, Value<'_>)> = vec![
        ("A month on our keys", Box::new(move |plan| price(plan, KeyMode::Standard))),
        ("A month on your keys", Box::new(move |plan| price(plan, KeyMode::Byok))),
        ("Runs included a month", Box::new(move |plan| seat(plan, count_text(plan.limits.executions_a_month)))),
    ];
    if catalogue.plans.iter().any(|plan| plan.limits.throttled_after.is_some()) {
        rows.push(("Slowed down", Box::new(slowed_text)));
    }
    if catalogue.plans.iter().any(|plan| includes_runs(&plan.limits)) {
        rows.push(("Not among the included", Box::new(|plan| refused_text(plan, catalogue))));
    }
    rows.push(("What credit pays for", Box::new(|plan| credit_text(plan).to_owned())));
    rows.push(("Running agents", Box::new(|plan| count_text(plan.limits.running_agents))));
    rows.push(("Sandbox tries a day", Box::new(|plan| count_text(plan.limits.sandbox_tries_a_day))));
    rows.push(("Channels", Box::new(|plan| plan.limits.channels.clone())));
    rows.push(("Logs are kept", Box::new(|plan| kept_text(plan.limits.log_retention_hours))));
    if catalogue.plans.iter().any(|plan| plan.limits.daily_spend_cap.is_some()) {
        rows.push(("Included runs cost at most, a day", Box::new(move |plan| cap_text(plan, now))));
    }
    rows.push(("Support", Box::new(|plan| plan.limits.support.clone())));
    rows.push(("Promised availability", Box::new(|plan| sla_text(&plan.limits))));
    rows
}

fn slowed_text(plan: &Plan) -> String {
    match (plan.limits.throttled_after, plan.limits.throttled_to_a_minute) {
        (Some(after), Some(a_minute)) => {
            let by = if plan.per_seat { " a seat" } else { "" };
            format!("To {a_minute} a minute after {}{by}", grouped(after))
        }
        (None, _) | (_, None) => "Never".to_owned(),
    }
}

fn refused_text(plan: &Plan, catalogue: &Catalogue) -> String {
    let limits = &plan.limits;
    let class = |class: &ModelClass| match class {
        ModelClass::Fast => "fast models",
        ModelClass::Standard => "standard models",
        ModelClass::Heavy => "heavy models",
    };
    let mut names: Vec<String> =
        limits.refused_classes.iter().chain(&limits.not_in_allowance).map(|it| class(it).to_owned()).collect();
    names.extend(
        limits
            .refused_models
            .iter()
            .map(|id| catalogue.model(id).map_or_else(|_| id.to_string(), |model| model.name.clone())),
    );
    let text = if names.is_empty() { "Nothing: every model is included".to_owned() } else { names.join(", ") };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn credit_text(plan: &Plan) -> &'static str {
    match plan.pay_per_use {
        PayPerUse::Always => "Every run on our keys",
        PayPerUse::OptIn => "The rest, if you switch it on",
        PayPerUse::Never => "Nothing",
    }
}

fn cap_text(plan: &Plan, now: Timestamp) -> String {
    let by = if plan.per_seat { " a seat" } else { "" };
    match plan.limits.daily_spend_cap {
        Some(cap) => format!("{}{by}", text(cap, Digits::Cents)),
        None if plan.price_at(now).is_some_and(|price| price.standard.is_none()) => "By agreement".to_owned(),
        None => "No cap".to_owned(),
    }
}

fn sla_text(limits: &PlanLimits) -> String {
    limits.sla.map_or_else(|| "None".to_owned(), percent_text)
}

/// A model's price for a million tokens.
pub fn per_million(rate: domain::money::Rate) -> Option<Usd> {
    rate.picos().checked_mul(1_000).map(Usd::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_kept_in_the_unit_people_think_in() {
        for (hours, text) in
            [(24, "24 hours"), (36, "36 hours"), (720, "30 days"), (2_160, "90 days"), (8_760, "1 year")]
        {
            assert_eq!(kept_text(hours), text);
        }
    }
}
