//! Owns: every route on one page, and `/control/…`, which mirrors the library's functions as JSON for the browser tests.

use crate::html::{escape, money, page};
use crate::mailbox;
use crate::provider::{self, Rule};
use crate::receiver;
use crate::stripe::delivery::{self, WebhookMode};
use crate::stripe::dispute::NewDispute;
use crate::stripe::{self, ApiFault, PayOutcome};
use crate::world::World;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::Html;
use axum::routing::{any, get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use domain::dispute::DisputeState;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves until the sandbox ends.
pub async fn serve(world: World, listener: TcpListener) {
    let listener = listener.tap_io(|stream| {
        // Streams must not wait for a full packet.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {error}");
        }
    });
    if let Err(error) = axum::serve(listener, router(world)).await {
        tracing::error!("the sandbox's HTTP server ended: {error}");
    }
}

fn router(world: World) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(async || "ok"))
        .route("/stripe/{*path}", any(stripe::handle))
        .route("/checkout/{session}", get(stripe::page::show).post(stripe::page::submit))
        .route(
            "/checkout/{session}/authenticate",
            get(stripe::page::show_authentication).post(stripe::page::authenticate),
        )
        .route("/authenticate/{intent}", get(stripe::authenticate::show).post(stripe::authenticate::submit))
        .route("/invoice/{invoice}", get(stripe::invoice_page::show).post(stripe::invoice_page::submit))
        .route("/invoice/{invoice}/pdf", get(stripe::invoice_page::show))
        .route("/portal/{session}", get(stripe::portal::show).post(stripe::portal::submit))
        .route("/anthropic/v1/messages", post(provider::anthropic::messages))
        .route("/anthropic/v1/messages/count_tokens", post(provider::anthropic::count_tokens))
        .route("/anthropic/v1/models", get(provider::anthropic::models))
        .route("/openai/v1/chat/completions", post(provider::openai::chat_completions))
        .route("/openai/v1/models", get(provider::openai::models))
        .route("/gemini/v1beta/openai/chat/completions", post(provider::dialect::gemini))
        .route("/groq/openai/v1/chat/completions", post(provider::dialect::groq))
        .route("/deepseek/chat/completions", post(provider::dialect::deepseek))
        .route("/openrouter/api/v1/chat/completions", post(provider::dialect::openrouter))
        .route("/together/v1/chat/completions", post(provider::dialect::together))
        .route("/ollama/v1/chat/completions", post(provider::dialect::ollama))
        .route("/gemini/v1beta/models", get(provider::keys::gemini))
        .route("/groq/openai/v1/models", get(provider::keys::groq))
        .route("/deepseek/user/balance", get(provider::keys::deepseek))
        .route("/openrouter/api/v1/key", get(provider::keys::openrouter))
        .route("/openrouter/auth", get(provider::connect::show).post(provider::connect::submit))
        .route("/openrouter/api/v1/auth/keys", post(provider::connect::exchange))
        .route("/together/v1/models", get(provider::keys::together))
        .route("/ollama/api/tags", get(provider::keys::ollama))
        .route("/mailbox", get(mailbox::page::list))
        .route("/mailbox/{id}", get(mailbox::page::show))
        .route("/receiver", get(receiver::show).post(receiver::accept))
        .route("/receiver/{status}", post(receiver::accept_with))
        .route("/control/received", get(receiver::list))
        .route("/control/mail", get(list_mail))
        .route("/control/requests", get(list_requests))
        .route("/control/events", get(list_events))
        .route("/control/deliveries", get(list_deliveries))
        .route("/control/object", get(show_object))
        .route("/control/webhook", post(set_webhook))
        .route("/control/webhook-mode", get(show_webhook_mode).post(set_webhook_mode))
        .route("/control/deliver", post(deliver))
        .route("/control/redeliver", post(redeliver))
        .route("/control/pay", post(pay))
        .route("/control/settle", post(settle))
        .route("/control/card", post(set_card))
        .route("/control/card-fate", post(set_card_fate))
        .route("/control/refunds", post(set_refunds))
        .route("/control/dispute", post(open_dispute))
        .route("/control/dispute-state", post(advance_dispute))
        .route("/control/fraud-warning", post(warn_of_fraud))
        .route("/control/billed", get(list_billed))
        .route("/control/stripe-fault", post(set_stripe_fault))
        .route("/control/fault", post(inject))
        .route("/control/clear-faults", post(clear_faults))
        .route("/control/pace", post(set_pace))
        .route("/control/clock", get(show_clock).post(move_clock))
        .route("/control/reset", post(reset))
        .layer(DefaultBodyLimit::max(16 * 1024 * 1024))
        .with_state(world)
}

