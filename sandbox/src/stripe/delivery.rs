//! Owns: webhooks on their way: the queue, signatures, retries, and every way in which deliveries go wrong on demand.
//! Invariant: unless told to lose events, each one is tried until it is accepted or its tries are used up.

use super::store::Call;
use crate::clock::mix;
use crate::task::lock;
use crate::world::World;
use bytes::Bytes;
use domain::text_enum;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Stripe tries for days; the sandbox 8 times within about a minute.
const MOST_TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(20);

text_enum! {
    /// How deliveries are signed.
    Signature {
        Good = "good",
        /// Somebody else's secret.
        WrongSecret = "wrong_secret",
        /// The signature of whoever knows that the secret was left empty.
        EmptySecret = "empty_secret",
        /// Signed well, but the amount in the body was raised afterwards.
        AlteredBody = "altered_body",
        /// Signed ten minutes ago.
        Old = "old",
        /// No signature at all.
        Missing = "missing",
    }
}

/// How webhooks are delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookMode {
    /// How often each event is delivered, at the same moment.
    pub copies: u32,
    /// `deliver_now` delivers in a mixed order.
    pub shuffle: bool,
    pub delay_ms: u64,
    /// Nothing is delivered, ever (events stay readable at the API).
    pub drop: bool,
    /// Nothing is delivered until `deliver_now`.
    pub hold: bool,
    pub signature: Signature,
}

impl Default for WebhookMode {
    fn default() -> WebhookMode {
        WebhookMode { copies: 1, shuffle: false, delay_ms: 0, drop: false, hold: false, signature: Signature::Good }
    }
}

/// One delivery that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub event_id: String,
    pub event_type: String,
    /// 1 for the first.
    pub attempt: u32,
    /// What the endpoint answered; `None` if it could not be reached in time.
    pub status: Option<u16>,
}

#[derive(Clone, Debug)]
struct Waiting {
    event_id: String,
    event_type: String,
    body: Bytes,
    due: Instant,
    attempt: u32,
}

/// The events that wait, and what is known of those that were sent.
#[derive(Debug)]
pub struct DeliveryQueue {
    endpoint: Mutex<Option<(String, String)>>,
    mode: Mutex<WebhookMode>,
    waiting: Mutex<VecDeque<Waiting>>,
    log: Mutex<Vec<Delivery>>,
    under_way: AtomicUsize,
    changed: Notify,
    http: reqwest::Client,
}

impl DeliveryQueue {
    pub fn new() -> DeliveryQueue {
        DeliveryQueue {
            endpoint: Mutex::default(),
            mode: Mutex::default(),
            waiting: Mutex::default(),
            log: Mutex::default(),
            under_way: AtomicUsize::new(0),
            changed: Notify::new(),
            http: http_client(),
        }
    }

    pub fn set_endpoint(&self, url: String, secret: String) {
        *lock(&self.endpoint) = Some((url, secret));
        self.changed.notify_waiters();
    }

    pub fn has_endpoint(&self) -> bool {
        lock(&self.endpoint).is_some()
    }

    pub fn set_mode(&self, mode: WebhookMode) {
        *lock(&self.mode) = mode;
        self.changed.notify_waiters();
    }

    pub fn mode(&self) -> WebhookMode {
        lock(&self.mode).clone()
    }

    pub fn log(&self) -> Vec<Delivery> {
        lock(&self.log).clone()
    }

    pub fn reset(&self) {
        lock(&self.waiting).clear();
        lock(&self.log).clear();
        self.set_mode(WebhookMode::default());
    }

    pub fn enqueue(&self, event_id: String, event_type: String, body: Bytes) {
        let mode = self.mode();
        if mode.drop || !self.has_endpoint() {
            return;
        }
        let due = Instant::now() + Duration::from_millis(mode.delay_ms);
        lock(&self.waiting).push_back(Waiting { event_id, event_type, body, due, attempt: 1 });
        self.changed.notify_waiters();
    }

    /// Ends when nothing waits or is under way.
    pub async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if lock(&self.waiting).is_empty() && self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Takes what is due; everything if `all`. What is taken counts as under way.
    fn take(&self, all: bool) -> Vec<Waiting> {
        let now = Instant::now();
        let mut waiting = lock(&self.waiting);
        let (taken, left): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|event| all || event.due <= now);
        waiting.extend(left);
        self.under_way.fetch_add(taken.len(), Ordering::SeqCst);
        taken
    }

    fn next_due(&self) -> Option<Instant> {
        lock(&self.waiting).iter().map(|event| event.due).min()
    }
}

#[allow(clippy::disallowed_methods)] // The sandbox's one client; it only speaks to the webhook endpoint.
fn http_client() -> reqwest::Client {
    // The client wants to know which cryptography it may use, even to speak plain HTTP.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .user_agent("Stripe/1.0 (sandbox)")
        .build()
        .unwrap_or_default()
}

