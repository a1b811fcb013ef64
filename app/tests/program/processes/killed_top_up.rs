//! A process that is killed in the middle of an automatic charge: it is one charge and one grant all the same.

use super::installation::{GOOD_CARD, Installation, SECRET, each_database, until};
use domain::id::{CardSetupId, PackId, PurchaseId};
use domain::money::Usd;
use domain::top_up::Rule;
use sandbox::{ApiFault, ApiFaultKind, PayOutcome};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use server::account::User;
use server::top_up::{self, Agreed, NewRule, Next, TopUpState};
use server::{api_key, http_client, payment_method};
use std::collections::BTreeSet;

/// No plan includes it, so credits pay.
const MODEL: &str = "claude-opus-4";

/// How those who come after the killed process hear of the charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    ByWebhook,
    BySweep,
}

/// Spec §6.9 and field failure 13: killed after the request to Stripe left and before its answer was stored, whether Stripe had
/// acted on it or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_failure_13_kill_9_in_the_middle_of_a_top_up_is_one_charge_and_one_grant() {
    each_database(async |installation| {
        for (fault, heard) in [
            (ApiFaultKind::HangAfter, Heard::BySweep),
            (ApiFaultKind::HangAfter, Heard::ByWebhook),
            (ApiFaultKind::HangBefore, Heard::BySweep),
        ] {
            let first = installation.start().await;
            let buyer = open(installation, &first.webhook_url()).await;
            let set = ApiFault { kind: fault, times: 1, path: Some("payment_intents".to_owned()), delay_ms: 0 };
            installation.sandbox.set_stripe_fault(set);
            run_once(installation, &buyer, &first.url).await;

            // The charge is written down, and its request is at Stripe or on the way there.
            until("that the charge is open", async || !states(installation, &buyer).await.is_empty()).await;
            let expected = usize::from(fault == ApiFaultKind::HangAfter);
            until("that Stripe has acted", async || charges(installation, &buyer).await.len() == expected).await;
            assert_eq!(states(installation, &buyer).await, [TopUpState::Open]);
            first.kill().await;
            assert_eq!(installation.grants(&buyer.account_id).await, 1, "nobody knows of the charge yet");

            let second = installation.start().await;
            match heard {
                Heard::ByWebhook => {
                    installation.sandbox.set_webhook(second.webhook_url(), SECRET);
                    installation.sandbox.deliver_now().await;
                }
                Heard::BySweep => {
                    // Two minutes later nothing of the call is on its way any more.
                    let later = installation.later(130).await;
                    top_up::sweep(&later).await.unwrap();
                    server::job::run_jobs_until_idle(&later).await.unwrap();
                    later.stop().await;
                }
            }
            until("that it is paid", async || states(installation, &buyer).await == [TopUpState::Paid]).await;
            // Whoever looks again finds nothing to do.
            let later = installation.later(500).await;
            top_up::sweep(&later).await.unwrap();
            server::job::run_jobs_until_idle(&later).await.unwrap();
            later.stop().await;
            second.kill().await;

            assert_eq!(charges(installation, &buyer).await, ["succeeded"], "{fault} {heard:?}");
            assert_eq!(installation.grants(&buyer.account_id).await, 2, "{fault} {heard:?}");
            assert_eq!(states(installation, &buyer).await, [TopUpState::Paid]);
            let spendable = installation.spendable(&buyer.account_id).await;
            assert!(spendable > usd("19.9") && spendable < usd("20"), "{spendable}");
            installation.check_books().await;
        }
    })
    .await;
}

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

/// Somebody with $10 of credit, a card that is kept, and a rule that buys the next pack once it is less than $10.
async fn open(installation: &Installation, webhook_url: &str) -> User {
    let buyer = installation.person().await;
    installation.sandbox.set_webhook(webhook_url, SECRET);
    installation.buy(&buyer, "pack-10").await;
    installation.sandbox.deliver_now().await;
    until("that the pack is granted", async || installation.spendable(&buyer.account_id).await == usd("10")).await;

    let server = &installation.server;
    let card_setup_id = CardSetupId::new(server.clock.new_id());
    let url = payment_method::begin_setup(server, &buyer, &card_setup_id).await.unwrap();
    let session = url.rsplit('/').next().unwrap();
    assert!(matches!(installation.sandbox.pay(session, GOOD_CARD), PayOutcome::Paid { .. }));
    payment_method::finish_setup(server, &buyer.account_id, &card_setup_id).await.unwrap();
    let new = NewRule {
        rule: Rule { threshold: usd("10"), pack: PackId::new("pack-10"), cap: usd("100"), charges_a_month: 5 },
        consent_days: 365,
        agrees: Agreed::Yes,
        shown_charge: None,
        seen: None,
        purchase_id: PurchaseId::new(server.clock.new_id()),
        card_setup_id,
    };
    assert_eq!(top_up::turn_on(server, &buyer, new).await.unwrap(), Next::On);
    // The card's own news is delivered while somebody listens.
    installation.sandbox.deliver_now().await;
    buyer
}

/// One call of the API, whose capture leaves less than the threshold.
async fn run_once(installation: &Installation, buyer: &User, url: &str) {
    let (_, key) = api_key::create(&installation.server, buyer, "it").await.unwrap();
    let body = json!({ "model": MODEL, "max_tokens": 64, "messages": [{ "role": "user", "content": "Say a word." }] });
    let client = http_client::build().unwrap();
    let request = client.post(format!("{url}/v1/messages")).bearer_auth(key.expose_secret()).json(&body);
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
}

async fn states(installation: &Installation, buyer: &User) -> Vec<TopUpState> {
    let view = top_up::load(&installation.server, &buyer.account_id).await.unwrap();
    view.recent.into_iter().map(|top_up| top_up.state).collect()
}

/// How each payment of a charge of this buyer's stands at Stripe, however many there are.
async fn charges(installation: &Installation, buyer: &User) -> Vec<String> {
    let view = top_up::load(&installation.server, &buyer.account_id).await.unwrap();
    let is_theirs = |payment: &Value| {
        view.recent.iter().any(|top_up| payment["metadata"]["purchase_id"] == top_up.top_up_id.as_str())
    };
    let events = installation.sandbox.stripe_events();
    let payments: BTreeSet<String> = events
        .iter()
        .map(|event| &event["data"]["object"])
        .filter(|object| object["object"] == "payment_intent" && is_theirs(object))
        .filter_map(|payment| payment["id"].as_str().map(str::to_owned))
        .collect();
    let now = |id: &String| installation.sandbox.stripe_object(id).unwrap()["status"].as_str().unwrap().to_owned();
    payments.iter().map(now).collect()
}
