//! Owns: `POST /webhooks/stripe`: raw bytes, signature, one row, a fast answer.
//! Does not own: what an event does (`stripe::apply`, in a job).

use crate::Server;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// Stores a delivery that Stripe signed and answers at once; a job acts on it.
pub async fn stripe(State(_server): State<Server>, _headers: HeaderMap, _body: Body) -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, "not there yet\n")
}
