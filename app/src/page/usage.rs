//! What ran, what it used and what it cost: the month in three figures and a chart, then every run.

use crate::page::refused_runs;
use crate::ui::chart::{Bar, BarChart};
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, grouped};
use crate::ui::run_state::{EndState, words};
use crate::ui::table::{Chips, Pager, Table};
use crate::ui::when::{When, in_zone};
use crate::visitor::signed_in;
use domain::catalogue::Catalogue;
use domain::execution::ExecutionState;
use domain::funding::FundingSource;
use domain::id::{AgentId, ExecutionId, ModelId, SkillId};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::agent::load_name;
use server::usage::{ExecutionRow, Filter, MonthSummary, list_executions, load_month};

/// Runs on one page.
const ROWS: i64 = 25;

#[component]
pub fn UsagePage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    console(Section::Usage, "Usage", async move {
        let (server, user) = signed_in()?;
        let filter = Filter {
            model: query.get("model").map(ModelId::new),
            skill: query.get("skill").map(SkillId::new),
            agent: query.get("agent").map(AgentId::new),
            state: query.get("state").and_then(|state| state.parse().ok()),
        };
        let before = query.get("before").map(ExecutionId::new);
        let month = load_month(&server, &user.account_id, server.clock.now()).await?;
        let mut rows = list_executions(&server, &user.account_id, &filter, before.as_ref(), ROWS + 1).await?;
        let next = take_next(&mut rows);
        let catalogue = server.catalogue.load_full();
        let is_first_page = before.is_none();
        let refused = refused_runs::notice(&server, &user.account_id, &user.time_zone).await?;
        let is_filtered = filter != Filter::default();
        let agent = match &filter.agent {
            Some(agent_id) => load_name(&server, &user.account_id, agent_id).await?,
            None => None,
        };

        Ok(view! {
            <div class="grid gap-10">
                <h1 class="page-title">"Usage"</h1>
                {refused}
                {figures(&month)}
                {by_day(&month)}
                <section class="grid gap-4" aria-labelledby="runs">
                    <h2 class="text-20 font-semibold" id="runs">
                        "Runs"
                    </h2>
                    {filters(&filter, agent, &catalogue)}
                    {if rows.is_empty() {
                        no_rows(is_filtered, is_first_page).into_any()
                    } else {
                        runs_table(rows, &catalogue, &user.time_zone).into_any()
                    }}
                    <Pager
                        first=(!is_first_page).then(|| address(&filter, None))
                        next=next.map(|last| address(&filter, Some(&last)))
                    />
                </section>
            </div>
        })
    })
}

/// Drops the row beyond the page; if there was one, the key after which the next page begins.
fn take_next(rows: &mut Vec<ExecutionRow>) -> Option<ExecutionId> {
    let page = usize::try_from(ROWS).unwrap_or(usize::MAX);
    if rows.len() <= page {
        return None;
    }
    rows.truncate(page);
    rows.last().map(|row| row.execution_id.clone())
}

