//! Owns: writing a decided batch: one bulk statement for each table. The rows travel as one JSON text, which both
//! engines take apart. On SQLite all tables go in one round trip.

use crate::clock::Clock;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::job::{self, NewJob};
use domain::id::{AccountId, ExecutionId, LotId, PostingId};
use domain::ledger::Lot;
use domain::money::Usd;
use domain::time::Timestamp;
use futures::TryStreamExt as _;
use serde::Serialize;
use sqlx::{Either, Executor as _, PgConnection, SqliteConnection};
use std::sync::LazyLock;

/// Everything a batch writes.
#[derive(Default)]
pub(super) struct Writes {
    pub balances: Vec<BalanceRow>,
    pub postings: Vec<PostingRow>,
    pub entries: Vec<EntryRow>,
    pub new_lots: Vec<NewLotRow>,
    pub lots: Vec<LotRow>,
    pub new_holds: Vec<NewHoldRow>,
    pub holds: Vec<HoldRow>,
    pub executions: Vec<ExecutionRow>,
    pub usage: Vec<UsageRow>,
    pub allowances: Vec<AllowanceRow>,
    pub days: Vec<DayRow>,
    pub jobs: Vec<NewJob>,
}

#[derive(Serialize)]
pub(super) struct BalanceRow {
    pub account_id: AccountId,
    pub paid: Usd,
    pub bonus: Usd,
    pub promotional: Usd,
    pub trial: Usd,
    pub held: Usd,
    pub receivable: Usd,
    pub last_seq: i64,
}

#[derive(Serialize)]
pub(super) struct PostingRow {
    pub posting_id: PostingId,
    pub account_id: AccountId,
    pub seq: i64,
    pub kind: &'static str,
    pub idempotency_key: String,
    pub reference: String,
    pub memo: String,
    pub change: Usd,
    pub balance_after: Usd,
    pub created_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct EntryRow {
    pub posting_id: PostingId,
    pub line: i64,
    pub book: &'static str,
    pub account_id: Option<AccountId>,
    pub lot_id: Option<LotId>,
    pub amount: Usd,
}

#[derive(Serialize)]
pub(super) struct NewLotRow {
    pub lot_id: LotId,
    pub account_id: AccountId,
    pub kind: &'static str,
    pub granted: Usd,
    pub remaining: Usd,
    pub allowed_models: Option<String>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct LotRow {
    pub lot_id: LotId,
    pub remaining: Usd,
    pub held: Usd,
}

#[derive(Serialize)]
pub(super) struct NewHoldRow {
    pub execution_id: ExecutionId,
    pub account_id: AccountId,
    pub amount: Usd,
    pub taken: String,
    pub draft: String,
    pub allowance_period: Option<Timestamp>,
    pub platform_day: Option<Timestamp>,
    pub platform: Usd,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// An account's count of a period, as it is afterwards.
#[derive(Serialize)]
pub(super) struct AllowanceRow {
    pub account_id: AccountId,
    pub period_start: Timestamp,
    pub executions: i64,
    pub next_at: Timestamp,
}

/// What a day cost us for an account, as it is afterwards.
#[derive(Serialize)]
pub(super) struct DayRow {
    pub account_id: AccountId,
    pub day: Timestamp,
    pub spent: Usd,
    pub held: Usd,
}

#[derive(Serialize)]
pub(super) struct HoldRow {
    pub execution_id: ExecutionId,
    pub captured: Usd,
    pub overrun: Usd,
    pub state: &'static str,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(super) struct ExecutionRow {
    pub execution_id: ExecutionId,
    pub account_id: AccountId,
    pub user_id: Option<String>,
    pub api_key_id: Option<String>,
    pub agent_id: Option<String>,
    pub skill_id: Option<String>,
    pub model_id: String,
    pub provider: &'static str,
    pub state: &'static str,
    pub source: &'static str,
    pub rate_version: String,
    pub input_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_5m_tokens: i64,
    pub cache_write_1h_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    pub usage_estimated: i64,
    pub raw_usage: Option<String>,
    pub cost: Usd,
    pub charge: Usd,
    pub quote_likely: Usd,
    pub quote_p50: Usd,
    pub quote_p90: Usd,
    pub quote_ceiling: Usd,
    pub note: Option<String>,
    pub input_text: Option<String>,
    pub output_text: Option<String>,
    pub started_at: Timestamp,
    pub first_token_at: Option<Timestamp>,
    pub ended_at: Timestamp,
}

/// What one run adds to its hour.
#[derive(Serialize)]
pub(super) struct UsageRow {
    pub account_id: AccountId,
    pub hour: Timestamp,
    pub model_id: String,
    pub skill_id: String,
    pub source: &'static str,
    pub executions: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost: Usd,
    pub charge: Usd,
}

impl NewLotRow {
    pub fn new(account_id: AccountId, lot: Lot) -> Result<NewLotRow> {
        Ok(NewLotRow {
            lot_id: lot.lot_id,
            account_id,
            kind: lot.kind.as_str(),
            granted: lot.granted,
            remaining: lot.remaining,
            allowed_models: lot.allowed_models.map(|models| serde_json::to_string(&models)).transpose()?,
            expires_at: lot.expires_at,
            created_at: lot.created_at,
        })
    }
}

impl Writes {
    pub fn is_empty(&self) -> bool {
        self.postings.is_empty() && self.holds.is_empty() && self.executions.is_empty()
    }

