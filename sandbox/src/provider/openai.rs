//! Owns: OpenAI's wire format: `/openai/v1/chat/completions`, `/openai/v1/models`, and the same of the six that imitate it.
//! Does not own: in what those differ (`dialect`).

use super::fault::{self, Fault, Plan};
use super::record::Usage;
use super::reply::{Reply, Wire, escape_json, put};
use super::{Block, Family, Prompt, Request, dialect, read_content};
use crate::world::World;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

const MODELS: &[&str] = &["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "o3", "o4-mini"];
const KNOWN_BEGINNINGS: &[&str] = &["gpt-", "chatgpt-", "o1", "o3", "o4"];

/// A refusal in OpenAI's shape.
pub struct Refusal {
    pub status: u16,
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub message: String,
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: &str) -> Refusal {
        Refusal { status, kind, code, message: message.to_owned(), retry_after: None }
    }

    fn invalid(message: &str) -> Refusal {
        Refusal::new(400, "invalid_request_error", None, message)
    }

    /// `None` for a fault that does not refuse.
    pub fn of(fault: Fault) -> Option<Refusal> {
        Some(match fault {
            Fault::BadRequest => Refusal::invalid("The sandbox was asked to refuse this request."),
            Fault::InvalidKey => Refusal::new(
                401,
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
            ),
            Fault::MissingScopes => Refusal::new(
                401,
                "invalid_request_error",
                Some("missing_scope"),
                "You have insufficient permissions for this operation. Missing scopes: model.request.",
            ),
            Fault::Permission => Refusal::new(
                403,
                "invalid_request_error",
                Some("model_not_found"),
                "Project does not have access to this model.",
            ),
            Fault::RegionBlocked => Refusal::new(
                403,
                "request_forbidden",
                Some("unsupported_country_region_territory"),
                "Country, region, or territory not supported",
            ),
            Fault::Billing => {
                Refusal::new(402, "billing_error", Some("billing_not_active"), "Your account is not active.")
            }
            Fault::RateLimited(seconds) => Refusal {
                retry_after: Some(seconds),
                ..Refusal::new(
                    429,
                    "requests",
                    Some("rate_limit_exceeded"),
                    "Rate limit reached for requests. Please try again later.",
                )
            },
            Fault::ServerError => Refusal::new(
                500,
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!",
            ),
            Fault::Overloaded => Refusal::new(
                503,
                "server_error",
                Some("overloaded"),
                "The engine is currently overloaded, please try again later.",
            ),
            Fault::CreditTooLow | Fault::InsufficientQuota => Refusal::new(
                429,
                "insufficient_quota",
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            Fault::HangFirst
            | Fault::SlowFirst(_)
            | Fault::HangAfter(_)
            | Fault::CutAfter(_)
            | Fault::ErrorAfter(_)
            | Fault::Empty
            | Fault::NoUsage
            | Fault::ZeroUsage
            | Fault::Echo
            | Fault::Crlf
            | Fault::SplitBytes
            | Fault::Overshoot(_)
            | Fault::Reasoning(_)
            | Fault::ChunkTokens(_) => return None,
        })
    }

    fn answer(self, request_id: &str) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.code}});
        let mut response = (status, Json(body)).into_response();
        if let Ok(id) = request_id.parse() {
            response.headers_mut().insert("x-request-id", id);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}

fn check_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    match given.strip_prefix("Bearer ").map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => Ok(key),
        None => Err(Refusal::new(
            401,
            "invalid_request_error",
            None,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.",
        )),
    }
}

fn read_prompt<'a>(request: &'a Value, tools: &'a str) -> Result<Prompt<'a>, Refusal> {
    let messages = request.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Refusal::invalid("Missing required parameter: 'messages'."))?;
    let mut blocks = Vec::with_capacity(messages.len() + 1);
    let mut system_blocks = 0;
    for message in messages {
        match message.get("role").and_then(Value::as_str) {
            Some("system" | "developer" | "user" | "assistant" | "tool" | "function") => {}
            Some(_) | None => return Err(Refusal::invalid("Invalid value for 'messages[].role'.")),
        }
        read_content(message.get("content").unwrap_or(&Value::Null), &mut blocks);
        if matches!(message.get("role").and_then(Value::as_str), Some("system" | "developer")) && system_blocks == 0 {
            system_blocks = blocks.len();
        }
    }
    if !tools.is_empty() {
        blocks.insert(system_blocks, Block { text: tools, cached_for: None });
    }
    Ok(Prompt::new(blocks, system_blocks))
}

