//! Disputes through all their states, and early fraud warnings.

use crate::ledger::{capture, code, hold, void};
use crate::shop::Shop;
use crate::support::each_database;
use domain::funding::{Funding, Payer};
use domain::money::Usd;
use sandbox::{DisputeState, NewDispute};
use server::ledger::NewHold;
use server::stripe::money_back::{DisputeId, WarningId};
use server::{dispute, freeze, on_read};

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

fn whole(payment: &str) -> NewDispute {
    NewDispute { payment_intent: payment.to_owned(), amount: None, inquiry: false }
}

#[tokio::test]
async fn a_dispute_freezes_takes_back_and_is_undone_when_it_is_won() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-50").await).await;
        let held = shop.hold("running", "10").await.unwrap();
        let id = shop.sandbox.open_dispute(&whole(&payment)).unwrap();
        shop.deliver().await;
        // $45 are taken; the run keeps its $10, which are owed.
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "−$10.00"));
        assert_eq!(shop.frozen().await, ["dispute", "owed"]);
        assert_eq!(code(&shop.hold("new", "0.01").await), "account_frozen");
        shop.check_books().await;
        // What is under way is finished.
        capture(&shop.ledger(), held, usd("4").nanos()).await.unwrap();
        shop.check_books().await;

        assert!(shop.sandbox.advance_dispute(&id, DisputeState::UnderReview));
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["dispute", "owed"]);
        assert!(shop.sandbox.advance_dispute(&id, DisputeState::Won));
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$51.00", "$0.00"));
        assert_eq!(shop.frozen().await, [""; 0]);
        let held = shop.hold("again", "51").await.unwrap();
        void(&shop.ledger(), held).await.unwrap();
        assert_eq!(dispute::list(&shop.server, &shop.buyer.account_id).await.unwrap()[0].state, DisputeState::Won);
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_dispute_is_final_and_what_was_spent_stays_owed_until_it_is_paid() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.spend("a", "7").await;
        let id = shop.sandbox.open_dispute(&whole(&payment)).unwrap();
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "−$7.00"));
        // While it is open, nothing is bought.
        let pack = domain::id::PackId::new("pack-10");
        let refused = server::purchase::start(&shop.server, &shop.buyer, &pack, shop.new_id()).await;
        assert_eq!(code(&refused), "account_frozen");

        assert!(shop.sandbox.advance_dispute(&id, DisputeState::Lost));
        shop.deliver().await;
        assert_eq!((shop.receivable().await.as_str(), shop.frozen().await), ("−$7.00", vec!["owed"]));
        assert!(!shop.sandbox.advance_dispute(&id, DisputeState::Won), "final");
        shop.check_books().await;
        shop.buy("pack-10").await;
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$3.00", "$0.00"));
        assert_eq!(shop.frozen().await, [""; 0]);
        shop.check_books().await;
    })
    .await;
}

