//! Owns: giving credit, inside the transaction of the fact that it follows from.
//! Does not own: whether the fact is true (`purchase`, `trial`); a redirect of the browser never is one.

use super::batch::Batch;
use super::load;
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::on_tx;
use domain::denial::Denial;
use domain::id::{AccountId, LotId, ModelId, PostingId};
use domain::ledger::{Command, GrantKind, grant_key};
use domain::money::Usd;
use domain::time::Timestamp;

/// Credit to give. Once for each `reference` and kind, whatever happens.
#[derive(Clone, Debug)]
pub struct Grant {
    pub account_id: AccountId,
    pub kind: GrantKind,
    pub amount: Usd,
    /// What the customer paid for it, markup included; zero unless `kind` is paid.
    pub price: Usd,
    /// The fact it follows from, such as the purchase's id.
    pub reference: String,
    /// For the statement, such as `Bought $10.00 of credit`.
    pub memo: String,
    /// The only models it may pay for; `None` for all.
    pub allowed_models: Option<Vec<ModelId>>,
    /// Only trial and promotional credit expires.
    pub expires_at: Option<Timestamp>,
}

/// Gives credit within the caller's transaction, which must then be committed. The same grant again returns the
/// first posting; the same reference and kind with another account or amount is denied as a conflict.
pub async fn grant(tx: &mut Tx, clock: &Clock, grant: Grant) -> Result<PostingId> {
    let account_ids = [grant.account_id.to_string()];
    let mut batch = Batch::for_accounts(tx, clock, &account_ids).await?;

    let key = grant_key(&grant.reference, grant.kind);
    if let Some(first) = load_posting(tx, &key).await? {
        if first.account_id == grant.account_id && first.change_nanos == grant.amount {
            return Ok(first.posting_id);
        }
        let problem = format!("{} credit for {} was given before, in another way.", grant.kind, grant.reference);
        return Err(Denial::Conflict { problem }.into());
    }
    let command = Command::Grant {
        lot_id: LotId::new(clock.new_id()),
        kind: grant.kind,
        amount: grant.amount,
        price: grant.price,
        allowed_models: grant.allowed_models,
        expires_at: grant.expires_at,
        reference: grant.reference,
    };
    batch.decide(&grant.account_id, &command, &grant.memo)?;

    let posting_id = batch.last_posting_id();
    batch.into_writes()?.write(tx, clock).await?;
    posting_id.ok_or_else(|| Error::Internal("a grant made no posting".to_owned()))
}

/// Gives a new account its ledger row, with nothing in it. Call it where the account is inserted.
pub async fn open_account(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    load::open_missing(tx, &[account_id.to_string()]).await
}

#[derive(sqlx::FromRow)]
struct FirstPosting {
    posting_id: PostingId,
    account_id: AccountId,
    change_nanos: Usd,
}

async fn load_posting(tx: &mut Tx, idempotency_key: &str) -> Result<Option<FirstPosting>> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_as("select posting_id, account_id, change_nanos from posting where idempotency_key = $1")
            .bind(idempotency_key)
            .fetch_optional(conn)
            .await
    })?)
}
