//! Owns: PaymentIntents: how a payment moves from created to paid, refused or cancelled.
//! Invariant: a payment that succeeded takes no second charge.

use super::card::{
    AUTHENTICATION_FAILED, AUTHENTICATION_REQUIRED, Behaviour, DEBIT_FAILED, Decline, GENERIC, behaviour,
};
use super::charge::{self, Attempt};
use super::customer::{PaymentMethod, resolve_method, set_customer};
use super::error::ApiError;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use domain::text_enum;
use serde_json::{Value, json};
use std::collections::BTreeMap;

text_enum! {
    /// Where a payment stands, as Stripe says it.
    IntentStatus {
        NeedsMethod = "requires_payment_method",
        NeedsConfirmation = "requires_confirmation",
        NeedsAction = "requires_action",
        Processing = "processing",
        Succeeded = "succeeded",
        Canceled = "canceled",
    }
}

#[derive(Clone, Debug)]
pub struct Intent {
    pub id: String,
    pub created: i64,
    pub amount: i64,
    pub currency: String,
    pub customer: Option<String>,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub receipt_email: Option<String>,
    pub setup_future_usage: Option<String>,
    pub method: Option<String>,
    pub status: IntentStatus,
    pub latest_charge: Option<String>,
    pub last_decline: Option<Decline>,
    /// The method of the last refused attempt, as JSON; the payment itself no longer holds it.
    pub refused_method: Option<Value>,
    pub canceled_at: Option<i64>,
    pub cancellation_reason: Option<String>,
    /// Where the bank's page leads back to, if the payment was confirmed with it.
    pub return_url: Option<String>,
    /// The Checkout Session it belongs to.
    pub session: Option<String>,
}

impl Object for Intent {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        let next_action = (self.status == IntentStatus::NeedsAction).then(|| {
            let page = self.session.as_ref().map_or_else(
                || format!("{}/authenticate/{}", world.public_url, self.id),
                |session| format!("{}/checkout/{session}/authenticate", world.public_url),
            );
            json!({"type": "redirect_to_url", "redirect_to_url": {"url": page, "return_url": self.return_url}})
        });
        let error = self.last_decline.map(|decline| {
            let kind = if decline.code.starts_with("payment_intent_") { "invalid_request_error" } else { "card_error" };
            json!({
                "code": decline.code, "decline_code": decline.decline_code, "message": decline.message, "type": kind,
                "charge": self.latest_charge, "param": null, "payment_method": self.refused_method,
                "doc_url": format!("https://stripe.com/docs/error-codes/{}", decline.code.replace('_', "-")),
            })
        });
        json!({
            "id": self.id, "object": "payment_intent", "amount": self.amount, "amount_capturable": 0,
            "amount_details": {"tip": {}}, "amount_received": if self.status == IntentStatus::Succeeded { self.amount } else { 0 },
            "application": null, "application_fee_amount": null, "automatic_payment_methods": null,
            "canceled_at": self.canceled_at, "cancellation_reason": self.cancellation_reason,
            "capture_method": "automatic_async", "client_secret": self.client_secret(), "confirmation_method": "automatic",
            "created": self.created, "currency": self.currency, "customer": self.customer, "description": self.description,
            "last_payment_error": error, "latest_charge": self.latest_charge, "livemode": false, "metadata": self.metadata,
            "next_action": next_action, "on_behalf_of": null, "payment_method": self.method,
            "payment_method_configuration_details": null, "payment_method_options": {"card": {
                "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic",
            }},
            "payment_method_types": ["card"], "processing": null, "receipt_email": self.receipt_email, "review": null,
            "setup_future_usage": self.setup_future_usage, "shipping": null, "source": null, "statement_descriptor": null,
            "statement_descriptor_suffix": null, "status": self.status.as_str(), "transfer_data": null, "transfer_group": null,
        })
    }
}

impl Intent {
    fn client_secret(&self) -> String {
        format!("{}_secret_sandbox", self.id)
    }
}

