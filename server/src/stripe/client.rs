//! Owns: calling Stripe's API: time-outs, retries with one idempotency key, what a failure means.
//! Does not own: when it is called; never inside a transaction.
//! Invariant: every call that can move money carries an idempotency key, the same one on each retry.

use super::object::{Checkout, CustomerId, PURCHASE_ID, Payment, PaymentIntentId, SessionId};
use crate::config;
use crate::error::Error;
use domain::denial::Denial;
use domain::id::{AccountId, PurchaseId};
use domain::money::Cents;
use domain::time::Timestamp;
use rand::Rng as _;
use secrecy::ExposeSecret as _;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use stripe::{ApiErrors, ApiErrorsCode, IdempotencyKey, RequestStrategy, StripeError, StripeRequest as _};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionPaymentIntentData, CreateCheckoutSessionPaymentIntentDataSetupFutureUsage, ProductData,
    RetrieveCheckoutSession,
};
use stripe_core::customer::CreateCustomer;
use stripe_core::payment_intent::RetrievePaymentIntent;

/// How long one attempt may take. async-stripe has no time-out of its own.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts in all.
const MOST_ATTEMPTS: u32 = 3;
/// The pause before the second attempt; doubled before the third, and up to doubled again by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Stripe's API, with our key. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(super) stripe: stripe::Client,
}

/// A Checkout Session to make. The same fields must be sent on each retry, or Stripe refuses the idempotency key.
pub struct NewCheckout<'a> {
    /// Also the idempotency key.
    pub purchase_id: &'a PurchaseId,
    pub customer_id: &'a CustomerId,
    /// What the buyer reads on Stripe's page.
    pub product: String,
    pub price: Cents,
    /// Between 30 minutes and 24 hours from now.
    pub expires_at: Timestamp,
    pub success_url: String,
    pub cancel_url: String,
    /// The buyer agreed that the card is kept for charges without them.
    pub keeps_card: bool,
}

/// Why Stripe did not do what was asked. Nothing was charged by the call, or the same key will tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("Stripe has no such object")]
    Missing,
    /// The customer that was named is not there.
    #[error("Stripe has no such customer")]
    NoCustomer,
    /// The card was declined, or its bank wants to ask the customer. In Stripe's words for the customer.
    #[error("the payment was declined: {0}")]
    Declined(String),
    #[error("Stripe refused: {0}")]
    Refused(String),
    #[error("Stripe did not answer: {0}")]
    NoAnswer(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let problem = match failure {
            Failure::Declined(problem) => return Error::Denied(Denial::PaymentDeclined { problem }),
            Failure::Missing | Failure::NoCustomer | Failure::Refused(_) => "refused the request",
            Failure::NoAnswer(_) => "did not answer",
        };
        Error::Denied(Denial::Upstream { who: "Stripe".to_owned(), problem: problem.to_owned() })
    }
}

impl Client {
    pub fn new(settings: &config::Stripe) -> Result<Client, Error> {
        let stripe = stripe::ClientBuilder::new(settings.secret_key.expose_secret())
            .url(&settings.api_url)
            .timeout(ATTEMPT_TIMEOUT)
            .build()
            .map_err(|error| Error::internal("set up Stripe (STRIPE_SECRET_KEY, STRIPE_API_URL)", error))?;
        Ok(Client { stripe })
    }

