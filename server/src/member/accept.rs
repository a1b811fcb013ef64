//! Owns: joining an account by the link of an invitation, as somebody who is here or as somebody new.
//! Invariant: a link works once, for the e-mail it was sent to, within its time.

use super::invite::hashed;
use super::{MOST_MEMBERS, insert, lock, open_first, seats_changed};
use crate::account::{self, Email, NewAccount, NewUser, Role, User};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::password::Password;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use domain::time::Timestamp;
use secrecy::SecretString;
use std::net::IpAddr;

/// What a link offers, before it is used.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Joining {
    pub account_id: AccountId,
    pub account_name: String,
    pub email: Email,
    #[sqlx(try_from = "String")]
    pub role: Role,
    /// Who invited; empty when they are gone.
    pub inviter: String,
    /// Whether the e-mail has a user, who then signs in.
    #[sqlx(try_from = "i64")]
    pub has_user: HasUser,
}

/// Whether an e-mail has a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasUser {
    Yes,
    No,
}

impl From<i64> for HasUser {
    fn from(count: i64) -> HasUser {
        if count > 0 { HasUser::Yes } else { HasUser::No }
    }
}

/// What the link offers; denied with `LinkExpired` when it was used, revoked, replaced, or is too old.
pub async fn load_joining(server: &Server, token: &str) -> Result<Joining> {
    let joining: Option<Joining> = on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select i.account_id, a.name as account_name, i.email, i.role, coalesce(u.email, '') as inviter,
                      (select count(*) from "user" invited where invited.email = i.email) as has_user
               from   invitation i
               join   account a on a.account_id = i.account_id
               left join "user" u on u.user_id = i.invited_by
               where  i.token_hash = $1 and i.accepted_at is null and i.revoked_at is null and i.expires_at > $2"#,
        )
        .bind(hashed(token))
        .bind(server.clock.now())
        .fetch_optional(conn)
        .await
    })?;
    Ok(joining.ok_or_else(used_up)?)
}

/// Makes the signed-in user a member by the link, once. Denied with `LinkExpired`, or `Conflict` when the link was sent to
/// another e-mail.
pub async fn accept(server: &Server, user: &User, token: &str) -> Result<AccountId> {
    let joining = load_joining(server, token).await?;
    if joining.email.as_str() != user.email {
        return Err(other_email(&joining.email, &user.email).into());
    }

    let mut tx = server.db.begin().await?;
    lock(&mut tx, &joining.account_id).await?;
    refuse_when_full(&mut tx, &joining.account_id).await?;
    take(&mut tx, server.clock.now(), token, &user.user_id).await?;
    insert(&mut tx, &server.clock, &joining.account_id, &user.user_id, joining.role).await?;
    open_first(&mut tx, &user.user_id, &joining.account_id).await?;
    seats_changed(&mut tx, &server.clock, &joining.account_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(account_id = %joining.account_id, user_id = %user.user_id, "an invitation was accepted");
    Ok(joining.account_id)
}

/// Makes a new user with this password, a member by the link. The link verifies their e-mail, for it came from there. The
/// caller starts the session.
pub async fn sign_up_invited(server: &Server, token: &str, password: &SecretString, ip: IpAddr) -> Result<User> {
    let joining = load_joining(server, token).await?;
    let password = Password::check(password, &joining.email)?;
    server.limits.check_sign_up(&joining.email, ip)?;
    let password = server.passwords.hash(&server.clock, password).await?;

    let new = NewUser {
        email: joining.email.clone(),
        password,
        account: NewAccount::Join(joining.account_id.clone()),
        role: joining.role,
        is_admin: false,
    };
    let mut tx = server.db.begin().await?;
    lock(&mut tx, &joining.account_id).await?;
    refuse_when_full(&mut tx, &joining.account_id).await?;
    let user = account::create_verified(&mut tx, server, new).await?;
    take(&mut tx, server.clock.now(), token, &user.user_id).await?;
    seats_changed(&mut tx, &server.clock, &joining.account_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(account_id = %joining.account_id, user_id = %user.user_id, "somebody signed up by an invitation");
    Ok(user)
}

/// Uses the link. Of many at once, one succeeds.
async fn take(tx: &mut Tx, now: Timestamp, token: &str, user_id: &UserId) -> Result<()> {
    let taken = on_tx!(tx, conn => {
        sqlx::query(
            r#"update invitation
               set    accepted_at = $1, accepted_by = $2
               where  token_hash = $3 and accepted_at is null and revoked_at is null and expires_at > $1
                      and email = (select u.email from "user" u where u.user_id = $2)"#,
        )
        .bind(now)
        .bind(user_id)
        .bind(hashed(token))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if taken == 0 { Err(used_up().into()) } else { Ok(()) }
}

async fn refuse_when_full(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    let members: i64 = on_tx!(tx, conn => {
        sqlx::query_scalar("select count(*) from member where account_id = $1").bind(account_id).fetch_one(conn).await
    })?;
    if members < MOST_MEMBERS {
        return Ok(());
    }
    let problem = format!("This account has {MOST_MEMBERS} members, the most it may have.");
    Err(Error::Denied(Denial::Conflict { problem }))
}

fn used_up() -> Denial {
    Denial::LinkExpired { what: "invitation".to_owned() }
}

fn other_email(invited: &Email, signed_in: &str) -> Denial {
    let problem = format!(
        "This invitation is for {invited}, and you are signed in as {signed_in}. Sign out and open the link again, or ask \
         for an invitation to {signed_in}."
    );
    Denial::Conflict { problem }
}
