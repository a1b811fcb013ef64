//! Thresholds: each is told once in its period, however many nodes look, and a low balance once until it has risen.

use crate::ledger::{ended, hold, new_hold};
use crate::shop::insert_user;
use crate::support::{World, each_database};
use domain::id::{AccountId, ApiKeyId, UserId};
use domain::money::Usd;
use domain::notice::{Notice, NoticeKind};
use server::account::{Role, User};
use server::alert::{self, Scope};
use server::job::run_jobs_until_idle;
use server::ledger::{End, Finish, NewHold};
use server::{Server, api_key, member, notice, on_read, on_tx};

const DAY: i64 = 86_400;

/// A run of the skill `prd` that is paid from credits.
async fn spend(server: &Server, account_id: &AccountId, dollars: &str) {
    let cost = Usd::parse_dollars(dollars).unwrap();
    let now = server.clock.now();
    let new = new_hold(account_id, &server.clock.new_id(), cost.nanos());
    let held = hold(&server.ledger, NewHold { expires_at: now.plus_seconds(600), ..new }).await.unwrap();
    let finish = Finish { end: End::Capture { cost }, ended: ended(cost, now), jobs: Vec::new() };
    server.ledger.finish(held, finish).await.unwrap();
}

async fn buyer(world: &World, dollars: i64) -> User {
    insert_user(world, world.account_with(dollars).await).await
}

/// What was told since the last call, oldest first.
async fn told(server: &Server, user: &User) -> Vec<Notice> {
    run_jobs_until_idle(server).await.unwrap();
    let list = notice::list(server, user, None, 100).await.unwrap();
    notice::mark_all_read(server, user).await.unwrap();
    list.into_iter().filter(|listed| listed.read_at.is_none()).map(|listed| listed.notice).rev().collect()
}

fn shares(notices: &[Notice]) -> Vec<(NoticeKind, u64)> {
    let share = |notice: &Notice| match notice {
        Notice::BudgetReached { percent, .. }
        | Notice::ProjectedSpend { percent, .. }
        | Notice::ExecutionsReached { percent, .. } => *percent,
        other => panic!("{other:?} has no share"),
    };
    notices.iter().map(|notice| (notice.kind(), share(notice))).collect()
}

#[tokio::test]
async fn each_share_of_a_budget_is_told_once_in_a_month_however_many_nodes_look() {
    each_database(async |world| {
        let server = &world.server;
        let node = world.node().await;
        let sam = buyer(world, 100).await;
        alert::set_budget(server, &sam, Scope::All, "", "$10").await.unwrap();
        alert::set_budget(server, &sam, Scope::Skill, "prd", "40").await.unwrap();
        spend(server, &sam.account_id, "4.99").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0);

        spend(server, &sam.account_id, "0.01").await;
        let (first, second) = tokio::join!(alert::sweep(server), alert::sweep(&node));
        assert_eq!(first.unwrap() + second.unwrap(), 1, "two nodes that sweep at once tell once");
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
        assert_eq!(shares(&told(server, &sam).await), [(NoticeKind::BudgetReached, 50)]);

        // A jump tells the highest share alone.
        spend(server, &sam.account_id, "6").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 1);
        let now = told(server, &sam).await;
        assert_eq!(shares(&now), [(NoticeKind::BudgetReached, 100)]);
        assert_eq!(now[0].title(), "100 % of the budget for all runs is spent");
        spend(server, &sam.account_id, "5").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0, "nothing above 100 %");

        // The month after, they are told again. The test begins on the 15th of a month of 31 days.
        world.clock.advance_seconds(17 * DAY);
        spend(server, &sam.account_id, "5").await;
        alert::sweep(server).await.unwrap();
        let mut now = shares(&told(server, &sam).await);
        now.retain(|(kind, _)| *kind == NoticeKind::BudgetReached);
        assert_eq!(now, [(NoticeKind::BudgetReached, 50)]);
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_month_on_its_way_past_a_budget_is_told_before() {
    each_database(async |world| {
        let server = &world.server;
        let sam = buyer(world, 100).await;
        alert::set_budget(server, &sam, Scope::All, "", "40").await.unwrap();
        for _ in 0..3 {
            spend(server, &sam.account_id, "1").await;
            alert::sweep(server).await.unwrap();
            assert_eq!(told(server, &sam).await, [], "too few days");
            world.clock.advance_seconds(DAY);
        }
        // $4 in 3 days, 13.6 days left: $22.2 at the end of the month.
        spend(server, &sam.account_id, "1").await;
        alert::sweep(server).await.unwrap();
        let now = told(server, &sam).await;
        assert_eq!(shares(&now), [(NoticeKind::ProjectedSpend, 50)]);
        let month = alert::load_month(server, &sam.account_id).await.unwrap();
        let budgets = alert::list_budgets(server, &sam.account_id).await.unwrap();
        let forecast = month.forecast(&budgets[0]).unwrap();
        assert_eq!(forecast.to_string(), "$22.222222222");
    })
    .await;
}

