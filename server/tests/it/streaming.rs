//! Streams through the API: unchanged bytes, exact bills, clients that leave, providers that break off.

use crate::served::{CLAUDE, GPT, Served, ask, events_of, execution_of, path_of, priced, text_of};
use crate::support::each_database;
use domain::money::Usd;
use sandbox::{Ending, Fault};
use serde_json::{Value, json};

const QUESTION: &str = "Name three colours.";

#[tokio::test]
async fn a_stream_arrives_unchanged_and_is_billed_exactly() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            for faults in [vec![], vec![Fault::Crlf], vec![Fault::SplitBytes], vec![Fault::Crlf, Fault::SplitBytes]] {
                let direct = direct(&it, model, &faults).await;
                let before = it.spendable().await;
                it.faults(&faults, Some(1));
                let response = it.post(path_of(model), &ask(model, QUESTION, 60, true)).send().await.unwrap();
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                assert_eq!(response.headers()["x-tokenbank-source"], "credits");
                let id = execution_of(&response);
                let body = response.text().await.unwrap();
                assert_eq!(same_ids(&body), same_ids(&direct), "{model} {faults:?}");
                // The end of the stream comes after the run was recorded.
                assert_eq!(before.checked_sub(it.spendable().await).unwrap(), priced(model, &it.billed()));
                let ended = it.ended(&id).await;
                assert_eq!((ended.usage, ended.usage_estimated), (it.billed(), false), "{model} {faults:?}");
                assert_eq!(
                    (ended.state, ended.note.as_str()),
                    ("stopped", "It reached its cap: stopped at 60 tokens, billed 60")
                );
            }
        }
    })
    .await;
}

/// Field failure 6: a client that hangs up gets its tokens for nothing, or its row is lost.
#[tokio::test]
async fn a_client_that_hangs_up_at_any_chunk_pays_what_the_provider_billed() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        it.sandbox.set_pace(4_000);
        for model in [CLAUDE, GPT] {
            let mut leaves_after = 0;
            loop {
                let before = it.spendable().await;
                let mut response = it.post(path_of(model), &ask(model, QUESTION, 40, true)).send().await.unwrap();
                let id = execution_of(&response);
                let mut chunks = 0;
                let mut stayed_to_the_end = false;
                while chunks < leaves_after && !stayed_to_the_end {
                    stayed_to_the_end = response.chunk().await.unwrap().is_none();
                    chunks += 1;
                }
                drop(response);
                let ended = it.ended(&id).await;
                let billed = it.billed();
                assert_eq!((billed.output, ended.usage), (40, billed), "{model} after {leaves_after} chunks");
                assert_eq!(ended.charge, priced(model, &billed));
                assert_eq!(before.checked_sub(it.spendable().await).unwrap(), ended.charge);
                assert!(ended.note.ends_with("stopped at 40 tokens, billed 40"), "{}", ended.note);
                assert_eq!(it.sandbox.requests().last().unwrap().ending, Ending::Complete);
                if stayed_to_the_end {
                    break;
                }
                leaves_after += 1;
            }
            assert!(leaves_after > 8, "{model}: the stream came in {leaves_after} chunks");
        }
        assert_eq!(it.balance().await.held, Usd::ZERO);
        assert_eq!(server::ledger::check(world.db()).await.unwrap(), []);
    })
    .await;
}

