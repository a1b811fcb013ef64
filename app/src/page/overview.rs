//! Where one stands: what can be spent, what this month cost, the last runs, and the one next thing to do.

use crate::page::usage::runs_table;
use crate::ui::balance::BalanceBar;
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, grouped};
use crate::ui::notice::{Notice, Tone};
use crate::visitor::signed_in;
use domain::denial::Denial;
use domain::entitlement::Entitlements;
use domain::ledger::Balance;
use domain::money::Usd;
use leptos::prelude::*;
use server::entitlement;
use server::ledger::load_balance;
use server::usage::{Filter, MonthSummary, list_executions, load_month};

/// Runs shown here; all of them are under Usage.
const RUNS: i64 = 5;

#[component]
pub fn OverviewPage() -> impl IntoView {
    console(Section::Overview, "Overview", async {
        let (server, user) = signed_in()?;
        let balance = load_balance(&server, &user.account_id).await?;
        let month = load_month(&server, &user.account_id, server.clock.now()).await?;
        let runs = list_executions(&server, &user.account_id, &Filter::default(), None, RUNS).await?;
        let catalogue = server.catalogue.load_full();
        let now = entitlement::load(&server, &user.account_id).await?;

        let has_run = !runs.is_empty();
        let recent = if has_run {
            runs_table(runs, &catalogue, &user.time_zone).into_any()
        } else if balance.total().is_positive() || now.executions.left != Some(0) {
            view! {
                <Empty
                    title="Nothing ran yet"
                    text="Choose a task, see what it will cost, and run it. It appears here with its tokens and its cost."
                    action=("/tasks", "Choose a task")
                />
            }
            .into_any()
        } else {
            view! {
                <Empty
                    title="Start with some credit"
                    text="Tasks are paid from credit. The smallest pack is enough for dozens of them, and what you buy never expires."
                    action=("/credits#packs", "Buy credit")
                />
            }
            .into_any()
        };
        Ok(view! {
            <div class="grid gap-10">
                <h1 class="page-title">"Overview"</h1>
                {has_run.then(|| balance_notice(&balance, catalogue.limits.low_balance))}
                <div class="grid items-start gap-10 lg:grid-cols-[1.4fr_1fr]">
                    <BalanceBar balance=balance /> {this_month(&month)}
                </div>
                {plan_line(&now)}
                <section class="grid gap-4" aria-labelledby="recent">
                    <div class="flex items-baseline justify-between gap-4">
                        <h2 class="text-20 font-semibold" id="recent">
                            "Recent runs"
                        </h2>
                        {has_run.then(|| view! { <a href="/usage">"All usage"</a> })}
                    </div>
                    {recent}
                </section>
            </div>
        })
    })
}

/// A word before the credit is gone, and the exact words when it is.
fn balance_notice(balance: &Balance, low: Usd) -> Option<AnyView> {
    let spendable = balance.spendable();
    if spendable.is_zero() && balance.held.is_zero() {
        let sentence = Denial::InsufficientCredit { needed: Usd::ZERO, spendable }.sentence();
        let notice = view! {
            <Notice tone=Tone::Caution title=sentence>
                <p>
                    <a href="/credits#packs">"Add credits"</a>
                </p>
            </Notice>
        };
        return Some(notice.into_any());
    }
    let notice = view! {
        <Notice tone=Tone::Caution title="Your balance is low">
            <p>
                "You can still spend " <Money amount=spendable digits=Digits::Short /> ". "
                <a href="/credits#packs">"Add credits"</a> " so that long runs do not stop."
            </p>
        </Notice>
    };
    (spendable < low).then(|| notice.into_any())
}

/// What is left of the plan, and the way to all of it.
fn plan_line(now: &Entitlements) -> impl IntoView + use<> {
    let left = match (now.executions.left, now.executions.limit) {
        (Some(_), Some(0)) => "credits pay for every run".to_owned(),
        (Some(left), Some(limit)) => format!("{} of {} runs left", grouped(left), grouped(limit)),
        (None, _) | (_, None) => "no limit of runs".to_owned(),
    };
    view! {
        <p>
            {now.plan_name.clone()} " plan · " {left} " · " <a href="/limits">"Limits and trial"</a>
        </p>
    }
}

fn this_month(month: &MonthSummary) -> impl IntoView + use<> {
    let (sums, before) = (month.this_month, month.last_month);
    view! {
        <section class="grid gap-1" aria-label="This month">
            <p class="text-13 text-ink-muted">"Spent this month"</p>
            <p class="figure-small">
                <Money amount=sums.charge digits=Digits::Short />
            </p>
            <p class="text-13 text-ink-muted">
                {format!("{} {}", grouped(sums.executions), if sums.executions == 1 { "run" } else { "runs" })}
                {before
                    .charge
                    .is_positive()
                    .then(|| {
                        view! {
                            " · last month "
                            <Money amount=before.charge digits=Digits::Short />
                        }
                    })}
            </p>
        </section>
    }
}
