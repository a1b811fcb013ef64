//! Owns: an account's webhooks: adding, changing, rotating the secret, disabling, deleting, listing.
//! Invariant: a secret is shown when it is made and never again; a deleted webhook has none.

use super::secret::{self, FORMER_SECONDS, NewSecret};
use crate::account::{Permission, User};
use crate::error::Result;
use crate::provider_key::guard;
use crate::vault::WebhookRow;
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, WebhookId};
use domain::notice::NoticeKind;
use domain::time::Timestamp;
use secrecy::SecretString;

const LONGEST_URL: usize = 500;
const LONGEST_LABEL: usize = 60;
/// Webhooks that an account may have.
const MOST_WEBHOOKS: i64 = 10;
const EXAMPLE: &str = "Write only where it is, such as https://example.com/tokenbank.";

domain::text_enum! {
    /// Whether something is sent to a webhook.
    State {
        Enabled = "enabled",
        /// Somebody switched it off.
        Disabled = "disabled",
        /// It failed for so long that it was switched off.
        Failed = "failed",
    }
}

/// A webhook as pages show it: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub webhook_id: WebhookId,
    pub url: String,
    pub label: String,
    /// What is sent; `None` is everything.
    pub kinds: Option<Vec<NoticeKind>>,
    pub state: State,
    /// `whsec_…AbCd=`.
    pub hint: String,
    /// Until when the secret before counts too.
    pub former_until: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    /// What its last failure was, while it fails.
    pub problem: Option<String>,
    pub created_at: Timestamp,
}

/// A webhook that was added or got another secret: the secret is shown now and never again.
pub struct Added {
    pub webhook_id: WebhookId,
    pub secret: SecretString,
}

/// What a webhook is to be.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub url: &'a str,
    pub label: &'a str,
    /// `None` for everything.
    pub kinds: Option<&'a [NoticeKind]>,
}

#[derive(sqlx::FromRow)]
struct Row {
    webhook_id: WebhookId,
    url: String,
    label: String,
    kinds: Option<String>,
    state: String,
    hint: String,
    former_until: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    problem: Option<String>,
    created_at: Timestamp,
}

/// The account's webhooks, oldest first.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<Webhook>> {
    let rows: Vec<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select webhook_id, url, label, kinds, state, hint, former_until, failing_since, problem, created_at
             from   webhook
             where  account_id = $1 and deleted_at is null
             order  by webhook_id
             limit  100",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|row| {
            Ok(Webhook {
                kinds: row.kinds.map(|json| serde_json::from_str(&json)).transpose()?,
                state: row.state.parse()?,
                webhook_id: row.webhook_id,
                url: row.url,
                label: row.label,
                hint: row.hint,
                former_until: row.former_until,
                failing_since: row.failing_since,
                problem: row.problem,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// Adds a webhook and makes its secret. Denials: `RoleMayNot`; `Invalid` for an address that may not be reached; `Conflict` past
/// 10 webhooks.
pub async fn add(server: &Server, user: &User, new: Change<'_>) -> Result<Added> {
    user.require(Permission::ManageApiKeys)?;
    let (url, label, kinds) = checked(server, new).await?;
    let webhook_id = WebhookId::new(server.clock.new_id());
    let owner = WebhookRow { account_id: &user.account_id, webhook_id: &webhook_id, key_version: 1 };
    let NewSecret { clear, hint, sealed } = secret::make(server, owner)?;
    let mut tx = server.db.begin().await?;
    let inserted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into webhook (webhook_id, account_id, url, label, kinds, state, hint, sealed, wrapped_key, key_version,
                                  master_version, created_at)
             select $1, $2, $3, $4, $5, 'enabled', $6, $7, $8, 1, $9, $10
             where  (select count(*) from webhook where account_id = $2 and deleted_at is null) < $11",
        )
        .bind(&webhook_id)
        .bind(&user.account_id)
        .bind(&url)
        .bind(&label)
        .bind(&kinds)
        .bind(&hint)
        .bind(&sealed.sealed)
        .bind(&sealed.wrapped_key)
        .bind(sealed.master_version)
        .bind(server.clock.now())
        .bind(MOST_WEBHOOKS)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if inserted == 0 {
        let problem = format!("This account has {MOST_WEBHOOKS} webhooks, the most it may have. Delete one first.");
        return Err(Denial::Conflict { problem }.into());
    }
    tx.commit().await?;
    tracing::info!(%webhook_id, user_id = %user.user_id, "a webhook was added");
    Ok(Added { webhook_id, secret: clear })
}

/// Changes where a webhook is, what it is called, and what is sent. Denials: as [`add`], and `NotFound`.
pub async fn change(server: &Server, user: &User, webhook_id: &WebhookId, change: Change<'_>) -> Result<()> {
    user.require(Permission::ManageApiKeys)?;
    let (url, label, kinds) = checked(server, change).await?;
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook
             set    url = $1, label = $2, kinds = $3
             where  webhook_id = $4 and account_id = $5 and deleted_at is null",
        )
        .bind(&url)
        .bind(&label)
        .bind(&kinds)
        .bind(webhook_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    found(changed)?;
    tx.commit().await
}

/// Makes another secret. The one before counts for a day more: until then each message carries both signatures. Denials:
/// `RoleMayNot`, `NotFound`, `Conflict` when somebody else has just rotated it.
pub async fn rotate(server: &Server, user: &User, webhook_id: &WebhookId) -> Result<Added> {
    user.require(Permission::ManageApiKeys)?;
    let version: Option<i64> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select key_version from webhook where webhook_id = $1 and account_id = $2 and deleted_at is null",
        )
        .bind(webhook_id)
        .bind(&user.account_id)
        .fetch_optional(conn)
        .await
    })?;
    let version = version.ok_or_else(not_found)?;
    let owner = WebhookRow { account_id: &user.account_id, webhook_id, key_version: version.saturating_add(1) };
    let NewSecret { clear, hint, sealed } = secret::make(server, owner)?;
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook
             set    former_sealed = sealed, former_wrapped_key = wrapped_key, former_version = key_version,
                    former_master = master_version, former_until = $1,
                    sealed = $2, wrapped_key = $3, master_version = $4, key_version = $5, hint = $6
             where  webhook_id = $7 and key_version = $8 and deleted_at is null",
        )
        .bind(server.clock.now().plus_seconds(FORMER_SECONDS))
        .bind(&sealed.sealed)
        .bind(&sealed.wrapped_key)
        .bind(sealed.master_version)
        .bind(version.saturating_add(1))
        .bind(&hint)
        .bind(webhook_id)
        .bind(version)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if changed == 0 {
        return Err(Denial::Conflict { problem: "Somebody else has just changed this webhook.".to_owned() }.into());
    }
    tx.commit().await?;
    tracing::info!(%webhook_id, user_id = %user.user_id, "a webhook's secret was rotated");
    Ok(Added { webhook_id: webhook_id.clone(), secret: clear })
}

