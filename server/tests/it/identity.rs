//! Sign-up, e-mail links, sign-in and password reset.

use crate::mailbox::{token_in, with_mailbox};
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::id::{PurchaseId, UserId};
use domain::money::{Cents, Usd};
use secrecy::{ExposeSecret as _, SecretString};
use server::account::{self, Email, NewAccount, NewUser, Purpose, Role, SignUp, User};
use server::error::{Error, Result};
use server::job::run_jobs_until_idle;
use server::mail::{self, Mail};
use server::password::Password;
use server::{Server, on_read};
use std::net::{IpAddr, Ipv4Addr};

pub const EMAIL: &str = "sam@example.test";
pub const PASSWORD: &str = "correct horse battery";
const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn form(email: &str, password: &str) -> SignUp {
    SignUp {
        email: email.to_owned(),
        password: SecretString::from(password),
        account_name: String::new(),
        time_zone: String::new(),
    }
}

async fn sign_in(server: &Server, email: &str, password: &str) -> Result<User> {
    account::sign_in(server, email, &SecretString::from(password), IP).await
}

fn denial<T: std::fmt::Debug>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        other => panic!("a denial was expected, not {other:?}"),
    }
}

/// A user who signs in with [`PASSWORD`].
pub async fn verified(server: &Server, email: &str, account: NewAccount, role: Role) -> User {
    let email = Email::parse(email).unwrap();
    let password = Password::check(&SecretString::from(PASSWORD), &email).unwrap();
    let password = server.passwords.hash(&server.clock, password).await.unwrap();
    let mut tx = server.db.begin().await.unwrap();
    let new = NewUser { email, password, account, role, is_admin: false };
    let user = account::create_verified(&mut tx, server, new).await.unwrap();
    tx.commit().await.unwrap();
    user
}

pub async fn owner(server: &Server) -> User {
    let account = NewAccount::Open { name: "Sam's".to_owned(), time_zone: "Europe/Vienna".to_owned() };
    verified(server, EMAIL, account, Role::Owner).await
}

async fn count(world: &World, sql: &'static str) -> i64 {
    on_read!(world.db(), conn => sqlx::query_scalar(sql).fetch_one(conn).await).unwrap()
}

#[tokio::test]
async fn sign_up_verify_sign_in() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        account::sign_up(&server, form(" Sam@Example.test", PASSWORD), IP).await.unwrap();
        assert_eq!(denial(sign_in(&server, EMAIL, "not the password").await), Denial::WrongCredentials);
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].contains("To: sam@example.test") && mails[0].contains("Subject: Confirm your e-mail"));
        assert!(mails[0].contains("http://127.0.0.1:3000/verify-email?token="), "{}", mails[0]);

        // Not verified: refused like a wrong password, and the link comes again.
        assert_eq!(denial(sign_in(&server, EMAIL, PASSWORD).await), Denial::WrongCredentials);
        run_jobs_until_idle(&server).await.unwrap();
        assert_eq!(mailbox.take().len(), 1);

        let token = token_in(&mails[0]);
        assert_eq!(token.len(), 43);
        account::verify_email(&server, &token).await.unwrap();
        let user = sign_in(&server, "SAM@example.test ", PASSWORD).await.unwrap();
        assert_eq!(
            (user.email.as_str(), user.role, user.email_verified, user.is_admin),
            (EMAIL, Role::Owner, true, false)
        );
        assert_eq!((user.account_name.as_str(), user.time_zone.as_str()), ("sam", "UTC"));
        assert_eq!(account::load_user(&server, &user.user_id).await.unwrap(), Some(user));
        assert_eq!(count(world, "select count(*) from balance where paid_nanos = 0 and held_nanos = 0").await, 1);

        let again = denial(account::verify_email(&server, &token).await);
        assert_eq!(again, Denial::LinkExpired { what: "verification".to_owned() });
    })
    .await;
}

