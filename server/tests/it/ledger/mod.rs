//! The ledger: what every run and purchase relies on.

mod allowance;
mod concurrency;
mod corruption;
mod guards;
mod kill;
mod model;
mod waiting;

use crate::support::{START, World};
use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::{Funding, FundingSource};
use domain::id::{AccountId, ExecutionId, ModelId, SkillId};
use domain::money::Usd;
use domain::provider::Provider;
use domain::time::Timestamp;
use server::Server;
use server::db::Db;
use server::error::Result;
use server::ledger::{self, End, Ended, Finish, Finished, Held, Hold, Ledger, NewHold, Started};

pub fn nanos(amount: i64) -> Usd {
    Usd::from_nanos(amount)
}

pub fn started(model: &str) -> Started {
    Started {
        user_id: None,
        api_key_id: None,
        agent_id: None,
        skill_id: Some(SkillId::new("prd")),
        model_id: ModelId::new(model),
        title: format!("PRD on {model}"),
        provider: Provider::Anthropic,
        source: FundingSource::Credits,
        rate_version: "2027-01".to_owned(),
        quote_likely: nanos(5),
        quote_p50: nanos(5),
        quote_p90: nanos(8),
        quote_ceiling: nanos(10),
        input_text: Some("Write a PRD".to_owned()),
        started_at: START,
    }
}

pub fn ended(cost: Usd, at: Timestamp) -> Ended {
    Ended {
        state: ExecutionState::Completed,
        usage: TokenUsage { input: 10, cache_read: 1, cache_write_5m: 2, cache_write_1h: 3, output: 20, reasoning: 4 },
        usage_estimated: false,
        raw_usage: None,
        cost,
        note: None,
        output_text: Some("A PRD\0".to_owned()),
        first_token_at: None,
        ended_at: at,
    }
}

pub fn new_hold(account_id: &AccountId, id: &str, amount: i64) -> NewHold {
    NewHold {
        execution_id: ExecutionId::new(id),
        account_id: account_id.clone(),
        amount: nanos(amount),
        funding: Funding::credits(),
        expires_at: START.plus_seconds(600),
        started: started("haiku"),
    }
}

/// Holds, and expects the hold to be new.
pub async fn hold(ledger: &Ledger, new: NewHold) -> Result<Hold> {
    match ledger.hold(new).await? {
        Held::New(hold) => Ok(hold),
        Held::Repeated(state) => panic!("the hold was made before: {state}"),
    }
}

pub async fn capture(ledger: &Ledger, hold: Hold, cost: i64) -> Result<Finished> {
    finish(ledger, hold, End::Capture { cost: nanos(cost) }).await
}

pub async fn void(ledger: &Ledger, hold: Hold) -> Result<Finished> {
    finish(ledger, hold, End::Void).await
}

pub async fn finish(ledger: &Ledger, hold: Hold, end: End) -> Result<Finished> {
    let cost = match end {
        End::Capture { cost } => cost,
        End::Void => Usd::ZERO,
    };
    ledger.finish(hold, Finish { end, ended: ended(cost, START.plus_seconds(5)), jobs: Vec::new() }).await
}

pub fn code<T>(outcome: &Result<T>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(error) => error.denial().map_or("internal", |denial| denial.code()),
    }
}

pub async fn assert_clean(db: &Db) {
    assert_eq!(ledger::check(db).await.unwrap(), []);
}

pub async fn count_open_holds(server: &Server) -> i64 {
    server::on_read!(&server.db, pool => {
        sqlx::query_scalar("select count(*) from hold where state = 'open'").fetch_one(pool).await
    })
    .unwrap()
}

/// Runs one statement past the ledger, as a careless hand would.
pub async fn by_hand(world: &World, sql: &'static str) -> std::result::Result<u64, sqlx::Error> {
    match world.db() {
        Db::Sqlite { write, .. } => sqlx::query(sql).execute(write).await.map(|done| done.rows_affected()),
        Db::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(|done| done.rows_affected()),
    }
}
