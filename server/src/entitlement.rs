//! Owns: reading what an account may do now, for its pages and for the host product.
//! Does not own: the rules (`domain::limit`) or the counters (`ledger`).

use crate::error::{Error, Result};
use crate::{Server, allowance, on_read};
use domain::entitlement::{DailySpend, Entitlements, ExecutionMeter, RunningTrial, Throttle, models};
use domain::id::AccountId;
use domain::plan::Allowance;

/// What the account may do now, with what it has used. Denial: `NotFound`.
pub async fn load(server: &Server, account_id: &AccountId) -> Result<Entitlements> {
    let now = server.clock.now();
    let standing = allowance::load(server, account_id).await?;
    let (used, day) = allowance::load_counters(server, account_id, &standing.rule).await?;
    let (members, agents): (i64, i64) = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select (select count(*) from member where account_id = $1),
                    (select count(*) from agent where account_id = $1 and state = 'running')",
        )
        .bind(account_id)
        .fetch_one(conn)
        .await
    })?;
    let trial = match &standing.trial {
        None => None,
        Some(trial) => {
            let credit_left = allowance::load_trial_credit(server, account_id).await?;
            Some(RunningTrial { kind: trial.kind, ends_at: trial.ends_at, credit_left })
        }
    };
    let catalogue = server.catalogue.load();
    let (models_included, models_not_included) = models(&catalogue, &standing.own);
    let (plan, rule, current) = (&standing.plan, &standing.rule, &standing.current);
    let number = |allowance| match allowance {
        Allowance::AtMost(number) => Some(number),
        Allowance::Unlimited => None,
    };
    Ok(Entitlements {
        plan: plan.id.clone(),
        plan_name: plan.name.clone(),
        catalogue_version: current.catalogue_version.clone(),
        key_mode: current.key_mode.to_string(),
        subscription: current.status.map(|status| status.to_string()),
        per_seat: standing.own.per_seat,
        seats: current.seats,
        seats_used: u32::try_from(members).map_err(|error| Error::internal("count of members", error))?,
        period_start: rule.period_start,
        period_end: rule.period_end,
        pay_with: standing.pay_with,
        executions: ExecutionMeter::new(rule, &used),
        throttle: Throttle::new(rule, &used, now),
        daily_spend: DailySpend::new(rule, &day, now),
        running_agents: number(plan.limits.running_agents),
        running_agents_used: agents.max(0).unsigned_abs(),
        sandbox_tries_a_day: number(plan.limits.sandbox_tries_a_day),
        channels: plan.limits.channels.clone(),
        log_retention_hours: plan.limits.log_retention_hours,
        support: plan.limits.support.clone(),
        execution_tokens: catalogue.limits.execution_tokens,
        models_included,
        models_not_included,
        trial,
    })
}
