//! Owns: acting on a stored event, once or as often as it comes.
//! Does not own: what a payment or a subscription does to an account (`purchase`, `subscription`).
//! Invariant: an event only says where to look; what is acted on is the object as Stripe's API has it now, so order,
//! repetition and delay of events change nothing.

use super::Failure;
use super::event::Envelope;
use super::money_back::{DisputeId, WarningId};
use super::object::{CustomerId, PaymentIntentId, PaymentMethodId, SessionId};
use super::plan::SubscriptionId;
use crate::error::{Error, Result};
use crate::purchase::{self, Effect};
use crate::subscription::{self, Applied};
use crate::{Server, dispute, on_read, on_tx, payment_method, refund, top_up};

domain::text_enum! {
    /// The events that something here acts on.
    EventKind {
        CheckoutCompleted = "checkout.session.completed",
        CheckoutPaidLater = "checkout.session.async_payment_succeeded",
        CheckoutFailedLater = "checkout.session.async_payment_failed",
        CheckoutExpired = "checkout.session.expired",
        PaymentSucceeded = "payment_intent.succeeded",
        PaymentFailed = "payment_intent.payment_failed",
        PaymentNeedsAction = "payment_intent.requires_action",
        PaymentCanceled = "payment_intent.canceled",
        SubscriptionCreated = "customer.subscription.created",
        SubscriptionUpdated = "customer.subscription.updated",
        SubscriptionDeleted = "customer.subscription.deleted",
        SubscriptionPaused = "customer.subscription.paused",
        SubscriptionResumed = "customer.subscription.resumed",
        TrialWillEnd = "customer.subscription.trial_will_end",
        InvoicePaid = "invoice.paid",
        InvoiceFailed = "invoice.payment_failed",
        InvoiceNeedsAction = "invoice.payment_action_required",
        InvoiceFinalized = "invoice.finalized",
        InvoiceUpcoming = "invoice.upcoming",
        CardSetUp = "setup_intent.succeeded",
        CardAttached = "payment_method.attached",
        CardDetached = "payment_method.detached",
        CardUpdated = "payment_method.automatically_updated",
        CustomerUpdated = "customer.updated",
        CustomerDeleted = "customer.deleted",
        ChargeRefunded = "charge.refunded",
        ChargeRefundUpdated = "charge.refund.updated",
        RefundCreated = "refund.created",
        RefundUpdated = "refund.updated",
        RefundFailed = "refund.failed",
        DisputeCreated = "charge.dispute.created",
        DisputeUpdated = "charge.dispute.updated",
        DisputeFundsWithdrawn = "charge.dispute.funds_withdrawn",
        DisputeFundsReinstated = "charge.dispute.funds_reinstated",
        DisputeClosed = "charge.dispute.closed",
        FraudWarningCreated = "radar.early_fraud_warning.created",
        FraudWarningUpdated = "radar.early_fraud_warning.updated",
    }
}

domain::text_enum! {
    /// What became of a stored event.
    EventState {
        /// Not acted on yet.
        New = "new",
        Applied = "applied",
        /// Nothing here acts on it.
        Ignored = "ignored",
        /// It could not be acted on, for a reason that a person should see.
        Failed = "failed",
    }
}

#[derive(sqlx::FromRow)]
struct StoredEvent {
    stripe_event_id: String,
    payload: String,
    #[sqlx(try_from = "String")]
    state: EventState,
}

/// Acts on the stored event. Applying it again does nothing more. An error means that it is still to be done.
pub async fn apply_stored(server: &Server, stripe_event_id: &str) -> Result<()> {
    let stored: Option<StoredEvent> = on_read!(&server.db, conn => {
        sqlx::query_as("select stripe_event_id, payload, state from stripe_event where stripe_event_id = $1")
            .bind(stripe_event_id)
            .fetch_optional(conn)
            .await
    })?;
    let Some(event) = stored else {
        return Err(Error::Internal(format!("there is no stripe_event {stripe_event_id}")));
    };
    match event.state {
        EventState::Applied | EventState::Ignored => Ok(()),
        EventState::New | EventState::Failed => {
            let (state, problem) = apply(server, &event).await?;
            if state == EventState::Failed && event.state == EventState::New {
                tracing::error!(stripe_event_id, problem, "a Stripe event could not be applied");
            }
            record(server, &event, state, problem).await
        }
    }
}

