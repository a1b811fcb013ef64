//! Outgoing webhooks over real HTTP: receivers that work, hang, refuse, redirect inside, or are slow.

use crate::shop::insert_user;
use crate::support::{World, each_database};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::id::{DeliveryId, WebhookId};
use domain::money::Usd;
use domain::notice::{Notice, NoticeKind};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use server::account::{Role, User};
use server::job::run_jobs_until_idle;
use server::webhook_out::{self, Added, Change, Delivery, DeliveryState, State as Switch};
use server::{Server, notice, on_read, on_tx};
use sha2::Sha256;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// How a receiver answers.
#[derive(Clone)]
enum Answer {
    Status(u16),
    Redirect(String),
    Hang,
    /// The head at once, the body never.
    SlowBody(u16),
}

#[derive(Clone)]
struct Receiver {
    url: String,
    answer: Arc<Mutex<Answer>>,
    got: Arc<Mutex<Vec<Message>>>,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Receiver {
    async fn open(server: &Server, answer: Answer) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let receiver = Receiver { url, answer: Arc::new(Mutex::new(answer)), got: Arc::default() };
        let router = Router::new().route("/in", any(receive)).with_state(receiver.clone());
        server.tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    receiver.got.lock().unwrap().push(Message {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let answer = receiver.answer.lock().unwrap().clone();
    match answer {
        Answer::Status(status) => (StatusCode::from_u16(status).unwrap(), "as asked").into_response(),
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Answer::Hang => std::future::pending().await,
        Answer::SlowBody(status) => {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"wait"))]);
            let body = futures::StreamExt::chain(first, futures::stream::pending());
            (StatusCode::from_u16(status).unwrap(), Body::from_stream(body)).into_response()
        }
    }
}

/// What the Standard Webhooks specification asks of a receiver, written from it and not from our code.
fn verifies(secret: &str, message: &Message) -> bool {
    let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    assert!((24..=64).contains(&key.len()), "{} bytes", key.len());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    for part in [&message.id, ".", &message.timestamp, ".", &message.body] {
        mac.update(part.as_bytes());
    }
    let expected = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    message.signature.split(' ').any(|signature| signature == expected)
}

/// A node that may reach this machine, and a user.
async fn open(world: &World) -> (Server, User) {
    let mut config = world.config.clone();
    config.allow_private_urls = true;
    let server = Server::open(config, world.clock.clone()).await.unwrap();
    (server, insert_user(world, world.account().await).await)
}

async fn add(server: &Server, user: &User, url: &str) -> Added {
    webhook_out::add(server, user, Change { url, label: "Test", kinds: None }).await.unwrap()
}

async fn raise(server: &Server, user: &User, key: &str) {
    let notice = Notice::LowBalance { spendable: Usd::ZERO, mark: Usd::from_dollars(5).unwrap() };
    let mut tx = server.db.begin().await.unwrap();
    assert!(notice::raise(&mut tx, &server.clock, &user.account_id, &notice, key).await.unwrap());
    tx.commit().await.unwrap();
    run_jobs_until_idle(server).await.unwrap();
}

async fn log(server: &Server, user: &User, webhook_id: &WebhookId) -> Vec<Delivery> {
    webhook_out::list_deliveries(server, (&user.account_id, webhook_id), None, 50).await.unwrap()
}

async fn send_all(server: &Server) -> usize {
    let mut sent = 0;
    loop {
        match webhook_out::run_due(server).await.unwrap() {
            0 => return sent,
            count => sent += count,
        }
    }
}

fn code<T>(outcome: server::error::Result<T>) -> String {
    outcome.err().and_then(|error| error.denial().map(|denial| denial.code().to_owned())).unwrap_or_default()
}

