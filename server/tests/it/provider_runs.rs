//! Runs on all eight providers with the account's own key: streamed and whole, what was used in exclusive pools, and each
//! provider's ways to say no.

use crate::served::{Served, ask, events_of, execution_of};
use crate::support::{World, each_database};
use axum::http::StatusCode;
use domain::execution::{TokenUsage, cost};
use domain::key::KeyState;
use domain::money::Usd;
use domain::provider::Provider;
use sandbox::Fault;
use serde_json::Value;
use server::provider_key::{self, NewKey, judge, save};

/// A model of each provider, as a client may name it, and a key whose shape is the provider's.
const EACH: [(Provider, &str, &str); 8] = [
    (Provider::Anthropic, "claude-3-5-haiku", "sk-ant-api03-0123456789abcdef-UsEr"),
    (Provider::OpenAi, "gpt-4o-mini", "sk-proj-0123456789abcdef-UsEr"),
    (Provider::Google, "gemini-2.5-flash", "AQ.0123456789abcdef-UsEr"),
    (Provider::Groq, "groq/openai/gpt-oss-120b", "gsk_0123456789abcdefUsEr"),
    (Provider::DeepSeek, "deepseek/deepseek-chat", "sk-0123456789abcdefUsEr"),
    (Provider::OpenRouter, "openrouter/openai/gpt-4o-mini", "sk-or-v1-0123456789abcdefUsEr"),
    (Provider::Together, "together/meta-llama/Llama-3.3-70B-Instruct-Turbo", "tgp_v1_0123456789abcdefUsEr"),
    (Provider::Ollama, "ollama/llama3.1", "tunnel-0123456789abcdefUsEr"),
];

/// The shipped catalogue and rates, on a server whose providers are a sandbox.
async fn shipped(world: &World) -> Served {
    let it = Served::open(world, 5).await;
    it.server.catalogue.store(world.server.catalogue.load_full());
    it.server.rates.store(world.server.rates.load_full());
    it
}

async fn add_key(it: &Served, provider: Provider, secret: &str) -> Result<(), String> {
    let url = if provider == Provider::Ollama { format!("{}/ollama", it.sandbox.base_url) } else { String::new() };
    let new = NewKey { provider, secret, url: &url, label: "", replaces: None };
    save(&it.server, &it.user, new).await.map(drop).map_err(|error| error.to_string())
}

fn path_of(provider: Provider) -> &'static str {
    if provider == Provider::Anthropic { "/v1/messages" } else { "/v1/chat/completions" }
}

/// What a provider tells of its usage: Together AI and Ollama say nothing of a cache or of thoughts.
fn told(provider: Provider, usage: TokenUsage) -> TokenUsage {
    match provider {
        Provider::Together | Provider::Ollama => TokenUsage {
            input: usage.input + usage.cache_read,
            output: usage.output + usage.reasoning,
            ..TokenUsage::default()
        },
        _ => usage,
    }
}

#[tokio::test]
async fn each_provider_runs_with_ones_own_key_and_its_usage_is_what_it_billed() {
    each_database(async |world| {
        let it = shipped(world).await;
        let before = it.spendable().await;
        for (provider, name, secret) in EACH {
            add_key(&it, provider, secret).await.unwrap();
            // The second and third time the beginning of the prompt is in the provider's cache.
            let long =
                format!("{} Write a story.\nsandbox: reasoning=30", "A long beginning that is cached. ".repeat(200));
            for stream in [true, false, true] {
                let answer = it.post(path_of(provider), &ask(name, &long, 60, stream)).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{provider}: {}", answer.text().await.unwrap());
                assert_eq!(answer.headers()["x-tokenbank-source"], "own_key", "{provider}");
                let id = execution_of(&answer);
                let body = answer.text().await.unwrap();
                assert!(if stream { events_of(&body).len() > 2 } else { body.starts_with('{') }, "{provider}: {body}");
                let ended = it.ended(&id).await;
                assert_eq!(
                    (told(provider, ended.usage), false),
                    (told(provider, it.billed()), ended.usage_estimated),
                    "{provider} stream {stream}"
                );
                assert_eq!(ended.charge, Usd::ZERO);
                let catalogue = it.server.catalogue.load();
                let model = catalogue.model_named(name).unwrap();
                let rates = it.server.rates.load();
                let prices = &rates.rate_of(model, world.clock.now()).unwrap().prices;
                assert_eq!(Some(ended.run.cost), cost(prices, &ended.usage), "{provider}: at list price");
                assert_eq!(ended.run.cost.is_zero(), provider == Provider::Ollama, "{provider}");
            }
            let asked = it.sandbox.requests();
            let asked: Vec<_> = asked.iter().filter(|request| request.provider.as_str() == provider.as_str()).collect();
            assert_eq!(asked.len(), 3, "{provider}");
            assert!(asked.iter().all(|request| request.key_ending == "UsEr"), "{provider}");
            assert!(asked.iter().all(|request| request.max_tokens == Some(60)), "{provider}: the cap reaches it");
        }
        assert_eq!(it.spendable().await, before, "none of it cost credit");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_says_nothing_of_its_usage_is_counted_by_what_came() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let it = shipped(world).await;
            for (provider, name, secret) in EACH {
                add_key(&it, provider, secret).await.unwrap();
                for (fault, state) in
                    [(Fault::NoUsage, "completed"), (Fault::CutAfter(4), "stopped"), (Fault::ErrorAfter(4), "stopped")]
                {
                    it.fault(&[fault]);
                    let answer = it.post(path_of(provider), &ask(name, "Hello", 4_000, true)).send().await.unwrap();
                    let id = execution_of(&answer);
                    let _ = answer.text().await;
                    let ended = it.ended(&id).await;
                    assert_eq!((ended.state, ended.usage_estimated), (state, true), "{provider} {fault}");
                    assert!(ended.usage.output > 0, "{provider} {fault}: what was not counted is not zero");
                }
                it.fault(&[Fault::ZeroUsage]);
                let answer = it.post(path_of(provider), &ask(name, "Hello", 4_000, true)).send().await.unwrap();
                let id = execution_of(&answer);
                let _ = answer.text().await;
                let ended = it.ended(&id).await;
                assert_eq!((ended.usage.output, ended.usage_estimated), (0, false), "{provider}: a zero is a zero");
            }
        })
        .await;
}

