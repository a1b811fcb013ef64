//! Owns: idempotency keys as Stripe defines them: the same key with the same parameters gets the first answer again for
//! 24 hours; with other parameters it is an error; a request that was refused before it began is not remembered.

use super::error::ApiError;
use super::params::Params;
use axum::http::StatusCode;
use bytes::Bytes;
use std::collections::HashMap;

const KEPT_SECONDS: i64 = 24 * 60 * 60;
const LONGEST_KEY: usize = 255;

/// What was answered to which key.
#[derive(Debug, Default)]
pub struct Answers(HashMap<String, Answer>);

#[derive(Debug)]
struct Answer {
    path: String,
    params: Params,
    at: i64,
    status: StatusCode,
    body: Bytes,
    request_id: String,
}

/// An answer that is given again.
#[derive(Clone, Debug)]
pub struct Replay {
    pub status: StatusCode,
    pub body: Bytes,
    /// The request that got it first.
    pub request_id: String,
}

impl Answers {
    pub fn find(&self, key: &str, path: &str, params: &Params, now: i64) -> Result<Option<Replay>, ApiError> {
        if key.len() > LONGEST_KEY {
            return Err(ApiError::invalid("idempotency_key", "Idempotency keys have at most 255 characters."));
        }
        match self.0.get(key).filter(|answer| now - answer.at < KEPT_SECONDS) {
            None => Ok(None),
            Some(answer) if answer.path != path || answer.params != *params => Err(ApiError::idempotency_mismatch(key)),
            Some(answer) => Ok(Some(Replay {
                status: answer.status,
                body: answer.body.clone(),
                request_id: answer.request_id.clone(),
            })),
        }
    }

    pub fn keep(&mut self, key: String, path: &str, params: Params, now: i64, replay: Replay) {
        let Replay { status, body, request_id } = replay;
        self.0.insert(key, Answer { path: path.to_owned(), params, at: now, status, body, request_id });
    }
}
