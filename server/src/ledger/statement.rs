//! Owns: reading the ledger for people: the balance now or then, and the statement.

use crate::Server;
use crate::error::Result;
use crate::on_read;
use domain::id::{AccountId, PostingId};
use domain::ledger::{Balance, PostingKind};
use domain::money::Usd;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of a statement: something that changed what the customer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRow {
    pub posting_id: PostingId,
    pub kind: PostingKind,
    /// What it is about: the run of a capture, the purchase of a grant.
    pub reference: Option<String>,
    /// For people, such as `Bought $10.00 of credit`.
    pub memo: String,
    pub change: Usd,
    /// What the customer had afterwards, spendable and held.
    pub balance_after: Usd,
    pub created_at: Timestamp,
}

/// What an account has now. An account without a ledger row has nothing.
pub async fn load_balance(server: &Server, account_id: &AccountId) -> Result<Balance> {
    let balance = on_read!(&server.db, pool => {
        sqlx::query_as::<_, Balance>(
            "select paid_nanos, bonus_nanos, promotional_nanos, trial_nanos, held_nanos, receivable_nanos
               from balance
              where account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(pool)
        .await
    })?;
    Ok(balance.unwrap_or_default())
}

/// What an account had at a moment, spendable and held.
pub async fn load_balance_at(server: &Server, account_id: &AccountId, at: Timestamp) -> Result<Usd> {
    let balance = on_read!(&server.db, pool => {
        sqlx::query_scalar::<_, Usd>(
            "select balance_after_nanos
               from posting
              where account_id = $1 and change_nanos <> 0 and created_at <= $2
              order by seq desc
              limit 1",
        )
        .bind(account_id)
        .bind(at)
        .fetch_optional(pool)
        .await
    })?;
    Ok(balance.unwrap_or_default())
}

#[derive(sqlx::FromRow)]
struct Row {
    posting_id: PostingId,
    kind: String,
    reference: Option<String>,
    memo: String,
    change_nanos: Usd,
    balance_after_nanos: Usd,
    created_at: Timestamp,
}

/// What changed an account's credit: purchases, bonuses, captures, refunds; newest first, `limit` lines older than
/// `before`, of one `kind` or all. Holds that only set credit aside are left out.
pub async fn list_statement(
    server: &Server,
    account_id: &AccountId,
    kind: Option<PostingKind>,
    before: Option<&PostingId>,
    limit: u32,
) -> Result<Vec<StatementRow>> {
    let rows = on_read!(&server.db, pool => {
        sqlx::query_as::<_, Row>(
            "select posting_id, kind, reference, memo, change_nanos, balance_after_nanos, created_at
               from posting
              where account_id = $1
                and change_nanos <> 0
                and ($4 is null or kind = $4)
                and ($2 is null or seq < (select seq from posting where posting_id = $2 and account_id = $1))
              order by seq desc
              limit $3",
        )
        .bind(account_id)
        .bind(before)
        .bind(i64::from(limit))
        .bind(kind.map(PostingKind::as_str))
        .fetch_all(pool)
        .await
    })?;
    rows.into_iter()
        .map(|row| {
            Ok(StatementRow {
                posting_id: row.posting_id,
                kind: row.kind.parse()?,
                reference: row.reference,
                memo: row.memo,
                change: row.change_nanos,
                balance_after: row.balance_after_nanos,
                created_at: row.created_at,
            })
        })
        .collect()
}
