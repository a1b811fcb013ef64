//! Owns: codes that give credit: making them, withdrawing them, and using them.
//! Does not own: how a code is written and who may use it (`domain::code`), or the ledger's rows (`ledger::grant`).
//! Invariant: a use, its count and its grant are one transaction; a code gives no more often than it may, an account and a
//! person get it once; and the text of a code is nowhere but with whoever was given it.

mod redeem;

pub use redeem::{Redeemed, load_use, redeem};

use crate::Server;
use crate::error::{Error, Result};
use crate::{on_read, on_tx};
use domain::code::{CodeKind, read, write};
use domain::denial::Denial;
use domain::id::{CodeId, ModelId};
use domain::money::Usd;
use domain::time::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// Codes that are listed at a time.
const LIST: i64 = 200;

/// A code to make.
#[derive(Clone, Debug)]
pub struct NewCode {
    pub kind: CodeKind,
    pub amount: Usd,
    /// How many days its credit lasts once it was given; `None` for ever, which only a gift may.
    pub credit_days: Option<u32>,
    /// How many accounts may use it.
    pub most_uses: u32,
    /// The only models its credit may pay for; empty for all.
    pub models: Vec<ModelId>,
    /// The one address it is for.
    pub email: Option<String>,
    /// When it can no longer be used.
    pub redeem_until: Option<Timestamp>,
}

/// Makes a code; its text is told this once. Denials: `Invalid`, `UnknownModel`.
pub async fn create(server: &Server, new: &NewCode) -> Result<(CodeId, SecretString)> {
    check(server, new)?;
    let text = write(server.clock.random_bytes::<10>());
    let spelling = read(&text).ok_or_else(|| Error::Internal("a new code cannot be read".to_owned()))?;
    let code_id = CodeId::new(server.clock.new_id());
    let models = (!new.models.is_empty()).then(|| serde_json::to_string(&new.models)).transpose()?;
    let hint = text.rsplit_once('-').map(|(_, last)| last.to_owned()).unwrap_or_default();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into credit_code (code_id, code_hash, hint, kind, amount_nanos, credit_days, allowed_models, person,
                                      most_uses, redeem_until, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&code_id)
        .bind(hashed(&spelling))
        .bind(hint)
        .bind(new.kind.as_str())
        .bind(new.amount)
        .bind(new.credit_days.map(i64::from))
        .bind(models)
        .bind(new.email.as_deref().map(person_of))
        .bind(i64::from(new.most_uses))
        .bind(new.redeem_until)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    tracing::info!(%code_id, kind = %new.kind, "a code was made");
    Ok((code_id, SecretString::from(text)))
}

fn check(server: &Server, new: &NewCode) -> Result<()> {
    if !new.amount.is_positive() {
        return Err(Denial::invalid("amount", "must be more than zero", "Give it in dollars, such as 5.").into());
    }
    if new.most_uses == 0 {
        return Err(Denial::invalid("uses", "must be at least 1", "Leave it out for one use.").into());
    }
    if new.credit_days == Some(0) {
        return Err(Denial::invalid("credit_days", "must be at least 1", "Leave it out for a gift that stays.").into());
    }
    if new.kind == CodeKind::Promotional && new.credit_days.is_none() {
        let remedy = "Say how many days its credit lasts, or make a gift.";
        return Err(Denial::invalid("credit_days", "is missing: promotional credit expires", remedy).into());
    }
    if new.redeem_until.is_some_and(|until| until <= server.clock.now()) {
        return Err(Denial::invalid("redeem_by", "is over", "Give a day to come.").into());
    }
    if let Some(email) = &new.email {
        crate::account::Email::parse(email)?;
    }
    let catalogue = server.catalogue.load();
    new.models.iter().try_for_each(|model| catalogue.model(model).map(drop))?;
    Ok(())
}

/// A code as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Listed {
    pub code_id: CodeId,
    /// Its last letters.
    pub hint: String,
    pub kind: String,
    #[sqlx(rename = "amount_nanos")]
    pub amount: Usd,
    pub credit_days: Option<i64>,
    pub most_uses: i64,
    pub uses: i64,
    pub redeem_until: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// The newest codes, at most two hundred.
pub async fn list(server: &Server) -> Result<Vec<Listed>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   code_id, hint, kind, amount_nanos, credit_days, most_uses, uses, redeem_until, revoked_at
             from     credit_code
             order by code_id desc
             limit    $1",
        )
        .bind(LIST)
        .fetch_all(conn)
        .await
    })?)
}

/// Withdraws a code: nobody can use it any more, and what it gave stays. `NotFound` unless it could still be used.
pub async fn revoke(server: &Server, code_id: &CodeId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    let revoked = on_tx!(&mut tx, conn => {
        sqlx::query("update credit_code set revoked_at = $1 where code_id = $2 and revoked_at is null")
            .bind(server.clock.now())
            .bind(code_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    if revoked == 0 {
        return Err(Denial::NotFound { what: "code that can be withdrawn".to_owned() }.into());
    }
    tx.commit().await
}

fn hashed(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Who an address belongs to, as it is kept.
fn person_of(email: &str) -> String {
    hashed(&domain::trial::person(&email.trim().to_lowercase()))
}
