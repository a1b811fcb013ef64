//! Payments when the world misbehaves: webhooks lost, repeated and out of order, answers lost, money that does not fit.

use crate::shop::{GOOD_CARD, Shop, session_of};
use crate::support::each_database;
use domain::id::{PackId, PurchaseId};
use sandbox::{ApiFault, ApiFaultKind};
use server::job::run_jobs_until_idle;
use server::purchase::{self, PurchaseState};

fn fault(kind: ApiFaultKind, path: &str, times: u32) -> ApiFault {
    ApiFault { kind, times, path: Some(path.to_owned()), delay_ms: 0 }
}

/// Field failure 10: duplicates, within milliseconds, in any order, on two nodes, of the Checkout and of its payment.
#[tokio::test]
async fn field_failure_10_duplicate_webhooks_credit_once() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, node_url) = shop.node().await;
        for copies in 1..=20_usize {
            let known = shop.sandbox.stripe_events().len();
            shop.start_and_pay("pack-50").await;
            let events = shop.sandbox.stripe_events().split_off(known);
            let mut deliveries: Vec<_> = events.iter().flat_map(|event| std::iter::repeat_n(event, copies)).collect();
            // A different order each time, never the one in which they happened.
            deliveries.reverse();
            let places = deliveries.len();
            deliveries.rotate_left((copies * 7) % places);
            let post = deliveries.iter().enumerate().map(|(place, event)| {
                shop.post_event(if place % 2 == 0 { &shop.webhook_url } else { &node_url }, event)
            });
            let (answers, here, there) = tokio::join!(
                futures::future::join_all(post),
                run_jobs_until_idle(&shop.server),
                run_jobs_until_idle(&node)
            );
            here.and(there).unwrap();
            assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
            let (here, there) = tokio::join!(run_jobs_until_idle(&shop.server), run_jobs_until_idle(&node));
            here.and(there).unwrap();
            assert_eq!(shop.grants().await, i64::try_from(copies * 2).unwrap(), "paid and bonus, {copies} copies");
        }
        assert_eq!(shop.spendable().await, "$1100.00");
        assert_eq!(shop.sandbox.mail_to(&shop.buyer.email).len(), 20, "one receipt for each purchase");
        shop.check_books().await;
    })
    .await;
}

/// Field failure 10: an event that was recorded before its work was done is not lost with a crash in between.
#[tokio::test]
async fn field_failure_10_a_crash_between_storing_and_applying_is_healed() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let purchase_id = shop.start_and_pay("pack-10").await;
        for delivery in shop.sandbox.deliver_now().await {
            assert_eq!(delivery.status, Some(200));
        }
        // The jobs are gone, as after a restore; the events are there.
        shop.tamper("delete from job where kind <> $1", "").await;
        shop.tamper(
            "update purchase set created_at = created_at + 600000000 where purchase_id = $1",
            purchase_id.as_str(),
        )
        .await;
        assert_eq!(shop.event_state("checkout.session.completed").await.as_deref(), Some("new"));
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.grants().await, 0, "a webhook has its time first");

        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.event_state("checkout.session.completed").await.as_deref(), Some("applied"));
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Paid);
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$10.00", 1));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn webhooks_that_are_all_lost_are_healed_by_the_reconciler() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, _) = shop.node().await;
        shop.lose_webhooks();
        let mut paid = Vec::new();
        for _ in 0..5 {
            paid.push(shop.start_and_pay("pack-10").await);
        }
        let (unpaid, _) = shop.start("pack-10").await;
        assert_eq!(purchase::reconcile(&shop.server).await.unwrap(), 0, "too early");
        shop.advance_seconds(121);
        let (here, there) = tokio::join!(purchase::reconcile(&shop.server), purchase::reconcile(&node));
        assert!(here.unwrap() + there.unwrap() >= 6);
        for purchase_id in &paid {
            assert_eq!(shop.state(purchase_id).await, PurchaseState::Paid);
        }
        assert_eq!(shop.state(&unpaid).await, PurchaseState::Pending);
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$50.00", 5));

        shop.advance_seconds(2 * 3_600);
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.state(&unpaid).await, PurchaseState::Expired);
        assert_eq!(purchase::reconcile(&shop.server).await.unwrap(), 0, "nothing is left to do");
        shop.check_books().await;
    })
    .await;
}

/// Field failure 13: a call whose answer is unknown is repeated with the same key, so there is one Checkout to pay.
#[tokio::test]
async fn field_failure_13_a_lost_answer_never_makes_a_second_checkout() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let pack = PackId::new("pack-10");

        // Lost once: our own retry brings the answer.
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::CutAfter, "checkout", 1));
        let (_, first) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&first, GOOD_CARD).await.status, 303);

        // Lost each time: the buyer is told that nothing was charged, and the next click finds the same Checkout.
        let purchase_id = shop.new_id();
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::CutAfter, "checkout", 3));
        let lost = purchase::start(&shop.server, &shop.buyer, &pack, purchase_id.clone()).await.unwrap_err();
        assert_eq!(lost.denial().map(domain::denial::Denial::code), Some("upstream"));
        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        let url = purchase::start(&shop.server, &shop.buyer, &pack, purchase_id.clone()).await.unwrap();
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;

        let completed = |event: &serde_json::Value| event["type"] == "checkout.session.completed";
        assert_eq!(shop.sandbox.stripe_events().iter().filter(|event| completed(event)).count(), 2);
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$20.00", 2));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn stripe_that_is_busy_or_broken_is_asked_again() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::RateLimited, "customers", 2));
        shop.start("pack-10").await;
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::ServerErrorBefore, "checkout", 2));
        let purchase_id = shop.start_and_pay("pack-10").await;
        shop.deliver().await;
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Paid);
    })
    .await;
}

