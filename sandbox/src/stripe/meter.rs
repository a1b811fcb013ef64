//! Owns: billing meters' events: what was used, told once for each identifier.

use super::error::ApiError;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct MeterEvent {
    /// Also how it is found.
    pub identifier: String,
    created: i64,
    timestamp: i64,
    pub name: String,
    pub payload: BTreeMap<String, String>,
}

impl Object for MeterEvent {
    fn id(&self) -> &str {
        &self.identifier
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "object": "billing.meter_event", "created": self.created, "event_name": self.name,
            "identifier": self.identifier, "livemode": false, "payload": self.payload, "timestamp": self.timestamp,
        })
    }
}

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["event_name", "payload", "identifier", "timestamp"])?;
    let identifier = params.owned(&["identifier"]).unwrap_or_else(|| call.world.clock.new_id("meter_"));
    if call.store.meter_events.find(&identifier).is_some() {
        let message = format!("An event already exists with identifier {identifier}.");
        return Err(ApiError::coded("duplicate_meter_event", Some("identifier"), &message));
    }
    let payload = params.metadata(&["payload"])?;
    let customer = payload.get("stripe_customer_id").cloned().unwrap_or_default();
    if call.store.customers.find(&customer).is_none() {
        return Err(ApiError::no_such_param("customer", "payload[stripe_customer_id]", &customer));
    }
    let timestamp = params.integer(&["timestamp"])?.unwrap_or(call.now);
    if !(call.now - 35 * 86_400..=call.now + 300).contains(&timestamp) {
        return Err(ApiError::invalid("timestamp", "The timestamp must be within the past 35 calendar days."));
    }
    let event = MeterEvent {
        identifier: identifier.clone(),
        created: call.now,
        timestamp,
        name: params.required(&["event_name"])?.to_owned(),
        payload,
    };
    let answer = event.json(call.world);
    call.store.meter_events.insert(event);
    Ok(answer)
}
