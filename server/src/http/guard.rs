//! Owns: what every request passes before anything runs: whether it comes from our own pages, and how long it may be.
//! Does not own: who is signed in (`session`), attempts (`limits`), the pages' content policy (`app`).
//! Invariant: nothing that changes something runs for a request another site made. The default is to refuse: a new
//! route is guarded by being there.

use super::{client_ip, headers};
use crate::Server;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_LENGTH, HOST, HeaderName, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{RequestExt as _, Router};
use domain::denial::Denial;
use reqwest::Url;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Where the pages' server functions are.
const SERVER_FUNCTIONS: &str = "/api/";
/// Called with a key or a signature of its own, which another site does not have; a session is not looked at there.
const OTHER_PROOF: [&str; 2] = ["/v1/", "/webhooks/"];

/// The longest body: a form or a webhook, and a call of the API.
const BODY: usize = 1 << 20;
const API_BODY: usize = 16 << 20;

/// Puts the guard around every route of `router`, the fallback included. The outermost layer.
pub fn protect(router: Router, server: &Server) -> Router {
    router
        .layer(from_fn_with_state(server.clone(), refuse_cross_site))
        .layer(from_fn(limit_body))
        .layer(from_fn_with_state(server.clone(), client_ip::note))
        .layer(from_fn_with_state(server.clone(), headers::add))
}

/// Refuses what another site made the browser send (403 `cross_site`) before anything of ours runs.
async fn refuse_cross_site(State(server): State<Server>, request: Request, next: Next) -> Response {
    if must_be_ours(request.method(), request.uri().path()) && !is_ours(request.headers(), &server.config.public_url) {
        tracing::warn!(method = %request.method(), path = request.uri().path(), "a request from another site was refused");
        return refused(&Denial::CrossSite);
    }
    next.run(request).await
}

/// Everything but reading. Reading too, at the server functions: one declared with GET by mistake must not be a hole.
fn must_be_ours(method: &Method, path: &str) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if OTHER_PROOF.iter().any(|prefix| path.starts_with(prefix)) {
        return false;
    }
    !reads || path.starts_with(SERVER_FUNCTIONS)
}

/// Browsers say where a request comes from in Sec-Fetch-Site, older ones only in Origin; a page can forge neither.
/// A request that says nothing is refused.
fn is_ours(headers: &HeaderMap, public_url: &str) -> bool {
    let origin_is_ours = || only(headers, &ORIGIN).is_some_and(|origin| is_our_origin(origin, headers, public_url));
    if headers.contains_key(SEC_FETCH_SITE) {
        return match only(headers, &SEC_FETCH_SITE) {
            Some("same-origin") => true,
            // Typed, bookmarked, reloaded: a browser sends no foreign Origin with it.
            Some("none") => !headers.contains_key(ORIGIN) || origin_is_ours(),
            Some(_) | None => false,
        };
    }
    origin_is_ours()
}

/// The public address, or on loopback whatever name of this machine the browser used.
fn is_our_origin(origin: &str, headers: &HeaderMap, public_url: &str) -> bool {
    let (Ok(origin), Ok(public)) = (Url::parse(origin), Url::parse(public_url)) else { return false };
    if origin.origin() == public.origin() {
        return origin.origin().is_tuple();
    }
    let Some(host) = only(headers, &HOST) else { return false };
    let Ok(asked) = Url::parse(&format!("http://{host}")) else { return false };
    is_loopback(&public) && is_loopback(&asked) && origin.origin() == asked.origin()
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host))
}

/// The header's value, if it was sent exactly once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (Some(_) | None, _) => None,
    }
}

/// Refuses a body that says it is too long (413), and cuts one that does not say.
async fn limit_body(mut request: Request, next: Next) -> Response {
    let longest = if request.uri().path().starts_with("/v1/") { API_BODY } else { BODY };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > longest) {
        let text = format!("This request is longer than {longest} bytes. Send less.\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    DefaultBodyLimit::max(longest).apply(&mut request);
    next.run(request.with_limited_body()).await
}

/// A denial as plain text, for what is refused before a page or an API dialect is chosen.
fn refused(denial: &Denial) -> Response {
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = (status, format!("{}\n", denial.sentence())).into_response();
    if let Some(seconds) = denial.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "https://bank.example.com";

    fn ours(public_url: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        is_ours(&map, public_url)
    }

    #[test]
    fn our_own_pages_pass() {
        for headers in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://bank.example.com")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://bank.example.com")],
            &[("origin", "https://bank.example.com:443")],
        ] {
            assert!(ours(PUBLIC, headers), "{headers:?}");
        }
    }

    #[test]
    fn every_other_origin_is_refused() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://bank.example.com")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://bank.example.com")],
            &[("origin", "https://bank.example.com:8443")],
            &[("origin", "https://bank.example.com.evil.example")],
            &[("origin", "https://evil.example/https://bank.example.com")],
            &[("origin", "https://bank.example.com@evil.example")],
            &[("origin", "https://bank.example.com"), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example"), ("host", "evil.example")],
            &[("origin", "http://127.0.0.1:3000"), ("host", "127.0.0.1:3000")],
            &[("referer", "https://bank.example.com/credits")],
        ] {
            assert!(!ours(PUBLIC, headers), "{headers:?}");
        }
    }

    #[test]
    fn on_loopback_the_host_that_was_asked_counts() {
        let public = "http://127.0.0.1:3000";
        assert!(ours(public, &[("origin", "http://127.0.0.1:3000")]));
        assert!(ours(public, &[("origin", "http://localhost:3000"), ("host", "localhost:3000")]));
        assert!(!ours(public, &[("origin", "http://localhost:4000"), ("host", "localhost:3000")]));
        assert!(!ours(public, &[("origin", "http://evil.example:3000"), ("host", "evil.example:3000")]));
        assert!(!ours(public, &[("origin", "null"), ("host", "localhost:3000")]));
    }

    #[test]
    fn only_reading_and_what_has_another_proof_may_come_from_elsewhere() {
        for (method, path, guarded) in [
            (Method::GET, "/credits", false),
            (Method::HEAD, "/credits", false),
            (Method::POST, "/credits", true),
            (Method::PUT, "/credits", true),
            (Method::PATCH, "/credits", true),
            (Method::DELETE, "/credits", true),
            (Method::from_bytes(b"PROPFIND").unwrap(), "/credits", true),
            (Method::POST, "/api/buy123", true),
            (Method::GET, "/api/buy123", true),
            (Method::POST, "/v1/messages", false),
            (Method::POST, "/webhooks/stripe", false),
            (Method::POST, "/v1", true),
            (Method::POST, "//v1/messages", true),
            (Method::POST, "/credits/v1/", true),
            (Method::POST, "/webhooks", true),
        ] {
            assert_eq!(must_be_ours(&method, path), guarded, "{method} {path}");
        }
    }
}
