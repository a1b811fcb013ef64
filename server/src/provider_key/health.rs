//! Owns: what is noted of a key: by runs, and by free probes once a day; the notice when it gets into trouble; its days.
//! Does not own: what a signal means (`domain::key_health`), asking a provider (`check`).
//! Invariant: a signal counts for the secret it was about, not for one that replaced it; a key is probed by one node at a time.

use super::check::{Checked, check_key};
use super::choose::unsealed;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::notice::{self, Notice};
use crate::vault::Sealed;
use crate::{Server, on_read, on_tx, subscription};
use domain::id::{AccountId, ProviderKeyId};
use domain::key::KeyState;
use domain::key_health::{Heard, KeyHealth, Record};
use domain::money::Usd;
use domain::provider::Provider;
use domain::time::Timestamp;
use secrecy::ExposeSecret as _;

/// Keys that one sweep probes.
const BATCH: i64 = 20;
/// How long a node may take for a probe before another one may ask.
const PROBING_SECONDS: i64 = 600;
/// An end is announced this long before it.
const SOON_SECONDS: i64 = 7 * 86_400;

/// What an answer says about a key.
#[derive(Clone, Debug)]
pub struct Signal {
    pub from: Heard,
    pub state: KeyState,
    /// For the row of the key; `None` keeps what stands there while the state stays.
    pub problem: Option<String>,
    /// What a run cost at list price.
    pub cost: Option<Usd>,
}

#[derive(sqlx::FromRow)]
struct Row {
    account_id: AccountId,
    provider: String,
    label: String,
    state: String,
    problem: Option<String>,
    expires_at: Option<Timestamp>,
    health: String,
    health_since: Timestamp,
    failures: i64,
    successes: i64,
}

impl Row {
    fn record(&self) -> Result<Record> {
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Record {
            health: self.health.parse()?,
            since: self.health_since,
            failures: count(self.failures),
            successes: count(self.successes),
        })
    }
}

