//! Owns: the row of an account's live subscription, as work on it needs it.

use crate::error::{Error, Result};
use crate::stripe::object::CustomerId;
use crate::stripe::plan::{ItemId, PriceId, SubscriptionId};
use crate::{Server, on_read};
use domain::id::{AccountId, PlanId};
use domain::money::Cents;
use domain::period::Period;
use domain::subscription::{SubscriptionStatus, Terms};
use domain::time::Timestamp;

/// The subscription that an account has now.
#[derive(Clone, Debug)]
pub(super) struct LiveRow {
    pub account_id: AccountId,
    pub subscription_id: SubscriptionId,
    pub customer_id: Option<CustomerId>,
    pub item_id: ItemId,
    pub price_id: PriceId,
    pub unit: Cents,
    pub status: SubscriptionStatus,
    /// What Stripe bills next.
    pub billed: Terms,
    /// What the account has until the period ends.
    pub had: Terms,
    pub period: Period,
    pub trial_end: Option<Timestamp>,
    pub cancels_at: Option<Timestamp>,
    pub unpaid_since: Option<Timestamp>,
    pub problem: Option<String>,
    /// The catalogue it was bought from.
    pub catalogue_version: String,
}

#[derive(sqlx::FromRow)]
struct Stored {
    account_id: AccountId,
    stripe_subscription_id: SubscriptionId,
    stripe_customer_id: Option<CustomerId>,
    stripe_item_id: ItemId,
    stripe_price_id: PriceId,
    unit_cents: Cents,
    status: String,
    plan_id: PlanId,
    key_mode: String,
    seats: i64,
    had_plan_id: PlanId,
    had_key_mode: String,
    had_seats: i64,
    period_start: Timestamp,
    period_end: Timestamp,
    trial_end: Option<Timestamp>,
    cancels_at: Option<Timestamp>,
    unpaid_since: Option<Timestamp>,
    problem: Option<String>,
    catalogue_version: String,
}

/// The account's subscription, unless it has none or it is over.
pub(super) async fn load_live(server: &Server, account_id: &AccountId) -> Result<Option<LiveRow>> {
    let stored: Option<Stored> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select s.account_id, s.stripe_subscription_id, a.stripe_customer_id, s.stripe_item_id, s.stripe_price_id,
                    s.unit_cents, s.status, s.plan_id, s.key_mode, s.seats, s.had_plan_id, s.had_key_mode, s.had_seats,
                    s.period_start, s.period_end, s.trial_end, s.cancels_at, s.unpaid_since, s.problem,
                    s.catalogue_version
             from   subscription s
             join   account a on a.account_id = s.account_id
             where  s.account_id = $1 and s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    stored.map(LiveRow::from_stored).transpose()
}

impl LiveRow {
    fn from_stored(stored: Stored) -> Result<LiveRow> {
        let seats = |seats: i64| u32::try_from(seats).map_err(|error| Error::internal("subscription.seats", error));
        Ok(LiveRow {
            status: stored.status.parse()?,
            billed: Terms { plan: stored.plan_id, key_mode: stored.key_mode.parse()?, seats: seats(stored.seats)? },
            had: Terms {
                plan: stored.had_plan_id,
                key_mode: stored.had_key_mode.parse()?,
                seats: seats(stored.had_seats)?,
            },
            account_id: stored.account_id,
            subscription_id: stored.stripe_subscription_id,
            customer_id: stored.stripe_customer_id,
            item_id: stored.stripe_item_id,
            price_id: stored.stripe_price_id,
            unit: stored.unit_cents,
            period: Period { start: stored.period_start, end: stored.period_end },
            trial_end: stored.trial_end,
            cancels_at: stored.cancels_at,
            unpaid_since: stored.unpaid_since,
            problem: stored.problem,
            catalogue_version: stored.catalogue_version,
        })
    }
}
