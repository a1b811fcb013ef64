//! Owns: every change of an agent, and counting those that run when one more is to.

use super::MOST_AGENTS;
use crate::account::{Permission, User};
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::{Server, allowance, api_key, member, on_tx};
use domain::agent::{AgentState, checked_name, may_start, read_cap};
use domain::denial::Denial;
use domain::id::{AccountId, AgentId};
use domain::plan::Plan;

/// An agent to make, as it was typed.
#[derive(Clone, Copy, Debug)]
pub struct NewAgent<'a> {
    pub name: &'a str,
    /// Dollars that one run may cost; empty for no cap.
    pub run_cap: &'a str,
    pub state: AgentState,
}

/// Makes an agent. Denials: `RoleMayNot`; `Invalid` for the field; `AgentLimit` if it is to run and the plan lets no more
/// run; `Conflict` past 200 agents.
pub async fn create(server: &Server, user: &User, new: NewAgent<'_>) -> Result<AgentId> {
    user.require(Permission::ManageAgents)?;
    let (name, run_cap) = (checked_name(new.name)?, read_cap(new.run_cap)?);
    let plan = allowance::load(server, &user.account_id).await?.plan;
    let agent_id = AgentId::new(server.clock.new_id());

    let mut tx = server.db.begin().await?;
    member::lock(&mut tx, &user.account_id).await?;
    let (running, all) = count(&mut tx, &user.account_id).await?;
    match new.state {
        AgentState::Running => check_room(&plan, running)?,
        AgentState::Stopped => {}
    }
    if all >= MOST_AGENTS {
        let problem = format!("This account has {MOST_AGENTS} agents, the most it may have. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into agent (agent_id, account_id, name, state, run_cap_nanos, created_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&agent_id)
        .bind(&user.account_id)
        .bind(name)
        .bind(new.state.as_str())
        .bind(run_cap)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })
    .map_err(name_taken)?;
    tx.commit().await?;
    tracing::info!(%agent_id, user_id = %user.user_id, "an agent was made");
    Ok(agent_id)
}

/// Renames an agent and sets what one run of it may cost, as typed. Denials: `RoleMayNot`, `Invalid`, `NotFound`.
pub async fn change(server: &Server, user: &User, agent_id: &AgentId, name: &str, run_cap: &str) -> Result<()> {
    user.require(Permission::ManageAgents)?;
    let (name, run_cap) = (checked_name(name)?, read_cap(run_cap)?);
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update agent
             set    name = $1, run_cap_nanos = $2
             where  agent_id = $3 and account_id = $4 and deleted_at is null",
        )
        .bind(name)
        .bind(run_cap)
        .bind(agent_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })
    .map_err(name_taken)?;
    if changed == 0 {
        return Err(not_found().into());
    }
    tx.commit().await?;
    server.api_callers.forget_agent(agent_id);
    Ok(())
}

/// Starts or stops an agent; repeating it changes nothing. A run that goes on when its agent is stopped ends by itself.
/// Denials: `RoleMayNot`, `NotFound`, `AgentLimit` when the plan lets no more run.
pub async fn set_state(server: &Server, user: &User, agent_id: &AgentId, state: AgentState) -> Result<()> {
    user.require(Permission::ManageAgents)?;
    let plan = allowance::load(server, &user.account_id).await?.plan;
    let mut tx = server.db.begin().await?;
    member::lock(&mut tx, &user.account_id).await?;
    let now: Option<String> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("select state from agent where agent_id = $1 and account_id = $2 and deleted_at is null")
            .bind(agent_id)
            .bind(&user.account_id)
            .fetch_optional(conn)
            .await
    })?;
    let now: AgentState = now.ok_or_else(not_found)?.parse()?;
    if now == state {
        return Ok(());
    }
    match state {
        AgentState::Running => check_room(&plan, count(&mut tx, &user.account_id).await?.0)?,
        AgentState::Stopped => {}
    }
    on_tx!(&mut tx, conn => {
        sqlx::query("update agent set state = $1 where agent_id = $2")
            .bind(state.as_str())
            .bind(agent_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await?;
    server.api_callers.forget_agent(agent_id);
    tracing::info!(%agent_id, user_id = %user.user_id, %state, "an agent was started or stopped");
    Ok(())
}

/// Deletes an agent: its API keys end, and its rules for whose key pays go. A provider key that was for it alone is for
/// nobody then, rather than for everybody. Its runs stay, under its name. Denials: `RoleMayNot`, `NotFound`.
pub async fn delete(server: &Server, user: &User, agent_id: &AgentId) -> Result<()> {
    user.require(Permission::ManageAgents)?;
    let mut tx = server.db.begin().await?;
    member::lock(&mut tx, &user.account_id).await?;
    let deleted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update agent
             set    deleted_at = $1, state = 'stopped'
             where  agent_id = $2 and account_id = $3 and deleted_at is null",
        )
        .bind(server.clock.now())
        .bind(agent_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if deleted == 0 {
        return Err(not_found().into());
    }
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from agent_key_policy where agent_id = $1").bind(agent_id).execute(conn).await.map(drop)
    })?;
    let keys = api_key::revoke_of_agent(&mut tx, &server.clock, agent_id).await?;
    tx.commit().await?;
    server.api_callers.forget_all(&keys);
    tracing::info!(%agent_id, user_id = %user.user_id, "an agent was deleted");
    Ok(())
}

/// The account's agents: those that run, and all. Only under the account's lock are they more than a guess.
async fn count(tx: &mut Tx, account_id: &AccountId) -> Result<(i64, i64)> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_as(
            "select count(case when state = 'running' then 1 end), count(*)
             from   agent
             where  account_id = $1 and deleted_at is null",
        )
        .bind(account_id)
        .fetch_one(conn)
        .await
    })?)
}

fn check_room(plan: &Plan, running: i64) -> std::result::Result<(), Denial> {
    may_start(&plan.name, plan.limits.running_agents, running.max(0).unsigned_abs())
}

fn name_taken(error: sqlx::Error) -> Error {
    if breaks_unique(&error, "agent_name_unique", "agent.account_id, agent.name") {
        let remedy = "Choose another name: calls say by it which agent makes them.";
        return Denial::invalid("name", "Another agent of this account has this name", remedy).into();
    }
    error.into()
}

fn not_found() -> Denial {
    Denial::NotFound { what: "agent".to_owned() }
}
