//! Stripe's API as async-stripe reads it, and idempotency keys as Stripe defines them.

use crate::support::{NOW, checkout, form, id, start};
use sandbox::{ApiFault, ApiFaultKind, PayOutcome, Sandbox};
use stripe::{IdempotencyKey, RequestStrategy, StripeError, StripeRequest as _};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionPaymentIntentData, ExpireCheckoutSession, ListCheckoutSession, ProductData,
    RetrieveCheckoutSession,
};
use stripe_core::customer::{CreateCustomer, RetrieveCustomer};
use stripe_core::event::{ListEvent, RetrieveEvent};
use stripe_core::payment_intent::{CancelPaymentIntent, CreatePaymentIntent, RetrievePaymentIntent};

fn client(sandbox: &Sandbox) -> stripe::Client {
    stripe::ClientBuilder::new("sk_test_1").url(sandbox.stripe_url()).build().unwrap()
}

fn new_checkout() -> CreateCheckoutSession {
    let mut price = CreateCheckoutSessionLineItemsPriceData::new(stripe_types::Currency::USD);
    price.unit_amount = Some(1150);
    price.product_data = Some(ProductData::new("$10 credit pack"));
    let mut line = CreateCheckoutSessionLineItems::new();
    line.price_data = Some(price);
    line.quantity = Some(1);
    let metadata = std::collections::HashMap::from([("purchase_id".to_owned(), "p1".to_owned())]);
    let mut payment = CreateCheckoutSessionPaymentIntentData::new();
    payment.metadata = Some(metadata.clone());
    CreateCheckoutSession::new()
        .mode(stripe_shared::CheckoutSessionMode::Payment)
        .line_items(vec![line])
        .payment_intent_data(payment)
        .metadata(metadata)
        .client_reference_id("p1")
        .expires_at(NOW + 3_600)
        .success_url("http://127.0.0.1:1/bought/{CHECKOUT_SESSION_ID}")
        .cancel_url("http://127.0.0.1:1/credits")
}

#[tokio::test]
async fn async_stripe_reads_a_purchase_from_customer_to_charge() {
    let sandbox = start().await;
    let client = client(&sandbox);
    let customer = CreateCustomer::new().email("ada@demo.test").send(&client).await.unwrap();
    assert!(RetrieveCustomer::new(customer.id.clone()).send(&client).await.is_ok());

    let session = new_checkout().customer(customer.id.as_str()).send(&client).await.unwrap();
    assert_eq!(session.amount_total, Some(1150));
    assert!(session.payment_intent.is_none());
    assert!(session.url.unwrap().ends_with(&format!("/checkout/{}", session.id)));

    let paid = sandbox.pay(session.id.as_str(), "4242424242424242");
    assert_eq!(paid, PayOutcome::Paid { redirect: format!("http://127.0.0.1:1/bought/{}", session.id) });

    let session = RetrieveCheckoutSession::new(session.id)
        .expand(["payment_intent.latest_charge".to_owned(), "line_items".to_owned(), "customer".to_owned()])
        .send(&client)
        .await
        .unwrap();
    assert_eq!(session.payment_status.as_str(), "paid");
    assert_eq!(session.line_items.unwrap().data.len(), 1);
    let stripe_types::Expandable::Object(intent) = session.payment_intent.unwrap() else { panic!("not expanded") };
    assert_eq!((intent.amount, intent.amount_received, intent.status.as_str()), (1150, 1150, "succeeded"));
    assert_eq!(intent.metadata["purchase_id"], "p1");
    let stripe_types::Expandable::Object(charge) = intent.latest_charge.unwrap() else { panic!("not expanded") };
    assert!(charge.paid);

    let listed = ListCheckoutSession::new().payment_intent(intent.id.as_str()).send(&client).await.unwrap();
    assert_eq!(listed.data.len(), 1);
    assert!(RetrievePaymentIntent::new(intent.id).send(&client).await.unwrap().last_payment_error.is_none());
}

#[tokio::test]
async fn async_stripe_reads_every_event() {
    let sandbox = start().await;
    let client = client(&sandbox);
    for card in
        ["4242424242424242", "4000000000009995", "4000002760003184", "000123456789", "000111111116", "4000000000000341"]
    {
        let session = checkout(&sandbox, "&payment_intent_data[setup_future_usage]=off_session").await;
        sandbox.pay(&id(&session), card);
    }
    sandbox.settle();
    let expired = new_checkout().send(&client).await.unwrap();
    ExpireCheckoutSession::new(expired.id).send(&client).await.unwrap();
    let events = sandbox.stripe_events();
    for event in &events {
        let parsed = stripe_webhook::Webhook::insecure(&event.to_string()).unwrap_or_else(|e| panic!("{e}: {event}"));
        assert!(!matches!(parsed.data.object, stripe_webhook::EventObject::Unknown(_)), "{event}");
        RetrieveEvent::new(parsed.id).send(&client).await.unwrap();
    }
    for kind in [
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "payment_method.attached",
        "charge.succeeded",
        "charge.failed",
        "customer.created",
    ] {
        assert!(events.iter().any(|event| event["type"] == kind), "{kind}");
    }
    let page = ListEvent::new().type_("checkout.session.completed").limit(2).send(&client).await.unwrap();
    assert_eq!((page.data.len(), page.has_more), (2, true));
    let mut every = ListEvent::new().limit(7).paginate();
    let mut count = 0;
    let mut stream = std::pin::pin!(std::mem::replace(&mut every, ListEvent::new().paginate()).stream(&client));
    while let Some(event) = futures::StreamExt::next(&mut stream).await {
        event.unwrap();
        count += 1;
    }
    assert_eq!(count, events.len());
}

