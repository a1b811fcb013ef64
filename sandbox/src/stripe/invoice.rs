//! Owns: invoices and their lines: what is billed, from draft to paid, and what a discount and a customer's credit do.
//! Does not own: when one is made (`renewal`, `subscription`), or taking the money (`collect`).
//! Invariant: total = lines − discount; due = total + the credit that the customer has, at least 0.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::price::Price;
use super::store::{Call, Object};
use crate::world::Parts;
use domain::text_enum;
use serde_json::{Value, json};
use std::collections::BTreeMap;

text_enum! {
    /// Where an invoice stands.
    InvoiceStatus { Draft = "draft", Open = "open", Paid = "paid", Void = "void" }
}

/// One line of an invoice.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: String,
    pub amount: i64,
    pub description: String,
    pub quantity: i64,
    pub price: Price,
    pub start: i64,
    pub end: i64,
    pub proration: bool,
    pub item: String,
    pub subscription: String,
}

#[derive(Clone, Debug)]
pub struct Invoice {
    pub id: String,
    pub number: Option<String>,
    pub created: i64,
    pub customer: String,
    pub customer_email: Option<String>,
    pub subscription: String,
    pub subscription_metadata: BTreeMap<String, String>,
    pub status: InvoiceStatus,
    pub reason: &'static str,
    pub period_start: i64,
    pub period_end: i64,
    pub lines: Vec<Line>,
    /// What the discount takes off.
    pub off: i64,
    pub discount: Option<String>,
    /// The customer's credit before and after it; negative is credit.
    pub starting_balance: i64,
    pub ending_balance: Option<i64>,
    pub attempts: i64,
    pub next_attempt: Option<i64>,
    /// When a draft becomes final; `None` for one that stays a draft.
    pub finalizes_at: Option<i64>,
    pub finalized_at: Option<i64>,
    pub paid_at: Option<i64>,
    pub voided_at: Option<i64>,
    pub intent: Option<String>,
}

impl Invoice {
    pub fn subtotal(&self) -> i64 {
        self.lines.iter().map(|line| line.amount).sum()
    }

    pub fn total(&self) -> i64 {
        self.subtotal() - self.off
    }

    /// What must be paid after the customer's credit.
    pub fn due(&self) -> i64 {
        (self.total() + self.starting_balance).max(0)
    }

    /// What is left of the customer's credit.
    pub fn balance_after(&self) -> i64 {
        (self.total() + self.starting_balance).min(0)
    }

    pub fn page_url(&self, world: &Parts) -> String {
        format!("{}/invoice/{}", world.public_url, self.id)
    }

    fn line_json(&self, line: &Line) -> Value {
        json!({
            "id": line.id, "object": "line_item", "amount": line.amount, "currency": "usd",
            "description": line.description, "discount_amounts": [], "discountable": !line.proration, "discounts": [],
            "invoice": self.id, "livemode": false, "metadata": {}, "parent": {
                "type": "subscription_item_details", "invoice_item_details": null, "subscription_item_details": {
                    "invoice_item": null, "proration": line.proration, "proration_details": {"credited_items": null},
                    "subscription": line.subscription, "subscription_item": line.item,
                },
            },
            "period": {"start": line.start, "end": line.end}, "pretax_credit_amounts": [], "pricing": {
                "type": "price_details", "unit_amount_decimal": line.price.unit_amount.to_string(),
                "price_details": {"price": line.price.id, "product": line.price.product_id},
            },
            "quantity": line.quantity, "quantity_decimal": line.quantity.to_string(), "subscription": line.subscription,
            "subtotal": line.amount, "taxes": [],
        })
    }
}

