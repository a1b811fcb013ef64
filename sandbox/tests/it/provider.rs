//! The providers' wire formats, their true counts, and their faults.

use crate::support::{http, start};
use sandbox::{Ending, Family, Fault, Rule, Sandbox};
use serde_json::{Value, json};

fn anthropic(sandbox: &Sandbox, body: &Value) -> reqwest::RequestBuilder {
    http()
        .post(format!("{}/v1/messages", sandbox.anthropic_url()))
        .header("x-api-key", "sk-ant-test-1234")
        .header("anthropic-version", "2023-06-01")
        .body(body.to_string())
}

fn openai(sandbox: &Sandbox, body: &Value) -> reqwest::RequestBuilder {
    http()
        .post(format!("{}/v1/chat/completions", sandbox.openai_url()))
        .header("authorization", "Bearer sk-proj-test-1234")
        .body(body.to_string())
}

fn message(prompt: &str, max_tokens: u64, stream: bool) -> Value {
    json!({"model": "claude-sonnet-4-5", "max_tokens": max_tokens, "stream": stream,
        "messages": [{"role": "user", "content": prompt}]})
}

fn chat(prompt: &str, max_tokens: u64, stream: bool) -> Value {
    json!({"model": "gpt-4o", "max_completion_tokens": max_tokens, "stream": stream,
        "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": prompt}]})
}

/// The JSON of each `data:` line, and whether `[DONE]` came.
fn events(body: &str) -> (Vec<Value>, bool) {
    let lines = || body.lines().filter_map(|line| line.strip_prefix("data: "));
    (
        lines().filter(|line| *line != "[DONE]").map(|line| serde_json::from_str(line).unwrap()).collect(),
        lines().next_back() == Some("[DONE]"),
    )
}

fn text_of(events: &[Value]) -> String {
    events
        .iter()
        .filter_map(|event| {
            event.pointer("/delta/text").or_else(|| event.pointer("/choices/0/delta/content")).and_then(Value::as_str)
        })
        .collect()
}

#[tokio::test]
async fn anthropic_streams_its_events_in_order_with_cumulative_usage() {
    let sandbox = start().await;
    let response = anthropic(&sandbox, &message("Write a PRD for invitations", 400, true)).send().await.unwrap();
    let request_id = response.headers()["request-id"].to_str().unwrap().to_owned();
    let (events, _) = events(&response.text().await.unwrap());
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let end = &events[events.len() - 2];
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 7);
    assert_eq!(end["delta"]["stop_reason"], "max_tokens");
    assert_eq!(end["usage"]["output_tokens"], 400);
    assert_eq!(text_of(&events).len().div_ceil(4), 400);
    let request = sandbox.requests().remove(0);
    assert_eq!(
        (request.request_id, request.ending, request.key_ending.as_str()),
        (request_id, Ending::Complete, "1234")
    );
    assert_eq!((request.billed.input_tokens, request.billed.output_tokens), (7, 400));
}

