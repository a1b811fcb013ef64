//! Owns: how much one execution may take, and what a plan lets an account run without paying for each run.
//! Does not own: counting what was used (`server::ledger`), or who pays when the plan does not (`funding`).
//! Invariant: whoever was let through is counted in the same decision, so no more get through than the plan has.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::{Limits, Model};
use crate::denial::{Denial, Otherwise};
use crate::money::Usd;
use crate::plan::{Allowance, Plan};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

const MINUTE_MICROS: i64 = 60_000_000;

/// The output tokens that a run may have: what was `wanted`, no more than the model writes, and no more than is left
/// of one execution (and of the model's context) beside the input. Refused when nothing is left.
pub fn output_cap(limits: &Limits, model: &Model, input_tokens: u64, wanted: u64) -> Result<u64, Denial> {
    let limit = limits.execution_tokens.min(model.context_tokens);
    match limit.saturating_sub(input_tokens) {
        0 => Err(Denial::PromptTooLong { tokens: input_tokens, limit }),
        left => Ok(wanted.max(1).min(model.max_output_tokens).min(left)),
    }
}

/// What a plan lets an account run in one period, its seats counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceRule {
    /// The plan's name, for sentences.
    pub plan: String,
    pub period_start: Timestamp,
    /// The first moment of the next period, when the count begins again.
    pub period_end: Timestamp,
    pub executions: Allowance,
    /// From this many executions on they are slowed down; `None` never.
    pub throttled_after: Option<u64>,
    /// Executions a minute once slowed down.
    pub throttled_to_a_minute: Option<u64>,
    /// What a day in UTC may cost us; `None` has no cap.
    pub daily_spend_cap: Option<Usd>,
}

/// What an account has used of its allowance in a period, running executions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceUsed {
    pub executions: u64,
    /// When the next one may begin, once they are slowed down.
    pub next_at: Timestamp,
}

/// What a day in UTC cost us for an account: runs that its plan or its trial paid for, charged or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformDay {
    pub spent: Usd,
    /// The most that running executions can still cost.
    pub held: Usd,
}

impl AllowanceRule {
    /// The plan's rule for a period. What is sold by the seat is counted by the seat: executions, the pace once they are
    /// slowed down, and the daily cap, which is each user's.
    pub fn new(plan: &Plan, seats: u32, (period_start, period_end): (Timestamp, Timestamp)) -> AllowanceRule {
        let seats = if plan.per_seat { u64::from(seats.max(1)) } else { 1 };
        let by_seat = |number: u64| number.saturating_mul(seats);
        let limits = &plan.limits;
        AllowanceRule {
            plan: plan.name.clone(),
            period_start,
            period_end,
            executions: match limits.executions_a_month {
                Allowance::AtMost(number) => Allowance::AtMost(by_seat(number)),
                Allowance::Unlimited => Allowance::Unlimited,
            },
            throttled_after: limits.throttled_after.map(by_seat),
            throttled_to_a_minute: limits.throttled_to_a_minute.map(by_seat),
            daily_spend_cap: limits.daily_spend_cap.map(|cap| {
                let seats = i64::try_from(seats).unwrap_or(i64::MAX);
                Usd::from_nanos(cap.nanos().saturating_mul(seats))
            }),
        }
    }

    /// Whether the plan includes any execution at all.
    pub fn includes_any(&self) -> bool {
        self.executions != Allowance::AtMost(0)
    }

    /// How many executions are left; `None` without an end.
    pub fn left(&self, used: &AllowanceUsed) -> Option<u64> {
        match self.executions {
            Allowance::AtMost(number) => Some(number.saturating_sub(used.executions)),
            Allowance::Unlimited => None,
        }
    }
}

/// Whether the plan's allowance may pay for this model at all (spec §2, "models refused").
pub fn in_allowance(plan: &Plan, model: &Model) -> Result<(), Denial> {
    let limits = &plan.limits;
    let refused = limits.refused_classes.contains(&model.class)
        || limits.refused_models.contains(&model.id)
        || limits.not_in_allowance.contains(&model.class);
    if !refused {
        return Ok(());
    }
    let (model, plan) = (model.id.clone(), plan.name.clone());
    Err(Denial::ModelNotInPlan { model, plan, otherwise: Otherwise::NotByCredit })
}

