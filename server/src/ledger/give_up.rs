//! Owns: what becomes of an account's credit and texts when it is deleted. The books stay; what was written by people
//! goes.

use super::batch::Batch;
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::{Server, on_tx};
use domain::denial::Denial;
use domain::id::AccountId;
use domain::ledger::Command;

/// Rows that lose their texts in one transaction.
const BATCH: i64 = 500;

/// Moves what is left of every lot to breakage, within the caller's transaction. Denied with `Conflict` while a run
/// holds credit.
pub async fn give_up(tx: &mut Tx, clock: &Clock, account_id: &AccountId) -> Result<()> {
    let mut batch = Batch::for_accounts(tx, clock, &[account_id.to_string()]).await?;
    if batch.has_open_holds(account_id) {
        let problem = "Runs are open. Wait until they have ended, then try again.".to_owned();
        return Err(Denial::Conflict { problem }.into());
    }
    for lot_id in batch.lots_left(account_id) {
        batch.decide(account_id, &Command::GiveUpLot { lot_id }, "Given up with the account")?;
    }
    let writes = batch.into_writes()?;
    if writes.is_empty() { Ok(()) } else { writes.write(tx, clock).await }
}

/// Removes the inputs and outputs of the account's runs, some at a time. What they used and cost stays.
pub async fn forget_texts(server: &Server, account_id: &AccountId) -> Result<()> {
    while forget_some_outputs(server, account_id).await? > 0 {}
    while forget_some_drafts(server, account_id).await? > 0 {}
    Ok(())
}

async fn forget_some_outputs(server: &Server, account_id: &AccountId) -> Result<u64> {
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update execution
                set input_text = null, output_text = null
              where execution_id in (
                    select execution_id
                      from execution
                     where account_id = $1 and (input_text is not null or output_text is not null)
                     limit $2)",
        )
        .bind(account_id)
        .bind(BATCH)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(changed)
}

async fn forget_some_drafts(server: &Server, account_id: &AccountId) -> Result<u64> {
    let mut tx = server.db.begin().await?;
    let changed = match &mut tx {
        Tx::Sqlite(conn) => sqlx::query(
            "update hold
                set draft = json_remove(draft, '$.input_text')
              where execution_id in (
                    select execution_id
                      from hold
                     where account_id = $1 and state <> 'open' and json_extract(draft, '$.input_text') is not null
                     limit $2)",
        )
        .bind(account_id)
        .bind(BATCH)
        .execute(&mut **conn)
        .await?
        .rows_affected(),
        Tx::Postgres(conn) => sqlx::query(
            "update hold
                set draft = (draft::jsonb - 'input_text')::text
              where execution_id in (
                    select execution_id
                      from hold
                     where account_id = $1 and state <> 'open' and draft::jsonb ->> 'input_text' is not null
                     limit $2)",
        )
        .bind(account_id)
        .bind(BATCH)
        .execute(&mut **conn)
        .await?
        .rows_affected(),
    };
    tx.commit().await?;
    Ok(changed)
}
