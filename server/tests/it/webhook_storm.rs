//! A storm of webhooks: each event delivered 1 to 20 times, shuffled, a tenth of all deliveries forged, altered or signed
//! with an empty secret, to two servers on one database that apply them meanwhile. `STORM_EVENTS` sets how many (default
//! 250). The acknowledgement's p50 and p99 are printed.

use crate::money_history::setting;
use crate::shop::{GOOD_CARD, SECRET, Shop, insert_user, session_of, sign_at};
use crate::support::{World, each_database};
use domain::id::{AccountId, PackId, PurchaseId};
use futures::StreamExt as _;
use sandbox::PayOutcome;
use serde_json::Value;
use server::job::run_jobs_until_idle;
use server::ledger::load_balance;
use server::{Server, on_read, purchase, refund};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

struct Delivery {
    body: String,
    header: String,
    kind: Kind,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_failure_10_and_11_a_webhook_storm_grants_exactly_what_was_paid() {
    let count = usize::try_from(setting("STORM_EVENTS", 250)).unwrap();
    each_database(async |world| {
        let mut shop = Shop::open(world).await;
        let expected = sell(world, &mut shop, count).await;
        let events = shop.sandbox.stripe_events();
        let deliveries = deliveries(&shop, &events);
        let total = deliveries.len();
        let (node, node_url) = shop.node().await;
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = [shop.server.clone(), node.clone()].map(|server| apply_until(server, stop.clone())).into();

        let began = Instant::now();
        let urls = [shop.webhook_url.clone(), node_url];
        let mut answers: Vec<(Kind, u16, Duration)> = futures::stream::iter(deliveries.into_iter().enumerate())
            .map(|(place, delivery)| {
                let (shop, url) = (&shop, &urls[place % 2]);
                async move {
                    let sent = Instant::now();
                    let status = shop.post(url, Some(&delivery.header), delivery.body).await;
                    (delivery.kind, status, sent.elapsed())
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let took = began.elapsed();
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.await.unwrap();
        }
        for _ in 0..2 {
            run_jobs_until_idle(&shop.server).await.unwrap();
            shop.advance_seconds(121);
            purchase::reconcile(&shop.server).await.unwrap();
            refund::reconcile(&shop.server).await.unwrap();
        }

        for (kind, status, _) in &answers {
            assert_eq!(*status, if *kind == Kind::Genuine { 200 } else { 400 }, "{kind:?}");
        }
        assert_right(world, &shop, &expected, &events).await;
        answers.retain(|(kind, ..)| *kind == Kind::Genuine);
        answers.sort_by_key(|(.., took)| *took);
        let at = |percent: usize| answers[(answers.len() - 1) * percent / 100].2;
        println!(
            "{}: {} events, {total} deliveries ({} genuine) in {took:.1?} to two servers: acknowledged p50 {:.1?}, p99 {:.1?}, \
             max {:.1?}; {} purchases paid and granted once",
            world.db().engine(),
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

/// What an account must have afterwards.
#[derive(Default)]
struct Expected {
    purchases: Vec<PurchaseId>,
    grants: i64,
    dollars: i64,
}

/// Sells packs until Stripe has this many events; each seventh is refunded there.
async fn sell(world: &World, shop: &mut Shop, count: usize) -> BTreeMap<AccountId, Expected> {
    let mut expected: BTreeMap<AccountId, Expected> = BTreeMap::new();
    let mut number = 0_usize;
    while shop.sandbox.stripe_events().len() < count {
        if number.is_multiple_of(10) {
            shop.buyer = insert_user(world, world.account().await).await;
        }
        let account = expected.entry(shop.buyer.account_id.clone()).or_default();
        let (pack, dollars, grants) = if number.is_multiple_of(3) { ("pack-50", 55, 2) } else { ("pack-10", 10, 1) };
        let purchase_id = shop.new_id();
        let url = purchase::start(&shop.server, &shop.buyer, &PackId::new(pack), purchase_id.clone()).await.unwrap();
        let session = session_of(&url);
        assert!(matches!(shop.sandbox.pay(session, GOOD_CARD), PayOutcome::Paid { .. }));
        account.purchases.push(purchase_id);
        account.grants += grants;
        if number.is_multiple_of(7) {
            let payment = shop.sandbox.stripe_object(session).unwrap()["payment_intent"].as_str().unwrap().to_owned();
            shop.sandbox.edit("/v1/refunds", &format!("payment_intent={payment}")).unwrap();
        } else {
            account.dollars += dollars;
        }
        number += 1;
    }
    expected
}

/// Each event 1 to 20 times and the forged ones among them, in a mixed order.
fn deliveries(shop: &Shop, events: &[Value]) -> Vec<Delivery> {
    let now = shop.server.clock.now().seconds();
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut all = Vec::new();
    for event in events {
        let body = event.to_string();
        let header = sign_at(SECRET, now, body.as_bytes());
        for _ in 0..=random() % 20 {
            let delivery = match random() % 30 {
                0 => Delivery {
                    header: sign_at("whsec_other", now, body.as_bytes()),
                    body: body.clone(),
                    kind: Kind::OtherSecret,
                },
                1 => {
                    Delivery { header: sign_at("", now, body.as_bytes()), body: body.clone(), kind: Kind::EmptySecret }
                }
                2 => Delivery { body: format!("{body} "), header: header.clone(), kind: Kind::Altered },
                _ => Delivery { body: body.clone(), header: header.clone(), kind: Kind::Genuine },
            };
            all.push(delivery);
        }
        // Every event arrives at least once, as Stripe promises.
        all.push(Delivery { body, header, kind: Kind::Genuine });
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random() % (last + 1));
    }
    all
}

/// Applies what is stored, as a server's worker does, until it is told to stop.
fn apply_until(server: Server, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while !stop.load(Ordering::SeqCst) {
            if server::job::run_due(&server).await.unwrap() == 0 {
                tokio::select! {
                    () = server.wake_jobs.notified() => {}
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        }
    })
}

/// Exactly the right grants, each event stored once, and the books are right.
async fn assert_right(world: &World, shop: &Shop, expected: &BTreeMap<AccountId, Expected>, events: &[Value]) {
    for (account_id, account) in expected {
        let balance = load_balance(&shop.server, account_id).await.unwrap();
        assert_eq!(balance.spendable().nanos(), account.dollars * 1_000_000_000, "{account_id}");
        assert!(balance.receivable.is_zero(), "{account_id}");
        let grants: i64 = on_read!(world.db(), conn => {
            sqlx::query_scalar("select count(*) from posting where account_id = $1 and kind = 'grant'")
                .bind(account_id)
                .fetch_one(conn)
                .await
        })
        .unwrap();
        assert_eq!(grants, account.grants, "{account_id}");
    }
    let stored: Vec<(String, String)> = on_read!(world.db(), conn => {
        sqlx::query_as("select stripe_event_id, state from stripe_event").fetch_all(conn).await
    })
    .unwrap();
    let ids: BTreeSet<&str> = stored.iter().map(|(id, _)| id.as_str()).collect();
    let sent: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((stored.len(), ids), (sent.len(), sent));
    assert!(stored.iter().all(|(_, state)| state == "applied" || state == "ignored"), "{stored:?}");
    shop.check_books().await;
}
