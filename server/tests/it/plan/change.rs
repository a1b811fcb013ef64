//! Changing a plan that one has: more at once, less later, cancelling, and what is refused before anything changes.

use super::{standard, terms};
use crate::shop::{NO_FUNDS_CARD, Shop};
use crate::support::each_database;
use domain::denial::Denial;
use domain::id::PlanChangeId;
use domain::money::Cents;
use domain::proration::{self, Item};
use domain::provider::Provider;
use domain::subscription::{Change, KeyMode, SubscriptionStatus};
use server::account::{Role, User};
use server::provider_key::{self, NewKey};
use server::stripe::plan::InvoiceStatus;
use server::subscription::{self, Proposal};

/// The three changes that `domain::proration` computes by hand, at Stripe and here.
#[tokio::test]
async fn an_upgrade_is_charged_now_to_the_cent_that_was_shown() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let period = shop.current().await.period;
        shop.let_pass(10).await;
        let (id, proposal) = shop.propose(&standard("team", 3)).await;
        assert_eq!(proposal, Proposal::Confirm);
        assert_eq!(shop.current().await.plan.as_str(), "pro", "a preview changes nothing");
        let preview = subscription::load_preview(&shop.server, &shop.buyer, &id).await.unwrap().unwrap();
        let item = |unit, quantity| Item { unit: Cents(unit), quantity };
        let expected = proration::lines(item(900, 1), item(2_900, 3), period, shop.server.clock.now()).unwrap();
        let shown: Vec<Cents> = preview.invoice.lines.iter().map(|line| line.amount).collect();
        assert_eq!(shown, expected.iter().map(|line| line.amount).collect::<Vec<_>>());
        assert_eq!((preview.change, preview.month), (Change::Now, Cents(8_700)));
        assert_eq!(preview.invoice.due, proration::total(&expected).unwrap());

        // Twice at once, and once more.
        let confirm = || subscription::confirm(&shop.server, &shop.buyer, &id);
        let (one, two) = tokio::join!(confirm(), confirm());
        one.and(two).unwrap();
        confirm().await.unwrap();
        shop.deliver().await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.seats, now.period), ("team", 3, period));
        let invoices = shop.invoices().await;
        assert_eq!(invoices.len(), 2, "charged once");
        let charged = invoices.iter().find(|invoice| invoice.reason.as_deref() == Some("subscription_update")).unwrap();
        assert_eq!((charged.status, charged.paid), (InvoiceStatus::Paid, preview.invoice.due));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn less_comes_when_the_paid_period_ends_and_can_be_taken_back() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("team", 2)).await;
        shop.let_pass(5).await;
        shop.change(&standard("pro", 1)).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.seats), ("team", 2), "what was paid is had");
        let live = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap().live.unwrap();
        assert_eq!((live.billed, live.had), (standard("pro", 1), standard("team", 2)));
        let denied = shop.denied(&standard("team", 5)).await;
        assert!(matches!(&denied, Denial::Conflict { problem } if problem.contains("smaller plan")), "{denied:?}");

        // Taken back, and chosen again.
        shop.change(&standard("team", 2)).await;
        let live = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap().live.unwrap();
        assert_eq!((&live.billed, &live.had), (&live.had, &standard("team", 2)));
        shop.change(&standard("pro", 1)).await;
        shop.let_pass(28).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.seats, now.status), ("pro", 1, Some(SubscriptionStatus::Active)));
        let totals: Vec<i64> = shop.invoices().await.iter().map(|invoice| invoice.paid.0).collect();
        assert_eq!(totals, [900, 5_800], "no proration for less");
    })
    .await;
}

