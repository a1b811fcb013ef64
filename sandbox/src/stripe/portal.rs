//! Owns: the billing portal: a session, and a page where a customer changes the card, sees invoices, and cancels.

use super::card::{self, CardForm, FieldErrors};
use super::error::ApiError;
use super::invoice::InvoiceStatus;
use super::params::Params;
use super::store::{Call, Object};
use super::subscription::Status;
use super::{customer, page, with_call};
use crate::html::{escape, message, money};
use crate::world::{Parts, World};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct PortalSession {
    pub id: String,
    created: i64,
    customer: String,
    return_url: Option<String>,
}

impl Object for PortalSession {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "billing_portal.session", "configuration": "bpc_sandbox", "created": self.created,
            "customer": self.customer, "customer_account": null, "flow": null, "livemode": false, "locale": null,
            "on_behalf_of": null, "return_url": self.return_url, "url": format!("{}/portal/{}", world.public_url, self.id),
        })
    }
}

pub fn create(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["customer", "return_url", "configuration", "flow_data", "locale"])?;
    let customer = params.required(&["customer"])?.to_owned();
    if call.store.customers.find(&customer).is_none() {
        return Err(ApiError::no_such_param("customer", "customer", &customer));
    }
    let id = call.world.clock.new_id("bps_");
    call.store.portals.insert(PortalSession {
        id: id.clone(),
        created: call.now,
        customer,
        return_url: params.owned(&["return_url"]),
    });
    Ok(call.json(&id))
}

/// `GET /portal/{session}`.
pub async fn show(State(world): State<World>, Path(id): Path<String>) -> Response {
    with_call(&world, |call| render(call, &id, &CardForm::default(), &FieldErrors::default()))
}

/// `POST /portal/{session}`: `what=card` with a card, `what=cancel`, or `what=resume`.
pub async fn submit(State(world): State<World>, Path(id): Path<String>, body: String) -> Response {
    let params = Params::parse(&body);
    with_call(&world, |call| {
        let Some(session) = call.store.portals.find(&id).cloned() else { return unknown() };
        let theirs = call
            .store
            .subscriptions
            .iter()
            .find(|sub| sub.customer == session.customer && sub.status != Status::Canceled)
            .map(|sub| sub.id.clone());
        match (params.text(&["what"]), theirs) {
            (Some("card"), theirs) => {
                let form = page::read_form(&params);
                let card = match card::check(&form, call.now) {
                    Ok(card) => card,
                    Err(errors) => return render(call, &id, &form, &errors),
                };
                let method = customer::insert_method(call, &card, None);
                customer::keep_card(call, &session.customer, &method);
                if let Some(sub) = theirs.and_then(|id| call.store.subscriptions.find_mut(&id)) {
                    sub.default_method = Some(method);
                }
            }
            (Some(what @ ("cancel" | "resume")), Some(sub_id)) => {
                let now = call.now;
                if let Some(sub) = call.store.subscriptions.find_mut(&sub_id) {
                    sub.cancel_at_period_end = what == "cancel";
                    sub.canceled_at = (what == "cancel").then_some(now);
                }
                call.emit("customer.subscription.updated", &sub_id);
            }
            (Some(_) | None, _) => {}
        }
        Redirect::to(&format!("/portal/{id}")).into_response()
    })
}

fn unknown() -> Response {
    message(StatusCode::NOT_FOUND, "There is no such portal session", "Go back and open it again.", None)
}

fn render(call: &Call<'_>, id: &str, form: &CardForm, errors: &FieldErrors) -> Response {
    let Some(session) = call.store.portals.find(id) else { return unknown() };
    let method = call.store.customers.find(&session.customer).and_then(|known| known.default_payment_method.clone());
    let sub = call.store.subscriptions.iter().rev().find(|sub| sub.customer == session.customer);
    let own = sub.and_then(|sub| sub.default_method.clone()).or(method);
    let last4 =
        own.and_then(|id| call.store.methods.find(&id)).map_or("none".to_owned(), |method| method.last4().to_owned());
    let plan = sub.map_or_else(
        || "<p>No subscription.</p>".to_owned(),
        |sub| {
            let (what, word) = if sub.cancel_at_period_end { ("resume", "Don't cancel") } else { ("cancel", "Cancel plan") };
            let button = if sub.status == Status::Canceled {
                String::new()
            } else {
                format!("<form method=\"post\"><button class=\"quiet\" name=\"what\" value=\"{what}\">{word}</button></form>")
            };
            format!("<p>{} × {}, {}</p>{button}", sub.quantity, escape(&sub.price.name), sub.status)
        },
    );
    let rows: String = call
        .store
        .invoices
        .iter()
        .rev()
        .filter(|invoice| invoice.customer == session.customer && invoice.status != InvoiceStatus::Draft)
        .take(12)
        .map(|invoice| {
            format!(
                "<tr><td><a href=\"/invoice/{}\">{}</a></td><td class=\"number\">{}</td><td>{}</td></tr>",
                invoice.id,
                escape(invoice.number.as_deref().unwrap_or("")),
                money(invoice.due(), "usd"),
                invoice.status
            )
        })
        .collect();
    let back = session.return_url.as_deref().unwrap_or("/");
    let body = format!(
        "<section class=\"card\"><h1>Billing portal</h1>{plan}<p>Card ending in {last4}</p>\
         <p><a class=\"button quiet\" href=\"{}\">Return</a></p></section>\n\
         <section class=\"card\" aria-label=\"New card\"><h2>Change the card</h2><form method=\"post\" novalidate>{}\
         <button name=\"what\" value=\"card\">Save card</button></form></section>\n\
         <section class=\"card\"><h2>Invoices</h2><table>{rows}</table></section>",
        escape(back),
        page::card_fields(form, errors)
    );
    crate::html::page("Billing portal", &body).into_response()
}
