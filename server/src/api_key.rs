//! Owns: our own API keys (`tb_…`): making, listing, revoking, and telling who calls.
//! Does not own: the users' keys of providers (`vault`), what a caller may do (`execution`).
//! Invariant: the secret is shown once and stored only as its SHA-256; a revoked key is refused at once on this node
//! and within 10 seconds on others; so is the key of one who is no member any more.

use crate::account::{Permission, Role, User};
use crate::agent::Runner;
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::{Server, member, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ApiKeyId, PlanId, UserId};
use domain::member::Standing;
use domain::money::Usd;
use domain::time::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PREFIX: &str = "tb_";
/// `tb_` and 256 bits in base64url.
const KEY_LENGTH: usize = 46;
const LONGEST_NAME: usize = 80;
/// Open keys an account may have.
const MOST_KEYS: i64 = 100;
/// Rows a list shows.
const LIST: i64 = 200;

/// How long a caller is remembered without asking the database.
const REMEMBERED: Duration = Duration::from_secs(10);
const SHARDS: usize = 16;
const SHARD_SIZE: usize = 4_096;

/// An API key as lists show it: never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct ApiKey {
    pub api_key_id: ApiKeyId,
    pub account_id: AccountId,
    pub user_id: UserId,
    pub name: String,
    /// The agent that it belongs to; `None` for the whole account's.
    pub agent_id: Option<AgentId>,
    pub agent_name: Option<String>,
    /// `tb_…AbCd`.
    pub hint: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// Who calls the API, known by their key.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ApiCaller {
    pub api_key_id: ApiKeyId,
    pub account_id: AccountId,
    pub user_id: UserId,
    #[sqlx(rename = "plan_id")]
    pub plan: PlanId,
    /// What the key's maker is in the account now.
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub account_name: String,
    /// The agent that the key belongs to.
    #[sqlx(skip)]
    pub agent: Option<Runner>,
}

#[derive(sqlx::FromRow)]
struct CallerRow {
    #[sqlx(flatten)]
    caller: ApiCaller,
    agent_id: Option<AgentId>,
    agent_name: Option<String>,
    agent_state: Option<String>,
    run_cap_nanos: Option<Usd>,
}

impl ApiCaller {
    /// A denial that names who may do it, unless the maker's role may.
    pub fn require(&self, permission: Permission) -> std::result::Result<(), Denial> {
        Standing { role: self.role, account_name: &self.account_name }.require(permission)
    }
}

/// Makes a key for the account that the user looks at. The secret is returned here and never again. The key may do what
/// its maker's role may do, and nothing once they are no member any more.
pub async fn create(server: &Server, user: &User, name: &str) -> Result<(ApiKey, SecretString)> {
    create_for(server, user, name, None).await
}

