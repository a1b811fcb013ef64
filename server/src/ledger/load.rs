//! Owns: reading what a batch is decided on, with its accounts locked until the transaction ends.

use super::platform::Taken;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::on_tx;
use domain::dispute::FreezeCause;
use domain::id::{AccountId, ExecutionId, LotId, ModelId};
use domain::ledger::{Balance, Frozen, HoldRecord, Lot, Standing};
use domain::money::Usd;
use domain::time::Timestamp;
use futures::TryStreamExt as _;
use sqlx::{Either, Executor as _, FromRow as _, PgConnection, SqliteConnection};
use std::collections::HashMap;

/// One account of a batch, locked.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub standing: Standing,
    /// The number of its newest posting.
    pub last_seq: i64,
    /// Captures that leave less than this ask for a top-up.
    pub top_up_below: Option<Usd>,
}

#[derive(sqlx::FromRow)]
struct BalanceRow {
    account_id: AccountId,
    #[sqlx(flatten)]
    balance: Balance,
    last_seq: i64,
    top_up_below_nanos: Option<Usd>,
}

#[derive(sqlx::FromRow)]
struct LotRow {
    account_id: AccountId,
    frozen: Option<String>,
    frozen_cause: Option<String>,
    lot_id: Option<LotId>,
    kind: Option<String>,
    granted_nanos: Option<Usd>,
    remaining_nanos: Option<Usd>,
    held_nanos: Option<Usd>,
    allowed_models: Option<String>,
    expires_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct HoldRow {
    execution_id: ExecutionId,
    account_id: AccountId,
    amount_nanos: Usd,
    captured_nanos: Usd,
    overrun_nanos: Usd,
    state: String,
    taken: String,
    draft: Option<String>,
    expires_at: Timestamp,
    allowance_period: Option<Timestamp>,
    platform_day: Option<Timestamp>,
    platform_nanos: Usd,
}

/// A hold and whose it is. `draft` is there only if it was asked for.
pub(super) struct LoadedHold {
    pub account_id: AccountId,
    pub record: HoldRecord,
    pub taken: Taken,
    pub draft: Option<String>,
}

/// Locks the accounts, in the order of their ids, and loads their balance and the lots that have something left or
/// held. An account that does not exist is missing from the answer.
pub(super) async fn lock_accounts(tx: &mut Tx, account_ids: &[String]) -> Result<HashMap<AccountId, Account>> {
    Ok(lock(tx, account_ids, &Wanted::default()).await?.0)
}

/// The holds to load with the accounts, of whatever account; the draft only of those in `with_draft`.
#[derive(Default)]
pub(super) struct Wanted {
    pub holds: Vec<String>,
    pub with_draft: Vec<String>,
}

/// [`lock_accounts`], and the holds that are wanted.
pub(super) async fn lock(
    tx: &mut Tx,
    account_ids: &[String],
    wanted: &Wanted,
) -> Result<(HashMap<AccountId, Account>, HashMap<ExecutionId, LoadedHold>)> {
    let mut rows = read(tx, account_ids, wanted).await?;
    if rows.balances.len() < account_ids.len() {
        open_missing(tx, account_ids).await?;
        rows = read(tx, account_ids, wanted).await?;
    }
    let mut accounts: HashMap<AccountId, Account> = rows
        .balances
        .into_iter()
        .map(|row| {
            let standing = Standing { balance: row.balance, ..Standing::default() };
            let top_up_below = row.top_up_below_nanos;
            (row.account_id, Account { standing, last_seq: row.last_seq, top_up_below })
        })
        .collect();
    for row in rows.lots {
        let Some(account) = accounts.get_mut(&row.account_id) else { continue };
        if account.standing.frozen.is_none() {
            account.standing.frozen = row.frozen()?;
        }
        if let Some(lot) = row.into_lot()? {
            account.standing.lots.push(lot);
        }
    }
    let holds = rows.holds.into_iter().map(HoldRow::into_hold).collect::<Result<_>>()?;
    Ok((accounts, holds))
}

/// What [`lock`] reads.
#[derive(Default)]
struct Rows {
    balances: Vec<BalanceRow>,
    lots: Vec<LotRow>,
    holds: Vec<HoldRow>,
}

async fn read(tx: &mut Tx, account_ids: &[String], wanted: &Wanted) -> Result<Rows> {
    match tx {
        Tx::Sqlite(conn) => read_sqlite(&mut *conn, account_ids, wanted).await,
        Tx::Postgres(conn) => read_postgres(&mut *conn, account_ids, wanted).await,
    }
}

/// In one way to SQLite's thread and back. `begin immediate` has locked the whole database.
async fn read_sqlite(conn: &mut SqliteConnection, account_ids: &[String], wanted: &Wanted) -> Result<Rows> {
    let query = sqlx::query(
        "select account_id, paid_nanos, bonus_nanos, promotional_nanos, trial_nanos, held_nanos, receivable_nanos,
                last_seq, top_up_below_nanos
           from balance
          where account_id in (select value from json_each($1));
         select a.account_id, case when a.frozen_at is not null then coalesce(a.frozen_reason, 'by us') end as frozen,
                a.frozen_cause, l.lot_id, l.kind, l.granted_nanos, l.remaining_nanos, l.held_nanos, l.allowed_models,
                l.expires_at, l.created_at
           from account a
           left join lot l on l.account_id = a.account_id and (l.remaining_nanos > 0 or l.held_nanos > 0)
          where a.account_id in (select value from json_each($1));
         select execution_id, account_id, amount_nanos, captured_nanos, overrun_nanos, state, taken, expires_at,
                allowance_period, platform_day, platform_nanos,
                case when execution_id in (select value from json_each($3)) then draft end as draft
           from hold
          where execution_id in (select value from json_each($2))",
    )
    .bind(serde_json::to_string(account_ids)?)
    .bind(serde_json::to_string(&wanted.holds)?)
    .bind(serde_json::to_string(&wanted.with_draft)?);
    let mut rows = Rows::default();
    let mut done = 0;
    let mut found = conn.fetch_many(query);
    while let Some(next) = found.try_next().await? {
        match (next, done) {
            (Either::Left(_), _) => done += 1,
            (Either::Right(row), 0) => rows.balances.push(BalanceRow::from_row(&row)?),
            (Either::Right(row), 1) => rows.lots.push(LotRow::from_row(&row)?),
            (Either::Right(row), _) => rows.holds.push(HoldRow::from_row(&row)?),
        }
    }
    Ok(rows)
}

async fn read_postgres(conn: &mut PgConnection, account_ids: &[String], wanted: &Wanted) -> Result<Rows> {
    let balances = sqlx::query_as(
        "select account_id, paid_nanos, bonus_nanos, promotional_nanos, trial_nanos, held_nanos, receivable_nanos,
                last_seq, top_up_below_nanos
           from balance
          where account_id = any($1)
          order by account_id
            for update",
    )
    .bind(account_ids)
    .fetch_all(&mut *conn)
    .await?;
    // Read after the lock was taken, so that it shows what the last holder of the lock wrote.
    let lots = sqlx::query_as(
        "select a.account_id, case when a.frozen_at is not null then coalesce(a.frozen_reason, 'by us') end as frozen,
                a.frozen_cause, l.lot_id, l.kind, l.granted_nanos, l.remaining_nanos, l.held_nanos, l.allowed_models,
                l.expires_at, l.created_at
           from account a
           left join lot l on l.account_id = a.account_id and (l.remaining_nanos > 0 or l.held_nanos > 0)
          where a.account_id = any($1)",
    )
    .bind(account_ids)
    .fetch_all(&mut *conn)
    .await?;
    if wanted.holds.is_empty() {
        return Ok(Rows { balances, lots, holds: Vec::new() });
    }
    let holds = sqlx::query_as(
        "select execution_id, account_id, amount_nanos, captured_nanos, overrun_nanos, state, taken, expires_at,
                allowance_period, platform_day, platform_nanos,
                case when execution_id = any($2) then draft end as draft
           from hold
          where execution_id = any($1)",
    )
    .bind(&wanted.holds)
    .bind(&wanted.with_draft)
    .fetch_all(&mut *conn)
    .await?;
    Ok(Rows { balances, lots, holds })
}

/// Gives accounts their ledger row if they have none yet.
pub(super) async fn open_missing(tx: &mut Tx, account_ids: &[String]) -> Result<()> {
    match tx {
        Tx::Sqlite(conn) => {
            sqlx::query(
                "insert into balance (account_id)
                 select account_id from account where account_id in (select value from json_each($1))
                 on conflict (account_id) do nothing",
            )
            .bind(serde_json::to_string(account_ids)?)
            .execute(&mut **conn)
            .await?;
        }
        Tx::Postgres(conn) => {
            sqlx::query(
                "insert into balance (account_id)
                 select account_id from account where account_id = any($1) order by account_id
                 on conflict (account_id) do nothing",
            )
            .bind(account_ids)
            .execute(&mut **conn)
            .await?;
        }
    }
    Ok(())
}

/// Lots by their ids, also those with nothing left; once each. Their accounts must be locked.
pub(super) async fn list_lots_by_id(tx: &mut Tx, mut lot_ids: Vec<LotId>) -> Result<Vec<Lot>> {
    lot_ids.sort_unstable();
    lot_ids.dedup();
    let mut lots = Vec::new();
    for lot_id in lot_ids {
        let row: Option<LotRow> = on_tx!(&mut *tx, conn => {
            sqlx::query_as(
                "select account_id, cast(null as text) as frozen, cast(null as text) as frozen_cause, lot_id, kind,
                        granted_nanos, remaining_nanos, held_nanos, allowed_models, expires_at, created_at
                   from lot
                  where lot_id = $1",
            )
            .bind(&lot_id)
            .fetch_optional(conn)
            .await
        })?;
        if let Some(row) = row {
            lots.extend(row.into_lot()?);
        }
    }
    Ok(lots)
}

impl LotRow {
    /// Why the lot's account is frozen, if it is.
    fn frozen(&self) -> Result<Option<Frozen>> {
        let Some(reason) = self.frozen.clone() else { return Ok(None) };
        let cause = self.frozen_cause.as_deref().map(str::parse::<FreezeCause>).transpose()?;
        Ok(Some(Frozen { reason, cause }))
    }

