//! Owns: calling Stripe about cards: leaving one without paying, charging one while its owner is away, asking the bank,
//! finding a charge whose answer was lost, letting a card go.
//! Does not own: whether anything may be charged (`top_up`), or whose card it is (`payment_method`).
//! Invariant: a charge carries the id of its top-up as idempotency key, so that asking again never charges again.

use super::client::{Client, Failure, idempotent};
use super::object::{
    CardSetup, Checkout, CustomerId, PURCHASE_ID, Payment, PaymentIntentId, PaymentMethodId, SessionId, StripeCard,
};
use super::plan::ACCOUNT_ID;
use domain::id::{AccountId, CardSetupId, PurchaseId};
use domain::money::Cents;
use domain::time::Timestamp;
use std::collections::HashMap;
use stripe::{StripeError, StripeRequest as _};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionSetupIntentData, RetrieveCheckoutSession,
};
use stripe_client_core::{RequestBuilder, StripeMethod};
use stripe_core::customer::RetrievePaymentMethodCustomer;
use stripe_core::payment_intent::{
    CancelPaymentIntent, ConfirmPaymentIntent, CreatePaymentIntent, CreatePaymentIntentOffSession, ListPaymentIntent,
    RetrievePaymentIntent,
};
use stripe_shared::{PaymentIntent, PaymentIntentSetupFutureUsage, PaymentMethod};

/// The key of our metadata on the page that a card is left on.
pub(super) const CARD_SETUP_ID: &str = "card_setup_id";
/// A clock at Stripe may differ from ours by so much.
const SKEW_SECONDS: i64 = 300;
/// How many payments of a customer are looked through at a time.
const PAGE: i64 = 100;
/// How many pages at most.
const MOST_PAGES: usize = 20;

/// A page to leave a card on. The same fields must be sent on each retry.
pub struct NewCardSetup<'a> {
    /// Also the idempotency key.
    pub card_setup_id: &'a CardSetupId,
    pub account_id: &'a AccountId,
    pub customer_id: &'a CustomerId,
    pub expires_at: Timestamp,
    pub success_url: String,
    pub cancel_url: String,
}

/// A charge while the customer is away. The same fields must be sent on each retry.
pub struct NewCharge<'a> {
    /// Also the idempotency key, and what the payment says it is for.
    pub top_up_id: &'a PurchaseId,
    pub customer_id: &'a CustomerId,
    pub payment_method_id: &'a PaymentMethodId,
    pub price: Cents,
    pub description: String,
    /// Where the bank's page leads back to, should the bank want to ask later.
    pub return_url: String,
}

impl Client {
    /// Makes Stripe's page for leaving a card, or answers with the one that this setup has already.
    pub async fn create_card_setup(&self, new: NewCardSetup<'_>) -> Result<Checkout, Failure> {
        let metadata = HashMap::from([
            (ACCOUNT_ID.to_owned(), new.account_id.to_string()),
            (CARD_SETUP_ID.to_owned(), new.card_setup_id.to_string()),
        ]);
        let mut data = CreateCheckoutSessionSetupIntentData::new();
        data.metadata = Some(metadata.clone());
        let request = CreateCheckoutSession::new()
            .mode(stripe_shared::CheckoutSessionMode::Setup)
            .currency(stripe_types::Currency::USD)
            .setup_intent_data(data)
            .metadata(metadata)
            .client_reference_id(new.card_setup_id.as_str())
            .customer(new.customer_id.as_str())
            .expires_at(new.expires_at.seconds())
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        let strategy = idempotent(new.card_setup_id.as_str())?;
        let session = self
            .send("create a Checkout Session for a card", || {
                request.customize().request_strategy(strategy.clone()).send(&self.stripe)
            })
            .await?;
        Ok(Checkout::from_stripe(session))
    }

    /// What became of such a page, with the card that was left.
    pub async fn load_card_setup(&self, session_id: &SessionId) -> Result<CardSetup, Failure> {
        let request =
            RetrieveCheckoutSession::new(session_id.as_str()).expand(vec!["setup_intent.payment_method".to_owned()]);
        let session = self.send("read a Checkout Session for a card", || request.send(&self.stripe)).await?;
        Ok(CardSetup::from_stripe(session))
    }

    /// The card that a payment was paid with, if it stays with the customer.
    pub async fn load_card_of_payment(&self, payment: &PaymentIntentId) -> Result<Option<StripeCard>, Failure> {
        let request = RetrievePaymentIntent::new(payment.as_str()).expand(vec!["payment_method".to_owned()]);
        let intent = self.send("read the card of a payment", || request.send(&self.stripe)).await?;
        Ok(intent.payment_method.and_then(StripeCard::from_expanded))
    }