/// [`create`] for an agent: every call with the key is that agent's. Denied with `NotFound` when there is no such agent.
pub async fn create_for(
    server: &Server,
    user: &User,
    name: &str,
    agent_id: Option<&AgentId>,
) -> Result<(ApiKey, SecretString)> {
    let name = checked_name(name)?;
    user.require(Permission::ManageApiKeys)?;
    let secret = format!("{PREFIX}{}", server.clock.new_secret());
    let mut key = ApiKey {
        api_key_id: ApiKeyId::new(server.clock.new_id()),
        account_id: user.account_id.clone(),
        user_id: user.user_id.clone(),
        name,
        agent_id: agent_id.cloned(),
        agent_name: None,
        hint: hint(&secret),
        created_at: server.clock.now(),
        revoked_at: None,
    };

    let mut tx = server.db.begin().await?;
    if let Some(agent_id) = agent_id {
        // Whoever deletes the agent ends its keys under the same lock.
        member::lock(&mut tx, &user.account_id).await?;
        key.agent_name = Some(load_agent_name(&mut tx, user, agent_id).await?);
    }
    let inserted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into api_key (api_key_id, account_id, user_id, name, key_hash, hint, created_at, agent_id)
             select $1, $2, $3, $4, $5, $6, $7, $9
             where  (select count(*) from api_key where account_id = $2 and revoked_at is null) < $8",
        )
        .bind(&key.api_key_id)
        .bind(&key.account_id)
        .bind(&key.user_id)
        .bind(&key.name)
        .bind(hex::encode(digest(&secret)))
        .bind(&key.hint)
        .bind(key.created_at)
        .bind(MOST_KEYS)
        .bind(agent_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 0 {
        let problem = format!("This account has {MOST_KEYS} API keys, the most it may have. Revoke one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    tx.commit().await?;
    tracing::info!(api_key_id = %key.api_key_id, user_id = %key.user_id, "an API key was made");
    Ok((key, SecretString::from(secret)))
}

async fn load_agent_name(tx: &mut Tx, user: &User, agent_id: &AgentId) -> Result<String> {
    let name: Option<String> = on_tx!(tx, conn => {
        sqlx::query_scalar("select name from agent where agent_id = $1 and account_id = $2 and deleted_at is null")
            .bind(agent_id)
            .bind(&user.account_id)
            .fetch_optional(conn)
            .await
    })?;
    name.ok_or_else(|| Denial::NotFound { what: "agent".to_owned() }.into())
}

/// The account's keys, newest first, revoked ones included; at most 200.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<ApiKey>> {
    let keys = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select k.api_key_id, k.account_id, k.user_id, k.name, k.agent_id, g.name as agent_name, k.hint, k.created_at,
                    k.revoked_at
             from   api_key k
             left join agent g on g.agent_id = k.agent_id
             where  k.account_id = $1
             order  by k.api_key_id desc
             limit  $2",
        )
        .bind(account_id)
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?;
    Ok(keys)
}

/// Ends a key: at once on this node, within 10 seconds on others. Repeating it changes nothing. `NotFound` if the
/// account has no such key.
pub async fn revoke(server: &Server, user: &User, api_key_id: &ApiKeyId) -> Result<()> {
    user.require(Permission::ManageApiKeys)?;
    let mut tx = server.db.begin().await?;
    let found = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update api_key
             set    revoked_at = coalesce(revoked_at, $1)
             where  api_key_id = $2 and account_id = $3",
        )
        .bind(server.clock.now())
        .bind(api_key_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if found == 0 {
        return Err(Denial::NotFound { what: "API key".to_owned() }.into());
    }
    server.api_callers.forget(api_key_id);
    tracing::info!(%api_key_id, "an API key was revoked");
    Ok(())
}

/// Ends the account's keys within the caller's transaction: those one member made, or all. After its commit, pass what is
/// returned to [`Callers::forget_all`].
pub(crate) async fn revoke_of(
    tx: &mut Tx,
    clock: &Clock,
    account_id: &AccountId,
    made_by: Option<&UserId>,
) -> Result<Vec<ApiKeyId>> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_scalar(
            "update api_key
             set    revoked_at = $1
             where  account_id = $2 and revoked_at is null and ($3 is null or user_id = $3)
             returning api_key_id",
        )
        .bind(clock.now())
        .bind(account_id)
        .bind(made_by)
        .fetch_all(conn)
        .await
    })?)
}

/// Ends the agent's keys within the caller's transaction. After its commit, pass what is returned to
/// [`Callers::forget_all`].
pub(crate) async fn revoke_of_agent(tx: &mut Tx, clock: &Clock, agent_id: &AgentId) -> Result<Vec<ApiKeyId>> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_scalar(
            "update api_key
             set    revoked_at = $1
             where  agent_id = $2 and revoked_at is null
             returning api_key_id",
        )
        .bind(clock.now())
        .bind(agent_id)
        .fetch_all(conn)
        .await
    })?)
}

