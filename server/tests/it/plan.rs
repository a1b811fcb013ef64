//! Plans: from the first subscription to the end, and every way in which it does not come to that.

use crate::shop::{GOOD_CARD, NO_FUNDS_CARD, Shop};
use crate::support::each_database;
use domain::denial::Denial;
use domain::id::{PlanChangeId, PlanId};
use domain::money::Cents;
use domain::period::Period;
use domain::proration::{self, Item};
use domain::subscription::{Change, CurrentPlan, KeyMode, SubscriptionStatus, Terms};
use server::account::{Role, User};
use server::error::Error;
use server::stripe::plan::InvoiceStatus;
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

#[tokio::test]
async fn subscribing_gives_the_plan_once_stripe_says_so() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let before = shop.current().await;
        assert_eq!((before.plan.as_str(), before.status, before.seats), ("free", None, 1));
        assert_eq!(before.period, Period::calendar_month(shop.server.clock.now()));

        let id = shop.subscribe_as(&shop.buyer, &standard("pro", 1), GOOD_CARD).await;
        // The browser came back; nobody has told us yet.
        assert_eq!((shop.current().await.plan.as_str(), shop.change_state(&id).await.as_str()), ("free", "pending"));
        shop.deliver().await;

        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Active)));
        assert_eq!((now.key_mode, now.seats, now.cancels_at), (KeyMode::Standard, 1, None));
        let item = &shop.at_stripe()["items"]["data"][0];
        assert_eq!(now.period.end.seconds(), item["current_period_end"].as_i64().unwrap());
        assert_eq!(shop.change_state(&id).await, "done");
        let invoices = shop.invoices().await;
        assert_eq!(invoices.len(), 1);
        assert_eq!(
            (invoices[0].total, invoices[0].paid, invoices[0].status),
            (Cents(900), Cents(900), InvoiceStatus::Paid)
        );
        assert_eq!(invoices[0].lines[0].text, "1 × Pro (at $9.00 / month)");
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_click_answers_with_the_same_checkout_and_a_declined_card_can_be_replaced() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let id = shop.new_change();
        let to = standard("team", 2);
        let clicks = (0..4).map(|_| subscription::propose(&shop.server, &shop.buyer, &to, &id));
        let urls: Vec<Proposal> = futures::future::try_join_all(clicks).await.unwrap();
        assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
        let Proposal::Checkout { url } = &urls[0] else { panic!() };
        assert_eq!(shop.pay_page(url, NO_FUNDS_CARD).await.status, 402);
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "free");
        assert_eq!(shop.pay_page(url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        assert_eq!((shop.current().await.plan.as_str(), shop.current().await.seats), ("team", 2));
        assert_eq!(shop.invoices().await[0].paid, Cents(5_800));
        assert_eq!(subscription::propose(&shop.server, &shop.buyer, &to, &id).await.unwrap(), Proposal::Same);
    })
    .await;
}

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
async fn a_card_that_fails_at_renewal_leads_through_grace_to_suspension_and_back() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe_as(&shop.buyer, &standard("pro", 1), DECLINES_LATER_CARD).await;
        shop.deliver().await;
        let month = shop.current().await.period.seconds() / DAY;
        shop.let_pass(month + 1).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::PastDue)), "grace");
        let denied = shop.denied(&standard("team", 1)).await;
        assert!(matches!(&denied, Denial::Conflict { problem } if problem.contains("missing")), "{denied:?}");
        let subjects = || -> Vec<String> {
            shop.sandbox.mail_to(&shop.buyer.email).into_iter().map(|mail| mail.subject).collect()
        };
        assert_eq!(subjects(), ["Your Tokenbank plan could not be paid"]);

        shop.let_pass(13).await;
        assert_eq!(shop.current().await.plan.as_str(), "pro", "the last day of grace");
        shop.let_pass(1).await;
        assert_eq!(shop.current().await.plan.as_str(), "free", "suspended");
        shop.let_pass(2).await;
        assert_eq!(shop.current().await.status, Some(SubscriptionStatus::Unpaid));
        assert_eq!(subjects()[1..], ["Your Tokenbank plan is suspended"]);

        // The same card is declined once more; another one pays.
        let pay = async || subscription::pay_open_invoice(&shop.server, &shop.buyer, &shop.new_change()).await;
        assert_eq!(pay().await.unwrap_err().denial().unwrap().code(), "payment_declined");
        shop.sandbox.set_card(&shop.customer(), GOOD_CARD);
        pay().await.unwrap();
        shop.deliver().await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Active)));
        assert_eq!(subjects()[2..], ["Your Tokenbank plan is paid"]);
        assert_eq!(shop.invoices().await.iter().filter(|invoice| invoice.status == InvoiceStatus::Paid).count(), 2);
        shop.check_books().await;
    })
    .await;
}

