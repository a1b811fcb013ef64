//! Owns: who is a member of which account, and what somebody is there.
//! Does not own: what a role may do (`domain::member`), signing in (`account`, `session`).
//! Invariant: an account has at least one owner, whatever happens at the same time.

use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::on_tx;
use domain::id::{AccountId, UserId};
use domain::member::Role;

/// Makes the user a member, within the caller's transaction.
pub async fn insert(tx: &mut Tx, clock: &Clock, account_id: &AccountId, user_id: &UserId, role: Role) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query("insert into member (account_id, user_id, role, created_at) values ($1, $2, $3, $4)")
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
