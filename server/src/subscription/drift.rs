//! Owns: telling whoever runs this installation where somebody edited prices at Stripe by hand: a price that differs from the
//! catalogue, and a subscription that pays one of no catalogue.
//! Does not own: finding a price's difference (`price`) or keeping the plan that was bought (`apply`).
//! Invariant: what differs is shown and never followed; looking changes nothing at Stripe.

use super::price::{self, SyncMode, SyncOutcome};
use crate::error::Result;
use crate::stripe::plan::SubscriptionId;
use crate::{Server, on_read};

/// Subscriptions that are listed at most.
const LIST: i64 = 200;

/// A subscription that Stripe bills in another way than the catalogue says.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Odd {
    #[sqlx(rename = "stripe_subscription_id")]
    pub subscription_id: SubscriptionId,
    pub account_name: String,
    pub problem: String,
}

/// Looks at the catalogue's prices at Stripe, and counts what differs for `/metrics`
/// (`tokenbank_stripe_drift{what="price"|"subscription"}`); the log names each. Answers how many. Safe on several nodes.
pub async fn look_for_drift(server: &Server) -> Result<usize> {
    let lines = price::sync(server, SyncMode::DryRun).await?;
    let mut prices = 0_u32;
    for line in lines {
        let drift = match line.outcome {
            SyncOutcome::Drift(problem) => {
                prices = prices.saturating_add(1);
                Some(problem)
            }
            SyncOutcome::Kept | SyncOutcome::Made => None,
        };
        price::note_drift(server, &line.lookup_key, drift.as_deref()).await?;
    }
    let odd = list_odd(server).await?;
    for Odd { subscription_id, problem, .. } in &odd {
        tracing::warn!(%subscription_id, problem, "a subscription is billed in another way than the catalogue says");
    }
    metrics::gauge!("tokenbank_stripe_drift", "what" => "price").set(prices);
    metrics::gauge!("tokenbank_stripe_drift", "what" => "subscription")
        .set(u32::try_from(odd.len()).unwrap_or(u32::MAX));
    Ok(odd.len().saturating_add(usize::try_from(prices).unwrap_or(usize::MAX)))
}

/// The live subscriptions that are billed in another way than the catalogue says; at most 200.
pub async fn list_odd(server: &Server) -> Result<Vec<Odd>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   s.stripe_subscription_id, a.name as account_name, s.problem
             from     subscription s
             join     account a on a.account_id = s.account_id
             where    s.problem is not null and s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             order by s.stripe_subscription_id
             limit    $1",
        )
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}
