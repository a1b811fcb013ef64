//! Owns: what an account spent this month and in the last days: by model and skill from the hourly sums, by API key and member
//! as `subject` counts them.
//! Does not own: the sums (`ledger`), or lists of runs (`usage`).

use super::budget::{Budget, Scope};
use super::subject;
use crate::error::Result;
use crate::{Server, on_read};
use domain::forecast::{self, Spent};
use domain::id::AccountId;
use domain::money::Usd;
use domain::period::Period;
use domain::time::Timestamp;
use std::collections::BTreeMap;

/// What an account spent in the month (UTC) that runs, for its budgets and their forecasts.
#[derive(Clone, Debug)]
pub struct Month {
    pub period: Period,
    now: Timestamp,
    /// From when on the recent spending counts.
    recent_since: Timestamp,
    /// The first hour with a run.
    first: Timestamp,
    rows: Vec<Row>,
    /// Of the API keys and members that have a budget.
    subjects: BTreeMap<(Scope, String), Usd>,
    /// Whether the account ever got credit that is not of a trial.
    pub(super) has_credit: bool,
}

#[derive(Clone, Debug, sqlx::FromRow)]
struct Row {
    model_id: String,
    skill_id: String,
    month_nanos: Usd,
    recent_nanos: Usd,
}

/// Reads the month, in a few bounded queries.
pub async fn load_month(server: &Server, account_id: &AccountId) -> Result<Month> {
    let now = server.clock.now();
    let period = Period::calendar_month(now);
    let week = now.plus_seconds(-forecast::WINDOW_SECONDS).hour();
    let rows: Vec<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   model_id, skill_id,
                      cast(sum(case when hour >= $2 then charge_nanos else 0 end) as bigint) as month_nanos,
                      cast(sum(case when hour >= $3 then charge_nanos else 0 end) as bigint) as recent_nanos
             from     usage_hour
             where    account_id = $1 and hour >= $4
             group by model_id, skill_id",
        )
        .bind(account_id)
        .bind(period.start)
        .bind(week)
        .bind(period.start.min(week))
        .fetch_all(conn)
        .await
    })?;
    let first: Option<Timestamp> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select min(hour) from usage_hour where account_id = $1").bind(account_id).fetch_one(conn).await
    })?;
    let has_credit: Option<i64> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select cast(1 as bigint) from lot where account_id = $1 and kind <> 'trial' limit 1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    let subjects = subject::list_spent(server, account_id, period.start).await?;
    let first = first.unwrap_or(now);
    let recent_since = first.max(week);
    Ok(Month { period, now, recent_since, first, rows, subjects, has_credit: has_credit.is_some() })
}

impl Month {
    /// What counts for a budget. For an API key or a member the whole month counts as recent.
    pub fn spent(&self, budget: &Budget) -> Spent {
        let counts = |row: &&Row| match budget.scope {
            Scope::All => true,
            Scope::Model => row.model_id == budget.scope_id,
            Scope::Skill => row.skill_id == budget.scope_id,
            Scope::ApiKey | Scope::Member => false,
        };
        if let Scope::ApiKey | Scope::Member = budget.scope {
            let spent = self.subjects.get(&(budget.scope, budget.scope_id.clone())).copied().unwrap_or_default();
            return Spent { this_month: spent, recent: spent, recent_since: self.first.max(self.period.start) };
        }
        let sum = |part: fn(&Row) -> Usd| {
            self.rows.iter().filter(counts).fold(Usd::ZERO, |sum, row| sum.saturating_add(part(row)))
        };
        Spent {
            this_month: sum(|row| row.month_nanos),
            recent: sum(|row| row.recent_nanos),
            recent_since: self.recent_since,
        }
    }

    /// What the month will have cost of a budget at its end; `None` when there are too few days to say.
    pub fn forecast(&self, budget: &Budget) -> Option<Usd> {
        forecast::month_end(self.period, self.now, self.spent(budget))
    }
}
