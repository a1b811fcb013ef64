//! Random commands, applied to the pure rules, to SQLite and to Postgres, come to the same; the check is clean after
//! each step. `PROPTEST_CASES` sets how many sequences are tried.

use super::*;
use domain::ledger::{Command, GrantKind, Standing, decide};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use server::ledger::{Grant, Options, expire_due, load_balance};
use std::collections::HashMap;
use std::time::Duration;

const RUNS: usize = 6;
const MODELS: [&str; 2] = ["haiku", "opus"];

#[derive(Clone, Debug)]
enum Step {
    Hold { run: usize, amount: i64, model: usize },
    Capture { run: usize, cost: i64 },
    Void { run: usize },
    Renew { run: usize, seconds: i64 },
    Grant { kind: GrantKind, amount: i64, for_haiku: bool, seconds: i64 },
    Freeze { frozen: bool },
    Advance { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..RUNS, 0..150_i64, 0..2_usize).prop_map(|(run, amount, model)| Step::Hold { run, amount, model }),
        4 => (0..RUNS, 0..200_i64).prop_map(|(run, cost)| Step::Capture { run, cost }),
        2 => (0..RUNS).prop_map(|run| Step::Void { run }),
        1 => (0..RUNS, 0..900_i64).prop_map(|(run, seconds)| Step::Renew { run, seconds }),
        4 => (0..4_usize, 1..200_i64, any::<bool>(), 1..900_i64).prop_map(|(kind, amount, for_haiku, seconds)| {
            Step::Grant { kind: GrantKind::ALL[kind], amount, for_haiku, seconds }
        }),
        1 => any::<bool>().prop_map(|frozen| Step::Freeze { frozen }),
        2 => (1..400_i64).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

/// One database and what a caller of its ledger has in hand.
struct Side<'a> {
    world: &'a World,
    ledger: Ledger,
    account: AccountId,
    holds: HashMap<usize, Hold>,
}

#[test]
fn random_commands_agree_between_the_rules_and_both_databases() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    runtime.block_on(async {
        World::sqlite()
            .await
            .run(async |sqlite| {
                World::postgres()
                    .await
                    .run(async |postgres| {
                        tokio::task::block_in_place(|| {
                            TestRunner::new(config.clone())
                                .run(&prop::collection::vec(step(), 1..40), |steps| {
                                    tokio::runtime::Handle::current().block_on(agree(sqlite, postgres, &steps));
                                    Ok(())
                                })
                                .unwrap();
                        });
                    })
                    .await;
            })
            .await;
    });
}

async fn agree(sqlite: &World, postgres: &World, steps: &[Step]) {
    let mut rules = Standing::default();
    let mut sides = [side(sqlite).await, side(postgres).await];
    let now = |side: &Side| side.world.clock.now();
    let begin = now(&sides[0]);
    assert_eq!(now(&sides[1]), begin, "both clocks move together");
    for (number, step) in steps.iter().enumerate() {
        let at = now(&sides[0]);
        let expected = apply_to_rules(&mut rules, at, number, step);
        for side in &mut sides {
            let came = apply(side, number, step).await;
            if let Some(expected) = &expected {
                assert_eq!(&came, expected, "{} at step {number}: {step:?}", side.world.db().engine());
            }
            let balance = load_balance(&side.world.server, &side.account).await.unwrap();
            assert_eq!(balance, rules.balance, "{} at step {number}: {step:?}", side.world.db().engine());
            assert_clean(side.world.db()).await;
        }
    }
}

async fn side(world: &World) -> Side<'_> {
    let options = Options { wait_for_credit: Duration::ZERO, ..Options::default() };
    let ledger = Ledger::start(world.db(), &world.clock, options);
    Side { world, ledger, account: world.account().await, holds: HashMap::new() }
}

