//! Owns: a receiver of Tokenbank's own webhooks: `POST /receiver` takes a message, `GET /receiver` shows what came.
//! `POST /receiver/503` takes it and answers that status, to see how failures look.

use crate::html::{escape, page};
use crate::task::lock;
use crate::world::World;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Html;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Mutex;

const MOST_MESSAGES: usize = 1_000;

/// A message as it came.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub body: String,
    /// What was answered.
    pub status: u16,
}

/// The messages, oldest first.
#[derive(Debug, Default)]
pub struct Receiver(Mutex<VecDeque<Received>>);

impl Receiver {
    pub fn reset(&self) {
        lock(&self.0).clear();
    }

    fn take(&self, headers: &HeaderMap, body: String, status: StatusCode) {
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut messages = lock(&self.0);
        if messages.len() == MOST_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(Received {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body,
            status: status.as_u16(),
        });
    }

    /// Every message, oldest first.
    pub fn list(&self) -> Vec<Received> {
        lock(&self.0).iter().cloned().collect()
    }
}

pub async fn accept(State(world): State<World>, headers: HeaderMap, body: String) -> StatusCode {
    world.receiver.take(&headers, body, StatusCode::NO_CONTENT);
    StatusCode::NO_CONTENT
}

pub async fn accept_with(
    State(world): State<World>,
    Path(status): Path<u16>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NO_CONTENT);
    world.receiver.take(&headers, body, status);
    status
}

pub async fn list(State(world): State<World>) -> Json<Vec<Received>> {
    Json(world.receiver.list())
}

pub async fn show(State(world): State<World>) -> Html<String> {
    let messages: String = world
        .receiver
        .list()
        .iter()
        .rev()
        .map(|message| {
            format!(
                "<article class=\"card\">\n<h2>{}</h2>\n<p class=\"soft\">webhook-timestamp {} · answered {}</p>\n\
                 <p class=\"soft\">webhook-signature {}</p>\n<pre>{}</pre>\n</article>",
                escape(&message.id),
                escape(&message.timestamp),
                message.status,
                escape(&message.signature),
                escape(&indented(&message.body))
            )
        })
        .collect();
    let messages = if messages.is_empty() {
        "<p>No message yet. Add this address as a webhook and send a test.</p>".to_owned()
    } else {
        messages
    };
    page("Webhook receiver", &format!("<section class=\"card\"><h1>Webhook receiver</h1></section>{messages}"))
}

/// JSON as people read it; what is none stays as it is.
fn indented(body: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(body).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| body.to_owned())
}