#[tokio::test]
async fn fewer_seats_are_a_credit_on_the_next_invoice() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("team", 4)).await;
        let period = shop.current().await.period;
        shop.let_pass(10).await;
        shop.change(&standard("team", 2)).await;
        assert_eq!(shop.current().await.seats, 2);
        let at = shop.server.clock.now();
        let item = |quantity| Item { unit: Cents(2_900), quantity };
        let credit = proration::total(&proration::lines(item(4), item(2), period, at).unwrap()).unwrap();
        shop.let_pass(25).await;
        let invoices = shop.invoices().await;
        assert_eq!((invoices.len(), invoices[0].total), (2, Cents(5_800 + credit.0)));
        assert_eq!(invoices[0].lines.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn cancelling_keeps_the_plan_until_its_period_ends_and_can_be_undone() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let form = shop.new_change();
        subscription::cancel(&shop.server, &shop.buyer, &form).await.unwrap();
        subscription::cancel(&shop.server, &shop.buyer, &form).await.unwrap();
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.cancels_at), ("pro", Some(now.period.end)));
        let denied = shop.denied(&standard("team", 1)).await;
        assert!(matches!(&denied, Denial::Conflict { problem } if problem.contains("Resume")), "{denied:?}");
        subscription::resume(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        assert_eq!(shop.current().await.cancels_at, None);

        subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        shop.let_pass(32).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status, now.seats), ("free", None, 1));
        assert_eq!(shop.invoices().await.len(), 1);
        assert!(
            shop.sandbox.mail_to(&shop.buyer.email).iter().any(|mail| mail.subject == "Your Tokenbank plan has ended")
        );
        // And back again.
        shop.subscribe(&standard("pro", 1)).await;
        assert_eq!(shop.current().await.plan.as_str(), "pro");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_had_is_denied_before_anything_changes() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.add_members(2).await;
        assert_eq!(shop.denied(&standard("team", 2)).await.code(), "invalid", "seats below members");
        assert_eq!(shop.denied(&standard("pro", 1)).await.code(), "invalid", "members above a plan for one");
        assert_eq!(shop.denied(&standard("gratis", 1)).await.code(), "not_found");
        assert_eq!(shop.denied(&standard("enterprise", 3)).await.code(), "not_found", "by agreement");
        assert_eq!(shop.denied(&terms("team", KeyMode::Byok, 3)).await, Denial::NoUsableKey);
        let viewer = User { role: Role::Viewer, ..shop.buyer.clone() };
        let denied = shop.propose_as(&viewer, &standard("team", 3)).await.unwrap_err();
        assert_eq!(denied.denial().unwrap().status(), 403);
        for bad in ["", "1", "../../x"] {
            let denied =
                subscription::propose(&shop.server, &shop.buyer, &standard("team", 3), &PlanChangeId::new(bad)).await;
            assert_eq!(denied.unwrap_err().denial().unwrap().code(), "invalid", "{bad}");
        }
        let frozen = "update account set frozen_reason = 'a dispute', frozen_at = 1 where account_id = $1";
        shop.tamper(frozen, shop.buyer.account_id.as_str()).await;
        assert_eq!(shop.denied(&standard("team", 3)).await.code(), "account_frozen");
        assert!(shop.sandbox.billed("subscription").is_empty());

        // A swap without a key is refused on a running subscription too.
        shop.tamper("update account set frozen_reason = null where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        shop.subscribe(&standard("team", 3)).await;
        assert_eq!(shop.denied(&terms("team", KeyMode::Byok, 3)).await, Denial::NoUsableKey);
        assert_eq!(shop.denied(&standard("team", 2)).await.code(), "invalid");
        shop.add_members(1).await;
        subscription::sync_seats(&shop.server, &shop.buyer.account_id).await.unwrap();
        subscription::sync_seats(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!(shop.current().await.seats, 4, "seats follow members");
        assert_eq!(shop.at_stripe()["items"]["data"][0]["quantity"], 4);
    })
    .await;
}

