//! Owns: the users' own keys of providers: saving, listing, changing, deleting, and finding the one that a run is made with.
//! Does not own: the cipher (`vault`), the provider's answer (`check`), who pays (`domain::key`).
//! Invariant: a key is checked before it is stored, outside any transaction; a secret leaves only as an `OpenKey`.

mod agent_policy;
mod check;
mod choose;
mod connect;
mod fallback;
pub(crate) mod guard;
mod health;
mod rotate;

pub use agent_policy::set_agent_policy;
pub use check::{Checked, check_key, judge};
pub(crate) use choose::has_usable_key_in;
pub use choose::{Opened, OwnKeys, has_usable_key, load_own, load_own_for, open, open_all};
pub use connect::{
    Connected, NotConnected, Returned, begin as begin_connection, finish as finish_connection,
    forget_old as forget_old_connections,
};
pub use fallback::{Fallback, count as count_fallback, set_policy};
pub(crate) use guard::client_for;
pub use health::{KeyDay, Signal, list_days, note, probe_due};
pub use rotate::{Rotated, count_old, rotate};

use crate::account::{Permission, User};
use crate::error::Result;
use crate::vault::{KeyRow, Owner, Sealed};
use crate::{Server, agent, on_read, on_tx, subscription};
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ModelId, ProviderKeyId};
use domain::key::{self, KeyState};
use domain::key_health::{KeyHealth, Record};
use domain::provider::Provider;
use domain::time::Timestamp;

const LONGEST_LABEL: usize = 60;
/// Keys an account may have.
const MOST_KEYS: i64 = 50;

/// A key as pages show it: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    pub id: ProviderKeyId,
    pub provider: Provider,
    pub label: String,
    /// `sk-…AbCd`.
    pub hint: String,
    pub base_url: Option<String>,
    pub allowed_models: Option<Vec<ModelId>>,
    /// The agents whose runs it is for, deleted ones too; `None` for every run.
    pub allowed_agents: Option<Vec<AgentId>>,
    pub is_enabled: bool,
    pub state: KeyState,
    /// What the provider said about it, in our words: why it does not work, or what is left.
    pub problem: Option<String>,
    pub checked_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    /// From then on nothing is run with it.
    pub expires_at: Option<Timestamp>,
    pub health: KeyHealth,
    pub health_since: Timestamp,
}

/// A key to save, or one in place of `replaces`.
#[derive(Clone, Copy)]
pub struct NewKey<'a> {
    pub provider: Provider,
    /// As it was pasted.
    pub secret: &'a str,
    /// Where one's own Ollama is.
    pub url: &'a str,
    pub label: &'a str,
    pub replaces: Option<&'a ProviderKeyId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    provider_key_id: ProviderKeyId,
    provider: String,
    label: String,
    hint: String,
    base_url: Option<String>,
    allowed_models: Option<String>,
    allowed_agents: Option<String>,
    enabled: i64,
    state: String,
    problem: Option<String>,
    checked_at: Timestamp,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    health: String,
    health_since: Timestamp,
}

/// The account's keys, in the order in which they are used.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<KeySummary>> {
    let rows: Vec<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider_key_id, provider, label, hint, base_url, allowed_models, allowed_agents, enabled, state, problem,
                    checked_at, last_used_at, expires_at, health, health_since
             from   provider_key
             where  account_id = $1 and deleted_at is null
             order  by position, provider_key_id
             limit  200",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|row| {
            Ok(KeySummary {
                provider: row.provider.parse()?,
                allowed_models: row.allowed_models.map(|json| serde_json::from_str(&json)).transpose()?,
                allowed_agents: row.allowed_agents.map(|json| serde_json::from_str(&json)).transpose()?,
                state: row.state.parse()?,
                health: row.health.parse()?,
                health_since: row.health_since,
                expires_at: row.expires_at,
                is_enabled: row.enabled != 0,
                id: row.provider_key_id,
                label: row.label,
                hint: row.hint,
                base_url: row.base_url,
                problem: row.problem,
                checked_at: row.checked_at,
                last_used_at: row.last_used_at,
            })
        })
        .collect()
}

/// Checks a key at its provider and stores it sealed; only one that the provider calls invalid is not stored. Replacing
/// keeps the key's place, label and models. Denials: `Invalid` for the field, `NotFound` for what is replaced.
pub async fn save(server: &Server, user: &User, new: NewKey<'_>) -> Result<KeySummary> {
    user.require(Permission::ManageKeys)?;
    let label = checked_label(new.label, new.provider)?;
    let is_ollama = new.provider == Provider::Ollama;
    let no_secret = is_ollama && key::tidy(new.secret).is_empty();
    let secret = if no_secret { "" } else { key::checked(new.provider, new.secret)? };
    let base_url = is_ollama.then(|| new.url.trim().trim_end_matches('/').to_owned());
    let checked = check_key(server, new.provider, secret, base_url.as_deref()).await?;
    if checked.state == KeyState::Invalid {
        let problem = format!("{} refuses this key", new.provider.name());
        return Err(
            Denial::invalid("secret", problem, "It was not saved. Copy it again, or make a new one there.").into()
        );
    }

    let id = match new.replaces {
        Some(id) => id.clone(),
        None => ProviderKeyId::new(server.clock.new_id()),
    };
    let hint = if no_secret { "no key".to_owned() } else { key::hint(secret) };
    let stored = Stored { id: &id, label: &label, hint: &hint, base_url: base_url.as_deref(), checked: &checked };
    match new.replaces {
        Some(_) => replace(server, user, new.provider, secret, stored).await?,
        None => insert(server, user, new.provider, secret, stored).await?,
    }
    tracing::info!(provider_key_id = %id, user_id = %user.user_id, state = %checked.state, "a provider key was saved");
    let saved = list(server, &user.account_id).await?.into_iter().find(|key| key.id == id);
    Ok(saved.ok_or_else(not_found)?)
}

