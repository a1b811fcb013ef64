//! The hosted Checkout page, as a browser without JavaScript uses it.

use crate::support::{checkout, http, id, start};

const GOOD: &str = "expiry=12/30&cvc=123&name=Ada+Example";

async fn submit(url: &str, body: String) -> (u16, Option<String>, String) {
    let response = http().post(url).body(body).send().await.unwrap();
    let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), location, response.text().await.unwrap())
}

#[tokio::test]
async fn a_card_pays_once_however_often_the_form_is_sent() {
    let sandbox = start().await;
    let session = checkout(&sandbox, "").await;
    let url = session["url"].as_str().unwrap();
    let page = http().get(url).send().await.unwrap().text().await.unwrap();
    for text in [
        "Pay $11.50",
        "$10 credit pack",
        "This is a sandbox: no money moves",
        "Card number",
        "Expiry (MM/YY)",
        "CVC",
        "Name on card",
        "Cancel",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for _ in 0..3 {
        let (status, location, _) = submit(url, format!("number=4242+4242+4242+4242&{GOOD}")).await;
        assert_eq!((status, location), (303, Some(format!("http://127.0.0.1:1/bought/{}", id(&session)))));
    }
    let paid = sandbox.stripe_events().iter().filter(|event| event["type"] == "charge.succeeded").count();
    assert_eq!(paid, 1);
    assert!(http().get(url).send().await.unwrap().text().await.unwrap().contains("already paid"));
}

#[tokio::test]
async fn wrong_entries_and_declines_keep_the_form() {
    let sandbox = start().await;
    let url = checkout(&sandbox, "").await["url"].as_str().unwrap().to_owned();
    let (status, _, page) = submit(&url, "number=4242424242424241&expiry=01/20&cvc=1&name=<script>".to_owned()).await;
    assert_eq!(status, 422);
    assert_eq!(page.matches("aria-invalid").count() - page.matches("input[aria-invalid").count(), 3);
    assert!(page.contains("This card has expired.") && !page.contains("<script>"));
    let (status, _, page) = submit(&url, format!("number=4000000000009995&{GOOD}")).await;
    assert!(status == 402 && page.contains("insufficient funds"));
    // Another card pays the same session, with the same payment.
    let (status, _, _) = submit(&url, format!("number=4242424242424242&{GOOD}")).await;
    assert_eq!(status, 303);
    let created = sandbox.stripe_events().iter().filter(|event| event["type"] == "payment_intent.created").count();
    assert_eq!(created, 1);
}

#[tokio::test]
async fn three_d_secure_is_a_second_page() {
    let sandbox = start().await;
    let session = checkout(&sandbox, "").await;
    let url = session["url"].as_str().unwrap();
    let ask = || submit(url, format!("number=4000002760003184&{GOOD}"));
    let (status, location, _) = ask().await;
    assert_eq!((status, location), (303, Some(format!("/checkout/{}/authenticate", id(&session)))));
    let second = format!("{url}/authenticate");
    assert!(http().get(&second).send().await.unwrap().text().await.unwrap().contains("Complete"));
    let (status, _, page) = submit(&second, "outcome=fail".to_owned()).await;
    assert!(status == 402 && page.contains("unable to authenticate"));
    // Completing without having paid again proves nothing.
    assert_eq!(submit(&second, "outcome=complete".to_owned()).await.0, 402);
    ask().await;
    assert_eq!(submit(&second, "outcome=complete".to_owned()).await.0, 303);
    assert_eq!(sandbox.stripe_object(&id(&session)).unwrap()["payment_status"], "paid");
}

#[tokio::test]
async fn pages_and_control_answer() {
    let sandbox = start().await;
    for path in [
        "/",
        "/mailbox",
        "/control/mail",
        "/control/requests",
        "/control/events",
        "/control/deliveries",
        "/control/clock",
    ] {
        assert_eq!(http().get(format!("{}{path}", sandbox.base_url)).send().await.unwrap().status(), 200, "{path}");
    }
    let post = |path: &str, body: &str| {
        http()
            .post(format!("{}/control/{path}", sandbox.base_url))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
    };
    for (path, body) in [
        ("webhook-mode", r#"{"copies":2,"signature":"wrong_secret"}"#),
        ("fault", r#"{"provider":"openai","faults":["cut_after=3","crlf"],"times":1}"#),
        ("stripe-fault", r#"{"kind":"rate_limited"}"#),
        ("pace", r#"{"tokens_per_second":700}"#),
        ("clock", r#"{"advance_seconds":60}"#),
        ("webhook", r#"{"url":"http://127.0.0.1:1/x","secret":"whsec_1"}"#),
    ] {
        assert_eq!(post(path, body).await.unwrap().status(), 200, "{path}");
    }
    for path in ["deliver", "settle", "clear-faults", "reset"] {
        assert_eq!(post(path, "").await.unwrap().status(), 200, "{path}");
    }
    let paid =
        post("pay", &format!(r#"{{"session":"{}","card":"4242424242424242"}}"#, id(&checkout(&sandbox, "").await)));
    assert!(paid.await.unwrap().text().await.unwrap().contains("\"paid\""));
}
