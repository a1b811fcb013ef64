//! `kill -9` under load (spec §6.9): what was acknowledged is there, nothing is there twice, and what was cut off is
//! given back. The load runs in a child process: this same test binary, asked for the last test here.

use super::*;
use crate::support::each_database;
use rand::{Rng as _, SeedableRng as _};
use secrecy::ExposeSecret as _;
use server::clock::Clock;
use server::config::Database;
use server::ledger::{HoldState, Options, expire_due, load_balance};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROUNDS: u64 = 20;
const CALLERS: usize = 16;
/// Tells the child which database and account it works on, and is unset in an ordinary run.
const DATABASE: &str = "LEDGER_LOAD_DATABASE";
const ACCOUNT: &str = "LEDGER_LOAD_ACCOUNT";
const ROUND: &str = "LEDGER_LOAD_ROUND";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_9_nothing_acknowledged_is_lost_by_kill_9_and_nothing_is_charged_twice_on_sqlite() {
    World::sqlite().await.run(rounds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_9_nothing_acknowledged_is_lost_by_kill_9_and_nothing_is_charged_twice_on_postgres() {
    World::postgres().await.run(rounds).await;
}

async fn rounds(world: &World) {
    let account = world.account_with(1_000).await;
    // Nobody but the child has the database open, so that SQLite has to recover its log.
    world.server.db.close().await;
    let mut random = rand::rngs::StdRng::seed_from_u64(9);
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let lines = kill_after(start_child(world, &account, round), random.random_range(1..200));
        // A line that was cut off acknowledges nothing.
        let complete = lines.rsplit_once('\n').map_or("", |(complete, _)| complete);

        let node = world.node().await;
        acknowledged += assert_all_there(&node, complete).await;
        assert_clean(&node.db).await;
        world.clock.advance_seconds(601);
        expire_due(&node).await.unwrap();
        assert_eq!(count_open_holds(&node).await, 0);
        assert_clean(&node.db).await;
        let charged: i64 = server::on_read!(&node.db, pool => {
            sqlx::query_scalar("select cast(sum(charge_nanos) as bigint) from execution").fetch_one(pool).await
        })
        .unwrap();
        let left = load_balance(&node, &account).await.unwrap().total().nanos();
        assert_eq!(left + charged, 1_000 * 1_000_000_000);
        node.db.close().await;
    }
    assert!(acknowledged > 20 * ROUNDS, "the load was no load: {acknowledged} acknowledgements in {ROUNDS} rounds");
}

/// Everything that the child was told is in the database, as it was told; how much that was.
async fn assert_all_there(node: &Server, lines: &str) -> u64 {
    let rows: Vec<(String, String, i64)> = server::on_read!(&node.db, pool => {
        sqlx::query_as("select execution_id, state, captured_nanos from hold").fetch_all(pool).await
    })
    .unwrap();
    let holds: HashMap<String, (HoldState, i64)> =
        rows.into_iter().map(|(id, state, captured)| (id, (state.parse().unwrap(), captured))).collect();
    let mut acknowledged = 0;
    for line in lines.lines() {
        acknowledged += 1;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["held", id] => assert!(holds.contains_key(id), "{line}"),
            ["captured", id, charge] => {
                assert_eq!(holds.get(id), Some(&(HoldState::Captured, charge.parse().unwrap())), "{line}");
            }
            ["voided", id] => assert_eq!(holds.get(id), Some(&(HoldState::Voided, 0)), "{line}"),
            // The test harness's own words.
            _ => acknowledged -= 1,
        }
    }
    acknowledged
}

fn start_child(world: &World, account: &AccountId, round: u64) -> Child {
    let database = match &world.config.database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(url) => url.expose_secret().to_owned(),
    };
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::kill::the_load_keeps_its_books_when_nobody_kills_it", "--nocapture"])
        .env(DATABASE, database)
        .env(ACCOUNT, account.as_str())
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child without warning once it has acknowledged so many operations, and returns everything it said.
fn kill_after(mut child: Child, acknowledgements: usize) -> String {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut heard) = (String::new(), 0);
    while heard < acknowledgements {
        let begin = said.len();
        assert!(output.read_line(&mut said).unwrap() > 0, "the child ended by itself: {said}");
        heard += usize::from(["held ", "captured ", "voided "].iter().any(|word| said[begin..].starts_with(word)));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut said).unwrap();
    said
}

/// The child of the tests above when they tell it where to work: a load without end. By itself, a short one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods)] // A child process is told by its environment.
async fn the_load_keeps_its_books_when_nobody_kills_it() {
    let (Ok(database), Ok(account), Ok(round)) =
        (std::env::var(DATABASE), std::env::var(ACCOUNT), std::env::var(ROUND))
    else {
        return each_database(short_load).await;
    };
    let db = if database.starts_with("postgres") {
        Db::connect_postgres(&database).await.unwrap()
    } else {
        Db::open_sqlite(Path::new(&database)).await.unwrap()
    };
    load(&Ledger::start(&db, &Clock::manual(START), Options::default()), &AccountId::new(account), &round, i64::MAX)
        .await;
}

async fn short_load(world: &World) {
    let account = world.account_with(1_000).await;
    load(&world.server.ledger, &account, "alone", 10).await;
    assert_eq!(count_open_holds(&world.server).await, 0);
    assert_clean(world.db()).await;
}

/// Each caller holds and ends so many runs, and says what was acknowledged.
async fn load(ledger: &Ledger, account: &AccountId, round: &str, runs: i64) {
    let callers = (0..CALLERS).map(|caller| {
        let (ledger, account, round) = (ledger.clone(), account.clone(), round.to_owned());
        tokio::spawn(async move {
            for run in 0..runs {
                let id = format!("{round}-{caller}-{run}");
                let held = hold(&ledger, new_hold(&account, &id, 1_000)).await.unwrap();
                acknowledge(&format!("held {id}\n"));
                if run % 5 == 4 {
                    void(&ledger, held).await.unwrap();
                    acknowledge(&format!("voided {id}\n"));
                } else {
                    let charged = capture(&ledger, held, 900 + run % 200).await.unwrap().charged;
                    acknowledge(&format!("captured {id} {}\n", charged.nanos()));
                }
            }
        })
    });
    for ended in futures::future::join_all(callers).await {
        ended.unwrap();
    }
}

fn acknowledge(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}