#[tokio::test]
async fn a_stale_preview_is_refused_and_a_declined_upgrade_changes_nothing() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let confirm = async |id: &PlanChangeId| {
            let refused = subscription::confirm(&shop.server, &shop.buyer, id).await.unwrap_err();
            refused.denial().cloned().unwrap().code()
        };
        let (old, _) = shop.propose(&standard("team", 2)).await;
        shop.advance_seconds(1_801);
        assert_eq!(confirm(&old).await, "conflict", "too old");
        let (other, _) = shop.propose(&standard("team", 2)).await;
        shop.advance_seconds(60);
        shop.change(&standard("team", 4)).await;
        assert_eq!(confirm(&other).await, "conflict", "the plan has changed since");
        assert_eq!(confirm(&other).await, "conflict", "and it stays refused");
        assert_eq!((shop.current().await.seats, shop.invoices().await.len()), (4, 2));

        shop.sandbox.set_card(&shop.customer(), NO_FUNDS_CARD);
        shop.deliver().await;
        let (declined, _) = shop.propose(&standard("team", 9)).await;
        assert_eq!(confirm(&declined).await, "payment_declined");
        shop.deliver().await;
        let now = shop.current().await;
        assert_eq!((now.seats, now.status), (4, Some(SubscriptionStatus::Active)));
        assert_eq!(shop.at_stripe()["items"]["data"][0]["quantity"], 4);
        assert_eq!(shop.invoices().await.len(), 2);

        let theirs = User { account_id: domain::id::AccountId::new("another"), ..shop.buyer.clone() };
        let refused = subscription::confirm(&shop.server, &theirs, &old).await.unwrap_err();
        assert_eq!(refused.denial().unwrap().code(), "not_found");
    })
    .await;
}

/// What a change costs was shown for the plan as it stood, so of several that are confirmed in one moment, on two nodes, one
/// is made and costs what it showed.
#[tokio::test]
async fn of_two_changes_that_are_confirmed_at_once_one_is_made_at_its_own_price() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (node, _) = shop.node().await;
        shop.subscribe(&standard("pro", 1)).await;
        shop.let_pass(3).await;
        let mut shown = Vec::new();
        for seats in [2, 5, 3, 4] {
            let (id, proposal) = shop.propose(&standard("team", seats)).await;
            assert_eq!(proposal, Proposal::Confirm);
            let preview = subscription::load_preview(&shop.server, &shop.buyer, &id).await.unwrap().unwrap();
            shown.push((id, seats, preview.invoice.due));
        }
        let confirm = shown.iter().enumerate().map(|(at, (id, ..))| {
            subscription::confirm(if at % 2 == 0 { &shop.server } else { &node }, &shop.buyer, id)
        });
        let outcomes = futures::future::join_all(confirm).await;
        let made: Vec<usize> = (0..shown.len()).filter(|at| outcomes[*at].is_ok()).collect();
        assert_eq!(made.len(), 1, "{outcomes:?}");
        for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(refused.denial().unwrap().code(), "conflict");
        }
        shop.deliver().await;
        let (_, seats, due) = &shown[made[0]];
        assert_eq!(
            (shop.current().await.seats, shop.at_stripe()["items"]["data"][0]["quantity"].as_u64()),
            (*seats, Some(u64::from(*seats)))
        );
        let paid: Vec<Cents> = shop.invoices().await.iter().map(|invoice| invoice.paid).collect();
        assert_eq!(paid.len(), 2, "{paid:?}");
        assert!(paid.contains(due), "what it showed is what it cost: {paid:?}, {due:?}");
        // The others were for a plan that is not there any more.
        for (at, (id, ..)) in shown.iter().enumerate().filter(|(at, _)| *at != made[0]) {
            let refused = subscription::confirm(&shop.server, &shop.buyer, id).await.unwrap_err();
            assert_eq!(refused.denial().unwrap().code(), "conflict", "{at}");
        }
        assert_eq!(shop.invoices().await.len(), 2);
        node.db.close().await;
        shop.check_books().await;
    })
    .await;
}