#[derive(Deserialize)]
struct MailFilter {
    to: Option<String>,
}

async fn list_mail(State(world): State<World>, Query(filter): Query<MailFilter>) -> Json<Value> {
    let mails = match filter.to {
        Some(to) => world.mailbox.list_to(&to),
        None => world.mailbox.list(),
    };
    Json(json!(mails))
}

async fn list_requests(State(world): State<World>) -> Json<Value> {
    Json(json!({"totals": world.providers.log.totals(), "requests": world.providers.log.list()}))
}

async fn list_events(State(world): State<World>) -> Json<Value> {
    Json(json!(stripe::event::all(&world)))
}

async fn list_deliveries(State(world): State<World>) -> Json<Value> {
    Json(json!(world.stripe.delivery.log()))
}

#[derive(Deserialize)]
struct ObjectId {
    id: String,
}

async fn show_object(State(world): State<World>, Query(query): Query<ObjectId>) -> Json<Value> {
    Json(stripe::find(&world, &query.id).unwrap_or(Value::Null))
}

#[derive(Deserialize)]
struct Endpoint {
    url: String,
    secret: String,
}

async fn set_webhook(State(world): State<World>, Json(endpoint): Json<Endpoint>) -> Json<Value> {
    world.stripe.delivery.set_endpoint(endpoint.url, endpoint.secret);
    done()
}

async fn show_webhook_mode(State(world): State<World>) -> Json<WebhookMode> {
    Json(world.stripe.delivery.mode())
}

async fn set_webhook_mode(State(world): State<World>, Json(mode): Json<WebhookMode>) -> Json<Value> {
    world.stripe.delivery.set_mode(mode);
    done()
}

async fn deliver(State(world): State<World>) -> Json<Value> {
    Json(json!(delivery::deliver_now(&world).await))
}

#[derive(Deserialize)]
struct EventId {
    event_id: String,
}

async fn redeliver(State(world): State<World>, Json(event): Json<EventId>) -> Json<Value> {
    Json(json!(delivery::redeliver(&world, &event.event_id).await))
}

#[derive(Deserialize)]
struct Payment {
    session: String,
    card: String,
}

async fn pay(State(world): State<World>, Json(payment): Json<Payment>) -> Json<Value> {
    Json(match stripe::pay::pay_at_once(&world, &payment.session, &payment.card) {
        PayOutcome::Paid { redirect } => json!({"outcome": "paid", "redirect": redirect}),
        PayOutcome::NeedsAuthentication => json!({"outcome": "needs_authentication"}),
        PayOutcome::Declined { message } => json!({"outcome": "declined", "message": message}),
        PayOutcome::Invalid(_) => json!({"outcome": "invalid"}),
        PayOutcome::Expired => json!({"outcome": "expired"}),
        PayOutcome::NoSuchSession => json!({"outcome": "no_such_session"}),
    })
}

async fn settle(State(world): State<World>) -> Json<Value> {
    stripe::pay::settle(&world);
    done()
}

#[derive(Deserialize)]
struct Refunds {
    /// `wait`: new ones stay pending; `succeed` and `fail`: those that wait end so, and new ones are sent at once.
    then: String,
}

async fn set_refunds(State(world): State<World>, Json(refunds): Json<Refunds>) -> Json<Value> {
    stripe::refund::set_waiting(&world, refunds.then == "wait");
    if refunds.then != "wait" {
        stripe::refund::end(&world, refunds.then == "succeed");
    }
    done()
}

async fn open_dispute(State(world): State<World>, Json(new): Json<NewDispute>) -> Json<Value> {
    Json(json!({"id": stripe::dispute::open(&world, &new)}))
}

#[derive(Deserialize)]
struct DisputeMove {
    id: String,
    state: DisputeState,
}

async fn advance_dispute(State(world): State<World>, Json(moved): Json<DisputeMove>) -> Json<Value> {
    Json(json!({"done": stripe::dispute::advance(&world, &moved.id, moved.state)}))
}

#[derive(Deserialize)]
struct SuspectPayment {
    payment_intent: String,
}

async fn warn_of_fraud(State(world): State<World>, Json(payment): Json<SuspectPayment>) -> Json<Value> {
    Json(json!({"id": stripe::dispute::warn(&world, &payment.payment_intent)}))
}

#[derive(Deserialize)]
struct NewCard {
    customer: String,
    card: String,
}

async fn set_card(State(world): State<World>, Json(new): Json<NewCard>) -> Json<Value> {
    stripe::set_card(&world, &new.customer, &new.card);
    done()
}

