//! Owns: using a code, once.

use super::{hashed, person_of};
use crate::account::{Permission, User};
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::ledger::{self, Grant, GrantKind};
use crate::{Server, on_read, on_tx};
use domain::code::{Code, CodeKind, CodeProblem, may_redeem, read};
use domain::denial::Denial;
use domain::id::{AccountId, CodeId, CodeUseId, ModelId};
use domain::money::Usd;
use domain::time::Timestamp;
use std::net::IpAddr;

const DAY_SECONDS: i64 = 86_400;

#[derive(sqlx::FromRow)]
struct Row {
    code_id: CodeId,
    kind: String,
    amount_nanos: Usd,
    credit_days: Option<i64>,
    allowed_models: Option<String>,
    person: Option<String>,
    most_uses: i64,
    uses: i64,
    redeem_until: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// What a code gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    pub amount: Usd,
    pub kind: CodeKind,
    pub expires_at: Option<Timestamp>,
    /// The only models it may pay for; `None` for all.
    pub allowed_models: Option<Vec<ModelId>>,
}

/// Uses a code for the account that the user looks at: its credit can be spent at once. Tries are counted, whether they
/// succeed or not. Denials: `Invalid` with the field `code` and why it gives nothing, `TooManyAttempts`, `RoleMayNot`,
/// `AccountFrozen`.
pub async fn redeem(server: &Server, user: &User, typed: &str, ip: IpAddr) -> Result<CodeUseId> {
    user.require(Permission::ManageBilling)?;
    server.limits.check_redeem(&user.user_id, ip)?;
    let spelling = read(typed).ok_or_else(|| denied(CodeProblem::Unknown))?;
    let row = load(server, &spelling).await?.ok_or_else(|| denied(CodeProblem::Unknown))?;
    let (person, now) = (person_of(&user.email), server.clock.now());

    let mut tx = server.db.begin().await?;
    refuse_frozen(&mut tx, &user.account_id).await?;
    let code_use_id = CodeUseId::new(server.clock.new_id());
    // The grant locks the account first, as everything that moves money does. What fails afterwards undoes it.
    ledger::grant(&mut tx, &server.clock, grant_of(&row, &user.account_id, &code_use_id, now)?).await?;
    insert_use(&mut tx, (&row.code_id, &code_use_id), (&user.account_id, &person), now).await?;
    if !count_use(&mut tx, &row.code_id, now).await? {
        tx.rollback().await?;
        let problem = load(server, &spelling).await?.and_then(|row| row.check(&person, now).err());
        return Err(denied(problem.unwrap_or(CodeProblem::UsedUp)));
    }
    row.check(&person, now).map_err(denied)?;
    tx.commit().await?;
    tracing::info!(code_id = %row.code_id, "a code was used");
    Ok(code_use_id)
}

impl Row {
    fn check(&self, person: &str, now: Timestamp) -> Result<(), CodeProblem> {
        let code = Code {
            most_uses: self.most_uses,
            uses: self.uses,
            redeem_until: self.redeem_until,
            is_revoked: self.revoked_at.is_some(),
            person: self.person.as_deref(),
        };
        may_redeem(&code, person, now)
    }

    fn models(&self) -> Result<Option<Vec<ModelId>>> {
        let models = self.allowed_models.as_ref().map(|json| serde_json::from_str(json)).transpose();
        models.map_err(|error| {
            Error::internal(&format!("table credit_code, column allowed_models, row {}", self.code_id), error)
        })
    }
}

fn denied(problem: CodeProblem) -> Error {
    let (what, remedy) = problem.words();
    Denial::invalid("code", what, remedy).into()
}

fn grant_of(row: &Row, account_id: &AccountId, code_use_id: &CodeUseId, now: Timestamp) -> Result<Grant> {
    let kind: CodeKind = row.kind.parse()?;
    Ok(Grant {
        account_id: account_id.clone(),
        kind: GrantKind::Promotional,
        amount: row.amount_nanos,
        price: Usd::ZERO,
        reference: reference(code_use_id),
        memo: format!("{}: {} by code", kind.words(), row.amount_nanos),
        allowed_models: row.models()?,
        expires_at: row.credit_days.map(|days| now.plus_seconds(days.saturating_mul(DAY_SECONDS))),
    })
}

/// What the ledger's grant names as its cause.
fn reference(code_use_id: &CodeUseId) -> String {
    format!("code:{code_use_id}")
}

async fn load(server: &Server, spelling: &str) -> Result<Option<Row>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select code_id, kind, amount_nanos, credit_days, allowed_models, person, most_uses, uses, redeem_until,
                    revoked_at
             from   credit_code
             where  code_hash = $1",
        )
        .bind(hashed(spelling))
        .fetch_optional(conn)
        .await
    })?)
}

async fn refuse_frozen(tx: &mut Tx, account_id: &AccountId) -> Result<()> {
    let frozen: Option<String> = on_tx!(tx, conn => {
        sqlx::query_scalar(
            "select coalesce(frozen_reason, 'by us') from account where account_id = $1 and frozen_at is not null",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    match frozen {
        Some(reason) => Err(Denial::AccountFrozen { reason }.into()),
        None => Ok(()),
    }
}

/// Notes who used it. An account and a person that did before are refused by the constraints.
async fn insert_use(
    tx: &mut Tx,
    (code_id, code_use_id): (&CodeId, &CodeUseId),
    (account_id, person): (&AccountId, &str),
    now: Timestamp,
) -> Result<()> {
    let inserted = on_tx!(tx, conn => {
        sqlx::query(
            "insert into code_use (code_use_id, code_id, account_id, person, created_at) values ($1, $2, $3, $4, $5)",
        )
        .bind(code_use_id)
        .bind(code_id)
        .bind(account_id)
        .bind(person)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
    });
    inserted.map_err(|error| {
        let was_used = breaks_unique(&error, "code_use_once_per_account", "code_use.account_id")
            || breaks_unique(&error, "code_use_once_per_person", "code_use.person");
        if was_used { denied(CodeProblem::Redeemed) } else { error.into() }
    })
}

/// Counts one more use; whether there was one left. The row is locked by it, so that the last use is had once.
async fn count_use(tx: &mut Tx, code_id: &CodeId, now: Timestamp) -> Result<bool> {
    let counted = on_tx!(tx, conn => {
        sqlx::query(
            "update credit_code
             set    uses = uses + 1
             where  code_id = $1 and uses < most_uses and revoked_at is null
                    and (redeem_until is null or redeem_until > $2)",
        )
        .bind(code_id)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(counted == 1)
}

/// What one use of a code gave the account.
pub async fn load_use(server: &Server, account_id: &AccountId, code_use_id: &CodeUseId) -> Result<Option<Redeemed>> {
    let row: Option<(Usd, String, Option<i64>, Option<String>, Timestamp)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select c.amount_nanos, c.kind, c.credit_days, c.allowed_models, u.created_at
             from   code_use u
             join   credit_code c on c.code_id = u.code_id
             where  u.code_use_id = $1 and u.account_id = $2",
        )
        .bind(code_use_id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((amount, kind, days, models, used_at)) = row else { return Ok(None) };
    let models = models.map(|json| serde_json::from_str(&json)).transpose();
    let allowed_models = models.map_err(|error| Error::internal("table credit_code, column allowed_models", error))?;
    let expires_at = days.map(|days| used_at.plus_seconds(days.saturating_mul(DAY_SECONDS)));
    Ok(Some(Redeemed { amount, kind: kind.parse()?, expires_at, allowed_models }))
}
