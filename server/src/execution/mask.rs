//! Owns: keeping an account's own keys out of what its runs say: a key in an answer is replaced, however the stream cuts it,
//! in whichever field it is said (text, thoughts, the arguments of a tool call), plain or escaped as JSON escapes.
//! Does not own: which keys those are (`provider_key`). Runs of accounts without keys never come here.
//! Invariant: bytes without a key pass unchanged and in their order; what may be the beginning of a key waits for what follows.

use super::key_match::{Along, along};
use crate::provider::SseScanner;
use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// What stands in place of a key.
const MASKED: &str = "[key]";
/// A shorter secret is as likely a word.
const SHORTEST: usize = 12;
/// Frames that wait at most.
const MOST_FRAMES: usize = 256;
/// The fields whose text a stream says bit by bit.
const SAID: [&str; 8] =
    ["text", "content", "arguments", "partial_json", "thinking", "reasoning", "reasoning_content", "refusal"];

/// The keys that nobody may read.
pub(super) struct Mask(Vec<SecretString>);

impl Mask {
    /// `None` when there is nothing to look for.
    pub fn new(keys: Vec<SecretString>) -> Option<Mask> {
        let keys: Vec<_> = keys.into_iter().filter(|key| key.expose_secret().len() >= SHORTEST).collect();
        (!keys.is_empty()).then_some(Mask(keys))
    }

    /// An answer that was not streamed.
    pub fn whole(&self, body: Bytes) -> Bytes {
        let mut left = BytesMut::new();
        let mut at = 0;
        while let Some((from, to)) = self.find_in(&body[at..]) {
            left.extend_from_slice(&body[at..at + from]);
            left.extend_from_slice(MASKED.as_bytes());
            at += to;
        }
        if at == 0 {
            return body;
        }
        left.extend_from_slice(&body[at..]);
        left.freeze()
    }

    /// A text that is complete.
    pub fn text(&self, text: &str) -> String {
        let (mut left, mut rest) = (String::new(), text);
        while let Some((from, to)) = self.find_in(rest.as_bytes()) {
            left.push_str(&rest[..from]);
            left.push_str(MASKED);
            rest = &rest[to..];
        }
        left + rest
    }

    /// For one stream.
    pub fn begin(&self) -> Masking<'_> {
        Masking {
            mask: self,
            said: String::new(),
            scanner: SseScanner::default(),
            frame: BytesMut::new(),
            pieces: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|key| key.expose_secret().as_bytes())
    }

    /// Where the first key in a text is. Keys are ASCII, so it begins and ends between letters.
    fn find_in(&self, text: &[u8]) -> Option<(usize, usize)> {
        (0..text.len()).find_map(|from| {
            let ends = self.keys().filter_map(|key| match along(&text[from..], key) {
                Along::Whole(length) => Some(from + length),
                Along::SoFar | Along::Not => None,
            });
            ends.min().map(|to| (from, to))
        })
    }

    /// Where the end of a text begins that may be the beginning of a key; its length if none.
    fn maybe_from(&self, text: &[u8]) -> usize {
        let longest = self.keys().map(super::key_match::longest).max().unwrap_or(0);
        let may = |from: &usize| self.keys().any(|key| matches!(along(&text[*from..], key), Along::SoFar));
        (text.len().saturating_sub(longest)..text.len()).find(may).unwrap_or(text.len())
    }
}

/// One stream on its way, for a page (`text`) or a client (`frames`).
pub(super) struct Masking<'a> {
    mask: &'a Mask,
    /// Text for the page that waits.
    said: String,
    scanner: SseScanner,
    /// The frame that is coming in, and what it says.
    frame: BytesMut,
    pieces: Vec<Piece>,
    waiting: Vec<Waiting>,
}

/// A bit of what a stream says in one field.
struct Piece {
    /// Which field of which part: what is said there goes on in the pieces of later frames with the same name.
    field: String,
    text: String,
}

/// A frame that waits, with what it says.
struct Waiting {
    frame: Bytes,
    pieces: Vec<Piece>,
}