impl Object for Invoice {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        let paid = self.status == InvoiceStatus::Paid;
        let final_ = self.finalized_at.is_some();
        let lines: Vec<Value> = self.lines.iter().map(|line| self.line_json(line)).collect();
        let off: Vec<Value> =
            self.discount.iter().map(|discount| json!({"amount": self.off, "discount": discount})).collect();
        json!({
            "id": self.id, "object": "invoice", "account_country": "US", "account_name": "Sandbox", "account_tax_ids": null,
            "amount_due": self.due(), "amount_overpaid": 0, "amount_paid": if paid { self.due() } else { 0 },
            "amount_remaining": if paid { 0 } else { self.due() }, "amount_shipping": 0, "application": null,
            "attempt_count": self.attempts, "attempted": self.attempts > 0, "auto_advance": self.finalizes_at.is_some(),
            "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null},
            "automatically_finalizes_at": if final_ { None } else { self.finalizes_at },
            "billing_reason": self.reason, "collection_method": "charge_automatically", "confirmation_secret": null,
            "created": self.created, "currency": "usd", "custom_fields": null, "customer": self.customer,
            "customer_address": null, "customer_email": self.customer_email, "customer_name": null,
            "customer_phone": null, "customer_shipping": null, "customer_tax_exempt": "none", "customer_tax_ids": [],
            "default_payment_method": null, "default_source": null, "default_tax_rates": [], "description": null,
            "discounts": self.discount.iter().collect::<Vec<_>>(), "due_date": null, "effective_at": self.finalized_at,
            "ending_balance": self.ending_balance, "footer": null, "from_invoice": null,
            "hosted_invoice_url": final_.then(|| self.page_url(world)),
            "invoice_pdf": final_.then(|| format!("{}/pdf", self.page_url(world))),
            "issuer": {"type": "self"}, "last_finalization_error": null, "latest_revision": null,
            "lines": {"object": "list", "data": lines, "has_more": false, "total_count": self.lines.len(),
                "url": format!("/v1/invoices/{}/lines", self.id)},
            "livemode": false, "metadata": {}, "next_payment_attempt": self.next_attempt, "number": self.number,
            "on_behalf_of": null, "parent": {"type": "subscription_details", "quote_details": null, "subscription_details": {
                "metadata": self.subscription_metadata, "subscription": self.subscription, "subscription_proration_date": null,
            }},
            "payment_settings": {"default_mandate": null, "payment_method_options": null, "payment_method_types": null},
            "period_end": self.period_end, "period_start": self.period_start, "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0, "receipt_number": null, "rendering": null, "shipping_cost": null,
            "shipping_details": null, "starting_balance": self.starting_balance, "statement_descriptor": null,
            "status": self.status.as_str(), "status_transitions": {
                "finalized_at": self.finalized_at, "marked_uncollectible_at": null, "paid_at": self.paid_at,
                "voided_at": self.voided_at,
            },
            "subtotal": self.subtotal(), "subtotal_excluding_tax": self.subtotal(), "test_clock": null,
            "total": self.total(), "total_discount_amounts": off, "total_excluding_tax": self.total(),
            "total_pretax_credit_amounts": [], "total_taxes": [], "webhooks_delivered_at": self.finalized_at,
        })
    }
}

/// An invoice for a subscription with these lines, as a draft that is not stored yet. The subscription's discount and
/// the customer's credit are taken off.
pub fn draft(call: &mut Call<'_>, subscription_id: &str, reason: &'static str, lines: Vec<Line>) -> Option<Invoice> {
    let subscription = call.store.subscriptions.find(subscription_id)?.clone();
    let customer = call.store.customers.find(&subscription.customer)?;
    let (email, balance) = (customer.email.clone(), customer.balance);
    let regular: i64 = lines.iter().filter(|line| !line.proration).map(|line| line.amount).sum();
    let off = subscription.coupon.as_ref().map_or(0, |coupon| coupon.off(regular));
    Some(Invoice {
        id: call.world.clock.new_id("in_"),
        number: None,
        created: call.now,
        customer: subscription.customer,
        customer_email: email,
        subscription: subscription_id.to_owned(),
        subscription_metadata: subscription.metadata,
        status: InvoiceStatus::Draft,
        reason,
        period_start: subscription.period_start,
        period_end: subscription.period_end,
        lines,
        off,
        discount: subscription.discount.filter(|_| off > 0),
        starting_balance: balance,
        ending_balance: None,
        attempts: 0,
        next_attempt: None,
        finalizes_at: None,
        finalized_at: None,
        paid_at: None,
        voided_at: None,
        intent: None,
    })
}

/// Stores an invoice and notes it as the subscription's latest.
pub fn insert(call: &mut Call<'_>, invoice: Invoice) -> String {
    let (id, subscription_id) = (invoice.id.clone(), invoice.subscription.clone());
    let has_discount = invoice.off > 0;
    call.store.invoices.insert(invoice);
    if let Some(subscription) = call.store.subscriptions.find_mut(&subscription_id) {
        subscription.latest_invoice = Some(id.clone());
        if has_discount {
            subscription.use_discount();
        }
    }
    call.emit("invoice.created", &id);
    id
}

/// Makes a draft final: it has a number, and the customer's credit is taken.
pub fn finalize(call: &mut Call<'_>, id: &str) {
    let now = call.now;
    let count = call.store.invoices.iter().filter(|invoice| invoice.number.is_some()).count() + 1;
    let Some(invoice) = call.store.invoices.find(id) else { return };
    let customer_id = invoice.customer.clone();
    let balance = call.store.customers.find(&customer_id).map_or(0, |customer| customer.balance);
    let Some(invoice) = call.store.invoices.find_mut(id) else { return };
    if invoice.status != InvoiceStatus::Draft {
        return;
    }
    invoice.status = InvoiceStatus::Open;
    invoice.finalized_at = Some(now);
    invoice.number = Some(format!("SANDBOX-{count:04}"));
    invoice.starting_balance = balance;
    let after = invoice.balance_after();
    invoice.ending_balance = Some(after);
    if let Some(customer) = call.store.customers.find_mut(&customer_id) {
        customer.balance = after;
    }
    call.emit("invoice.finalized", id);
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (customer, status) = (params.text(&["customer"]), params.text(&["status"]));
    let subscription = params.text(&["subscription"]);
    list::page(&call.store.invoices, call.world, path, params, |invoice| {
        customer.is_none_or(|customer| customer == invoice.customer)
            && subscription.is_none_or(|subscription| subscription == invoice.subscription)
            && status.is_none_or(|status| status == invoice.status.as_str())
    })
}
