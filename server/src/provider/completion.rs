//! Owns: reading the Chat Completions format, whole and streamed, and what its usage means at each provider.
//! Does not own: asking (`compatible`).
//! Facts: usage comes in the last chunk, with empty `choices`, if `stream_options.include_usage` asked for it; Groq may put it
//! into `x_groq`, OpenRouter adds its own cost, DeepSeek names hits and misses of its cache (a miss is plain input).
//! `prompt_tokens` includes the cached ones and `completion_tokens` the reasoning, so both are split here; Google counts
//! thoughts into the total alone.

use super::{Reading, StopReason, TokenCounts};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Where a provider counts the tokens that a model thought with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    InCompletion,
    /// Beside the completion, in the total.
    InTotal,
}

/// Reads the `data` of one event of a stream.
pub(super) fn read_event(data: &[u8], thoughts: Thoughts, reading: &mut Reading, on_text: &mut dyn FnMut(&str)) {
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
    take_usage(chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage)), thoughts, reading);
    take_error(chunk.error, reading);
}

/// Reads an answer that was not streamed.
pub(super) fn read_whole(body: &[u8], thoughts: Thoughts, reading: &mut Reading) {
    let Ok(completion) = serde_json::from_slice::<Completion<'_>>(body) else { return };
    for choice in completion.choices.unwrap_or_default() {
        if let Some(message) = choice.message {
            reading.output_bytes += message.hidden_bytes();
            reading.output_bytes += message.content.or(message.refusal).map_or(0, |text| text.len() as u64);
        }
        reading.stop = choice.finish_reason.as_deref().map(stop_reason).or(reading.stop);
    }
    take_usage(completion.usage.or(completion.x_groq.and_then(|groq| groq.usage)), thoughts, reading);
    take_error(completion.error, reading);
    reading.ended = true;
}

fn stop_reason(text: &str) -> StopReason {
    match text {
        "length" => StopReason::Cap,
        _done => StopReason::Done,
    }
}

/// An error in an answer that began as a success: an object with a message, or, at Ollama, a text.
fn take_error(raw: Option<&RawValue>, reading: &mut Reading) {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return };
    let message = serde_json::from_str::<ErrorBody<'_>>(raw.get()).ok().and_then(|error| error.message);
    let message = message.or_else(|| serde_json::from_str::<Cow<'_, str>>(raw.get()).ok());
    reading.error = Some(message.map_or_else(String::new, Cow::into_owned));
}

