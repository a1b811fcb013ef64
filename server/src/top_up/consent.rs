//! Owns: consent that ends before its time: who agreed to the rule leaves the account, or may no longer spend for it.
//! Does not own: who may spend (`domain::member`), or the end that was agreed to (`sweep` tells it).
//! Invariant: from the commit that takes somebody's right to spend, nothing is charged by what they agreed to.

use crate::Server;
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{self, Notice};
use crate::{freeze, ledger, on_tx};
use domain::id::{AccountId, UserId};
use domain::member::{Permission, Role};
use domain::top_up::Reason;

/// Withdraws the account's consent if it was this member's, and tells those who can agree anew. Within the transaction that
/// takes the member's right to spend; its account must be locked. Without such a rule it changes and tells nothing.
pub(crate) async fn withdraw(tx: &mut Tx, server: &Server, account_id: &AccountId, user_id: &UserId) -> Result<()> {
    let theirs: i64 = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar(
            "select count(*)
             from   top_up_rule
             where  account_id = $1 and user_id = $2 and is_on = 1 and withdrawn_at is null",
        )
        .bind(account_id)
        .bind(user_id)
        .fetch_one(conn)
        .await
    })?;
    if theirs == 0 {
        return Ok(());
    }
    // The balance before the rule, as everybody who changes it does; and captures ask no more.
    ledger::watch(tx, account_id, None).await?;
    let now = server.clock.now();
    let withdrawn = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update top_up_rule
             set    withdrawn_at = $1, updated_at = $1
             where  account_id = $2 and user_id = $3 and is_on = 1 and withdrawn_at is null",
        )
        .bind(now)
        .bind(account_id)
        .bind(user_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if withdrawn == 0 {
        return Ok(());
    }
    let reason = Reason::ConsentWithdrawn;
    let paused = Notice::TopUpPaused { reason: reason.to_string(), sentence: reason.sentence().to_owned() };
    let key = format!("top_up_withdrawn:{}", now.micros());
    notice::raise(tx, &server.clock, account_id, &paused, &key).await.map(drop)
}

/// Locks the account against changes of its members, and says whether this user may spend for it: what a request knew when it
/// began may be over.
pub(super) async fn may_agree(tx: &mut Tx, account_id: &AccountId, user_id: &UserId) -> Result<bool> {
    freeze::lock(tx, account_id).await?;
    let role: Option<String> = on_tx!(tx, conn => {
        sqlx::query_scalar("select role from member where account_id = $1 and user_id = $2")
            .bind(account_id)
            .bind(user_id)
            .fetch_optional(conn)
            .await
    })?;
    let role = role.map(|role| role.parse::<Role>()).transpose()?;
    Ok(role.is_some_and(|role| role.may(Permission::ManageBilling)))
}
