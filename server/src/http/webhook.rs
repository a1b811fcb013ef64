//! Owns: `POST /webhooks/stripe`: raw bytes, signature, one row, a fast answer.
//! Does not own: what an event does (`stripe::apply`, in a job).
//! Invariant: what was answered with 200 is in the database, with the job that acts on it.

use crate::Server;
use crate::error::Result;
use crate::stripe::event::{Forged, VerifiedEvent, verify};
use crate::stripe::inbox;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// Stripe's events are a few kilobytes; nobody else has anything to say here.
const MOST_BYTES: usize = 256 * 1024;

/// Stores a delivery that Stripe signed and answers at once; a job acts on it. Anything but 200 makes Stripe deliver
/// it again, for up to three days.
pub async fn stripe(State(server): State<Server>, headers: HeaderMap, body: Body) -> (StatusCode, &'static str) {
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut short\n");
    };
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let event = match verify(&server.config.stripe.webhook_secret, header, &body, server.clock.now()) {
        Ok(event) => event,
        Err(forged) => {
            tracing::warn!(%forged, bytes = body.len(), "a delivery to the Stripe webhook was refused");
            return match forged {
                Forged::NoSecret => (StatusCode::SERVICE_UNAVAILABLE, "no webhook secret is set\n"),
                Forged::BadHeader | Forged::WrongTime | Forged::WrongSignature => {
                    (StatusCode::BAD_REQUEST, "the signature does not fit\n")
                }
            };
        }
    };
    match store(&server, &event).await {
        Ok(()) => (StatusCode::OK, "stored\n"),
        Err(error) => {
            tracing::error!(%error, "a Stripe event could not be stored");
            (StatusCode::INTERNAL_SERVER_ERROR, "not stored; deliver it again\n")
        }
    }
}

/// Keeps the event and the job that applies it, in one transaction. The same event again changes nothing.
async fn store(server: &Server, event: &VerifiedEvent) -> Result<()> {
    let (stripe_event_id, kind) = match event.envelope() {
        Ok(envelope) => (envelope.stripe_event_id, envelope.kind),
        Err(problem) => {
            tracing::error!(problem, "Stripe signed an event that cannot be read; it is kept");
            (event.fallback_id(), "unreadable".to_owned())
        }
    };
    inbox::keep(server, &stripe_event_id, &kind, event.payload()).await.map(drop)
}
