//! Owns: prices, paid once or every month: `/v1/prices`.
//! Invariant: the amount of a price never changes; another amount is another price. A lookup key names one active price.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What something costs.
#[derive(Clone, Debug)]
pub struct Price {
    pub id: String,
    pub product_id: String,
    pub name: String,
    pub unit_amount: i64,
    pub currency: String,
    pub created: i64,
    pub active: bool,
    /// Paid every month, else once.
    pub monthly: bool,
    pub lookup_key: Option<String>,
    pub nickname: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

impl Object for Price {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        let recurring = self.monthly.then(|| {
            json!({"interval": "month", "interval_count": 1, "meter": null, "trial_period_days": null, "usage_type": "licensed"})
        });
        json!({
            "id": self.id, "object": "price", "active": self.active, "billing_scheme": "per_unit",
            "created": self.created, "currency": self.currency, "custom_unit_amount": null, "livemode": false,
            "lookup_key": self.lookup_key, "metadata": self.metadata, "nickname": self.nickname,
            "product": self.product_id, "recurring": recurring, "tax_behavior": "unspecified", "tiers_mode": null,
            "transform_quantity": null, "type": if self.monthly { "recurring" } else { "one_time" },
            "unit_amount": self.unit_amount, "unit_amount_decimal": self.unit_amount.to_string(),
        })
    }
}

impl Price {
    /// The older form of a monthly price, which subscription items still carry.
    pub fn plan_json(&self) -> Value {
        json!({
            "id": self.id, "object": "plan", "active": self.active, "amount": self.unit_amount,
            "amount_decimal": self.unit_amount.to_string(), "billing_scheme": "per_unit", "created": self.created,
            "currency": self.currency, "interval": "month", "interval_count": 1, "livemode": false,
            "metadata": self.metadata, "meter": null, "nickname": self.nickname, "product": self.product_id,
            "tiers_mode": null, "transform_usage": null, "trial_period_days": null, "usage_type": "licensed",
        })
    }
}

/// Reads `price_data` below a parameter, or the parameters of a new price.
pub fn read(call: &Call<'_>, params: &Params, below: &[&str], active: bool) -> Result<Price, ApiError> {
    let path = |names: &[&'static str]| -> Vec<String> {
        below.iter().map(|name| (*name).to_owned()).chain(names.iter().map(|name| (*name).to_owned())).collect()
    };
    let text = |names: &[&'static str]| -> Option<String> {
        let path = path(names);
        params.owned(&path.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let needed = |names: &[&'static str]| text(names).ok_or_else(|| ApiError::missing(&path(names).join(".")));
    let currency = needed(&["currency"])?.to_lowercase();
    let amount = needed(&["unit_amount"])?;
    let unit_amount = match amount.parse::<i64>() {
        Ok(amount) if amount >= 0 => amount,
        Ok(_) | Err(_) => return Err(ApiError::invalid("unit_amount", &format!("Invalid integer: {amount}"))),
    };
    let monthly = match text(&["recurring", "interval"]).as_deref() {
        None => false,
        Some("month") => true,
        Some(other) => {
            let message = format!("The sandbox knows the interval `month`, not `{other}`.");
            return Err(ApiError::invalid("recurring[interval]", &message));
        }
    };
    let (product_id, name) = match (text(&["product"]), text(&["product_data", "name"])) {
        (Some(id), None) => {
            let known = call.store.products.find(&id).map(|product| product.name.clone());
            if monthly && known.is_none() {
                return Err(ApiError::no_such_param("product", "product", &id));
            }
            (id.clone(), known.unwrap_or(id))
        }
        (None, Some(name)) => (call.world.clock.new_id("prod_"), name),
        (None, None) => return Err(ApiError::missing("product_data.name")),
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "product",
                "You may only specify one of these parameters: product, product_data.",
            ));
        }
    };
    let metadata = params.metadata(&path(&["metadata"]).iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(Price {
        id: call.world.clock.new_id("price_"),
        product_id,
        name,
        unit_amount,
        currency,
        created: call.now,
        active,
        monthly,
        lookup_key: text(&["lookup_key"]),
        nickname: text(&["nickname"]),
        metadata,
    })
}

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&[
        "currency",
        "unit_amount",
        "product",
        "product_data",
        "metadata",
        "nickname",
        "lookup_key",
        "transfer_lookup_key",
        "recurring",
        "tax_behavior",
    ])?;
    let price = read(call, params, &[], true)?;
    let id = price.id.clone();
    claim_key(call, params, price.lookup_key.as_deref(), &id)?;
    call.store.prices.insert(price);
    call.emit("price.created", &id);
    Ok(call.json(&id))
}

pub fn update(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["active", "lookup_key", "transfer_lookup_key", "metadata", "nickname", "tax_behavior"])?;
    if call.store.prices.find(id).is_none() {
        return Err(ApiError::no_such("price", id));
    }
    let (active, metadata) = (params.boolean(&["active"])?, params.metadata(&["metadata"])?);
    let key = params.owned(&["lookup_key"]);
    claim_key(call, params, key.as_deref(), id)?;
    if let Some(price) = call.store.prices.find_mut(id) {
        price.active = active.unwrap_or(price.active);
        if params.at(&["lookup_key"]).is_some() {
            price.lookup_key = key;
        }
        if params.at(&["nickname"]).is_some() {
            price.nickname = params.owned(&["nickname"]);
        }
        price.metadata.extend(metadata);
        price.metadata.retain(|_, text| !text.is_empty());
    }
    call.emit("price.updated", id);
    Ok(call.json(id))
}

/// Takes a lookup key away from the price that has it, if that was asked for; else it is refused.
fn claim_key(call: &mut Call<'_>, params: &Params, key: Option<&str>, id: &str) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    let holder = call
        .store
        .prices
        .iter()
        .find(|price| price.lookup_key.as_deref() == Some(key) && price.id != id)
        .map(|price| price.id.clone());
    let Some(holder) = holder else { return Ok(()) };
    if params.boolean(&["transfer_lookup_key"])? != Some(true) {
        let message = format!("A price (`{holder}`) already uses that lookup key.");
        return Err(ApiError::coded("resource_already_exists", Some("lookup_key"), &message));
    }
    if let Some(price) = call.store.prices.find_mut(&holder) {
        price.lookup_key = None;
    }
    Ok(())
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (keys, active) = (params.texts(&["lookup_keys"]), params.boolean(&["active"])?);
    let product = params.text(&["product"]);
    list::page(&call.store.prices, call.world, path, params, |price| {
        (keys.is_empty() || price.lookup_key.as_ref().is_some_and(|key| keys.contains(key)))
            && active.is_none_or(|active| active == price.active)
            && product.is_none_or(|product| product == price.product_id)
    })
}
