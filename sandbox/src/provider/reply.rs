//! Owns: how an answer travels: whole or in pieces, at the pace and with the faults that were asked for, and the record of
//! what was really handed over.

use super::fault::{Break, Plan, Report};
use super::record::{Ending, Record, Usage};
use super::text::Answer;
use super::tokens;
use crate::world::World;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Without a pace, pieces travel together in frames of about this size.
const FRAME_BYTES: usize = 16 * 1024;

/// A provider's wire format.
pub trait Wire: Send + Sync + 'static {
    /// The events before the first piece of text.
    fn start(&self, input: &Usage, out: &mut BytesMut);
    /// The event of one piece of text.
    fn piece(&self, text: &str, out: &mut BytesMut);
    /// The events after the last piece; without `usage` there is none in them.
    fn end(&self, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut);
    /// An error after the answer has begun.
    fn error(&self, out: &mut BytesMut);
    /// The whole answer as one JSON text.
    fn whole(&self, text: &str, usage: Option<&Usage>, hit_limit: bool, out: &mut BytesMut);
    /// The name and value of the header that carries the request's id.
    fn request_id(&self) -> (&'static str, &str);
    /// An error in place of a whole answer, as JSON.
    fn server_error(&self) -> String;
}

/// An answer on its way.
pub struct Reply<W> {
    pub world: World,
    pub wire: W,
    pub record: Arc<Record>,
    pub plan: Plan,
    pub input: Usage,
    pub answer: Answer,
}

impl<W> Drop for Reply<W> {
    /// Whoever drops an answer before its end has hung up.
    fn drop(&mut self) {
        self.world.providers.log.finish(&self.record, Ending::ClientLeft);
    }
}

impl<W: Wire> Reply<W> {
    /// Answers as one JSON text.
    pub async fn whole(self) -> Response {
        self.wait_for_first_byte().await;
        let generated = tokens(self.answer.text.len());
        let usage = self.usage(generated);
        let pace = self.world.providers.pace.load(Ordering::Relaxed);
        if pace > 0 {
            tokio::time::sleep(duration_of(usage.output_tokens + usage.reasoning_tokens, pace)).await;
        }
        let (header, id) = self.wire.request_id();
        let headers = [(header, id.to_owned()), ("content-type", "application/json".to_owned())];
        let mut out = BytesMut::with_capacity(self.answer.text.len() + 512);
        let reported = self.reported(&usage);
        self.wire.whole(&self.answer.text, reported.as_ref(), self.answer.hit_limit, &mut out);
        self.bill(usage);
        match self.plan.breaks {
            Some((_, Break::Hang)) => std::future::pending().await,
            Some((_, Break::Cut)) => {
                self.world.providers.log.finish(&self.record, Ending::Cut);
                let half = out.split_to(out.len() / 2).freeze();
                let frames =
                    futures::stream::iter([Ok(half), Err(std::io::Error::other("the sandbox cut the connection"))]);
                (headers, Body::from_stream(frames)).into_response()
            }
            Some((_, Break::Error)) => {
                self.record.update(|record| record.status = 500);
                self.world.providers.log.finish(&self.record, Ending::Failed);
                (StatusCode::INTERNAL_SERVER_ERROR, headers, self.wire.server_error()).into_response()
            }
            None => {
                self.world.providers.log.finish(&self.record, Ending::Complete);
                (headers, Body::from(out.freeze())).into_response()
            }
        }
    }

    /// Answers as a stream of events. Nothing, not even the status, is sent before the first byte is due.
    pub async fn stream(self) -> Response {
        self.wait_for_first_byte().await;
        let (header, id) = self.wire.request_id();
        let headers = [
            (header, id.to_owned()),
            ("content-type", "text/event-stream; charset=utf-8".to_owned()),
            ("cache-control", "no-cache".to_owned()),
        ];
        let pace = self.world.providers.pace.load(Ordering::Relaxed);
        let stream = Stream {
            pace,
            began: Instant::now(),
            sent: 0,
            pieces: 0,
            phase: Phase::Start,
            out: BytesMut::new(),
            reply: self,
        };
        let split = stream.reply.plan.split_bytes;
        let frames =
            futures::stream::unfold(stream, async |mut stream| stream.next().await.map(|frame| (frame, stream)));
        let body = if split { Body::from_stream(byte_by_byte(frames)) } else { Body::from_stream(frames) };
        (headers, body).into_response()
    }

    async fn wait_for_first_byte(&self) {
        if self.plan.hangs_first {
            std::future::pending::<Infallible>().await;
        }
        if self.plan.slow_first_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.plan.slow_first_ms)).await;
        }
    }

    /// What was used when so many tokens of text were generated.
    fn usage(&self, generated: u64) -> Usage {
        Usage { output_tokens: generated, reasoning_tokens: self.plan.reasoning_tokens, ..self.input }
    }

    fn reported(&self, usage: &Usage) -> Option<Usage> {
        match self.plan.report {
            Report::True => Some(*usage),
            Report::Nothing => None,
            Report::Zero => Some(Usage::default()),
        }
    }

    /// Puts usage on the bill: what a provider reports as zero, it also bills as zero.
    fn bill(&self, usage: Usage) {
        let billed = if self.plan.report == Report::Zero { Usage::default() } else { usage };
        self.record.update(|record| record.billed = billed);
    }
}