impl Masking<'_> {
    /// Text of the stream; what may be said of it and what waited.
    pub fn text(&mut self, piece: &str) -> String {
        self.said.push_str(piece);
        self.said = self.mask.text(&self.said);
        let rest = self.said.split_off(self.mask.maybe_from(self.said.as_bytes()));
        std::mem::replace(&mut self.said, rest)
    }

    /// Bytes of the stream, cut anywhere; the frames that may pass now.
    pub fn frames(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.frame.extend_from_slice(line);
            let Masking { scanner, pieces, .. } = self;
            let ended = scanner.feed(line, |data| {
                if let Ok(event) = serde_json::from_slice(data) {
                    read_pieces(&event, "", String::new(), pieces);
                }
            });
            if ended.is_some() {
                let (frame, pieces) = (self.frame.split().freeze(), std::mem::take(&mut self.pieces));
                self.add(frame, pieces);
                self.release(&mut out);
            }
        }
        out.freeze()
    }

    /// The end of the stream: what has waited, and the beginning of a frame that never came.
    pub fn rest(mut self) -> (String, Bytes) {
        let mut out = BytesMut::new();
        for waiting in self.waiting.drain(..) {
            out.extend_from_slice(&waiting.frame);
        }
        out.extend_from_slice(&self.mask.whole(self.frame.freeze()));
        (self.said, out.freeze())
    }

    /// A frame that has come whole. A key that is whole in it goes at once, in whichever field it is.
    fn add(&mut self, frame: Bytes, mut pieces: Vec<Piece>) {
        for piece in &mut pieces {
            piece.text = self.mask.text(&piece.text);
        }
        let fields: Vec<String> = pieces.iter().map(|piece| piece.field.clone()).collect();
        self.waiting.push(Waiting { frame: self.mask.whole(frame), pieces });
        for field in fields {
            while let Some(key) = self.mask.find_in(self.said_in(&field).as_bytes()) {
                self.cut_out(&field, key);
            }
        }
    }

    /// What the frames that wait say in a field.
    fn said_in(&self, field: &str) -> String {
        self.waiting.iter().flat_map(|waiting| waiting.pieces_of(field)).map(|piece| piece.text.as_str()).collect()
    }

    /// Takes a key out of the frames that it is spread over.
    fn cut_out(&mut self, field: &str, (from, to): (usize, usize)) {
        let mut at = 0;
        for Waiting { frame, pieces } in &mut self.waiting {
            for piece in pieces.iter_mut().filter(|piece| piece.field == field) {
                let (begin, end) = (at, at + piece.text.len());
                at = end;
                if end <= from || begin >= to {
                    continue;
                }
                let (cut_from, cut_to) = (from.max(begin) - begin, to.min(end) - begin);
                let mut left = piece.text.clone();
                left.replace_range(cut_from..cut_to, if begin <= from { MASKED } else { "" });
                *frame = with_text(frame, &piece.text, &left);
                piece.text = left;
            }
        }
    }

    /// Lets the frames pass that come before anything that may be the beginning of a key.
    fn release(&mut self, out: &mut BytesMut) {
        let mut free = self.waiting.len();
        if free <= MOST_FRAMES {
            let mut fields: Vec<&str> =
                self.waiting.iter().flat_map(|waiting| &waiting.pieces).map(|piece| piece.field.as_str()).collect();
            fields.sort_unstable();
            fields.dedup();
            free = fields.into_iter().map(|field| self.free_of(field)).min().unwrap_or(free);
        }
        for waiting in self.waiting.drain(..free) {
            out.extend_from_slice(&waiting.frame);
        }
    }

    /// How many of the frames that wait come before the possible beginning of a key in a field.
    fn free_of(&self, field: &str) -> usize {
        let text = self.said_in(field);
        let from = self.mask.maybe_from(text.as_bytes());
        if from == text.len() {
            return self.waiting.len();
        }
        let mut at = 0;
        let before = |waiting: &&Waiting| {
            at += waiting.pieces_of(field).map(|piece| piece.text.len()).sum::<usize>();
            at <= from
        };
        self.waiting.iter().take_while(before).count()
    }
}

impl Waiting {
    fn pieces_of(&self, field: &str) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| piece.field == field)
    }
}