/// One more execution that can cost up to `ceiling`: what is used afterwards, or why it may not begin now. The hard cap
/// is `PlanLimit`, the pace `Throttled`, the day's money `DailyCap`.
pub fn take_one(
    rule: &AllowanceRule,
    used: &AllowanceUsed,
    day: &PlatformDay,
    ceiling: Usd,
    now: Timestamp,
) -> Result<AllowanceUsed, Denial> {
    if let Allowance::AtMost(limit) = rule.executions
        && used.executions >= limit
    {
        let (plan, resets_at) = (rule.plan.clone(), rule.period_end);
        return Err(Denial::PlanLimit { plan, limit, resets_at, otherwise: Otherwise::NotByCredit });
    }
    check_day((&rule.plan, rule.daily_spend_cap), day, ceiling, now)?;
    let slow_after = rule.throttled_after.filter(|after| used.executions >= *after);
    let next_at = match slow_after.zip(rule.throttled_to_a_minute) {
        None => used.next_at,
        Some((after, a_minute)) if now < used.next_at => {
            let retry_after_seconds = now.seconds_until(used.next_at);
            return Err(Denial::Throttled { plan: rule.plan.clone(), a_minute, after, ahead: 0, retry_after_seconds });
        }
        Some((_, a_minute)) => {
            let pause = i64::try_from(a_minute).ok().and_then(|a_minute| MINUTE_MICROS.checked_div(a_minute));
            Timestamp::from_micros(now.micros().saturating_add(pause.unwrap_or(MINUTE_MICROS)))
        }
    };
    Ok(AllowanceUsed { executions: used.executions.saturating_add(1), next_at })
}

