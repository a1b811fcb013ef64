//! Refunds: what goes back, once, whatever is pressed, lost or repeated; and refunds that are made at Stripe.

use crate::ledger::{capture, code, hold, new_hold, void};
use crate::shop::{GOOD_CARD, Shop, insert_user};
use crate::support::each_database;
use domain::catalogue::Catalogue;
use domain::id::{ExecutionId, PurchaseId, RefundRequestId};
use domain::money::{Cents, Usd};
use domain::refund::FeePolicy;
use sandbox::{ApiFault, ApiFaultKind, NewDispute};
use server::account::{Role, User};
use server::dispute;
use server::error::Result;
use server::freeze;
use server::ledger::{Hold, Ledger, NewHold, load_balance};
use server::refund::{self, Refund, RefundState};
use server::stripe::object::PaymentIntentId;
use server::{Server, on_read};
use std::time::Duration;

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

impl Shop {
    /// Buys a pack and gets its credit.
    pub async fn buy(&self, pack: &str) -> PurchaseId {
        let purchase_id = self.start_and_pay(pack).await;
        self.deliver().await;
        // Purchases of one moment have no order, and this decides which one is the newest.
        self.advance_seconds(1);
        purchase_id
    }

    /// The payment of a purchase at Stripe.
    pub async fn payment_of(&self, purchase_id: &PurchaseId) -> String {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select stripe_payment_intent_id from purchase where purchase_id = $1")
                .bind(purchase_id)
                .fetch_one(conn)
                .await
        })
        .unwrap()
    }

    /// A ledger that does not wait for credit.
    pub fn ledger(&self) -> Ledger {
        let options = server::ledger::Options { wait_for_credit: Duration::ZERO, ..server::ledger::Options::default() };
        Ledger::start(&self.server.db, &self.server.clock, options)
    }

    pub fn new_hold(&self, id: &str, amount: Usd) -> NewHold {
        NewHold {
            execution_id: ExecutionId::new(id),
            amount,
            expires_at: self.server.clock.now().plus_seconds(600),
            ..new_hold(&self.buyer.account_id, id, 0)
        }
    }

    pub async fn hold(&self, id: &str, dollars: &str) -> Result<Hold> {
        hold(&self.ledger(), self.new_hold(id, usd(dollars))).await
    }

    /// Spends credit.
    pub async fn spend(&self, id: &str, dollars: &str) {
        let held = self.hold(id, dollars).await.unwrap();
        capture(&self.ledger(), held, usd(dollars).nanos()).await.unwrap();
    }

    pub fn request_id(&self) -> RefundRequestId {
        RefundRequestId::new(self.server.clock.new_id())
    }

    /// What the page would offer, in cents.
    pub async fn offered(&self) -> i64 {
        let lines = refund::load_offer(&self.server, &self.buyer.account_id, None).await.unwrap();
        lines.iter().map(|line| line.part.cash.0).sum()
    }

    /// Asks for everything back.
    pub async fn refund_all(&self) -> Result<()> {
        let shown = Cents(self.offered().await);
        refund::start(&self.server, &self.buyer, &self.request_id(), None, shown).await
    }

    pub async fn refunds(&self) -> Vec<Refund> {
        refund::list(&self.server, &self.buyer.account_id).await.unwrap()
    }

    /// What Stripe has refunded of a payment.
    pub fn refunded_at_stripe(&self, payment: &str) -> i64 {
        let charge = self.sandbox.stripe_object(payment).unwrap()["latest_charge"].as_str().unwrap().to_owned();
        self.sandbox.stripe_object(&charge).unwrap()["amount_refunded"].as_i64().unwrap()
    }

    pub async fn receivable(&self) -> String {
        load_balance(&self.server, &self.buyer.account_id).await.unwrap().receivable.to_string()
    }

    /// Why the account is frozen.
    pub async fn frozen(&self) -> Vec<&'static str> {
        let causes = freeze::list(&self.server, &self.buyer.account_id).await.unwrap();
        causes.into_iter().map(|frozen| frozen.cause.as_str()).collect()
    }

    /// Refunds at Stripe's dashboard.
    pub fn refund_at_stripe(&self, payment: &str, cents: i64) -> std::result::Result<serde_json::Value, String> {
        self.sandbox.edit("/v1/refunds", &format!("payment_intent={payment}&amount={cents}"))
    }
}

