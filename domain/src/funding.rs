//! Owns: which money may pay for a run, and in which order (spec §1), and what to say when none of it can.
//! Does not own: how much there is or taking it (`ledger`, `limit`, `server::ledger`).
//! Invariant: exactly one source pays for an execution, and it is chosen before anything is spent.

use crate::catalogue::Model;
use crate::denial::{Denial, Otherwise};
use crate::limit::{self, AllowanceRule, AllowanceUsed, PlatformDay};
use crate::money::Usd;
use crate::plan::{PayPerUse, Plan};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// The money that pays for a run.
    FundingSource {
        /// The user's own key: nothing is charged here.
        OwnKey = "own_key",
        /// A managed trial's grant.
        Trial = "trial",
        /// An execution of the plan's allowance.
        Allowance = "allowance",
        /// The credit balance, at the provider's list cost.
        Credits = "credits",
    }
}

crate::text_enum! {
    /// What an account has chosen between its plan's allowance and its credits.
    PayWith {
        /// The plan while it can, then credits.
        PlanFirst = "plan_first",
        /// The plan, and never credits: pay-per-use is off.
        PlanOnly = "plan_only",
        /// Credits, also for what the plan includes.
        Credits = "credits",
    }
}

impl FundingSource {
    /// Whether the run's cost is taken from the account's credit.
    pub const fn takes_credit(self) -> bool {
        match self {
            FundingSource::Trial | FundingSource::Credits => true,
            FundingSource::OwnKey | FundingSource::Allowance => false,
        }
    }

    /// What a person calls it.
    pub const fn words(self) -> &'static str {
        match self {
            FundingSource::OwnKey => "your own key",
            FundingSource::Trial => "trial credit",
            FundingSource::Allowance => "plan allowance",
            FundingSource::Credits => "credits",
        }
    }
}

/// A source that may pay for a run, with what it is decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payer {
    OwnKey,
    /// Trial credit for the model, within what the plan lets a day cost us.
    Trial(AllowanceRule),
    Allowance(AllowanceRule),
    Credits,
}

/// Who may pay for a run of one model, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funding {
    pub payers: Vec<Payer>,
    /// Why the plan is not among them, if it could have been with another model.
    pub why_not: Option<Denial>,
}

/// What an account has for one run of one model.
#[derive(Clone, Debug)]
pub struct Means<'a> {
    /// It has a usable key for the provider, and its key policy points this model at it.
    pub own_key: bool,
    /// A managed trial is running; which models it allows, its lot says.
    pub trial: bool,
    pub plan: &'a Plan,
    pub rule: &'a AllowanceRule,
    pub pay_with: PayWith,
}

/// Who may pay for a run of `model`, in the order of spec §1; credits come before the allowance where the account wants
/// it so. Credits pay for every model on every plan, because what a plan refuses is about its own allowance.
pub fn payers(means: &Means<'_>, model: &Model) -> Funding {
    let why_not = limit::in_allowance(means.plan, model).err().filter(|_| means.rule.includes_any());
    let allowance = why_not.is_none() && means.rule.includes_any();
    let wanted = match means.pay_with {
        PayWith::PlanFirst | PayWith::Credits => true,
        PayWith::PlanOnly => false,
    };
    let credits = match means.plan.pay_per_use {
        PayPerUse::Always => true,
        PayPerUse::OptIn => wanted,
        PayPerUse::Never => false,
    };
    let mut payers = Vec::with_capacity(4);
    if means.own_key {
        payers.push(Payer::OwnKey);
    }
    if means.trial {
        payers.push(Payer::Trial(means.rule.clone()));
    }
    if credits && means.pay_with == PayWith::Credits {
        payers.push(Payer::Credits);
    }
    if allowance {
        payers.push(Payer::Allowance(means.rule.clone()));
    }
    if credits && means.pay_with != PayWith::Credits {
        payers.push(Payer::Credits);
    }
    Funding { payers, why_not }
}

impl Payer {
    pub const fn source(&self) -> FundingSource {
        match self {
            Payer::OwnKey => FundingSource::OwnKey,
            Payer::Trial(_) => FundingSource::Trial,
            Payer::Allowance(_) => FundingSource::Allowance,
            Payer::Credits => FundingSource::Credits,
        }
    }
}

impl Funding {
    /// Credits, and nothing else.
    pub fn credits() -> Funding {
        Funding { payers: vec![Payer::Credits], why_not: None }
    }

    /// Only what costs the user no more than what they were shown: who was told that the plan pays is not charged
    /// credits instead. `None` was shown nothing, such as a caller of the API.
    #[must_use]
    pub fn at_most(mut self, shown: Option<FundingSource>) -> Funding {
        match shown {
            Some(shown @ (FundingSource::OwnKey | FundingSource::Trial | FundingSource::Allowance)) => {
                self.payers.retain(|payer| payer.source() != FundingSource::Credits);
                self.why_not = Some(Denial::FundingChanged { shown });
            }
            Some(FundingSource::Credits) | None => {}
        }
        self
    }
}