/// Field failure 8: a second stream spliced in, a silent truncation, the wrong last event.
#[tokio::test]
async fn a_provider_that_breaks_off_is_told_in_the_dialect_and_billed_for_what_came() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            for fault in [Fault::CutAfter(5), Fault::HangAfter(5), Fault::ErrorAfter(5)] {
                let asked = it.sandbox.requests().len();
                it.fault(&[fault, Fault::SplitBytes]);
                let response = it.post(path_of(model), &ask(model, QUESTION, 60, true)).send().await.unwrap();
                let id = execution_of(&response);
                let body = response.text().await.unwrap();
                assert_eq!(it.sandbox.requests().len(), asked + 1, "{model} {fault}: no second stream");
                assert!(body.matches("message_start\ndata").count() <= 1);
                assert_eq!(text_of(&body).len(), 20 * 4, "{model} {fault}: 5 pieces of 4 tokens");
                let last: Value = serde_json::from_str(events_of(&body).last().unwrap()).unwrap();
                assert!(last["error"]["message"].is_string(), "{model} {fault}: {last}");
                assert_eq!(body.matches("\"error\"").count(), if model == CLAUDE { 2 } else { 1 }, "one error: {body}");
                if model == CLAUDE {
                    assert_eq!(last["type"], "error");
                    assert!(body.trim_end().rsplit("\n\n").next().unwrap().starts_with("event: error\n"));
                } else {
                    assert!(!body.contains("[DONE]"));
                }
                let ended = it.ended(&id).await;
                assert_eq!((ended.state, ended.usage.output), ("stopped", 20), "{model} {fault}");
                assert!(ended.note.ends_with("stopped at 20 tokens, billed 20"), "{}", ended.note);
                if model == CLAUDE {
                    assert_eq!(ended.charge, priced(model, &it.billed()), "{fault}");
                } else {
                    assert!(ended.usage_estimated, "OpenAI says nothing before its end");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_usage_is_counted_and_a_zero_is_a_zero() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            let stream = async |fault| {
                it.fault(&[fault]);
                let response = it.post(path_of(model), &ask(model, QUESTION, 60, true)).send().await.unwrap();
                let id = execution_of(&response);
                response.text().await.unwrap();
                it.ended(&id).await
            };
            let ended = stream(Fault::NoUsage).await;
            assert!(ended.usage_estimated, "{model}: field failure 7");
            assert_eq!(ended.usage.output, it.billed().output);
            let ended = stream(Fault::ZeroUsage).await;
            assert_eq!((ended.usage_estimated, ended.charge), (false, Usd::ZERO), "{model}: field failure 6");
            let ended = stream(Fault::Empty).await;
            assert_eq!((ended.state, ended.charge), ("waived", Usd::ZERO), "{model}");
        }
        let mut body = ask(GPT, QUESTION, 30, true);
        body["stream_options"] = json!({ "include_usage": false });
        let response = it.post(path_of(GPT), &body).send().await.unwrap();
        let id = execution_of(&response);
        response.text().await.unwrap();
        assert!(!it.ended(&id).await.usage_estimated, "usage is asked for whatever the client says");
    })
    .await;
}

#[tokio::test]
async fn reasoning_is_billed_once() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        it.fault(&[Fault::Reasoning(25)]);
        let response = it.post(path_of(GPT), &ask(GPT, QUESTION, 60, true)).send().await.unwrap();
        let id = execution_of(&response);
        response.text().await.unwrap();
        let ended = it.ended(&id).await;
        assert_eq!((ended.usage.reasoning, ended.usage.output, ended.usage), (25, 35, it.billed()));
        assert_eq!(ended.charge, priced(GPT, &it.billed()));
    })
    .await;
}

/// The same request, straight to the provider.
async fn direct(it: &Served, model: &str, faults: &[Fault]) -> String {
    let (url, upstream) = match model {
        GPT => (it.sandbox.openai_url(), "gpt-4o-mini"),
        _ => (it.sandbox.anthropic_url(), "claude-sonnet-4-5-20250929"),
    };
    let mut body = ask(upstream, QUESTION, 60, true);
    if model == GPT {
        body["stream_options"] = json!({ "include_usage": true });
    }
    it.faults(faults, Some(1));
    let request = it.server.http.post(format!("{url}{}", path_of(model)));
    let request = request.header("x-api-key", "k").header("anthropic-version", "2023-06-01").bearer_auth("k");
    request.json(&body).send().await.unwrap().text().await.unwrap()
}

/// The stream without what differs from request to request: ids and the time.
fn same_ids(body: &str) -> String {
    let mut words = Vec::new();
    for word in body.split('"') {
        let is_id = ["msg_", "req_", "chatcmpl-"].iter().any(|prefix| word.starts_with(prefix));
        let is_time = word.starts_with(":1") && word.ends_with(',') && word.len() == 12;
        words.push(if is_id || is_time { "·" } else { word });
    }
    words.join("\"")
}
