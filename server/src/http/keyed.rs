//! Owns: a request with an `Idempotency-Key`: run once, answered again.
//! Does not own: keys and kept answers (`idempotency`), running (`execution`).
//! Invariant: it goes on when its client leaves, so that the client that comes back finds the answer.

use super::gateway::answer_response;
use crate::Server;
use crate::error::{Error, Result};
use crate::execution::{Answer, Call, Who, start_call};
use crate::idempotency::{self, Claim, Key, Request, Stored};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use domain::denial::Denial;
use domain::id::ExecutionId;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The beginning of our own headers, which are given again too.
const OURS: &str = "x-tokenbank-";

/// Answers a request with a key: by running it, or with what its first run was answered.
pub(super) async fn respond(server: &Server, who: Who, key: Key, call: Call) -> Result<Response> {
    let agent = who.agent.as_ref().map(|agent| &agent.agent_id);
    let request = Request { path: call.dialect.path(), agent, body: &call.body };
    match idempotency::claim(server, &who.account_id, &key, request).await? {
        Claim::New(execution_id) => run(server, who, (key, execution_id, First::Yes), call).await,
        Claim::Again(execution_id) => run(server, who, (key, execution_id, First::No), call).await,
        Claim::Began(execution_id) => Err(began(server, &execution_id)),
        Claim::Answered(stored) => Ok(replay(stored)),
    }
}

/// Whether this request took the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Yes,
    No,
}

async fn run(
    server: &Server,
    who: Who,
    (key, execution_id, first): (Key, ExecutionId, First),
    call: Call,
) -> Result<Response> {
    let (sender, receiver) = oneshot::channel();
    let task = server.clone();
    server.tasks.spawn(async move {
        let account_id = who.account_id.clone();
        let call = Call { execution_id: Some(execution_id.clone()), ..call };
        let answered = start_call(&task, who, call).await;
        let noted = match &answered {
            Ok(answer) => match stored(answer) {
                Some(stored) => idempotency::keep(&task, &account_id, &key, &stored).await,
                None => Ok(()),
            },
            // Nothing was charged, so the key is free for another try; a conflict is about another request's run.
            Err(Error::Denied(denial)) if first == First::Yes && denial.code() != "conflict" => {
                idempotency::release(&task, &account_id, &key, &execution_id).await
            }
            Err(_) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::error!(%error, %execution_id, "the answer to an Idempotency-Key could not be kept");
        }
        // A client that has left comes back for the kept answer.
        let _ = sender.send(answered);
    });
    let answer = receiver.await.map_err(|_| Error::Internal("a keyed run ended without an answer".to_owned()))??;
    Ok(answer_response(answer))
}

/// What is kept of an answer; a stream is not, its run is pointed at.
fn stored(answer: &Answer) -> Option<Stored> {
    let (execution_id, body) = match answer {
        Answer::Whole(whole) => (&whole.execution_id, &whole.body),
        Answer::Rejected { execution_id, rejection } => (execution_id, &rejection.body),
        Answer::Stream { .. } => return None,
    };
    let response = match answer {
        Answer::Whole(whole) => super::gateway::whole_head(whole),
        Answer::Rejected { execution_id, rejection } => super::gateway::rejected_head(execution_id, rejection.status),
        Answer::Stream { .. } => return None,
    };
    let ours = response.headers().iter().filter(|(name, _)| name.as_str().starts_with(OURS));
    let headers: BTreeMap<String, String> =
        ours.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect();
    Some(Stored {
        execution_id: execution_id.clone(),
        status: response.status().as_u16(),
        headers,
        body: String::from_utf8(body.to_vec()).ok()?,
    })
}

fn replay(stored: Stored) -> Response {
    let mut response = Response::new(Body::from(stored.body));
    *response.status_mut() = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(&REPLAYED, HeaderValue::from_static("true"));
    for (name, value) in &stored.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Points at the first run: it goes on, it streamed, or its answer was too long to keep.
fn began(server: &Server, execution_id: &ExecutionId) -> Error {
    let page = format!("{}/usage/{execution_id}", server.config.public_url);
    let problem = format!(
        "This Idempotency-Key began run {execution_id} before; nothing was run or charged again. See {page}, or ask again \
         in a moment if it still runs."
    );
    Denial::Conflict { problem }.into()
}
