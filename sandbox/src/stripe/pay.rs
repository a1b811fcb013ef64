//! Owns: what paying on the hosted page does to a Checkout Session.
//! Invariant: a session is paid at most once, however often the form is sent.

use super::card::{AUTHENTICATION_FAILED, Behaviour, CARDS, Card, CardForm, FieldErrors, behaviour, check};
use super::checkout::{Mode, SessionStatus};
use super::payment_intent::{self, Intent, IntentStatus, Progress};
use super::store::Call;
use super::{begin, customer, setup};
use crate::world::World;

/// How an attempt to pay a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayOutcome {
    /// Paid (or on its way, for a bank debit); also if it was paid before. The browser goes to this address.
    Paid {
        redirect: String,
    },
    /// 3-D Secure comes next.
    NeedsAuthentication,
    /// Refused by the bank; the message is for the customer.
    Declined {
        message: String,
    },
    /// Something typed is wrong.
    Invalid(FieldErrors),
    Expired,
    NoSuchSession,
}

/// Pays a session with what was typed into the form.
pub fn pay(call: &mut Call<'_>, session_id: &str, form: &CardForm) -> PayOutcome {
    if let Some(outcome) = already_over(call, session_id) {
        return outcome;
    }
    match check(form, call.now) {
        Err(errors) => PayOutcome::Invalid(errors),
        Ok(card) => pay_with(call, session_id, &card),
    }
}

fn already_over(call: &Call<'_>, session_id: &str) -> Option<PayOutcome> {
    match call.store.sessions.find(session_id) {
        None => Some(PayOutcome::NoSuchSession),
        Some(session) => match session.status {
            SessionStatus::Open => None,
            SessionStatus::Complete => Some(PayOutcome::Paid { redirect: session.return_url() }),
            SessionStatus::Expired => Some(PayOutcome::Expired),
        },
    }
}

fn pay_with(call: &mut Call<'_>, session_id: &str, card: &Card) -> PayOutcome {
    let Some(session) = call.store.sessions.find(session_id).cloned() else { return PayOutcome::NoSuchSession };
    let customer = match &session.customer {
        Some(customer) => Some(customer.clone()),
        None if session.makes_customer => {
            Some(customer::insert_from_checkout(call, session.customer_email.clone(), card.name.clone()))
        }
        None => None,
    };
    let method = customer::insert_method(call, card, None);
    if session.mode != Mode::Payment && card_is_bank(&card.number) {
        let message = "Bank debits pay for packs here. Use a card for a plan.".to_owned();
        return PayOutcome::Declined { message };
    }
    if let Some(kept) = call.store.sessions.find_mut(session_id) {
        kept.method = Some(method.clone());
        kept.payer_name = Some(card.name.clone());
        kept.customer = customer.clone();
    }
    if session.to_pay() == 0 {
        // Nothing to take: the card is only kept, if the bank agrees to that.
        return match behaviour(&card.number) {
            Behaviour::Declines(decline) => PayOutcome::Declined { message: decline.message.to_owned() },
            Behaviour::Succeeds
            | Behaviour::DeclinesLater
            | Behaviour::Authenticates
            | Behaviour::SettlesLater { .. } => conclude(call, session_id, Progress::Paid),
        };
    }
    let intent = match &session.intent {
        Some(intent) => intent.clone(),
        None => {
            let id = call.world.clock.new_id("pi_");
            payment_intent::insert(
                call,
                Intent {
                    id: id.clone(),
                    created: call.now,
                    amount: session.to_pay(),
                    currency: session.currency.clone(),
                    customer: customer.clone(),
                    description: session.intent_description.clone(),
                    metadata: session.intent_metadata.clone(),
                    receipt_email: session.customer_email.clone(),
                    setup_future_usage: session.setup_future_usage.clone(),
                    method: None,
                    status: IntentStatus::NeedsMethod,
                    latest_charge: None,
                    last_decline: None,
                    refused_method: None,
                    canceled_at: None,
                    cancellation_reason: None,
                    return_url: None,
                    session: Some(session_id.to_owned()),
                },
            );
            id
        }
    };
    if let Some(session) = call.store.sessions.find_mut(session_id) {
        session.intent = Some(intent.clone());
        session.customer = customer;
        session.payer_name = Some(card.name.clone());
    }
    let progress = payment_intent::attempt(call, &intent, &method, false);
    conclude(call, session_id, progress)
}

