//! Owns: the sessions of a user as they see them: which browser, since when, and ending one.

use super::{SEEN, STARTED, Session, hashed};
use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::UserId;
use domain::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

const BROWSER: &str = "browser";
/// Sessions a list shows, the newest.
const LIST: i64 = 100;

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Names the row; not the id in the cookie, which cannot be told from it.
    pub session_id: String,
    /// Such as `Firefox on Linux`.
    pub browser: String,
    pub started_at: Timestamp,
    /// To the hour.
    pub seen_at: Timestamp,
    /// The browser that asks.
    pub is_current: bool,
}

/// Keeps what the browser calls itself, in a few words. Call it after signing in.
pub async fn note_browser(session: &Session, user_agent: &str) -> Result<()> {
    Ok(session.insert(BROWSER, browser_name(user_agent)).await?)
}

/// Where the user is signed in, this browser first, then the last seen.
pub async fn list(server: &Server, session: &Session, user_id: &UserId) -> Result<Vec<SignedIn>> {
    let rows: Vec<(String, String)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select session_id, state
             from   session
             where  user_id = $1 and expires_at > $2
             order  by expires_at desc
             limit  $3",
        )
        .bind(user_id)
        .bind(server.clock.now())
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?;
    let current = session.id().map(|id| hashed(&id));
    let mut sessions = Vec::new();
    for (session_id, state) in rows {
        let state: HashMap<String, Value> = serde_json::from_str(&state)?;
        let moment = |key: &str| Timestamp::from_micros(state.get(key).and_then(Value::as_i64).unwrap_or_default());
        let browser = state.get(BROWSER).and_then(Value::as_str).unwrap_or("A browser").to_owned();
        let is_current = current.as_deref() == Some(session_id.as_str());
        sessions.push(SignedIn { browser, started_at: moment(STARTED), seen_at: moment(SEEN), is_current, session_id });
    }
    sessions.sort_by_key(|session| (!session.is_current, std::cmp::Reverse(session.seen_at)));
    Ok(sessions)
}

/// Signs one of the user's browsers out. Denied with `NotFound` when it is signed out already, or not theirs.
pub async fn end_one(server: &Server, user_id: &UserId, session_id: &str) -> Result<()> {
    let mut tx = server.db.begin().await?;
    let ended = on_tx!(&mut tx, conn => {
        sqlx::query("delete from session where session_id = $1 and user_id = $2")
            .bind(session_id)
            .bind(user_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if ended == 0 { Err(Denial::NotFound { what: "open session of yours".to_owned() }.into()) } else { Ok(()) }
}

/// Signs every other browser of the user out.
pub async fn end_others(server: &Server, session: &Session, user_id: &UserId) -> Result<()> {
    let current = session.id().map(|id| hashed(&id)).unwrap_or_default();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from session where user_id = $1 and session_id <> $2")
            .bind(user_id)
            .bind(current)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}

/// A few words a person recognises; nothing of what was sent is kept as it came.
fn browser_name(user_agent: &str) -> &'static str {
    let has = |part: &str| user_agent.contains(part);
    let is_phone = has("Android") || has("iPhone") || has("iPad");
    match () {
        () if has("Firefox/") && is_phone => "Firefox on a phone",
        () if has("Firefox/") && has("Windows") => "Firefox on Windows",
        () if has("Firefox/") && has("Mac OS") => "Firefox on a Mac",
        () if has("Firefox/") => "Firefox on Linux",
        () if has("Edg/") => "Edge",
        () if has("Chrome/") && is_phone => "Chrome on a phone",
        () if has("Chrome/") && has("Windows") => "Chrome on Windows",
        () if has("Chrome/") && has("Mac OS") => "Chrome on a Mac",
        () if has("Chrome/") => "Chrome on Linux",
        () if has("Safari/") && is_phone => "Safari on a phone",
        () if has("Safari/") => "Safari on a Mac",
        () => "A browser",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_in_a_few_words() {
        let linux = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1";
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36";
        assert_eq!(browser_name(linux), "Firefox on Linux");
        assert_eq!(browser_name(phone), "Safari on a phone");
        assert_eq!(browser_name(windows), "Chrome on Windows");
        assert_eq!(browser_name("<script>"), "A browser");
    }
}
