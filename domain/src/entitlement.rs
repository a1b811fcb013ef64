//! Owns: what an account may do now, as one answer for its pages and for the host product (`GET /v1/entitlements`).
//! Does not own: the rules (`limit`, `funding`) or the counters (`server::ledger`).

use crate::catalogue::{Catalogue, TrialKind};
use crate::funding::PayWith;
use crate::id::{ModelId, PlanId};
use crate::limit::{AllowanceRule, AllowanceUsed, PlatformDay, in_allowance};
use crate::money::Usd;
use crate::plan::{Allowance, Plan};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What an account may do. Numbers that are `None` have no end. Money is nano-dollars, moments are microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlements {
    pub plan: PlanId,
    pub plan_name: String,
    pub catalogue_version: String,
    /// `standard` or `byok`.
    pub key_mode: String,
    /// As Stripe says it; `None` without a subscription.
    pub subscription: Option<String>,
    /// Whether the plan is sold by the seat, and its limits are counted by the seat.
    pub per_seat: bool,
    pub seats: u32,
    /// The members of the account.
    pub seats_used: u32,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub pay_with: PayWith,
    pub executions: ExecutionMeter,
    pub throttle: Option<Throttle>,
    pub daily_spend: DailySpend,
    pub running_agents: Option<u64>,
    /// The agents that run.
    pub running_agents_used: u64,
    pub sandbox_tries_a_day: Option<u64>,
    pub channels: String,
    pub log_retention_hours: u64,
    pub support: String,
    /// The most tokens of one execution, input and output.
    pub execution_tokens: u64,
    /// The models that the plan's allowance pays for, and those that credits or an own key must.
    pub models_included: Vec<ModelId>,
    pub models_not_included: Vec<ModelId>,
    pub trial: Option<RunningTrial>,
}

/// Executions of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionMeter {
    pub limit: Option<u64>,
    /// Those that run count too.
    pub used: u64,
    pub left: Option<u64>,
}

/// From when on executions are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    pub after: u64,
    pub to_a_minute: u64,
    pub is_slow: bool,
    /// When the next one may begin, while they are slow.
    pub next_at: Option<Timestamp>,
}

/// What the day may cost us, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailySpend {
    pub cap: Option<Usd>,
    pub spent: Usd,
    /// The most that running executions can still cost.
    pub held: Usd,
    pub resets_at: Timestamp,
}

/// A trial that is running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningTrial {
    pub kind: TrialKind,
    pub ends_at: Timestamp,
    pub credit_left: Usd,
}

impl ExecutionMeter {
    pub fn new(rule: &AllowanceRule, used: &AllowanceUsed) -> ExecutionMeter {
        let limit = match rule.executions {
            Allowance::AtMost(limit) => Some(limit),
            Allowance::Unlimited => None,
        };
        ExecutionMeter { limit, used: used.executions, left: rule.left(used) }
    }
}

impl Throttle {
    pub fn new(rule: &AllowanceRule, used: &AllowanceUsed, now: Timestamp) -> Option<Throttle> {
        let (after, to_a_minute) = (rule.throttled_after?, rule.throttled_to_a_minute?);
        let is_slow = used.executions >= after;
        let next_at = (is_slow && used.next_at > now).then_some(used.next_at);
        Some(Throttle { after, to_a_minute, is_slow, next_at })
    }
}

impl DailySpend {
    pub fn new(rule: &AllowanceRule, day: &PlatformDay, now: Timestamp) -> DailySpend {
        let resets_at = now.day().plus_seconds(86_400);
        DailySpend { cap: rule.daily_spend_cap, spent: day.spent, held: day.held, resets_at }
    }
}

/// The catalogue's models that the plan's allowance pays for, and the others. A plan without executions pays for none.
pub fn models(catalogue: &Catalogue, plan: &Plan) -> (Vec<ModelId>, Vec<ModelId>) {
    let includes_any = plan.limits.executions_a_month != Allowance::AtMost(0);
    let (included, not): (Vec<_>, Vec<_>) =
        catalogue.models.iter().partition(|model| includes_any && in_allowance(plan, model).is_ok());
    let ids = |models: Vec<&crate::catalogue::Model>| models.into_iter().map(|model| model.id.clone()).collect();
    (ids(included), ids(not))
}
