//! A year of many accounts on the moved clock: they subscribe, grow, shrink, cancel, come back, and fail to pay. After it
//! our subscriptions and invoices and Stripe's agree to the cent, and the ledger is clean.

use crate::plan::standard;
use crate::shop::{GOOD_CARD, Shop, insert_user};
use crate::support::{World, each_database};
use domain::id::PlanChangeId;
use domain::subscription::{Standing, SubscriptionStatus};
use serde_json::Value;
use server::account::User;
use server::subscription::{self, Proposal};
use server::{Server, on_read};
use std::collections::BTreeMap;

/// How many accounts, unless `YEAR_ACCOUNTS` says otherwise: 200 take 15 minutes of processor time without optimisation,
/// most of it for writing and reading Stripe's JSON.
const ACCOUNTS: usize = 6;
const DAYS: i64 = 365;

#[allow(clippy::disallowed_methods)] // Tests have no settings of their own.
fn accounts() -> usize {
    std::env::var("YEAR_ACCOUNTS").ok().and_then(|count| count.parse().ok()).unwrap_or(ACCOUNTS)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn new_user(world: &World) -> User {
    insert_user(world, world.account().await).await
}

/// One thing that somebody does on a day; what is refused is refused.
async fn act(shop: &Shop, user: &User, dice: &mut Dice) {
    let server = &shop.server;
    let id = PlanChangeId::new(server.clock.new_id());
    let seats = u32::try_from(dice.roll(6)).unwrap() + 1;
    let to = if dice.roll(2) == 0 { standard("pro", 1) } else { standard("team", seats) };
    let live = subscription::load_view(server, &user.account_id).await.unwrap().live;
    match (live, dice.roll(10)) {
        (Some(live), 0) if live.cancels_at.is_none() => gone_or_done(subscription::cancel(server, user, &id).await),
        (Some(live), 0..5) if live.cancels_at.is_some() => gone_or_done(subscription::resume(server, user, &id).await),
        (Some(_), 1) => {
            // A card that is declined from now on, until somebody replaces it.
            shop.sandbox.set_card(&customer(server, user).await, "4000000000000341");
        }
        (Some(live), _) if live.standing != Standing::InOrder => {
            shop.sandbox.set_card(&customer(server, user).await, GOOD_CARD);
            gone_or_done(subscription::pay_open_invoice(server, user, &id).await);
        }
        (_, _) => match subscription::propose(server, user, &to, &id).await {
            Ok(Proposal::Checkout { url }) => {
                assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
            }
            Ok(Proposal::Confirm) => match subscription::confirm(server, user, &id).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.denial().unwrap().code(), "payment_declined"),
            },
            Ok(Proposal::Same | Proposal::Cancel) => {}
            Err(error) => assert_eq!(error.denial().unwrap().code(), "conflict", "{error}"),
        },
    }
}

/// Done, or the subscription had ended at Stripe and nobody had told us yet.
fn gone_or_done(outcome: server::error::Result<()>) {
    if let Err(error) = outcome {
        assert_eq!(error.denial().unwrap().code(), "not_found", "{error}");
    }
}

async fn customer(server: &Server, user: &User) -> String {
    on_read!(&server.db, conn => {
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1")
            .bind(&user.account_id)
            .fetch_one(conn)
            .await
    })
    .unwrap()
}

type Ours = BTreeMap<String, (String, i64, i64, i64)>;

async fn our_invoices(server: &Server) -> Ours {
    let rows: Vec<(String, String, i64, i64, i64)> = on_read!(&server.db, conn => {
        sqlx::query_as("select stripe_invoice_id, status, total_cents, paid_cents, due_cents from invoice")
            .fetch_all(conn)
            .await
    })
    .unwrap();
    rows.into_iter().map(|(id, status, total, paid, due)| (id, (status, total, paid, due))).collect()
}

async fn our_subscriptions(server: &Server) -> Ours {
    let rows: Vec<(String, String, i64, i64, i64)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select stripe_subscription_id, status, period_start, period_end, unit_cents * seats from subscription",
        )
        .fetch_all(conn)
        .await
    })
    .unwrap();
    let seconds = |micros: i64| micros / 1_000_000;
    rows.into_iter()
        .map(|(id, status, start, end, cents)| (id, (status, seconds(start), seconds(end), cents)))
        .collect()
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap().to_owned()
}

fn number(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap()
}

#[tokio::test]
async fn after_a_year_both_sides_agree_to_the_cent() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let mut users = Vec::new();
        for _ in 0..accounts() {
            users.push(new_user(world).await);
        }
        let mut dice = Dice(7);
        for day in 0..DAYS {
            shop.advance_seconds(86_400 - 3_600 + i64::try_from(dice.roll(7_200)).unwrap());
            for user in &users {
                if dice.roll(20) == 0 || day == 0 {
                    act(&shop, user, &mut dice).await;
                }
            }
            // Every fifth day nothing is delivered until later; every seventh day's webhooks are lost for good.
            let lost = day % 7 == 3;
            shop.sandbox.set_webhook_mode(sandbox::WebhookMode { hold: !lost, drop: lost, ..Default::default() });
            if day % 5 != 2 {
                shop.sandbox.deliver_now().await;
            }
            shop.run_jobs().await;
            subscription::reconcile(&shop.server).await.unwrap();
        }
        // A quiet day, then ten minutes: everything is known by then.
        shop.sandbox.deliver_now().await;
        shop.run_jobs().await;
        for _ in 0..3 {
            shop.advance_seconds(3_700);
            subscription::reconcile(&shop.server).await.unwrap();
        }

        let theirs: Ours = shop
            .sandbox
            .billed("invoice")
            .iter()
            .map(|invoice| {
                let numbers = (number(invoice, "total"), number(invoice, "amount_paid"), number(invoice, "amount_due"));
                (text(invoice, "id"), (text(invoice, "status"), numbers.0, numbers.1, numbers.2))
            })
            .collect();
        assert_eq!(our_invoices(&shop.server).await, theirs);
        let paid: i64 = theirs.values().map(|(_, _, paid, _)| paid).sum();
        let theirs: Ours = shop
            .sandbox
            .billed("subscription")
            .iter()
            .map(|sub| {
                let item = &sub["items"]["data"][0];
                let month = number(&item["price"], "unit_amount") * number(item, "quantity");
                let period = (number(item, "current_period_start"), number(item, "current_period_end"));
                (text(sub, "id"), (text(sub, "status"), period.0, period.1, month))
            })
            .collect();
        assert_eq!(our_subscriptions(&shop.server).await, theirs);

        // Charges at Stripe are what the invoices say was paid, and each account has the plan that it should have.
        let charged: i64 = shop
            .sandbox
            .stripe_events()
            .iter()
            .filter(|event| event["type"] == "charge.succeeded")
            .map(|event| number(&event["data"]["object"], "amount"))
            .sum();
        assert_eq!(charged, paid);
        for user in &users {
            let view = subscription::load_view(&shop.server, &user.account_id).await.unwrap();
            let expected = view.live.as_ref().filter(|live| live.standing != Standing::Suspended);
            let expected = expected.map_or("free".to_owned(), |live| live.had.plan.to_string());
            assert_eq!(view.current.plan.as_str(), expected);
        }
        let states: Vec<&String> = theirs.values().map(|(status, ..)| status).collect();
        let ended = states.iter().filter(|status| status.as_str() == SubscriptionStatus::Canceled.as_str()).count();
        assert!(paid > 10_000 && theirs.len() >= users.len() && ended > 0, "{paid} cents, {states:?}");
        shop.check_books().await;
    })
    .await;
}