/// Each provider's refusals, as its documents write them, while a run goes on: whose fault it is, and what becomes of the key.
#[tokio::test]
async fn each_way_to_refuse_a_run_is_said_of_the_right_one() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let it = shipped(world).await;
            for (provider, name, secret) in EACH {
                add_key(&it, provider, secret).await.unwrap();
                let together = provider == Provider::Together;
                for (fault, code, state) in [
                    (Fault::RateLimited(0), Some("provider_busy"), KeyState::RateLimited),
                    (Fault::Overloaded, Some("provider_busy"), KeyState::RateLimited),
                    (Fault::BadRequest, None, KeyState::Valid),
                    (
                        Fault::MissingScopes,
                        (!together).then_some("own_key_refused"),
                        if together { KeyState::Valid } else { KeyState::ValidRestricted },
                    ),
                    (Fault::CreditTooLow, Some("own_account_empty"), KeyState::ValidNoCredit),
                    (Fault::InvalidKey, Some("own_key_refused"), KeyState::Invalid),
                ] {
                    it.faults(&[fault], Some(3));
                    let answer = it.post(path_of(provider), &ask(name, "Hello", 20, true)).send().await.unwrap();
                    let status = answer.status();
                    let body: Value = answer.json().await.unwrap();
                    it.sandbox.clear_faults();
                    assert!(!body.to_string().contains(secret), "{provider} {fault}");
                    assert_eq!(
                        body.pointer("/error/code").and_then(Value::as_str).filter(|_| code.is_some()),
                        code,
                        "{provider} {fault} {body}"
                    );
                    assert!(code.is_some() || status == 400 || status == 403, "{provider} {fault}: {status} {body}");
                    let known = provider_key::list(&it.server, &it.account_id).await.unwrap();
                    let known = known.iter().find(|key| key.provider == provider).unwrap();
                    assert_eq!(known.state, state, "{provider} {fault} {body}");
                }
            }
        })
        .await;
}

