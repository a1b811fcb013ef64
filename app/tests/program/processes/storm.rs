//! A storm of webhooks over two processes on one database: each event delivered 1 to 20 times, shuffled, a tenth of all
//! deliveries forged, altered or signed with an empty secret. `STORM_EVENTS` sets how many events (default 200); the
//! acknowledgement's p50 and p99 are printed.

use super::installation::{Installation, SECRET, each_database, sign_at, until};
use domain::id::{AccountId, PurchaseId};
use futures::StreamExt as _;
use serde_json::Value;
use server::clock::Clock;
use server::job::run_jobs_until_idle;
use server::{http_client, ledger, on_read, purchase, refund};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Deliveries under way at once.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Genuine,
    OtherSecret,
    EmptySecret,
    Altered,
}

/// Which event, and what is wrong with the delivery. It is signed when it is sent, as a storm may last.
struct Delivery {
    event: usize,
    kind: Kind,
}

/// What an account must have afterwards.
#[derive(Default)]
struct Expected {
    purchases: Vec<PurchaseId>,
    grants: i64,
    dollars: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_failure_10_and_11_a_webhook_storm_over_two_processes_grants_exactly_what_was_paid() {
    let count = std::env::var("STORM_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    each_database(async |installation| {
        let expected = sell(installation, count).await;
        let events = installation.sandbox.stripe_events();
        let bodies: Vec<String> = events.iter().map(Value::to_string).collect();
        let (deliveries, processes) =
            (deliveries(events.len()), [installation.start().await, installation.start().await]);
        let total = deliveries.len();

        let began = Instant::now();
        let urls = [processes[0].webhook_url(), processes[1].webhook_url()];
        let client = http_client::build().unwrap();
        let mut answers: Vec<(Kind, u16, Duration)> = futures::stream::iter(deliveries.into_iter().enumerate())
            .map(|(place, delivery)| {
                let (client, url, body) = (&client, &urls[place % 2], &bodies[delivery.event]);
                async move {
                    let (header, body) = delivery.written(body);
                    let request = client.post(url).header("stripe-signature", header).body(body);
                    let sent = Instant::now();
                    let status = request.send().await.unwrap().status().as_u16();
                    (delivery.kind, status, sent.elapsed())
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let took = began.elapsed();
        until("that every event is acted on", async || is_idle(installation).await).await;
        let applied = began.elapsed();
        for process in processes {
            process.kill().await;
        }
        // What had to wait for its turn, such as news of a payment that was not there yet.
        let later = installation.later(121).await;
        for _ in 0..2 {
            run_jobs_until_idle(&later).await.unwrap();
            purchase::reconcile(&later).await.unwrap();
            refund::reconcile(&later).await.unwrap();
        }
        later.stop().await;

        for (kind, status, _) in &answers {
            assert_eq!(*status, if *kind == Kind::Genuine { 200 } else { 400 }, "{kind:?}");
        }
        assert_right(installation, &expected, &events).await;
        answers.retain(|(kind, ..)| *kind == Kind::Genuine);
        answers.sort_by_key(|(.., took)| *took);
        let at = |percent: usize| answers[(answers.len() - 1) * percent / 100].2;
        println!(
            "{}: {} events, {total} deliveries ({} genuine) in {took:.1?} to two processes, all acted on after {applied:.1?}: \
             acknowledged p50 {:.1?}, p99 {:.1?}, max {:.1?}; {} purchases paid and granted once",
            installation.server.db.engine(),
            events.len(),
            answers.len(),
            at(50),
            at(99),
            at(100),
            expected.values().map(|account| account.purchases.len()).sum::<usize>(),
        );
    })
    .await;
}

/// Sells packs until Stripe has about so many events; each seventh is refunded there.
async fn sell(installation: &Installation, count: usize) -> BTreeMap<AccountId, Expected> {
    let mut expected: BTreeMap<AccountId, Expected> = BTreeMap::new();
    let mut buyer = installation.person().await;
    let mut number = 0_usize;
    while !number.is_multiple_of(10) || installation.sandbox.stripe_events().len() < count {
        if number.is_multiple_of(10) {
            buyer = installation.person().await;
        }
        let account = expected.entry(buyer.account_id.clone()).or_default();
        let (pack, dollars, grants) = if number.is_multiple_of(3) { ("pack-50", 55, 2) } else { ("pack-10", 10, 1) };
        let (purchase_id, session) = installation.buy(&buyer, pack).await;
        account.purchases.push(purchase_id);
        account.grants += grants;
        if number.is_multiple_of(7) {
            let payment = installation.sandbox.stripe_object(&session).unwrap()["payment_intent"].clone();
            let form = format!("payment_intent={}", payment.as_str().unwrap());
            installation.sandbox.edit("/v1/refunds", &form).unwrap();
        } else {
            account.dollars += dollars;
        }
        number += 1;
    }
    expected
}

/// Each event 1 to 20 times and the forged ones among them, in a mixed order.
fn deliveries(events: usize) -> Vec<Delivery> {
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut all = Vec::new();
    for event in 0..events {
        // Every event arrives at least once, as Stripe promises.
        all.push(Delivery { event, kind: Kind::Genuine });
        for _ in 0..random() % 20 {
            let kind = match random() % 30 {
                0 => Kind::OtherSecret,
                1 => Kind::EmptySecret,
                2 => Kind::Altered,
                _ => Kind::Genuine,
            };
            all.push(Delivery { event, kind });
        }
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random() % (last + 1));
    }
    all
}

impl Delivery {
    /// The header and the body, as they go out now.
    fn written(&self, body: &str) -> (String, String) {
        let now = Clock::system().now().seconds();
        match self.kind {
            Kind::Genuine => (sign_at(SECRET, now, body.as_bytes()), body.to_owned()),
            Kind::OtherSecret => (sign_at("whsec_other", now, body.as_bytes()), body.to_owned()),
            Kind::EmptySecret => (sign_at("", now, body.as_bytes()), body.to_owned()),
            Kind::Altered => (sign_at(SECRET, now, body.as_bytes()), format!("{body} ")),
        }
    }
}

/// No event waits for its first turn.
async fn is_idle(installation: &Installation) -> bool {
    let left: i64 = on_read!(&installation.server.db, conn => {
        sqlx::query_scalar("select count(*) from stripe_event where state = 'new'").fetch_one(conn).await
    })
    .unwrap();
    left == 0
}

/// Exactly the right grants, each event stored once, and the books are right.
async fn assert_right(installation: &Installation, expected: &BTreeMap<AccountId, Expected>, events: &[Value]) {
    for (account_id, account) in expected {
        let balance = ledger::load_balance(&installation.server, account_id).await.unwrap();
        assert_eq!(balance.spendable().nanos(), account.dollars * 1_000_000_000, "{account_id}");
        assert!(balance.receivable.is_zero(), "{account_id}");
        assert_eq!(installation.grants(account_id).await, account.grants, "{account_id}");
    }
    let stored: Vec<(String, String)> = on_read!(&installation.server.db, conn => {
        sqlx::query_as("select stripe_event_id, state from stripe_event").fetch_all(conn).await
    })
    .unwrap();
    let ids: BTreeSet<&str> = stored.iter().map(|(id, _)| id.as_str()).collect();
    let sent: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((stored.len(), ids), (sent.len(), sent));
    assert!(stored.iter().all(|(_, state)| state == "applied" || state == "ignored"), "{stored:?}");
    installation.check_books().await;
}
