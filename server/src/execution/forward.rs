//! Owns: carrying a provider's answer to its reader, and reading its usage on the side.
//! Does not own: what it costs or how the run ends (`finish`).
//! Invariant: complete frames reach a client unchanged and at once; a client that leaves stops nothing, because the
//! provider bills on.

use super::mask::Mask;
use super::run::{Plan, Reader};
use crate::Server;
use crate::ledger::Hold;
use crate::provider::{Reading, Tap};
use bytes::Bytes;
use domain::execution::{TokenUsage, cost};
use domain::money::Usd;
use domain::time::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::time::{Instant, timeout_at};

/// How long a client may not take a chunk before it counts as gone.
const STALLED: Duration = Duration::from_secs(60);
/// The longest answer that is not streamed.
const LONGEST_WHOLE: usize = 32 << 20;
/// An open hold is renewed when it has less than this left, in seconds.
const RENEW_BELOW: i64 = 600;
/// How long a hold lives without renewal, in seconds.
pub(super) const HOLD_SECONDS: i64 = 900;

/// What came of an answer.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub reading: Reading,
    pub first_token_at: Option<Timestamp>,
    pub cut: Option<Cut>,
    /// The reader left before the end.
    pub left: bool,
}

/// What ended an answer before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The provider closed, broke off, or sent an error.
    Provider(String),
    /// Nothing came for too long.
    Silent,
    /// The reader had left, and the provider did not end in time.
    Drained,
    /// The server was told to stop.
    Stopping,
}

impl Cut {
    /// What happened, for the note of the run and the error of the stream.
    pub fn words(&self, provider: &str) -> String {
        match self {
            Cut::Provider(problem) => format!("{provider} {problem}"),
            Cut::Silent => format!("{provider} fell silent"),
            Cut::Drained => format!("The connection closed and {provider} did not end in time"),
            Cut::Stopping => "This server was restarted".to_owned(),
        }
    }
}

/// Carries a stream to its end, or to what cuts it.
pub(super) async fn forward(
    server: &Server,
    plan: &Plan,
    hold: &mut Hold,
    (mut response, mask): (reqwest::Response, Option<&Mask>),
    reader: &mut Reader,
) -> Delivery {
    let mut masking = mask.map(Mask::begin);
    let patience = server.providers.patience;
    let mut tap = Tap::new(&*plan.provider);
    let mut delivery = Delivery::default();
    let mut frames = Frames::default();
    let mut silent_at = Instant::now() + patience.stream;
    let mut ends_at: Option<(Instant, Cut)> = None;
    let cut = loop {
        let now = Instant::now();
        if ends_at.is_none() && reader.has_left() {
            delivery.left = true;
            ends_at = Some((now + patience.drain, Cut::Drained));
        }
        if server.tasks.is_stopping() && !matches!(ends_at, Some((_, Cut::Stopping))) {
            ends_at = Some((now + patience.stopping, Cut::Stopping));
        }
        renew_if_due(server, hold).await;
        let wake_at = silent_at.min(now + Duration::from_secs(1));
        let chunk = match timeout_at(wake_at, response.chunk()).await {
            Err(_) if Instant::now() >= silent_at => break Some(Cut::Silent),
            Err(_) => Ok(None),
            Ok(Ok(Some(chunk))) => Ok(Some(chunk)),
            Ok(Ok(None)) => Err(None),
            Ok(Err(error)) => {
                tracing::info!(provider = plan.provider.name(), %error, "an answer broke off");
                Err(Some(Cut::Provider("broke off in the middle".to_owned())))
            }
        };
        match chunk {
            Ok(None) => {}
            Ok(Some(chunk)) => {
                silent_at = Instant::now() + patience.stream;
                let frame_end = tap.read(&chunk, &mut |text| match &mut masking {
                    Some(masking) => reader.show(&masking.text(text)),
                    None => reader.show(text),
                });
                if delivery.first_token_at.is_none() && tap.reading.output_bytes > 0 {
                    delivery.first_token_at = Some(server.clock.now());
                }
                reader.show_meter(plan, &tap.reading);
                for complete in frames.take(chunk, frame_end) {
                    match &mut masking {
                        Some(masking) => reader.pass(masking.frames(&complete)).await,
                        None => reader.pass(complete).await,
                    }
                }
            }
            Err(cut) => break cut,
        }
        if let Some((at, cut)) = &ends_at
            && Instant::now() >= *at
        {
            break Some(cut.clone());
        }
    };
    delivery.reading = tap.reading;
    if let (Some(mask), Some(error)) = (mask, &mut delivery.reading.error) {
        *error = mask.text(error);
    }
    delivery.cut = cut.or_else(|| broken(&delivery.reading));
    let rest = if delivery.cut.is_none() { frames.rest() } else { Vec::new() };
    match masking {
        Some(mut masking) => {
            for part in rest {
                reader.pass(masking.frames(&part)).await;
            }
            let (text, bytes) = masking.rest();
            reader.show(&text);
            reader.pass(bytes).await;
        }
        None => {
            for part in rest {
                reader.pass(part).await;
            }
        }
    }
    delivery.left = delivery.left || reader.has_left();
    delivery
}

