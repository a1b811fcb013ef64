//! The official clients' endpoints, not streamed: exact bills, denials in each dialect, the provider's faults.

use crate::ledger::{assert_clean, by_hand};
use crate::served::{ANTHROPIC_KEY, CLAUDE, GPT, OPENAI_KEY, Served, UNPRICED, ask, execution_of, path_of, priced};
use crate::support::{alone, each_database};
use domain::money::Usd;
use sandbox::Fault;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn an_answer_says_what_it_cost_and_takes_exactly_that() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            let before = it.spendable().await;
            let response =
                it.post(path_of(model), &ask(model, "Name three colours.", 200, false)).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            let cost = priced(model, &it.billed());
            assert_eq!(header("x-tokenbank-cost-nanos"), cost.nanos().to_string());
            assert_eq!(header("x-tokenbank-charge-nanos"), cost.nanos().to_string());
            assert_eq!(header("x-tokenbank-source"), "credits");
            let after = before.checked_sub(cost).unwrap();
            assert_eq!(header("x-tokenbank-balance-nanos"), after.nanos().to_string());
            assert_eq!(it.spendable().await, after);
            let ended = it.ended(&execution_of(&response)).await;
            assert_eq!((ended.usage, ended.charge), (it.billed(), cost));
            let body: Value = response.json().await.unwrap();
            assert!(body["usage"].is_object(), "the provider's own body: {body}");
        }

        // The upstream name works too, and without a cap the hold's own cap is sent.
        let mut body = ask("claude-sonnet-4-5-20250929", "Name three colours.", 1, false);
        body.as_object_mut().unwrap().remove("max_tokens");
        let response = it.post("/v1/messages", &body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let sent = it.sandbox.requests().last().unwrap().max_tokens;
        assert_eq!(sent, Some(8_192));
        let key = it.server.http.post(format!("{}/v1/messages", it.url)).header("x-api-key", &it.key).json(&body);
        assert_eq!(key.send().await.unwrap().status(), 200, "as Anthropic's clients send the key");
    })
    .await;
}

#[tokio::test]
async fn cached_and_reasoning_tokens_have_their_own_prices() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let long = "All about colours. ".repeat(400);
        let cached = json!({ "model": CLAUDE, "max_tokens": 20, "messages": [{ "role": "user", "content": [
            { "type": "text", "text": long, "cache_control": { "type": "ephemeral" } }] }] });
        for _ in 0..2 {
            let response = it.post("/v1/messages", &cached).send().await.unwrap();
            let ended = it.ended(&execution_of(&response)).await;
            assert_eq!((ended.usage, ended.charge), (it.billed(), priced(CLAUDE, &it.billed())));
        }
        assert!(it.billed().cache_read > 1_000, "{:?}", it.billed());
        it.fault(&[Fault::Reasoning(70)]);
        for _ in 0..2 {
            let response = it.post(path_of(GPT), &ask(GPT, &long, 100, false)).send().await.unwrap();
            let ended = it.ended(&execution_of(&response)).await;
            assert_eq!((ended.usage, ended.charge), (it.billed(), priced(GPT, &it.billed())));
        }
        assert!(it.billed().cache_read > 0, "OpenAI caches unasked: {:?}", it.billed());
    })
    .await;
}

