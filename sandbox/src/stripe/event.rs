//! Owns: Stripe's events: what happened to which object, as it was at that moment.

use super::VERSION;
use super::store::{Call, Object};
use crate::world::{Parts, World};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    created: i64,
    pub kind: String,
    json: Value,
}

impl Object for Event {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        self.json.clone()
    }
}

/// Records an event and puts it into the queue to the webhook endpoint.
pub fn emit(call: &mut Call<'_>, kind: &str, object: Value) {
    let id = call.world.clock.new_id("evt_");
    let json = json!({
        "id": id, "object": "event", "api_version": VERSION, "created": call.now, "data": {"object": object},
        "livemode": false, "pending_webhooks": i64::from(call.world.stripe.delivery.has_endpoint()),
        "request": {"id": call.cause.request_id, "idempotency_key": call.cause.idempotency_key}, "type": kind,
    });
    let body = serde_json::to_string_pretty(&json).unwrap_or_default();
    call.store.events.insert(Event { id: id.clone(), created: call.now, kind: kind.to_owned(), json });
    call.world.stripe.delivery.enqueue(id, kind.to_owned(), body.into());
}

/// Every event, oldest first.
pub fn all(world: &World) -> Vec<Value> {
    crate::task::lock(&world.stripe.store).events.iter().map(|event| event.json.clone()).collect()
}
