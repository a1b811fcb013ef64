//! Owns: who is a member of which account, what somebody is there, and how people come and go.
//! Does not own: what a role may do (`domain::member`), signing in (`account`, `session`), what a seat costs
//! (`subscription`).
//! Invariants: an account has at least one owner and a user at least one account, whatever happens at the same time;
//! every change of the number of members tells the subscription in its own transaction.

mod accept;
mod change;
mod invite;
mod list;

pub use accept::{HasUser, Joining, accept, load_joining, sign_up_invited};
pub use change::{change_role, choose_account, leave, open_another, remove, transfer};
pub(crate) use invite::{Link, issue_link};
pub use invite::{invite, resend, revoke};
pub use list::{Invitation, Member, Membership, list_accounts, list_invitations, list_members};

use crate::account::{self, Email};
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::job::{self, Job, NewJob};
use crate::{Server, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use domain::member::Role;

/// Members an account may have; as many as there may be seats.
const MOST_MEMBERS: i64 = 1_000;

/// Makes the user a member, within the caller's transaction. Whoever is one already stays what they are.
pub async fn insert(tx: &mut Tx, clock: &Clock, account_id: &AccountId, user_id: &UserId, role: Role) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into member (account_id, user_id, role, created_at)
             values ($1, $2, $3, $4)
             on conflict (account_id, user_id) do nothing",
        )
        .bind(account_id)
        .bind(user_id)
        .bind(role.as_str())
        .bind(clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Keeps everybody else from changing the members of this account until the transaction ends. Denied with `NotFound`
/// when there is no such account (any more).
pub(crate) async fn lock(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    let found: Option<i64> = match tx {
        // `begin immediate` has locked the whole database.
        Tx::Sqlite(conn) => {
            sqlx::query_scalar("select created_at from account where account_id = $1 and deleted_at is null")
                .bind(account_id)
                .fetch_optional(&mut **conn)
                .await?
        }
        Tx::Postgres(conn) => {
            sqlx::query_scalar("select created_at from account where account_id = $1 and deleted_at is null for update")
                .bind(account_id)
                .fetch_optional(&mut **conn)
                .await?
        }
    };
    found.map(drop).ok_or_else(|| Denial::NotFound { what: "account".to_owned() }.into())
}

/// Tells the subscription that the number of members changed.
pub(crate) async fn seats_changed(tx: &mut Tx, clock: &Clock, account_id: &AccountId) -> Result<()> {
    job::insert(tx, clock, NewJob::now(Job::SyncSeats { account_id: account_id.clone() }, clock)).await
}

/// After a user left an account: it opens first no more, and who belongs to none gets an account of their own.
pub(crate) async fn settle(tx: &mut Tx, server: &Server, user_id: &UserId) -> Result<()> {
    let next: Option<AccountId> = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar(
            r#"select m.account_id
               from   member m
               join   "user" u on u.user_id = m.user_id
               where  m.user_id = $1
               order  by case when m.account_id = u.account_id then 0 else 1 end, m.created_at, m.account_id
               limit  1"#,
        )
        .bind(user_id)
        .fetch_optional(conn)
        .await
    })?;
    let account_id = match next {
        Some(account_id) => account_id,
        None => {
            let email: Email = on_tx!(&mut *tx, conn => {
                sqlx::query_scalar(r#"select email from "user" where user_id = $1"#).bind(user_id).fetch_one(conn).await
            })?;
            let account_id = account::open_account(tx, server, email.local_part(), "UTC").await?;
            insert(tx, &server.clock, &account_id, user_id, Role::Owner).await?;
            account_id
        }
    };
    open_first(tx, user_id, &account_id).await
}

/// The account that the user sees after signing in.
async fn open_first(tx: &mut Tx, user_id: &UserId, account_id: &AccountId) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(r#"update "user" set account_id = $1 where user_id = $2"#)
            .bind(account_id)
            .bind(user_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    Ok(())
}
