//! Owns: browser sessions: the cookie, the `session` table, sign-in and sign-out of a browser, idle and absolute end.
//! Does not own: who may sign in (`account`).
//! Invariant: the id in the cookie is never stored, only its SHA-256; the id changes at sign-in; a session that was
//! ended is not written again by a request still under way.

mod list;

pub use list::{SignedIn, end_one, end_others, list, note_browser};

use crate::account::User;
use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::{Server, account, on_read, on_tx};
use async_trait::async_trait;
use domain::id::{AccountId, UserId};
use domain::time::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
pub use tower_sessions::Session;
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, SessionStore};
use tower_sessions::{Expiry, SessionManagerLayer};

/// A session ends when nobody came for so long.
const IDLE_SECONDS: i64 = 14 * 86_400;
/// A session ends so long after its start, whatever happens.
const ABSOLUTE_SECONDS: i64 = 30 * 86_400;
/// How exactly the last visit is kept: a session is written at most once in so long only for being used.
const SEEN_SECONDS: i64 = 3_600;

/// How long the second step of signing in may follow the first.
const AWAITED_SECONDS: i64 = 600;

const USER: &str = "user_id";
const ACCOUNT: &str = "account_id";
const AWAITED: &str = "awaited";
const STARTED: &str = "started_at";
const SEEN: &str = "seen_at";

/// The layer that gives each request its [`Session`]. On https the cookie is `__Host-tokenbank` and Secure; on plain
/// http, which only loopback has, `tokenbank`. Always HttpOnly and SameSite=Lax.
pub fn layer(server: &Server) -> SessionManagerLayer<Store> {
    let https = server.config.public_url.starts_with("https://");
    SessionManagerLayer::new(Store::new(server))
        .with_name(if https { "__Host-tokenbank" } else { "tokenbank" })
        .with_secure(https)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(time::Duration::seconds(IDLE_SECONDS)))
}

/// Signs this browser in: a new session id and nothing of what the old one held, so that an id planted before is
/// worth nothing.
pub async fn start(session: &Session, user: &User) -> Result<()> {
    end(session).await?;
    session.insert(USER, &user.user_id).await?;
    session.insert(ACCOUNT, &user.account_id).await?;
    Ok(())
}

/// Looks at another account in this browser from now on. Whether the user is a member of it is asked at each request.
pub async fn choose_account(session: &Session, account_id: &AccountId) -> Result<()> {
    session.insert(ACCOUNT, account_id).await?;
    rotate(session).await
}

/// Remembers whose password was right in this browser, for the second step of signing in. Nobody is signed in by it.
pub async fn await_second(server: &Server, session: &Session, user: &User) -> Result<()> {
    end(session).await?;
    session.insert(AWAITED, (&user.user_id, server.clock.now())).await?;
    Ok(())
}

/// Who has still to give their second factor in this browser, if the first step was not long ago.
pub async fn load_awaited(server: &Server, session: &Session) -> Result<Option<UserId>> {
    let awaited = session.get::<(UserId, Timestamp)>(AWAITED).await?;
    let now = server.clock.now();
    Ok(awaited.filter(|(_, since)| now < since.plus_seconds(AWAITED_SECONDS)).map(|(user_id, _)| user_id))
}

/// Names this browser's session in rows that belong to it alone; not the id in the cookie, which cannot be told from it.
/// `None` before the session was first stored.
pub fn row_id(session: &Session) -> Option<String> {
    session.id().map(|id| hashed(&id))
}

/// Gives the session a new id and keeps what it holds. Call it when the user's rights change.
pub async fn rotate(session: &Session) -> Result<()> {
    Ok(session.cycle_id().await?)
}

/// Signs this browser out.
pub async fn end(session: &Session) -> Result<()> {
    if session.id().is_some() {
        session.flush().await?;
    }
    Ok(())
}

/// Who is signed in with this browser, if anybody, in the account it looks at: membership and role are read now, so what
/// was taken away is gone at once. Notes the visit, which keeps an idle session alive.
pub async fn load_signed_in(server: &Server, session: &Session) -> Result<Option<User>> {
    let Some(user_id) = session.get::<UserId>(USER).await? else { return Ok(None) };
    let chosen = session.get::<AccountId>(ACCOUNT).await?;
    let Some(user) = account::load_user_in(server, &user_id, chosen.as_ref()).await? else { return Ok(None) };

    let now = server.clock.now();
    let seen = session.get::<Timestamp>(SEEN).await?.unwrap_or_default();
    if seen.plus_seconds(SEEN_SECONDS) <= now {
        session.insert(SEEN, now).await?;
    }
    Ok(Some(user))
}