#[tokio::test]
async fn openai_streams_usage_only_when_asked_and_ends_with_done() {
    let sandbox = start().await;
    let asked = openai(&sandbox, &chat("Hello", 50, true)).send().await.unwrap().text().await.unwrap();
    let (chunks, done) = events(&asked);
    let last = chunks.last().unwrap();
    assert!(done && last["choices"].as_array().unwrap().is_empty());
    assert_eq!((&last["usage"]["prompt_tokens"], &last["usage"]["completion_tokens"]), (&json!(2), &json!(50)));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
    let mut body = chat("Hello", 50, true);
    body["stream_options"] = Value::Null;
    let (chunks, done) = events(&openai(&sandbox, &body).send().await.unwrap().text().await.unwrap());
    assert!(done && chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn whole_answers_say_the_same_as_streams() {
    let sandbox = start().await;
    let whole: Value =
        anthropic(&sandbox, &message("Write user stories", 4_000, false)).send().await.unwrap().json().await.unwrap();
    let (streamed, _) = events(
        &anthropic(&sandbox, &message("Write user stories", 4_000, true)).send().await.unwrap().text().await.unwrap(),
    );
    assert_eq!(whole["content"][0]["text"].as_str().unwrap(), text_of(&streamed));
    assert_eq!(whole["stop_reason"], "end_turn");
    let completion: Value = openai(&sandbox, &chat("Hi", 20, false)).send().await.unwrap().json().await.unwrap();
    assert_eq!(completion["usage"]["total_tokens"], 21);
    let counted = http()
        .post(format!("{}/v1/messages/count_tokens", sandbox.anthropic_url()))
        .header("x-api-key", "k")
        .header("anthropic-version", "2023-06-01")
        .body(message("Write user stories", 1, false).to_string())
        .send();
    assert_eq!(counted.await.unwrap().json::<Value>().await.unwrap()["input_tokens"], 5);
}

#[tokio::test]
async fn refusals_have_the_providers_shapes() {
    let sandbox = start().await;
    for (fault, anthropic_status, openai_status) in [
        (Fault::BadRequest, 400, 400),
        (Fault::InvalidKey, 401, 401),
        (Fault::Permission, 403, 403),
        (Fault::Billing, 402, 402),
        (Fault::RateLimited(7), 429, 429),
        (Fault::ServerError, 500, 500),
        (Fault::Overloaded, 529, 503),
        (Fault::CreditTooLow, 400, 429),
        (Fault::InsufficientQuota, 400, 429),
    ] {
        sandbox.inject(Rule {
            provider: Some(Family::Anthropic),
            faults: vec![fault],
            times: Some(1),
            ..Rule::default()
        });
        sandbox.inject(Rule { provider: Some(Family::OpenAi), faults: vec![fault], times: Some(1), ..Rule::default() });
        let refused = anthropic(&sandbox, &message("Hi", 9, true)).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), anthropic_status, "{fault}");
        assert_eq!(refused.headers().get("retry-after").is_some(), fault == Fault::RateLimited(7));
        let error: Value = refused.json().await.unwrap();
        assert!(error["type"] == "error" && error["error"]["message"].is_string());
        let refused = openai(&sandbox, &chat("Hi", 9, true)).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), openai_status, "{fault}");
        assert!(refused.json::<Value>().await.unwrap()["error"]["message"].is_string());
    }
    let totals = sandbox.totals();
    assert_eq!((totals.requests, totals.refused, totals.billed.output_tokens), (18, 18, 0));
    assert_eq!(anthropic(&sandbox, &message("Hi", 9, false)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn streams_break_off_where_they_are_told() {
    let sandbox = start().await;
    let cut = openai(&sandbox, &chat("Hi\nsandbox: cut_after=3", 90, true)).send().await.unwrap();
    assert!(cut.text().await.is_err());
    let failed = anthropic(&sandbox, &message("Hi\nsandbox: error_after=2", 90, true)).send().await.unwrap();
    let (failed, _) = events(&failed.text().await.unwrap());
    assert_eq!(failed.last().unwrap()["type"], "error");
    // A client that hangs up is billed for what it was sent.
    let mut hanging = anthropic(&sandbox, &message("Hi\nsandbox: hang_after=5", 90, true)).send().await.unwrap();
    let mut got = String::new();
    while got.matches("text_delta").count() < 5 {
        got.push_str(std::str::from_utf8(&hanging.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(hanging);
    while sandbox.requests()[2].ending == Ending::Running {
        tokio::task::yield_now().await;
    }
    let seen: Vec<(Ending, u64)> =
        sandbox.requests().iter().map(|request| (request.ending, request.billed.output_tokens)).collect();
    assert_eq!(seen, [(Ending::Cut, 12), (Ending::Failed, 8), (Ending::ClientLeft, 20)]);
}

#[tokio::test]
async fn usage_is_missing_zero_or_above_the_cap_on_demand() {
    let sandbox = start().await;
    let last = async |body: Value| {
        let (chunks, _) = events(&openai(&sandbox, &body).send().await.unwrap().text().await.unwrap());
        chunks.last().unwrap().clone()
    };
    assert!(last(chat("Hi\nsandbox: no_usage", 30, true)).await["usage"].is_null());
    assert_eq!(last(chat("Hi\nsandbox: zero_usage", 30, true)).await["usage"]["completion_tokens"], 0);
    assert_eq!(last(chat("Hi\nsandbox: overshoot=70", 30, true)).await["usage"]["completion_tokens"], 100);
    assert_eq!(last(chat("Hi\nsandbox: empty", 30, true)).await["usage"]["completion_tokens"], 0);
    let thoughtful = last(chat("Hi\nsandbox: reasoning=10", 30, true)).await;
    assert_eq!(thoughtful["usage"]["completion_tokens"], 30);
    assert_eq!(thoughtful["usage"]["completion_tokens_details"]["reasoning_tokens"], 10);
    let billed: Vec<u64> = sandbox.requests().iter().map(|request| request.billed.output_tokens).collect();
    assert_eq!(billed, [30, 0, 100, 0, 20]);
}

#[tokio::test]
async fn bytes_arrive_split_and_with_crlf_on_demand() {
    let sandbox = start().await;
    let plain = anthropic(&sandbox, &message("Résumé — naïve", 40, true)).send().await.unwrap().text().await.unwrap();
    let mut response = anthropic(&sandbox, &message("Résumé — naïve", 40, true))
        .header("x-sandbox-fault", "crlf,split_bytes")
        .send()
        .await
        .unwrap();
    let (mut whole, mut frames) = (Vec::new(), 0);
    while let Some(frame) = response.chunk().await.unwrap() {
        whole.extend_from_slice(&frame);
        frames += 1;
    }
    let whole = String::from_utf8(whole).unwrap();
    assert!(frames > whole.len() / 2, "{frames} frames for {} bytes", whole.len());
    assert!(whole.contains("\r\n\r\n"));
    assert_eq!(text_of(&events(&whole.replace("\r\n", "\n")).0), text_of(&events(&plain).0));
}

#[tokio::test]
async fn marked_prompts_are_cached() {
    let sandbox = start().await;
    let long = "context ".repeat(1_000);
    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 5,
        "system": [{"type": "text", "text": long, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": "Hi"}]});
    for (read, written) in [(0, 2_000), (2_000, 0)] {
        let usage = anthropic(&sandbox, &body).send().await.unwrap().json::<Value>().await.unwrap()["usage"].clone();
        assert_eq!(usage["cache_read_input_tokens"], read);
        assert_eq!(usage["cache_creation"]["ephemeral_1h_input_tokens"], written);
        assert_eq!(usage["input_tokens"], 1);
    }
}

#[tokio::test]
async fn keys_and_versions_are_checked() {
    let sandbox = start().await;
    let models = |key: &str| {
        http()
            .get(format!("{}/v1/models", sandbox.openai_url()))
            .header("authorization", format!("Bearer {key}"))
            .send()
    };
    assert_eq!(models("sk-proj-good").await.unwrap().status(), 200);
    assert_eq!(models("sk-proj-nocredit").await.unwrap().status(), 200);
    assert_eq!(models("sk-proj-invalid").await.unwrap().status(), 401);
    assert!(models("sk-proj-restricted").await.unwrap().text().await.unwrap().contains("Missing scopes"));
    let url = format!("{}/v1/messages", sandbox.anthropic_url());
    let body = message("Hi", 1, false).to_string();
    assert_eq!(http().post(&url).body(body.clone()).send().await.unwrap().status(), 401);
    assert_eq!(http().post(&url).header("x-api-key", "k").body(body).send().await.unwrap().status(), 400);
}