struct Stored<'a> {
    id: &'a ProviderKeyId,
    label: &'a str,
    hint: &'a str,
    base_url: Option<&'a str>,
    checked: &'a Checked,
}

async fn insert(server: &Server, user: &User, provider: Provider, secret: &str, new: Stored<'_>) -> Result<()> {
    let owner = Owner::Key(KeyRow { account_id: &user.account_id, provider, key_id: new.id, key_version: 1 });
    let Sealed { sealed, wrapped_key, master_version } = server.vault.seal(owner, secret)?;
    let now = server.clock.now();
    let record = Record::new(new.checked.state, now);
    let mut tx = server.db.begin().await?;
    let inserted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into provider_key (provider_key_id, account_id, provider, label, hint, base_url, sealed, wrapped_key,
                                       key_version, master_version, position, enabled, state, problem, checked_at,
                                       created_at, health, health_since, probe_at)
             select $1, $2, $3, $4, $5, $6, $7, $8, 1, $9,
                    (select coalesce(max(position), 0) + 1 from provider_key where account_id = $2), 1, $10, $11, $12, $12,
                    $14, $12, $15
             where  (select count(*) from provider_key where account_id = $2 and deleted_at is null) < $13",
        )
        .bind(new.id)
        .bind(&user.account_id)
        .bind(provider.as_str())
        .bind(new.label)
        .bind(new.hint)
        .bind(new.base_url)
        .bind(&sealed)
        .bind(&wrapped_key)
        .bind(master_version)
        .bind(new.checked.state.as_str())
        .bind(&new.checked.problem)
        .bind(now)
        .bind(MOST_KEYS)
        .bind(record.health.as_str())
        .bind(record.probe_at(now, rand::random_range(0..=1_000)))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 0 {
        let problem = format!("This account has {MOST_KEYS} keys, the most it may have. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    subscription::follow_keys(&mut tx, server, &user.account_id).await?;
    tx.commit().await
}

async fn replace(server: &Server, user: &User, provider: Provider, secret: &str, new: Stored<'_>) -> Result<()> {
    let version: Option<i64> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select key_version from provider_key
             where  provider_key_id = $1 and account_id = $2 and provider = $3 and deleted_at is null",
        )
        .bind(new.id)
        .bind(&user.account_id)
        .bind(provider.as_str())
        .fetch_optional(conn)
        .await
    })?;
    let version = version.ok_or_else(not_found)?;
    let key_version = version.saturating_add(1);
    let owner = Owner::Key(KeyRow { account_id: &user.account_id, provider, key_id: new.id, key_version });
    let Sealed { sealed, wrapped_key, master_version } = server.vault.seal(owner, secret)?;
    let now = server.clock.now();
    let record = Record::new(new.checked.state, now);
    let mut tx = server.db.begin().await?;
    // What was known of the one before, and its day, do not count for the one that follows.
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update provider_key
             set    hint = $1, base_url = $2, sealed = $3, wrapped_key = $4, key_version = $5, master_version = $6,
                    state = $7, problem = $8, checked_at = $9, health = $13, health_since = $9, failures = 0,
                    successes = 0, expires_at = null, probe_at = $14
             where  provider_key_id = $10 and account_id = $11 and key_version = $12 and deleted_at is null",
        )
        .bind(new.hint)
        .bind(new.base_url)
        .bind(&sealed)
        .bind(&wrapped_key)
        .bind(key_version)
        .bind(master_version)
        .bind(new.checked.state.as_str())
        .bind(&new.checked.problem)
        .bind(now)
        .bind(new.id)
        .bind(&user.account_id)
        .bind(version)
        .bind(record.health.as_str())
        .bind(record.probe_at(now, rand::random_range(0..=1_000)))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 0 {
        return Err(Denial::Conflict { problem: "Somebody else has just changed this key.".to_owned() }.into());
    }
    subscription::follow_keys(&mut tx, server, &user.account_id).await?;
    tx.commit().await
}

/// Changes what a key is called, what it is for, and whether it is used; `is_first` puts it before the others.
pub struct Change<'a> {
    pub label: &'a str,
    /// Empty for every model.
    pub allowed_models: Vec<ModelId>,
    /// Empty for every run.
    pub allowed_agents: Vec<AgentId>,
    pub is_enabled: bool,
    pub is_first: bool,
    /// From then on nothing is run with it; `None` for no end.
    pub expires_at: Option<Timestamp>,
}

