//! What a plan pays for: counted once, exactly, whoever asks at the same time, and given back by a run that fails.

use super::*;
use crate::support::each_database;
use domain::funding::{Funding, Payer};
use domain::ledger::GrantKind;
use domain::limit::{AllowanceRule, AllowanceUsed, PlatformDay};
use domain::plan::Allowance;
use server::allowance::load_counters;
use server::ledger::{Grant, HoldState, Options, expire_due, grant, load_balance};
use std::time::Duration;

fn rule(executions: u64) -> AllowanceRule {
    AllowanceRule {
        plan: "Free".to_owned(),
        period_start: START.day(),
        period_end: START.plus_seconds(30 * 86_400),
        executions: Allowance::AtMost(executions),
        throttled_after: None,
        throttled_to_a_minute: None,
        daily_spend_cap: None,
    }
}

fn paid_by(payers: Vec<Payer>, new: NewHold) -> NewHold {
    NewHold { funding: Funding { payers, why_not: None }, ..new }
}

fn by_plan(account: &AccountId, id: &str, rule: &AllowanceRule) -> NewHold {
    paid_by(vec![Payer::Allowance(rule.clone())], new_hold(account, id, 1_000))
}

async fn counters(world: &World, account: &AccountId, rule: &AllowanceRule) -> (u64, i64, i64) {
    let (AllowanceUsed { executions, .. }, PlatformDay { spent, held }) =
        load_counters(&world.server, account, rule).await.unwrap();
    (executions, spent.nanos(), held.nanos())
}

async fn has(world: &World, account: &AccountId) -> (i64, i64) {
    let balance = load_balance(&world.server, account).await.unwrap();
    (balance.spendable().nanos(), balance.held.nanos())
}

#[tokio::test]
async fn a_run_of_the_plan_costs_its_customer_nothing_and_is_counted_with_its_cost() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let rule = rule(100);
        let credits = paid_by(vec![Payer::Allowance(rule.clone()), Payer::Credits], new_hold(&account, "run", 1_000));
        let held = hold(&world.server.ledger, credits).await.unwrap();
        assert_eq!((held.source(), held.amount()), (FundingSource::Allowance, Usd::ZERO));
        assert_eq!(counters(world, &account, &rule).await, (1, 0, 1_000), "it counts from its beginning");
        assert_eq!(has(world, &account).await, (1_000_000_000, 0));
        assert_clean(world.db()).await;

        let finished = capture(&world.server.ledger, held, 700).await.unwrap();
        assert_eq!((finished.charged, finished.overrun), (Usd::ZERO, Usd::ZERO));
        assert_eq!(counters(world, &account, &rule).await, (1, 700, 0));
        assert_eq!(has(world, &account).await, (1_000_000_000, 0));
        let row: (String, i64, i64) = server::on_read!(world.db(), pool => {
            sqlx::query_as("select source, cost_nanos, charge_nanos from execution").fetch_one(pool).await
        })
        .unwrap();
        assert_eq!(row, ("allowance".to_owned(), 700, 0));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn an_execution_that_fails_or_never_reports_back_is_given_back_once() {
    each_database(async |world| {
        let account = world.account().await;
        let rule = rule(2);
        let ledger = &world.server.ledger;
        let failed = hold(ledger, by_plan(&account, "failed", &rule)).await.unwrap();
        let lost = hold(ledger, by_plan(&account, "lost", &rule)).await.unwrap();
        assert_eq!(code(&hold(ledger, by_plan(&account, "third", &rule)).await), "plan_limit");

        finish(ledger, failed, End::Void).await.unwrap();
        assert_eq!(counters(world, &account, &rule).await, (1, 0, 1_000));
        drop(lost);
        world.clock.advance_seconds(600);
        assert_eq!(expire_due(&world.server).await.unwrap(), 1);
        assert_eq!(expire_due(&world.server).await.unwrap(), 0);
        assert_eq!(counters(world, &account, &rule).await, (0, 0, 0));
        assert_clean(world.db()).await;
    })
    .await;
}

/// A run that was waived costs us what its provider bills, though nobody pays and nothing is counted.
#[tokio::test]
async fn what_a_waived_run_cost_us_counts_for_the_day() {
    each_database(async |world| {
        let account = world.account().await;
        let rule = rule(2);
        let held = hold(&world.server.ledger, by_plan(&account, "waived", &rule)).await.unwrap();
        let ended = Ended { state: ExecutionState::Waived, ..ended(nanos(90), START) };
        let finish = Finish { end: End::Void, ended, jobs: Vec::new() };
        world.server.ledger.finish(held, finish).await.unwrap();
        assert_eq!(counters(world, &account, &rule).await, (0, 90, 0));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_click_takes_no_second_execution() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let rule = rule(1);
        let ledger = &world.server.ledger;
        let payers = || vec![Payer::Allowance(rule.clone()), Payer::Credits];
        let held = hold(ledger, paid_by(payers(), new_hold(&account, "run", 1_000))).await.unwrap();
        let again = ledger.hold(paid_by(payers(), new_hold(&account, "run", 1_000))).await.unwrap();
        assert!(matches!(again, Held::Repeated(HoldState::Open)), "though the plan has none left now");
        let dearer = Started { quote_ceiling: nanos(11), ..started("haiku") };
        let dearer = NewHold { started: dearer, ..paid_by(payers(), new_hold(&account, "run", 1_000)) };
        assert_eq!(code(&ledger.hold(dearer).await), "conflict");
        capture(ledger, held, 1).await.unwrap();
        assert_eq!(counters(world, &account, &rule).await.0, 1);
        assert_clean(world.db()).await;
    })
    .await;
}