fn read_model(family: Family, request: &Value) -> Result<&str, Refusal> {
    match request.get("model").and_then(Value::as_str) {
        None => Err(Refusal::invalid("you must provide a model parameter")),
        Some(model) if family != Family::OpenAi => Ok(model),
        Some(model) if KNOWN_BEGINNINGS.iter().any(|beginning| model.starts_with(beginning)) => Ok(model),
        Some(model) => {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            Err(Refusal::new(404, "invalid_request_error", Some("model_not_found"), &message))
        }
    }
}

/// `POST /v1/chat/completions`.
pub async fn chat_completions(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    complete(Family::OpenAi, world, headers, body).await
}

/// The same at a provider of this format.
pub async fn complete(family: Family, world: World, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = world.clock.new_id("req_");
    match answer((family, &world), &request_id, &headers, &body).await {
        Ok(response) => response,
        Err(refusal) if family == Family::Google => dialect::google_error(&refusal),
        Err(refusal) => refusal.answer(&request_id),
    }
}

async fn answer(
    (family, world): (Family, &World),
    request_id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    // One's own Ollama asks for none.
    let key = if family == Family::Ollama { check_key(headers).unwrap_or("none") } else { check_key(headers)? };
    let json: Value = serde_json::from_slice(body)
        .map_err(|_| Refusal::invalid("We could not parse the JSON body of your request."))?;
    let tools = json.get("tools").map(ToString::to_string).unwrap_or_default();
    let prompt = read_prompt(&json, &tools)?;
    let model = read_model(family, &json)?;
    let max_tokens = dialect::cap_of(family, &json);
    let is_stream = json.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let includes_usage =
        json.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false) && is_stream;
    let includes_usage = includes_usage || (is_stream && family == Family::OpenRouter);
    let request = Request { family, request_id, model, key, prompt: &prompt, is_stream, max_tokens };
    let faults = request.faults(world, headers);
    let plan = Plan::new(&faults);
    if let Some(refusal) = plan.refusal.and_then(|fault| dialect::refusal(family, fault)) {
        request.refuse(world, faults, refusal.status);
        return Err(refusal);
    }

    // Thoughts count against the cap.
    let reasoning = plan.reasoning_tokens.min(max_tokens.unwrap_or(u64::MAX));
    let cap = max_tokens.map(|max| max - reasoning);
    let mut said = world.providers.library.answer(&prompt, cap, plan.overshoot_tokens);
    if plan.echoes {
        said.text = prompt.last.to_owned();
        said.hit_limit = false;
    }
    if plan.is_empty {
        said.text.clear();
        said.hit_limit = false;
    }
    let input = world.providers.cache.unasked(key, &prompt.blocks, world.clock.now());
    let wire = Completion {
        family,
        request_id: request_id.to_owned(),
        id: world.clock.new_id("chatcmpl-"),
        model: model.to_owned(),
        created: world.clock.now(),
        includes_usage,
    };
    let plan = Plan { reasoning_tokens: reasoning, ..plan };
    let record = request.record(world, faults, 200);
    let reply = Reply { world: world.clone(), wire, record, plan, input, answer: said };
    Ok(if is_stream { reply.stream().await } else { reply.whole().await })
}

/// `GET /v1/models`. Free; a key without credit may read it.
pub async fn models(State(world): State<World>, headers: HeaderMap) -> Response {
    if let Ok(key) = check_key(&headers)
        && let Some(answer) = super::keys::strange(key).await
    {
        return answer;
    }
    let request_id = world.clock.new_id("req_");
    let refusal = match check_key(&headers) {
        Err(refusal) => Some(refusal),
        Ok(key) => fault::of_key(key).filter(|fault| *fault != Fault::CreditTooLow).and_then(Refusal::of),
    };
    if let Some(refusal) = refusal {
        return refusal.answer(&request_id);
    }
    let data: Vec<Value> = MODELS
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 1_715_367_049, "owned_by": "system"}))
        .collect();
    ([("x-request-id", request_id)], Json(json!({"object": "list", "data": data}))).into_response()
}

