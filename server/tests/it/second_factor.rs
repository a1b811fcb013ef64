//! The second factor: turned on by a first code, asked for after the password, each code once, and the way in without the
//! app.

use crate::identity::{PASSWORD, owner};
use crate::mailbox::with_mailbox;
use crate::support::{World, each_database};
use secrecy::SecretString;
use server::account::{self, SecondFactor, User, code_at, from_base32, load_second_factor};
use server::error::{Error, Result};
use server::job::run_jobs_until_idle;
use server::session::{self, Session};
use server::{Server, on_read};
use std::net::{IpAddr, Ipv4Addr};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn code<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    match outcome {
        Err(Error::Denied(denial)) => denial.code(),
        other => panic!("a denial was expected, not {other:?}"),
    }
}

/// What the user's app shows now.
async fn shown(server: &Server, key: &str) -> String {
    code_at(&from_base32(key).unwrap(), server.clock.now().seconds() / 30).unwrap()
}

/// Turns it on; the key in the app, and the recovery codes.
async fn turn_on(world: &World, server: &Server, user: &User) -> (String, Vec<String>) {
    account::begin_second_factor(server, user, &SecretString::from(PASSWORD), IP).await.unwrap();
    let SecondFactor::Waiting { key } = load_second_factor(server, &user.user_id).await.unwrap() else { panic!() };
    let codes = account::confirm_second_factor(server, user, &shown(server, &key).await).await.unwrap();
    world.clock.advance_seconds(60);
    (key, codes)
}

#[tokio::test]
async fn a_key_counts_from_its_first_code_and_each_code_once() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let user = owner(&server).await;
        let password = SecretString::from(PASSWORD);
        let wrong = SecretString::from("wrong password");
        assert_eq!(code(account::begin_second_factor(&server, &user, &wrong, IP).await), "invalid");
        account::begin_second_factor(&server, &user, &password, IP).await.unwrap();
        assert_eq!(code(account::confirm_second_factor(&server, &user, "000000").await), "invalid");
        let SecondFactor::Waiting { key } = load_second_factor(&server, &user.user_id).await.unwrap() else { panic!() };
        // Not on yet: no code counts for signing in.
        let now = shown(&server, &key).await;
        assert_eq!(code(account::check_second_factor(&server, &user.user_id, &now).await), "invalid");

        let codes =
            account::confirm_second_factor(&server, &user, &format!("{} {}", &now[..3], &now[3..])).await.unwrap();
        assert_eq!(codes.len(), 10);
        let state = load_second_factor(&server, &user.user_id).await.unwrap();
        assert_eq!(state, SecondFactor::On { recovery_codes_left: 10 });
        assert_eq!(code(account::begin_second_factor(&server, &user, &password, IP).await), "conflict");
        run_jobs_until_idle(&server).await.unwrap();
        assert!(mailbox.take()[0].contains("Your second factor for Tokenbank is on"));

        // The code that turned it on has been used; so is one that many try at once.
        assert_eq!(code(account::check_second_factor(&server, &user.user_id, &now).await), "invalid");
        world.clock.advance_seconds(60);
        let next = shown(&server, &key).await;
        let tries = (0..5).map(|_| account::sign_in_second(&server, &user.user_id, &next));
        let outcomes = futures::future::join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        world.clock.advance_seconds(60);
        assert_eq!(code(account::check_second_factor(&server, &user.user_id, &next).await), "invalid");
    })
    .await;
}

#[tokio::test]
async fn recovery_codes_count_once_are_kept_hashed_and_are_replaced() {
    each_database(async |world| {
        let server = &world.server;
        let user = owner(server).await;
        let (key, codes) = turn_on(world, server, &user).await;
        let stored: Vec<String> = on_read!(world.db(), conn => {
            sqlx::query_scalar("select code_hash from recovery_code union all select payload from job").fetch_all(conn).await
        })
        .unwrap();
        assert!(!stored.iter().any(|text| codes.iter().any(|code| text.contains(code) || text.contains(&code.replace('-', "")))));

        let typed = codes[0].to_uppercase().replace('-', " ");
        account::sign_in_second(server, &user.user_id, &typed).await.unwrap();
        assert_eq!(code(account::sign_in_second(server, &user.user_id, &codes[0]).await), "invalid");
        let state = load_second_factor(server, &user.user_id).await.unwrap();
        assert_eq!(state, SecondFactor::On { recovery_codes_left: 9 });

        let fresh = account::renew_recovery_codes(server, &user, &shown(server, &key).await).await.unwrap();
        assert_eq!(code(account::sign_in_second(server, &user.user_id, &codes[1]).await), "invalid");
        account::sign_in_second(server, &user.user_id, &fresh[1]).await.unwrap();

        let password = SecretString::from(PASSWORD);
        assert_eq!(code(account::end_second_factor(server, &user, (&password, &codes[2]), IP).await), "invalid");
        account::end_second_factor(server, &user, (&password, &fresh[2]), IP).await.unwrap();
        assert_eq!(load_second_factor(server, &user.user_id).await.unwrap(), SecondFactor::Off);
    })
    .await;
}

#[tokio::test]
async fn codes_cannot_be_guessed_and_the_first_step_signs_nobody_in() {
    each_database(async |world| {
        let server = &world.server;
        let user = owner(server).await;
        let (key, _) = turn_on(world, server, &user).await;
        world.clock.advance_seconds(3_600);
        for number in 0..10 {
            let guess = format!("{number:06}");
            assert_eq!(code(account::check_second_factor(server, &user.user_id, &guess).await), "invalid");
        }
        let right = shown(server, &key).await;
        assert_eq!(code(account::check_second_factor(server, &user.user_id, &right).await), "too_many_attempts");
        world.clock.advance_seconds(60);
        let right = shown(server, &key).await;
        account::check_second_factor(server, &user.user_id, &right).await.unwrap();

        let browser = Session::new(None, std::sync::Arc::new(session::Store::new(server)), None);
        session::await_second(server, &browser, &user).await.unwrap();
        assert_eq!(session::load_signed_in(server, &browser).await.unwrap(), None);
        assert_eq!(session::load_awaited(server, &browser).await.unwrap(), Some(user.user_id.clone()));
        world.clock.advance_seconds(600);
        assert_eq!(session::load_awaited(server, &browser).await.unwrap(), None);
        session::start(&browser, &user).await.unwrap();
        assert_eq!(session::load_awaited(server, &browser).await.unwrap(), None);
    })
    .await;
}