/// Reads an answer that is not streamed, whole.
pub(super) async fn read_whole(
    server: &Server,
    plan: &Plan,
    hold: &mut Hold,
    (mut response, mask): (reqwest::Response, Option<&Mask>),
) -> (Delivery, Bytes) {
    let ends_at = Instant::now() + server.providers.patience.whole;
    let mut delivery = Delivery::default();
    let mut parts: Vec<Bytes> = Vec::new();
    let mut length = 0_usize;
    let cut = loop {
        renew_if_due(server, hold).await;
        match timeout_at(ends_at.min(Instant::now() + Duration::from_secs(60)), response.chunk()).await {
            Err(_) if Instant::now() >= ends_at => break Some(Cut::Silent),
            Err(_) => {}
            Ok(Ok(Some(chunk))) if length + chunk.len() <= LONGEST_WHOLE => {
                length += chunk.len();
                parts.push(chunk);
            }
            Ok(Ok(Some(_))) => break Some(Cut::Provider("answered more than can be read".to_owned())),
            Ok(Ok(None)) => break None,
            Ok(Err(_)) => break Some(Cut::Provider("broke off in the middle".to_owned())),
        }
    };
    let body = match parts.as_slice() {
        [whole] => whole.clone(),
        parts => Bytes::from(parts.concat()),
    };
    plan.provider.read_whole(&body, &mut delivery.reading);
    let body = match mask {
        Some(mask) => {
            delivery.reading.error = delivery.reading.error.take().map(|error| mask.text(&error));
            mask.whole(body)
        }
        None => body,
    };
    if delivery.reading.output_bytes > 0 {
        delivery.first_token_at = Some(server.clock.now());
    }
    delivery.cut = cut.or_else(|| broken(&delivery.reading));
    (delivery, body)
}

/// A stream that closed without saying that it is over is no success.
fn broken(reading: &Reading) -> Option<Cut> {
    match &reading.error {
        Some(error) => Some(Cut::Provider(format!("sent an error ({error})"))),
        None if reading.ended || reading.stop.is_some() => None,
        None => Some(Cut::Provider("closed before the end".to_owned())),
    }
}

/// The hold of a run that is still going never times out.
async fn renew_if_due(server: &Server, hold: &mut Hold) {
    let now = server.clock.now();
    if hold.expires_at() >= now.plus_seconds(RENEW_BELOW) {
        return;
    }
    let id = hold.execution_id().clone();
    if let Err(error) = server.ledger.renew(hold, now.plus_seconds(HOLD_SECONDS)).await {
        tracing::error!(execution_id = %id, %error, "renewing the hold of a running execution");
    }
}

/// What it has cost so far, as far as one can tell while it runs.
pub(super) fn cost_so_far(plan: &Plan, reading: &Reading) -> (TokenUsage, Usd) {
    let (usage, _) = reading.usage(plan.input_tokens);
    (usage, cost(&plan.prices, &usage).unwrap_or_default())
}

/// Keeps the start of a frame until its end has come, so that a frame is never passed in half before an error.
#[derive(Default)]
struct Frames {
    waiting: Vec<Bytes>,
    bytes: usize,
}

impl Frames {
    /// The bytes that belong to complete frames now.
    fn take(&mut self, chunk: Bytes, frame_end: Option<usize>) -> Vec<Bytes> {
        // A frame longer than this is passed in parts.
        const LONGEST_FRAME: usize = 256 << 10;
        let end = match frame_end {
            Some(end) => end,
            None if self.bytes + chunk.len() > LONGEST_FRAME => chunk.len(),
            None => 0,
        };
        let mut complete = Vec::new();
        if end > 0 {
            complete = std::mem::take(&mut self.waiting);
            complete.push(chunk.slice(..end));
            self.bytes = 0;
        }
        if end < chunk.len() {
            self.bytes += chunk.len() - end;
            self.waiting.push(chunk.slice(end..));
        }
        complete
    }

    fn rest(self) -> Vec<Bytes> {
        self.waiting
    }
}

/// Sends to a client without blocking the run on one that has stalled; false if it is gone.
pub(super) async fn send_to_client<T>(client: &tokio::sync::mpsc::Sender<T>, item: T) -> bool {
    match client.try_send(item) {
        Ok(()) => true,
        Err(TrySendError::Closed(_)) => false,
        Err(TrySendError::Full(item)) => match client.send_timeout(item, STALLED).await {
            Ok(()) => true,
            Err(SendTimeoutError::Closed(_) | SendTimeoutError::Timeout(_)) => false,
        },
    }
}
