//! The check finds any one row that was changed by hand.

use super::*;
use crate::support::each_database;
use server::ledger::expire_due;

/// Books with one of everything: two kinds of bought credit, an open, a captured, an overrun, a voided and an expired
/// hold, and a run that no credit paid.
async fn fill(world: &World) {
    let account = world.account().await;
    world.buy(&account, nanos(1_000_000), nanos(700)).await;
    let ledger = &world.server.ledger;
    let expires = hold(ledger, new_hold(&account, "expires", 10)).await.unwrap();
    drop(expires);
    world.clock.advance_seconds(600);
    assert_eq!(expire_due(&world.server).await.unwrap(), 1);
    for (id, amount, end) in [
        ("captured", 1_000, End::Capture { cost: nanos(900) }),
        ("overrun", 1_000, End::Capture { cost: nanos(1_100) }),
        ("voided", 1_000, End::Void),
    ] {
        let held = hold(ledger, new_hold(&account, id, amount)).await.unwrap();
        finish(ledger, held, end).await.unwrap();
    }
    let id = (account.clone(), ExecutionId::new("own"));
    ledger.record(id, started("haiku"), ended(nanos(9), START), Vec::new()).await.unwrap();
    let _open = hold(ledger, new_hold(&account, "open", 1_000)).await.unwrap();
    assert_clean(world.db()).await;
}

/// Lets a hand reach the tables that are append-only.
async fn disarm(world: &World) {
    let triggers: &[&'static str] = if world.db().engine() == "sqlite" {
        &[
            "drop trigger posting_append_only_update",
            "drop trigger posting_append_only_delete",
            "drop trigger entry_append_only_update",
            "drop trigger entry_append_only_delete",
        ]
    } else {
        &["drop trigger posting_append_only on posting", "drop trigger entry_append_only on entry"]
    };
    for &sql in triggers {
        by_hand(world, sql).await.unwrap();
    }
}

/// What a hand does, and the table whose row must be named for it.
const CORRUPTIONS: &[(&str, &str)] = &[
    ("update entry set amount_nanos = amount_nanos + 1 where book = 'usage_revenue'", "posting"),
    ("update entry set amount_nanos = amount_nanos - 1 where book = 'held' and amount_nanos > 0", "posting"),
    ("delete from entry where book = 'stripe_clearing'", "posting"),
    ("update entry set account_id = null where book = 'held'", "entry"),
    ("update entry set lot_id = null where book = 'bonus'", "entry"),
    ("update entry set book = 'overrun_loss' where book = 'usage_revenue'", "hold"),
    ("update posting set change_nanos = change_nanos - 1 where kind = 'capture'", "posting"),
    ("update posting set balance_after_nanos = balance_after_nanos + 1 where kind = 'capture'", "posting"),
    ("update posting set seq = seq + 100 where kind = 'void'", "posting"),
    ("update posting set idempotency_key = 'lost' where kind = 'void'", "hold"),
    ("update posting set idempotency_key = 'lost' where kind = 'hold' and reference = 'open'", "hold"),
    ("update posting set kind = 'void' where kind = 'expire'", "hold"),
    ("update posting set reference = 'nobody' where kind = 'void'", "posting"),
    ("update posting set reference = 'captured' where kind = 'void'", "posting"),
    ("update posting set reference = 'nobody' where kind = 'grant'", "posting"),
    ("update posting set idempotency_key = 'lost' where kind = 'grant' and change_nanos = 700", "purchase"),
    ("update balance set paid_nanos = paid_nanos + 1", "balance"),
    ("update balance set bonus_nanos = bonus_nanos + 1", "balance"),
    ("update balance set promotional_nanos = promotional_nanos + 1", "balance"),
    ("update balance set trial_nanos = trial_nanos + 1", "balance"),
    ("update balance set held_nanos = held_nanos + 1", "balance"),
    ("update balance set receivable_nanos = receivable_nanos - 1", "balance"),
    ("update balance set last_seq = last_seq - 1", "balance"),
    ("update lot set remaining_nanos = remaining_nanos - 1 where kind = 'paid'", "lot"),
    ("update lot set granted_nanos = granted_nanos + 1 where kind = 'paid'", "lot"),
    ("update lot set held_nanos = held_nanos - 1 where held_nanos > 0", "balance"),
    ("update hold set amount_nanos = amount_nanos + 1 where state = 'open'", "hold"),
    ("update hold set captured_nanos = captured_nanos - 1 where execution_id = 'captured'", "hold"),
    ("update hold set overrun_nanos = overrun_nanos + 1 where execution_id = 'overrun'", "hold"),
    ("update hold set state = 'expired' where state = 'voided'", "hold"),
    ("update hold set state = 'open', ended_at = null where state = 'voided'", "hold"),
    ("delete from hold where execution_id = 'voided'", "posting"),
    ("update execution set charge_nanos = charge_nanos + 1 where execution_id = 'captured'", "execution"),
    ("update execution set charge_nanos = 1 where execution_id = 'own'", "execution"),
    ("update execution set cost_nanos = cost_nanos + 1 where execution_id = 'own'", "usage_hour"),
    ("update execution set output_tokens = output_tokens + 1 where execution_id = 'own'", "usage_hour"),
    ("delete from execution where execution_id = 'expires'", "execution"),
    ("update usage_hour set executions = executions + 1", "usage_hour"),
    ("update usage_hour set input_tokens = input_tokens + 1", "usage_hour"),
    ("update usage_hour set charge_nanos = charge_nanos + 1", "usage_hour"),
    ("delete from usage_hour", "usage_hour"),
    ("update purchase set amount_nanos = amount_nanos + 1", "purchase"),
    ("update purchase set bonus_nanos = 0", "purchase"),
    ("update purchase set state = 'pending'", "purchase"),
    ("delete from purchase", "posting"),
];

#[tokio::test]
async fn any_one_row_changed_by_hand_is_found_and_named() {
    each_database(async |world| {
        fill(world).await;
        disarm(world).await;
        for &(sql, table) in CORRUPTIONS {
            let (changed, findings) = in_rolled_back_copy(world, sql).await;
            assert!(changed > 0, "{sql} changed nothing");
            let named = findings.iter().any(|row| row.split(' ').next() == Some(table));
            assert!(named, "{sql}: expected a row of {table}, found {findings:?}");
        }
        assert_clean(world.db()).await;
    })
    .await;
}

/// Corrupts a row, checks, and puts everything back as it was.
async fn in_rolled_back_copy(world: &World, sql: &'static str) -> (u64, Vec<String>) {
    let tables = ["posting", "entry", "balance", "lot", "hold", "execution", "usage_hour", "purchase"];
    let run = async |sql: String| match world.db() {
        Db::Sqlite { write, .. } => {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(write).await.map(|done| done.rows_affected())
        }
        Db::Postgres(pool) => {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.map(|done| done.rows_affected())
        }
    };
    for table in tables {
        run(format!("create table saved_{table} as select * from {table}")).await.unwrap();
    }
    let changed = run(sql.to_owned()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let findings = ledger::check(world.db()).await.unwrap().into_iter().map(|finding| finding.row).collect();
    for table in ["entry", "posting", "balance", "lot", "hold", "execution", "usage_hour", "purchase"] {
        run(format!("delete from {table}")).await.unwrap();
    }
    for table in tables {
        run(format!("insert into {table} select * from saved_{table}")).await.unwrap();
        run(format!("drop table saved_{table}")).await.unwrap();
    }
    (changed, findings)
}
