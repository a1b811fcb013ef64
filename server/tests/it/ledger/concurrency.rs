//! Field failures 1, 2 and 3: check-then-spend races, budgets that leak with each node, holds that are never given back.

use super::*;
use crate::support::each_database;
use server::ledger::Options;
use std::time::Duration;

const CALLERS: usize = 1_000;
const FIT: usize = 137;

/// A thousand callers at once over these ledgers, on a balance for 137 of them.
async fn storm(world: &World, nodes: &[Ledger]) -> Vec<Hold> {
    let account = world.account().await;
    let each = 1_000;
    // Not a multiple, so that a rest is left that fits no hold.
    world.buy(&account, nanos(each * FIT as i64 + 999), Usd::ZERO).await;
    let callers = (0..CALLERS).map(|i| {
        let ledger = nodes[i % nodes.len()].clone();
        let new = new_hold(&account, &format!("{account}-{i}"), each);
        tokio::spawn(async move { hold(&ledger, new).await })
    });
    let outcomes = futures::future::join_all(callers).await;
    let mut holds = Vec::new();
    for outcome in outcomes {
        match outcome.unwrap() {
            Ok(held) => holds.push(held),
            Err(error) => {
                assert_eq!(error.denial().map(domain::denial::Denial::code), Some("reserved_by_running_work"));
            }
        }
    }
    holds
}

fn impatient(world: &World) -> Ledger {
    let options = Options { wait_for_credit: Duration::from_millis(200), ..Options::default() };
    Ledger::start(world.db(), &world.clock, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_1_of_a_thousand_concurrent_holds_on_a_balance_for_k_exactly_k_succeed() {
    each_database(async |world| {
        let ledger = impatient(world);
        let holds = storm(world, std::slice::from_ref(&ledger)).await;
        assert_eq!(holds.len(), FIT);
        assert_eq!(count_open_holds(&world.server).await, FIT as i64);
        drain(world, &[ledger], holds).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_2_four_nodes_do_not_spend_one_balance_four_times() {
    World::postgres()
        .await
        .run(async |world| {
            let mut servers = Vec::new();
            for _ in 0..4 {
                servers.push(world.node().await);
            }
            let nodes: Vec<Ledger> = servers
                .iter()
                .map(|server| {
                    let options = Options { wait_for_credit: Duration::from_millis(200), ..Options::default() };
                    Ledger::start(&server.db, &world.clock, options)
                })
                .collect();
            let holds = storm(world, &nodes).await;
            assert_eq!(holds.len(), FIT);
            drain(world, &nodes, holds).await;
            for server in servers {
                server.db.close().await;
            }
        })
        .await;
}

/// Ends every hold, on any node, and expects that none is left.
async fn drain(world: &World, nodes: &[Ledger], holds: Vec<Hold>) {
    let ends = holds.into_iter().enumerate().map(|(i, held)| {
        let ledger = nodes[(i * 7 + 3) % nodes.len()].clone();
        tokio::spawn(async move {
            match i % 3 {
                0 => void(&ledger, held).await,
                1 => capture(&ledger, held, 1_000).await,
                _ => capture(&ledger, held, 400).await,
            }
        })
    });
    for end in futures::future::join_all(ends).await {
        end.unwrap().unwrap();
    }
    assert_eq!(count_open_holds(&world.server).await, 0, "row 3: no hold is left behind");
    assert_clean(world.db()).await;
}
