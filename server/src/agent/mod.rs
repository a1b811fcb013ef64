//! Owns: an account's agents: making, naming, capping, starting, stopping, deleting and listing them.
//! Does not own: how many a plan lets run and what a name may be (`domain::agent`), what their runs do (`execution`).
//! Invariant: who starts an agent is counted under the account's lock, so no more run than the plan lets; what was changed
//! counts at once on this node and within 10 seconds on others.

mod acting;
mod change;

pub use acting::{Runner, acting, load_name};
pub use change::{NewAgent, change, create, delete, set_state};

use crate::error::Result;
use crate::{Server, on_read};
use domain::agent::AgentState;
use domain::id::{AccountId, AgentId};
use domain::money::Usd;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Agents that an account may have, running or not; a list shows all of them.
const MOST_AGENTS: i64 = 200;

/// An agent as lists show it, with what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Agent {
    pub agent_id: AgentId,
    pub name: String,
    #[sqlx(try_from = "String")]
    pub state: AgentState,
    /// What one run of it may cost at most.
    #[sqlx(rename = "run_cap_nanos")]
    pub run_cap: Option<Usd>,
    pub created_at: Timestamp,
    /// When its newest run began, of those that ended.
    pub last_run_at: Option<Timestamp>,
    /// Open API keys that belong to it.
    pub api_keys: i64,
    /// Rules of its own for whose key pays.
    pub key_rules: i64,
    /// Provider keys that are for certain agents, it among them.
    pub provider_keys: i64,
}

/// The account's agents, by name.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<Agent>> {
    let agents = on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select   g.agent_id, g.name, g.state, g.run_cap_nanos, g.created_at,
                        (select e.started_at from execution e where e.agent_id = g.agent_id
                          order by e.execution_id desc limit 1) as last_run_at,
                        (select count(*) from api_key k where k.agent_id = g.agent_id and k.revoked_at is null) as api_keys,
                        (select count(*) from agent_key_policy p where p.agent_id = g.agent_id) as key_rules,
                        (select count(*) from provider_key k
                          where k.account_id = g.account_id and k.deleted_at is null
                                and k.allowed_agents like '%"' || g.agent_id || '"%') as provider_keys
               from     agent g
               where    g.account_id = $1 and g.deleted_at is null
               order by g.name, g.agent_id
               limit    $2"#,
        )
        .bind(account_id)
        .bind(MOST_AGENTS)
        .fetch_all(conn)
        .await
    })?;
    Ok(agents)
}
