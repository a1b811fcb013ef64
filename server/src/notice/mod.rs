//! Owns: telling the people of an account something: raised once in the transaction of its cause, then by a job in
//! everybody's list, by mail, and to the account's webhooks.
//! Does not own: what a notice says (`domain::notice`), when a threshold is reached (`alert`).
//! Invariant: one notice for each account and dedupe key, and one place in each reader's list, whoever raises it and however often.

mod letter;
mod list;
mod preference;

pub use letter::Recipient;
pub(crate) use letter::{letter, links};
pub use list::{Listed, count_unread, list, mark_all_read, mark_read};
pub use preference::{Preference, list_preferences, load_stop, set_preferences, stop_mail};

use crate::clock::Clock;
use crate::db::Tx;
use crate::error::Result;
use crate::job::{self, Job, NewJob};
use crate::mail::{self, Mail};
use crate::{Server, on_tx, webhook_out};
use domain::id::{AccountId, NoticeId, UserId};
use domain::member::Role;
pub use domain::notice::{DisputeNews, KeyGraceNews, Notice, NoticeKind, PlanPaymentNews};
use std::collections::BTreeMap;

/// Raises a notice in the caller's transaction: people are told if, and only if, that commits. `dedupe_key` says which fact
/// it is about, such as `top_up_paused:{rule}:{moment}`; a second notice of the account with it is dropped. Answers whether
/// it is new.
pub async fn raise(
    tx: &mut Tx,
    clock: &Clock,
    account_id: &AccountId,
    notice: &Notice,
    dedupe_key: &str,
) -> Result<bool> {
    let notice_id = NoticeId::new(clock.new_id());
    let body = serde_json::to_string(notice)?;
    let inserted = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into notice (notice_id, account_id, kind, dedupe_key, body, raised_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (account_id, dedupe_key) do nothing",
        )
        .bind(&notice_id)
        .bind(account_id)
        .bind(notice.kind().as_str())
        .bind(dedupe_key)
        .bind(body)
        .bind(clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 0 {
        return Ok(false);
    }
    job::insert(tx, clock, NewJob::now(Job::TellNotice { notice_id }, clock)).await?;
    Ok(true)
}

/// The job that follows: a place in the list of each member whom it concerns, their mails, and the account's webhooks; once.
pub async fn tell(server: &Server, notice_id: &NoticeId) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let row: Option<(AccountId, String)> = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            "update notice
             set    told_at = $1
             where  notice_id = $2 and told_at is null
             returning account_id, body",
        )
        .bind(now)
        .bind(notice_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((account_id, body)) = row else { return tx.rollback().await };
    let notice: Notice = serde_json::from_str(&body)?;

    for (user_id, wants) in list_readers(&mut tx, &account_id, notice.kind()).await? {
        insert_reader(&mut tx, &account_id, &user_id, notice_id, wants).await?;
        if wants.by_mail {
            let recipient = Recipient { notice_id: notice_id.clone(), account_id: account_id.clone(), user_id };
            mail::send_later(&mut tx, &server.clock, Mail::Notice(recipient)).await?;
        }
    }
    webhook_out::enqueue(&mut tx, server, (&account_id, notice_id), &notice).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// The members who are told of a kind, and by which ways.
async fn list_readers(tx: &mut Tx, account_id: &AccountId, kind: NoticeKind) -> Result<Vec<(UserId, Preference)>> {
    let members: Vec<(UserId, String)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            r#"select m.user_id, m.role
               from   member m
               join   "user" u on u.user_id = m.user_id
               where  m.account_id = $1 and u.deleted_at is null and u.email_verified_at is not null
               order  by m.user_id
               limit  500"#,
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    let chosen: Vec<(UserId, i64, i64)> = on_tx!(tx, conn => {
        sqlx::query_as("select user_id, in_app, by_mail from notice_preference where account_id = $1 and kind = $2")
            .bind(account_id)
            .bind(kind.as_str())
            .fetch_all(conn)
            .await
    })?;
    let chosen: BTreeMap<UserId, Preference> = chosen
        .into_iter()
        .map(|(user_id, in_app, by_mail)| (user_id, Preference { in_app: in_app != 0, by_mail: by_mail != 0 }))
        .collect();
    let mut readers = Vec::new();
    for (user_id, role) in members {
        let role: Role = role.parse()?;
        let wants = chosen.get(&user_id).copied().unwrap_or_default().at_least(kind);
        if role.may(kind.audience()) && (wants.in_app || wants.by_mail) {
            readers.push((user_id, wants));
        }
    }
    Ok(readers)
}

async fn insert_reader(
    tx: &mut Tx,
    account_id: &AccountId,
    user_id: &UserId,
    notice_id: &NoticeId,
    wants: Preference,
) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into notice_reader (account_id, user_id, notice_id, in_app, by_mail)
             values ($1, $2, $3, $4, $5)
             on conflict (account_id, user_id, notice_id) do nothing",
        )
        .bind(account_id)
        .bind(user_id)
        .bind(notice_id)
        .bind(i64::from(wants.in_app))
        .bind(i64::from(wants.by_mail))
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}
