//! Owns: the door of Stripe's API: the key, the version, idempotency, faults, and which path does what.

use super::checkout::{self, Session};
use super::customer::{self, PaymentMethod};
use super::error::ApiError;
use super::event::Event;
use super::idempotency::Replay;
use super::list;
use super::params::Params;
use super::payment_intent::{self, Intent};
use super::store::{Call, Cause};
use super::{ApiFault, ApiFaultKind, VERSION};
use super::{collect, invoice, meter, portal, price, product, promotion, refund, renewal, setup, subscription};
use crate::task::lock;
use crate::world::World;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;

/// Answers every request under `/stripe/`.
pub async fn handle(State(world): State<World>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = world.clock.new_id("req_");
    let path = uri.path().trim_start_matches("/stripe").trim_end_matches('/').to_owned();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let answer = |result: &Result<Value, ApiError>| -> Replay {
        let (status, json) = match result {
            Ok(json) => (StatusCode::OK, json.clone()),
            Err(error) => (error.status, error.json(&request_id)),
        };
        let body = serde_json::to_vec_pretty(&json).unwrap_or_default();
        Replay { status, body: body.into(), request_id: request_id.clone() }
    };
    if let Err(error) = check_key(&headers).and_then(|()| check_version(&headers)) {
        return respond(answer(&Err(error)), key.as_deref(), false);
    }

    let fault = if method == Method::GET { None } else { world.stripe.take_fault(&path) };
    if let Some(fault) = &fault
        && let Some(error) = fail_before(fault).await
    {
        return respond(answer(&Err(error)), key.as_deref(), false);
    }

    let form = if method == Method::GET {
        uri.query().unwrap_or("").to_owned()
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    let params = Params::parse(&form);
    let remembers = method == Method::POST;
    let (replay, is_replayed) = {
        let mut store = lock(&world.stripe.store);
        let cause = Cause { request_id: Some(request_id.clone()), idempotency_key: key.clone() };
        let mut call = Call { world: &world, store: &mut store, now: world.clock.now(), cause };
        checkout::expire_due(&mut call);
        renewal::run_due(&mut call);
        let known = match key.as_deref().filter(|_| remembers) {
            Some(key) => call.store.answers.find(key, &path, &params, call.now),
            None => Ok(None),
        };
        match known {
            Ok(Some(replay)) => (replay, true),
            Err(error) => (answer(&Err(error)), false),
            Ok(None) => {
                let result = route(&mut call, &method, &path, &params).map(|json| expand(&call, json, &params));
                let is_kept = result.as_ref().map_or_else(ApiError::is_kept, |_| true);
                let mut replay = answer(&result);
                if matches!(fault.as_ref().map(|fault| fault.kind), Some(ApiFaultKind::ServerErrorAfter)) {
                    replay = answer(&Err(ApiError::server()));
                }
                if let Some(key) = key.clone().filter(|_| remembers && is_kept) {
                    let now = call.now;
                    call.store.answers.keep(key, &path, params, now, replay.clone());
                }
                (replay, false)
            }
        }
    };

    match fault.map(|fault| fault.kind) {
        Some(ApiFaultKind::HangAfter) => std::future::pending().await,
        Some(ApiFaultKind::CutAfter) => cut(replay),
        Some(
            ApiFaultKind::Slow
            | ApiFaultKind::HangBefore
            | ApiFaultKind::ServerErrorBefore
            | ApiFaultKind::ServerErrorAfter
            | ApiFaultKind::RateLimited,
        )
        | None => respond(replay, key.as_deref(), is_replayed),
    }
}

/// `Authorization: Bearer sk_test_…`, or the key as the user name of basic authentication.
fn check_key(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    let key = match given.split_once(' ') {
        Some(("Bearer", key)) => key.trim().to_owned(),
        Some(("Basic", coded)) => base64::engine::general_purpose::STANDARD
            .decode(coded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(|pair| pair.split(':').next().unwrap_or("").to_owned())
            .unwrap_or_default(),
        Some(_) | None => String::new(),
    };
    if key.is_empty() {
        return Err(ApiError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth \
             (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        ));
    }
    if key.starts_with("sk_test_") || key.starts_with("rk_test_") {
        return Ok(());
    }
    let ending: String = key.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
    Err(ApiError::unauthorized(&format!(
        "Invalid API Key provided: ****{ending}. The sandbox takes keys that begin with sk_test_."
    )))
}

fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("stripe-version").map(|version| version.to_str().unwrap_or("")) {
        None | Some(VERSION) => Ok(()),
        Some(other) => Err(ApiError::version(other)),
    }
}

async fn fail_before(fault: &ApiFault) -> Option<ApiError> {
    match fault.kind {
        ApiFaultKind::Slow => {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            None
        }
        ApiFaultKind::HangBefore => std::future::pending().await,
        ApiFaultKind::ServerErrorBefore => Some(ApiError::server()),
        ApiFaultKind::RateLimited => Some(ApiError::rate_limited()),
        ApiFaultKind::HangAfter | ApiFaultKind::CutAfter | ApiFaultKind::ServerErrorAfter => None,
    }
}

fn respond(replay: Replay, key: Option<&str>, is_replayed: bool) -> Response {
    let mut response = (replay.status, Body::from(replay.body)).into_response();
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    set("content-type", "application/json");
    set("request-id", &replay.request_id);
    set("stripe-version", VERSION);
    if let Some(key) = key {
        set("idempotency-key", key);
        set("original-request", &replay.request_id);
    }
    if is_replayed {
        set("idempotent-replayed", "true");
    }
    if replay.status == StatusCode::TOO_MANY_REQUESTS || replay.status.is_server_error() {
        set("stripe-should-retry", "true");
    }
    response
}

/// The first half of the answer, then the connection breaks.
fn cut(replay: Replay) -> Response {
    let half = replay.body.slice(..replay.body.len() / 2);
    let frames = futures::stream::iter([Ok(half), Err(std::io::Error::other("the sandbox cut the connection"))]);
    (replay.status, [("content-type", "application/json")], Body::from_stream(frames)).into_response()
}

/// Which path does what.
pub fn route(call: &mut Call<'_>, method: &Method, path: &str, params: &Params) -> Result<Value, ApiError> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["v1", "customers"]) => customer::create(call, params),
        ("GET", ["v1", "customers"]) => {
            let email = params.text(&["email"]);
            list::page(&call.store.customers, call.world, path, params, |customer| {
                email.is_none() || customer.email.as_deref() == email
            })
        }
        ("POST", ["v1", "customers", id]) => customer::update(call, id, params),
        ("GET", ["v1", "customers", id]) => found(call, "customer", id),
        ("GET", ["v1", "customers", id, "payment_methods"]) => methods_of(call, path, params, id),
        ("GET", ["v1", "customers", customer, "payment_methods", id]) => {
            let theirs = call.store.methods.find(id).is_some_and(|kept| kept.customer.as_deref() == Some(*customer));
            if theirs { found(call, "PaymentMethod", id) } else { Err(ApiError::no_such("PaymentMethod", id)) }
        }
        ("GET", ["v1", "payment_methods"]) => methods_of(call, path, params, params.required(&["customer"])?),
        ("GET", ["v1", "payment_methods", id]) => found(call, "PaymentMethod", id),
        ("POST", ["v1", "payment_methods", id, "attach"]) => customer::attach(call, id, params),
        ("POST", ["v1", "payment_methods", id, "detach"]) => customer::detach(call, id),
        ("POST", ["v1", "prices"]) => price::create(call, params),
        ("GET", ["v1", "prices"]) => price::page(call, path, params),
        ("GET", ["v1", "prices", id]) => found(call, "price", id),
        ("POST", ["v1", "prices", id]) => price::update(call, id, params),
        ("POST", ["v1", "products"]) => product::create(call, params),
        ("GET", ["v1", "products"]) => product::page(call, path, params),
        ("GET", ["v1", "products", id]) => found(call, "product", id),
        ("POST", ["v1", "products", id]) => product::update(call, id, params),
        ("POST", ["v1", "coupons"]) => promotion::create_coupon(call, params),
        ("POST", ["v1", "promotion_codes"]) => promotion::create_code(call, params),
        ("GET", ["v1", "promotion_codes"]) => promotion::page(call, path, params),
        ("GET", ["v1", "promotion_codes", id]) => found(call, "promotion_code", id),
        ("GET", ["v1", "subscriptions"]) => subscription::page(call, path, params),
        ("GET", ["v1", "subscriptions", id]) => found(call, "subscription", id),
        ("POST", ["v1", "subscriptions", id]) => subscription::update(call, id, params),
        ("DELETE", ["v1", "subscriptions", id]) => subscription::cancel(call, id, params),
        ("POST", ["v1", "invoices", "create_preview"]) => subscription::preview(call, params),
        ("GET", ["v1", "invoices"]) => invoice::page(call, path, params),
        ("GET", ["v1", "invoices", id]) => found(call, "invoice", id),
        ("POST", ["v1", "invoices", id, "pay"]) => collect::pay(call, id, params),
        ("POST", ["v1", "billing_portal", "sessions"]) => portal::create(call, params),
        ("GET", ["v1", "setup_intents", id]) => found(call, "setup_intent", id),
        ("GET", ["v1", "setup_intents"]) => setup::page(call, path, params),
        ("POST", ["v1", "billing", "meter_events"]) => meter::create(call, params),
        ("POST", ["v1", "checkout", "sessions"]) => checkout::create(call, params),
        ("GET", ["v1", "checkout", "sessions"]) => {
            let (intent, customer) = (params.text(&["payment_intent"]), params.text(&["customer"]));
            let status = params.text(&["status"]);
            list::page(&call.store.sessions, call.world, path, params, |session: &Session| {
                (intent.is_none() || session.intent.as_deref() == intent)
                    && (customer.is_none() || session.customer.as_deref() == customer)
                    && status.is_none_or(|status| session.status.as_str() == status)
            })
        }
        ("GET", ["v1", "checkout", "sessions", id]) => found(call, "checkout.session", id),
        ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => {
            let session = call.store.sessions.find(id).ok_or_else(|| ApiError::no_such("checkout.session", id))?;
            Ok(session.items_json(call.world))
        }
        ("POST", ["v1", "checkout", "sessions", id, "expire"]) => checkout::expire(call, id),
        ("POST", ["v1", "payment_intents"]) => payment_intent::create(call, params),
        ("GET", ["v1", "payment_intents"]) => {
            let customer = params.text(&["customer"]);
            list::page(&call.store.intents, call.world, path, params, |intent: &Intent| {
                customer.is_none() || intent.customer.as_deref() == customer
            })
        }
        ("GET", ["v1", "payment_intents", id]) => found(call, "payment_intent", id),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => payment_intent::confirm(call, id, params),
        ("POST", ["v1", "payment_intents", id, "cancel"]) => payment_intent::cancel(call, id, params),
        ("GET", ["v1", "charges", id]) => found(call, "charge", id),
        ("POST", ["v1", "refunds"]) => refund::create(call, params),
        ("GET", ["v1", "refunds"]) => refund::page(call, path, params),
        ("GET", ["v1", "refunds", id]) => found(call, "refund", id),
        ("GET", ["v1", "disputes", id]) => found(call, "dispute", id),
        ("GET", ["v1", "radar", "early_fraud_warnings", id]) => found(call, "radar.early_fraud_warning", id),
        ("GET", ["v1", "events"]) => {
            let (kind, kinds) = (params.text(&["type"]), params.texts(&["types"]));
            list::page(&call.store.events, call.world, path, params, |event: &Event| {
                kind.is_none_or(|kind| {
                    kind == event.kind || kind.strip_suffix(".*").is_some_and(|start| event.kind.starts_with(start))
                }) && (kinds.is_empty() || kinds.contains(&event.kind))
            })
        }
        ("GET", ["v1", "events", id]) => found(call, "event", id),
        (other, _) => Err(ApiError::unrecognized_url(other, path)),
    }
}

