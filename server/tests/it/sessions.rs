//! Browser sessions, over HTTP: cookie, fixation, ends, and that nothing secret is stored or logged.

use crate::identity::{EMAIL, PASSWORD, owner};
use crate::mailbox::{token_in, with_mailbox};
use crate::site::{self, Browser};
use crate::support::{World, alone, each_database};
use secrecy::SecretString;
use server::job::run_jobs_until_idle;
use server::{Server, account, on_read, session};
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

const DAY: i64 = 86_400;

async fn sessions(world: &World) -> Vec<(String, String)> {
    on_read!(world.db(), conn => {
        sqlx::query_as("select session_id, state from session order by session_id").fetch_all(conn).await
    })
    .unwrap()
}

/// A browser that is signed in.
async fn signed_in(server: &Server, address: &str) -> Browser {
    let mut browser = Browser::new(address);
    assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, 200);
    assert_eq!(browser.get("/who").await.body, EMAIL, "{:?}", server.db.engine());
    browser
}

#[tokio::test]
async fn the_cookie_is_closed_to_scripts_and_to_other_sites() {
    each_database(async |world| {
        owner(&world.server).await;
        let (address, _) = site::start(&world.server).await;
        let mut browser = Browser::new(&address);
        assert!(!browser.get("/who").await.headers.contains_key("set-cookie"), "a visit alone needs no cookie");
        let answer = browser.sign_in(EMAIL, PASSWORD).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("tokenbank="), "{cookie}");
        for flag in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=1209600"] {
            assert!(cookie.contains(flag), "{flag} in {cookie}");
        }
        assert!(!cookie.contains("; Secure") && !cookie.contains("Domain"), "{cookie}");
        let id = cookie.split(['=', ';']).nth(1).unwrap();
        let stored = sessions(world).await;
        assert_eq!(stored.len(), 1);
        assert!(stored[0].0.len() == 64 && !format!("{stored:?}").contains(id), "only the hash is stored");
    })
    .await;
}

#[tokio::test]
async fn on_https_the_cookie_is_bound_to_the_host_and_can_be_removed() {
    each_database(async |world| {
        let mut config = world.config.clone();
        config.public_url = "https://bank.example.com".to_owned();
        let server = Server::open(config, world.clock.clone()).await.unwrap();
        owner(&server).await;
        let (address, _) = site::start(&server).await;
        let mut browser = Browser::new(&address);
        let answer = browser.sign_in(EMAIL, PASSWORD).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("__Host-tokenbank=") && cookie.contains("; Secure"), "{cookie}");
        assert!(cookie.contains("; Path=/") && !cookie.contains("Domain"), "{cookie}");
        assert_eq!(answer.headers["strict-transport-security"], "max-age=63072000; includeSubDomains");
        let removal = browser.post("/sign-out", "").await;
        let removal = removal.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(removal.starts_with("__Host-tokenbank=;") && removal.contains("; Secure"), "{removal}");
        assert!(removal.contains("Max-Age=0") && removal.contains("Path=/"), "{removal}");
    })
    .await;
}

