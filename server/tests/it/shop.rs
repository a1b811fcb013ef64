//! Owns: what the tests of purchases stand on: a sandbox Stripe, a server that sells through it, and a buyer.
//! Nothing is delivered and no job runs until a test says so.

use crate::support::World;
use domain::catalogue::Catalogue;
use domain::id::{AccountId, PackId, PurchaseId, UserId};
use domain::money::Usd;
use domain::pack::Pack;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sandbox::{Sandbox, WebhookMode};
use serde_json::Value;
use server::account::{Role, User};
use server::config::Config;
use server::job::run_jobs_until_idle;
use server::purchase::{self, Purchase, PurchaseState};
use server::{Server, http, http_client, ledger, member, on_read, on_tx};
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;

pub const SECRET: &str = "whsec_it";
pub const GOOD_CARD: &str = "4242424242424242";
pub const NO_FUNDS_CARD: &str = "4000000000009995";
pub const BANK_DEBIT: &str = "000123456789";
pub const FAILING_BANK_DEBIT: &str = "000111111116";

/// A server that sells packs through a sandbox of its own.
pub struct Shop {
    pub sandbox: Sandbox,
    pub server: Server,
    pub buyer: User,
    pub webhook_url: String,
    config: Config,
    client: reqwest::Client,
}

/// What was answered to a request.
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
}

impl Shop {
    pub async fn open(world: &World) -> Shop {
        Shop::open_with(world, |_| ()).await
    }

    /// With settings that differ from the usual ones.
    pub async fn open_with(world: &World, change: impl FnOnce(&mut Config)) -> Shop {
        // Several shops of one database must not share the ids of their Stripes.
        static SHOPS: AtomicU64 = AtomicU64::new(1);
        let seed = SHOPS.fetch_add(1, Ordering::Relaxed);
        let now = Some(world.clock.now().seconds());
        let options = sandbox::Options { now, seed, ..sandbox::Options::default() };
        let sandbox = sandbox::start(options).await.unwrap();
        let mut config = world.config.clone();
        config.stripe.api_url = sandbox.stripe_url();
        config.mail.smtp_url = sandbox.smtp_url().into();
        change(&mut config);
        let server = Server::open(config.clone(), world.clock.clone()).await.unwrap();
        offer(&server, Usd::parse_dollars("11.50").unwrap());
        let webhook_url = listen(&server).await;
        sandbox.set_webhook(webhook_url.clone(), SECRET);
        sandbox.set_webhook_mode(WebhookMode { hold: true, ..WebhookMode::default() });
        let buyer = insert_user(world, world.account().await).await;
        Shop { sandbox, server, buyer, webhook_url, config, client: http_client::build().unwrap() }
    }

    /// Another node on the same database, and the address of its webhook.
    pub async fn node(&self) -> (Server, String) {
        let node = Server::open(self.config.clone(), self.server.clock.clone()).await.unwrap();
        node.catalogue.store(self.server.catalogue.load_full());
        let url = listen(&node).await;
        (node, url)
    }

    pub fn new_id(&self) -> PurchaseId {
        PurchaseId::new(self.server.clock.new_id())
    }

    /// Begins a purchase; the address is Stripe's page.
    pub async fn start(&self, pack: &str) -> (PurchaseId, String) {
        let purchase_id = self.new_id();
        let url = purchase::start(&self.server, &self.buyer, &PackId::new(pack), purchase_id.clone()).await.unwrap();
        (purchase_id, url)
    }

    /// Begins a purchase and pays it on Stripe's page.
    pub async fn start_and_pay(&self, pack: &str) -> PurchaseId {
        let (purchase_id, url) = self.start(pack).await;
        let answer = self.pay_page(&url, GOOD_CARD).await;
        assert_eq!(answer.status, 303);
        purchase_id
    }

    /// Sends the form of Stripe's page, as a browser without JavaScript does.
    pub async fn pay_page(&self, url: &str, card: &str) -> Answer {
        let form = format!("number={card}&expiry=12/40&cvc=123&name=Ada+Example");
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        Answer { status: response.status().as_u16(), location }
    }

    /// Sends a form to one of Stripe's pages.
    pub async fn post_form(&self, url: &str, form: &str) -> Answer {
        let request =
            self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await.unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        Answer { status: response.status().as_u16(), location }
    }

