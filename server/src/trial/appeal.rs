//! Owns: asking for another trial, and the answer of a person.

use crate::account::{Permission, User};
use crate::db::Tx;
use crate::error::Result;
use crate::mail::{self, Mail};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::UserId;
use domain::time::Timestamp;
use domain::trial::AppealState;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 1_000;
/// How many a list shows.
const LIST: i64 = 200;

/// An appeal that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Appeal {
    pub appeal_id: String,
    pub account_name: String,
    pub email: String,
    pub reason: String,
    pub created_at: Timestamp,
}

/// Asks for a trial although there was one. One at a time for each person: `Conflict` while it waits.
pub async fn appeal(server: &Server, user: &User, reason: &str) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        let problem = if reason.is_empty() { "is empty" } else { "is longer than 1,000 characters" };
        return Err(Denial::invalid("reason", problem, "Say in a few sentences why.").into());
    }
    let mut tx = server.db.begin().await?;
    let asked = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into trial_appeal (appeal_id, account_id, user_id, person, reason, state, created_at)
             values ($1, $2, $3, $4, $5, 'open', $6)
             on conflict (person) where state in ('open', 'granted') do nothing",
        )
        .bind(server.clock.new_id())
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(super::person_of(&user.email))
        .bind(reason.replace('\0', ""))
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if asked == 0 {
        return Err(Denial::Conflict { problem: "You have asked already. The answer comes by mail.".to_owned() }.into());
    }
    tx.commit().await
}

/// How the newest appeal of the person stands; `None` without one.
pub async fn load_appeal(server: &Server, user: &User) -> Result<Option<AppealState>> {
    let state: Option<String> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select state from trial_appeal where person = $1 order by created_at desc limit 1")
            .bind(super::person_of(&user.email))
            .fetch_optional(conn)
            .await
    })?;
    Ok(state.map(|state| state.parse()).transpose()?)
}

/// The appeals that wait, the oldest first; at most 200.
pub async fn list_open(server: &Server) -> Result<Vec<Appeal>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            r#"select   t.appeal_id, a.name as account_name, u.email, t.reason, t.created_at
               from     trial_appeal t
               join     account a on a.account_id = t.account_id
               join     "user" u on u.user_id = t.user_id
               where    t.state = 'open'
               order by t.created_at
               limit    $1"#,
        )
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}

/// Grants an appeal or refuses it, once, and tells the person by mail. `NotFound` unless it waits.
pub async fn answer(server: &Server, appeal_id: &str, answer: AppealState, by: &str) -> Result<()> {
    let mut tx = server.db.begin().await?;
    let user_id: Option<UserId> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update trial_appeal
             set    state = $1, answered_by = $2, ended_at = $3
             where  appeal_id = $4 and state = 'open'
             returning user_id",
        )
        .bind(answer.as_str())
        .bind(by)
        .bind(server.clock.now())
        .bind(appeal_id)
        .fetch_optional(conn)
        .await
    })?;
    let user_id = user_id.ok_or_else(|| Denial::NotFound { what: "appeal that waits".to_owned() })?;
    mail::send_later(&mut tx, &server.clock, Mail::TrialAppeal { user_id, answer }).await?;
    tx.commit().await
}

/// Takes a granted appeal of the person for a trial that begins now; whether there was one.
pub(super) async fn use_granted(tx: &mut Tx, person: &str) -> Result<bool> {
    let used = on_tx!(tx, conn => {
        sqlx::query("update trial_appeal set state = 'used' where person = $1 and state = 'granted'")
            .bind(person)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(used > 0)
}
