//! `tokenbank vault rotate`: everything sealed goes under a new master key while keys are opened, saved and run with, however
//! often it is interrupted; and what was kept before the vault is sealed.

use crate::identity::{PASSWORD, owner};
use crate::served::{ANTHROPIC_KEY, CLAUDE, Served, ask};
use crate::support::{World, each_database};
use domain::id::{AccountId, ProviderKeyId};
use domain::provider::Provider;
use secrecy::{ExposeSecret as _, SecretString};
use server::account::{self, SecondFactor, code_at, from_base32, load_second_factor};
use server::provider_key::{self, NewKey, count_old, open, rotate};
use server::vault::{KeyRow, Owner, Source};
use server::{Server, on_read, on_tx};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// How many keys are rotated: few here, and as many as `TOKENBANK_TEST_KEYS` says.
#[allow(clippy::disallowed_methods)] // Tests have no settings of their own.
fn many() -> usize {
    std::env::var("TOKENBANK_TEST_KEYS").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

/// Sealed keys of one account, straight into the table.
async fn fill(server: &Server, account_id: &AccountId, count: usize) -> Vec<ProviderKeyId> {
    let ids: Vec<ProviderKeyId> = (0..count).map(|_| ProviderKeyId::new(server.clock.new_id())).collect();
    for part in ids.chunks(500) {
        let mut tx = server.db.begin().await.unwrap();
        for id in part {
            let owner = Owner::Key(KeyRow { account_id, provider: Provider::Groq, key_id: id, key_version: 1 });
            let sealed = server.vault.seal(owner, "gsk_canary").unwrap();
            on_tx!(&mut tx, conn => {
                sqlx::query(
                    "insert into provider_key (provider_key_id, account_id, provider, label, hint, sealed, wrapped_key,
                                               key_version, master_version, position, enabled, state, checked_at,
                                               created_at)
                     values ($1, $2, 'groq', 'Groq', 'gsk_…', $3, $4, 1, $5, 1, 1, 'valid', 0, 0)",
                )
                .bind(id)
                .bind(account_id)
                .bind(&sealed.sealed)
                .bind(&sealed.wrapped_key)
                .bind(sealed.master_version)
                .execute(conn)
                .await
                .map(drop)
            })
            .unwrap();
        }
        tx.commit().await.unwrap();
    }
    ids
}

