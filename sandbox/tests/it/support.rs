//! A sandbox, a client, and an endpoint that records webhooks.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use sandbox::{Options, Sandbox};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// 23 November 2026.
pub const NOW: i64 = 1_795_435_200;
pub const SECRET: &str = "whsec_test";

pub async fn start() -> Sandbox {
    sandbox::start(Options { now: Some(NOW), ..Options::default() }).await.unwrap()
}

/// A client that follows no redirects.
#[allow(clippy::disallowed_methods)] // The tests' one client.
pub fn http() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub async fn form(sandbox: &Sandbox, path: &str, key: Option<&str>, body: &str) -> (u16, Value, HeaderMap) {
    let mut request = http()
        .post(format!("{}stripe{path}", sandbox.base_url.clone() + "/"))
        .header("authorization", "Bearer sk_test_1")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, response.json().await.unwrap(), headers)
}

/// A Checkout Session for $11.50, as JSON.
pub async fn checkout(sandbox: &Sandbox, more: &str) -> Value {
    let body = format!(
        "mode=payment&success_url=http://127.0.0.1:1/bought/{{CHECKOUT_SESSION_ID}}&cancel_url=http://127.0.0.1:1/credits\
         &line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=1150\
         &line_items[0][price_data][product_data][name]=$10 credit pack&line_items[0][quantity]=1\
         &metadata[purchase_id]=p1&payment_intent_data[metadata][purchase_id]=p1&client_reference_id=p1{more}"
    );
    let (status, session, _) = form(sandbox, "/v1/checkout/sessions", None, &body).await;
    assert_eq!(status, 200, "{session}");
    session
}

pub fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// What an endpoint received: the signature and the raw body.
pub type Received = Arc<Mutex<Vec<(Option<String>, String)>>>;

/// An endpoint that answers with the status and records what it gets. Returns its address.
pub async fn endpoint(status: u16) -> (String, Received) {
    async fn receive(
        State((status, received)): State<(StatusCode, Received)>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let signature = headers.get("stripe-signature").map(|value| value.to_str().unwrap().to_owned());
        received.lock().unwrap().push((signature, String::from_utf8(body.to_vec()).unwrap()));
        status
    }
    let received = Received::default();
    let state = (StatusCode::from_u16(status).unwrap(), received.clone());
    let router = axum::Router::new().route("/hook", axum::routing::post(receive)).with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

#[allow(clippy::disallowed_methods)] // The tests' one place.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
