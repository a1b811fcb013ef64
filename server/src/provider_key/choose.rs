//! Owns: which of an account's keys a run is made with, opening it, and what a run taught about it.

use crate::error::{Error, Result};
use crate::vault::{KeyRow, OpenKey, Owner, Sealed};
use crate::{Server, on_read, on_tx};
use domain::catalogue::{Model, ModelClass};
use domain::denial::Denial;
use domain::id::{AccountId, ModelId, ProviderKeyId};
use domain::key::{Candidate, Choice, KeyPolicy, KeyState, choose};
use domain::provider::Provider;

/// The keys that an account may run with, and whose it wants used.
#[derive(Clone, Debug, Default)]
pub struct OwnKeys {
    keys: Vec<(Provider, Candidate<ProviderKeyId>)>,
    policies: Vec<(Provider, ModelClass, KeyPolicy)>,
}

impl OwnKeys {
    /// Whose key a run of the model is made with.
    pub fn choose(&self, model: &Model) -> Choice<ProviderKeyId> {
        let policy = self
            .policies
            .iter()
            .find(|(provider, class, _)| *provider == model.provider && *class == model.class)
            .map(|(_, _, policy)| *policy);
        let candidates = self.keys.iter().filter(|(provider, _)| *provider == model.provider);
        choose(policy, candidates.map(|(_, candidate)| candidate.clone()).collect(), &model.id)
    }
}

/// The account's keys that are switched on, in their order, and its policies.
pub async fn load_own(server: &Server, account_id: &AccountId) -> Result<OwnKeys> {
    let keys: Vec<(ProviderKeyId, String, String, Option<String>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider_key_id, provider, state, allowed_models
             from   provider_key
             where  account_id = $1 and deleted_at is null and enabled = 1
             order  by position, provider_key_id",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    if keys.is_empty() {
        return Ok(OwnKeys::default());
    }
    let policies: Vec<(String, String, String)> = on_read!(&server.db, conn => {
        sqlx::query_as("select provider, model_class, policy from key_policy where account_id = $1")
            .bind(account_id)
            .fetch_all(conn)
            .await
    })?;
    let keys = keys.into_iter().map(|(key, provider, state, models)| {
        let allowed_models: Option<Vec<ModelId>> = models.map(|json| serde_json::from_str(&json)).transpose()?;
        Ok((provider.parse()?, Candidate { key, state: state.parse()?, allowed_models }))
    });
    let policies =
        policies.into_iter().map(|(provider, class, policy)| Ok((provider.parse()?, class.parse()?, policy.parse()?)));
    Ok(OwnKeys { keys: keys.collect::<Result<_>>()?, policies: policies.collect::<Result<_>>()? })
}

/// Whether the account has any key that works, which the price for own keys asks for.
pub async fn has_usable_key(server: &Server, account_id: &AccountId) -> Result<bool> {
    let own = load_own(server, account_id).await?;
    Ok(own.keys.iter().any(|(_, candidate)| candidate.state.is_usable()))
}

#[derive(sqlx::FromRow)]
struct Row {
    provider: String,
    base_url: Option<String>,
    sealed: String,
    wrapped_key: String,
    key_version: i64,
    master_version: i64,
}

/// A key in the clear, for one run.
pub struct Opened {
    pub key: OpenKey,
    /// Which of the row's secrets it is: what a run learns about it is said of that one alone.
    pub key_version: i64,
    /// Where one's own Ollama is.
    pub base_url: Option<String>,
}

/// Opens a key for one run of its account. Denial: `OwnKeyRefused` when it was deleted or
/// switched off meanwhile.
pub async fn open(server: &Server, account_id: &AccountId, provider: Provider, id: &ProviderKeyId) -> Result<Opened> {
    let row: Option<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider, base_url, sealed, wrapped_key, key_version, master_version
             from   provider_key
             where  provider_key_id = $1 and account_id = $2 and enabled = 1 and deleted_at is null",
        )
        .bind(id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let gone = || {
        let problem = "was switched off or deleted meanwhile".to_owned();
        Error::from(Denial::OwnKeyRefused { provider: provider.name().to_owned(), problem })
    };
    let row = row.ok_or_else(gone)?;
    let stored: Provider = row.provider.parse()?;
    let key_version = row.key_version;
    let owner = Owner::Key(KeyRow { account_id, provider: stored, key_id: id, key_version });
    let sealed = Sealed { sealed: row.sealed, wrapped_key: row.wrapped_key, master_version: row.master_version };
    if stored != provider {
        return Err(gone());
    }
    Ok(Opened { key: server.vault.unseal(owner, &sealed)?, key_version, base_url: row.base_url })
}

/// Notes that a key was used, and what the provider then said about it; `None` when nothing new. Of a secret that was
/// replaced meanwhile nothing is noted: a late answer says nothing about the one that followed it.
pub async fn mark(
    server: &Server,
    (id, key_version): (&ProviderKeyId, i64),
    learnt: Option<(KeyState, &str)>,
) -> Result<()> {
    let (state, problem) = learnt.unzip();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update provider_key
             set    last_used_at = $1,
                    state = coalesce($2, state),
                    problem = case when $2 is null then problem else $3 end,
                    checked_at = case when $2 is null then checked_at else $1 end
             where  provider_key_id = $4 and key_version = $5 and deleted_at is null",
        )
        .bind(server.clock.now())
        .bind(state.map(KeyState::as_str))
        .bind(problem)
        .bind(id)
        .bind(key_version)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}
