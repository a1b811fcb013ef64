//! Codes that give credit: once for each account and person, no more often than they may, for whom and for what they say;
//! and what they give is used, kept and ended as promotional credit is.

use crate::ledger::{capture, code, hold, new_hold};
use crate::shop::insert_user;
use crate::support::{World, each_database};
use domain::code::CodeKind;
use domain::denial::Denial;
use domain::id::{CodeId, ModelId};
use domain::money::Usd;
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use server::account::{Role, User};
use server::code::{NewCode, create, list, load_use, redeem, revoke};
use server::error::Result;
use server::ledger::{self, NewHold, Started, expire_due, list_expiring, load_balance};
use server::{Server, allowance, on_read, on_tx};
use std::net::{IpAddr, Ipv4Addr};

const DAY: i64 = 86_400;

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

fn gift(amount: &str) -> NewCode {
    NewCode {
        kind: CodeKind::Gift,
        amount: usd(amount),
        credit_days: None,
        most_uses: 1,
        models: Vec::new(),
        email: None,
        redeem_until: None,
    }
}

async fn make(server: &Server, new: &NewCode) -> (CodeId, String) {
    let (code_id, text) = create(server, new).await.unwrap();
    (code_id, text.expose_secret().to_owned())
}

async fn person(world: &World) -> User {
    insert_user(world, world.account().await).await
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

async fn enter(server: &Server, user: &User, typed: &str) -> String {
    said(&redeem(server, user, typed, address(1)).await)
}

/// `ok`, or why not.
fn said<T>(outcome: &Result<T>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.denial() {
            Some(Denial::Invalid { field, problem, .. }) => format!("{field}: {problem}"),
            Some(other) => other.code().to_owned(),
            None => format!("internal: {error}"),
        },
    }
}

async fn promotional(server: &Server, user: &User) -> String {
    load_balance(server, &user.account_id).await.unwrap().promotional.to_string()
}

