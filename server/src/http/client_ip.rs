//! Owns: the address a request came from.
//! Invariant: a forwarded address is believed only from a proxy that the settings trust.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::net::IpAddr;

/// The address a request came from. An extractor; put on every request by the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Self::Rejection> {
        parts.extensions.get::<ClientIp>().copied().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