const CREATE_PARAMS: &[&str] = &[
    "amount",
    "currency",
    "customer",
    "payment_method",
    "payment_method_types",
    "off_session",
    "confirm",
    "error_on_requires_action",
    "metadata",
    "description",
    "receipt_email",
    "setup_future_usage",
    "return_url",
    "automatic_payment_methods",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "capture_method",
    "confirmation_method",
    "transfer_group",
    "payment_method_options",
];

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(CREATE_PARAMS)?;
    params.required(&["amount"])?;
    let amount = params.integer(&["amount"])?.unwrap_or(0);
    if amount < 50 {
        return Err(ApiError::coded("amount_too_small", Some("amount"), "Amount must be at least $0.50 usd"));
    }
    let currency = params.required(&["currency"])?.to_lowercase();
    let customer = params.owned(&["customer"]);
    if let Some(id) = customer.as_deref().filter(|id| call.store.customers.find(id).is_none()) {
        return Err(ApiError::no_such_param("customer", "customer", id));
    }
    let confirm = params.boolean(&["confirm"])?.unwrap_or(false);
    let off_session = params.boolean(&["off_session"])?.unwrap_or(false);
    if off_session && !confirm {
        let message = "`off_session` can only be used when `confirm` is true.";
        return Err(ApiError::invalid("off_session", message));
    }
    let metadata = params.metadata(&["metadata"])?;
    let method = match params.text(&["payment_method"]) {
        Some(id) => Some(usable_method(call, id, customer.as_deref())?),
        None if confirm => {
            let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
            return Err(ApiError::coded("payment_intent_unexpected_state", None, message));
        }
        None => None,
    };
    let id = call.world.clock.new_id("pi_");
    insert(
        call,
        Intent {
            id: id.clone(),
            created: call.now,
            amount,
            currency,
            customer,
            description: params.owned(&["description"]),
            metadata,
            receipt_email: params.owned(&["receipt_email"]),
            setup_future_usage: params.owned(&["setup_future_usage"]),
            status: if method.is_some() { IntentStatus::NeedsConfirmation } else { IntentStatus::NeedsMethod },
            method: method.clone(),
            latest_charge: None,
            last_decline: None,
            refused_method: None,
            canceled_at: None,
            cancellation_reason: None,
            return_url: params.owned(&["return_url"]),
            session: None,
        },
    );
    match method {
        Some(method) if confirm => confirm_with(call, &id, &method, off_session),
        Some(_) | None => Ok(call.json(&id)),
    }
}

pub fn insert(call: &mut Call<'_>, intent: Intent) {
    let id = intent.id.clone();
    call.store.intents.insert(intent);
    call.emit("payment_intent.created", &id);
}

pub fn confirm(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "payment_method",
        "off_session",
        "error_on_requires_action",
        "return_url",
        "setup_future_usage",
        "client_secret",
    ])?;
    let intent = call.store.intents.find(id).ok_or_else(|| ApiError::no_such("payment_intent", id))?;
    match intent.status {
        IntentStatus::NeedsMethod | IntentStatus::NeedsConfirmation | IntentStatus::NeedsAction => {}
        IntentStatus::Processing | IntentStatus::Succeeded | IntentStatus::Canceled => {
            return Err(unexpected(&format!(
                "You cannot confirm this PaymentIntent because it has a status of {}.",
                intent.status
            )));
        }
    }
    let customer = intent.customer.clone();
    let given = params.owned(&["payment_method"]).or_else(|| intent.method.clone());
    let Some(given) = given else {
        return Err(unexpected("You cannot confirm this PaymentIntent because it's missing a payment method."));
    };
    let method = usable_method(call, &given, customer.as_deref())?;
    let off_session = params.boolean(&["off_session"])?.unwrap_or(false);
    if let Some(intent) = call.store.intents.find_mut(id) {
        intent.return_url = params.owned(&["return_url"]).or(intent.return_url.take());
        intent.setup_future_usage = params.owned(&["setup_future_usage"]).or(intent.setup_future_usage.take());
    }
    confirm_with(call, id, &method, off_session)
}

pub fn cancel(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["cancellation_reason"])?;
    let now = call.now;
    let intent = call.store.intents.find_mut(id).ok_or_else(|| ApiError::no_such("payment_intent", id))?;
    match intent.status {
        IntentStatus::NeedsMethod | IntentStatus::NeedsConfirmation | IntentStatus::NeedsAction => {}
        IntentStatus::Processing | IntentStatus::Succeeded | IntentStatus::Canceled => {
            return Err(unexpected(&format!(
                "You cannot cancel this PaymentIntent because it has a status of {}.",
                intent.status
            )));
        }
    }
    intent.status = IntentStatus::Canceled;
    intent.canceled_at = Some(now);
    intent.cancellation_reason = params.owned(&["cancellation_reason"]);
    call.emit("payment_intent.canceled", id);
    Ok(call.json(id))
}

fn unexpected(message: &str) -> ApiError {
    ApiError::coded("payment_intent_unexpected_state", None, message)
}

fn usable_method(call: &mut Call<'_>, id: &str, customer: Option<&str>) -> Result<String, ApiError> {
    let id = resolve_method(call, id)?;
    let method = call.store.methods.find(&id);
    if method.is_some_and(|method| method.is_detached) {
        return Err(ApiError::invalid(
            "payment_method",
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, or was \
             detached from a Customer, and may not be used again. Attach it to a Customer first.",
        ));
    }
    match method.and_then(|method| method.customer.as_deref()) {
        Some(owner) if Some(owner) != customer => Err(ApiError::invalid(
            "payment_method",
            "The provided PaymentMethod belongs to another customer, or the customer is missing from this request.",
        )),
        Some(_) | None => Ok(id),
    }
}

/// Where one attempt to pay has led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Paid,
    /// A bank debit is under way.
    Processing,
    NeedsAction,
    Refused(Decline),
}