/// Why nobody pays, of what each payer said in turn. What soon passes is said first, then what the plan lacks when there
/// is no credit at all, then what credit lacks.
pub fn refusal(why_not: Option<&Denial>, said: &[Denial]) -> Denial {
    let mut reserved = None;
    let mut waits = None;
    let mut plan = why_not;
    let mut credit = None;
    let mut other = None;
    for denial in said {
        if denial.code() == "reserved_by_running_work" {
            reserved = Some(denial);
        } else if denial.code() == "throttled" || denial.code() == "daily_cap" {
            waits = waits.or(Some(denial));
        } else if denial.code() == "plan_limit" {
            plan = plan.or(Some(denial));
        } else if denial.code() == "insufficient_credit" {
            credit = Some(denial);
        } else {
            other = other.or(Some(denial));
        }
    }
    let has_credit = matches!(credit, Some(Denial::InsufficientCredit { spendable, .. }) if spendable.is_positive());
    let changed = why_not.filter(|denial| matches!(denial, Denial::FundingChanged { .. }));
    let first = other.or(reserved).or(changed).or(waits);
    let last = if has_credit { credit.or(plan) } else { plan.or(credit) };
    let last = last.cloned().map(|denial| if credit.is_some() { without_credit(denial) } else { denial });
    first.cloned().or(last).unwrap_or(Denial::InsufficientCredit { needed: Usd::ZERO, spendable: Usd::ZERO })
}

/// What the plan lacks, where credits would have paid.
fn without_credit(denial: Denial) -> Denial {
    let otherwise = Otherwise::NoCredit;
    if let Denial::PlanLimit { plan, limit, resets_at, .. } = denial {
        Denial::PlanLimit { plan, limit, resets_at, otherwise }
    } else if let Denial::ModelNotInPlan { model, plan, .. } = denial {
        Denial::ModelNotInPlan { model, plan, otherwise }
    } else {
        denial
    }
}

/// What an account has at a moment, to say in a preview who would pay. The ledger decides again when a run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    pub funding: Funding,
    pub used: AllowanceUsed,
    pub day: PlatformDay,
    /// Trial credit that may pay for the model.
    pub trial: Usd,
    /// Everything that may pay for the model when credits pay.
    pub spendable: Usd,
}

/// Who would pay for a run that can cost up to `ceiling`, or why nobody would.
pub fn choose(purse: &Purse, ceiling: Usd, now: Timestamp) -> Result<FundingSource, Denial> {
    let Purse { funding, used, day, trial, spendable } = purse;
    let mut said = Vec::new();
    for payer in &funding.payers {
        let asked = match payer {
            Payer::OwnKey => Ok(()),
            Payer::Trial(rule) => limit::check_day((&rule.plan, rule.daily_spend_cap), day, ceiling, now)
                .and_then(|()| enough(*trial, ceiling)),
            Payer::Allowance(rule) => limit::take_one(rule, used, day, ceiling, now).map(drop),
            Payer::Credits => enough(*spendable, ceiling),
        };
        match (asked, payer) {
            (Ok(()), _) => return Ok(payer.source()),
            // Trial credit that is used up is no reason of its own: the next one is asked.
            (Err(Denial::InsufficientCredit { .. }), Payer::Trial(_)) => {}
            (Err(denial), _) => said.push(denial),
        }
    }
    Err(refusal(funding.why_not.as_ref(), &said))
}