/// What bytes do not tell is held at its most, so that its excess is nobody's loss.
#[tokio::test]
async fn an_image_is_held_at_its_most_and_a_file_at_the_models_context() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        // At $30 a million the context of 200,000 tokens is $6, and an image at most ten cents.
        it.server.rates.store(Arc::new(crate::served::rates(domain::money::Rate::from_picos(30_000_000))));
        let with = |part: Value| {
            let text = json!({ "type": "text", "text": "What is this?" });
            json!({ "model": CLAUDE, "max_tokens": 20, "messages": [{ "role": "user", "content": [text, part] }] })
        };
        let source = |name: &str| json!({ "type": "url", "url": format!("https://example.com/{name}") });
        for (part, status, code) in [
            (json!({ "type": "image", "source": source("a.png") }), 200, None),
            (json!({ "type": "document", "source": source("a.pdf") }), 402, Some("insufficient_credit")),
            (json!({ "type": "hologram", "source": source("a") }), 402, Some("insufficient_credit")),
            (json!({ "type": "input_audio" }), 400, Some("invalid")),
        ] {
            let (got, _, body) = answer(it.post("/v1/messages", &with(part.clone()))).await;
            assert_eq!((got, body["error"]["code"].as_str()), (status, code), "{part}: {body}");
        }
        let count = async |body: Value| {
            answer(it.post("/v1/messages/count_tokens", &body)).await.2["input_tokens"].as_u64().unwrap()
        };
        let plain = count(with(json!({ "type": "text", "text": "" }))).await;
        let image = count(with(json!({ "type": "image", "source": source("a.png") }))).await;
        assert!(image > plain + 1_000, "{plain} tokens, {image} with an image");
    })
    .await;
}

/// Field failure 20: out of credit, or only reserved.
#[tokio::test]
async fn denials_speak_the_dialect_and_are_told_apart() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        let (status, _, body) = answer(it.post("/v1/messages", &ask(CLAUDE, "x", 7_000, false))).await;
        assert_eq!(status, 200, "{body}");

        let dear = ask(CLAUDE, &"word ".repeat(20_000), 8_000, false);
        // $0.15 a hundred times over does not fit: never.
        it.server.rates.store(Arc::new(crate::served::rates(domain::money::Rate::from_picos(300_000_000))));
        let (status, headers, body) = answer(it.post("/v1/messages", &dear)).await;
        assert_eq!((status, headers.get("retry-after")), (402, None), "{body}");
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("billing_error")));
        assert_eq!(body["error"]["code"], "insufficient_credit");
        assert!(body["error"]["remedies"][0]["href"].as_str().unwrap().ends_with("/credits"));
        it.server.rates.store(Arc::new(crate::served::rates(domain::money::Rate::from_picos(3_000_000))));

        // Held by a run that goes on: for a moment only.
        it.sandbox.set_pace(8);
        let held = json!({ "model": CLAUDE, "max_tokens": 8_000, "stream": true,
            "messages": [{ "role": "user", "content": "word ".repeat(25_000) }] });
        let mut runs = Vec::new();
        while it.spendable().await >= Usd::parse_dollars("0.2").unwrap() {
            runs.push(it.post("/v1/messages", &held).send().await.unwrap());
        }
        let (status, headers, body) = answer(it.post("/v1/messages", &held)).await;
        assert_eq!((status, &body["error"]["code"]), (429, &json!("reserved_by_running_work")), "{body}");
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert!(headers.contains_key("retry-after"));
        drop(runs);
        it.sandbox.set_pace(0);

        for (path, request, status, kind, code) in [
            ("/v1/messages", ask("nope", "x", 9, false), 404, "not_found_error", "unknown_model"),
            ("/v1/chat/completions", ask("nope", "x", 9, false), 404, "invalid_request_error", "unknown_model"),
            ("/v1/messages", ask(UNPRICED, "x", 9, false), 400, "invalid_request_error", "unpriced_model"),
            ("/v1/messages", ask(GPT, "x", 9, false), 400, "invalid_request_error", "invalid"),
            ("/v1/chat/completions", ask(CLAUDE, "x", 9, false), 400, "invalid_request_error", "invalid"),
            ("/v1/messages", ask(CLAUDE, &"x".repeat(300_000), 9, false), 413, "request_too_large", "prompt_too_long"),
            (
                "/v1/messages",
                ask(CLAUDE, &"x".repeat(9_000_000), 9, false),
                413,
                "request_too_large",
                "prompt_too_long",
            ),
            ("/v1/messages", json!([1]), 400, "invalid_request_error", "invalid"),
        ] {
            let (got, _, body) = answer(it.post(path, &request)).await;
            assert_eq!(
                (got, &body["error"]["type"], &body["error"]["code"]),
                (status, &json!(kind), &json!(code)),
                "{path} {body}"
            );
        }
        for path in ["/v1/messages", "/v1/chat/completions"] {
            let unknown = it.server.http.post(format!("{}{path}", it.url)).bearer_auth("tb_nonsense").json(&json!({}));
            let (status, _, body) = answer(unknown).await;
            assert_eq!((status, &body["error"]["type"]), (401, &json!("authentication_error")));
        }
    })
    .await;
}

