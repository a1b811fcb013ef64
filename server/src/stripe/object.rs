//! Owns: what we know of Stripe's objects, as few words as a purchase needs.
//! Does not own: fetching them (`client`).
//! Invariant: a [`PaidPayment`] is made only from an object that Stripe's API answered with.

use super::card::CARD_SETUP_ID;
use super::plan::{ACCOUNT_ID, PLAN_CHANGE_ID, SubscriptionId};
use domain::id::{AccountId, CardSetupId, PlanChangeId, PurchaseId};
use domain::money::Cents;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The key of our metadata on Checkout Sessions and PaymentIntents.
pub(super) const PURCHASE_ID: &str = "purchase_id";

macro_rules! stripe_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

pub(super) use stripe_id;

stripe_id!(
    /// A Checkout Session, `cs_…`.
    SessionId,
    /// A PaymentIntent, `pi_…`.
    PaymentIntentId,
    /// A customer at Stripe, `cus_…`: one for each account that ever bought.
    CustomerId,
    /// A card that is kept, `pm_…`.
    PaymentMethodId,
);

/// A Checkout Session as Stripe has it now.
#[derive(Clone, Debug)]
pub struct Checkout {
    pub session_id: SessionId,
    pub state: CheckoutState,
    /// Our purchase, if the session is one of ours.
    pub purchase_id: Option<PurchaseId>,
    /// Stripe makes it when the buyer first tries to pay.
    pub payment_intent_id: Option<PaymentIntentId>,
    /// Our page for leaving a card, if the session is one.
    pub card_setup_id: Option<CardSetupId>,
    /// Our change of plan, if the session is for one.
    pub plan_change_id: Option<PlanChangeId>,
    /// What it began, once it is complete.
    pub subscription_id: Option<SubscriptionId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckoutState {
    /// The buyer can pay at this address.
    Open { url: String },
    /// The buyer is through; the money may still be on its way.
    Complete,
    /// Nobody can pay it any more.
    Expired,
}

/// A PaymentIntent as Stripe has it now.
#[derive(Clone, Debug)]
pub enum Payment {
    Paid(PaidPayment),
    /// On its way: a bank takes its days.
    Processing,
    /// Not paid: nobody tried yet, or the last try failed for the reason given.
    Unpaid {
        payment_intent_id: PaymentIntentId,
        purchase_id: Option<PurchaseId>,
        problem: Option<String>,
        /// The last try's refusal, in Stripe's codes.
        decline: Option<Decline>,
        /// The bank's page, while the bank waits for the customer.
        action_url: Option<String>,
    },
    /// Cannot be paid any more.
    Canceled {
        purchase_id: Option<PurchaseId>,
    },
}

/// Why a payment failed, in Stripe's codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    pub code: String,
    pub decline_code: Option<String>,
}

/// A card that Stripe keeps for a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeCard {
    pub payment_method_id: PaymentMethodId,
    /// Whether it stays with a customer, so that it can be charged again.
    pub is_attached: bool,
    /// Stripe's name of the number, the same for the same number.
    pub fingerprint: String,
    pub brand: String,
    pub last4: String,
    pub exp_month: i64,
    pub exp_year: i64,
}

impl StripeCard {
    /// `None` for what is no card, such as a bank account.
    pub(super) fn from_stripe(method: stripe_shared::PaymentMethod) -> Option<StripeCard> {
        let card = method.card?;
        Some(StripeCard {
            payment_method_id: PaymentMethodId::new(method.id.as_str()),
            is_attached: method.customer.is_some(),
            fingerprint: card.fingerprint.unwrap_or_else(|| method.id.to_string()),
            brand: card.brand,
            last4: card.last4,
            exp_month: card.exp_month,
            exp_year: card.exp_year,
        })
    }

    pub(super) fn from_expanded(method: stripe_types::Expandable<stripe_shared::PaymentMethod>) -> Option<StripeCard> {
        method.into_object().and_then(StripeCard::from_stripe)
    }
}

/// Stripe's page for leaving a card, as it is now.
#[derive(Clone, Debug)]
pub struct CardSetup {
    pub card_setup_id: Option<CardSetupId>,
    pub account_id: Option<AccountId>,
    pub customer_id: Option<CustomerId>,
    pub state: CheckoutState,
    /// What was left, once it is complete.
    pub card: Option<StripeCard>,
}

