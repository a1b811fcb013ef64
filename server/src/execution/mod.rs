//! Owns: a run from the decision to its end: who pays, the hold, the provider's stream, the capture.
//! Does not own: the ledger's books (`ledger`), wire formats (`provider`), prices (`domain`).
//! Invariant: a run belongs to the server, not to the connection: whoever leaves, it ends in one `finish`.

mod finish;
mod forward;
mod key_match;
mod live;
mod load;
mod mask;
mod own_key;
mod refused;
mod run;
mod start;
mod waiting;

pub use finish::Closed;
pub use live::{Live, Runs, Seen};
pub use load::{Quoted, Run, RunState, load_run};
pub use refused::{Refusals, RefusedRun, list_refused};
pub use run::{Answer, Whole};
pub use start::{Call, quote_call, start, start_call};
pub use waiting::Waiting;

use crate::account::User;
use crate::agent::Runner;
use crate::api_key::ApiCaller;

use domain::funding::FundingSource;
use domain::id::{AccountId, ApiKeyId, ExecutionId, ModelId, SkillId, UserId};
use domain::money::Usd;

/// What a person asks for on a page.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Made when the form was rendered, so that a second click is the same run.
    pub execution_id: ExecutionId,
    pub skill: SkillId,
    /// `None` for the skill's own model.
    pub model: Option<ModelId>,
    pub input: String,
    /// The most it could cost, as the preview showed it; a dearer price now is refused.
    pub shown_ceiling: Option<Usd>,
    /// Who was to pay, as the preview showed it; credits never pay instead of what costs nothing here.
    pub shown_source: Option<FundingSource>,
}

/// Who runs, and so who pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub account_id: AccountId,
    pub user_id: UserId,
    pub api_key_id: Option<ApiKeyId>,
    /// The agent that makes the call, if one does.
    pub agent: Option<Runner>,
}

impl Who {
    /// Who calls, as the agent that [`crate::agent::acting`] let through.
    pub fn calling(caller: ApiCaller, agent: Option<Runner>) -> Who {
        let ApiCaller { account_id, user_id, api_key_id, .. } = caller;
        Who { account_id, user_id, api_key_id: Some(api_key_id), agent }
    }
}

impl From<&User> for Who {
    fn from(user: &User) -> Who {
        Who { account_id: user.account_id.clone(), user_id: user.user_id.clone(), api_key_id: None, agent: None }
    }
}