#[tokio::test]
async fn a_zero_balance_is_told_in_its_own_sentence() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        let (status, _, body) = answer(it.post("/v1/chat/completions", &ask(GPT, "x", 9, false))).await;
        assert_eq!((status, &body["error"]["type"]), (402, &json!("insufficient_quota")));
        assert_eq!(
            body["error"]["message"],
            "Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup."
        );
        assert!(it.sandbox.requests().is_empty());
    })
    .await;
}

/// Field failure 9: retries multiply. Never more than three attempts, and one charge.
#[tokio::test]
async fn passing_trouble_is_tried_again_before_the_first_byte() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for (model, fault) in [(CLAUDE, Fault::Overloaded), (GPT, Fault::ServerError), (CLAUDE, Fault::RateLimited(1))]
        {
            let (before, asked) = (it.spendable().await, it.sandbox.requests().len());
            it.faults(&[fault], Some(1));
            let response = it.post(path_of(model), &ask(model, "x", 20, false)).send().await.unwrap();
            assert_eq!(response.status(), 200, "{fault}");
            assert_eq!(it.sandbox.requests().len(), asked + 2, "{fault}");
            assert_eq!(before.checked_sub(it.spendable().await).unwrap(), priced(model, &it.billed()), "{fault}");
        }
        let (before, asked) = (it.spendable().await, it.sandbox.requests().len());
        it.faults(&[Fault::Overloaded], None);
        let (status, headers, body) = answer(it.post("/v1/messages", &ask(CLAUDE, "x", 20, true))).await;
        assert_eq!((status, &body["error"]["code"]), (503, &json!("provider_busy")), "{body}");
        assert!(headers.contains_key("retry-after"));
        assert_eq!(it.sandbox.requests().len(), asked + 3, "no fourth attempt");
        assert_eq!(it.spendable().await, before);
    })
    .await;
}

#[tokio::test]
async fn the_providers_refusals_are_told_apart_and_cost_nothing() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            it.fault(&[Fault::BadRequest]);
            let (status, _, body) = answer(it.post(path_of(model), &ask(model, "x", 20, true))).await;
            assert_eq!(status, 400);
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains("sandbox was asked to refuse"), "the provider's own words: {body}");
            for fault in [
                Fault::InvalidKey,
                Fault::MissingScopes,
                Fault::Permission,
                Fault::RegionBlocked,
                Fault::Billing,
                Fault::CreditTooLow,
                Fault::InsufficientQuota,
            ] {
                let asked = it.sandbox.requests().len();
                it.fault(&[fault]);
                let (status, _, body) = answer(it.post(path_of(model), &ask(model, "x", 20, false))).await;
                assert_eq!((status, &body["error"]["code"]), (502, &json!("platform_key_refused")), "{fault}: {body}");
                assert!(body["error"]["message"].as_str().unwrap().contains("our own key"), "{body}");
                assert_eq!(it.sandbox.requests().len(), asked + 1, "{fault} is not tried again");
            }
            // Not streamed, a provider that hangs has ten minutes; streamed, it has as long as the settings say.
            for (fault, words) in [(Fault::CutAfter(0), "broke off"), (Fault::HangFirst, "did not answer in")] {
                it.fault(&[fault]);
                let streams = fault == Fault::HangFirst;
                let (status, _, body) = answer(it.post(path_of(model), &ask(model, "x", 20, streams))).await;
                assert_eq!(status, 502, "{fault}: {body}");
                assert!(body["error"]["message"].as_str().unwrap().contains(words), "{fault}: {body}");
                it.sandbox.clear_faults();
            }
        }
        assert_eq!(it.spendable().await, Usd::from_dollars(10).unwrap(), "nothing was charged");
        assert_eq!(it.balance().await.held, Usd::ZERO);
    })
    .await;
}

