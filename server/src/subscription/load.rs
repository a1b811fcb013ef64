//! Owns: reading what an account has now, for limits and for its page.

use super::{MissingKey, row};
use crate::error::{Error, Result};
use crate::stripe::plan::Invoice;
use crate::{Server, on_read};
use domain::denial::Denial;
use domain::id::{AccountId, PlanChangeId, PlanId};
use domain::money::Cents;
use domain::period::Period;
use domain::subscription::{CurrentPlan, KeyMode, Standing, SubscriptionStatus, Terms, standing};
use domain::time::Timestamp;

/// What an account has now, as the columns of `account a` and of its live `subscription s`, which may be missing.
#[derive(Clone, sqlx::FromRow)]
pub(crate) struct CurrentRow {
    plan_id: PlanId,
    status: Option<String>,
    had_key_mode: Option<String>,
    had_seats: Option<i64>,
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
            "select    a.plan_id, s.status, s.had_key_mode, s.had_seats, s.period_start, s.period_end, s.cancels_at,
                       s.catalogue_version
             from      account a
             left join subscription s
                       on s.account_id = a.account_id and s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             where     a.account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    row.ok_or_else(|| Denial::NotFound { what: "account".to_owned() })?.into_current(server)
}

impl CurrentRow {
    /// What the row says, or what an account without a subscription has.
    pub(crate) fn into_current(self, server: &Server) -> Result<CurrentPlan> {
        let CurrentRow {
            plan_id: plan,
            status: Some(status),
            had_key_mode: Some(key_mode),
            had_seats: Some(seats),
            period_start: Some(start),
            period_end: Some(end),
            cancels_at,
            catalogue_version: Some(catalogue_version),
        } = self
        else {
            // A plan that the catalogue does not have counts as the one that everybody starts on.
            let catalogue = server.catalogue.load();
            let plan = catalogue.plan(&self.plan_id).map_or(&catalogue.signup_plan, |plan| &plan.id).clone();
            return Ok(CurrentPlan {
                plan,
                key_mode: KeyMode::Standard,
                seats: 1,
                status: None,
                period: Period::calendar_month(server.clock.now()),
                cancels_at: None,
                catalogue_version: catalogue.version.clone(),
            });
        };
        Ok(CurrentPlan {
            plan,
            key_mode: key_mode.parse()?,
            seats: u32::try_from(seats).map_err(|error| Error::internal("subscription.had_seats", error))?,
            status: Some(status.parse()?),
            period: Period { start, end },
            cancels_at,
            catalogue_version,
        })
    }
}

/// The subscription of an account, as its page shows it.
#[derive(Clone, Debug)]
pub struct Live {
    pub status: SubscriptionStatus,
    pub standing: Standing,
    /// What the account has until the period ends.
    pub had: Terms,
    /// What Stripe bills next; differs from `had` when less was chosen.
    pub billed: Terms,
    /// What a seat costs a month from the next period on.
    pub unit: Cents,
    pub period: Period,
    pub trial_end: Option<Timestamp>,
    pub cancels_at: Option<Timestamp>,
    pub problem: Option<String>,
}

/// Everything that the page of the plan shows but the invoices.
#[derive(Clone, Debug)]
pub struct PlanView {
    pub current: CurrentPlan,
    pub live: Option<Live>,
    pub members: u32,
    /// What is to be said of missing own keys.
    pub missing_key: Option<MissingKey>,
    /// The first subscription that is being paid on Stripe's page.
    pub pending: Option<PlanChangeId>,
    /// What will be billed next, if Stripe could be asked.
    pub next_invoice: Option<Invoice>,
}

/// What the page of the plan shows. Stripe is asked for the next invoice; if it does not answer, that is left out.
pub async fn load_view(server: &Server, account_id: &AccountId) -> Result<PlanView> {
    let (live, current) = tokio::try_join!(row::load_live(server, account_id), load_current(server, account_id))?;
    let next_invoice = match &live {
        Some(live) if live.cancels_at.is_none() && live.status != SubscriptionStatus::Paused => {
            server.stripe.preview(&live.subscription_id, None).await.ok()
        }
        Some(_) | None => None,
    };
    let now = server.clock.now();
    let grace_days = server.catalogue.load().grace.past_due_days;
    Ok(PlanView {
        members: super::count_members(server, account_id).await?,
        missing_key: super::load_missing_key(server, account_id).await?,
        pending: load_pending(server, account_id).await?,
        live: live.map(|live| Live {
            standing: standing(live.status, live.unpaid_since, grace_days, now),
            status: live.status,
            had: live.had,
            billed: live.billed,
            unit: live.unit,
            period: live.period,
            trial_end: live.trial_end,
            cancels_at: live.cancels_at,
            problem: live.problem,
        }),
        current,
        next_invoice,
    })
}

/// How the account stands by its subscription; `None` without one.
pub async fn load_standing(server: &Server, account_id: &AccountId) -> Result<Option<Standing>> {
    let row: Option<(String, Option<Timestamp>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select status, unpaid_since
             from   subscription
             where  account_id = $1 and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((status, unpaid_since)) = row else { return Ok(None) };
    let grace_days = server.catalogue.load().grace.past_due_days;
    Ok(Some(standing(status.parse()?, unpaid_since, grace_days, server.clock.now())))
}

/// Why the account's newest first subscription did not begin, if it is still so.
pub async fn load_refusal(server: &Server, account_id: &AccountId, id: &PlanChangeId) -> Result<Option<String>> {
    let problem: Option<Option<String>> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select problem from plan_change where plan_change_id = $1 and account_id = $2 and state = 'failed'",
        )
        .bind(id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(problem.flatten())
}

async fn load_pending(server: &Server, account_id: &AccountId) -> Result<Option<PlanChangeId>> {
    let pending = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   plan_change_id
             from     plan_change
             where    account_id = $1 and kind = 'subscribe' and state = 'pending'
             order by plan_change_id desc
             limit    1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(pending)
}