fn found(call: &Call<'_>, object: &str, id: &str) -> Result<Value, ApiError> {
    let json = call.json(id);
    let kind = json.get("object").and_then(Value::as_str).unwrap_or("");
    if kind == object || (kind == "payment_method" && object == "PaymentMethod") {
        Ok(json)
    } else {
        Err(ApiError::no_such(object, id))
    }
}

fn methods_of(call: &Call<'_>, path: &str, params: &Params, customer: &str) -> Result<Value, ApiError> {
    if call.store.customers.find(customer).is_none() {
        return Err(ApiError::no_such("customer", customer));
    }
    list::page(&call.store.methods, call.world, path, params, |method: &PaymentMethod| {
        method.customer.as_deref() == Some(customer)
    })
}

/// Puts whole objects in the place of ids, as `expand[]=payment_intent.latest_charge` asks.
fn expand(call: &Call<'_>, mut json: Value, params: &Params) -> Value {
    for path in params.texts(&["expand"]) {
        let path = path.strip_prefix("data.").unwrap_or(&path);
        let names: Vec<&str> = path.split('.').collect();
        match json.get_mut("data").and_then(Value::as_array_mut) {
            Some(rows) => rows.iter_mut().for_each(|row| expand_at(call, row, &names)),
            None => expand_at(call, &mut json, &names),
        }
    }
    json
}

