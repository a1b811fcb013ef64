//! Owns: the page that stands for the bank's, for a payment that belongs to no Checkout: whoever confirmed it is asked,
//! and goes back to where the payment was confirmed from.

use super::params::Params;
use super::payment_intent::{self, Intent, IntentStatus, Progress};
use super::with_call;
use crate::html::{escape, message, money, page};
use crate::world::World;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

/// `GET /authenticate/{intent}`.
pub async fn show(State(world): State<World>, Path(id): Path<String>) -> Response {
    match with_call(&world, |call| call.store.intents.find(&id).cloned()) {
        None => no_such_payment(),
        Some(intent) if intent.status == IntentStatus::NeedsAction => form(&intent),
        Some(intent) => back(&intent),
    }
}

/// `POST /authenticate/{intent}` with `outcome=complete` or `outcome=fail`. Sent twice, it is answered once.
pub async fn submit(State(world): State<World>, Path(id): Path<String>, body: String) -> Response {
    let completed = Params::parse(&body).text(&["outcome"]) == Some("complete");
    let intent = with_call(&world, |call| {
        let waits = call.store.intents.find(&id).is_some_and(|intent| intent.status == IntentStatus::NeedsAction);
        if waits {
            let _: Progress = payment_intent::authenticated(call, &id, completed);
        }
        call.store.intents.find(&id).cloned()
    });
    intent.map_or_else(no_such_payment, |intent| back(&intent))
}

fn no_such_payment() -> Response {
    let text =
        "The sandbox keeps payments in memory, so one from before its last start is gone. Go back and begin again.";
    message(StatusCode::NOT_FOUND, "There is no such payment", text, None)
}

/// The way back, with what Stripe adds to the address.
fn back(intent: &Intent) -> Response {
    let Some(url) = &intent.return_url else {
        return message(StatusCode::OK, "This payment does not wait for you", "Nothing is asked here.", None);
    };
    let joint = if url.contains('?') { '&' } else { '?' };
    let status = if intent.status == IntentStatus::Succeeded { "succeeded" } else { "failed" };
    Redirect::to(&format!("{url}{joint}payment_intent={}&redirect_status={status}", intent.id)).into_response()
}

fn form(intent: &Intent) -> Response {
    let total = money(intent.amount, &intent.currency);
    let body = format!(
        "<section class=\"card\">\n<h1>3-D Secure</h1>\n<p>Your bank asks whether you want to pay {total}. In the sandbox, \
         you decide how it ends.</p>\n<form method=\"post\" action=\"/authenticate/{}\">\n\
         <button type=\"submit\" name=\"outcome\" value=\"complete\">Complete</button>\n\
         <button type=\"submit\" name=\"outcome\" value=\"fail\" class=\"quiet\">Fail</button>\n</form>\n</section>",
        escape(&intent.id)
    );
    page("3-D Secure", &body).into_response()
}
