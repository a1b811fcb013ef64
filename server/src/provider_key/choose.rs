//! Owns: which of an account's keys a run is made with, and opening it.
//! Does not own: the rule (`domain::key`), what a run taught about a key (`health`).

use super::fallback::{Fallback, MonthSpend, load_spend};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::vault::{KeyRow, OpenKey, Owner, Sealed};
use crate::{Server, on_read, on_tx};
use domain::catalogue::{Model, ModelClass};
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ProviderKeyId};
use domain::key::{Asked, Candidate, Choice, KeyRule, KeyState, RuleOf, Rules, choose};
use domain::key_health::KeyHealth;
use domain::money::Usd;
use domain::provider::Provider;
use domain::time::Timestamp;
use secrecy::SecretString;

/// The keys that an account may run with, and whose it wants used; of one of its agents, if they were loaded for that.
#[derive(Clone, Debug, Default)]
pub struct OwnKeys {
    agent: Option<AgentId>,
    keys: Vec<(Provider, Candidate<ProviderKeyId>)>,
    rules: Vec<(Provider, ModelClass, RuleOf, KeyRule)>,
}

impl OwnKeys {
    /// Whether the account has any key that is switched on.
    pub fn has_any(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether any of them works.
    pub fn has_usable(&self) -> bool {
        self.keys.iter().any(|(_, candidate)| candidate.is_usable())
    }

    /// As it would be without one of the keys.
    #[must_use]
    pub fn without(&self, id: &ProviderKeyId) -> OwnKeys {
        let mut left = self.clone();
        left.keys.retain(|(_, candidate)| candidate.key != *id);
        left
    }

    /// Whether a run of the model is possible here, with whomever's key; or would be, if the account's own worked.
    pub fn can_run(&self, server: &Server, model: &Model) -> bool {
        match self.choose(model) {
            Choice::Own(_) | Choice::NoneWorks => true,
            Choice::Platform | Choice::Instead { .. } => server.providers.choose(model.provider).is_ok(),
        }
    }

    /// Whose key a run of the model is made with: the run, its preview and the page of keys all ask here.
    pub fn choose(&self, model: &Model) -> Choice<ProviderKeyId> {
        let candidates = self.keys.iter().filter(|(provider, _)| *provider == model.provider);
        let candidates = candidates.map(|(_, candidate)| candidate.clone()).collect();
        let asked = Asked { model: &model.id, agent: self.agent.as_ref() };
        choose(self.rules(model.provider, model.class), candidates, asked)
    }

    /// What the account, and the agent, have decided for a provider's models of a class.
    pub fn rules(&self, provider: Provider, class: ModelClass) -> Rules {
        let of = |wanted: RuleOf| {
            let is =
                |rule: &&(Provider, ModelClass, RuleOf, KeyRule)| (rule.0, rule.1, rule.2) == (provider, class, wanted);
            self.rules.iter().find(is).map(|rule| rule.3)
        };
        Rules { account: of(RuleOf::Account), agent: of(RuleOf::Agent) }
    }

    /// How a run is paid from here in place of the account's own key: up to which sum, by whose rule.
    pub fn fallback(&self, model: &Model) -> Option<Fallback> {
        let (of, rule) = self.rules(model.provider, model.class).in_force()?;
        let agent = match of {
            RuleOf::Account => None,
            RuleOf::Agent => self.agent.clone(),
        };
        Some(Fallback { provider: model.provider, class: model.class, agent, cap: rule.cap? })
    }
}

#[derive(sqlx::FromRow)]
struct KeyLine {
    provider_key_id: ProviderKeyId,
    provider: String,
    state: String,
    health: String,
    expires_at: Option<Timestamp>,
    allowed_models: Option<String>,
    allowed_agents: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RuleLine {
    provider: String,
    model_class: String,
    policy: String,
    cap_nanos: Option<Usd>,
    of_agent: i64,
}

/// The account's keys that are switched on, in their order, and its rules: for its runs that are no agent's.
pub async fn load_own(server: &Server, account_id: &AccountId) -> Result<OwnKeys> {
    load_own_for(server, account_id, None).await
}

/// [`load_own`] for the runs of an agent, with what it decides otherwise.
pub async fn load_own_for(server: &Server, account_id: &AccountId, agent: Option<&AgentId>) -> Result<OwnKeys> {
    let keys: Vec<KeyLine> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider_key_id, provider, state, health, expires_at, allowed_models, allowed_agents
             from   provider_key
             where  account_id = $1 and deleted_at is null and enabled = 1
             order  by position, provider_key_id",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    let rules: Vec<RuleLine> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider, model_class, policy, cap_nanos, cast(0 as bigint) as of_agent
             from   key_policy
             where  account_id = $1
             union  all
             select provider, model_class, policy, cap_nanos, cast(1 as bigint)
             from   agent_key_policy
             where  account_id = $1 and agent_id = $2",
        )
        .bind(account_id)
        .bind(agent)
        .fetch_all(conn)
        .await
    })?;
    let has_caps = rules.iter().any(|line| line.cap_nanos.is_some());
    let spend = if has_caps { load_spend(server, account_id).await? } else { MonthSpend::default() };
    let now = server.clock.now();
    let keys = keys.into_iter().map(|line| {
        let is_over = line.expires_at.is_some_and(|at| at <= now);
        let candidate = Candidate {
            key: line.provider_key_id,
            state: line.state.parse()?,
            health: if is_over { KeyHealth::Expired } else { line.health.parse()? },
            allowed_models: line.allowed_models.map(|json| serde_json::from_str(&json)).transpose()?,
            allowed_agents: line.allowed_agents.map(|json| serde_json::from_str(&json)).transpose()?,
        };
        Ok((line.provider.parse()?, candidate))
    });
    let rules = rules.into_iter().map(|line| {
        let (provider, class) = (line.provider.parse()?, line.model_class.parse()?);
        let (of, whose) = if line.of_agent == 0 { (RuleOf::Account, None) } else { (RuleOf::Agent, agent) };
        let spent = spend.of(provider, class, whose);
        Ok((provider, class, of, KeyRule { policy: line.policy.parse()?, cap: line.cap_nanos, spent }))
    });
    Ok(OwnKeys { agent: agent.cloned(), keys: keys.collect::<Result<_>>()?, rules: rules.collect::<Result<_>>()? })
}

