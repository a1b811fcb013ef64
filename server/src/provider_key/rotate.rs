//! Owns: `vault rotate`: wrapping every data key anew, of provider keys, second factors and webhooks, while others open and save.
//! Invariant: each row is opened by what it says, before, during and after; an interrupted rotation is simply run again.

use crate::account::reseal_second_factor;
use crate::error::Result;
use crate::vault::{KeyRow, Owner, Sealed};
use crate::{Server, on_read, on_tx, webhook_out};
use domain::id::{AccountId, ProviderKeyId, UserId};

/// Rows that are changed in one transaction.
const BATCH: i64 = 200;

/// What one call of [`rotate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rows that are under the newest master key now and were not before.
    pub wrapped: u64,
    /// Rows that did not open, and stay as they are: their master key is not here, or they were changed by hand.
    pub failed: Vec<String>,
}

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

/// Wraps keys under the newest master key, up to `at_most` of them, so that it can be stopped and continued; `on_batch` is
/// told after each transaction how many are done. When nothing is wrapped, all are under the newest one, but what failed.
pub async fn rotate(server: &Server, at_most: u64, mut on_batch: impl FnMut(u64)) -> Result<Rotated> {
    let mut done = Rotated::default();
    let mut after = String::new();
    while done.wrapped < at_most {
        let limit = BATCH.min(i64::try_from(at_most - done.wrapped).unwrap_or(BATCH));
        let rows = list_old(server, &after, limit).await?;
        let Some(last) = rows.last() else { break };
        after = last.provider_key_id.to_string();
        done.wrapped += rewrap(server, rows, &mut done.failed).await?;
        on_batch(done.wrapped);
    }
    if done.wrapped < at_most {
        done.wrapped += rotate_second_factors(server, &mut done.failed).await?;
        done.wrapped += webhook_out::rewrap_all(server, &mut done.failed).await?;
        on_batch(done.wrapped);
    }
    Ok(done)
}

/// How many sealed rows are not under the newest master key, and how many there are.
pub async fn count_old(server: &Server) -> Result<(i64, i64)> {
    let newest = server.vault.newest()?;
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select (select count(*) from provider_key where deleted_at is null and master_version < $1)
                    + (select count(*) from second_factor where coalesce(master_version, 0) < $1)
                    + (select count(*) from webhook where deleted_at is null and (master_version < $1 or former_master < $1)),
                    (select count(*) from provider_key where deleted_at is null) + (select count(*) from second_factor)
                    + (select count(*) from webhook where deleted_at is null)",
        )
        .bind(newest)
        .fetch_one(conn)
        .await
    })?)
}

async fn list_old(server: &Server, after: &str, limit: i64) -> Result<Vec<Row>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select provider_key_id, account_id, provider, sealed, wrapped_key, key_version, master_version
             from   provider_key
             where  master_version < $1 and deleted_at is null and provider_key_id > $2
             order  by provider_key_id
             limit  $3",
        )
        .bind(server.vault.newest()?)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await
    })?)
}

/// Wraps a batch in one transaction; how many were.
async fn rewrap(server: &Server, rows: Vec<Row>, failed: &mut Vec<String>) -> Result<u64> {
    let mut new = Vec::with_capacity(rows.len());
    for row in rows {
        let owner = Owner::Key(KeyRow {
            account_id: &row.account_id,
            provider: row.provider.parse()?,
            key_id: &row.provider_key_id,
            key_version: row.key_version,
        });
        let old = Sealed { sealed: row.sealed, wrapped_key: row.wrapped_key, master_version: row.master_version };
        match server.vault.rewrap(owner, &old) {
            Ok(sealed) => new.push((row.provider_key_id, row.key_version, old.master_version, sealed)),
            Err(error) => {
                tracing::error!(provider_key_id = %row.provider_key_id, %error, "a key does not open");
                failed.push(format!("provider_key {}", row.provider_key_id));
            }
        }
    }
    let mut wrapped = 0;
    let mut tx = server.db.begin().await?;
    for (id, key_version, old_version, sealed) in new {
        // A key that was replaced or deleted meanwhile is left as it is; the next look finds it if it is old.
        wrapped += on_tx!(&mut tx, conn => {
            sqlx::query(
                "update provider_key
                 set    wrapped_key = $1, master_version = $2
                 where  provider_key_id = $3 and key_version = $4 and master_version = $5 and deleted_at is null",
            )
            .bind(&sealed.wrapped_key)
            .bind(sealed.master_version)
            .bind(&id)
            .bind(key_version)
            .bind(old_version)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
        })?;
    }
    tx.commit().await?;
    Ok(wrapped)
}

/// The same for the keys of second factors; those from before the vault are sealed.
async fn rotate_second_factors(server: &Server, failed: &mut Vec<String>) -> Result<u64> {
    let newest = server.vault.newest()?;
    let mut after = String::new();
    let mut wrapped = 0;
    loop {
        let users: Vec<UserId> = on_read!(&server.db, conn => {
            sqlx::query_scalar(
                "select user_id
                 from   second_factor
                 where  coalesce(master_version, 0) < $1 and user_id > $2
                 order  by user_id
                 limit  $3",
            )
            .bind(newest)
            .bind(&after)
            .bind(BATCH)
            .fetch_all(conn)
            .await
        })?;
        let Some(last) = users.last() else { return Ok(wrapped) };
        after = last.to_string();
        for user_id in &users {
            match reseal_second_factor(server, user_id).await {
                Ok(changed) => wrapped += changed,
                Err(error) => {
                    tracing::error!(%user_id, %error, "the key of a second factor does not open");
                    failed.push(format!("second_factor {user_id}"));
                }
            }
        }
    }
}
