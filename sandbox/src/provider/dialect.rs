//! Owns: in what the providers of OpenAI's format differ from it: the shape of usage, the names of the cap, and how each says no.

use super::Family;
use super::fault::Fault;
use super::openai::Refusal;
use super::record::Usage;
use crate::world::World;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Value, json};

/// `POST /gemini/v1beta/openai/chat/completions`
pub async fn gemini(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::Google, world, headers, body).await
}

/// `POST /groq/openai/v1/chat/completions`
pub async fn groq(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::Groq, world, headers, body).await
}

/// `POST /deepseek/chat/completions`
pub async fn deepseek(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::DeepSeek, world, headers, body).await
}

/// `POST /openrouter/api/v1/chat/completions`
pub async fn openrouter(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::OpenRouter, world, headers, body).await
}

/// `POST /together/v1/chat/completions`
pub async fn together(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::Together, world, headers, body).await
}

/// `POST /ollama/v1/chat/completions`
pub async fn ollama(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    super::openai::complete(Family::Ollama, world, headers, body).await
}

/// The cap on output, under the name that the provider reads.
pub fn cap_of(family: Family, request: &Value) -> Option<u64> {
    let (old, new) = (request.get("max_tokens"), request.get("max_completion_tokens"));
    match family {
        Family::DeepSeek | Family::Together | Family::Ollama => old,
        Family::Anthropic | Family::OpenAi | Family::Google | Family::Groq | Family::OpenRouter => new.or(old),
    }
    .and_then(Value::as_u64)
}

/// What was used, as the provider writes it. Most count cached tokens into the prompt and thoughts into the completion.
pub fn usage(family: Family, usage: &Usage) -> Value {
    let (prompt, completion) = (usage.all_input(), usage.output_tokens + usage.reasoning_tokens);
    let mut said =
        json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion});
    let Some(fields) = said.as_object_mut() else { return said };
    let mut add = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    let thoughts = json!({"reasoning_tokens": usage.reasoning_tokens});
    match family {
        Family::Anthropic | Family::OpenAi => {
            add("prompt_tokens_details", json!({"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0}));
            add(
                "completion_tokens_details",
                json!({"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                       "rejected_prediction_tokens": 0}),
            );
        }
        // Thoughts are in the total alone, and nothing is said of the cache when it held nothing.
        Family::Google => {
            add("completion_tokens", json!(usage.output_tokens));
            if usage.cache_read_tokens > 0 {
                add("prompt_tokens_details", json!({"cached_tokens": usage.cache_read_tokens}));
            }
        }
        Family::Groq => {
            add("queue_time", json!(0.01));
            add("prompt_tokens_details", json!({"cached_tokens": usage.cache_read_tokens}));
            if usage.reasoning_tokens > 0 {
                add("completion_tokens_details", thoughts);
            }
        }
        Family::DeepSeek => {
            add("prompt_cache_hit_tokens", json!(usage.cache_read_tokens));
            add("prompt_cache_miss_tokens", json!(prompt - usage.cache_read_tokens));
            add("completion_tokens_details", thoughts);
        }
        Family::OpenRouter => {
            add("cost", json!(0.000_014));
            add("cost_details", json!({"upstream_inference_cost": null}));
            add("prompt_tokens_details", json!({"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": 0}));
            add("completion_tokens_details", thoughts);
        }
        Family::Together | Family::Ollama => {}
    }
    said
}

/// How a provider refuses; `None` for a fault that does not refuse.
pub fn refusal(family: Family, fault: Fault) -> Option<Refusal> {
    let said = |status: u16, kind: &'static str, message: &str| Some(Refusal::new(status, kind, None, message));
    match (family, fault) {
        (Family::Anthropic | Family::OpenAi, fault) => Refusal::of(fault),
        (Family::Google, Fault::InvalidKey) => {
            said(400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key.")
        }
        (Family::Google, Fault::RegionBlocked) => {
            said(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")
        }
        (Family::Google, Fault::MissingScopes) => said(403, "PERMISSION_DENIED", "The API is disabled."),
        (_, Fault::InvalidKey) => said(401, "invalid_request_error", "Invalid API Key"),
        (_, Fault::RegionBlocked) => said(403, "forbidden", "Access from your country is not supported"),
        // At Together AI a 403 is about the request.
        (Family::Together, Fault::Permission | Fault::MissingScopes) => {
            said(403, "invalid_request_error", "The number of tokens is larger than the context of the model")
        }
        (_, Fault::Permission | Fault::MissingScopes) => {
            said(403, "permission", "Your organization has restricted this key")
        }
        (Family::Groq, Fault::Billing | Fault::CreditTooLow | Fault::InsufficientQuota) => {
            said(403, "blocked", "Organization has reached its spend limit; add credit. billing_error")
        }
        (_, Fault::Billing | Fault::CreditTooLow | Fault::InsufficientQuota) => {
            said(402, "insufficient_credits", "Insufficient Balance")
        }
        (Family::Groq, Fault::Overloaded) => said(498, "capacity", "Flex tier capacity exceeded"),
        (_, fault) => Refusal::of(fault),
    }
}

/// Google's shape, which is a list of one error even at the compatible address.
pub fn google_error(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!([{"error": {
        "code": refusal.status, "message": refusal.message, "status": refusal.kind,
        "details": [{"reason": refusal.kind}],
    }}]);
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