/// The background work: delivers what is due.
pub async fn work(world: World) {
    let queue = &world.stripe.delivery;
    loop {
        let changed = queue.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        super::sweep(&world);
        if !queue.mode().hold {
            for event in queue.take(false) {
                let world_of_task = world.clone();
                world.tasks.spawn(async move {
                    deliver(&world_of_task, event).await;
                });
            }
        }
        // At least once a second, so that sessions expire in time.
        let tick = Instant::now() + Duration::from_secs(1);
        let wake = match queue.next_due() {
            Some(due) if !queue.mode().hold => due.min(tick),
            Some(_) | None => tick,
        };
        tokio::select! {
            () = &mut changed => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// Delivers everything that waits, one event after the other, and tells what was answered.
pub async fn deliver_now(world: &World) -> Vec<Delivery> {
    let queue = &world.stripe.delivery;
    let mut events = queue.take(true);
    if queue.mode().shuffle {
        let mixed = world.clock.random();
        let mut keyed: Vec<(u64, Waiting)> = (0_u64..).map(|place| mix(mixed ^ place)).zip(events).collect();
        keyed.sort_by_key(|(key, _)| *key);
        events = keyed.into_iter().map(|(_, event)| event).collect();
    }
    let mut answers = Vec::new();
    for event in events {
        answers.extend(deliver(world, event).await);
    }
    answers
}

/// Delivers a recorded event once more.
pub async fn redeliver(world: &World, event_id: &str) -> Vec<Delivery> {
    let event = super::with_call(world, |call: &mut Call<'_>| {
        let json = call.json(event_id);
        let kind = json.get("type")?.as_str()?.to_owned();
        let body = serde_json::to_string_pretty(&json).ok()?;
        Some(Waiting {
            event_id: event_id.to_owned(),
            event_type: kind,
            body: body.into(),
            due: Instant::now(),
            attempt: 1,
        })
    });
    match event {
        Some(event) => {
            world.stripe.delivery.under_way.fetch_add(1, Ordering::SeqCst);
            deliver(world, event).await
        }
        None => Vec::new(),
    }
}

/// Sends an event as often as the mode says, all copies at once. If none is accepted, it waits for the next try.
async fn deliver(world: &World, event: Waiting) -> Vec<Delivery> {
    let queue = &world.stripe.delivery;
    let mode = queue.mode();
    let endpoint = lock(&queue.endpoint).clone();
    let mut tried = Vec::new();
    if let Some((url, secret)) = endpoint.filter(|_| !mode.drop) {
        let copies = (0..mode.copies.max(1)).map(|_| send(world, &url, &secret, mode.signature, &event));
        tried = futures::future::join_all(copies).await;
    }
    lock(&queue.log).extend(tried.iter().cloned());
    let accepted = tried.iter().any(|delivery| delivery.status.is_some_and(|status| (200..300).contains(&status)));
    if !accepted && !mode.drop && event.attempt < MOST_TRIES {
        let pause = FIRST_PAUSE * 2_u32.pow(event.attempt - 1);
        lock(&queue.waiting).push_back(Waiting { due: Instant::now() + pause, attempt: event.attempt + 1, ..event });
    }
    queue.under_way.fetch_sub(1, Ordering::SeqCst);
    queue.changed.notify_waiters();
    tried
}

async fn send(world: &World, url: &str, secret: &str, signature: Signature, event: &Waiting) -> Delivery {
    let now = world.clock.delivers_at();
    let (header, body) = match signature {
        Signature::Good => (Some(sign(secret, now, &event.body)), event.body.clone()),
        Signature::WrongSecret => (Some(sign("whsec_somebody_else", now, &event.body)), event.body.clone()),
        Signature::EmptySecret => (Some(sign("", now, &event.body)), event.body.clone()),
        Signature::AlteredBody => (Some(sign(secret, now, &event.body)), raise_amounts(&event.body)),
        Signature::Old => (Some(sign(secret, now - 600, &event.body)), event.body.clone()),
        Signature::Missing => (None, event.body.clone()),
    };
    let mut request =
        world.stripe.delivery.http.post(url).header("content-type", "application/json; charset=utf-8").body(body);
    if let Some(header) = header {
        request = request.header("stripe-signature", header);
    }
    let status = request.send().await.ok().map(|response| response.status().as_u16());
    Delivery { event_id: event.event_id.clone(), event_type: event.event_type.clone(), attempt: event.attempt, status }
}

/// `Stripe-Signature`: HMAC-SHA256 over the time, a dot, and the raw body.
fn sign(secret: &str, at: i64, body: &[u8]) -> String {
    let code = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        Ok(mut mac) => {
            mac.update(at.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            hex::encode(mac.finalize().into_bytes())
        }
        // HMAC takes keys of any length.
        Err(_) => String::new(),
    };
    format!("t={at},v1={code}")
}

/// What a thief would do: every amount with a 9 before it.
fn raise_amounts(body: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(body);
    text.replace("\"amount_total\": ", "\"amount_total\": 9").replace("\"amount\": ", "\"amount\": 9").into()
}
