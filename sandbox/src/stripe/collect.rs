//! Owns: taking the money of an invoice: the attempt, the retries, what paid and unpaid mean for the subscription.
//! Invariant: an invoice is paid once; a subscription is in order again when none of its invoices is open.

use super::card::{AUTHENTICATION_REQUIRED, Decline};
use super::error::ApiError;
use super::invoice::InvoiceStatus;
use super::params::Params;
use super::payment_intent::{self, Intent, IntentStatus, Progress};
use super::store::Call;
use super::subscription::Status;
use serde_json::Value;
use std::collections::BTreeMap;

/// Days from one failed attempt to the next; after the last the subscription is unpaid.
const RETRY_DAYS: [i64; 3] = [3, 5, 7];
const NO_CARD: Decline = Decline {
    code: "missing_payment_method",
    decline_code: None,
    message: "This customer has no attached payment source or default payment method.",
};

/// Tries to pay an open invoice with the card that the subscription or the customer has, as Stripe does by itself.
pub fn attempt(call: &mut Call<'_>, invoice_id: &str) -> Result<(), Decline> {
    let Some(invoice) = call.store.invoices.find(invoice_id) else { return Ok(()) };
    if invoice.status != InvoiceStatus::Open {
        return Ok(());
    }
    if invoice.due() == 0 {
        paid(call, invoice_id);
        return Ok(());
    }
    let customer = invoice.customer.clone();
    let own = call.store.subscriptions.find(&invoice.subscription).and_then(|sub| sub.default_method.clone());
    let method =
        own.or_else(|| call.store.customers.find(&customer).and_then(|known| known.default_payment_method.clone()));
    let outcome = match method {
        None => Err(NO_CARD),
        Some(method) => pay_with(call, invoice_id, &method, true),
    };
    match outcome {
        Ok(()) => paid(call, invoice_id),
        Err(decline) => failed(call, invoice_id, decline),
    }
    outcome
}

/// Pays with one method; `off_session` when the customer is not there. Nothing but the payment is changed.
fn pay_with(call: &mut Call<'_>, invoice_id: &str, method: &str, off_session: bool) -> Result<(), Decline> {
    let intent_id = open_intent(call, invoice_id);
    match payment_intent::attempt(call, &intent_id, method, off_session) {
        Progress::Paid => Ok(()),
        // On the hosted page the sandbox's customer always completes 3-D Secure.
        Progress::NeedsAction => match payment_intent::authenticated(call, &intent_id, true) {
            Progress::Paid => Ok(()),
            Progress::Refused(decline) => Err(decline),
            Progress::Processing | Progress::NeedsAction => Err(AUTHENTICATION_REQUIRED),
        },
        Progress::Processing => Err(NO_CARD),
        Progress::Refused(decline) => Err(decline),
    }
}

/// The invoice's payment, made at the first attempt.
fn open_intent(call: &mut Call<'_>, invoice_id: &str) -> String {
    let known = call.store.invoices.find(invoice_id).and_then(|invoice| invoice.intent.clone());
    if let Some(intent) = known {
        return intent;
    }
    let id = call.world.clock.new_id("pi_");
    let (amount, customer, email) = call
        .store
        .invoices
        .find(invoice_id)
        .map(|invoice| (invoice.due(), invoice.customer.clone(), invoice.customer_email.clone()))
        .unwrap_or_default();
    payment_intent::insert(
        call,
        Intent {
            id: id.clone(),
            created: call.now,
            amount,
            currency: "usd".to_owned(),
            customer: Some(customer),
            description: Some("Subscription".to_owned()),
            metadata: BTreeMap::new(),
            receipt_email: email,
            setup_future_usage: None,
            method: None,
            status: IntentStatus::NeedsMethod,
            latest_charge: None,
            last_decline: None,
            refused_method: None,
            canceled_at: None,
            cancellation_reason: None,
            return_url: None,
            session: None,
        },
    );
    if let Some(invoice) = call.store.invoices.find_mut(invoice_id) {
        invoice.intent = Some(id.clone());
    }
    id
}