/// A world whose master keys are in a file, as `vault rotate --new-key` changes it.
async fn with_file(mut world: World) -> (World, std::path::PathBuf) {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.key", world.clock.new_id()));
    world.config.master_key = Source::File(path.clone());
    (world, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_rotated_under_traffic_and_no_request_fails() {
    for world in [World::sqlite().await, World::postgres().await] {
        let (world, path) = with_file(world).await;
        world.run(rotated_under_traffic).await;
        std::fs::remove_file(path).unwrap();
    }
}

async fn rotated_under_traffic(world: &World) {
    let it = Served::open(world, 10).await;
    let new = NewKey {
        provider: Provider::Anthropic,
        secret: "sk-ant-api03-canary-of-the-users-key-UsEr",
        url: "",
        label: "",
        replaces: None,
    };
    provider_key::save(&it.server, &it.user, new).await.unwrap();
    let filler = world.account().await;
    let ids = fill(&it.server, &filler, many()).await;
    let all = i64::try_from(ids.len() + 1).unwrap();

    // Another process, as the command line is; the serving node still has the old master key alone.
    let command = world.node().await;
    assert_eq!(command.vault.add_master_key().unwrap(), 2);
    assert_eq!(count_old(&command).await.unwrap(), (all, all));
    let (stop, requests, opened) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let runs = async {
        while !stop.load(Ordering::SeqCst) {
            let answer = it.post("/v1/messages", &ask(CLAUDE, "Hello", 20, true)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
            assert_eq!(answer.headers()["x-tokenbank-source"], "own_key");
            let _ = answer.text().await.unwrap();
            requests.fetch_add(1, Ordering::SeqCst);
        }
    };
    let opening = async {
        for id in ids.iter().cycle() {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let key = open(&it.server, &filler, Provider::Groq, id).await.expect("every key opens at every moment");
            assert_eq!(key.key.into_secret().expose_secret(), "gsk_canary");
            opened.fetch_add(1, Ordering::SeqCst);
        }
    };
    let began = std::time::Instant::now();
    let rotating = async {
        // Stopped by hand after a part, killed in the middle of the next, and then left to finish.
        let half = u64::try_from(ids.len() / 2).unwrap();
        assert_eq!(rotate(&command, half, |_| ()).await.unwrap().wrapped, half);
        let first = Arc::new(Notify::new());
        let (told, node) = (first.clone(), command.clone());
        #[allow(clippy::disallowed_methods)] // It is killed below.
        let killed = tokio::spawn(async move { rotate(&node, u64::MAX, |_| told.notify_one()).await });
        first.notified().await;
        killed.abort();
        let _ = killed.await;
        let done = rotate(&command, u64::MAX, |_| ()).await.unwrap();
        assert_eq!(done.failed, Vec::<String>::new());
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(runs, opening, rotating);
    let took = began.elapsed();
    assert_eq!(count_old(&command).await.unwrap(), (0, all));
    assert_eq!(rotate(&command, u64::MAX, |_| ()).await.unwrap().wrapped, 0, "again, it changes nothing");
    assert!(requests.load(Ordering::SeqCst) > 0 && opened.load(Ordering::SeqCst) > 0);
    eprintln!(
        "{}: {all} keys in {took:?}, {} runs and {} openings meanwhile, none failed",
        world.db().engine(),
        requests.load(Ordering::SeqCst),
        opened.load(Ordering::SeqCst)
    );
    assert!(it.sandbox.requests().iter().all(|request| request.key_ending == "UsEr"), "{ANTHROPIC_KEY} was not sent");
}

#[tokio::test]
async fn a_row_that_does_not_open_is_named_and_the_others_are_rotated() {
    each_database(async |world| {
        let account_id = world.account().await;
        let ids = fill(&world.server, &account_id, 3).await;
        let mut tx = world.db().begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update provider_key set key_version = 9 where provider_key_id = $1")
                .bind(&ids[1])
                .execute(conn)
                .await
                .map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        let mut config = world.config.clone();
        let both = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=,1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        config.master_key = Source::Given(SecretString::from(both));
        let node = Server::open(config, world.clock.clone()).await.unwrap();
        let done = rotate(&node, u64::MAX, |_| ()).await.unwrap();
        assert_eq!((done.wrapped, done.failed), (2, vec![format!("provider_key {}", ids[1])]));
    })
    .await;
}

async fn kept(server: &Server) -> (String, Option<i64>) {
    on_read!(&server.db, conn => {
        sqlx::query_as("select secret, master_version from second_factor").fetch_one(conn).await
    })
    .unwrap()
}

/// As a row was before the vault held it.
async fn unseal_in_the_database(server: &Server, key: &str) {
    let mut tx = server.db.begin().await.unwrap();
    on_tx!(&mut tx, conn => {
        sqlx::query("update second_factor set secret = $1, wrapped_key = null, master_version = null")
            .bind(key)
            .execute(conn)
            .await
            .map(drop)
    })
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_key_of_a_second_factor_is_sealed_by_its_next_use_or_by_rotation() {
    each_database(async |world| {
        let server = world.node().await;
        let user = owner(&server).await;
        let shown = |key: &str| code_at(&from_base32(key).unwrap(), server.clock.now().seconds() / 30).unwrap();
        account::begin_second_factor(&server, &user, &SecretString::from(PASSWORD), IP).await.unwrap();
        let SecondFactor::Waiting { key } = load_second_factor(&server, &user.user_id).await.unwrap() else { panic!() };
        assert!(kept(&server).await.0 != key && kept(&server).await.1 == Some(1), "sealed from the start");
        account::confirm_second_factor(&server, &user, &shown(&key)).await.unwrap();

        unseal_in_the_database(&server, &key).await;
        world.clock.advance_seconds(60);
        account::check_second_factor(&server, &user.user_id, &shown(&key)).await.unwrap();
        assert!(kept(&server).await.0 != key && kept(&server).await.1 == Some(1), "sealed by its use");
        world.clock.advance_seconds(60);
        account::check_second_factor(&server, &user.user_id, &shown(&key)).await.unwrap();

        unseal_in_the_database(&server, &key).await;
        assert_eq!(rotate(&server, u64::MAX, |_| ()).await.unwrap().wrapped, 1);
        assert!(kept(&server).await.0 != key && kept(&server).await.1 == Some(1), "sealed by rotation");
        world.clock.advance_seconds(60);
        account::check_second_factor(&server, &user.user_id, &shown(&key)).await.unwrap();
    })
    .await;
}
