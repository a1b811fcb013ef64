//! Webhooks: signed so that async-stripe verifies them, and every way in which deliveries go wrong.

use crate::support::{NOW, SECRET, checkout, endpoint, id, start};
use sandbox::{Signature, WebhookMode};
use std::collections::HashSet;
use stripe_webhook::{Webhook, WebhookError};

fn verify(signature: &str, body: &str) -> Result<stripe_webhook::Event, WebhookError> {
    Webhook::construct_event_with_timestamp(body, signature, SECRET, NOW)
}

#[tokio::test]
async fn paying_sends_signed_events() {
    let sandbox = start().await;
    let (url, received) = endpoint(200).await;
    sandbox.set_webhook(url, SECRET);
    let session = checkout(&sandbox, "").await;
    sandbox.pay(&id(&session), "4242424242424242");
    sandbox.webhooks_delivered().await;
    let received = received.lock().unwrap().clone();
    let kinds: HashSet<String> = received
        .iter()
        .map(|(signature, body)| verify(signature.as_deref().unwrap(), body).unwrap().type_.as_str().to_owned())
        .collect();
    let expected =
        ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_refused_delivery_is_tried_again() {
    let sandbox = start().await;
    let (url, _) = endpoint(500).await;
    sandbox.set_webhook(url, SECRET);
    sandbox.set_webhook_mode(WebhookMode { hold: true, ..WebhookMode::default() });
    sandbox.pay(&id(&checkout(&sandbox, "").await), "4242424242424242");
    assert!(sandbox.deliver_now().await.iter().all(|delivery| delivery.status == Some(500) && delivery.attempt == 1));
    let (url, received) = endpoint(200).await;
    sandbox.set_webhook(url, SECRET);
    assert!(sandbox.deliver_now().await.iter().all(|delivery| delivery.status == Some(200) && delivery.attempt == 2));
    assert_eq!(received.lock().unwrap().len(), 4);
    assert!(sandbox.deliver_now().await.is_empty());
}

#[tokio::test]
async fn deliveries_are_duplicated_mixed_lost_and_repeated_on_demand() {
    let sandbox = start().await;
    let (url, received) = endpoint(200).await;
    sandbox.set_webhook(url, SECRET);
    sandbox.set_webhook_mode(WebhookMode { hold: true, copies: 3, shuffle: true, ..WebhookMode::default() });
    sandbox.pay(&id(&checkout(&sandbox, "").await), "4242424242424242");
    let deliveries = sandbox.deliver_now().await;
    assert_eq!(deliveries.len(), 12);

    sandbox.set_webhook_mode(WebhookMode { drop: true, ..WebhookMode::default() });
    sandbox.pay(&id(&checkout(&sandbox, "").await), "4242424242424242");
    sandbox.webhooks_delivered().await;
    assert_eq!(received.lock().unwrap().len(), 12);

    sandbox.set_webhook_mode(WebhookMode::default());
    let lost = sandbox.stripe_events().last().map(id).unwrap();
    assert_eq!(sandbox.redeliver(&lost).await.len(), 1);
    assert!(sandbox.redeliver("evt_none").await.is_empty());
    let last = received.lock().unwrap().last().cloned().unwrap();
    assert_eq!(verify(&last.0.unwrap(), &last.1).unwrap().id.as_str(), lost);
}

#[tokio::test]
async fn forged_deliveries_do_not_verify() {
    for signature in
        [Signature::WrongSecret, Signature::EmptySecret, Signature::AlteredBody, Signature::Old, Signature::Missing]
    {
        let sandbox = start().await;
        let (url, received) = endpoint(200).await;
        sandbox.set_webhook(url, SECRET);
        sandbox.set_webhook_mode(WebhookMode { signature, ..WebhookMode::default() });
        sandbox.pay(&id(&checkout(&sandbox, "").await), "4242424242424242");
        sandbox.webhooks_delivered().await;
        let received = received.lock().unwrap().clone();
        assert_eq!(received.len(), 4);
        for (header, body) in received {
            let altered = signature == Signature::AlteredBody && !body.contains("911");
            assert!(header.is_none_or(|header| verify(&header, &body).is_err()) || altered, "{signature}");
        }
    }
}

#[tokio::test]
async fn a_session_expires_by_the_clock() {
    let sandbox = start().await;
    let session = id(&checkout(&sandbox, "").await);
    sandbox.advance_seconds(24 * 60 * 60);
    assert_eq!(sandbox.stripe_object(&session).unwrap()["status"], "expired");
    assert_eq!(sandbox.pay(&session, "4242424242424242"), sandbox::PayOutcome::Expired);
    assert_eq!(sandbox.stripe_events().last().unwrap()["type"], "checkout.session.expired");
}
