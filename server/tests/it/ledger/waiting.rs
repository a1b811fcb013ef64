//! The short wait for credit that running work holds (field failure 20 is its opposite: one error for both).

use super::*;
use crate::support::each_database;
use server::ledger::Options;
use std::time::{Duration, Instant};

fn quick(world: &World, wait_ms: u64) -> Ledger {
    let options = Options { wait_for_credit: Duration::from_millis(wait_ms), ..Options::default() };
    Ledger::start(world.db(), &world.clock, options)
}

#[tokio::test]
async fn a_hold_waits_for_a_capture_that_frees_its_credit() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = quick(world, 30_000);
        let first = hold(&ledger, new_hold(&account, "first", 900_000_000)).await.unwrap();
        let mut second = Box::pin(hold(&ledger, new_hold(&account, "second", 500_000_000)));
        assert!(futures::poll!(&mut second).is_pending());
        // A third that fits is not kept by the one that waits.
        let third = hold(&ledger, new_hold(&account, "third", 100_000_000)).await.unwrap();
        assert!(futures::poll!(&mut second).is_pending());
        capture(&ledger, first, 1).await.unwrap();
        void(&ledger, third).await.unwrap();
        let second = second.await.unwrap();
        void(&ledger, second).await.unwrap();
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_hold_sees_credit_that_another_node_freed_or_a_purchase_gave() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let (here, there) = (quick(world, 30_000), quick(world, 30_000));
        let first = hold(&there, new_hold(&account, "first", 900_000_000)).await.unwrap();
        let waits = hold(&here, new_hold(&account, "second", 500_000_000));
        let frees = async { void(&there, first).await.unwrap() };
        let (second, _) = tokio::join!(waits, frees);
        let _second = second.unwrap();
        let waits = hold(&here, new_hold(&account, "third", 900_000_000));
        let buys = world.buy(&account, nanos(400_000_000), Usd::ZERO);
        let (third, _) = tokio::join!(waits, buys);
        let _third = third.unwrap();
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn what_running_work_holds_is_429_after_the_wait_and_what_never_fits_is_402_at_once() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = quick(world, 300);
        let _first = hold(&ledger, new_hold(&account, "first", 900_000_000)).await.unwrap();

        let began = Instant::now();
        let denied = hold(&ledger, new_hold(&account, "second", 500_000_000)).await;
        assert_eq!(code(&denied), "reserved_by_running_work");
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        let denial = denied.unwrap_err();
        assert_eq!(denial.denial().map(domain::denial::Denial::status), Some(429));

        let patient = quick(world, 30_000);
        let began = Instant::now();
        let denied = hold(&patient, new_hold(&account, "third", 1_000_000_001)).await;
        assert_eq!(denied.unwrap_err().denial().map(domain::denial::Denial::status), Some(402));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_clean(world.db()).await;
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_went_away_gets_no_hold_later() {
    each_database(async |world| {
        let account = world.account_with(1).await;
        let ledger = quick(world, 30_000);
        let first = hold(&ledger, new_hold(&account, "first", 900_000_000)).await.unwrap();
        let impatient = hold(&ledger, new_hold(&account, "second", 500_000_000));
        assert!(tokio::time::timeout(Duration::from_millis(50), impatient).await.is_err());
        void(&ledger, first).await.unwrap();
        // The writer has been through its waiting holds by the time it answers another command.
        let third = hold(&ledger, new_hold(&account, "third", 1_000_000_000)).await.unwrap();
        void(&ledger, third).await.unwrap();
        assert_eq!(count_open_holds(&world.server).await, 0);
    })
    .await;
}