/// What an event says, by field: the name, and the places of the parts that it is in, as the provider counts them.
fn read_pieces(value: &Value, name: &str, part: String, pieces: &mut Vec<Piece>) {
    match value {
        Value::String(text) if SAID.contains(&name) && !text.is_empty() => {
            pieces.push(Piece { field: format!("{part}{name}"), text: text.clone() });
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let part = if item.get("index").is_some() { part.clone() } else { format!("{part}{at}/") };
                read_pieces(item, name, part, pieces);
            }
        }
        Value::Object(fields) => {
            let part = match fields.get("index").and_then(Value::as_u64) {
                Some(index) => format!("{part}{index}/"),
                None => part,
            };
            for (name, field) in fields {
                read_pieces(field, name, part.clone(), pieces);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A frame with another text. Where its text is not found as it stands in JSON, the frame is dropped: better a gap than a key.
fn with_text(frame: &Bytes, old: &str, new: &str) -> Bytes {
    let quoted = |text: &str| Value::from(text).to_string();
    let (old, new) = (quoted(old), quoted(new));
    let found = frame.windows(old.len()).position(|window| window == old.as_bytes());
    let Some(at) = found else { return Bytes::new() };
    Bytes::from([&frame[..at], new.as_bytes(), &frame[at + old.len()..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Anthropic, Compatible, Provider, Reading};
    use domain::provider::Provider as ProviderName;
    use proptest::prelude::*;

    const KEY: &str = "sk-ant-api03-canary-of-the-user";
    const OTHER: &str = "gsk_canary0123456789";

    fn mask() -> Mask {
        Mask::new(vec![SecretString::from(KEY), SecretString::from(OTHER), SecretString::from("short")]).unwrap()
    }

    fn streams() -> [(Box<dyn Provider>, fn(&str) -> String); 2] {
        let key = || SecretString::from("k");
        [
            (Box::new(Anthropic::new("http://127.0.0.1", key())), |text| {
                let delta = serde_json::json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":text}});
                format!("event: content_block_delta\ndata: {delta}\n\n")
            }),
            (Box::new(Compatible::new(ProviderName::OpenAi, "http://127.0.0.1", key())), |text| {
                format!("data: {}\n\n", serde_json::json!({"choices":[{"index":0,"delta":{"content":text}}]}))
            }),
        ]
    }

    /// What the provider would read out of these bytes.
    fn text_of(provider: &dyn Provider, bytes: &[u8]) -> String {
        let (mut text, mut reading) = (String::new(), Reading::default());
        SseScanner::default()
            .feed(bytes, |data| provider.read_event(data, &mut reading, &mut |part| text.push_str(part)));
        text
    }

    #[test]
    fn a_key_is_replaced_however_its_events_and_chunks_cut_it() {
        let said = format!("Use {KEY} and {OTHER}{OTHER}, not sk-ant-api03-another. 😀");
        let expected = "Use [key] and [key][key], not sk-ant-api03-another. 😀";
        for (provider, frame) in streams() {
            for size in [1, 2, 3, 5, 8, 13, 40, 200] {
                let letters: Vec<char> = said.chars().collect();
                let pieces: Vec<String> = letters.chunks(size).map(|piece| piece.iter().collect()).collect();
                let stream: String = pieces.iter().map(|piece| frame(piece)).chain([": ping\n\n".to_owned()]).collect();
                let mask = mask();
                for cut in [1, 7, 4096] {
                    let (mut out, mut page) = (Vec::new(), String::new());
                    let mut masking = mask.begin();
                    for chunk in stream.as_bytes().chunks(cut) {
                        out.extend_from_slice(&masking.frames(chunk));
                    }
                    for piece in &pieces {
                        page.push_str(&masking.text(piece));
                    }
                    let (rest, bytes) = masking.rest();
                    page.push_str(&rest);
                    out.extend_from_slice(&bytes);
                    let shown = text_of(&*provider, &out);
                    assert_eq!(page, expected, "pieces of {size}");
                    assert_eq!(shown, expected, "events of {size}");
                    assert!(String::from_utf8(out).unwrap().ends_with(": ping\n\n"));
                }
            }
        }
    }

    #[test]
    fn a_key_in_another_field_or_in_a_whole_answer_is_replaced() {
        let mask = mask();
        let body = format!(r#"{{"error":"{KEY}","tool":"{OTHER}"}}"#);
        assert_eq!(mask.whole(Bytes::from(body.clone())), r#"{"error":"[key]","tool":"[key]"}"#);
        let mut masking = mask.begin();
        assert_eq!(
            masking.frames(format!("data: {body}\n\n").as_bytes()),
            "data: {\"error\":\"[key]\",\"tool\":\"[key]\"}\n\n"
        );
        assert!(Mask::new(vec![SecretString::from("short")]).is_none());
    }

    /// What the fields of a stream say, each put together.
    fn fields_of(bytes: &[u8]) -> std::collections::BTreeMap<String, String> {
        let mut fields = std::collections::BTreeMap::<String, String>::new();
        SseScanner::default().feed(bytes, |data| {
            let mut pieces = Vec::new();
            read_pieces(&serde_json::from_slice(data).unwrap(), "", String::new(), &mut pieces);
            for Piece { field, text } in pieces {
                fields.entry(field).or_default().push_str(&text);
            }
        });
        fields
    }

    #[test]
    fn a_key_in_the_pieces_of_tool_calls_and_thoughts_is_replaced() {
        // Two tool calls and the text, cut into small pieces that come in turns.
        let says = [
            format!(r#"{{"first":"{KEY}","again":"{KEY}"}}"#),
            format!(r#"{{"curl":"-H 'x: {OTHER}'"}}"#),
            format!("I call it with {KEY}"),
        ];
        type Frame = fn(usize, &str) -> serde_json::Value;
        let openai: Frame = |of, text| match of {
            2 => serde_json::json!({"choices":[{"index":0,"delta":{"content":text}}]}),
            of => {
                serde_json::json!({"choices":[{"index":0,"delta":{"tool_calls":[{"index":of,"function":{"arguments":text}}]}}]})
            }
        };
        let anthropic: Frame = |of, text| match of {
            2 => {
                serde_json::json!({"type":"content_block_delta","index":2,"delta":{"type":"thinking_delta","thinking":text}})
            }
            of => {
                serde_json::json!({"type":"content_block_delta","index":of,"delta":{"type":"input_json_delta","partial_json":text}})
            }
        };
        for frame in [openai, anthropic] {
            for size in [1, 4, 9, 400] {
                let mut stream = String::new();
                let longest = says.iter().map(String::len).max().unwrap();
                for at in (0..longest).step_by(size) {
                    for (of, said) in says.iter().enumerate() {
                        if at < said.len() {
                            let piece = frame(of, &said[at..said.len().min(at + size)]);
                            stream.push_str(&format!("data: {piece}\n\n"));
                        }
                    }
                }
                let mask = mask();
                let mut masking = mask.begin();
                let mut out = masking.frames(stream.as_bytes()).to_vec();
                out.extend_from_slice(&masking.rest().1);
                let said: Vec<String> = fields_of(&out).into_values().collect();
                let mut expected =
                    [r#"{"first":"[key]","again":"[key]"}"#, r#"{"curl":"-H 'x: [key]'"}"#, "I call it with [key]"];
                let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
                said.sort_unstable();
                expected.sort_unstable();
                assert_eq!(said, expected, "pieces of {size}");
            }
        }
    }

    #[test]
    fn a_key_that_is_escaped_is_replaced_in_an_answer_and_in_a_stream() {
        let mask = mask();
        let escaped = KEY.replace('-', "\\u002D").replace('c', "\\u0063");
        assert_eq!(mask.whole(Bytes::from(format!(r#"{{"content":"{escaped}"}}"#))), r#"{"content":"[key]"}"#);
        // Escaped in the arguments of a tool call, which are JSON in JSON.
        let arguments = Value::from(format!(r#"{{"key":"{escaped}"}}"#));
        let body = serde_json::json!({"tool_calls":[{"function":{"arguments":arguments}}]}).to_string();
        let masked = mask.whole(Bytes::from(body));
        assert_eq!(masked, r#"{"tool_calls":[{"function":{"arguments":"{\"key\":\"[key]\"}"}}]}"#);

        for size in [1, 3, 7] {
            let arguments = format!(r#"{{"key":"{escaped}"}}"#);
            let stream: String = arguments
                .as_bytes()
                .chunks(size)
                .map(|piece| {
                    let piece = String::from_utf8_lossy(piece);
                    let event = serde_json::json!({"index":0,"delta":{"partial_json":piece}});
                    format!("data: {event}\n\n")
                })
                .collect();
            let mut masking = mask.begin();
            let mut out = masking.frames(stream.as_bytes()).to_vec();
            out.extend_from_slice(&masking.rest().1);
            assert_eq!(fields_of(&out)["0/partial_json"], r#"{"key":"[key]"}"#, "pieces of {size}");
        }
    }

    proptest! {
        #[test]
        fn what_holds_no_key_passes_byte_for_byte(
            texts in proptest::collection::vec("[a-z😀\"\\\\ -]{0,9}|sk-ant-|gsk_can", 0..12),
            cut in 1_usize..40,
        ) {
            for (_, frame) in streams() {
                let stream: String = texts.iter().map(|text| frame(text)).collect();
                let mask = mask();
                let mut masking = mask.begin();
                let mut out = Vec::new();
                for chunk in stream.as_bytes().chunks(cut) {
                    out.extend_from_slice(&masking.frames(chunk));
                }
                out.extend_from_slice(&masking.rest().1);
                prop_assert_eq!(String::from_utf8(out).unwrap(), stream);
            }
        }
    }
}
