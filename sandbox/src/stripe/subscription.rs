//! Owns: subscriptions: one item with a price and a quantity, their states, and changes with prorations.
//! Does not own: what happens by itself as time passes (`renewal`), or money (`collect`).
//! Invariant: with `error_if_incomplete` a change whose invoice cannot be paid does not happen.

use super::collect;
use super::error::ApiError;
use super::invoice::{self, Line};
use super::list;
use super::params::Params;
use super::price::Price;
use super::promotion::{self, Coupon, CouponDuration};
use super::store::{Call, Object};
use crate::world::Parts;
use domain::period::Period;
use domain::text_enum;
use domain::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

text_enum! {
    /// Where a subscription stands, as Stripe says it.
    Status {
        Trialing = "trialing",
        Active = "active",
        PastDue = "past_due",
        Unpaid = "unpaid",
        Canceled = "canceled",
        Paused = "paused",
    }
}

text_enum! {
    /// What happens when a trial ends and there is no card.
    MissingCard { Cancel = "cancel", CreateInvoice = "create_invoice", Pause = "pause" }
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: String,
    pub created: i64,
    pub customer: String,
    pub status: Status,
    pub item: String,
    pub price: Price,
    pub quantity: i64,
    pub anchor: i64,
    pub period_start: i64,
    pub period_end: i64,
    pub metadata: BTreeMap<String, String>,
    pub cancel_at_period_end: bool,
    pub canceled_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub trial_start: Option<i64>,
    pub trial_end: Option<i64>,
    pub missing_card: MissingCard,
    pub default_method: Option<String>,
    pub latest_invoice: Option<String>,
    pub coupon: Option<Coupon>,
    pub discount: Option<String>,
    /// Lines that wait for the next invoice.
    pub pending: Vec<Line>,
    /// The period end whose coming was announced, and whether the trial's was.
    pub announced: i64,
    pub trial_announced: bool,
}

impl Subscription {
    /// The line for a whole period that begins at `start`.
    pub fn regular_line(&self, world: &Parts, start: i64, end: i64) -> Line {
        let each = crate::html::money(self.price.unit_amount, &self.price.currency);
        Line {
            id: world.clock.new_id("il_"),
            amount: self.price.unit_amount * self.quantity,
            description: format!("{} × {} (at {each} / month)", self.quantity, self.price.name),
            quantity: self.quantity,
            price: self.price.clone(),
            start,
            end,
            proration: false,
            item: self.item.clone(),
            subscription: self.id.clone(),
        }
    }

    /// A discount that counts once was used.
    pub fn use_discount(&mut self) {
        if self.coupon.as_ref().is_some_and(|coupon| coupon.duration == CouponDuration::Once) {
            self.coupon = None;
        }
    }

    /// The next period, counted from the anchor.
    pub fn next_period(&self) -> (i64, i64) {
        let anchor = Timestamp::from_seconds(self.anchor);
        let next = Period::month_from(anchor, Timestamp::from_seconds(self.period_end));
        (next.start.seconds(), next.end.seconds())
    }
}

impl Object for Subscription {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        let item = json!({
            "id": self.item, "object": "subscription_item", "billed_until": null, "billing_thresholds": null,
            "created": self.created, "current_period_end": self.period_end, "current_period_start": self.period_start,
            "current_trial": null, "discounts": [], "metadata": {}, "plan": self.price.plan_json(),
            "price": self.price.json(world), "quantity": self.quantity, "subscription": self.id, "tax_rates": [],
        });
        let over = self.status == Status::Canceled;
        json!({
            "id": self.id, "object": "subscription", "application": null, "application_fee_percent": null,
            "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null},
            "billing_cycle_anchor": self.anchor, "billing_cycle_anchor_config": null,
            "billing_mode": {"type": "classic", "flexible": null, "updated_at": null}, "billing_schedules": [],
            "billing_thresholds": null,
            "cancel_at": if self.cancel_at_period_end && !over { Some(self.period_end) } else { None },
            "cancel_at_period_end": self.cancel_at_period_end && !over, "canceled_at": self.canceled_at,
            "cancellation_details": {"comment": null, "feedback": null, "reason": null},
            "collection_method": "charge_automatically", "created": self.created, "currency": "usd",
            "customer": self.customer, "days_until_due": null, "default_payment_method": self.default_method,
            "default_source": null, "default_tax_rates": [], "description": null,
            "discounts": self.discount.iter().collect::<Vec<_>>(), "ended_at": self.ended_at,
            "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
            "items": {"object": "list", "data": [item], "has_more": false, "total_count": 1,
                "url": format!("/v1/subscription_items?subscription={}", self.id)},
            "latest_invoice": self.latest_invoice, "livemode": false, "metadata": self.metadata,
            "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
            "payment_settings": {"payment_method_options": null, "payment_method_types": null,
                "save_default_payment_method": "off"},
            "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null,
            "schedule": null, "start_date": self.created, "status": self.status.as_str(), "test_clock": null,
            "transfer_data": null, "trial_end": self.trial_end,
            "trial_settings": {"end_behavior": {"missing_payment_method": self.missing_card.as_str()}},
            "trial_start": self.trial_start,
        })
    }
}