    /// Reads from Stripe's API past the server.
    pub async fn call_stripe_get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}v1/{path}", self.sandbox.stripe_url())).bearer_auth("sk_test_it");
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Posts to a webhook, with any header and body; the status that was answered.
    pub async fn post(&self, url: &str, signature: Option<&str>, body: impl Into<reqwest::Body>) -> u16 {
        let mut request = self.client.post(url).body(body);
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Posts an event signed as Stripe would.
    pub async fn post_event(&self, url: &str, event: &Value) -> u16 {
        let body = event.to_string();
        let signature = self.sign(SECRET, body.as_bytes());
        self.post(url, Some(&signature), body).await
    }

    /// Calls Stripe's API past the server, as somebody at Stripe's dashboard would.
    pub async fn call_stripe(&self, path: &str, form: String) -> Value {
        let request = self
            .client
            .post(format!("{}v1/{path}", self.sandbox.stripe_url()))
            .bearer_auth("sk_test_it")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{status}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn sign(&self, secret: &str, body: &[u8]) -> String {
        sign_at(secret, self.server.clock.now().seconds(), body)
    }

    /// Delivers every webhook that waits and does the jobs that follow.
    pub async fn deliver(&self) {
        for delivery in self.sandbox.deliver_now().await {
            assert_eq!(delivery.status, Some(200), "{delivery:?}");
        }
        self.run_jobs().await;
    }

    pub async fn run_jobs(&self) {
        run_jobs_until_idle(&self.server).await.unwrap();
    }

    /// Every webhook is lost from now on.
    pub fn lose_webhooks(&self) {
        self.sandbox.set_webhook_mode(WebhookMode { drop: true, ..WebhookMode::default() });
    }

    /// Moves the time of both sides.
    pub fn advance_seconds(&self, seconds: i64) {
        self.server.clock.advance_seconds(seconds);
        self.sandbox.advance_seconds(seconds);
    }

    pub async fn load(&self, purchase_id: &PurchaseId) -> Purchase {
        purchase::load(&self.server, &self.buyer.account_id, purchase_id).await.unwrap().unwrap()
    }

    pub async fn state(&self, purchase_id: &PurchaseId) -> PurchaseState {
        self.load(purchase_id).await.state
    }

    /// What the buyer can spend, in dollars as text.
    pub async fn spendable(&self) -> String {
        ledger::load_balance(&self.server, &self.buyer.account_id).await.unwrap().spendable().to_string()
    }

    /// How many times credit was granted to the buyer.
    pub async fn grants(&self) -> i64 {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select count(*) from posting where account_id = $1 and kind = 'grant'")
                .bind(&self.buyer.account_id)
                .fetch_one(conn)
                .await
        })
        .unwrap()
    }

    /// The state of every stored event, with its problem, in the order of their ids.
    pub async fn events(&self) -> Vec<(String, String, Option<String>)> {
        on_read!(&self.server.db, conn => {
            sqlx::query_as("select kind, state, problem from stripe_event order by kind, stripe_event_id")
                .fetch_all(conn)
                .await
        })
        .unwrap()
    }

    /// The state of the stored event of this kind.
    pub async fn event_state(&self, kind: &str) -> Option<String> {
        self.events().await.into_iter().find(|(stored, ..)| stored == kind).map(|(_, state, _)| state)
    }

    /// Runs one statement that changes the purchase or the account behind the server's back.
    pub async fn tamper(&self, sql: &'static str, id: &str) {
        let mut tx = self.server.db.begin().await.unwrap();
        on_tx!(&mut tx, conn => sqlx::query(sql).bind(id).execute(conn).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
    }

    /// The books add up.
    pub async fn check_books(&self) {
        assert_eq!(ledger::check(&self.server.db).await.unwrap(), []);
    }
}

/// The id of the Checkout Session whose page this is.
pub fn session_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

pub fn sign_at(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Offers two packs: `pack-10` at this price, and `pack-50` with a bonus of $5.
pub fn offer(server: &Server, price: Usd) {
    let pack = |id: &str, amount: &str, bonus: &str, price: Usd| Pack {
        id: PackId::new(id),
        amount: Usd::parse_dollars(amount).unwrap(),
        bonus: Usd::parse_dollars(bonus).unwrap(),
        price,
    };
    let packs =
        vec![pack("pack-10", "10", "0", price), pack("pack-50", "50", "5", Usd::parse_dollars("57.50").unwrap())];
    let catalogue = Catalogue { packs, ..(*server.catalogue.load_full()).clone() };
    server.catalogue.store(Arc::new(catalogue));
}

/// Serves the routes that are no pages; the address of the webhook.
async fn listen(server: &Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = http::router(server.clone());
    server.tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/webhooks/stripe")
}

/// A user who owns the account.
pub async fn insert_user(world: &World, account_id: AccountId) -> User {
    let user_id = UserId::new(world.clock.new_id());
    let email = format!("{user_id}@buyer.test");
    let mut tx = world.db().begin().await.unwrap();
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into \"user\" (user_id, account_id, email, password_hash, is_admin, email_verified_at, created_at)
             values ($1, $2, $3, 'none', 0, $4, $4)",
        )
        .bind(&user_id)
        .bind(&account_id)
        .bind(&email)
        .bind(world.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })
    .unwrap();
    member::insert(&mut tx, &world.clock, &account_id, &user_id, Role::Owner).await.unwrap();
    tx.commit().await.unwrap();
    User {
        user_id,
        account_id,
        email,
        role: Role::Owner,
        is_admin: false,
        email_verified: true,
        account_name: "Buyer".to_owned(),
        time_zone: "UTC".to_owned(),
    }
}