    /// Writes everything. Fails, and must then be rolled back, unless each row was written.
    pub async fn write(self, tx: &mut Tx, clock: &Clock) -> Result<()> {
        let tables = [
            Bulk::new("insert lots", &self.new_lots, &LOT_INSERT)?,
            Bulk::new("insert holds", &self.new_holds, &HOLD_INSERT)?,
            Bulk::new("insert postings", &self.postings, &POSTING_INSERT)?,
            Bulk::new("insert entries", &self.entries, &ENTRY_INSERT)?,
            Bulk::new("update balances", &self.balances, &BALANCE_UPDATE)?,
            Bulk::new("update lots", &self.lots, &LOT_UPDATE)?,
            Bulk::new("update holds", &self.holds, &HOLD_UPDATE)?,
            Bulk::new("insert executions", &self.executions, &EXECUTION_INSERT)?,
            Bulk::new("add up usage", &self.usage, &USAGE_UPSERT)?,
            Bulk::new("count the allowance", &self.allowances, &ALLOWANCE_UPSERT)?,
            Bulk::new("count the day", &self.days, &DAY_UPSERT)?,
        ];
        match tx {
            Tx::Sqlite(conn) => write_sqlite(&mut *conn, tables).await?,
            Tx::Postgres(conn) => write_postgres(&mut *conn, tables).await?,
        }
        let mut jobs = self.jobs;
        // One order for all writers, so that two of them never wait for each other's key.
        jobs.sort_by(|a, b| a.unique_key.cmp(&b.unique_key));
        for new in jobs {
            job::insert(tx, clock, new).await?;
        }
        Ok(())
    }
}

/// One statement, for each engine. On SQLite its parameter is its place in [`ALL_SQLITE`].
struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

/// The rows of one table, as JSON.
struct Bulk {
    doing: &'static str,
    rows: u64,
    json: String,
    sql: &'static Sql,
}

impl Bulk {
    fn new<T: Serialize>(doing: &'static str, rows: &[T], sql: &'static Sql) -> Result<Bulk> {
        Ok(Bulk { doing, rows: rows.len() as u64, json: serde_json::to_string(rows)?, sql })
    }

