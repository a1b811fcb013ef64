//! Owns: Checkout Sessions of each mode: their items, their life from open to complete or expired.
//! Does not own: the hosted page (`page`) and what paying does (`pay`).

use super::error::ApiError;
use super::params::Params;
use super::price::{self, Price};
use super::promotion::{self, Coupon};
use super::store::{Call, Object};
use super::subscription::MissingCard;
use crate::world::Parts;
use domain::text_enum;
use serde_json::{Value, json};
use std::collections::BTreeMap;

text_enum! {
    /// Whether a session can still be paid.
    SessionStatus { Open = "open", Complete = "complete", Expired = "expired" }
}

text_enum! {
    /// What a session is for: to pay once, to subscribe, or to leave a card.
    Mode { Payment = "payment", Subscription = "subscription", Setup = "setup" }
}

/// What a session subscribes to.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionData {
    pub metadata: BTreeMap<String, String>,
    pub trial_days: Option<i64>,
    pub missing_card: Option<MissingCard>,
}

/// One line of what is bought.
#[derive(Clone, Debug)]
pub struct Item {
    id: String,
    pub price: Price,
    pub quantity: i64,
}

impl Item {
    pub fn total(&self) -> i64 {
        self.price.unit_amount.saturating_mul(self.quantity)
    }
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: String,
    pub created: i64,
    pub mode: Mode,
    pub expires_at: i64,
    pub status: SessionStatus,
    pub is_paid: bool,
    pub currency: String,
    pub items: Vec<Item>,
    pub customer: Option<String>,
    pub customer_email: Option<String>,
    /// Whether a customer is made if none was named.
    pub makes_customer: bool,
    /// The name that was typed on the hosted page.
    pub payer_name: Option<String>,
    client_reference_id: Option<String>,
    metadata: BTreeMap<String, String>,
    pub success_url: String,
    pub cancel_url: Option<String>,
    /// `payment_intent_data`, for the payment that is made at the first attempt.
    pub intent_metadata: BTreeMap<String, String>,
    pub intent_description: Option<String>,
    pub setup_future_usage: Option<String>,
    pub intent: Option<String>,
    pub subscription_data: SubscriptionData,
    pub allow_promotion_codes: bool,
    pub coupon: Option<Coupon>,
    pub setup_metadata: BTreeMap<String, String>,
    pub setup: Option<String>,
    pub subscription: Option<String>,
    pub invoice: Option<String>,
    /// The card that was typed, while 3-D Secure is under way.
    pub method: Option<String>,
    /// What the customer's credit pays of it.
    pub credit: i64,
}

impl Session {
    pub fn subtotal(&self) -> i64 {
        if self.subscription_data.trial_days.is_some() { 0 } else { self.items.iter().map(Item::total).sum() }
    }

    pub fn off(&self) -> i64 {
        self.coupon.as_ref().map_or(0, |coupon| coupon.off(self.subtotal()))
    }

    pub fn total(&self) -> i64 {
        self.subtotal() - self.off()
    }

    /// What is taken from the card now.
    pub fn to_pay(&self) -> i64 {
        (self.total() - self.credit).max(0)
    }

    /// Where the browser goes after paying.
    pub fn return_url(&self) -> String {
        self.success_url.replace("{CHECKOUT_SESSION_ID}", &self.id)
    }

    pub fn items_json(&self, world: &Parts) -> Value {
        let data: Vec<Value> = self
            .items
            .iter()
            .map(|item| {
                json!({
                    "id": item.id, "object": "item", "adjustable_quantity": null, "amount_discount": 0,
                    "amount_subtotal": item.total(), "amount_tax": 0, "amount_total": item.total(),
                    "currency": item.price.currency, "description": item.price.name, "metadata": {},
                    "quantity": item.quantity, "price": item.price.json(world),
                })
            })
            .collect();
        json!({"object": "list", "data": data, "has_more": false, "url": format!("/v1/checkout/sessions/{}/line_items", self.id)})
    }
}

