//! Owns: Anthropic's Messages format: request, stream events, usage.
//! Facts: `input_tokens` excludes the cache; `message_start` has the input and a first guess of the output;
//! `message_delta` is cumulative, so the last one counts and is not added.

use super::{CallBody, Dialect, Prompt, Provider, Reading, StopReason, secret_header};
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::provider::Provider as ProviderName;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Anthropic, with our own key.
pub struct Anthropic {
    url: String,
    key: SecretString,
}

impl Anthropic {
    /// `url` is without a slash at its end.
    pub fn new(url: &str, key: SecretString) -> Anthropic {
        Anthropic { url: format!("{url}{}", Dialect::Anthropic.path()), key }
    }
}

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "Anthropic"
    }

    fn kind(&self) -> ProviderName {
        ProviderName::Anthropic
    }

    fn dialect(&self) -> Dialect {
        Dialect::Anthropic
    }

    fn write_prompt(&self, prompt: Prompt<'_>) -> Bytes {
        let body = serde_json::json!({
            "model": prompt.upstream_name,
            "max_tokens": prompt.max_output_tokens,
            "stream": true,
            "system": prompt.system,
            "messages": [{ "role": "user", "content": prompt.input }],
        });
        Bytes::from(body.to_string())
    }

    fn write_call(&self, call: &CallBody<'_>, upstream_name: &str, max_output_tokens: u64) -> Bytes {
        call.write(upstream_name, &[("max_tokens", max_output_tokens.to_string())])
    }

    fn request(&self, http: &reqwest::Client, body: Bytes, client: &HeaderMap) -> reqwest::RequestBuilder {
        let mut request = http.post(&self.url).header("content-type", "application/json").body(body);
        if let Some(key) = secret_header("", &self.key) {
            request = request.header("x-api-key", key);
        }
        match client.get("anthropic-version") {
            Some(version) => request = request.header("anthropic-version", version),
            None => request = request.header("anthropic-version", "2023-06-01"),
        }
        for beta in client.get_all("anthropic-beta") {
            request = request.header("anthropic-beta", beta);
        }
        request
    }

    fn read_event(&self, data: &[u8], reading: &mut Reading, on_text: &mut dyn FnMut(&str)) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
        match &*event.kind {
            "message_start" => {
                if let Some(usage) = event.message.and_then(|message| message.usage) {
                    reading.first_usage = Some(usage.get().to_owned());
                    // The output here is a first guess; the last message_delta has the count.
                    take_usage(usage, reading, false);
                }
            }
            "content_block_start" => {
                if let Some(text) = event.content_block.and_then(|block| block.text) {
                    reading.output_bytes += text.len() as u64;
                    on_text(&text);
                }
            }
            "content_block_delta" => {
                let Some(delta) = event.delta else { return };
                for hidden in [&delta.thinking, &delta.partial_json].into_iter().flatten() {
                    reading.output_bytes += hidden.len() as u64;
                }
                if let Some(text) = &delta.text {
                    reading.output_bytes += text.len() as u64;
                    on_text(text);
                }
            }
            "message_delta" => {
                if let Some(reason) = event.delta.and_then(|delta| delta.stop_reason) {
                    reading.stop = Some(stop_reason(&reason));
                }
                if let Some(usage) = event.usage {
                    reading.last_usage = Some(usage.get().to_owned());
                    take_usage(usage, reading, true);
                }
            }
            "message_stop" => reading.ended = true,
            "error" => reading.error = Some(event.error.map_or_else(String::new, ErrorBody::into_text)),
            _other_provider_event => {}
        }
    }

    fn read_whole(&self, body: &[u8], reading: &mut Reading) {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else { return };
        if let Some(usage) = message.usage {
            reading.last_usage = Some(usage.get().to_owned());
            take_usage(usage, reading, true);
        }
        for block in message.content.unwrap_or_default() {
            reading.output_bytes += block.text.map_or(0, |text| text.len() as u64);
            reading.output_bytes += block.thinking.map_or(0, |text| text.len() as u64);
            reading.output_bytes += block.input.map_or(0, |input| input.get().len() as u64);
        }
        reading.stop = message.stop_reason.as_deref().map(stop_reason);
        reading.ended = true;
    }

    fn key(&self) -> &SecretString {
        &self.key
    }
}