#[tokio::test]
async fn a_taken_email_is_told_by_mail_only() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        owner(&server).await;
        account::sign_up(&server, form(EMAIL, "another good password"), IP).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert!(mails[0].contains("Subject: You already have a Tokenbank account") && !mails[0].contains("token="));
        assert_eq!(count(world, r#"select count(*) from "user""#).await, 1);
        assert_eq!(count(world, "select count(*) from account").await, 1);
        assert_eq!(denial(sign_in(&server, EMAIL, "another good password").await), Denial::WrongCredentials);
        sign_in(&server, EMAIL, PASSWORD).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn two_sign_ups_at_once_make_one_account() {
    each_database(async |world| {
        let sign_up = || account::sign_up(&world.server, form(EMAIL, PASSWORD), IP);
        let (first, second) = tokio::join!(sign_up(), sign_up());
        first.and(second).unwrap();
        assert_eq!(count(world, r#"select count(*) from "user""#).await, 1);
        assert_eq!(count(world, "select count(*) from account").await, 1);
        assert_eq!(count(world, "select count(*) from job where kind = 'send_mail'").await, 2);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_email_is_answered_like_a_known_one() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        owner(&server).await;
        let wrong = sign_in(&server, EMAIL, "wrong password").await.unwrap_err().to_string();
        let unknown = sign_in(&server, "nobody@example.test", "wrong password").await.unwrap_err().to_string();
        assert_eq!(wrong, unknown);
        assert_eq!(denial(sign_in(&server, "not an address", PASSWORD).await), Denial::WrongCredentials);

        account::request_password_reset(&server, "nobody@example.test", IP).await.unwrap();
        assert_eq!(count(world, "select count(*) from job where state = 'open'").await, 1);
        run_jobs_until_idle(&server).await.unwrap();
        assert_eq!(mailbox.take(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_by_field_and_leaves_nothing() {
    each_database(async |world| {
        let long = "x".repeat(81);
        for (sign_up, field) in [
            (form("sam", PASSWORD), "email"),
            (form(EMAIL, "short"), "password"),
            (form(EMAIL, "Password123!"), "password"),
            (form(EMAIL, EMAIL), "password"),
            (SignUp { account_name: long.clone(), ..form(EMAIL, PASSWORD) }, "account_name"),
            (SignUp { account_name: "a\nb".to_owned(), ..form(EMAIL, PASSWORD) }, "account_name"),
            (SignUp { time_zone: "'; --".to_owned(), ..form(EMAIL, PASSWORD) }, "time_zone"),
        ] {
            match denial(account::sign_up(&world.server, sign_up, IP).await) {
                Denial::Invalid { field: named, .. } => assert_eq!(named, field),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(count(world, "select count(*) from account").await, 0);
        assert_eq!(count(world, "select count(*) from job").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_reset_link_sets_a_password_once() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let user = owner(&server).await;
        account::request_password_reset(&server, EMAIL, IP).await.unwrap();
        account::request_password_reset(&server, EMAIL, IP).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        let (token, other) = (token_in(&mails[0]), token_in(&mails[1]));
        assert!(mails[0].contains("http://127.0.0.1:3000/reset-password/new?token="));

        let new = SecretString::from("a new good password");
        let weak = denial(account::reset_password(&server, &token, &SecretString::from("password")).await);
        assert_eq!(weak.code(), "invalid", "and the link is still good");
        let (first, second) = tokio::join!(
            account::reset_password(&server, &token, &new),
            account::reset_password(&server, &token, &new)
        );
        assert!(first.is_ok() != second.is_ok(), "of two at once, one succeeds");
        let expired = Denial::LinkExpired { what: "reset".to_owned() };
        assert_eq!(denial(first.and(second)), expired);
        assert_eq!(denial(account::reset_password(&server, &other, &new).await), expired, "other links end too");
        assert_eq!(denial(sign_in(&server, EMAIL, PASSWORD).await), Denial::WrongCredentials);
        assert_eq!(sign_in(&server, EMAIL, "a new good password").await.unwrap().user_id, user.user_id);
    })
    .await;
}

#[tokio::test]
async fn a_link_expires_and_serves_its_purpose_only() {
    each_database(async |world| {
        let server = &world.server;
        account::sign_up(server, form(EMAIL, PASSWORD), IP).await.unwrap();
        let user_id = account::load_user_id(server, &Email::parse(EMAIL).unwrap()).await.unwrap().unwrap();
        let issue = async |purpose| account::issue_link(server, &user_id, purpose).await.unwrap();
        let new = SecretString::from("a new good password");

        let verify = issue(Purpose::VerifyEmail).await;
        let late = issue(Purpose::VerifyEmail).await;
        let reset = issue(Purpose::ResetPassword).await;
        assert_eq!(denial(account::reset_password(server, verify.expose_secret(), &new).await).code(), "link_expired");
        assert_eq!(denial(account::verify_email(server, reset.expose_secret()).await).code(), "link_expired");
        world.clock.advance_seconds(3_600);
        assert_eq!(denial(account::reset_password(server, reset.expose_secret(), &new).await).code(), "link_expired");
        world.clock.advance_seconds(23 * 3_600 - 1);
        account::verify_email(server, verify.expose_secret()).await.unwrap();
        world.clock.advance_seconds(1);
        assert_eq!(denial(account::verify_email(server, late.expose_secret()).await).code(), "link_expired");
        assert_eq!(denial(account::verify_email(server, "").await).code(), "link_expired");

        world.clock.advance_seconds(8 * 86_400);
        account::sweep_links(server).await.unwrap();
        assert_eq!(count(world, "select count(*) from user_token").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_reset_verifies_the_email_of_a_user_whose_first_mail_was_lost() {
    each_database(async |world| {
        let server = &world.server;
        account::sign_up(server, form(EMAIL, PASSWORD), IP).await.unwrap();
        let user_id = account::load_user_id(server, &Email::parse(EMAIL).unwrap()).await.unwrap().unwrap();
        let token = account::issue_link(server, &user_id, Purpose::ResetPassword).await.unwrap();
        let new = SecretString::from("a new good password");
        account::reset_password(server, token.expose_secret(), &new).await.unwrap();
        assert!(sign_in(server, EMAIL, "a new good password").await.unwrap().email_verified);
    })
    .await;
}

#[tokio::test]
async fn attempts_are_limited_but_nobody_is_locked_out_for_good() {
    each_database(async |world| {
        let server = &world.server;
        owner(server).await;
        for _ in 0..10 {
            assert_eq!(denial(sign_in(server, EMAIL, "wrong password").await), Denial::WrongCredentials);
        }
        let waits = Denial::TooManyAttempts { retry_after_seconds: 60 };
        assert_eq!(denial(sign_in(server, EMAIL, PASSWORD).await), waits, "the right one too");
        assert_eq!(waits.status(), 429);
        let elsewhere = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
        account::sign_in(server, EMAIL, &SecretString::from(PASSWORD), elsewhere).await.unwrap();
        world.clock.advance_seconds(60);
        sign_in(server, EMAIL, PASSWORD).await.unwrap();

        for _ in 0..3 {
            account::request_password_reset(server, EMAIL, IP).await.unwrap();
            account::sign_up(server, form(EMAIL, PASSWORD), IP).await.unwrap();
        }
        let limited = "too_many_attempts";
        assert_eq!(denial(account::request_password_reset(server, EMAIL, IP).await).code(), limited);
        assert_eq!(denial(account::sign_up(server, form(EMAIL, PASSWORD), IP).await).code(), limited);
    })
    .await;
}

/// Field failure 16: SQL in a field that is looked up before anybody is known.
#[tokio::test]
async fn sql_in_a_field_is_text() {
    each_database(async |world| {
        let server = &world.server;
        owner(server).await;
        for sql in
            ["' or '1'='1", "'; drop table account; --", "\" or 1=1 --", "$1", "%' or true --", "\\'; select 1", "a\0b"]
        {
            let code = |outcome: Result<()>| denial(outcome).code();
            world.clock.advance_seconds(3_600);
            assert_eq!(denial(sign_in(server, sql, sql).await), Denial::WrongCredentials, "{sql}");
            assert_eq!(denial(sign_in(server, EMAIL, sql).await), Denial::WrongCredentials, "{sql}");
            assert_eq!(code(account::verify_email(server, sql).await), "link_expired", "{sql}");
            assert_eq!(code(account::reset_password(server, sql, &SecretString::from(sql)).await), "link_expired");
            assert_eq!(code(account::request_password_reset(server, sql, IP).await), "invalid", "{sql}");
            assert_eq!(account::load_user(server, &UserId::new(sql.replace('\0', ""))).await.unwrap(), None, "{sql}");
        }
        // Where such text is allowed, it is kept as it is.
        let name = "Robert'); drop table account; --";
        let sign_up =
            SignUp { account_name: name.to_owned(), ..form("o'neill@example.test", "'; drop table \"user\"; --") };
        account::sign_up(server, sign_up, IP).await.unwrap();
        let user_id =
            account::load_user_id(server, &Email::parse("o'neill@example.test").unwrap()).await.unwrap().unwrap();
        assert_eq!(account::load_user(server, &user_id).await.unwrap().unwrap().account_name, name);
        assert_eq!(count(world, "select count(*) from account").await, 2);
    })
    .await;
}

#[tokio::test]
async fn an_admin_is_made_from_nothing_or_from_a_user() {
    each_database(async |world| {
        let server = &world.server;
        let password = SecretString::from(PASSWORD);
        let made = account::make_admin(server, "admin@example.test", &password).await.unwrap();
        assert!(sign_in(server, "admin@example.test", PASSWORD).await.unwrap().is_admin);

        let user = owner(server).await;
        let other = SecretString::from("ignored password");
        assert_eq!(account::make_admin(server, EMAIL, &other).await.unwrap(), user.user_id);
        assert!(sign_in(server, EMAIL, PASSWORD).await.unwrap().is_admin);
        assert_ne!(made, user.user_id);

        let join = NewAccount::Join(user.account_id.clone());
        let member = verified(server, "member@example.test", join, Role::Developer).await;
        assert_eq!((member.account_id, member.account_name), (user.account_id, "Sam's".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_mail_waits_for_its_server_and_says_what_was_bought() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let user = owner(&server).await;
        let receipt = Mail::Receipt {
            user_id: user.user_id,
            pack: "$10 <pack>".to_owned(),
            price: Cents(1_150),
            credits: Usd::from_dollars(10).unwrap(),
            bonus: Usd::from_dollars(1).unwrap(),
            paid_at: world.clock.now(),
            purchase_id: PurchaseId::new("purchase-7"),
        };
        let mut tx = server.db.begin().await.unwrap();
        mail::send_later(&mut tx, &server.clock, receipt).await.unwrap();
        tx.commit().await.unwrap();

        // The world's own node has no mail server: the job stays open and is tried again.
        run_jobs_until_idle(&world.server).await.unwrap();
        assert_eq!(count(world, "select count(*) from job where state = 'open' and attempts = 1").await, 1);
        world.clock.advance_seconds(3_600);
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert_eq!(mails.len(), 1);
        for part in [
            "Pack: $10 <pack>",
            "Paid: $11.50",
            "Credit: $10.00, $1.00 of it bonus",
            "Date: 15 Jan 2027, 09:00 (Europe/Vienna)",
            "purchase-7",
        ] {
            assert!(mails[0].contains(part), "{part} in {}", mails[0]);
        }
        assert!(mails[0].contains("multipart/alternative") && mails[0].contains("&lt;pack&gt;"));
    })
    .await;
}