/// One completion as OpenAI sends it.
struct Completion {
    family: Family,
    request_id: String,
    id: String,
    model: String,
    created: i64,
    includes_usage: bool,
}

impl Completion {
    fn write_beginning(&self, object: &str, out: &mut BytesMut) {
        put(
            out,
            format_args!("{{\"id\":\"{}\",\"object\":\"{object}\",\"created\":{},\"model\":\"", self.id, self.created),
        );
        escape_json(&self.model, out);
        out.put_slice(b"\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_sandbox\",");
    }

    fn write_chunk(&self, delta: impl FnOnce(&mut BytesMut), finish: Option<&str>, out: &mut BytesMut) {
        out.put_slice(b"data: ");
        self.write_beginning("chat.completion.chunk", out);
        out.put_slice(b"\"choices\":[{\"index\":0,\"delta\":{");
        delta(out);
        match finish {
            Some(reason) => put(out, format_args!("}},\"logprobs\":null,\"finish_reason\":\"{reason}\"}}]")),
            None => out.put_slice(b"},\"logprobs\":null,\"finish_reason\":null}]"),
        }
        out.put_slice(if self.includes_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" });
    }
}

const fn finish_reason(hit_limit: bool) -> &'static str {
    if hit_limit { "length" } else { "stop" }
}

impl Wire for Completion {
    fn start(&self, _input: &Usage, out: &mut BytesMut) {
        if self.family == Family::OpenRouter {
            out.put_slice(b": OPENROUTER PROCESSING\n\n");
        }
        self.write_chunk(|out| out.put_slice(b"\"role\":\"assistant\",\"content\":\"\",\"refusal\":null"), None, out);
    }

    fn piece(&self, text: &str, out: &mut BytesMut) {
        let delta = |out: &mut BytesMut| {
            out.put_slice(b"\"content\":\"");
            escape_json(text, out);
            out.put_u8(b'"');
        };
        self.write_chunk(delta, None, out);
    }

    fn end(&self, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut) {
        let usage = usage.map(|usage| dialect::usage(self.family, usage).to_string());
        if self.family == Family::Groq {
            // With the last piece, whether it was asked for or not.
            let x_groq = json!({"id": self.request_id, "usage": null}).to_string();
            let x_groq = usage.as_ref().map_or(String::new(), |usage| x_groq.replace("null", usage));
            out.put_slice(b"data: ");
            self.write_beginning("chat.completion.chunk", out);
            put(
                out,
                format_args!(
                    "\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{}\"}}]",
                    finish_reason(hit_limit)
                ),
            );
            if !x_groq.is_empty() {
                put(out, format_args!(",\"x_groq\":{x_groq}"));
            }
            out.put_slice(b"}\n\n");
        } else {
            self.write_chunk(|_| (), Some(finish_reason(hit_limit)), out);
            if let Some(usage) = usage.filter(|_| self.includes_usage) {
                out.put_slice(b"data: ");
                self.write_beginning("chat.completion.chunk", out);
                put(out, format_args!("\"choices\":[],\"usage\":{usage}}}\n\n"));
            }
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn error(&self, out: &mut BytesMut) {
        out.put_slice(b"data: ");
        out.put_slice(self.server_error().as_bytes());
        out.put_slice(b"\n\n");
    }

    fn whole(&self, text: &str, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut) {
        self.write_beginning("chat.completion", out);
        out.put_slice(b"\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
        escape_json(text, out);
        put(
            out,
            format_args!(
                "\",\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"{}\"}}]",
                finish_reason(hit_limit)
            ),
        );
        if let Some(usage) = usage {
            out.put_u8(b',');
            put(out, format_args!("\"usage\":{}", dialect::usage(self.family, usage)));
        }
        out.put_u8(b'}');
    }

    fn request_id(&self) -> (&'static str, &str) {
        ("x-request-id", &self.request_id)
    }

    fn server_error(&self) -> String {
        json!({"error": {
            "message": "The server had an error while processing your request. Sorry about that!", "type": "server_error",
            "param": null, "code": null,
        }})
        .to_string()
    }
}