/// Every order and number of the events comes to the same, on two nodes.
#[tokio::test]
async fn events_of_a_dispute_in_any_order_come_to_the_same() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, node_url) = shop.node().await;
        for (round, end) in [DisputeState::Won, DisputeState::Lost].into_iter().enumerate() {
            let payment = shop.payment_of(&shop.buy("pack-10").await).await;
            let known = shop.sandbox.stripe_events().len();
            let new = NewDispute { amount: Some(575), ..whole(&payment) };
            let id = shop.sandbox.open_dispute(&new).unwrap();
            assert!(shop.sandbox.advance_dispute(&id, DisputeState::UnderReview));
            let events = shop.sandbox.stripe_events().split_off(known);
            let post = async |events: Vec<serde_json::Value>| {
                for (place, event) in events.iter().enumerate() {
                    let url = if place % 2 == 0 { &shop.webhook_url } else { &node_url };
                    assert_eq!(shop.post_event(url, event).await, 200);
                    let (here, there) = tokio::join!(
                        server::job::run_jobs_until_idle(&shop.server),
                        server::job::run_jobs_until_idle(&node)
                    );
                    here.and(there).unwrap();
                }
            };
            post(events.iter().rev().cloned().collect()).await;
            let expected = if round == 0 { "$5.00" } else { "$15.00" };
            assert_eq!(shop.spendable().await, expected, "half of it is disputed");
            assert!(shop.sandbox.advance_dispute(&id, end));
            let mut all = shop.sandbox.stripe_events().split_off(known);
            all.rotate_left(2);
            all.extend(events.clone());
            post(all).await;
            assert_eq!(shop.spendable().await, if round == 0 { "$10.00" } else { "$15.00" });
            assert_eq!(shop.frozen().await, [""; 0]);
            shop.check_books().await;
            // Old readings that are still under way change nothing.
            dispute::refresh(&node, &DisputeId::new(id)).await.unwrap();
            shop.check_books().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_inquiry_freezes_and_takes_nothing() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let id = shop.sandbox.open_dispute(&NewDispute { inquiry: true, ..whole(&payment) }).unwrap();
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$10.00", vec!["dispute"]));
        assert_eq!(shop.offered().await, 0, "a payment in question is not refunded");
        assert!(shop.sandbox.advance_dispute(&id, DisputeState::WarningClosed));
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$10.00", vec![]));
        // Or it becomes a dispute.
        let id = shop.sandbox.open_dispute(&NewDispute { inquiry: true, ..whole(&payment) }).unwrap();
        assert!(shop.sandbox.advance_dispute(&id, DisputeState::NeedsResponse));
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$0.00", vec!["dispute"]));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_fraud_warning_freezes_until_the_payment_is_back() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.sandbox.warn_of_fraud(&payment).unwrap();
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$10.00", vec!["fraud_warning"]));
        assert_eq!(code(&shop.hold("a", "1").await), "account_frozen");
        shop.refund_at_stripe(&payment, 1_150).unwrap();
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$0.00", vec![]));
        shop.check_books().await;
        // Or until it is a dispute, which freezes by itself.
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.sandbox.warn_of_fraud(&payment).unwrap();
        shop.sandbox.open_dispute(&whole(&payment)).unwrap();
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["dispute"]);
        shop.check_books().await;
    })
    .await;
}

/// A dispute names no customer, only a payment; one that is nobody's is kept and reported, and nothing else happens.
#[tokio::test]
async fn a_dispute_without_a_customer_is_kept_and_reported() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.buy("pack-10").await;
        let form = "amount=500&currency=usd&payment_method=pm_card_visa&confirm=true&payment_method_types[0]=card";
        let nobodys = shop.call_stripe("payment_intents", form.to_owned()).await["id"].as_str().unwrap().to_owned();
        let named = format!("{form}&metadata[purchase_id]=gone");
        let gone = shop.call_stripe("payment_intents", named).await["id"].as_str().unwrap().to_owned();
        for payment in [&nobodys, &gone] {
            shop.sandbox.open_dispute(&whole(payment)).unwrap();
            shop.sandbox.warn_of_fraud(payment).unwrap();
            shop.sandbox.edit("/v1/refunds", &format!("payment_intent={payment}")).unwrap_err();
        }
        shop.deliver().await;
        let events = shop.events().await;
        let failed: Vec<_> = events.iter().filter(|(kind, ..)| kind.starts_with("charge.dispute")).collect();
        assert_eq!(failed.len(), 4, "{events:?}");
        assert!(failed.iter().all(|(_, state, problem)| state == "failed" && problem.is_some()), "{failed:?}");
        let stored: Vec<(Option<String>, String, Option<String>)> = on_read!(&shop.server.db, conn => {
            sqlx::query_as("select account_id, state, problem from dispute").fetch_all(conn).await
        })
        .unwrap();
        assert_eq!(stored.len(), 2);
        assert!(
            stored.iter().all(|(account, state, problem)| {
                account.is_none() && state == "needs_response" && problem.is_some()
            })
        );
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$10.00", vec![]));
        shop.check_books().await;
    })
    .await;
}

/// A payment for something else, such as a plan, freezes its customer's account, and no credit is taken.
#[tokio::test]
async fn a_dispute_of_another_payment_of_a_customer_freezes_the_account() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let customer = shop.sandbox.stripe_object(&payment).unwrap()["customer"].as_str().unwrap().to_owned();
        let form = format!(
            "amount=900&currency=usd&customer={customer}&payment_method=pm_card_visa&confirm=true\
             &payment_method_types[0]=card"
        );
        let plan = shop.call_stripe("payment_intents", form).await["id"].as_str().unwrap().to_owned();
        let id = shop.sandbox.open_dispute(&whole(&plan)).unwrap();
        shop.deliver().await;
        assert_eq!((shop.spendable().await.as_str(), shop.frozen().await), ("$10.00", vec!["dispute"]));
        assert!(shop.sandbox.advance_dispute(&id, DisputeState::Lost));
        shop.deliver().await;
        assert_eq!(shop.frozen().await, [""; 0]);
        // A refund of it is no news for the credit.
        let other = shop.refund_at_stripe(&plan, 900);
        assert!(other.is_err(), "charged back");
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn running_work_is_finished_from_its_hold_while_frozen() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let ledger = shop.ledger();
        let mut held = hold(&ledger, shop.new_hold("a", usd("2"))).await.unwrap();
        shop.sandbox.warn_of_fraud(&payment).unwrap();
        shop.deliver().await;
        ledger.renew(&mut held, shop.server.clock.now().plus_seconds(1_200)).await.unwrap();
        let finished = capture(&ledger, held, usd("1.5").nanos()).await.unwrap();
        assert_eq!((finished.charged, shop.spendable().await.as_str()), (usd("1.5"), "$8.50"));
        shop.check_books().await;
    })
    .await;
}

