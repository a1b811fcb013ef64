//! Owns: what these tests stand on: a database, a sandbox Stripe, the settings of an installation, its processes, and a
//! server in the test's own process that sells and looks.

use clap::Parser as _;
use domain::id::{AccountId, PackId, PurchaseId};
use domain::money::Usd;
use futures::FutureExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sandbox::{PayOutcome, Sandbox, WebhookMode};
use secrecy::SecretString;
use server::account::{User, load_user, make_admin};
use server::clock::Clock;
use server::config::{Config, Database, Settings};
use server::{Server, ledger, on_read, purchase};
use sha2::Sha256;
use sqlx::{Connection as _, PgConnection};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub const SECRET: &str = "whsec_processes";
pub const GOOD_CARD: &str = "4242424242424242";
/// Nothing that these tests wait for takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// One installation: its processes share the database and the settings.
pub struct Installation {
    pub sandbox: Sandbox,
    /// Its clock stands at the moment the test began, until the test moves it.
    pub server: Server,
    config: Config,
    flags: Vec<String>,
    data: PathBuf,
    postgres: Option<(String, String)>,
}

/// A running `tokenbank serve`. Dropped, it is killed.
pub struct Process {
    child: Child,
    pub url: String,
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

/// Runs the test on a fresh SQLite file, then on a fresh Postgres database.
pub async fn each_database(test: impl AsyncFn(&Installation)) {
    for url in [None, Some(postgres_url())] {
        let installation = Installation::make(url).await;
        let engine = installation.server.db.engine();
        let outcome = AssertUnwindSafe(test(&installation)).catch_unwind().await;
        installation.remove().await;
        if let Err(panic) = outcome {
            eprintln!("on {engine}:");
            std::panic::resume_unwind(panic);
        }
    }
}

fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect("set TEST_POSTGRES_URL to a Postgres where databases may be made")
}

impl Installation {
    async fn make(admin_url: Option<String>) -> Installation {
        static SEEDS: AtomicU64 = AtomicU64::new(1);
        let options = sandbox::Options { seed: SEEDS.fetch_add(1, Ordering::Relaxed), ..sandbox::Options::default() };
        let sandbox = sandbox::start(options).await.unwrap();
        sandbox.set_webhook_mode(WebhookMode { hold: true, ..WebhookMode::default() });
        let name = Clock::system().new_id();
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("processes-{name}"));
        std::fs::create_dir_all(&data).unwrap();
        let mut flags = vec![
            "--public-url=http://127.0.0.1:3000".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--stripe-secret-key=sk_test_it".to_owned(),
            format!("--stripe-webhook-secret={SECRET}"),
            format!("--stripe-api-url={}", sandbox.stripe_url()),
            format!("--smtp-url={}", sandbox.smtp_url()),
            "--anthropic-api-key=sk-ant-it".to_owned(),
            format!("--anthropic-url={}", sandbox.anthropic_url()),
            format!("--openai-url={}", sandbox.openai_url()),
            "--master-key=1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned(),
            format!("--data={}", data.display()),
        ];
        let mut postgres = None;
        if let Some(admin_url) = admin_url {
            let name = format!("processes_{}", name.replace('-', ""));
            execute(&admin_url, format!("create database {name}")).await;
            let (before, _) = admin_url.rsplit_once('/').expect("TEST_POSTGRES_URL ends in a database name");
            flags.push(format!("--database-url={before}/{name}"));
            postgres = Some((admin_url, name));
        }
        let mut settings = Flags::parse_from(std::iter::once(&"it".to_owned()).chain(&flags)).settings;
        if postgres.is_none() {
            settings.database_url = None;
        }
        let mut config =
            settings.check(false).unwrap_or_else(|problems| panic!("{} settings are wrong", problems.len()));
        if postgres.is_none() {
            config.database = Database::Sqlite(data.join("tokenbank.sqlite"));
        }
        let server = Server::open(config.clone(), Clock::manual(Clock::system().now())).await.unwrap();
        Installation { sandbox, server, config, flags, data, postgres }
    }

    async fn remove(self) {
        self.server.stop().await;
        if let Some((admin_url, name)) = self.postgres {
            execute(&admin_url, format!("drop database {name} with (force)")).await;
        }
        std::fs::remove_dir_all(self.data).unwrap();
    }

    /// Starts another process and waits until it listens.
    pub async fn start(&self) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokenbank"))
            .arg("serve")
            .args(&self.flags)
            .env_clear()
            // What was forged is a warning each time.
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("the server says where it listens");
        let url = line.strip_prefix("tokenbank listens on ").expect(&line).to_owned();
        Process { child, url }
    }

    /// A server of this installation that begins now, so many seconds ahead of its time: what waits for its turn has it.
    pub async fn later(&self, seconds: i64) -> Server {
        let clock = Clock::manual(Clock::system().now().plus_seconds(seconds));
        Server::open(self.config.clone(), clock).await.unwrap()
    }

    /// Somebody with an account of their own.
    pub async fn person(&self) -> User {
        let email = format!("{}@buyer.test", self.server.clock.new_id());
        let password = SecretString::from("a quiet long password".to_owned());
        let user_id = make_admin(&self.server, &email, &password).await.unwrap();
        load_user(&self.server, &user_id).await.unwrap().unwrap()
    }

    /// Buys a pack and pays it on Stripe's page; the purchase and its Checkout Session.
    pub async fn buy(&self, buyer: &User, pack: &str) -> (PurchaseId, String) {
        let purchase_id = PurchaseId::new(self.server.clock.new_id());
        let url = purchase::start(&self.server, buyer, &PackId::new(pack), purchase_id.clone()).await.unwrap();
        let session = url.rsplit('/').next().unwrap().to_owned();
        assert!(matches!(self.sandbox.pay(&session, GOOD_CARD), PayOutcome::Paid { .. }));
        (purchase_id, session)
    }

    pub async fn spendable(&self, account_id: &AccountId) -> Usd {
        ledger::load_balance(&self.server, account_id).await.unwrap().spendable()
    }

    /// How many times credit was granted to the account.
    pub async fn grants(&self, account_id: &AccountId) -> i64 {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select count(*) from posting where account_id = $1 and kind = 'grant'")
                .bind(account_id)
                .fetch_one(conn)
                .await
        })
        .unwrap()
    }

    pub async fn check_books(&self) {
        assert_eq!(ledger::check(&self.server.db).await.unwrap(), []);
    }
}

impl Process {
    pub fn webhook_url(&self) -> String {
        format!("{}/webhooks/stripe", self.url)
    }

    /// `kill -9`: it ends in the middle of whatever it does.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Other processes do the work, so all one can do is look until it is done.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_done: impl FnMut() -> F) {
    let began = Instant::now();
    while !is_done().await {
        assert!(began.elapsed() < PATIENCE, "{what} did not happen in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Stripe's signature over this body at this moment.
pub fn sign_at(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn execute(admin_url: &str, sql: String) {
    let mut admin = PgConnection::connect(admin_url).await.expect("connect to TEST_POSTGRES_URL");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
}