/// Notes a signal: the key's state and health, its day, when it is probed next, and a notice when it got into trouble.
pub async fn note(server: &Server, (id, key_version): (&ProviderKeyId, i64), signal: Signal) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let Some(row) = lock(&mut tx, id, key_version).await? else { return tx.rollback().await };
    let before = row.record()?;
    let after = before.on(now, row.expires_at).after(signal.state, signal.from, now);
    // A run that went well does not tell that a restricted key may do everything.
    let tells_no_rights =
        signal.state == KeyState::Valid && signal.cost.is_some() && row.state == KeyState::ValidRestricted.as_str();
    let state = if tells_no_rights { KeyState::ValidRestricted } else { signal.state };
    let is_new = row.state != state.as_str();
    let problem = if is_new || signal.problem.is_some() { signal.problem.clone() } else { row.problem.clone() };

    let used_at = (signal.from == Heard::Run && signal.cost.is_some()).then_some(now);
    let probe_at = after.probe_at(now, rand::random_range(0..=1_000));
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update provider_key
             set    state = $1, problem = $2, checked_at = $3, last_used_at = coalesce($4, last_used_at), health = $5,
                    health_since = $6, failures = $7, successes = $8, probe_at = $9
             where  provider_key_id = $10",
        )
        .bind(state.as_str())
        .bind(&problem)
        .bind(now)
        .bind(used_at)
        .bind(after.health.as_str())
        .bind(after.since)
        .bind(i64::from(after.failures))
        .bind(i64::from(after.successes))
        .bind(probe_at)
        .bind(id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    count_day(&mut tx, id, now, &signal).await?;
    tell(server, &mut tx, (id, key_version), (&row, before, after)).await?;
    if is_new || after.health != before.health {
        subscription::follow_keys(&mut tx, server, &row.account_id).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// The key's row, locked until the transaction ends; `None` if it was deleted or its secret replaced.
async fn lock(tx: &mut Tx, id: &ProviderKeyId, key_version: i64) -> Result<Option<Row>> {
    let sql = match tx {
        // A write transaction is alone there.
        Tx::Sqlite(_) => {
            "select account_id, provider, label, state, problem, expires_at, health, health_since, failures, successes
             from   provider_key
             where  provider_key_id = $1 and key_version = $2 and deleted_at is null"
        }
        Tx::Postgres(_) => {
            "select account_id, provider, label, state, problem, expires_at, health, health_since, failures, successes
             from   provider_key
             where  provider_key_id = $1 and key_version = $2 and deleted_at is null
             for update"
        }
    };
    Ok(on_tx!(tx, conn => sqlx::query_as(sql).bind(id).bind(key_version).fetch_optional(conn).await)?)
}

async fn count_day(tx: &mut Tx, id: &ProviderKeyId, now: Timestamp, signal: &Signal) -> Result<()> {
    let (good, limited, failed): (i64, i64, i64) = match signal.state {
        KeyState::Valid | KeyState::ValidRestricted => (1, 0, 0),
        KeyState::RateLimited => (0, 1, 0),
        KeyState::ValidNoCredit | KeyState::Invalid | KeyState::Unreachable | KeyState::RegionBlocked => (0, 0, 1),
    };
    Ok(on_tx!(tx, conn => {
        sqlx::query(
            "insert into provider_key_day (provider_key_id, day, good, limited, failed, runs, cost_nanos)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (provider_key_id, day) do update
             set    good = provider_key_day.good + excluded.good,
                    limited = provider_key_day.limited + excluded.limited,
                    failed = provider_key_day.failed + excluded.failed,
                    runs = provider_key_day.runs + excluded.runs,
                    cost_nanos = provider_key_day.cost_nanos + excluded.cost_nanos",
        )
        .bind(id)
        .bind(now.day())
        .bind(good)
        .bind(limited)
        .bind(failed)
        .bind(i64::from(signal.cost.is_some()))
        .bind(signal.cost.unwrap_or(Usd::ZERO))
        .execute(conn)
        .await
        .map(drop)
    })?)
}

/// Tells the account when a key got into trouble, and before its day comes; each once.
async fn tell(
    server: &Server,
    tx: &mut Tx,
    (id, key_version): (&ProviderKeyId, i64),
    (row, before, after): (&Row, Record, Record),
) -> Result<()> {
    let now = server.clock.now();
    let provider: Provider = row.provider.parse()?;
    let trouble = |problem: String| Notice::KeyTrouble { provider, label: row.label.clone(), problem };
    let sentence = match after.health {
        _ if after.health == before.health => None,
        KeyHealth::Healthy => None,
        KeyHealth::Limited => Some("Its provider slows it down again and again. Runs with it may be late or refused."),
        KeyHealth::NoCredit => Some(
            "Your account there has no credit left, or has reached its limit. Add credit there, or let Tokenbank pay.",
        ),
        KeyHealth::Failing => {
            Some("The provider refuses it, or cannot be reached with it. It is tried again by itself; or replace it.")
        }
        KeyHealth::Expired => Some("Its day has come, so nothing is run with it. Replace it, or set a later day."),
    };
    if let Some(sentence) = sentence {
        let dedupe = format!("key:{id}:{key_version}:{}:{}", after.health, after.since.seconds());
        notice::raise(tx, &server.clock, &row.account_id, &trouble(sentence.to_owned()), &dedupe).await?;
    }
    if let Some(expires_at) = row.expires_at.filter(|at| *at > now && *at <= now.plus_seconds(SOON_SECONDS)) {
        let problem = format!("It expires on {}. Replace it before, or set a later day.", expires_at.utc_day());
        let dedupe = format!("key:{id}:expires:{}", expires_at.seconds());
        notice::raise(tx, &server.clock, &row.account_id, &trouble(problem), &dedupe).await?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Due {
    provider_key_id: ProviderKeyId,
    account_id: AccountId,
    provider: String,
    base_url: Option<String>,
    sealed: String,
    wrapped_key: String,
    key_version: i64,
    master_version: i64,
}

/// Probes the keys that are due, with calls that cost nothing; how many. Runs on each node: a key is taken by one.
pub async fn probe_due(server: &Server) -> Result<usize> {
    let due = take_due(server).await?;
    let count = due.len();
    for key in due {
        let id = key.provider_key_id.clone();
        if let Err(error) = probe(server, key).await {
            tracing::error!(provider_key_id = %id, %error, "a key could not be probed");
        }
    }
    Ok(count)
}

async fn take_due(server: &Server) -> Result<Vec<Due>> {
    let now = server.clock.now();
    let until = now.plus_seconds(PROBING_SECONDS);
    match &server.db {
        Db::Sqlite { write, .. } => {
            sqlx::query_as(
                "update provider_key
                 set    probe_at = $1
                 where  provider_key_id in (
                            select provider_key_id
                            from   provider_key
                            where  deleted_at is null and enabled = 1
                                   and (probe_at <= $2 or (expires_at <= $2 and health <> 'expired'))
                            order  by probe_at
                            limit  $3
                        )
                 returning provider_key_id, account_id, provider, base_url, sealed, wrapped_key, key_version,
                           master_version",
            )
            .bind(until)
            .bind(now)
            .bind(BATCH)
            .fetch_all(write)
            .await
        }
        Db::Postgres(pool) => {
            sqlx::query_as(
                "update provider_key
                 set    probe_at = $1
                 where  provider_key_id in (
                            select provider_key_id
                            from   provider_key
                            where  deleted_at is null and enabled = 1
                                   and (probe_at <= $2 or (expires_at <= $2 and health <> 'expired'))
                            order  by probe_at
                            limit  $3
                            for update skip locked
                        )
                 returning provider_key_id, account_id, provider, base_url, sealed, wrapped_key, key_version,
                           master_version",
            )
            .bind(until)
            .bind(now)
            .bind(BATCH)
            .fetch_all(pool)
            .await
        }
    }
    .map_err(Error::from)
}

async fn probe(server: &Server, due: Due) -> Result<()> {
    let provider: Provider = due.provider.parse()?;
    let sealed = Sealed { sealed: due.sealed, wrapped_key: due.wrapped_key, master_version: due.master_version };
    let row = (&due.account_id, provider, &due.provider_key_id, due.key_version);
    let key = unsealed(server, row, &sealed)?.into_secret();
    let checked = match check_key(server, provider, key.expose_secret(), due.base_url.as_deref()).await {
        Ok(checked) => checked,
        // Its address is not asked any more, or it became a management key.
        Err(Error::Denied(denial)) => Checked { state: KeyState::Unreachable, problem: Some(denial.sentence()) },
        Err(error @ Error::Internal(_)) => return Err(error),
    };
    let tells_credit = match provider {
        Provider::DeepSeek | Provider::OpenRouter => Heard::Run,
        Provider::Anthropic
        | Provider::OpenAi
        | Provider::Google
        | Provider::Groq
        | Provider::Together
        | Provider::Ollama => Heard::Probe,
    };
    let signal = Signal { from: tells_credit, state: checked.state, problem: checked.problem, cost: None };
    note(server, (&due.provider_key_id, due.key_version), signal).await
}

/// A day of a key.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct KeyDay {
    pub provider_key_id: ProviderKeyId,
    /// Its beginning, in UTC.
    pub day: Timestamp,
    pub good: i64,
    pub limited: i64,
    pub failed: i64,
    pub runs: i64,
    /// At list price.
    #[sqlx(rename = "cost_nanos")]
    pub cost: Usd,
}

/// The last 30 days of the account's keys, as far as there was anything, the oldest first.
pub async fn list_days(server: &Server, account_id: &AccountId) -> Result<Vec<KeyDay>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select d.provider_key_id, d.day, d.good, d.limited, d.failed, d.runs, d.cost_nanos
             from   provider_key_day d
             join   provider_key k on k.provider_key_id = d.provider_key_id
             where  k.account_id = $1 and k.deleted_at is null and d.day > $2
             order  by d.day
             limit  1500",
        )
        .bind(account_id)
        .bind(server.clock.now().day().plus_seconds(-30 * 86_400))
        .fetch_all(conn)
        .await
    })?)
}
