//! One run to its last token: tokens × rate = cost, and the quote against what it cost.

use crate::page::usage::{model_name, task_name};
use crate::ui::band::Band;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, grouped};
use crate::ui::notice::{Notice, Tone};
use crate::ui::run_state::EndState;
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use domain::denial::Denial;
use domain::execution::{CostLine, ExecutionState, Pool, TokenUsage, cost_lines};
use domain::id::ExecutionId;
use domain::money::Usd;
use domain::rate::ModelRate;
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use server::agent::load_name;
use server::execution::{Run, RunState, load_run};

#[component]
pub fn ExecutionPage() -> impl IntoView {
    let execution_id = ExecutionId::new(use_params_map().get_untracked().get("execution").unwrap_or_default());
    console(Section::Usage, "Run", async move {
        let (server, user) = signed_in()?;
        let run = load_run(&server, &user.account_id, &execution_id)
            .await?
            .ok_or_else(|| Denial::NotFound { what: "run".to_owned() })?;
        let catalogue = server.catalogue.load_full();
        let rates = server.rates.load_full();
        let rate =
            catalogue.model(&run.model_id).ok().and_then(|model| rates.of_version(model, &run.rate_version)).cloned();
        let task = task_name(&catalogue, run.skill_id.as_ref());
        let model = model_name(&catalogue, &run.model_id);
        let agent = match &run.agent_id {
            Some(agent_id) => load_name(&server, &user.account_id, agent_id).await?,
            None => None,
        };
        let body = match End::of(&run) {
            None => running(&run).into_any(),
            Some(end) => ended((&run, agent), end, rate, &user.time_zone).into_any(),
        };
        Ok(view! {
            <div class="grid max-w-3xl gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/usage">"Usage"</a>
                    </p>
                    <h1 class="page-title">{task}</h1>
                    <p class="lede">{model}</p>
                </div>
                {body}
            </div>
        })
    })
}

fn running(run: &Run) -> impl IntoView + use<> {
    view! {
        <p class="state state-live">"Running now"</p>
        <p>
            <a class="button button-primary" href=format!("/runs/{}", run.execution_id)>
                "Watch it"
            </a>
        </p>
    }
}

/// How a run ended.
struct End {
    state: ExecutionState,
    charge: Usd,
    usage: TokenUsage,
    is_estimated: bool,
    note: Option<String>,
    ended_at: Timestamp,
}

impl End {
    /// `None` while it runs.
    fn of(run: &Run) -> Option<End> {
        match &run.state {
            RunState::Running => None,
            RunState::Ended { state, charge, usage, usage_estimated, note, ended_at } => Some(End {
                state: *state,
                charge: *charge,
                usage: *usage,
                is_estimated: *usage_estimated,
                note: note.clone(),
                ended_at: *ended_at,
            }),
        }
    }
}

/// How the cost of a run was worked out, for whoever looks at its charge; nothing while it runs.
pub fn calculation_of(run: &Run, rate: Option<ModelRate>) -> Option<AnyView> {
    let end = End::of(run)?;
    Some(calculation(run, &end, rate).into_any())
}

fn ended((run, agent): (&Run, Option<String>), end: End, rate: Option<ModelRate>, zone: &str) -> impl IntoView + use<> {
    let quoted = run.quoted;
    let actual = if run.source.takes_credit() { end.charge } else { run.cost };
    let note_tone = match end.state {
        ExecutionState::Completed | ExecutionState::Waived => Tone::Info,
        ExecutionState::Stopped | ExecutionState::Expired => Tone::Caution,
        ExecutionState::Failed => Tone::Danger,
    };
    let output = (!run.output_text.is_empty()).then(|| run.output_text.clone());
    view! {
        <section class="grid gap-3" aria-label="Charge">
            <p class="text-13">
                <EndState state=end.state />
            </p>
            <p class="figure">
                <Money amount=end.charge />
                <span class="text-14 font-normal tracking-normal text-ink-muted">" charged"</span>
            </p>
            <Band
                p50=quoted.p50
                likely=quoted.likely
                p90=quoted.p90
                ceiling=quoted.ceiling
                actual=Some(actual)
            />
            <p class="text-13 text-ink-muted">
                "The quote said " <Money amount=quoted.likely /> ", usually " <Money amount=quoted.p50 /> " to "
                <Money amount=quoted.p90 /> ", at most " <Money amount=quoted.ceiling /> "."
            </p>
        </section>
        {end.note.clone().map(|note| view! { <Notice tone=note_tone title=note /> })}
        {particulars((run, agent), &end, zone)}
        {calculation(run, &end, rate)}
        {output
            .map(|output| {
                view! {
                    <div class="grid gap-3">
                        <h2 class="text-20 font-semibold" id="output">
                            "Output"
                        </h2>
                        <div class="card max-h-96 overflow-auto whitespace-pre-wrap" tabindex="0" role="region" aria-labelledby="output">
                            {output}
                        </div>
                    </div>
                }
            })}
    }
}

