//! An account or a user is deleted: what stands in the way, what goes, and what the books keep.

use crate::identity::{EMAIL, PASSWORD, owner, verified};
use crate::mailbox::with_mailbox;
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::{Funding, FundingSource};
use domain::id::{ExecutionId, ModelId};
use domain::member::Role;
use domain::money::Usd;
use domain::provider::Provider;
use secrecy::{ExposeSecret as _, SecretString};
use server::account::{self, Confirmation, Leftover, NewAccount, User, load_user};
use server::error::{Error, Result};
use server::job::run_jobs_until_idle;
use server::ledger::{self, End, Ended, Finish, Held, Hold, NewHold, Started};
use server::{Server, api_key, member, on_read, on_tx};
use std::net::{IpAddr, Ipv4Addr};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn denial<T: std::fmt::Debug>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        other => panic!("a denial was expected, not {other:?}"),
    }
}

async fn delete(server: &Server, user: &User, name: &str, password: &str, leftover: Leftover) -> Result<()> {
    let confirmation = Confirmation { name: name.to_owned(), password: SecretString::from(password), leftover };
    account::delete_account(server, user, confirmation, IP).await
}

async fn count(world: &World, sql: &'static str) -> i64 {
    on_read!(world.db(), conn => sqlx::query_scalar(sql).fetch_one(conn).await).unwrap()
}

