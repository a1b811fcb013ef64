//! Owns: setting a new password by a mailed link.

use super::{Email, Purpose, link, load_user, set_verified};
use crate::error::{Error, Result};
use crate::mail::{self, Mail};
use crate::password::Password;
use crate::{Server, on_tx, session};
use secrecy::SecretString;
use std::net::IpAddr;

/// Sends a link that resets the password, if the e-mail has an account. The answer, and the work until it, are the
/// same if not: whether there is one is looked up when the mail is sent.
pub async fn request_password_reset(server: &Server, email: &str, ip: IpAddr) -> Result<()> {
    let email = Email::parse(email)?;
    server.limits.check_reset(&email, ip)?;
    let mut tx = server.db.begin().await?;
    mail::send_later(&mut tx, &server.clock, Mail::ResetPassword { email: email.to_string() }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Sets a new password by the link's token, once; ends every session of the user and every other reset link. It also
/// verifies the e-mail, for the link came from there.
pub async fn reset_password(server: &Server, token: &str, new_password: &SecretString) -> Result<()> {
    let user_id = link::peek(server, token, Purpose::ResetPassword).await?;
    let user = load_user(server, &user_id).await?.ok_or_else(|| Error::Internal(format!("user {user_id} is gone")))?;
    let password = Password::check(new_password, &Email::parse(&user.email)?)?;
    let hash = server.passwords.hash(&server.clock, password).await?;

    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    link::take(&mut tx, now, token, Purpose::ResetPassword).await?;
    link::use_up(&mut tx, now, &user_id, Purpose::ResetPassword).await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(r#"update "user" set password_hash = $1 where user_id = $2"#)
            .bind(&hash)
            .bind(&user_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    set_verified(&mut tx, &user_id, now).await?;
    session::delete_all(&mut tx, &user_id).await?;
    tx.commit().await?;
    tracing::info!(%user_id, "a password was reset");
    Ok(())
}