/// Whether the account has any key that works, which the price for own keys asks for.
pub async fn has_usable_key(server: &Server, account_id: &AccountId) -> Result<bool> {
    Ok(load_own(server, account_id).await?.has_usable())
}

/// [`has_usable_key`] as the caller's transaction sees it.
pub(crate) async fn has_usable_key_in(tx: &mut Tx, account_id: &AccountId) -> Result<bool> {
    let keys: Vec<(String, String)> = on_tx!(tx, conn => {
        sqlx::query_as(
            "select state, health
             from   provider_key
             where  account_id = $1 and deleted_at is null and enabled = 1
             limit  200",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    let mut works = false;
    for (state, health) in keys {
        works |= state.parse::<KeyState>()?.is_usable() && health.parse::<KeyHealth>()? != KeyHealth::Expired;
    }
    Ok(works)
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

/// Opens a key for one run of its account. Denial: `OwnKeyRefused` when it was deleted or switched off meanwhile.
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
    let sealed = Sealed { sealed: row.sealed, wrapped_key: row.wrapped_key, master_version: row.master_version };
    if stored != provider {
        return Err(gone());
    }
    let key = unsealed(server, (account_id, stored, id, row.key_version), &sealed)?;
    Ok(Opened { key, key_version: row.key_version, base_url: row.base_url })
}

#[derive(sqlx::FromRow)]
struct SecretLine {
    provider_key_id: ProviderKeyId,
    #[sqlx(flatten)]
    row: Row,
}

/// All of the account's secrets, for keeping them out of what its runs say. One that does not open is left out: it is in
/// nobody's hands then.
pub async fn open_all(server: &Server, account_id: &AccountId) -> Result<Vec<SecretString>> {
    let lines: Vec<SecretLine> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider_key_id, provider, base_url, sealed, wrapped_key, key_version, master_version
             from   provider_key
             where  account_id = $1 and deleted_at is null
             limit  200",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    let mut secrets = Vec::with_capacity(lines.len());
    for SecretLine { provider_key_id, row } in lines {
        let sealed = Sealed { sealed: row.sealed, wrapped_key: row.wrapped_key, master_version: row.master_version };
        let of = (account_id, row.provider.parse()?, &provider_key_id, row.key_version);
        if let Ok(key) = unsealed(server, of, &sealed) {
            secrets.push(key.into_secret());
        }
    }
    Ok(secrets)
}

/// Opens what stands in a row.
pub(super) fn unsealed(
    server: &Server,
    (account_id, provider, key_id, key_version): (&AccountId, Provider, &ProviderKeyId, i64),
    sealed: &Sealed,
) -> Result<OpenKey> {
    server.vault.unseal(Owner::Key(KeyRow { account_id, provider, key_id, key_version }), sealed)
}
