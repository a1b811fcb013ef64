//! Owns: reading what was used: lists of executions, the month, and the history that a quote needs.
//! Does not own: writing any of it (`ledger`), or one run's page (`execution::load_run`).
//! Invariant: every list is bounded and starts after a key; an account sees only its own rows.

use crate::Server;
use crate::error::{Error, Result};
use crate::execution::{Run, load_run};
use crate::on_read;
use domain::execution::ExecutionState;
use domain::funding::FundingSource;
use domain::id::{AccountId, AgentId, ExecutionId, ModelId, SkillId};
use domain::money::Usd;
use domain::quote::History;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the usage list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionRow {
    pub execution_id: ExecutionId,
    /// The agent that made it, if one did, and its name, also after it was deleted.
    pub agent_id: Option<AgentId>,
    pub agent_name: Option<String>,
    pub skill_id: Option<SkillId>,
    pub model_id: ModelId,
    pub state: ExecutionState,
    pub source: FundingSource,
    /// All input, cached or not.
    pub input_tokens: u64,
    /// All output, reasoning included.
    pub output_tokens: u64,
    pub usage_estimated: bool,
    /// What the provider bills.
    pub cost: Usd,
    /// What the customer paid.
    pub charge: Usd,
    /// What the quote said was likely.
    pub quote_likely: Usd,
    pub note: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
}

/// What a list is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub model: Option<ModelId>,
    pub skill: Option<SkillId>,
    pub agent: Option<AgentId>,
    pub state: Option<ExecutionState>,
}

/// A month of an account, and the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthSummary {
    /// The first moment of this month, UTC.
    pub began_at: Timestamp,
    pub this_month: Sums,
    pub last_month: Sums,
    /// This month's days up to today, the first first; a day without runs is zero.
    pub by_day: Vec<Day>,
}

/// Sums over some runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub executions: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub charge: Usd,
}

/// One day (UTC) of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// 1 to 31.
    pub day: u8,
    pub sums: Sums,
}

#[derive(sqlx::FromRow)]
struct Row {
    execution_id: ExecutionId,
    agent_id: Option<AgentId>,
    agent_name: Option<String>,
    skill_id: Option<SkillId>,
    model_id: ModelId,
    state: String,
    source: String,
    input_tokens: i64,
    output_tokens: i64,
    usage_estimated: i64,
    cost_nanos: Usd,
    charge_nanos: Usd,
    quote_likely_nanos: Usd,
    note: Option<String>,
    started_at: Timestamp,
    ended_at: Timestamp,
}

/// The account's executions, newest first, at most 500, those before the given one.
pub async fn list_executions(
    server: &Server,
    account_id: &AccountId,
    filter: &Filter,
    before: Option<&ExecutionId>,
    limit: i64,
) -> Result<Vec<ExecutionRow>> {
    let rows: Vec<Row> = on_read!(&server.db, pool => sqlx::query_as(
        "select e.execution_id, e.agent_id, g.name as agent_name, e.skill_id, e.model_id, e.state, e.source,
                e.input_tokens + e.cache_read_tokens + e.cache_write_5m_tokens + e.cache_write_1h_tokens as input_tokens,
                e.output_tokens + e.reasoning_tokens as output_tokens,
                e.usage_estimated, e.cost_nanos, e.charge_nanos, e.quote_likely_nanos, e.note, e.started_at, e.ended_at
           from execution e
           left join agent g on g.agent_id = e.agent_id
          where e.account_id = $1
            and ($2 is null or e.execution_id < $2)
            and ($3 is null or e.model_id = $3)
            and ($4 is null or e.skill_id = $4)
            and ($5 is null or e.state = $5)
            and ($7 is null or e.agent_id = $7)
          order by e.execution_id desc
          limit $6",
    )
    .bind(account_id)
    .bind(before)
    .bind(&filter.model)
    .bind(&filter.skill)
    .bind(filter.state.map(ExecutionState::as_str))
    .bind(limit.clamp(1, 500))
    .bind(&filter.agent)
    .fetch_all(pool)
    .await)?;
    rows.into_iter().map(ExecutionRow::try_from).collect()
}

impl TryFrom<Row> for ExecutionRow {
    type Error = Error;

