//! Owns: changing a member's role, removing one, leaving, handing over, and the accounts of one user.
//! Invariant: the last owner stays one: each change is a guarded update under the account's lock.

use super::invite::require_to_give;
use super::{insert, lock, open_first, seats_changed, settle};
use crate::account::{self, Permission, Role, User};
use crate::db::Tx;
use crate::error::Result;
use crate::mail::{self, Mail};
use crate::{Server, api_key, on_tx, top_up};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};

/// Accounts that a user may own.
const MOST_OWNED: i64 = 20;

/// Gives a member another role. Denials: `RoleMayNot`, `NotFound` (no member), `Conflict` (the last owner).
pub async fn change_role(server: &Server, user: &User, member: &UserId, role: Role) -> Result<()> {
    require_to_give(user, role)?;
    let mut tx = server.db.begin().await?;
    lock(&mut tx, &user.account_id).await?;
    require_to_give(user, load_role(&mut tx, &user.account_id, member).await?)?;
    set_role(&mut tx, user, member, role).await?;
    if !role.may(Permission::ManageBilling) {
        top_up::withdraw(&mut tx, server, &user.account_id, member).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(account_id = %user.account_id, by = %user.user_id, user_id = %member, %role, "a role was changed");
    Ok(())
}

/// Makes another member an owner, and the user who asks an admin.
pub async fn transfer(server: &Server, user: &User, member: &UserId) -> Result<()> {
    user.require(Permission::ManageAccount)?;
    if *member == user.user_id {
        return Err(Denial::invalid("user_id", "You are the owner", "Choose another member.").into());
    }
    let mut tx = server.db.begin().await?;
    lock(&mut tx, &user.account_id).await?;
    load_role(&mut tx, &user.account_id, member).await?;
    set_role(&mut tx, user, member, Role::Owner).await?;
    set_role(&mut tx, user, &user.user_id, Role::Admin).await?;
    tx.commit().await?;
    tracing::info!(account_id = %user.account_id, by = %user.user_id, user_id = %member, "an account was handed over");
    Ok(())
}

/// Takes a member out of the account: their API keys of it end, and they are told by mail. Who belongs to no other account
/// gets an empty one of their own. Denials: `RoleMayNot`, `NotFound`, `Conflict` (the last owner).
pub async fn remove(server: &Server, user: &User, member: &UserId) -> Result<()> {
    user.require(Permission::ManageMembers)?;
    let mut tx = server.db.begin().await?;
    lock(&mut tx, &user.account_id).await?;
    require_to_give(user, load_role(&mut tx, &user.account_id, member).await?)?;
    let removed = Mail::Removed { user_id: member.clone(), account_name: user.account_name.clone() };
    mail::send_later(&mut tx, &server.clock, removed).await?;
    take_out(server, tx, user, member).await
}

/// Leaves the account that the user looks at. Denied with `Conflict` to the last owner.
pub async fn leave(server: &Server, user: &User) -> Result<()> {
    let mut tx = server.db.begin().await?;
    lock(&mut tx, &user.account_id).await?;
    take_out(server, tx, user, &user.user_id).await
}

async fn take_out(server: &Server, mut tx: Tx, user: &User, member: &UserId) -> Result<()> {
    let removed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "delete from member
             where  account_id = $1 and user_id = $2
                    and (role <> 'owner' or exists (select 1 from member other
                         where other.account_id = $1 and other.user_id <> $2 and other.role = 'owner'))",
        )
        .bind(&user.account_id)
        .bind(member)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if removed == 0 {
        return Err(last_owner(user, member).into());
    }
    top_up::withdraw(&mut tx, server, &user.account_id, member).await?;
    let keys = api_key::revoke_of(&mut tx, &server.clock, &user.account_id, Some(member)).await?;
    settle(&mut tx, server, member).await?;
    seats_changed(&mut tx, &server.clock, &user.account_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    server.api_callers.forget_all(&keys);
    tracing::info!(account_id = %user.account_id, by = %user.user_id, user_id = %member, "a member is out");
    Ok(())
}

/// Looks at another account of theirs, now and after signing in again. The caller tells the session. Denied with
/// `NotFound` when the user is no member of it.
pub async fn choose_account(server: &Server, user: &User, account_id: &AccountId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    load_role(&mut tx, account_id, &user.user_id).await?;
    open_first(&mut tx, &user.user_id, account_id).await?;
    tx.commit().await
}

/// Opens another account, with nothing in it, that the user owns. Denied with `Invalid`, or `Conflict` when they own too
/// many.
pub async fn open_another(server: &Server, user: &User, name: &str) -> Result<AccountId> {
    let name = account::checked_name(name)?;
    let mut tx = server.db.begin().await?;
    let owned: i64 = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("select count(*) from member where user_id = $1 and role = 'owner'")
            .bind(&user.user_id)
            .fetch_one(conn)
            .await
    })?;
    if owned >= MOST_OWNED {
        let problem = format!("You own {MOST_OWNED} accounts, the most you may. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    let account_id = account::open_account(&mut tx, server, &name, &user.time_zone).await?;
    insert(&mut tx, &server.clock, &account_id, &user.user_id, Role::Owner).await?;
    open_first(&mut tx, &user.user_id, &account_id).await?;
    tx.commit().await?;
    tracing::info!(%account_id, user_id = %user.user_id, "another account was opened");
    Ok(account_id)
}

async fn load_role(tx: &mut Tx, account_id: &AccountId, user_id: &UserId) -> Result<Role> {
    let role: Option<String> = on_tx!(tx, conn => {
        sqlx::query_scalar("select role from member where account_id = $1 and user_id = $2")
            .bind(account_id)
            .bind(user_id)
            .fetch_optional(conn)
            .await
    })?;
    let role = role.ok_or_else(|| Denial::NotFound { what: "member of this account".to_owned() })?;
    Ok(role.parse()?)
}

async fn set_role(tx: &mut Tx, user: &User, member: &UserId, role: Role) -> Result<()> {
    let changed = on_tx!(tx, conn => {
        sqlx::query(
            "update member
             set    role = $3
             where  account_id = $1 and user_id = $2
                    and (role <> 'owner' or $3 = 'owner' or exists (select 1 from member other
                         where other.account_id = $1 and other.user_id <> $2 and other.role = 'owner'))",
        )
        .bind(&user.account_id)
        .bind(member)
        .bind(role.as_str())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 0 { Err(last_owner(user, member).into()) } else { Ok(()) }
}

fn last_owner(user: &User, member: &UserId) -> Denial {
    let who = if *member == user.user_id { "You are" } else { "This is" };
    let problem = format!(
        "{who} the only owner of {}. Make somebody else an owner first, or delete the account.",
        user.account_name
    );
    Denial::Conflict { problem }
}