    /// The customer's card as it is now; `None` if it is not theirs any more.
    pub async fn load_card(
        &self,
        customer: &CustomerId,
        card: &PaymentMethodId,
    ) -> Result<Option<StripeCard>, Failure> {
        let request = RetrievePaymentMethodCustomer::new(customer.as_str(), card.as_str());
        match self.send("read a card", || request.send(&self.stripe)).await {
            Ok(method) => Ok(StripeCard::from_stripe(method)),
            Err(Failure::Missing) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Takes the card from its customer, for good. One that is gone already is no failure.
    pub async fn detach_card(&self, card: &PaymentMethodId) -> Result<(), Failure> {
        let path = format!("/payment_methods/{card}/detach");
        let strategy = idempotent(&format!("detach:{card}"))?;
        let detached = self
            .send("detach a card", || {
                let request = RequestBuilder::new(StripeMethod::Post, path.clone()).customize::<PaymentMethod>();
                let strategy = strategy.clone();
                async move { request.request_strategy(strategy).send(&self.stripe).await }
            })
            .await;
        match detached {
            Ok(_) | Err(Failure::Missing | Failure::Refused(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Charges a kept card while its owner is away. A decline is an answer: the payment as it stands, unpaid, with the
    /// bank's code. A failure means that nobody knows; the same call again, or [`Client::find_payment`], tells.
    pub async fn charge_off_session(&self, new: NewCharge<'_>) -> Result<Payment, Failure> {
        let metadata = HashMap::from([(PURCHASE_ID.to_owned(), new.top_up_id.to_string())]);
        let request = CreatePaymentIntent::new(new.price.0, stripe_types::Currency::USD)
            .customer(new.customer_id.as_str())
            .payment_method(new.payment_method_id.as_str())
            .off_session(CreatePaymentIntentOffSession::Bool(true))
            .confirm(true)
            .error_on_requires_action(true)
            .description(new.description)
            .metadata(metadata)
            .return_url(new.return_url);
        let strategy = idempotent(new.top_up_id.as_str())?;
        let intent = self
            .send("charge a card", || {
                let (request, strategy) = (request.clone(), strategy.clone());
                async move { declined(request.customize().request_strategy(strategy).send(&self.stripe).await) }
            })
            .await?;
        Ok(Payment::from_stripe(intent))
    }

    /// The customer's payment for this purchase, looked for among those made since a moment: for a charge whose answer
    /// was lost. `None` is certain only once nothing can be on its way any more.
    pub async fn find_payment(
        &self,
        customer_id: &CustomerId,
        purchase_id: &PurchaseId,
        since: Timestamp,
    ) -> Result<Option<Payment>, Failure> {
        let since = stripe_types::RangeQueryTs::gte(since.plus_seconds(-SKEW_SECONDS).seconds());
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut request = ListPaymentIntent::new().customer(customer_id.as_str()).created(since).limit(PAGE);
            if let Some(after) = &after {
                request = request.starting_after(after.as_str());
            }
            let page = self.send("list payments", || request.send(&self.stripe)).await?;
            after = page.data.last().map(|intent| intent.id.to_string());
            let names = |intent: &PaymentIntent| {
                intent.metadata.get(PURCHASE_ID).map(String::as_str) == Some(purchase_id.as_str())
            };
            if let Some(found) = page.data.into_iter().find(names) {
                return Ok(Some(Payment::from_stripe(found)));
            }
            if !page.has_more || after.is_none() {
                return Ok(None);
            }
        }
        Err(Failure::NoAnswer("there are more payments than were looked through".to_owned()))
    }

    /// Asks the bank again, with the customer there: paid, or unpaid with the address of the bank's page.
    pub async fn confirm_on_session(
        &self,
        idempotency_key: &str,
        payment: &PaymentIntentId,
        card: &PaymentMethodId,
        return_url: &str,
    ) -> Result<Payment, Failure> {
        let request = ConfirmPaymentIntent::new(payment.as_str())
            .payment_method(card.as_str())
            .return_url(return_url)
            .setup_future_usage(PaymentIntentSetupFutureUsage::OffSession);
        let strategy = idempotent(idempotency_key)?;
        let intent = self
            .send("confirm a payment", || {
                let (request, strategy) = (request.clone(), strategy.clone());
                async move { declined(request.customize().request_strategy(strategy).send(&self.stripe).await) }
            })
            .await?;
        Ok(Payment::from_stripe(intent))
    }

    /// Makes sure that nobody pays it any more; the payment as it is afterwards, which may be paid.
    pub async fn cancel_payment(&self, payment: &PaymentIntentId) -> Result<Payment, Failure> {
        let request = CancelPaymentIntent::new(payment.as_str());
        let strategy = idempotent(&format!("cancel:{payment}"))?;
        let canceled = self
            .send("cancel a payment", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await;
        match canceled {
            Ok(intent) => Ok(Payment::from_stripe(intent)),
            // It was paid or cancelled meanwhile.
            Err(Failure::Refused(_)) => self.load_payment(payment).await,
            Err(failure) => Err(failure),
        }
    }
}

/// A decline carries the payment: that is the answer.
fn declined(answer: Result<PaymentIntent, StripeError>) -> Result<PaymentIntent, StripeError> {
    match answer {
        Err(StripeError::Stripe(mut error, 402)) => match error.payment_intent.take() {
            Some(intent) => Ok(intent),
            None => Err(StripeError::Stripe(error, 402)),
        },
        other => other,
    }
}