#[tokio::test]
async fn an_id_planted_or_used_before_sign_in_is_worth_nothing() {
    each_database(async |world| {
        owner(&world.server).await;
        let (address, _) = site::start(&world.server).await;
        for planted in ["AAAAAAAAAAAAAAAAAAAAAA", "abcdefghijklmnopqrstuQ", "nonsense", ""] {
            let mut victim = Browser::new(&address);
            victim.cookie = Some(format!("tokenbank={planted}"));
            victim.sign_in(EMAIL, PASSWORD).await;
            assert_eq!(victim.get("/who").await.body, EMAIL);
            let mut attacker = Browser::new(&address);
            attacker.cookie = Some(format!("tokenbank={planted}"));
            assert_eq!(attacker.get("/who").await.body, "", "{planted}");
        }

        // Signing in again, and a change of rights, change the id; the old one ends.
        let mut browser = signed_in(&world.server, &address).await;
        for change in ["/sign-in", "/rotate"] {
            let before = browser.cookie.clone();
            browser.post(change, &format!("{EMAIL}\n{PASSWORD}")).await;
            assert_eq!(browser.get("/who").await.body, EMAIL);
            assert_ne!(browser.cookie, before, "{change}");
            let mut old = Browser::new(&address);
            old.cookie = before;
            assert_eq!(old.get("/who").await.body, "", "{change}");
        }
    })
    .await;
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_a_reset_ends_all() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let (address, _) = site::start(&world.server).await;
        let mut laptop = signed_in(&world.server, &address).await;
        let mut phone = signed_in(&world.server, &address).await;
        let cookie = laptop.cookie.clone();
        assert_eq!(laptop.post("/sign-out", "").await.status, 200);
        assert_eq!(laptop.cookie, None, "the browser is told to forget it");
        laptop.cookie = cookie;
        assert_eq!(laptop.get("/who").await.body, "");
        assert_eq!(phone.get("/who").await.body, EMAIL);

        let token = account::issue_link(&world.server, &user.user_id, account::Purpose::ResetPassword).await.unwrap();
        let new = SecretString::from("a new good password");
        account::reset_password(&world.server, secrecy::ExposeSecret::expose_secret(&token), &new).await.unwrap();
        assert_eq!(phone.get("/who").await.body, "");
        assert_eq!(sessions(world).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_when_idle_and_in_any_case_after_thirty_days() {
    each_database(async |world| {
        owner(&world.server).await;
        let (address, _) = site::start(&world.server).await;
        let mut idle = signed_in(&world.server, &address).await;
        let cookie = idle.cookie.clone();
        world.clock.advance_seconds(14 * DAY - 1);
        assert_eq!(idle.get("/who").await.body, EMAIL);
        world.clock.advance_seconds(14 * DAY);
        idle.cookie = cookie;
        assert_eq!(idle.get("/who").await.body, "");

        let mut busy = signed_in(&world.server, &address).await;
        for _day in 0..29 {
            world.clock.advance_seconds(DAY);
            assert_eq!(busy.get("/who").await.body, EMAIL);
        }
        busy.post("/rotate", "").await;
        world.clock.advance_seconds(DAY - 1);
        assert_eq!(busy.get("/who").await.body, EMAIL);
        world.clock.advance_seconds(1);
        assert_eq!(busy.get("/who").await.body, "");

        assert!(!sessions(world).await.is_empty());
        session::sweep_expired(&world.server).await.unwrap();
        assert_eq!(sessions(world).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_not_written_again() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let (address, _) = site::start(&world.server).await;
        let mut browser = signed_in(&world.server, &address).await;
        let id = browser.cookie.clone().unwrap().split('=').nth(1).unwrap().parse().unwrap();
        let store = Arc::new(session::Store::new(&world.server));
        // A request that has read its session, while another ends all of them.
        let under_way = session::Session::new(Some(id), store, None);
        assert!(session::load_signed_in(&world.server, &under_way).await.unwrap().is_some());
        session::end_all(&world.server, &user.user_id).await.unwrap();
        under_way.insert("seen_at", 1).await.unwrap();
        under_way.save().await.unwrap();
        assert_eq!(sessions(world).await, []);
        assert_eq!(browser.get("/who").await.body, "");
    })
    .await;
}

/// Keeps everything that is logged, at every level, by every library.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// Field failure 14: secrets in logs.
#[tokio::test]
async fn no_password_token_session_or_key_is_logged_or_stored() {
    if alone("sessions::no_password_token_session_or_key_is_logged_or_stored").is_err() {
        return;
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let user = owner(&server).await;
        let (address, _) = site::start(&server).await;
        let mut browser = Browser::new(&address);
        browser.sign_in(EMAIL, "canary wrong password").await;
        browser.sign_in(EMAIL, PASSWORD).await;
        browser.get("/who?token=canary-query").await;
        let sign_up = account::SignUp {
            email: "new@example.test".to_owned(),
            password: SecretString::from("canary new password"),
            account_name: String::new(),
            time_zone: String::new(),
        };
        account::sign_up(&server, sign_up, "192.0.2.1".parse().unwrap()).await.unwrap();
        account::request_password_reset(&server, EMAIL, "192.0.2.1".parse().unwrap()).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let tokens: Vec<String> = mailbox.take().iter().map(|mail| token_in(mail)).collect();
        assert_eq!(tokens.len(), 2);
        // By subject: "Confirm your e-mail" comes before "Reset your password".
        account::verify_email(&server, &tokens[0]).await.unwrap();
        account::reset_password(&server, &tokens[1], &SecretString::from("canary reset password")).await.unwrap();
        let (_, key) = server::api_key::create(&server, &user, "ci").await.unwrap();
        let key = secrecy::ExposeSecret::expose_secret(&key).to_owned();
        server::api_key::authenticate(&server, &key).await.unwrap();

        let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert!(logged.contains("a sign-in was refused") && logged.contains("TRACE"), "the log is kept");
        let stored: Vec<String> = on_read!(world.db(), conn => {
            sqlx::query_scalar(
                r#"select payload from job
                   union all select token_hash from user_token
                   union all select state from session
                   union all select key_hash from api_key
                   union all select password_hash from "user""#,
            )
            .fetch_all(conn)
            .await
        })
        .unwrap();
        let session_id = browser.cookie.clone().unwrap().split('=').nth(1).unwrap().to_owned();
        let canaries = [PASSWORD, "canary", &tokens[0], &tokens[1], &session_id, &key, "$argon2id"];
        for canary in canaries {
            if let Some(at) = logged.find(canary) {
                panic!("{canary} is in the log: …{}", logged.get(at.saturating_sub(200)..at + 20).unwrap_or_default());
            }
            assert!(canary == "$argon2id" || !stored.iter().any(|text| text.contains(canary)), "{canary} is stored");
        }
    })
    .await;
}
