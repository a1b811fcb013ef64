//! The users' own keys of providers: checked at the sandbox over HTTP, sealed, rotated, deleted.

use crate::identity::{owner, verified};
use crate::served::{CLAUDE, Served, key_urls, priced};
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::funding::FundingSource;
use domain::id::ProviderKeyId;
use domain::key::KeyState;
use domain::key_health::Heard;
use domain::money::Usd;
use domain::provider::Provider;
use sandbox::Fault;
use secrecy::SecretString;
use server::account::{NewAccount, Role, User};
use server::error::{Error, Result};
use server::execution::start;
use server::provider_key::{self, Change, NewKey, Signal, check_key, has_usable_key, note, open, rotate, save};
use server::vault::Source;
use server::{Server, on_read, on_tx};

const CANARY: &str = "gsk_canary0123456789canary0123456789AbCd";
const OLD: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A node whose providers are a sandbox.
async fn node(world: &World, master: &str) -> (Server, sandbox::Sandbox) {
    let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
    let mut config = world.config.clone();
    config.anthropic.url = sandbox.anthropic_url();
    config.openai.url = sandbox.openai_url();
    config.key_urls = key_urls(&sandbox.base_url);
    config.master_key = Source::Given(SecretString::from(master));
    (Server::open(config, world.clock.clone()).await.unwrap(), sandbox)
}

fn new_key(provider: Provider, secret: &str) -> NewKey<'_> {
    NewKey { provider, secret, url: "", label: "", replaces: None }
}

fn denial<T>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a denial was expected"),
    }
}

async fn opens(server: &Server, user: &User, provider: Provider, id: &ProviderKeyId) -> bool {
    open(server, &user.account_id, provider, id).await.is_ok()
}

#[tokio::test]
async fn each_provider_is_asked_and_each_answer_understood() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let (server, _sandbox) = node(world, OLD).await;
            let seven = Provider::ALL.iter().filter(|provider| **provider != Provider::Ollama);
            for &provider in seven {
                let lists_models = matches!(provider, Provider::Anthropic | Provider::OpenAi);
                for (key, expected) in [
                    ("good-key", KeyState::Valid),
                    ("invalid-key", KeyState::Invalid),
                    (
                        "restricted-key",
                        match provider {
                            Provider::Together => KeyState::Unreachable,
                            _ => KeyState::ValidRestricted,
                        },
                    ),
                    ("region-key", KeyState::RegionBlocked),
                    ("limited-key", KeyState::RateLimited),
                    // A list of models costs nothing, so it does not tell.
                    ("nocredit-key", if lists_models { KeyState::Valid } else { KeyState::ValidNoCredit }),
                    ("html-key", KeyState::Unreachable),
                    ("strange-key", KeyState::Unreachable),
                    ("moved-key", KeyState::Unreachable),
                    ("broken-key", KeyState::Unreachable),
                ] {
                    let checked = check_key(&server, provider, key, None).await.unwrap();
                    assert_eq!(checked.state, expected, "{provider} {key} {:?}", checked.problem);
                }
            }
            let deepseek = check_key(&server, Provider::DeepSeek, "good-key", None).await.unwrap();
            assert_eq!(deepseek.problem.as_deref(), Some("12.34 USD left at DeepSeek."));
            let management = check_key(&server, Provider::OpenRouter, "management-key", None).await;
            assert!(denial(management).sentence().contains("management key"));
        })
        .await;
}

/// Field failure 15.
#[tokio::test]
async fn a_users_address_is_asked_only_where_it_may_be() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let (server, sandbox) = node(world, OLD).await;
            let at_home = format!("{}/ollama", sandbox.base_url);
            let mapped = at_home.replace("127.0.0.1", "[::ffff:127.0.0.1]");
            let decimal = at_home.replace("127.0.0.1", "2130706433");
            let ask = async |server: &Server, url: &str| check_key(server, Provider::Ollama, "", Some(url)).await;
            for url in [
                &at_home,
                &mapped,
                &decimal,
                "http://169.254.169.254/",
                "http://2852039166/",
                "http://10.0.0.1",
                "file:///etc/passwd",
                "http://u:p@127.0.0.1/",
                "not an address",
                "http://nowhere.invalid",
            ] {
                assert_eq!(denial(ask(&server, url).await).code(), "invalid", "{url}");
            }
            let mut config = server.config.clone();
            config.allow_private_urls = true;
            let allowing = Server::open(config, world.clock.clone()).await.unwrap();
            assert_eq!(ask(&allowing, &at_home).await.unwrap().state, KeyState::Valid);
            assert_eq!(ask(&allowing, &decimal).await.unwrap().state, KeyState::Valid);
            for url in [&mapped, "http://169.254.169.254/", "http://[fd00:ec2::254]/"] {
                assert_eq!(denial(ask(&allowing, url).await).code(), "invalid", "{url}");
            }
            let moved = check_key(&allowing, Provider::Ollama, "moved-key", Some(&at_home)).await.unwrap();
            assert_eq!(moved.state, KeyState::Unreachable, "a redirect is not followed");
        })
        .await;
}

