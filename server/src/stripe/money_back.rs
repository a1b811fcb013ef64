//! Owns: calling Stripe about money that goes back: refunds, disputes, early fraud warnings.
//! Does not own: time-outs and retries (`client`), or what the news does (`refund`, `dispute`).
//! Invariant: a refund's idempotency key is our refund's id, the same one on each retry.

use super::client::{Client, Failure, idempotent};
use super::object::{PaymentIntentId, stripe_id};
use crate::Server;
use domain::dispute::DisputeState;
use domain::id::RefundId;
use domain::money::Cents;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use stripe::StripeRequest as _;
use stripe_core::dispute::RetrieveDispute;
use stripe_core::refund::{CreateRefund, CreateRefundReason, ListRefund};

/// The key of our metadata on refunds.
const REFUND_ID: &str = "refund_id";
/// Pages of a hundred refunds of one payment that are read at most.
const MOST_PAGES: usize = 10;
const TIMEOUT: Duration = Duration::from_secs(10);

stripe_id!(
    /// A refund at Stripe, `re_…`.
    StripeRefundId,
    /// A dispute at Stripe, `dp_…` or `du_…`.
    DisputeId,
    /// An early fraud warning, `issfr_…`.
    WarningId,
);

/// A refund as Stripe has it now.
#[derive(Clone, Debug)]
pub struct StripeRefund {
    pub stripe_refund_id: StripeRefundId,
    /// Ours, if it was asked for here.
    pub refund_id: Option<RefundId>,
    pub amount: Cents,
    pub money: RefundMoney,
}

/// Where a refund's money is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundMoney {
    OnItsWay,
    Sent,
    /// It stays with us, for the reason given.
    Failed {
        problem: String,
    },
}

/// A dispute as Stripe has it now.
#[derive(Clone, Debug)]
pub struct StripeDispute {
    pub amount: Cents,
    pub currency: String,
    pub reason: String,
    pub state: DisputeState,
    /// Stripe names no customer, only the payment.
    pub payment_intent_id: Option<PaymentIntentId>,
    pub live: bool,
}

/// An early fraud warning as Stripe has it now.
#[derive(Clone, Debug)]
pub struct Warning {
    pub payment_intent_id: Option<PaymentIntentId>,
    /// Neither refunded nor disputed yet.
    pub is_open: bool,
    pub live: bool,
}

impl Client {
    /// Refunds a part of a payment, or answers with the refund that was made with this id before.
    pub async fn create_refund(
        &self,
        refund_id: &RefundId,
        payment_intent_id: &PaymentIntentId,
        amount: Cents,
    ) -> Result<StripeRefund, Failure> {
        let request = CreateRefund::new()
            .payment_intent(payment_intent_id.as_str())
            .amount(amount.0)
            .reason(CreateRefundReason::RequestedByCustomer)
            .metadata(HashMap::from([(REFUND_ID.to_owned(), refund_id.to_string())]));
        let strategy = idempotent(refund_id.as_str())?;
        self.send("make a refund", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await
            .map(StripeRefund::from_stripe)
    }

    /// Every refund of a payment, whoever made it.
    pub async fn list_refunds(&self, payment_intent_id: &PaymentIntentId) -> Result<Vec<StripeRefund>, Failure> {
        let mut refunds: Vec<StripeRefund> = Vec::new();
        for _ in 0..MOST_PAGES {
            let mut request = ListRefund::new().payment_intent(payment_intent_id.as_str()).limit(100);
            if let Some(last) = refunds.last() {
                request = request.starting_after(last.stripe_refund_id.as_str());
            }
            let page = self.send("list refunds", || request.send(&self.stripe)).await?;
            refunds.extend(page.data.into_iter().map(StripeRefund::from_stripe));
            if !page.has_more {
                return Ok(refunds);
            }
        }
        Err(Failure::Refused(format!("{payment_intent_id} has more refunds than are read")))
    }

    /// The dispute as it is now.
    pub async fn load_dispute(&self, dispute_id: &DisputeId) -> Result<StripeDispute, Failure> {
        let request = RetrieveDispute::new(dispute_id.as_str());
        let dispute = self.send("read a dispute", || request.send(&self.stripe)).await?;
        let state = dispute.status.as_str();
        Ok(StripeDispute {
            amount: Cents(dispute.amount),
            currency: dispute.currency.to_string(),
            reason: dispute.reason,
            state: state.parse().map_err(|_| Failure::Refused(format!("a dispute has the unknown state {state}")))?,
            payment_intent_id: dispute.payment_intent.map(|intent| PaymentIntentId::new(intent.id().as_str())),
            live: dispute.livemode,
        })
    }
}

/// The early fraud warning as it is now. async-stripe has no request for it, so it is asked for plainly.
pub async fn load_warning(server: &Server, warning_id: &WarningId) -> Result<Warning, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        actionable: bool,
        payment_intent: Option<String>,
        livemode: bool,
    }
    let stripe = &server.config.stripe;
    let no_answer = |error: reqwest::Error| Failure::NoAnswer(error.without_url().to_string());
    let answer = server
        .http
        .get(format!("{}v1/radar/early_fraud_warnings/{warning_id}", stripe.api_url))
        .bearer_auth(stripe.secret_key.expose_secret())
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(no_answer)?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Err(Failure::Missing);
    }
    let answer: Answer = answer.error_for_status().map_err(no_answer)?.json().await.map_err(no_answer)?;
    Ok(Warning {
        payment_intent_id: answer.payment_intent.map(PaymentIntentId::new),
        is_open: answer.actionable,
        live: answer.livemode,
    })
}

impl StripeRefund {
    fn from_stripe(refund: stripe_shared::Refund) -> StripeRefund {
        let money = match refund.status.as_deref() {
            Some("succeeded") => RefundMoney::Sent,
            Some("failed" | "canceled") => RefundMoney::Failed {
                problem: match refund.failure_reason.as_deref() {
                    Some("lost_or_stolen_card") => "The card was reported lost or stolen.".to_owned(),
                    Some("expired_or_canceled_card") => "The card has expired or was cancelled.".to_owned(),
                    Some("charge_for_pending_refund_disputed") => "The payment is disputed.".to_owned(),
                    Some(_) | None => "The bank did not take it.".to_owned(),
                },
            },
            Some(_) | None => RefundMoney::OnItsWay,
        };
        StripeRefund {
            stripe_refund_id: StripeRefundId::new(refund.id.as_str()),
            refund_id: refund.metadata.and_then(|mut metadata| metadata.remove(REFUND_ID)).map(RefundId::new),
            amount: Cents(refund.amount),
            money,
        }
    }
}
