//! Everything behind Tokenbank's pages: database, ledger, Stripe, providers, jobs, the API and the webhooks.
//! Never here: leptos. Two hops: page or route, then a function of this crate, then SQL.

pub mod account;
pub mod advice;
pub mod agent;
pub mod alert;
pub mod allowance;
pub mod api_key;
pub mod catalogue;
pub mod clock;
pub mod code;
pub mod config;
pub mod db;
pub mod demo;
pub mod dispute;
pub mod entitlement;
pub mod error;
pub mod execution;
pub mod freeze;
pub mod http;
pub mod http_client;
pub mod idempotency;
pub mod job;
pub mod ledger;
pub mod mail;
pub mod member;
pub mod metrics;
pub mod notice;
pub mod panic_log;
pub mod password;
pub mod payment_method;
pub mod periodic;
pub mod provider;
pub mod provider_key;
pub mod purchase;
pub mod rate;
pub mod refund;
pub mod session;
pub mod statement;
pub mod stripe;
pub mod subscription;
pub mod task;
pub mod top_up;
pub mod trial;
pub mod usage;
pub mod usage_mirror;
pub mod vault;
pub mod webhook_out;

use arc_swap::ArcSwap;
use clock::Clock;
use config::{Config, Database};
use db::Db;
use domain::catalogue::Catalogue;
use domain::rate::RateBook;
use error::Result;
use secrecy::ExposeSecret as _;
use std::ops::Deref;
use std::sync::Arc;
use task::Tasks;
use tokio::sync::Notify;

/// One running Tokenbank: what every function here needs. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Parts>);

/// What a [`Server`] is made of.
pub struct Parts {
    pub config: Config,
    pub db: Db,
    pub clock: Clock,
    pub tasks: Tasks,
    pub ledger: ledger::Ledger,
    /// How often somebody may try to sign in, sign up or reset a password.
    pub limits: http::limits::Limits,
    pub passwords: password::Hashing,
    pub mailer: mail::Mailer,
    /// Callers of the API seen in the last seconds.
    pub api_callers: api_key::Callers,
    pub standings: allowance::Remembered,
    /// Woken when a job was inserted that somebody waits for.
    pub wake_jobs: Notify,
    /// Woken when a message to a webhook was inserted that somebody waits for.
    pub webhook_wake: Notify,
    pub stripe: stripe::Client,
    /// Seals and opens the users' keys of providers.
    pub vault: vault::Vault,
    /// What is offered, and at which prices; both change while we run.
    pub catalogue: ArcSwap<Catalogue>,
    pub catalogue_versions: catalogue::Versions,
    pub rates: ArcSwap<RateBook>,
    pub http: reqwest::Client,
    pub providers: provider::Providers,
    /// The runs of pages that go on here.
    pub runs: execution::Runs,
    /// Runs that were refused for want of credit in the last moments.
    pub refusals: execution::Refusals,
    /// Who waits for the pace of a plan.
    pub waiting: execution::Waiting,
}

impl Deref for Server {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Server {
    /// Opens the database, brings its schema up to date, reads catalogue and rates, and makes the parts. Nothing runs in the background yet.
    pub async fn open(config: Config, clock: Clock) -> Result<Server> {
        let db = open_database(&config.database).await?;
        db.migrate().await?;
        let catalogue = catalogue::choose(&db, &clock, config.catalogue.as_deref()).await?;
        rate::seed(&db, &clock, &catalogue).await?;
        let rates = rate::load_book(&db).await?;
        Ok(Server(Arc::new(Parts {
            catalogue: ArcSwap::from_pointee(catalogue),
            catalogue_versions: catalogue::Versions::default(),
            stripe: stripe::Client::new(&config.stripe)?,
            vault: vault::Vault::open(&config.master_key)?,
            rates: ArcSwap::from_pointee(rates),
            http: http_client::build()?,
            providers: provider::Providers::new(&config),
            runs: execution::Runs::default(),
            refusals: execution::Refusals::default(),
            waiting: execution::Waiting::default(),
            ledger: ledger::Ledger::start(&db, &clock, ledger::Options::default()),
            limits: http::limits::Limits::new(&clock, config.demo),
            passwords: password::Hashing::default(),
            mailer: mail::Mailer::default(),
            api_callers: api_key::Callers::default(),
            standings: allowance::Remembered::default(),
            wake_jobs: Notify::new(),
            webhook_wake: Notify::new(),
            tasks: Tasks::default(),
            config,
            db,
            clock,
        })))
    }

    /// Starts the job worker and the sweeps.
    pub fn run_background(&self) {
        self.tasks.spawn(job::work(self.clone()));
        self.tasks.spawn(periodic::work(self.clone()));
        self.tasks.spawn(webhook_out::work(self.clone()));
    }

    /// Stops background work, waits for runs that stream, and closes the database.
    pub async fn stop(&self) {
        self.tasks.stop().await;
        self.db.close().await;
    }
}

/// Opens the database that the settings name; on SQLite its folder is made first.
pub async fn open_database(database: &Database) -> Result<Db> {
    match database {
        Database::Sqlite(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|cause| error::Error::internal(&format!("make the folder {}", folder.display()), cause))?;
            }
            Db::open_sqlite(path).await
        }
        Database::Postgres(url) => Db::connect_postgres(url.expose_secret()).await,
    }
}
