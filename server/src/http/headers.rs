//! Owns: the headers every answer carries, and the id by which a request is found in the log.
//! Does not own: the pages' content policy, which needs their nonce (`app`).

use crate::Server;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// Set unless the route has set its own.
const EVERYWHERE: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
];

/// Runs the request under its id, and adds the headers. The log has the path but not the query, which may hold a token.
pub async fn add(State(server): State<Server>, request: Request, next: Next) -> Response {
    let request_id = server.clock.new_id();
    let span = tracing::info_span!("request", %request_id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;

    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if server.config.public_url.starts_with("https://") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains"));
    }
    if !headers.contains_key(CACHE_CONTROL) && is_personal(headers) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), request_id);
    }
    keep_host_cookies_removable(headers);
    response
}

/// Pages, JSON, event streams and whatever sets a cookie; not style sheets and pictures.
fn is_personal(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    headers.contains_key(SET_COOKIE)
        || ["text/html", "application/json", "text/event-stream"].iter().any(|personal| kind.starts_with(personal))
}

/// A browser ignores a `__Host-` cookie that is not Secure, its removal too, which the session layer leaves bare.
fn keep_host_cookies_removable(headers: &mut HeaderMap) {
    let bare = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.starts_with("__Host-") && !text.to_ascii_lowercase().contains("; secure"))
    };
    if !headers.get_all(SET_COOKIE).iter().any(bare) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        let complete = match cookie.to_str() {
            Ok(text) if bare(&cookie) => HeaderValue::from_str(&format!("{text}; Secure; HttpOnly; SameSite=Lax")).ok(),
            Ok(_) | Err(_) => None,
        };
        headers.append(SET_COOKIE, complete.unwrap_or(cookie));
    }
}