/// Applies events that were stored and left: by a crash, by jobs that gave up, or because their cause has passed.
/// `new` ones that are older than `patience_seconds`, `failed` ones for `failed_seconds`. Answers how many.
pub async fn apply_left_over(server: &Server, patience_seconds: i64, failed_seconds: i64) -> Result<usize> {
    let now = server.clock.now();
    let left: Vec<String> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   stripe_event_id
             from     stripe_event
             where    (state = 'new' and received_at < $1) or (state = 'failed' and received_at > $2)
             order by state desc, received_at desc
             limit    200",
        )
        .bind(now.plus_seconds(-patience_seconds))
        .bind(now.plus_seconds(-failed_seconds))
        .fetch_all(conn)
        .await
    })?;
    for stripe_event_id in &left {
        if let Err(error) = apply_stored(server, stripe_event_id).await {
            tracing::warn!(%error, stripe_event_id, "a stored event could not be applied; the next sweep tries again");
        }
    }
    Ok(left.len())
}

/// What to record for the event: its state, and the problem if there is one.
async fn apply(server: &Server, event: &StoredEvent) -> Result<(EventState, Option<String>)> {
    let failed = |problem: &str| Ok((EventState::Failed, Some(problem.to_owned())));
    let envelope = match Envelope::parse(&event.payload) {
        Ok(envelope) => envelope,
        Err(problem) => return failed(&problem),
    };
    let Ok(kind) = envelope.kind.parse::<EventKind>() else {
        return Ok((EventState::Ignored, None));
    };
    if envelope.live != server.config.stripe.live {
        return failed("the event is of the other mode (livemode) than STRIPE_SECRET_KEY");
    }
    let Some(object_id) = envelope.object_id.clone() else { return failed("the event names no object") };

    match kind {
        EventKind::CheckoutCompleted
        | EventKind::CheckoutPaidLater
        | EventKind::CheckoutFailedLater
        | EventKind::CheckoutExpired => match server.stripe.load_checkout(&SessionId::new(object_id)).await {
            Ok(checkout) if checkout.plan_change_id.is_some() => {
                subscription::apply_checkout(server, &checkout).await.map(of_plan)
            }
            Ok(checkout) if checkout.card_setup_id.is_some() => {
                payment_method::apply_setup(server, &checkout.session_id).await.map(|_| (EventState::Applied, None))
            }
            Ok(checkout) => purchase::apply_checkout(server, &checkout).await.map(of_purchase),
            Err(Failure::Missing) => failed("Stripe has no such Checkout Session"),
            Err(failure) => Err(failure.into()),
        },
        EventKind::PaymentSucceeded
        | EventKind::PaymentFailed
        | EventKind::PaymentNeedsAction
        | EventKind::PaymentCanceled => match server.stripe.load_payment(&PaymentIntentId::new(object_id)).await {
            Ok(payment) => match top_up::apply_payment(server, &payment).await? {
                Some(effect) => Ok(of_purchase(effect)),
                None => purchase::apply_payment(server, &payment).await.map(of_purchase),
            },
            Err(Failure::Missing) => failed("Stripe has no such PaymentIntent"),
            Err(failure) => Err(failure.into()),
        },
        EventKind::SubscriptionCreated
        | EventKind::SubscriptionUpdated
        | EventKind::SubscriptionDeleted
        | EventKind::SubscriptionPaused
        | EventKind::SubscriptionResumed
        | EventKind::TrialWillEnd => subscription::refresh(server, &SubscriptionId::new(object_id)).await.map(of_plan),
        EventKind::InvoicePaid
        | EventKind::InvoiceFailed
        | EventKind::InvoiceNeedsAction
        | EventKind::InvoiceFinalized
        | EventKind::InvoiceUpcoming => match envelope.subscription_id {
            Some(subscription_id) => {
                subscription::refresh(server, &SubscriptionId::new(subscription_id)).await.map(of_plan)
            }
            None => Ok((EventState::Ignored, Some("the invoice is for no subscription".to_owned()))),
        },
        EventKind::CardSetUp | EventKind::CardAttached | EventKind::CardDetached | EventKind::CardUpdated => {
            // A card that was detached names no customer any more.
            if kind != EventKind::CardSetUp {
                payment_method::refresh(server, &PaymentMethodId::new(object_id)).await?;
            }
            match envelope.customer_id {
                Some(customer_id) => {
                    subscription::refresh_customer(server, &CustomerId::new(customer_id)).await.map(of_plan)
                }
                None if kind == EventKind::CardDetached => Ok((EventState::Applied, None)),
                None => Ok((EventState::Ignored, Some("the card belongs to no customer".to_owned()))),
            }
        }
        EventKind::ChargeRefunded
        | EventKind::ChargeRefundUpdated
        | EventKind::RefundCreated
        | EventKind::RefundUpdated
        | EventKind::RefundFailed => match envelope.payment_intent_id {
            Some(payment) => refund::refresh(server, &PaymentIntentId::new(payment)).await.map(of_money_back),
            None => Ok((EventState::Ignored, Some("the refund names no payment".to_owned()))),
        },
        EventKind::DisputeCreated
        | EventKind::DisputeUpdated
        | EventKind::DisputeFundsWithdrawn
        | EventKind::DisputeFundsReinstated
        | EventKind::DisputeClosed => dispute::refresh(server, &DisputeId::new(object_id)).await.map(of_money_back),
        EventKind::FraudWarningCreated | EventKind::FraudWarningUpdated => {
            dispute::refresh_warning(server, &WarningId::new(object_id)).await.map(of_money_back)
        }
        EventKind::CustomerUpdated | EventKind::CustomerDeleted => {
            subscription::refresh_customer(server, &CustomerId::new(object_id)).await.map(of_plan)
        }
    }
}

