//! Owns: connecting an own key of OpenRouter by its sign-in (OAuth with PKCE, S256) in place of pasting one.
//! Does not own: checking and storing the key: that is `save`'s, as if it had been pasted.
//! Invariant: one way there and back belongs to one browser's session, one user and one account, and is used once; the verifier
//! is sealed while it waits, stands in no address, and is erased when it is used. Whatever goes wrong, nothing is saved.
//! Source: openrouter.ai/docs/oauth.

use super::{MOST_KEYS, NewKey, check, list, save};
use crate::account::{Permission, User};
use crate::error::{Error, Result};
use crate::session::{self, Session};
use crate::vault::{Owner, Sealed};
use crate::{Server, on_read, on_tx};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::denial::Denial;
use domain::id::{AccountId, KeyConnectionId, UserId};
use domain::provider::Provider;
use domain::time::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Where OpenRouter sends the browser back to; the state follows. In the path, because what becomes of a query there is not
/// documented.
const CALLBACK: &str = "/keys/openrouter";
/// How long somebody may stay there.
const OPEN_SECONDS: i64 = 600;
/// What was used or has expired is kept so long, to say which of the two.
const KEPT_SECONDS: i64 = 86_400;
const LONGEST: Duration = Duration::from_secs(10);
const LONGEST_CODE: usize = 1_024;

domain::text_enum! {
    /// Why a connection came to nothing.
    NotConnected {
        /// They said no at OpenRouter.
        Declined = "declined",
        /// It was begun elsewhere: in another browser, by another user, for another account; or nowhere.
        Stranger = "stranger",
        Used = "used",
        Expired = "expired",
        /// OpenRouter does not take the code.
        CodeRefused = "code_refused",
        Unreachable = "unreachable",
        /// The key that it gave cannot be used.
        KeyRefused = "key_refused",
    }
}

impl NotConnected {
    /// What happened, what is safe, and what to do.
    pub const fn words(self) -> &'static str {
        match self {
            NotConnected::Declined => {
                "OpenRouter was not connected, because that was declined there. Nothing was saved; connect again, or paste a key."
            }
            NotConnected::Stranger => {
                "This connection was not begun in this browser, or for another account than the one you look at. Nothing was saved. \
                 Connect again from here."
            }
            NotConnected::Used => {
                "This connection has been used already, and works once. If its key is not in the list, connect again."
            }
            NotConnected::Expired => {
                "The connection took more than ten minutes, so it has expired. Nothing was saved. Connect again."
            }
            NotConnected::CodeRefused => {
                "OpenRouter did not accept its own code, which is the case when it is too old or was used before. Nothing was saved. \
                 Connect again."
            }
            NotConnected::Unreachable => {
                "OpenRouter could not be reached to fetch the key. Nothing was saved. Connect again in a minute."
            }
            NotConnected::KeyRefused => {
                "OpenRouter gave a key that it refuses, or that runs no models. It was not saved; delete it at OpenRouter, and \
                 connect again or paste another."
            }
        }
    }
}

/// What came of a connection.
#[allow(clippy::large_enum_variant)] // Made once for a connection.
pub enum Connected {
    /// The key is stored, as after pasting it.
    Saved(super::KeySummary),
    Not(NotConnected),
}

/// What the browser brings back from OpenRouter.
#[derive(Clone, Copy)]
pub struct Returned<'a> {
    pub state: &'a str,
    /// `None` when access was declined there.
    pub code: Option<&'a str>,
}

