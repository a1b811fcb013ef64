//! Owns: what we know of Stripe's subscriptions, invoices and prices, as few words as a plan needs.
//! Does not own: calling Stripe (`billing`), or what they mean for an account (`subscription`).
//! Invariant: each is made only from an object that Stripe's API answered with.

use super::client::Failure;
use super::object::CustomerId;
use domain::id::{AccountId, PlanChangeId, PlanId};
use domain::money::Cents;
use domain::period::Period;
use domain::subscription::{KeyMode, SubscriptionStatus, Terms};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

super::object::stripe_id!(
    /// A subscription, `sub_…`.
    SubscriptionId,
    /// A subscription's one item, `si_…`: a change of plan swaps its price.
    ItemId,
    /// A price, `price_…`.
    PriceId,
    /// A product; ours have ids that we chose.
    ProductId,
    /// An invoice, `in_…`.
    InvoiceId,
);

/// The keys of our metadata on subscriptions.
pub const ACCOUNT_ID: &str = "account_id";
pub const PLAN_CHANGE_ID: &str = "plan_change_id";
const HAD_PLAN: &str = "had_plan";
const HAD_KEY_MODE: &str = "had_key_mode";
const HAD_SEATS: &str = "had_seats";
const HAD_UNTIL: &str = "had_until";

/// What was paid for and is still had, after less was chosen for the next period. It stands in the subscription's
/// metadata, so that Stripe alone is enough to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Had {
    pub terms: Terms,
    pub until: Timestamp,
}

impl Had {
    /// As metadata. `None` takes it away.
    pub fn to_metadata(had: Option<&Had>) -> HashMap<String, String> {
        let text = |value: Option<String>| value.unwrap_or_default();
        HashMap::from([
            (HAD_PLAN.to_owned(), text(had.map(|had| had.terms.plan.to_string()))),
            (HAD_KEY_MODE.to_owned(), text(had.map(|had| had.terms.key_mode.to_string()))),
            (HAD_SEATS.to_owned(), text(had.map(|had| had.terms.seats.to_string()))),
            (HAD_UNTIL.to_owned(), text(had.map(|had| had.until.seconds().to_string()))),
        ])
    }

    fn from_metadata(metadata: &HashMap<String, String>) -> Option<Had> {
        let terms = Terms {
            plan: PlanId::new(metadata.get(HAD_PLAN)?),
            key_mode: metadata.get(HAD_KEY_MODE)?.parse().ok()?,
            seats: metadata.get(HAD_SEATS)?.parse().ok()?,
        };
        let until = metadata.get(HAD_UNTIL)?.parse().ok()?;
        Some(Had { terms, until: Timestamp::from_seconds(until) })
    }
}

/// A subscription as Stripe has it now.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub subscription_id: SubscriptionId,
    pub customer_id: CustomerId,
    /// Ours, if we began it.
    pub account_id: Option<AccountId>,
    pub plan_change_id: Option<PlanChangeId>,
    pub status: SubscriptionStatus,
    pub item_id: ItemId,
    pub price_id: PriceId,
    pub unit: Cents,
    pub seats: u32,
    pub period: Period,
    pub trial_end: Option<Timestamp>,
    pub cancels_at: Option<Timestamp>,
    pub had: Option<Had>,
    /// The same for the same card, whoever pays with it.
    pub card_fingerprint: Option<String>,
    pub live: bool,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl Subscription {
    pub(super) fn from_stripe(sub: stripe_shared::Subscription) -> Result<Subscription, Failure> {
        let odd = |what: &str| Failure::Refused(format!("subscription {} {what}", sub.id));
        let status = sub.status.as_str().parse().map_err(|error| odd(&format!("has a status: {error}")))?;
        let item = sub.items.data.first().ok_or_else(|| odd("has no item"))?;
        let period = Period {
            start: Timestamp::from_seconds(item.current_period_start),
            end: Timestamp::from_seconds(item.current_period_end),
        };
        let card = sub.default_payment_method.as_ref().and_then(|method| method.as_object()?.card.as_ref());
        let at_end = sub.cancel_at_period_end.then_some(period.end);
        Ok(Subscription {
            subscription_id: SubscriptionId::new(sub.id.as_str()),
            customer_id: CustomerId::new(sub.customer.id().as_str()),
            account_id: sub.metadata.get(ACCOUNT_ID).map(AccountId::new),
            plan_change_id: sub.metadata.get(PLAN_CHANGE_ID).map(PlanChangeId::new),
            status,
            item_id: ItemId::new(item.id.as_str()),
            price_id: PriceId::new(item.price.id.as_str()),
            unit: Cents(item.price.unit_amount.unwrap_or(0)),
            seats: item.quantity.and_then(|quantity| u32::try_from(quantity).ok()).unwrap_or(1).max(1),
            period,
            trial_end: sub.trial_end.map(Timestamp::from_seconds),
            cancels_at: sub.cancel_at.map(Timestamp::from_seconds).or(at_end),
            // After a renewal only what is billed is had.
            had: Had::from_metadata(&sub.metadata).filter(|had| had.until > period.start),
            card_fingerprint: card.and_then(|card| card.fingerprint.clone()),
            live: sub.livemode,
            created_at: Timestamp::from_seconds(sub.created),
            ended_at: sub.ended_at.map(Timestamp::from_seconds),
        })
    }
}