/// Every status of the table in the providers' documents, in their own words, when a key is checked.
#[test]
fn every_documented_answer_to_a_check_means_one_thing() {
    use KeyState::{Invalid, RateLimited, RegionBlocked, Unreachable, Valid, ValidNoCredit, ValidRestricted};
    use Provider::{Anthropic, DeepSeek, Google, Groq, Ollama, OpenAi, OpenRouter, Together};
    let anthropic = |kind: &str, message: &str| {
        format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#)
    };
    let openai = |code: &str, message: &str| {
        format!(r#"{{"error":{{"message":"{message}","type":"{code}","param":null,"code":"{code}"}}}}"#)
    };
    let google = |status: &str, message: &str, reason: &str| {
        format!(
            r#"{{"error":{{"code":400,"message":"{message}","status":"{status}","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}"}}]}}}}"#
        )
    };
    for (provider, status, body, expected) in [
        (Anthropic, 200, r#"{"data":[{"type":"model","id":"m"}],"has_more":true}"#.to_owned(), Valid),
        (Anthropic, 401, anthropic("authentication_error", "invalid x-api-key"), Invalid),
        (Anthropic, 403, anthropic("permission_error", "Your API key does not have permission"), ValidRestricted),
        (Anthropic, 403, anthropic("permission_error", "not available in your country"), RegionBlocked),
        (Anthropic, 402, anthropic("billing_error", "Payment required"), ValidNoCredit),
        (Anthropic, 400, anthropic("invalid_request_error", "Your credit balance is too low"), ValidNoCredit),
        (
            Anthropic,
            400,
            anthropic("invalid_request_error", "You have reached your specified API usage limits"),
            ValidNoCredit,
        ),
        (Anthropic, 429, anthropic("rate_limit_error", "Number of requests"), RateLimited),
        (Anthropic, 529, anthropic("overloaded_error", "Overloaded"), Unreachable),
        (OpenAi, 200, r#"{"object":"list","data":[]}"#.to_owned(), Valid),
        (OpenAi, 401, openai("invalid_api_key", "Incorrect API key provided"), Invalid),
        (
            OpenAi,
            401,
            openai("invalid_request_error", "You have insufficient permissions. Missing scopes: api.model.read"),
            ValidRestricted,
        ),
        (
            OpenAi,
            403,
            openai("unsupported_country_region_territory", "Country, region, or territory not supported"),
            RegionBlocked,
        ),
        (OpenAi, 429, openai("rate_limit_exceeded", "Rate limit reached"), RateLimited),
        (OpenAi, 429, openai("insufficient_quota", "You exceeded your current quota"), ValidNoCredit),
        (OpenAi, 429, openai("credit_balance_exhausted", "Credit balance exhausted"), ValidNoCredit),
        (OpenAi, 429, openai("project_spend_limit_exceeded", "Project spend limit"), ValidNoCredit),
        (Google, 200, r#"{"models":[{"name":"models/gemini-2.5-flash"}]}"#.to_owned(), Valid),
        (
            Google,
            400,
            google("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"),
            Invalid,
        ),
        (
            Google,
            400,
            google("FAILED_PRECONDITION", "User location is not supported for the API use.", ""),
            RegionBlocked,
        ),
        (
            Google,
            403,
            google("PERMISSION_DENIED", "Gemini API has not been used in project", "SERVICE_DISABLED"),
            ValidRestricted,
        ),
        (Google, 429, google("RESOURCE_EXHAUSTED", "Quota exceeded", "RATE_LIMIT_EXCEEDED"), RateLimited),
        (Groq, 200, r#"{"object":"list","data":[]}"#.to_owned(), Valid),
        (Groq, 401, openai("invalid_api_key", "Invalid API Key"), Invalid),
        (Groq, 403, openai("permissions_error", "Organization restricted"), ValidRestricted),
        (Groq, 429, openai("rate_limit_exceeded", "Rate limit reached for model"), RateLimited),
        (Groq, 498, openai("capacity_exceeded", "Flex tier capacity exceeded"), Unreachable),
        (
            DeepSeek,
            200,
            r#"{"is_available":true,"balance_infos":[{"currency":"CNY","total_balance":"110.00"}]}"#.to_owned(),
            Valid,
        ),
        (
            DeepSeek,
            200,
            r#"{"is_available":false,"balance_infos":[{"currency":"USD","total_balance":"0.00"}]}"#.to_owned(),
            ValidNoCredit,
        ),
        (DeepSeek, 401, openai("invalid_request_error", "Authentication Fails (no such user)"), Invalid),
        (DeepSeek, 402, openai("unknown_error", "Insufficient Balance"), ValidNoCredit),
        (DeepSeek, 429, openai("rate_limit_reached_error", "Rate limit reached"), RateLimited),
        (
            OpenRouter,
            200,
            r#"{"data":{"label":"sk-or-v1-abc...123","limit":null,"limit_remaining":null,"is_free_tier":true}}"#
                .to_owned(),
            Valid,
        ),
        (OpenRouter, 200, r#"{"data":{"limit":5,"limit_remaining":0}}"#.to_owned(), ValidNoCredit),
        (OpenRouter, 401, r#"{"error":{"code":401,"message":"No auth credentials found"}}"#.to_owned(), Invalid),
        (OpenRouter, 402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#.to_owned(), ValidNoCredit),
        (OpenRouter, 403, r#"{"error":{"code":403,"message":"Key budget guardrail"}}"#.to_owned(), ValidRestricted),
        (Together, 200, r#"[{"id":"m","pricing":{"input":1}}]"#.to_owned(), Valid),
        (
            Together,
            401,
            r#"{"error":{"message":"Invalid API key provided","type":"invalid_request_error"}}"#.to_owned(),
            Invalid,
        ),
        (Together, 402, r#"{"error":{"message":"monthly spending limit reached"}}"#.to_owned(), ValidNoCredit),
        (Together, 403, "<html>error code: 1010</html>".to_owned(), Unreachable),
        (Ollama, 200, r#"{"models":[]}"#.to_owned(), Valid),
        (Ollama, 401, "unauthorized".to_owned(), Invalid),
        (Ollama, 403, String::new(), ValidRestricted),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(judge(provider, status, body.as_bytes()).unwrap().state, expected, "{provider} {status} {body}");
    }
}
