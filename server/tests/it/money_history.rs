//! Random histories of purchases, bonuses, gifts, runs, refunds, disputes and expiries, through Stripe's pages, events and
//! API: after each step the books are right (every rule of spec §6 that `ledger::check` holds), and at the end of each
//! history Tokenbank and Stripe agree to the cent. Seeds are fixed. `HISTORIES` sets how many are tried on each database
//! (default 40), `HISTORY_SECONDS` how long at most (default 12), `HISTORY_SEED` where they begin.

use crate::ledger::{capture, hold, void};
use crate::shop::{GOOD_CARD, Shop, insert_user};
use crate::support::{World, each_database};
use domain::id::{PackId, PurchaseId};
use domain::ledger::GrantKind;
use domain::money::{Cents, Usd};
use sandbox::{DisputeState, NewDispute, PayOutcome, WebhookMode};
use server::error::{Error, Result};
use server::ledger::{self, Grant, Hold, expire_due, load_balance};
use server::purchase::{self, PurchaseState};
use server::{on_read, refund};
use std::time::Instant;

const STEPS: usize = 40;

/// Small and the same on every machine (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn nanos(&mut self, most: i64) -> Usd {
        Usd::from_nanos(i64::try_from(self.next() >> 1).unwrap() % most.max(1))
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_of_money_keep_every_rule() {
    let (most, seconds) = (setting("HISTORIES", 40), setting("HISTORY_SECONDS", 12));
    let first = setting("HISTORY_SEED", 1);
    each_database(async |world| {
        let began = Instant::now();
        let mut shop = Shop::open(world).await;
        let (mut done, mut steps) = (0, 0);
        for seed in first..first + most {
            shop.buyer = insert_user(world, world.account().await).await;
            let mut history = History::new(world, &shop, seed);
            for number in 0..STEPS {
                let step = history.step().await;
                steps += 1;
                let findings = ledger::check(world.db()).await.unwrap();
                assert_eq!(findings, [], "seed {seed}, step {number}: {step}");
                history.assert_never_below_zero(&format!("seed {seed}, step {number}: {step}")).await;
            }
            history.come_to_rest(seed).await;
            done += 1;
            if began.elapsed().as_secs() >= seconds {
                break;
            }
        }
        println!("{}: {done} histories, {steps} steps in {:?}", world.db().engine(), began.elapsed());
    })
    .await;
}

/// One account's history, and what whoever drives it has in hand.
struct History<'a> {
    world: &'a World,
    shop: &'a Shop,
    random: Random,
    seed: u64,
    number: usize,
    purchases: Vec<PurchaseId>,
    payments: Vec<String>,
    disputes: Vec<String>,
    holds: Vec<Hold>,
}

impl<'a> History<'a> {
    fn new(world: &'a World, shop: &'a Shop, seed: u64) -> History<'a> {
        let (purchases, payments, disputes, holds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        History { world, shop, random: Random(seed), seed, number: 0, purchases, payments, disputes, holds }
    }

    /// Does something; what it was.
    async fn step(&mut self) -> String {
        self.number += 1;
        let choice = self.random.below(100);
        match choice {
            0..14 => self.buy().await,
            14..18 => self.gift().await,
            18..36 => self.begin_run().await,
            36..52 => self.end_run().await,
            52..60 => self.refund().await,
            60..66 => self.refund_at_stripe(),
            66..71 => self.dispute(),
            71..78 => self.advance_dispute(),
            78..80 => self.warn(),
            80..83 => self.end_refunds(),
            83..95 => self.deliver().await,
            _ => self.let_time_pass().await,
        }
    }

    async fn buy(&mut self) -> String {
        let pack = if self.random.below(2) == 0 { "pack-10" } else { "pack-50" };
        let purchase_id = self.shop.new_id();
        let started =
            purchase::start(&self.shop.server, &self.shop.buyer, &PackId::new(pack), purchase_id.clone()).await;
        let Some(url) = allowed(started) else { return "buy: not allowed".to_owned() };
        let session = url.rsplit('/').next().unwrap().to_owned();
        assert!(matches!(self.shop.sandbox.pay(&session, GOOD_CARD), PayOutcome::Paid { .. }));
        let payment = self.shop.sandbox.stripe_object(&session).unwrap()["payment_intent"].as_str().unwrap().to_owned();
        self.purchases.push(purchase_id);
        self.payments.push(payment);
        format!("buy {pack}")
    }

