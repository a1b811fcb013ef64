//! Owns: OpenAI's Chat Completions format: request, stream chunks, usage.
//! Facts: usage comes in the last chunk, with empty `choices`, if `stream_options.include_usage` asked for it;
//! `prompt_tokens` includes the cached ones and `completion_tokens` the reasoning, so both are split here.

use super::{CallBody, Dialect, Prompt, Provider, Reading, StopReason, TokenCounts, secret_header};
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::provider::Provider as ProviderName;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// OpenAI, with our own key.
pub struct OpenAi {
    url: String,
    key: SecretString,
}

impl OpenAi {
    /// `url` is without a slash at its end.
    pub fn new(url: &str, key: SecretString) -> OpenAi {
        OpenAi { url: format!("{url}{}", Dialect::OpenAi.path()), key }
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "OpenAI"
    }

    fn kind(&self) -> ProviderName {
        ProviderName::OpenAi
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn write_prompt(&self, prompt: Prompt<'_>) -> Bytes {
        let body = serde_json::json!({
            "model": prompt.upstream_name,
            "max_completion_tokens": prompt.max_output_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.input },
            ],
        });
        Bytes::from(body.to_string())
    }

    fn write_call(&self, call: &CallBody<'_>, upstream_name: &str, max_output_tokens: u64) -> Bytes {
        let cap = max_output_tokens.to_string();
        let mut changes = Vec::with_capacity(3);
        // Newer models refuse `max_tokens`, so it is kept where the client sent it and never added.
        if call.has("max_tokens") {
            changes.push(("max_tokens", cap.clone()));
        }
        if call.has("max_completion_tokens") || !call.has("max_tokens") {
            changes.push(("max_completion_tokens", cap));
        }
        if call.outline.streams {
            changes.push(("stream_options", call.stream_options_with_usage()));
        }
        call.write(upstream_name, &changes)
    }

    fn request(&self, http: &reqwest::Client, body: Bytes, _client: &HeaderMap) -> reqwest::RequestBuilder {
        let request = http.post(&self.url).header("content-type", "application/json").body(body);
        match secret_header("Bearer ", &self.key) {
            Some(key) => request.header("authorization", key),
            None => request,
        }
    }

    fn read_event(&self, data: &[u8], reading: &mut Reading, on_text: &mut dyn FnMut(&str)) {
        if data == b"[DONE]" {
            reading.ended = true;
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Completion<'_>>(data) else { return };
        for choice in chunk.choices.unwrap_or_default() {
            if let Some(delta) = choice.delta {
                reading.output_bytes += delta.hidden_bytes();
                if let Some(text) = delta.content.or(delta.refusal) {
                    reading.output_bytes += text.len() as u64;
                    on_text(&text);
                }
            }
            if let Some(reason) = choice.finish_reason {
                reading.stop = Some(stop_reason(&reason));
            }
        }
        take_usage(chunk.usage, reading);
        if let Some(error) = chunk.error {
            reading.error = Some(error.message.map_or_else(String::new, Cow::into_owned));
        }
    }

    fn read_whole(&self, body: &[u8], reading: &mut Reading) {
        let Ok(completion) = serde_json::from_slice::<Completion<'_>>(body) else { return };
        for choice in completion.choices.unwrap_or_default() {
            if let Some(message) = choice.message {
                reading.output_bytes += message.hidden_bytes();
                reading.output_bytes += message.content.or(message.refusal).map_or(0, |text| text.len() as u64);
            }
            reading.stop = choice.finish_reason.as_deref().map(stop_reason).or(reading.stop);
        }
        take_usage(completion.usage, reading);
        reading.ended = true;
    }

    fn key(&self) -> &SecretString {
        &self.key
    }
}

fn stop_reason(text: &str) -> StopReason {
    match text {
        "length" => StopReason::Cap,
        _done => StopReason::Done,
    }
}

fn take_usage(raw: Option<&RawValue>, reading: &mut Reading) {
    let Some(raw) = raw else { return };
    // Chunks before the last carry `null`.
    let Ok(Some(usage)) = serde_json::from_str::<Option<Usage>>(raw.get()) else { return };
    let prompt_details = usage.prompt_tokens_details.unwrap_or_default();
    let cached = prompt_details.cached_tokens.or(usage.prompt_cache_hit_tokens);
    let reasoning = usage.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    let written = prompt_details.cache_write_tokens;
    reading.counts = TokenCounts {
        input: usage
            .prompt_tokens
            .map(|prompt| prompt.saturating_sub(cached.unwrap_or(0)).saturating_sub(written.unwrap_or(0))),
        cache_read: cached.map(|cached| cached.min(usage.prompt_tokens.unwrap_or(cached))),
        cache_write_5m: written,
        cache_write_1h: None,
        output: usage.completion_tokens.map(|completion| completion.saturating_sub(reasoning.unwrap_or(0))),
        reasoning: reasoning.map(|reasoning| reasoning.min(usage.completion_tokens.unwrap_or(reasoning))),
    };
    reading.last_usage = Some(raw.get().to_owned());
}

/// A whole completion, or a chunk of one: they differ in `message` and `delta`.
#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<ErrorBody<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    #[serde(borrow)]
    message: Option<Said<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

impl Said<'_> {
    fn hidden_bytes(&self) -> u64 {
        let reasoning = self.reasoning_content.as_ref().map_or(0, |text| text.len());
        let tools = self.tool_calls.map_or("", RawValue::get);
        (reasoning + if tools == "null" || tools == "[]" { 0 } else { tools.len() }) as u64
    }
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_cache_hit_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> (Reading, String) {
        let provider = OpenAi::new("http://127.0.0.1", SecretString::from("k"));
        let (mut reading, mut text) = (Reading::default(), String::new());
        for event in events {
            provider.read_event(event.as_bytes(), &mut reading, &mut |part| text.push_str(part));
        }
        (reading, text)
    }

    #[test]
    fn the_pools_are_exclusive() {
        let (reading, text) = read(&[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":null}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":20}}}"#,
            "[DONE]",
        ]);
        assert_eq!(text, "Hi");
        let (usage, estimated) = reading.usage(9);
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (40, 60, 30, 20));
        assert!(!estimated && reading.ended);
        assert_eq!(reading.stop, Some(StopReason::Cap));
        assert!(reading.raw_usage().unwrap().contains("\"prompt_tokens\":100"));
    }

    #[test]
    fn no_usage_is_not_zero_and_zero_is_zero() {
        let (reading, _) = read(&[r#"{"choices":[{"delta":{"content":"12345"}}]}"#, "[DONE]"]);
        let (usage, estimated) = reading.usage(7);
        assert_eq!((usage.input, usage.output, estimated), (7, 2, true), "field failure 7");
        let (reading, _) = read(&[
            r#"{"choices":[{"delta":{"content":"12345"}}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#,
        ]);
        let (usage, estimated) = reading.usage(7);
        assert_eq!((usage.input, usage.output, estimated), (0, 0, false), "field failure 6");
    }

    #[test]
    fn an_error_chunk_is_read() {
        let (reading, _) = read(&[r#"{"error":{"message":"The server had an error","type":"server_error"}}"#]);
        assert_eq!(reading.error.as_deref(), Some("The server had an error"));
    }
}
