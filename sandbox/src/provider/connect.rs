//! Owns: OpenRouter's sign-in for another app (OAuth with PKCE): the page that asks for consent, and the exchange of a code for a
//! key. The page lets one choose how the key will stand; a code works once, for ten minutes, and only with its verifier.

use crate::html::{escape, message, page};
use crate::task::lock;
use crate::world::World;
use axum::Json;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Mutex;

const CODE_SECONDS: i64 = 600;

/// The kinds of keys that the page offers, and the word in a key's text that makes it one.
const KINDS: [(&str, &str); 6] = [
    ("good", "It works"),
    ("nocredit", "It has no credit"),
    ("limited", "It is rate limited"),
    ("invalid", "OpenRouter refuses it"),
    ("management", "It is a management key"),
    ("hang", "OpenRouter does not answer about it"),
];

/// The codes that were given out, by their text.
#[derive(Debug, Default)]
pub struct Codes(Mutex<HashMap<String, Code>>);

impl Codes {
    pub fn reset(&self) {
        lock(&self.0).clear();
    }
}

#[derive(Clone, Debug)]
struct Code {
    challenge: String,
    key: String,
    expires_at: i64,
}

/// What an app asks for; the page sends it on with what the person chose.
#[derive(Deserialize)]
pub struct Consent {
    callback_url: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    answer: String,
}

/// `GET /openrouter/auth`.
pub async fn show(Query(consent): Query<Consent>) -> Response {
    if !consent.callback_url.starts_with("http") {
        return message(StatusCode::BAD_REQUEST, "No callback_url", "An app says where to go back to.", None);
    }
    let hidden =
        |name: &str, value: &str| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escape(value));
    let options: String =
        KINDS.iter().map(|(word, words)| format!("<option value=\"{word}\">{words}</option>\n")).collect();
    let body = format!(
        "<section class=\"card\">\n<h1>OpenRouter</h1>\n<p>An app asks for a key of yours: <strong>{}</strong></p>\n\
         <form method=\"post\" action=\"/openrouter/auth\">\n{}{}{}<label for=\"kind\">The key that it gets</label>\n\
         <select id=\"kind\" name=\"kind\">\n{options}</select>\n<p></p>\n\
         <button type=\"submit\" name=\"answer\" value=\"authorize\">Authorize</button>\n\
         <button type=\"submit\" name=\"answer\" value=\"decline\" class=\"quiet\">Decline</button>\n</form>\n</section>",
        escape(origin(&consent.callback_url)),
        hidden("callback_url", &consent.callback_url),
        hidden("code_challenge", &consent.code_challenge),
        hidden("code_challenge_method", &consent.code_challenge_method),
    );
    page("OpenRouter", &body).into_response()
}

/// `POST /openrouter/auth`: back to the app, with a code if the person agreed.
pub async fn submit(State(world): State<World>, Form(consent): Form<Consent>) -> Response {
    let joint = if consent.callback_url.contains('?') { '&' } else { '?' };
    if consent.answer != "authorize" {
        return Redirect::to(&format!("{}{joint}error=access_denied", consent.callback_url)).into_response();
    }
    let kind = KINDS.iter().find(|(word, _)| *word == consent.kind).map_or("good", |(word, _)| word);
    let (code, ending) = (world.clock.new_id("code_"), world.clock.new_id(""));
    let expires_at = world.clock.now() + CODE_SECONDS;
    let key = format!("sk-or-v1-{kind}-{ending}");
    let given = Code { challenge: consent.code_challenge, key, expires_at };
    lock(&world.providers.codes.0).insert(code.clone(), given);
    Redirect::to(&format!("{}{joint}code={code}", consent.callback_url)).into_response()
}

#[derive(Deserialize)]
pub struct Exchange {
    code: String,
    #[serde(default)]
    code_verifier: String,
    #[serde(default)]
    code_challenge_method: String,
}

/// `POST /openrouter/api/v1/auth/keys`.
pub async fn exchange(State(world): State<World>, Json(asked): Json<Exchange>) -> Response {
    let refuse = |status: StatusCode, words: &str| {
        (status, Json(json!({"error": {"code": status.as_u16(), "message": words}}))).into_response()
    };
    if asked.code_challenge_method != "S256" {
        return refuse(StatusCode::BAD_REQUEST, "Invalid code_challenge_method");
    }
    // Taken whether or not its verifier is right: a code is worth one try.
    let Some(code) = lock(&world.providers.codes.0).remove(&asked.code) else {
        return refuse(StatusCode::FORBIDDEN, "Invalid code or code_verifier");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(asked.code_verifier.as_bytes()));
    if challenge != code.challenge || code.expires_at <= world.clock.now() {
        return refuse(StatusCode::FORBIDDEN, "Invalid code or code_verifier");
    }
    Json(json!({"key": code.key, "user_id": "user_sandbox"})).into_response()
}

fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url[after..].find('/').map_or(url.len(), |at| after + at);
    &url[..end]
}
