//! Owns: healing what webhooks missed about plans: subscriptions that are due, and Checkouts that wait.
//! Invariant: one that fails does not keep the others from their turn.

use super::apply;
use crate::Server;
use crate::error::Result;
use crate::on_read;
use crate::stripe::Failure;
use crate::stripe::object::SessionId;
use crate::stripe::plan::SubscriptionId;
use domain::id::PlanChangeId;

/// How long a webhook may take before we ask ourselves.
const PATIENCE_SECONDS: i64 = 120;
/// A Checkout that is older than this cannot be paid any more, even if Stripe does not know it.
const LONGEST_SECONDS: i64 = 86_400;
/// How many are read in one sweep; the next sweep reads the rest.
const PAGE: i64 = 500;

/// Asks Stripe about subscriptions that are due (a renewal, a payment that is missing or on its way) and about Checkouts
/// that have waited for two minutes. Answers how many were looked at. Safe on several nodes at once.
pub async fn reconcile(server: &Server) -> Result<usize> {
    let due = list_due(server).await?;
    for subscription_id in &due {
        if let Err(error) = apply::refresh(server, subscription_id).await {
            tracing::warn!(%error, %subscription_id, "a subscription could not be read; the next sweep tries again");
        }
    }
    let waiting = list_waiting(server).await?;
    for checkout in &waiting {
        if let Err(error) = reconcile_checkout(server, checkout).await {
            let plan_change_id = &checkout.plan_change_id;
            tracing::warn!(%error, %plan_change_id, "a Checkout could not be read; the next sweep tries again");
        }
    }
    Ok(due.len().saturating_add(waiting.len()))
}

async fn list_due(server: &Server) -> Result<Vec<SubscriptionId>> {
    let due = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   stripe_subscription_id
             from     subscription
             where    look_at is not null and look_at <= $1
             order by look_at
             limit    $2",
        )
        .bind(server.clock.now())
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    Ok(due)
}

#[derive(sqlx::FromRow)]
struct Waiting {
    plan_change_id: PlanChangeId,
    stripe_session_id: Option<SessionId>,
    is_old: bool,
}

async fn list_waiting(server: &Server) -> Result<Vec<Waiting>> {
    let now = server.clock.now();
    let rows: Vec<Waiting> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   plan_change_id, stripe_session_id, created_at < $1 as is_old
             from     plan_change
             where    state = 'pending' and created_at < $2
             order by created_at
             limit    $3",
        )
        .bind(now.plus_seconds(-LONGEST_SECONDS))
        .bind(now.plus_seconds(-PATIENCE_SECONDS))
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    Ok(rows)
}

async fn reconcile_checkout(server: &Server, waiting: &Waiting) -> Result<()> {
    let checkout = match &waiting.stripe_session_id {
        Some(session_id) => server.stripe.load_checkout(session_id).await,
        None => Err(Failure::Missing),
    };
    match checkout {
        Ok(checkout) => apply::apply_checkout(server, &checkout).await.map(drop),
        // A preview that nobody confirmed, or a Checkout whose answer was lost.
        Err(Failure::Missing) if waiting.is_old => {
            apply::end_change(server, &waiting.plan_change_id, "expired", None).await
        }
        Err(Failure::Missing) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}