#[tokio::test]
async fn a_notice_arrives_signed_once_with_two_nodes_at_work() {
    each_database(async |world| {
        let (server, sam) = open(world).await;
        let node = open(world).await.0;
        let receiver = Receiver::open(&server, Answer::Status(204)).await;
        let Added { webhook_id, secret } = add(&server, &sam, &receiver.url).await;
        let only_keys = Change { url: &receiver.url, label: "", kinds: Some(&[NoticeKind::KeyTrouble]) };
        webhook_out::add(&server, &sam, only_keys).await.unwrap();
        raise(&server, &sam, "low:1").await;
        let (first, second) = tokio::join!(webhook_out::run_due(&server), webhook_out::run_due(&node));
        assert_eq!(first.unwrap() + second.unwrap(), 1);

        let got = receiver.take();
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(verifies(secret.expose_secret(), &got[0]), "{got:?}");
        let altered = Message { body: got[0].body.replace("low_balance", "top_up_done"), ..got[0].clone() };
        assert!(!verifies(secret.expose_secret(), &altered));
        assert_eq!(got[0].timestamp, world.clock.now().seconds().to_string());
        let body: Value = serde_json::from_str(&got[0].body).unwrap();
        assert_eq!(body["id"], got[0].id.as_str());
        assert_eq!(
            (&body["type"], &body["version"], &body["test"]),
            (&"notice.low_balance".into(), &1.into(), &false.into())
        );
        assert_eq!(body["data"]["mark_nanos"], 5_000_000_000_i64);
        assert_eq!(body["timestamp"], "2027-01-15T08:00:00Z");

        let log = log(&server, &sam, &webhook_id).await;
        assert_eq!((log.len(), log[0].state, log[0].attempts.len()), (1, DeliveryState::Delivered, 1));
        assert_eq!(log[0].attempts[0].status, Some(204));
        webhook_out::replay(&server, &sam, &log[0].delivery_id).await.unwrap();
        assert_eq!(send_all(&server).await, 1);
        assert_eq!(receiver.take()[0].id, got[0].id, "a replay has the same id");
        assert_eq!(code(webhook_out::replay(&server, &sam, &DeliveryId::new("another")).await), "not_found");
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_rotated_secret_and_the_one_before_both_count_for_a_day() {
    each_database(async |world| {
        let (server, sam) = open(world).await;
        let receiver = Receiver::open(&server, Answer::Status(200)).await;
        let Added { webhook_id, secret: old } = add(&server, &sam, &receiver.url).await;
        let new = webhook_out::rotate(&server, &sam, &webhook_id).await.unwrap().secret;
        webhook_out::send_test(&server, &sam, &webhook_id).await.unwrap();
        send_all(&server).await;
        let got = receiver.take().remove(0);
        assert!(verifies(new.expose_secret(), &got) && verifies(old.expose_secret(), &got));
        assert!(got.body.contains(r#""test":true"#) && got.body.contains("webhook.test"), "{}", got.body);

        world.clock.advance_seconds(86_400);
        webhook_out::send_test(&server, &sam, &webhook_id).await.unwrap();
        send_all(&server).await;
        let got = receiver.take().remove(0);
        assert!(verifies(new.expose_secret(), &got) && !verifies(old.expose_secret(), &got));

        let sealed: Vec<(String, String)> = on_read!(&server.db, conn => {
            sqlx::query_as("select sealed, coalesce(former_sealed, '') from webhook").fetch_all(conn).await
        })
        .unwrap();
        for clear in [&old, &new] {
            let key = clear.expose_secret().trim_start_matches("whsec_");
            assert!(sealed.iter().all(|(sealed, former)| !sealed.contains(key) && !former.contains(key)));
        }
    })
    .await;
}

#[tokio::test]
async fn receivers_that_hang_refuse_redirect_or_dawdle_are_tried_again_and_hold_nobody_up() {
    each_database(async |world| {
        let (server, sam) = open(world).await;
        let inside = Receiver::open(&server, Answer::Status(200)).await;
        let cases = [
            (Answer::Hang, None, "no answer within 10 seconds"),
            (Answer::Status(500), Some(500), "it answered 500: as asked"),
            (Answer::Redirect(inside.url.clone()), Some(307), "it redirects (307), which is not followed"),
            (Answer::SlowBody(503), Some(503), "it answered 503: wait"),
        ];
        let mut webhooks = Vec::new();
        for (answer, status, problem) in cases {
            let receiver = Receiver::open(&server, answer).await;
            webhooks.push((add(&server, &sam, &receiver.url).await.webhook_id, receiver, status, problem));
        }
        // The head alone decides: a body that never ends is not waited for.
        let fine = Receiver::open(&server, Answer::SlowBody(200)).await;
        let fine_id = add(&server, &sam, &fine.url).await.webhook_id;
        raise(&server, &sam, "low:1").await;
        assert_eq!(webhook_out::run_due(&server).await.unwrap(), 5);

        assert_eq!(log(&server, &sam, &fine_id).await[0].state, DeliveryState::Delivered);
        for (webhook_id, receiver, status, problem) in &webhooks {
            let message = log(&server, &sam, webhook_id).await.remove(0);
            assert_eq!(message.state, DeliveryState::Open, "{problem}");
            assert_eq!((message.attempts[0].status, message.attempts[0].problem.as_deref()), (*status, Some(*problem)));
            assert_eq!(receiver.take().len(), 1);
            let later = message.next_at.seconds() - world.clock.now().seconds();
            assert!((5..=5).contains(&later), "the first pause is 5 s: {later}");
            receiver.answers(Answer::Status(200));
        }
        assert_eq!(inside.take().len(), 0, "a redirect is not followed");
        assert_eq!(webhook_out::run_due(&server).await.unwrap(), 0, "none is due yet");
        world.clock.advance_seconds(6);
        assert_eq!(send_all(&server).await, 4);
        for (webhook_id, receiver, ..) in &webhooks {
            assert_eq!(log(&server, &sam, webhook_id).await[0].state, DeliveryState::Delivered);
            assert_eq!(receiver.take().len(), 1);
        }
        let list = webhook_out::list(&server, &sam.account_id).await.unwrap();
        assert!(list.iter().all(|webhook| webhook.failing_since.is_none() && webhook.problem.is_none()));
    })
    .await;
}

#[tokio::test]
async fn after_a_day_of_failures_it_is_switched_off_and_its_people_are_told_once() {
    each_database(async |world| {
        let (server, sam) = open(world).await;
        let receiver = Receiver::open(&server, Answer::Status(500)).await;
        let webhook_id = add(&server, &sam, &receiver.url).await.webhook_id;
        raise(&server, &sam, "low:1").await;
        world.clock.advance_seconds(60);
        raise(&server, &sam, "low:2").await;
        let begun = world.clock.now();
        let mut tries = 0;
        // Whenever the next try is due, until nothing is.
        loop {
            tries += send_all(&server).await;
            let open = log(&server, &sam, &webhook_id).await;
            let next =
                open.iter().filter(|message| message.state == DeliveryState::Open).map(|message| message.next_at).min();
            let Some(next) = next else { break };
            world.clock.advance_seconds(next.seconds() - world.clock.now().seconds() + 1);
        }
        let took = world.clock.now().seconds() - begun.seconds();
        assert!((23 * 3_600..27 * 3_600).contains(&took), "{took} s");
        assert!((9..=18).contains(&tries), "{tries}");
        let states: Vec<_> = log(&server, &sam, &webhook_id).await.into_iter().map(|message| message.state).collect();
        assert!(states.contains(&DeliveryState::GivenUp), "{states:?}");
        let webhook = webhook_out::list(&server, &sam.account_id).await.unwrap().remove(0);
        assert_eq!((webhook.state, webhook.problem.as_deref()), (Switch::Failed, Some("it answered 500: as asked")));

        run_jobs_until_idle(&server).await.unwrap();
        let notices = notice::list(&server, &sam, None, 10).await.unwrap();
        let disabled = notices.iter().filter(|listed| listed.notice.kind() == NoticeKind::WebhookDisabled);
        assert_eq!(disabled.count(), 1);
        receiver.take();
        raise(&server, &sam, "low:3").await;
        assert_eq!((send_all(&server).await, receiver.take().len()), (0, 0), "nothing is sent to it any more");

        // A test shows that it works again; then it is switched on.
        receiver.answers(Answer::Status(200));
        webhook_out::send_test(&server, &sam, &webhook_id).await.unwrap();
        assert_eq!((send_all(&server).await, receiver.take().len()), (1, 1));
        webhook_out::set_enabled(&server, &sam, &webhook_id, Switch::Enabled).await.unwrap();
        raise(&server, &sam, "low:4").await;
        assert_eq!((send_all(&server).await, receiver.take().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn addresses_inside_are_refused_when_they_are_saved_and_when_they_are_sent_to() {
    each_database(async |world| {
        let (server, sam) = open(world).await;
        let receiver = Receiver::open(&server, Answer::Status(200)).await;
        let webhook_id = add(&server, &sam, &receiver.url).await.webhook_id;
        let of = |url: &'static str| Change { url, label: "", kinds: None };
        for url in [
            "http://169.254.169.254/latest",
            "ftp://example.com",
            "not an address",
            "http://u:p@127.0.0.1/",
            "http://127.0.0.1/?a=1",
        ] {
            assert_eq!(code(webhook_out::add(&server, &sam, of(url)).await), "invalid", "{url}");
        }
        // Where private addresses are not allowed, they are refused, and so is a webhook saved before.
        for url in ["http://127.0.0.1:1/in", "https://10.0.0.1/in", "https://localhost/in"] {
            assert_eq!(code(webhook_out::add(&world.server, &sam, of(url)).await), "invalid", "{url}");
        }
        webhook_out::send_test(&world.server, &sam, &webhook_id).await.unwrap();
        assert_eq!(send_all(&world.server).await, 1);
        let test = log(&server, &sam, &webhook_id).await.remove(0);
        assert_eq!((test.state, test.is_test), (DeliveryState::GivenUp, true));
        assert!(test.attempts[0].problem.as_deref().unwrap().contains("private address"), "{test:?}");
        assert_eq!(receiver.take().len(), 0);

        // A name that leads to the metadata service by now.
        world.clock.advance_seconds(1);
        let mut tx = server.db.begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update webhook set url = 'http://169.254.169.254/'").execute(conn).await.map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        webhook_out::send_test(&server, &sam, &webhook_id).await.unwrap();
        send_all(&server).await;
        let test = log(&server, &sam, &webhook_id).await.remove(0);
        assert!(test.attempts[0].problem.as_deref().unwrap().contains("never asked"), "{test:?}");

        let viewer = User { role: Role::Viewer, ..sam.clone() };
        assert_eq!(code(webhook_out::add(&server, &viewer, of("https://example.com/in")).await), "role_may_not");
        let stranger = insert_user(world, world.account().await).await;
        assert_eq!(code(webhook_out::send_test(&server, &stranger, &webhook_id).await), "not_found");
        assert_eq!(code(webhook_out::delete(&server, &stranger, &webhook_id).await), "not_found");
        webhook_out::delete(&server, &sam, &webhook_id).await.unwrap();
        assert_eq!(webhook_out::list(&server, &sam.account_id).await.unwrap(), []);
    })
    .await;
}