impl Object for Session {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        let open = self.status == SessionStatus::Open;
        let url = open.then(|| format!("{}/checkout/{}", world.public_url, self.id));
        let details = (self.payer_name.is_some() || self.customer_email.is_some()).then(|| {
            json!({
                "address": {"city": null, "country": "US", "line1": null, "line2": null, "postal_code": null, "state": null},
                "business_name": null, "email": self.customer_email, "individual_name": null, "name": self.payer_name,
                "phone": null, "tax_exempt": "none", "tax_ids": [],
            })
        });
        let custom_text = json!({
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        });
        json!({
            "id": self.id, "object": "checkout.session", "adaptive_pricing": {"enabled": false}, "after_expiration": null,
            "allow_promotion_codes": self.allow_promotion_codes, "amount_subtotal": self.subtotal(), "amount_total": self.total(),
            "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
            "billing_address_collection": null, "cancel_url": self.cancel_url,
            "client_reference_id": self.client_reference_id, "client_secret": null, "collected_information": null,
            "consent": null, "consent_collection": null, "created": self.created, "currency": self.currency,
            "currency_conversion": null, "custom_fields": [], "custom_text": custom_text, "customer": self.customer,
            "customer_creation": if self.customer.is_some() && !self.makes_customer { Value::Null }
                else if self.makes_customer { json!("always") } else { json!("if_required") },
            "customer_details": details, "customer_email": self.customer_email, "discounts": [],
            "expires_at": self.expires_at, "invoice": self.invoice, "invoice_creation": {"enabled": false, "invoice_data": {
                "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null, "issuer": null,
                "metadata": {}, "rendering_options": null,
            }},
            "livemode": false, "locale": null, "metadata": self.metadata, "mode": self.mode.as_str(), "origin_context": null,
            "payment_intent": if self.mode == Mode::Payment { json!(self.intent) } else { Value::Null }, "payment_link": null, "payment_method_collection": "if_required",
            "payment_method_configuration_details": null,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}}, "payment_method_types": ["card"],
            "payment_status": if self.to_pay() == 0 { "no_payment_required" } else if self.is_paid { "paid" } else { "unpaid" }, "permissions": null,
            "phone_number_collection": {"enabled": false}, "recovered_from": null, "saved_payment_method_options": null,
            "setup_intent": self.setup, "shipping_address_collection": null, "shipping_cost": null, "shipping_options": [],
            "status": self.status.as_str(), "submit_type": null, "subscription": self.subscription, "success_url": self.success_url,
            "total_details": {"amount_discount": self.off(), "amount_shipping": 0, "amount_tax": 0}, "ui_mode": "hosted_page",
            "url": url, "wallet_options": null,
        })
    }
}

const CREATE_PARAMS: &[&str] = &[
    "mode",
    "line_items",
    "success_url",
    "cancel_url",
    "customer",
    "customer_email",
    "customer_creation",
    "customer_update",
    "client_reference_id",
    "metadata",
    "payment_intent_data",
    "expires_at",
    "payment_method_types",
    "automatic_tax",
    "billing_address_collection",
    "custom_text",
    "invoice_creation",
    "locale",
    "submit_type",
    "allow_promotion_codes",
    "payment_method_options",
    "saved_payment_method_options",
    "adaptive_pricing",
    "currency",
    "ui_mode",
    "consent_collection",
    "phone_number_collection",
    "tax_id_collection",
    "branding_settings",
    "origin_context",
    "subscription_data",
    "discounts",
    "payment_method_collection",
    "setup_intent_data",
];

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(CREATE_PARAMS)?;
    let mode: Mode = params
        .required(&["mode"])?
        .parse()
        .map_err(|_| ApiError::invalid("mode", "Invalid mode: must be one of payment, setup, or subscription"))?;
    let items = if mode == Mode::Setup { Vec::new() } else { read_items(call, params)? };
    check_mode(mode, &items)?;
    let currency = items.first().map(|item| item.price.currency.clone()).unwrap_or_default();
    if items.iter().any(|item| item.price.currency != currency) {
        return Err(ApiError::invalid("line_items", "All prices on a Checkout session must have the same currency."));
    }
    let customer = params.owned(&["customer"]);
    if let Some(id) = customer.as_deref().filter(|id| call.store.customers.find(id).is_none()) {
        return Err(ApiError::no_such_param("customer", "customer", id));
    }
    if customer.is_some() && params.text(&["customer_email"]).is_some() {
        let message = "You may only specify one of these parameters: customer, customer_email.";
        return Err(ApiError::invalid("customer_email", message));
    }
    let expires_at = params.integer(&["expires_at"])?.unwrap_or(call.now + 86_400);
    if !(call.now + 1_800 - 60..=call.now + 86_400 + 60).contains(&expires_at) {
        let message =
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.";
        return Err(ApiError::invalid("expires_at", message));
    }
    let (allow_promotion_codes, coupon) =
        (params.boolean(&["allow_promotion_codes"])?.unwrap_or(false), promotion::read_discounts(call, params)?);
    if allow_promotion_codes && coupon.is_some() {
        let message = "You may only specify one of these parameters: allow_promotion_codes, discounts.";
        return Err(ApiError::invalid("allow_promotion_codes", message));
    }
    let credit = match (&customer, mode) {
        (Some(id), Mode::Subscription) => call.store.customers.find(id).map_or(0, |customer| -customer.balance),
        (Some(_) | None, Mode::Payment | Mode::Setup | Mode::Subscription) => 0,
    };
    let setup_future_usage = params.owned(&["payment_intent_data", "setup_future_usage"]);
    let customer_email = match &customer {
        Some(id) => call.store.customers.find(id).and_then(|customer| customer.email.clone()),
        None => params.owned(&["customer_email"]),
    };
    let makes_customer =
        customer.is_none() && (setup_future_usage.is_some() || params.text(&["customer_creation"]) == Some("always"));
    let session = Session {
        id: call.world.clock.new_id("cs_test_"),
        created: call.now,
        mode,
        expires_at,
        status: SessionStatus::Open,
        is_paid: false,
        currency,
        items,
        customer,
        customer_email,
        makes_customer,
        payer_name: None,
        client_reference_id: params.owned(&["client_reference_id"]),
        metadata: params.metadata(&["metadata"])?,
        success_url: params.required(&["success_url"])?.to_owned(),
        cancel_url: params.owned(&["cancel_url"]),
        intent_metadata: params.metadata(&["payment_intent_data", "metadata"])?,
        intent_description: params.owned(&["payment_intent_data", "description"]),
        setup_future_usage,
        intent: None,
        subscription_data: SubscriptionData {
            metadata: params.metadata(&["subscription_data", "metadata"])?,
            trial_days: params.integer(&["subscription_data", "trial_period_days"])?,
            missing_card: params
                .text(&["subscription_data", "trial_settings", "end_behavior", "missing_payment_method"])
                .and_then(|text| text.parse().ok()),
        },
        allow_promotion_codes,
        coupon,
        setup_metadata: params.metadata(&["setup_intent_data", "metadata"])?,
        setup: None,
        subscription: None,
        invoice: None,
        method: None,
        credit,
    };
    if mode == Mode::Payment && session.total() < 50 {
        let message = "The Checkout Session's total amount due must add up to at least $0.50 usd";
        return Err(ApiError::coded("amount_too_small", None, message));
    }
    let answer = session.json(call.world);
    call.store.sessions.insert(session);
    Ok(answer)
}

