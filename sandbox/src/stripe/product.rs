//! Owns: products: what prices are for.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Product {
    pub id: String,
    created: i64,
    updated: i64,
    pub name: String,
    description: Option<String>,
    active: bool,
    unit_label: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Object for Product {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "product", "active": self.active, "attributes": [], "created": self.created,
            "default_price": null, "description": self.description, "images": [], "livemode": false,
            "marketing_features": [], "metadata": self.metadata, "name": self.name, "package_dimensions": null,
            "shippable": null, "statement_descriptor": null, "tax_code": null, "type": "service",
            "unit_label": self.unit_label, "updated": self.updated, "url": null,
        })
    }
}

const PARAMS: &[&str] = &["id", "name", "description", "active", "metadata", "unit_label", "tax_code"];

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(PARAMS)?;
    let id = params.owned(&["id"]).unwrap_or_else(|| call.world.clock.new_id("prod_"));
    if call.store.products.find(&id).is_some() {
        let message = format!("Product already exists: '{id}'.");
        return Err(ApiError::coded("resource_already_exists", Some("id"), &message));
    }
    let product = Product {
        created: call.now,
        updated: call.now,
        name: params.required(&["name"])?.to_owned(),
        description: params.owned(&["description"]),
        active: params.boolean(&["active"])?.unwrap_or(true),
        unit_label: params.owned(&["unit_label"]),
        metadata: params.metadata(&["metadata"])?,
        id: id.clone(),
    };
    call.store.products.insert(product);
    call.emit("product.created", &id);
    Ok(call.json(&id))
}

pub fn update(call: &mut Call<'_>, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(PARAMS)?;
    let metadata = params.metadata(&["metadata"])?;
    let active = params.boolean(&["active"])?;
    let now = call.now;
    let product = call.store.products.find_mut(id).ok_or_else(|| ApiError::no_such("product", id))?;
    if let Some(name) = params.owned(&["name"]) {
        product.name = name;
    }
    if params.at(&["description"]).is_some() {
        product.description = params.owned(&["description"]);
    }
    product.active = active.unwrap_or(product.active);
    product.metadata.extend(metadata);
    product.updated = now;
    call.emit("product.updated", id);
    Ok(call.json(id))
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (ids, active) = (params.texts(&["ids"]), params.boolean(&["active"])?);
    list::page(&call.store.products, call.world, path, params, |product| {
        (ids.is_empty() || ids.contains(&product.id)) && active.is_none_or(|active| active == product.active)
    })
}
