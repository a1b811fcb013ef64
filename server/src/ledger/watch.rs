//! Owns: the balance under which a capture asks whether a top-up is due, and asking it in the capture's transaction.
//! Does not own: whether one is due (`domain::top_up`), or the charge (`top_up`).
//! Invariant: it is set under the lock of the balance, with the balance seen; so no capture passes unnoticed between.

use super::Balance;
use crate::db::Tx;
use crate::error::Result;
use crate::job::{Job, NewJob};
use crate::on_tx;
use domain::id::AccountId;
use domain::money::Usd;
use domain::time::Timestamp;
use domain::top_up::Trigger;

/// Locks the account's balance until the transaction ends, says what it is, and from which balance on downwards captures
/// ask for a top-up; `None` when nobody wants to know. An account without a ledger row has nothing.
pub async fn watch(tx: &mut Tx, account_id: &AccountId, below: Option<Usd>) -> Result<Balance> {
    let balance: Option<Balance> = on_tx!(tx, conn => {
        sqlx::query_as(
            "update    balance
             set       top_up_below_nanos = $1
             where     account_id = $2
             returning paid_nanos, bonus_nanos, promotional_nanos, trial_nanos, held_nanos, receivable_nanos",
        )
        .bind(below)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(balance.unwrap_or_default())
}

/// The job of a capture that left this much, if somebody wants to know.
pub(super) fn ask_for_top_up(account_id: &AccountId, below: Option<Usd>, left: Usd, now: Timestamp) -> Option<NewJob> {
    below.filter(|below| left < *below)?;
    Some(top_up_job(account_id, Trigger::Capture, Usd::ZERO, now))
}

/// Looks whether a top-up is due; one such job waits at a time for each account.
pub(crate) fn top_up_job(account_id: &AccountId, trigger: Trigger, refused: Usd, at: Timestamp) -> NewJob {
    NewJob {
        unique_key: Some(["top_up:", account_id.as_str()].concat()),
        run_at: at,
        job: Job::TopUp { account_id: account_id.clone(), trigger, refused },
    }
}
