//! Owns: the providers of models: their wire formats, our own keys, and what a stream says about its usage.
//! Does not own: prices (`domain::rate`), who pays (`execution`), or the client's side of the wire (`http`).
//! Invariant: a provider's bytes reach the reader unchanged; usage is read on the side, and a provider's zero is a
//! zero, never replaced by an estimate.

mod anthropic;
mod body;
mod openai;
mod reading;
mod send;
mod sse;

pub use anthropic::Anthropic;
pub use body::{CallBody, Outline};
pub use openai::OpenAi;
pub use reading::{Reading, StopReason, Tap, TokenCounts};
pub use send::{KeyOwner, Refusal, Rejection, UpstreamCall, send};
pub use sse::SseScanner;

use crate::config::{Config, Upstream};
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::denial::Denial;
use domain::provider::Provider as ProviderName;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// A family of wire formats, on both sides: what the client speaks is what the provider hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/messages`
    Anthropic,
    /// `POST /v1/chat/completions`
    OpenAi,
}

impl Dialect {
    /// The path of its endpoint, at the provider and here.
    pub const fn path(self) -> &'static str {
        match self {
            Dialect::Anthropic => "/v1/messages",
            Dialect::OpenAi => "/v1/chat/completions",
        }
    }
}

/// A prompt of ours, from a skill and a person's input.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// The model's name at the provider.
    pub upstream_name: &'a str,
    pub system: &'a str,
    pub input: &'a str,
    pub max_output_tokens: u64,
}

/// One provider: how it is asked, and how its answers are read.
pub trait Provider: Send + Sync {
    /// As people know it, such as `Anthropic`.
    fn name(&self) -> &'static str;

    fn kind(&self) -> ProviderName;

    fn dialect(&self) -> Dialect;

    /// The body of a streamed request for a prompt of ours.
    fn write_prompt(&self, prompt: Prompt<'_>) -> Bytes;

    /// A client's body, changed only where money needs it: the model's name here, the cap on output, and the request
    /// for usage. Everything else passes as it came.
    fn write_call(&self, call: &CallBody<'_>, upstream_name: &str, max_output_tokens: u64) -> Bytes;

    /// The request with our own key. Of the client's headers only those pass that change the answer's format.
    fn request(&self, http: &reqwest::Client, body: Bytes, client: &HeaderMap) -> reqwest::RequestBuilder;

    /// Reads the `data` of one event of a stream; text for the reader goes to `on_text`.
    fn read_event(&self, data: &[u8], reading: &mut Reading, on_text: &mut dyn FnMut(&str));

    /// Reads an answer that was not streamed.
    fn read_whole(&self, body: &[u8], reading: &mut Reading);

    /// Our own key, to keep it out of whatever the provider echoes.
    fn key(&self) -> &SecretString;
}

/// The providers that this installation has keys for.
#[derive(Clone)]
pub struct Providers {
    anthropic: Option<Arc<dyn Provider>>,
    openai: Option<Arc<dyn Provider>>,
    anthropic_url: String,
    openai_url: String,
    pub patience: Patience,
}

/// How long we wait for a provider.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a stream begins, and between two of its chunks.
    pub stream: Duration,
    /// Until an answer that is not streamed is whole.
    pub whole: Duration,
    /// How long a run goes on after its client left, or after the server was told to stop.
    pub drain: Duration,
    pub stopping: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            stream: Duration::from_secs(120),
            whole: Duration::from_secs(600),
            drain: Duration::from_secs(600),
            stopping: Duration::from_secs(30),
        }
    }
}

impl Providers {
    /// The providers whose keys are set.
    pub fn new(config: &Config) -> Providers {
        let with_key = |upstream: &Upstream| upstream.key.clone().map(|key| (upstream.url.clone(), key));
        Providers {
            anthropic: with_key(&config.anthropic)
                .map(|(url, key)| Arc::new(Anthropic::new(&url, key)) as Arc<dyn Provider>),
            openai: with_key(&config.openai).map(|(url, key)| Arc::new(OpenAi::new(&url, key)) as Arc<dyn Provider>),
            anthropic_url: config.anthropic.url.clone(),
            openai_url: config.openai.url.clone(),
            patience: Patience { stream: config.provider_timeout, ..Patience::default() },
        }
    }

    /// The provider with a user's own key, at its own address: never at one that a user gave.
    pub fn with_key(&self, name: ProviderName, key: SecretString) -> Result<Arc<dyn Provider>, Denial> {
        match name {
            ProviderName::Anthropic => Ok(Arc::new(Anthropic::new(&self.anthropic_url, key))),
            ProviderName::OpenAi => Ok(Arc::new(OpenAi::new(&self.openai_url, key))),
            ProviderName::Google
            | ProviderName::Groq
            | ProviderName::DeepSeek
            | ProviderName::OpenRouter
            | ProviderName::Together
            | ProviderName::Ollama => Err(Denial::NoPlatformKey { provider: name.as_str().to_owned() }),
        }
    }

    /// Whether runs on this provider are possible at all, with whomever's key.
    pub const fn can_run(&self, name: ProviderName) -> bool {
        match name {
            ProviderName::Anthropic | ProviderName::OpenAi => true,
            ProviderName::Google
            | ProviderName::Groq
            | ProviderName::DeepSeek
            | ProviderName::OpenRouter
            | ProviderName::Together
            | ProviderName::Ollama => false,
        }
    }

    /// The provider, if we have a key for it.
    pub fn choose(&self, name: ProviderName) -> Result<&Arc<dyn Provider>, Denial> {
        let provider = match name {
            ProviderName::Anthropic => self.anthropic.as_ref(),
            ProviderName::OpenAi => self.openai.as_ref(),
            ProviderName::Google
            | ProviderName::Groq
            | ProviderName::DeepSeek
            | ProviderName::OpenRouter
            | ProviderName::Together
            | ProviderName::Ollama => None,
        };
        provider.ok_or_else(|| Denial::NoPlatformKey { provider: name.as_str().to_owned() })
    }
}

/// A header with a secret, which tracing shows as `Sensitive`.
pub(crate) fn secret_header(prefix: &str, secret: &SecretString) -> Option<reqwest::header::HeaderValue> {
    let text = format!("{prefix}{}", secret.expose_secret().trim());
    let mut value = reqwest::header::HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