#[tokio::test]
async fn a_key_is_saved_sealed_listed_by_its_hint_and_erased() {
    each_database(async |world| {
        let (server, _sandbox) = node(world, OLD).await;
        let user = owner(&server).await;
        assert!(!has_usable_key(&server, &user.account_id).await.unwrap());
        let saved = save(&server, &user, new_key(Provider::Groq, &format!(" \"{CANARY}\"\n"))).await.unwrap();
        assert_eq!((saved.hint.as_str(), saved.state, saved.label.as_str()), ("gsk_…AbCd", KeyState::Valid, "Groq"));
        assert!(has_usable_key(&server, &user.account_id).await.unwrap());
        assert!(opens(&server, &user, Provider::Groq, &saved.id).await);

        let refused = denial(save(&server, &user, new_key(Provider::Groq, "gsk_invalid_key_canary")).await);
        assert!(refused.sentence().contains("refuses this key") && !refused.sentence().contains("canary"));
        let elsewhere = denial(save(&server, &user, new_key(Provider::OpenAi, CANARY)).await);
        assert!(elsewhere.sentence().contains("Paste it at Groq"));
        assert_eq!(provider_key::list(&server, &user.account_id).await.unwrap(), std::slice::from_ref(&saved));

        let row: (String, String, String, String) = on_read!(world.db(), conn => {
            sqlx::query_as("select sealed, wrapped_key, label, hint from provider_key").fetch_one(conn).await
        })
        .unwrap();
        assert!(!format!("{row:?}").contains("canary"));
        let replacing =
            NewKey { replaces: Some(&saved.id), ..new_key(Provider::Groq, "gsk_restricted_0123456789WxYz") };
        let replaced = save(&server, &user, replacing).await.unwrap();
        assert_eq!(
            (replaced.id, replaced.hint.as_str(), replaced.state),
            (saved.id.clone(), "gsk_…WxYz", KeyState::ValidRestricted)
        );

        let off = Change {
            label: "Spare",
            allowed_models: Vec::new(),
            allowed_agents: Vec::new(),
            is_enabled: false,
            is_first: true,
            expires_at: None,
        };
        provider_key::change(&server, &user, &saved.id, off).await.unwrap();
        assert!(!has_usable_key(&server, &user.account_id).await.unwrap());
        assert!(!opens(&server, &user, Provider::Groq, &saved.id).await, "switched off");
        provider_key::delete(&server, &user, &saved.id).await.unwrap();
        let left: (Option<String>, Option<String>) = on_read!(world.db(), conn => {
            sqlx::query_as("select sealed, wrapped_key from provider_key").fetch_one(conn).await
        })
        .unwrap();
        assert_eq!(left, (None, None));
    })
    .await;
}

#[tokio::test]
async fn only_those_who_may_and_only_their_own_account() {
    each_database(async |world| {
        let (server, _sandbox) = node(world, OLD).await;
        let user = owner(&server).await;
        let key = save(&server, &user, new_key(Provider::Groq, CANARY)).await.unwrap();
        let join = NewAccount::Join(user.account_id.clone());
        let viewer = verified(&server, "viewer@example.test", join, Role::Viewer).await;
        assert_eq!(denial(save(&server, &viewer, new_key(Provider::Groq, CANARY)).await).code(), "role_may_not");
        assert_eq!(denial(provider_key::delete(&server, &viewer, &key.id).await).code(), "role_may_not");
        let stranger = User { account_id: world.account().await, ..user.clone() };
        assert_eq!(denial(provider_key::delete(&server, &stranger, &key.id).await).code(), "not_found");
        assert!(!opens(&server, &stranger, Provider::Groq, &key.id).await);
        assert!(!opens(&server, &user, Provider::OpenAi, &key.id).await, "never to another provider");

        // A row that somebody moves to another account in the database does not open there.
        let mut tx = world.db().begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update provider_key set account_id = $1").bind(&stranger.account_id).execute(conn).await.map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        assert!(!opens(&server, &stranger, Provider::Groq, &key.id).await);
    })
    .await;
}

async fn wrapped(server: &Server, at_most: u64) -> u64 {
    let done = rotate(server, at_most, |_| ()).await.unwrap();
    assert_eq!(done.failed, Vec::<String>::new());
    done.wrapped
}