/// The step by the pure rules. `None` when the databases' answer is of another kind, so only balances are compared.
fn apply_to_rules(rules: &mut Standing, now: Timestamp, number: usize, step: &Step) -> Option<String> {
    let id = |run: usize| ExecutionId::new(format!("{run}"));
    let is_open =
        |rules: &Standing, run| rules.hold(&id(run)).is_some_and(|hold| hold.state == server::ledger::HoldState::Open);
    let command = match step {
        // A run is made once, and ended by whoever has its hold.
        Step::Hold { run, .. } if rules.hold(&id(*run)).is_some() => return None,
        Step::Capture { run, .. } | Step::Void { run } | Step::Renew { run, .. } if !is_open(rules, *run) => {
            return None;
        }
        Step::Hold { run, amount, model } => Command::Hold {
            execution_id: id(*run),
            amount: nanos(*amount),
            model: ModelId::new(MODELS[*model]),
            source: domain::funding::FundingSource::Credits,
            expires_at: now.plus_seconds(600),
        },
        Step::Capture { run, cost } => Command::Capture { execution_id: id(*run), cost: nanos(*cost) },
        Step::Void { run } => Command::Void { execution_id: id(*run) },
        Step::Renew { run, seconds } => {
            Command::Renew { execution_id: id(*run), expires_at: now.plus_seconds(*seconds) }
        }
        Step::Grant { kind, amount, for_haiku, seconds } => {
            let is_bought = matches!(kind, GrantKind::Paid | GrantKind::Bonus);
            Command::Grant {
                lot_id: domain::id::LotId::new(format!("{number:04}")),
                kind: *kind,
                amount: nanos(*amount),
                price: if *kind == GrantKind::Paid { nanos(*amount) } else { Usd::ZERO },
                allowed_models: for_haiku.then(|| vec![ModelId::new("haiku")]),
                expires_at: (!is_bought).then(|| now.plus_seconds(*seconds)),
                reference: format!("{number}"),
            }
        }
        Step::Freeze { frozen } => {
            rules.frozen = frozen.then(|| domain::ledger::Frozen { reason: "test".to_owned(), cause: None });
            return None;
        }
        Step::Advance { seconds } => {
            let now = now.plus_seconds(*seconds);
            let due: Vec<Command> = rules
                .holds
                .iter()
                .filter(|hold| hold.state == server::ledger::HoldState::Open && hold.expires_at <= now)
                .map(|hold| Command::Expire { execution_id: hold.execution_id.clone() })
                .chain(rules.lots.iter().map(|lot| Command::ExpireLot { lot_id: lot.lot_id.clone() }))
                .collect();
            for command in due {
                if let Ok(decision) = decide(rules, now, &command) {
                    rules.apply(&decision);
                }
            }
            return None;
        }
    };
    Some(match decide(rules, now, &command) {
        Ok(decision) => {
            rules.apply(&decision);
            "ok".to_owned()
        }
        Err(denial) => denial.code().to_owned(),
    })
}

/// The step by the ledger of one database.
async fn apply(side: &mut Side<'_>, number: usize, step: &Step) -> String {
    let outcome: Result<()> = match step {
        Step::Hold { run, amount, model } => {
            let id = format!("{}-{run}", side.account);
            let new = NewHold {
                started: started(MODELS[*model]),
                expires_at: side.world.clock.now().plus_seconds(600),
                ..new_hold(&side.account, &id, *amount)
            };
            match side.ledger.hold(new).await {
                Ok(Held::New(held)) => {
                    side.holds.insert(*run, held);
                    Ok(())
                }
                Ok(Held::Repeated(_)) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Step::Capture { run, cost } => match side.holds.remove(run) {
            Some(held) => capture(&side.ledger, held, *cost).await.map(drop),
            None => Ok(()),
        },
        Step::Void { run } => match side.holds.remove(run) {
            Some(held) => void(&side.ledger, held).await.map(drop),
            None => Ok(()),
        },
        Step::Renew { run, seconds } => match side.holds.get_mut(run) {
            Some(held) => side.ledger.renew(held, side.world.clock.now().plus_seconds(*seconds)).await,
            None => Ok(()),
        },
        Step::Grant { kind, amount, for_haiku, seconds } => {
            give(side, number, (*kind, *amount, *for_haiku, *seconds)).await
        }
        Step::Freeze { frozen } => {
            let sql = if *frozen {
                "update account set frozen_at = 1, frozen_reason = 'test'"
            } else {
                "update account set frozen_at = null, frozen_reason = null"
            };
            by_hand(side.world, sql).await.unwrap();
            Ok(())
        }
        Step::Advance { seconds } => {
            side.world.clock.advance_seconds(*seconds);
            expire_due(&side.world.server).await.map(drop)
        }
    };
    code(&outcome).to_owned()
}

/// Gives credit; what is bought comes with its paid purchase.
async fn give(
    side: &mut Side<'_>,
    number: usize,
    (kind, amount, for_haiku, seconds): (GrantKind, i64, bool, i64),
) -> Result<()> {
    let reference = format!("{}-{number}", side.account);
    let is_bought = matches!(kind, GrantKind::Paid | GrantKind::Bonus);
    let mut tx = side.world.db().begin().await?;
    if is_bought {
        let (paid, bonus) = if kind == GrantKind::Paid { (amount, 0) } else { (0, amount) };
        server::on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into purchase (purchase_id, account_id, user_id, pack_id, amount_nanos, bonus_nanos, price_cents,
                                       currency, state, created_at, ended_at)
                 values ($1, $2, 'nobody', 'test', $3, $4, 1, 'usd', 'paid', 0, 0)",
            )
            .bind(&reference)
            .bind(&side.account)
            .bind(paid)
            .bind(bonus)
            .execute(conn)
            .await
            .map(drop)
        })?;
    }
    let grant = Grant {
        account_id: side.account.clone(),
        kind,
        amount: nanos(amount),
        price: if kind == GrantKind::Paid { nanos(amount) } else { Usd::ZERO },
        reference,
        memo: "Given".to_owned(),
        allowed_models: for_haiku.then(|| vec![ModelId::new("haiku")]),
        expires_at: (!is_bought).then(|| side.world.clock.now().plus_seconds(seconds)),
    };
    ledger::grant(&mut tx, &side.world.clock, grant).await?;
    tx.commit().await?;
    // Lots of the same moment burn in the order of their ids, which are random: so no two are of the same moment.
    side.world.clock.advance_seconds(1);
    Ok(())
}
