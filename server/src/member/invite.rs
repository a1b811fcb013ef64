//! Owns: asking somebody to join, asking again, and taking it back.
//! Invariant: the link's secret is made when its mail is sent and kept as its SHA-256; a new mail makes the link of
//! the one before useless.

use super::lock;
use crate::account::{Email, Permission, Role, User};
use crate::db::Tx;
use crate::error::Result;
use crate::mail::{self, Mail};
use crate::{Server, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, InvitationId};
use domain::time::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// How long a link works.
const LIFETIME_SECONDS: i64 = 7 * 86_400;
/// Open invitations an account may have.
const MOST_OPEN: i64 = 50;

/// Invites somebody and sends them the link. Inviting the same e-mail again, before it is accepted, changes the role and
/// sends a new link. Denials: `RoleMayNot`, `Invalid` (no address, or a member already), `Conflict` (too many are open),
/// `TooManyAttempts`.
pub async fn invite(server: &Server, user: &User, email: &str, role: Role) -> Result<InvitationId> {
    require_to_give(user, role)?;
    let email = Email::parse(email)?;
    server.limits.check_invite(&user.account_id, &email)?;
    let now = server.clock.now();

    let mut tx = server.db.begin().await?;
    lock(&mut tx, &user.account_id).await?;
    refuse_member(&mut tx, &user.account_id, &email).await?;
    refuse_too_many(&mut tx, &user.account_id, &email, now).await?;

    let invitation_id: InvitationId = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "insert into invitation (invitation_id, account_id, email, role, invited_by, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (account_id, email) where accepted_at is null and revoked_at is null do update
             set role = excluded.role, invited_by = excluded.invited_by, created_at = excluded.created_at,
                 expires_at = excluded.expires_at, token_hash = null
             returning invitation_id",
        )
        .bind(InvitationId::new(server.clock.new_id()))
        .bind(&user.account_id)
        .bind(&email)
        .bind(role.as_str())
        .bind(&user.user_id)
        .bind(now)
        .bind(now.plus_seconds(LIFETIME_SECONDS))
        .fetch_one(conn)
        .await
    })?;
    mail::send_later(&mut tx, &server.clock, Mail::Invitation { invitation_id: invitation_id.clone() }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(%invitation_id, account_id = %user.account_id, user_id = %user.user_id, "somebody was invited");
    Ok(invitation_id)
}

/// Sends a new link, good for its full time. The link of the mail before does nothing any more.
pub async fn resend(server: &Server, user: &User, invitation_id: &InvitationId) -> Result<()> {
    user.require(Permission::ManageMembers)?;
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let email: Option<Email> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update invitation
             set    expires_at = $1, token_hash = null
             where  invitation_id = $2 and account_id = $3 and accepted_at is null and revoked_at is null
             returning email",
        )
        .bind(now.plus_seconds(LIFETIME_SECONDS))
        .bind(invitation_id)
        .bind(&user.account_id)
        .fetch_optional(conn)
        .await
    })?;
    let email = email.ok_or_else(no_such)?;
    server.limits.check_invite(&user.account_id, &email)?;
    mail::send_later(&mut tx, &server.clock, Mail::Invitation { invitation_id: invitation_id.clone() }).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Takes an invitation back: its link does nothing any more. Denied with `NotFound` when it was accepted or revoked.
pub async fn revoke(server: &Server, user: &User, invitation_id: &InvitationId) -> Result<()> {
    user.require(Permission::ManageMembers)?;
    let mut tx = server.db.begin().await?;
    let revoked = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update invitation
             set    revoked_at = $1
             where  invitation_id = $2 and account_id = $3 and accepted_at is null and revoked_at is null",
        )
        .bind(server.clock.now())
        .bind(invitation_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if revoked == 0 { Err(no_such().into()) } else { Ok(()) }
}

/// What the mail of an invitation says, with a new secret for its link; nothing, when it was accepted, revoked or has
/// expired since.
pub(crate) async fn issue_link(server: &Server, invitation_id: &InvitationId) -> Result<Option<Link>> {
    let token = server.clock.new_secret();
    let mut tx = server.db.begin().await?;
    let row: Option<LinkRow> = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            r#"update invitation
               set    token_hash = $1
               where  invitation_id = $2 and accepted_at is null and revoked_at is null and expires_at > $3
               returning email, role,
                         (select name from account where account.account_id = invitation.account_id) as account_name,
                         (select u.email from "user" u where u.user_id = invitation.invited_by) as inviter"#,
        )
        .bind(hashed(&token))
        .bind(invitation_id)
        .bind(server.clock.now())
        .fetch_optional(conn)
        .await
    })?;
    tx.commit().await?;
    Ok(row.map(|LinkRow { email, role, account_name, inviter }| Link {
        email,
        role,
        account_name,
        inviter: inviter.unwrap_or_default(),
        token: SecretString::from(token),
    }))
}

/// What the mail of an invitation needs.
pub(crate) struct Link {
    pub email: String,
    pub role: Role,
    pub account_name: String,
    pub inviter: String,
    pub token: SecretString,
}

#[derive(sqlx::FromRow)]
struct LinkRow {
    email: String,
    #[sqlx(try_from = "String")]
    role: Role,
    account_name: String,
    inviter: Option<String>,
}

/// Whether the user may give this role; an owner is made by owners alone.
pub(super) fn require_to_give(user: &User, role: Role) -> std::result::Result<(), Denial> {
    user.require(Permission::ManageMembers)?;
    if user.role.may_give(role) { Ok(()) } else { user.require(Permission::ManageAccount) }
}

async fn refuse_member(tx: &mut Tx, account_id: &AccountId, email: &Email) -> Result<()> {
    let found: Option<i64> = on_tx!(tx, conn => {
        sqlx::query_scalar(
            r#"select m.created_at
               from   member m
               join   "user" u on u.user_id = m.user_id
               where  m.account_id = $1 and u.email = $2"#,
        )
        .bind(account_id)
        .bind(email)
        .fetch_optional(conn)
        .await
    })?;
    match found {
        Some(_) => {
            Err(Denial::invalid("email", "A member of this account already", "Change their role in the list.").into())
        }
        None => Ok(()),
    }
}

async fn refuse_too_many(tx: &mut Tx, account_id: &AccountId, email: &Email, now: Timestamp) -> Result<()> {
    let open: i64 = on_tx!(tx, conn => {
        sqlx::query_scalar(
            "select count(*)
             from   invitation
             where  account_id = $1 and email <> $2 and accepted_at is null and revoked_at is null and expires_at > $3",
        )
        .bind(account_id)
        .bind(email)
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    if open < MOST_OPEN {
        return Ok(());
    }
    let problem = format!("{MOST_OPEN} invitations are open, the most there may be. Revoke one first.");
    Err(Denial::Conflict { problem }.into())
}

fn no_such() -> Denial {
    Denial::NotFound { what: "open invitation".to_owned() }
}

pub(super) fn hashed(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