#[derive(Deserialize)]
struct CardFate {
    /// The kept card, `pm_…`.
    card: String,
    /// `pays`, `authenticate`, or a decline code.
    word: String,
}

async fn set_card_fate(State(world): State<World>, Json(fate): Json<CardFate>) -> Json<Value> {
    Json(json!({"done": stripe::set_card_fate(&world, &fate.card, &fate.word)}))
}

#[derive(Deserialize)]
struct Billed {
    kind: String,
}

async fn list_billed(State(world): State<World>, Query(query): Query<Billed>) -> Json<Value> {
    Json(json!(stripe::billed(&world, &query.kind)))
}

async fn set_stripe_fault(State(world): State<World>, Json(fault): Json<ApiFault>) -> Json<Value> {
    world.stripe.set_fault(fault);
    done()
}

async fn inject(State(world): State<World>, Json(rule): Json<Rule>) -> Json<Value> {
    world.providers.inject(rule);
    done()
}

async fn clear_faults(State(world): State<World>) -> Json<Value> {
    world.providers.clear_rules();
    done()
}

#[derive(Deserialize)]
struct Pace {
    tokens_per_second: u32,
}

async fn set_pace(State(world): State<World>, Json(pace): Json<Pace>) -> Json<Value> {
    world.providers.set_pace(pace.tokens_per_second);
    done()
}

async fn show_clock(State(world): State<World>) -> Json<Value> {
    Json(json!({"now": world.clock.now()}))
}

#[derive(Deserialize)]
struct ClockMove {
    advance_seconds: Option<i64>,
    stand_at: Option<i64>,
}

async fn move_clock(State(world): State<World>, Json(moved): Json<ClockMove>) -> Json<Value> {
    if let Some(seconds) = moved.stand_at {
        world.clock.stand_at(seconds);
    }
    world.clock.advance_seconds(moved.advance_seconds.unwrap_or(0));
    stripe::sweep(&world);
    Json(json!({"now": world.clock.now()}))
}

async fn reset(State(world): State<World>) -> Json<Value> {
    world.reset();
    done()
}

fn done() -> Json<Value> {
    Json(json!({"done": true}))
}

async fn index(State(world): State<World>) -> Html<String> {
    let totals = world.providers.log.totals();
    let sessions: String = stripe::recent_sessions(&world, 10)
        .iter()
        .map(|session| {
            let text = |name: &str| session.get(name).and_then(Value::as_str).unwrap_or("");
            let amount = session.get("amount_total").and_then(Value::as_i64).unwrap_or(0);
            format!(
                "<tr><td><a href=\"/checkout/{id}\"><code>{id}</code></a></td><td class=\"number\">{}</td><td>{}, {}</td></tr>",
                money(amount, text("currency")),
                escape(text("status")),
                escape(text("payment_status")),
                id = escape(text("id")),
            )
        })
        .collect();
    let sessions = if sessions.is_empty() { "<tr><td>None yet.</td></tr>".to_owned() } else { sessions };
    page(
        "Sandbox",
        &format!(
            "<section class=\"card\"><h1>Sandbox</h1><p>Stands in for Stripe, Anthropic, OpenAI and a mailbox.</p>\
             <p><a class=\"button\" href=\"/mailbox\">Mailbox ({} mails)</a></p></section>\n\
             <section class=\"card\"><h2 style=\"margin-top:0\">Checkout sessions</h2><div class=\"scroll\"><table>{sessions}</table></div></section>\n\
             <section class=\"card\"><h2 style=\"margin-top:0\">Models</h2><p>{} requests, {} input tokens and {} output tokens billed. \
             <a href=\"/control/requests\">Every request</a></p></section>\n\
             <section class=\"card\"><h2 style=\"margin-top:0\">Addresses</h2><p>Stripe: <code>{url}/stripe/</code><br>\
             Anthropic: <code>{url}/anthropic</code><br>OpenAI: <code>{url}/openai</code><br>Mail: <code>smtp://{smtp}</code></p>\
             <p><a href=\"/control/events\">Stripe's events</a> · <a href=\"/control/deliveries\">webhook deliveries</a> · \
             <a href=\"/control/webhook-mode\">webhook mode</a> · <a href=\"/control/mail\">mail as JSON</a> · \
             <a href=\"/control/clock\">clock</a></p></section>",
            world.mailbox.list().len(),
            totals.requests,
            totals.billed.input_tokens,
            totals.billed.output_tokens,
            url = escape(&world.public_url),
            smtp = world.smtp_addr,
        ),
    )
}
