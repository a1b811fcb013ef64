//! Owns: what somebody would pay a month: a plan, seats and an amount of work, on our keys or on their own.
//! Does not own: any price. The plan's month, a run's cost, the allowance and the pack are asked where billing asks them.
//! Invariant: what is paid for the same work never falls when there is more of it.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::Catalogue;
use crate::id::SkillId;
use crate::limit::{AllowanceRule, in_allowance};
use crate::money::{Usd, ratio_half_up};
use crate::pack::Pack;
use crate::plan::{Allowance, Plan};
use crate::quote::typical;
use crate::rate::RateBook;
use crate::subscription::KeyMode;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// More runs of one skill in a month than anybody makes; keeps sums far from the end of the range.
pub const MOST_RUNS: u64 = 100_000;
/// Days of a month, in which the work is spread evenly.
const DAYS: u64 = 30;
/// Break-evens are looked for at least up to this list price a month, in nano-dollars: $100,000.
const FURTHEST: i64 = 100_000_000_000_000;

/// What somebody thinks of buying and doing.
#[derive(Clone, Debug)]
pub struct Scenario<'a> {
    pub plan: &'a Plan,
    pub seats: u32,
    /// Runs of each skill that each person makes in a month.
    pub runs: BTreeMap<SkillId, u64>,
    /// The pack that credit is bought in; `None` takes the smallest that lasts for a month.
    pub pack: Option<&'a Pack>,
}

/// The runs of one skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub skill: SkillId,
    /// In a month, everybody's.
    pub runs: u64,
    /// What one usually costs at the provider.
    pub each: Usd,
    /// What all cost at the provider.
    pub cost: Usd,
    /// Whether the plan's allowance pays for this skill's model.
    pub is_included: bool,
}

/// A month on our keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnOurKeys {
    pub fee: Usd,
    /// The part of the list price that the plan's allowance pays for.
    pub included: Usd,
    /// The part that credit pays for.
    pub credit: Usd,
    /// What that credit is bought for.
    pub credit_price: Usd,
    pub total: Usd,
}

/// A month on the customer's own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnOwnKeys {
    pub fee: Usd,
    /// Paid to the providers.
    pub provider: Usd,
    pub total: Usd,
}

/// Which of the two costs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheaper {
    OurKeys,
    OwnKeys,
    Same,
}

/// From this list price a month on, up to the next stretch, one of the two is cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub from: Usd,
    pub cheaper: Cheaper,
}

/// What a month would cost.
#[derive(Clone, Debug)]
pub struct Estimate<'a> {
    pub work: Vec<Work>,
    pub runs: u64,
    /// What everything costs at the providers.
    pub cost: Usd,
    pub our_keys: OnOurKeys,
    pub own_keys: OnOwnKeys,
    /// The pack that credit is bought in, if credit is needed and one is sold.
    pub pack: Option<&'a Pack>,
    /// Whether the plan slows down before the month ends.
    pub is_slowed: bool,
    line: Line<'a>,
}

/// What both sides come to at any list price, the mix of work being the same.
#[derive(Clone, Debug)]
struct Line<'a> {
    standard: Usd,
    byok: Usd,
    cost: Usd,
    /// The part of `cost` on models that the allowance pays for.
    eligible: Usd,
    /// The list price that the allowance covers of such work, by its number of runs and its daily cap; `None` covers all.
    covered: Option<Usd>,
    pack: Option<&'a Pack>,
}

/// What `scenario` costs a month at the prices of `now`. `None` for a plan whose price is by agreement or that is not
/// sold, for a skill without a rate, and past the range of money. Runs above [`MOST_RUNS`] count as that many.
pub fn estimate<'a>(
    catalogue: &'a Catalogue,
    book: &RateBook,
    now: Timestamp,
    scenario: &Scenario<'a>,
) -> Option<Estimate<'a>> {
    let Scenario { plan, seats, .. } = scenario;
    let people = u64::from(plan.quantity(*seats));
    let work = work(catalogue, book, now, scenario, people)?;
    let sum = |mut costs: Box<dyn Iterator<Item = Usd> + '_>| costs.try_fold(Usd::ZERO, Usd::checked_add);
    let cost = sum(Box::new(work.iter().map(|work| work.cost)))?;
    let eligible = sum(Box::new(work.iter().filter(|work| work.is_included).map(|work| work.cost)))?;
    let eligible_runs: u64 = work.iter().filter(|work| work.is_included).map(|work| work.runs).sum();

    let rule = AllowanceRule::new(plan, *seats, (now, now));
    let (standard, byok) = fees(plan, *seats, now)?;
    let covered = covered(&rule, eligible, eligible_runs)?;
    let mut line = Line { standard, byok, cost, eligible, covered, pack: scenario.pack };
    if line.pack.is_none() {
        line.pack = lasting(&catalogue.packs, line.split(cost)?.1);
    }
    let our_keys = line.our_keys(cost)?;
    Some(Estimate {
        runs: work.iter().map(|work| work.runs).sum(),
        cost,
        own_keys: line.own_keys(cost)?,
        pack: line.pack.filter(|_| our_keys.credit.is_positive()),
        is_slowed: rule.throttled_after.is_some_and(|after| eligible_runs > after),
        our_keys,
        work,
        line,
    })
}