fn particulars((run, agent): (&Run, Option<String>), end: &End, zone: &str) -> impl IntoView + use<> {
    let took = end.ended_at.seconds().saturating_sub(run.started_at.seconds());
    view! {
        <dl class="card pair-list">
            <dt>"Paid from"</dt>
            <dd>{run.source.words()}</dd>
            {agent
                .map(|name| {
                    view! {
                        <dt>"Agent"</dt>
                        <dd class="min-w-0">
                            <span class="clip" title=name.clone()>
                                {name.clone()}
                            </span>
                        </dd>
                    }
                })}
            <dt>"Started"</dt>
            <dd>
                <When at=run.started_at zone=zone.to_owned() />
            </dd>
            <dt>"Took"</dt>
            <dd>{format!("{} s", grouped(took.unsigned_abs()))}</dd>
            <dt>"Reference"</dt>
            <dd class="min-w-0">
                <code class="clip" title=run.execution_id.to_string()>
                    {run.execution_id.to_string()}
                </code>
            </dd>
        </dl>
    }
}

/// Tokens by pool × rate = cost. Without the rate that priced it, the tokens alone.
fn calculation(run: &Run, end: &End, rate: Option<ModelRate>) -> impl IntoView + use<> {
    let (lines, version) = match rate {
        Some(rate) => (cost_lines(&rate.prices, &end.usage).unwrap_or_default(), Some(rate.version)),
        None => (Vec::new(), None),
    };
    let cost = run.cost;
    let charge = end.charge;
    let footnotes: Vec<String> = [
        version.map(|version| format!("Rate version {version}. Rounded once, half up, to the nano-dollar.")),
        end.is_estimated.then(|| "The provider gave no counts; the tokens are our own count.".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    view! {
        <section class="grid gap-3" aria-labelledby="calculation">
            <h2 class="text-20 font-semibold" id="calculation">
                "Tokens × rate = cost"
            </h2>
            <Table caption="How the cost was worked out">
                <thead>
                    <tr>
                        <th scope="col">"Tokens"</th>
                        <th class="number" scope="col">
                            "Count"
                        </th>
                        <th class="number" scope="col">
                            "Per million"
                        </th>
                        <th class="number" scope="col">
                            "Cost"
                        </th>
                    </tr>
                </thead>
                <tbody>{lines.into_iter().map(line).collect_view()}</tbody>
                <tfoot>
                    <tr>
                        <th scope="row">"The provider's list cost"</th>
                        <td></td>
                        <td></td>
                        <td class="number">
                            <Money amount=cost digits=Digits::Exact />
                        </td>
                    </tr>
                    <tr>
                        <th scope="row">"Charged to you"</th>
                        <td></td>
                        <td></td>
                        <td class="number">
                            <Money amount=charge digits=Digits::Exact />
                        </td>
                    </tr>
                </tfoot>
            </Table>
            {footnotes.into_iter().map(|note| view! { <p class="text-13 text-ink-muted">{note}</p> }).collect_view()}
        </section>
    }
}

fn line(line: CostLine) -> impl IntoView {
    // A pico-dollar a token is a thousand nano-dollars a million.
    let per_million = Usd::from_nanos(line.rate.picos().saturating_mul(1_000));
    let cost = Usd::from_picos_half_up(line.picos()).unwrap_or_default();
    view! {
        <tr>
            <th scope="row">{pool_words(line.pool)}</th>
            <td class="number">{grouped(line.tokens)}</td>
            <td class="number">
                <Money amount=per_million digits=Digits::Exact />
            </td>
            <td class="number">
                <Money amount=cost digits=Digits::Exact />
            </td>
        </tr>
    }
}

const fn pool_words(pool: Pool) -> &'static str {
    match pool {
        Pool::Input => "Input",
        Pool::CacheRead => "Input read from the cache",
        Pool::CacheWrite5m => "Input cached for 5 minutes",
        Pool::CacheWrite1h => "Input cached for an hour",
        Pool::Output => "Output",
        Pool::Reasoning => "Reasoning",
    }
}
