//! Owns: where the keys of the other six providers are checked, each in its own words; and answers that are none.
//! The key's text says how it stands: `…invalid…`, `…nocredit…`, `…restricted…`, `…region…`, `…limited…`, and for all eight
//! `…hang…`, `…html…`, `…strange…` (200 with an error), `…moved…` (a redirect), `…broken…` (500).

use super::fault::{Fault, of_key};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};

/// The answer to a key that asks for one that is no answer of an API.
pub async fn strange(key: &str) -> Option<Response> {
    if key.contains("hang") {
        std::future::pending::<()>().await;
    }
    Some(if key.contains("html") {
        Html("<!doctype html><title>Gateway</title><p>Sign in to continue").into_response()
    } else if key.contains("strange") {
        Json(json!({"error": {"message": "Something went wrong"}})).into_response()
    } else if key.contains("moved") {
        Redirect::temporary("/control/requests").into_response()
    } else if key.contains("broken") {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    } else {
        return None;
    })
}

fn key_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.strip_prefix("Bearer ").unwrap_or(text)
}

fn refuse(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), Json(body)).into_response()
}

fn said(message: &str) -> Value {
    json!({"error": {"message": message}})
}

/// `GET /gemini/v1beta/models`
pub async fn gemini(headers: HeaderMap) -> Response {
    let key = key_of(&headers, "x-goog-api-key");
    if let Some(answer) = strange(key).await {
        return answer;
    }
    let google = |code: u16, status: &str, message: &str, reason: &str| {
        refuse(
            code,
            json!({"error": {"code": code, "status": status, "message": message, "details": [{"reason": reason}]}}),
        )
    };
    match of_key(key) {
        Some(Fault::InvalidKey) => google(400, "INVALID_ARGUMENT", "API key not valid.", "API_KEY_INVALID"),
        Some(Fault::RegionBlocked) => {
            google(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", "")
        }
        Some(Fault::MissingScopes) => google(403, "PERMISSION_DENIED", "The API is disabled.", "SERVICE_DISABLED"),
        Some(Fault::CreditTooLow) => google(402, "RESOURCE_EXHAUSTED", "Payment required.", "payment_required"),
        Some(Fault::RateLimited(_)) => google(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", "RATE_LIMIT_EXCEEDED"),
        _ if key.is_empty() => google(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.", ""),
        _ => Json(json!({"models": [{"name": "models/gemini-2.5-flash"}]})).into_response(),
    }
}

/// `GET` of Groq's, DeepSeek's, OpenRouter's and Together AI's calls: all have a bearer, and errors of one shape.
async fn bearer(headers: &HeaderMap, valid: Value) -> Response {
    let key = key_of(headers, "authorization");
    if let Some(answer) = strange(key).await {
        return answer;
    }
    match of_key(key) {
        Some(Fault::InvalidKey) => refuse(401, said("Invalid API Key")),
        Some(Fault::RegionBlocked) => refuse(403, said("Access from your country is not supported")),
        Some(Fault::MissingScopes) => refuse(403, said("Your organization has restricted this key")),
        Some(Fault::CreditTooLow) => refuse(402, said("Insufficient Balance")),
        Some(Fault::RateLimited(_)) => refuse(429, said("Rate limit reached")),
        _ if key.is_empty() => refuse(401, said("No key")),
        _ => Json(valid).into_response(),
    }
}

pub async fn groq(headers: HeaderMap) -> Response {
    bearer(&headers, json!({"object": "list", "data": [{"id": "llama-3.3-70b-versatile"}]})).await
}

pub async fn deepseek(headers: HeaderMap) -> Response {
    let is_broke = of_key(key_of(&headers, "authorization")) == Some(Fault::CreditTooLow);
    let total = if is_broke { "0.00" } else { "12.34" };
    let body = json!({"is_available": !is_broke, "balance_infos": [{"currency": "USD", "total_balance": total}]});
    if is_broke { Json(body).into_response() } else { bearer(&headers, body).await }
}

pub async fn openrouter(headers: HeaderMap) -> Response {
    let key = key_of(&headers, "authorization");
    let left = if of_key(key) == Some(Fault::CreditTooLow) { json!(0) } else { json!(7.5) };
    let body = json!({"data": {
        "label": "sk-or-v1-…", "limit": 10, "limit_remaining": left, "is_free_tier": false,
        "is_management_key": key.contains("management"),
    }});
    if of_key(key) == Some(Fault::CreditTooLow) { Json(body).into_response() } else { bearer(&headers, body).await }
}

pub async fn together(headers: HeaderMap) -> Response {
    bearer(&headers, json!([{"id": "meta-llama/Llama-3.3-70B-Instruct-Turbo"}])).await
}

/// Without a key it answers, as on one's own machine; a bearer is a tunnel's.
pub async fn ollama(headers: HeaderMap) -> Response {
    let valid = json!({"models": [{"name": "llama3.2:latest"}]});
    if headers.contains_key("authorization") { bearer(&headers, valid).await } else { Json(valid).into_response() }
}