/// A month that was: what it came to at the providers, and who paid.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    pub plan: &'a Plan,
    pub seats: u32,
    /// The list cost that the plan's allowance paid.
    pub included: Usd,
    /// The list cost that credit paid.
    pub credit: Usd,
    /// At which price that credit was bought, as one pack; `None` if none was.
    pub pack: Option<&'a Pack>,
}

/// What a month that was paid for here came to, and what it would have come to on own keys. `None` for a plan by
/// agreement, for credit that was not bought, and past the range of money.
pub fn compare_spent(spent: &Spent<'_>, now: Timestamp) -> Option<(OnOurKeys, OnOwnKeys)> {
    let (standard, byok) = fees(spent.plan, spent.seats, now)?;
    let cost = spent.included.checked_add(spent.credit)?;
    let (eligible, covered) = (spent.included, Some(spent.included));
    let line = Line { standard, byok, cost, eligible, covered, pack: spent.pack };
    Some((line.our_keys(cost)?, line.own_keys(cost)?))
}

/// A month that was run with own keys.
#[derive(Clone, Copy, Debug)]
pub struct OwnWork<'a> {
    pub plan: &'a Plan,
    pub seats: u32,
    /// What it cost at the providers.
    pub cost: Usd,
    /// The part of `cost` on models that the plan's allowance pays for, and how many runs that were.
    pub eligible: Usd,
    pub eligible_runs: u64,
}

/// What a month on own keys would have come to on ours, with the smallest pack that lasts for it, and what it came to.
/// `None` as for [`compare_spent`].
pub fn compare_own(catalogue: &Catalogue, work: &OwnWork<'_>, now: Timestamp) -> Option<(OnOurKeys, OnOwnKeys)> {
    let OwnWork { plan, seats, cost, eligible, eligible_runs } = *work;
    let (standard, byok) = fees(plan, seats, now)?;
    let covered = covered(&AllowanceRule::new(plan, seats, (now, now)), eligible, eligible_runs)?;
    let mut line = Line { standard, byok, cost, eligible, covered, pack: None };
    line.pack = lasting(&catalogue.packs, line.split(cost)?.1);
    Some((line.our_keys(cost)?, line.own_keys(cost)?))
}

/// A month of the plan at the standard price and at the own-key price.
fn fees(plan: &Plan, seats: u32, now: Timestamp) -> Option<(Usd, Usd)> {
    let fee = |mode| Usd::from_cents(plan.month(now, mode, seats)?);
    Some((fee(KeyMode::Standard)?, fee(KeyMode::Byok)?))
}

/// The list price that the allowance covers of so many runs that it may pay for, by its number and by its daily cap;
/// `Some(None)` covers all.
#[allow(clippy::option_option)] // The outer one is the range of money.
fn covered(rule: &AllowanceRule, eligible: Usd, eligible_runs: u64) -> Option<Option<Usd>> {
    let by_number = match rule.executions {
        Allowance::Unlimited => None,
        Allowance::AtMost(_) if eligible_runs == 0 => Some(Usd::ZERO),
        Allowance::AtMost(most) => Some(part(eligible, u128::from(most), u128::from(eligible_runs))?),
    };
    let a_month = |cap| part(cap, u128::from(DAYS), 1);
    Some(match (by_number, rule.daily_spend_cap.and_then(a_month)) {
        (Some(covered), Some(cap)) => Some(covered.min(cap)),
        (covered, cap) => covered.or(cap),
    })
}

fn work(
    catalogue: &Catalogue,
    book: &RateBook,
    now: Timestamp,
    scenario: &Scenario<'_>,
    people: u64,
) -> Option<Vec<Work>> {
    let runs_of = |id| scenario.runs.get(id).copied().unwrap_or_default().min(MOST_RUNS);
    let skills = catalogue.skills.iter().map(|skill| (skill, runs_of(&skill.id).saturating_mul(people)));
    skills
        .filter(|(_, runs)| *runs > 0)
        .map(|(skill, runs)| {
            let each = typical(catalogue, book, now, skill)?;
            let model = catalogue.model(&skill.model).ok()?;
            let is_included = in_allowance(scenario.plan, model).is_ok();
            Some(Work { skill: skill.id.clone(), runs, each, cost: part(each, u128::from(runs), 1)?, is_included })
        })
        .collect()
}

/// The smallest pack that `credit` can be spent from, or else the one with most to spend.
fn lasting(packs: &[Pack], credit: Usd) -> Option<&Pack> {
    let enough = packs.iter().filter(|pack| pack.spendable().is_some_and(|spendable| spendable >= credit));
    enough.min_by_key(|pack| pack.price).or_else(|| packs.iter().max_by_key(|pack| pack.spendable()))
}