fn stop_reason(text: &str) -> StopReason {
    match text {
        "max_tokens" | "model_context_window_exceeded" => StopReason::Cap,
        _done => StopReason::Done,
    }
}

fn take_usage(usage: &RawValue, reading: &mut Reading, output_is_final: bool) {
    let Ok(usage) = serde_json::from_str::<Usage>(usage.get()) else { return };
    let counts = &mut reading.counts;
    counts.input = usage.input_tokens.or(counts.input);
    counts.cache_read = usage.cache_read_input_tokens.or(counts.cache_read);
    match usage.cache_creation {
        Some(CacheCreation { ephemeral_5m_input_tokens, ephemeral_1h_input_tokens }) => {
            counts.cache_write_5m = ephemeral_5m_input_tokens.or(counts.cache_write_5m);
            counts.cache_write_1h = ephemeral_1h_input_tokens.or(counts.cache_write_1h);
        }
        // Without the split it repeats a total that may have been split before.
        None if counts.cache_write_1h.unwrap_or(0) == 0 => {
            counts.cache_write_5m = usage.cache_creation_input_tokens.or(counts.cache_write_5m);
        }
        None => {}
    }
    if output_is_final {
        counts.output = usage.output_tokens.or(counts.output);
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<ErrorBody<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

#[derive(Deserialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

impl ErrorBody<'_> {
    fn into_text(self) -> String {
        [self.kind, self.message].into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> (Reading, String) {
        let provider = Anthropic::new("http://127.0.0.1", SecretString::from("k"));
        let (mut reading, mut text) = (Reading::default(), String::new());
        for event in events {
            provider.read_event(event.as_bytes(), &mut reading, &mut |part| text.push_str(part));
        }
        (reading, text)
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"x","stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":200,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1,"service_tier":"standard"}}}"#;

    #[test]
    fn the_last_message_delta_counts_and_is_not_added() {
        let (reading, text) = read(&[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"H\u00e9 \"du\""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":9}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":25,"cache_creation_input_tokens":300,"output_tokens":15}}"#,
            r#"{"type":"message_stop"}"#,
        ]);
        assert_eq!(text, "H\u{e9} \"du\"");
        assert_eq!(reading.output_bytes, text.len() as u64 + 2);
        let (usage, estimated) = reading.usage(99);
        assert_eq!((usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h), (25, 200, 100, 200));
        assert_eq!((usage.output, estimated), (15, false));
        assert_eq!((reading.stop, reading.ended), (Some(StopReason::Cap), true));
        let raw: serde_json::Value = serde_json::from_str(&reading.raw_usage().unwrap()).unwrap();
        assert_eq!((raw[0]["output_tokens"].as_u64(), raw[1]["output_tokens"].as_u64()), (Some(1), Some(15)));
    }

    #[test]
    fn a_stream_cut_before_message_delta_has_no_output_count() {
        let (reading, _) =
            read(&[START, r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"12345678"}}"#]);
        let (usage, estimated) = reading.usage(99);
        assert_eq!((usage.input, usage.output, estimated), (25, 2, true), "the 1 of message_start is no count");
    }

    #[test]
    fn an_error_in_the_stream_is_read_and_nonsense_is_ignored() {
        let (reading, _) = read(&[
            "not json",
            "[]",
            r#"{"type":"new_kind","delta":{"text":7}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        ]);
        assert_eq!(reading.error.as_deref(), Some("overloaded_error: Overloaded"));
        assert!(!reading.ended);
    }

    #[test]
    fn a_whole_message_is_read() {
        let provider = Anthropic::new("http://127.0.0.1", SecretString::from("k"));
        let mut reading = Reading::default();
        provider.read_whole(
            br#"{"id":"m","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t","name":"n","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":5}}"#,
            &mut reading,
        );
        let (usage, estimated) = reading.usage(9);
        assert_eq!((usage.input, usage.cache_write_5m, usage.output, estimated), (0, 5, 0, false));
        assert_eq!((reading.stop, reading.output_bytes), (Some(StopReason::Done), 9));
    }
}