/// A bank that asks for 3-D Secure at renewal: the customer pays on Stripe's page of the invoice.
#[tokio::test]
async fn three_d_secure_at_renewal_is_done_on_the_invoices_page() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (_, proposal) = shop.propose(&standard("pro", 1)).await;
        let Proposal::Checkout { url } = proposal else { panic!() };
        let session = crate::shop::session_of(&url).to_owned();
        shop.sandbox.pay(&session, SECURE_CARD);
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        shop.let_pass(32).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::PastDue)));
        assert_eq!(shop.event_state("invoice.payment_action_required").await.as_deref(), Some("applied"));

        let open = shop.invoices().await.into_iter().find(|invoice| invoice.status == InvoiceStatus::Open).unwrap();
        assert_eq!(shop.pay_page(&open.page_url.unwrap(), SECURE_CARD).await.status, 200);
        shop.deliver().await;
        assert_eq!(shop.current().await.status, Some(SubscriptionStatus::Active));
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

#[tokio::test]
async fn syncing_twice_makes_nothing_and_a_hand_edited_price_is_shown_not_followed() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let outcomes = async |mode| -> Vec<SyncOutcome> {
            let lines = subscription::sync(&shop.server, mode).await.unwrap();
            lines.into_iter().map(|line| line.outcome).collect()
        };
        assert_eq!(outcomes(SyncMode::DryRun).await, vec![SyncOutcome::Made; 4]);
        assert_eq!(shop.denied(&standard("pro", 1)).await.code(), "upstream", "a dry run makes nothing");
        assert_eq!(outcomes(SyncMode::Write).await, vec![SyncOutcome::Made; 4]);
        for mode in [SyncMode::DryRun, SyncMode::Write, SyncMode::Write] {
            assert_eq!(outcomes(mode).await, vec![SyncOutcome::Kept; 4]);
        }
        let prices = shop.call_stripe_get("prices").await;
        assert_eq!(prices["data"].as_array().unwrap().len(), 4, "nothing twice");

        // Somebody makes Pro dearer at Stripe: another price takes its lookup key.
        let key = "tokenbank_pro_standard_900_month";
        let form = format!(
            "currency=usd&unit_amount=9900&product=tokenbank_pro&recurring[interval]=month&lookup_key={key}&transfer_lookup_key=true"
        );
        shop.sandbox.edit("/v1/prices", &form).unwrap();
        let drifted = outcomes(SyncMode::Write).await;
        assert_eq!(drifted.iter().filter(|outcome| matches!(outcome, SyncOutcome::Drift(_))).count(), 1, "{drifted:?}");
        shop.subscribe(&standard("pro", 1)).await;
        assert_eq!(shop.invoices().await[0].paid, Cents(900), "not followed");
        shop.check_books().await;
    })
    .await;
}

/// Somebody gives a subscription a price by hand that is in no catalogue: the plan stays, and the page says so.
#[tokio::test]
async fn a_subscription_whose_price_was_swapped_by_hand_keeps_its_plan_and_shows_it() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let form = "currency=usd&unit_amount=100&product=tokenbank_pro&recurring[interval]=month";
        let price = shop.sandbox.edit("/v1/prices", form).unwrap();
        let (sub, item) = (shop.at_stripe(), shop.at_stripe()["items"]["data"][0]["id"].clone());
        let form = format!("items[0][id]={}&items[0][price]={}", item.as_str().unwrap(), price["id"].as_str().unwrap());
        shop.sandbox.edit(&format!("/v1/subscriptions/{}", sub["id"].as_str().unwrap()), &form).unwrap();
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        let live = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap().live.unwrap();
        assert!(live.problem.unwrap().contains("not in the catalogue"));
    })
    .await;
}

