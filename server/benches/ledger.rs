//! How fast the ledger is: durable holds and captures, one by one and by 64 callers, on one hot account and spread over
//! a thousand, on both databases, with the raw speed of a commit beside them. `TEST_POSTGRES_URL` says where Postgres
//! is. About a minute.

use domain::execution::{ExecutionState, TokenUsage};
use domain::funding::{Funding, FundingSource};
use domain::id::{AccountId, ExecutionId, ModelId};
use domain::ledger::GrantKind;
use domain::money::Usd;
use domain::provider::Provider;
use server::clock::Clock;
use server::db::Db;
use server::error::{Error, Result};
use server::ledger::{self, End, Ended, Finish, Grant, Held, Ledger, NewHold, Options, Started};
use server::on_tx;
use sqlx::Connection as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CALLERS: usize = 64;
const ACCOUNTS: usize = 1_000;
const EACH: Duration = Duration::from_secs(5);

pub fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome =
        runtime.map_err(|error| Error::internal("start", error)).and_then(|runtime| runtime.block_on(bench()));
    if let Err(error) = outcome {
        line(&format!("ledger benchmark failed: {error}"));
        std::process::exit(1);
    }
}

async fn bench() -> Result<()> {
    line("Ledger: durable operations a second (a hold is one, its capture with the run's row and roll-up another)");
    line("");
    line(&format!(
        "{:<9} {:>14} {:>12} {:>13} {:>14} {:>8} {:>11}",
        "", "floor: commits", "one by one", "64, one hot", "64, 1,000 acc.", "hot ÷ 1", "hot ÷ spread"
    ));
    sqlite().await?;
    postgres().await?;
    line("");
    line("Targets: hot ÷ one by one ≥ 8, hot ÷ spread ≥ 0.9.");
    Ok(())
}

async fn sqlite() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ledger-bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| Error::internal("make the folder", error))?;
    let db = Db::open_sqlite(&folder.join("bench.sqlite")).await?;
    measure(&db).await?;
    db.close().await;
    std::fs::remove_dir_all(&folder).map_err(|error| Error::internal("remove the folder", error))
}

#[allow(clippy::disallowed_methods)] // A benchmark has no settings of its own.
async fn postgres() -> Result<()> {
    let url = std::env::var("TEST_POSTGRES_URL")
        .map_err(|_| Error::Internal("set TEST_POSTGRES_URL to a Postgres where databases may be made".to_owned()))?;
    let Some((server, _)) = url.rsplit_once('/') else {
        return Err(Error::Internal("TEST_POSTGRES_URL ends in no database name".to_owned()));
    };
    let mut admin = sqlx::PgConnection::connect(&url).await?;
    sqlx::query("drop database if exists ledger_bench with (force)").execute(&mut admin).await?;
    sqlx::query("create database ledger_bench").execute(&mut admin).await?;
    let db = Db::connect_postgres(&format!("{server}/ledger_bench")).await?;
    measure(&db).await?;
    db.close().await;
    sqlx::query("drop database ledger_bench with (force)").execute(&mut admin).await?;
    Ok(())
}

async fn measure(db: &Db) -> Result<()> {
    db.migrate().await?;
    let clock = Clock::system();
    let mut accounts = Vec::new();
    for _ in 0..=ACCOUNTS {
        accounts.push(account(db, &clock).await?);
    }
    let (hot, spread) = (accounts.split_off(ACCOUNTS), accounts);
    let ledger = Ledger::start(db, &clock, Options::default());

    let floor = commits(db, &clock).await?;
    let single = run(&ledger, &clock, &hot, 1).await?;
    let hot = run(&ledger, &clock, &hot, CALLERS).await?;
    let spread = run(&ledger, &clock, &spread, CALLERS).await?;
    let findings = ledger::check(db).await?;
    line(&format!(
        "{:<9} {floor:>14} {single:>12} {hot:>13} {spread:>14} {:>8} {:>11}",
        db.engine(),
        ratio(hot, single),
        ratio(hot, spread)
    ));
    // Its grants follow from no purchase, and a run may be cut off between its hold and its capture by nothing here.
    let real: Vec<_> =
        findings.iter().filter(|finding| finding.invariant != "bought_credit_has_a_paid_purchase").collect();
    if real.is_empty() { Ok(()) } else { Err(Error::Internal(format!("the books are wrong: {real:?}"))) }
}

