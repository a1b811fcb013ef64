//! The outside world of Tokenbank, for the demo, the tests and the benchmarks: Stripe, Anthropic, OpenAI and a mailbox, as
//! HTTP and SMTP servers with their state in memory. It speaks the real wire formats and does every fault on demand.
//! Never here: anything that a production path links in.

// The JSON of Stripe's larger objects.
#![recursion_limit = "256"]

mod clock;
mod control;
mod html;
mod mailbox;
mod provider;
mod receiver;
mod stripe;
mod task;
mod world;

pub use clock::fresh_seed;
pub use domain::dispute::DisputeState;
pub use mailbox::Mail;
pub use provider::fault::Fault;
pub use provider::record::{Ending, ProviderRequest, Totals, Usage};
pub use provider::{Family, Rule};
pub use stripe::delivery::{Delivery, Signature, WebhookMode};
pub use stripe::dispute::NewDispute;
pub use stripe::{ApiFault, ApiFaultKind, PayOutcome};

use clock::Clock;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use world::World;

/// How a sandbox starts. `Options::default()` takes free ports, seed 1, and writes as fast as it can.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 takes a free port.
    pub port: u16,
    /// 0 takes a free port.
    pub smtp_port: u16,
    /// Where Stripe's webhooks go, and the secret that signs them; can be set later.
    pub webhook: Option<(String, String)>,
    /// Where browsers find the hosted pages, if not at the address it listens on.
    pub public_url: Option<String>,
    /// Decides ids and texts.
    pub seed: u64,
    /// How fast the models write, in tokens a second; 0 is as fast as possible.
    pub pace: u32,
    /// Seconds since 1970: the clock stands there until it is moved. `None` follows the machine's clock.
    pub now: Option<i64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { port: 0, smtp_port: 0, webhook: None, public_url: None, seed: 1, pace: 0, now: None }
    }
}

/// A running sandbox on 127.0.0.1. It ends when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub base_url: String,
    pub smtp_addr: SocketAddr,
    world: World,
}

/// Starts a sandbox on 127.0.0.1.
pub async fn start(options: Options) -> std::io::Result<Sandbox> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let smtp = TcpListener::bind((Ipv4Addr::LOCALHOST, options.smtp_port)).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let smtp_addr = smtp.local_addr()?;
    let public_url = options.public_url.unwrap_or_else(|| base_url.clone());
    let world: World = Arc::new(world::Parts {
        clock: Clock::new(options.now, options.seed),
        tasks: task::Tasks::default(),
        public_url: public_url.trim_end_matches('/').to_owned(),
        smtp_addr,
        stripe: stripe::Stripe::new(),
        providers: provider::Providers::new(options.seed, options.pace),
        mailbox: mailbox::Mailbox::default(),
        receiver: receiver::Receiver::default(),
    });
    let sandbox = Sandbox { base_url, smtp_addr, world: world.clone() };
    if let Some((url, secret)) = options.webhook {
        sandbox.set_webhook(url, secret);
    }
    world.tasks.spawn(control::serve(world.clone(), listener));
    world.tasks.spawn(mailbox::smtp::serve(world.clone(), smtp));
    world.tasks.spawn(stripe::delivery::work(world.clone()));
    Ok(sandbox)
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.world.tasks.stop();
    }
}

impl Sandbox {
    /// For `STRIPE_API_URL`: ends in a slash, as async-stripe wants it.
    pub fn stripe_url(&self) -> String {
        format!("{}/stripe/", self.base_url)
    }

    pub fn anthropic_url(&self) -> String {
        format!("{}/anthropic", self.base_url)
    }

