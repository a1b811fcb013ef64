//! Owns: every route that is not a page, on one page. Does not own: what a route does.

pub mod client_ip;
pub mod guard;
pub mod headers;
pub mod health;
pub mod limits;
pub mod webhook;

use crate::Server;
use axum::Router;
use axum::routing::{get, post};

/// Every route that is not a page. The caller adds the session layer and the guard around these and the pages.
pub fn router(server: Server) -> Router {
    Router::new()
        // Health and metrics.
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        // Stripe.
        .route("/webhooks/stripe", post(webhook::stripe))
        .with_state(server)
}
