//! Owns: what is recorded of a run: what it was started with, and how it ended.
//! Does not own: deciding either (`execution`).

use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::FundingSource;
use domain::id::{ApiKeyId, ModelId, SkillId, UserId};
use domain::money::Usd;
use domain::provider::Provider;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a run was started with. Kept as JSON in its hold, so that a run whose server died still gets its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub user_id: Option<UserId>,
    pub api_key_id: Option<ApiKeyId>,
    pub skill_id: Option<SkillId>,
    pub model_id: ModelId,
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
    /// Whether a second request with the same id asks for the same run.
    pub(super) fn is_same_request(&self, other: &Started) -> bool {
        self.skill_id == other.skill_id
            && self.model_id == other.model_id
            && self.input_text == other.input_text
            && self.source == other.source
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