fn denied<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    code(&outcome)
}

#[tokio::test]
async fn unused_credit_goes_back_less_what_stripe_keeps() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let purchase_id = shop.buy("pack-50").await;
        let payment = shop.payment_of(&purchase_id).await;
        assert_eq!(shop.offered().await, 5_553);
        shop.refund_all().await.unwrap();
        // Taken before Stripe is asked: it cannot be spent meanwhile.
        assert_eq!((shop.spendable().await.as_str(), shop.refunded_at_stripe(&payment)), ("$0.00", 0));
        assert_eq!(denied(shop.hold("late", "0.01").await), "insufficient_credit");
        shop.check_books().await;

        shop.run_jobs().await;
        shop.deliver().await;
        let refunds = shop.refunds().await;
        assert_eq!((refunds.len(), refunds[0].state, refunds[0].cash), (1, RefundState::Succeeded, Cents(5_553)));
        assert_eq!((refunds[0].credit, refunds[0].bonus), (usd("50"), usd("5")));
        assert_eq!(shop.refunded_at_stripe(&payment), 5_553);
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "$0.00"));
        assert_eq!(shop.offered().await, 0);
        assert_eq!(denied(shop.refund_all().await), "conflict");
        shop.check_books().await;
    })
    .await;
}

/// A catalogue that gives Stripe's fee back: everything that was paid for the unused credit arrives, and what a form says that was
/// shown under the other policy is refused.
#[tokio::test]
async fn a_catalogue_can_give_the_fee_back() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-50").await).await;
        let catalogue = (*shop.server.catalogue.load_full()).clone();
        let generous = Catalogue { refund_fee: FeePolicy::GiveBack, ..catalogue };
        shop.server.catalogue.store(std::sync::Arc::new(generous));
        assert_eq!(shop.offered().await, 5_750);
        let stale = refund::start(&shop.server, &shop.buyer, &shop.request_id(), None, Cents(5_553)).await;
        assert_eq!(denied(stale), "conflict");
        shop.spend("a", "27.50").await;
        // Half of the $55 is left.
        assert_eq!(shop.offered().await, 2_875);
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        shop.deliver().await;
        assert_eq!((shop.refunded_at_stripe(&payment), shop.spendable().await.as_str()), (2_875, "$0.00"));
        assert_eq!(shop.receivable().await, "$0.00");
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn the_newest_pack_goes_first_and_spent_bonus_counts_as_spent() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let old = shop.buy("pack-10").await;
        let new = shop.buy("pack-50").await;
        // The bonus of $5 burns first, then the old pack.
        shop.spend("a", "8").await;
        let lines = refund::load_offer(&shop.server, &shop.buyer.account_id, None).await.unwrap();
        let parts: Vec<_> = lines.iter().map(|line| (line.purchase_id.clone(), line.part.cash.0)).collect();
        // $50 of $55 left, and $7 of $10.
        assert_eq!(parts, [(new.clone(), 5_048), (old.clone(), 761)]);

        let request_id = shop.request_id();
        refund::start(&shop.server, &shop.buyer, &request_id, Some(Cents(5_100)), Cents(5_100)).await.unwrap();
        shop.run_jobs().await;
        shop.deliver().await;
        let refunds = shop.refunds().await;
        assert_eq!(refunds.iter().map(|refund| refund.cash.0).sum::<i64>(), 5_100);
        assert_eq!(shop.refunded_at_stripe(&shop.payment_of(&new).await), 5_048);
        assert_eq!(shop.refunded_at_stripe(&shop.payment_of(&old).await), 52);
        shop.check_books().await;
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        assert_eq!(shop.refunded_at_stripe(&shop.payment_of(&old).await), 761);
        assert_eq!(shop.spendable().await, "$0.00");
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused_with_the_reason() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        assert_eq!(denied(shop.refund_all().await), "conflict", "nothing was bought");
        shop.buy("pack-10").await;
        shop.spend("a", "10").await;
        assert_eq!(denied(shop.refund_all().await), "conflict", "refund of spent credit");
        shop.buy("pack-10").await;

        let start = async |who: &User, cash, shown| {
            denied(refund::start(&shop.server, who, &shop.request_id(), cash, Cents(shown)).await)
        };
        assert_eq!(start(&shop.buyer, None, 1_086).await, "conflict", "another sum than was shown");
        assert_eq!(start(&shop.buyer, Some(Cents(1_088)), 1_088).await, "invalid");
        assert_eq!(start(&shop.buyer, Some(Cents(-1)), -1).await, "invalid");
        for role in [Role::Developer, Role::Viewer] {
            let member = User { role, ..shop.buyer.clone() };
            assert_eq!(start(&member, None, 1_087).await, "role_may_not");
        }
        let odd = RefundRequestId::new("../x");
        assert_eq!(denied(refund::start(&shop.server, &shop.buyer, &odd, None, Cents(1_087)).await), "invalid");
        // Credit that a run holds is not refunded.
        let held = shop.hold("b", "9").await.unwrap();
        assert_eq!(shop.offered().await, 109);
        void(&shop.ledger(), held).await.unwrap();

        let request_id = shop.request_id();
        refund::start(&shop.server, &shop.buyer, &request_id, None, Cents(1_087)).await.unwrap();
        let stranger = insert_user(world, world.account().await).await;
        assert_eq!(denied(refund::start(&shop.server, &stranger, &request_id, None, Cents(1)).await), "not_found");
        assert_eq!(shop.refunds().await.len(), 1);
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_refund_asked_for_twice_is_one() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, _) = shop.node().await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let request_id = shop.request_id();
        let press = |server: &Server| {
            let (server, buyer, request_id) = (server.clone(), shop.buyer.clone(), request_id.clone());
            async move { refund::start(&server, &buyer, &request_id, None, Cents(1_087)).await }
        };
        let presses = (0..16).map(|press_number| press(if press_number % 2 == 0 { &shop.server } else { &node }));
        let outcomes = futures::future::join_all(presses).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        // Two tabs, two forms: the second one finds nothing left.
        let other = refund::start(&shop.server, &shop.buyer, &shop.request_id(), None, Cents(1_087)).await;
        assert_eq!(denied(other), "conflict");
        let (here, there) =
            tokio::join!(server::job::run_jobs_until_idle(&shop.server), server::job::run_jobs_until_idle(&node));
        here.and(there).unwrap();
        shop.deliver().await;
        assert_eq!((shop.refunds().await.len(), shop.refunded_at_stripe(&payment)), (1, 1_087));
        shop.check_books().await;
    })
    .await;
}

