//! Buying a pack: from the click to the credit, and every way in which it does not come to that.

use crate::shop::{BANK_DEBIT, FAILING_BANK_DEBIT, GOOD_CARD, NO_FUNDS_CARD, Shop, insert_user, offer, session_of};
use crate::support::each_database;
use domain::denial::Denial;
use domain::id::{PackId, PurchaseId};
use domain::money::{Cents, Usd};
use server::account::{Role, User};
use server::purchase::{self, PurchaseState};
use server::{Server, ledger};

async fn denial(server: &Server, user: &User, pack: &str, purchase_id: &PurchaseId) -> Denial {
    let outcome = purchase::start(server, user, &PackId::new(pack), purchase_id.clone()).await;
    outcome.unwrap_err().denial().cloned().expect("a denial, not a failure")
}

#[tokio::test]
async fn paying_grants_credit_and_bonus_once_with_a_receipt() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-50").await;
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Pending);

        let answer = shop.pay_page(&url, GOOD_CARD).await;
        let success_url = format!("http://127.0.0.1:3000/credits/bought/{purchase_id}");
        assert_eq!((answer.status, answer.location), (303, Some(success_url)));
        shop.deliver().await;

        let purchase = shop.load(&purchase_id).await;
        assert_eq!((purchase.state, purchase.price, purchase.problem), (PurchaseState::Paid, Cents(5_750), None));
        assert_eq!(
            (purchase.amount.to_string(), purchase.bonus.to_string()),
            ("$50.00".to_owned(), "$5.00".to_owned())
        );
        let balance = ledger::load_balance(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!((balance.paid, balance.bonus), (purchase.amount, purchase.bonus));
        let statement =
            ledger::list_lines(&shop.server, &shop.buyer.account_id, &ledger::LineFilter::default(), None, 10)
                .await
                .unwrap();
        let lines: Vec<_> = statement.iter().map(|row| (row.memo.as_str(), row.balance_after.to_string())).collect();
        assert_eq!(
            lines,
            [("Bonus with $50.00 of credit", "$55.00".to_owned()), ("Bought $50.00 of credit", "$50.00".to_owned())]
        );
        let listed = purchase::list(&shop.server, &shop.buyer.account_id, None, 10).await.unwrap();
        assert_eq!(listed.iter().map(|purchase| &purchase.purchase_id).collect::<Vec<_>>(), [&purchase_id]);
        assert_eq!(shop.sandbox.mail_to(&shop.buyer.email).len(), 1, "one receipt");
        shop.check_books().await;
    })
    .await;
}

/// The address that Stripe sends the browser back to is no proof: anybody can type it.
#[tokio::test]
async fn credited_on_redirect_is_impossible() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.lose_webhooks();
        let (unpaid, _) = shop.start("pack-10").await;
        let paid = shop.start_and_pay("pack-10").await;
        for purchase_id in [&unpaid, &paid] {
            // What the page behind success_url reads.
            assert_eq!(shop.load(purchase_id).await.state, PurchaseState::Pending);
        }
        shop.run_jobs().await;
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$0.00", 0));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_click_answers_with_the_same_checkout() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, _) = shop.node().await;
        let purchase_id = shop.new_id();
        let pack = PackId::new("pack-10");
        let clicks = (0..8).map(|click| {
            let server = if click % 2 == 0 { &shop.server } else { &node };
            purchase::start(server, &shop.buyer, &pack, purchase_id.clone())
        });
        let urls: Vec<String> = futures::future::try_join_all(clicks).await.unwrap();
        assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");

        // Paid twice over: the page pays once, a click afterwards leads to our own page.
        assert_eq!(shop.pay_page(&urls[0], GOOD_CARD).await.status, 303);
        assert_eq!(shop.pay_page(&urls[0], GOOD_CARD).await.status, 303);
        shop.deliver().await;
        let after = purchase::start(&node, &shop.buyer, &pack, purchase_id.clone()).await.unwrap();
        assert_eq!(after, format!("/credits/bought/{purchase_id}"));
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$10.00", 1));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_card_is_told_and_another_one_pays() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&url, NO_FUNDS_CARD).await.status, 402);
        shop.deliver().await;
        let declined = shop.load(&purchase_id).await;
        assert_eq!(declined.state, PurchaseState::Pending);
        assert_eq!(declined.problem.as_deref(), Some("Your card has insufficient funds."));
        assert_eq!(shop.spendable().await, "$0.00");

        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        let paid = shop.load(&purchase_id).await;
        assert_eq!((paid.state, paid.problem), (PurchaseState::Paid, None));
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$10.00", 1));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_checkout_charges_nothing_and_can_be_taken_up_again() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        let session = shop.sandbox.stripe_object(session_of(&url)).unwrap();
        assert_eq!(session["cancel_url"], format!("http://127.0.0.1:3000/credits?cancelled={purchase_id}"));
        shop.deliver().await;
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Pending);
        assert_eq!(shop.grants().await, 0);

        let again = purchase::start(&shop.server, &shop.buyer, &PackId::new("pack-10"), purchase_id).await.unwrap();
        assert_eq!(again, url);
    })
    .await;
}

