//! Connecting a key of OpenRouter by its sign-in (OAuth with PKCE), against the sandbox's page and exchange over HTTP.

use crate::identity::{owner, verified};
use crate::served::key_urls;
use crate::support::{World, each_database};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::denial::Denial;
use domain::key::KeyState;
use domain::provider::Provider;
use reqwest::Url;
use sandbox::Sandbox;
use server::account::{NewAccount, Role, User};
use server::error::Error;
use server::provider_key::{
    Connected, NotConnected, Returned, begin_connection, finish_connection, forget_old_connections, list,
};
use server::session::{self, Session};
use server::{Server, on_read};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// A server whose OpenRouter is a sandbox, and somebody's browser.
struct It {
    server: Server,
    sandbox: Sandbox,
    user: User,
    session: Session,
}

async fn open(world: &World) -> It {
    let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
    let mut config = world.config.clone();
    config.key_urls = key_urls(&sandbox.base_url);
    let server = Server::open(config, world.clock.clone()).await.unwrap();
    let user = owner(&server).await;
    let session = browser(&server, &user).await;
    It { server, sandbox, user, session }
}

/// A browser that is signed in.
pub async fn browser(server: &Server, user: &User) -> Session {
    let session = Session::new(None, Arc::new(session::Store::new(server)), None);
    session::start(&session, user).await.unwrap();
    session.save().await.unwrap();
    session
}

