//! Owns: the providers of models: their wire formats, our own keys, and what a stream says about its usage.
//! Does not own: prices (`domain::rate`), who pays (`execution`), or the client's side of the wire (`http`).
//! Invariant: a provider's bytes reach the reader unchanged; usage is read on the side, and a provider's zero is a
//! zero, never replaced by an estimate.

mod anthropic;
mod body;
mod compatible;
mod completion;
mod media;
mod reading;
mod send;
mod sse;

pub use anthropic::Anthropic;
pub use body::{CallBody, Outline};
pub use compatible::Compatible;
pub use reading::{Reading, StopReason, Tap, TokenCounts};
pub use send::{KeyOwner, Refusal, Rejection, UpstreamCall, send};
pub use sse::SseScanner;

use crate::config::Config;
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::denial::Denial;
use domain::provider::Provider as ProviderName;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
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
    /// What a provider speaks.
    pub const fn of(provider: ProviderName) -> Dialect {
        match provider {
            ProviderName::Anthropic => Dialect::Anthropic,
            ProviderName::OpenAi
            | ProviderName::Google
            | ProviderName::Groq
            | ProviderName::DeepSeek
            | ProviderName::OpenRouter
            | ProviderName::Together
            | ProviderName::Ollama => Dialect::OpenAi,
        }
    }

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

/// The providers, where each is, and those that this installation has keys for.
#[derive(Clone)]
pub struct Providers {
    ours: BTreeMap<ProviderName, Arc<dyn Provider>>,
    urls: BTreeMap<ProviderName, String>,
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
        let mut urls = config.key_urls.clone();
        urls.insert(ProviderName::Anthropic, config.anthropic.url.clone());
        urls.insert(ProviderName::OpenAi, config.openai.url.clone());
        let mut keys = config.platform_keys.clone();
        keys.extend(config.anthropic.key.clone().map(|key| (ProviderName::Anthropic, key)));
        keys.extend(config.openai.key.clone().map(|key| (ProviderName::OpenAi, key)));
        let ours = keys.into_iter().filter_map(|(name, key)| Some((name, speak(name, urls.get(&name)?, key))));
        Providers {
            ours: ours.collect(),
            patience: Patience { stream: config.provider_timeout, ..Patience::default() },
            urls,
        }
    }

    /// The provider with a user's own key, at its own address.
    pub fn with_key(&self, name: ProviderName, key: SecretString) -> Arc<dyn Provider> {
        speak(name, self.urls.get(&name).map_or("", String::as_str), key)
    }

    /// The provider with a user's own key at the address that the user gave, reached by the client that was made for it:
    /// never with a key of ours.
    pub fn at_own_url(name: ProviderName, key: SecretString, client: reqwest::Client, url: &str) -> Arc<dyn Provider> {
        Arc::new(Compatible::at(name, url, key, client))
    }

    /// The provider, if we have a key for it.
    pub fn choose(&self, name: ProviderName) -> Result<&Arc<dyn Provider>, Denial> {
        self.ours.get(&name).ok_or_else(|| Denial::NoPlatformKey { provider: name.as_str().to_owned() })
    }
}

/// The provider's wire format, with a key.
fn speak(name: ProviderName, url: &str, key: SecretString) -> Arc<dyn Provider> {
    match name {
        ProviderName::Anthropic => Arc::new(Anthropic::new(url, key)),
        ProviderName::OpenAi
        | ProviderName::Google
        | ProviderName::Groq
        | ProviderName::DeepSeek
        | ProviderName::OpenRouter
        | ProviderName::Together
        | ProviderName::Ollama => Arc::new(Compatible::new(name, url, key)),
    }
}

/// A header with a secret, which tracing shows as `Sensitive`.
pub(crate) fn secret_header(prefix: &str, secret: &SecretString) -> Option<reqwest::header::HeaderValue> {
    let text = format!("{prefix}{}", secret.expose_secret().trim());
    let mut value = reqwest::header::HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