#[tokio::test]
async fn an_expired_checkout_ends_the_purchase_with_a_remedy() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        shop.advance_seconds(2 * 3_600 + 1);
        shop.deliver().await;
        assert_eq!(shop.state(&purchase_id).await, PurchaseState::Expired);
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 410);
        let denied = denial(&shop.server, &shop.buyer, "pack-10", &purchase_id).await;
        assert!(
            matches!(&denied, Denial::Conflict { problem } if problem.contains("choose the pack again")),
            "{denied:?}"
        );
        assert_eq!(shop.grants().await, 0);
    })
    .await;
}

/// No credit without money, but no money without credit either.
#[tokio::test]
async fn an_expired_or_failed_purchase_that_was_paid_after_all_is_honoured() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        for sql in [
            "update purchase set state = 'expired', ended_at = 1 where purchase_id = $1",
            "update purchase set state = 'failed', ended_at = 1, problem = 'declined' where purchase_id = $1",
        ] {
            let purchase_id = shop.start_and_pay("pack-10").await;
            shop.tamper(sql, purchase_id.as_str()).await;
            shop.deliver().await;
            let purchase = shop.load(&purchase_id).await;
            assert_eq!((purchase.state, purchase.problem), (PurchaseState::Paid, None));
        }
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$20.00", 2));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_bank_debit_is_credited_when_its_money_comes() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (comes, url) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&url, BANK_DEBIT).await.status, 303);
        let (fails, url) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&url, FAILING_BANK_DEBIT).await.status, 303);
        // Both sessions are complete and neither is paid.
        shop.deliver().await;
        assert_eq!(shop.event_state("checkout.session.completed").await.as_deref(), Some("applied"));
        assert_eq!(shop.state(&comes).await, PurchaseState::Pending);
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$0.00", 0));

        shop.sandbox.settle();
        shop.deliver().await;
        assert_eq!(shop.state(&comes).await, PurchaseState::Paid);
        let failed = shop.load(&fails).await;
        assert_eq!(failed.state, PurchaseState::Failed);
        assert!(failed.problem.is_some());
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$10.00", 1));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_bought_is_denied_before_stripe_is_called() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (theirs, _) = shop.start("pack-10").await;
        let new_id = shop.new_id();
        let other = insert_user(world, world.account().await).await;
        let viewer = User { role: Role::Viewer, ..shop.buyer.clone() };

        let unknown = denial(&shop.server, &shop.buyer, "pack-1000", &new_id).await;
        assert_eq!(unknown, Denial::UnknownPack { pack: "pack-1000".to_owned() });
        assert_eq!(denial(&shop.server, &other, "pack-10", &theirs).await.code(), "not_found");
        assert_eq!(denial(&shop.server, &shop.buyer, "pack-50", &theirs).await.code(), "conflict");
        assert_eq!(denial(&shop.server, &viewer, "pack-10", &new_id).await.code(), "role_may_not");
        for bad in ["", "1", "../../x", &"9".repeat(400), &new_id.as_str().to_uppercase()] {
            let denied = denial(&shop.server, &shop.buyer, "pack-10", &PurchaseId::new(bad)).await;
            assert_eq!(denied.code(), "invalid", "{bad}");
        }
        let frozen = "update account set frozen_reason = 'a dispute', frozen_at = 1 where account_id = $1";
        shop.tamper(frozen, shop.buyer.account_id.as_str()).await;
        let denied = denial(&shop.server, &shop.buyer, "pack-10", &new_id).await;
        assert_eq!(denied, Denial::AccountFrozen { reason: "a dispute".to_owned() });

        let listed = purchase::list(&shop.server, &shop.buyer.account_id, None, 10).await.unwrap();
        assert_eq!(listed.len(), 1, "nothing is half-done");
        assert!(purchase::load(&shop.server, &other.account_id, &theirs).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_purchase_keeps_the_price_it_began_with() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (purchase_id, url) = shop.start("pack-10").await;
        offer(&shop.server, Usd::parse_dollars("99").unwrap());
        let again =
            purchase::start(&shop.server, &shop.buyer, &PackId::new("pack-10"), purchase_id.clone()).await.unwrap();
        assert_eq!(again, url);
        assert_eq!(shop.sandbox.stripe_object(session_of(&url)).unwrap()["amount_total"], 1_150);
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        assert_eq!((shop.state(&purchase_id).await, shop.spendable().await.as_str()), (PurchaseState::Paid, "$10.00"));
    })
    .await;
}

#[tokio::test]
async fn an_account_cannot_begin_purchases_without_end() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        for _ in 0..30 {
            shop.start("pack-10").await;
        }
        let new_id = shop.new_id();
        assert_eq!(denial(&shop.server, &shop.buyer, "pack-10", &new_id).await.code(), "too_many_attempts");
        shop.advance_seconds(3_601);
        shop.start("pack-10").await;
    })
    .await;
}

/// A customer that was deleted at Stripe, or a sandbox that started again, does not end the account's purchases.
#[tokio::test]
async fn a_customer_that_stripe_forgot_is_made_again() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.start("pack-10").await;
        shop.sandbox.reset();
        let purchase_id = shop.start_and_pay("pack-10").await;
        purchase::reconcile(&shop.server).await.unwrap();
        shop.advance_seconds(121);
        purchase::reconcile(&shop.server).await.unwrap();
        assert_eq!((shop.state(&purchase_id).await, shop.spendable().await.as_str()), (PurchaseState::Paid, "$10.00"));
    })
    .await;
}
