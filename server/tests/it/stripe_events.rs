//! The table of Stripe's events: each one that something here acts on, and those that are kept and left alone, told in the
//! order in which they happened, the newest first, and mixed; each twice, and all of them once more at the end. Whatever the
//! order, the same is stored. (Events of connected accounts are about creators, and not in this table.)

use crate::plan::{DECLINES_LATER_CARD, SECURE_CARD, standard};
use crate::shop::{BANK_DEBIT, FAILING_BANK_DEBIT, GOOD_CARD, NO_FUNDS_CARD, Shop, insert_user, session_of};
use crate::support::{World, each_database};
use domain::id::CardSetupId;
use sandbox::{DisputeState, NewDispute};
use serde_json::{Value, json};
use server::account::User;
use server::on_read;
use server::payment_method;
use server::stripe::apply::{EventKind, apply_stored};
use server::subscription::{self, Proposal};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept and changes nothing here.
const LEFT_ALONE: [&str; 5] = [
    // We print no tax id: Stripe's invoices do.
    "customer.tax_id.created",
    // What an account may do is decided here, not by Stripe's entitlements.
    "entitlements.active_entitlement_summary.updated",
    "billing.alert.triggered",
    // The payment says the same.
    "charge.succeeded",
    "invoice.payment_succeeded",
];

#[derive(Clone, Copy, Debug)]
enum Order {
    AsItHappened,
    NewestFirst,
    Mixed,
}

impl Order {
    fn of<T>(self, mut all: Vec<T>) -> Vec<T> {
        match self {
            Order::AsItHappened => {}
            Order::NewestFirst => all.reverse(),
            Order::Mixed => {
                let mut state = 11_u64;
                for last in (1..all.len()).rev() {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    all.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
                }
            }
        }
        all
    }
}

/// A Stripe that tells nothing by itself.
struct Told<'a> {
    shop: &'a Shop,
    order: Order,
    count: usize,
}

impl Told<'_> {
    /// Tells what has happened since the last time, each event twice.
    async fn tell(&mut self) {
        let events = self.shop.sandbox.stripe_events().split_off(self.count);
        self.count += events.len();
        for event in self.order.of(events) {
            for _ in 0..2 {
                assert_eq!(self.shop.post_event(&self.shop.webhook_url, &event).await, 200);
            }
        }
        self.shop.run_jobs().await;
    }

    async fn days(&mut self, days: i64) {
        for _ in 0..days {
            self.shop.advance_seconds(86_400);
            self.tell().await;
        }
    }

    /// Tells something that the sandbox has no way to let happen, of an object that it has.
    async fn tell_of(&self, kind: &str, object: &Value) {
        let event = json!({"id": format!("evt_{kind}"), "type": kind, "livemode": false, "data": {"object": object}});
        for _ in 0..2 {
            assert_eq!(self.shop.post_event(&self.shop.webhook_url, &event).await, 200);
        }
        self.shop.run_jobs().await;
    }
}

async fn begin_trial(shop: &Shop, user: &User) {
    let begun = subscription::propose_trial(&shop.server, user, &standard("pro", 1), &shop.new_change()).await.unwrap();
    let Proposal::Checkout { url } = begun else { panic!("{begun:?}") };
    assert_eq!(shop.pay_page(&url, "5555555555554444").await.status, 303);
}

/// Begins a subscription with a card whose bank asks each time.
async fn subscribe_securely(shop: &Shop, user: &User) {
    let begun = subscription::propose(&shop.server, user, &standard("pro", 1), &shop.new_change()).await.unwrap();
    let Proposal::Checkout { url } = begun else { panic!("{begun:?}") };
    shop.sandbox.pay(session_of(&url), SECURE_CARD);
}

