//! The trial with a card, which is a subscription with days that cost nothing.

use super::{DAY, standard};
use crate::shop::{GOOD_CARD, Shop};
use crate::support::each_database;
use domain::money::Cents;
use domain::subscription::SubscriptionStatus;
use domain::trial::AppealState;
use server::account::User;
use server::subscription::{self, Proposal};
use server::trial;

/// Spec §3: with a card 30 days and $10, then the chosen plan; one for each person and card.
#[tokio::test]
async fn a_trial_with_a_card_begins_with_its_subscription_and_converts() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (server, to) = (&shop.server, standard("pro", 1));
        let begin = async |user: &User, card: &str| {
            let id = shop.new_change();
            let proposal = subscription::propose_trial(server, user, &to, &id).await.unwrap();
            let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
            assert_eq!(shop.pay_page(&url, card).await.status, 303);
            shop.deliver().await;
            id
        };
        begin(&shop.buyer, GOOD_CARD).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Trialing)));
        assert_eq!(shop.spendable().await, "$10.00");
        assert_eq!(shop.invoices().await[0].paid, Cents(0), "nothing is paid today");
        let again = subscription::propose_trial(server, &shop.buyer, &to, &shop.new_change()).await.unwrap_err();
        assert_eq!(again.denial().unwrap().code(), "trial_not_offered");

        // Somebody else with the same card: refused and told so, and nothing is charged, now or later.
        let other = crate::shop::insert_user(world, world.account().await).await;
        let refused = begin(&other, GOOD_CARD).await;
        shop.deliver().await;
        assert_eq!(shop.change_state(&refused).await, "failed");
        assert_eq!(shop.at_stripe()["status"], "canceled");
        let mails = shop.sandbox.mail_to(&other.email);
        let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject.as_str()).collect();
        assert_eq!(subjects, ["Your Tokenbank trial did not begin"]);
        assert!(subscription::load_refusal(server, &other.account_id, &refused).await.unwrap().is_some());
        let current = subscription::load_current(server, &other.account_id).await.unwrap();
        assert_eq!((current.plan.as_str(), current.status), ("free", None));
        let told = server::notice::list(server, &other, None, 9).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].notice.remedy().1, "/limits?appeal=1#trial");

        // Three days before its end it is announced; the sweep that ends trials may be quicker than Stripe's news.
        shop.let_pass(26).await;
        assert_eq!(server::trial::remind_due(server).await.unwrap(), 0);
        shop.let_pass(1).await;
        assert_eq!(server::trial::remind_due(server).await.unwrap(), 1);
        shop.advance_seconds(3 * DAY);
        assert_eq!(server::trial::end_due(server).await.unwrap(), 1);
        assert_eq!(server::ledger::expire_due(server).await.unwrap(), 1);
        shop.let_pass(1).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Active)));
        assert_eq!(shop.trial_state(&shop.buyer).await, "converted");
        assert_eq!((shop.invoices().await[0].paid, shop.charged()), (Cents(900), 900));
        assert_eq!(shop.spendable().await, "$0.00", "what was left of the trial is gone");
        shop.check_books().await;
    })
    .await;
}

/// Whoever ends the plan during the trial pays nothing, and has the trial to its end as it was shown.
#[tokio::test]
async fn a_trial_with_a_card_that_is_ended_costs_nothing() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let id = shop.new_change();
        let to = standard("team", 1);
        let proposal = subscription::propose_trial(&shop.server, &shop.buyer, &to, &id).await.unwrap();
        let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        shop.let_pass(10).await;
        subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.cancels_at), ("team", Some(now.period.end)));
        assert_eq!(shop.spendable().await, "$10.00");
        shop.let_pass(21).await;
        server::trial::end_due(&shop.server).await.unwrap();
        server::ledger::expire_due(&shop.server).await.unwrap();
        assert_eq!((shop.current().await.plan.as_str(), shop.spendable().await.as_str()), ("free", "$0.00"));
        assert_eq!((shop.trial_state(&shop.buyer).await.as_str(), shop.charged()), ("ended", 0));
        shop.check_books().await;
    })
    .await;
}

/// Who was refused because of the card asks a person, and has the trial when that is granted.
#[tokio::test]
async fn an_appeal_about_a_card_gives_the_trial_that_was_refused() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let server = &shop.server;
        let begin = async |user: &User| {
            let id = shop.new_change();
            let proposal = subscription::propose_trial(server, user, &standard("pro", 1), &id).await.unwrap();
            let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
            assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
            shop.deliver().await;
            shop.deliver().await;
            shop.change_state(&id).await
        };
        let flatmate = crate::shop::insert_user(world, world.account().await).await;
        assert_eq!((begin(&shop.buyer).await.as_str(), begin(&flatmate).await.as_str()), ("done", "failed"));
        trial::appeal(server, &flatmate, "We share the card.").await.unwrap();
        assert_eq!(trial::load_appeal(server, &flatmate).await.unwrap(), Some(AppealState::Open));
        assert_eq!(begin(&flatmate).await, "failed", "nobody has answered");
        let appeal = trial::list_open(server).await.unwrap().swap_remove(0);
        trial::answer(server, &appeal.appeal_id, AppealState::Granted, "it").await.unwrap();
        assert_eq!(begin(&flatmate).await, "done");
        let current = subscription::load_current(server, &flatmate.account_id).await.unwrap();
        assert_eq!(current.status, Some(SubscriptionStatus::Trialing));
        assert_eq!(trial::load_appeal(server, &flatmate).await.unwrap(), Some(AppealState::Used));
        shop.check_books().await;
    })
    .await;
}