/// Field failure 13, for money that goes out: whatever becomes of the answer, Stripe refunds once.
#[tokio::test]
async fn a_lost_answer_is_one_refund() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        for kind in [
            ApiFaultKind::CutAfter,
            ApiFaultKind::ServerErrorAfter,
            ApiFaultKind::ServerErrorBefore,
            ApiFaultKind::RateLimited,
        ] {
            let payment = shop.payment_of(&shop.buy("pack-10").await).await;
            shop.refund_all().await.unwrap();
            // All three tries of the first call.
            shop.sandbox.set_stripe_fault(ApiFault { kind, times: 3, path: Some("refunds".to_owned()), delay_ms: 0 });
            shop.run_jobs().await;
            assert_eq!(shop.refunds().await[0].state, RefundState::Pending, "{kind}");
            assert_eq!(shop.spendable().await, "$0.00", "silence gives nothing back");
            shop.check_books().await;
            shop.advance_seconds(121);
            refund::reconcile(&shop.server).await.unwrap();
            shop.deliver().await;
            assert_eq!(shop.refunds().await[0].state, RefundState::Succeeded, "{kind}");
            assert_eq!(shop.refunded_at_stripe(&payment), 1_087, "{kind}");
            shop.check_books().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refund_that_fails_gives_the_credit_back() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-50").await).await;
        shop.sandbox.hold_refunds();
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        shop.deliver().await;
        assert_eq!((shop.refunds().await[0].state, shop.spendable().await.as_str()), (RefundState::Pending, "$0.00"));
        shop.sandbox.end_refunds(false);
        shop.deliver().await;
        let failed = &shop.refunds().await[0];
        assert_eq!((failed.state, shop.spendable().await.as_str()), (RefundState::Failed, "$55.00"));
        assert!(failed.problem.as_deref().unwrap().contains("card"), "{failed:?}");
        shop.check_books().await;

        // Sent, and sent back by the bank weeks later.
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        assert_eq!((shop.spendable().await.as_str(), shop.refunded_at_stripe(&payment)), ("$0.00", 5_553));
        shop.sandbox.end_refunds(false);
        shop.deliver().await;
        assert_eq!((shop.refunds().await[0].state, shop.spendable().await.as_str()), (RefundState::Failed, "$55.00"));
        shop.check_books().await;

        // Stripe refuses: somebody refunded it all there meanwhile.
        shop.sandbox.set_webhook_mode(sandbox::WebhookMode { drop: true, ..sandbox::WebhookMode::default() });
        shop.refund_at_stripe(&payment, 5_750).unwrap();
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        let refused = &shop.refunds().await[0];
        assert_eq!((refused.state, shop.refunded_at_stripe(&payment)), (RefundState::Failed, 5_750));
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "$0.00"));
        shop.check_books().await;
    })
    .await;
}

