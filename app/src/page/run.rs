//! One run while it streams, and after it ended: what it was to cost and what it did.

use crate::ui::band::Band;
use crate::ui::layout::{Section, console};
use crate::ui::live_run::LiveRun;
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::run_state::EndState;
use crate::visitor::signed_in;
use domain::denial::Denial;
use domain::execution::ExecutionState;
use domain::id::ExecutionId;
use domain::money::Usd;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use server::Server;
use server::execution::{Quoted, Run, RunState, load_run};

/// `GET /runs/{id}`.
#[component]
pub fn RunPage() -> impl IntoView {
    let id = ExecutionId::new(use_params_map().get_untracked().get("id").unwrap_or_default());
    console(Section::Tasks, "Run", async move {
        let (server, user) = signed_in()?;
        let run = load_run(&server, &user.account_id, &id).await?;
        let run = run.ok_or_else(|| Denial::NotFound { what: "run in this account".to_owned() })?;
        let heading = heading(&server, &run).into_any();
        let body = match run.state.clone() {
            RunState::Running => running(&run).into_any(),
            RunState::Ended { state, charge, note, .. } => ended(&run, state, charge, note).into_any(),
        };
        Ok(view! {
            <div class="grid gap-6">
            {heading}
            {body}
            {run
                .input_text
                .map(|input| {
                    view! {
                        <details class="card">
                            <summary class="font-medium">"Your input"</summary>
                            <div class="output pt-3 text-14">{input}</div>
                        </details>
                    }
                })}
            </div>
        })
    })
}

fn heading(server: &Server, run: &Run) -> impl IntoView + use<> {
    let catalogue = server.catalogue.load();
    let skill =
        run.skill_id.as_ref().map(|id| catalogue.skill(id).map_or_else(|_| id.to_string(), |skill| skill.name.clone()));
    let model = catalogue.model(&run.model_id).map_or_else(|_| run.model_id.to_string(), |model| model.name.clone());
    let state = match run.state {
        RunState::Running => view! { <span class="state state-live">"Running"</span> }.into_any(),
        RunState::Ended { state, .. } => view! { <EndState state=state /> }.into_any(),
    };
    let again = run.skill_id.clone();
    view! {
        <div class="flex flex-wrap items-end justify-between gap-3">
            <div class="grid gap-1">
                <p class="text-13">
                    <a href="/tasks">"Tasks"</a>
                </p>
                <h1 class="page-title">{skill.unwrap_or_else(|| "API call".to_owned())}</h1>
                <p class="lede">{model} " · " {state}</p>
            </div>
            {again
                .map(|id| {
                    view! {
                        <a class="button" href=format!("/tasks/{id}")>
                            "Run another"
                        </a>
                    }
                })}
        </div>
    }
}

fn running(run: &Run) -> impl IntoView + use<> {
    let Quoted { likely, p50, p90, ceiling } = run.quoted;
    view! {
        // Without JavaScript the page reads itself again; with it, the island follows the run and this is not needed.
        <noscript>
            <meta http-equiv="refresh" content="2" />
        </noscript>
        <LiveRun
            execution_id=run.execution_id.clone()
            likely=likely
            p50=p50
            p90=p90
            ceiling=ceiling
            text_so_far=run.output_text.clone()
            cost_so_far=run.cost
        />
    }
}

fn ended(run: &Run, state: ExecutionState, charge: Usd, note: Option<String>) -> impl IntoView + use<> {
    let Quoted { likely, p50, p90, ceiling } = run.quoted;
    let tone = match state {
        ExecutionState::Completed => Tone::Info,
        ExecutionState::Stopped | ExecutionState::Waived => Tone::Caution,
        ExecutionState::Failed | ExecutionState::Expired => Tone::Danger,
    };
    let output = run.output_text.clone();
    // What the plan pays for costs nothing here; the band then shows what it cost us.
    let takes_credit = run.source.takes_credit();
    let cost = if takes_credit { charge } else { run.cost };
    let list_price =
        (!takes_credit && cost.is_positive()).then(|| format!(" · list price {}", text(cost, Digits::Short)));
    view! {
        <section class="card grid gap-2" aria-label="What it cost">
            <p class="flex flex-wrap items-baseline gap-x-3">
                <span class="figure">
                    <Money amount=charge digits=Digits::Short />
                </span>
                <span class="text-ink-muted">"paid from " {run.source.words()} {list_price}</span>
            </p>
            <Band p50=p50 likely=likely p90=p90 ceiling=ceiling actual=Some(cost) />
            <p class="flex flex-wrap justify-between gap-x-4 text-13 text-ink-muted">
                <span>{compared(likely, cost)}</span>
                <span>"could take at most " {text(ceiling, Digits::Short)}</span>
            </p>
            <p class="text-13">
                <a href=format!("/usage/{}", run.execution_id)>"How this was computed"</a>
            </p>
        </section>
        {note.map(|note| view! { <Notice tone=tone title=note /> })}
        {(!output.is_empty())
            .then(|| {
                view! {
                    <section class="card" aria-label="Output">
                        <div class="output">{output}</div>
                    </section>
                }
            })}
    }
}

/// The estimate against what it was.
fn compared(likely: Usd, charge: Usd) -> String {
    let estimate = format!("estimated ≈ {}", text(likely, Digits::Short));
    if !likely.is_positive() || charge.is_zero() {
        return estimate;
    }
    let difference = i128::from(charge.nanos()) - i128::from(likely.nanos());
    let percent = (difference.abs() * 100 + i128::from(likely.nanos()) / 2) / i128::from(likely.nanos());
    match (percent, difference > 0) {
        (0, _) => format!("{estimate}, and it was that"),
        (percent, true) => format!("{estimate}, {percent} % more"),
        (percent, false) => format!("{estimate}, {percent} % less"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_compared_in_whole_percent() {
        let usd = Usd::from_nanos;
        assert_eq!(compared(usd(105_000_000), usd(105_000_000)), "estimated ≈ $0.105, and it was that");
        assert_eq!(compared(usd(100_000_000), usd(125_000_000)), "estimated ≈ $0.10, 25 % more");
        assert_eq!(compared(usd(100_000_000), usd(50_000_000)), "estimated ≈ $0.10, 50 % less");
        assert_eq!(compared(usd(100_000_000), Usd::ZERO), "estimated ≈ $0.10");
    }
}
