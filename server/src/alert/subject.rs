//! Owns: what the runs of one API key or one member took from credit this month, for budgets of them.
//! Does not own: budgets (`budget`), or the sums by model and skill (`usage`).
//! Invariant: nothing is written on the way of a run; the account's postings are counted on from the last look, and each is
//! counted once.

use super::budget::Scope;
use crate::db::Tx;
use crate::error::Result;
use crate::{Server, ledger, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, BudgetId};
use domain::money::Usd;
use domain::time::Timestamp;
use std::collections::BTreeMap;

/// After so many postings the sum is kept, so that a look reads no more of them than this.
const KEEP_EVERY: i64 = 500;

#[derive(sqlx::FromRow)]
struct Counted {
    budget_id: BudgetId,
    #[sqlx(try_from = "String")]
    scope: Scope,
    scope_id: String,
    counted_month: Timestamp,
    counted_seq: i64,
    counted_nanos: Usd,
}

/// What the account's API keys and members that have a budget spent in the month that began then.
pub(super) async fn list_spent(
    server: &Server,
    account_id: &AccountId,
    month: Timestamp,
) -> Result<BTreeMap<(Scope, String), Usd>> {
    let budgets: Vec<Counted> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select budget_id, scope, scope_id, counted_month, counted_seq, counted_nanos
             from   budget
             where  account_id = $1 and scope in ('api_key', 'member')
             limit  100",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    let mut spent = BTreeMap::new();
    if budgets.is_empty() {
        return Ok(spent);
    }
    let last: Option<i64> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select last_seq from balance where account_id = $1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    let (last, begin) = (last.unwrap_or(0), ledger::cut(server, account_id, month).await?);
    for budget in budgets {
        let (from, before) =
            if budget.counted_month == month { (budget.counted_seq, budget.counted_nanos) } else { (begin, Usd::ZERO) };
        let sum = before.saturating_add(sum_between(server, account_id, &budget, (from, last)).await?);
        if last.saturating_sub(from) >= KEEP_EVERY {
            keep(server, &budget, (month, last), sum).await?;
        }
        spent.insert((budget.scope, budget.scope_id), sum);
    }
    Ok(spent)
}

/// What was captured for the key or member after one place of the account's postings and until another.
async fn sum_between(
    server: &Server,
    account_id: &AccountId,
    budget: &Counted,
    (after, until): (i64, i64),
) -> Result<Usd> {
    let (api_key_id, user_id) = match budget.scope {
        Scope::ApiKey => (Some(&budget.scope_id), None),
        Scope::Member => (None, Some(&budget.scope_id)),
        Scope::All | Scope::Model | Scope::Skill => (None, None),
    };
    Ok(on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select cast(coalesce(sum(e.charge_nanos), 0) as bigint)
             from   posting p
             join   execution e on e.execution_id = p.reference
             where  p.account_id = $1 and p.seq > $2 and p.seq <= $3 and p.kind = 'capture'
                    and (e.api_key_id = $4 or e.user_id = $5)",
        )
        .bind(account_id)
        .bind(after)
        .bind(until)
        .bind(api_key_id)
        .bind(user_id)
        .fetch_one(conn)
        .await
    })?)
}

/// Keeps the sum, unless another node has counted further.
async fn keep(server: &Server, budget: &Counted, (month, seq): (Timestamp, i64), sum: Usd) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update budget
             set    counted_month = $1, counted_seq = $2, counted_nanos = $3
             where  budget_id = $4 and counted_month = $5 and counted_seq = $6",
        )
        .bind(month)
        .bind(seq)
        .bind(sum)
        .bind(&budget.budget_id)
        .bind(budget.counted_month)
        .bind(budget.counted_seq)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Denied with `NotFound` if the account has no such API key in use, or member.
pub(super) async fn require(tx: &mut Tx, account_id: &AccountId, (scope, id): (Scope, &str)) -> Result<()> {
    let (sql, what) = match scope {
        Scope::All | Scope::Model | Scope::Skill => return Ok(()),
        Scope::ApiKey => {
            ("select count(*) from api_key where account_id = $1 and api_key_id = $2 and revoked_at is null", "API key")
        }
        Scope::Member => ("select count(*) from member where account_id = $1 and user_id = $2", "member"),
    };
    let found: i64 = on_tx!(tx, conn => sqlx::query_scalar(sql).bind(account_id).bind(id).fetch_one(conn).await)?;
    if found == 0 { Err(Denial::NotFound { what: what.to_owned() }.into()) } else { Ok(()) }
}