domain::text_enum! {
    /// Where an invoice stands, as Stripe says it.
    InvoiceStatus {
        /// Not final yet: it has no number and nobody is asked to pay it.
        Draft = "draft",
        Open = "open",
        Paid = "paid",
        Uncollectible = "uncollectible",
        Void = "void",
    }
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    pub text: String,
    pub amount: Cents,
    /// For a part of a period, after a change.
    pub proration: bool,
}

/// An invoice as Stripe has it now, or would make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    pub invoice_id: InvoiceId,
    pub subscription_id: Option<SubscriptionId>,
    pub number: Option<String>,
    pub status: InvoiceStatus,
    /// Such as `subscription_cycle`.
    pub reason: Option<String>,
    pub lines: Vec<InvoiceLine>,
    /// What promotion codes take off.
    pub off: Cents,
    pub total: Cents,
    /// After the credit that the customer has at Stripe.
    pub due: Cents,
    pub paid: Cents,
    /// The customer's credit before it; negative is credit.
    pub balance: Cents,
    pub period: Period,
    pub attempts: i64,
    pub next_attempt_at: Option<Timestamp>,
    /// Stripe's page, where it can be seen and paid.
    pub page_url: Option<String>,
    pub pdf_url: Option<String>,
    pub created_at: Timestamp,
    pub finalized_at: Option<Timestamp>,
    pub paid_at: Option<Timestamp>,
}

impl Invoice {
    pub(super) fn from_stripe(invoice: stripe_shared::Invoice) -> Result<Invoice, Failure> {
        let status = invoice.status.as_ref().map_or("draft", |status| status.as_str());
        let status = status.parse().map_err(|error| Failure::Refused(format!("an invoice has a status: {error}")))?;
        let lines = invoice.lines.data.into_iter().map(line_from_stripe).collect();
        let parent = invoice.parent.and_then(|parent| parent.subscription_details);
        Ok(Invoice {
            invoice_id: InvoiceId::new(invoice.id.as_ref().map_or("", |id| id.as_str())),
            subscription_id: parent.map(|details| SubscriptionId::new(details.subscription.id().as_str())),
            number: invoice.number,
            status,
            reason: invoice.billing_reason.map(|reason| reason.as_str().to_owned()),
            lines,
            off: Cents(invoice.total_discount_amounts.unwrap_or_default().iter().map(|off| off.amount).sum()),
            total: Cents(invoice.total),
            due: Cents(invoice.amount_due),
            paid: Cents(invoice.amount_paid),
            balance: Cents(invoice.starting_balance),
            period: Period {
                start: Timestamp::from_seconds(invoice.period_start),
                end: Timestamp::from_seconds(invoice.period_end),
            },
            attempts: i64::try_from(invoice.attempt_count).unwrap_or(i64::MAX),
            next_attempt_at: invoice.next_payment_attempt.map(Timestamp::from_seconds),
            page_url: invoice.hosted_invoice_url,
            pdf_url: invoice.invoice_pdf,
            created_at: Timestamp::from_seconds(invoice.created),
            finalized_at: invoice.status_transitions.finalized_at.map(Timestamp::from_seconds),
            paid_at: invoice.status_transitions.paid_at.map(Timestamp::from_seconds),
        })
    }
}

fn line_from_stripe(line: stripe_shared::InvoiceLineItem) -> InvoiceLine {
    let details = line.parent.and_then(|parent| parent.subscription_item_details);
    InvoiceLine {
        text: line.description.unwrap_or_default(),
        amount: Cents(line.amount),
        proration: details.is_some_and(|details| details.proration),
    }
}

/// A price at Stripe, as far as it can differ from the catalogue's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceAtStripe {
    pub price_id: PriceId,
    pub product_id: ProductId,
    pub lookup_key: Option<String>,
    pub unit: Option<Cents>,
    /// Lower case, such as `usd`.
    pub currency: String,
    pub monthly: bool,
    pub active: bool,
}

impl PriceAtStripe {
    pub(super) fn from_stripe(price: stripe_shared::Price) -> PriceAtStripe {
        let monthly = |recurring: stripe_shared::Recurring| {
            recurring.interval == stripe_shared::RecurringInterval::Month && recurring.interval_count == 1
        };
        PriceAtStripe {
            price_id: PriceId::new(price.id.as_str()),
            product_id: ProductId::new(price.product.id().as_str()),
            lookup_key: price.lookup_key,
            unit: price.unit_amount.map(Cents),
            currency: price.currency.to_string(),
            monthly: price.recurring.is_some_and(monthly),
            active: price.active,
        }
    }
}

/// A price to make at Stripe.
#[derive(Clone, Debug)]
pub struct NewPrice<'a> {
    pub lookup_key: &'a str,
    pub product_id: &'a ProductId,
    pub nickname: String,
    pub unit: Cents,
    pub plan: &'a PlanId,
    pub key_mode: KeyMode,
}
