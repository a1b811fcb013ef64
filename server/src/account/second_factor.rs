//! Owns: the second factor of a user: a key in an authenticator app, and recovery codes for when it is lost.
//! Does not own: the arithmetic of codes (`totp`), the session between the two steps (`session`).
//! Invariant: a code counts once, a recovery code too; recovery codes are kept as their SHA-256, the key sealed by the vault.

use super::settings::check_password;
use super::totp::{base32, from_base32, step_of};
use super::{User, load_user};
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::mail::{self, Mail};
use crate::vault::{Owner, Sealed};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::UserId;
use domain::time::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;

/// How many recovery codes there are at a time.
const CODES: usize = 10;
/// Letters of a recovery code: 80 bits.
const CODE_LETTERS: usize = 16;

/// How a user's second factor stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    Off,
    /// The key was made and waits for its first code. In Base32, for the app.
    Waiting {
        key: String,
    },
    On {
        recovery_codes_left: i64,
    },
}

#[derive(sqlx::FromRow)]
struct Row {
    confirmed_at: Option<Timestamp>,
    recovery_codes_left: i64,
}

/// The key as its row holds it.
#[derive(sqlx::FromRow)]
struct Kept {
    secret: String,
    wrapped_key: Option<String>,
    master_version: Option<i64>,
    confirmed_at: Option<Timestamp>,
}

impl Kept {
    /// Sealed, or `None` where the row is from before the vault and holds the key as it is.
    fn sealed(&self) -> Option<Sealed> {
        let (Some(wrapped_key), Some(master_version)) = (self.wrapped_key.clone(), self.master_version) else {
            return None;
        };
        Some(Sealed { sealed: self.secret.clone(), wrapped_key, master_version })
    }

    /// In Base32.
    fn open(&self, server: &Server, user_id: &UserId) -> Result<SecretString> {
        match self.sealed() {
            Some(sealed) => Ok(server.vault.unseal(Owner::SecondFactor(user_id), &sealed)?.into_secret()),
            None => Ok(SecretString::from(self.secret.clone())),
        }
    }
}

async fn load_kept(server: &Server, user_id: &UserId) -> Result<Option<Kept>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select secret, wrapped_key, master_version, confirmed_at from second_factor where user_id = $1",
        )
        .bind(user_id)
        .fetch_optional(conn)
        .await
    })?)
}

/// Seals a key that is kept as it is, or wraps a sealed one under the newest master key; how many rows changed.
pub(crate) async fn reseal_second_factor(server: &Server, user_id: &UserId) -> Result<u64> {
    let Some(kept) = load_kept(server, user_id).await? else { return Ok(0) };
    let owner = Owner::SecondFactor(user_id);
    let new = match kept.sealed() {
        Some(sealed) if sealed.master_version == server.vault.newest()? => return Ok(0),
        Some(sealed) => server.vault.rewrap(owner, &sealed)?,
        None => server.vault.seal(owner, &kept.secret)?,
    };
    let mut tx = server.db.begin().await?;
    // A key that was made anew meanwhile is left as it is.
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update second_factor
             set    secret = $1, wrapped_key = $2, master_version = $3
             where  user_id = $4 and secret = $5 and coalesce(master_version, 0) = $6",
        )
        .bind(&new.sealed)
        .bind(&new.wrapped_key)
        .bind(new.master_version)
        .bind(user_id)
        .bind(&kept.secret)
        .bind(kept.master_version.unwrap_or(0))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(changed)
}

/// How the user's second factor stands.
pub async fn load_second_factor(server: &Server, user_id: &UserId) -> Result<SecondFactor> {
    let row: Option<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select confirmed_at,
                    (select count(*) from recovery_code c where c.user_id = $1 and c.used_at is null)
                    as recovery_codes_left
             from   second_factor
             where  user_id = $1",
        )
        .bind(user_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(match row {
        None => SecondFactor::Off,
        Some(Row { confirmed_at: None, .. }) => match load_kept(server, user_id).await? {
            Some(kept) => SecondFactor::Waiting { key: kept.open(server, user_id)?.expose_secret().to_owned() },
            None => SecondFactor::Off,
        },
        Some(Row { recovery_codes_left, .. }) => SecondFactor::On { recovery_codes_left },
    })
}

