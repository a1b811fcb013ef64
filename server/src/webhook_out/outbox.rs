//! Owns: the messages to webhooks: put into the outbox with their cause, listed with their attempts, sent once more by hand.
//! Does not own: sending (`send`).

use crate::account::{Permission, User};
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{Notice, NoticeKind};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, DeliveryId, NoticeId, WebhookId};
use domain::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a test is called.
pub const TEST_EVENT: &str = "webhook.test";
/// The form of the payload; it changes when a receiver would have to.
const VERSION: u32 = 1;
/// How long the log is kept.
const KEEP_SECONDS: i64 = 30 * 86_400;
/// Messages that wait for one webhook; more are not taken in, so that a dead receiver does not fill the database.
const MOST_WAITING: i64 = 10_000;

domain::text_enum! {
    /// How a message fared.
    DeliveryState {
        /// It is due, or waits for its next attempt.
        Open = "open",
        Delivered = "delivered",
        /// A day of attempts failed.
        GivenUp = "given_up",
        /// Its webhook was switched off or deleted before.
        Dropped = "dropped",
    }
}

/// A message in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub delivery_id: DeliveryId,
    pub event: String,
    pub is_test: bool,
    pub state: DeliveryState,
    pub next_at: Timestamp,
    pub created_at: Timestamp,
    /// The last ones, newest first, at most 10.
    pub attempts: Vec<Attempt>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: i64,
    pub tried_at: Timestamp,
    pub duration_ms: i64,
    /// What was answered; nothing when nobody answered.
    pub status: Option<i64>,
    pub problem: Option<String>,
}

/// The event's name for a kind of notice.
pub fn event_of(kind: NoticeKind) -> String {
    format!("notice.{kind}")
}

/// Puts a notice into the outbox for each webhook of the account that wants it, in the caller's transaction.
pub async fn enqueue(
    tx: &mut Tx,
    server: &Server,
    (account_id, notice_id): (&AccountId, &NoticeId),
    notice: &Notice,
) -> Result<()> {
    let webhooks: Vec<(WebhookId, Option<String>)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            "select webhook_id, kinds
             from   webhook
             where  account_id = $1 and state = 'enabled' and deleted_at is null
             order  by webhook_id",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    for (webhook_id, kinds) in webhooks {
        let kinds: Option<Vec<NoticeKind>> = kinds.map(|json| serde_json::from_str(&json)).transpose()?;
        if kinds.is_none_or(|kinds| kinds.contains(&notice.kind())) {
            let (_, path) = notice.remedy();
            let mut data = serde_json::to_value(notice)?;
            if let Some(data) = data.as_object_mut() {
                data.insert("title".to_owned(), json!(notice.title()));
                data.insert("text".to_owned(), json!(notice.text()));
                data.insert("url".to_owned(), json!(format!("{}{path}", server.config.public_url)));
            }
            let message = Message { event: &event_of(notice.kind()), data, notice_id: Some(notice_id) };
            insert(tx, server, (account_id, &webhook_id), message).await?;
        }
    }
    Ok(())
}

/// Sends a test, marked as one, to a webhook of the account, on or off. Denials: `RoleMayNot`, `NotFound`.
pub async fn send_test(server: &Server, user: &User, webhook_id: &WebhookId) -> Result<DeliveryId> {
    user.require(Permission::ManageApiKeys)?;
    let mut tx = server.db.begin().await?;
    let known: Option<String> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "select webhook_id from webhook where webhook_id = $1 and account_id = $2 and deleted_at is null",
        )
        .bind(webhook_id)
        .bind(&user.account_id)
        .fetch_optional(conn)
        .await
    })?;
    known.ok_or_else(not_found)?;
    let data =
        json!({ "kind": "test", "title": "This is a test", "text": "Nothing happened; you asked for this message." });
    let message = Message { event: TEST_EVENT, data, notice_id: None };
    let delivery_id = insert(&mut tx, server, (&user.account_id, webhook_id), message).await?;
    tx.commit().await?;
    server.webhook_wake.notify_one();
    Ok(delivery_id)
}

struct Message<'a> {
    event: &'a str,
    data: Value,
    notice_id: Option<&'a NoticeId>,
}

