//! Owns: asking a provider about a key, with a call that costs nothing, and what each answer means.
//! Does not own: storing the key. Facts: the documents of the eight providers.
//! Invariant: ten seconds at most, no redirect, no key in an address; nothing the provider says is repeated to the user.

use super::guard;
use crate::Server;
use crate::error::Result;
use crate::provider::secret_header;
use axum::http::StatusCode;
use domain::denial::Denial;
use domain::key::KeyState;
use domain::provider::Provider;
use secrecy::SecretString;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

const LONGEST: Duration = Duration::from_secs(10);
/// Of an answer, no more than this is read; lists of models are long.
const MOST_BYTES: usize = 2 << 20;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub state: KeyState,
    /// Why, or what is left, for the row of the key.
    pub problem: Option<String>,
}

impl Checked {
    fn new(state: KeyState, problem: &str) -> Checked {
        Checked { state, problem: Some(problem.to_owned()) }
    }

    const fn plain(state: KeyState) -> Checked {
        Checked { state, problem: None }
    }
}

/// Asks the provider about a key. `base_url` is for one's own Ollama. Denials: `Invalid` for an address that is not asked, and
/// for a management key.
pub async fn check_key(server: &Server, provider: Provider, key: &str, base_url: Option<&str>) -> Result<Checked> {
    let config = &server.config;
    let of = |path: &str| {
        let base = match provider {
            Provider::Anthropic => Some(&config.anthropic.url),
            Provider::OpenAi => Some(&config.openai.url),
            Provider::Google
            | Provider::Groq
            | Provider::DeepSeek
            | Provider::OpenRouter
            | Provider::Together
            | Provider::Ollama => config.key_urls.get(&provider),
        };
        format!("{}{path}", base.map_or("", String::as_str))
    };
    let http = &server.http;
    let (request, header) = match provider {
        Provider::Anthropic => {
            (http.get(of("/v1/models?limit=1")).header("anthropic-version", "2023-06-01"), ("x-api-key", ""))
        }
        Provider::OpenAi | Provider::Together => (http.get(of("/v1/models")), ("authorization", "Bearer ")),
        Provider::Google => (http.get(of("/v1beta/models?pageSize=1")), ("x-goog-api-key", "")),
        Provider::Groq => (http.get(of("/openai/v1/models")), ("authorization", "Bearer ")),
        Provider::DeepSeek => (http.get(of("/user/balance")), ("authorization", "Bearer ")),
        Provider::OpenRouter => (http.get(of("/api/v1/key")), ("authorization", "Bearer ")),
        Provider::Ollama => {
            let (client, url) = guard::client_for(server, base_url.unwrap_or_default()).await?;
            let address = format!("{}/api/tags", url.as_str().trim_end_matches('/'));
            (client.get(address), ("authorization", "Bearer "))
        }
    };
    let (name, prefix) = header;
    let request = match secret_header(prefix, &SecretString::from(key)) {
        Some(value) if !key.is_empty() => request.header(name, value),
        Some(_) | None => request,
    };
    let asked = timeout(LONGEST, async {
        let response = request.send().await.ok()?;
        let status = response.status();
        Some((status, read(response).await?))
    });
    match asked.await {
        Ok(Some((status, body))) => Ok(judge(provider, status, &body)?),
        Ok(None) => Ok(Checked::new(KeyState::Unreachable, "The provider could not be reached.")),
        Err(_) => Ok(Checked::new(KeyState::Unreachable, "The provider did not answer in 10 seconds.")),
    }
}

