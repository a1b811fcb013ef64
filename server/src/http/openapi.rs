//! Owns: `GET /openapi.json`: the API as a document for machines, kept by hand beside this file.
//! Invariant: every route under `/v1` is in it, and answers have the shape it says; `tests/it/openapi.rs` holds both.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// Public: it says nothing that the documentation does not.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], DOCUMENT)
}