    pub fn openai_url(&self) -> String {
        format!("{}/openai", self.base_url)
    }

    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.smtp_addr)
    }

    /// Forgets everything that happened and every fault that was asked for.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Moves the sandbox's time forward; sessions whose time is over expire.
    pub fn advance_seconds(&self, seconds: i64) {
        self.world.clock.advance_seconds(seconds);
        stripe::sweep(&self.world);
    }

    /// Stops the sandbox's clock at a moment, in seconds since 1970, so that it agrees with a test's clock.
    pub fn stand_at(&self, seconds: i64) {
        self.world.clock.stand_at(seconds);
        stripe::sweep(&self.world);
    }

    /// Where webhooks go from now on, and the secret that signs them.
    pub fn set_webhook(&self, url: impl Into<String>, secret: impl Into<String>) {
        self.world.stripe.delivery.set_endpoint(url.into(), secret.into());
    }

    /// How webhooks are delivered from now on: duplicates, order, delay, loss, forgery.
    pub fn set_webhook_mode(&self, mode: WebhookMode) {
        self.world.stripe.delivery.set_mode(mode);
    }

    /// Delivers every webhook that waits, one after the other, and returns what the endpoint answered. With
    /// [`WebhookMode::hold`] nothing is delivered but by this.
    pub async fn deliver_now(&self) -> Vec<Delivery> {
        stripe::delivery::deliver_now(&self.world).await
    }

    /// Delivers an event once more; empty if there is no such event.
    pub async fn redeliver(&self, event_id: &str) -> Vec<Delivery> {
        stripe::delivery::redeliver(&self.world, event_id).await
    }

    /// Every delivery that was tried, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.world.stripe.delivery.log()
    }

    /// Ends when no webhook waits or is under way.
    pub async fn webhooks_delivered(&self) {
        self.world.stripe.delivery.idle().await;
    }

    /// Pays a Checkout Session with a card, as the hosted page does; a 3-D Secure card is authenticated.
    pub fn pay(&self, session_id: &str, card_number: &str) -> PayOutcome {
        stripe::pay::pay_at_once(&self.world, session_id, card_number)
    }

    /// Ends the payments that settle later (bank debits), with success or failure as their account says.
    pub fn settle(&self) {
        stripe::pay::settle(&self.world);
    }

    /// New refunds stay pending from now on, until [`Sandbox::end_refunds`].
    pub fn hold_refunds(&self) {
        stripe::refund::set_waiting(&self.world, true);
    }

    /// Ends refunds that wait. With `false` they fail, and those that were sent come back as well.
    pub fn end_refunds(&self, succeed: bool) {
        stripe::refund::set_waiting(&self.world, false);
        stripe::refund::end(&self.world, succeed);
    }

    /// A cardholder disputes a payment; the dispute's id, or `None` if nothing was taken with it.
    pub fn open_dispute(&self, new: &NewDispute) -> Option<String> {
        stripe::dispute::open(&self.world, new)
    }

    /// Moves a dispute that is not over to another state; whether it did.
    pub fn advance_dispute(&self, id: &str, to: DisputeState) -> bool {
        stripe::dispute::advance(&self.world, id, to)
    }

    /// A bank reports a payment as possible fraud; the warning's id.
    pub fn warn_of_fraud(&self, payment_intent: &str) -> Option<String> {
        stripe::dispute::warn(&self.world, payment_intent)
    }

    /// Gives a customer another card, which their subscription pays with from now on.
    pub fn set_card(&self, customer_id: &str, card_number: &str) {
        stripe::set_card(&self.world, customer_id, card_number);
    }

    /// What the bank says of a kept card from now on: `pays`, `authenticate`, or one of Stripe's decline codes.
    pub fn set_card_fate(&self, method_id: &str, word: &str) -> bool {
        stripe::set_card_fate(&self.world, method_id, word)
    }

    /// Every `subscription`, `invoice` or `meter_event`, oldest first, as the API answers it.
    pub fn billed(&self, kind: &str) -> Vec<Value> {
        stripe::billed(&self.world, kind)
    }

    /// Edits something as a person does in Stripe's dashboard: `POST` of a form to a path such as `/v1/prices/price_1`.
    pub fn edit(&self, path: &str, form: &str) -> Result<Value, String> {
        stripe::edit(&self.world, path, form)
    }

    /// Every event of Stripe's, oldest first.
    pub fn stripe_events(&self) -> Vec<Value> {
        stripe::event::all(&self.world)
    }

    /// One object of Stripe's by its id, as the API answers it.
    pub fn stripe_object(&self, id: &str) -> Option<Value> {
        stripe::find(&self.world, id)
    }

    /// Makes the next requests to Stripe's API fail in a way.
    pub fn set_stripe_fault(&self, fault: ApiFault) {
        self.world.stripe.set_fault(fault);
    }

    /// Makes requests to the providers fail in a way, from the next one on.
    pub fn inject(&self, rule: Rule) {
        self.world.providers.inject(rule);
    }

    /// Ends every rule that was injected.
    pub fn clear_faults(&self) {
        self.world.providers.clear_rules();
    }

    /// How fast the models write, in tokens a second; 0 is as fast as possible.
    pub fn set_pace(&self, tokens_per_second: u32) {
        self.world.providers.set_pace(tokens_per_second);
    }

    /// What the providers were asked and what they billed, oldest first (the last 50,000).
    pub fn requests(&self) -> Vec<ProviderRequest> {
        self.world.providers.log.list()
    }

    /// The providers' bill as a whole.
    pub fn totals(&self) -> Totals {
        self.world.providers.log.totals()
    }

    /// The mail to an address, oldest first.
    pub fn mail_to(&self, address: &str) -> Vec<Mail> {
        self.world.mailbox.list_to(address)
    }
}
