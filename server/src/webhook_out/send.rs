//! Owns: sending what is due: leasing, one try, its record, when the next one is, and giving a webhook up.
//! Does not own: the outbox (`outbox`). It has a worker of its own, so that a receiver that hangs never holds up a job.
//! Invariant: a message is tried until it is delivered or a day is over; one at a time to each webhook.

use super::secret::SecretRow;
use super::sign::signature;
use crate::error::{Error, Result};
use crate::notice::{self, Notice};
use crate::provider_key::guard;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, DeliveryId, WebhookId};
use domain::time::Timestamp;
use reqwest::StatusCode;
use std::time::Duration;

/// How long one try may take, looking the name up included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer that refuses, for the log, and for how long.
const MOST_BYTES: usize = 1_024;
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker may keep a message before another may take it; longer than a try.
const LEASE_SECONDS: i64 = 60;
/// Messages that are tried at once.
const BATCH: i64 = 32;
/// The pauses after each failed try, in seconds: together 23.6 hours, and up to a tenth more by chance.
const PAUSES: [i64; 8] = [5, 60, 300, 1_800, 7_200, 18_000, 28_800, 28_800];

#[derive(sqlx::FromRow)]
struct Leased {
    delivery_id: DeliveryId,
    webhook_id: WebhookId,
    account_id: AccountId,
    payload: String,
    attempts: i64,
    tries: i64,
    is_test: i64,
    first_tried_at: Option<Timestamp>,
    leased_until: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Target {
    url: String,
    state: String,
    #[sqlx(flatten)]
    secret: SecretRow,
}

/// How one try ended.
struct Outcome {
    status: Option<StatusCode>,
    problem: Option<String>,
    duration: Duration,
}

/// Sends what is due until `server` stops. Several may run, here and on other nodes.
pub async fn work(server: Server) {
    while !server.tasks.is_stopping() {
        let sent = run_due(&server).await.unwrap_or_else(|error| {
            tracing::error!(%error, "webhooks could not be sent");
            0
        });
        if sent == 0 {
            tokio::select! {
                () = server.webhook_wake.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = server.tasks.stopping() => {}
            }
        }
    }
}

/// Tries a batch of messages that are due, at most one to each webhook; how many.
pub async fn run_due(server: &Server) -> Result<usize> {
    let leased = lease(server).await?;
    let count = leased.len();
    for outcome in futures::future::join_all(leased.into_iter().map(|message| run_one(server, message))).await {
        if let Err(error) = outcome {
            tracing::error!(%error, "a webhook's message; it is tried again when its lease is over");
        }
    }
    Ok(count)
}

async fn lease(server: &Server) -> Result<Vec<Leased>> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let leased = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            "update webhook_delivery
             set    leased_until = $1
             where  delivery_id in (
                        select   min(d.delivery_id)
                        from     webhook_delivery d
                        where    d.state = 'open' and d.next_at <= $2
                                 and not exists (select 1 from webhook_delivery busy
                                                 where  busy.webhook_id = d.webhook_id and busy.state = 'open'
                                                        and busy.leased_until > $2)
                        group by d.webhook_id
                        order by min(d.next_at)
                        limit    $3
                    )
                    and state = 'open' and (leased_until is null or leased_until <= $2)
             returning delivery_id, webhook_id, account_id, payload, attempts, tries, is_test, first_tried_at, leased_until",
        )
        .bind(now.plus_seconds(LEASE_SECONDS))
        .bind(now)
        .bind(BATCH)
        .fetch_all(conn)
        .await
    })?;
    tx.commit().await?;
    Ok(leased)
}

async fn run_one(server: &Server, message: Leased) -> Result<()> {
    let target = load_target(server, &message.webhook_id).await?;
    // A test is sent to one that is off, too: that is how one finds out whether it works again.
    let target = target.filter(|target| target.state == "enabled" || message.is_test != 0);
    let Some(target) = target else { return drop_message(server, &message).await };
    let tried_at = server.clock.now();
    let begun = server.clock.monotonic();
    let (status, problem) = match tokio::time::timeout(TIMEOUT, attempt(server, &target, &message)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(Error::Denied(Denial::Invalid { problem, .. }))) => (None, Some(problem)),
        Ok(Err(Error::Denied(denial))) => (None, Some(denial.sentence())),
        Ok(Err(error @ Error::Internal(_))) => return Err(error),
        Err(_elapsed) => (None, Some(format!("no answer within {} seconds", TIMEOUT.as_secs()))),
    };
    let duration = server.clock.monotonic().saturating_sub(begun);
    record(server, &message, tried_at, Outcome { status, problem, duration }).await
}

async fn load_target(server: &Server, webhook_id: &WebhookId) -> Result<Option<Target>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select url, state, webhook_id, account_id, sealed, wrapped_key, key_version, master_version, former_sealed,
                    former_wrapped_key, former_version, former_master, former_until
             from   webhook
             where  webhook_id = $1 and deleted_at is null",
        )
        .bind(webhook_id)
        .fetch_optional(conn)
        .await
    })?)
}

