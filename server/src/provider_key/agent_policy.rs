//! Owns: what an agent decides otherwise than its account about whose key its runs are made with.
//! Does not own: which rule counts (`domain::key::Rules`), the account's own rules and what a cap has paid (`fallback`).

use super::fallback::consented;
use crate::account::User;
use crate::error::Result;
use crate::{Server, member, on_tx};
use domain::catalogue::ModelClass;
use domain::denial::Denial;
use domain::id::AgentId;
use domain::key::KeyPolicy;
use domain::provider::Provider;

/// Decides whose key an agent's runs of a provider's models of a class use; `None` leaves it to the account's rule. Denials:
/// those of [`super::set_policy`], and `NotFound` for the agent.
pub async fn set_agent_policy(
    server: &Server,
    user: &User,
    agent_id: &AgentId,
    (provider, class): (Provider, ModelClass),
    (policy, cap): (Option<KeyPolicy>, &str),
) -> Result<()> {
    let cap = consented(user, policy, cap)?;
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    // Whoever deletes the agent deletes its rules under the same lock.
    member::lock(&mut tx, &user.account_id).await?;
    let agents: i64 = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("select count(*) from agent where agent_id = $1 and account_id = $2 and deleted_at is null")
            .bind(agent_id)
            .bind(&user.account_id)
            .fetch_one(conn)
            .await
    })?;
    if agents == 0 {
        return Err(Denial::NotFound { what: "agent".to_owned() }.into());
    }
    match policy {
        None => on_tx!(&mut tx, conn => {
            sqlx::query("delete from agent_key_policy where agent_id = $1 and provider = $2 and model_class = $3")
                .bind(agent_id)
                .bind(provider.as_str())
                .bind(class.as_str())
                .execute(conn)
                .await
                .map(drop)
        })?,
        Some(policy) => on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into agent_key_policy (agent_id, account_id, provider, model_class, policy, cap_nanos, consented_by,
                                               consented_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (agent_id, provider, model_class) do update
                 set    policy = excluded.policy, cap_nanos = excluded.cap_nanos, consented_by = excluded.consented_by,
                        consented_at = excluded.consented_at",
            )
            .bind(agent_id)
            .bind(&user.account_id)
            .bind(provider.as_str())
            .bind(class.as_str())
            .bind(policy.as_str())
            .bind(cap)
            .bind(cap.map(|_| user.user_id.as_str()))
            .bind(cap.map(|_| now))
            .execute(conn)
            .await
            .map(drop)
        })?,
    }
    tx.commit().await?;
    let policy = policy.map_or("none", KeyPolicy::as_str);
    tracing::info!(user_id = %user.user_id, %agent_id, %provider, %class, policy, "key policy of an agent");
    Ok(())
}
