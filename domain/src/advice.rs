//! Owns: when somebody is told that own keys would cost them less, or more, than what they do now.
//! Does not own: any price (`calculator` compares as billing charges), or what was spent (`server::advice`).
//! Invariant: a saving that is named was computed, and is never rounded up.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::calculator::{OnOurKeys, OnOwnKeys};
use crate::money::{NANOS_PER_DOLLAR, Usd};

crate::text_enum! {
    /// What is advised.
    AdviceKind {
        /// Credits are dearer than own keys would be.
        OwnKeys = "own_keys",
        /// Much is spent on credits, and own keys would not cost less.
        Stay = "stay",
        /// Own keys are dearer than the plan and credits would be.
        OurKeys = "our_keys",
    }
}

/// Below a saving of a dollar a month, changing is not worth the trouble.
const LEAST_SAVING: Usd = Usd::from_nanos(NANOS_PER_DOLLAR);

/// Thirty days of an account, as far as advice needs them.
#[derive(Clone, Debug, Default)]
pub struct Thirty {
    /// What was spent of bought credit.
    pub credit: Usd,
    /// What was paid for here, and what it would have been on own keys.
    pub here: Option<(OnOurKeys, OnOwnKeys)>,
    /// What was run with own keys: what it would have been here, and what it was. `None` without such runs.
    pub own: Option<(OnOurKeys, OnOwnKeys)>,
}

/// A piece of advice with its numbers, for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub kind: AdviceKind,
    /// The spend on credits from which on own keys are suggested.
    pub threshold: Usd,
    /// Plan and credits.
    pub our_keys: Usd,
    /// Plan at the own-key price, and the providers.
    pub own_keys: Usd,
    /// By how much the better of the two is cheaper.
    pub saving: Usd,
}

/// What to advise, if anything. From `threshold` of credit spent in thirty days on, whether own keys would pay; and to whoever
/// uses own keys, when they do not.
pub fn advise(thirty: &Thirty, threshold: Usd) -> Option<Advice> {
    let advice = |kind, (ours, own): &(OnOurKeys, OnOwnKeys)| {
        let saving = match kind {
            AdviceKind::OwnKeys => ours.total.checked_sub(own.total)?,
            AdviceKind::Stay | AdviceKind::OurKeys => own.total.checked_sub(ours.total)?,
        };
        Some(Advice { kind, threshold, our_keys: ours.total, own_keys: own.total, saving })
    };
    if thirty.credit >= threshold
        && let Some(here) = &thirty.here
    {
        let switch = advice(AdviceKind::OwnKeys, here)?;
        return if switch.saving >= LEAST_SAVING { Some(switch) } else { advice(AdviceKind::Stay, here) };
    }
    let back = advice(AdviceKind::OurKeys, thirty.own.as_ref()?)?;
    (back.saving >= LEAST_SAVING).then_some(back)
}

impl Advice {
    /// The sentence. That of own keys is word for word spec §3's, with the real saving in whole dollars, rounded down.
    pub fn sentence(&self) -> String {
        let (threshold, saving) = (whole_dollars(self.threshold), whole_dollars(self.saving));
        match self.kind {
            AdviceKind::OwnKeys => format!(
                "You're spending ${threshold}+/mo on credits. Switch to BYOT for zero markup and save ${saving}+/mo."
            ),
            AdviceKind::Stay => {
                format!("You're spending ${threshold}+/mo on credits. Your own key would not pay: stay with credits.")
            }
            AdviceKind::OurKeys => {
                format!(
                    "Your own keys cost you ${saving}+/mo more than the plan and credits would. Our keys would do the same work."
                )
            }
        }
    }
}

