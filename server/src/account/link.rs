//! Owns: the links sent by e-mail: a secret used once, within its time, for its purpose.
//! Invariant: only the SHA-256 of the secret is stored; a link that was used, expired or forged is one denial.

use crate::db::Tx;
use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::UserId;
use domain::time::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

domain::text_enum! {
    /// What a link is for.
    Purpose {
        VerifyEmail = "verify_email",
        ResetPassword = "reset_password",
    }
}

impl Purpose {
    const fn lifetime_seconds(self) -> i64 {
        match self {
            Purpose::VerifyEmail => 24 * 3_600,
            Purpose::ResetPassword => 3_600,
        }
    }

    fn expired(self) -> Denial {
        let what = match self {
            Purpose::VerifyEmail => "verification",
            Purpose::ResetPassword => "reset",
        };
        Denial::LinkExpired { what: what.to_owned() }
    }
}

/// Makes a link's secret for the user. Earlier ones stay good until they are used or expire.
pub async fn issue(server: &Server, user_id: &UserId, purpose: Purpose) -> Result<SecretString> {
    let now = server.clock.now();
    let token = server.clock.new_secret();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into user_token (token_hash, user_id, purpose, created_at, expires_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(hashed(&token))
        .bind(user_id)
        .bind(purpose.as_str())
        .bind(now)
        .bind(now.plus_seconds(purpose.lifetime_seconds()))
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    Ok(SecretString::from(token))
}

/// Whose link this is, without using it. For what is costly to do before [`take`], which decides.
pub(super) async fn peek(server: &Server, token: &str, purpose: Purpose) -> Result<UserId> {
    let owner: Option<UserId> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select user_id
             from   user_token
             where  token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3",
        )
        .bind(hashed(token))
        .bind(purpose.as_str())
        .bind(server.clock.now())
        .fetch_optional(conn)
        .await
    })?;
    Ok(owner.ok_or_else(|| purpose.expired())?)
}

/// Uses the link: whose it is. Of many at once, one succeeds.
pub(super) async fn take(tx: &mut Tx, now: Timestamp, token: &str, purpose: Purpose) -> Result<UserId> {
    let owner: Option<UserId> = on_tx!(tx, conn => {
        sqlx::query_scalar(
            "update user_token
             set    used_at = $1
             where  token_hash = $2 and purpose = $3 and used_at is null and expires_at > $1
             returning user_id",
        )
        .bind(now)
        .bind(hashed(token))
        .bind(purpose.as_str())
        .fetch_optional(conn)
        .await
    })?;
    Ok(owner.ok_or_else(|| purpose.expired())?)
}

/// Makes every open link of this purpose useless.
pub(super) async fn use_up(tx: &mut Tx, now: Timestamp, user_id: &UserId, purpose: Purpose) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query("update user_token set used_at = $1 where user_id = $2 and purpose = $3 and used_at is null")
            .bind(now)
            .bind(user_id)
            .bind(purpose.as_str())
            .execute(conn)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Forgets links a week after they expired.
pub async fn sweep_expired(server: &Server) -> Result<()> {
    let before = server.clock.now().plus_seconds(-7 * 86_400);
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from user_token where expires_at < $1").bind(before).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}

fn hashed(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