/// Makes a new key, which counts from its first code. Needs the password. Denied with `Conflict` when there is one already.
pub async fn begin_second_factor(server: &Server, user: &User, password: &SecretString, ip: IpAddr) -> Result<()> {
    check_password(server, user, password, ip).await?;
    let key = SecretString::from(base32(&server.clock.random_bytes::<20>()));
    let sealed = server.vault.seal(Owner::SecondFactor(&user.user_id), key.expose_secret())?;
    let mut tx = server.db.begin().await?;
    let made = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into second_factor (user_id, secret, wrapped_key, master_version, last_step, created_at)
             values ($1, $2, $3, $4, 0, $5)
             on conflict (user_id) do update
             set    secret = excluded.secret, wrapped_key = excluded.wrapped_key,
                    master_version = excluded.master_version, created_at = excluded.created_at
             where  second_factor.confirmed_at is null",
        )
        .bind(&user.user_id)
        .bind(&sealed.sealed)
        .bind(&sealed.wrapped_key)
        .bind(sealed.master_version)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if made == 0 { Err(conflict("Your second factor is on already.").into()) } else { Ok(()) }
}

/// Turns the second factor on by the first code of the app; the recovery codes, shown here and never again.
pub async fn confirm_second_factor(server: &Server, user: &User, code: &str) -> Result<Vec<String>> {
    server.limits.check_code(&user.user_id)?;
    let now = server.clock.now();
    let kept = load_kept(server, &user.user_id).await?.filter(|kept| kept.confirmed_at.is_none());
    let kept = kept.ok_or_else(|| conflict("There is no key that waits for its first code. Begin again."))?;
    let key = secret_of(&kept.open(server, &user.user_id)?)?;
    let step = step_of(&key, digits(code).as_str(), now)?.ok_or_else(wrong_code)?;
    let mut tx = server.db.begin().await?;
    let turned_on = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update second_factor set confirmed_at = $2, last_step = $3
             where  user_id = $1 and confirmed_at is null and secret = $4",
        )
        .bind(&user.user_id)
        .bind(now)
        .bind(step)
        .bind(&kept.secret)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if turned_on == 0 {
        return Err(conflict("Your second factor is on already.").into());
    }
    let codes = replace_codes(&mut tx, &server.clock, &user.user_id).await?;
    let changed = Mail::SecondFactorChanged { user_id: user.user_id.clone(), is_on: true };
    mail::send_later(&mut tx, &server.clock, changed).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(user_id = %user.user_id, "a second factor was turned on");
    Ok(codes)
}

/// New recovery codes instead of the ones before. Needs a code.
pub async fn renew_recovery_codes(server: &Server, user: &User, code: &str) -> Result<Vec<String>> {
    check_second_factor(server, &user.user_id, code).await?;
    let mut tx = server.db.begin().await?;
    let codes = replace_codes(&mut tx, &server.clock, &user.user_id).await?;
    tx.commit().await?;
    Ok(codes)
}

/// Turns the second factor off. Needs the password and a code.
pub async fn end_second_factor(
    server: &Server,
    user: &User,
    (password, code): (&SecretString, &str),
    ip: IpAddr,
) -> Result<()> {
    check_password(server, user, password, ip).await?;
    check_second_factor(server, &user.user_id, code).await?;
    let mut tx = server.db.begin().await?;
    forget(&mut tx, &user.user_id).await?;
    let changed = Mail::SecondFactorChanged { user_id: user.user_id.clone(), is_on: false };
    mail::send_later(&mut tx, &server.clock, changed).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(user_id = %user.user_id, "a second factor was turned off");
    Ok(())
}