fn whole_dollars(amount: Usd) -> i64 {
    amount.nanos().max(0).div_euclid(NANOS_PER_DOLLAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calculator::{OwnWork, Spent, compare_own, compare_spent};
    use crate::catalogue::tests::tiers;
    use crate::id::{PackId, PlanId};
    use crate::pack::Pack;
    use crate::time::Timestamp;

    fn usd(text: &str) -> Usd {
        Usd::parse_dollars(text).unwrap()
    }

    fn spent(plan: &str, credit: &str, included: &str, (price, amount, bonus): (&str, &str, &str)) -> Option<Advice> {
        let catalogue = tiers();
        let pack = Pack { id: PackId::new("bought"), amount: usd(amount), bonus: usd(bonus), price: usd(price) };
        let spent = Spent {
            plan: catalogue.plan(&PlanId::new(plan)).unwrap(),
            seats: 1,
            included: usd(included),
            credit: usd(credit),
            pack: Some(&pack),
        };
        let here = compare_spent(&spent, Timestamp::from_date(2026, 11, 24));
        advise(&Thirty { credit: usd(credit), here, own: None }, catalogue.limits.own_key_advice)
    }

    const PLAIN: (&str, &str, &str) = ("11.50", "10", "0");

    /// Spec §3, word for word.
    #[test]
    fn at_a_hundred_dollars_own_keys_are_suggested() {
        let advice = spent("free", "100", "0", PLAIN).unwrap();
        assert_eq!(
            advice.sentence(),
            "You're spending $100+/mo on credits. Switch to BYOT for zero markup and save $15+/mo."
        );
        assert_eq!((advice.our_keys, advice.own_keys, advice.saving), (usd("115"), usd("100"), usd("15")));
        assert_eq!(spent("free", "99.999999999", "0", PLAIN), None);
    }

    /// The saving is the account's own: what its credit was bought for, its plan's two prices, and what the plan paid for.
    #[test]
    fn the_saving_is_the_accounts_own() {
        let saving = |advice: Option<Advice>| advice.map(|advice| (advice.kind, advice.saving));
        // Pro at $9 or $5, and $30 of work that the plan pays for and own keys would not.
        assert_eq!(saving(spent("pro", "200", "0", PLAIN)), Some((AdviceKind::OwnKeys, usd("34"))));
        assert_eq!(saving(spent("pro", "200", "30", PLAIN)), Some((AdviceKind::OwnKeys, usd("4"))));
        assert_eq!(saving(spent("pro", "200", "40", PLAIN)), Some((AdviceKind::Stay, usd("6"))));
        // Bought with its bonus for what it is worth: nothing to save.
        let advice = spent("free", "100", "0", ("115", "100", "15")).unwrap();
        assert_eq!((advice.kind, advice.saving), (AdviceKind::Stay, Usd::ZERO));
        assert!(advice.sentence().contains("would not pay"));
        assert_eq!(saving(spent("enterprise", "500", "0", PLAIN)), None, "by agreement");
    }

    #[test]
    fn whoever_pays_more_with_own_keys_is_told() {
        let catalogue = tiers();
        let own = |cost: &str, eligible: &str, eligible_runs| {
            let plan = catalogue.plan(&PlanId::new("pro")).unwrap();
            let work = OwnWork { plan, seats: 1, cost: usd(cost), eligible: usd(eligible), eligible_runs };
            let own = compare_own(&catalogue, &work, Timestamp::from_date(2026, 11, 24));
            advise(&Thirty { credit: Usd::ZERO, here: None, own }, catalogue.limits.own_key_advice)
        };
        // $50 of work that Pro pays for: $9 here, $55 with own keys.
        let advice = own("50", "50", 400).unwrap();
        assert_eq!((advice.kind, advice.our_keys, advice.own_keys), (AdviceKind::OurKeys, usd("9"), usd("55")));
        assert!(advice.sentence().contains("$46+/mo more"), "{}", advice.sentence());
        // The heavy class is not in the plan: credits cost 15 % more than the provider.
        assert_eq!(own("50", "0", 0), None);
        assert_eq!(own("4.5", "4.5", 40), None, "50 cents are not worth a word");
    }
}