fn confirm_with(call: &mut Call<'_>, id: &str, method: &str, off_session: bool) -> Result<Value, ApiError> {
    match attempt(call, id, method, off_session) {
        Progress::Paid | Progress::Processing | Progress::NeedsAction => Ok(call.json(id)),
        Progress::Refused(decline) => {
            let charge = call.store.intents.find(id).and_then(|intent| intent.latest_charge.clone());
            Err(ApiError::card(&decline, charge.as_deref(), call.json(id), call.json(method)))
        }
    }
}

/// Tries to take a payment's money with a method.
pub fn attempt(call: &mut Call<'_>, id: &str, method_id: &str, off_session: bool) -> Progress {
    let behaviour = call.store.methods.find(method_id).map_or_else(|| behaviour(""), PaymentMethod::behaviour);
    match (behaviour, off_session) {
        (Behaviour::Succeeds, _) | (Behaviour::DeclinesLater, false) => take(call, id, method_id, false),
        (Behaviour::Declines(decline), _) => refuse(call, id, method_id, decline),
        (Behaviour::DeclinesLater, true) => refuse(call, id, method_id, GENERIC),
        (Behaviour::Authenticates, true) => refuse(call, id, method_id, AUTHENTICATION_REQUIRED),
        (Behaviour::Authenticates, false) => {
            if let Some(intent) = call.store.intents.find_mut(id) {
                intent.status = IntentStatus::NeedsAction;
                intent.method = Some(method_id.to_owned());
                intent.last_decline = None;
            }
            call.emit("payment_intent.requires_action", id);
            Progress::NeedsAction
        }
        (Behaviour::SettlesLater { .. }, _) => {
            charge::insert(call, id, method_id, Attempt::Pending);
            if let Some(intent) = call.store.intents.find_mut(id) {
                intent.status = IntentStatus::Processing;
                intent.method = Some(method_id.to_owned());
                intent.last_decline = None;
            }
            call.emit("payment_intent.processing", id);
            Progress::Processing
        }
    }
}

/// The customer came back from 3-D Secure.
pub fn authenticated(call: &mut Call<'_>, id: &str, completed: bool) -> Progress {
    let Some(method) = call.store.intents.find(id).and_then(|intent| intent.method.clone()) else {
        return Progress::Refused(AUTHENTICATION_FAILED);
    };
    if completed { take(call, id, &method, true) } else { refuse(call, id, &method, AUTHENTICATION_FAILED) }
}

/// A bank debit's money came, or did not.
pub fn settle(call: &mut Call<'_>, id: &str) -> Option<Progress> {
    let intent = call.store.intents.find(id)?;
    let (method_id, charge_id) = (intent.method.clone()?, intent.latest_charge.clone()?);
    let behaviour = call.store.methods.find(&method_id)?.behaviour();
    let decline = (behaviour != Behaviour::SettlesLater { succeeds: true }).then_some(DEBIT_FAILED);
    charge::settle(call, &charge_id, decline);
    let intent = call.store.intents.find_mut(id)?;
    intent.status = if decline.is_none() { IntentStatus::Succeeded } else { IntentStatus::NeedsMethod };
    intent.last_decline = decline;
    call.emit(if decline.is_none() { "payment_intent.succeeded" } else { "payment_intent.payment_failed" }, id);
    Some(decline.map_or(Progress::Paid, Progress::Refused))
}

fn take(call: &mut Call<'_>, id: &str, method_id: &str, authenticated: bool) -> Progress {
    let already = call.store.intents.find(id).is_none_or(|intent| intent.status == IntentStatus::Succeeded);
    if already {
        return Progress::Paid;
    }
    charge::insert(call, id, method_id, Attempt::Taken { authenticated });
    let mut keep_for = None;
    if let Some(intent) = call.store.intents.find_mut(id) {
        intent.status = IntentStatus::Succeeded;
        intent.method = Some(method_id.to_owned());
        intent.last_decline = None;
        keep_for = intent.setup_future_usage.as_ref().and_then(|_| intent.customer.clone());
    }
    if keep_for.is_some() {
        set_customer(call, method_id, keep_for);
        call.emit("payment_method.attached", method_id);
    }
    call.emit("payment_intent.succeeded", id);
    Progress::Paid
}

fn refuse(call: &mut Call<'_>, id: &str, method_id: &str, decline: Decline) -> Progress {
    // A failed authentication never reached the bank: there is no charge.
    if decline != AUTHENTICATION_FAILED {
        charge::insert(call, id, method_id, Attempt::Refused(decline));
    }
    let method = call.json(method_id);
    if let Some(intent) = call.store.intents.find_mut(id) {
        intent.status = IntentStatus::NeedsMethod;
        intent.method = None;
        intent.refused_method = Some(method);
        intent.last_decline = Some(decline);
    }
    call.emit("payment_intent.payment_failed", id);
    Progress::Refused(decline)
}
