//! Owns: what follows when a run is refused because there is no credit: a line for whoever looks, and an automatic top-up.
//! Does not own: the refusal itself (`ledger`), or whether a top-up is due (`top_up`).
//! Invariant: it is off the way of runs that are admitted, and writes at most once a second for each account and cause.

use super::run::Plan;
use crate::error::{Error, Result};
use crate::{Server, on_read, on_tx, top_up};
use domain::denial::{Denial, Otherwise};
use domain::id::{AccountId, ModelId};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The same refusal is written down again only after this.
const QUIET: Duration = Duration::from_secs(1);
/// Beyond so many remembered refusals they are forgotten; that costs a write more.
const REMEMBERED: usize = 10_000;
/// Lines that a page shows.
const SHOWN: i64 = 20;

/// When each account was last told no, and for what; so that hammering costs no writes.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<(AccountId, &'static str, ModelId), Duration>>);

impl Refusals {
    fn is_new(&self, server: &Server, key: (AccountId, &'static str, ModelId)) -> bool {
        let now = server.clock.monotonic();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() > REMEMBERED {
            seen.clear();
        }
        match seen.insert(key, now) {
            Some(before) => now.saturating_sub(before) >= QUIET,
            None => true,
        }
    }
}

/// A run that was refused for want of credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct RefusedRun {
    pub code: String,
    pub model_id: ModelId,
    /// What whoever ran it was told.
    pub sentence: String,
    pub last_at: Timestamp,
}

/// Whether credit is what is missing, so that buying some would help.
pub(super) fn lacks_credit(error: &Error) -> Option<&Denial> {
    let Error::Denied(denial) = error else { return None };
    let lacks = matches!(
        denial,
        Denial::InsufficientCredit { .. }
            | Denial::PlanLimit { otherwise: Otherwise::NoCredit, .. }
            | Denial::ModelNotInPlan { otherwise: Otherwise::NoCredit, .. }
    );
    lacks.then_some(denial)
}

/// Writes the refusal down and has a top-up looked at. A failure here changes nothing for whoever was refused.
pub(super) async fn note(server: &Server, plan: &Plan, denial: &Denial) {
    let key = (plan.who.account_id.clone(), denial.code(), plan.started.model_id.clone());
    if !server.refusals.is_new(server, key) {
        return;
    }
    let noted = async {
        insert(server, plan, denial).await?;
        top_up::hold_refused(server, &plan.who.account_id, plan.ceiling).await
    };
    if let Err(error) = noted.await {
        tracing::warn!(%error, execution_id = %plan.execution_id, "a refused run could not be noted");
    }
}

async fn insert(server: &Server, plan: &Plan, denial: &Denial) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into refused_run (account_id, hour, code, model_id, user_id, sentence, last_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (account_id, hour, code, model_id, user_id) do update
             set sentence = excluded.sentence, last_at = excluded.last_at",
        )
        .bind(&plan.who.account_id)
        .bind(now.hour())
        .bind(denial.code())
        .bind(&plan.started.model_id)
        .bind(&plan.who.user_id)
        .bind(denial.sentence())
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// The account's runs that were refused for want of credit since a moment, newest first.
pub async fn list_refused(server: &Server, account_id: &AccountId, since: Timestamp) -> Result<Vec<RefusedRun>> {
    let refused = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   code, model_id, sentence, last_at
             from     refused_run
             where    account_id = $1 and hour >= $2
             order by hour desc, last_at desc
             limit    $3",
        )
        .bind(account_id)
        .bind(since.hour())
        .bind(SHOWN)
        .fetch_all(conn)
        .await
    })?;
    Ok(refused)
}