const CALLERS: usize = 1_000;

/// A thousand callers at once, on a plan with a hundred executions left and credit for 37; who paid for how many.
async fn storm(world: &World, nodes: &[Ledger]) {
    let account = world.account().await;
    world.buy(&account, nanos(37 * 1_000 + 999), Usd::ZERO).await;
    let rule = rule(100);
    let callers = (0..CALLERS).map(|i| {
        let ledger = nodes[i % nodes.len()].clone();
        let payers = vec![Payer::Allowance(rule.clone()), Payer::Credits];
        let new = paid_by(payers, new_hold(&account, &format!("{account}-{i}"), 1_000));
        tokio::spawn(async move { hold(&ledger, new).await })
    });
    let mut holds = Vec::new();
    for outcome in futures::future::join_all(callers).await {
        match outcome.unwrap() {
            Ok(held) => holds.push(held),
            Err(error) => {
                assert_eq!(error.denial().map(domain::denial::Denial::code), Some("reserved_by_running_work"));
            }
        }
    }
    let by_plan = holds.iter().filter(|held| held.source() == FundingSource::Allowance).count();
    assert_eq!((by_plan, holds.len()), (100, 137));
    assert_eq!(counters(world, &account, &rule).await, (100, 0, 100_000));

    let ends = holds.into_iter().enumerate().map(|(i, held)| {
        let ledger = nodes[(i * 7 + 3) % nodes.len()].clone();
        let by_plan = held.source() == FundingSource::Allowance;
        tokio::spawn(async move {
            let end = if i % 4 == 0 { End::Void } else { End::Capture { cost: nanos(400) } };
            finish(&ledger, held, end).await.unwrap();
            by_plan && i % 4 != 0
        })
    });
    let kept = futures::future::join_all(ends).await.into_iter().filter(|kept| *kept.as_ref().unwrap()).count();
    let kept = u64::try_from(kept).unwrap();
    assert_eq!(counters(world, &account, &rule).await, (kept, i64::try_from(kept).unwrap() * 400, 0));
    assert_clean(world.db()).await;
}

