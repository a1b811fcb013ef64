//! Owns: SetupIntents: a card that is left with a customer without a payment.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct SetupIntent {
    pub id: String,
    created: i64,
    customer: Option<String>,
    method: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Object for SetupIntent {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "setup_intent", "application": null, "automatic_payment_methods": null,
            "cancellation_reason": null, "client_secret": format!("{}_secret_sandbox", self.id), "created": self.created,
            "customer": self.customer, "description": null, "flow_directions": null, "last_setup_error": null,
            "latest_attempt": null, "livemode": false, "mandate": null, "metadata": self.metadata, "next_action": null,
            "on_behalf_of": null, "payment_method": self.method, "payment_method_configuration_details": null,
            "payment_method_options": null, "payment_method_types": ["card"], "single_use_mandate": null,
            "status": "succeeded", "usage": "off_session",
        })
    }
}

/// The card of a complete session stays with its customer. It is not the default until somebody says so.
pub fn complete(call: &mut Call<'_>, session_id: &str) {
    let Some(session) = call.store.sessions.find(session_id).cloned() else { return };
    let id = call.world.clock.new_id("seti_");
    if let Some(method) = &session.method {
        super::customer::set_customer(call, method, session.customer.clone());
        call.emit("payment_method.attached", method);
    }
    call.store.setups.insert(SetupIntent {
        id: id.clone(),
        created: call.now,
        customer: session.customer.clone(),
        method: session.method.clone(),
        metadata: session.setup_metadata.clone(),
    });
    if let Some(session) = call.store.sessions.find_mut(session_id) {
        session.setup = Some(id.clone());
    }
    call.emit("setup_intent.succeeded", &id);
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let customer = params.text(&["customer"]);
    list::page(&call.store.setups, call.world, path, params, |setup| {
        customer.is_none_or(|customer| setup.customer.as_deref() == Some(customer))
    })
}