fn enough(spendable: Usd, needed: Usd) -> Result<(), Denial> {
    if needed <= spendable { Ok(()) } else { Err(Denial::InsufficientCredit { needed, spendable }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, tiers};
    use crate::id::{ModelId, PlanId};

    fn usd(dollars: i64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    /// A purse on Free with a month of a hundred executions.
    fn purse(model: &str, change: impl FnOnce(&mut Means<'_>)) -> Purse {
        let catalogue = tiers();
        let plan = catalogue.plan(&PlanId::new("free")).unwrap();
        let rule = AllowanceRule::new(plan, 1, (NOW.day(), NOW.plus_seconds(30 * 86_400)));
        let mut means = Means { own_key: false, trial: false, plan, rule: &rule, pay_with: PayWith::PlanFirst };
        change(&mut means);
        let funding = payers(&means, catalogue.model(&ModelId::new(model)).unwrap());
        Purse {
            funding,
            used: AllowanceUsed::default(),
            day: PlatformDay::default(),
            trial: Usd::ZERO,
            spendable: Usd::ZERO,
        }
    }

    fn cent() -> Usd {
        Usd::from_nanos(10_000_000)
    }

    /// Spec §1, the order of the sources, for every combination of means.
    #[test]
    fn the_first_source_that_fits_pays() {
        for bits in 0_u8..16 {
            let mut purse = purse("claude-3-5-haiku", |means| {
                means.own_key = bits & 1 != 0;
                means.trial = bits & 2 != 0;
            });
            purse.trial = usd(1);
            purse.used.executions = if bits & 4 != 0 { 99 } else { 100 };
            purse.spendable = if bits & 8 != 0 { usd(1) } else { Usd::ZERO };
            let expected = match bits.trailing_zeros() {
                0 => Ok(FundingSource::OwnKey),
                1 => Ok(FundingSource::Trial),
                2 => Ok(FundingSource::Allowance),
                3 => Ok(FundingSource::Credits),
                _ => Err("plan_limit"),
            };
            let chosen = choose(&purse, cent(), NOW);
            assert_eq!(chosen.as_ref().map(|source| *source).map_err(Denial::code), expected, "{purse:?}");
        }
    }

    #[test]
    fn trial_credit_that_is_too_little_leaves_it_to_the_plan() {
        let mut purse = purse("claude-3-5-haiku", |means| means.trial = true);
        purse.trial = Usd::from_nanos(9_999_999);
        assert_eq!(choose(&purse, cent(), NOW), Ok(FundingSource::Allowance));
    }

    #[test]
    fn an_account_chooses_between_its_plan_and_its_credits() {
        for (pay_with, with_credit, without) in [
            (PayWith::PlanFirst, Ok(FundingSource::Allowance), Ok(FundingSource::Allowance)),
            (PayWith::PlanOnly, Ok(FundingSource::Allowance), Ok(FundingSource::Allowance)),
            (PayWith::Credits, Ok(FundingSource::Credits), Ok(FundingSource::Allowance)),
        ] {
            let mut purse = purse("claude-3-5-haiku", |means| means.pay_with = pay_with);
            assert_eq!(choose(&purse, cent(), NOW), without, "{pay_with}");
            purse.spendable = usd(1);
            assert_eq!(choose(&purse, cent(), NOW), with_credit, "{pay_with}");
            purse.used.executions = 100;
            let used_up = choose(&purse, cent(), NOW).map_err(|denial| denial.code());
            let expected = if pay_with == PayWith::PlanOnly { Err("plan_limit") } else { Ok(FundingSource::Credits) };
            assert_eq!(used_up, expected, "{pay_with}");
        }
    }

    /// Credits pay for what the plan refuses; without credit the plan's reason is said, with it the missing amount.
    #[test]
    fn a_model_that_the_plan_refuses_is_paid_from_credits() {
        let mut purse = purse("claude-opus-4", |_| ());
        let code = |purse: &Purse| choose(purse, usd(1), NOW).map_err(|denial| denial.code());
        assert_eq!(code(&purse), Err("model_not_in_plan"));
        purse.spendable = cent();
        assert_eq!(code(&purse), Err("insufficient_credit"));
        purse.spendable = usd(1);
        assert_eq!(code(&purse), Ok(FundingSource::Credits));
    }

    /// What passes soon is said first; "reserved" passes soonest.
    #[test]
    fn of_several_reasons_the_one_that_helps_most_is_said() {
        let none = Denial::InsufficientCredit { needed: usd(2), spendable: Usd::ZERO };
        let some = Denial::InsufficientCredit { needed: usd(2), spendable: usd(1) };
        let reserved = Denial::ReservedByRunningWork { needed: usd(2), spendable: usd(1), held: usd(1) };
        let slow =
            Denial::Throttled { plan: "Pro".to_owned(), a_minute: 1, after: 3_000, ahead: 0, retry_after_seconds: 9 };
        let limit = |otherwise| Denial::PlanLimit { plan: "Free".to_owned(), limit: 100, resets_at: NOW, otherwise };
        let (full, nothing) = (limit(Otherwise::NotByCredit), limit(Otherwise::NoCredit));
        let frozen = Denial::AccountFrozen { reason: "by us".to_owned() };
        for (said, expected) in [
            (vec![none.clone()], &none),
            (vec![full.clone()], &full),
            (vec![full.clone(), none.clone()], &nothing),
            (vec![full.clone(), some.clone()], &some),
            (vec![slow.clone(), some.clone()], &slow),
            (vec![slow.clone(), reserved.clone()], &reserved),
            (vec![full.clone(), reserved.clone()], &reserved),
            (vec![frozen.clone()], &frozen),
        ] {
            assert_eq!(&refusal(None, &said), expected, "{said:?}");
        }
        // Spec §3, word for word.
        let exact = "Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup.";
        assert_eq!(none.sentence(), exact);
        assert_eq!(
            nothing.sentence(),
            format!("The 100 runs of your Free plan are used up until 15 Jan 2027. {exact}")
        );
    }

    /// Who was told that the plan pays is not charged credits instead.
    #[test]
    fn a_run_is_not_paid_by_what_was_not_shown() {
        let mut purse = purse("claude-3-5-haiku", |_| ());
        purse.spendable = usd(1);
        purse.used.executions = 100;
        assert_eq!(choose(&purse, cent(), NOW), Ok(FundingSource::Credits));
        let shown = |source| Purse { funding: purse.funding.clone().at_most(Some(source)), ..purse.clone() };
        let denial = choose(&shown(FundingSource::Allowance), cent(), NOW).unwrap_err();
        assert_eq!((denial.code(), denial.status()), ("funding_changed", 409));
        assert_eq!(choose(&shown(FundingSource::Credits), cent(), NOW), Ok(FundingSource::Credits));
    }
}
