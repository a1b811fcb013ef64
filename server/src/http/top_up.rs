//! Owns: saying over the API how an account's automatic top-up stands. Does not own: how it stands (`top_up`).

use super::dialect::{error_response, json_response};
use super::gateway::caller;
use crate::error::Result;
use crate::provider::Dialect;
use crate::{Server, top_up};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::time::Timestamp;
use domain::top_up::{Reason, Verdict};
use serde_json::{Value, json};

/// `GET /v1/auto-top-up`
pub async fn show(State(server): State<Server>, headers: HeaderMap) -> Response {
    match answer(&server, &headers).await {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(error) => error_response(&server, Dialect::OpenAi, error),
    }
}

async fn answer(server: &Server, headers: &HeaderMap) -> Result<Value> {
    let who = caller(server, headers).await?;
    let view = top_up::load(server, &who.account_id).await?;
    let (state, reason, until) = said(view.verdict);
    let rule = view.rule.as_ref().filter(|rule| rule.is_on());
    let next = rule.and_then(|rule| server.catalogue.load().pack(&rule.pack_id).ok().map(|pack| pack.price));
    let remedy = reason
        .and_then(Reason::remedy)
        .map(|remedy| json!({ "label": remedy.label, "href": format!("{}{}", server.config.public_url, remedy.href) }));
    Ok(json!({
        "state": state,
        "reason": reason,
        "message": reason.map(Reason::sentence),
        "remedy": remedy,
        "until": until,
        "threshold_nanos": rule.map(|rule| rule.threshold),
        "pack": rule.map(|rule| &rule.pack_id),
        "next_charge_nanos": next,
        "cap_nanos": rule.map(|rule| rule.cap),
        "charges_a_month": rule.map(|rule| rule.rule().charges_a_month),
        "charged_this_month_nanos": view.charged,
        "charges_this_month": view.charges,
        "consent_ends_at": rule.map(|rule| rule.consent_ends_at),
    }))
}

/// The three states, and why it is paused.
const fn said(verdict: Verdict) -> (&'static str, Option<Reason>, Option<Timestamp>) {
    match verdict {
        Verdict::Off => ("off", None, None),
        Verdict::Paused { reason, until } => ("paused", Some(reason), until),
        Verdict::Enough | Verdict::Open | Verdict::Wait { .. } | Verdict::Due { .. } => ("on", None, None),
    }
}
