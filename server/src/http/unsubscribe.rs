//! Owns: `POST /webhooks/unsubscribe`: one click in a mail program ends mails of a kind (RFC 8058). The secret in the
//! address is the proof; a session is not looked at.

use crate::{Server, notice};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

/// The address that the mail holds.
#[derive(Deserialize)]
pub struct Link {
    token: String,
}

/// Ends mails of the kind that the mail was of.
pub async fn unsubscribe(State(server): State<Server>, Query(link): Query<Link>) -> (StatusCode, &'static str) {
    match notice::stop_mail(&server, &link.token).await {
        Ok(_) => (StatusCode::OK, "you get no more of these mails\n"),
        Err(error) if error.denial().is_some() => (StatusCode::GONE, "this link does not work any more\n"),
        Err(error) => {
            tracing::error!(%error, "a mail could not be unsubscribed from");
            (StatusCode::INTERNAL_SERVER_ERROR, "not done; try again\n")
        }
    }
}
