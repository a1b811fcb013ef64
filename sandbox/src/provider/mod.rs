//! Owns: providers of models that cost nothing: all eight, in their own wire formats and with their quirks; they count tokens
//! truly, and fail on demand.
//!
//! Token truth: four bytes are one token, in and out. Input is every text of the request; output is what was handed to the
//! connection, so a client that hangs up is billed for what it was sent.

pub mod anthropic;
mod cache;
pub mod connect;
pub mod dialect;
pub mod fault;
pub mod keys;
pub mod openai;
pub mod record;
mod reply;
mod text;
mod words;

use crate::task::lock;
use crate::world::World;
use axum::http::HeaderMap;
use cache::PrefixCache;
use domain::text_enum;
use fault::Fault;
use record::{Ending, Log, ProviderRequest, Record, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use text::Library;

text_enum! {
    /// Whose wire format.
    Family {
        Anthropic = "anthropic",
        OpenAi = "openai",
        Google = "google",
        Groq = "groq",
        DeepSeek = "deepseek",
        OpenRouter = "openrouter",
        Together = "together",
        Ollama = "ollama",
    }
}

/// Makes requests fail: those to a provider, for a model, so many times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// `None`: both.
    pub provider: Option<Family>,
    /// `None`: every model.
    pub model: Option<String>,
    pub faults: Vec<Fault>,
    /// `None`: until the rules are cleared.
    pub times: Option<u32>,
}

/// The providers' state.
#[derive(Debug)]
pub struct Providers {
    pub log: Log,
    library: Library,
    rules: Mutex<Vec<Rule>>,
    /// So that requests without rules need no lock.
    has_rules: AtomicBool,
    pace: AtomicU32,
    cache: PrefixCache,
    codes: connect::Codes,
}

impl Providers {
    pub fn new(seed: u64, pace: u32) -> Providers {
        Providers {
            log: Log::default(),
            library: Library::new(seed),
            rules: Mutex::default(),
            has_rules: AtomicBool::new(false),
            pace: AtomicU32::new(pace),
            cache: PrefixCache::default(),
            codes: connect::Codes::default(),
        }
    }

    pub fn reset(&self) {
        self.log.reset();
        self.clear_rules();
        self.cache.reset();
        self.codes.reset();
    }

    pub fn inject(&self, rule: Rule) {
        lock(&self.rules).push(rule);
        self.has_rules.store(true, Ordering::SeqCst);
    }

    pub fn clear_rules(&self) {
        lock(&self.rules).clear();
        self.has_rules.store(false, Ordering::SeqCst);
    }

    pub fn set_pace(&self, tokens_per_second: u32) {
        self.pace.store(tokens_per_second, Ordering::Relaxed);
    }

    /// Takes the faults of the first rule that fits.
    fn take_rule(&self, family: Family, model: &str) -> Vec<Fault> {
        if !self.has_rules.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut rules = lock(&self.rules);
        let fitting = rules.iter().position(|rule| {
            rule.provider.is_none_or(|provider| provider == family)
                && rule.model.as_ref().is_none_or(|name| name == model)
        });
        let Some(position) = fitting else { return Vec::new() };
        let Some(rule) = rules.get_mut(position) else { return Vec::new() };
        let faults = rule.faults.clone();
        if let Some(times) = &mut rule.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                rules.remove(position);
            }
        }
        faults
    }
}

/// How many tokens so many bytes are.
const fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// One text of a request, in the order the model reads it.
struct Block<'a> {
    text: &'a str,
    /// Whether Anthropic is asked to cache up to here, and for how long.
    cached_for: Option<cache::Keep>,
}

/// The texts of a message's `content`: one string, or a list of blocks.
fn read_content<'a>(content: &'a Value, blocks: &mut Vec<Block<'a>>) {
    match content {
        Value::String(text) => blocks.push(Block { text, cached_for: None }),
        Value::Array(parts) => {
            for part in parts {
                let cached_for = part.get("cache_control").map(cache::Keep::read);
                match (part.get("text").and_then(Value::as_str), part.get("content")) {
                    (Some(text), _) => blocks.push(Block { text, cached_for }),
                    (None, Some(inner)) => read_content(inner, blocks),
                    (None, None) => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
}

/// What a request says, as far as the answer depends on it.
struct Prompt<'a> {
    blocks: Vec<Block<'a>>,
    /// The text of the system prompt; empty if there is none.
    system: &'a str,
    /// The text of the last message.
    last: &'a str,
    bytes: usize,
}

impl<'a> Prompt<'a> {
    /// `system_blocks` says how many of the blocks are the system prompt.
    fn new(blocks: Vec<Block<'a>>, system_blocks: usize) -> Prompt<'a> {
        let bytes = blocks.iter().map(|block| block.text.len()).sum();
        let system = if system_blocks == 0 { "" } else { blocks.first().map_or("", |block| block.text) };
        let last = blocks.last().map_or("", |block| block.text);
        Prompt { blocks, system, last, bytes }
    }

    /// The first words of the last message.
    fn summary(&self) -> String {
        self.last.trim_start().chars().take(80).collect()
    }
}

/// A request that was understood: who asks which model for what.
struct Request<'a> {
    family: Family,
    request_id: &'a str,
    model: &'a str,
    key: &'a str,
    prompt: &'a Prompt<'a>,
    is_stream: bool,
    max_tokens: Option<u64>,
}

impl Request<'_> {
    /// The faults that its key, its headers, its prompt or a rule ask for, in this order.
    fn faults(&self, world: &World, headers: &HeaderMap) -> Vec<Fault> {
        let mut faults: Vec<Fault> = fault::of_key(self.key).into_iter().collect();
        if let Some(list) = headers.get("x-sandbox-fault").and_then(|list| list.to_str().ok()) {
            faults.extend(fault::read_list(list));
        }
        faults.extend(fault::in_prompt(self.prompt.last));
        faults.extend(world.providers.take_rule(self.family, self.model));
        faults
    }

    /// Puts it into the log.
    fn record(&self, world: &World, faults: Vec<Fault>, status: u16) -> Arc<Record> {
        let key_ending = self.key.char_indices().rev().nth(3).map_or(self.key, |(at, _)| &self.key[at..]);
        world.providers.log.begin(ProviderRequest {
            request_id: self.request_id.to_owned(),
            provider: self.family,
            model: self.model.to_owned(),
            key_ending: key_ending.to_owned(),
            prompt: self.prompt.summary(),
            is_stream: self.is_stream,
            max_tokens: self.max_tokens,
            faults,
            status,
            ending: Ending::Running,
            billed: Usage::default(),
        })
    }

    /// Puts it into the log as refused.
    fn refuse(&self, world: &World, faults: Vec<Fault>, status: u16) {
        let record = self.record(world, faults, status);
        world.providers.log.finish(&record, Ending::Refused);
    }
}
