//! What a user changes: the account's name, the password, the e-mail, and where they are signed in.

use crate::identity::{EMAIL, PASSWORD, owner, verified};
use crate::mailbox::{token_in, with_mailbox};
use crate::site::{Browser, start};
use crate::support::each_database;
use domain::denial::Denial;
use domain::member::Role;
use secrecy::SecretString;
use server::account::{self, NewAccount, load_user};
use server::error::{Error, Result};
use server::job::run_jobs_until_idle;
use server::session;
use std::net::{IpAddr, Ipv4Addr};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn denial<T: std::fmt::Debug>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        other => panic!("a denial was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn an_owner_renames_the_account() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        account::change_account(server, &owner, " Northwind ", "America/New_York").await.unwrap();
        let now = load_user(server, &owner.user_id).await.unwrap().unwrap();
        assert_eq!((now.account_name.as_str(), now.time_zone.as_str()), ("Northwind", "America/New_York"));
        for (name, zone) in [("", "UTC"), (&*"x".repeat(81), "UTC"), ("ok", "no zone; at all")] {
            assert_eq!(denial(account::change_account(server, &owner, name, zone).await).code(), "invalid");
        }
        let join = NewAccount::Join(owner.account_id.clone());
        let admin = verified(server, "admin@example.test", join, Role::Admin).await;
        assert_eq!(denial(account::change_account(server, &admin, "Mine", "UTC").await).code(), "role_may_not");
    })
    .await;
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_every_session() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let (address, _) = start(server).await;
        let mut browser = Browser::new(&address);
        assert_eq!(browser.sign_in(EMAIL, PASSWORD).await.status, 200);
        let (old, new) = (SecretString::from(PASSWORD), SecretString::from("another horse battery"));
        let wrong = SecretString::from("not my password");
        let short = SecretString::from("short");
        let change = async |current, new| account::change_password(server, &owner, (current, new), IP).await;
        assert!(denial(change(&wrong, &new).await).sentence().starts_with("current_password: Not your password."));
        assert!(denial(change(&old, &short).await).sentence().starts_with("password: Shorter"));
        assert_eq!(browser.get("/who").await.body, EMAIL);
        change(&old, &new).await.unwrap();
        assert_eq!(browser.get("/who").await.body, "");
        account::sign_in(server, EMAIL, &new, IP).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_new_email_counts_from_its_link_and_the_old_one_is_told() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;
        let password = SecretString::from(PASSWORD);
        let ask = async |email: &str| account::request_email_change(&server, &owner, email, &password, IP).await;
        assert_eq!(denial(ask(EMAIL).await).code(), "invalid");
        assert_eq!(denial(ask("no address").await).code(), "invalid");

        // An address that somebody has: the same answer, and no link.
        let other = NewAccount::Open { name: "Other".to_owned(), time_zone: "UTC".to_owned() };
        verified(&server, "taken@example.test", other, Role::Owner).await;
        ask("taken@example.test").await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        assert!(mailbox.take()[0].contains("You already have a Tokenbank account"));

        ask("new@example.test").await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let token = token_in(&mailbox.take()[0]);
        assert_eq!(load_user(&server, &owner.user_id).await.unwrap().unwrap().email, EMAIL);
        account::confirm_new_email(&server, &token).await.unwrap();
        assert_eq!(denial(account::confirm_new_email(&server, &token).await).code(), "link_expired");
        account::sign_in(&server, "new@example.test", &password, IP).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert!(mails[0].contains("To: sam@example.test") && mails[0].contains("e-mail was changed"), "{mails:?}");

        let owner = load_user(&server, &owner.user_id).await.unwrap().unwrap();
        account::request_email_change(&server, &owner, "late@example.test", &password, IP).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let token = token_in(&mailbox.take()[0]);
        world.clock.advance_seconds(24 * 3_600);
        assert_eq!(denial(account::confirm_new_email(&server, &token).await).code(), "link_expired");
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let other = verified(
            server,
            "other@example.test",
            NewAccount::Open { name: "Other".to_owned(), time_zone: "UTC".to_owned() },
            Role::Owner,
        )
        .await;
        let (address, _) = start(server).await;
        let (mut laptop, mut phone) = (Browser::new(&address), Browser::new(&address));
        laptop.sign_in(EMAIL, PASSWORD).await;
        phone.sign_in(EMAIL, PASSWORD).await;
        let nobody = session::Session::new(None, std::sync::Arc::new(session::Store::new(server)), None);
        let listed = session::list(server, &nobody, &owner.user_id).await.unwrap();
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|row| !row.is_current && row.started_at == world.clock.now()));
        let cookie = laptop.cookie.clone().unwrap();
        assert!(listed.iter().all(|row| !cookie.contains(&row.session_id)), "the id in the cookie is shown");

        let ended = denial(session::end_one(server, &other.user_id, &listed[0].session_id).await);
        assert_eq!(ended.code(), "not_found");
        session::end_one(server, &owner.user_id, &listed[0].session_id).await.unwrap();
        assert_eq!(denial(session::end_one(server, &owner.user_id, &listed[0].session_id).await).code(), "not_found");
        let still_in = [laptop.get("/who").await.body, phone.get("/who").await.body];
        assert_eq!(still_in.iter().filter(|email| email.as_str() == EMAIL).count(), 1);
        session::end_others(server, &nobody, &owner.user_id).await.unwrap();
        assert_eq!([laptop.get("/who").await.body, phone.get("/who").await.body], ["", ""]);
    })
    .await;
}