    fn require(&self, written: u64) -> Result<()> {
        if written == self.rows {
            Ok(())
        } else {
            let Bulk { doing, rows, .. } = self;
            Err(Error::Internal(format!("ledger: {doing}: {written} rows were written, {rows} expected")))
        }
    }
}

/// Every table's statement in one text, in the order of writing: each way to SQLite's own thread and back costs more than
/// a statement that finds no rows.
static ALL_SQLITE: LazyLock<String> = LazyLock::new(|| {
    let all = [
        &LOT_INSERT,
        &HOLD_INSERT,
        &POSTING_INSERT,
        &ENTRY_INSERT,
        &BALANCE_UPDATE,
        &LOT_UPDATE,
        &HOLD_UPDATE,
        &EXECUTION_INSERT,
        &USAGE_UPSERT,
        &ALLOWANCE_UPSERT,
        &DAY_UPSERT,
    ];
    all.map(|sql| sql.sqlite).join(";\n")
});

async fn write_sqlite(conn: &mut SqliteConnection, tables: [Bulk; 11]) -> Result<()> {
    let mut query = sqlx::query(ALL_SQLITE.as_str());
    for table in &tables {
        query = query.bind(table.json.as_str());
    }
    let mut written = conn.fetch_many(query);
    for table in &tables {
        let done =
            written.try_next().await.map_err(|error| Error::internal(&format!("ledger: {}", table.doing), error))?;
        let rows = done.and_then(Either::left).map_or(0, |done| done.rows_affected());
        table.require(rows)?;
    }
    Ok(())
}

async fn write_postgres(conn: &mut PgConnection, tables: [Bulk; 11]) -> Result<()> {
    for table in tables.into_iter().filter(|table| table.rows > 0) {
        let written = sqlx::query(table.sql.postgres)
            .bind(&table.json)
            .execute(&mut *conn)
            .await
            .map_err(|error| Error::internal(&format!("ledger: {}", table.doing), error))?;
        table.require(written.rows_affected())?;
    }
    Ok(())
}

static LOT_INSERT: Sql = Sql {
    sqlite: "insert into lot (lot_id, account_id, kind, granted_nanos, remaining_nanos, allowed_models, expires_at, created_at)
             select value ->> 'lot_id', value ->> 'account_id', value ->> 'kind', value ->> 'granted',
                    value ->> 'remaining', value ->> 'allowed_models', value ->> 'expires_at', value ->> 'created_at'
               from jsonb_each($1)",
    postgres: "insert into lot (lot_id, account_id, kind, granted_nanos, remaining_nanos, allowed_models, expires_at, created_at)
               select lot_id, account_id, kind, granted, remaining, allowed_models, expires_at, created_at
                 from json_to_recordset($1::json) as r (lot_id text, account_id text, kind text, granted bigint,
                      remaining bigint, allowed_models text, expires_at bigint, created_at bigint)",
};

static LOT_UPDATE: Sql = Sql {
    sqlite: "update lot
                set remaining_nanos = r.value ->> 'remaining',
                    held_nanos      = r.value ->> 'held'
               from jsonb_each($6) r
              where lot.lot_id = r.value ->> 'lot_id'",
    postgres: "update lot
                  set remaining_nanos = r.remaining,
                      held_nanos      = r.held
                 from json_to_recordset($1::json) as r (lot_id text, remaining bigint, held bigint)
                where lot.lot_id = r.lot_id",
};

static HOLD_INSERT: Sql = Sql {
    sqlite: "insert into hold (execution_id, account_id, amount_nanos, state, taken, draft, allowance_period,
                               platform_day, platform_nanos, expires_at, created_at)
             select value ->> 'execution_id', value ->> 'account_id', value ->> 'amount', 'open', value ->> 'taken',
                    value ->> 'draft', value ->> 'allowance_period', value ->> 'platform_day', value ->> 'platform',
                    value ->> 'expires_at', value ->> 'created_at'
               from jsonb_each($2)",
    postgres: "insert into hold (execution_id, account_id, amount_nanos, state, taken, draft, allowance_period,
                                 platform_day, platform_nanos, expires_at, created_at)
               select execution_id, account_id, amount, 'open', taken, draft, allowance_period, platform_day, platform,
                      expires_at, created_at
                 from json_to_recordset($1::json) as r (execution_id text, account_id text, amount bigint, taken text,
                      draft text, allowance_period bigint, platform_day bigint, platform bigint, expires_at bigint,
                      created_at bigint)",
};

static HOLD_UPDATE: Sql = Sql {
    sqlite: "update hold
                set captured_nanos = r.value ->> 'captured',
                    overrun_nanos  = r.value ->> 'overrun',
                    state          = r.value ->> 'state',
                    expires_at     = r.value ->> 'expires_at',
                    ended_at       = r.value ->> 'ended_at'
               from jsonb_each($7) r
              where hold.execution_id = r.value ->> 'execution_id' and hold.state = 'open'",
    postgres: "update hold
                  set captured_nanos = r.captured,
                      overrun_nanos  = r.overrun,
                      state          = r.state,
                      expires_at     = r.expires_at,
                      ended_at       = r.ended_at
                 from json_to_recordset($1::json) as r (execution_id text, captured bigint, overrun bigint, state text,
                      expires_at bigint, ended_at bigint)
                where hold.execution_id = r.execution_id and hold.state = 'open'",
};

static POSTING_INSERT: Sql = Sql {
    sqlite: "insert into posting (posting_id, account_id, seq, kind, idempotency_key, reference, memo, change_nanos,
                                  balance_after_nanos, created_at)
             select value ->> 'posting_id', value ->> 'account_id', value ->> 'seq', value ->> 'kind',
                    value ->> 'idempotency_key', value ->> 'reference', value ->> 'memo', value ->> 'change',
                    value ->> 'balance_after', value ->> 'created_at'
               from jsonb_each($3)",
    postgres: "insert into posting (posting_id, account_id, seq, kind, idempotency_key, reference, memo, change_nanos,
                                    balance_after_nanos, created_at)
               select posting_id, account_id, seq, kind, idempotency_key, reference, memo, change, balance_after,
                      created_at
                 from json_to_recordset($1::json) as r (posting_id text, account_id text, seq bigint, kind text,
                      idempotency_key text, reference text, memo text, change bigint, balance_after bigint,
                      created_at bigint)",
};

