//! Owns: reading server-sent events out of raw bytes, however the network cut them.
//! Does not own: what an event means (`anthropic`, `openai`); it never changes the bytes.
//! Invariant: the events and frame ends found do not depend on where the chunks were cut.

/// A line longer than this is no line of a provider; its rest is skipped.
const LONGEST_LINE: usize = 4 << 20;

/// Finds the events of one stream. Feed it every chunk in order.
#[derive(Debug, Default)]
pub struct SseScanner {
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The `data` of the event so far, its lines joined by `\n`.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    /// The line is too long; skip to its end.
    skipping: bool,
    started: bool,
    /// Something of the next frame has come.
    in_frame: bool,
}

impl SseScanner {
    /// Reads a chunk, hands the `data` of each complete event to `on_event`, and says how many bytes of this chunk
    /// belong to complete frames (an event, a comment, or nothing, up to and including its blank line), or `None` if
    /// no frame ended here.
    pub fn feed(&mut self, chunk: &[u8], mut on_event: impl FnMut(&[u8])) -> Option<usize> {
        let mut frame_end = None;
        let mut at = 0;
        while at < chunk.len() {
            if self.after_cr {
                self.after_cr = false;
                if chunk[at] == b'\n' {
                    at += 1;
                    // The LF of a CRLF that ended a frame belongs to that frame.
                    if frame_end == Some(at - 1) || (at == 1 && self.between_frames()) {
                        frame_end = Some(at);
                    }
                    continue;
                }
            }
            let rest = &chunk[at..];
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(rest);
                break;
            };
            self.after_cr = rest[length] == b'\r';
            at += length + 1;
            if self.end_line(&rest[..length], &mut on_event) {
                frame_end = Some(at);
            }
        }
        frame_end
    }

    /// Whether the stream stands between two frames, where an event of our own may be added.
    pub fn between_frames(&self) -> bool {
        !self.in_frame
    }

    fn keep(&mut self, part: &[u8]) {
        self.in_frame = true;
        if self.skipping {
            return;
        }
        if self.line.len() + part.len() > LONGEST_LINE {
            self.line = Vec::new();
            self.skipping = true;
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// Takes one whole line (what was kept, and `part`); true if it was the blank line that ends a frame.
    fn end_line(&mut self, part: &[u8], on_event: &mut impl FnMut(&[u8])) -> bool {
        if self.skipping {
            self.skipping = false;
            return false;
        }
        if self.line.is_empty() {
            return self.take_line(part, on_event);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(part);
        let ended = self.take_line(&line, on_event);
        line.clear();
        self.line = line;
        ended
    }

    fn take_line(&mut self, line: &[u8], on_event: &mut impl FnMut(&[u8])) -> bool {
        let line = if self.started { line } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) };
        self.started = true;
        self.in_frame = !line.is_empty();
        if line.is_empty() {
            if self.has_data {
                on_event(&self.data);
                self.data.clear();
                self.has_data = false;
            }
            return true;
        }
        if let Some(value) = line.strip_prefix(b"data") {
            let value = match value.split_first() {
                None => value,
                Some((b':', value)) => value.strip_prefix(b" ").unwrap_or(value),
                Some(_) => return false,
            };
            if self.has_data {
                self.data.push(b'\n');
            }
            if self.data.len() + value.len() <= LONGEST_LINE {
                self.data.extend_from_slice(value);
            }
            self.has_data = true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut scanner = SseScanner::default();
        let mut found = Vec::new();
        for chunk in chunks {
            scanner.feed(chunk, |data| found.push(String::from_utf8_lossy(data).into_owned()));
        }
        found
    }

    const STREAM: &str = "\u{feff}event: message_start\r\ndata: {\"a\":1}\r\n\r\n: keep-alive\n\ndata: zwei\ndata: drei\n\n\
                          data:ohne Raum – ½ 😀\r\rid: 7\ndata\n\ndatabase: no\n\ndata: [DONE]\n\ndata: cut";

    #[test]
    fn lines_end_as_the_standard_says() {
        assert_eq!(events(&[STREAM.as_bytes()]), ["{\"a\":1}", "zwei\ndrei", "ohne Raum – ½ 😀", "", "[DONE]"]);
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same_events() {
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(events(&bytes), events(&[STREAM.as_bytes()]), "field failure 8: CRLF and UTF-8 cut at every byte");
    }

    #[test]
    fn frame_ends_are_where_an_event_may_be_added() {
        let mut scanner = SseScanner::default();
        assert_eq!(scanner.feed(b"data: a\n\ndata: b", |_| ()), Some(9));
        assert!(!scanner.between_frames());
        assert_eq!(scanner.feed(b"c\r\n\r", |_| ()), Some(4));
        assert!(scanner.between_frames());
        assert_eq!(scanner.feed(b"\n", |_| ()), Some(1), "the LF of that CRLF");
        assert_eq!(scanner.feed(b": hm", |_| ()), None);
        assert!(!scanner.between_frames());
    }

    #[test]
    fn an_endless_line_is_skipped_and_the_stream_goes_on() {
        let mut scanner = SseScanner::default();
        let mut found = Vec::new();
        for _ in 0..6 {
            scanner.feed(&vec![b'x'; 1 << 20], |data| found.push(data.to_vec()));
        }
        scanner.feed(b"\n\ndata: on\n\n", |data| found.push(data.to_vec()));
        assert_eq!(found, [b"on"]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events_and_loses_no_byte(
            text in "(data: ?[a-z½😀]{0,6}|: c|event: x|)(\r\n|\n|\r)|((data: [a-z]{0,4})(\n\n|\r\n\r\n|\r\r)){0,9}",
            tail in "(data: [a-zü]{0,8}(\r\n\r\n|\n\n|\r|\n)){0,6}",
            cuts in proptest::collection::vec(0_usize..64, 0..12),
        ) {
            let whole = format!("{text}{tail}");
            let mut chunks = Vec::new();
            let mut rest = whole.as_bytes();
            for cut in cuts {
                let (chunk, remaining) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = remaining;
            }
            chunks.push(rest);
            prop_assert_eq!(events(&chunks), events(&[whole.as_bytes()]));
        }
    }
}
