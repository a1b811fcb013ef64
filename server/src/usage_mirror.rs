//! Owns: telling Stripe's billing meters what was run, hour by hour, for installations that want to see it there.
//! Does not own: usage (`usage`), or money: nothing here is charged, and nothing waits for it.
//! Invariant: an hour is told once: its account and hour are the event's identifier, which Stripe takes only once.

use crate::error::Result;
use crate::stripe::Failure;
use crate::stripe::billing::MeterEvent;
use crate::stripe::object::CustomerId;
use crate::{Server, on_read, on_tx};
use domain::id::AccountId;
use domain::time::Timestamp;

/// How long after its end an hour is told, so that runs that ended in it are all counted.
const CLOSED_SECONDS: i64 = 4_200;
/// Stripe takes what is at most 35 days old; a day of reserve.
const OLDEST_SECONDS: i64 = 34 * 86_400;
/// Hours that are told in one sweep; the next one goes on.
const BATCH: i64 = 500;

#[derive(sqlx::FromRow)]
struct Hour {
    account_id: AccountId,
    hour: Timestamp,
    executions: i64,
    stripe_customer_id: CustomerId,
}

/// Tells Stripe the hours that are over and were not told yet, if a meter is set (`STRIPE_METER`). Answers how many were
/// told. Safe on several nodes at once: a second telling is refused by Stripe and counts as told.
pub async fn mirror(server: &Server) -> Result<usize> {
    let Some(meter) = server.config.stripe.meter.clone() else { return Ok(0) };
    note_closed_hours(server).await?;
    let hours = list_open(server).await?;
    for hour in &hours {
        let event = MeterEvent {
            name: &meter,
            identifier: format!("{}:{}", hour.account_id, hour.hour.seconds()),
            customer_id: &hour.stripe_customer_id,
            value: hour.executions,
            at: hour.hour,
        };
        match server.stripe.tell_meter(&event).await {
            Ok(()) => end(server, hour, "sent", None).await?,
            Err(Failure::Refused(problem)) if problem.contains("already exists") => {
                end(server, hour, "sent", None).await?;
            }
            Err(failure @ (Failure::Refused(_) | Failure::Missing | Failure::NoCustomer | Failure::Declined(_))) => {
                end(server, hour, "failed", Some(&failure.to_string())).await?;
            }
            // Stripe is away: the next sweep begins here again.
            Err(Failure::NoAnswer(_)) => break,
        }
    }
    Ok(hours.len())
}

/// Tells the hours again that were refused, with the next sweep. Answers how many there are.
pub async fn replay_failed(server: &Server) -> Result<u64> {
    let mut tx = server.db.begin().await?;
    let count = on_tx!(&mut tx, conn => {
        sqlx::query("update meter_event set state = 'open', problem = null where state = 'failed'")
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(count)
}

async fn note_closed_hours(server: &Server) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into meter_event (account_id, hour, executions, state, created_at)
             select   u.account_id, u.hour, sum(u.executions), 'open', $1
             from     usage_hour u
             join     account a on a.account_id = u.account_id
             where    u.hour >= $2 and u.hour <= $3 and a.stripe_customer_id is not null
             and      not exists (select 1 from meter_event m where m.account_id = u.account_id and m.hour = u.hour)
             group by u.account_id, u.hour
             on conflict (account_id, hour) do nothing",
        )
        .bind(now)
        .bind(now.plus_seconds(-OLDEST_SECONDS))
        .bind(now.plus_seconds(-CLOSED_SECONDS))
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

async fn list_open(server: &Server) -> Result<Vec<Hour>> {
    let hours = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   m.account_id, m.hour, m.executions, a.stripe_customer_id
             from     meter_event m
             join     account a on a.account_id = m.account_id
             where    m.state = 'open' and a.stripe_customer_id is not null
             order by m.hour
             limit    $1",
        )
        .bind(BATCH)
        .fetch_all(conn)
        .await
    })?;
    Ok(hours)
}

async fn end(server: &Server, hour: &Hour, state: &'static str, problem: Option<&str>) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update meter_event
             set    state = $1, problem = $2, sent_at = $3
             where  account_id = $4 and hour = $5 and state = 'open'",
        )
        .bind(state)
        .bind(problem)
        .bind(server.clock.now())
        .bind(&hour.account_id)
        .bind(hour.hour)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}
