//! Owns: that a subscription is changed by one at a time: what a change costs was shown for it as it stood.
//! Does not own: the changes (`confirm`, `seat`, `key_grace`).
//! Invariant: whoever reads a subscription in order to change it takes the lease before reading, and one that is lost ends by
//! itself.

use crate::error::Result;
use crate::{Server, on_tx};
use domain::denial::Denial;
use domain::id::AccountId;

/// Longer than the calls to Stripe of one change can take, with their retries.
const LEASE_SECONDS: i64 = 300;

/// The right to change an account's subscription.
#[must_use = "the subscription stays closed for others until the lease is released or too old"]
pub(super) struct Lease {
    account_id: AccountId,
    by: String,
}

/// Takes the lease of the account's live subscription for `by`, which may take it again. Denials: `NotFound` without a
/// subscription, `Conflict` while another change has it.
pub(super) async fn take(server: &Server, account_id: &AccountId, by: &str) -> Result<Lease> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let taken = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update subscription
             set    changing_by = $1, changing_until = $2
             where  account_id = $3 and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             and    (changing_by is null or changing_by = $1 or changing_until <= $4)",
        )
        .bind(by)
        .bind(now.plus_seconds(LEASE_SECONDS))
        .bind(account_id)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    if taken > 0 {
        return Ok(Lease { account_id: account_id.clone(), by: by.to_owned() });
    }
    match super::row::load_live(server, account_id).await? {
        Some(_) => {
            let problem =
                "Another change of this plan is being made at this moment. Look at your plan again, then choose.";
            Err(Denial::Conflict { problem: problem.to_owned() }.into())
        }
        None => Err(Denial::NotFound { what: "subscription".to_owned() }.into()),
    }
}

impl Lease {
    /// Lets others change it. If that fails, the lease ends by itself.
    pub(super) async fn release(self, server: &Server) {
        let released = async {
            let mut tx = server.db.begin().await?;
            on_tx!(&mut tx, conn => {
                sqlx::query(
                    "update subscription
                     set    changing_by = null, changing_until = null
                     where  account_id = $1 and changing_by = $2",
                )
                .bind(&self.account_id)
                .bind(&self.by)
                .execute(conn)
                .await
                .map(drop)
            })?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, account_id = %self.account_id, "the lease of a subscription could not be released");
        }
    }
}
