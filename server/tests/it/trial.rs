//! Trials: one for each person, card and account; announced once; their credit expires; and appeals.

use crate::mailbox::with_mailbox;
use crate::shop::insert_user;
use crate::support::{World, each_database};
use domain::catalogue::{Catalogue, TrialKind};
use domain::id::PlanId;
use domain::money::Usd;
use domain::provider::Provider;
use domain::trial::AppealState;
use server::account::{Role, User};
use server::error::Result;
use server::job::run_jobs_until_idle;
use server::ledger::{self, expire_due, load_balance};
use server::provider_key::{self, Change, NewKey};
use server::trial::{self, Beginner};
use server::{Server, allowance, entitlement, on_read, on_tx};
use std::sync::Arc;

async fn user(world: &World, email: &str) -> User {
    let user = insert_user(world, world.account().await).await;
    let mut tx = world.db().begin().await.unwrap();
    on_tx!(&mut tx, conn => {
        sqlx::query("update \"user\" set email = $1 where user_id = $2")
            .bind(email)
            .bind(&user.user_id)
            .execute(conn)
            .await
            .map(drop)
    })
    .unwrap();
    tx.commit().await.unwrap();
    User { email: email.to_owned(), ..user }
}

fn code<T>(outcome: &Result<T>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(error) => error.denial().map_or("internal", |denial| denial.code()),
    }
}

async fn begin(server: &Server, user: &User) -> &'static str {
    code(&trial::start(server, user, TrialKind::Managed, None).await)
}

async fn trial_credit(server: &Server, user: &User) -> String {
    load_balance(server, &user.account_id).await.unwrap().trial.to_string()
}

async fn state_of(server: &Server, user: &User) -> String {
    on_read!(&server.db, conn => {
        sqlx::query_scalar("select state from trial where account_id = $1")
            .bind(&user.account_id)
            .fetch_one(conn)
            .await
    })
    .unwrap()
}

async fn assert_clean(server: &Server) {
    assert_eq!(ledger::check(&server.db).await.unwrap(), []);
}

#[tokio::test]
async fn a_person_has_one_trial_however_they_write_their_address() {
    each_database(async |world| {
        let server = &world.server;
        let sam = user(world, "sam.field@gmail.com").await;
        assert_eq!(trial::list_offers(server, &sam).await.unwrap().1, None);
        assert_eq!(begin(server, &sam).await, "ok");
        assert_eq!(trial_credit(server, &sam).await, "$5.00");
        let now = entitlement::load(server, &sam.account_id).await.unwrap().trial.unwrap();
        assert_eq!((now.kind, now.ends_at), (TrialKind::Managed, world.clock.now().plus_seconds(14 * 86_400)));
        assert_eq!(now.credit_left, Usd::from_dollars(5).unwrap());

        assert_eq!(begin(server, &sam).await, "trial_taken");
        let again = user(world, "samfield+again@googlemail.com").await;
        assert_eq!(begin(server, &again).await, "trial_taken");
        assert!(trial::list_offers(server, &again).await.unwrap().1.is_some());
        let colleague = User { email: "kim@example.test".to_owned(), ..sam.clone() };
        assert_eq!(begin(server, &colleague).await, "trial_taken", "the account has had one");
        assert_eq!(begin(server, &user(world, "kim@example.test").await).await, "ok");
        assert_clean(server).await;
    })
    .await;
}