/// Field failure 5: a run that costs more than its hold.
#[tokio::test]
async fn what_a_run_costs_above_its_hold_is_our_loss() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        it.fault(&[Fault::Overshoot(3_000)]);
        let response = it.post("/v1/messages", &ask(CLAUDE, "x", 10, false)).send().await.unwrap();
        let ended = it.ended(&execution_of(&response)).await;
        let cost = priced(CLAUDE, &it.billed());
        assert_eq!(ended.run.cost, cost);
        assert!(cost > ended.run.quoted.ceiling);
        assert_eq!(ended.charge, ended.run.quoted.ceiling, "no more than the hold");
        let after = Usd::from_dollars(1).unwrap().checked_sub(ended.charge).unwrap();
        assert_eq!(it.spendable().await, after);
        let loss: i64 = server::on_read!(world.db(), pool => {
            sqlx::query_scalar("select cast(sum(amount_nanos) as bigint) from entry where book = 'overrun_loss'")
                .fetch_one(pool)
                .await
        })
        .unwrap();
        assert_eq!(loss, ended.charge.checked_sub(cost).unwrap().nanos());
        assert_eq!(server::ledger::check(world.db()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn zero_is_zero_and_nothing_said_is_counted() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            it.fault(&[Fault::ZeroUsage]);
            let response = it.post(path_of(model), &ask(model, "Name three colours.", 40, false)).send().await.unwrap();
            let ended = it.ended(&execution_of(&response)).await;
            assert_eq!((ended.charge, ended.usage_estimated), (Usd::ZERO, false), "field failure 6: an explicit zero");
            it.fault(&[Fault::NoUsage]);
            let response = it.post(path_of(model), &ask(model, "Name three colours.", 40, false)).send().await.unwrap();
            let ended = it.ended(&execution_of(&response)).await;
            assert!(ended.usage_estimated, "field failure 7");
            assert_eq!(ended.usage.output, it.billed().output);
            assert!(ended.charge.is_positive());
            it.fault(&[Fault::Empty]);
            let response = it.post(path_of(model), &ask(model, "x", 40, false)).send().await.unwrap();
            let ended = it.ended(&execution_of(&response)).await;
            assert_eq!((ended.state, ended.charge), ("waived", Usd::ZERO));
        }
    })
    .await;
}

#[tokio::test]
async fn the_api_around_the_models_answers() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let get = async |path: &str| -> Value { it.get(path).send().await.unwrap().json().await.unwrap() };
        let models = get("/v1/models").await;
        let ids: Vec<&str> =
            models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [CLAUDE, GPT], "only what can be run");
        assert_eq!(models["data"][0]["prices_picos_per_token"]["input"], 3_000_000);

        let request = ask(CLAUDE, "Name three colours.", 300, false);
        let estimate: Value = it.post("/v1/estimate", &request).send().await.unwrap().json().await.unwrap();
        let nanos = |name: &str| estimate[name].as_i64().unwrap();
        assert!(nanos("p50") <= nanos("likely") && nanos("likely") <= nanos("p90") && nanos("p90") <= nanos("ceiling"));
        assert_eq!(estimate["source"], "credits");
        assert_eq!(estimate["alternatives"][0]["model"], GPT);
        assert!(estimate["text"]["ceiling"].as_str().unwrap().starts_with("$0.00"));
        let counted: Value = it.post("/v1/messages/count_tokens", &request).send().await.unwrap().json().await.unwrap();
        assert!(counted["input_tokens"].as_u64().unwrap() > 3);
        assert!(it.sandbox.requests().is_empty(), "asking costs nothing");

        for _ in 0..3 {
            assert_eq!(it.post("/v1/messages", &request).send().await.unwrap().status(), 200);
        }
        let balance = get("/v1/balance").await;
        assert_eq!(balance["spendable"], it.spendable().await.nanos());
        assert_eq!((&balance["held"], &balance["by_kind"]["paid"]), (&json!(0), &balance["spendable"]));
        let first = get("/v1/usage?limit=2").await;
        assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
        let rest = get(&format!("/v1/usage?limit=2&before={}", first["next_before"].as_str().unwrap())).await;
        assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
        assert_eq!(get("/v1/usage?state=waived").await["data"], json!([]));
        assert_eq!(get("/v1/usage?state=nonsense").await["error"]["param"], "state");
    })
    .await;
}

