//! Owns: healing what webhooks missed: purchases that wait too long, events that were stored and not applied.
//! Does not own: what the news does (`complete`, `stripe::apply`).
//! Invariant: a purchase and an event that fail do not keep the others from their turn.

use super::checkout::{CHECKOUT_SECONDS, open_checkout};
use super::{PurchaseRow, PurchaseState, complete};
use crate::Server;
use crate::error::Result;
use crate::on_read;
use crate::stripe::{Failure, apply};
use domain::id::PurchaseId;

/// How long a webhook may take before we ask ourselves.
const PATIENCE_SECONDS: i64 = 120;
/// How long a failed event is tried again; as long as its cause may well pass.
const FAILED_EVENT_SECONDS: i64 = 86_400;
/// How many are read at a time.
const PAGE: i64 = 50;
/// How many pages one sweep reads at most.
const MOST_PAGES: usize = 40;

/// Asks Stripe about purchases that have waited for more than two minutes, and takes up events that were stored but not
/// applied, so that lost webhooks cost nothing. Answers how many were looked at. Safe on several nodes at once.
pub async fn reconcile(server: &Server) -> Result<usize> {
    let purchases = reconcile_purchases(server).await?;
    let events = apply::apply_left_over(server, PATIENCE_SECONDS, FAILED_EVENT_SECONDS).await?;
    Ok(purchases.saturating_add(events))
}

async fn reconcile_purchases(server: &Server) -> Result<usize> {
    let mut after = PurchaseId::new("");
    let mut count = 0_usize;
    for _ in 0..MOST_PAGES {
        let rows = list_waiting(server, &after).await?;
        let Some(last) = rows.last() else { break };
        after = last.purchase.purchase_id.clone();
        count = count.saturating_add(rows.len());
        for row in rows {
            if let Err(error) = reconcile_one(server, &row).await {
                let purchase_id = &row.purchase.purchase_id;
                tracing::warn!(%error, %purchase_id, "a purchase could not be reconciled; the next sweep tries again");
            }
        }
    }
    Ok(count)
}

async fn reconcile_one(server: &Server, row: &PurchaseRow) -> Result<()> {
    let purchase_id = &row.purchase.purchase_id;
    let expired = server.clock.now() > row.purchase.created_at.plus_seconds(CHECKOUT_SECONDS);
    let checkout = match (&row.stripe_session_id, &row.stripe_customer_id) {
        (Some(session_id), _) => server.stripe.load_checkout(session_id).await,
        // The answer was lost on the way: the same call with the same key brings it back. Later than this Stripe would
        // refuse the expiry, and nobody has the address of its page.
        (None, Some(customer_id)) if can_still_open(server, row) => open_checkout(server, row, customer_id).await,
        (None, _) if expired => Err(Failure::Missing),
        (None, _) => return Ok(()),
    };
    match checkout {
        Ok(checkout) => complete::apply_checkout(server, &checkout).await.map(drop),
        Err(Failure::Missing) if expired => {
            complete::end(server, purchase_id, PurchaseState::Expired, None).await.map(drop)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Stripe wants at least 30 minutes until the expiry.
fn can_still_open(server: &Server, row: &PurchaseRow) -> bool {
    let last_moment = row.purchase.created_at.plus_seconds(CHECKOUT_SECONDS - 31 * 60);
    server.clock.now() < last_moment
}

async fn list_waiting(server: &Server, after: &PurchaseId) -> Result<Vec<PurchaseRow>> {
    let rows = on_read!(&server.db, conn => {
        sqlx::query_as(select_purchase!(
            "where  p.state = 'pending' and p.origin = 'checkout' and p.created_at < $1 and p.purchase_id > $2
             order  by p.purchase_id
             limit  $3"
        ))
        .bind(server.clock.now().plus_seconds(-PATIENCE_SECONDS))
        .bind(after)
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    Ok(rows)
}