    /// Makes a customer for the account. `idempotency_key` makes a second call answer with the first one's customer.
    pub async fn create_customer(
        &self,
        idempotency_key: &str,
        account_id: &AccountId,
        email: &str,
    ) -> Result<CustomerId, Failure> {
        let request = CreateCustomer::new()
            .email(email)
            .metadata(HashMap::from([("account_id".to_owned(), account_id.to_string())]));
        let strategy = idempotent(idempotency_key)?;
        let customer = self
            .send("create a customer", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await?;
        Ok(CustomerId::new(customer.id.as_str()))
    }

    /// Makes a Checkout Session for one payment, or answers with the one that this purchase has already.
    pub async fn create_checkout(&self, new: NewCheckout<'_>) -> Result<Checkout, Failure> {
        let metadata = HashMap::from([(PURCHASE_ID.to_owned(), new.purchase_id.to_string())]);
        let mut price = CreateCheckoutSessionLineItemsPriceData::new(stripe_types::Currency::USD);
        price.unit_amount = Some(new.price.0);
        price.product_data = Some(ProductData::new(new.product));
        let mut line = CreateCheckoutSessionLineItems::new();
        line.price_data = Some(price);
        line.quantity = Some(1);
        let mut payment = CreateCheckoutSessionPaymentIntentData::new();
        payment.metadata = Some(metadata.clone());
        payment.setup_future_usage =
            new.keeps_card.then_some(CreateCheckoutSessionPaymentIntentDataSetupFutureUsage::OffSession);
        let request = CreateCheckoutSession::new()
            .mode(stripe_shared::CheckoutSessionMode::Payment)
            .line_items(vec![line])
            .payment_intent_data(payment)
            .metadata(metadata)
            .client_reference_id(new.purchase_id.as_str())
            .customer(new.customer_id.as_str())
            .expires_at(new.expires_at.seconds())
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        let strategy = idempotent(new.purchase_id.as_str())?;
        let session = self
            .send("create a Checkout Session", || {
                request.customize().request_strategy(strategy.clone()).send(&self.stripe)
            })
            .await?;
        Ok(Checkout::from_stripe(session))
    }

    /// The Checkout Session as it is now.
    pub async fn load_checkout(&self, session_id: &SessionId) -> Result<Checkout, Failure> {
        let request = RetrieveCheckoutSession::new(session_id.as_str());
        let session = self.send("read a Checkout Session", || request.send(&self.stripe)).await?;
        Ok(Checkout::from_stripe(session))
    }

    /// The payment as it is now.
    pub async fn load_payment(&self, payment_intent_id: &PaymentIntentId) -> Result<Payment, Failure> {
        let request = RetrievePaymentIntent::new(payment_intent_id.as_str());
        let intent = self.send("read a PaymentIntent", || request.send(&self.stripe)).await?;
        Ok(Payment::from_stripe(intent))
    }

    /// Calls until Stripe gives an answer that will not change by asking again.
    pub(super) async fn send<T, F>(&self, doing: &str, attempt: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, StripeError>>,
    {
        let mut pause = FIRST_PAUSE;
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (failure, may_pass) = explain(&error);
            if !may_pass || attempts >= MOST_ATTEMPTS {
                // That something is missing is an answer like any other: whoever asks knows what to do.
                if !matches!(failure, Failure::Missing) {
                    tracing::warn!(doing, attempts, %failure, "a call to Stripe failed");
                }
                return Err(failure);
            }
            // Drawn before the wait: the generator must not be kept across it, or the future could not change threads.
            let jittered = pause.mul_f64(rand::rng().random_range(1.0..2.0));
            tokio::time::sleep(jittered).await;
            pause *= 2;
            attempts += 1;
        }
    }
}

pub(super) fn idempotent(key: &str) -> Result<RequestStrategy, Failure> {
    IdempotencyKey::new(key).map(RequestStrategy::Idempotent).map_err(|error| Failure::Refused(error.to_string()))
}

/// What an error means, and whether asking again may help. Only the parts that hold no secret are kept.
fn explain(error: &StripeError) -> (Failure, bool) {
    match error {
        StripeError::Stripe(_, 404) => (Failure::Missing, false),
        StripeError::Stripe(error, 400) if is_missing_customer(error) => (Failure::NoCustomer, false),
        StripeError::Stripe(error, 402) => {
            let words = error.message.as_deref().unwrap_or("Your card was declined.");
            (Failure::Declined(words.to_owned()), false)
        }
        StripeError::Stripe(error, status) => {
            let code = error.code.as_ref().map_or("no code", |code| code.as_str());
            let message = error.message.as_deref().unwrap_or("no message");
            let text = format!("{status} {code}: {message}");
            match status {
                409 | 424 | 429 | 500.. => (Failure::NoAnswer(text), true),
                _ => (Failure::Refused(text), false),
            }
        }
        // A proxy's page instead of an answer, or a body cut short: with the same key it is safe to ask again.
        StripeError::JSONDeserialize(text) => (Failure::NoAnswer(format!("unreadable: {text}")), true),
        StripeError::ClientError(text) => (Failure::NoAnswer(text.clone()), true),
        StripeError::ConfigError(text) => (Failure::Refused(text.clone()), false),
        StripeError::Timeout => (Failure::NoAnswer("timed out".to_owned()), true),
    }
}

fn is_missing_customer(error: &ApiErrors) -> bool {
    error.code == Some(ApiErrorsCode::ResourceMissing) && error.param.as_deref() == Some("customer")
}