async fn account(db: &Db, clock: &Clock) -> Result<AccountId> {
    let account_id = AccountId::new(clock.new_id());
    let amount = Usd::from_nanos(1_000_000_000_000_000);
    let mut tx = db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into account (account_id, name, plan_id, time_zone, created_at) values ($1, $1, 'free', 'UTC', 0)",
        )
        .bind(&account_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    ledger::open_account(&mut tx, &account_id).await?;
    let grant = Grant {
        account_id: account_id.clone(),
        kind: GrantKind::Paid,
        amount,
        price: amount,
        reference: clock.new_id(),
        memo: "Benchmark".to_owned(),
        allowed_models: None,
        expires_at: None,
    };
    ledger::grant(&mut tx, clock, grant).await?;
    tx.commit().await?;
    Ok(account_id)
}

/// The floor: transactions of one small insert, one after another.
async fn commits(db: &Db, clock: &Clock) -> Result<u64> {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < EACH / 2 {
        let mut tx = db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query("insert into stripe_event (stripe_event_id, kind, payload, state, received_at) values ($1, '', '', 'ignored', 0)")
                .bind(clock.new_id())
                .execute(conn)
                .await
                .map(drop)
        })?;
        tx.commit().await?;
        count += 1;
    }
    Ok(per_second(count, began.elapsed()))
}

/// `callers` at once, each holding and capturing in turn on an account of the list; operations a second.
async fn run(ledger: &Ledger, clock: &Clock, accounts: &[AccountId], callers: usize) -> Result<u64> {
    let began = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (ledger, clock, accounts, count) = (ledger.clone(), clock.clone(), accounts.to_vec(), count.clone());
            async move {
                let mut next = caller;
                while began.elapsed() < EACH {
                    next += callers;
                    let Some(account_id) = accounts.get(next % accounts.len()) else { break };
                    hold_and_capture(&ledger, &clock, account_id).await?;
                    count.fetch_add(2, Ordering::Relaxed);
                }
                Ok::<(), Error>(())
            }
        })
        .collect();
    futures::future::try_join_all(tasks).await?;
    Ok(per_second(count.load(Ordering::Relaxed), began.elapsed()))
}

async fn hold_and_capture(ledger: &Ledger, clock: &Clock, account_id: &AccountId) -> Result<()> {
    let now = clock.now();
    let new = NewHold {
        execution_id: ExecutionId::new(clock.new_id()),
        account_id: account_id.clone(),
        amount: Usd::from_nanos(1_000),
        funding: Funding::credits(),
        expires_at: now.plus_seconds(600),
        started: Started {
            user_id: None,
            api_key_id: None,
            agent_id: None,
            skill_id: None,
            model_id: ModelId::new("benchmark"),
            title: "Benchmark".to_owned(),
            provider: Provider::Anthropic,
            source: FundingSource::Credits,
            rate_version: "benchmark".to_owned(),
            quote_likely: Usd::from_nanos(500),
            quote_p50: Usd::from_nanos(500),
            quote_p90: Usd::from_nanos(900),
            quote_ceiling: Usd::from_nanos(1_000),
            input_text: None,
            started_at: now,
        },
    };
    let Held::New(hold) = ledger.hold(new).await? else {
        return Err(Error::Internal("the hold was made before".to_owned()));
    };
    let cost = Usd::from_nanos(500);
    let ended = Ended {
        state: ExecutionState::Completed,
        usage: TokenUsage { input: 100, output: 50, ..TokenUsage::default() },
        usage_estimated: false,
        raw_usage: None,
        cost,
        note: None,
        output_text: None,
        first_token_at: None,
        ended_at: clock.now(),
    };
    ledger.finish(hold, Finish { end: End::Capture { cost }, ended, jobs: Vec::new() }).await.map(drop)
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    count * 1_000_000 / u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// With one decimal, such as `8.3`.
fn ratio(a: u64, b: u64) -> String {
    let tenths = a * 10 / b.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
