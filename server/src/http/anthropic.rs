//! Owns: Anthropic's endpoints, as its official clients call them. Does not own: what both dialects share (`gateway`).

use super::dialect::{error_response, json_response};
use super::gateway::{ReadBody, caller, respond, whole};
use crate::Server;
use crate::execution::quote_call;
use crate::provider::Dialect;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

/// `POST /v1/messages`
pub async fn messages(State(server): State<Server>, headers: HeaderMap, body: ReadBody) -> Response {
    respond(&server, Dialect::Anthropic, headers, body).await
}

/// `POST /v1/messages/count_tokens`: an estimate, without asking the provider.
pub async fn count_tokens(State(server): State<Server>, headers: HeaderMap, body: ReadBody) -> Response {
    let counted = async {
        caller(&server, &headers).await?;
        Ok(quote_call(&server, None, &whole(&server, body)?)?)
    };
    match counted.await {
        Ok((quote, _)) => json_response(StatusCode::OK, &json!({ "input_tokens": quote.input_tokens })),
        Err(error) => error_response(&server, Dialect::Anthropic, error),
    }
}
