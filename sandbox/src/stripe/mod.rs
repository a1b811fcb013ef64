//! Owns: a Stripe that moves no money: its objects, its API under `/stripe/v1/…`, its hosted Checkout page under
//! `/checkout/…`, invoices under `/invoice/…`, the portal under `/portal/…`, and its webhooks. API version 2026-09-30.endive.

mod api;
pub mod authenticate;
mod begin;
mod card;
mod charge;
mod checkout;
mod collect;
mod customer;
pub mod delivery;
pub mod dispute;
mod error;
pub mod event;
mod idempotency;
mod invoice;
pub mod invoice_page;
mod list;
mod meter;
pub mod page;
mod params;
pub mod pay;
mod payment_intent;
pub mod portal;
mod price;
mod product;
mod promotion;
pub mod refund;
mod renewal;
mod setup;
mod store;
mod subscription;

pub use api::handle;
pub use pay::PayOutcome;

use crate::task::lock;
use crate::world::{Parts, World};
use delivery::DeliveryQueue;
use domain::text_enum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Mutex;
use store::{Call, Cause, Store};

pub const VERSION: &str = "2026-09-30.endive";

text_enum! {
    /// A way in which a request to Stripe's API fails.
    ApiFaultKind {
        /// Answered, but late by `delay_ms`.
        Slow = "slow",
        /// Nothing is done and no answer comes.
        HangBefore = "hang_before",
        /// The work is done (the charge is made), and no answer comes.
        HangAfter = "hang_after",
        /// The work is done, and the connection breaks off within the answer.
        CutAfter = "cut_after",
        /// Nothing is done; 500.
        ServerErrorBefore = "server_error_before",
        /// The work is done; the answer is 500, and stays 500 for this idempotency key.
        ServerErrorAfter = "server_error_after",
        /// Nothing is done; 429.
        RateLimited = "rate_limited",
    }
}

/// Makes the next requests to Stripe's API fail in a way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiFault {
    pub kind: ApiFaultKind,
    /// How many requests it is for.
    #[serde(default = "once")]
    pub times: u32,
    /// Only requests whose path contains this, such as `payment_intents`; reading requests are left alone.
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub delay_ms: u64,
}

fn once() -> u32 {
    1
}

/// The account at Stripe.
#[derive(Debug)]
pub struct Stripe {
    store: Mutex<Store>,
    fault: Mutex<Option<ApiFault>>,
    pub delivery: DeliveryQueue,
}

impl Stripe {
    pub fn new() -> Stripe {
        Stripe { store: Mutex::default(), fault: Mutex::default(), delivery: DeliveryQueue::new() }
    }

    pub fn reset(&self) {
        *lock(&self.store) = Store::default();
        *lock(&self.fault) = None;
        self.delivery.reset();
    }

    pub fn set_fault(&self, fault: ApiFault) {
        *lock(&self.fault) = Some(fault);
    }

    /// Takes the fault for a writing request, if one is set for its path.
    fn take_fault(&self, path: &str) -> Option<ApiFault> {
        let mut fault = lock(&self.fault);
        let taken =
            fault.as_ref().filter(|fault| fault.path.as_ref().is_none_or(|part| path.contains(part))).cloned()?;
        match fault.as_mut() {
            Some(fault) if fault.times > 1 => fault.times -= 1,
            Some(_) | None => *fault = None,
        }
        Some(taken)
    }
}

/// Works on the store at this moment, on nobody's request.
pub fn with_call<T>(world: &Parts, work: impl FnOnce(&mut Call<'_>) -> T) -> T {
    let mut store = lock(&world.stripe.store);
    let mut call = Call { world, store: &mut store, now: world.clock.now(), cause: Cause::default() };
    checkout::expire_due(&mut call);
    renewal::run_due(&mut call);
    work(&mut call)
}

/// Does what is due by the clock: sessions expire, subscriptions renew.
pub fn sweep(world: &World) {
    with_call(world, |_| ());
}

/// One object by its id, as the API answers it.
pub fn find(world: &World, id: &str) -> Option<Value> {
    with_call(world, |call| call.store.json(call.world, id))
}

/// The newest objects for the index page: sessions with what they cost and where they stand.
pub fn recent_sessions(world: &World, count: usize) -> Vec<Value> {
    with_call(world, |call| {
        call.store.sessions.iter().rev().take(count).map(|session| store::Object::json(session, call.world)).collect()
    })
}

/// Every object of a kind that bills, oldest first: `subscription` or `invoice`.
pub fn billed(world: &World, kind: &str) -> Vec<Value> {
    with_call(world, |call| match kind {
        "subscription" => call.store.subscriptions.iter().map(|sub| store::Object::json(sub, call.world)).collect(),
        "invoice" => call.store.invoices.iter().map(|invoice| store::Object::json(invoice, call.world)).collect(),
        "meter_event" => call.store.meter_events.iter().map(|event| store::Object::json(event, call.world)).collect(),
        _ => Vec::new(),
    })
}

/// Gives a customer another card, as if it had been replaced at Stripe; pays nothing by itself.
pub fn set_card(world: &World, customer: &str, number: &str) {
    with_call(world, |call| {
        let card =
            card::Card { number: number.to_owned(), exp_month: 12, exp_year: 2049, name: "Test Card".to_owned() };
        let method = customer::insert_method(call, &card, None);
        customer::keep_card(call, customer, &method);
        let theirs: Vec<String> =
            call.store.subscriptions.iter().filter(|sub| sub.customer == customer).map(|sub| sub.id.clone()).collect();
        for id in theirs {
            if let Some(sub) = call.store.subscriptions.find_mut(&id) {
                sub.default_method = Some(method.clone());
            }
        }
    });
}

/// What the bank says of a kept card from now on; see `customer::set_fate`.
pub fn set_card_fate(world: &World, method: &str, word: &str) -> bool {
    with_call(world, |call| customer::set_fate(call, method, word))
}

/// Calls an endpoint as a person does in Stripe's dashboard: `POST path` with a form; the error's text if it is refused.
pub fn edit(world: &World, path: &str, form: &str) -> Result<Value, String> {
    with_call(world, |call| {
        let params = params::Params::parse(form);
        api::route(call, &axum::http::Method::POST, path, &params).map_err(|error| error.json("dashboard").to_string())
    })
}
