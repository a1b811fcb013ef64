//! Owns: a notice as a mail: its words, its moments in the account's zone, and the links to fewer of its kind.

use super::Notice;
use crate::error::Result;
use crate::mail::{Letter, Links};
use crate::{Server, account, on_read, on_tx};
use domain::id::{AccountId, NoticeId, UserId};
use domain::money::Usd;
use domain::notice::Fact;
use domain::time::Timestamp;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Who is told of what by mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub notice_id: NoticeId,
    pub account_id: AccountId,
    pub user_id: UserId,
}

/// The address and the mail; nothing when the notice is gone, or its reader has left the account.
pub(crate) async fn letter(server: &Server, to: &Recipient) -> Result<Option<(String, Letter)>> {
    let Some(notice) = load(server, to).await? else { return Ok(None) };
    let user = account::load_user_in(server, &to.user_id, Some(&to.account_id)).await?;
    let Some(user) = user.filter(|user| user.account_id == to.account_id) else { return Ok(None) };

    let mut facts = vec![("Account", user.account_name.clone())];
    facts.extend(notice.facts().into_iter().map(|(name, fact)| (name, written(fact, &user.time_zone))));
    let (label, path) = notice.remedy();
    let letter = Letter {
        subject: notice.title(),
        paragraphs: vec![notice.text()],
        facts,
        button: Some((label, SecretString::from(format!("{}{path}", server.config.public_url)))),
        closing: "Amounts are in US dollars, times in the time zone of your account.",
    };
    Ok(Some((user.email, letter)))
}

/// The way to one's preferences, and for a kind that may be switched off, the way to do so with one click. Its secret is made
/// with each mail; only a hash of it is kept.
pub(crate) async fn links(server: &Server, to: &Recipient) -> Result<Links> {
    let address = &server.config.public_url;
    let choose = SecretString::from(format!("{address}/alerts/settings"));
    let mut links = Links { shown: vec![("Choose what you are told", choose)], unsubscribe: None };
    let Some(notice) = load(server, to).await? else { return Ok(links) };
    if notice.kind().is_essential() {
        return Ok(links);
    }

    let token = SecretString::from(server.clock.new_secret());
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update notice_reader set stop_hash = $1 where account_id = $2 and user_id = $3 and notice_id = $4",
        )
        .bind(hashed(token.expose_secret()))
        .bind(&to.account_id)
        .bind(&to.user_id)
        .bind(&to.notice_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    let at = |path: &str| SecretString::from(format!("{address}{path}?token={}", token.expose_secret()));
    links.shown.push(("No more mails like this one", at("/unsubscribe")));
    links.unsubscribe = Some(at("/webhooks/unsubscribe"));
    Ok(links)
}

async fn load(server: &Server, to: &Recipient) -> Result<Option<Notice>> {
    let body: Option<String> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select body from notice where notice_id = $1 and account_id = $2")
            .bind(&to.notice_id)
            .bind(&to.account_id)
            .fetch_optional(conn)
            .await
    })?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

/// A fact as a mail writes it: `$12.40`, and `24 Nov 2026, 14:05 (Europe/Vienna)`.
fn written(fact: Fact, zone: &str) -> String {
    match fact {
        Fact::Money(amount) => Usd::from_cents(amount.to_cents_half_up()).unwrap_or(amount).to_string(),
        Fact::Moment(at) => moment(at, zone),
        Fact::Text(text) => text,
    }
}

/// A zone that nobody knows counts as UTC, and the mail says so.
fn moment(at: Timestamp, zone: &str) -> String {
    let instant = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let (zone, name) = match TimeZone::get(zone) {
        Ok(known) => (known, zone),
        Err(_) => (TimeZone::UTC, "UTC"),
    };
    format!("{} ({name})", instant.to_zoned(zone).strftime("%-d %b %Y, %H:%M"))
}

pub(super) fn hashed(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_the_readers_zone_and_says_which() {
        let at = Timestamp::from_seconds(1_795_521_900);
        assert_eq!(moment(at, "Europe/Vienna"), "24 Nov 2026, 13:05 (Europe/Vienna)");
        assert_eq!(moment(at, "Nowhere/Nothing"), "24 Nov 2026, 12:05 (UTC)");
    }
}