/// The same form sent four times at once is one proposal, and its preview is the same for whoever looks.
#[tokio::test]
async fn a_change_proposed_several_times_at_once_is_one_proposal() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        shop.let_pass(2).await;
        let (id, to) = (shop.new_change(), standard("team", 2));
        let clicks = (0..4).map(|_| subscription::propose(&shop.server, &shop.buyer, &to, &id));
        let said = futures::future::try_join_all(clicks).await.unwrap();
        assert_eq!(said, vec![Proposal::Confirm; 4]);
        let looks = (0..3).map(|_| subscription::load_preview(&shop.server, &shop.buyer, &id));
        let seen = futures::future::try_join_all(looks).await.unwrap();
        let due: Vec<_> = seen.iter().map(|preview| preview.as_ref().unwrap().invoice.due).collect();
        assert!(due.iter().all(|amount| *amount == due[0]), "{due:?}");
        let other = subscription::propose(&shop.server, &shop.buyer, &standard("team", 9), &id).await.unwrap_err();
        assert_eq!(other.denial().unwrap().code(), "conflict", "the same form for something else");
        let clicks = (0..4).map(|_| subscription::confirm(&shop.server, &shop.buyer, &id));
        futures::future::try_join_all(clicks).await.unwrap();
        shop.deliver().await;
        let invoices = shop.invoices().await;
        assert_eq!((invoices.len(), shop.charged()), (2, 900 + due[0].0), "charged once");
        shop.check_books().await;
    })
    .await;
}

/// Somebody joins while the owner moves the plan to own keys: the seat that follows does not bring the old price back.
#[tokio::test]
async fn a_new_member_and_a_change_of_plan_at_once_do_not_undo_each_other() {
    each_database(async |world| {
        for round in 0..3 {
            let shop = Shop::open_with_plans(world).await;
            let (node, _) = shop.node().await;
            shop.subscribe(&standard("team", 2)).await;
            shop.let_pass(2).await;
            let secret = "sk-ant-api03-a-key-of-the-buyers-own-AbCd";
            let new = NewKey { provider: Provider::Anthropic, secret, url: "", label: "", replaces: None };
            provider_key::save(&shop.server, &shop.buyer, new).await.unwrap();
            let (id, _) = shop.propose(&terms("team", KeyMode::Byok, 4)).await;
            shop.add_members(2).await;
            let account_id = &shop.buyer.account_id;
            let change = subscription::confirm(&shop.server, &shop.buyer, &id);
            let seats = subscription::sync_seats(&node, account_id);
            let (changed, seated) = if round == 1 {
                let (seated, changed) = tokio::join!(seats, change);
                (changed, seated)
            } else {
                tokio::join!(change, seats)
            };
            for refused in [&changed, &seated].into_iter().filter_map(|outcome| outcome.as_ref().err()) {
                assert_eq!(refused.denial().unwrap().code(), "conflict");
            }
            assert!(changed.is_ok() || seated.is_ok());
            subscription::sync_seats(&node, account_id).await.unwrap();
            shop.deliver().await;
            let now = shop.current().await;
            let expected = if changed.is_ok() { (KeyMode::Byok, 4) } else { (KeyMode::Standard, 3) };
            assert_eq!((now.key_mode, now.seats), expected, "round {round}");
            node.db.close().await;
            shop.check_books().await;
        }
    })
    .await;
}

/// A server that is lost in the middle of a change closes the plan to others for some minutes, not for good.
#[tokio::test]
async fn a_change_that_was_lost_in_the_middle_closes_the_plan_for_some_minutes() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let (id, _) = shop.propose(&standard("team", 2)).await;
        let lost = "update subscription set changing_by = 'lost', changing_until = refreshed_at + 300000000 where account_id = $1";
        shop.tamper(lost, shop.buyer.account_id.as_str()).await;
        let refused = subscription::confirm(&shop.server, &shop.buyer, &id).await.unwrap_err();
        assert!(refused.to_string().contains("at this moment"), "{refused}");
        shop.advance_seconds(301);
        subscription::confirm(&shop.server, &shop.buyer, &id).await.unwrap();
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "team");
    })
    .await;
}