#[tokio::test]
async fn rotation_is_interrupted_and_continued_while_keys_are_opened() {
    each_database(async |world| {
        let (old, _sandbox) = node(world, OLD).await;
        let user = owner(&old).await;
        let mut ids = Vec::new();
        for _ in 0..12 {
            ids.push(save(&old, &user, new_key(Provider::Groq, CANARY)).await.unwrap().id);
        }
        let (new, _other) = node(world, &format!("{NEW},{OLD}")).await;
        assert_eq!(wrapped(&new, 5).await, 5, "interrupted");
        let opening = async {
            for id in ids.iter().cycle().take(60) {
                assert!(opens(&new, &user, Provider::Groq, id).await);
            }
        };
        let (continued, ()) = tokio::join!(wrapped(&new, u64::MAX), opening);
        assert_eq!(continued, 7, "continued");
        assert_eq!(wrapped(&new, u64::MAX).await, 0);
        let (without_old, _third) = node(world, NEW).await;
        for id in &ids {
            assert!(opens(&without_old, &user, Provider::Groq, id).await);
            assert!(!opens(&old, &user, Provider::Groq, id).await, "the old master key opens nothing now");
        }
    })
    .await;
}

/// A run of the sandbox's Anthropic with the account's own key, on a server that has a key of ours too.
async fn served_with(world: &World, secret: &str) -> (Served, ProviderKeyId) {
    let it = Served::open(world, 10).await;
    let key = save(&it.server, &it.user, new_key(Provider::Anthropic, secret)).await.unwrap();
    (it, key.id)
}

#[tokio::test]
async fn a_run_with_ones_own_key_charges_nothing_and_sends_that_key() {
    each_database(async |world| {
        let (it, id) = served_with(world, "sk-ant-api03-canary-of-the-users-key-UsEr").await;
        let before = it.spendable().await;
        let run = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        let ended = it.ended(&run).await;
        assert_eq!((ended.state, ended.charge, ended.run.source), ("completed", Usd::ZERO, FundingSource::OwnKey));
        assert_eq!(ended.run.cost, priced(CLAUDE, &it.billed()), "the shadow cost is recorded");
        assert_eq!(it.spendable().await, before);
        assert!(it.sandbox.requests().iter().all(|request| request.key_ending == "UsEr"), "our key was not sent");
        // It is noted on the key after the run is recorded.
        let key = loop {
            let listed = provider_key::list(&it.server, &it.account_id).await.unwrap().remove(0);
            if listed.last_used_at.is_some() {
                break listed;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(key.id, id);
        let days = provider_key::list_days(&it.server, &it.account_id).await.unwrap();
        assert_eq!(
            (days.len(), days[0].runs, days[0].good, days[0].cost),
            (1, 1, 1, ended.run.cost),
            "spend at list price"
        );
    })
    .await;
}

#[tokio::test]
async fn a_dead_key_is_said_to_be_the_users_and_nothing_else_pays() {
    each_database(async |world| {
        let (it, id) = served_with(world, "sk-ant-api03-canary-of-the-users-key-UsEr").await;
        let before = it.spendable().await;
        it.fault(&[Fault::InvalidKey]);
        let run = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        let ended = it.ended(&run).await;
        assert_eq!((ended.state, ended.charge), ("failed", Usd::ZERO));
        assert!(ended.note.contains("Your Anthropic key is refused"), "{}", ended.note);
        while provider_key::list(&it.server, &it.account_id).await.unwrap()[0].state != KeyState::Invalid {
            tokio::task::yield_now().await;
        }
        let asked = it.sandbox.requests().len();
        let again = start(&it.server, &it.user, it.request("A login page")).await;
        assert_eq!(denial(again).code(), "own_key_refused");
        assert_eq!((it.sandbox.requests().len(), it.spendable().await), (asked, before), "ours does not pay instead");
        provider_key::delete(&it.server, &it.user, &id).await.unwrap();
        let ours = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        assert_eq!(it.ended(&ours).await.state, "completed", "without a key of one's own, ours runs");
    })
    .await;
}

/// A late answer about a secret says nothing about the one that replaced it meanwhile.
#[tokio::test]
async fn a_late_refusal_does_not_mark_the_key_that_followed() {
    each_database(async |world| {
        let (it, id) = served_with(world, "sk-ant-api03-canary-of-the-users-key-UsEr").await;
        let opened = open(&it.server, &it.account_id, Provider::Anthropic, &id).await.unwrap();
        let replacing =
            NewKey { replaces: Some(&id), ..new_key(Provider::Anthropic, "sk-ant-api03-canary-of-the-next-key-NeXt") };
        save(&it.server, &it.user, replacing).await.unwrap();
        let late = || Signal { from: Heard::Run, state: KeyState::Invalid, problem: None, cost: Some(Usd::ZERO) };
        note(&it.server, (&id, opened.key_version), late()).await.unwrap();
        let state = async || provider_key::list(&it.server, &it.account_id).await.unwrap()[0].state;
        assert_eq!(state().await, KeyState::Valid);
        let opened = open(&it.server, &it.account_id, Provider::Anthropic, &id).await.unwrap();
        note(&it.server, (&id, opened.key_version), late()).await.unwrap();
        assert_eq!(state().await, KeyState::Invalid, "of its own secret it is noted");
    })
    .await;
}