/// Spec §6.7: by the change of the cumulative amount, never below zero; a shortfall is a receivable and freezes.
#[tokio::test]
async fn refunds_at_stripe_take_credit_back_and_the_rest_is_owed() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-50").await).await;
        shop.refund_at_stripe(&payment, 575).unwrap();
        shop.deliver().await;
        assert_eq!(shop.spendable().await, "$49.50", "a tenth of the credit and of the bonus");
        // Once more, twice, and nothing changes.
        let events: Vec<String> =
            shop.sandbox.stripe_events().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        for event in events.iter().rev().take(2) {
            shop.sandbox.redeliver(event).await;
        }
        shop.run_jobs().await;
        refund::refresh(&shop.server, &PaymentIntentId::new(payment.clone())).await.unwrap();
        assert_eq!(shop.spendable().await, "$49.50");

        shop.spend("a", "44").await;
        shop.refund_at_stripe(&payment, 1_150).unwrap();
        shop.deliver().await;
        // 30 % is $16.50 in all, $5.50 is left.
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "−$5.50"));
        assert_eq!(shop.frozen().await, ["owed"]);
        assert_eq!(denied(shop.hold("b", "0.01").await), "account_frozen");
        shop.check_books().await;

        // The next purchase is allowed, and pays what is owed first.
        shop.buy("pack-10").await;
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$4.50", "$0.00"));
        assert_eq!(shop.frozen().await, [""; 0]);
        let held = shop.hold("c", "4.50").await.unwrap();
        void(&shop.ledger(), held).await.unwrap();
        shop.check_books().await;
    })
    .await;
}

/// A run that holds the credit finishes; what it gives back pays what is owed.
#[tokio::test]
async fn held_credit_is_left_to_its_run_and_settles_afterwards() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        let held = shop.hold("a", "8").await.unwrap();
        shop.refund_at_stripe(&payment, 1_150).unwrap();
        shop.deliver().await;
        assert_eq!((shop.receivable().await.as_str(), shop.frozen().await), ("−$8.00", vec!["owed"]));
        shop.check_books().await;
        capture(&shop.ledger(), held, usd("1").nanos()).await.unwrap();
        refund::reconcile(&shop.server).await.unwrap();
        assert_eq!((shop.spendable().await.as_str(), shop.receivable().await.as_str()), ("$0.00", "−$1.00"));
        assert_eq!(shop.frozen().await, ["owed"]);
        shop.check_books().await;
    })
    .await;
}

