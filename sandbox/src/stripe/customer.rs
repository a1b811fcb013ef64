//! Owns: customers and the payment methods they keep.

use super::card::{Behaviour, CARDS, Card, Decline, behaviour};
use super::error::ApiError;
use super::invoice::Line;
use super::params::Params;
use super::store::{Call, Object};
use crate::clock::mix;
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Customer {
    pub id: String,
    created: i64,
    pub email: Option<String>,
    name: Option<String>,
    description: Option<String>,
    phone: Option<String>,
    metadata: BTreeMap<String, String>,
    pub default_payment_method: Option<String>,
    /// Cents; negative is credit, which the next invoice takes.
    pub balance: i64,
    /// Lines of a subscription that ended, which the next one's first invoice takes.
    pub pending: Vec<Line>,
}

impl Object for Customer {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "customer", "address": null, "balance": self.balance, "created": self.created, "currency": null,
            "default_source": null, "delinquent": false, "description": self.description, "discount": null,
            "email": self.email, "invoice_prefix": self.id.get(4..12).unwrap_or("SANDBOX").to_uppercase(),
            "invoice_settings": {
                "custom_fields": null, "default_payment_method": self.default_payment_method, "footer": null,
                "rendering_options": null,
            },
            "livemode": false, "metadata": self.metadata, "name": self.name, "next_invoice_sequence": 1,
            "phone": self.phone, "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": null,
        })
    }
}

const CUSTOMER_PARAMS: &[&str] = &[
    "email",
    "name",
    "description",
    "phone",
    "metadata",
    "invoice_settings",
    "address",
    "preferred_locales",
    "tax_exempt",
    "payment_method",
    "shipping",
];

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(CUSTOMER_PARAMS)?;
    let customer = Customer {
        id: call.world.clock.new_id("cus_"),
        created: call.now,
        email: params.owned(&["email"]),
        name: params.owned(&["name"]),
        description: params.owned(&["description"]),
        phone: params.owned(&["phone"]),
        metadata: params.metadata(&["metadata"])?,
        default_payment_method: params.owned(&["invoice_settings", "default_payment_method"]),
        balance: 0,
        pending: Vec::new(),
    };
    Ok(insert(call, customer))
}

/// A customer that Checkout makes by itself.
pub fn insert_from_checkout(call: &mut Call<'_>, email: Option<String>, name: String) -> String {
    let id = call.world.clock.new_id("cus_");
    insert(
        call,
        Customer {
            id: id.clone(),
            created: call.now,
            email,
            name: Some(name),
            description: None,
            phone: None,
            metadata: BTreeMap::new(),
            default_payment_method: None,
            balance: 0,
            pending: Vec::new(),
        },
    );
    id
}

fn insert(call: &mut Call<'_>, customer: Customer) -> Value {
    let id = customer.id.clone();
    call.store.customers.insert(customer);
    call.emit("customer.created", &id);
    call.json(&id)
}

pub fn update(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(CUSTOMER_PARAMS)?;
    let metadata = params.metadata(&["metadata"])?;
    let customer = call.store.customers.find_mut(id).ok_or_else(|| ApiError::no_such("customer", id))?;
    for (field, name) in [
        (&mut customer.email, "email"),
        (&mut customer.name, "name"),
        (&mut customer.description, "description"),
        (&mut customer.phone, "phone"),
    ] {
        if params.at(&[name]).is_some() {
            *field = params.owned(&[name]);
        }
    }
    if let Some(method) = params.owned(&["invoice_settings", "default_payment_method"]) {
        customer.default_payment_method = Some(method);
    }
    customer.metadata.extend(metadata);
    customer.metadata.retain(|_, text| !text.is_empty());
    call.emit("customer.updated", id);
    Ok(call.json(id))
}

/// A card or bank account that pays.
#[derive(Clone, Debug)]
pub struct PaymentMethod {
    pub id: String,
    created: i64,
    pub number: String,
    exp_month: i64,
    exp_year: i64,
    name: Option<String>,
    pub customer: Option<String>,
    /// It was taken from its customer, and pays nothing any more.
    pub is_detached: bool,
    /// What its bank says from now on, whatever the number says.
    pub fate: Option<Behaviour>,
}

impl PaymentMethod {
    /// What happens when it is charged.
    pub fn behaviour(&self) -> Behaviour {
        self.fate.unwrap_or_else(|| behaviour(&self.number))
    }

    pub fn is_bank(&self) -> bool {
        self.brand() == "bank"
    }

    pub fn brand(&self) -> &'static str {
        CARDS.iter().find(|card| card.number == self.number).map_or("visa", |card| card.brand)
    }

    pub fn last4(&self) -> &str {
        self.number.get(self.number.len().saturating_sub(4)..).unwrap_or("")
    }

    /// The same for the same card, whoever pays with it.
    fn fingerprint(&self) -> String {
        let mut bits = 0;
        for byte in self.number.bytes() {
            bits = mix(bits ^ u64::from(byte));
        }
        format!("{bits:016x}")
    }

    pub fn billing_details(&self, email: Option<&str>) -> Value {
        json!({
            "address": {"city": null, "country": "US", "line1": null, "line2": null, "postal_code": null, "state": null},
            "email": email, "name": self.name, "phone": null, "tax_id": null,
        })
    }

    /// `payment_method_details` of a charge.
    pub fn details(&self, authenticated: bool) -> Value {
        if self.is_bank() {
            return json!({"type": "us_bank_account", "us_bank_account": self.bank()});
        }
        let secure = authenticated.then(|| {
            json!({
                "authentication_flow": "challenge", "result": "authenticated", "result_reason": null, "version": "2.2.0",
            })
        });
        json!({"type": "card", "card": {
            "amount_authorized": null, "authorization_code": null, "brand": self.brand(),
            "checks": {"address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass"},
            "country": "US", "exp_month": self.exp_month, "exp_year": self.exp_year, "fingerprint": self.fingerprint(),
            "funding": "credit", "installments": null, "last4": self.last4(), "mandate": null, "network": self.brand(),
            "three_d_secure": secure, "wallet": null,
        }})
    }

    fn bank(&self) -> Value {
        json!({
            "account_holder_type": "individual", "account_type": "checking", "bank_name": "SANDBOX BANK",
            "fingerprint": self.fingerprint(), "last4": self.last4(), "routing_number": "110000000",
        })
    }
}

