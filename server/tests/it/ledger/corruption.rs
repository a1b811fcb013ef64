//! The check finds any one row that was changed by hand.

use super::*;
use crate::support::each_database;
use domain::id::ClaimId;
use domain::ledger::ClaimKind;
use domain::money::Cents;
use domain::refund::Part;
use server::ledger::expire_due;
use server::ledger::{ClaimOf, Taking, claim};
use server::on_tx;

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

/// A pack of which $8 were spent, a refund of $1 of it, and a dispute of the rest, of which some is owed.
async fn fill_claims(world: &World) {
    let account = world.account().await;
    let (ten, one) = (Usd::from_dollars(10).unwrap(), Usd::from_dollars(1).unwrap());
    let purchase_id = world.buy(&account, ten, one).await;
    let held = hold(&world.server.ledger, new_hold(&account, "spent", 8_000_000_000)).await.unwrap();
    capture(&world.server.ledger, held, 8_000_000_000).await.unwrap();
    let part = Part { credit: one, bonus: nanos(100_000_000), price: Cents(115), fee: Cents(6), cash: Cents(109) };
    let of = |id: &str, kind| ClaimOf {
        claim_id: ClaimId::new(id),
        kind,
        account_id: &account,
        purchase_id: &purchase_id,
        memo: "Back".to_owned(),
    };
    let mut tx = world.db().begin().await.unwrap();
    claim(&mut tx, &world.clock, of("refund", ClaimKind::Refund), Taking::Agreed(&part)).await.unwrap();
    let disputed = Taking::PaidBy(Cents(1_035));
    let claimed = claim(&mut tx, &world.clock, of("dispute", ClaimKind::Dispute), disputed).await.unwrap();
    assert!(claimed.owed.is_positive());
    let rows = [
        "insert into refund (refund_id, request_id, account_id, user_id, purchase_id, credit_nanos, bonus_nanos, price_cents,
                             fee_cents, cash_cents, state, created_at)
         values ('refund', 'r', $1, 'nobody', $2, 1000000000, 100000000, 115, 6, 109, 'succeeded', 0)",
        "insert into dispute (stripe_dispute_id, account_id, purchase_id, amount_cents, currency, reason, state, readings,
                              stored_reading, created_at, changed_at)
         values ('dispute', $1, $2, 1035, 'usd', 'fraudulent', 'needs_response', 1, 1, 0, 0)",
    ];
    for sql in rows {
        on_tx!(&mut tx, conn => {
            sqlx::query(sql).bind(&account).bind(&purchase_id).execute(conn).await.map(drop)
        })
        .unwrap();
    }
    tx.commit().await.unwrap();
    by_hand(world, "update account set frozen_at = 1, frozen_reason = 'owes'").await.unwrap();
    assert_clean(world.db()).await;
}

const CLAIM_CORRUPTIONS: &[(&str, &str)] = &[
    ("update claim set credit_nanos = credit_nanos + 1 where kind = 'dispute'", "claim"),
    ("update claim set bonus_nanos = bonus_nanos - 1 where kind = 'dispute'", "claim"),
    ("update claim set cash_nanos = cash_nanos + 1 where kind = 'dispute'", "claim"),
    ("update claim set owed_nanos = owed_nanos - 1 where owed_nanos > 0", "claim"),
    ("update claim set owed_nanos = owed_nanos - 1 where owed_nanos > 0", "balance"),
    ("update claim set changes = changes + 1 where kind = 'refund'", "claim"),
    ("update claim set credit_nanos = credit_nanos + 10000000000", "purchase"),
    ("update claim set bonus_nanos = bonus_nanos + 1000000000", "purchase"),
    ("update claim set claim_id = 'lost' where kind = 'dispute'", "posting"),
    ("update claim set claim_id = 'lost' where kind = 'dispute'", "dispute"),
    ("update balance set receivable_nanos = -receivable_nanos where receivable_nanos < 0", "balance"),
    ("update refund set state = 'failed'", "refund"),
    ("update refund set cash_cents = cash_cents + 1", "refund"),
    ("update refund set bonus_nanos = bonus_nanos + 1", "refund"),
    ("update dispute set state = 'won'", "dispute"),
    ("update dispute set amount_cents = amount_cents + 1", "dispute"),
];

#[tokio::test]
async fn any_row_of_money_that_went_back_changed_by_hand_is_found_and_named() {
    each_database(async |world| {
        fill_claims(world).await;
        disarm(world).await;
        for &(sql, table) in CLAIM_CORRUPTIONS {
            let (changed, findings) = in_rolled_back_copy(world, sql).await;
            assert!(changed > 0, "{sql} changed nothing");
            let named = findings.iter().any(|row| row.split(' ').next() == Some(table));
            assert!(named, "{sql}: expected a row of {table}, found {findings:?}");
        }
        by_hand(world, "update account set frozen_at = null").await.unwrap();
        let findings = ledger::check(world.db()).await.unwrap();
        assert!(findings.iter().any(|finding| finding.invariant == "who_owes_is_frozen"), "{findings:?}");
    })
    .await;
}

/// Corrupts a row, checks, and puts everything back as it was.
async fn in_rolled_back_copy(world: &World, sql: &'static str) -> (u64, Vec<String>) {
    // In this order nothing points at a row that is gone.
    let tables = [
        "entry",
        "posting",
        "balance",
        "lot",
        "hold",
        "execution",
        "usage_hour",
        "claim",
        "refund",
        "dispute",
        "purchase",
    ];
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
    for table in tables {
        run(format!("delete from {table}")).await.unwrap();
    }
    for table in tables.into_iter().rev() {
        run(format!("insert into {table} select * from saved_{table}")).await.unwrap();
        run(format!("drop table saved_{table}")).await.unwrap();
    }
    (changed, findings)
}
