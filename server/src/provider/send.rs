//! Owns: asking a provider, with retries before the first byte, and telling whose fault a refusal is.
//! Does not own: reading the answer (`execution`).
//! Invariant: never a retry after the first byte, and never a fourth attempt.

use super::{Patience, Provider};
use crate::task::Tasks;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use domain::denial::Denial;
use domain::key::KeyState;
use domain::provider::Provider as ProviderName;
use secrecy::ExposeSecret as _;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Attempts after the first one.
const RETRIES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A provider that asks for more patience than this gets its answer passed on instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Of a refusal, no more than this is read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// One request to a provider.
#[derive(Clone)]
pub struct UpstreamCall {
    pub body: Bytes,
    /// The client's headers, of which the provider takes its pick.
    pub headers: HeaderMap,
    pub streams: bool,
    pub owner: KeyOwner,
}

/// Whose key a request is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    Platform,
    User,
}

/// Why a provider did not answer the call.
#[derive(Debug)]
pub enum Refusal {
    /// The request is wrong; the client gets the provider's own words.
    Rejected(Rejection),
    /// Trouble that is not the client's.
    Denied(Denial),
    /// The provider refuses the user's own key, and what that says about it.
    OwnKey { state: KeyState, denial: Denial },
}

/// A provider's own "no" to a request.
#[derive(Clone, Debug)]
pub struct Rejection {
    pub status: StatusCode,
    pub body: Bytes,
}

/// What to do about one attempt that failed.
enum Next {
    Again { after: Option<Duration>, otherwise: Denial },
    GiveUp(Refusal),
}

/// Asks the provider; returns at the head of its answer.
pub async fn send(
    http: &reqwest::Client,
    provider: &dyn Provider,
    call: &UpstreamCall,
    patience: Patience,
    tasks: &Tasks,
) -> Result<reqwest::Response, Refusal> {
    let wait = if call.streams { patience.stream } else { patience.whole };
    let mut pause = FIRST_PAUSE;
    for attempt in 0.. {
        let request = provider.request(http, call.body.clone(), &call.headers);
        let next = match timeout(wait, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => return Ok(response),
            Ok(Ok(response)) => judge(provider, call.owner, response).await,
            Ok(Err(error)) => judge_error(provider, &error),
            Err(_) => Next::GiveUp(Refusal::Denied(upstream(
                provider,
                format!("did not answer in {} seconds", wait.as_secs()),
            ))),
        };
        let (after, otherwise) = match next {
            Next::Again { after, otherwise } => (after.unwrap_or(Duration::ZERO), otherwise),
            Next::GiveUp(refusal) => return Err(refusal),
        };
        if attempt == RETRIES || after > LONGEST_PAUSE || tasks.is_stopping() {
            return Err(Refusal::Denied(otherwise));
        }
        let jitter = Duration::from_millis(rand::random_range(0..=125));
        sleep(after.max(pause) + jitter).await;
        pause *= 2;
    }
    Err(Refusal::Denied(upstream(provider, "did not answer".to_owned())))
}

/// A head that is no success: the request's fault, ours, or a passing one.
async fn judge(provider: &dyn Provider, owner: KeyOwner, response: reqwest::Response) -> Next {
    let status = response.status();
    let after = retry_after(response.headers());
    let body = read_refusal(response).await;
    let text = String::from_utf8_lossy(&body).to_lowercase();
    if is_about_account(provider.kind(), status.as_u16(), &text) {
        if owner == KeyOwner::User {
            return Next::GiveUp(refuse_own(provider, status, &body));
        }
        // The words may name our key or our organisation, so they stay here.
        tracing::error!(
            provider = provider.name(),
            status = status.as_u16(),
            "the provider refuses our own key or account"
        );
        return Next::GiveUp(Refusal::Denied(Denial::PlatformKeyRefused { provider: provider.name().to_owned() }));
    }
    match status.as_u16() {
        // 402 comes here at OpenRouter, while other requests hold its budget; 498 is Groq's, without free capacity.
        402 | 429 | 498 | 503 | 529 => Next::Again {
            after,
            otherwise: Denial::ProviderBusy {
                who: provider.name().to_owned(),
                retry_after_seconds: after.map_or(5, |after| after.as_secs().max(1)),
            },
        },
        500.. => Next::Again { after, otherwise: upstream(provider, format!("failed ({})", status.as_u16())) },
        400..=499 => Next::GiveUp(Refusal::Rejected(Rejection { status, body: without_key(provider, body) })),
        _redirect => Next::GiveUp(Refusal::Denied(upstream(provider, format!("answered {}", status.as_u16())))),
    }
}

/// Whether a "no" is about the key or its account, and not about this request. `text` is in lower case.
fn is_about_account(provider: ProviderName, status: u16, text: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let of_account =
        ["credit balance is too low", "insufficient_quota", "billing_error", "usage limits", "insufficient balance"];
    if says(&of_account) {
        return true;
    }
    match (provider, status) {
        // More tokens than the context has, or its firewall.
        (ProviderName::Together, 403) => false,
        // The prompt was flagged.
        (ProviderName::OpenRouter, 403) => !says(&["flagged", "moderation"]),
        (ProviderName::OpenRouter, 402) => !says(&["in-flight", "in flight"]),
        (ProviderName::Google, 400) => {
            says(&["api_key_invalid", "api key not valid", "location is not supported", "enable billing"])
        }
        (_, 401..=403 | 407) => true,
        _of_the_request => false,
    }
}

/// What the provider's "no" says about the user's own key.
fn refuse_own(provider: &dyn Provider, status: StatusCode, body: &[u8]) -> Refusal {
    let state = match crate::provider_key::judge(provider.kind(), status, body) {
        Ok(checked) => checked.state,
        Err(_) => KeyState::ValidRestricted,
    };
    let who = provider.name().to_owned();
    let problem = match state {
        KeyState::ValidNoCredit => return Refusal::OwnKey { state, denial: Denial::OwnAccountEmpty { provider: who } },
        KeyState::Invalid => "is refused by the provider",
        KeyState::RegionBlocked => "is refused from this server's region",
        KeyState::ValidRestricted | KeyState::Valid | KeyState::RateLimited | KeyState::Unreachable => {
            "may not be used for this"
        }
    };
    let denial = Denial::OwnKeyRefused { provider: who, problem: problem.to_owned() };
    Refusal::OwnKey { state, denial }
}

fn judge_error(provider: &dyn Provider, error: &reqwest::Error) -> Next {
    let problem = if error.is_connect() { "cannot be reached" } else { "broke off before its answer" };
    tracing::warn!(provider = provider.name(), connect = error.is_connect(), "{problem}");
    let denial = upstream(provider, problem.to_owned());
    // Only a connection that was never made is sure to have cost nothing.
    if error.is_connect() {
        Next::Again { after: None, otherwise: denial }
    } else {
        Next::GiveUp(Refusal::Denied(denial))
    }
}

fn upstream(provider: &dyn Provider, problem: String) -> Denial {
    Denial::Upstream { who: provider.name().to_owned(), problem }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read_refusal(mut response: reqwest::Response) -> Bytes {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout(Duration::from_secs(5), response.chunk()).await {
        let room = LONGEST_REFUSAL - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == LONGEST_REFUSAL {
            break;
        }
    }
    Bytes::from(body)
}

/// Takes our key out of what the provider echoes.
fn without_key(provider: &dyn Provider, body: Bytes) -> Bytes {
    let key = provider.key().expose_secret().trim();
    let text = String::from_utf8_lossy(&body);
    if key.is_empty() || !text.contains(key) { body.clone() } else { Bytes::from(text.replace(key, "[key]")) }
}
