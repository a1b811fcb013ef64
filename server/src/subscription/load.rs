//! Owns: reading what an account has now.

use crate::error::{Error, Result};
use crate::{Server, on_read};
use domain::id::{AccountId, PlanId};
use domain::period::Period;
use domain::subscription::{CurrentPlan, KeyMode, SubscriptionStatus};
use domain::time::Timestamp;

#[derive(sqlx::FromRow)]
struct CurrentRow {
    plan_id: PlanId,
    status: Option<String>,
    key_mode: Option<String>,
    seats: Option<i64>,
    period_start: Option<Timestamp>,
    period_end: Option<Timestamp>,
    cancels_at: Option<Timestamp>,
    catalogue_version: Option<String>,
}

/// What the account has now: its plan, keys, seats and period. Without a subscription the plan that costs nothing, in
/// the calendar month. Denial: `NotFound`.
pub async fn load_current(server: &Server, account_id: &AccountId) -> Result<CurrentPlan> {
    let row: Option<CurrentRow> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select    a.plan_id, s.status, s.had_key_mode as key_mode, s.had_seats as seats, s.period_start,
                       s.period_end, s.cancels_at, s.catalogue_version
             from      account a
             left join subscription s on s.account_id = a.account_id
                                     and s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             where     a.account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some(row) = row else {
        return Err(domain::denial::Denial::NotFound { what: "account".to_owned() }.into());
    };
    let now = server.clock.now();
    let status = row.status.as_deref().map(str::parse::<SubscriptionStatus>).transpose()?;
    let period = match (row.period_start, row.period_end) {
        (Some(start), Some(end)) => Period { start, end },
        (None, _) | (_, None) => Period::calendar_month(now),
    };
    Ok(CurrentPlan {
        plan: row.plan_id,
        key_mode: row.key_mode.as_deref().map(str::parse).transpose()?.unwrap_or(KeyMode::Standard),
        seats: u32::try_from(row.seats.unwrap_or(1))
            .map_err(|error| Error::internal("subscription.had_seats", error))?,
        status,
        period,
        cancels_at: row.cancels_at,
        catalogue_version: row.catalogue_version.unwrap_or_else(|| server.catalogue.load().version.clone()),
    })
}

/// Pays for as many seats as the account has members, where that is more than it pays for. An account without a
/// subscription pays for none.
pub async fn sync_seats(server: &Server, account_id: &AccountId) -> Result<()> {
    match load_current(server, account_id).await?.status {
        None => Ok(()),
        Some(status) => Err(Error::Internal(format!("seats of a subscription that is {status} cannot be changed yet"))),
    }
}