/// Subscriptions take monthly prices of a customer, payments take prices that are paid once.
fn check_mode(mode: Mode, items: &[Item]) -> Result<(), ApiError> {
    match mode {
        Mode::Payment if items.iter().any(|item| item.price.monthly) => {
            let message = "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode \
                           or use only one-time prices.";
            Err(ApiError::invalid("line_items", message))
        }
        Mode::Subscription if items.len() != 1 || items.iter().any(|item| !item.price.monthly) => {
            let message =
                "You must provide at least one recurring price in `subscription` mode. The sandbox takes one.";
            Err(ApiError::invalid("line_items", message))
        }
        Mode::Payment | Mode::Subscription | Mode::Setup => Ok(()),
    }
}

fn read_items(call: &Call<'_>, params: &Params) -> Result<Vec<Item>, ApiError> {
    let lines = params.list(&["line_items"]);
    if lines.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    let mut items = Vec::with_capacity(lines.len());
    for (position, line) in lines.iter().enumerate() {
        line.only(&["price", "price_data", "quantity", "metadata", "adjustable_quantity", "tax_rates"])?;
        let price = match line.text(&["price"]) {
            Some(id) => {
                let known = call.store.prices.find(id).cloned();
                known.ok_or_else(|| ApiError::no_such_param("price", &format!("line_items[{position}][price]"), id))?
            }
            None => price::read(call, line, &["price_data"], false)?,
        };
        let quantity = line
            .integer(&["quantity"])?
            .ok_or_else(|| ApiError::missing(&format!("line_items[{position}][quantity]")))?;
        if quantity < 1 {
            return Err(ApiError::invalid(
                &format!("line_items[{position}][quantity]"),
                "Quantity must be at least 1.",
            ));
        }
        items.push(Item { id: call.world.clock.new_id("li_"), price, quantity });
    }
    Ok(items)
}

pub fn expire(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    let session = call.store.sessions.find(id).ok_or_else(|| ApiError::no_such("checkout.session", id))?;
    if session.status != SessionStatus::Open {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{}`.",
            session.status
        );
        return Err(ApiError::invalid("id", &message));
    }
    mark_expired(call, id);
    Ok(call.json(id))
}

/// Expires every open session whose time is over.
pub fn expire_due(call: &mut Call<'_>) {
    let now = call.now;
    let due: Vec<String> = call
        .store
        .sessions
        .iter()
        .filter(|session| session.status == SessionStatus::Open && session.expires_at <= now)
        .map(|session| session.id.clone())
        .collect();
    for id in due {
        mark_expired(call, &id);
    }
}

fn mark_expired(call: &mut Call<'_>, id: &str) {
    if let Some(session) = call.store.sessions.find_mut(id) {
        session.status = SessionStatus::Expired;
    }
    call.emit("checkout.session.expired", id);
}
