//! Owns: which agent makes a call: the one that its API key belongs to, or the one that the call names.
//! Invariant: a call that names an agent is that agent's or is refused; it never runs as nobody's instead.

use crate::api_key::ApiCaller;
use crate::error::Result;
use crate::{Server, on_read};
use domain::agent::AgentState;
use domain::denial::Denial;
use domain::id::{AccountId, AgentId};
use domain::money::Usd;

/// The agent that makes a call.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Runner {
    pub agent_id: AgentId,
    pub name: String,
    #[sqlx(try_from = "String")]
    pub state: AgentState,
    /// What one run of it may cost at most.
    #[sqlx(rename = "run_cap_nanos")]
    pub run_cap: Option<Usd>,
}

/// The agent that makes the call; `None` when it is nobody's but the account's. The database is asked only for an agent that
/// is named. Denials: `UnknownAgent`, `KeyOfOtherAgent`, `AgentStopped`.
pub async fn acting(server: &Server, caller: &ApiCaller, named: Option<&str>) -> Result<Option<Runner>> {
    let runner = match (&caller.agent, named) {
        (None, None) => return Ok(None),
        (Some(own), None) => own.clone(),
        (Some(own), Some(name)) if own.name == name => own.clone(),
        (Some(own), Some(name)) => {
            return Err(Denial::KeyOfOtherAgent { agent: own.name.clone(), named: name.to_owned() }.into());
        }
        (None, Some(name)) => load_named(server, &caller.account_id, name)
            .await?
            .ok_or_else(|| Denial::UnknownAgent { agent: name.to_owned() })?,
    };
    match runner.state {
        AgentState::Running => Ok(Some(runner)),
        AgentState::Stopped => Err(Denial::AgentStopped { agent: runner.name }.into()),
    }
}

async fn load_named(server: &Server, account_id: &AccountId, name: &str) -> Result<Option<Runner>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select agent_id, name, state, run_cap_nanos
             from   agent
             where  account_id = $1 and name = $2 and deleted_at is null",
        )
        .bind(account_id)
        .bind(name)
        .fetch_optional(conn)
        .await
    })?)
}

/// What an agent of the account is called, or was before it was deleted.
pub async fn load_name(server: &Server, account_id: &AccountId, agent_id: &AgentId) -> Result<Option<String>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_scalar("select name from agent where agent_id = $1 and account_id = $2")
            .bind(agent_id)
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?)
}
