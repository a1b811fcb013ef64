//! Owns: which beginnings of prompts a provider has read before.

use super::record::Usage;
use super::{Block, tokens};
use crate::clock::mix;
use crate::task::lock;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;

/// Shorter beginnings are not cached.
const LEAST_TOKENS: u64 = 1_024;
/// OpenAI caches in steps of so many bytes (128 tokens).
const STEP_BYTES: usize = 512;
const OPENAI_KEPT_SECONDS: i64 = 600;
const MOST_ENTRIES: usize = 200_000;

/// How long Anthropic is asked to keep a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    FiveMinutes,
    OneHour,
}

impl Keep {
    /// Reads `cache_control`.
    pub fn read(control: &Value) -> Keep {
        if control.get("ttl").and_then(Value::as_str) == Some("1h") { Keep::OneHour } else { Keep::FiveMinutes }
    }

    const fn seconds(self) -> i64 {
        match self {
            Keep::FiveMinutes => 300,
            Keep::OneHour => 3_600,
        }
    }
}

/// Fingerprints of beginnings, with the second at which each is forgotten.
#[derive(Debug, Default)]
pub struct PrefixCache(Mutex<HashMap<u64, i64>>);

impl PrefixCache {
    pub fn reset(&self) {
        lock(&self.0).clear();
    }

    /// What Anthropic counts as read from and written to its cache, for the places that the request marks.
    pub fn marked(&self, account: &str, blocks: &[Block<'_>], now: i64) -> Usage {
        let total = tokens(blocks.iter().map(|block| block.text.len()).sum());
        let mut usage = Usage { input_tokens: total, ..Usage::default() };
        if blocks.iter().all(|block| block.cached_for.is_none()) {
            return usage;
        }
        let mut marks = Vec::new();
        let mut print = fingerprint(0, account.as_bytes());
        let mut bytes = 0;
        for block in blocks {
            print = fingerprint(print, block.text.as_bytes());
            bytes += block.text.len();
            if let Some(keep) = block.cached_for.filter(|_| tokens(bytes) >= LEAST_TOKENS) {
                marks.push((print, tokens(bytes).min(total), keep));
            }
        }
        let mut known = lock(&self.0);
        make_room(&mut known);
        let hit = marks.iter().rposition(|(print, _, _)| known.get(print).is_some_and(|until| *until > now));
        let mut counted = hit.and_then(|hit| marks.get(hit)).map_or(0, |(_, tokens, _)| *tokens);
        usage.cache_read_tokens = counted;
        for (position, (print, tokens, keep)) in marks.iter().enumerate() {
            known.insert(*print, now + keep.seconds());
            if hit.is_none_or(|hit| position > hit) {
                match keep {
                    Keep::FiveMinutes => usage.cache_write_5m_tokens += tokens - counted,
                    Keep::OneHour => usage.cache_write_1h_tokens += tokens - counted,
                }
                counted = *tokens;
            }
        }
        usage.input_tokens = total - counted;
        usage
    }

    /// What OpenAI counts as cached: the longest beginning it has read in the last minutes, without being asked.
    pub fn unasked(&self, account: &str, blocks: &[Block<'_>], now: i64) -> Usage {
        let bytes: usize = blocks.iter().map(|block| block.text.len()).sum();
        let mut usage = Usage { input_tokens: tokens(bytes), ..Usage::default() };
        if tokens(bytes) < LEAST_TOKENS {
            return usage;
        }
        let mut known = lock(&self.0);
        make_room(&mut known);
        let mut print = fingerprint(1, account.as_bytes());
        let (mut read, mut room) = (0_usize, STEP_BYTES);
        for block in blocks {
            let mut rest = block.text.as_bytes();
            while !rest.is_empty() {
                let (now_read, after) = rest.split_at(rest.len().min(room));
                print = fingerprint(print, now_read);
                (read, room, rest) = (read + now_read.len(), room - now_read.len(), after);
                if room == 0 {
                    room = STEP_BYTES;
                    let until = known.insert(print, now + OPENAI_KEPT_SECONDS);
                    if until.is_some_and(|until| until > now) && tokens(read) >= LEAST_TOKENS {
                        usage.cache_read_tokens = tokens(read);
                    }
                }
            }
        }
        usage.input_tokens -= usage.cache_read_tokens;
        usage
    }
}

/// Forgets everything when there is too much.
fn make_room(known: &mut HashMap<u64, i64>) {
    if known.len() > MOST_ENTRIES {
        known.clear();
    }
}

/// The fingerprint of bytes that follow what a fingerprint stands for.
pub fn fingerprint(before: u64, bytes: &[u8]) -> u64 {
    let mut print = before;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut eight = [0_u8; 8];
        eight.copy_from_slice(word);
        print = mix(print ^ u64::from_le_bytes(eight));
    }
    for byte in words.remainder() {
        print = mix(print ^ u64::from(*byte) ^ 0x100);
    }
    mix(print ^ ((bytes.len() as u64) << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str, cached_for: Option<Keep>) -> Block<'_> {
        Block { text, cached_for }
    }

    #[test]
    fn a_marked_beginning_is_written_once_and_read_until_its_time_is_over() {
        let cache = PrefixCache::default();
        let (long, short) = ("x".repeat(8_000), "y".repeat(400));
        let blocks = [block(&long, Some(Keep::FiveMinutes)), block(&short, None)];
        let first = cache.marked("a", &blocks, 0);
        assert_eq!((first.cache_write_5m_tokens, first.cache_read_tokens, first.input_tokens), (2_000, 0, 100));
        let second = cache.marked("a", &blocks, 299);
        assert_eq!((second.cache_write_5m_tokens, second.cache_read_tokens, second.input_tokens), (0, 2_000, 100));
        assert_eq!(cache.marked("other", &blocks, 299).cache_read_tokens, 0);
        assert_eq!(cache.marked("a", &blocks, 299 + 300).cache_write_5m_tokens, 2_000);
    }

    #[test]
    fn a_repeated_long_beginning_is_cached_in_steps() {
        let cache = PrefixCache::default();
        let long = "z".repeat(4 * 1_500);
        assert_eq!(cache.unasked("a", &[block(&long, None)], 0).cache_read_tokens, 0);
        let again = cache.unasked("a", &[block(&long, None), block("and more", None)], 1);
        assert_eq!(again.cache_read_tokens, 1_408);
        assert_eq!(again.input_tokens, 1_502 - 1_408);
        assert_eq!(cache.unasked("a", &[block("short", None)], 1).cache_read_tokens, 0);
    }
}