#[tokio::test]
async fn a_code_gives_its_credit_once_and_says_why_not_otherwise() {
    each_database(async |world| {
        let server = &world.server;
        let (sam, kim) = (person(world).await, person(world).await);
        let (gift_id, text) = make(server, &NewCode { most_uses: 2, ..gift("5") }).await;
        // However it is typed.
        let typed = text.to_lowercase().replace('-', " ");
        let use_id = redeem(server, &sam, &typed, address(1)).await.unwrap();
        assert_eq!(promotional(server, &sam).await, "$5.00");
        let given = load_use(server, &sam.account_id, &use_id).await.unwrap().unwrap();
        assert_eq!((given.amount, given.kind, given.expires_at), (usd("5"), CodeKind::Gift, None));
        assert_eq!(load_use(server, &kim.account_id, &use_id).await.unwrap(), None, "another account's");

        assert_eq!(enter(server, &sam, &text).await, "code: You have used this code");
        // The same person in another account, and another person in the same account.
        let elsewhere = User { account_id: kim.account_id.clone(), ..sam.clone() };
        assert_eq!(enter(server, &elsewhere, &text).await, "code: You have used this code");
        let colleague = User { email: "colleague@example.test".to_owned(), ..sam.clone() };
        assert_eq!(enter(server, &colleague, &text).await, "code: You have used this code");
        assert_eq!(promotional(server, &sam).await, "$5.00");

        assert_eq!(enter(server, &kim, &text).await, "ok");
        assert_eq!(enter(server, &person(world).await, &text).await, "code: This code is used up");
        assert_eq!(enter(server, &kim, "TB-0000-0000-0000-0000").await, "code: There is no such code");
        assert_eq!(enter(server, &kim, "rubbish").await, "code: There is no such code");

        let until = world.clock.now().plus_seconds(60);
        let (_, ending) = make(server, &NewCode { redeem_until: Some(until), ..gift("1") }).await;
        let (revoked_id, revoked) = make(server, &gift("1")).await;
        revoke(server, &revoked_id).await.unwrap();
        assert_eq!(said(&revoke(server, &revoked_id).await), "not_found");
        world.clock.advance_seconds(60);
        assert_eq!(enter(server, &kim, &ending).await, "code: This code has expired");
        assert_eq!(enter(server, &kim, &revoked).await, "code: This code has expired");

        let (_, bound) = make(server, &NewCode { email: Some(sam.email.to_uppercase()), ..gift("1") }).await;
        assert_eq!(enter(server, &kim, &bound).await, "code: This code is for another address");
        assert_eq!(enter(server, &sam, &bound).await, "ok");
        let listed = list(server).await.unwrap();
        assert_eq!(listed.iter().find(|code| code.code_id == gift_id).unwrap().uses, 2);
        assert_eq!(ledger::check(&server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn many_at_once_get_no_more_than_the_code_has() {
    each_database(async |world| {
        let node = world.node().await;
        let (_, text) = make(&world.server, &NewCode { most_uses: 5, ..gift("2") }).await;
        let mut people = Vec::new();
        for _ in 0..20 {
            people.push(person(world).await);
        }
        let tries = people.iter().enumerate().map(|(number, user)| {
            let (server, text) = (if number % 2 == 0 { &world.server } else { &node }, &text);
            async move { said(&redeem(server, user, text, address(u8::try_from(number).unwrap())).await) }
        });
        let mut outcomes = join_all(tries).await;
        outcomes.sort();
        assert_eq!(
            outcomes[..15].iter().filter(|said| *said == "code: This code is used up").count(),
            15,
            "{outcomes:?}"
        );
        assert_eq!(outcomes[15..], ["ok"; 5]);

        // One account, eight presses.
        let (_, again) = make(&world.server, &NewCode { most_uses: 9, ..gift("2") }).await;
        let sam = person(world).await;
        let outcomes = join_all((0..8).map(|number| {
            let (server, user, text) = (if number % 2 == 0 { &world.server } else { &node }, &sam, &again);
            async move { said(&redeem(server, user, text, address(99)).await) }
        }))
        .await;
        assert_eq!(outcomes.iter().filter(|said| *said == "ok").count(), 1, "{outcomes:?}");
        assert_eq!(promotional(&world.server, &sam).await, "$2.00");
        let given: i64 = on_read!(world.db(), conn => {
            sqlx::query_scalar("select count(*) from posting where kind = 'grant'").fetch_one(conn).await
        })
        .unwrap();
        assert_eq!(given, 6);
        assert_eq!(ledger::check(world.db()).await.unwrap(), []);
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn tries_are_few_and_only_who_may_buy_tries() {
    each_database(async |world| {
        let server = &world.server;
        let (_, text) = make(server, &gift("1")).await;
        let sam = person(world).await;
        let viewer = User { role: Role::Viewer, ..sam.clone() };
        assert_eq!(enter(server, &viewer, &text).await, "role_may_not");
        for _ in 0..10 {
            assert_eq!(enter(server, &sam, "TB-0000-0000-0000-0000").await, "code: There is no such code");
        }
        assert_eq!(enter(server, &sam, &text).await, "too_many_attempts");
        world.clock.advance_seconds(60);
        assert_eq!(enter(server, &sam, &text).await, "ok");

        let mut tx = world.db().begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update account set frozen_at = 1, frozen_reason = 'a dispute' where account_id = $1")
                .bind(&sam.account_id)
                .execute(conn)
                .await
                .map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        world.clock.advance_seconds(60);
        let (_, other) = make(server, &gift("1")).await;
        assert_eq!(enter(server, &sam, &other).await, "account_frozen");
        assert_eq!(promotional(server, &sam).await, "$1.00");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_code_is_refused_and_its_text_is_not_kept() {
    each_database(async |world| {
        let server = &world.server;
        let refused = async |new: NewCode| said(&create(server, &new).await.map(drop));
        assert_eq!(refused(gift("0")).await, "amount: must be more than zero");
        assert_eq!(refused(gift("-1")).await, "amount: must be more than zero");
        assert_eq!(refused(NewCode { most_uses: 0, ..gift("1") }).await, "uses: must be at least 1");
        let promotional = NewCode { kind: CodeKind::Promotional, ..gift("1") };
        assert!(refused(promotional).await.starts_with("credit_days: is missing"));
        assert_eq!(refused(NewCode { models: vec![ModelId::new("gpt-9")], ..gift("1") }).await, "unknown_model");
        let over = Some(world.clock.now());
        assert_eq!(refused(NewCode { redeem_until: over, ..gift("1") }).await, "redeem_by: is over");
        assert!(refused(NewCode { email: Some("nobody".to_owned()), ..gift("1") }).await.starts_with("email:"));

        let (_, text) = make(server, &NewCode { email: Some("sam@example.test".to_owned()), ..gift("1") }).await;
        let kept: String = on_read!(world.db(), conn => {
            sqlx::query_scalar("select code_hash || ' ' || hint || ' ' || person from credit_code").fetch_one(conn).await
        })
        .unwrap();
        let letters = text.replace('-', "");
        assert!(!kept.contains(&letters) && !kept.contains(&letters[2..10]) && !kept.contains("sam"), "{kept}");
    })
    .await;
}

#[tokio::test]
async fn its_credit_is_for_its_models_and_ends_in_time() {
    each_database(async |world| {
        let server = &world.server;
        let sam = person(world).await;
        let catalogue = server.catalogue.load_full();
        let (haiku, other) = (&catalogue.models[0], &catalogue.models[1]);
        let late = NewCode { kind: CodeKind::Promotional, credit_days: Some(30), ..gift("1") };
        let soon = NewCode { credit_days: Some(10), models: vec![haiku.id.clone()], ..late.clone() };
        let (_, late) = make(server, &late).await;
        let (_, soon) = make(server, &soon).await;
        assert_eq!(enter(server, &sam, &late).await, "ok");
        assert_eq!(enter(server, &sam, &soon).await, "ok");
        let shown = list_expiring(server, &sam.account_id).await.unwrap();
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].expires_at, world.clock.now().plus_seconds(10 * DAY));
        assert_eq!(shown[0].allowed_models.as_deref(), Some(&[haiku.id.clone()][..]));

        // The preview knows it, and so does the hold.
        let purses = allowance::load_purses(server, &sam.account_id, &[haiku, other]).await.unwrap();
        assert_eq!((purses[0].spendable, purses[1].spendable), (usd("2"), usd("1")));
        let run = |id: &str, model: &ModelId, cents: i64| {
            let new = new_hold(&sam.account_id, id, cents * 10_000_000);
            NewHold { started: Started { model_id: model.clone(), ..new.started.clone() }, ..new }
        };
        assert_eq!(code(&hold(&server.ledger, run("dear", &other.id, 101)).await), "insufficient_credit");
        let held = hold(&server.ledger, run("small", &haiku.id, 30)).await.unwrap();
        capture(&server.ledger, held, 300_000_000).await.unwrap();
        let left: Vec<_> = list_expiring(server, &sam.account_id).await.unwrap().iter().map(|lot| lot.left).collect();
        assert_eq!(left, [usd("0.70"), usd("1")], "the soonest is used first");

        world.clock.advance_seconds(10 * DAY);
        assert_eq!(code(&hold(&server.ledger, run("late", &haiku.id, 101)).await), "insufficient_credit");
        assert_eq!(expire_due(server).await.unwrap(), 1);
        assert_eq!(promotional(server, &sam).await, "$1.00");
        assert_eq!(ledger::check(&server.db).await.unwrap(), []);
    })
    .await;
}
