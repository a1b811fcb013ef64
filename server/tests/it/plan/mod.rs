//! Plans: from the first subscription to the end, and every way in which it does not come to that.

mod change;
mod dunning;
mod event;
mod meter;
mod price;
mod subscribe;
mod trial;

use crate::shop::{GOOD_CARD, Shop};
use domain::denial::Denial;
use domain::id::{PlanChangeId, PlanId};
use domain::subscription::{CurrentPlan, KeyMode, Terms};
use server::account::User;
use server::error::Error;
use server::subscription::{self, Proposal, SyncMode, SyncOutcome};
use server::{on_read, on_tx};

pub const DECLINES_LATER_CARD: &str = "4000000000000341";
pub const SECURE_CARD: &str = "4000002760003184";
const DAY: i64 = 86_400;

pub fn terms(plan: &str, key_mode: KeyMode, seats: u32) -> Terms {
    Terms { plan: PlanId::new(plan), key_mode, seats }
}

pub fn standard(plan: &str, seats: u32) -> Terms {
    terms(plan, KeyMode::Standard, seats)
}

impl Shop {
    /// A shop whose plans are at Stripe.
    pub async fn open_with_plans(world: &crate::support::World) -> Shop {
        let shop = Shop::open(world).await;
        let lines = subscription::sync(&shop.server, SyncMode::Write).await.unwrap();
        assert!(lines.iter().all(|line| line.outcome == SyncOutcome::Made), "{lines:?}");
        shop
    }

    pub fn new_change(&self) -> PlanChangeId {
        PlanChangeId::new(self.server.clock.new_id())
    }

    async fn propose_as(&self, user: &User, to: &Terms) -> Result<(PlanChangeId, Proposal), Error> {
        let id = self.new_change();
        subscription::propose(&self.server, user, to, &id).await.map(|proposal| (id, proposal))
    }

    pub async fn propose(&self, to: &Terms) -> (PlanChangeId, Proposal) {
        self.propose_as(&self.buyer, to).await.unwrap()
    }

    async fn denied(&self, to: &Terms) -> Denial {
        self.propose_as(&self.buyer, to).await.unwrap_err().denial().cloned().expect("a denial, not a failure")
    }

    /// Subscribes on Stripe's page with a card, as the buyer.
    pub async fn subscribe_as(&self, user: &User, to: &Terms, card: &str) -> PlanChangeId {
        let (id, proposal) = self.propose_as(user, to).await.unwrap();
        let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
        assert_eq!(self.pay_page(&url, card).await.status, 303);
        id
    }

    pub async fn subscribe(&self, to: &Terms) {
        self.subscribe_as(&self.buyer, to, GOOD_CARD).await;
        self.deliver().await;
    }

    /// Proposes and confirms a change.
    pub async fn change(&self, to: &Terms) -> PlanChangeId {
        let (id, proposal) = self.propose(to).await;
        assert_eq!(proposal, Proposal::Confirm);
        subscription::confirm(&self.server, &self.buyer, &id).await.unwrap();
        self.deliver().await;
        id
    }

    pub async fn current(&self) -> CurrentPlan {
        subscription::load_current(&self.server, &self.buyer.account_id).await.unwrap()
    }

    /// The live or last subscription as Stripe has it.
    pub fn at_stripe(&self) -> serde_json::Value {
        self.sandbox.billed("subscription").pop().unwrap()
    }

    fn customer(&self) -> String {
        self.at_stripe()["customer"].as_str().unwrap().to_owned()
    }

    pub async fn invoices(&self) -> Vec<subscription::StoredInvoice> {
        subscription::list_invoices(&self.server, &self.buyer.account_id, 100).await.unwrap()
    }

    /// Moves both clocks in steps, delivering and looking after each, as time does.
    pub async fn let_pass(&self, days: i64) {
        for _ in 0..days {
            self.advance_seconds(DAY);
            self.sandbox.deliver_now().await;
            self.run_jobs().await;
            subscription::reconcile(&self.server).await.unwrap();
        }
    }

    async fn add_members(&self, count: usize) {
        for _ in 0..count {
            let user_id = self.server.clock.new_id();
            let mut tx = self.server.db.begin().await.unwrap();
            on_tx!(&mut tx, conn => {
                sqlx::query(
                    "insert into \"user\" (user_id, account_id, email, password_hash, is_admin, created_at)
                     values ($1, $2, $1, 'none', 0, 1)",
                )
                .bind(&user_id)
                .bind(&self.buyer.account_id)
                .execute(&mut *conn)
                .await
                .unwrap();
                sqlx::query("insert into member (account_id, user_id, role, created_at) values ($1, $2, 'viewer', 1)")
                    .bind(&self.buyer.account_id)
                    .bind(&user_id)
                    .execute(conn)
                    .await
                    .map(drop)
            })
            .unwrap();
            tx.commit().await.unwrap();
        }
    }

    async fn trial_state(&self, user: &User) -> String {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select state from trial where account_id = $1")
                .bind(&user.account_id)
                .fetch_one(conn)
                .await
        })
        .unwrap()
    }

    /// What Stripe has charged for whatever, in cents.
    fn charged(&self) -> i64 {
        let events = self.sandbox.stripe_events();
        let charges = events.iter().filter(|event| event["type"] == "charge.succeeded");
        charges.map(|event| event["data"]["object"]["amount"].as_i64().unwrap()).sum()
    }

    async fn change_state(&self, id: &PlanChangeId) -> String {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select state from plan_change where plan_change_id = $1").bind(id).fetch_one(conn).await
        })
        .unwrap()
    }
}
