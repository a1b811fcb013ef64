//! Owns: prices and their products: `POST /v1/prices`, `GET /v1/prices/{id}`.

use super::error::ApiError;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What something costs once.
#[derive(Clone, Debug)]
pub struct Price {
    pub id: String,
    pub product_id: String,
    pub name: String,
    pub unit_amount: i64,
    pub currency: String,
    pub created: i64,
    pub active: bool,
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
        json!({
            "id": self.id, "object": "price", "active": self.active, "billing_scheme": "per_unit",
            "created": self.created, "currency": self.currency, "custom_unit_amount": null, "livemode": false,
            "lookup_key": null, "metadata": self.metadata, "nickname": null, "product": self.product_id,
            "recurring": null, "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null,
            "type": "one_time", "unit_amount": self.unit_amount, "unit_amount_decimal": self.unit_amount.to_string(),
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
    let (product_id, name) = match (text(&["product"]), text(&["product_data", "name"])) {
        (Some(product), None) => (product.clone(), product),
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
        "tax_behavior",
    ])?;
    let price = read(call, params, &[], true)?;
    let answer = price.json(call.world);
    call.store.prices.insert(price);
    Ok(answer)
}