/// Everything that Stripe tells of: plans, packs, cards, refunds, disputes, a month and a half.
async fn story(world: &World, shop: &Shop, order: Order) {
    shop.lose_webhooks();
    let mut told = Told { shop, order, count: 0 };
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(insert_user(world, world.account().await).await);
    }
    let [trial, secure, declined] = &others[..] else { panic!() };
    shop.subscribe_as(&shop.buyer, &standard("team", 2), GOOD_CARD).await;
    shop.subscribe_as(declined, &standard("pro", 1), DECLINES_LATER_CARD).await;
    subscribe_securely(shop, secure).await;
    begin_trial(shop, trial).await;
    told.tell().await;

    let payment_of = |url: &str| {
        let session = shop.sandbox.stripe_object(session_of(url)).unwrap();
        session["payment_intent"].as_str().unwrap().to_owned()
    };
    let mut payments = Vec::new();
    for (pack, card) in [("pack-10", GOOD_CARD), ("pack-50", GOOD_CARD), ("pack-10", BANK_DEBIT)] {
        let (_, url) = shop.start(pack).await;
        assert_eq!(shop.pay_page(&url, card).await.status, 303);
        payments.push(payment_of(&url));
    }
    let (_, url) = shop.start("pack-10").await;
    assert_eq!(shop.pay_page(&url, FAILING_BANK_DEBIT).await.status, 303);
    let (_, asked) = shop.start("pack-10").await;
    shop.sandbox.pay(session_of(&asked), SECURE_CARD);
    let (_, refused) = shop.start("pack-10").await;
    assert_eq!(shop.pay_page(&refused, NO_FUNDS_CARD).await.status, 402);
    shop.sandbox.edit(&format!("/v1/payment_intents/{}/cancel", payment_of(&refused)), "").unwrap();
    shop.start("pack-10").await;
    told.tell().await;
    shop.sandbox.settle();
    let card = CardSetupId::new(shop.server.clock.new_id());
    let url = payment_method::begin_setup(&shop.server, &shop.buyer, &card).await.unwrap();
    assert_eq!(shop.pay_page(&url, "5555555555554444").await.status, 303);
    told.tell().await;
    let kept = payment_method::load(&shop.server, &shop.buyer.account_id).await.unwrap().unwrap();
    told.tell_of(
        "payment_method.automatically_updated",
        &shop.sandbox.stripe_object(kept.payment_method_id.as_str()).unwrap(),
    )
    .await;
    shop.sandbox.edit(&format!("/v1/payment_methods/{}/detach", kept.payment_method_id), "").unwrap();
    // A day later the page that nobody paid has expired.
    told.days(1).await;

    money_back(&mut told, &payments).await;
    let live = |user: &User| {
        let user = user.account_id.to_string();
        let all = shop.sandbox.billed("subscription");
        all.into_iter().find(|sub| sub["metadata"]["account_id"] == user.as_str()).unwrap()
    };
    told.tell_of("customer.subscription.paused", &live(trial)).await;
    told.tell_of("customer.subscription.resumed", &live(trial)).await;
    subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
    told.days(40).await;
    let open = subscription::list_invoices(&shop.server, &secure.account_id, 9).await.unwrap().swap_remove(0);
    assert_eq!(shop.pay_page(&open.page_url.unwrap(), SECURE_CARD).await.status, 200);
    told.tell().await;
    told.tell_of("customer.deleted", &json!({"id": live(declined)["customer"]})).await;
    for kind in LEFT_ALONE {
        told.tell_of(kind, &json!({"id": "x_1"})).await;
    }
}