static ENTRY_INSERT: Sql = Sql {
    sqlite: "insert into entry (posting_id, line, book, account_id, lot_id, amount_nanos)
             select value ->> 'posting_id', value ->> 'line', value ->> 'book', value ->> 'account_id',
                    value ->> 'lot_id', value ->> 'amount'
               from jsonb_each($4)",
    postgres: "insert into entry (posting_id, line, book, account_id, lot_id, amount_nanos)
               select posting_id, line, book, account_id, lot_id, amount
                 from json_to_recordset($1::json) as r (posting_id text, line bigint, book text, account_id text,
                      lot_id text, amount bigint)",
};

static BALANCE_UPDATE: Sql = Sql {
    sqlite: "update balance
                set paid_nanos        = r.value ->> 'paid',
                    bonus_nanos       = r.value ->> 'bonus',
                    promotional_nanos = r.value ->> 'promotional',
                    trial_nanos       = r.value ->> 'trial',
                    held_nanos        = r.value ->> 'held',
                    receivable_nanos  = r.value ->> 'receivable',
                    last_seq          = r.value ->> 'last_seq'
               from jsonb_each($5) r
              where balance.account_id = r.value ->> 'account_id'",
    postgres: "update balance
                  set paid_nanos        = r.paid,
                      bonus_nanos       = r.bonus,
                      promotional_nanos = r.promotional,
                      trial_nanos       = r.trial,
                      held_nanos        = r.held,
                      receivable_nanos  = r.receivable,
                      last_seq          = r.last_seq
                 from json_to_recordset($1::json) as r (account_id text, paid bigint, bonus bigint, promotional bigint,
                      trial bigint, held bigint, receivable bigint, last_seq bigint)
                where balance.account_id = r.account_id",
};

static EXECUTION_INSERT: Sql = Sql {
    sqlite: "insert into execution (execution_id, account_id, user_id, api_key_id, agent_id, skill_id, model_id, provider, state,
                    source, rate_version, input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                    output_tokens, reasoning_tokens, usage_estimated, raw_usage, cost_nanos, charge_nanos,
                    quote_likely_nanos, quote_p50_nanos, quote_p90_nanos, quote_ceiling_nanos, note, input_text,
                    output_text, started_at, first_token_at, ended_at)
             select value ->> 'execution_id', value ->> 'account_id', value ->> 'user_id', value ->> 'api_key_id',
                    value ->> 'agent_id',
                    value ->> 'skill_id', value ->> 'model_id', value ->> 'provider', value ->> 'state',
                    value ->> 'source', value ->> 'rate_version', value ->> 'input_tokens',
                    value ->> 'cache_read_tokens', value ->> 'cache_write_5m_tokens',
                    value ->> 'cache_write_1h_tokens', value ->> 'output_tokens', value ->> 'reasoning_tokens',
                    value ->> 'usage_estimated', value ->> 'raw_usage', value ->> 'cost', value ->> 'charge',
                    value ->> 'quote_likely', value ->> 'quote_p50', value ->> 'quote_p90', value ->> 'quote_ceiling',
                    value ->> 'note', value ->> 'input_text', value ->> 'output_text', value ->> 'started_at',
                    value ->> 'first_token_at', value ->> 'ended_at'
               from jsonb_each($8)",
    postgres:
        "insert into execution (execution_id, account_id, user_id, api_key_id, agent_id, skill_id, model_id, provider, state,
                      source, rate_version, input_tokens, cache_read_tokens, cache_write_5m_tokens,
                      cache_write_1h_tokens, output_tokens, reasoning_tokens, usage_estimated, raw_usage, cost_nanos,
                      charge_nanos, quote_likely_nanos, quote_p50_nanos, quote_p90_nanos, quote_ceiling_nanos, note,
                      input_text, output_text, started_at, first_token_at, ended_at)
               select execution_id, account_id, user_id, api_key_id, agent_id, skill_id, model_id, provider, state, source,
                      rate_version, input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                      output_tokens, reasoning_tokens, usage_estimated, raw_usage, cost, charge, quote_likely,
                      quote_p50, quote_p90, quote_ceiling, note, input_text, output_text, started_at, first_token_at,
                      ended_at
                 from json_to_recordset($1::json) as r (execution_id text, account_id text, user_id text,
                      api_key_id text, agent_id text, skill_id text, model_id text, provider text, state text, source text,
                      rate_version text, input_tokens bigint, cache_read_tokens bigint, cache_write_5m_tokens bigint,
                      cache_write_1h_tokens bigint, output_tokens bigint, reasoning_tokens bigint,
                      usage_estimated bigint, raw_usage text, cost bigint, charge bigint, quote_likely bigint,
                      quote_p50 bigint, quote_p90 bigint, quote_ceiling bigint, note text, input_text text,
                      output_text text, started_at bigint, first_token_at bigint, ended_at bigint)",
};

