//! Owns: why an account starts no new runs: the rows of `account_freeze`, and the account's columns that follow from them;
//! and freezing and lifting by hand.
//! Does not own: refusing runs (`domain::ledger` does), or what else causes a freeze (`dispute`, `refund`).
//! Invariant: an account is frozen as long as one cause is not lifted; who changes its causes holds its row's lock. What an
//! operator lifted stays lifted, whatever repeats itself afterwards.

use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{self, Notice};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::dispute::FreezeCause;
use domain::id::AccountId;
use domain::money::Usd;
use domain::time::Timestamp;

const LONGEST_REASON: usize = 500;

/// A cause that is not lifted.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Frozen {
    #[sqlx(try_from = "String")]
    pub cause: FreezeCause,
    pub frozen_at: Timestamp,
}

/// Why the account is frozen, oldest cause first; empty if it is not.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<Frozen>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select cause, min(frozen_at) as frozen_at
             from   account_freeze
             where  account_id = $1 and lifted_at is null
             group  by cause
             order  by min(frozen_at), cause",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?)
}

/// Denied with `AccountFrozen`, unless the account is not frozen, or frozen only for what buying credit settles.
pub(crate) async fn check_may_buy(server: &Server, account_id: &AccountId) -> Result<()> {
    let reason: Option<Option<String>> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select frozen_reason from account where account_id = $1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    let Some(reason) = reason.flatten() else { return Ok(()) };
    let causes = list(server, account_id).await?;
    if !causes.is_empty() && causes.iter().all(|frozen| frozen.cause.may_buy()) {
        return Ok(());
    }
    Err(Denial::AccountFrozen { reason }.into())
}

/// Locks the account's row until the transaction ends: before the ledger's, as everything that needs both does.
pub(crate) async fn lock(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    match tx {
        // `begin immediate` has locked the whole database.
        Tx::Sqlite(_) => {}
        Tx::Postgres(conn) => {
            sqlx::query("select account_id from account where account_id = $1 for no key update")
                .bind(account_id)
                .execute(&mut **conn)
                .await?;
        }
    }
    Ok(())
}

/// Freezes the account by hand, for a reason that stays with the freeze; its people are told that it was us, not why.
/// Denied with `Invalid` without a reason.
pub async fn freeze_by_hand(server: &Server, account_id: &AccountId, reason: &str) -> Result<()> {
    let reason = checked(reason)?;
    let mut tx = server.db.begin().await?;
    lock(&mut tx, account_id).await?;
    let reference = server.clock.new_id();
    freeze(&mut tx, &server.clock, account_id, (FreezeCause::ByHand, &reference)).await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update account_freeze set reason = $1 where account_id = $2 and cause = $3 and reference = $4")
            .bind(&reason)
            .bind(account_id)
            .bind(FreezeCause::ByHand.as_str())
            .bind(&reference)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::warn!(%account_id, reason, "an account was frozen by hand");
    Ok(())
}

/// Lifts what somebody of ours may lift: freezes by hand and early fraud warnings. Answers how many were lifted, and what
/// holds on: a dispute until the bank has decided, and what is owed until it is paid. Denied with `Invalid` without a reason.
pub async fn lift_by_hand(server: &Server, account_id: &AccountId, reason: &str) -> Result<(u64, Vec<Frozen>)> {
    let reason = checked(reason)?;
    let mut lifted = 0;
    let mut tx = server.db.begin().await?;
    lock(&mut tx, account_id).await?;
    for cause in FreezeCause::ALL.iter().filter(|cause| cause.may_be_lifted_by_hand()) {
        lifted += on_tx!(&mut tx, conn => {
            sqlx::query(
                "update account_freeze
                 set    lifted_at = $1, lifted_reason = $2
                 where  account_id = $3 and cause = $4 and lifted_at is null",
            )
            .bind(server.clock.now())
            .bind(&reason)
            .bind(account_id)
            .bind(cause.as_str())
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
        })?;
    }
    follow(&mut tx, &server.clock, account_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::warn!(%account_id, lifted, reason, "freezes of an account were lifted by hand");
    Ok((lifted, list(server, account_id).await?))
}

fn checked(reason: &str) -> std::result::Result<String, Denial> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Denial::invalid("reason", "is empty, or longer than 500 characters", "Say in a sentence why."));
    }
    Ok(reason.to_owned())
}