/// What is owed is about money alone: runs on the account's own keys spend none of ours and go on; every other freeze stops
/// them as well.
#[tokio::test]
async fn a_freeze_for_debt_leaves_runs_on_own_keys() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.spend("a", "7").await;
        let own = async |id: &str| {
            let funding = Funding { payers: vec![Payer::OwnKey], why_not: None };
            code(&hold(&shop.ledger(), NewHold { funding, ..shop.new_hold(id, usd("1")) }).await)
        };
        let id = shop.sandbox.open_dispute(&whole(&payment)).unwrap();
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["dispute", "owed"]);
        assert_eq!(own("disputed").await, "account_frozen");

        assert!(shop.sandbox.advance_dispute(&id, DisputeState::Lost));
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["owed"]);
        assert_eq!((own("owing").await, code(&shop.hold("b", "0.01").await)), ("ok", "account_frozen"));

        let account_id = &shop.buyer.account_id;
        freeze::freeze_by_hand(&shop.server, account_id, "Resells.").await.unwrap();
        assert_eq!(own("by hand").await, "account_frozen");
        let (lifted, left) = freeze::lift_by_hand(&shop.server, account_id, "A mistake.").await.unwrap();
        assert_eq!((lifted, left.len()), (1, 1), "what is owed stays");
        assert_eq!(own("owing again").await, "ok");
        shop.check_books().await;
    })
    .await;
}

/// An operator who has looked lifts the freeze of a warning, and news about the same warning does not bring it back; another
/// warning does.
#[tokio::test]
async fn a_fraud_warning_that_was_lifted_by_hand_stays_lifted() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let account_id = &shop.buyer.account_id;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let other = shop.payment_of(&shop.buy("pack-10").await).await;
        let warning = shop.sandbox.warn_of_fraud(&payment).unwrap();
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["fraud_warning"]);
        for reason in ["", "  "] {
            assert_eq!(code(&freeze::lift_by_hand(&shop.server, account_id, reason).await), "invalid");
        }
        let (lifted, left) = freeze::lift_by_hand(&shop.server, account_id, "Paid by themselves.").await.unwrap();
        assert_eq!((lifted, left.len(), shop.frozen().await), (1, 0, vec![]));
        let again = WarningId::new(warning);
        dispute::refresh_warning(&shop.server, &again).await.unwrap();
        assert_eq!(shop.frozen().await, [""; 0]);
        assert_eq!(freeze::lift_by_hand(&shop.server, account_id, "Again.").await.unwrap(), (0, vec![]));

        shop.advance_seconds(1);
        shop.sandbox.warn_of_fraud(&other).unwrap();
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["fraud_warning"]);
        let told = |word: &str| {
            shop.sandbox.mail_to(&shop.buyer.email).iter().filter(|mail| mail.subject.contains(word)).count()
        };
        assert_eq!((told("frozen"), told("released")), (2, 1));
    })
    .await;
}

/// Frozen for what is owed, an account is told that it can buy; frozen for a dispute, that it cannot.
#[tokio::test]
async fn the_notice_of_a_freeze_says_whether_credit_can_be_bought() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.spend("a", "7").await;
        shop.refund_at_stripe(&payment, 1_150).unwrap();
        shop.deliver().await;
        assert_eq!(shop.frozen().await, ["owed"]);
        let mails = shop.sandbox.mail_to(&shop.buyer.email);
        let mail = mails.iter().find(|mail| mail.subject.contains("frozen")).unwrap();
        assert!(
            mail.text.contains("You can buy credit") && !mail.text.contains("nothing can be bought"),
            "{}",
            mail.text
        );
    })
    .await;
}
