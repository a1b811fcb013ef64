//! Owns: what a change in the middle of a paid period costs, line by line, as Stripe computes it.
//! Does not own: whether a change is made now or later (`subscription`), taxes, or coupons.
//! Invariant: by the second; each line is rounded once, half up to the cent of its magnitude; what was paid for and not
//! had is given back before the rest of the period is charged.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::money::{Cents, ratio_half_up};
use crate::period::Period;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A price and how many times it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// For one seat and a whole period.
    pub unit: Cents,
    pub quantity: u32,
}

impl Item {
    /// What a whole period costs; `None` past the range of money.
    pub fn total(&self) -> Option<Cents> {
        self.unit.0.checked_mul(i64::from(self.quantity)).map(Cents)
    }
}

/// What one line of a proration stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LineKind {
    /// Given back for what was paid and is not had any more: negative, or nothing.
    UnusedTime,
    /// Charged for what is had from now on until the period ends: positive, or nothing.
    RemainingTime,
}

/// One line of a proration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub kind: LineKind,
    pub item: Item,
    pub amount: Cents,
}

/// What changing from one item to another at a moment of the period costs. A moment outside the period counts as its
/// nearest end. `None` past the range of money.
///
/// <https://docs.stripe.com/billing/subscriptions/prorations>
pub fn lines(from: Item, to: Item, period: Period, at: Timestamp) -> Option<[Line; 2]> {
    let unused = share(from, period, at)?.0.checked_neg().map(Cents)?;
    let remaining = share(to, period, at)?;
    Some([
        Line { kind: LineKind::UnusedTime, item: from, amount: unused },
        Line { kind: LineKind::RemainingTime, item: to, amount: remaining },
    ])
}

/// What lines come to; negative is a credit. `None` past the range of money.
pub fn total(lines: &[Line]) -> Option<Cents> {
    lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.amount.0)).map(Cents)
}

/// What the rest of the period costs, half up to the cent.
fn share(item: Item, period: Period, at: Timestamp) -> Option<Cents> {
    let whole = period.seconds();
    if whole == 0 {
        return Some(Cents(0));
    }
    let left = period.end.seconds().checked_sub(at.seconds())?.clamp(0, whole);
    ratio_half_up(i128::from(item.total()?.0), i128::from(whole), i128::from(left)).map(Cents)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn amounts(from: (i64, u32), to: (i64, u32), period: Period, at: Timestamp) -> (i64, i64) {
        let item = |(unit, quantity): (i64, u32)| Item { unit: Cents(unit), quantity };
        let [unused, remaining] = lines(item(from), item(to), period, at).unwrap();
        (unused.amount.0, remaining.amount.0)
    }

    /// Three changes computed by hand.
    #[test]
    fn three_by_hand() {
        let november = Period { start: Timestamp::from_date(2026, 11, 1), end: Timestamp::from_date(2026, 12, 1) };
        // 1. Pro ($9) to Team with 3 seats ($87) after 10 of 30 days: 20/30 are left.
        //    Back: 900 × 20/30 = 600. Charged: 8,700 × 20/30 = 5,800. Now: $52.00.
        let at = Timestamp::from_date(2026, 11, 11);
        assert_eq!(amounts((900, 1), (2_900, 3), november, at), (-600, 5_800));
        // 2. Team with 5 seats from our keys ($145) to own keys ($95) after 12 days and 6 hours: 17.75 of 30 days are
        //    left. Back: 14,500 × 0.591666… = 8,579.17 → 8,579. Charged: 9,500 × 0.591666… = 5,620.83 → 5,621.
        //    A credit of $29.58.
        let at = Timestamp::from_date(2026, 11, 13).plus_seconds(6 * 3_600);
        assert_eq!(amounts((2_900, 5), (1_900, 5), november, at), (-8_579, 5_621));
        // 3. One seat more (2 to 3, own keys) in a February of 28 days, 1,000,000 seconds before its end of 2,419,200:
        //    Back: 3,800 × 0.413359… = 1,570.77 → 1,571. Charged: 5,700 × 0.413359… = 2,356.15 → 2,356. Now: $7.85.
        let february = Period { start: Timestamp::from_date(2027, 2, 1), end: Timestamp::from_date(2027, 3, 1) };
        let at = february.end.plus_seconds(-1_000_000);
        assert_eq!(amounts((1_900, 2), (1_900, 3), february, at), (-1_571, 2_356));
    }

    #[test]
    fn half_a_cent_is_rounded_up_on_both_sides() {
        let period = Period { start: Timestamp::from_seconds(0), end: Timestamp::from_seconds(1_000) };
        assert_eq!(amounts((5, 1), (7, 1), period, Timestamp::from_seconds(500)), (-3, 4));
        assert_eq!(amounts((5, 1), (7, 1), period, Timestamp::from_seconds(501)), (-2, 3));
    }

    proptest::proptest! {
        /// Changing to the same costs nothing; at the start the whole price changes hands, at the end nothing; and a
        /// line is never off by more than half a cent.
        #[test]
        fn what_every_proration_keeps(
            unit in 0_i64..1_000_000, quantity in 0_u32..1_000, to in 0_i64..1_000_000, length in 1_i64..3_000_000,
            gone in 0_i64..3_000_000,
        ) {
            let period = Period { start: Timestamp::from_seconds(7), end: Timestamp::from_seconds(7 + length) };
            let (from, to) = (Item { unit: Cents(unit), quantity }, Item { unit: Cents(to), quantity });
            let at = Timestamp::from_seconds(7 + gone);
            let same = lines(from, from, period, at).unwrap();
            proptest::prop_assert_eq!(total(&same), Some(Cents(0)));

            let whole = lines(from, to, period, period.start).unwrap();
            proptest::prop_assert_eq!(whole[0].amount.0, -from.total().unwrap().0);
            proptest::prop_assert_eq!(whole[1].amount, to.total().unwrap());
            let nothing = lines(from, to, period, period.end).unwrap();
            proptest::prop_assert_eq!(total(&nothing), Some(Cents(0)));

            let [unused, remaining] = lines(from, to, period, at).unwrap();
            proptest::prop_assert!(unused.amount.0 <= 0 && remaining.amount.0 >= 0);
            let left = i128::from((length - gone).max(0));
            for line in [unused, remaining] {
                let exact = i128::from(line.item.total().unwrap().0) * left * 2;
                let off = exact - i128::from(line.amount.0.abs()) * i128::from(length) * 2;
                proptest::prop_assert!((-i128::from(length)..=i128::from(length)).contains(&off), "{line:?}: {off}");
            }
        }
    }
}