impl CardSetup {
    pub(super) fn from_stripe(mut session: stripe_shared::CheckoutSession) -> CardSetup {
        let setup = session.setup_intent.take().and_then(stripe_types::Expandable::into_object);
        let card = setup.and_then(|setup| setup.payment_method).and_then(StripeCard::from_expanded);
        let customer_id = session.customer.as_ref().map(|customer| CustomerId::new(customer.id().as_str()));
        let account_id = session.metadata.as_ref().and_then(|metadata| metadata.get(ACCOUNT_ID)).map(AccountId::new);
        let Checkout { state, card_setup_id, .. } = Checkout::from_stripe(session);
        CardSetup { card_setup_id, account_id, customer_id, state, card }
    }
}

/// Money that Stripe has received. Whoever holds one has asked Stripe, so credit may follow.
#[derive(Clone, Debug)]
pub struct PaidPayment {
    payment_intent_id: PaymentIntentId,
    purchase_id: Option<PurchaseId>,
    customer_id: Option<CustomerId>,
    received: Cents,
    /// Lower case, such as `usd`.
    currency: String,
    live: bool,
}

impl PaidPayment {
    pub fn payment_intent_id(&self) -> &PaymentIntentId {
        &self.payment_intent_id
    }

    /// The purchase that its metadata names.
    pub fn purchase_id(&self) -> Option<&PurchaseId> {
        self.purchase_id.as_ref()
    }

    pub fn customer_id(&self) -> Option<&CustomerId> {
        self.customer_id.as_ref()
    }

    pub fn received(&self) -> Cents {
        self.received
    }

    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Real money, not a test.
    pub fn is_live(&self) -> bool {
        self.live
    }
}

impl Checkout {
    pub(super) fn from_stripe(session: stripe_shared::CheckoutSession) -> Checkout {
        use stripe_shared::CheckoutSessionStatus as Status;
        let state = match (session.status, session.url) {
            (Some(Status::Open), Some(url)) => CheckoutState::Open { url },
            (Some(Status::Complete), _) => CheckoutState::Complete,
            // Neither open with an address nor complete: nobody can pay it.
            (Some(Status::Open | Status::Expired | Status::Unknown(_) | _) | None, _) => CheckoutState::Expired,
        };
        Checkout {
            session_id: SessionId::new(session.id.as_str()),
            state,
            purchase_id: session.metadata.as_ref().and_then(purchase_id),
            payment_intent_id: session.payment_intent.map(|payment| PaymentIntentId::new(payment.id().as_str())),
            card_setup_id: session
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.get(CARD_SETUP_ID))
                .map(CardSetupId::new),
            plan_change_id: session
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.get(PLAN_CHANGE_ID))
                .map(PlanChangeId::new),
            subscription_id: session.subscription.map(|sub| SubscriptionId::new(sub.id().as_str())),
        }
    }
}

impl Payment {
    pub(super) fn from_stripe(intent: stripe_shared::PaymentIntent) -> Payment {
        use stripe_shared::PaymentIntentStatus as Status;
        let purchase_id = purchase_id(&intent.metadata);
        match intent.status {
            Status::Succeeded => Payment::Paid(PaidPayment {
                payment_intent_id: PaymentIntentId::new(intent.id.as_str()),
                purchase_id,
                customer_id: intent.customer.map(|customer| CustomerId::new(customer.id().as_str())),
                received: Cents(intent.amount_received),
                currency: intent.currency.to_string(),
                live: intent.livemode,
            }),
            Status::RequiresAction | Status::RequiresConfirmation | Status::RequiresPaymentMethod => {
                let decline = intent.last_payment_error.as_ref().map(|error| Decline {
                    code: error.code.as_ref().map_or("card_declined", |code| code.as_str()).to_owned(),
                    decline_code: error.decline_code.clone(),
                });
                Payment::Unpaid {
                    payment_intent_id: PaymentIntentId::new(intent.id.as_str()),
                    purchase_id,
                    problem: intent
                        .last_payment_error
                        .map(|error| error.message.unwrap_or_else(|| "The payment was declined.".to_owned())),
                    decline,
                    action_url: intent.next_action.and_then(|action| action.redirect_to_url?.url),
                }
            }
            Status::Canceled => Payment::Canceled { purchase_id },
            Status::Processing | Status::RequiresCapture | Status::Unknown(_) | _ => Payment::Processing,
        }
    }
}

fn purchase_id(metadata: &HashMap<String, String>) -> Option<PurchaseId> {
    metadata.get(PURCHASE_ID).map(PurchaseId::new)
}
