//! Owns: OpenAI's endpoints, as its official clients call them. Does not own: what both dialects share (`gateway`).

use super::gateway::{ReadBody, respond};
use crate::Server;
use crate::provider::Dialect;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

/// `POST /v1/chat/completions`
pub async fn chat_completions(State(server): State<Server>, headers: HeaderMap, body: ReadBody) -> Response {
    respond(&server, Dialect::OpenAi, headers, body).await
}
