//! Owns: what a plan includes and costs, as the catalogue writes it.
//! Does not own: subscriptions at Stripe, or counting what an account used.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::ModelClass;
use crate::id::{ModelId, PlanId};
use crate::money::{BasisPoints, Cents, Usd};
use crate::proration::Item;
use crate::subscription::KeyMode;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// Whether credits may pay on a plan, once nothing before them does (spec §1, row 4).
    PayPerUse {
        /// The plan is funded by credits: a balance is enough.
        Always = "always",
        /// Unless the account lets only its plan pay. Buying credit is the consent: there is none to spend before.
        OptIn = "opt_in",
        Never = "never",
    }
}

/// A plan of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub name: String,
    pub description: String,
    /// Whether prices and executions count for each seat.
    pub per_seat: bool,
    /// Whether the pricing page offers it; `false` is what an account has before it chose one.
    pub listed: bool,
    pub pay_per_use: PayPerUse,
    /// By rising date; they do not overlap.
    pub prices: Vec<PlanPrice>,
    pub limits: PlanLimits,
}

/// What a plan costs a month, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPrice {
    pub from: Timestamp,
    /// The first moment it no longer counts; `None` until further notice.
    pub until: Option<Timestamp>,
    /// With our keys; `None` is by agreement.
    pub standard: Option<Usd>,
    /// With the customer's own keys; `None` is by agreement.
    pub byok: Option<Usd>,
}

/// A number with an end, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowance {
    AtMost(u64),
    Unlimited,
}

/// What a plan includes (spec §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimits {
    pub running_agents: Allowance,
    pub executions_a_month: Allowance,
    /// Beyond this many executions a month they are slowed down; `None` never.
    pub throttled_after: Option<u64>,
    /// Executions a minute once slowed down.
    pub throttled_to_a_minute: Option<u64>,
    pub sandbox_tries_a_day: Allowance,
    pub channels: String,
    pub log_retention_hours: u64,
    pub support: String,
    /// The promised availability, in hundredths of a percent; `None` if there is no promise.
    pub sla: Option<BasisPoints>,
    /// What a day may cost on our keys; `None` is no cap of ours.
    pub daily_spend_cap: Option<Usd>,
    /// Classes of models that our keys do not run for this plan.
    pub refused_classes: Vec<ModelClass>,
    /// Single models that our keys do not run for this plan.
    pub refused_models: Vec<ModelId>,
    /// Classes of models that the allowance does not pay for: credits or an own key.
    pub not_in_allowance: Vec<ModelClass>,
}

impl Plan {
    /// What it costs a month at a moment; `None` if it is not sold then.
    pub fn price_at(&self, at: Timestamp) -> Option<&PlanPrice> {
        self.prices.iter().find(|price| price.from <= at && price.until.is_none_or(|until| at < until))
    }

    /// How many times its price is paid: once, or for each seat.
    pub const fn quantity(&self, seats: u32) -> u32 {
        if self.per_seat && seats > 1 { seats } else { 1 }
    }

    /// What a whole month costs, all seats together; `None` by agreement, or if it is not sold then.
    pub fn month(&self, at: Timestamp, mode: KeyMode, seats: u32) -> Option<Cents> {
        let unit = self.price_at(at)?.of(mode)?.to_cents_exact()?;
        Item { unit, quantity: self.quantity(seats) }.total()
    }
}

impl PlanPrice {
    /// What one seat costs a month; `None` is by agreement.
    pub const fn of(&self, mode: KeyMode) -> Option<Usd> {
        match mode {
            KeyMode::Standard => self.standard,
            KeyMode::Byok => self.byok,
        }
    }

    /// What the customer's own keys save, rounded half up to the whole percent; `None` when there is nothing to save.
    pub fn byok_saving_percent(&self) -> Option<i64> {
        let standard = self.standard.filter(|price| price.is_positive())?;
        let saving = i128::from(standard.checked_sub(self.byok?)?.nanos());
        crate::money::ratio_half_up(saving, i128::from(standard.nanos()), 100).filter(|&percent| percent > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::tiers;

    /// Spec §2: "BYOK savings shown: 44 %, 34 %".
    #[test]
    fn own_keys_save_44_and_34_percent() {
        let now = Timestamp::from_date(2026, 11, 24);
        let savings: Vec<_> =
            tiers().plans.iter().map(|plan| plan.price_at(now).unwrap().byok_saving_percent()).collect();
        assert_eq!(savings, [None, Some(44), Some(34), None]);
    }

    #[test]
    fn a_month_is_paid_for_each_seat_of_a_plan_that_has_seats() {
        let catalogue = tiers();
        let now = Timestamp::from_date(2026, 11, 24);
        let month = |plan, mode, seats| {
            let plan = catalogue.plan(&PlanId::new(plan)).unwrap();
            plan.month(now, mode, seats).map(|cents| cents.0)
        };
        assert_eq!(month("free", KeyMode::Standard, 4), Some(0));
        assert_eq!(month("pro", KeyMode::Byok, 4), Some(500));
        assert_eq!(month("team", KeyMode::Standard, 4), Some(11_600));
        assert_eq!(month("team", KeyMode::Byok, 0), Some(1_900), "no plan has less than one seat");
        assert_eq!(month("enterprise", KeyMode::Standard, 4), None, "by agreement");
    }

    #[test]
    fn a_plan_costs_what_it_costs_on_the_day() {
        let text = crate::catalogue::tests::TIERS.replace(
            r#"[{ from = 2026-01-01, standard = "9.00", byok = "5.00" }]"#,
            r#"[{ from = 2026-01-01, until = 2026-06-01, standard = "9.00", byok = "5.00" },
                { from = 2026-06-01, standard = "12.00", byok = "6.00" }]"#,
        );
        let catalogue = crate::catalogue::Catalogue::parse(&text).unwrap();
        let pro = catalogue.plan(&PlanId::new("pro")).unwrap();
        let on = |moment: Timestamp| pro.price_at(moment).map(|price| price.standard.unwrap().to_string());
        let change = Timestamp::from_date(2026, 6, 1);
        assert_eq!(on(Timestamp::from_date(2025, 12, 31)), None);
        assert_eq!(on(change.plus_seconds(-1)).as_deref(), Some("$9.00"));
        assert_eq!(on(change).as_deref(), Some("$12.00"));
    }
}