    async fn gift(&mut self) -> String {
        let amount = Usd::from_nanos(self.random.nanos(4_000_000_000).nanos() + 1);
        let seconds = i64::try_from(self.random.below(2_000)).unwrap() + 1;
        let now = self.shop.server.clock.now();
        let grant = Grant {
            account_id: self.shop.buyer.account_id.clone(),
            kind: GrantKind::Promotional,
            amount,
            price: Usd::ZERO,
            reference: format!("gift:{}:{}", self.seed, self.number),
            memo: "A gift".to_owned(),
            allowed_models: None,
            expires_at: Some(now.plus_seconds(seconds)),
        };
        let mut tx = self.shop.server.db.begin().await.unwrap();
        ledger::grant(&mut tx, &self.shop.server.clock, grant).await.unwrap();
        tx.commit().await.unwrap();
        format!("gift of {amount}")
    }

    async fn begin_run(&mut self) -> String {
        let spendable = self.balance().await.spendable();
        // Now and then more than there is.
        let amount = self.random.nanos(spendable.nanos() / 4 * 5 + 2);
        let id = format!("run-{}-{}", self.seed, self.number);
        let held = hold(&self.shop.ledger(), self.shop.new_hold(&id, amount)).await;
        match allowed(held) {
            Some(held) => self.holds.push(held),
            None => return format!("hold {amount}: not allowed"),
        }
        format!("hold {amount} of {spendable}")
    }

    async fn end_run(&mut self) -> String {
        if self.holds.is_empty() {
            return "no run to end".to_owned();
        }
        let at = self.random.below(self.holds.len());
        let held = self.holds.swap_remove(at);
        let ledger = self.shop.ledger();
        if self.random.below(4) == 0 {
            allowed(void(&ledger, held).await);
            return "void".to_owned();
        }
        // Sometimes above the hold: the platform's loss.
        let cost = self.random.nanos(held.amount().nanos() / 8 * 9 + 2);
        allowed(capture(&ledger, held, cost.nanos()).await);
        format!("capture {cost}")
    }

    async fn refund(&mut self) -> String {
        let all = self.shop.offered().await;
        let cash = match self.random.below(2) {
            0 => None,
            _ => Some(Cents(i64::try_from(self.random.below(usize::try_from(all).unwrap() + 2)).unwrap())),
        };
        let shown = cash.unwrap_or(Cents(all));
        let asked = refund::start(&self.shop.server, &self.shop.buyer, &self.shop.request_id(), cash, shown).await;
        let outcome = allowed(asked).map_or("not allowed", |()| "asked");
        format!("refund {shown:?} of {all} cents: {outcome}")
    }

    fn refund_at_stripe(&mut self) -> String {
        let cents = i64::try_from(self.random.below(3_000)).unwrap() + 1;
        match self.random.pick(&self.payments) {
            Some(payment) => match self.shop.refund_at_stripe(payment, cents) {
                Ok(_) => format!("{cents} cents refunded at Stripe"),
                Err(_) => format!("{cents} cents not refundable at Stripe"),
            },
            None => "nothing to refund at Stripe".to_owned(),
        }
    }

    fn dispute(&mut self) -> String {
        let amount = [None, Some(1), Some(500), Some(1_150)][self.random.below(4)];
        let inquiry = self.random.below(4) == 0;
        let Some(payment) = self.random.pick(&self.payments).cloned() else { return "nothing to dispute".to_owned() };
        let charge = self.shop.sandbox.stripe_object(&payment).unwrap()["latest_charge"].as_str().unwrap().to_owned();
        // A bank takes what was charged once.
        if self.shop.sandbox.stripe_object(&charge).unwrap()["disputed"] == true {
            return "disputed before".to_owned();
        }
        self.disputes.extend(self.shop.sandbox.open_dispute(&NewDispute { payment_intent: payment, amount, inquiry }));
        format!("dispute of {amount:?}, inquiry {inquiry}")
    }

    fn advance_dispute(&mut self) -> String {
        let to = DisputeState::ALL[self.random.below(DisputeState::ALL.len())];
        let Some(id) = self.random.pick(&self.disputes) else { return "no dispute".to_owned() };
        let moved = self.shop.sandbox.advance_dispute(id, to);
        format!("dispute to {to}: {moved}")
    }

    fn warn(&mut self) -> String {
        let Some(payment) = self.random.pick(&self.payments) else { return "nothing to warn of".to_owned() };
        self.shop.sandbox.warn_of_fraud(payment);
        "fraud warning".to_owned()
    }

