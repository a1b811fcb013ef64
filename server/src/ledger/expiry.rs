//! Owns: ending what nobody ended: holds past their time, and lots past theirs.

use crate::Server;
use crate::error::Result;
use crate::on_read;
use domain::id::{AccountId, ExecutionId, LotId};
use futures::future::try_join_all;

/// How many are ended at a time.
const BATCH: i64 = 256;

/// Ends every open hold and lot whose time is over; how many. A hold's credit goes back to its account and its run
/// gets its row, with charge zero. Several nodes may do it at once.
pub async fn expire_due(server: &Server) -> Result<usize> {
    let mut ended = 0;
    loop {
        let holds = list_due_holds(server).await?;
        let lots = list_due_lots(server).await?;
        let ledger = &server.ledger;
        let holds_ended =
            try_join_all(holds.into_iter().map(|(account, execution)| ledger.expire(account, execution))).await?;
        let lots_ended = try_join_all(lots.into_iter().map(|(account, lot)| ledger.expire_lot(account, lot))).await?;
        let now_ended = holds_ended.into_iter().chain(lots_ended).filter(|ended| *ended).count();
        if now_ended == 0 {
            return Ok(ended);
        }
        ended += now_ended;
    }
}

async fn list_due_holds(server: &Server) -> Result<Vec<(AccountId, ExecutionId)>> {
    Ok(on_read!(&server.db, pool => {
        sqlx::query_as(
            "select account_id, execution_id
               from hold
              where state = 'open' and expires_at <= $1
              order by expires_at
              limit $2",
        )
        .bind(server.clock.now())
        .bind(BATCH)
        .fetch_all(pool)
        .await
    })?)
}

async fn list_due_lots(server: &Server) -> Result<Vec<(AccountId, LotId)>> {
    Ok(on_read!(&server.db, pool => {
        sqlx::query_as(
            "select account_id, lot_id
               from lot
              where expires_at is not null and expires_at <= $1 and remaining_nanos > 0
              order by expires_at
              limit $2",
        )
        .bind(server.clock.now())
        .bind(BATCH)
        .fetch_all(pool)
        .await
    })?)
}
