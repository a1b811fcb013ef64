//! Whose key pays, as an account decides it: never ours without consent, never above its cap, and each "no" with its owner.

use crate::served::{CLAUDE, Served, ask};
use crate::support::{World, each_database};
use domain::catalogue::ModelClass;
use domain::denial::Denial;
use domain::id::ProviderKeyId;
use domain::key::KeyPolicy;
use domain::money::Usd;
use domain::provider::Provider;
use sandbox::Fault;
use serde_json::Value;
use server::account::{Role, User};
use server::error::{Error, Result};
use server::provider_key::{NewKey, save, set_policy};

const HERE: (Provider, ModelClass) = (Provider::Anthropic, ModelClass::Standard);

fn code(outcome: Result<()>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(Error::Denied(denial)) => Denial::code(&denial),
        Err(error) => panic!("{error}"),
    }
}

async fn add(it: &Served, secret: &str) -> ProviderKeyId {
    let new = NewKey { provider: Provider::Anthropic, secret, url: "", label: "", replaces: None };
    save(&it.server, &it.user, new).await.unwrap().id
}

async fn decide(it: &Served, policy: Option<KeyPolicy>, cap: &str) {
    set_policy(&it.server, &it.user, HERE, policy, cap).await.unwrap();
}

/// A run of the model: who paid, or the code of the refusal.
async fn run(it: &Served, cap: u64) -> std::result::Result<String, String> {
    let answer = it.post("/v1/messages", &ask(CLAUDE, "Hello", cap, false)).send().await.unwrap();
    let source = answer.headers().get("x-tokenbank-source").map(|source| source.to_str().unwrap().to_owned());
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    if status.is_success() {
        return Ok(source.unwrap());
    }
    let found = ["own_key_refused", "own_account_empty", "platform_key_refused", "fallback_cap", "insufficient_credit"]
        .into_iter()
        .find(|code| body.to_string().contains(code));
    Err(found.map_or(body.to_string(), str::to_owned))
}

#[tokio::test]
async fn ours_pays_instead_only_by_consent_and_up_to_its_cap() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let before = it.spendable().await;
        let refused = Err("own_key_refused".to_owned());
        // No key and "mine alone": nothing else pays.
        decide(&it, Some(KeyPolicy::Own), "").await;
        assert_eq!(run(&it, 20).await, refused);
        decide(&it, None, "").await;
        assert_eq!(run(&it, 20).await, Ok("credits".to_owned()), "without a rule and a key, ours");

        add(&it, "sk-ant-api03-canary-of-the-users-key-UsEr").await;
        assert_eq!(run(&it, 20).await, Ok("own_key".to_owned()));
        decide(&it, Some(KeyPolicy::Platform), "").await;
        assert_eq!(run(&it, 20).await, Ok("credits".to_owned()));
        decide(&it, None, "").await;
        it.fault(&[Fault::InvalidKey]);
        assert_eq!(run(&it, 20).await, refused);
        let spent = it.spendable().await;
        assert_eq!(run(&it, 20).await, refused, "a dead key is not paid over");
        assert_eq!(it.spendable().await, spent);

        // $0.05 a month: a run of 2,000 tokens at $15 a million can cost three cents.
        decide(&it, Some(KeyPolicy::OwnThenPlatform), "0.05").await;
        assert_eq!(run(&it, 2_000).await, Ok("credits".to_owned()));
        assert_eq!(run(&it, 6_000).await, Err("fallback_cap".to_owned()), "it could cost more than is left");
        let (mut paid, mut turned_away) = (0, 0);
        for _ in 0..10 {
            let runs = futures::future::join_all((0..4).map(|_| run(&it, 1_000))).await;
            paid += runs.iter().filter(|run| run.as_deref() == Ok("credits")).count();
            turned_away +=
                runs.iter().filter(|run| **run == Err("fallback_cap".to_owned()) || **run == refused).count();
        }
        assert!(paid > 0 && turned_away > 0 && paid + turned_away == 40, "{paid} paid, {turned_away} turned away");
        let taken = before.saturating_sub(it.spendable().await);
        assert!(taken <= Usd::parse_dollars("0.06").unwrap(), "{taken}: the cap, and the two runs before it");

        world.clock.advance_seconds(32 * 86_400);
        assert_eq!(run(&it, 1_000).await, Ok("credits".to_owned()), "a new month");
        add(&it, "sk-ant-api03-canary-of-the-next-key-NeXt").await;
        assert_eq!(run(&it, 20).await, Ok("own_key".to_owned()), "one that works comes first");
    })
    .await;
}

#[tokio::test]
async fn each_no_says_whose_it_is() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let it = Served::open(world, 0).await;
            assert_eq!(run(&it, 20).await, Err("insufficient_credit".to_owned()), "our credit");
            let it = Served::open(world, 10).await;
            it.fault(&[Fault::CreditTooLow]);
            assert_eq!(run(&it, 20).await, Err("platform_key_refused".to_owned()), "our account at the provider");
            it.fault(&[Fault::InvalidKey]);
            assert_eq!(run(&it, 20).await, Err("platform_key_refused".to_owned()), "our key");
            add(&it, "sk-ant-api03-canary-of-the-users-key-UsEr").await;
            it.fault(&[Fault::CreditTooLow]);
            assert_eq!(run(&it, 20).await, Err("own_account_empty".to_owned()), "your account at the provider");
            it.fault(&[Fault::InvalidKey]);
            assert_eq!(run(&it, 20).await, Err("own_key_refused".to_owned()), "your key");
        })
        .await;
}

#[tokio::test]
async fn consent_is_given_by_whoever_may_spend_and_names_a_sum() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let both = Some(KeyPolicy::OwnThenPlatform);
        for cap in ["", "0", "-5", "all", "1000000"] {
            assert_eq!(code(set_policy(&it.server, &it.user, HERE, both, cap).await), "invalid", "{cap:?}");
        }
        // A developer may change keys, and may not buy.
        let developer = User { role: Role::Developer, ..it.user.clone() };
        assert_eq!(code(set_policy(&it.server, &developer, HERE, both, "5").await), "role_may_not");
        assert_eq!(code(set_policy(&it.server, &developer, HERE, Some(KeyPolicy::Own), "").await), "ok");
        let viewer = User { role: Role::Viewer, ..it.user.clone() };
        assert_eq!(code(set_policy(&it.server, &viewer, HERE, None, "").await), "role_may_not");
    })
    .await;
}