#[tokio::test]
async fn two_that_begin_at_once_are_one_trial() {
    each_database(async |world| {
        let (a, b) = (user(world, "sam@example.test").await, user(world, "sam+b@example.test").await);
        let node = world.node().await;
        let (first, second) = tokio::join!(begin(&world.server, &a), begin(&node, &b));
        let mut said = [first, second];
        said.sort_unstable();
        assert_eq!(said, ["ok", "trial_taken"]);
        assert_clean(&world.server).await;
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn only_who_may_buy_begins_one_and_only_where_it_is_offered() {
    each_database(async |world| {
        let server = &world.server;
        let viewer = User { role: Role::Viewer, ..user(world, "vi@example.test").await };
        assert_eq!(begin(server, &viewer).await, "role_may_not");
        let unsure = User { email_verified: false, ..user(world, "un@example.test").await };
        assert_eq!(begin(server, &unsure).await, "trial_not_offered");
        let sam = user(world, "sam@example.test").await;
        assert_eq!(code(&trial::start(server, &sam, TrialKind::ManagedWithCard, None).await), "trial_not_offered");
        let kinds = async || -> Vec<TrialKind> {
            trial::list_offers(server, &sam).await.unwrap().0.iter().map(|offer| offer.kind).collect()
        };
        assert_eq!(kinds().await, TrialKind::ALL);
        let off = Catalogue { managed_trials: false, ..(*server.catalogue.load_full()).clone() };
        server.catalogue.store(Arc::new(off));
        assert_eq!(begin(server, &sam).await, "trial_not_offered");
        assert_eq!(kinds().await, [TrialKind::OwnKey], "the switch is for the trials that we pay for");
        assert_eq!(trial_credit(server, &sam).await, "$0.00");
    })
    .await;
}

#[tokio::test]
async fn its_end_is_announced_once_and_what_is_left_expires() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let sam = user(world, "sam@example.test").await;
        assert_eq!(begin(&server, &sam).await, "ok");
        world.clock.advance_seconds(11 * 86_400 - 1);
        assert_eq!(trial::remind_due(&server).await.unwrap(), 0);
        world.clock.advance_seconds(1);
        assert_eq!(trial::remind_due(&server).await.unwrap(), 1);
        assert_eq!(trial::remind_due(&server).await.unwrap(), 0, "once");
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].contains("To: sam@example.test"), "{}", mails[0]);
        assert!(mails[0].contains("Subject: Your Tokenbank trial ends on 29 Jan 2027"), "{}", mails[0]);
        assert!(mails[0].contains("nothing can be charged"), "{}", mails[0]);

        assert_eq!(trial::end_due(&server).await.unwrap(), 0);
        world.clock.advance_seconds(3 * 86_400);
        assert!(entitlement::load(&server, &sam.account_id).await.unwrap().trial.is_none(), "before any sweep");
        assert_eq!(expire_due(&server).await.unwrap(), 1);
        assert_eq!(trial::end_due(&server).await.unwrap(), 1);
        assert_eq!(trial::end_due(&server).await.unwrap(), 0);
        assert_eq!(trial_credit(&server, &sam).await, "$0.00");
        assert_eq!(begin(&server, &sam).await, "trial_taken", "for good");
        assert_clean(&server).await;
    })
    .await;
}

#[tokio::test]
async fn an_appeal_that_is_granted_is_one_more_trial() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let sam = user(world, "sam@example.test").await;
        assert_eq!(begin(&server, &sam).await, "ok");
        world.clock.advance_seconds(14 * 86_400);
        assert_eq!((trial::end_due(&server).await.unwrap(), expire_due(&server).await.unwrap()), (1, 1));

        assert_eq!(code(&trial::appeal(&server, &sam, "  ").await), "invalid");
        assert_eq!(code(&trial::appeal(&server, &sam, &"x".repeat(1_001)).await), "invalid");
        assert_eq!(code(&trial::appeal(&server, &sam, "My team tried it, I did not.").await), "ok");
        assert_eq!(code(&trial::appeal(&server, &sam, "Please").await), "conflict");
        assert_eq!(begin(&server, &sam).await, "trial_taken", "nobody has answered");
        let open = trial::list_open(&server).await.unwrap();
        assert_eq!(
            (open[0].email.as_str(), open[0].reason.as_str()),
            ("sam@example.test", "My team tried it, I did not.")
        );
        trial::answer(&server, &open[0].appeal_id, AppealState::Granted, "it").await.unwrap();
        assert_eq!(code(&trial::answer(&server, &open[0].appeal_id, AppealState::Refused, "it").await), "not_found");
        run_jobs_until_idle(&server).await.unwrap();
        assert!(mailbox.take()[0].contains("Subject: You may begin another trial"));

        assert_eq!(trial::list_offers(&server, &sam).await.unwrap().1, None);
        assert_eq!(begin(&server, &sam).await, "ok");
        assert_eq!(trial_credit(&server, &sam).await, "$5.00");
        assert_eq!(begin(&server, &sam).await, "trial_taken", "one more, not two");
        assert_clean(&server).await;
    })
    .await;
}