/// The refund's event overtakes the one of its purchase: then the purchase is completed first.
#[tokio::test]
async fn a_refund_that_is_known_before_its_purchase_takes_its_credit() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (_, url) = shop.start("pack-10").await;
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        let session = shop.sandbox.stripe_object(crate::shop::session_of(&url)).unwrap();
        shop.refund_at_stripe(session["payment_intent"].as_str().unwrap(), 1_150).unwrap();
        for event in shop.sandbox.stripe_events().iter().rev() {
            assert_eq!(shop.post_event(&shop.webhook_url, event).await, 200);
            shop.run_jobs().await;
            assert_eq!(shop.receivable().await, "$0.00");
        }
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$0.00", 1));
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_refund_and_spending_at_once_never_spend_twice() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let (node, _) = shop.node().await;
        for round in 0..8 {
            let payment = shop.payment_of(&shop.buy("pack-10").await).await;
            let before = shop.offered().await;
            let ledger = shop.ledger();
            let spends = (0..12).map(|number| {
                let (ledger, new) = (&ledger, shop.new_hold(&format!("{round}-{number}"), usd("1.50")));
                async move {
                    let held = hold(ledger, new).await?;
                    capture(ledger, held, usd("1.50").nanos()).await
                }
            });
            let request_id = shop.request_id();
            let (spent, refunded) = tokio::join!(
                futures::future::join_all(spends),
                refund::start(&node, &shop.buyer, &request_id, None, Cents(before))
            );
            shop.check_books().await;
            shop.run_jobs().await;
            let spent = spent.iter().filter(|outcome| outcome.is_ok()).count();
            // Whoever came first has the credit.
            match refunded {
                Ok(()) => assert_eq!((spent, shop.refunded_at_stripe(&payment)), (0, 1_087)),
                Err(_) => assert!(spent > 0 && shop.refunded_at_stripe(&payment) == 0),
            }
            let balance = load_balance(&shop.server, &shop.buyer.account_id).await.unwrap();
            assert!(!balance.spendable().is_negative() && balance.receivable.is_zero(), "{balance:?}");
            // What is left is spent, so that each round begins with one pack.
            let rest = balance.spendable();
            if rest.is_positive() {
                let held = hold(&ledger, shop.new_hold(&format!("{round}-rest"), rest)).await.unwrap();
                capture(&ledger, held, rest.nanos()).await.unwrap();
            }
        }
        shop.check_books().await;
    })
    .await;
}

/// A dispute overtakes a refund that waits: the bank's claim takes what the refund gives back.
#[tokio::test]
async fn a_refund_that_a_dispute_ends_leaves_the_credit_to_the_dispute() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let payment = shop.payment_of(&shop.buy("pack-10").await).await;
        shop.sandbox.hold_refunds();
        shop.refund_all().await.unwrap();
        shop.run_jobs().await;
        let new = NewDispute { payment_intent: payment, amount: Some(1_150), inquiry: false };
        shop.sandbox.open_dispute(&new).unwrap();
        shop.deliver().await;
        assert_eq!((shop.receivable().await.as_str(), shop.spendable().await.as_str()), ("$0.00", "$0.00"));
        shop.check_books().await;
        shop.sandbox.end_refunds(false);
        shop.deliver().await;
        assert_eq!(shop.refunds().await[0].state, RefundState::Failed);
        assert_eq!((shop.receivable().await.as_str(), shop.spendable().await.as_str()), ("$0.00", "$0.00"));
        assert_eq!(dispute::list(&shop.server, &shop.buyer.account_id).await.unwrap().len(), 1);
        shop.check_books().await;
    })
    .await;
}
