//! Owns: what a user changes about the account and about their own sign-in.
//! Invariant: a new password or e-mail needs the present password, and is attempted as rarely as signing in.

use super::sign_up::{checked_name, time_zone};
use super::{Email, Permission, User, load_user_id};
use crate::error::{Error, Result};
use crate::mail::{self, Mail};
use crate::password::{Password, PasswordHash};
use crate::{Server, db, on_read, on_tx, session};
use domain::denial::Denial;
use domain::id::EmailChangeId;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;

/// How long the link to a new e-mail works.
const LIFETIME_SECONDS: i64 = 24 * 3_600;

/// Gives the account another name and time zone. Denials: `RoleMayNot`, `Invalid`.
pub async fn change_account(server: &Server, user: &User, name: &str, zone: &str) -> Result<()> {
    user.require(Permission::ManageAccount)?;
    let (name, zone) = (checked_name(name)?, time_zone(zone)?);
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update account set name = $2, time_zone = $3 where account_id = $1 and deleted_at is null")
            .bind(&user.account_id)
            .bind(name)
            .bind(zone)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}

/// Whether this is the user's password; denied with `Invalid` if not, and counted as an attempt to sign in.
pub(crate) async fn check_password(server: &Server, user: &User, password: &SecretString, ip: IpAddr) -> Result<()> {
    server.limits.check_sign_in(&Email::parse(&user.email)?, ip)?;
    let hash: Option<PasswordHash> = on_read!(&server.db, conn => {
        sqlx::query_scalar(r#"select password_hash from "user" where user_id = $1"#)
            .bind(&user.user_id)
            .fetch_optional(conn)
            .await
    })?;
    if server.passwords.verify(password, hash).await? {
        return Ok(());
    }
    Err(Denial::invalid("current_password", "Not your password", "Type it again.").into())
}

/// Sets a new password and ends every session of the user; the caller starts this browser's again.
pub async fn change_password(
    server: &Server,
    user: &User,
    (current, new): (&SecretString, &SecretString),
    ip: IpAddr,
) -> Result<()> {
    let password = Password::check(new, &Email::parse(&user.email)?)?;
    check_password(server, user, current, ip).await?;
    let hash = server.passwords.hash(&server.clock, password).await?;
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(r#"update "user" set password_hash = $1 where user_id = $2"#)
            .bind(&hash)
            .bind(&user.user_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    session::delete_all(&mut tx, &user.user_id).await?;
    tx.commit().await?;
    tracing::info!(user_id = %user.user_id, "a password was changed");
    Ok(())
}

/// Sends a link to a new e-mail; it counts from when the link is used. The answer is the same whether or not the address has
/// a user already; the mail says so.
pub async fn request_email_change(
    server: &Server,
    user: &User,
    email: &str,
    password: &SecretString,
    ip: IpAddr,
) -> Result<()> {
    let email = Email::parse(email)?;
    if email.as_str() == user.email {
        return Err(Denial::invalid("email", "Your e-mail already", "Type the new one.").into());
    }
    check_password(server, user, password, ip).await?;
    server.limits.check_reset(&email, ip)?;
    let now = server.clock.now();
    let id = EmailChangeId::new(server.clock.new_id());
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into email_change (email_change_id, user_id, new_email, created_at, expires_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(&id)
        .bind(&user.user_id)
        .bind(&email)
        .bind(now)
        .bind(now.plus_seconds(LIFETIME_SECONDS))
        .execute(conn)
        .await
        .map(drop)
    })?;
    mail::send_later(&mut tx, &server.clock, Mail::ConfirmNewEmail { email_change_id: id }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// The new address and the secret of its link, for the mail; nothing, when it is used or too old. `Err` carries the address
/// when somebody has it already.
pub(crate) async fn issue_email_link(
    server: &Server,
    id: &EmailChangeId,
) -> Result<Option<std::result::Result<(Email, SecretString), Email>>> {
    let token = server.clock.new_secret();
    let mut tx = server.db.begin().await?;
    let email: Option<Email> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update email_change
             set    token_hash = $1
             where  email_change_id = $2 and used_at is null and expires_at > $3
             returning new_email",
        )
        .bind(hashed(&token))
        .bind(id)
        .bind(server.clock.now())
        .fetch_optional(conn)
        .await
    })?;
    tx.commit().await?;
    let Some(email) = email else { return Ok(None) };
    let is_taken = load_user_id(server, &email).await?.is_some();
    Ok(Some(if is_taken { Err(email) } else { Ok((email, SecretString::from(token))) }))
}

/// Makes the new e-mail the user's by the link's token, once, and tells the old address. Call it from a POST.
pub async fn confirm_new_email(server: &Server, token: &str) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let taken: Option<(domain::id::UserId, Email, Email)> = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            r#"update email_change
               set    used_at = $1
               where  token_hash = $2 and used_at is null and expires_at > $1
               returning user_id, new_email,
                         (select u.email from "user" u where u.user_id = email_change.user_id) as old_email"#,
        )
        .bind(now)
        .bind(hashed(token))
        .fetch_optional(conn)
        .await
    })?;
    let (user_id, new, old) = taken.ok_or_else(|| Denial::LinkExpired { what: "confirmation".to_owned() })?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(r#"update "user" set email = $1, email_verified_at = $2 where user_id = $3"#)
            .bind(&new)
            .bind(now)
            .bind(&user_id)
            .execute(conn)
            .await
            .map(drop)
    });
    match changed {
        Ok(()) => {}
        Err(error) if db::breaks_unique(&error, "user_email_unique", "user.email") => {
            let problem = format!("{new} has a user already. Sign in with it instead.");
            return Err(Denial::Conflict { problem }.into());
        }
        Err(error) => return Err(Error::from(error)),
    }
    mail::send_later(&mut tx, &server.clock, Mail::EmailChanged { email: old.to_string() }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(%user_id, "an e-mail was changed");
    Ok(())
}

fn hashed(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
