//! Owns: the secrets of webhooks, sealed: making one, opening those that count, and wrapping all anew when the master key is
//! rotated.

use super::sign::secret_of;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::vault::{Owner, Sealed, WebhookRow};
use crate::{Server, on_read, on_tx};
use domain::id::{AccountId, WebhookId};
use domain::time::Timestamp;
use secrecy::SecretString;

/// How long the secret before still counts after a rotation.
pub const FORMER_SECONDS: i64 = 86_400;
/// Rows that are changed in one transaction.
const BATCH: i64 = 200;

/// A new secret, in the clear and sealed. The clear one is shown once.
pub(super) struct NewSecret {
    pub clear: SecretString,
    /// Its last characters.
    pub hint: String,
    pub sealed: Sealed,
}

pub(super) fn make(server: &Server, owner: WebhookRow<'_>) -> Result<NewSecret> {
    let clear = secret_of(&server.clock.random_bytes::<32>());
    let sealed = server.vault.seal(Owner::Webhook(owner), &clear)?;
    let hint: String = clear.chars().skip(clear.chars().count().saturating_sub(5)).collect();
    Ok(NewSecret { hint: format!("whsec_…{hint}"), sealed, clear: SecretString::from(clear) })
}

/// The sealed secrets of a row.
#[derive(Clone, sqlx::FromRow)]
pub(super) struct SecretRow {
    pub webhook_id: WebhookId,
    pub account_id: AccountId,
    pub sealed: Option<String>,
    pub wrapped_key: Option<String>,
    pub key_version: i64,
    pub master_version: i64,
    pub former_sealed: Option<String>,
    pub former_wrapped_key: Option<String>,
    pub former_version: Option<i64>,
    pub former_master: Option<i64>,
    pub former_until: Option<Timestamp>,
}

impl SecretRow {
    fn newest(&self) -> Option<(i64, Sealed)> {
        let (sealed, wrapped_key) = (self.sealed.clone()?, self.wrapped_key.clone()?);
        Some((self.key_version, Sealed { sealed, wrapped_key, master_version: self.master_version }))
    }

    fn former(&self) -> Option<(i64, Sealed)> {
        let (sealed, wrapped_key) = (self.former_sealed.clone()?, self.former_wrapped_key.clone()?);
        Some((self.former_version?, Sealed { sealed, wrapped_key, master_version: self.former_master? }))
    }

    fn owner(&self, key_version: i64) -> Owner<'_> {
        Owner::Webhook(WebhookRow { account_id: &self.account_id, webhook_id: &self.webhook_id, key_version })
    }

    fn rewrapped(&self, server: &Server) -> Result<(Sealed, Option<Sealed>)> {
        let (version, newest) =
            self.newest().ok_or_else(|| Error::Internal("a webhook without a secret".to_owned()))?;
        let former =
            self.former().map(|(version, sealed)| server.vault.rewrap(self.owner(version), &sealed)).transpose()?;
        Ok((server.vault.rewrap(self.owner(version), &newest)?, former))
    }

    /// The secrets that count at a moment: the newest, and for a day the one before.
    pub fn open(&self, server: &Server, now: Timestamp) -> Result<Vec<SecretString>> {
        let former = self.former_until.filter(|until| *until > now).and_then(|_| self.former());
        let sealed = self.newest().into_iter().chain(former);
        sealed.map(|(version, sealed)| Ok(server.vault.unseal(self.owner(version), &sealed)?.into_secret())).collect()
    }
}

/// Wraps every webhook's secrets under the newest master key, as `provider_key::rotate` does those of keys; answers how many
/// webhooks it changed, and adds to `failed` those that do not open.
pub async fn rewrap_all(server: &Server, failed: &mut Vec<String>) -> Result<u64> {
    let mut after = WebhookId::new("");
    let mut wrapped = 0_u64;
    loop {
        let rows: Vec<SecretRow> = on_read!(&server.db, conn => {
            sqlx::query_as(
                "select webhook_id, account_id, sealed, wrapped_key, key_version, master_version, former_sealed,
                        former_wrapped_key, former_version, former_master, former_until
                 from   webhook
                 where  deleted_at is null and (master_version < $1 or former_master < $1) and webhook_id > $2
                 order  by webhook_id
                 limit  $3",
            )
            .bind(server.vault.newest()?)
            .bind(&after)
            .bind(BATCH)
            .fetch_all(conn)
            .await
        })?;
        let Some(last) = rows.last() else { return Ok(wrapped) };
        after = last.webhook_id.clone();
        let mut tx = server.db.begin().await?;
        for row in &rows {
            match row.rewrapped(server) {
                Ok((new, former)) => wrapped = wrapped.saturating_add(update(&mut tx, row, &new, former).await?),
                Err(error) => {
                    tracing::error!(webhook_id = %row.webhook_id, %error, "the secret of a webhook does not open");
                    failed.push(format!("webhook {}", row.webhook_id));
                }
            }
        }
        tx.commit().await?;
    }
}

/// One that was rotated or deleted meanwhile is left as it is; the next look finds it if it is old.
async fn update(tx: &mut Tx, row: &SecretRow, new: &Sealed, former: Option<Sealed>) -> Result<u64> {
    Ok(on_tx!(tx, conn => {
        sqlx::query(
            "update webhook
             set    wrapped_key = $1, master_version = $2, former_wrapped_key = $3, former_master = $4
             where  webhook_id = $5 and key_version = $6 and deleted_at is null",
        )
        .bind(&new.wrapped_key)
        .bind(new.master_version)
        .bind(former.as_ref().map(|former| &former.wrapped_key))
        .bind(former.as_ref().map(|former| former.master_version))
        .bind(&row.webhook_id)
        .bind(row.key_version)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?)
}