/// Applies a change to a key of the account. Denials: `Invalid`, `NotFound`.
pub async fn change(server: &Server, user: &User, id: &ProviderKeyId, change: Change<'_>) -> Result<()> {
    user.require(Permission::ManageKeys)?;
    let catalogue = server.catalogue.load_full();
    for model in &change.allowed_models {
        catalogue.model(model)?;
    }
    let models =
        (!change.allowed_models.is_empty()).then(|| serde_json::to_string(&change.allowed_models)).transpose()?;
    let known = list(server, &user.account_id).await?.into_iter().find(|key| key.id == *id).ok_or_else(not_found)?;
    let label = checked_label(change.label, known.provider)?;
    let agents = checked_agents(server, user, &known, &change.allowed_agents).await?;
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update provider_key
             set    label = $1, allowed_models = $2, enabled = $3, expires_at = $7, allowed_agents = $9,
                    health = case when health = 'expired' and coalesce($7, $8 + 1) > $8 then 'healthy' else health end,
                    probe_at = case when expires_at is null and $7 is null then probe_at else $8 end,
                    position = case when $4 = 1
                                    then (select min(position) - 1 from provider_key where account_id = $6)
                                    else position end
             where  provider_key_id = $5 and account_id = $6 and deleted_at is null",
        )
        .bind(&label)
        .bind(&models)
        .bind(i64::from(change.is_enabled))
        .bind(i64::from(change.is_first))
        .bind(id)
        .bind(&user.account_id)
        .bind(change.expires_at)
        .bind(server.clock.now())
        .bind(&agents)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 0 {
        return Err(not_found().into());
    }
    subscription::follow_keys(&mut tx, server, &user.account_id).await?;
    tx.commit().await
}

/// The agents that a key is for, as they are stored; nothing for every run. An agent that was deleted stays where it was
/// chosen, so that a key of its alone does not become everybody's. Denial: `NotFound`.
async fn checked_agents(
    server: &Server,
    user: &User,
    known: &KeySummary,
    chosen: &[AgentId],
) -> Result<Option<String>> {
    if chosen.is_empty() {
        return Ok(None);
    }
    let agents = agent::list(server, &user.account_id).await?;
    let before = known.allowed_agents.as_deref().unwrap_or_default();
    let is_known = |id: &AgentId| agents.iter().any(|agent| agent.agent_id == *id) || before.contains(id);
    if !chosen.iter().all(is_known) {
        return Err(Denial::NotFound { what: "agent".to_owned() }.into());
    }
    Ok(Some(serde_json::to_string(chosen)?))
}

/// Puts the account's keys into this order; those that are not named stay behind, in their order.
pub async fn reorder(server: &Server, user: &User, order: &[ProviderKeyId]) -> Result<()> {
    user.require(Permission::ManageKeys)?;
    let known = list(server, &user.account_id).await?;
    let mut ids: Vec<&ProviderKeyId> = order.iter().filter(|id| known.iter().any(|key| key.id == **id)).collect();
    let rest: Vec<&ProviderKeyId> = known.iter().map(|key| &key.id).filter(|id| !ids.contains(id)).collect();
    ids.extend(rest);
    let mut tx = server.db.begin().await?;
    for (position, id) in (1_i64..).zip(ids) {
        on_tx!(&mut tx, conn => {
            sqlx::query("update provider_key set position = $1 where provider_key_id = $2 and account_id = $3")
                .bind(position)
                .bind(id)
                .bind(&user.account_id)
                .execute(conn)
                .await
                .map(drop)
        })?;
    }
    tx.commit().await
}

/// Deletes a key: its secret is erased at once, its row stays for what was run with it.
pub async fn delete(server: &Server, user: &User, id: &ProviderKeyId) -> Result<()> {
    user.require(Permission::ManageKeys)?;
    let mut tx = server.db.begin().await?;
    let deleted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update provider_key
             set    deleted_at = $1, enabled = 0, sealed = null, wrapped_key = null
             where  provider_key_id = $2 and account_id = $3 and deleted_at is null",
        )
        .bind(server.clock.now())
        .bind(id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if deleted == 0 {
        return Err(not_found().into());
    }
    subscription::follow_keys(&mut tx, server, &user.account_id).await?;
    tx.commit().await?;
    tracing::info!(provider_key_id = %id, user_id = %user.user_id, "a provider key was deleted");
    Ok(())
}

fn checked_label(label: &str, provider: Provider) -> std::result::Result<String, Denial> {
    let label = label.trim();
    if label.chars().count() > LONGEST_LABEL || label.chars().any(char::is_control) {
        return Err(Denial::invalid("label", "Longer than 60 characters", "Name it after where it is from."));
    }
    Ok(if label.is_empty() { provider.name().to_owned() } else { label.to_owned() })
}

fn not_found() -> Denial {
    Denial::NotFound { what: "key".to_owned() }
}