    fn end_refunds(&mut self) -> String {
        match self.random.below(4) {
            0 | 1 => self.shop.sandbox.hold_refunds(),
            2 => self.shop.sandbox.end_refunds(true),
            _ => self.shop.sandbox.end_refunds(false),
        }
        "refunds wait, or end".to_owned()
    }

    /// Some events come, in a mixed order and several times; or jobs run that were left.
    async fn deliver(&mut self) -> String {
        let copies = u32::try_from(self.random.below(3)).unwrap() + 1;
        let mode = WebhookMode { hold: true, shuffle: true, copies, ..WebhookMode::default() };
        self.shop.sandbox.set_webhook_mode(mode);
        self.shop.sandbox.deliver_now().await;
        if self.random.below(3) > 0 {
            self.shop.run_jobs().await;
        }
        format!("deliver {copies} times")
    }

    async fn let_time_pass(&mut self) -> String {
        let seconds = i64::try_from(self.random.below(900)).unwrap() + 1;
        self.shop.advance_seconds(seconds);
        expire_due(&self.shop.server).await.unwrap();
        refund::reconcile(&self.shop.server).await.unwrap();
        purchase::reconcile(&self.shop.server).await.unwrap();
        format!("{seconds} s later")
    }

    async fn balance(&self) -> ledger::Balance {
        load_balance(&self.shop.server, &self.shop.buyer.account_id).await.unwrap()
    }

    async fn assert_never_below_zero(&self, at: &str) {
        let balance = self.balance().await;
        assert!(!balance.spendable().is_negative() && !balance.held.is_negative(), "{at}: {balance:?}");
        assert!(!balance.receivable.is_positive(), "{at}: {balance:?}");
    }

    /// Everything that was under way ends; then Stripe and the books say the same.
    async fn come_to_rest(&mut self, seed: u64) {
        let ledger = self.shop.ledger();
        for held in std::mem::take(&mut self.holds) {
            allowed(void(&ledger, held).await);
        }
        self.shop.sandbox.end_refunds(true);
        for _ in 0..3 {
            self.shop.deliver().await;
            self.shop.advance_seconds(3_700);
            expire_due(&self.shop.server).await.unwrap();
            purchase::reconcile(&self.shop.server).await.unwrap();
            refund::reconcile(&self.shop.server).await.unwrap();
        }
        assert_eq!(ledger::check(self.world.db()).await.unwrap(), [], "seed {seed}, at rest");
        for (purchase_id, payment) in self.purchases.iter().zip(&self.payments) {
            assert_eq!(self.shop.state(purchase_id).await, PurchaseState::Paid, "seed {seed}: {purchase_id}");
            let refunded = self.shop.refunded_at_stripe(payment);
            assert_eq!(self.claimed(purchase_id).await, refunded * 10_000_000, "seed {seed}: refunds of {purchase_id}");
        }
        // Nothing is owed while there is bought credit, and nobody stays frozen without a cause.
        let balance = self.balance().await;
        assert!(balance.receivable.is_zero() || (balance.paid.is_zero() && balance.bonus.is_zero()), "{balance:?}");
        let is_open = |id: &String| {
            let dispute = self.shop.sandbox.stripe_object(id).unwrap();
            dispute["status"].as_str().unwrap().parse::<DisputeState>().unwrap().freezes()
        };
        let frozen = self.shop.frozen().await;
        assert_eq!(frozen.contains(&"dispute"), self.disputes.iter().any(is_open), "seed {seed}");
        assert_eq!(frozen.contains(&"owed"), balance.receivable.is_negative(), "seed {seed}");
    }

    /// The money that refunds took of a purchase, by the books.
    async fn claimed(&self, purchase_id: &PurchaseId) -> i64 {
        on_read!(self.world.db(), conn => {
            sqlx::query_scalar(
                "select cast(coalesce(sum(cash_nanos), 0) as bigint) from claim
                 where purchase_id = $1 and kind in ('refund', 'stripe_refund')",
            )
            .bind(purchase_id)
            .fetch_one(conn)
            .await
        })
        .unwrap()
    }
}

/// What was done, or `None` if it was denied; anything else is a failure.
fn allowed<T>(outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(Error::Denied(_)) => None,
        Err(Error::Internal(problem)) => panic!("{problem}"),
    }
}