async fn money_back(told: &mut Told<'_>, payments: &[String]) {
    let shop = told.shop;
    shop.sandbox.edit("/v1/refunds", &format!("payment_intent={}&amount=575", payments[0])).unwrap();
    let id = shop
        .sandbox
        .open_dispute(&NewDispute { payment_intent: payments[1].clone(), amount: None, inquiry: false })
        .unwrap();
    assert!(shop.sandbox.advance_dispute(&id, DisputeState::UnderReview));
    told.tell().await;
    assert!(shop.sandbox.advance_dispute(&id, DisputeState::Won));
    shop.sandbox.hold_refunds();
    shop.sandbox.edit("/v1/refunds", &format!("payment_intent={}", payments[2])).unwrap();
    told.tell().await;
    shop.sandbox.end_refunds(false);
    shop.sandbox.warn_of_fraud(&payments[0]).unwrap();
    told.tell().await;
    // Given back wholly, the warning is settled.
    shop.sandbox.edit("/v1/refunds", &format!("payment_intent={}", payments[0])).unwrap();
    told.tell().await;
}

/// Everything that is stored, without ids.
async fn stored(shop: &Shop) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for (what, sql) in [
        ("accounts", "select plan_id || ' ' || coalesce(frozen_reason, '') from account order by 1"),
        (
            "plans",
            "select status || ' ' || plan_id || ' ' || seats || ' ' || period_start from subscription order by 1",
        ),
        ("changes", "select kind || ' ' || plan_id || ' ' || state from plan_change order by 1"),
        (
            "invoices",
            "select status || ' ' || total_cents || ' ' || paid_cents || ' ' || due_cents from invoice order by 1",
        ),
        ("purchases", "select state || ' ' || price_cents from purchase order by 1"),
        ("lots", "select kind || ' ' || granted_nanos || ' ' || remaining_nanos from lot order by 1"),
        ("trials", "select kind || ' ' || state from trial order by 1"),
        ("cards", "select last4 from kept_card order by 1"),
        ("notices", "select kind || ' ' || count(*) from notice group by kind order by 1"),
    ] {
        let rows: Vec<String> =
            on_read!(&shop.server.db, conn => sqlx::query_scalar(sql).fetch_all(conn).await).unwrap();
        all.insert(what, rows);
    }
    all
}

/// What became of every kind of event.
async fn became(shop: &Shop) -> BTreeMap<String, BTreeSet<String>> {
    let mut became: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (kind, state, problem) in shop.events().await {
        assert!(state == "applied" || state == "ignored", "{kind}: {state} {problem:?}");
        became.entry(kind).or_default().insert(state);
    }
    became
}

#[tokio::test]
async fn each_event_in_any_order_repeated_and_late_ends_in_the_same() {
    let mut first: Option<BTreeMap<&'static str, Vec<String>>> = None;
    for order in [Order::AsItHappened, Order::NewestFirst, Order::Mixed] {
        let seen = std::cell::RefCell::new(Vec::new());
        each_database(async |world| {
            let shop = Shop::open_with_plans(world).await;
            story(world, &shop, order).await;
            let became = became(&shop).await;
            for kind in EventKind::ALL {
                let states = became.get(kind.as_str());
                assert!(states.is_some_and(|states| states.contains("applied")), "{kind}: {states:?}");
            }
            for kind in LEFT_ALONE {
                assert_eq!(became[kind], BTreeSet::from(["ignored".to_owned()]), "{kind}");
            }
            let before = stored(&shop).await;

            // All of it once more, weeks late.
            shop.tamper("update stripe_event set state = 'new', applied_at = null where kind <> $1", "none").await;
            let ids: Vec<String> = on_read!(&shop.server.db, conn => {
                sqlx::query_scalar("select stripe_event_id from stripe_event order by stripe_event_id")
                    .fetch_all(conn)
                    .await
            })
            .unwrap();
            for id in order.of(ids) {
                apply_stored(&shop.server, &id).await.unwrap();
            }
            shop.run_jobs().await;
            assert_eq!(stored(&shop).await, before, "{order:?}: late news is old news");
            shop.check_books().await;
            seen.borrow_mut().push(before);
        })
        .await;
        for seen in seen.into_inner() {
            match &first {
                None => first = Some(seen),
                Some(first) => assert_eq!(&seen, first, "{order:?}"),
            }
        }
    }
}