fn address(filter: &Filter, before: Option<&ExecutionId>) -> String {
    let query: Vec<String> = [
        filter.state.map(|state| format!("state={state}")),
        filter.skill.as_ref().map(|skill| format!("skill={skill}")),
        filter.model.as_ref().map(|model| format!("model={model}")),
        filter.agent.as_ref().map(|agent| format!("agent={agent}")),
        before.map(|before| format!("before={before}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if query.is_empty() { "/usage#runs".to_owned() } else { format!("/usage?{}#runs", query.join("&")) }
}

/// The month in three figures, each beside last month's.
fn figures(month: &MonthSummary) -> impl IntoView + use<> {
    let (now, before) = (month.this_month, month.last_month);
    let last_month = in_zone(month.began_at.plus_seconds(-1), "UTC").strftime("%B").to_string();
    let tokens = |sums: server::usage::Sums| sums.input_tokens.saturating_add(sums.output_tokens);
    let spent = view! { <Money amount=now.charge digits=Digits::Short /> };
    let spent_change = view! {
        <Money amount=now.charge.saturating_sub(before.charge) digits=Digits::Short signed=true />
        {format!(" against {last_month}")}
    };
    let count_change = |now: u64, before: u64| format!("{} against {last_month}", signed_count(now, before));
    view! {
        <section class="grid gap-6 sm:grid-cols-3" aria-label="This month">
            {figure("Spent this month", spent, spent_change)}
            {figure("Runs", grouped(now.executions), count_change(now.executions, before.executions))}
            {figure("Tokens", grouped(tokens(now)), count_change(tokens(now), tokens(before)))}
        </section>
    }
}

fn figure(label: &'static str, value: impl IntoView, change: impl IntoView) -> impl IntoView {
    view! {
        <div class="grid gap-1 border-t-2 border-line pt-3">
            <p class="text-13 text-ink-muted">{label}</p>
            <p class="figure-small">{value}</p>
            <p class="text-13 text-ink-muted">{change}</p>
        </div>
    }
}

fn signed_count(now: u64, before: u64) -> String {
    let difference = grouped(now.abs_diff(before));
    match now.cmp(&before) {
        std::cmp::Ordering::Greater => format!("+{difference}"),
        std::cmp::Ordering::Less => format!("−{difference}"),
        std::cmp::Ordering::Equal => "±0".to_owned(),
    }
}

fn by_day(month: &MonthSummary) -> impl IntoView + use<> {
    let name = in_zone(month.began_at, "UTC").strftime("%b %Y").to_string();
    let bars: Vec<Bar> = month
        .by_day
        .iter()
        .map(|day| Bar {
            tick: day.day.to_string(),
            label: format!("{} {name}", day.day),
            amount: day.sums.charge,
            detail: runs_text(day.sums.executions),
        })
        .collect();
    let title = format!("Spend by day, {name} (UTC)");
    month.this_month.executions.gt(&0).then(|| {
        view! {
            <section class="grid gap-4" aria-labelledby="by-day">
                <h2 class="text-20 font-semibold" id="by-day">
                    "By day"
                </h2>
                <BarChart title=title unit="Spent" bars=bars />
            </section>
        }
    })
}

fn runs_text(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{} runs", grouped(count)) }
}

/// Chips for what is in the URL: how runs ended, which task; a model or an agent is chosen from a row and taken off here.
fn filters(chosen: &Filter, agent: Option<String>, catalogue: &Catalogue) -> impl IntoView + use<> {
    let with_state = |state| address(&Filter { state, ..chosen.clone() }, None);
    let with_skill = |skill| address(&Filter { skill, ..chosen.clone() }, None);
    let mut states = vec![("All".to_owned(), with_state(None), chosen.state.is_none())];
    states.extend(
        ExecutionState::ALL
            .iter()
            .map(|&state| (words(state).to_owned(), with_state(Some(state)), chosen.state == Some(state))),
    );
    let mut skills = vec![("All".to_owned(), with_skill(None), chosen.skill.is_none())];
    skills.extend(catalogue.skills.iter().map(|skill| {
        (skill.name.clone(), with_skill(Some(skill.id.clone())), chosen.skill.as_ref() == Some(&skill.id))
    }));
    let model = chosen.model.as_ref().map(|model| {
        let every = address(&Filter { model: None, ..chosen.clone() }, None);
        vec![("All".to_owned(), every, false), (model_name(catalogue, model), address(chosen, None), true)]
    });
    let agent = agent.map(|name| {
        let every = address(&Filter { agent: None, ..chosen.clone() }, None);
        vec![("All".to_owned(), every, false), (name, address(chosen, None), true)]
    });
    view! {
        <div class="grid gap-2">
            <Chips label="Ended" chips=states />
            <Chips label="Task" chips=skills />
            {model.map(|chips| view! { <Chips label="Model" chips=chips /> })}
            {agent.map(|chips| view! { <Chips label="Agent" chips=chips /> })}
        </div>
    }
}

/// Runs as a table; each opens to its last token.
pub fn runs_table(rows: Vec<ExecutionRow>, catalogue: &Catalogue, zone: &str) -> impl IntoView + use<> {
    let rows = rows
        .into_iter()
        .map(|row| {
            let task = task_name(catalogue, row.skill_id.as_ref());
            let model = model_name(catalogue, &row.model_id);
            let title = task.clone();
            let agent = row.agent_id.clone().zip(row.agent_name.clone()).map(|(agent_id, name)| {
                let by_agent = address(&Filter { agent: Some(agent_id), ..Filter::default() }, None);
                view! {
                    <a class="clip text-13 text-ink-muted hover:underline" href=by_agent title=name.clone()>
                        {name.clone()}
                    </a>
                }
            });
            let by_model = address(&Filter { model: Some(row.model_id.clone()), ..Filter::default() }, None);
            view! {
                <tr>
                    <td class="text-ink-muted">
                        <When at=row.started_at zone=zone.to_owned() />
                    </td>
                    <td class="w-full max-w-0 min-w-40">
                        <a class="row-link clip" href=format!("/usage/{}", row.execution_id) title=title>
                            {task}
                        </a>
                        {agent}
                    </td>
                    <td>
                        <a class="whitespace-nowrap text-ink-muted hover:underline" href=by_model>
                            {model}
                        </a>
                    </td>
                    <td class="number">{grouped(row.input_tokens.saturating_add(row.output_tokens))}</td>
                    <td>
                        <EndState state=row.state />
                    </td>
                    <td class="number">
                        <Money amount=row.charge />
                        {by_whom(row.source)}
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <Table caption="Runs, newest first">
            <thead>
                <tr>
                    <th scope="col">"Started"</th>
                    <th scope="col">"Task"</th>
                    <th scope="col">"Model"</th>
                    <th class="number" scope="col">
                        "Tokens"
                    </th>
                    <th scope="col">"Ended"</th>
                    <th class="number" scope="col">
                        "Charged"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </Table>
    }
}

/// Who paid, where it was not the customer's credit.
fn by_whom(source: FundingSource) -> Option<impl IntoView> {
    (source != FundingSource::Credits)
        .then(|| view! { <span class="block text-13 text-ink-muted">{source.words()}</span> })
}

/// A task by its name in the catalogue; a request over the API has none.
pub fn task_name(catalogue: &Catalogue, skill: Option<&SkillId>) -> String {
    match skill {
        None => "API request".to_owned(),
        Some(id) => catalogue.skill(id).map_or_else(|_| id.to_string(), |skill| skill.name.clone()),
    }
}

pub fn model_name(catalogue: &Catalogue, model: &ModelId) -> String {
    catalogue.model(model).map_or_else(|_| model.to_string(), |model| model.name.clone())
}

fn no_rows(is_filtered: bool, is_first_page: bool) -> impl IntoView {
    match (is_filtered, is_first_page) {
        (_, false) => view! { <Empty title="No older runs" text="This is the end of the list." /> }.into_any(),
        (true, true) => view! {
            <Empty
                title="No such run"
                text="Nothing you ran fits these filters."
                action=("/usage#runs", "Show every run")
            />
        }
        .into_any(),
        (false, true) => view! {
            <Empty
                title="Nothing ran yet"
                text="Every run stands here with its tokens, its cost and how close the estimate was."
                action=("/tasks", "Choose a task")
            />
        }
        .into_any(),
    }
}