/// A change of a subscription's item, read from a request.
struct Change {
    price: Price,
    quantity: i64,
    at: i64,
}

/// Reads the item that a request wants, `items[0]` below a parameter.
fn read_change(call: &Call<'_>, sub: &Subscription, items: &[Params], at: Option<i64>) -> Result<Change, ApiError> {
    let (mut price, mut quantity) = (sub.price.clone(), sub.quantity);
    if let Some(item) = items.first() {
        match item.text(&["id"]) {
            Some(id) if id == sub.item => {}
            Some(id) => return Err(ApiError::no_such_param("subscription item", "items[0][id]", id)),
            None => {
                let message = "Without its id an item is added beside the one there is. The sandbox keeps one item.";
                return Err(ApiError::invalid("items[0][id]", message));
            }
        }
        if let Some(id) = item.text(&["price"]) {
            let known = call.store.prices.find(id).cloned();
            price = known.ok_or_else(|| ApiError::no_such_param("price", "items[0][price]", id))?;
            if !price.active {
                let message = "The price specified is inactive. This field only accepts active prices.";
                return Err(ApiError::invalid("items[0][price]", message));
            }
        }
        quantity = item.integer(&["quantity"])?.unwrap_or(quantity);
        if quantity < 1 {
            return Err(ApiError::invalid("items[0][quantity]", "Quantity must be at least 1."));
        }
    }
    let at = at.unwrap_or(call.now);
    if !(sub.period_start..=sub.period_end).contains(&at) {
        let message = "Invalid timestamp: must be within the current billing period of the subscription.";
        return Err(ApiError::invalid("proration_date", message));
    }
    Ok(Change { price, quantity, at })
}

/// The two lines of a proration: the unused time given back, the remaining time charged.
fn proration_lines(call: &Call<'_>, sub: &Subscription, change: &Change) -> Vec<Line> {
    if (sub.price.id == change.price.id && sub.quantity == change.quantity) || sub.status == Status::Trialing {
        return Vec::new();
    }
    let (whole, left) = (sub.period_end - sub.period_start, sub.period_end - change.at);
    let lasting = sub.coupon.as_ref().filter(|coupon| coupon.duration == CouponDuration::Forever);
    let share = |price: &Price, quantity: i64| {
        let full = price.unit_amount * quantity;
        let full = i128::from(full - lasting.map_or(0, |coupon| coupon.off(full)));
        let (whole, left) = (i128::from(whole.max(1)), i128::from(left));
        i64::try_from((2 * full * left + whole).div_euclid(2 * whole)).unwrap_or(0)
    };
    let line = |word: &str, price: &Price, quantity: i64, amount: i64| Line {
        id: call.world.clock.new_id("il_"),
        amount,
        description: format!("{word} time on {quantity} × {}", price.name),
        quantity,
        price: price.clone(),
        start: change.at,
        end: sub.period_end,
        proration: true,
        item: sub.item.clone(),
        subscription: sub.id.clone(),
    };
    vec![
        line("Unused", &sub.price, sub.quantity, -share(&sub.price, sub.quantity)),
        line("Remaining", &change.price, change.quantity, share(&change.price, change.quantity)),
    ]
}

