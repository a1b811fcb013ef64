//! Owns: refunds, whole or in parts, as often as something is left of the charge.
//! Invariant: the refunds of a charge that did not fail never add up to more than it took.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::{Parts, World};
use domain::text_enum;
use serde_json::{Value, json};
use std::collections::BTreeMap;

text_enum! {
    /// Where a refund stands, as Stripe says it.
    RefundStatus {
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

#[derive(Clone, Debug)]
pub struct Refund {
    pub id: String,
    created: i64,
    pub amount: i64,
    currency: String,
    pub charge: String,
    intent: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    pub status: RefundStatus,
    failure_reason: Option<&'static str>,
}

impl Object for Refund {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "refund", "amount": self.amount, "balance_transaction": null, "charge": self.charge,
            "created": self.created, "currency": self.currency,
            "destination_details": {"card": {"type": "refund", "reference": null, "reference_status": "pending"}, "type": "card"},
            "failure_balance_transaction": null, "failure_reason": self.failure_reason, "metadata": self.metadata,
            "payment_intent": self.intent, "reason": self.reason, "receipt_number": null, "source_transfer_reversal": null,
            "status": self.status.as_str(), "transfer_reversal": null,
        })
    }
}

/// `POST /v1/refunds`
pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["payment_intent", "charge", "amount", "reason", "metadata"])?;
    let metadata = params.metadata(&["metadata"])?;
    let charge_id = match (params.text(&["charge"]), params.text(&["payment_intent"])) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => {
            let found = call.store.intents.find(intent);
            let intent = found.ok_or_else(|| ApiError::no_such_param("payment_intent", "payment_intent", intent))?;
            intent.latest_charge.clone().ok_or_else(|| {
                let message = format!("PaymentIntent {} does not have a successful charge to refund.", intent.id);
                ApiError::coded("payment_intent_unexpected_state", Some("payment_intent"), &message)
            })?
        }
        (None, None) => return Err(ApiError::missing("charge or payment_intent")),
    };
    let charge = call.store.charges.find(&charge_id);
    let charge = charge.ok_or_else(|| ApiError::no_such_param("charge", "charge", &charge_id))?;
    if !charge.is_taken() {
        return Err(ApiError::coded("charge_not_refundable", None, "This charge was not captured."));
    }
    if call.store.disputes.iter().any(|dispute| dispute.charge == charge_id && dispute.is_charged_back()) {
        let message = format!("Charge {charge_id} has been charged back; cannot issue a refund.");
        return Err(ApiError::coded("charge_disputed", None, &message));
    }
    let left = charge.amount - charge.refunded;
    if left <= 0 {
        let message = format!("Charge {charge_id} has already been refunded.");
        return Err(ApiError::coded("charge_already_refunded", None, &message));
    }
    let amount = params.integer(&["amount"])?.unwrap_or(left);
    if amount <= 0 {
        return Err(ApiError::invalid("amount", "Invalid positive integer"));
    }
    if amount > left {
        let message =
            format!("Refund amount ({amount} cents) is greater than unrefunded amount on charge ({left} cents)");
        return Err(ApiError::invalid("amount", &message));
    }
    let refund = Refund {
        id: call.world.clock.new_id("re_"),
        created: call.now,
        amount,
        currency: charge.currency.clone(),
        charge: charge_id.clone(),
        intent: charge.intent.clone(),
        reason: params.owned(&["reason"]),
        metadata,
        status: if call.store.refunds_wait { RefundStatus::Pending } else { RefundStatus::Succeeded },
        failure_reason: None,
    };
    let id = refund.id.clone();
    call.store.refunds.insert(refund);
    change_charge(call, &charge_id, amount);
    call.emit("refund.created", &id);
    call.emit("charge.refunded", &charge_id);
    Ok(call.json(&id))
}

/// `GET /v1/refunds?payment_intent=&charge=`
pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (intent, charge) = (params.text(&["payment_intent"]), params.text(&["charge"]));
    list::page(&call.store.refunds, call.world, path, params, |refund: &Refund| {
        intent.is_none_or(|intent| refund.intent == intent) && charge.is_none_or(|charge| refund.charge == charge)
    })
}

/// Ends refunds that wait, well or badly; those that were sent fail too, as banks that send money back later.
pub fn end(world: &World, succeeds: bool) {
    super::with_call(world, |call| {
        let due: Vec<(String, String, i64)> = call
            .store
            .refunds
            .iter()
            .filter(|refund| match refund.status {
                RefundStatus::Pending => true,
                RefundStatus::Succeeded => !succeeds,
                RefundStatus::Failed => false,
            })
            .map(|refund| (refund.id.clone(), refund.charge.clone(), refund.amount))
            .collect();
        for (id, charge, amount) in due {
            if let Some(refund) = call.store.refunds.find_mut(&id) {
                refund.status = if succeeds { RefundStatus::Succeeded } else { RefundStatus::Failed };
                refund.failure_reason = (!succeeds).then_some("expired_or_canceled_card");
            }
            if !succeeds {
                change_charge(call, &charge, -amount);
                call.emit("refund.failed", &id);
            }
            call.emit("refund.updated", &id);
            call.emit("charge.refund.updated", &id);
        }
    });
}

/// Whether refunds wait from now on until [`end`] is called, or are sent at once.
pub fn set_waiting(world: &World, wait: bool) {
    super::with_call(world, |call| call.store.refunds_wait = wait);
}

fn change_charge(call: &mut Call<'_>, charge_id: &str, amount: i64) {
    if let Some(charge) = call.store.charges.find_mut(charge_id) {
        charge.refunded += amount;
    }
    super::dispute::warnings_follow(call, charge_id);
}
