//! Owns: `vault rotate`: wrapping every key's data key anew, while others open and save keys.
//! Invariant: each row is opened by what it says, before, during and after; an interrupted rotation is simply run again.

use crate::error::Result;
use crate::vault::{Owner, Sealed};
use crate::{Server, on_read, on_tx};
use domain::id::{AccountId, ProviderKeyId};

/// Rows that are changed in one transaction.
const BATCH: i64 = 200;

#[derive(sqlx::FromRow)]
struct Row {
    provider_key_id: ProviderKeyId,
    account_id: AccountId,
    provider: String,
    sealed: String,
    wrapped_key: String,
    key_version: i64,
    master_version: i64,
}

/// Wraps every key under the newest master key; answers how many it wrapped. Up to `at_most`, so that it can be stopped
/// and continued; 0 means that all are under the newest one.
pub async fn rotate(server: &Server, at_most: u64) -> Result<u64> {
    let newest = server.vault.newest()?;
    let mut wrapped = 0_u64;
    while wrapped < at_most {
        let limit = BATCH.min(i64::try_from(at_most - wrapped).unwrap_or(BATCH));
        let rows: Vec<Row> = on_read!(&server.db, conn => {
            sqlx::query_as(
                "select provider_key_id, account_id, provider, sealed, wrapped_key, key_version, master_version
                 from   provider_key
                 where  master_version < $1 and deleted_at is null
                 order  by master_version, provider_key_id
                 limit  $2",
            )
            .bind(newest)
            .bind(limit)
            .fetch_all(conn)
            .await
        })?;
        if rows.is_empty() {
            break;
        }
        let mut tx = server.db.begin().await?;
        for row in rows {
            let owner = Owner {
                account_id: &row.account_id,
                provider: row.provider.parse()?,
                key_id: &row.provider_key_id,
                key_version: row.key_version,
            };
            let old = Sealed { sealed: row.sealed, wrapped_key: row.wrapped_key, master_version: row.master_version };
            let new = server.vault.rewrap(owner, &old)?;
            // A key that was replaced or deleted meanwhile is left as it is; the next look finds it if it is old.
            wrapped += on_tx!(&mut tx, conn => {
                sqlx::query(
                    "update provider_key
                     set    wrapped_key = $1, master_version = $2
                     where  provider_key_id = $3 and key_version = $4 and master_version = $5 and deleted_at is null",
                )
                .bind(&new.wrapped_key)
                .bind(new.master_version)
                .bind(&row.provider_key_id)
                .bind(row.key_version)
                .bind(old.master_version)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
            })?;
        }
        tx.commit().await?;
    }
    Ok(wrapped)
}