/// Sends the message once; the status that was answered, and what was wrong. The address is looked up, checked and pinned
/// each time.
async fn attempt(server: &Server, target: &Target, message: &Leased) -> Result<(Option<StatusCode>, Option<String>)> {
    let now = server.clock.now();
    let secrets = target.secret.open(server, now)?;
    let secrets: Vec<&str> = secrets.iter().map(secrecy::ExposeSecret::expose_secret).collect();
    let id = message.delivery_id.as_str();
    let signed = signature(&secrets, id, now.seconds(), &message.payload);
    let (client, url) = guard::client_for(server, &target.url).await?;
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now.seconds())
        .header("webhook-signature", signed)
        .body(message.payload.clone())
        .send()
        .await;
    let mut response = match sent {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ok((None, Some("it cannot be reached".to_owned()))),
        Err(error) if error.is_timeout() => return Ok((None, Some("no answer in time".to_owned()))),
        Err(_) => return Ok((None, Some("the connection broke off".to_owned()))),
    };
    let status = response.status();
    if status.is_success() {
        return Ok((Some(status), None));
    }
    if status.is_redirection() {
        return Ok((Some(status), Some(format!("it redirects ({}), which is not followed", status.as_u16()))));
    }
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= MOST_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(READ_TIMEOUT, read).await;
    let words = String::from_utf8_lossy(&body).chars().filter(|char| !char.is_control()).take(200).collect::<String>();
    let words = words.trim();
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    Ok((Some(status), Some(format!("it answered {}{said}", status.as_u16()))))
}

/// Writes the try down with what follows from it, unless another worker has taken the message since.
async fn record(server: &Server, message: &Leased, tried_at: Timestamp, outcome: Outcome) -> Result<()> {
    let now = server.clock.now();
    let first_tried_at = message.first_tried_at.unwrap_or(tried_at);
    let is_gone = outcome.status == Some(StatusCode::GONE);
    let pause = usize::try_from(message.tries).ok().and_then(|tries| PAUSES.get(tries)).copied();
    let (state, next_at) = match (&outcome.problem, pause) {
        (None, _) => ("delivered", now),
        // A test is tried once: somebody is looking.
        (Some(_), Some(pause)) if !is_gone && message.is_test == 0 => {
            ("open", now.plus_seconds(jittered(server, pause)))
        }
        (Some(_), Some(_) | None) => ("given_up", now),
    };
    let ended_at = (state != "open").then_some(now);

    let mut tx = server.db.begin().await?;
    let recorded = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook_delivery
             set    state = $1, next_at = $2, ended_at = $3, attempts = attempts + 1, tries = tries + 1, first_tried_at = $4,
                    leased_until = null
             where  delivery_id = $5 and state = 'open' and leased_until = $6",
        )
        .bind(state)
        .bind(next_at)
        .bind(ended_at)
        .bind(first_tried_at)
        .bind(&message.delivery_id)
        .bind(message.leased_until)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if recorded == 0 {
        return tx.rollback().await;
    }
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into webhook_attempt (delivery_id, number, tried_at, duration_ms, status, problem)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&message.delivery_id)
        .bind(message.attempts.saturating_add(1))
        .bind(tried_at)
        .bind(i64::try_from(outcome.duration.as_millis()).unwrap_or(i64::MAX))
        .bind(outcome.status.map(|status| i64::from(status.as_u16())))
        .bind(&outcome.problem)
        .execute(conn)
        .await
        .map(drop)
    })?;
    let failing_since: Option<Timestamp> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update webhook
             set    failing_since = case when $1 = '' then null else coalesce(failing_since, $2) end,
                    problem = case when $1 = '' then null else $1 end
             where  webhook_id = $3
             returning failing_since",
        )
        .bind(outcome.problem.as_deref().unwrap_or_default())
        .bind(tried_at)
        .bind(&message.webhook_id)
        .fetch_optional(conn)
        .await
        .map(Option::flatten)
    })?;
    // Nothing else got through since this message was first tried, or the receiver says that it is gone for good.
    let is_hopeless = is_gone || failing_since.is_some_and(|since| since <= first_tried_at);
    if let (Some(problem), "given_up", 0, true) = (&outcome.problem, state, message.is_test, is_hopeless) {
        give_webhook_up(&mut tx, server, message, (failing_since.unwrap_or(tried_at), problem)).await?;
    }
    tx.commit().await?;
    tracing::info!(delivery_id = %message.delivery_id, webhook_id = %message.webhook_id, state,
        status = outcome.status.map(|status| status.as_u16()), problem = outcome.problem, "a webhook was tried");
    Ok(())
}

/// Switches the webhook off, drops what waits for it, and tells its people, once.
async fn give_webhook_up(
    tx: &mut crate::db::Tx,
    server: &Server,
    message: &Leased,
    (failing_since, problem): (Timestamp, &str),
) -> Result<()> {
    let url: Option<String> = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar(
            "update webhook set state = 'failed' where webhook_id = $1 and state = 'enabled' and deleted_at is null
             returning url",
        )
        .bind(&message.webhook_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some(url) = url else { return Ok(()) };
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update webhook_delivery set state = 'dropped', ended_at = $1 where webhook_id = $2 and state = 'open'",
        )
        .bind(server.clock.now())
        .bind(&message.webhook_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    let key = format!("webhook_disabled:{}:{}", message.webhook_id, failing_since.micros());
    let notice = Notice::WebhookDisabled { url, failing_since, problem: problem.to_owned() };
    notice::raise(tx, &server.clock, &message.account_id, &notice, &key).await?;
    Ok(())
}

async fn drop_message(server: &Server, message: &Leased) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook_delivery
             set    state = 'dropped', ended_at = $1, leased_until = null
             where  delivery_id = $2 and state = 'open' and leased_until = $3",
        )
        .bind(server.clock.now())
        .bind(&message.delivery_id)
        .bind(message.leased_until)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Up to a tenth longer, by chance, so that what failed together is not tried together.
fn jittered(server: &Server, pause: i64) -> i64 {
    let [random] = server.clock.random_bytes::<1>();
    pause.saturating_add(pause.saturating_mul(i64::from(random)) / 2_560)
}