impl Object for PaymentMethod {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        let mut object = json!({
            "id": self.id, "object": "payment_method", "allow_redisplay": "limited",
            "billing_details": self.billing_details(None), "created": self.created, "customer": self.customer,
            "livemode": false, "metadata": {}, "type": if self.is_bank() { "us_bank_account" } else { "card" },
        });
        let (name, details) = if self.is_bank() {
            ("us_bank_account", self.bank())
        } else {
            let card = json!({
                "brand": self.brand(), "checks": {"address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass"},
                "country": "US", "display_brand": self.brand(), "exp_month": self.exp_month, "exp_year": self.exp_year,
                "fingerprint": self.fingerprint(), "funding": "credit", "generated_from": null, "last4": self.last4(),
                "networks": {"available": [self.brand()], "preferred": null},
                "three_d_secure_usage": {"supported": true}, "wallet": null,
            });
            ("card", card)
        };
        if let Value::Object(fields) = &mut object {
            fields.insert(name.to_owned(), details);
        }
        object
    }
}

/// A card as its bank says from now on: `pays`, `authenticate`, or one of Stripe's decline codes. `false` if there is no
/// such card or word.
pub fn set_fate(call: &mut Call<'_>, method: &str, word: &str) -> bool {
    let fate = match word {
        "pays" => Some(Behaviour::Succeeds),
        "authenticate" => Some(Behaviour::Authenticates),
        code => Decline::of(code).map(Behaviour::Declines),
    };
    match (call.store.methods.find_mut(method), fate) {
        (Some(method), Some(fate)) => {
            method.fate = Some(fate);
            true
        }
        (_, _) => false,
    }
}

/// Stores a payment method for a card that was typed in.
pub fn insert_method(call: &mut Call<'_>, card: &Card, customer: Option<String>) -> String {
    let id = call.world.clock.new_id("pm_");
    call.store.methods.insert(PaymentMethod {
        id: id.clone(),
        created: call.now,
        number: card.number.clone(),
        exp_month: card.exp_month,
        exp_year: card.exp_year,
        name: Some(card.name.clone()),
        customer,
        is_detached: false,
        fate: None,
    });
    id
}

/// A payment method by its id, or made from one of Stripe's ready-made names such as `pm_card_visa`.
pub fn resolve_method(call: &mut Call<'_>, id: &str) -> Result<String, ApiError> {
    if call.store.methods.find(id).is_some() {
        return Ok(id.to_owned());
    }
    let known = CARDS.iter().find(|card| card.token == id);
    let test_card = known.ok_or_else(|| ApiError::no_such_param("PaymentMethod", "payment_method", id))?;
    let card =
        Card { number: test_card.number.to_owned(), exp_month: 12, exp_year: 2034, name: "Test Card".to_owned() };
    Ok(insert_method(call, &card, None))
}

pub fn attach(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    let customer = params.required(&["customer"])?.to_owned();
    if call.store.customers.find(&customer).is_none() {
        return Err(ApiError::no_such_param("customer", "customer", &customer));
    }
    let id = resolve_method(call, id)?;
    set_customer(call, &id, Some(customer));
    call.emit("payment_method.attached", &id);
    Ok(call.json(&id))
}

pub fn detach(call: &mut Call<'_>, id: &str) -> Result<Value, ApiError> {
    if call.store.methods.find(id).is_none() {
        return Err(ApiError::no_such("PaymentMethod", id));
    }
    let owner = call.store.methods.find(id).and_then(|method| method.customer.clone());
    set_customer(call, id, None);
    if let Some(method) = call.store.methods.find_mut(id) {
        method.is_detached = true;
    }
    call.emit("payment_method.detached", id);
    let owner = owner.and_then(|owner| call.store.customers.find_mut(&owner));
    if let Some(owner) = owner.filter(|owner| owner.default_payment_method.as_deref() == Some(id)) {
        owner.default_payment_method = None;
        let owner = owner.id.clone();
        call.emit("customer.updated", &owner);
    }
    Ok(call.json(id))
}

pub fn set_customer(call: &mut Call<'_>, method: &str, customer: Option<String>) {
    if let Some(method) = call.store.methods.find_mut(method) {
        method.is_detached &= customer.is_none();
        method.customer = customer;
    }
}

/// The customer keeps this card and pays with it from now on.
pub fn keep_card(call: &mut Call<'_>, customer_id: &str, method_id: &str) {
    set_customer(call, method_id, Some(customer_id.to_owned()));
    call.emit("payment_method.attached", method_id);
    if let Some(customer) = call.store.customers.find_mut(customer_id) {
        customer.default_payment_method = Some(method_id.to_owned());
    }
    call.emit("customer.updated", customer_id);
}