/// Field failure 14: a key in a log, an error, a trace.
#[tokio::test]
async fn our_provider_keys_stay_here() {
    if alone("gateway::our_provider_keys_stay_here").is_err() {
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let mut seen = String::new();
        for model in [CLAUDE, GPT] {
            for fault in [
                None,
                Some(Fault::InvalidKey),
                Some(Fault::BadRequest),
                Some(Fault::CutAfter(2)),
                Some(Fault::Overloaded),
            ] {
                it.faults(&fault.into_iter().collect::<Vec<_>>(), Some(3));
                let response =
                    it.post(path_of(model), &ask(model, "Name three colours.", 40, true)).send().await.unwrap();
                seen.push_str(&format!("{:?}", response.headers()));
                seen.push_str(&response.text().await.unwrap_or_default());
                it.sandbox.clear_faults();
            }
        }
        for path in ["/v1/usage", "/v1/models", "/v1/balance", "/metrics"] {
            seen.push_str(&it.get(path).send().await.unwrap().text().await.unwrap());
        }
        for key in [ANTHROPIC_KEY, OPENAI_KEY] {
            assert!(!seen.contains(key), "a key in an answer");
            assert!(!log.text().contains(key), "a key in the log");
            assert!(!log.text().contains(&it.key), "an API key in the log");
        }
        assert!(log.text().contains("refuses our own key or account"), "the log was kept");
        assert!(log.text().contains("TRACE"), "of everything: {}", log.text().len());
    })
    .await;
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, reqwest::header::HeaderMap, Value) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.json().await.unwrap_or_default())
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The provider is asked while the hold becomes durable; when it does not, nobody hears what the provider says.
#[tokio::test]
async fn a_hold_that_is_not_stored_lets_no_output_out_and_charges_nothing() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let before = it.balance().await;
        let refuse: &[&'static str] = if world.db().engine() == "sqlite" {
            &["create trigger refuse before insert on hold begin select raise(abort, 'the disk is full'); end"]
        } else {
            &[
                "create function refuse() returns trigger language plpgsql as
                 $$ begin raise exception 'the disk is full'; end $$",
                "create trigger refuse before insert on hold for each row execute function refuse()",
            ]
        };
        for &sql in refuse {
            by_hand(world, sql).await.unwrap();
        }
        for streams in [false, true] {
            let response =
                it.post("/v1/messages", &ask(CLAUDE, "Name three colours.", 200, streams)).send().await.unwrap();
            assert_eq!(response.status(), 500);
            let body = response.text().await.unwrap();
            assert!(!body.contains("content_block") && !body.contains("disk"), "{body}");
        }
        let undo = if world.db().engine() == "sqlite" { "drop trigger refuse" } else { "drop trigger refuse on hold" };
        by_hand(world, undo).await.unwrap();
        assert_eq!(it.balance().await, before);
        let response = it.post("/v1/messages", &ask(CLAUDE, "Name three colours.", 200, false)).send().await.unwrap();
        assert_eq!(response.status(), 200, "the next one works");
        assert_clean(world.db()).await;
    })
    .await;
}