#[tokio::test]
async fn a_card_has_one_trial_and_it_converts() {
    each_database(async |world| {
        let server = &world.server;
        let (sam, kim) = (user(world, "sam@example.test").await, user(world, "kim@example.test").await);
        let ends_at = world.clock.now().plus_seconds(30 * 86_400);
        let with_card = async |user: &User| {
            let beginner = Beginner {
                account_id: user.account_id.clone(),
                user_id: user.user_id.clone(),
                email: user.email.clone(),
                plan: PlanId::new("pro"),
            };
            let mut tx = world.db().begin().await.unwrap();
            let outcome = trial::begin_with_card(&mut tx, server, beginner, (Some("card-1"), ends_at)).await;
            if outcome.is_ok() {
                tx.commit().await.unwrap();
            }
            code(&outcome)
        };
        assert_eq!(with_card(&sam).await, "ok");
        assert_eq!(with_card(&kim).await, "trial_taken", "the same card");
        assert_eq!(trial_credit(server, &sam).await, "$10.00");
        assert_eq!(trial_credit(server, &kim).await, "$0.00");

        // Also when the sweep found its time over before Stripe told, and only the trial that Stripe speaks of.
        world.clock.advance_seconds(30 * 86_400);
        assert_eq!(trial::end_due(server).await.unwrap(), 1);
        for (of, expected) in [(ends_at.plus_seconds(1), "ended"), (ends_at, "converted"), (ends_at, "converted")] {
            let mut tx = world.db().begin().await.unwrap();
            trial::convert(&mut tx, &world.clock, &sam.account_id, of).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(state_of(server, &sam).await, expected);
        }
        assert!(entitlement::load(server, &sam.account_id).await.unwrap().trial.is_none());
        assert_eq!(expire_due(server).await.unwrap(), 1);
        assert_clean(server).await;
    })
    .await;
}

/// Spec §3: with one's own key 30 days, all models. It needs a key that works, and no money is granted.
#[tokio::test]
async fn the_trial_with_an_own_key_needs_one_and_gives_the_plans_limits() {
    each_database(async |world| {
        let server = &world.server;
        let sam = user(world, "sam@example.test").await;
        let start = async |plan: Option<&str>| {
            let plan = plan.map(PlanId::new);
            code(&trial::start(server, &sam, TrialKind::OwnKey, plan.as_ref()).await)
        };
        assert_eq!(start(None).await, "no_usable_key");
        // Nobody answers at the provider, so nothing is known of the key, and it is tried.
        let new = NewKey {
            provider: Provider::Anthropic,
            secret: "sk-ant-api03-a-key-of-sams-own-0001-AbCd",
            url: "",
            label: "mine",
            replaces: None,
        };
        let key = provider_key::save(server, &sam, new).await.unwrap();
        let switch = async |is_enabled: bool| {
            let change = Change {
                label: "mine",
                allowed_models: Vec::new(),
                allowed_agents: Vec::new(),
                is_enabled,
                is_first: false,
                expires_at: None,
            };
            provider_key::change(server, &sam, &key.id, change).await.unwrap();
        };
        switch(false).await;
        assert_eq!(start(None).await, "no_usable_key", "one that is switched off");
        switch(true).await;
        assert_eq!(start(Some("free")).await, "trial_not_offered", "with this plan");

        assert_eq!(start(Some("team")).await, "ok");
        assert_eq!(trial_credit(server, &sam).await, "$0.00");
        let now = entitlement::load(server, &sam.account_id).await.unwrap();
        let trial = now.trial.unwrap();
        assert_eq!((trial.kind, trial.ends_at), (TrialKind::OwnKey, world.clock.now().plus_seconds(30 * 86_400)));
        assert_eq!((now.plan.as_str(), now.running_agents, now.log_retention_hours), ("team", None, 2_160));
        let standing = allowance::load(server, &sam.account_id).await.unwrap();
        assert_eq!(standing.own.id.as_str(), "free", "the allowance stays that of the account's plan");
        assert_eq!(start(None).await, "trial_taken");
        assert_eq!(begin(server, &sam).await, "trial_taken", "one for each person, of whatever kind");

        world.clock.advance_seconds(30 * 86_400);
        let now = entitlement::load(server, &sam.account_id).await.unwrap();
        assert_eq!((now.plan.as_str(), now.trial), ("free", None));
        assert_eq!(trial::end_due(server).await.unwrap(), 1);
        assert_clean(server).await;
    })
    .await;
}