    fn try_from(row: Row) -> Result<ExecutionRow> {
        let bad = |error| Error::internal(&format!("execution {}", row.execution_id), error);
        Ok(ExecutionRow {
            state: row.state.parse().map_err(bad)?,
            source: row.source.parse().map_err(bad)?,
            execution_id: row.execution_id,
            agent_id: row.agent_id,
            agent_name: row.agent_name,
            skill_id: row.skill_id,
            model_id: row.model_id,
            input_tokens: count(row.input_tokens),
            output_tokens: count(row.output_tokens),
            usage_estimated: row.usage_estimated != 0,
            cost: row.cost_nanos,
            charge: row.charge_nanos,
            quote_likely: row.quote_likely_nanos,
            note: row.note,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// One execution of the account, running or ended.
pub async fn load_execution(
    server: &Server,
    account_id: &AccountId,
    execution_id: &ExecutionId,
) -> Result<Option<Run>> {
    load_run(server, account_id, execution_id).await
}

/// The outputs of the skill's last 50 completed runs in this account: what the next quote learns from.
pub async fn history(server: &Server, account_id: &AccountId, skill_id: &SkillId) -> Result<History> {
    let outputs: Vec<i64> = on_read!(&server.db, pool => sqlx::query_scalar(
        "select output_tokens + reasoning_tokens
           from execution
          where account_id = $1 and skill_id = $2 and state = 'completed'
          order by execution_id desc
          limit 50",
    )
    .bind(account_id)
    .bind(skill_id)
    .fetch_all(pool)
    .await)?;
    Ok(History { outputs: outputs.into_iter().map(count).collect() })
}

#[derive(sqlx::FromRow)]
struct HourRow {
    hour: i64,
    executions: i64,
    input_tokens: i64,
    output_tokens: i64,
    charge_nanos: i64,
}

/// This month (UTC) and the last one, from the hourly sums.
pub async fn load_month(server: &Server, account_id: &AccountId, now: Timestamp) -> Result<MonthSummary> {
    let (month, today) = month_of(now)?;
    let (last_month, _) = month_of(month.plus_seconds(-1))?;
    let rows: Vec<HourRow> = on_read!(&server.db, pool => sqlx::query_as(
        "select hour,
                cast(sum(executions) as bigint)    as executions,
                cast(sum(input_tokens) as bigint)  as input_tokens,
                cast(sum(output_tokens) as bigint) as output_tokens,
                cast(sum(charge_nanos) as bigint)  as charge_nanos
           from usage_hour
          where account_id = $1 and hour >= $2 and hour <= $3
          group by hour
          order by hour",
    )
    .bind(account_id)
    .bind(last_month)
    .bind(now)
    .fetch_all(pool)
    .await)?;

    let mut by_day: Vec<Day> = (1..=today).map(|day| Day { day, sums: Sums::default() }).collect();
    let (mut this_month, mut before) = (Sums::default(), Sums::default());
    for row in &rows {
        let Ok(since) = u64::try_from(row.hour.saturating_sub(month.micros())) else {
            before.add(row);
            continue;
        };
        this_month.add(row);
        let day = usize::try_from(since / 86_400_000_000).unwrap_or(usize::MAX);
        if let Some(day) = by_day.get_mut(day) {
            day.sums.add(row);
        }
    }
    Ok(MonthSummary { began_at: month, this_month, last_month: before, by_day })
}

impl Sums {
    fn add(&mut self, row: &HourRow) {
        self.executions = self.executions.saturating_add(count(row.executions));
        self.input_tokens = self.input_tokens.saturating_add(count(row.input_tokens));
        self.output_tokens = self.output_tokens.saturating_add(count(row.output_tokens));
        self.charge = self.charge.saturating_add(Usd::from_nanos(row.charge_nanos));
    }
}

/// The first moment of the month of `at`, and the day of the month.
fn month_of(at: Timestamp) -> Result<(Timestamp, u8)> {
    let date =
        time::OffsetDateTime::from_unix_timestamp(at.seconds()).map_err(|error| Error::internal("month", error))?;
    let days = i64::from(date.day()) - 1;
    let midnight = at.seconds() - at.seconds().rem_euclid(86_400);
    Ok((Timestamp::from_seconds(midnight - days * 86_400), date.day()))
}

fn count(stored: i64) -> u64 {
    stored.max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_at_midnight_utc() {
        let leap_day = Timestamp::from_seconds(1_835_438_399); // 2028-02-29T23:59:59Z
        let (month, day) = month_of(leap_day).unwrap();
        assert_eq!((month.seconds(), day), (1_832_976_000, 29)); // 2028-02-01T00:00:00Z
        assert_eq!(month_of(month.plus_seconds(-1)).unwrap().1, 31);
    }
}