static USAGE_UPSERT: Sql = Sql {
    sqlite: "insert into usage_hour (account_id, hour, model_id, skill_id, source, executions, input_tokens,
                                     output_tokens, cost_nanos, charge_nanos)
             select value ->> 'account_id', value ->> 'hour', value ->> 'model_id', value ->> 'skill_id',
                    value ->> 'source', value ->> 'executions', value ->> 'input_tokens', value ->> 'output_tokens',
                    value ->> 'cost', value ->> 'charge'
               from jsonb_each($9)
              where true
             on conflict (account_id, hour, model_id, skill_id, source) do update
                set executions    = usage_hour.executions + excluded.executions,
                    input_tokens  = usage_hour.input_tokens + excluded.input_tokens,
                    output_tokens = usage_hour.output_tokens + excluded.output_tokens,
                    cost_nanos    = usage_hour.cost_nanos + excluded.cost_nanos,
                    charge_nanos  = usage_hour.charge_nanos + excluded.charge_nanos",
    postgres: "insert into usage_hour (account_id, hour, model_id, skill_id, source, executions, input_tokens,
                                       output_tokens, cost_nanos, charge_nanos)
               select account_id, hour, model_id, skill_id, source, executions, input_tokens, output_tokens, cost, charge
                 from json_to_recordset($1::json) as r (account_id text, hour bigint, model_id text, skill_id text,
                      source text, executions bigint, input_tokens bigint, output_tokens bigint, cost bigint,
                      charge bigint)
               on conflict (account_id, hour, model_id, skill_id, source) do update
                  set executions    = usage_hour.executions + excluded.executions,
                      input_tokens  = usage_hour.input_tokens + excluded.input_tokens,
                      output_tokens = usage_hour.output_tokens + excluded.output_tokens,
                      cost_nanos    = usage_hour.cost_nanos + excluded.cost_nanos,
                      charge_nanos  = usage_hour.charge_nanos + excluded.charge_nanos",
};

static ALLOWANCE_UPSERT: Sql = Sql {
    sqlite: "insert into allowance_use (account_id, period_start, executions, next_at)
             select value ->> 'account_id', value ->> 'period_start', value ->> 'executions', value ->> 'next_at'
               from jsonb_each($10)
              where true
             on conflict (account_id, period_start) do update
                set executions = excluded.executions, next_at = excluded.next_at",
    postgres: "insert into allowance_use (account_id, period_start, executions, next_at)
               select account_id, period_start, executions, next_at
                 from json_to_recordset($1::json) as r (account_id text, period_start bigint, executions bigint,
                      next_at bigint)
               on conflict (account_id, period_start) do update
                  set executions = excluded.executions, next_at = excluded.next_at",
};

static DAY_UPSERT: Sql = Sql {
    sqlite: "insert into platform_day (account_id, day, spent_nanos, held_nanos)
             select value ->> 'account_id', value ->> 'day', value ->> 'spent', value ->> 'held'
               from jsonb_each($11)
              where true
             on conflict (account_id, day) do update
                set spent_nanos = excluded.spent_nanos, held_nanos = excluded.held_nanos",
    postgres: "insert into platform_day (account_id, day, spent_nanos, held_nanos)
               select account_id, day, spent, held
                 from json_to_recordset($1::json) as r (account_id text, day bigint, spent bigint, held bigint)
               on conflict (account_id, day) do update
                  set spent_nanos = excluded.spent_nanos, held_nanos = excluded.held_nanos",
};
