//! Owns: requests of the API that may be sent again: the same `Idempotency-Key` with the same body is the same run, whose
//! answer is given again; with another body it is refused.
//! Does not own: running (`execution`), or the ids of forms, which serve the same end on pages.
//! Invariant: a key of an account names one run for a day. The run's hold decides who makes it, so two requests at once,
//! or one after a crash, are still one run and one charge.

use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ExecutionId};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How long a key counts.
const KEPT_SECONDS: i64 = 86_400;
/// The longest key, as at Stripe.
const LONGEST_KEY: usize = 255;
/// Longer answers are not kept; their run is pointed at.
const LONGEST_ANSWER: usize = 1 << 20;

/// A key that a client chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Reads the header's value. Denied with `Invalid`.
    pub fn parse(text: &str) -> Result<Key, Denial> {
        let well_formed = (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if well_formed {
            return Ok(Key(text.to_owned()));
        }
        let problem = format!("has to be 1 to {LONGEST_KEY} visible characters without spaces");
        Err(Denial::invalid("Idempotency-Key", problem, "Send a new UUID for each request that is to run once."))
    }
}

/// What a request with a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The first of its kind: it becomes this run.
    New(ExecutionId),
    /// The same again, and nothing is known of its run yet: it may be carried out under the same id.
    Again(ExecutionId),
    /// The same again, and its run has begun or ended.
    Began(ExecutionId),
    /// The same again, with what was answered.
    Answered(Stored),
}

/// An answer that is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub execution_id: ExecutionId,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
struct Row {
    request_hash: String,
    execution_id: ExecutionId,
    status: Option<i64>,
    headers: Option<String>,
    body: Option<String>,
}

/// What is asked, and by which agent of the account, if by one.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub path: &'a str,
    pub agent: Option<&'a AgentId>,
    pub body: &'a [u8],
}

/// What this request is to the account. Denied with `IdempotencyMismatch` when the key was used with another body, or by
/// another agent.
pub async fn claim(server: &Server, account_id: &AccountId, key: &Key, request: Request<'_>) -> Result<Claim> {
    let request_hash = request.hash();
    let new = ExecutionId::new(server.clock.new_id());
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let (inserted, row): (u64, Option<Row>) = on_tx!(&mut tx, conn => {
        sqlx::query("delete from idempotent_request where account_id = $1 and idempotency_key = $2 and created_at <= $3")
            .bind(account_id)
            .bind(&key.0)
            .bind(now.plus_seconds(-KEPT_SECONDS))
            .execute(&mut *conn)
            .await?;
        let inserted = sqlx::query(
            "insert into idempotent_request (account_id, idempotency_key, request_hash, execution_id, created_at)
             values ($1, $2, $3, $4, $5)
             on conflict (account_id, idempotency_key) do nothing",
        )
        .bind(account_id)
        .bind(&key.0)
        .bind(&request_hash)
        .bind(&new)
        .bind(now)
        .execute(&mut *conn)
        .await?
        .rows_affected();
        sqlx::query_as(
            "select request_hash, execution_id, status, headers, body
             from   idempotent_request
             where  account_id = $1 and idempotency_key = $2",
        )
        .bind(account_id)
        .bind(&key.0)
        .fetch_optional(conn)
        .await
        .map(|row| (inserted, row))
    })?;
    tx.commit().await?;
    match row {
        Some(_) if inserted == 1 => Ok(Claim::New(new)),
        Some(row) if row.request_hash != request_hash => Err(Denial::IdempotencyMismatch.into()),
        Some(row) => known(server, row).await,
        // Released by its first request just now.
        None => Err(Denial::Conflict {
            problem: "The first request with this key has just ended. Send it again.".to_owned(),
        }
        .into()),
    }
}

/// What is known of a run that was asked for before.
async fn known(server: &Server, row: Row) -> Result<Claim> {
    let Row { execution_id, status, headers, body, .. } = row;
    if let (Some(status), Some(headers), Some(body)) = (status, headers, body) {
        let status = u16::try_from(status).unwrap_or(200);
        return Ok(Claim::Answered(Stored { execution_id, status, headers: serde_json::from_str(&headers)?, body }));
    }
    let holds: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar("select count(*) from hold where execution_id = $1").bind(&execution_id).fetch_one(conn).await
    })?;
    Ok(if holds > 0 { Claim::Began(execution_id) } else { Claim::Again(execution_id) })
}

/// Keeps an answer, so that it can be given again. One that is too long is not kept.
pub async fn keep(server: &Server, account_id: &AccountId, key: &Key, stored: &Stored) -> Result<()> {
    if stored.body.len() > LONGEST_ANSWER {
        return Ok(());
    }
    let headers = serde_json::to_string(&stored.headers)?;
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update idempotent_request
             set    status = $1, headers = $2, body = $3
             where  account_id = $4 and idempotency_key = $5 and execution_id = $6",
        )
        .bind(i64::from(stored.status))
        .bind(headers)
        .bind(stored.body.replace('\0', "\u{FFFD}"))
        .bind(account_id)
        .bind(&key.0)
        .bind(&stored.execution_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Frees the key of a request that was refused and charged nothing, so that sending it again tries again.
pub async fn release(server: &Server, account_id: &AccountId, key: &Key, execution_id: &ExecutionId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "delete from idempotent_request where account_id = $1 and idempotency_key = $2 and execution_id = $3",
        )
        .bind(account_id)
        .bind(&key.0)
        .bind(execution_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Forgets keys and answers that are older than a day.
pub async fn sweep(server: &Server) -> Result<()> {
    let before: Timestamp = server.clock.now().plus_seconds(-KEPT_SECONDS);
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from idempotent_request where created_at <= $1").bind(before).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}

impl Request<'_> {
    fn hash(self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.path.as_bytes());
        digest.update([0]);
        if let Some(agent) = self.agent {
            digest.update(agent.as_str().as_bytes());
            digest.update([0]);
        }
        digest.update(self.body);
        hex::encode(digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_text_of_some_length() {
        for good in ["a", "order-17", "0190-uuid", &"x".repeat(255)] {
            assert!(Key::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "two words", "tab\t", "ü", &"x".repeat(256)] {
            assert_eq!(Key::parse(bad).unwrap_err().code(), "invalid", "{bad}");
        }
    }

    #[test]
    fn path_agent_and_body_make_the_request() {
        let (one, two) = (AgentId::new("one".to_owned()), AgentId::new("two".to_owned()));
        let hash = |path, agent, body: &str| Request { path, agent, body: body.as_bytes() }.hash();
        assert_eq!(hash("/a", Some(&one), "x"), hash("/a", Some(&one), "x"));
        assert_ne!(hash("/a", None, "x"), hash("/b", None, "x"));
        assert_ne!(hash("/a", None, "x"), hash("/a", None, "y"));
        assert_ne!(hash("/a", None, "bx"), hash("/ab", None, "x"));
        assert_ne!(hash("/a", None, "x"), hash("/a", Some(&one), "x"));
        assert_ne!(hash("/a", Some(&one), "x"), hash("/a", Some(&two), "x"));
    }
}