fn take_usage(raw: Option<&RawValue>, thoughts: Thoughts, reading: &mut Reading) {
    let Some(raw) = raw else { return };
    // Chunks before the last carry `null`.
    let Ok(Some(usage)) = serde_json::from_str::<Option<Usage>>(raw.get()) else { return };
    let prompt_details = usage.prompt_tokens_details.unwrap_or_default();
    let cached = prompt_details.cached_tokens.or(usage.prompt_cache_hit_tokens);
    let said = usage.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    let written = prompt_details.cache_write_tokens;
    let beside = match thoughts {
        Thoughts::InCompletion => 0,
        Thoughts::InTotal => {
            let counted = usage.prompt_tokens.unwrap_or(0).saturating_add(usage.completion_tokens.unwrap_or(0));
            usage.total_tokens.unwrap_or(0).saturating_sub(counted)
        }
    };
    let (output, reasoning) = if beside > 0 {
        (usage.completion_tokens.or(Some(0)), Some(beside))
    } else {
        (
            usage.completion_tokens.map(|completion| completion.saturating_sub(said.unwrap_or(0))),
            said.map(|reasoning| reasoning.min(usage.completion_tokens.unwrap_or(reasoning))),
        )
    };
    reading.counts = TokenCounts {
        input: usage
            .prompt_tokens
            .map(|prompt| prompt.saturating_sub(cached.unwrap_or(0)).saturating_sub(written.unwrap_or(0))),
        cache_read: cached.map(|cached| cached.min(usage.prompt_tokens.unwrap_or(cached))),
        cache_write_5m: written,
        cache_write_1h: None,
        output,
        reasoning,
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
    x_groq: Option<Groq<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
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
    /// As Groq and OpenRouter call it.
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

impl Said<'_> {
    fn hidden_bytes(&self) -> u64 {
        let reasoning = self.reasoning_content.as_ref().or(self.reasoning.as_ref()).map_or(0, |text| text.len());
        let tools = self.tool_calls.map_or("", RawValue::get);
        (reasoning + if tools == "null" || tools == "[]" { 0 } else { tools.len() }) as u64
    }
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
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

    fn read_at(thoughts: Thoughts, events: &[&str]) -> (Reading, String) {
        let (mut reading, mut text) = (Reading::default(), String::new());
        for event in events {
            read_event(event.as_bytes(), thoughts, &mut reading, &mut |part| text.push_str(part));
        }
        (reading, text)
    }

    fn read(events: &[&str]) -> (Reading, String) {
        read_at(Thoughts::InCompletion, events)
    }

    /// The last chunk of each provider, as its documents show it, and the pools that come of it.
    #[test]
    fn each_providers_usage_becomes_exclusive_pools() {
        use Thoughts::{InCompletion, InTotal};
        let none = TokenCounts::default();
        for (what, thoughts, last, expected) in [
            (
                "Groq, in x_groq alone",
                InCompletion,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4}}}}"#,
                TokenCounts { input: Some(7), cache_read: Some(4), output: Some(7), ..none },
            ),
            (
                "DeepSeek: a miss is plain input",
                InCompletion,
                r#"{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":12,"total_tokens":42,"prompt_cache_hit_tokens":10,"prompt_cache_miss_tokens":20,"completion_tokens_details":{"reasoning_tokens":5}}}"#,
                TokenCounts { input: Some(20), cache_read: Some(10), output: Some(7), reasoning: Some(5), ..none },
            ),
            (
                "OpenRouter, with what it charged",
                InCompletion,
                r#"{"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":9,"total_tokens":59,"cost":0.00014,"cost_details":{"upstream_inference_cost":null},"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":12}}}"#,
                TokenCounts { input: Some(30), cache_read: Some(8), cache_write_5m: Some(12), output: Some(9), ..none },
            ),
            (
                "Together AI, without a word on its cache",
                InCompletion,
                r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}"#,
                TokenCounts { input: Some(5), output: Some(6), ..none },
            ),
            (
                "Google: thoughts are in the total alone",
                InTotal,
                r#"{"choices":[{"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}}"#,
                TokenCounts { input: Some(20), output: Some(198), reasoning: Some(405), ..none },
            ),
            (
                "Google, without thoughts",
                InTotal,
                r#"{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":3,"total_tokens":23}}"#,
                TokenCounts { input: Some(20), output: Some(3), ..none },
            ),
            (
                "Google, nothing but thoughts",
                InTotal,
                r#"{"choices":[],"usage":{"prompt_tokens":21,"total_tokens":81,"completion_tokens_details":{"reasoning_tokens":60}}}"#,
                TokenCounts { input: Some(21), output: Some(0), reasoning: Some(60), ..none },
            ),
            (
                "Ollama",
                InCompletion,
                r#"{"choices":[],"usage":{"prompt_tokens":26,"completion_tokens":0,"total_tokens":26}}"#,
                TokenCounts { input: Some(26), output: Some(0), ..none },
            ),
            (
                "Ollama, whose prompt was cached and not counted",
                InCompletion,
                r#"{"choices":[],"usage":{"completion_tokens":4}}"#,
                TokenCounts { output: Some(4), ..none },
            ),
        ] {
            let (reading, _) = read_at(thoughts, &[last]);
            assert_eq!(reading.counts, expected, "{what}");
            let mut whole = Reading::default();
            read_whole(last.as_bytes(), thoughts, &mut whole);
            assert_eq!(whole.counts, expected, "{what}, whole");
            assert!(last.contains(&reading.raw_usage().unwrap()), "{what}: the usage is kept as it came");
        }
    }

    #[test]
    fn an_error_in_a_success_is_an_error_in_each_shape() {
        for body in [
            r#"{"error":{"code":502,"message":"Provider returned error"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
            r#"{"error":"Provider returned error"}"#,
        ] {
            let (streamed, mut whole) = (read(&[body]).0, Reading::default());
            read_whole(body.as_bytes(), Thoughts::InCompletion, &mut whole);
            assert_eq!(streamed.error.as_deref(), Some("Provider returned error"));
            assert_eq!(whole.error, streamed.error);
        }
        assert_eq!(read(&[r#"{"error":null,"choices":[]}"#]).0.error, None);
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
