//! Owns: reading members, invitations, and the accounts of a user.

use crate::error::Result;
use crate::{Server, on_read};
use domain::id::{AccountId, InvitationId, UserId};
use domain::member::Role;
use domain::time::Timestamp;

/// Rows a list shows.
const LIST: i64 = 1_000;

/// A member as the account's list shows them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Member {
    pub user_id: UserId,
    pub email: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub created_at: Timestamp,
}

/// Somebody who was asked to join and has not yet. Past `expires_at` its link does nothing.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Invitation {
    pub invitation_id: InvitationId,
    pub email: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An account that a user belongs to, and what they are there.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Membership {
    pub account_id: AccountId,
    pub account_name: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
}

/// The members of an account: owners first, then by role and e-mail; at most 1,000.
pub async fn list_members(server: &Server, account_id: &AccountId) -> Result<Vec<Member>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select m.user_id, u.email, m.role, m.created_at
               from   member m
               join   "user" u on u.user_id = m.user_id
               where  m.account_id = $1
               order  by case m.role when 'owner' then 0 when 'admin' then 1 when 'billing' then 2
                                     when 'developer' then 3 else 4 end, u.email
               limit  $2"#,
        )
        .bind(account_id)
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}

/// The invitations that are neither accepted nor revoked, expired ones included, newest first.
pub async fn list_invitations(server: &Server, account_id: &AccountId) -> Result<Vec<Invitation>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select invitation_id, email, role, created_at, expires_at
             from   invitation
             where  account_id = $1 and accepted_at is null and revoked_at is null
             order  by created_at desc, invitation_id desc
             limit  $2",
        )
        .bind(account_id)
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}

/// The accounts a user belongs to, by name.
pub async fn list_accounts(server: &Server, user_id: &UserId) -> Result<Vec<Membership>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select m.account_id, a.name as account_name, m.role
             from   member m
             join   account a on a.account_id = m.account_id
             where  m.user_id = $1
             order  by a.name, m.account_id
             limit  $2",
        )
        .bind(user_id)
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}