/// Switches a webhook on, which forgets its failures, or off; what waits for one that is off is dropped when it is due. Denials:
/// `RoleMayNot`, `NotFound`.
pub async fn set_enabled(server: &Server, user: &User, webhook_id: &WebhookId, state: State) -> Result<()> {
    user.require(Permission::ManageApiKeys)?;
    let mut tx = server.db.begin().await?;
    let changed = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook
             set    state = $1, failing_since = null, problem = null
             where  webhook_id = $2 and account_id = $3 and deleted_at is null",
        )
        .bind(state.as_str())
        .bind(webhook_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    found(changed)?;
    tx.commit().await
}

/// Deletes a webhook: its secrets are erased at once, and nothing is sent to it any more. Denials: `RoleMayNot`, `NotFound`.
pub async fn delete(server: &Server, user: &User, webhook_id: &WebhookId) -> Result<()> {
    user.require(Permission::ManageApiKeys)?;
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let deleted = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook
             set    deleted_at = $1, state = 'disabled', sealed = null, wrapped_key = null, former_sealed = null,
                    former_wrapped_key = null, former_until = null, url = '', label = ''
             where  webhook_id = $2 and account_id = $3 and deleted_at is null",
        )
        .bind(now)
        .bind(webhook_id)
        .bind(&user.account_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    found(deleted)?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update webhook_delivery set state = 'dropped', ended_at = $1 where webhook_id = $2 and state = 'open'",
        )
        .bind(now)
        .bind(webhook_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    tracing::info!(%webhook_id, user_id = %user.user_id, "a webhook was deleted");
    Ok(())
}

/// The address, label and kinds as they are stored. The address must be one that may be reached now.
async fn checked(server: &Server, change: Change<'_>) -> Result<(String, String, Option<String>)> {
    let label = change.label.trim();
    if label.chars().count() > LONGEST_LABEL || label.chars().any(char::is_control) {
        return Err(Denial::invalid("label", "Longer than 60 characters", "Name it after what it is for.").into());
    }
    let url = change.url.trim();
    if url.len() > LONGEST_URL {
        return Err(Denial::invalid("url", "Longer than 500 characters", EXAMPLE).into());
    }
    let (_, url) = guard::client_for_one_like(server, url, EXAMPLE).await?;
    if url.scheme() != "https" && !server.config.allow_private_urls {
        return Err(Denial::invalid("url", "An address without TLS", "Begin it with https://.").into());
    }
    if change.kinds.is_some_and(<[NoticeKind]>::is_empty) {
        return Err(Denial::invalid("kinds", "Nothing to send", "Choose at least one, or everything.").into());
    }
    let kinds = change.kinds.map(serde_json::to_string).transpose()?;
    Ok((url.to_string(), label.to_owned(), kinds))
}

fn found(changed: u64) -> Result<()> {
    if changed == 0 { Err(not_found().into()) } else { Ok(()) }
}

fn not_found() -> Denial {
    Denial::NotFound { what: "webhook".to_owned() }
}