async fn execute(world: &World, sql: &'static str, id: &str) {
    let mut tx = world.db().begin().await.unwrap();
    on_tx!(&mut tx, conn => sqlx::query(sql).bind(id).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}

/// A run that holds a cent, with a text of its user.
async fn begin(server: &Server, user: &User) -> Hold {
    let now = server.clock.now();
    let cent = Usd::from_nanos(10_000_000);
    let started = Started {
        user_id: Some(user.user_id.clone()),
        api_key_id: None,
        agent_id: None,
        skill_id: None,
        title: "m".to_owned(),
        model_id: ModelId::new("m"),
        provider: Provider::Anthropic,
        source: FundingSource::Credits,
        rate_version: "v".to_owned(),
        quote_likely: cent,
        quote_p50: cent,
        quote_p90: cent,
        quote_ceiling: cent,
        input_text: Some("a secret plan".to_owned()),
        started_at: now,
    };
    let new = NewHold {
        execution_id: ExecutionId::new(server.clock.new_id()),
        account_id: user.account_id.clone(),
        amount: cent,
        funding: Funding::credits(),
        expires_at: now.plus_seconds(900),
        started,
    };
    match server.ledger.hold(new).await.unwrap() {
        Held::New(hold) => hold,
        Held::Repeated(state) => panic!("{state:?}"),
    }
}

async fn finish(server: &Server, hold: Hold) {
    let cost = Usd::from_nanos(4_000_000);
    let ended = Ended {
        state: ExecutionState::Completed,
        usage: TokenUsage { input: 10, output: 10, ..TokenUsage::default() },
        usage_estimated: false,
        raw_usage: None,
        cost,
        note: None,
        output_text: Some("a secret answer".to_owned()),
        first_token_at: None,
        ended_at: server.clock.now(),
    };
    server.ledger.finish(hold, Finish { end: End::Capture { cost }, ended, jobs: Vec::new() }).await.unwrap();
}

#[tokio::test]
async fn an_account_goes_with_its_data_and_its_books_stay_in_order() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;
        let only_here =
            verified(&server, "only@example.test", NewAccount::Join(owner.account_id.clone()), Role::Viewer).await;
        let elsewhere = verified(
            &server,
            "elsewhere@example.test",
            NewAccount::Open { name: "Elsewhere".to_owned(), time_zone: "UTC".to_owned() },
            Role::Owner,
        )
        .await;
        let mut tx = server.db.begin().await.unwrap();
        member::insert(&mut tx, &server.clock, &owner.account_id, &elsewhere.user_id, Role::Developer).await.unwrap();
        tx.commit().await.unwrap();
        member::invite(&server, &owner, "invited@example.test", Role::Viewer).await.unwrap();
        world.buy(&owner.account_id, Usd::from_dollars(10).unwrap(), Usd::from_dollars(1).unwrap()).await;
        let (_, key) = api_key::create(&server, &owner, "Sam's laptop").await.unwrap();
        finish(&server, begin(&server, &owner).await).await;

        let shown = account::load_deletion(&server, &owner.account_id).await.unwrap();
        assert_eq!(
            (shown.members, shown.only_here, shown.runs, shown.api_keys, shown.purchases, shown.obstacles.len()),
            (3, 2, 1, 1, 1, 0)
        );
        delete(&server, &owner, "Sam's", PASSWORD, Leftover::GiveUp).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();

        assert_eq!(ledger::check(&server.db).await.unwrap(), []);
        let balance = ledger::load_balance(&server, &owner.account_id).await.unwrap();
        assert_eq!(balance.total(), Usd::ZERO);
        assert_eq!(count(world, "select count(*) from posting").await, 6, "grants, hold, capture, and two given up");
        assert_eq!(count(world, "select count(*) from execution where charge_nanos = 4000000").await, 1);
        let text: Vec<Option<String>> = on_read!(world.db(), conn => {
            sqlx::query_scalar(
                r#"select input_text from execution union all select output_text from execution
                   union all select draft from hold union all select name from account where name <> 'Elsewhere'
                   union all select email from "user" where email not like 'elsewhere%'
                   union all select email from invitation union all select name from api_key"#,
            )
            .fetch_all(conn)
            .await
        })
        .unwrap();
        for word in ["secret", "Sam", "sam@", "only@", "invited@"] {
            assert!(!text.iter().flatten().any(|text| text.contains(word)), "{word} in {text:?}");
        }
        let mails = mailbox.take();
        assert!(mails.iter().any(|mail| mail.contains("Sam's was deleted from Tokenbank")), "{mails:?}");

        // Nobody gets in or spends any more; who belongs elsewhere goes on there; the e-mail may sign up anew.
        assert!(load_user(&server, &owner.user_id).await.unwrap().is_none());
        assert!(load_user(&server, &only_here.user_id).await.unwrap().is_none());
        let there = load_user(&server, &elsewhere.user_id).await.unwrap().unwrap();
        assert_eq!(there.account_name, "Elsewhere");
        assert_eq!(denial(api_key::authenticate(&server, key.expose_secret()).await), Denial::NotSignedIn);
        let password = SecretString::from(PASSWORD);
        assert_eq!(denial(account::sign_in(&server, EMAIL, &password, IP).await), Denial::WrongCredentials);
        self::owner(&server).await;
    })
    .await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_and_nothing_is_lost() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let admin = verified(server, "admin@example.test", NewAccount::Join(owner.account_id.clone()), Role::Admin).await;
        let say = async |user: &User, name: &str, password: &str, leftover: Leftover| {
            denial(delete(server, user, name, password, leftover).await).sentence()
        };

        let refused = say(&admin, "Sam's", PASSWORD, Leftover::GiveUp).await;
        assert!(refused.ends_with("Ask an owner of Sam's."), "{refused}");
        assert!(say(&owner, "sam's", PASSWORD, Leftover::GiveUp).await.starts_with("account_name: Not the name"));
        assert!(say(&owner, "Sam's", "wrong password", Leftover::GiveUp).await.starts_with("current_password: Not"));

        let purchase = world.buy(&owner.account_id, Usd::from_dollars(10).unwrap(), Usd::ZERO).await;
        assert!(say(&owner, "Sam's", PASSWORD, Leftover::Keep).await.starts_with("$10.00 of paid credit is left."));

        let hold = begin(server, &owner).await;
        assert!(say(&owner, "Sam's", PASSWORD, Leftover::GiveUp).await.starts_with("1 run is open."));
        finish(server, hold).await;

        execute(world, "update purchase set state = 'pending', ended_at = null where purchase_id = $1", purchase.as_str())
            .await;
        assert!(say(&owner, "Sam's", PASSWORD, Leftover::GiveUp).await.starts_with("A payment is on its way."));
        execute(world, "update purchase set state = 'paid', ended_at = 1 where purchase_id = $1", purchase.as_str()).await;

        let subscribe = "insert into subscription (stripe_subscription_id, account_id, status, plan_id, key_mode, seats,
                             had_plan_id, had_key_mode, had_seats, stripe_item_id, stripe_price_id, unit_cents,
                             catalogue_version, period_start, period_end, told, refreshed_at, created_at)
                         values ('sub_1', $1, 'active', 'pro', 'standard', 1, 'pro', 'standard', 1, 'si_1', 'price_1', 900,
                             'v', 1, 2, 'nothing', 1, 1)";
        execute(world, subscribe, owner.account_id.as_str()).await;
        assert!(say(&owner, "Sam's", PASSWORD, Leftover::GiveUp).await.starts_with("A subscription is active."));

        assert_eq!(load_user(server, &owner.user_id).await.unwrap().unwrap().account_name, "Sam's");
        assert_eq!(ledger::check(&server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_user_goes_who_owns_nothing_alone() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let dev =
            verified(server, "dev@example.test", NewAccount::Join(owner.account_id.clone()), Role::Developer).await;
        let password = SecretString::from(PASSWORD);
        let refused = denial(account::delete_user(server, &owner, &password, IP).await);
        assert!(refused.sentence().starts_with("You are the only owner of Sam's."), "{}", refused.sentence());
        let wrong = SecretString::from("wrong password");
        assert_eq!(denial(account::delete_user(server, &dev, &wrong, IP).await).code(), "invalid");

        account::delete_user(server, &dev, &password, IP).await.unwrap();
        assert!(load_user(server, &dev.user_id).await.unwrap().is_none());
        assert_eq!(member::list_members(server, &owner.account_id).await.unwrap().len(), 1);
        assert_eq!(count(world, "select count(*) from \"user\" where email like 'dev@%'").await, 0);
        assert_eq!(count(world, "select count(*) from job where kind = 'sync_seats'").await, 1);
    })
    .await;
}
