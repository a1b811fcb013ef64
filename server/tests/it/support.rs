//! Owns: what every integration test stands on: a fresh database of each kind, a clock that the test drives, and
//! accounts with credit. `TEST_POSTGRES_URL` says where Postgres is; a test that needs it fails without it.

use crate::template;
use clap::Parser as _;
use domain::id::{AccountId, PurchaseId};
use domain::ledger::GrantKind;
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use futures::FutureExt as _;
use server::clock::Clock;
use server::config::{Config, Database, Settings};
use server::db::Db;
use server::ledger::{self, Grant};
use server::{Server, on_tx};
use sqlx::{Connection as _, PgConnection};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// When every test begins: 2027-01-15T08:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// One server on a database of its own.
pub struct World {
    pub server: Server,
    pub clock: Clock,
    pub config: Config,
    place: Place,
}

enum Place {
    Folder(PathBuf),
    PostgresDatabase { admin_url: String, name: String },
}

/// Runs the test on a fresh SQLite file, then on a fresh Postgres database.
pub async fn each_database(test: impl AsyncFn(&World)) {
    World::sqlite().await.run(&test).await;
    World::postgres().await.run(&test).await;
}

impl World {
    pub async fn sqlite() -> World {
        World::sqlite_at(Clock::manual(START)).await
    }

    /// On SQLite with a clock of the caller's, as a benchmark needs, where the order of ids matters.
    pub async fn sqlite_at(clock: Clock) -> World {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(Clock::system().new_id());
        let mut config = config(&folder);
        let file = folder.join("tokenbank.sqlite");
        template::copy_sqlite(&file).await;
        config.database = Database::Sqlite(file);
        World::open(config, Place::Folder(folder), clock).await
    }

    pub async fn postgres() -> World {
        let admin_url = postgres_url();
        let name = format!("it_{}", Clock::system().new_id().replace('-', ""));
        template::copy_postgres(&admin_url, &name).await;
        let mut config = config(Path::new(env!("CARGO_TARGET_TMPDIR")));
        config.database = Database::Postgres(template::sibling(&admin_url, &name).into());
        World::open(config, Place::PostgresDatabase { admin_url, name }, Clock::manual(START)).await
    }

    async fn open(config: Config, place: Place, clock: Clock) -> World {
        let server = Server::open(config.clone(), clock.clone()).await.expect("open the server");
        World { server, clock, config, place }
    }

    /// Runs the test, and removes the database whether it passes or not.
    pub async fn run(self, test: impl AsyncFn(&World)) {
        let engine = self.server.db.engine();
        let outcome = AssertUnwindSafe(test(&self)).catch_unwind().await;
        self.server.db.close().await;
        match self.place {
            Place::Folder(folder) => std::fs::remove_dir_all(folder).expect("remove the database folder"),
            Place::PostgresDatabase { admin_url, name } => {
                let mut admin = PgConnection::connect(&admin_url).await.expect("connect to TEST_POSTGRES_URL");
                execute(&mut admin, format!("drop database {name} with (force)")).await;
            }
        }
        if let Err(panic) = outcome {
            std::panic::resume_unwind(Box::new(format!("on {engine}: {}", text_of(panic.as_ref()))));
        }
    }

    /// Another node on the same database, with the same clock.
    pub async fn node(&self) -> Server {
        Server::open(self.config.clone(), self.clock.clone()).await.expect("open another node")
    }

    pub fn db(&self) -> &Db {
        &self.server.db
    }

    /// An account with an empty ledger row.
    pub async fn account(&self) -> AccountId {
        let account_id = AccountId::new(self.clock.new_id());
        let mut tx = self.db().begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into account (account_id, name, plan_id, time_zone, created_at)
                 values ($1, $1, 'free', 'UTC', $2)",
            )
            .bind(&account_id)
            .bind(self.clock.now())
            .execute(conn)
            .await
            .map(drop)
        })
        .unwrap();
        ledger::open_account(&mut tx, &account_id).await.unwrap();
        tx.commit().await.unwrap();
        account_id
    }

    /// An account that bought `dollars` of credit without a bonus.
    pub async fn account_with(&self, dollars: i64) -> AccountId {
        let account_id = self.account().await;
        self.buy(&account_id, Usd::from_dollars(dollars).unwrap(), Usd::ZERO).await;
        account_id
    }

    /// A paid purchase and its grants, as `purchase::complete` leaves them.
    pub async fn buy(&self, account_id: &AccountId, amount: Usd, bonus: Usd) -> PurchaseId {
        let purchase_id = PurchaseId::new(self.clock.new_id());
        let price = Usd::from_nanos(amount.nanos() * 115 / 100);
        let Cents(price_cents) = price.to_cents_half_up();
        let mut tx = self.db().begin().await.unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into purchase (purchase_id, account_id, user_id, pack_id, amount_nanos, bonus_nanos, price_cents,
                                       currency, state, created_at, ended_at)
                 values ($1, $2, 'nobody', 'test', $3, $4, $5, 'usd', 'paid', $6, $6)",
            )
            .bind(&purchase_id)
            .bind(account_id)
            .bind(amount)
            .bind(bonus)
            .bind(price_cents)
            .bind(self.clock.now())
            .execute(conn)
            .await
            .map(drop)
        })
        .unwrap();
        let paid = Grant {
            account_id: account_id.clone(),
            kind: GrantKind::Paid,
            amount,
            price,
            reference: purchase_id.to_string(),
            memo: "Bought credit".to_owned(),
            allowed_models: None,
            expires_at: None,
        };
        if bonus.is_positive() {
            let bonus = Grant { kind: GrantKind::Bonus, amount: bonus, price: Usd::ZERO, ..paid.clone() };
            ledger::grant(&mut tx, &self.clock, bonus).await.unwrap();
        }
        ledger::grant(&mut tx, &self.clock, paid).await.unwrap();
        tx.commit().await.unwrap();
        purchase_id
    }
}

/// Whether this process has the test `name` for itself, as one needs that changes the whole process: a logger, a panic hook.
/// Else it is run in such a process, must pass there, and what it wrote is the answer.
#[allow(clippy::disallowed_methods)] // A child process is told by its environment.
pub fn alone(name: &str) -> Result<(), String> {
    const ALONE: &str = "TOKENBANK_TEST_ALONE";
    if std::env::var(ALONE).is_ok() {
        return Ok(());
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, name)
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    assert!(output.status.success() && written.contains("1 passed"), "{name}: {written}");
    Err(written)
}

/// Where the tests' Postgres is.
#[allow(clippy::disallowed_methods)] // Tests have no settings of their own.
pub fn postgres_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect(
        "set TEST_POSTGRES_URL to a Postgres where databases may be made, such as postgres://postgres@127.0.0.1/postgres",
    )
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

/// Complete settings that reach nothing outside this machine.
fn config(folder: &Path) -> Config {
    let flags = [
        "it",
        "--public-url=http://127.0.0.1:3000",
        "--stripe-secret-key=sk_test_it",
        "--stripe-webhook-secret=whsec_it",
        "--stripe-api-url=http://127.0.0.1:1/stripe/",
        "--anthropic-url=http://127.0.0.1:1/anthropic",
        "--openai-url=http://127.0.0.1:1/openai",
        "--smtp-url=smtp://127.0.0.1:1",
        "--database-url=postgres://replaced",
        "--master-key=1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    ];
    let mut settings = Flags::parse_from(flags).settings;
    settings.data = folder.to_owned();
    settings.check(false).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.setting).collect::<Vec<_>>().join(", "))
    })
}

pub async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".to_owned())
}
