//! Owns: Stripe's objects in memory, each kind in the order it was made.

use super::charge::Charge;
use super::checkout::Session;
use super::customer::{Customer, PaymentMethod};
use super::dispute::{Dispute, FraudWarning};
use super::event::Event;
use super::idempotency::Answers;
use super::invoice::Invoice;
use super::meter::MeterEvent;
use super::payment_intent::Intent;
use super::portal::PortalSession;
use super::price::Price;
use super::product::Product;
use super::promotion::{Coupon, PromotionCode};
use super::refund::Refund;
use super::setup::SetupIntent;
use super::subscription::Subscription;
use crate::world::Parts;
use serde_json::Value;
use std::collections::HashMap;

/// Something with an id.
pub trait Object {
    fn id(&self) -> &str;
    fn created(&self) -> i64;
    /// As the API answers it.
    fn json(&self, world: &Parts) -> Value;
}

/// All objects of a kind, oldest first.
#[derive(Debug)]
pub struct Table<T> {
    rows: Vec<T>,
    by_id: HashMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: Vec::new(), by_id: HashMap::new() }
    }
}

impl<T: Object> Table<T> {
    pub fn insert(&mut self, object: T) {
        self.by_id.insert(object.id().to_owned(), self.rows.len());
        self.rows.push(object);
    }

    pub fn find(&self, id: &str) -> Option<&T> {
        self.rows.get(*self.by_id.get(id)?)
    }

    pub fn find_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(*self.by_id.get(id)?)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.iter()
    }
}

/// Everything that the account at Stripe holds.
#[derive(Debug, Default)]
pub struct Store {
    pub customers: Table<Customer>,
    pub products: Table<Product>,
    pub prices: Table<Price>,
    pub coupons: Table<Coupon>,
    pub promotion_codes: Table<PromotionCode>,
    pub subscriptions: Table<Subscription>,
    pub invoices: Table<Invoice>,
    pub setups: Table<SetupIntent>,
    pub portals: Table<PortalSession>,
    pub meter_events: Table<MeterEvent>,
    pub methods: Table<PaymentMethod>,
    pub sessions: Table<Session>,
    pub intents: Table<Intent>,
    pub charges: Table<Charge>,
    pub refunds: Table<Refund>,
    /// New refunds stay pending until they are ended.
    pub refunds_wait: bool,
    pub disputes: Table<Dispute>,
    pub warnings: Table<FraudWarning>,
    pub events: Table<Event>,
    pub answers: Answers,
}

impl Store {
    /// An object of any kind by its id.
    pub fn json(&self, world: &Parts, id: &str) -> Option<Value> {
        fn of<T: Object>(table: &Table<T>, world: &Parts, id: &str) -> Option<Value> {
            table.find(id).map(|object| object.json(world))
        }
        match id.split('_').next()? {
            "cus" => of(&self.customers, world, id),
            "price" => of(&self.prices, world, id),
            "sub" => of(&self.subscriptions, world, id),
            "in" => of(&self.invoices, world, id),
            "seti" => of(&self.setups, world, id),
            "bps" => of(&self.portals, world, id),
            "promo" => of(&self.promotion_codes, world, id),
            "pm" => of(&self.methods, world, id),
            "cs" => of(&self.sessions, world, id),
            "pi" => of(&self.intents, world, id),
            "ch" => of(&self.charges, world, id),
            "re" => of(&self.refunds, world, id),
            "dp" => of(&self.disputes, world, id),
            "issfr" => of(&self.warnings, world, id),
            "evt" => of(&self.events, world, id),
            // Products and coupons have ids that the account chose.
            _ => of(&self.products, world, id).or_else(|| of(&self.coupons, world, id)),
        }
    }
}

/// Where a change comes from: the request that caused it, if it was one.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    pub request_id: Option<String>,
    pub idempotency_key: Option<String>,
}

/// One piece of work on the store, at one moment.
#[derive(Debug)]
pub struct Call<'a> {
    pub world: &'a Parts,
    pub store: &'a mut Store,
    pub now: i64,
    pub cause: Cause,
}

impl Call<'_> {
    /// The object's JSON, or null.
    pub fn json(&self, id: &str) -> Value {
        self.store.json(self.world, id).unwrap_or(Value::Null)
    }

    /// Records an event about an object as it is now, and sends it to the webhook endpoint.
    pub fn emit(&mut self, kind: &str, object_id: &str) {
        let object = self.json(object_id);
        super::event::emit(self, kind, object);
    }
}
