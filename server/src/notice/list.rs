//! Owns: a reader's list of notices: the newest first, what is unread, and marking it read.

use super::Notice;
use crate::account::User;
use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::id::NoticeId;
use domain::time::Timestamp;

/// One line of somebody's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub notice_id: NoticeId,
    pub notice: Notice,
    pub raised_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// More unread ones than this are only "more".
const MOST_COUNTED: i64 = 100;

/// What the user was told in the account they look at, newest first, those before the given one; at most 100.
pub async fn list(server: &Server, user: &User, before: Option<&NoticeId>, limit: i64) -> Result<Vec<Listed>> {
    let rows: Vec<(NoticeId, String, Timestamp, Option<Timestamp>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select r.notice_id, n.body, n.raised_at, r.read_at
             from   notice_reader r
             join   notice n on n.notice_id = r.notice_id
             where  r.account_id = $1 and r.user_id = $2 and r.in_app = 1 and ($3 is null or r.notice_id < $3)
             order  by r.notice_id desc
             limit  $4",
        )
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(before)
        .bind(limit.clamp(1, 100))
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|(notice_id, body, raised_at, read_at)| {
            Ok(Listed { notice_id, notice: serde_json::from_str(&body)?, raised_at, read_at })
        })
        .collect()
}

/// How many the user has not read in this account; 100 stands for that many or more.
pub async fn count_unread(server: &Server, user: &User) -> Result<u64> {
    let count: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select count(*)
             from   (select 1 as one
                     from   notice_reader
                     where  account_id = $1 and user_id = $2 and in_app = 1 and read_at is null
                     limit  $3) unread",
        )
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(MOST_COUNTED)
        .fetch_one(conn)
        .await
    })?;
    Ok(count.max(0).unsigned_abs())
}

/// Marks one as read; one that is not the user's changes nothing.
pub async fn mark_read(server: &Server, user: &User, notice_id: &NoticeId) -> Result<()> {
    mark(server, user, Some(notice_id)).await
}

/// Marks all of the account that the user looks at as read.
pub async fn mark_all_read(server: &Server, user: &User) -> Result<()> {
    mark(server, user, None).await
}

async fn mark(server: &Server, user: &User, only: Option<&NoticeId>) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update notice_reader
             set    read_at = $1
             where  account_id = $2 and user_id = $3 and read_at is null and ($4 is null or notice_id = $4)",
        )
        .bind(server.clock.now())
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(only)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}
