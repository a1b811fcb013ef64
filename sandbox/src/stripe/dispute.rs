//! Owns: disputes through all their states, and early fraud warnings, both as the bank makes them.
//! Invariant: the money moves when a dispute opens and when it is won, as the balance transactions say.

use super::store::{Call, Object};
use crate::world::{Parts, World};
use domain::dispute::DisputeState;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Dispute {
    pub id: String,
    created: i64,
    amount: i64,
    currency: String,
    pub charge: String,
    intent: String,
    reason: String,
    pub status: DisputeState,
    /// What has moved, as (id, amount, moment).
    moved: Vec<(String, i64, i64)>,
    submissions: i64,
}

impl Dispute {
    /// Whether the bank has taken the money.
    pub fn is_charged_back(&self) -> bool {
        self.status.takes_back()
    }
}

impl Object for Dispute {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        let moved: Vec<Value> = self
            .moved
            .iter()
            .map(|(id, amount, at)| {
                let fee = if *amount < 0 { 1_500 } else { 0 };
                json!({
                    "id": id, "object": "balance_transaction", "amount": amount, "available_on": at,
                    "balance_type": "payments", "created": at, "currency": self.currency, "description": "Dispute",
                    "exchange_rate": null, "fee": fee, "net": amount - fee, "reporting_category": "dispute",
                    "fee_details": [], "source": self.id, "status": "available", "type": "adjustment",
                })
            })
            .collect();
        json!({
            "id": self.id, "object": "dispute", "amount": self.amount, "balance_transactions": moved, "charge": self.charge,
            "created": self.created, "currency": self.currency, "enhanced_eligibility_types": [],
            "evidence": {"enhanced_evidence": {}}, "evidence_details": {
                "due_by": self.created + 604_800, "enhanced_eligibility": {}, "has_evidence": self.submissions > 0,
                "past_due": false, "submission_count": self.submissions,
            },
            "is_charge_refundable": !self.status.takes_back(), "livemode": false, "metadata": {}, "network_reason_code": "83",
            "payment_intent": self.intent, "payment_method_details": null, "reason": self.reason,
            "status": self.status.as_str(),
        })
    }
}

/// A bank's report that a payment may be fraud.
#[derive(Clone, Debug)]
pub struct FraudWarning {
    pub id: String,
    created: i64,
    charge: String,
    intent: String,
    actionable: bool,
}

impl Object for FraudWarning {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "radar.early_fraud_warning", "actionable": self.actionable, "charge": self.charge,
            "created": self.created, "fraud_type": "made_with_stolen_card", "livemode": false, "payment_intent": self.intent,
        })
    }
}

/// A dispute that a cardholder begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewDispute {
    pub payment_intent: String,
    /// The whole charge if it is not given.
    #[serde(default)]
    pub amount: Option<i64>,
    /// The bank only asks; no money moves.
    #[serde(default)]
    pub inquiry: bool,
}

/// Opens a dispute; `None` if the payment has no charge that took money.
pub fn open(world: &World, new: &NewDispute) -> Option<String> {
    super::with_call(world, |call| {
        let charge_id = call.store.intents.find(&new.payment_intent)?.latest_charge.clone()?;
        let charge = call.store.charges.find(&charge_id).filter(|charge| charge.is_taken())?;
        let id = call.world.clock.new_id("dp_");
        let dispute = Dispute {
            id: id.clone(),
            created: call.now,
            amount: new.amount.unwrap_or(charge.amount - charge.refunded),
            currency: charge.currency.clone(),
            charge: charge_id.clone(),
            intent: new.payment_intent.clone(),
            reason: "fraudulent".to_owned(),
            status: if new.inquiry { DisputeState::WarningNeedsResponse } else { DisputeState::NeedsResponse },
            moved: Vec::new(),
            submissions: 0,
        };
        call.store.disputes.insert(dispute);
        call.emit("charge.dispute.created", &id);
        if !new.inquiry {
            withdraw(call, &id);
        }
        if let Some(charge) = call.store.charges.find_mut(&charge_id) {
            charge.disputed = true;
        }
        warnings_follow(call, &charge_id);
        Some(id)
    })
}

/// Moves a dispute on, as evidence or the bank does; whether there is one that may go there.
pub fn advance(world: &World, id: &str, to: DisputeState) -> bool {
    super::with_call(world, |call| {
        let Some(dispute) = call.store.disputes.find_mut(id) else { return false };
        let from = dispute.status;
        if from == to || !from.freezes() {
            return false;
        }
        dispute.status = to;
        if matches!(to, DisputeState::UnderReview | DisputeState::WarningUnderReview) {
            dispute.submissions += 1;
        }
        let (took, takes) = (from.takes_back(), to.takes_back());
        call.emit("charge.dispute.updated", id);
        if takes && !took {
            withdraw(call, id);
        }
        if took && !takes {
            let (transaction, now) = (call.world.clock.new_id("txn_"), call.now);
            if let Some(dispute) = call.store.disputes.find_mut(id) {
                dispute.moved.push((transaction, dispute.amount, now));
            }
            call.emit("charge.dispute.funds_reinstated", id);
        }
        if !to.freezes() {
            call.emit("charge.dispute.closed", id);
        }
        true
    })
}

fn withdraw(call: &mut Call<'_>, id: &str) {
    let (transaction, now) = (call.world.clock.new_id("txn_"), call.now);
    if let Some(dispute) = call.store.disputes.find_mut(id) {
        dispute.moved.push((transaction, -dispute.amount, now));
    }
    call.emit("charge.dispute.funds_withdrawn", id);
}

/// Reports a payment as possible fraud; `None` if it has no charge.
pub fn warn(world: &World, payment_intent: &str) -> Option<String> {
    super::with_call(world, |call| {
        let charge = call.store.intents.find(payment_intent)?.latest_charge.clone()?;
        let id = call.world.clock.new_id("issfr_");
        let intent = payment_intent.to_owned();
        let warning = FraudWarning { id: id.clone(), created: call.now, charge, intent, actionable: true };
        call.store.warnings.insert(warning);
        call.emit("radar.early_fraud_warning.created", &id);
        Some(id)
    })
}

/// A warning is acted on once its charge is disputed or wholly refunded.
pub fn warnings_follow(call: &mut Call<'_>, charge_id: &str) {
    let Some(charge) = call.store.charges.find(charge_id) else { return };
    if !charge.disputed && charge.refunded < charge.amount {
        return;
    }
    let open: Vec<String> = call
        .store
        .warnings
        .iter()
        .filter(|warning| warning.charge == charge_id && warning.actionable)
        .map(|warning| warning.id.clone())
        .collect();
    for id in open {
        if let Some(warning) = call.store.warnings.find_mut(&id) {
            warning.actionable = false;
        }
        call.emit("radar.early_fraud_warning.updated", &id);
    }
}
