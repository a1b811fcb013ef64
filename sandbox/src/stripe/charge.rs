//! Owns: charges, the single attempts to take money.

use super::card::Decline;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One attempt to take money.
#[derive(Clone, Debug)]
pub struct Charge {
    pub id: String,
    created: i64,
    pub amount: i64,
    pub currency: String,
    customer: Option<String>,
    metadata: BTreeMap<String, String>,
    pub intent: String,
    method: String,
    billing_details: Value,
    details: Value,
    receipt_email: Option<String>,
    state: State,
    decline: Option<Decline>,
    /// What went back of it.
    pub refunded: i64,
    pub disputed: bool,
}

impl Charge {
    /// Whether it took its money.
    pub fn is_taken(&self) -> bool {
        self.state == State::Succeeded
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Succeeded,
    Pending,
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            State::Succeeded => "succeeded",
            State::Pending => "pending",
            State::Failed => "failed",
        }
    }
}

impl Object for Charge {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        let succeeded = self.state == State::Succeeded;
        let outcome = match self.decline {
            None => json!({
                "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 12,
                "seller_message": "Payment complete.", "type": "authorized",
            }),
            Some(decline) => json!({
                "network_status": "declined_by_network", "reason": decline.decline_code, "risk_level": "normal",
                "risk_score": 12, "seller_message": "The bank did not return any further details with this decline.",
                "type": "issuer_declined",
            }),
        };
        json!({
            "id": self.id, "object": "charge", "amount": self.amount,
            "amount_captured": if succeeded { self.amount } else { 0 }, "amount_refunded": self.refunded, "application": null,
            "application_fee": null, "application_fee_amount": null, "balance_transaction": null,
            "billing_details": self.billing_details, "calculated_statement_descriptor": "SANDBOX",
            "captured": succeeded, "created": self.created, "currency": self.currency, "customer": self.customer,
            "description": null, "disputed": self.disputed, "failure_balance_transaction": null,
            "failure_code": self.decline.map(|decline| decline.code),
            "failure_message": self.decline.map(|decline| decline.message), "fraud_details": {}, "livemode": false,
            "metadata": self.metadata, "on_behalf_of": null, "outcome": outcome, "paid": succeeded,
            "payment_intent": self.intent, "payment_method": self.method, "payment_method_details": self.details,
            "receipt_email": self.receipt_email, "receipt_number": null,
            "receipt_url": succeeded.then(|| format!("{}/receipt/{}", world.public_url, self.id)), "refunded": self.refunded >= self.amount,
            "review": null, "shipping": null, "source": null, "source_transfer": null, "statement_descriptor": null,
            "statement_descriptor_suffix": null, "status": self.state.as_str(), "transfer_data": null, "transfer_group": null,
        })
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    Taken {
        authenticated: bool,
    },
    /// A bank debit is under way.
    Pending,
    Refused(Decline),
}

/// Stores an attempt for a payment with the method it was made with, and reports it. Returns the charge's id.
pub fn insert(call: &mut Call<'_>, intent_id: &str, method_id: &str, attempt: Attempt) -> Option<String> {
    let intent = call.store.intents.find(intent_id)?;
    let method = call.store.methods.find(method_id)?;
    let (state, decline, authenticated, event) = match attempt {
        Attempt::Taken { authenticated } => (State::Succeeded, None, authenticated, "charge.succeeded"),
        Attempt::Pending => (State::Pending, None, false, "charge.pending"),
        Attempt::Refused(decline) => (State::Failed, Some(decline), false, "charge.failed"),
    };
    let charge = Charge {
        id: call.world.clock.new_id("ch_"),
        created: call.now,
        amount: intent.amount,
        currency: intent.currency.clone(),
        customer: intent.customer.clone(),
        metadata: intent.metadata.clone(),
        intent: intent_id.to_owned(),
        method: method_id.to_owned(),
        billing_details: method.billing_details(intent.receipt_email.as_deref()),
        details: method.details(authenticated),
        receipt_email: intent.receipt_email.clone(),
        state,
        decline,
        refunded: 0,
        disputed: false,
    };
    let id = charge.id.clone();
    call.store.charges.insert(charge);
    if let Some(intent) = call.store.intents.find_mut(intent_id) {
        intent.latest_charge = Some(id.clone());
    }
    call.emit(event, &id);
    Some(id)
}

/// A bank debit's money came, or did not.
pub fn settle(call: &mut Call<'_>, charge_id: &str, decline: Option<Decline>) {
    if let Some(charge) = call.store.charges.find_mut(charge_id) {
        charge.state = if decline.is_none() { State::Succeeded } else { State::Failed };
        charge.decline = decline;
    }
    call.emit(if decline.is_none() { "charge.succeeded" } else { "charge.failed" }, charge_id);
}
