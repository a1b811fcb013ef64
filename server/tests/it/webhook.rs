//! `POST /webhooks/stripe`: who is believed, and that nothing that Stripe signed is lost.

use crate::shop::{GOOD_CARD, SECRET, Shop, sign_at};
use crate::support::each_database;
use sandbox::{Signature, WebhookMode};
use serde_json::{Value, json};
use server::purchase::{self, PurchaseState};

fn event(id: &str, kind: &str, object_id: &str) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2026-09-30.endive", "type": kind, "livemode": false,
        "data": {"object": {"id": object_id, "object": "x", "amount_total": 1, "metadata": {}}},
    })
}

/// Field failure 11: whoever does not know the secret is refused, and the true delivery still credits afterwards.
#[tokio::test]
async fn field_failure_11_forged_deliveries_are_refused() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        // The event of the new customer carries no amount that could be altered.
        shop.deliver().await;
        let known = shop.events().await;
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        for signature in
            [Signature::WrongSecret, Signature::EmptySecret, Signature::AlteredBody, Signature::Old, Signature::Missing]
        {
            shop.sandbox.set_webhook_mode(WebhookMode { hold: true, signature, ..WebhookMode::default() });
            let deliveries = shop.sandbox.deliver_now().await;
            assert!(!deliveries.is_empty(), "{signature:?}");
            for delivery in deliveries {
                assert_eq!(delivery.status, Some(400), "{signature:?}");
            }
            shop.run_jobs().await;
        }
        assert_eq!((shop.events().await, shop.grants().await), (known, 0));

        shop.sandbox.set_webhook_mode(WebhookMode { hold: true, ..WebhookMode::default() });
        shop.deliver().await;
        assert_eq!((shop.state(&purchase_id).await, shop.grants().await), (PurchaseState::Paid, 1));
    })
    .await;
}

/// Field failure 11: without a secret nothing is believed (and `serve` does not start, see `config`).
#[tokio::test]
async fn field_failure_11_without_a_secret_nothing_is_believed() {
    each_database(async |world| {
        let shop = Shop::open_with(world, |config| config.stripe.webhook_secret = String::new().into()).await;
        let body = event("evt_1", "checkout.session.completed", "cs_1").to_string();
        for secret in ["", SECRET] {
            let signature = shop.sign(secret, body.as_bytes());
            assert_eq!(shop.post(&shop.webhook_url, Some(&signature), body.clone()).await, 503);
        }
        assert_eq!(shop.events().await, []);
    })
    .await;
}

#[tokio::test]
async fn a_rotated_secret_is_believed_by_either_signature() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let body = event("evt_1", "customer.created", "cus_1").to_string();
        let old = shop.sign("whsec_old", body.as_bytes());
        let good = shop.sign(SECRET, body.as_bytes());
        let both = format!("{old},{}", good.split_once(',').unwrap().1);
        assert_eq!(shop.post(&shop.webhook_url, Some(&old), body.clone()).await, 400);
        assert_eq!(shop.post(&shop.webhook_url, Some(&both), body.clone()).await, 200);
        let late = sign_at(SECRET, shop.server.clock.now().seconds() - 301, body.as_bytes());
        assert_eq!(shop.post(&shop.webhook_url, Some(&late), body).await, 400);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_here_acts_on_is_stored_and_acknowledged() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        assert_eq!(shop.post_event(&shop.webhook_url, &event("evt_1", "customer.tax_id.created", "x")).await, 200);
        assert_eq!(shop.post_event(&shop.webhook_url, &event("evt_2", "something.new", "x")).await, 200);
        shop.run_jobs().await;
        let stored = shop.events().await;
        let states: Vec<_> = stored.iter().map(|(kind, state, _)| (kind.as_str(), state.as_str())).collect();
        assert_eq!(states, [("customer.tax_id.created", "ignored"), ("something.new", "ignored")]);
    })
    .await;
}

/// A signed event that cannot be read, or that names what Stripe does not have, is kept with its problem.
#[tokio::test]
async fn what_cannot_be_read_is_stored_with_its_problem_and_never_lost() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        for body in ["{", "[]", "", "\u{0}\u{1}", r#"{"id":"a\u0000","type":"x","livemode":false,"data":{"object":{}}}"#, r#"{"id":"evt_9","type":"checkout.session.completed","livemode":false}"#] {
            let signature = shop.sign(SECRET, body.as_bytes());
            for _ in 0..2 {
                assert_eq!(shop.post(&shop.webhook_url, Some(&signature), body).await, 200, "{body:?}");
            }
        }
        assert_eq!(shop.post_event(&shop.webhook_url, &event("evt_1", "checkout.session.completed", "cs_none")).await, 200);
        let nameless = json!({"id": "evt_2", "type": "payment_intent.succeeded", "livemode": false, "data": {"object": {}}});
        assert_eq!(shop.post_event(&shop.webhook_url, &nameless).await, 200);
        let live = json!({"id": "evt_3", "type": "payment_intent.succeeded", "livemode": true, "data": {"object": {"id": "pi_1"}}});
        assert_eq!(shop.post_event(&shop.webhook_url, &live).await, 200);
        shop.run_jobs().await;
        let stored = shop.events().await;
        assert_eq!(stored.len(), 9, "{stored:?}");
        assert!(stored.iter().all(|(_, state, problem)| state == "failed" && problem.is_some()), "{stored:?}");
        // They stay, and trying them again does not disturb the others.
        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.events().await, stored);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let body = vec![b' '; 256 * 1024 + 1];
        let signature = shop.sign(SECRET, &body);
        assert_eq!(shop.post(&shop.webhook_url, Some(&signature), body).await, 413);
        let body = vec![b' '; 256 * 1024];
        let signature = shop.sign(SECRET, &body);
        assert_eq!(shop.post(&shop.webhook_url, Some(&signature), body).await, 200);
    })
    .await;
}

/// The database is away: the answer is not 200, so Stripe delivers it again.
#[tokio::test]
async fn an_event_that_could_not_be_stored_is_not_acknowledged() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.server.db.close().await;
        let status = shop.post_event(&shop.webhook_url, &event("evt_1", "customer.created", "cus_1")).await;
        assert_eq!(status, 500);
    })
    .await;
}

#[tokio::test]
async fn a_payment_that_is_not_ours_is_ignored() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let form = "amount=500&currency=usd&payment_method=pm_card_visa&confirm=true&payment_method_types[0]=card";
        shop.call_stripe("payment_intents", form.to_owned()).await;
        shop.call_stripe("payment_intents", format!("{form}&metadata[purchase_id]=gone")).await;
        shop.deliver().await;
        let paid: Vec<_> =
            shop.events().await.into_iter().filter(|(kind, ..)| kind == "payment_intent.succeeded").collect();
        let mut states: Vec<_> = paid.iter().map(|(_, state, _)| state.as_str()).collect();
        states.sort_unstable();
        assert_eq!(states, ["failed", "ignored"], "money without a purchase is for a person to see: {paid:?}");
    })
    .await;
}
