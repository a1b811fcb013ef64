//! The ledger.

use crate::support::each_database;

#[tokio::test]
async fn a_fresh_ledger_is_clean() {
    each_database(async |world| {
        assert_eq!(server::ledger::check(world.db()).await.unwrap(), []);
    })
    .await;
}
