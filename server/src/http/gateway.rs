//! Owns: what the official clients' endpoints share: the key, the body, the answer and its headers.
//! Does not own: deciding or running (`execution`), or how an error is said (`dialect`).

use super::dialect::error_response;
use super::keyed;
use crate::Server;
use crate::account::Permission;
use crate::agent::acting;
use crate::api_key::{self, ApiCaller};
use crate::error::{Error, Result};
use crate::execution::{Answer, Call, Closed, Who, Whole, start_call};
use crate::idempotency::Key;
use crate::provider::Dialect;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use domain::denial::Denial;
use domain::id::ExecutionId;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The largest request body.
pub const LONGEST_BODY: usize = 8 << 20;

/// A request's body, or why it could not be read.
pub type ReadBody = std::result::Result<Bytes, BytesRejection>;

/// The agent that makes the call, by its name.
static AGENT: HeaderName = HeaderName::from_static("x-tokenbank-agent");
static EXECUTION: HeaderName = HeaderName::from_static("x-tokenbank-execution");
static COST: HeaderName = HeaderName::from_static("x-tokenbank-cost-nanos");
static CHARGE: HeaderName = HeaderName::from_static("x-tokenbank-charge-nanos");
static SOURCE: HeaderName = HeaderName::from_static("x-tokenbank-source");
static BALANCE: HeaderName = HeaderName::from_static("x-tokenbank-balance-nanos");
static NOTE: HeaderName = HeaderName::from_static("x-tokenbank-note");

/// A request of an official client, from its key to the head of the answer.
pub(super) async fn respond(server: &Server, dialect: Dialect, headers: HeaderMap, body: ReadBody) -> Response {
    let answered = async {
        let who = runner(server, &headers).await?;
        let key = headers.get("idempotency-key").map(|value| Key::parse(value.to_str().unwrap_or_default()));
        let call = Call { dialect, body: whole(server, body)?, headers, execution_id: None };
        match key.transpose()? {
            Some(key) => keyed::respond(server, who, key, call).await,
            None => start_call(server, who, call).await.map(answer_response),
        }
    };
    match answered.await {
        Ok(response) => response,
        Err(error) => error_response(server, dialect, error),
    }
}

/// Who calls: by `Authorization: Bearer tb_…`, or `x-api-key` as Anthropic's clients send it.
pub(super) async fn caller(server: &Server, headers: &HeaderMap) -> Result<ApiCaller> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer =
        text("authorization").and_then(|value| value.strip_prefix("Bearer ").or(value.strip_prefix("bearer ")));
    let key = text("x-api-key").or(bearer).ok_or(Denial::NotSignedIn)?;
    api_key::authenticate(server, key.trim()).await
}

/// [`caller`], as the agent that makes the call.
pub(super) async fn caller_as(server: &Server, headers: &HeaderMap) -> Result<Who> {
    let caller = caller(server, headers).await?;
    let agent = acting(server, &caller, named_agent(headers)?.as_deref()).await?;
    Ok(Who::calling(caller, agent))
}

/// The agent that `X-Tokenbank-Agent` names.
fn named_agent(headers: &HeaderMap) -> std::result::Result<Option<String>, Denial> {
    let mut values = headers.get_all(&AGENT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = std::str::from_utf8(value.as_bytes()).map_or("", str::trim);
    if name.is_empty() || values.next().is_some() {
        let remedy = "Write the name of one agent there, or leave the header out.";
        return Err(Denial::invalid("X-Tokenbank-Agent", "does not name one agent", remedy));
    }
    Ok(Some(name.to_owned()))
}

/// Who calls, if their role may run something.
async fn runner(server: &Server, headers: &HeaderMap) -> Result<Who> {
    let caller = caller(server, headers).await?;
    caller.require(Permission::RunTasks)?;
    let agent = acting(server, &caller, named_agent(headers)?.as_deref()).await?;
    Ok(Who::calling(caller, agent))
}

/// The body, or a denial that says why there is none.
pub(super) fn whole(server: &Server, body: ReadBody) -> Result<Bytes> {
    body.map_err(|rejection| {
        Error::Denied(if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = server.catalogue.load().limits.execution_tokens;
            Denial::PromptTooLong { tokens: LONGEST_BODY as u64 / 4, limit }
        } else {
            Denial::invalid("body", "could not be read to its end", "Send it again.")
        })
    })
}

/// The answer to a whole request, still without its body.
pub(super) fn whole_head(whole: &Whole) -> Response {
    let mut response = with_id(Response::default(), &whole.execution_id, "application/json");
    add_cost(response.headers_mut(), &whole.closed);
    response
}

/// The answer to a request that the provider rejected, still without its body.
pub(super) fn rejected_head(execution_id: &ExecutionId, status: StatusCode) -> Response {
    let mut response = with_id(Response::default(), execution_id, "application/json");
    *response.status_mut() = status;
    response
}

pub(super) fn answer_response(answer: Answer) -> Response {
    match answer {
        Answer::Rejected { execution_id, rejection } => {
            rejected_head(&execution_id, rejection.status).map(|_| Body::from(rejection.body))
        }
        Answer::Whole(whole) => whole_head(&whole).map(|_| Body::from(whole.body)),
        Answer::Stream { execution_id, source, frames } => {
            let mut response =
                with_id(Response::new(Body::from_stream(Frames(frames))), &execution_id, "text/event-stream");
            let headers = response.headers_mut();
            headers.insert(&SOURCE, HeaderValue::from_static(source.as_str()));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // A proxy in front must not gather the frames.
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            response
        }
    }
}

fn with_id(mut response: Response, id: &ExecutionId, content_type: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(&EXECUTION, id);
    }
    response
}

fn add_cost(headers: &mut HeaderMap, closed: &Closed) {
    headers.insert(&COST, HeaderValue::from(closed.cost.nanos()));
    headers.insert(&CHARGE, HeaderValue::from(closed.charge.nanos()));
    headers.insert(&SOURCE, HeaderValue::from_static(closed.source.as_str()));
    if let Some(spendable) = closed.spendable {
        headers.insert(&BALANCE, HeaderValue::from(spendable.nanos()));
    }
    if let Some(note) = closed.note.as_deref().and_then(|note| HeaderValue::from_str(note).ok()) {
        headers.insert(&NOTE, note);
    }
}

/// The frames of a run as the body of an answer.
struct Frames(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>);

impl Stream for Frames {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