/// Everything comes in any order, repeated, late, or not at all.
#[tokio::test]
async fn lost_doubled_and_disordered_webhooks_end_in_the_same_state() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        shop.lose_webhooks();
        subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        subscription::resume(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        // A whole renewal without a word from Stripe: within ten minutes of its payment we know.
        let period = shop.current().await.period;
        shop.advance_seconds(period.seconds() + 180);
        subscription::reconcile(&shop.server).await.unwrap();
        assert_eq!(shop.current().await.period.start, period.end);
        for _ in 0..8 {
            shop.advance_seconds(600);
            subscription::reconcile(&shop.server).await.unwrap();
        }
        assert_eq!(shop.invoices().await.iter().map(|invoice| invoice.paid.0).collect::<Vec<_>>(), [900, 900]);

        // Now every event that ever was, the newest first, twice.
        shop.sandbox.set_webhook_mode(sandbox::WebhookMode { hold: true, ..sandbox::WebhookMode::default() });
        let ids: Vec<String> =
            shop.sandbox.stripe_events().iter().rev().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        for id in ids.iter().chain(&ids) {
            shop.sandbox.redeliver(id).await;
        }
        shop.run_jobs().await;
        assert_eq!(shop.current().await.period.start, period.end);
        assert_eq!(shop.invoices().await.len(), 2);
        let failed: Vec<_> = shop.events().await.into_iter().filter(|(_, state, _)| state == "failed").collect();
        assert!(failed.is_empty(), "{failed:?}");
        shop.check_books().await;
    })
    .await;
}

/// Somebody ends the plan in Stripe's portal, and no webhook ever tells us: the events are fetched.
#[tokio::test]
async fn events_whose_delivery_was_lost_are_fetched() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 0, "all were delivered");
        shop.lose_webhooks();
        let portal = subscription::open_portal(&shop.server, &shop.buyer).await.unwrap();
        assert_eq!(shop.post_form(&portal, "what=cancel").await.status, 303);
        shop.sandbox.deliver_now().await;
        shop.advance_seconds(300);
        assert_eq!(shop.current().await.cancels_at, None);
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 1);
        assert_eq!(server::stripe::inbox::fetch_missed(&shop.server).await.unwrap(), 0, "once");
        shop.run_jobs().await;
        assert!(shop.current().await.cancels_at.is_some());
        // A purchase heals in the same way.
        let purchase = shop.start_and_pay("pack-10").await;
        server::stripe::inbox::fetch_missed(&shop.server).await.unwrap();
        shop.run_jobs().await;
        assert_eq!((shop.state(&purchase).await.as_str(), shop.spendable().await.as_str()), ("paid", "$10.00"));
    })
    .await;
}

#[tokio::test]
async fn unknown_events_and_subscriptions_are_stored_and_answered() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let event = |id: &str, kind: &str, object: serde_json::Value| {
            serde_json::json!({"id": id, "type": kind, "livemode": false, "data": {"object": object}})
        };
        for (id, kind, object) in [
            ("evt_1", "customer.subscription.updated", serde_json::json!({"id": "sub_nobody"})),
            ("evt_2", "customer.subscription.invented", serde_json::json!({"id": "sub_nobody"})),
            ("evt_3", "invoice.paid", serde_json::json!({"id": "in_1"})),
            ("evt_4", "customer.deleted", serde_json::json!({"id": "cus_nobody"})),
        ] {
            assert_eq!(shop.post_event(&shop.webhook_url, &event(id, kind, object)).await, 200);
        }
        shop.run_jobs().await;
        assert_eq!(shop.event_state("customer.subscription.updated").await.as_deref(), Some("failed"));
        assert_eq!(shop.event_state("customer.subscription.invented").await.as_deref(), Some("ignored"));
        assert_eq!(shop.event_state("invoice.paid").await.as_deref(), Some("ignored"));
        assert_eq!(shop.event_state("customer.deleted").await.as_deref(), Some("ignored"));

        // A sandbox that starts again has forgotten the subscription: the account falls back to free.
        shop.subscribe(&standard("pro", 1)).await;
        let sub = shop.at_stripe()["id"].as_str().unwrap().to_owned();
        shop.sandbox.reset();
        subscription::refresh(&shop.server, &server::stripe::plan::SubscriptionId::new(sub)).await.unwrap();
        assert_eq!((shop.current().await.plan.as_str(), shop.current().await.status), ("free", None));
    })
    .await;
}

