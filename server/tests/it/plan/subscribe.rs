//! Subscribing: Stripe's page, a second click, a second subscription, promotion codes and the portal.

use super::standard;
use crate::shop::{GOOD_CARD, NO_FUNDS_CARD, Shop};
use crate::support::each_database;
use domain::money::Cents;
use domain::period::Period;
use domain::subscription::{KeyMode, SubscriptionStatus};
use server::on_read;
use server::stripe::plan::InvoiceStatus;
use server::subscription::{self, Proposal};

#[tokio::test]
async fn subscribing_gives_the_plan_once_stripe_says_so() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let before = shop.current().await;
        assert_eq!((before.plan.as_str(), before.status, before.seats), ("free", None, 1));
        assert_eq!(before.period, Period::calendar_month(shop.server.clock.now()));

        let id = shop.subscribe_as(&shop.buyer, &standard("pro", 1), GOOD_CARD).await;
        // The browser came back; nobody has told us yet.
        assert_eq!((shop.current().await.plan.as_str(), shop.change_state(&id).await.as_str()), ("free", "pending"));
        shop.deliver().await;

        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Active)));
        assert_eq!((now.key_mode, now.seats, now.cancels_at), (KeyMode::Standard, 1, None));
        let item = &shop.at_stripe()["items"]["data"][0];
        assert_eq!(now.period.end.seconds(), item["current_period_end"].as_i64().unwrap());
        assert_eq!(shop.change_state(&id).await, "done");
        let invoices = shop.invoices().await;
        assert_eq!(invoices.len(), 1);
        assert_eq!(
            (invoices[0].total, invoices[0].paid, invoices[0].status),
            (Cents(900), Cents(900), InvoiceStatus::Paid)
        );
        assert_eq!(invoices[0].lines[0].text, "1 × Pro (at $9.00 / month)");
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_click_answers_with_the_same_checkout_and_a_declined_card_can_be_replaced() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let id = shop.new_change();
        let to = standard("team", 2);
        let clicks = (0..4).map(|_| subscription::propose(&shop.server, &shop.buyer, &to, &id));
        let urls: Vec<Proposal> = futures::future::try_join_all(clicks).await.unwrap();
        assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
        let Proposal::Checkout { url } = &urls[0] else { panic!() };
        assert_eq!(shop.pay_page(url, NO_FUNDS_CARD).await.status, 402);
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "free");
        assert_eq!(shop.pay_page(url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        assert_eq!((shop.current().await.plan.as_str(), shop.current().await.seats), ("team", 2));
        assert_eq!(shop.invoices().await[0].paid, Cents(5_800));
        assert_eq!(subscription::propose(&shop.server, &shop.buyer, &to, &id).await.unwrap(), Proposal::Same);
    })
    .await;
}

#[tokio::test]
async fn a_second_subscription_is_given_back() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (_, one) = shop.propose(&standard("pro", 1)).await;
        let (_, two) = shop.propose(&standard("team", 1)).await;
        for proposal in [one, two] {
            let Proposal::Checkout { url } = proposal else { panic!() };
            assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        }
        shop.deliver().await;
        shop.deliver().await;
        let live: Vec<_> =
            shop.sandbox.billed("subscription").into_iter().filter(|sub| sub["status"] == "active").collect();
        assert_eq!(live.len(), 1);
        let customer = shop.sandbox.stripe_object(&shop.customer()).unwrap();
        let paid: i64 = shop.invoices().await.iter().map(|invoice| invoice.paid.0).sum();
        let kept = if shop.current().await.plan.as_str() == "pro" { 900 } else { 2_900 };
        assert_eq!(-customer["balance"].as_i64().unwrap(), paid - kept, "what was paid twice is credit");
        let mut states: Vec<(String, Option<String>)> = on_read!(&shop.server.db, conn => {
            sqlx::query_as("select state, problem from plan_change").fetch_all(conn).await
        })
        .unwrap();
        states.sort();
        assert_eq!((states[0].0.as_str(), states[1].0.as_str()), ("done", "failed"), "nothing waits for ever");
        assert!(states[1].1.as_ref().unwrap().contains("You have a plan already"), "{states:?}");
    })
    .await;
}

/// Webhooks of one new subscription come at once, to several nodes: it is one subscription with one trial, and stays.
#[tokio::test]
async fn readings_of_one_new_subscription_at_the_same_moment_agree() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (node, _) = shop.node().await;
        for trial_card in [Some(GOOD_CARD), Some("5555555555554444"), None, None, None, None] {
            let user = crate::shop::insert_user(world, world.account().await).await;
            let (id, to) = (shop.new_change(), standard("pro", 1));
            let proposal = match trial_card {
                Some(_) => subscription::propose_trial(&shop.server, &user, &to, &id).await.unwrap(),
                None => subscription::propose(&shop.server, &user, &to, &id).await.unwrap(),
            };
            let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
            assert_eq!(shop.pay_page(&url, trial_card.unwrap_or(GOOD_CARD)).await.status, 303);
            let new = server::stripe::plan::SubscriptionId::new(shop.at_stripe()["id"].as_str().unwrap());
            let readings = (0..8).map(|at| subscription::refresh(if at % 2 == 0 { &shop.server } else { &node }, &new));
            for applied in futures::future::join_all(readings).await {
                assert_eq!(applied.unwrap(), subscription::Applied::Stored);
            }
            let (status, credit) = if trial_card.is_some() { ("trialing", "$10.00") } else { ("active", "$0.00") };
            assert_eq!(shop.at_stripe()["status"], status, "nobody took it for a second one");
            let current = subscription::load_current(&shop.server, &user.account_id).await.unwrap();
            assert_eq!(current.plan.as_str(), "pro");
            let trial = server::ledger::load_balance(&shop.server, &user.account_id).await.unwrap().trial;
            assert_eq!(trial.to_string(), credit, "granted once");
        }
        shop.check_books().await;
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_promotion_code_takes_off_what_it_says_and_the_portal_opens() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.sandbox.edit("/v1/coupons", "id=half&percent_off=50&duration=once").unwrap();
        shop.sandbox.edit("/v1/promotion_codes", "promotion[type]=coupon&promotion[coupon]=half&code=HALF").unwrap();
        let (_, proposal) = shop.propose(&standard("pro", 1)).await;
        let Proposal::Checkout { url } = proposal else { panic!() };
        assert_eq!(shop.post_form(&url, "promotion_code=half&apply=1").await.status, 303);
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        assert_eq!(shop.invoices().await[0].paid, Cents(450));
        shop.let_pass(32).await;
        assert_eq!(shop.invoices().await[0].paid, Cents(900), "once");

        let portal = subscription::open_portal(&shop.server, &shop.buyer).await.unwrap();
        let saved = shop.post_form(&portal, "what=card&number=5555555555554444&expiry=12/40&cvc=123&name=Ada").await;
        assert_eq!(saved.status, 303);
        shop.deliver().await;
        shop.let_pass(31).await;
        assert_eq!(shop.invoices().await.len(), 3);
    })
    .await;
}