/// Goes to OpenRouter's page and says `answer` there; the state and the code that come back.
pub async fn consent(
    server: &Server,
    sandbox: &Sandbox,
    address: &str,
    (kind, answer): (&str, &str),
) -> (String, Option<String>) {
    let page = server.http.get(address).send().await.unwrap();
    assert!(page.status().is_success(), "{address}");
    let address = Url::parse(address).unwrap();
    let mut form: HashMap<String, String> = address.query_pairs().into_owned().collect();
    form.insert("kind".to_owned(), kind.to_owned());
    form.insert("answer".to_owned(), answer.to_owned());
    let body = Url::parse_with_params("http://form/", form).unwrap().query().unwrap().to_owned();
    let answer = server
        .http
        .post(format!("{}/openrouter/auth", sandbox.base_url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let back = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let state = back.path().strip_prefix("/keys/openrouter/").unwrap().to_owned();
    let code = back.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    (state, code)
}

impl It {
    async fn consent(&self, address: &str, kind: &str, answer: &str) -> (String, Option<String>) {
        consent(&self.server, &self.sandbox, address, (kind, answer)).await
    }

    async fn begin(&self) -> String {
        begin_connection(&self.server, &self.user, &self.session).await.unwrap()
    }

    async fn finish(&self, session: &Session, state: &str, code: Option<&str>) -> Connected {
        finish_connection(&self.server, &self.user, session, Returned { state, code }).await.unwrap()
    }

    async fn keys(&self) -> usize {
        list(&self.server, &self.user.account_id).await.unwrap().len()
    }
}

fn problem(outcome: &Connected) -> NotConnected {
    match outcome {
        Connected::Not(problem) => *problem,
        Connected::Saved(key) => panic!("saved {key:?}"),
    }
}

#[tokio::test]
async fn consent_becomes_a_key_once() {
    each_database(async |world| {
        let it = open(world).await;
        let address = it.begin().await;
        let (state, code) = it.consent(&address, "good", "authorize").await;
        let Connected::Saved(key) = it.finish(&it.session, &state, code.as_deref()).await else { panic!("not saved") };
        assert_eq!((key.provider, key.state), (Provider::OpenRouter, KeyState::Valid));
        assert!(key.hint.starts_with("sk-…"), "{}", key.hint);
        assert!(key.problem.unwrap().contains("7.5"), "it passed the validation of a pasted key");

        // The same address again: nothing happens a second time.
        let again = it.finish(&it.session, &state, code.as_deref()).await;
        assert_eq!(problem(&again), NotConnected::Used);
        assert_eq!(it.keys().await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_verifier_is_in_no_address_and_nowhere_in_clear() {
    each_database(async |world| {
        let it = open(world).await;
        let address = it.begin().await;
        let pairs: HashMap<String, String> = Url::parse(&address).unwrap().query_pairs().into_owned().collect();
        assert_eq!(pairs["code_challenge_method"], "S256");
        let row: (String, String, String) = on_read!(&it.server.db, conn => {
            sqlx::query_as("select state_hash, sealed, wrapped_key from key_connection").fetch_one(conn).await
        })
        .unwrap();
        let state = pairs["callback_url"].rsplit('/').next().unwrap();
        assert_eq!(row.0, hex::encode(Sha256::digest(state)));
        // What is stored is neither the verifier nor the state, for no encoding of it hashes to the challenge.
        for text in [&row.0, &row.1, &row.2, &pairs["callback_url"], state] {
            assert_ne!(URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes())), pairs["code_challenge"]);
        }
        let (state, code) = it.consent(&address, "good", "authorize").await;
        it.finish(&it.session, &state, code.as_deref()).await;
        let left: i64 = on_read!(&it.server.db, conn => {
            sqlx::query_scalar("select count(*) from key_connection where sealed is not null or wrapped_key is not null")
                .fetch_one(conn)
                .await
        })
        .unwrap();
        assert_eq!(left, 0, "it is erased when it is used");
    })
    .await;
}

#[tokio::test]
async fn whatever_goes_wrong_nothing_is_saved() {
    each_database(async |world| {
        let it = open(world).await;

        let (state, code) = it.consent(&it.begin().await, "good", "decline").await;
        assert_eq!(code, None);
        assert_eq!(problem(&it.finish(&it.session, &state, None).await), NotConnected::Declined);
        assert_eq!(problem(&it.finish(&it.session, &state, Some("code_x")).await), NotConnected::Used);

        // A state that nobody was given, and one of another browser of the same user: that one stays good for its own.
        assert_eq!(problem(&it.finish(&it.session, "made-up", Some("code_x")).await), NotConnected::Stranger);
        let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
        let elsewhere = browser(&it.server, &it.user).await;
        assert_eq!(problem(&it.finish(&elsewhere, &state, code.as_deref()).await), NotConnected::Stranger);
        // Another user in this very browser, and another account.
        let account = NewAccount::Open { name: "Other".to_owned(), time_zone: "UTC".to_owned() };
        let other = verified(&it.server, "other@example.test", account, Role::Owner).await;
        let returned = Returned { state: &state, code: code.as_deref() };
        let theirs = finish_connection(&it.server, &other, &it.session, returned).await.unwrap();
        assert_eq!(problem(&theirs), NotConnected::Stranger);
        assert_eq!(it.keys().await, 0);

        // A code that is made up, and one of another verifier.
        assert_eq!(problem(&it.finish(&it.session, &state, Some("code_made_up")).await), NotConnected::CodeRefused);
        let (first, _) = it.consent(&it.begin().await, "good", "authorize").await;
        let (_, code_of_second) = it.consent(&it.begin().await, "good", "authorize").await;
        assert_eq!(
            problem(&it.finish(&it.session, &first, code_of_second.as_deref()).await),
            NotConnected::CodeRefused
        );

        // A code that has expired there, and a connection that has expired here.
        let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
        it.sandbox.advance_seconds(601);
        assert_eq!(problem(&it.finish(&it.session, &state, code.as_deref()).await), NotConnected::CodeRefused);
        let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
        world.clock.advance_seconds(600);
        assert_eq!(problem(&it.finish(&it.session, &state, code.as_deref()).await), NotConnected::Expired);

        // A key that OpenRouter refuses, and one that runs no models.
        for kind in ["invalid", "management"] {
            let (state, code) = it.consent(&it.begin().await, kind, "authorize").await;
            assert_eq!(problem(&it.finish(&it.session, &state, code.as_deref()).await), NotConnected::KeyRefused);
        }
        assert_eq!(it.keys().await, 0);

        // One that is only slowed down is kept, as when it is pasted.
        let (state, code) = it.consent(&it.begin().await, "limited", "authorize").await;
        let Connected::Saved(key) = it.finish(&it.session, &state, code.as_deref()).await else { panic!("not saved") };
        assert_eq!(key.state, KeyState::RateLimited);
    })
    .await;
}

#[tokio::test]
async fn openrouter_that_is_away_is_said_so() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let mut it = open(world).await;
            let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
            let mut config = it.server.config.clone();
            config.key_urls.insert(Provider::OpenRouter, "http://127.0.0.1:1/openrouter".to_owned());
            it.server = Server::open(config, world.clock.clone()).await.unwrap();
            let session = Session::new(it.session.id(), Arc::new(session::Store::new(&it.server)), None);
            assert_eq!(problem(&it.finish(&session, &state, code.as_deref()).await), NotConnected::Unreachable);
            assert_eq!(it.keys().await, 0);
        })
        .await;
}

/// Two callbacks with one address at once: one is answered with the key.
#[tokio::test]
async fn of_two_callbacks_one_counts() {
    each_database(async |world| {
        let it = open(world).await;
        let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
        let one = it.finish(&it.session, &state, code.as_deref());
        let two = it.finish(&it.session, &state, code.as_deref());
        let (one, two) = tokio::join!(one, two);
        let saved = [&one, &two].iter().filter(|outcome| matches!(outcome, Connected::Saved(_))).count();
        assert_eq!((saved, it.keys().await), (1, 1));
        let lost = if matches!(one, Connected::Saved(_)) { two } else { one };
        assert_eq!(problem(&lost), NotConnected::Used);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_manage_keys_connects_none_and_old_ones_are_forgotten() {
    each_database(async |world| {
        let it = open(world).await;
        let viewer = User { role: Role::Viewer, ..it.user.clone() };
        let refused = begin_connection(&it.server, &viewer, &it.session).await;
        assert!(matches!(refused, Err(Error::Denied(Denial::RoleMayNot { .. }))), "{refused:?}");
        let (state, code) = it.consent(&it.begin().await, "good", "authorize").await;
        let returned = Returned { state: &state, code: code.as_deref() };
        assert!(finish_connection(&it.server, &viewer, &it.session, returned).await.is_err());
        // A taken-away right does not use the connection up, and time does.
        world.clock.advance_seconds(2 * 86_400);
        forget_old_connections(&it.server).await.unwrap();
        assert_eq!(problem(&it.finish(&it.session, &state, code.as_deref()).await), NotConnected::Stranger);
        let rows: i64 = on_read!(&it.server.db, conn => {
            sqlx::query_scalar("select count(*) from key_connection").fetch_one(conn).await
        })
        .unwrap();
        assert_eq!(rows, 0);
    })
    .await;
}