/// `amount` × `numerator` / `denominator`, half up.
fn part(amount: Usd, numerator: u128, denominator: u128) -> Option<Usd> {
    let (numerator, denominator) = (i128::try_from(numerator).ok()?, i128::try_from(denominator).ok()?);
    ratio_half_up(i128::from(amount.nanos()), denominator, numerator).map(Usd::from_nanos)
}

impl Estimate<'_> {
    /// What a month would cost on our keys and on own keys, if the same mix of work came to `list` at the providers.
    pub fn totals_at(&self, list: Usd) -> Option<(Usd, Usd)> {
        Some((self.line.our_keys(list)?.total, self.line.own_keys(list)?.total))
    }

    /// Which side is cheaper, from nothing up to $100,000 of list price a month, or twice what this work comes to. Empty
    /// without any work.
    pub fn stretches(&self) -> Vec<Stretch> {
        let line = &self.line;
        if !line.cost.is_positive() {
            return Vec::new();
        }
        // Both sides are straight up to where the allowance ends, and straight again after it.
        let furthest = line.cost.nanos().saturating_mul(2).max(FURTHEST);
        let bend = line.bend().filter(|bend| *bend < furthest && *bend > 0);
        let ends: Vec<i64> = [Some(0), bend, Some(furthest)].into_iter().flatten().collect();
        let mut stretches: Vec<Stretch> = Vec::new();
        for pair in ends.windows(2) {
            let [start, end] = *pair else { continue };
            let crossing = line.crossing(start, end);
            let bounds: Vec<i64> = [Some(start), crossing, Some(end)].into_iter().flatten().collect();
            for bounds in bounds.windows(2) {
                let [from, to] = *bounds else { continue };
                let Some(cheaper) = line.cheaper(from.midpoint(to)) else { continue };
                if stretches.last().is_none_or(|last| last.cheaper != cheaper) {
                    stretches.push(Stretch { from: Usd::from_nanos(from), cheaper });
                }
            }
        }
        stretches
    }
}

impl Line<'_> {
    fn our_keys(&self, list: Usd) -> Option<OnOurKeys> {
        let (included, credit) = self.split(list)?;
        let credit_price = self.buy(credit)?;
        let total = self.standard.checked_add(credit_price)?;
        Some(OnOurKeys { fee: self.standard, included, credit, credit_price, total })
    }

    /// What the allowance pays for, and what is left for credit.
    fn split(&self, list: Usd) -> Option<(Usd, Usd)> {
        let eligible = self.share(self.eligible, list)?;
        let included = self.covered.map_or(eligible, |covered| covered.min(eligible));
        Some((included, list.checked_sub(included)?))
    }

    fn own_keys(&self, list: Usd) -> Option<OnOwnKeys> {
        Some(OnOwnKeys { fee: self.byok, provider: list, total: self.byok.checked_add(list)? })
    }

    /// What `of`, a part of the whole cost, is when the whole comes to `list`.
    fn share(&self, of: Usd, list: Usd) -> Option<Usd> {
        if self.cost == list || self.cost.is_zero() {
            return Some(of);
        }
        let (of, list, cost) = (i128::from(of.nanos()), i128::from(list.nanos()), i128::from(self.cost.nanos()));
        ratio_half_up(of, cost, list).map(Usd::from_nanos)
    }

    /// What `credit` is bought for: its part of the pack's price. Without a pack it cannot be had.
    fn buy(&self, credit: Usd) -> Option<Usd> {
        if credit.is_zero() {
            return Some(Usd::ZERO);
        }
        let pack = self.pack?;
        let (credit, spendable) = (i128::from(credit.nanos()), i128::from(pack.spendable()?.nanos()));
        ratio_half_up(credit, spendable, i128::from(pack.price.nanos())).map(Usd::from_nanos)
    }

    /// The list price at which the allowance is used up.
    fn bend(&self) -> Option<i64> {
        let (covered, cost) = (self.covered?, i128::from(self.cost.nanos()));
        ratio_half_up(i128::from(covered.nanos()), i128::from(self.eligible.nanos()), cost)
    }

    fn cheaper(&self, list: i64) -> Option<Cheaper> {
        let list = Usd::from_nanos(list);
        Some(match self.our_keys(list)?.total.cmp(&self.own_keys(list)?.total) {
            std::cmp::Ordering::Less => Cheaper::OurKeys,
            std::cmp::Ordering::Equal => Cheaper::Same,
            std::cmp::Ordering::Greater => Cheaper::OwnKeys,
        })
    }

    /// Where one side stops being cheaper than the other, between two list prices.
    fn crossing(&self, start: i64, end: i64) -> Option<i64> {
        let (first, last) = (self.cheaper(start)?, self.cheaper(end)?);
        if first == last || first == Cheaper::Same || last == Cheaper::Same {
            return None;
        }
        let (mut low, mut high) = (start, end);
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if self.cheaper(middle)? == first { low = middle } else { high = middle }
        }
        Some(high)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
#[path = "calculator_tests.rs"]
mod tests;