/// What to record of an event about a plan.
fn of_plan(applied: Applied) -> (EventState, Option<String>) {
    match applied {
        Applied::Stored => (EventState::Applied, None),
        Applied::NotOurs => (EventState::Ignored, Some("it is about no subscription of ours".to_owned())),
        Applied::Unplaced { problem } => (EventState::Failed, Some(problem)),
    }
}

/// What to record of an event about money that went back.
fn of_money_back(applied: Applied) -> (EventState, Option<String>) {
    match applied {
        Applied::Stored => (EventState::Applied, None),
        Applied::NotOurs => (EventState::Ignored, Some("no credit was bought with this payment".to_owned())),
        Applied::Unplaced { problem } => (EventState::Failed, Some(problem)),
    }
}

/// What to record of an event about a purchase.
fn of_purchase(effect: Effect) -> (EventState, Option<String>) {
    match effect {
        Effect::Granted | Effect::AlreadyPaid | Effect::Ended | Effect::Nothing => (EventState::Applied, None),
        Effect::HeldBack { problem } => (EventState::Applied, Some(problem)),
        Effect::PaidTwice { problem } => (EventState::Failed, Some(problem)),
        Effect::UnknownPurchase => {
            (EventState::Failed, Some("it names a purchase that is not in the database".to_owned()))
        }
        Effect::NotOurs => (EventState::Ignored, Some("it names no purchase".to_owned())),
    }
}

async fn record(server: &Server, event: &StoredEvent, state: EventState, problem: Option<String>) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update stripe_event
             set    state = $1, problem = $2, applied_at = $3
             where  stripe_event_id = $4 and state in ('new', 'failed')",
        )
        .bind(state.as_str())
        .bind(problem)
        .bind(server.clock.now())
        .bind(&event.stripe_event_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}