/// Begins a connection for the account in this browser: the address of OpenRouter's page that asks for consent. Denials:
/// the user's role; as many keys as an account may have.
pub async fn begin(server: &Server, user: &User, session: &Session) -> Result<String> {
    user.require(Permission::ManageKeys)?;
    if i64::try_from(list(server, &user.account_id).await?.len()).unwrap_or(i64::MAX) >= MOST_KEYS {
        let problem = format!("This account has {MOST_KEYS} keys, the most it may have. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    let session_hash = session::row_id(session).ok_or(Denial::NotSignedIn)?;
    let id = KeyConnectionId::new(server.clock.new_id());
    let (state, verifier) = (server.clock.new_secret(), Zeroizing::new(server.clock.new_secret()));
    let sealed = server.vault.seal(Owner::Connection(&user.account_id, &id), &verifier)?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let callback = format!("{}{CALLBACK}/{state}", server.config.public_url);
    let address = Url::parse_with_params(
        &format!("{}/auth", base(server)),
        [("callback_url", callback.as_str()), ("code_challenge", &challenge), ("code_challenge_method", "S256")],
    )
    .map_err(|error| Error::internal("the address of OpenRouter", error))?;

    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into key_connection (key_connection_id, account_id, user_id, session_hash, state_hash, sealed, wrapped_key,
                                         master_version, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&id)
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(session_hash)
        .bind(hashed(&state))
        .bind(&sealed.sealed)
        .bind(&sealed.wrapped_key)
        .bind(sealed.master_version)
        .bind(now)
        .bind(now.plus_seconds(OPEN_SECONDS))
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    Ok(address.into())
}

/// Ends a connection: fetches the key with the code and saves it as if it had been pasted. Of two with one state, one gets to ask
/// OpenRouter. Denials: those of [`save`], but for the key itself, which is [`NotConnected::KeyRefused`].
pub async fn finish(server: &Server, user: &User, session: &Session, returned: Returned<'_>) -> Result<Connected> {
    user.require(Permission::ManageKeys)?;
    let verifier = match take(server, user, session, returned.state).await? {
        Ok(verifier) => verifier,
        Err(problem) => return Ok(Connected::Not(problem)),
    };
    let Some(code) = returned.code.filter(|code| !code.is_empty()) else {
        return Ok(Connected::Not(NotConnected::Declined));
    };
    let key = match exchange(server, code, &verifier).await {
        Ok(key) => key,
        Err(problem) => return Ok(Connected::Not(problem)),
    };
    let new = NewKey {
        provider: Provider::OpenRouter,
        secret: key.expose_secret(),
        url: "",
        label: "Connected at OpenRouter",
        replaces: None,
    };
    match save(server, user, new).await {
        Ok(saved) => Ok(Connected::Saved(saved)),
        Err(Error::Denied(Denial::Invalid { .. })) => Ok(Connected::Not(NotConnected::KeyRefused)),
        Err(error) => Err(error),
    }
}

/// Forgets connections a day after they could be used.
pub async fn forget_old(server: &Server) -> Result<()> {
    let before = server.clock.now().plus_seconds(-KEPT_SECONDS);
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from key_connection where expires_at < $1").bind(before).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}

#[derive(sqlx::FromRow)]
struct Row {
    key_connection_id: KeyConnectionId,
    account_id: AccountId,
    user_id: UserId,
    session_hash: String,
    sealed: Option<String>,
    wrapped_key: Option<String>,
    master_version: i64,
    expires_at: Timestamp,
}

/// Uses a connection up, and opens its verifier.
async fn take(
    server: &Server,
    user: &User,
    session: &Session,
    state: &str,
) -> Result<std::result::Result<SecretString, NotConnected>> {
    let row: Option<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select key_connection_id, account_id, user_id, session_hash, sealed, wrapped_key, master_version, expires_at
             from   key_connection
             where  state_hash = $1",
        )
        .bind(hashed(state))
        .fetch_optional(conn)
        .await
    })?;
    let session_hash = session::row_id(session);
    let is_theirs = |row: &Row| {
        row.account_id == user.account_id
            && row.user_id == user.user_id
            && session_hash.as_deref() == Some(row.session_hash.as_str())
    };
    let Some(row) = row.filter(is_theirs) else { return Ok(Err(NotConnected::Stranger)) };
    let (Some(sealed), Some(wrapped_key)) = (row.sealed, row.wrapped_key) else { return Ok(Err(NotConnected::Used)) };
    let now = server.clock.now();
    if row.expires_at <= now {
        return Ok(Err(NotConnected::Expired));
    }

    let mut tx = server.db.begin().await?;
    let taken = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update key_connection
             set    used_at = $1, sealed = null, wrapped_key = null
             where  key_connection_id = $2 and used_at is null",
        )
        .bind(now)
        .bind(&row.key_connection_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if taken == 0 {
        return Ok(Err(NotConnected::Used));
    }
    let sealed = Sealed { sealed, wrapped_key, master_version: row.master_version };
    let owner = Owner::Connection(&user.account_id, &row.key_connection_id);
    Ok(Ok(server.vault.unseal(owner, &sealed)?.into_secret()))
}

#[derive(Deserialize)]
struct Answer {
    key: String,
}

/// The key for a code. Nothing of the answer but the key is used or repeated.
async fn exchange(
    server: &Server,
    code: &str,
    verifier: &SecretString,
) -> std::result::Result<SecretString, NotConnected> {
    if code.len() > LONGEST_CODE {
        return Err(NotConnected::CodeRefused);
    }
    let body = json!({"code": code, "code_verifier": verifier.expose_secret(), "code_challenge_method": "S256"});
    let request = server.http.post(format!("{}/api/v1/auth/keys", base(server))).json(&body);
    let asked = timeout(LONGEST, async {
        let response = request.send().await.ok()?;
        let status = response.status();
        Some((status, Zeroizing::new(check::read(response).await?)))
    });
    let Ok(Some((status, body))) = asked.await else { return Err(NotConnected::Unreachable) };
    match status.as_u16() {
        200..=299 => serde_json::from_slice::<Answer>(&body)
            .map(|answer| SecretString::from(answer.key))
            .map_err(|_| NotConnected::Unreachable),
        400 | 401 | 403 | 404 | 409 | 410 | 422 => Err(NotConnected::CodeRefused),
        _ => Err(NotConnected::Unreachable),
    }
}

fn base(server: &Server) -> &str {
    server.config.key_urls.get(&Provider::OpenRouter).map_or("", String::as_str)
}

fn hashed(state: &str) -> String {
    hex::encode(Sha256::digest(state.as_bytes()))
}