/// Uses a code of the app, or a recovery code. Of many at once with the same code, one succeeds. Denied with `Invalid`, or
/// `TooManyAttempts`.
pub async fn check_second_factor(server: &Server, user_id: &UserId, code: &str) -> Result<()> {
    server.limits.check_code(user_id)?;
    let now = server.clock.now();
    let kept = load_kept(server, user_id).await?.filter(|kept| kept.confirmed_at.is_some()).ok_or_else(wrong_code)?;
    let step = step_of(&secret_of(&kept.open(server, user_id)?)?, digits(code).as_str(), now)?;

    let mut tx = server.db.begin().await?;
    let used = match step {
        Some(step) => on_tx!(&mut tx, conn => {
            sqlx::query("update second_factor set last_step = $2 where user_id = $1 and last_step < $2")
                .bind(user_id)
                .bind(step)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })?,
        None => on_tx!(&mut tx, conn => {
            sqlx::query("update recovery_code set used_at = $3 where user_id = $1 and code_hash = $2 and used_at is null")
                .bind(user_id)
                .bind(hashed(code))
                .bind(now)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })?,
    };
    tx.commit().await?;
    if used == 0 {
        return Err(wrong_code().into());
    }
    if kept.sealed().is_none() {
        // From before the vault. Whoever signs in does not wait for it to succeed: `vault rotate` comes by as well.
        if let Err(error) = reseal_second_factor(server, user_id).await {
            tracing::error!(%user_id, %error, "seal the key of a second factor");
        }
    }
    Ok(())
}

/// The second step of signing in: the user, if the code is right. The caller starts the session.
pub async fn sign_in_second(server: &Server, user_id: &UserId, code: &str) -> Result<User> {
    check_second_factor(server, user_id, code).await?;
    tracing::info!(%user_id, "signed in with a second factor");
    Ok(load_user(server, user_id).await?.ok_or(Denial::WrongCredentials)?)
}

/// Removes key and codes, within the caller's transaction.
pub(super) async fn forget(tx: &mut Tx, user_id: &UserId) -> Result<()> {
    for statement in ["delete from recovery_code where user_id = $1", "delete from second_factor where user_id = $1"] {
        on_tx!(&mut *tx, conn => sqlx::query(statement).bind(user_id).execute(conn).await.map(drop))?;
    }
    Ok(())
}

async fn replace_codes(tx: &mut Tx, clock: &Clock, user_id: &UserId) -> Result<Vec<String>> {
    on_tx!(&mut *tx, conn => {
        sqlx::query("delete from recovery_code where user_id = $1").bind(user_id).execute(conn).await.map(drop)
    })?;
    let mut codes = Vec::new();
    for _ in 0..CODES {
        let letters = base32(&clock.random_bytes::<{ CODE_LETTERS * 5 / 8 }>()).to_lowercase();
        let code = [0, 4, 8, 12].map(|at| letters.get(at..at + 4).unwrap_or_default()).join("-");
        on_tx!(&mut *tx, conn => {
            sqlx::query("insert into recovery_code (user_id, code_hash) values ($1, $2)")
                .bind(user_id)
                .bind(hashed(&code))
                .execute(conn)
                .await
                .map(drop)
        })?;
        codes.push(code);
    }
    Ok(codes)
}

/// As typed: spaces and dashes aside.
fn digits(code: &str) -> String {
    code.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect()
}

fn hashed(code: &str) -> String {
    hex::encode(Sha256::digest(digits(code).to_lowercase().as_bytes()))
}

fn secret_of(key: &SecretString) -> Result<Vec<u8>> {
    from_base32(key.expose_secret()).ok_or_else(|| Error::Internal("second_factor.secret is no Base32".to_owned()))
}

fn wrong_code() -> Denial {
    Denial::invalid("code", "Not a code that counts now", "Type the newest of your app, or an unused recovery code.")
}

fn conflict(problem: &str) -> Denial {
    Denial::Conflict { problem: problem.to_owned() }
}
