//! A plan at the own-key price that loses its last key: seven days in which the price stays, then the standard price by
//! the same swap as any change of keys; and every way out of it.

use crate::plan::terms;
use crate::shop::{GOOD_CARD, Shop};
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::id::ProviderKeyId;
use domain::key::KeyState;
use domain::key_health::Heard;
use domain::money::Cents;
use domain::proration::{self, Item};
use domain::provider::Provider;
use domain::subscription::{KeyMode, SubscriptionStatus};
use domain::trial::KeyGrace;
use sandbox::{ApiFault, ApiFaultKind};
use server::job::run_jobs_until_idle;
use server::on_read;
use server::provider_key::{self, Change, NewKey, Signal};
use server::subscription::{self, PriceStands, look_at_keys, move_to_standard_price};

const DAY: i64 = 86_400;
const LOST: &str = "Your plan's own-key price needs a key that works";
const WORKS: &str = "A key of yours works again, and your plan keeps its price";
const MOVED: &str = "Your plan has the standard price now";

/// A shop whose buyer has a key. Nobody answers at the provider, so nothing is known of the key, and it counts.
async fn open(world: &World) -> (Shop, ProviderKeyId) {
    let shop = Shop::open_with_plans(world).await;
    let key = shop.add_key().await;
    (shop, key)
}

impl Shop {
    async fn add_key(&self) -> ProviderKeyId {
        let secret = "sk-ant-api03-a-key-of-the-buyers-own-AbCd";
        let new = NewKey { provider: Provider::Anthropic, secret, url: "", label: "", replaces: None };
        provider_key::save(&self.server, &self.buyer, new).await.unwrap().id
    }

    async fn switch(&self, key: &ProviderKeyId, is_enabled: bool) {
        let change = Change {
            label: "",
            allowed_models: Vec::new(),
            allowed_agents: Vec::new(),
            is_enabled,
            is_first: false,
            expires_at: None,
        };
        provider_key::change(&self.server, &self.buyer, key, change).await.unwrap();
    }

    async fn missing(&self) -> Option<PriceStands> {
        let missing = subscription::load_missing_key(&self.server, &self.buyer.account_id).await.unwrap();
        missing.map(|missing| missing.stands)
    }

    async fn key_mode(&self) -> KeyMode {
        self.current().await.key_mode
    }

    /// How many mails with such a subject the buyer got.
    async fn told(&self, subject: &str) -> usize {
        run_jobs_until_idle(&self.server).await.unwrap();
        self.sandbox.mail_to(&self.buyer.email).iter().filter(|mail| mail.subject.starts_with(subject)).count()
    }

    async fn days_with_keys(&self, days: i64) {
        for _ in 0..days {
            self.let_pass(1).await;
            look_at_keys(&self.server).await.unwrap();
            self.run_jobs().await;
        }
    }

    async fn grace_states(&self) -> Vec<String> {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select state from key_grace order by lost_at").fetch_all(conn).await
        })
        .unwrap()
    }
}