fn expand_at(call: &Call<'_>, json: &mut Value, names: &[&str]) {
    let Some((first, rest)) = names.split_first() else { return };
    let id = json.get("id").and_then(Value::as_str).unwrap_or("").to_owned();
    let Value::Object(fields) = json else { return };
    if *first == "line_items" {
        if let Some(session) = call.store.sessions.find(&id) {
            fields.insert("line_items".to_owned(), session.items_json(call.world));
        }
        return;
    }
    let Some(field) = fields.get_mut(*first) else { return };
    if let Some(object) = field.as_str().and_then(|id| call.store.json(call.world, id)) {
        *field = object;
    }
    expand_at(call, field, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_keys_open_the_door() {
        let with = |value: &str| HeaderMap::from_iter([("authorization".parse().unwrap(), value.parse().unwrap())]);
        assert!(check_key(&with("Bearer sk_test_1")).is_ok());
        assert!(check_key(&with("Basic c2tfdGVzdF8xOg==")).is_ok());
        for refused in ["Bearer sk_live_1", "Bearer ", "sk_test_1", "Basic c2tfbGl2ZV8xOg=="] {
            assert_eq!(check_key(&with(refused)).unwrap_err().status, StatusCode::UNAUTHORIZED, "{refused}");
        }
        assert!(check_key(&HeaderMap::new()).is_err());
    }
}
