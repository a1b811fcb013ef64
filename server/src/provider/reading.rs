//! Owns: what a provider's answer has said and delivered so far, and the tap that reads it from the raw bytes.
//! Does not own: the wire formats (`anthropic`, `openai`) or the price of it (`domain::execution`).
//! Invariant: a count is what the provider said last, or unknown; unknown is not zero.

use super::{Provider, SseScanner};
use domain::execution::TokenUsage;

/// Token counts as the provider said them, in exclusive pools: cached input is not in `input`, reasoning not in
/// `output`. `None` was not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    pub input: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    pub output: Option<u64>,
    pub reasoning: Option<u64>,
}

/// Why the provider ended its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It had said all.
    Done,
    /// The cap on output was reached.
    Cap,
}

/// What an answer has said and delivered so far.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub counts: TokenCounts,
    /// The usage as JSON, as it came first and as it came last.
    pub first_usage: Option<String>,
    pub last_usage: Option<String>,
    /// Bytes of output that reached the reader: text, reasoning, tool input.
    pub output_bytes: u64,
    pub stop: Option<StopReason>,
    /// The answer came to its proper end.
    pub ended: bool,
    /// An error that the provider sent in the answer.
    pub error: Option<String>,
}

impl Reading {
    /// Output tokens, by the usual four bytes a token, for an answer that has not been counted.
    pub fn delivered_tokens(&self) -> u64 {
        self.output_bytes.div_ceil(4)
    }

    /// The usage as it came: one JSON object, or a list of the first and the last one.
    pub fn raw_usage(&self) -> Option<String> {
        match (&self.first_usage, &self.last_usage) {
            (Some(first), Some(last)) => Some(format!("[{first},{last}]")),
            (first, last) => first.clone().or_else(|| last.clone()),
        }
    }

    /// What to bill: the provider's counts, and where it gave none, `known_input` and the delivered text. True if
    /// anything was estimated.
    pub fn usage(&self, known_input: u64) -> (TokenUsage, bool) {
        let said = self.counts;
        let cached = [said.cache_read, said.cache_write_5m, said.cache_write_1h];
        let usage = TokenUsage {
            input: said.input.unwrap_or(if cached.iter().all(Option::is_none) { known_input } else { 0 }),
            cache_read: said.cache_read.unwrap_or(0),
            cache_write_5m: said.cache_write_5m.unwrap_or(0),
            cache_write_1h: said.cache_write_1h.unwrap_or(0),
            output: said.output.unwrap_or_else(|| self.delivered_tokens()),
            reasoning: said.reasoning.unwrap_or(0),
        };
        (usage, said.input.is_none() || said.output.is_none())
    }
}

/// Reads a stream on the side, from its raw bytes.
pub struct Tap<'a> {
    provider: &'a dyn Provider,
    scanner: SseScanner,
    pub reading: Reading,
}

impl<'a> Tap<'a> {
    pub fn new(provider: &'a dyn Provider) -> Tap<'a> {
        Tap { provider, scanner: SseScanner::default(), reading: Reading::default() }
    }

    /// Reads a chunk; text for the reader goes to `on_text`. Says how many bytes of it belong to complete frames, or
    /// `None` if no frame ended in it.
    pub fn read(&mut self, chunk: &[u8], on_text: &mut dyn FnMut(&str)) -> Option<usize> {
        let Tap { provider, scanner, reading } = self;
        scanner.feed(chunk, |data| provider.read_event(data, reading, on_text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_a_zero_and_nothing_said_is_an_estimate() {
        let mut reading = Reading { output_bytes: 41, ..Reading::default() };
        let (usage, estimated) = reading.usage(7);
        assert_eq!((usage.input, usage.output, estimated), (7, 11, true), "field failure 7: no usage came");
        reading.counts = TokenCounts { input: Some(0), output: Some(0), ..TokenCounts::default() };
        let (usage, estimated) = reading.usage(7);
        assert_eq!((usage.input, usage.output, estimated), (0, 0, false), "field failure 6: an explicit zero");
    }
}
