//! Owns: a run as people see it, while it goes on and after it ended.
//! Does not own: lists and sums of runs (`usage`).

use crate::Server;
use crate::error::Result;
use crate::ledger::Started;
use crate::on_read;
use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::FundingSource;
use domain::id::{AccountId, AgentId, ExecutionId, ModelId, SkillId};
use domain::money::Usd;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One run, as its page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub execution_id: ExecutionId,
    pub account_id: AccountId,
    /// The agent that made it, if one did.
    pub agent_id: Option<AgentId>,
    pub skill_id: Option<SkillId>,
    pub model_id: ModelId,
    pub source: FundingSource,
    /// Which version of the model's rate priced it.
    pub rate_version: String,
    /// What it was to cost, as quoted when it began.
    pub quoted: Quoted,
    /// Kept for runs of pages only.
    pub input_text: Option<String>,
    /// The output so far; kept for runs of pages only.
    pub output_text: String,
    /// What the provider bills; an estimate while it runs.
    pub cost: Usd,
    pub started_at: Timestamp,
    pub state: RunState,
}

/// The quote a run began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    pub likely: Usd,
    pub p50: Usd,
    pub p90: Usd,
    /// The hold.
    pub ceiling: Usd,
}

/// Whether a run goes on, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunState {
    Running,
    Ended {
        state: ExecutionState,
        /// What the customer paid.
        charge: Usd,
        usage: TokenUsage,
        /// The provider gave no counts, so they are ours.
        usage_estimated: bool,
        /// What happened, in words, if it was not the usual.
        note: Option<String>,
        ended_at: Timestamp,
    },
}

impl Run {
    /// A run as it begins.
    pub(super) fn begun(account_id: AccountId, execution_id: ExecutionId, started: &Started) -> Run {
        Run {
            execution_id,
            account_id,
            agent_id: started.agent_id.clone(),
            skill_id: started.skill_id.clone(),
            model_id: started.model_id.clone(),
            source: started.source,
            rate_version: started.rate_version.clone(),
            quoted: Quoted {
                likely: started.quote_likely,
                p50: started.quote_p50,
                p90: started.quote_p90,
                ceiling: started.quote_ceiling,
            },
            input_text: started.input_text.clone(),
            output_text: String::new(),
            cost: Usd::ZERO,
            started_at: started.started_at,
            state: RunState::Running,
        }
    }
}

/// The account's run: from memory if it goes on here, else its row, else its open hold on another server.
pub async fn load_run(server: &Server, account_id: &AccountId, execution_id: &ExecutionId) -> Result<Option<Run>> {
    if let Some(live) = server.runs.find(execution_id) {
        let run = live.run();
        return Ok((run.account_id == *account_id).then_some(run));
    }
    if let Some(run) = load_ended(server, account_id, execution_id).await? {
        return Ok(Some(run));
    }
    let draft: Option<String> = on_read!(&server.db, pool => sqlx::query_scalar(
        "select draft
           from hold
          where execution_id = $1 and account_id = $2 and state = 'open'",
    )
    .bind(execution_id)
    .bind(account_id)
    .fetch_optional(pool)
    .await)?;
    let Some(draft) = draft else {
        // It may have ended between the two looks.
        return load_ended(server, account_id, execution_id).await;
    };
    let started: Started = serde_json::from_str(&draft)?;
    Ok(Some(Run::begun(account_id.clone(), execution_id.clone(), &started)))
}

#[derive(sqlx::FromRow)]
struct Row {
    agent_id: Option<AgentId>,
    skill_id: Option<SkillId>,
    model_id: ModelId,
    state: String,
    source: String,
    rate_version: String,
    input_tokens: i64,
    cache_read_tokens: i64,
    cache_write_5m_tokens: i64,
    cache_write_1h_tokens: i64,
    output_tokens: i64,
    reasoning_tokens: i64,
    usage_estimated: i64,
    cost_nanos: Usd,
    charge_nanos: Usd,
    quote_likely_nanos: Usd,
    quote_p50_nanos: Usd,
    quote_p90_nanos: Usd,
    quote_ceiling_nanos: Usd,
    note: Option<String>,
    input_text: Option<String>,
    output_text: Option<String>,
    started_at: Timestamp,
    ended_at: Timestamp,
}

async fn load_ended(server: &Server, account_id: &AccountId, execution_id: &ExecutionId) -> Result<Option<Run>> {
    let row: Option<Row> = on_read!(&server.db, pool => sqlx::query_as(
        "select agent_id, skill_id, model_id, state, source, rate_version,
                input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                output_tokens, reasoning_tokens, usage_estimated, cost_nanos, charge_nanos,
                quote_likely_nanos, quote_p50_nanos, quote_p90_nanos, quote_ceiling_nanos,
                note, input_text, output_text, started_at, ended_at
           from execution
          where execution_id = $1 and account_id = $2",
    )
    .bind(execution_id)
    .bind(account_id)
    .fetch_optional(pool)
    .await)?;
    let Some(row) = row else { return Ok(None) };
    let count = |tokens: i64| tokens.max(0).unsigned_abs();
    Ok(Some(Run {
        execution_id: execution_id.clone(),
        account_id: account_id.clone(),
        agent_id: row.agent_id,
        skill_id: row.skill_id,
        model_id: row.model_id,
        source: row.source.parse()?,
        rate_version: row.rate_version,
        quoted: Quoted {
            likely: row.quote_likely_nanos,
            p50: row.quote_p50_nanos,
            p90: row.quote_p90_nanos,
            ceiling: row.quote_ceiling_nanos,
        },
        input_text: row.input_text,
        output_text: row.output_text.unwrap_or_default(),
        cost: row.cost_nanos,
        started_at: row.started_at,
        state: RunState::Ended {
            state: row.state.parse()?,
            charge: row.charge_nanos,
            usage: TokenUsage {
                input: count(row.input_tokens),
                cache_read: count(row.cache_read_tokens),
                cache_write_5m: count(row.cache_write_5m_tokens),
                cache_write_1h: count(row.cache_write_1h_tokens),
                output: count(row.output_tokens),
                reasoning: count(row.reasoning_tokens),
            },
            usage_estimated: row.usage_estimated != 0,
            note: row.note,
            ended_at: row.ended_at,
        },
    }))
}
