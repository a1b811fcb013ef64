//! Owns: sending the money of a refund, and sending again what got lost.
//! Invariant: before Stripe is asked to pay it is asked whether it has; a refusal gives the credit back, silence does not.

use super::news::{self, Pending};
use crate::error::Result;
use crate::stripe::Failure;
use crate::{Server, ledger, on_read};
use domain::id::RefundId;
use domain::time::Timestamp;

/// How long a refund may take before we look ourselves.
const PATIENCE_SECONDS: i64 = 120;
/// How many are looked at in one sweep.
const PAGE: i64 = 100;

/// Sends the money of a pending refund. Doing it again asks Stripe first, and makes no second refund. An error means
/// that the answer is not known, and it must be tried again.
pub async fn send(server: &Server, refund_id: &RefundId) -> Result<()> {
    let Some(refund) = news::load_pending(server, refund_id).await? else { return Ok(()) };
    // An answer that was lost: the refund is there already.
    news::refresh(server, &refund.payment_intent_id).await?;
    let Some(refund) = news::load_pending(server, refund_id).await? else { return Ok(()) };
    if refund.stripe_refund_id.is_some() {
        return Ok(());
    }
    let Pending { payment_intent_id, cash, .. } = &refund;
    match server.stripe.create_refund(refund_id, payment_intent_id, *cash).await {
        Ok(stripe_refund) => news::keep(server, &refund, &stripe_refund).await,
        Err(Failure::Refused(problem) | Failure::Declined(problem)) => {
            tracing::error!(%refund_id, problem, "Stripe refused a refund; its credit is given back");
            news::give_up(server, &refund, "Stripe did not accept it").await
        }
        Err(Failure::Missing | Failure::NoCustomer) => {
            news::give_up(server, &refund, "Stripe does not know the payment").await
        }
        Err(failure @ Failure::NoAnswer(_)) => Err(failure.into()),
    }
}

/// Looks after refunds whose webhook or job was lost, and pays what is owed from credit that has come free. Answers how
/// many were looked at. Safe on several nodes at once.
pub async fn reconcile(server: &Server) -> Result<usize> {
    let waiting = list_waiting(server).await?;
    for (refund_id, _) in &waiting {
        if let Err(error) = send(server, refund_id).await {
            tracing::warn!(%error, %refund_id, "a refund could not be reconciled; the next sweep tries again");
        }
    }
    let owing = ledger::list_to_settle(server).await?;
    for account_id in &owing {
        let mut tx = server.db.begin().await?;
        news::settle(&mut tx, server, account_id).await?;
        tx.commit().await?;
    }
    Ok(waiting.len().saturating_add(owing.len()))
}

async fn list_waiting(server: &Server) -> Result<Vec<(RefundId, Timestamp)>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select refund_id, created_at
             from   refund
             where  state = 'pending' and created_at < $1
             order  by created_at
             limit  $2",
        )
        .bind(server.clock.now().plus_seconds(-PATIENCE_SECONDS))
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?)
}