/// Signs the user out everywhere.
pub async fn end_all(server: &Server, user_id: &UserId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    delete_all(&mut tx, user_id).await?;
    tx.commit().await
}

/// Ends every session of the user, within the caller's transaction.
pub async fn delete_all(tx: &mut Tx, user_id: &UserId) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query("delete from session where user_id = $1").bind(user_id).execute(conn).await.map(drop)
    })?;
    Ok(())
}

/// Forgets sessions that ended by time. They are refused before that too.
pub async fn sweep_expired(server: &Server) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from session where expires_at <= $1").bind(now).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}

/// The `session` table as `tower-sessions` wants it.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Clock,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session::Store")
    }
}

/// A session as its row keeps it.
struct Row {
    session_id: String,
    user_id: Option<String>,
    state: String,
    expires_at: Timestamp,
}

impl Store {
    pub fn new(server: &Server) -> Store {
        Store { db: server.db.clone(), clock: server.clock.clone() }
    }

    /// Always under a new id: the record may still carry the one the browser sent, which somebody may have planted.
    async fn insert(&self, record: &mut Record) -> Result<()> {
        let now = self.clock.now();
        record.id = Id::default();
        record.data.entry(STARTED.to_owned()).or_insert_with(|| Value::from(now.micros()));
        record.data.insert(SEEN.to_owned(), Value::from(now.micros()));
        let row = row_of(record, now)?;
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into session (session_id, user_id, state, expires_at)
                 values ($1, $2, $3, $4)",
            )
            .bind(row.session_id)
            .bind(row.user_id)
            .bind(row.state)
            .bind(row.expires_at)
            .execute(conn)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    /// Only a row that is still there: the session may have been ended elsewhere since it was read.
    async fn update(&self, record: &Record) -> Result<()> {
        let now = self.clock.now();
        let row = row_of(record, now)?;
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "update session
                 set    user_id = $1, state = $2, expires_at = $3
                 where  session_id = $4 and expires_at > $5",
            )
            .bind(row.user_id)
            .bind(row.state)
            .bind(row.expires_at)
            .bind(row.session_id)
            .bind(now)
            .execute(conn)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    async fn find(&self, id: &Id) -> Result<Option<Record>> {
        let row: Option<(String, Timestamp)> = on_read!(&self.db, conn => {
            sqlx::query_as(
                "select state, expires_at
                 from   session
                 where  session_id = $1 and expires_at > $2",
            )
            .bind(hashed(id))
            .bind(self.clock.now())
            .fetch_optional(conn)
            .await
        })?;
        let Some((state, expires_at)) = row else { return Ok(None) };
        let data: HashMap<String, Value> = serde_json::from_str(&state)?;
        let expiry_date = time::OffsetDateTime::from_unix_timestamp(expires_at.seconds())
            .map_err(|error| Error::internal("session.expires_at", error))?;
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn remove(&self, id: &Id) -> Result<()> {
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query("delete from session where session_id = $1").bind(hashed(id)).execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        self.insert(record).await.map_err(backend)
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.update(record).await.map_err(backend)
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.find(id).await.map_err(backend)
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.remove(id).await.map_err(backend)
    }
}

fn backend(error: Error) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

/// The end is our own clock's: idle from now, and never later than the absolute end from the start.
fn row_of(record: &Record, now: Timestamp) -> Result<Row> {
    let started = record.data.get(STARTED).and_then(Value::as_i64).map_or(now, Timestamp::from_micros);
    Ok(Row {
        session_id: hashed(&record.id),
        user_id: record.data.get(USER).and_then(Value::as_str).map(str::to_owned),
        state: serde_json::to_string(&record.data)?,
        expires_at: now.plus_seconds(IDLE_SECONDS).min(started.plus_seconds(ABSOLUTE_SECONDS)),
    })
}

fn hashed(id: &Id) -> String {
    hex::encode(Sha256::digest(id.0.to_le_bytes()))
}

impl From<tower_sessions::session::Error> for Error {
    fn from(error: tower_sessions::session::Error) -> Error {
        Error::internal("session", error)
    }
}