pub(super) async fn read(mut response: reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MOST_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// What an answer says about the key it was asked with. Denial: a management key, which is not stored.
pub fn judge(provider: Provider, status: StatusCode, body: &[u8]) -> std::result::Result<Checked, Denial> {
    let text = String::from_utf8_lossy(body).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let no_credit = says(&[
        "credit balance is too low",
        "insufficient_quota",
        "credit_balance_exhausted",
        "spend_limit_exceeded",
        "billing_error",
        "usage limits",
        "insufficient balance",
    ]);
    let broke = Checked::new(KeyState::ValidNoCredit, "Your provider account has no credit, or has reached its limit.");
    let elsewhere =
        says(&["country", "region", "territory", "location is not supported", "not available in your location"]);
    let region = Checked::new(KeyState::RegionBlocked, "The provider does not serve the region of this server.");
    let restricted = Checked::new(KeyState::ValidRestricted, "The key may not do everything; runs may be refused.");
    let unreachable = |problem: &str| Checked::new(KeyState::Unreachable, problem);
    Ok(match status.as_u16() {
        200..=299 => return judge_success(provider, body),
        _ if no_credit => broke,
        300..=399 => unreachable("The address answers with a redirect, which is not followed."),
        400 if says(&["api_key_invalid", "api key not valid"]) => Checked::plain(KeyState::Invalid),
        400 if says(&["failed_precondition"]) || elsewhere => region,
        401 if says(&["missing scopes", "missing_scope", "insufficient permissions"]) => restricted,
        401 => Checked::plain(KeyState::Invalid),
        402 => broke,
        403 if elsewhere => region,
        // At Together AI this is about the request or its firewall, not about the key.
        403 if provider == Provider::Together => unreachable("The provider refused to be asked."),
        403 if says(&["api key not valid", "api_key_invalid"]) => Checked::plain(KeyState::Invalid),
        403 => restricted,
        429 => Checked::plain(KeyState::RateLimited),
        other => unreachable(&format!("The provider answered {other}.")),
    })
}

fn judge_success(provider: Provider, body: &[u8]) -> std::result::Result<Checked, Denial> {
    let strange = Checked::new(KeyState::Unreachable, "The answer is not one of the provider's API.");
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Ok(strange) };
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let words = error.to_string().to_lowercase();
        let is_key = ["invalid api key", "incorrect api key", "invalid_api_key", "api_key_invalid", "authentication"];
        return Ok(if is_key.iter().any(|about| words.contains(about)) {
            Checked::plain(KeyState::Invalid)
        } else {
            Checked::new(KeyState::Unreachable, "The provider answered with an error.")
        });
    }
    let data = answer.get("data");
    let valid = Checked::plain(KeyState::Valid);
    let has_list = |value: Option<&Value>| value.is_some_and(Value::is_array);
    Ok(match provider {
        Provider::Anthropic | Provider::OpenAi | Provider::Groq if has_list(data) => valid,
        Provider::Together if answer.is_array() || has_list(data) => valid,
        Provider::Google | Provider::Ollama if has_list(answer.get("models")) => valid,
        Provider::DeepSeek if has_list(answer.get("balance_infos")) => {
            let left = answer.pointer("/balance_infos/0").and_then(|info| {
                Some(format!("{} {}", info.get("total_balance")?.as_str()?, info.get("currency")?.as_str()?))
            });
            let left = left.filter(|left| left.len() <= 40).map(|left| format!("{left} left at DeepSeek."));
            match answer.get("is_available").and_then(Value::as_bool) {
                Some(false) => Checked { state: KeyState::ValidNoCredit, problem: left },
                Some(true) | None => Checked { state: KeyState::Valid, problem: left },
            }
        }
        Provider::OpenRouter if data.is_some_and(Value::is_object) => judge_openrouter(data.unwrap_or(&Value::Null))?,
        Provider::Anthropic
        | Provider::OpenAi
        | Provider::Groq
        | Provider::Together
        | Provider::Google
        | Provider::Ollama
        | Provider::DeepSeek
        | Provider::OpenRouter => strange,
    })
}

fn judge_openrouter(key: &Value) -> std::result::Result<Checked, Denial> {
    let is = |name: &str| key.get(name).and_then(Value::as_bool) == Some(true);
    if is("is_management_key") || is("is_provisioning_key") {
        return Err(Denial::invalid(
            "secret",
            "This is a management key: it makes keys and runs no models, so it is not stored here",
            "Make an ordinary API key at OpenRouter.",
        ));
    }
    // A number in JSON, kept as text: it is shown, not counted.
    let left = key.get("limit_remaining").filter(|left| left.is_number()).map(Value::to_string);
    Ok(match left {
        Some(left) if left.starts_with('-') || left == "0" || left == "0.0" => {
            Checked::new(KeyState::ValidNoCredit, "The key has reached its limit at OpenRouter.")
        }
        Some(left) => {
            Checked { state: KeyState::Valid, problem: Some(format!("${left} of its limit is left at OpenRouter.")) }
        }
        None => Checked::plain(KeyState::Valid),
    })
}
