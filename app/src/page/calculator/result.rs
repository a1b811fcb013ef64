//! The answer: both totals and how they come about, which is cheaper from where on, and the work in detail.

use super::question::Question;
use crate::page::pricing::address;
use crate::ui::line_chart::{Line, LineChart};
use crate::ui::money::{Digits, Money, grouped, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::{effective_markup_text, round_dollars};
use crate::ui::table::Table;
use domain::calculator::{Cheaper, Estimate, OnOurKeys, Stretch};
use domain::catalogue::Catalogue;
use domain::money::Usd;
use domain::plan::{PayPerUse, Plan};
use domain::subscription::KeyMode;
use leptos::prelude::*;

/// Points of the chart beside its beginning.
const POINTS: i64 = 24;

pub fn view(catalogue: &Catalogue, plan: &Plan, question: &Question, estimate: &Estimate<'_>) -> AnyView {
    let notices = notices(catalogue, plan, question, estimate);
    view! {
        <section class="grid grid-cols-[minmax(0,1fr)] gap-8" id="result" aria-labelledby="result-title">
            <h2 class="text-28 font-semibold tracking-tight" id="result-title">
                {verdict(estimate)}
            </h2>
            {notices}
            <div class="sides">
                {our_side(plan, question, estimate)} {own_side(plan, question, estimate)}
            </div>
            {break_even(estimate)}
            {work_table(catalogue, estimate)}
        </section>
    }
    .into_any()
}

fn cents(amount: Usd) -> String {
    text(amount, Digits::Cents)
}

fn verdict(estimate: &Estimate<'_>) -> String {
    let (ours, own) = (estimate.our_keys.total, estimate.own_keys.total);
    let difference = cents(Usd::from_nanos(ours.nanos().abs_diff(own.nanos()).try_into().unwrap_or(i64::MAX)));
    match ours.cmp(&own) {
        std::cmp::Ordering::Less => format!("Our keys are {difference} a month cheaper"),
        std::cmp::Ordering::Equal => "Both cost the same".to_owned(),
        std::cmp::Ordering::Greater => format!("Your own keys are {difference} a month cheaper"),
    }
}

fn notices(catalogue: &Catalogue, plan: &Plan, question: &Question, estimate: &Estimate<'_>) -> Vec<AnyView> {
    let mut notices = Vec::new();
    let mut say = |tone, title: String| notices.push(view! { <Notice tone=tone title=title /> }.into_any());
    if !plan.per_seat && question.seats > 1 {
        say(Tone::Info, format!("{} is for one person, so this is what one person pays.", plan.name));
    }
    let OnOurKeys { credit, credit_price, .. } = estimate.our_keys.clone();
    match plan.pay_per_use {
        PayPerUse::OptIn if credit.is_positive() => say(
            Tone::Info,
            format!("{} of this is beyond the plan. Credit pays for it once you switch pay-per-use on.", cents(credit)),
        ),
        PayPerUse::Never if credit.is_positive() => {
            say(Tone::Caution, format!("{} of this cannot run on our keys with {}.", cents(credit), plan.name));
        }
        PayPerUse::Always | PayPerUse::OptIn | PayPerUse::Never => {}
    }
    if estimate.is_slowed {
        say(Tone::Info, "So many runs are slowed down towards the end of the month.".to_owned());
    }
    if credit >= catalogue.limits.own_key_advice && credit_price > credit {
        let saved = credit_price.saturating_sub(credit);
        say(
            Tone::Info,
            format!(
                "You would spend {} a month on credit. With your own keys there is no markup on it, which is {} less.",
                cents(credit),
                cents(saved),
            ),
        );
    }
    notices
}

fn side(
    title: &'static str,
    total: Usd,
    is_cheaper: bool,
    rows: Vec<(String, Usd)>,
    note: Option<String>,
    href: String,
) -> AnyView {
    let rows = rows
        .into_iter()
        .map(|(what, amount)| {
            view! {
                <div class="side-row">
                    <dt>{what}</dt>
                    <dd>
                        <Money amount=amount digits=Digits::Cents />
                    </dd>
                </div>
            }
        })
        .collect_view();
    view! {
        <section class="side" data-cheaper=is_cheaper.then_some("true")>
            <h3 class="text-14 font-medium text-ink-muted">{title}</h3>
            <p class="figure">
                <Money amount=total digits=Digits::Cents /> <span class="plan-by">" a month"</span>
            </p>
            <dl class="grid">{rows}</dl>
            <p class="text-13 text-ink-muted">{note}</p>
            <p class="self-end">
                <a class=if is_cheaper { "button button-primary" } else { "button" } href=href>
                    "Choose this"
                </a>
            </p>
        </section>
    }
    .into_any()
}

fn our_side(plan: &Plan, question: &Question, estimate: &Estimate<'_>) -> AnyView {
    let OnOurKeys { fee, included, credit, credit_price, total } = estimate.our_keys.clone();
    let mut rows = vec![(fee_label(plan, question), fee)];
    if included.is_positive() {
        rows.push((format!("Runs worth {}, included", cents(included)), Usd::ZERO));
    }
    if credit.is_positive() {
        rows.push((format!("Credit of {} for the rest", cents(credit)), credit_price));
    }
    let note = estimate.pack.and_then(|pack| {
        let markup = effective_markup_text(pack.price, pack.spendable()?);
        let plain = pack.bonus.is_zero();
        let why = if plain { "paid once, at purchase" } else { "because its bonus counts too" };
        Some(format!("Effective markup {markup}: bought in {} packs, {why}.", round_dollars(pack.amount)))
    });
    let href = address(&plan.id, KeyMode::Standard, plan.quantity(question.seats));
    side("With our keys", total, total < estimate.own_keys.total, rows, note, href)
}

fn own_side(plan: &Plan, question: &Question, estimate: &Estimate<'_>) -> AnyView {
    let own = &estimate.own_keys;
    let mut rows = vec![(fee_label(plan, question), own.fee)];
    if own.provider.is_positive() {
        rows.push(("To your provider, at its list price".to_owned(), own.provider));
    }
    let note = Some("No markup. Your provider bills you for the runs.".to_owned());
    let href = address(&plan.id, KeyMode::Byok, plan.quantity(question.seats));
    side("With your own keys", own.total, own.total < estimate.our_keys.total, rows, note, href)
}

fn fee_label(plan: &Plan, question: &Question) -> String {
    match plan.quantity(question.seats) {
        1 => format!("{} plan", plan.name),
        seats => format!("{} plan, {seats} seats", plan.name),
    }
}

/// Where one side begins to be cheaper: in words, drawn, and as a table.
fn break_even(estimate: &Estimate<'_>) -> Option<AnyView> {
    let stretches = estimate.stretches();
    let first = stretches.first()?;
    let sentence = sentence(first, stretches.get(1..).unwrap_or_default());
    let turn = stretches.get(1).map_or(Usd::ZERO, |stretch| stretch.from);
    let top = chart_top(estimate.cost, turn);
    let lists: Vec<Usd> = (0..=POINTS).map(|at| Usd::from_nanos(top.nanos() / POINTS * at)).collect();
    let totals: Vec<(Usd, Usd)> = lists.iter().map(|list| estimate.totals_at(*list)).collect::<Option<_>>()?;
    let lines = vec![
        Line { label: "With our keys", colour: 1, amounts: totals.iter().map(|(ours, _)| *ours).collect() },
        Line { label: "With your own keys", colour: 3, amounts: totals.iter().map(|(_, own)| *own).collect() },
    ];
    Some(
        view! {
            <section class="grid grid-cols-[minmax(0,1fr)] gap-4" aria-labelledby="break-even">
                <div class="grid gap-1">
                    <h3 class="text-20 font-semibold" id="break-even">
                        "Where they break even"
                    </h3>
                    <p class="lede max-w-prose">{sentence}</p>
                </div>
                <LineChart
                    title="What a month costs, by what the same mix of runs costs at the providers"
                    across="List price of the runs, a month"
                    at=lists
                    lines=lines
                    mark=(estimate.cost, "You".to_owned())
                />
            </section>
        }
        .into_any(),
    )
}

/// Twice the work asked about, or past the first turn where that is near.
fn chart_top(cost: Usd, turn: Usd) -> Usd {
    let twice = cost.saturating_add(cost);
    let past = turn.saturating_add(Usd::from_nanos(turn.nanos() / 2));
    let far = Usd::from_nanos(cost.nanos().saturating_mul(5));
    if past <= far { twice.max(past) } else { twice }
}

fn sentence(first: &Stretch, later: &[Stretch]) -> String {
    let name = |cheaper: Cheaper| match cheaper {
        Cheaper::OurKeys => "our keys are cheaper",
        Cheaper::OwnKeys => "your own keys are cheaper",
        Cheaper::Same => "both cost the same",
    };
    let Some(next) = later.first() else {
        return match first.cheaper {
            Cheaper::OurKeys => "Our keys are cheaper, however much of this you run.".to_owned(),
            Cheaper::OwnKeys => {
                "Your own keys are cheaper from the first run on; ours save you an account at each provider.".to_owned()
            }
            Cheaper::Same => "Both cost the same, however much of this you run.".to_owned(),
        };
    };
    let mut text = format!("Up to {} of list price a month {}", cents(next.from), name(first.cheaper));
    for (at, stretch) in later.iter().enumerate() {
        match later.get(at + 1) {
            Some(after) => {
                text.push_str(&format!(", from there up to {} {}", cents(after.from), name(stretch.cheaper)));
            }
            None => text.push_str(&format!(", and above that {}", name(stretch.cheaper))),
        }
    }
    text.push('.');
    text
}

fn work_table(catalogue: &Catalogue, estimate: &Estimate<'_>) -> AnyView {
    let rows = estimate
        .work
        .iter()
        .map(|work| {
            let (name, model) = match catalogue.skill(&work.skill) {
                Ok(skill) => {
                    let model =
                        catalogue.model(&skill.model).map_or_else(|_| String::new(), |model| model.name.clone());
                    (skill.name.clone(), model)
                }
                Err(_) => (work.skill.to_string(), String::new()),
            };
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    <td class="text-ink-muted">{model}</td>
                    <td class="text-ink-muted">{if work.is_included { "Plan" } else { "Credit" }}</td>
                    <td class="number">{grouped(work.runs)}</td>
                    <td class="number">
                        <Money amount=work.each />
                    </td>
                    <td class="number">
                        <Money amount=work.cost digits=Digits::Cents />
                    </td>
                </tr>
            }
        })
        .collect_view();
    let (runs, cost) = (grouped(estimate.runs), estimate.cost);
    view! {
        <section class="grid grid-cols-[minmax(0,1fr)] gap-3" aria-labelledby="work">
            <h3 class="text-20 font-semibold" id="work">
                "The work, at list price"
            </h3>
            <Table caption="Runs of a month at the providers' list price">
                <thead>
                    <tr>
                        <th scope="col">"Task"</th>
                        <th scope="col">"Model"</th>
                        <th scope="col">"On our keys, paid by"</th>
                        <th class="number" scope="col">
                            "Runs"
                        </th>
                        <th class="number" scope="col">
                            "Each"
                        </th>
                        <th class="number" scope="col">
                            "List price"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
                <tfoot>
                    <tr>
                        <th scope="row">"Together"</th>
                        <td></td>
                        <td></td>
                        <td class="number">{runs}</td>
                        <td></td>
                        <td class="number">
                            <Money amount=cost digits=Digits::Cents />
                        </td>
                    </tr>
                </tfoot>
            </Table>
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(dollars: i64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    #[test]
    fn the_break_even_is_one_sentence() {
        let stretch = |from, cheaper| Stretch { from: usd(from), cheaper };
        let first = stretch(0, Cheaper::OwnKeys);
        assert_eq!(
            sentence(&first, &[stretch(4, Cheaper::OurKeys), stretch(1_653, Cheaper::OwnKeys)]),
            "Up to $4.00 of list price a month your own keys are cheaper, from there up to $1,653.00 our keys are \
             cheaper, and above that your own keys are cheaper."
        );
        assert!(sentence(&first, &[]).starts_with("Your own keys are cheaper from the first run on"));
    }

    #[test]
    fn the_chart_shows_the_first_turn_when_it_is_near() {
        assert_eq!(chart_top(usd(10), usd(4)), usd(20));
        assert_eq!(chart_top(usd(10), usd(30)), usd(45));
        assert_eq!(chart_top(usd(10), usd(1_000)), usd(20), "a far one would flatten the rest");
    }
}
