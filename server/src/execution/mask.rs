//! Owns: keeping an account's own keys out of what its runs say: a key in an answer is replaced, however the stream cuts it.
//! Does not own: which keys those are (`provider_key`). Runs of accounts without keys never come here.
//! Invariant: bytes without a key pass unchanged and in their order; what may be the beginning of a key waits for what follows.

use crate::provider::{Provider, Reading, SseScanner};
use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret as _, SecretString};

/// What stands in place of a key.
const MASKED: &str = "[key]";
/// A shorter secret is as likely a word.
const SHORTEST: usize = 12;
/// Frames that wait at most.
const MOST_FRAMES: usize = 256;

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
        let found = self.keys().any(|key| find(&body, key.as_bytes()).is_some());
        if !found {
            return body;
        }
        let mut body = body.to_vec();
        for key in self.keys() {
            while let Some(at) = find(&body, key.as_bytes()) {
                body.splice(at..at + key.len(), MASKED.bytes());
            }
        }
        Bytes::from(body)
    }

    /// A text that is complete.
    pub fn text(&self, text: &str) -> String {
        self.keys().fold(text.to_owned(), |text, key| text.replace(key, MASKED))
    }

    /// For one stream.
    pub fn begin<'a>(&'a self, provider: &'a dyn Provider) -> Masking<'a> {
        Masking {
            mask: self,
            provider,
            said: String::new(),
            scanner: SseScanner::default(),
            scratch: Reading::default(),
            frame: BytesMut::new(),
            piece: String::new(),
            waiting: Vec::new(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(secrecy::ExposeSecret::expose_secret)
    }

    /// Where the first key in a text is.
    fn find_in(&self, text: &str) -> Option<(usize, usize)> {
        self.keys().filter_map(|key| text.find(key).map(|at| (at, at + key.len()))).min()
    }

    /// Where the end of a text begins that may be the beginning of a key; its length if none.
    fn maybe_from(&self, text: &str) -> usize {
        let begins = |key: &str| {
            let longest = (key.len() - 1).min(text.len());
            (1..=longest).rev().find(|length| text.as_bytes().ends_with(&key.as_bytes()[..*length]))
        };
        text.len() - self.keys().filter_map(begins).max().unwrap_or(0)
    }
}

/// One stream on its way, for a page (`text`) or a client (`frames`).
pub(super) struct Masking<'a> {
    mask: &'a Mask,
    provider: &'a dyn Provider,
    /// Text for the page that waits.
    said: String,
    scanner: SseScanner,
    scratch: Reading,
    /// The frame that is coming in, and the text in it.
    frame: BytesMut,
    piece: String,
    /// Frames that wait, each with its text.
    waiting: Vec<(Bytes, String)>,
}

impl Masking<'_> {
    /// Text of the stream; what may be said of it and what waited.
    pub fn text(&mut self, piece: &str) -> String {
        self.said.push_str(piece);
        while let Some((from, to)) = self.mask.find_in(&self.said) {
            self.said.replace_range(from..to, MASKED);
        }
        let rest = self.said.split_off(self.mask.maybe_from(&self.said));
        std::mem::replace(&mut self.said, rest)
    }

    /// Bytes of the stream, cut anywhere; the frames that may pass now.
    pub fn frames(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.frame.extend_from_slice(line);
            let Masking { provider, scanner, scratch, piece, .. } = self;
            let ended = scanner.feed(line, |data| provider.read_event(data, scratch, &mut |text| piece.push_str(text)));
            if ended.is_some() {
                let (frame, piece) = (self.frame.split().freeze(), std::mem::take(&mut self.piece));
                self.add(frame, piece);
                self.release(&mut out);
            }
        }
        out.freeze()
    }

    /// The end of the stream: what has waited, and the beginning of a frame that never came.
    pub fn rest(mut self) -> (String, Bytes) {
        let mut out = BytesMut::new();
        for (frame, _) in self.waiting.drain(..) {
            out.extend_from_slice(&frame);
        }
        out.extend_from_slice(&self.mask.whole(self.frame.freeze()));
        (self.said, out.freeze())
    }

    /// A frame that has come whole. A key that is whole in it goes at once, in whichever field it is.
    fn add(&mut self, frame: Bytes, piece: String) {
        self.waiting.push((self.mask.whole(frame), self.mask.text(&piece)));
        loop {
            let text: String = self.waiting.iter().map(|(_, piece)| piece.as_str()).collect();
            let Some(key) = self.mask.find_in(&text) else { return };
            self.cut_out(key);
        }
    }

    /// Takes a key out of the frames that it is spread over.
    fn cut_out(&mut self, (from, to): (usize, usize)) {
        let mut at = 0;
        for (frame, piece) in &mut self.waiting {
            let (begin, end) = (at, at + piece.len());
            at = end;
            if end <= from || begin >= to {
                continue;
            }
            let (cut_from, cut_to) = (from.max(begin) - begin, to.min(end) - begin);
            let mut left = piece.clone();
            left.replace_range(cut_from..cut_to, if begin <= from { MASKED } else { "" });
            *frame = with_text(frame, piece, &left);
            *piece = left;
        }
    }

    fn release(&mut self, out: &mut BytesMut) {
        let text: String = self.waiting.iter().map(|(_, piece)| piece.as_str()).collect();
        let from = self.mask.maybe_from(&text);
        let mut free = self.waiting.len();
        if from < text.len() && free <= MOST_FRAMES {
            let mut at = 0;
            free = self
                .waiting
                .iter()
                .take_while(|(_, piece)| {
                    at += piece.len();
                    at <= from
                })
                .count();
        }
        for (frame, _) in self.waiting.drain(..free) {
            out.extend_from_slice(&frame);
        }
    }
}

/// A frame with another text. Where its text is not found as it stands in JSON, the frame is dropped: better a gap than a key.
fn with_text(frame: &Bytes, old: &str, new: &str) -> Bytes {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (old, new) = (quoted(old), quoted(new));
    let Some(at) = find(frame, old.as_bytes()) else { return Bytes::new() };
    Bytes::from([&frame[..at], new.as_bytes(), &frame[at + old.len()..]].concat())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Anthropic, Compatible};
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
                    let mut masking = mask.begin(&*provider);
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
        let (provider, _) = &streams()[1];
        let mut masking = mask.begin(&**provider);
        assert_eq!(
            masking.frames(format!("data: {body}\n\n").as_bytes()),
            "data: {\"error\":\"[key]\",\"tool\":\"[key]\"}\n\n"
        );
        assert!(Mask::new(vec![SecretString::from("short")]).is_none());
    }

    proptest! {
        #[test]
        fn what_holds_no_key_passes_byte_for_byte(
            texts in proptest::collection::vec("[a-z😀\"\\\\ -]{0,9}|sk-ant-|gsk_can", 0..12),
            cut in 1_usize..40,
        ) {
            for (provider, frame) in streams() {
                let stream: String = texts.iter().map(|text| frame(text)).collect();
                let mask = mask();
                let mut masking = mask.begin(&*provider);
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