/// The money came: the invoice is paid, and a subscription without another open invoice is in order again.
pub fn paid(call: &mut Call<'_>, invoice_id: &str) {
    let now = call.now;
    let Some(invoice) = call.store.invoices.find_mut(invoice_id) else { return };
    if invoice.status == InvoiceStatus::Paid {
        return;
    }
    invoice.status = InvoiceStatus::Paid;
    invoice.paid_at = Some(now);
    invoice.next_attempt = None;
    invoice.attempts += i64::from(invoice.due() > 0);
    let subscription_id = invoice.subscription.clone();
    call.emit("invoice.paid", invoice_id);
    call.emit("invoice.payment_succeeded", invoice_id);
    let still_open = call
        .store
        .invoices
        .iter()
        .any(|other| other.subscription == subscription_id && other.status == InvoiceStatus::Open);
    let Some(subscription) = call.store.subscriptions.find_mut(&subscription_id) else { return };
    if !still_open && matches!(subscription.status, Status::PastDue | Status::Unpaid) {
        subscription.status = Status::Active;
        call.emit("customer.subscription.updated", &subscription_id);
    }
}

fn failed(call: &mut Call<'_>, invoice_id: &str, decline: Decline) {
    let now = call.now;
    let Some(invoice) = call.store.invoices.find_mut(invoice_id) else { return };
    let made = usize::try_from(invoice.attempts).unwrap_or(0);
    invoice.attempts += 1;
    invoice.next_attempt = RETRY_DAYS.get(made).map(|days| now + days * 86_400);
    let (is_last, subscription_id) = (invoice.next_attempt.is_none(), invoice.subscription.clone());
    call.emit("invoice.payment_failed", invoice_id);
    if decline == AUTHENTICATION_REQUIRED {
        call.emit("invoice.payment_action_required", invoice_id);
    }
    let Some(subscription) = call.store.subscriptions.find_mut(&subscription_id) else { return };
    let status = if is_last { Status::Unpaid } else { Status::PastDue };
    if matches!(subscription.status, Status::Active | Status::PastDue | Status::Trialing)
        && subscription.status != status
    {
        subscription.status = status;
        call.emit("customer.subscription.updated", &subscription_id);
    }
}

/// `POST /v1/invoices/{id}/pay`: pays an open invoice now, with the card on file or with `payment_method`.
pub fn pay(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["payment_method", "off_session", "paid_out_of_band"])?;
    let invoice = call.store.invoices.find(id).ok_or_else(|| ApiError::no_such("invoice", id))?;
    match invoice.status {
        InvoiceStatus::Open => {}
        InvoiceStatus::Paid => {
            return Err(ApiError::coded("invoice_already_paid", None, "Invoice is already paid"));
        }
        InvoiceStatus::Draft | InvoiceStatus::Void => {
            let message = format!("Invoice is {} and cannot be paid.", invoice.status);
            return Err(ApiError::coded("invoice_not_editable", None, &message));
        }
    }
    let outcome = match params.owned(&["payment_method"]) {
        Some(method) => {
            let outcome = pay_with(call, id, &method, true);
            if outcome.is_ok() {
                paid(call, id);
            }
            outcome
        }
        None => attempt(call, id),
    };
    match outcome {
        Ok(()) => Ok(call.json(id)),
        Err(decline) => Err(ApiError::card(&decline, None, Value::Null, Value::Null)),
    }
}

/// Pays an open invoice on the hosted page with a card that was typed, which the customer keeps from then on.
pub fn pay_on_page(call: &mut Call<'_>, invoice_id: &str, method: &str) -> Result<(), Decline> {
    let Some(invoice) = call.store.invoices.find(invoice_id) else { return Ok(()) };
    if invoice.status != InvoiceStatus::Open {
        return Ok(());
    }
    let (customer, subscription_id) = (invoice.customer.clone(), invoice.subscription.clone());
    pay_with(call, invoice_id, method, false)?;
    super::customer::keep_card(call, &customer, method);
    if let Some(subscription) = call.store.subscriptions.find_mut(&subscription_id) {
        subscription.default_method = Some(method.to_owned());
    }
    paid(call, invoice_id);
    Ok(())
}