#[tokio::test]
async fn off_session_charges_are_declined_as_their_card_says() {
    let sandbox = start().await;
    let client = client(&sandbox);
    for (card, code, decline_code) in [
        ("pm_card_visa", None, None),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", Some("card_declined"), Some("insufficient_funds")),
        ("pm_card_chargeCustomerFail", Some("card_declined"), Some("generic_decline")),
        ("pm_card_authenticationRequired", Some("authentication_required"), Some("authentication_required")),
    ] {
        let request = CreatePaymentIntent::new(1150, stripe_types::Currency::USD)
            .payment_method(card)
            .confirm(true)
            .off_session(stripe_core::payment_intent::CreatePaymentIntentOffSession::Bool(true))
            .error_on_requires_action(true);
        match (request.send(&client).await, code) {
            (Ok(intent), None) => assert_eq!(intent.status.as_str(), "succeeded"),
            (Err(StripeError::Stripe(error, 402)), Some(code)) => {
                assert_eq!(error.code.unwrap().as_str(), code);
                assert_eq!(error.decline_code.as_deref(), decline_code);
                let intent = error.payment_intent.unwrap();
                assert_eq!(intent.status.as_str(), "requires_payment_method");
                assert!(intent.last_payment_error.unwrap().payment_method.is_some());
                let cancelled = CancelPaymentIntent::new(intent.id).send(&client).await.unwrap();
                assert_eq!(cancelled.status.as_str(), "canceled");
            }
            (other, _) => panic!("{card}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_same_key_with_the_same_parameters_gets_the_first_answer_for_a_day() {
    let sandbox = start().await;
    let body = "email=ada@demo.test&metadata[a]=1";
    let (_, first, headers) = form(&sandbox, "/v1/customers", Some("key-1"), body).await;
    assert!(headers.get("idempotent-replayed").is_none());
    // The order of parameters does not matter.
    let (_, again, headers) = form(&sandbox, "/v1/customers", Some("key-1"), "metadata[a]=1&email=ada@demo.test").await;
    assert_eq!(first, again);
    assert_eq!(headers["idempotent-replayed"], "true");
    for (path, other) in [("/v1/customers", "email=eve@demo.test"), ("/v1/payment_intents", body)] {
        let (status, error, _) = form(&sandbox, path, Some("key-1"), other).await;
        assert_eq!((status, error["error"]["type"].as_str()), (400, Some("idempotency_error")));
    }
    sandbox.advance_seconds(24 * 60 * 60);
    let (_, next_day, _) = form(&sandbox, "/v1/customers", Some("key-1"), body).await;
    assert_ne!(first["id"], next_day["id"]);
}

#[tokio::test]
async fn a_decline_is_kept_for_its_key_and_a_refused_request_is_not() {
    let sandbox = start().await;
    let decline = "amount=1150&currency=usd&payment_method=pm_card_visa_chargeDeclined&confirm=true&off_session=true";
    let (status, first, _) = form(&sandbox, "/v1/payment_intents", Some("k"), decline).await;
    assert_eq!(status, 402);
    let (_, again, _) = form(&sandbox, "/v1/payment_intents", Some("k"), decline).await;
    assert_eq!(first, again);
    let (status, error, _) = form(&sandbox, "/v1/payment_intents", Some("k2"), "amount=10&currency=usd").await;
    assert_eq!((status, error["error"]["code"].as_str()), (400, Some("amount_too_small")));
    let (status, _, _) = form(&sandbox, "/v1/payment_intents", Some("k2"), "amount=100&currency=usd").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    let sandbox = start().await;
    let client = client(&sandbox);
    let request = || {
        let key = IdempotencyKey::new("purchase-1").unwrap();
        new_checkout().customize().request_strategy(RequestStrategy::Idempotent(key))
    };
    sandbox.set_stripe_fault(ApiFault {
        kind: ApiFaultKind::CutAfter,
        times: 1,
        path: Some("checkout/sessions".to_owned()),
        delay_ms: 0,
    });
    assert!(request().send(&client).await.is_err());
    let session = request().send(&client).await.unwrap();
    let listed = ListCheckoutSession::new().send(&client).await.unwrap();
    assert_eq!(listed.data.iter().map(|each| each.id.as_str()).collect::<Vec<_>>(), [session.id.as_str()]);
}

#[tokio::test]
async fn wrong_requests_are_refused_in_stripes_words() {
    let sandbox = start().await;
    for (path, body, code) in [
        ("/v1/checkout/sessions", "mode=payment", "parameter_missing"),
        ("/v1/customers", "nonsense=1", "parameter_unknown"),
        ("/v1/payment_intents", "amount=1150&currency=usd&customer=cus_none", "resource_missing"),
        ("/v1/checkout/sessions/cs_none/expire", "", "resource_missing"),
    ] {
        let (status, error, headers) = form(&sandbox, path, None, body).await;
        assert!((400..=404).contains(&status), "{path}");
        assert_eq!(error["error"]["code"], code);
        assert!(headers["request-id"].to_str().unwrap().starts_with("req_"));
    }
    let response = crate::support::http()
        .get(format!("{}v1/events", sandbox.stripe_url()))
        .header("authorization", "Bearer sk_test_1")
        .header("stripe-version", "2020-08-27")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 400);
    let live = stripe::ClientBuilder::new("sk_live_1").url(sandbox.stripe_url()).build().unwrap();
    assert!(matches!(ListEvent::new().send(&live).await, Err(StripeError::Stripe(_, 401))));
}