#[tokio::test]
async fn a_low_balance_is_told_once_until_it_has_clearly_risen() {
    each_database(async |world| {
        let server = &world.server;
        let node = world.node().await;
        let sam = buyer(world, 10).await;
        alert::sweep(server).await.unwrap();
        spend(server, &sam.account_id, "5").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0, "at the mark is not below it");
        // Money set aside for a run is still there.
        let held = hold(&server.ledger, new_hold(&sam.account_id, "held", 2_000_000_000)).await.unwrap();
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
        crate::ledger::void(&server.ledger, held).await.unwrap();

        spend(server, &sam.account_id, "0.5").await;
        let (first, second) = tokio::join!(alert::sweep(server), alert::sweep(&node));
        assert_eq!(first.unwrap() + second.unwrap(), 1);
        let now = told(server, &sam).await;
        assert_eq!(now[0].title(), "Your credit balance is $4.50");
        assert_eq!(now.len(), 1);

        // A swing about the mark is silent: $5.50, then $4.00.
        world.buy(&sam.account_id, Usd::from_dollars(1).unwrap(), Usd::ZERO).await;
        alert::sweep(server).await.unwrap();
        spend(server, &sam.account_id, "1.5").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
        // $14.00, then $3.00: it is told again.
        world.buy(&sam.account_id, Usd::from_dollars(10).unwrap(), Usd::ZERO).await;
        alert::sweep(server).await.unwrap();
        spend(server, &sam.account_id, "11").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 1);
        assert_eq!(told(server, &sam).await[0].title(), "Your credit balance is $3.00");
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_account_chooses_its_mark_and_none_means_never() {
    each_database(async |world| {
        let server = &world.server;
        let sam = buyer(world, 10).await;
        alert::set_low_mark(server, &sam, "0").await.unwrap();
        spend(server, &sam.account_id, "10").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
        alert::set_low_mark(server, &sam, "$20").await.unwrap();
        assert_eq!(alert::load_low_mark(server, &sam.account_id).await.unwrap().to_string(), "$20.00");
        assert_eq!(alert::sweep(server).await.unwrap(), 1, "what is below the new mark is told");

        for wrong in ["", "-1", "1.001", "1e3", "2000000", "ten"] {
            let refused = alert::set_low_mark(server, &sam, wrong).await.unwrap_err();
            assert_eq!(refused.denial().unwrap().code(), "invalid", "{wrong}");
        }
        let viewer = User { role: Role::Viewer, ..sam.clone() };
        let refused = alert::set_budget(server, &viewer, Scope::All, "", "10").await.unwrap_err();
        assert_eq!(refused.denial().unwrap().code(), "role_may_not");
        // An account that never got credit is not told that it has none.
        let other = insert_user(world, world.account().await).await;
        alert::set_low_mark(server, &other, "5").await.unwrap();
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn shares_of_the_plans_executions_are_told_once_in_their_period() {
    each_database(async |world| {
        let server = &world.server;
        let sam = insert_user(world, world.account().await).await;
        let start = server::allowance::load(server, &sam.account_id).await.unwrap().rule.period_start;
        for (used, expected) in [(49, vec![]), (50, vec![50]), (60, vec![]), (100, vec![100]), (100, vec![])] {
            let mut tx = server.db.begin().await.unwrap();
            on_tx!(&mut tx, conn => {
                sqlx::query(
                    "insert into allowance_use (account_id, period_start, executions, next_at) values ($1, $2, $3, 0)
                     on conflict (account_id, period_start) do update set executions = excluded.executions",
                )
                .bind(&sam.account_id)
                .bind(start)
                .bind(used)
                .execute(conn)
                .await
                .map(drop)
            })
            .unwrap();
            tx.commit().await.unwrap();
            alert::sweep(server).await.unwrap();
            let now = told(server, &sam).await;
            let expected: Vec<_> =
                expected.into_iter().map(|percent| (NoticeKind::ExecutionsReached, percent)).collect();
            assert_eq!(shares(&now), expected, "{used} used");
        }
    })
    .await;
}

/// A run of somebody, or of an API key of theirs, that is paid from credits.
async fn spend_of(server: &Server, user: &User, key: Option<&ApiKeyId>, dollars: &str) {
    let cost = Usd::parse_dollars(dollars).unwrap();
    let now = server.clock.now();
    let mut new = new_hold(&user.account_id, &server.clock.new_id(), cost.nanos());
    new.expires_at = now.plus_seconds(600);
    (new.started.user_id, new.started.api_key_id) = (Some(user.user_id.clone()), key.cloned());
    let held = hold(&server.ledger, new).await.unwrap();
    let finish = Finish { end: End::Capture { cost }, ended: ended(cost, now), jobs: Vec::new() };
    server.ledger.finish(held, finish).await.unwrap();
}

#[tokio::test]
async fn an_api_key_and_a_member_have_budgets_of_their_own() {
    each_database(async |world| {
        let server = &world.server;
        let sam = buyer(world, 100).await;
        let mut kim = insert_user(world, world.account().await).await;
        let mut tx = world.db().begin().await.unwrap();
        member::insert(&mut tx, &world.clock, &sam.account_id, &kim.user_id, Role::Developer).await.unwrap();
        tx.commit().await.unwrap();
        kim.account_id = sam.account_id.clone();
        let (key, _) = api_key::create(server, &sam, "laptop").await.unwrap();
        let (other, _) = api_key::create(server, &sam, "server").await.unwrap();
        alert::set_budget(server, &sam, Scope::ApiKey, key.api_key_id.as_str(), "10").await.unwrap();
        alert::set_budget(server, &sam, Scope::Member, kim.user_id.as_str(), "4").await.unwrap();

        spend_of(server, &sam, Some(&key.api_key_id), "4.99").await;
        spend_of(server, &sam, Some(&other.api_key_id), "9").await;
        spend_of(server, &sam, None, "9").await;
        spend_of(server, &kim, None, "1.99").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 0);
        spend_of(server, &kim, Some(&key.api_key_id), "0.01").await;
        assert_eq!(alert::sweep(server).await.unwrap(), 2, "one run that counts for both");
        let now = told(server, &sam).await;
        let titles: Vec<String> = now.iter().map(Notice::title).collect();
        assert!(titles.contains(&"50 % of the budget for the API key laptop is spent".to_owned()), "{titles:?}");
        assert!(titles.contains(&format!("50 % of the budget for {} is spent", kim.email)), "{titles:?}");

        // Another account's, one that is revoked, and nobody's.
        let stranger = buyer(world, 1).await;
        let (theirs, _) = api_key::create(server, &stranger, "theirs").await.unwrap();
        api_key::revoke(server, &sam, &other.api_key_id).await.unwrap();
        for (scope, id) in [
            (Scope::ApiKey, theirs.api_key_id.as_str()),
            (Scope::ApiKey, other.api_key_id.as_str()),
            (Scope::Member, stranger.user_id.as_str()),
            (Scope::Member, UserId::new("nobody").as_str()),
        ] {
            let refused = alert::set_budget(server, &sam, scope, id, "5").await.unwrap_err();
            assert_eq!(refused.denial().map(domain::denial::Denial::code), Some("not_found"), "{scope}");
        }
    })
    .await;
}

/// The sum is kept after some hundreds of postings and counted on from there: each run once, on any node, and anew in a month.
#[tokio::test]
async fn the_budget_of_an_api_key_counts_each_run_once_however_many_there_are() {
    each_database(async |world| {
        let server = &world.server;
        let node = world.node().await;
        let sam = buyer(world, 100).await;
        let (key, _) = api_key::create(server, &sam, "laptop").await.unwrap();
        alert::set_budget(server, &sam, Scope::ApiKey, key.api_key_id.as_str(), "50").await.unwrap();
        let spent = async |server: &Server| {
            let month = alert::load_month(server, &sam.account_id).await.unwrap();
            let budgets = alert::list_budgets(server, &sam.account_id).await.unwrap();
            month.spent(&budgets[0]).this_month.to_string()
        };
        for round in 1..=3 {
            futures::future::join_all((0..130).map(|_| spend_of(server, &sam, Some(&key.api_key_id), "0.01"))).await;
            let (here, there) = tokio::join!(spent(server), spent(&node));
            let expected = format!("${}.{:02}", round * 130 / 100, round * 130 % 100);
            assert_eq!((here, there), (expected.clone(), expected), "round {round}");
        }
        let kept: i64 = on_read!(world.db(), conn => {
            sqlx::query_scalar("select counted_seq from budget").fetch_one(conn).await
        })
        .unwrap();
        assert!(kept >= 500, "{kept}");
        world.clock.advance_seconds(17 * DAY);
        assert_eq!(spent(server).await, "$0.00");
        spend_of(server, &sam, Some(&key.api_key_id), "0.50").await;
        assert_eq!(spent(server).await, "$0.50");
        node.db.close().await;
    })
    .await;
}
