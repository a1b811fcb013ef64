//! Owns: every route that is not a page, on one page. Does not own: what a route does.

mod anthropic;
mod api;
pub mod client_ip;
pub(crate) mod dialect;
mod gateway;
pub mod guard;
pub mod headers;
pub mod health;
mod keyed;
pub mod limits;
mod live_balance;
mod openai;
mod openapi;
mod run_events;
mod top_up;
mod unsubscribe;
pub mod webhook;

use crate::Server;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

/// Every route that is not a page. The caller adds the session layer and the guard around these and the pages.
pub fn router(server: Server) -> Router {
    Router::new()
        // The API, by account API key.
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/v1/chat/completions", post(openai::chat_completions))
        .route("/v1/models", get(api::models))
        .route("/v1/estimate", post(api::estimate))
        .route("/v1/balance", get(api::balance))
        .route("/v1/entitlements", get(api::entitlements))
        .route("/v1/auto-top-up", get(top_up::show))
        .route("/v1/usage", get(api::usage))
        .layer(DefaultBodyLimit::max(gateway::LONGEST_BODY))
        .route("/openapi.json", get(openapi::openapi))
        // What a page follows while it is open, by session.
        .route("/runs/{id}/events", get(run_events::run_events))
        .route("/live/balance", get(live_balance::live_balance))
        // Health and metrics.
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        // Stripe.
        .route("/webhooks/stripe", post(webhook::stripe))
        // Mail programs.
        .route("/webhooks/unsubscribe", post(unsubscribe::unsubscribe))
        .with_state(server)
}