const UPDATE_PARAMS: &[&str] = &[
    "items",
    "proration_behavior",
    "proration_date",
    "payment_behavior",
    "metadata",
    "cancel_at_period_end",
    "default_payment_method",
    "discounts",
    "automatic_tax",
    "cancellation_details",
];

/// `POST /v1/subscriptions/{id}`.
pub fn update(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(UPDATE_PARAMS)?;
    let sub = call.store.subscriptions.find(id).cloned().ok_or_else(|| ApiError::no_such("subscription", id))?;
    if sub.status == Status::Canceled {
        let message = "A canceled subscription can only update its cancellation_details and metadata.";
        return Err(ApiError::invalid("id", message));
    }
    let items = params.list(&["items"]);
    let change = read_change(call, &sub, &items, params.integer(&["proration_date"])?)?;
    let lines = proration_lines(call, &sub, &change);
    let metadata = params.metadata(&["metadata"])?;
    let cancel = params.boolean(&["cancel_at_period_end"])?;
    let coupon = promotion::read_discounts(call, params)?;
    let behavior = params.text(&["proration_behavior"]).unwrap_or("create_prorations").to_owned();
    let error_if_incomplete = params.text(&["payment_behavior"]) == Some("error_if_incomplete");

    let now = call.now;
    if let Some(changed) = call.store.subscriptions.find_mut(id) {
        changed.price = change.price;
        changed.quantity = change.quantity;
        changed.metadata.extend(metadata);
        changed.metadata.retain(|_, text| !text.is_empty());
        if let Some(cancel) = cancel {
            changed.cancel_at_period_end = cancel;
            changed.canceled_at = cancel.then_some(now);
        }
        if let Some(method) = params.owned(&["default_payment_method"]) {
            changed.default_method = Some(method);
        }
    }
    if let Some(coupon) = coupon {
        apply_coupon(call, id, coupon);
    }
    match behavior.as_str() {
        "none" => {}
        "create_prorations" => {
            if let Some(changed) = call.store.subscriptions.find_mut(id) {
                changed.pending.extend(lines);
            }
        }
        "always_invoice" if lines.is_empty() => {}
        "always_invoice" => {
            let mut all = sub.pending.clone();
            all.extend(lines);
            let (invoice_id, outcome) = bill_now(call, id, "subscription_update", all);
            if let Err(decline) = outcome
                && error_if_incomplete
            {
                void(call, &invoice_id);
                if let Some(changed) = call.store.subscriptions.find_mut(id) {
                    *changed = Subscription { latest_invoice: changed.latest_invoice.clone(), ..sub };
                }
                return Err(ApiError::card(&decline, None, Value::Null, Value::Null));
            }
            if let Some(changed) = call.store.subscriptions.find_mut(id) {
                changed.pending.clear();
            }
        }
        other => {
            return Err(ApiError::invalid("proration_behavior", &format!("Invalid proration_behavior: {other}")));
        }
    }
    call.emit("customer.subscription.updated", id);
    Ok(call.json(id))
}

/// Makes an invoice, final at once, and tries to take its money.
pub fn bill_now(
    call: &mut Call<'_>,
    id: &str,
    reason: &'static str,
    lines: Vec<Line>,
) -> (String, Result<(), super::card::Decline>) {
    let Some(draft) = invoice::draft(call, id, reason, lines) else { return (String::new(), Ok(())) };
    let invoice_id = invoice::insert(call, draft);
    invoice::finalize(call, &invoice_id);
    let outcome = collect::attempt(call, &invoice_id);
    (invoice_id, outcome)
}

fn void(call: &mut Call<'_>, invoice_id: &str) {
    let now = call.now;
    if let Some(invoice) = call.store.invoices.find_mut(invoice_id) {
        invoice.status = invoice::InvoiceStatus::Void;
        invoice.voided_at = Some(now);
        invoice.next_attempt = None;
    }
    call.emit("invoice.voided", invoice_id);
}

pub fn apply_coupon(call: &mut Call<'_>, id: &str, coupon: Coupon) {
    let discount = call.world.clock.new_id("di_");
    if let Some(sub) = call.store.subscriptions.find_mut(id) {
        sub.coupon = Some(coupon);
        sub.discount = Some(discount);
    }
}