/// Freezes the account for this cause, until it is lifted for the same one; whether it was not yet. What was lifted by hand
/// is not frozen again.
pub(crate) async fn freeze(
    tx: &mut Tx,
    clock: &Clock,
    account_id: &AccountId,
    (cause, reference): (FreezeCause, &str),
) -> Result<bool> {
    let changed = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into account_freeze (account_id, cause, reference, frozen_at)
             values ($1, $2, $3, $4)
             on conflict (account_id, cause, reference) do update
             set    frozen_at = excluded.frozen_at, lifted_at = null
             where  account_freeze.lifted_at is not null and account_freeze.lifted_reason is null",
        )
        .bind(account_id)
        .bind(cause.as_str())
        .bind(reference)
        .bind(clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 1 {
        follow(tx, clock, account_id).await?;
    }
    Ok(changed == 1)
}

/// Lifts the freeze for this cause; whether there was one.
pub(crate) async fn lift(
    tx: &mut Tx,
    clock: &Clock,
    account_id: &AccountId,
    (cause, reference): (FreezeCause, &str),
) -> Result<bool> {
    let changed = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update account_freeze
             set    lifted_at = $1
             where  account_id = $2 and cause = $3 and reference = $4 and lifted_at is null",
        )
        .bind(clock.now())
        .bind(account_id)
        .bind(cause.as_str())
        .bind(reference)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 1 {
        follow(tx, clock, account_id).await?;
    }
    Ok(changed == 1)
}

/// Freezes the account while it owes something (spec §6.7).
pub(crate) async fn follow_debt(tx: &mut Tx, clock: &Clock, account_id: &AccountId, owed: Usd) -> Result<()> {
    let cause = (FreezeCause::Owed, "");
    if owed.is_positive() {
        freeze(tx, clock, account_id, cause).await.map(drop)
    } else {
        lift(tx, clock, account_id, cause).await.map(drop)
    }
}

/// The account's columns, from its causes: the oldest one, but debt only when there is no other, for debt leaves more. A
/// deleted account stays frozen. Its people are told when it begins and ends.
async fn follow(tx: &mut Tx, clock: &Clock, account_id: &AccountId) -> Result<()> {
    let oldest: Option<(String, Timestamp)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            "select cause, frozen_at
             from   account_freeze
             where  account_id = $1 and lifted_at is null
             order  by case when cause = $2 then 1 else 0 end, frozen_at, cause
             limit  1",
        )
        .bind(account_id)
        .bind(FreezeCause::Owed.as_str())
        .fetch_optional(conn)
        .await
    })?;
    let cause = oldest.as_ref().map(|(cause, _)| cause.parse::<FreezeCause>()).transpose()?;
    let reason = cause.map(FreezeCause::reason);
    let was_frozen: Option<Option<Timestamp>> = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar("select frozen_at from account where account_id = $1 and deleted_at is null")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    let Some(was_frozen) = was_frozen else { return Ok(()) };
    on_tx!(&mut *tx, conn => {
        sqlx::query("update account set frozen_at = $1, frozen_reason = $2, frozen_cause = $3 where account_id = $4")
            .bind(oldest.as_ref().map(|(_, frozen_at)| *frozen_at))
            .bind(reason)
            .bind(cause.map(FreezeCause::as_str))
            .bind(account_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    let now = clock.now().micros();
    match (was_frozen, cause) {
        (None, Some(cause)) => {
            let frozen = Notice::AccountFrozen { reason: cause.reason().to_owned(), may_buy: cause.may_buy() };
            notice::raise(tx, clock, account_id, &frozen, &format!("frozen:{now}")).await.map(drop)
        }
        (Some(_), None) => {
            notice::raise(tx, clock, account_id, &Notice::AccountReleased, &format!("released:{now}")).await.map(drop)
        }
        (None, None) | (Some(_), Some(_)) => Ok(()),
    }
}
