//! Owns: the events that came or should have come: keeping each once with the job that applies it, and fetching from
//! Stripe those whose delivery was lost.
//! Does not own: whether a delivery is genuine (`event`), or what an event does (`apply`).
//! Invariant: an event is kept once, whichever way it came; what is fetched comes from Stripe's API with our key.

use crate::error::{Error, Result};
use crate::job::{self, Job, NewJob};
use crate::{Server, on_read, on_tx};
use domain::time::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use std::time::Duration;

/// Deliveries may overtake each other by so much, so fetching begins that long before the newest one.
const OVERLAP_SECONDS: i64 = 3_600;
/// How far back is looked when nothing was ever delivered.
const FIRST_LOOK_SECONDS: i64 = 86_400;
/// Pages of a hundred that are read at most; the next sweep goes on.
const MOST_PAGES: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the event and the job that applies it, in one transaction; false if it was kept before.
pub async fn keep(server: &Server, stripe_event_id: &str, kind: &str, payload: &str) -> Result<bool> {
    let mut tx = server.db.begin().await?;
    let inserted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into stripe_event (stripe_event_id, kind, payload, state, received_at)
             values ($1, $2, $3, 'new', $4)
             on conflict (stripe_event_id) do nothing",
        )
        .bind(stripe_event_id)
        .bind(kind)
        .bind(payload)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 1 {
        let unique_key = Some(["apply_stripe_event:", stripe_event_id].concat());
        let job = Job::ApplyStripeEvent { stripe_event_id: stripe_event_id.to_owned() };
        job::insert(&mut tx, &server.clock, NewJob { unique_key, ..NewJob::now(job, &server.clock) }).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(inserted == 1)
}

/// Asks Stripe for the events since the newest one that we have, and keeps those that never arrived. Answers how many
/// were missing. Safe on several nodes at once.
pub async fn fetch_missed(server: &Server) -> Result<usize> {
    let newest: Option<Timestamp> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select max(received_at) from stripe_event").fetch_one(conn).await
    })?;
    let since = newest.map_or_else(
        || server.clock.now().plus_seconds(-FIRST_LOOK_SECONDS),
        |newest| newest.plus_seconds(-OVERLAP_SECONDS),
    );
    let mut missing = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let page = list_page(server, since, after.as_deref()).await?;
        let events = page.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        after = events.last().and_then(|event| event.get("id")?.as_str().map(str::to_owned));
        missing.extend(events);
        if after.is_none() || page.get("has_more").and_then(Value::as_bool) != Some(true) {
            break;
        }
    }
    let mut count = 0_usize;
    // The oldest first, so that a sweep that is cut short goes on where it stopped.
    for event in missing.iter().rev() {
        let field = |name: &str| event.get(name).and_then(Value::as_str);
        let (Some(id), Some(kind)) = (field("id"), field("type")) else { continue };
        if keep(server, id, kind, &event.to_string()).await? {
            count = count.saturating_add(1);
        }
    }
    if count > 0 {
        tracing::warn!(count, "events whose delivery was lost were fetched from Stripe");
    }
    Ok(count)
}

async fn list_page(server: &Server, since: Timestamp, after: Option<&str>) -> Result<Value> {
    let stripe = &server.config.stripe;
    let mut address = format!("{}v1/events?limit=100&created[gte]={}", stripe.api_url, since.seconds());
    if let Some(after) = after {
        address.push_str("&starting_after=");
        address.push_str(after);
    }
    let failed = |error: reqwest::Error| Error::internal("list Stripe's events", error.without_url());
    let answer = server
        .http
        .get(address)
        .bearer_auth(stripe.secret_key.expose_secret())
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(failed)?;
    answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
}