/// `POST /v1/invoices/create_preview`: what would be billed, and nothing is kept.
pub fn preview(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["customer", "subscription", "subscription_details", "preview_mode", "discounts", "automatic_tax"])?;
    let id = params.required(&["subscription"])?;
    let sub = call.store.subscriptions.find(id).cloned().ok_or_else(|| ApiError::no_such("subscription", id))?;
    let details = |name: &'static str| ["subscription_details", name];
    let items = params.list(&details("items"));
    let change = read_change(call, &sub, &items, params.integer(&details("proration_date"))?)?;
    let cancels = params.boolean(&details("cancel_at_period_end"))?.unwrap_or(sub.cancel_at_period_end);
    let behavior = params.text(&details("proration_behavior")).unwrap_or("create_prorations");
    if sub.status == Status::Canceled || (cancels && behavior != "always_invoice") {
        let message = "No upcoming invoices for customer: the subscription is canceled.";
        return Err(ApiError::coded("invoice_upcoming_none", None, message));
    }
    let mut lines = sub.pending.clone();
    if behavior != "none" {
        lines.extend(proration_lines(call, &sub, &change));
    }
    let (start, end) = sub.next_period();
    let changed = Subscription { price: change.price, quantity: change.quantity, ..sub };
    if behavior != "always_invoice" {
        lines.push(changed.regular_line(call.world, start, end));
    }
    let reason = if behavior == "always_invoice" { "subscription_update" } else { "upcoming" };
    let Some(mut invoice) = invoice::draft(call, id, reason, lines) else {
        return Err(ApiError::no_such("subscription", id));
    };
    invoice.id = invoice.id.replace("in_", "upcoming_in_");
    if behavior != "always_invoice" {
        invoice.created = changed.period_end;
        invoice.next_attempt = Some(changed.period_end + 3_600);
    }
    Ok(invoice.json(call.world))
}

/// `DELETE /v1/subscriptions/{id}`: ends it at once; with `prorate` and `invoice_now` the unused time becomes credit.
pub fn cancel(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["invoice_now", "prorate", "cancellation_details"])?;
    let sub = call.store.subscriptions.find(id).cloned().ok_or_else(|| ApiError::no_such("subscription", id))?;
    if sub.status == Status::Canceled {
        return Err(ApiError::no_such("subscription", id));
    }
    let (invoice_now, prorate) = (params.boolean(&["invoice_now"])?, params.boolean(&["prorate"])?);
    if invoice_now == Some(true) && prorate == Some(true) {
        let none = Change { price: sub.price.clone(), quantity: 0, at: call.now.min(sub.period_end) };
        let mut lines = sub.pending.clone();
        lines.extend(proration_lines(call, &sub, &none).into_iter().take(1));
        // A credit needs no card, so it cannot fail.
        bill_now(call, id, "subscription_update", lines).1.ok();
    }
    end(call, id);
    Ok(call.json(id))
}

/// The subscription is over. What it still had to give back waits with the customer.
pub fn end(call: &mut Call<'_>, id: &str) {
    let now = call.now;
    let Some(sub) = call.store.subscriptions.find_mut(id) else { return };
    sub.status = Status::Canceled;
    sub.canceled_at = sub.canceled_at.or(Some(now));
    sub.ended_at = Some(now);
    let (customer, pending) = (sub.customer.clone(), std::mem::take(&mut sub.pending));
    let open: Vec<String> = call
        .store
        .invoices
        .iter()
        .filter(|invoice| invoice.subscription == id && invoice.next_attempt.is_some())
        .map(|invoice| invoice.id.clone())
        .collect();
    for invoice_id in open {
        // Nobody tries any more; it can still be paid by hand.
        if let Some(invoice) = call.store.invoices.find_mut(&invoice_id) {
            invoice.next_attempt = None;
        }
    }
    if let Some(customer) = call.store.customers.find_mut(&customer) {
        customer.pending.extend(pending);
    }
    call.emit("customer.subscription.deleted", id);
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (customer, status) = (params.text(&["customer"]), params.text(&["status"]));
    list::page(&call.store.subscriptions, call.world, path, params, |sub| {
        customer.is_none_or(|customer| customer == sub.customer)
            && match status {
                None => sub.status != Status::Canceled,
                Some("all") => true,
                Some(status) => status == sub.status.as_str(),
            }
    })
}
