//! Owns: saying a denial, or a failure, in the dialect of the endpoint, so that the official clients understand it.
//! Does not own: what is denied (`domain::denial`).

use crate::Server;
use crate::error::Error;
use crate::provider::Dialect;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use domain::denial::Denial;
use serde_json::{Value, json};

/// What an error is called on the wire, by its status.
fn kind(dialect: Dialect, status: StatusCode) -> &'static str {
    match (dialect, status.as_u16()) {
        (_, 401) => "authentication_error",
        (Dialect::Anthropic, 402) => "billing_error",
        (Dialect::OpenAi, 402) => "insufficient_quota",
        (_, 403) => "permission_error",
        (Dialect::Anthropic, 404) => "not_found_error",
        (Dialect::Anthropic, 413) => "request_too_large",
        (_, 429) => "rate_limit_error",
        (_, 400..=499) => "invalid_request_error",
        (Dialect::Anthropic, 503) => "overloaded_error",
        (Dialect::Anthropic, _) => "api_error",
        (Dialect::OpenAi, _) => "server_error",
    }
}

/// An error as the answer to a request: a denial in its own words, a failure as a reference to the log, where it is
/// written once, here.
pub fn error_response(server: &Server, dialect: Dialect, error: Error) -> Response {
    match error {
        Error::Denied(denial) => denial_response(server, dialect, &denial),
        Error::Internal(problem) => {
            let reference = server.clock.new_id();
            tracing::error!(%reference, problem, "an API request failed");
            let message = format!("Something failed here. Nothing was charged. Reference: {reference}.");
            respond(dialect, StatusCode::INTERNAL_SERVER_ERROR, &message, json!({ "code": "internal" }))
        }
    }
}

fn denial_response(server: &Server, dialect: Dialect, denial: &Denial) -> Response {
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let remedies: Vec<Value> = denial
        .remedies()
        .into_iter()
        .map(|remedy| json!({ "label": remedy.label, "href": format!("{}{}", server.config.public_url, remedy.href) }))
        .collect();
    let mut more = json!({ "code": denial.code(), "param": param(denial), "remedies": remedies });
    if let (Some(place), Some(more)) = (denial.queue_position(), more.as_object_mut()) {
        more.insert("queue_position".to_owned(), json!(place));
    }
    let mut response = respond(dialect, status, &denial.sentence(), more);
    if let Some(seconds) = denial.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The field an error is about. Only its name: a value could be a secret.
fn param(denial: &Denial) -> Option<&str> {
    if let Denial::Invalid { field, .. } = denial { Some(field) } else { None }
}

fn respond(dialect: Dialect, status: StatusCode, message: &str, more: Value) -> Response {
    json_response(status, &error_body(dialect, status, message, more))
}

fn error_body(dialect: Dialect, status: StatusCode, message: &str, more: Value) -> Value {
    let mut error = json!({ "type": kind(dialect, status), "message": message });
    if let (Some(error), Value::Object(more)) = (error.as_object_mut(), more) {
        error.extend(more);
    }
    match dialect {
        Dialect::Anthropic => json!({ "type": "error", "error": error }),
        Dialect::OpenAi => json!({ "error": error }),
    }
}

/// JSON as an answer.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The last frame of a stream that was cut, as each dialect ends one.
pub fn error_event(dialect: Dialect, message: &str) -> Bytes {
    let body = error_body(dialect, StatusCode::BAD_GATEWAY, message, json!({ "code": "stream_cut" }));
    Bytes::from(match dialect {
        Dialect::Anthropic => format!("event: error\ndata: {body}\n\n"),
        Dialect::OpenAi => format!("data: {body}\n\n"),
    })
}
