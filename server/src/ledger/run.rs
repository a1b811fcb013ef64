//! Owns: what is recorded of a run: what it was started with, and how it ended.
//! Does not own: deciding either (`execution`).

use super::write::{ExecutionRow, UsageRow};
use crate::error::{Error, Result};
use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::FundingSource;
use domain::id::{AccountId, AgentId, ApiKeyId, ExecutionId, ModelId, SkillId, UserId};
use domain::money::Usd;
use domain::provider::Provider;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a run was started with. Kept as JSON in its hold, so that a run whose server died still gets its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub user_id: Option<UserId>,
    pub api_key_id: Option<ApiKeyId>,
    /// The agent that made the call.
    #[serde(default)]
    pub agent_id: Option<AgentId>,
    pub skill_id: Option<SkillId>,
    pub model_id: ModelId,
    /// What the statement calls it, such as `User story on Claude 3.5 Haiku`.
    #[serde(default)]
    pub title: String,
    pub provider: Provider,
    pub source: FundingSource,
    pub rate_version: String,
    pub quote_likely: Usd,
    pub quote_p50: Usd,
    pub quote_p90: Usd,
    pub quote_ceiling: Usd,
    pub input_text: Option<String>,
    pub started_at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub state: ExecutionState,
    pub usage: TokenUsage,
    /// Whether we counted the tokens because the provider did not.
    pub usage_estimated: bool,
    /// The provider's own words about usage, as JSON.
    pub raw_usage: Option<String>,
    /// What the provider bills for it, charged to the customer or not.
    pub cost: Usd,
    /// What the user is told, such as `stopped at 412 tokens, billed 412`.
    pub note: Option<String>,
    pub output_text: Option<String>,
    pub first_token_at: Option<Timestamp>,
    pub ended_at: Timestamp,
}

impl Started {
    /// Whether a second request with the same id asks for the same run. Who pays for it may have been decided otherwise.
    pub(super) fn is_same_request(&self, other: &Started) -> bool {
        self.skill_id == other.skill_id
            && self.model_id == other.model_id
            && self.input_text == other.input_text
            && self.quote_ceiling == other.quote_ceiling
    }
}

impl Ended {
    /// The end of a run that never reported back.
    pub(super) fn expired(now: Timestamp) -> Ended {
        Ended {
            state: ExecutionState::Expired,
            usage: TokenUsage::default(),
            usage_estimated: false,
            raw_usage: None,
            cost: Usd::ZERO,
            note: Some("The run did not report back in time. Nothing was charged.".to_owned()),
            output_text: None,
            first_token_at: None,
            ended_at: now,
        }
    }
}

/// A hold's `draft`: what the run was started with, and which request made it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Draft {
    pub maker: String,
    #[serde(flatten)]
    pub started: Started,
}

impl ExecutionRow {
    /// The row of a run that ended. Texts lose NUL characters, which Postgres cannot store.
    pub(super) fn new(
        (account_id, execution_id): (&AccountId, &ExecutionId),
        started: &Started,
        ended: &Ended,
        charge: Usd,
    ) -> Result<ExecutionRow> {
        let tokens = |count: u64| {
            i64::try_from(count).map_err(|error| Error::internal(&format!("run {execution_id}: tokens"), error))
        };
        Ok(ExecutionRow {
            execution_id: execution_id.clone(),
            account_id: account_id.clone(),
            user_id: started.user_id.as_ref().map(ToString::to_string),
            api_key_id: started.api_key_id.as_ref().map(ToString::to_string),
            agent_id: started.agent_id.as_ref().map(ToString::to_string),
            skill_id: started.skill_id.as_ref().map(ToString::to_string),
            model_id: started.model_id.to_string(),
            provider: started.provider.as_str(),
            state: ended.state.as_str(),
            source: started.source.as_str(),
            rate_version: started.rate_version.clone(),
            input_tokens: tokens(ended.usage.input)?,
            cache_read_tokens: tokens(ended.usage.cache_read)?,
            cache_write_5m_tokens: tokens(ended.usage.cache_write_5m)?,
            cache_write_1h_tokens: tokens(ended.usage.cache_write_1h)?,
            output_tokens: tokens(ended.usage.output)?,
            reasoning_tokens: tokens(ended.usage.reasoning)?,
            usage_estimated: i64::from(ended.usage_estimated),
            raw_usage: without_nul(ended.raw_usage.as_deref()),
            cost: ended.cost,
            charge,
            quote_likely: started.quote_likely,
            quote_p50: started.quote_p50,
            quote_p90: started.quote_p90,
            quote_ceiling: started.quote_ceiling,
            note: without_nul(ended.note.as_deref()),
            input_text: without_nul(started.input_text.as_deref()),
            output_text: without_nul(ended.output_text.as_deref()),
            started_at: started.started_at,
            first_token_at: ended.first_token_at,
            ended_at: ended.ended_at,
        })
    }
}

fn without_nul(text: Option<&str>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{FFFD}"))
}

impl UsageRow {
    /// Adds one run: input with cache reads and writes, output with reasoning. `None` out of range.
    pub(super) fn add(&mut self, row: &ExecutionRow) -> Option<()> {
        self.executions = self.executions.checked_add(1)?;
        for input in [row.input_tokens, row.cache_read_tokens, row.cache_write_5m_tokens, row.cache_write_1h_tokens] {
            self.input_tokens = self.input_tokens.checked_add(input)?;
        }
        for output in [row.output_tokens, row.reasoning_tokens] {
            self.output_tokens = self.output_tokens.checked_add(output)?;
        }
        self.cost = self.cost.checked_add(row.cost)?;
        self.charge = self.charge.checked_add(row.charge)?;
        Some(())
    }
}