async fn insert(
    tx: &mut Tx,
    server: &Server,
    (account_id, webhook_id): (&AccountId, &WebhookId),
    message: Message<'_>,
) -> Result<DeliveryId> {
    let now = server.clock.now();
    let delivery_id = DeliveryId::new(server.clock.new_id());
    let is_test = message.event == TEST_EVENT;
    let payload = json!({
        "version": VERSION,
        "id": delivery_id,
        "type": message.event,
        "timestamp": written(now),
        "test": is_test,
        "account_id": account_id,
        "data": message.data,
    });
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into webhook_delivery (delivery_id, webhook_id, account_id, notice_id, event, payload, is_test, state,
                                           attempts, tries, next_at, created_at)
             select $1, $2, $3, $4, $5, $6, $7, 'open', 0, 0, $8, $8
             where  (select count(*) from webhook_delivery where webhook_id = $2 and state = 'open') < $9
             on conflict (webhook_id, notice_id) do nothing",
        )
        .bind(&delivery_id)
        .bind(webhook_id)
        .bind(account_id)
        .bind(message.notice_id)
        .bind(message.event)
        .bind(payload.to_string())
        .bind(i64::from(is_test))
        .bind(now)
        .bind(MOST_WAITING)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(delivery_id)
}

/// `2027-01-15T08:00:00Z`.
fn written(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default()
}

/// Sends a message once more under its id, with a schedule of its own. One that is under way or waits is sent at once.
/// Denials: `RoleMayNot`, `NotFound`.
pub async fn replay(server: &Server, user: &User, delivery_id: &DeliveryId) -> Result<()> {
    user.require(Permission::ManageApiKeys)?;
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook_delivery
             set    state = 'open', ended_at = null, next_at = $1, tries = 0, first_tried_at = null
             where  delivery_id = $2 and account_id = $3
                    and exists (select 1 from webhook w where w.webhook_id = webhook_delivery.webhook_id and w.deleted_at is null)",
        )
        .bind(server.clock.now())
        .bind(delivery_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 0 {
        return Err(Denial::NotFound { what: "message".to_owned() }.into());
    }
    tx.commit().await?;
    server.webhook_wake.notify_one();
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    delivery_id: DeliveryId,
    event: String,
    is_test: i64,
    state: String,
    next_at: Timestamp,
    created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    delivery_id: DeliveryId,
    number: i64,
    tried_at: Timestamp,
    duration_ms: i64,
    status: Option<i64>,
    problem: Option<String>,
}

/// The newest messages to a webhook of the account, at most 50, those before the given one, with their attempts.
pub async fn list_deliveries(
    server: &Server,
    (account_id, webhook_id): (&AccountId, &WebhookId),
    before: Option<&DeliveryId>,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let limit = limit.clamp(1, 50);
    let rows: Vec<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select delivery_id, event, is_test, state, next_at, created_at
             from   webhook_delivery
             where  account_id = $1 and webhook_id = $2 and ($3 is null or delivery_id < $3)
             order  by delivery_id desc
             limit  $4",
        )
        .bind(account_id)
        .bind(webhook_id)
        .bind(before)
        .bind(limit)
        .fetch_all(conn)
        .await
    })?;
    let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let tried: Vec<AttemptRow> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select a.delivery_id, a.number, a.tried_at, a.duration_ms, a.status, a.problem
             from   webhook_attempt a
             join   webhook_delivery d on d.delivery_id = a.delivery_id
             where  d.webhook_id = $1 and a.delivery_id between $2 and $3 and a.number > d.attempts - 10
             order  by a.delivery_id, a.number desc",
        )
        .bind(webhook_id)
        .bind(&oldest.delivery_id)
        .bind(&newest.delivery_id)
        .fetch_all(conn)
        .await
    })?;
    let mut attempts: BTreeMap<DeliveryId, Vec<Attempt>> = BTreeMap::new();
    for AttemptRow { delivery_id, number, tried_at, duration_ms, status, problem } in tried {
        let attempt = Attempt { number, tried_at, duration_ms, status, problem };
        attempts.entry(delivery_id).or_default().push(attempt);
    }
    rows.into_iter()
        .map(|row| {
            Ok(Delivery {
                attempts: attempts.remove(&row.delivery_id).unwrap_or_default(),
                state: row.state.parse()?,
                is_test: row.is_test != 0,
                delivery_id: row.delivery_id,
                event: row.event,
                next_at: row.next_at,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// Forgets messages that ended more than 30 days ago, with their attempts.
pub async fn forget_old(server: &Server) -> Result<()> {
    let before = server.clock.now().plus_seconds(-KEEP_SECONDS);
    let mut tx = server.db.begin().await?;
    for statement in [
        "delete from webhook_attempt where delivery_id in (select delivery_id from webhook_delivery where ended_at < $1)",
        "delete from webhook_delivery where ended_at < $1",
    ] {
        on_tx!(&mut tx, conn => sqlx::query(statement).bind(before).execute(conn).await.map(drop))?;
    }
    tx.commit().await
}

fn not_found() -> Denial {
    Denial::NotFound { what: "webhook".to_owned() }
}
