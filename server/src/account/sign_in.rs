//! Owns: checking who signs in.

use super::{Email, User, load_user};
use crate::error::Result;
use crate::mail::{self, Mail};
use crate::password::PasswordHash;
use crate::{Server, on_read};
use domain::denial::Denial;
use domain::id::UserId;
use domain::time::Timestamp;
use secrecy::SecretString;
use std::net::IpAddr;

/// Checks e-mail and password. Unknown e-mail, wrong password and an e-mail not verified yet are one denial,
/// `WrongCredentials`, after the same work; a right password with an e-mail not verified sends the link again.
/// The caller starts the session.
pub async fn sign_in(server: &Server, email: &str, password: &SecretString, ip: IpAddr) -> Result<User> {
    let email = Email::parse(email).map_err(|_shape| Denial::WrongCredentials)?;
    server.limits.check_sign_in(&email, ip)?;

    let known: Option<(UserId, PasswordHash, Option<Timestamp>)> = on_read!(&server.db, conn => {
        sqlx::query_as(r#"select user_id, password_hash, email_verified_at from "user" where email = $1"#)
            .bind(&email)
            .fetch_optional(conn)
            .await
    })?;
    let hash = known.as_ref().map(|(_, hash, _)| hash.clone());
    let right = server.passwords.verify(password, hash).await?;

    match known {
        Some((user_id, _, Some(_verified_at))) if right => {
            tracing::info!(%user_id, "signed in");
            load_user(server, &user_id).await?.ok_or_else(|| Denial::WrongCredentials.into())
        }
        Some((user_id, _, None)) if right => {
            send_link_again(server, user_id).await?;
            Err(Denial::WrongCredentials.into())
        }
        Some(_) | None => {
            tracing::info!(%ip, "a sign-in was refused");
            Err(Denial::WrongCredentials.into())
        }
    }
}

async fn send_link_again(server: &Server, user_id: UserId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    mail::send_later(&mut tx, &server.clock, Mail::VerifyEmail { user_id }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}