    fn into_lot(self) -> Result<Option<Lot>> {
        let LotRow {
            lot_id: Some(lot_id),
            kind: Some(kind),
            granted_nanos: Some(granted),
            remaining_nanos: Some(remaining),
            held_nanos: Some(held),
            created_at: Some(created_at),
            ..
        } = self
        else {
            return Ok(None);
        };
        let allowed_models =
            match &self.allowed_models {
                None => None,
                Some(json) => Some(serde_json::from_str::<Vec<ModelId>>(json).map_err(|error| {
                    Error::internal(&format!("table lot, column allowed_models, row {lot_id}"), error)
                })?),
            };
        let (kind, expires_at) = (kind.parse()?, self.expires_at);
        Ok(Some(Lot { lot_id, kind, granted, remaining, held, allowed_models, expires_at, created_at }))
    }
}

impl HoldRow {
    fn into_hold(self) -> Result<(ExecutionId, LoadedHold)> {
        let record = HoldRecord {
            execution_id: self.execution_id.clone(),
            amount: self.amount_nanos,
            captured: self.captured_nanos,
            overrun: self.overrun_nanos,
            state: self.state.parse()?,
            taken: serde_json::from_str(&self.taken).map_err(|error| {
                Error::internal(&format!("table hold, column taken, row {}", self.execution_id), error)
            })?,
            expires_at: self.expires_at,
        };
        let taken = Taken { period: self.allowance_period, day: self.platform_day, at_most: self.platform_nanos };
        Ok((self.execution_id, LoadedHold { account_id: self.account_id, record, taken, draft: self.draft }))
    }
}

/// Which of these runs have their row already, and with which cost.
pub(super) async fn list_executions(
    tx: &mut Tx,
    execution_ids: &[String],
) -> Result<HashMap<ExecutionId, (AccountId, Usd)>> {
    if execution_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(ExecutionId, AccountId, Usd)> = match tx {
        Tx::Sqlite(conn) => {
            sqlx::query_as(
                "select execution_id, account_id, cost_nanos
                   from execution
                  where execution_id in (select value from json_each($1))",
            )
            .bind(serde_json::to_string(execution_ids)?)
            .fetch_all(&mut **conn)
            .await?
        }
        Tx::Postgres(conn) => {
            sqlx::query_as("select execution_id, account_id, cost_nanos from execution where execution_id = any($1)")
                .bind(execution_ids)
                .fetch_all(&mut **conn)
                .await?
        }
    };
    Ok(rows.into_iter().map(|(execution_id, account_id, cost)| (execution_id, (account_id, cost))).collect())
}