/// A purchase that Stripe never heard of ends, so that nobody waits for it.
#[tokio::test]
async fn a_purchase_that_never_reached_stripe_expires() {
    each_database(async |world| {
        let shop =
            Shop::open_with(world, |config| "http://127.0.0.1:1/stripe/".clone_into(&mut config.stripe.api_url)).await;
        let purchase_id = shop.new_id();
        let outcome =
            purchase::start(&shop.server, &shop.buyer, &PackId::new("pack-10"), purchase_id.clone()).await.unwrap_err();
        assert_eq!(outcome.denial().map(domain::denial::Denial::code), Some("upstream"));
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Pending);
        shop.advance_seconds(2 * 3_600 + 1);
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Expired);
    })
    .await;
}

/// Field failure 11: amount, currency, mode, customer and payment must all fit, or a person looks at it.
#[tokio::test]
async fn field_failure_11_money_that_does_not_fit_is_held_back() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        for (sql, expected) in [
            ("update purchase set price_cents = 1151 where purchase_id = $1", "1150 cents were paid"),
            ("update purchase set price_cents = 1149 where purchase_id = $1", "1150 cents were paid"),
            ("update purchase set currency = 'eur' where purchase_id = $1", "in usd and the price in eur"),
            (
                "update account set stripe_customer_id = 'cus_other'
                 where  account_id = (select account_id from purchase where purchase_id = $1)",
                "another customer",
            ),
        ] {
            let purchase_id = shop.start_and_pay("pack-10").await;
            shop.tamper(sql, purchase_id.as_str()).await;
            shop.deliver().await;
            let purchase = shop.load(&purchase_id).await;
            assert_eq!(purchase.state, PurchaseState::HeldBack, "{sql}");
            assert!(purchase.problem.as_deref().unwrap_or("").contains(expected), "{:?}", purchase.problem);
        }
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$0.00", 0));
        shop.check_books().await;
    })
    .await;
}

/// Field failure 11: a test payment never credits a live server, neither by its event nor by asking Stripe.
#[tokio::test]
async fn field_failure_11_test_money_does_not_credit_a_live_server() {
    each_database(async |world| {
        let shop = Shop::open_with(world, |config| config.stripe.live = true).await;
        let purchase_id = shop.start_and_pay("pack-10").await;
        shop.deliver().await;
        assert_eq!(shop.event_state("checkout.session.completed").await.as_deref(), Some("failed"));
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Pending);
        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        let purchase = shop.load(&purchase_id).await;
        assert_eq!(purchase.state, PurchaseState::HeldBack);
        assert!(purchase.problem.unwrap().contains("test"));
        assert_eq!(shop.grants().await, 0);
    })
    .await;
}

/// What was held back by mistake is credited, once, when what did not fit was put right.
#[tokio::test]
async fn money_that_was_held_back_is_credited_once_it_fits() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let purchase_id = shop.start_and_pay("pack-10").await;
        shop.tamper("update purchase set price_cents = 1 where purchase_id = $1", purchase_id.as_str()).await;
        let held: Vec<_> = shop.sandbox.stripe_events();
        shop.deliver().await;
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::HeldBack);

        shop.tamper("update purchase set price_cents = 1150 where purchase_id = $1", purchase_id.as_str()).await;
        shop.tamper("update stripe_event set state = 'new' where state = 'applied' and kind <> $1", "").await;
        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        assert!(!held.is_empty());
        assert_eq!((shop.state(&purchase_id).await, shop.grants().await), (PurchaseState::Paid, 1));
        shop.check_books().await;
    })
    .await;
}

/// A second payment for a purchase that is paid is not credited, not lost, and says what to do.
#[tokio::test]
async fn a_second_payment_for_a_paid_purchase_is_reported() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        let second = second_payment(&shop, &purchase_id, session_of(&url)).await;
        shop.deliver().await;
        let problems: Vec<String> = shop.events().await.into_iter().filter_map(|(.., problem)| problem).collect();
        assert!(
            problems.iter().any(|problem| problem.contains(&second) && problem.contains("refunded")),
            "{problems:?}"
        );
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$10.00", 1));
        shop.check_books().await;
    })
    .await;
}

/// Pays the purchase once more, past our pages: a PaymentIntent that names it.
async fn second_payment(shop: &Shop, purchase_id: &PurchaseId, session_id: &str) -> String {
    let session = shop.sandbox.stripe_object(session_id).unwrap();
    let customer = session["customer"].as_str().unwrap();
    let form = format!(
        "amount=1150&currency=usd&customer={customer}&payment_method=pm_card_visa&confirm=true\
         &payment_method_types[0]=card&metadata[purchase_id]={purchase_id}"
    );
    shop.call_stripe("payment_intents", form).await["id"].as_str().unwrap().to_owned()
}