#[tokio::test]
async fn a_second_subscription_is_given_back() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (_, one) = shop.propose(&standard("pro", 1)).await;
        let (_, two) = shop.propose(&standard("team", 1)).await;
        for proposal in [one, two] {
            let Proposal::Checkout { url } = proposal else { panic!() };
            assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        }
        shop.deliver().await;
        shop.deliver().await;
        let live: Vec<_> =
            shop.sandbox.billed("subscription").into_iter().filter(|sub| sub["status"] == "active").collect();
        assert_eq!(live.len(), 1);
        let customer = shop.sandbox.stripe_object(&shop.customer()).unwrap();
        let paid: i64 = shop.invoices().await.iter().map(|invoice| invoice.paid.0).sum();
        let kept = if shop.current().await.plan.as_str() == "pro" { 900 } else { 2_900 };
        assert_eq!(-customer["balance"].as_i64().unwrap(), paid - kept, "what was paid twice is credit");
        let mut states: Vec<(String, Option<String>)> = on_read!(&shop.server.db, conn => {
            sqlx::query_as("select state, problem from plan_change").fetch_all(conn).await
        })
        .unwrap();
        states.sort();
        assert_eq!((states[0].0.as_str(), states[1].0.as_str()), ("done", "failed"), "nothing waits for ever");
        assert!(states[1].1.as_ref().unwrap().contains("You have a plan already"), "{states:?}");
    })
    .await;
}

#[tokio::test]
async fn a_promotion_code_takes_off_what_it_says_and_the_portal_opens() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.sandbox.edit("/v1/coupons", "id=half&percent_off=50&duration=once").unwrap();
        shop.sandbox.edit("/v1/promotion_codes", "promotion[type]=coupon&promotion[coupon]=half&code=HALF").unwrap();
        let (_, proposal) = shop.propose(&standard("pro", 1)).await;
        let Proposal::Checkout { url } = proposal else { panic!() };
        assert_eq!(shop.post_form(&url, "promotion_code=half&apply=1").await.status, 303);
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        assert_eq!(shop.invoices().await[0].paid, Cents(450));
        shop.let_pass(32).await;
        assert_eq!(shop.invoices().await[0].paid, Cents(900), "once");

        let portal = subscription::open_portal(&shop.server, &shop.buyer).await.unwrap();
        let saved = shop.post_form(&portal, "what=card&number=5555555555554444&expiry=12/40&cvc=123&name=Ada").await;
        assert_eq!(saved.status, 303);
        shop.deliver().await;
        shop.let_pass(31).await;
        assert_eq!(shop.invoices().await.len(), 3);
    })
    .await;
}

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

