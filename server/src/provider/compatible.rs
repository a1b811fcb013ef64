//! Owns: the providers that speak OpenAI's Chat Completions: where each is asked, and in what it differs, as data.
//! Does not own: what an answer means (`completion`).
//! Facts: Google, Groq, DeepSeek, OpenRouter, Together AI and Ollama all offer this format; theirs reaches a client unchanged.

use super::completion::{self, Thoughts};
use super::{CallBody, Dialect, Prompt, Provider, Reading, secret_header};
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::provider::Provider as ProviderName;
use secrecy::{ExposeSecret as _, SecretString};

/// In what a provider differs from the others of this format.
struct Quirks {
    kind: ProviderName,
    path: &'static str,
    cap: Cap,
    thoughts: Thoughts,
}

/// What a provider calls the cap on output.
#[derive(Clone, Copy)]
enum Cap {
    /// `max_completion_tokens`. Newer models refuse `max_tokens`, so it is kept where the client sent it and never added.
    Completion,
    /// `max_tokens`; the newer name may be ignored, so the old one is always there.
    Tokens,
}

const fn quirks_of(kind: ProviderName) -> Quirks {
    let (path, cap, thoughts) = match kind {
        // Anthropic has its own format; this is the one that it offers for comparisons, and nothing uses it.
        ProviderName::Anthropic | ProviderName::OpenAi => {
            ("/v1/chat/completions", Cap::Completion, Thoughts::InCompletion)
        }
        ProviderName::Google => ("/v1beta/openai/chat/completions", Cap::Tokens, Thoughts::InTotal),
        ProviderName::Groq => ("/openai/v1/chat/completions", Cap::Completion, Thoughts::InCompletion),
        ProviderName::DeepSeek => ("/chat/completions", Cap::Tokens, Thoughts::InCompletion),
        ProviderName::OpenRouter => ("/api/v1/chat/completions", Cap::Tokens, Thoughts::InCompletion),
        ProviderName::Together | ProviderName::Ollama => ("/v1/chat/completions", Cap::Tokens, Thoughts::InCompletion),
    };
    Quirks { kind, path, cap, thoughts }
}

/// One of them, with a key: ours, or a user's.
pub struct Compatible {
    quirks: Quirks,
    url: String,
    key: SecretString,
    /// The client that reaches a user's own address alone; `None` for the provider's.
    pinned: Option<reqwest::Client>,
}

impl Compatible {
    /// `url` is without a slash at its end.
    pub fn new(kind: ProviderName, url: &str, key: SecretString) -> Compatible {
        let quirks = quirks_of(kind);
        Compatible { url: format!("{url}{}", quirks.path), quirks, key, pinned: None }
    }

    /// At an address that a user gave, reached by the client that was made for it.
    pub fn at(kind: ProviderName, url: &str, key: SecretString, client: reqwest::Client) -> Compatible {
        Compatible { pinned: Some(client), ..Compatible::new(kind, url, key) }
    }
}

impl Provider for Compatible {
    fn name(&self) -> &'static str {
        self.quirks.kind.name()
    }

    fn kind(&self) -> ProviderName {
        self.quirks.kind
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn write_prompt(&self, prompt: Prompt<'_>) -> Bytes {
        let mut body = serde_json::json!({
            "model": prompt.upstream_name,
            "stream": true,
            "stream_options": { "include_usage": true },
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.input },
            ],
        });
        let cap = match self.quirks.cap {
            Cap::Completion => "max_completion_tokens",
            Cap::Tokens => "max_tokens",
        };
        body[cap] = prompt.max_output_tokens.into();
        Bytes::from(body.to_string())
    }

    fn write_call(&self, call: &CallBody<'_>, upstream_name: &str, max_output_tokens: u64) -> Bytes {
        let cap = max_output_tokens.to_string();
        let mut changes = Vec::with_capacity(3);
        let (old, new) = (call.has("max_tokens"), call.has("max_completion_tokens"));
        let (puts_old, puts_new) = match self.quirks.cap {
            Cap::Completion => (old, new || !old),
            Cap::Tokens => (true, new),
        };
        if puts_old {
            changes.push(("max_tokens", cap.clone()));
        }
        if puts_new {
            changes.push(("max_completion_tokens", cap));
        }
        if call.outline.streams {
            changes.push(("stream_options", call.stream_options_with_usage()));
        }
        call.write(upstream_name, &changes)
    }

    fn request(&self, http: &reqwest::Client, body: Bytes, _client: &HeaderMap) -> reqwest::RequestBuilder {
        let http = self.pinned.as_ref().unwrap_or(http);
        let request = http.post(&self.url).header("content-type", "application/json").body(body);
        // One's own Ollama may have no key.
        match secret_header("Bearer ", &self.key) {
            Some(key) if !self.key.expose_secret().trim().is_empty() => request.header("authorization", key),
            Some(_) | None => request,
        }
    }

    fn read_event(&self, data: &[u8], reading: &mut Reading, on_text: &mut dyn FnMut(&str)) {
        completion::read_event(data, self.quirks.thoughts, reading, on_text);
    }

    fn read_whole(&self, body: &[u8], reading: &mut Reading) {
        completion::read_whole(body, self.quirks.thoughts, reading);
    }

    fn key(&self) -> &SecretString {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cap that the hold was made for reaches each provider under a name that it knows.
    #[test]
    fn the_cap_is_named_as_the_provider_names_it() {
        for (kind, sent, old, new) in [
            (ProviderName::OpenAi, r#"{"model":"m"}"#, None, Some(7)),
            (ProviderName::OpenAi, r#"{"model":"m","max_tokens":9}"#, Some(7), None),
            (ProviderName::Groq, r#"{"model":"m"}"#, None, Some(7)),
            (ProviderName::DeepSeek, r#"{"model":"m"}"#, Some(7), None),
            (ProviderName::Ollama, r#"{"model":"m","max_completion_tokens":9}"#, Some(7), Some(7)),
            (ProviderName::Google, r#"{"model":"m","max_tokens":9}"#, Some(7), None),
        ] {
            let provider = Compatible::new(kind, "http://127.0.0.1", SecretString::from("k"));
            let bytes = Bytes::from(sent);
            let written = provider.write_call(&CallBody::read(&bytes).unwrap(), "up", 7);
            let body: serde_json::Value = serde_json::from_slice(&written).unwrap();
            assert_eq!((body["max_tokens"].as_u64(), body["max_completion_tokens"].as_u64()), (old, new), "{kind}");
        }
    }

    #[test]
    fn each_is_asked_where_its_documents_say() {
        for (kind, path) in [
            (ProviderName::Google, "/v1beta/openai/chat/completions"),
            (ProviderName::Groq, "/openai/v1/chat/completions"),
            (ProviderName::DeepSeek, "/chat/completions"),
            (ProviderName::OpenRouter, "/api/v1/chat/completions"),
            (ProviderName::Together, "/v1/chat/completions"),
            (ProviderName::Ollama, "/v1/chat/completions"),
        ] {
            let asked = |key: &str| {
                Compatible::new(kind, "http://127.0.0.1", SecretString::from(key.to_owned()))
                    .request(&crate::http_client::build().unwrap(), Bytes::new(), &HeaderMap::new())
                    .build()
                    .unwrap()
            };
            assert_eq!(asked("k").url().path(), path, "{kind}");
            assert!(asked("k").headers()["authorization"].is_sensitive(), "{kind}");
            assert!(!asked("").headers().contains_key("authorization"), "{kind}: no key is no header");
        }
    }
}