/// Who calls with this key (`tb_…`, without `Bearer`), or `NotSignedIn`. Known callers cost no query for 10 seconds.
pub async fn authenticate(server: &Server, key: &str) -> Result<ApiCaller> {
    if key.len() != KEY_LENGTH || !key.starts_with(PREFIX) {
        return Err(Denial::NotSignedIn.into());
    }
    let digest = digest(key);
    if let Some(caller) = server.api_callers.find(&server.clock, &digest) {
        return Ok(caller);
    }

    let generation = server.api_callers.generation();
    let row: Option<CallerRow> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select k.api_key_id, k.account_id, k.user_id, a.plan_id, m.role, a.name as account_name,
                    g.agent_id, g.name as agent_name, g.state as agent_state, g.run_cap_nanos
             from   api_key k
             join   account a on a.account_id = k.account_id
             join   member m on m.account_id = k.account_id and m.user_id = k.user_id
             left join agent g on g.agent_id = k.agent_id
             where  k.key_hash = $1 and k.revoked_at is null",
        )
        .bind(hex::encode(digest))
        .fetch_optional(conn)
        .await
    })?;
    let caller = row.ok_or(Denial::NotSignedIn)?.into_caller()?;
    server.api_callers.remember(&server.clock, digest, &caller, generation);
    Ok(caller)
}

impl CallerRow {
    fn into_caller(self) -> Result<ApiCaller> {
        let agent = match (self.agent_id, self.agent_name, self.agent_state) {
            (Some(agent_id), Some(name), Some(state)) => {
                Some(Runner { agent_id, name, state: state.parse()?, run_cap: self.run_cap_nanos })
            }
            _ => None,
        };
        Ok(ApiCaller { agent, ..self.caller })
    }
}

/// Callers seen in the last seconds, by the SHA-256 of their key. Bounded; only keys that exist come in.
pub struct Callers {
    shards: [Mutex<HashMap<[u8; 32], Seen>>; SHARDS],
    /// Counts what was revoked or changed: a caller read before is not remembered after it.
    revocations: AtomicU64,
}

struct Seen {
    caller: ApiCaller,
    until: Duration,
}

impl Default for Callers {
    fn default() -> Callers {
        Callers { shards: std::array::from_fn(|_| Mutex::default()), revocations: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("api_key::Callers")
    }
}

impl Callers {
    fn shard(&self, digest: &[u8; 32]) -> MutexGuard<'_, HashMap<[u8; 32], Seen>> {
        let [first, ..] = digest;
        self.shards[usize::from(*first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    fn find(&self, clock: &Clock, digest: &[u8; 32]) -> Option<ApiCaller> {
        let shard = self.shard(digest);
        let seen = shard.get(digest)?;
        (clock.monotonic() < seen.until).then(|| seen.caller.clone())
    }

    fn remember(&self, clock: &Clock, digest: [u8; 32], caller: &ApiCaller, generation: u64) {
        let now = clock.monotonic();
        let mut shard = self.shard(&digest);
        if self.generation() != generation {
            return;
        }
        if shard.len() >= SHARD_SIZE {
            shard.retain(|_, seen| now < seen.until);
        }
        if shard.len() < SHARD_SIZE {
            shard.insert(digest, Seen { caller: caller.clone(), until: now + REMEMBERED });
        }
    }

    /// Forgets the callers that are an agent which was changed.
    pub(crate) fn forget_agent(&self, agent_id: &AgentId) {
        self.forget_if(|caller| caller.agent.as_ref().is_some_and(|agent| agent.agent_id == *agent_id));
    }

    fn forget(&self, api_key_id: &ApiKeyId) {
        self.forget_all(std::slice::from_ref(api_key_id));
    }

    /// Forgets callers whose keys were revoked.
    pub(crate) fn forget_all(&self, api_key_ids: &[ApiKeyId]) {
        self.forget_if(|caller| api_key_ids.contains(&caller.api_key_id));
    }

    fn forget_if(&self, is_gone: impl Fn(&ApiCaller) -> bool) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, seen| !is_gone(&seen.caller));
        }
    }
}

fn checked_name(name: &str) -> std::result::Result<String, Denial> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Denial::invalid(
            "name",
            "Not 1 to 80 characters that can be shown",
            "Name it after where it is used.",
        ));
    }
    Ok(name.to_owned())
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// `tb_…` and the last four characters.
fn hint(secret: &str) -> String {
    format!("{PREFIX}…{}", secret.get(secret.len().saturating_sub(4)..).unwrap_or_default())
}