fn impatient(server: &Server, world: &World) -> Ledger {
    let options = Options { wait_for_credit: Duration::from_millis(200), ..Options::default() };
    Ledger::start(&server.db, &world.clock, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_callers_on_a_hundred_left_exactly_a_hundred_are_paid_by_the_plan() {
    each_database(async |world| storm(world, &[impatient(&world.server, world)]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_count_one_allowance_once() {
    each_database(async |world| {
        let mut servers = Vec::new();
        for _ in 0..4 {
            servers.push(world.node().await);
        }
        let nodes: Vec<Ledger> = servers.iter().map(|server| impatient(server, world)).collect();
        storm(world, &nodes).await;
        for server in servers {
            server.db.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn beyond_the_throttle_one_a_minute_runs_and_the_next_period_is_quick_again() {
    each_database(async |world| {
        let account = world.account().await;
        let slow = AllowanceRule { throttled_after: Some(2), throttled_to_a_minute: Some(1), ..rule(5) };
        let ledger = &world.server.ledger;
        let run = async |id: &str, rule: &AllowanceRule| {
            let outcome = hold(ledger, by_plan(&account, id, rule)).await;
            let wait = outcome.as_ref().err().and_then(|error| error.denial()?.retry_after_seconds());
            let said = code(&outcome);
            if let Ok(held) = outcome {
                capture(ledger, held, 1).await.unwrap();
            }
            (said, wait)
        };
        for id in ["1", "2", "3"] {
            assert_eq!(run(id, &slow).await.0, "ok", "{id}");
        }
        assert_eq!(run("4", &slow).await, ("throttled", Some(60)));
        world.clock.advance_seconds(59);
        assert_eq!(run("4", &slow).await, ("throttled", Some(1)));
        world.clock.advance_seconds(1);
        assert_eq!(run("4", &slow).await.0, "ok");
        world.clock.advance_seconds(60);
        assert_eq!(run("5", &slow).await.0, "ok");
        world.clock.advance_seconds(60);
        assert_eq!(run("6", &slow).await.0, "plan_limit");
        let next = AllowanceRule { period_start: slow.period_end, period_end: slow.period_end.plus_seconds(1), ..slow };
        assert_eq!(run("6", &next).await.0, "ok", "the next period begins at zero");
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn the_daily_cap_counts_what_runs_and_begins_again_at_midnight_utc() {
    each_database(async |world| {
        let account = world.account().await;
        let capped = AllowanceRule { daily_spend_cap: Some(nanos(2_500)), ..rule(100) };
        let ledger = &world.server.ledger;
        let first = hold(ledger, by_plan(&account, "1", &capped)).await.unwrap();
        let second = hold(ledger, by_plan(&account, "2", &capped)).await.unwrap();
        assert_eq!(code(&hold(ledger, by_plan(&account, "3", &capped)).await), "daily_cap", "what runs counts fully");
        capture(ledger, first, 400).await.unwrap();
        let third = hold(ledger, by_plan(&account, "3", &capped)).await.unwrap();
        capture(ledger, third, 1_000).await.unwrap();
        let refused = hold(ledger, by_plan(&account, "4", &capped)).await;
        let midnight = START.day().plus_seconds(86_400);
        let wait = refused.as_ref().err().and_then(|error| error.denial()?.retry_after_seconds());
        assert_eq!((code(&refused), wait), ("daily_cap", Some(START.seconds_until(midnight))));

        // Credits are the customer's own money: the cap is not about them.
        world.buy(&account, nanos(1_000), Usd::ZERO).await;
        let payers = vec![Payer::Allowance(capped.clone()), Payer::Credits];
        let by_credit = hold(ledger, paid_by(payers, new_hold(&account, "5", 1_000))).await.unwrap();
        assert_eq!(by_credit.source(), FundingSource::Credits);
        void(ledger, by_credit).await.unwrap();

        world.clock.advance_seconds(midnight.seconds() - START.seconds() - 1);
        assert_eq!(code(&hold(ledger, by_plan(&account, "4", &capped)).await), "daily_cap");
        world.clock.advance_seconds(1);
        let held = hold(ledger, by_plan(&account, "4", &capped)).await.unwrap();
        // A run that began yesterday is yesterday's cost.
        capture(ledger, second, 1_000).await.unwrap();
        capture(ledger, held, 10).await.unwrap();
        assert_eq!(counters(world, &account, &capped).await, (4, 10, 0));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn trial_credit_pays_first_for_its_models_and_only_when_it_covers_the_run() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let trial = Grant {
            account_id: account.clone(),
            kind: GrantKind::Trial,
            amount: nanos(2_500),
            price: Usd::ZERO,
            reference: format!("trial-{account}"),
            memo: "Trial".to_owned(),
            allowed_models: Some(vec![ModelId::new("haiku")]),
            expires_at: Some(START.plus_seconds(86_400)),
        };
        let mut tx = world.db().begin().await.unwrap();
        grant(&mut tx, &world.clock, trial).await.unwrap();
        tx.commit().await.unwrap();
        let rule = rule(1);
        let run = async |id: &str, model: &str| {
            let payers = vec![Payer::Trial(rule.clone()), Payer::Allowance(rule.clone()), Payer::Credits];
            let new = NewHold { started: started(model), ..paid_by(payers, new_hold(&account, id, 1_000)) };
            let held = hold(&world.server.ledger, new).await.unwrap();
            let source = held.source();
            let charged = capture(&world.server.ledger, held, 1_000).await.unwrap().charged.nanos();
            (source, charged)
        };
        assert_eq!(run("1", "haiku").await, (FundingSource::Trial, 1_000));
        assert_eq!(run("2", "opus").await, (FundingSource::Allowance, 0));
        assert_eq!(run("3", "haiku").await, (FundingSource::Trial, 1_000));
        // 500 of the trial are left: too little for the whole of it, so credits pay, in the ledger's burn order.
        assert_eq!(run("4", "haiku").await, (FundingSource::Credits, 1_000));
        let balance = load_balance(&world.server, &account).await.unwrap();
        assert_eq!((balance.trial.nanos(), balance.paid.nanos()), (0, 1_000_000_000 - 500));
        assert_eq!(counters(world, &account, &rule).await, (1, 3_000, 0), "the day has trial and plan");
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_counter_changed_by_hand_is_found() {
    each_database(async |world| {
        let account = world.account().await;
        let held = hold(&world.server.ledger, by_plan(&account, "run", &rule(5))).await.unwrap();
        capture(&world.server.ledger, held, 1).await.unwrap();
        for (sql, back, invariant) in [
            (
                "update allowance_use set executions = executions + 1",
                "update allowance_use set executions = executions - 1",
                "allowance_is_the_count_of_its_runs",
            ),
            (
                "update platform_day set spent_nanos = spent_nanos + 1",
                "update platform_day set spent_nanos = spent_nanos - 1",
                "day_is_the_sum_of_its_runs",
            ),
            (
                "update execution set source = 'credits'",
                "update execution set source = 'allowance'",
                "run_counts_where_its_source_says",
            ),
        ] {
            by_hand(world, sql).await.unwrap();
            let findings = ledger::check(world.db()).await.unwrap();
            assert!(findings.iter().any(|finding| finding.invariant == invariant), "{sql}: {findings:?}");
            by_hand(world, back).await.unwrap();
        }
        assert_clean(world.db()).await;
        assert!(by_hand(world, "update allowance_use set executions = -1").await.is_err());
    })
    .await;
}