fn duration_of(tokens: u64, pace: u32) -> Duration {
    Duration::from_millis(tokens.saturating_mul(1_000) / u64::from(pace.max(1)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Text,
    Over,
}

struct Stream<W> {
    reply: Reply<W>,
    pace: u32,
    began: Instant,
    /// Bytes of text that were handed over.
    sent: usize,
    pieces: u64,
    phase: Phase,
    out: BytesMut,
}

type Frame = Result<Bytes, std::io::Error>;

impl<W: Wire> Stream<W> {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.phase {
                Phase::Start => {
                    let input = self.reply.reported(&self.reply.input).unwrap_or(self.reply.input);
                    self.reply.wire.start(&input, &mut self.out);
                    self.reply.bill(self.reply.usage(0));
                    self.phase = Phase::Text;
                    if self.pace > 0 {
                        return Some(Ok(self.frame()));
                    }
                }
                Phase::Text => {
                    if let Some((_, how)) = self.reply.plan.breaks.filter(|(pieces, _)| *pieces == self.pieces) {
                        if !self.out.is_empty() {
                            return Some(Ok(self.frame()));
                        }
                        return Some(self.break_off(how).await);
                    }
                    if self.sent >= self.reply.answer.text.len() {
                        return Some(Ok(self.finish()));
                    }
                    if self.pace > 0 {
                        let due = tokens(self.sent) + self.reply.plan.reasoning_tokens;
                        tokio::time::sleep_until(self.began + duration_of(due, self.pace)).await;
                    }
                    self.write_piece();
                    if self.pace > 0 || self.out.len() >= FRAME_BYTES {
                        self.reply.bill(self.reply.usage(tokens(self.sent)));
                        return Some(Ok(self.frame()));
                    }
                }
                Phase::Over => return None,
            }
        }
    }

    /// The next piece of text: so many tokens, and the rest of a letter that would be split.
    fn write_piece(&mut self) {
        let text = &self.reply.answer.text;
        let size = usize::try_from(self.reply.plan.chunk_tokens.saturating_mul(4)).unwrap_or(usize::MAX);
        // Up to the next multiple of the size, so that a long letter does not shift the pieces after it.
        let mut end = (self.sent / size + 1).saturating_mul(size).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let piece = text.get(self.sent..end).unwrap_or("");
        self.reply.wire.piece(piece, &mut self.out);
        self.sent = end;
        self.pieces += 1;
    }

    fn finish(&mut self) -> Bytes {
        let usage = self.reply.usage(tokens(self.sent));
        let reported = self.reply.reported(&usage);
        self.reply.wire.end(reported.as_ref(), self.reply.answer.hit_limit, &mut self.out);
        self.reply.bill(usage);
        self.reply.world.providers.log.finish(&self.reply.record, Ending::Complete);
        self.phase = Phase::Over;
        self.frame()
    }

    async fn break_off(&mut self, how: Break) -> Frame {
        self.reply.bill(self.reply.usage(tokens(self.sent)));
        self.phase = Phase::Over;
        match how {
            // It ends when the client hangs up.
            Break::Hang => std::future::pending().await,
            Break::Cut => {
                // What was written before must have left, or the break would swallow it.
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.reply.world.providers.log.finish(&self.reply.record, Ending::Cut);
                Err(std::io::Error::other("the sandbox cut the connection"))
            }
            Break::Error => {
                self.reply.wire.error(&mut self.out);
                self.reply.world.providers.log.finish(&self.reply.record, Ending::Failed);
                Ok(self.frame())
            }
        }
    }

    /// What was written since the last frame. The text was billed before this.
    fn frame(&mut self) -> Bytes {
        if self.phase == Phase::Text {
            self.reply.bill(self.reply.usage(tokens(self.sent)));
        }
        let out = self.out.split().freeze();
        if !self.reply.plan.crlf {
            return out;
        }
        let mut changed = BytesMut::with_capacity(out.len() + 64);
        for byte in &out {
            if *byte == b'\n' {
                changed.put_u8(b'\r');
            }
            changed.put_u8(*byte);
        }
        changed.freeze()
    }
}

/// Each byte in a frame of its own, with a pause for it to leave.
fn byte_by_byte(frames: impl futures::Stream<Item = Frame>) -> impl futures::Stream<Item = Frame> {
    use futures::StreamExt as _;
    frames.flat_map(|frame| {
        let bytes: Vec<Frame> = match frame {
            Ok(frame) => (0..frame.len()).map(|at| Ok(frame.slice(at..=at))).collect(),
            Err(error) => vec![Err(error)],
        };
        futures::stream::iter(bytes).then(async |byte| {
            tokio::task::yield_now().await;
            byte
        })
    })
}

/// Writes formatted text; a buffer in memory takes everything.
pub fn put(out: &mut BytesMut, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Writes text as the inside of a JSON string.
pub fn escape_json(text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 8);
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1F => b"\\ufffd",
            _ => continue,
        };
        out.put_slice(bytes.get(plain_from..at).unwrap_or_default());
        out.put_slice(escaped);
        plain_from = at + 1;
    }
    out.put_slice(bytes.get(plain_from..).unwrap_or_default());
}
