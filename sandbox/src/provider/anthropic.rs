//! Owns: Anthropic's wire format: `/anthropic/v1/messages`, `…/count_tokens`, `/anthropic/v1/models`.

use super::fault::{self, Fault, Plan};
use super::record::Usage;
use super::reply::{Reply, Wire, escape_json, put};
use super::{Block, Family, Prompt, Request, read_content, tokens};
use crate::world::World;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

const MODELS: &[(&str, &str)] = &[
    ("claude-opus-4-20250514", "Claude Opus 4"),
    ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"),
    ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
    ("claude-3-5-haiku-20241022", "Claude Haiku 3.5"),
];

/// A refusal in Anthropic's shape.
struct Refusal {
    status: u16,
    kind: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, message: &str) -> Refusal {
        Refusal { status, kind, message: message.to_owned(), retry_after: None }
    }

    fn invalid(message: &str) -> Refusal {
        Refusal::new(400, "invalid_request_error", message)
    }

    /// `None` for a fault that does not refuse.
    fn of(fault: Fault) -> Option<Refusal> {
        Some(match fault {
            Fault::BadRequest => Refusal::invalid("messages: the sandbox was asked to refuse this request"),
            Fault::InvalidKey => Refusal::new(401, "authentication_error", "invalid x-api-key"),
            Fault::MissingScopes | Fault::Permission => Refusal::new(
                403,
                "permission_error",
                "Your API key does not have permission to use the specified resource.",
            ),
            Fault::RegionBlocked => Refusal::new(403, "forbidden", "Request not allowed from your region."),
            Fault::Billing => {
                Refusal::new(402, "billing_error", "There is an issue with your billing or payment information.")
            }
            Fault::RateLimited(seconds) => Refusal {
                retry_after: Some(seconds),
                ..Refusal::new(429, "rate_limit_error", "This request would exceed your organization's rate limit.")
            },
            Fault::ServerError => Refusal::new(500, "api_error", "Internal server error"),
            Fault::Overloaded => Refusal::new(529, "overloaded_error", "Overloaded"),
            Fault::CreditTooLow | Fault::InsufficientQuota => Refusal::invalid(
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase \
                 credits.",
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
        let body = json!({
            "type": "error", "error": {"type": self.kind, "message": self.message}, "request_id": request_id,
        });
        let mut response = (status, Json(body)).into_response();
        if let Ok(id) = request_id.parse() {
            response.headers_mut().insert("request-id", id);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}

/// The key of a request that has both headers.
fn check_headers(headers: &HeaderMap) -> Result<&str, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let key = text("x-api-key");
    if key.is_empty() {
        return Err(Refusal::new(401, "authentication_error", "x-api-key header is required"));
    }
    if text("anthropic-version").is_empty() {
        return Err(Refusal::invalid("anthropic-version: header is required"));
    }
    Ok(key)
}

/// The texts of a request: tools, system, messages, in the order the model reads them.
fn read_prompt<'a>(request: &'a Value, tools: &'a str) -> Result<Prompt<'a>, Refusal> {
    let mut blocks = Vec::new();
    if let Some(system) = request.get("system") {
        read_content(system, &mut blocks);
    }
    let system_blocks = blocks.len();
    let messages = request.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    for message in messages.ok_or_else(|| Refusal::invalid("messages: at least one message is required"))? {
        match message.get("role").and_then(Value::as_str) {
            Some("user" | "assistant") => {}
            Some(_) | None => return Err(Refusal::invalid("messages.0.role: Input should be 'user' or 'assistant'")),
        }
        read_content(message.get("content").unwrap_or(&Value::Null), &mut blocks);
    }
    if !tools.is_empty() {
        blocks.insert(system_blocks, Block { text: tools, cached_for: None });
    }
    Ok(Prompt::new(blocks, system_blocks))
}

fn read_model(request: &Value) -> Result<&str, Refusal> {
    match request.get("model").and_then(Value::as_str) {
        None => Err(Refusal::invalid("model: Field required")),
        Some(model) if model.starts_with("claude-") => Ok(model),
        Some(model) => Err(Refusal::new(404, "not_found_error", &format!("model: {model}"))),
    }
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::invalid("The request body is not valid JSON."))
}

/// Tools count as their JSON text.
fn tools_of(request: &Value) -> String {
    request.get("tools").map(ToString::to_string).unwrap_or_default()
}

/// `POST /v1/messages`.
pub async fn messages(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = world.clock.new_id("req_");
    match answer(&world, &request_id, &headers, &body).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(&request_id),
    }
}

async fn answer(world: &World, request_id: &str, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
    let key = check_headers(headers)?;
    let json = parse(body)?;
    let tools = tools_of(&json);
    let prompt = read_prompt(&json, &tools)?;
    let model = read_model(&json)?;
    let max_tokens = json.get("max_tokens").and_then(Value::as_u64);
    let is_stream = json.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let request = Request { family: Family::Anthropic, request_id, model, key, prompt: &prompt, is_stream, max_tokens };
    if max_tokens.is_none_or(|max| max == 0) {
        request.refuse(world, Vec::new(), 400);
        return Err(Refusal::invalid("max_tokens: Field required, at least 1"));
    }
    let faults = request.faults(world, headers);
    let plan = Plan::new(&faults);
    if let Some(refusal) = plan.refusal.and_then(Refusal::of) {
        request.refuse(world, faults, refusal.status);
        return Err(refusal);
    }

    let mut said = world.providers.library.answer(&prompt, max_tokens, plan.overshoot_tokens);
    if plan.echoes {
        said.text = prompt.last.to_owned();
        said.hit_limit = false;
    }
    if plan.is_empty {
        said.text.clear();
        said.hit_limit = false;
    }
    let input = world.providers.cache.marked(key, &prompt.blocks, world.clock.now());
    let wire = Messages { request_id: request_id.to_owned(), id: world.clock.new_id("msg_"), model: model.to_owned() };
    let plan = Plan { reasoning_tokens: 0, ..plan };
    let record = request.record(world, faults, 200);
    let reply = Reply { world: world.clone(), wire, record, plan, input, answer: said };
    Ok(if is_stream { reply.stream().await } else { reply.whole().await })
}

/// `POST /v1/messages/count_tokens`. Free.
pub async fn count_tokens(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Response {
    let counted = || {
        check_headers(&headers)?;
        let json = parse(&body)?;
        read_model(&json)?;
        let tools = tools_of(&json);
        Ok::<u64, Refusal>(tokens(read_prompt(&json, &tools)?.bytes))
    };
    match counted() {
        Ok(count) => Json(json!({"input_tokens": count})).into_response(),
        Err(refusal) => refusal.answer(&world.clock.new_id("req_")),
    }
}

/// `GET /v1/models`. Free; a key without credit may read it.
pub async fn models(State(world): State<World>, headers: HeaderMap) -> Response {
    if let Ok(key) = check_headers(&headers)
        && let Some(answer) = super::keys::strange(key).await
    {
        return answer;
    }
    let request_id = world.clock.new_id("req_");
    let refusal = match check_headers(&headers) {
        Err(refusal) => Some(refusal),
        Ok(key) => fault::of_key(key).filter(|fault| *fault != Fault::CreditTooLow).and_then(Refusal::of),
    };
    if let Some(refusal) = refusal {
        return refusal.answer(&request_id);
    }
    let data: Vec<Value> = MODELS
        .iter()
        .map(
            |(id, name)| json!({"type": "model", "id": id, "display_name": name, "created_at": "2025-10-01T00:00:00Z"}),
        )
        .collect();
    let (first, last) = (MODELS.first().map(|model| model.0), MODELS.last().map(|model| model.0));
    let body = json!({"data": data, "has_more": false, "first_id": first, "last_id": last});
    ([("request-id", request_id)], Json(body)).into_response()
}

/// One message as Anthropic sends it.
struct Messages {
    request_id: String,
    id: String,
    model: String,
}

impl Messages {
    fn write_usage(usage: &Usage, output_tokens: u64, out: &mut BytesMut) {
        put(
            out,
            format_args!(
                "{{\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"cache_creation\":\
             {{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}},\"output_tokens\":{output_tokens},\
             \"service_tier\":\"standard\"}}",
                usage.input_tokens,
                usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
                usage.cache_read_tokens,
                usage.cache_write_5m_tokens,
                usage.cache_write_1h_tokens
            ),
        );
    }

    fn write_beginning(&self, out: &mut BytesMut) {
        out.put_slice(b"{\"id\":\"");
        out.put_slice(self.id.as_bytes());
        out.put_slice(b"\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"");
        escape_json(&self.model, out);
        out.put_slice(b"\",");
    }
}

const fn stop_reason(hit_limit: bool) -> &'static str {
    if hit_limit { "max_tokens" } else { "end_turn" }
}

impl Wire for Messages {
    fn start(&self, input: &Usage, out: &mut BytesMut) {
        out.put_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        self.write_beginning(out);
        out.put_slice(b"\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        Messages::write_usage(input, u64::from(input.all_input() > 0), out);
        out.put_slice(
            b"}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":\
              {\"type\":\"text\",\"text\":\"\"}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
        );
    }

    fn piece(&self, text: &str, out: &mut BytesMut) {
        out.put_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"",
        );
        escape_json(text, out);
        out.put_slice(b"\"}}\n\n");
    }

    fn end(&self, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut) {
        out.put_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
        put(
            out,
            format_args!(
                "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{}\",\"stop_sequence\":null}}",
                stop_reason(hit_limit)
            ),
        );
        if let Some(usage) = usage {
            put(
                out,
                format_args!(
                    ",\"usage\":{{\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"output_tokens\":{}}}",
                    usage.input_tokens,
                    usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
                    usage.cache_read_tokens,
                    usage.output_tokens
                ),
            );
        }
        out.put_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn error(&self, out: &mut BytesMut) {
        put(
            out,
            format_args!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}},\
             \"request_id\":\"{}\"}}\n\n",
                self.request_id
            ),
        );
    }

    fn whole(&self, text: &str, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut) {
        self.write_beginning(out);
        out.put_slice(b"\"content\":[");
        if !text.is_empty() {
            out.put_slice(b"{\"type\":\"text\",\"text\":\"");
            escape_json(text, out);
            out.put_slice(b"\"}");
        }
        put(out, format_args!("],\"stop_reason\":\"{}\",\"stop_sequence\":null", stop_reason(hit_limit)));
        if let Some(usage) = usage {
            out.put_slice(b",\"usage\":");
            Messages::write_usage(usage, usage.output_tokens, out);
        }
        out.put_u8(b'}');
    }

    fn request_id(&self) -> (&'static str, &str) {
        ("request-id", &self.request_id)
    }

    fn server_error(&self) -> String {
        json!({"type": "error", "error": {"type": "api_error", "message": "Internal server error"}, "request_id": self.request_id})
            .to_string()
    }
}