fn card_is_bank(number: &str) -> bool {
    CARDS.iter().any(|card| card.brand == "bank" && card.number == number)
}

/// The customer came back from the 3-D Secure page.
pub fn authenticate(call: &mut Call<'_>, session_id: &str, completed: bool) -> PayOutcome {
    if let Some(outcome) = already_over(call, session_id) {
        return outcome;
    }
    let intent = call.store.sessions.find(session_id).and_then(|session| session.intent.clone());
    let waiting = intent
        .filter(|id| call.store.intents.find(id).is_some_and(|intent| intent.status == IntentStatus::NeedsAction));
    match waiting {
        Some(intent) => {
            let progress = payment_intent::authenticated(call, &intent, completed);
            conclude(call, session_id, progress)
        }
        None => PayOutcome::Declined { message: AUTHENTICATION_FAILED.message.to_owned() },
    }
}

fn conclude(call: &mut Call<'_>, session_id: &str, progress: Progress) -> PayOutcome {
    let is_paid = match progress {
        Progress::Paid => true,
        Progress::Processing => false,
        Progress::NeedsAction => return PayOutcome::NeedsAuthentication,
        Progress::Refused(decline) => return PayOutcome::Declined { message: decline.message.to_owned() },
    };
    let Some(session) = call.store.sessions.find_mut(session_id) else { return PayOutcome::NoSuchSession };
    session.status = SessionStatus::Complete;
    session.is_paid = is_paid;
    let redirect = session.return_url();
    match session.mode {
        Mode::Payment => {}
        Mode::Subscription => begin::subscribe(call, session_id),
        Mode::Setup => setup::complete(call, session_id),
    }
    call.emit("checkout.session.completed", session_id);
    PayOutcome::Paid { redirect }
}

/// Ends every bank debit that is under way.
pub fn settle(world: &World) {
    super::with_call(world, |call| {
        let waiting: Vec<(String, Option<String>)> = call
            .store
            .intents
            .iter()
            .filter(|intent| intent.status == IntentStatus::Processing)
            .map(|intent| (intent.id.clone(), intent.session.clone()))
            .collect();
        for (intent, session) in waiting {
            let Some(progress) = payment_intent::settle(call, &intent) else { continue };
            let Some(session_id) = session else { continue };
            let is_paid = progress == Progress::Paid;
            if let Some(session) = call.store.sessions.find_mut(&session_id) {
                session.is_paid = is_paid;
            }
            let event = if is_paid {
                "checkout.session.async_payment_succeeded"
            } else {
                "checkout.session.async_payment_failed"
            };
            call.emit(event, &session_id);
        }
    });
}

/// Pays with a card number and otherwise good entries; 3-D Secure is completed.
pub fn pay_at_once(world: &World, session_id: &str, number: &str) -> PayOutcome {
    let form = CardForm {
        number: number.to_owned(),
        expiry: "12/40".to_owned(),
        cvc: "123".to_owned(),
        name: "Test Card".to_owned(),
    };
    super::with_call(world, |call| match pay(call, session_id, &form) {
        PayOutcome::NeedsAuthentication => authenticate(call, session_id, true),
        outcome @ (PayOutcome::Paid { .. }
        | PayOutcome::Declined { .. }
        | PayOutcome::Invalid(_)
        | PayOutcome::Expired
        | PayOutcome::NoSuchSession) => outcome,
    })
}