/// Webhooks of one new subscription come at once, to several nodes: it is one subscription with one trial, and stays.
#[tokio::test]
async fn readings_of_one_new_subscription_at_the_same_moment_agree() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (node, _) = shop.node().await;
        for trial_card in [Some(GOOD_CARD), Some("5555555555554444"), None, None, None, None] {
            let user = crate::shop::insert_user(world, world.account().await).await;
            let (id, to) = (shop.new_change(), standard("pro", 1));
            let proposal = match trial_card {
                Some(_) => subscription::propose_trial(&shop.server, &user, &to, &id).await.unwrap(),
                None => subscription::propose(&shop.server, &user, &to, &id).await.unwrap(),
            };
            let Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
            assert_eq!(shop.pay_page(&url, trial_card.unwrap_or(GOOD_CARD)).await.status, 303);
            let new = server::stripe::plan::SubscriptionId::new(shop.at_stripe()["id"].as_str().unwrap());
            let readings = (0..8).map(|at| subscription::refresh(if at % 2 == 0 { &shop.server } else { &node }, &new));
            for applied in futures::future::join_all(readings).await {
                assert_eq!(applied.unwrap(), subscription::Applied::Stored);
            }
            let (status, credit) = if trial_card.is_some() { ("trialing", "$10.00") } else { ("active", "$0.00") };
            assert_eq!(shop.at_stripe()["status"], status, "nobody took it for a second one");
            let current = subscription::load_current(&shop.server, &user.account_id).await.unwrap();
            assert_eq!(current.plan.as_str(), "pro");
            let trial = server::ledger::load_balance(&shop.server, &user.account_id).await.unwrap().trial;
            assert_eq!(trial.to_string(), credit, "granted once");
        }
        shop.check_books().await;
        node.db.close().await;
    })
    .await;
}

/// The days of grace stand in the catalogue alone: page, plan and banner follow it.
#[tokio::test]
async fn how_long_an_unpaid_plan_stays_is_what_the_catalogue_says() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let mut catalogue = (*shop.server.catalogue.load_full()).clone();
        catalogue.grace.past_due_days = 3;
        shop.server.catalogue.store(std::sync::Arc::new(catalogue));
        shop.subscribe_as(&shop.buyer, &standard("pro", 1), DECLINES_LATER_CARD).await;
        shop.deliver().await;
        let month = shop.current().await.period.seconds() / DAY;
        shop.let_pass(month + 3).await;
        let standing = async || subscription::load_standing(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert!(matches!(standing().await, Some(domain::subscription::Standing::Grace { .. })));
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        shop.let_pass(1).await;
        assert_eq!(standing().await, Some(domain::subscription::Standing::Suspended));
        let view = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!(view.live.unwrap().standing, domain::subscription::Standing::Suspended);
        assert_eq!(shop.current().await.plan.as_str(), "free");
    })
    .await;
}

/// What was run is told to a meter, an hour once; what Stripe refuses can be told again.
#[tokio::test]
async fn usage_is_mirrored_to_a_meter_an_hour_once() {
    each_database(async |world| {
        let shop = Shop::open_with(world, |config| config.stripe.meter = Some("executions".to_owned())).await;
        shop.start("pack-10").await;
        let mirror = async || server::usage_mirror::mirror(&shop.server).await.unwrap();
        let use_hour = "insert into usage_hour (account_id, hour, model_id, skill_id, source, executions, input_tokens,
                                                output_tokens, cost_nanos, charge_nanos)
                        select $1, created_at - created_at % 3600000000, 'm', '', 'credits', 7, 1, 1, 1, 1
                        from   account where account_id = $1";
        shop.tamper(use_hour, shop.buyer.account_id.as_str()).await;
        assert_eq!(mirror().await, 0, "the hour is not over");
        shop.advance_seconds(2 * 3_600);
        assert_eq!((mirror().await, mirror().await), (1, 0));
        let told = shop.sandbox.billed("meter_event");
        assert_eq!((told.len(), told[0]["payload"]["value"].as_str()), (1, Some("7")));

        // Told again after a crash between the call and its note: Stripe takes it once.
        shop.tamper("update meter_event set state = 'open' where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        shop.advance_seconds(25 * 3_600);
        mirror().await;
        assert_eq!(shop.sandbox.billed("meter_event").len(), 1);
        shop.tamper("update meter_event set state = 'failed' where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        assert_eq!(server::usage_mirror::replay_failed(&shop.server).await.unwrap(), 1);
        assert_eq!((mirror().await, mirror().await), (1, 0));
    })
    .await;
}
