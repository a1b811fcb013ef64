//! What Stripe tells of plans, in any order, repeated, late, unknown, or not at all.

use super::standard;
use crate::shop::Shop;
use crate::support::each_database;
use server::subscription;

/// Everything comes in any order, repeated, late, or not at all.
#[tokio::test]
async fn lost_doubled_and_disordered_webhooks_end_in_the_same_state() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        shop.lose_webhooks();
        subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        subscription::resume(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        // A whole renewal without a word from Stripe: within ten minutes of its payment we know.
        let period = shop.current().await.period;
        shop.advance_seconds(period.seconds() + 180);
        subscription::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.current().await.period.start, period.end);
        for _ in 0..8 {
            shop.advance_seconds(600);
            subscription::reconcile(&shop.server).await.unwrap();
        }
        assert_eq!(shop.invoices().await.iter().map(|invoice| invoice.paid.0).collect::<Vec<_>>(), [900, 900]);

        // Now every event that ever was, the newest first, twice.
        shop.sandbox.set_webhook_mode(sandbox::WebhookMode { hold: true, ..sandbox::WebhookMode::default() });
        let ids: Vec<String> =
            shop.sandbox.stripe_events().iter().rev().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        for id in ids.iter().chain(&ids) {
            shop.sandbox.redeliver(id).await;
        }
        shop.run_jobs().await;
        assert_eq!(shop.current().await.period.start, period.end);
        assert_eq!(shop.invoices().await.len(), 2);
        let failed: Vec<_> = shop.events().await.into_iter().filter(|(_, state, _)| state == "failed").collect();
        assert!(failed.is_empty(), "{failed:?}");
        shop.check_books().await;
    })
    .await;
}

/// Somebody ends the plan in Stripe's portal, and no webhook ever tells us: the events are fetched.
#[tokio::test]
async fn events_whose_delivery_was_lost_are_fetched() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 0, "all were delivered");
        shop.lose_webhooks();
        let portal = subscription::open_portal(&shop.server, &shop.buyer).await.unwrap();
        assert_eq!(shop.post_form(&portal, "what=cancel").await.status, 303);
        shop.sandbox.deliver_now().await;
        shop.advance_seconds(300);
        assert_eq!(shop.current().await.cancels_at, None);
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 1);
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 0, "once");
        shop.run_jobs().await;
        assert!(shop.current().await.cancels_at.is_some());
        // A purchase heals in the same way.
        let purchase = shop.start_and_pay("pack-10").await;
        server::stripe::inbox::fetch_missed(&shop.server).await.unwrap();
        shop.run_jobs().await;
        assert_eq!((shop.state(&purchase).await.as_str(), shop.spendable().await.as_str()), ("paid", "$10.00"));
    })
    .await;
}

#[tokio::test]
async fn unknown_events_and_subscriptions_are_stored_and_answered() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let event = |id: &str, kind: &str, object: serde_json::Value| {
            serde_json::json!({"id": id, "type": kind, "livemode": false, "data": {"object": object}})
        };
        for (id, kind, object) in [
            ("evt_1", "customer.subscription.updated", serde_json::json!({"id": "sub_nobody"})),
            ("evt_2", "customer.subscription.invented", serde_json::json!({"id": "sub_nobody"})),
            ("evt_3", "invoice.paid", serde_json::json!({"id": "in_1"})),
            ("evt_4", "customer.deleted", serde_json::json!({"id": "cus_nobody"})),
        ] {
            assert_eq!(shop.post_event(&shop.webhook_url, &event(id, kind, object)).await, 200);
        }
        shop.run_jobs().await;
        assert_eq!(shop.event_state("customer.subscription.updated").await.as_deref(), Some("failed"));
        assert_eq!(shop.event_state("customer.subscription.invented").await.as_deref(), Some("ignored"));
        assert_eq!(shop.event_state("invoice.paid").await.as_deref(), Some("ignored"));
        assert_eq!(shop.event_state("customer.deleted").await.as_deref(), Some("ignored"));

        // A sandbox that starts again has forgotten the subscription: the account falls back to free.
        shop.subscribe(&standard("pro", 1)).await;
        let sub = shop.at_stripe()["id"].as_str().unwrap().to_owned();
        shop.sandbox.reset();
        subscription::refresh(&shop.server, &server::stripe::plan::SubscriptionId::new(sub)).await.unwrap();
        assert_eq!((shop.current().await.plan.as_str(), shop.current().await.status), ("free", None));
    })
    .await;
}

/// Two readings of Stripe overtake each other: the one that was asked for earlier and arrives later changes nothing.
#[tokio::test]
async fn an_older_reading_never_overwrites_a_newer_one() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        // Somebody has read Stripe a minute later than we are going to ask; they saw another invoice, too.
        let account = shop.buyer.account_id.as_str();
        shop.tamper("update subscription set refreshed_at = refreshed_at + 60000000 where account_id = $1", account).await;
        let newer = "update invoice set refreshed_at = refreshed_at + 60000000, status = 'open', paid_cents = 1 where account_id = $1";
        shop.tamper(newer, account).await;
        let portal = subscription::open_portal(&shop.server, &shop.buyer).await.unwrap();
        assert_eq!(shop.post_form(&portal, "what=cancel").await.status, 303);
        let id = server::stripe::plan::SubscriptionId::new(shop.at_stripe()["id"].as_str().unwrap());
        subscription::refresh(&shop.server, &id).await.unwrap();
        assert_eq!(shop.current().await.cancels_at, None);
        assert_eq!(shop.invoices().await[0].paid.0, 1);

        shop.advance_seconds(61);
        subscription::refresh(&shop.server, &id).await.unwrap();
        assert!(shop.current().await.cancels_at.is_some());
        assert_eq!(shop.invoices().await[0].paid.0, 900);
        shop.check_books().await;
    })
    .await;
}
