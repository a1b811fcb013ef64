//! Owns: what somebody wants to be told, and by which way; ending mails of a kind from a mail itself.
//! Invariant: what is essential is always told both ways.

use super::NoticeKind;
use super::letter::hashed;
use crate::account::User;
use crate::db::Tx;
use crate::error::Result;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use std::collections::BTreeMap;

/// By which ways somebody is told of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    pub in_app: bool,
    pub by_mail: bool,
}

impl Default for Preference {
    fn default() -> Preference {
        Preference { in_app: true, by_mail: true }
    }
}

impl Preference {
    /// What counts: an essential kind is told both ways, whatever was chosen.
    #[must_use]
    pub fn at_least(self, kind: NoticeKind) -> Preference {
        if kind.is_essential() { Preference::default() } else { self }
    }
}

/// What the user is told in the account they look at: each kind that their role is told of.
pub async fn list_preferences(server: &Server, user: &User) -> Result<Vec<(NoticeKind, Preference)>> {
    let rows: Vec<(String, i64, i64)> = on_read!(&server.db, conn => {
        sqlx::query_as("select kind, in_app, by_mail from notice_preference where account_id = $1 and user_id = $2")
            .bind(&user.account_id)
            .bind(&user.user_id)
            .fetch_all(conn)
            .await
    })?;
    let chosen: BTreeMap<String, Preference> = rows
        .into_iter()
        .map(|(kind, in_app, by_mail)| (kind, Preference { in_app: in_app != 0, by_mail: by_mail != 0 }))
        .collect();
    let kinds = NoticeKind::ALL.iter().filter(|kind| user.role.may(kind.audience()));
    Ok(kinds.map(|&kind| (kind, chosen.get(kind.as_str()).copied().unwrap_or_default().at_least(kind))).collect())
}

/// Sets what the user is told in this account, for each kind given.
pub async fn set_preferences(server: &Server, user: &User, chosen: &[(NoticeKind, Preference)]) -> Result<()> {
    let mut tx = server.db.begin().await?;
    for (kind, wants) in chosen {
        set(&mut tx, (&user.account_id, &user.user_id), *kind, wants.at_least(*kind)).await?;
    }
    tx.commit().await
}

async fn set(
    tx: &mut Tx,
    (account_id, user_id): (&AccountId, &UserId),
    kind: NoticeKind,
    wants: Preference,
) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into notice_preference (account_id, user_id, kind, in_app, by_mail)
             values ($1, $2, $3, $4, $5)
             on conflict (account_id, user_id, kind) do update set in_app = excluded.in_app, by_mail = excluded.by_mail",
        )
        .bind(account_id)
        .bind(user_id)
        .bind(kind.as_str())
        .bind(i64::from(wants.in_app))
        .bind(i64::from(wants.by_mail))
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Stop {
    account_id: AccountId,
    user_id: UserId,
    kind: String,
}

/// The kind whose mails a link ends. Denial: `LinkExpired`.
pub async fn load_stop(server: &Server, token: &str) -> Result<NoticeKind> {
    Ok(find_stop(server, token).await?.kind.parse()?)
}

/// Ends mails of the kind that a mail was of, by the secret of its link. Needs no sign-in, and may be done again. Denial:
/// `LinkExpired`.
pub async fn stop_mail(server: &Server, token: &str) -> Result<NoticeKind> {
    let stop = find_stop(server, token).await?;
    let kind: NoticeKind = stop.kind.parse()?;
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into notice_preference (account_id, user_id, kind, in_app, by_mail)
             values ($1, $2, $3, 1, 0)
             on conflict (account_id, user_id, kind) do update set by_mail = 0",
        )
        .bind(&stop.account_id)
        .bind(&stop.user_id)
        .bind(kind.as_str())
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    Ok(kind)
}

async fn find_stop(server: &Server, token: &str) -> Result<Stop> {
    let found: Option<Stop> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select r.account_id, r.user_id, n.kind
             from   notice_reader r
             join   notice n on n.notice_id = r.notice_id
             where  r.stop_hash = $1",
        )
        .bind(hashed(token))
        .fetch_optional(conn)
        .await
    })?;
    Ok(found.ok_or_else(|| Denial::LinkExpired { what: "unsubscribe".to_owned() })?)
}
