//! One run from hold to end, and every guard: each test fails without the guard that it names.

use super::*;
use crate::support::each_database;
use domain::ledger::GrantKind;
use server::ledger::{Grant, HoldState, LineFilter, expire_due, list_lines, load_balance, load_balance_at};
use server::on_tx;

#[tokio::test]
async fn a_run_is_held_captured_and_on_the_statement() {
    each_database(async |world| {
        let account = world.account().await;
        let ten = Usd::from_dollars(10).unwrap();
        world.buy(&account, ten, nanos(7)).await;
        let ledger = &world.server.ledger;

        let held = hold(ledger, new_hold(&account, "run", 500)).await.unwrap();
        let balance = load_balance(&world.server, &account).await.unwrap();
        assert_eq!((balance.held, balance.total()), (nanos(500), ten.saturating_add(nanos(7))));
        world.clock.advance_seconds(10);
        let finished = capture(ledger, held, 105).await.unwrap();
        assert_eq!((finished.charged, finished.overrun, finished.repeated), (nanos(105), Usd::ZERO, false));
        // Bonus burns before paid.
        assert_eq!((finished.balance.bonus, finished.balance.paid), (Usd::ZERO, ten.saturating_sub(nanos(98))));

        let all = LineFilter::default();
        let statement = list_lines(&world.server, &account, &all, None, 10).await.unwrap();
        let lines: Vec<(&str, i64)> = statement.iter().map(|row| (row.memo.as_str(), row.change.nanos())).collect();
        assert_eq!(lines, [("PRD on haiku", -105), ("Bought credit", ten.nanos()), ("Bought credit", 7)]);
        assert_eq!(statement[0].balance_after, finished.balance.total());
        assert_eq!(statement[0].reference.as_deref(), Some("run"));
        let older = list_lines(&world.server, &account, &all, Some(statement[0].seq), 1).await.unwrap();
        assert_eq!(older, statement[1..2]);
        let before = load_balance_at(&world.server, &account, START).await.unwrap();
        assert_eq!((before.paid, before.bonus, before.held), (ten.saturating_sub(nanos(493)), Usd::ZERO, nanos(500)));
        assert_eq!(before.total(), ten.saturating_add(nanos(7)));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn row_5_a_capture_above_the_hold_takes_no_more_than_the_hold() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let held = hold(&world.server.ledger, new_hold(&account, "run", 1_000_000_000)).await.unwrap();
        let finished = capture(&world.server.ledger, held, 1_000_000_123).await.unwrap();
        assert_eq!((finished.charged, finished.overrun), (nanos(1_000_000_000), nanos(123)));
        assert_eq!(finished.balance.total(), Usd::ZERO);
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn row_9_a_second_click_does_not_run_again_and_another_request_conflicts() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = &world.server.ledger;
        let held = hold(ledger, new_hold(&account, "run", 100)).await.unwrap();

        let later = Started { started_at: START.plus_seconds(3), ..started("haiku") };
        let again = NewHold { started: later, ..new_hold(&account, "run", 100) };
        assert!(matches!(ledger.hold(again).await.unwrap(), Held::Repeated(HoldState::Open)));
        let other_text = Started { input_text: Some("Something else".to_owned()), ..started("haiku") };
        let other_account = world.account_with(1).await;
        for (what, new) in [
            ("amount", new_hold(&account, "run", 101)),
            ("model", NewHold { started: started("opus"), ..new_hold(&account, "run", 100) }),
            ("text", NewHold { started: other_text, ..new_hold(&account, "run", 100) }),
            ("account", new_hold(&other_account, "run", 100)),
        ] {
            assert_eq!(code(&ledger.hold(new).await), "conflict", "{what}");
        }
        void(ledger, held).await.unwrap();
        let ended = ledger.hold(new_hold(&account, "run", 100)).await.unwrap();
        assert!(matches!(ended, Held::Repeated(HoldState::Voided)));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_expired_is_not_captured_and_its_run_has_a_row() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = &world.server.ledger;
        let held = hold(ledger, new_hold(&account, "run", 100)).await.unwrap();
        assert_eq!(expire_due(&world.server).await.unwrap(), 0, "not due yet");
        world.clock.advance_seconds(600);
        assert_eq!(expire_due(&world.server).await.unwrap(), 1);
        assert_eq!(expire_due(&world.server).await.unwrap(), 0, "once");
        assert_eq!(code(&capture(ledger, held, 50).await), "conflict");
        let balance = load_balance(&world.server, &account).await.unwrap();
        assert_eq!((balance.held, balance.paid), (Usd::ZERO, Usd::from_dollars(1).unwrap()));
        let (state, charge): (String, i64) = server::on_read!(world.db(), pool => {
            sqlx::query_as("select state, charge_nanos from execution where execution_id = 'run'").fetch_one(pool).await
        })
        .unwrap();
        assert_eq!((state.as_str(), charge), ("expired", 0));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn row_3_a_run_longer_than_its_hold_renews_it() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = &world.server.ledger;
        let mut held = hold(ledger, new_hold(&account, "run", 100)).await.unwrap();
        for minutes in 1..=5 {
            world.clock.advance_seconds(500);
            ledger.renew(&mut held, START.plus_seconds(minutes * 500 + 600)).await.unwrap();
            assert_eq!(expire_due(&world.server).await.unwrap(), 0);
        }
        assert_eq!(capture(ledger, held, 60).await.unwrap().charged, nanos(60));
        assert_eq!(count_open_holds(&world.server).await, 0);
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_grant_is_given_once_and_a_different_one_conflicts() {
    each_database(async |world| {
        let account = world.account().await;
        let purchase = world.buy(&account, nanos(1_000), nanos(100)).await;
        let paid = Grant {
            account_id: account.clone(),
            kind: GrantKind::Paid,
            amount: nanos(1_000),
            price: nanos(1_150),
            reference: purchase.to_string(),
            memo: "Bought credit".to_owned(),
            allowed_models: None,
            expires_at: None,
        };
        let mut postings = Vec::new();
        for _ in 0..2 {
            let mut tx = world.db().begin().await.unwrap();
            postings.push(ledger::grant(&mut tx, &world.clock, paid.clone()).await.unwrap());
            tx.commit().await.unwrap();
        }
        assert_eq!(postings[0], postings[1]);
        let mut tx = world.db().begin().await.unwrap();
        let other = Grant { amount: nanos(999), ..paid };
        assert_eq!(code(&ledger::grant(&mut tx, &world.clock, other).await), "conflict");
        tx.rollback().await.unwrap();
        let balance = load_balance(&world.server, &account).await.unwrap();
        assert_eq!((balance.paid, balance.bonus), (nanos(1_000), nanos(100)));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn trial_credit_pays_only_for_its_models_and_until_it_expires() {
    each_database(async |world| {
        let account = world.account().await;
        let trial = Grant {
            account_id: account.clone(),
            kind: GrantKind::Trial,
            amount: nanos(1_000),
            price: Usd::ZERO,
            reference: format!("trial-{account}"),
            memo: "Trial".to_owned(),
            allowed_models: Some(vec![ModelId::new("haiku")]),
            expires_at: Some(START.plus_seconds(60)),
        };
        let mut tx = world.db().begin().await.unwrap();
        ledger::grant(&mut tx, &world.clock, trial).await.unwrap();
        tx.commit().await.unwrap();
        let ledger = &world.server.ledger;
        let opus = NewHold { started: started("opus"), ..new_hold(&account, "opus", 1) };
        assert_eq!(code(&hold(ledger, opus).await), "insufficient_credit");
        let held = hold(ledger, new_hold(&account, "haiku", 400)).await.unwrap();

        world.clock.advance_seconds(60);
        assert_eq!(code(&hold(ledger, new_hold(&account, "late", 1)).await), "insufficient_credit");
        assert_eq!(expire_due(&world.server).await.unwrap(), 1, "the lot");
        // What a run gives back to an expired lot expires too.
        capture(ledger, held, 150).await.unwrap();
        world.clock.advance_seconds(1);
        assert_eq!(expire_due(&world.server).await.unwrap(), 1, "the lot again");
        assert_eq!(load_balance(&world.server, &account).await.unwrap().total(), Usd::ZERO);
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_frozen_account_starts_no_run() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let held = hold(&world.server.ledger, new_hold(&account, "before", 1)).await.unwrap();
        by_hand(world, "update account set frozen_at = 1, frozen_reason = 'dispute'").await.unwrap();
        assert_eq!(code(&hold(&world.server.ledger, new_hold(&account, "after", 1)).await), "account_frozen");
        capture(&world.server.ledger, held, 1).await.unwrap();
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_without_a_hold_is_recorded_once() {
    each_database(async |world| {
        let account = world.account().await;
        let id = (account.clone(), ExecutionId::new("own"));
        let own_key = Started { source: FundingSource::OwnKey, ..started("haiku") };
        for cost in [9, 9, 8] {
            let ended = ended(nanos(cost), START);
            let outcome = world.server.ledger.record(id.clone(), own_key.clone(), ended, Vec::new()).await;
            assert_eq!(code(&outcome), if cost == 9 { "ok" } else { "conflict" });
        }
        let (runs, cost, charge, input): (i64, i64, i64, i64) = server::on_read!(world.db(), pool => {
            sqlx::query_as("select executions, cost_nanos, charge_nanos, input_tokens from usage_hour")
                .fetch_one(pool)
                .await
        })
        .unwrap();
        assert_eq!((runs, cost, charge, input), (1, 9, 0, 16));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn one_command_that_cannot_be_carried_out_does_not_fail_its_neighbours() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = &world.server.ledger;
        // A run that has a row already, so that finishing its hold breaks a constraint.
        let poisoned = hold(ledger, new_hold(&account, "poisoned", 1)).await.unwrap();
        let id = (account.clone(), ExecutionId::new("poisoned"));
        ledger.record(id, started("haiku"), ended(nanos(1), START), Vec::new()).await.unwrap();
        let mut good = Vec::new();
        for i in 0..20 {
            good.push(hold(ledger, new_hold(&account, &format!("good-{i}"), 1)).await.unwrap());
        }
        let poison = tokio::time::timeout(std::time::Duration::from_millis(300), capture(ledger, poisoned, 1));
        let rest = futures::future::join_all(good.into_iter().map(|held| capture(ledger, held, 1)));
        let (poison, rest) = tokio::join!(poison, rest);
        assert!(!matches!(poison, Ok(Ok(_))));
        assert!(rest.iter().all(|outcome| code(outcome) == "ok"));
        assert_eq!(count_open_holds(&world.server).await, 1);
    })
    .await;
}

#[tokio::test]
async fn nobody_changes_or_removes_a_posting() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        hold(&world.server.ledger, new_hold(&account, "run", 1)).await.map(drop).unwrap();
        for sql in [
            "update posting set memo = 'changed'",
            "delete from posting",
            "update entry set amount_nanos = amount_nanos + 1",
            "delete from entry",
        ] {
            let error = by_hand(world, sql).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{sql}: {error}");
        }
        if world.db().engine() == "postgres" {
            assert!(by_hand(world, "truncate posting, entry").await.is_err());
        }
        assert_clean(world.db()).await;
    })
    .await;
}

/// The constraints stand even if the code above them fails: nothing is posted twice, skipped, or below zero.
#[tokio::test]
async fn the_database_refuses_what_the_rules_would_never_write() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let held = hold(&world.server.ledger, new_hold(&account, "run", 5)).await.unwrap();
        capture(&world.server.ledger, held, 5).await.unwrap();
        let insert = |posting_id: &'static str, seq: i64, key: &'static str| {
            let account = account.clone();
            async move {
                let mut tx = world.db().begin().await.unwrap();
                on_tx!(&mut tx, conn => {
                    sqlx::query(
                        "insert into posting (posting_id, account_id, seq, kind, idempotency_key, memo, change_nanos,
                                              balance_after_nanos, created_at)
                         values ($1, $2, $3, 'void', $4, '', 0, 0, 0)",
                    )
                    .bind(posting_id)
                    .bind(account)
                    .bind(seq)
                    .bind(key)
                    .execute(conn)
                    .await
                    .map(drop)
                })
            }
        };
        assert!(insert("a", 4, "end:run").await.is_err(), "a second end of the same run");
        assert!(insert("b", 3, "end:other").await.is_err(), "a number that is taken");
        assert!(insert("c", 4, "end:other").await.is_ok(), "(rolled back)");
        for sql in [
            "update balance set paid_nanos = -1",
            "update lot set remaining_nanos = granted_nanos + 1",
            "update lot set held_nanos = -1",
            "update hold set state = 'open'",
            "update hold set captured_nanos = amount_nanos + 1",
            "update hold set overrun_nanos = 1, captured_nanos = 0",
            "update hold set state = 'voided'",
            "update lot set expires_at = 1",
        ] {
            assert!(by_hand(world, sql).await.is_err(), "{sql}");
        }
        assert_clean(world.db()).await;
    })
    .await;
}