/// Whether the day has room for a run that can cost us up to `ceiling`: what runs is counted with the most it can cost,
/// so the cap holds however many run at once.
pub fn check_day(
    (plan, cap): (&str, Option<Usd>),
    day: &PlatformDay,
    ceiling: Usd,
    now: Timestamp,
) -> Result<(), Denial> {
    let Some(cap) = cap else { return Ok(()) };
    let taken = day.spent.saturating_add(day.held);
    if taken.saturating_add(ceiling) <= cap {
        return Ok(());
    }
    let resets_at = now.day().plus_seconds(86_400);
    let retry_after_seconds = now.seconds_until(resets_at);
    Err(Denial::DailyCap { plan: plan.to_owned(), cap, taken, needed: ceiling, retry_after_seconds })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, tiers};
    use crate::id::{ModelId, PlanId};

    fn rule(plan: &str, seats: u32) -> AllowanceRule {
        let catalogue = tiers();
        let plan = catalogue.plan(&PlanId::new(plan)).unwrap().clone();
        AllowanceRule::new(&plan, seats, (NOW.day(), NOW.plus_seconds(30 * 86_400)))
    }

    fn used(executions: u64) -> AllowanceUsed {
        AllowanceUsed { executions, ..AllowanceUsed::default() }
    }

    fn take(rule: &AllowanceRule, used: &AllowanceUsed) -> Result<AllowanceUsed, Denial> {
        take_one(rule, used, &PlatformDay::default(), Usd::ZERO, NOW)
    }

    /// Spec §2: each plan with its executions, throttle and cap; by the seat where it is sold by the seat.
    #[test]
    fn every_plan_has_its_rule() {
        let row = |plan: &str, seats| {
            let rule = rule(plan, seats);
            let cap = rule.daily_spend_cap.map(|cap| cap.to_string());
            (rule.left(&used(0)), rule.throttled_after, rule.throttled_to_a_minute, cap)
        };
        let cap = |text: &str| Some(text.to_owned());
        assert_eq!(row("free", 1), (Some(100), None, None, cap("$1.00")));
        assert_eq!(row("pro", 1), (Some(5_000), Some(3_000), Some(1), cap("$5.00")));
        assert_eq!(row("pro", 7), row("pro", 1), "Pro has no seats");
        assert_eq!(row("team", 1), (Some(25_000), Some(15_000), Some(1), cap("$20.00")));
        assert_eq!(row("team", 4), (Some(100_000), Some(60_000), Some(4), cap("$80.00")));
        assert_eq!(row("enterprise", 3), (None, None, None, None));
    }

    /// Spec §2, "models refused on platform keys", for every model of the catalogue.
    #[test]
    fn every_plan_refuses_its_models() {
        let catalogue = tiers();
        let refused = |plan: &str| -> Vec<&str> {
            let plan = catalogue.plan(&PlanId::new(plan)).unwrap();
            let models = catalogue.models.iter().filter(|model| in_allowance(plan, model).is_err());
            models.map(|model| model.id.as_str()).collect()
        };
        let heavy: Vec<&str> = catalogue
            .models
            .iter()
            .filter(|model| model.class == crate::catalogue::ModelClass::Heavy)
            .map(|model| model.id.as_str())
            .collect();
        assert!(refused("free").contains(&"gpt-4o") && heavy.iter().all(|model| refused("free").contains(model)));
        assert_eq!(refused("free").len(), heavy.len() + 1);
        assert_eq!(refused("pro"), heavy);
        assert_eq!(refused("team"), heavy);
        assert!(refused("enterprise").is_empty());
        let free = catalogue.plan(&PlanId::new("free")).unwrap();
        let denial = in_allowance(free, catalogue.model(&ModelId::new("gpt-4o")).unwrap()).unwrap_err();
        assert_eq!((denial.code(), denial.status()), ("model_not_in_plan", 403));
    }

    #[test]
    fn the_hundredth_runs_and_the_next_does_not() {
        let free = rule("free", 1);
        assert_eq!(take(&free, &used(99)), Ok(used(100)));
        let denial = take(&free, &used(100)).unwrap_err();
        let (plan, resets_at, otherwise) = ("Free".to_owned(), free.period_end, Otherwise::NotByCredit);
        assert_eq!(denial, Denial::PlanLimit { plan, limit: 100, resets_at, otherwise });
        assert_eq!(take(&rule("enterprise", 1), &used(1 << 40)), Ok(used((1 << 40) + 1)));
    }

    /// "1 a minute after 3,000": the 3,001st runs and sets the pace.
    #[test]
    fn beyond_the_throttle_one_a_minute_runs() {
        let pro = rule("pro", 1);
        assert_eq!(take(&pro, &used(2_999)), Ok(used(3_000)));
        let slow = take(&pro, &used(3_000)).unwrap();
        assert_eq!(slow.next_at, NOW.plus_seconds(60));
        let at = |seconds| take_one(&pro, &slow, &PlatformDay::default(), Usd::ZERO, NOW.plus_seconds(seconds));
        let denial = at(18).unwrap_err();
        assert_eq!((denial.code(), denial.status(), denial.retry_after_seconds()), ("throttled", 429, Some(42)));
        assert_eq!(at(60).unwrap().next_at, NOW.plus_seconds(120));
        let team = take(&rule("team", 4), &used(60_000)).unwrap();
        assert_eq!(team.next_at, NOW.plus_seconds(15), "four seats, four a minute");
    }

    #[test]
    fn the_day_counts_what_was_spent_and_what_may_still_be() {
        let free = rule("free", 1);
        let usd = |cents: i64| Usd::from_nanos(cents * 10_000_000);
        let day = PlatformDay { spent: usd(60), held: usd(20) };
        let take = |ceiling, now| take_one(&free, &used(1), &day, ceiling, now);
        assert!(take(usd(20), NOW).is_ok());
        let denial = take(usd(21), NOW).unwrap_err();
        assert_eq!((denial.code(), denial.status()), ("daily_cap", 429));
        let midnight = NOW.day().plus_seconds(86_400);
        assert_eq!(denial.retry_after_seconds(), Some(NOW.seconds_until(midnight)));
        assert!(check_day(("Enterprise", None), &day, usd(100_000), NOW).is_ok());
    }
}
