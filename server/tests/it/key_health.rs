//! The health of keys: probed once a day for nothing, learnt from runs, told once, and back by itself.

use crate::served::{Served, key_urls};
use crate::support::each_database;
use domain::id::ProviderKeyId;
use domain::key::KeyState;
use domain::key_health::{Heard, KeyHealth};
use domain::provider::Provider;
use server::provider_key::{self, Change, KeySummary, NewKey, Signal, has_usable_key, note, probe_due, save};
use server::{Server, on_read, on_tx};

async fn add(it: &Served, secret: &str) -> ProviderKeyId {
    let new = NewKey { provider: Provider::Groq, secret, url: "", label: "Work", replaces: None };
    save(&it.server, &it.user, new).await.unwrap().id
}

async fn only(it: &Served) -> KeySummary {
    provider_key::list(&it.server, &it.account_id).await.unwrap().remove(0)
}

async fn signal(it: &Served, id: &ProviderKeyId, state: KeyState) -> KeyHealth {
    note(&it.server, (id, 1), Signal { from: Heard::Run, state, problem: None, cost: None }).await.unwrap();
    only(it).await.health
}

async fn notices(server: &Server) -> Vec<String> {
    on_read!(&server.db, conn => {
        sqlx::query_scalar("select body from notice where kind = 'key_trouble' order by notice_id").fetch_all(conn).await
    })
    .unwrap()
}

#[tokio::test]
async fn trouble_is_told_once_and_is_over_by_itself() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        let id = add(&it, "gsk_good_0123456789abcdef").await;
        assert_eq!(signal(&it, &id, KeyState::RateLimited).await, KeyHealth::Healthy, "one is nothing");
        assert_eq!(signal(&it, &id, KeyState::RateLimited).await, KeyHealth::Healthy);
        assert_eq!(signal(&it, &id, KeyState::RateLimited).await, KeyHealth::Limited);
        assert_eq!(signal(&it, &id, KeyState::RateLimited).await, KeyHealth::Limited);
        assert_eq!(notices(&it.server).await.len(), 1, "{:?}", notices(&it.server).await);
        assert!(notices(&it.server).await[0].contains("slows it down"));
        // What is probed is really valid: two good answers, and it is well.
        for health in [KeyHealth::Limited, KeyHealth::Healthy] {
            world.clock.advance_seconds(86_400);
            assert_eq!(probe_due(&it.server).await.unwrap(), 1);
            assert_eq!(only(&it).await.health, health);
        }
        assert_eq!(probe_due(&it.server).await.unwrap(), 0, "it was just probed");
        assert_eq!(signal(&it, &id, KeyState::Invalid).await, KeyHealth::Failing, "a refusal is certain");
        assert_eq!(notices(&it.server).await.len(), 2);
        assert!(!has_usable_key(&it.server, &it.account_id).await.unwrap());
        let days = provider_key::list_days(&it.server, &it.account_id).await.unwrap();
        let counts: Vec<_> = days.iter().map(|day| (day.good, day.limited, day.failed)).collect();
        assert_eq!(counts, [(0, 4, 0), (1, 0, 0), (1, 0, 1)]);
    })
    .await;
}

#[tokio::test]
async fn several_nodes_probe_each_key_once_and_ask_for_nothing_that_costs() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        for _ in 0..6 {
            add(&it, "gsk_good_0123456789abcdef").await;
        }
        let mut config = world.config.clone();
        config.key_urls = key_urls(&it.sandbox.base_url);
        let other = Server::open(config, world.clock.clone()).await.unwrap();
        assert_eq!(probe_due(&it.server).await.unwrap(), 0, "they have just been checked");
        world.clock.advance_seconds(2 * 86_400);
        let (here, there) = tokio::join!(probe_due(&it.server), probe_due(&other));
        assert_eq!(here.unwrap() + there.unwrap(), 6);
        let days = provider_key::list_days(&it.server, &it.account_id).await.unwrap();
        assert!(days.len() == 6 && days.iter().all(|day| day.good == 1 && day.runs == 0), "{days:?}");
        assert_eq!(it.sandbox.requests().len(), 0, "no run was made");
    })
    .await;
}

#[tokio::test]
async fn a_key_ends_on_its_day_is_announced_before_and_returns_with_a_later_one() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        let id = add(&it, "gsk_good_0123456789abcdef").await;
        let until = async |days: i64| {
            let expires_at = Some(world.clock.now().plus_seconds(days * 86_400));
            let change = Change {
                label: "Work",
                allowed_models: Vec::new(),
                allowed_agents: Vec::new(),
                is_enabled: true,
                is_first: false,
                expires_at,
            };
            provider_key::change(&it.server, &it.user, &id, change).await.unwrap();
        };
        until(5).await;
        assert_eq!(probe_due(&it.server).await.unwrap(), 1, "its new day is looked at");
        assert!(notices(&it.server).await[0].contains("It expires on 20 Jan 2027"), "{:?}", notices(&it.server).await);
        assert!(has_usable_key(&it.server, &it.account_id).await.unwrap());
        world.clock.advance_seconds(5 * 86_400);
        assert!(!has_usable_key(&it.server, &it.account_id).await.unwrap(), "at that moment, probed or not");
        probe_due(&it.server).await.unwrap();
        assert_eq!(only(&it).await.health, KeyHealth::Expired);
        assert_eq!(notices(&it.server).await.len(), 2);
        until(30).await;
        assert_eq!(only(&it).await.health, KeyHealth::Healthy);
        assert!(has_usable_key(&it.server, &it.account_id).await.unwrap());
    })
    .await;
}

/// A secret that was sealed before and is refused now: found by the probe, without a run.
#[tokio::test]
async fn a_key_that_died_meanwhile_is_found_by_its_probe() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        let id = add(&it, "gsk_good_0123456789abcdef").await;
        // The sandbox refuses by the key's text, so the row gets another one, as if the provider had changed its mind.
        let row =
            server::vault::KeyRow { account_id: &it.account_id, provider: Provider::Groq, key_id: &id, key_version: 1 };
        let sealed = it.server.vault.seal(server::vault::Owner::Key(row), "gsk_invalid_0123456789").unwrap();
        let mut tx = it.server.db.begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update provider_key set sealed = $1, wrapped_key = $2")
                .bind(&sealed.sealed)
                .bind(&sealed.wrapped_key)
                .execute(conn)
                .await
                .map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        world.clock.advance_seconds(2 * 86_400);
        assert_eq!(probe_due(&it.server).await.unwrap(), 1);
        let key = only(&it).await;
        assert_eq!((key.state, key.health), (KeyState::Invalid, KeyHealth::Failing));
        assert_eq!(notices(&it.server).await.len(), 1);
    })
    .await;
}