#[tokio::test]
async fn the_price_stays_seven_days_and_then_the_difference_is_on_the_next_invoice() {
    each_database(async |world| {
        let (shop, key) = open(world).await;
        shop.subscribe(&terms("pro", KeyMode::Byok, 1)).await;
        let period = shop.current().await.period;
        assert_eq!((shop.missing().await, shop.invoices().await[0].paid), (None, Cents(500)));

        shop.let_pass(3).await;
        provider_key::delete(&shop.server, &shop.buyer, &key).await.unwrap();
        let ends_at = shop.server.clock.now().plus_seconds(7 * DAY);
        assert_eq!(shop.missing().await, Some(PriceStands::Grace(KeyGrace::Until(ends_at))));
        assert_eq!(shop.told(LOST).await, 1);
        let missing = subscription::load_missing_key(&shop.server, &shop.buyer.account_id).await.unwrap().unwrap();
        assert_eq!(missing.month, Some(Cents(900)), "what comes is said from the start");

        shop.days_with_keys(6).await;
        move_to_standard_price(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!((shop.key_mode().await, shop.told(MOVED).await), (KeyMode::Byok, 0), "not before its time");
        shop.days_with_keys(1).await;
        assert_eq!((shop.key_mode().await, shop.told(MOVED).await), (KeyMode::Standard, 1));
        assert_eq!(shop.missing().await, Some(PriceStands::Moved(shop.server.clock.now())));
        assert_eq!(shop.invoices().await.len(), 1, "nothing is charged by surprise");
        assert_eq!((shop.told(LOST).await, shop.told(WORKS).await), (1, 0), "each is told once");

        let item = |cents| Item { unit: Cents(cents), quantity: 1 };
        let difference = proration::lines(item(500), item(900), period, ends_at).unwrap();
        shop.let_pass(25).await;
        let invoices = shop.invoices().await;
        assert_eq!(invoices.len(), 2);
        assert_eq!(invoices[0].total, Cents(900 + proration::total(&difference).unwrap().0));
        assert_eq!(shop.missing().await, None, "the next period has nothing to say of it");
        assert_eq!(shop.grace_states().await, ["moved"]);
        shop.check_books().await;
    })
    .await;
}

/// Deleted, switched off, refused at a run, and found by a probe; and each way back.
#[tokio::test]
async fn every_loss_begins_the_grace_and_a_key_that_works_ends_it() {
    each_database(async |world| {
        let (shop, first) = open(world).await;
        let second = shop.add_key().await;
        shop.subscribe(&terms("team", KeyMode::Byok, 2)).await;
        provider_key::delete(&shop.server, &shop.buyer, &first).await.unwrap();
        assert_eq!(shop.missing().await, None, "there is another one");

        shop.switch(&second, false).await;
        assert!(shop.missing().await.is_some(), "switched off");
        shop.switch(&second, true).await;
        assert_eq!(shop.missing().await, None);

        let learn = async |state: KeyState| {
            let problem = Some("A run said so.".to_owned());
            let signal = Signal { from: Heard::Run, state, problem, cost: None };
            provider_key::note(&shop.server, (&second, 1), signal).await.unwrap();
        };
        learn(KeyState::Invalid).await;
        assert!(shop.missing().await.is_some(), "refused at a run");
        learn(KeyState::RateLimited).await;
        assert_eq!(shop.missing().await, None, "slow is not broken");

        shop.tamper("update provider_key set state = 'invalid' where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        assert_eq!(shop.missing().await, None, "nobody has looked yet");
        assert_eq!(look_at_keys(&shop.server).await.unwrap(), 1);
        assert!(shop.missing().await.is_some(), "the sweep looks");
        assert_eq!(shop.told(LOST).await, 3);
        shop.let_pass(3).await;
        shop.add_key().await;
        assert_eq!((shop.missing().await, shop.told(WORKS).await), (None, 3));

        shop.days_with_keys(10).await;
        assert_eq!(shop.key_mode().await, KeyMode::Byok, "the jobs of graces that ended do nothing");
        assert_eq!(shop.grace_states().await, ["key_works"; 3]);
        assert_eq!(shop.told(MOVED).await, 0);
    })
    .await;
}

/// Plans on our keys, other plans and no plan have nothing to do with keys.
#[tokio::test]
async fn only_a_plan_at_the_own_key_price_has_a_grace() {
    each_database(async |world| {
        let (shop, key) = open(world).await;
        shop.switch(&key, false).await;
        assert_eq!((shop.missing().await, look_at_keys(&shop.server).await.unwrap()), (None, 0));
        let denied =
            subscription::propose(&shop.server, &shop.buyer, &terms("pro", KeyMode::Byok, 1), &shop.new_change()).await;
        let denied = denied.unwrap_err().denial().cloned().unwrap();
        assert_eq!((&denied, denied.remedies()[0].href.as_str()), (&Denial::NoUsableKey, "/keys"));
        shop.subscribe(&terms("pro", KeyMode::Standard, 1)).await;
        assert_eq!((shop.missing().await, look_at_keys(&shop.server).await.unwrap()), (None, 0));

        // Own keys and back again while no key works: the choice is the person's, and nothing is said of moving.
        shop.switch(&key, true).await;
        shop.change(&terms("pro", KeyMode::Byok, 1)).await;
        shop.switch(&key, false).await;
        assert!(shop.missing().await.is_some());
        shop.change(&terms("pro", KeyMode::Standard, 1)).await;
        assert_eq!((shop.missing().await, shop.told(MOVED).await), (None, 0));
        assert_eq!(shop.grace_states().await, ["over"]);

        // The last key goes while the page of a first plan is open: the grace begins with the plan.
        let other = crate::shop::insert_user(world, world.account().await).await;
        let new =
            NewKey { provider: Provider::Groq, secret: "gsk_another_key_0001", url: "", label: "", replaces: None };
        let theirs = provider_key::save(&shop.server, &other, new).await.unwrap();
        let id = shop.new_change();
        let proposal = subscription::propose(&shop.server, &other, &terms("pro", KeyMode::Byok, 1), &id).await.unwrap();
        let subscription::Proposal::Checkout { url } = proposal else { panic!("{proposal:?}") };
        provider_key::delete(&shop.server, &other, &theirs.id).await.unwrap();
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        let theirs = subscription::load_missing_key(&shop.server, &other.account_id).await.unwrap().unwrap();
        assert!(matches!(theirs.stands, PriceStands::Grace(KeyGrace::Until(_))), "{theirs:?}");
    })
    .await;
}

/// Two nodes, an answer of Stripe's that is lost, a plan that was to end, and a key that comes at the last moment.
#[tokio::test]
async fn the_price_is_moved_once_whatever_happens_on_the_way() {
    each_database(async |world| {
        let (shop, key) = open(world).await;
        shop.subscribe(&terms("pro", KeyMode::Byok, 1)).await;
        shop.switch(&key, false).await;
        subscription::cancel(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        shop.days_with_keys(9).await;
        assert_eq!(shop.key_mode().await, KeyMode::Byok, "it ends anyway");
        assert_eq!(shop.missing().await, Some(PriceStands::Grace(KeyGrace::Over)));

        // It goes on after all, and Stripe does the swap without answering.
        subscription::resume(&shop.server, &shop.buyer, &shop.new_change()).await.unwrap();
        let fault =
            ApiFault { kind: ApiFaultKind::CutAfter, times: 1, path: Some("subscriptions".to_owned()), delay_ms: 0 };
        shop.sandbox.set_stripe_fault(fault);
        look_at_keys(&shop.server).await.unwrap();
        let (node, _) = shop.node().await;
        let account_id = &shop.buyer.account_id;
        let (here, there) =
            tokio::join!(move_to_standard_price(&shop.server, account_id), move_to_standard_price(&node, account_id));
        here.and(there).ok();
        shop.run_jobs().await;
        shop.deliver().await;
        assert_eq!((shop.key_mode().await, shop.told(MOVED).await), (KeyMode::Standard, 1));
        node.db.close().await;
        shop.let_pass(25).await;
        let renewal = &shop.invoices().await[0];
        assert_eq!(renewal.lines.iter().filter(|line| line.proration).count(), 2, "one difference: {renewal:?}");
        assert_eq!(shop.current().await.status, Some(SubscriptionStatus::Active));

        // Again at the own-key price. Stripe was asked, nobody knows whether it heard, and a key works again.
        shop.switch(&key, true).await;
        shop.change(&terms("pro", KeyMode::Byok, 1)).await;
        shop.switch(&key, false).await;
        shop.tamper("update key_grace set moving_at = 1 where account_id = $1 and state = 'open'", account_id.as_str())
            .await;
        shop.switch(&key, true).await;
        assert!(shop.missing().await.is_some(), "the job finds out");
        shop.days_with_keys(8).await;
        assert_eq!((shop.missing().await, shop.key_mode().await), (None, KeyMode::Byok));
        assert_eq!((shop.told(MOVED).await, shop.told(WORKS).await), (1, 1));
        assert_eq!(shop.grace_states().await, ["moved", "key_works"]);
    })
    .await;
}
