//! Owns: when somebody is told that a share of something is used, or that a balance is low.
//! Does not own: what is counted, what was told before (`server::alert`), or the words (`notice`).
//! Invariant: one share is told at most once in a period, and a low balance once until it has clearly risen.

use crate::money::Usd;

/// The highest of `percents` that `part` of `whole` reaches and that is above the one told before (0 for none). Shares between
/// are passed over, so that a jump from 40 % to 90 % is one notice. Nothing is reached of a whole of 0 or less.
pub fn reached(percents: &[u64], (part, whole): (i128, i128), told: u64) -> Option<u64> {
    let is_reached = |percent: &u64| {
        let needed = whole.checked_mul(i128::from(*percent));
        part.checked_mul(100).zip(needed).is_some_and(|(have, needed)| have >= needed)
    };
    percents.iter().filter(|percent| whole > 0 && **percent > told && is_reached(percent)).max().copied()
}

/// Whether an account was told that its balance is low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It is told when the balance falls below the mark.
    Armed,
    /// It was told; it is armed again when the balance has risen above the higher mark.
    Told,
}

/// What follows from a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Tell,
    Arm,
    Nothing,
}

/// Decides about a low balance: told once when it falls below `mark`, again only after it was at [`arming_mark`] or above. A
/// mark of 0 tells nothing.
pub fn low_balance(balance: Usd, mark: Usd, watch: Watch) -> Step {
    match watch {
        Watch::Armed if mark.is_positive() && balance < mark => Step::Tell,
        Watch::Told if balance >= arming_mark(mark) => Step::Arm,
        Watch::Armed | Watch::Told => Step::Nothing,
    }
}

/// A fifth above the mark, so that a balance that swings about the mark tells once. A pack of $10 arms a mark of $5 even from
/// an empty balance.
pub fn arming_mark(mark: Usd) -> Usd {
    Usd::from_nanos(mark.nanos().saturating_add(mark.nanos().div_euclid(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [u64; 3] = [50, 80, 100];

    #[test]
    fn each_share_is_told_when_it_is_reached_and_not_again() {
        for (part, whole, told, expected) in [
            (0, 100, 0, None),
            (49, 100, 0, None),
            (50, 100, 0, Some(50)),
            (50, 100, 50, None),
            (79, 100, 50, None),
            (80, 100, 50, Some(80)),
            (99, 100, 80, None),
            (100, 100, 80, Some(100)),
            (140, 100, 100, None),
            // A jump is one notice, of the highest.
            (90, 100, 0, Some(80)),
            (500, 100, 0, Some(100)),
            // Exactly at the edge of a whole that 100 does not divide.
            (49_999_999, 99_999_999, 0, None),
            (50_000_000, 99_999_999, 0, Some(50)),
            // Nothing to reach.
            (5, 0, 0, None),
            (5, -1, 0, None),
            (i128::MAX, i128::MAX, 0, None),
        ] {
            assert_eq!(reached(&SHARES, (part, whole), told), expected, "{part} of {whole}, told {told}");
        }
        assert_eq!(reached(&[], (1, 1), 0), None);
    }

    #[test]
    fn a_low_balance_is_told_once_until_it_has_clearly_risen() {
        let usd = |text: &str| Usd::parse_dollars(text).unwrap();
        for (balance, mark, watch, expected) in [
            ("5.01", "5", Watch::Armed, Step::Nothing),
            ("5.00", "5", Watch::Armed, Step::Nothing),
            ("4.999999999", "5", Watch::Armed, Step::Tell),
            ("0", "5", Watch::Armed, Step::Tell),
            ("4.99", "5", Watch::Told, Step::Nothing),
            ("5.50", "5", Watch::Told, Step::Nothing),
            ("5.999999999", "5", Watch::Told, Step::Nothing),
            ("6", "5", Watch::Told, Step::Arm),
            ("6", "5", Watch::Armed, Step::Nothing),
            // Without a mark nothing is told, and whoever sets one again is told anew.
            ("0", "0", Watch::Armed, Step::Nothing),
            ("0", "0", Watch::Told, Step::Arm),
        ] {
            assert_eq!(low_balance(usd(balance), usd(mark), watch), expected, "{balance} at {mark}, {watch:?}");
        }
    }

    /// Through the whole life of a balance: falls, swings about the mark, is filled, falls again.
    #[test]
    fn swings_about_the_mark_tell_once() {
        let mark = Usd::from_nanos(5_000_000_000);
        let (mut watch, mut told) = (Watch::Armed, 0);
        for cents in [1_000, 600, 499, 501, 498, 520, 300, 0, 599, 450, 1_500, 700, 499, 10] {
            match low_balance(Usd::from_nanos(cents * 10_000_000), mark, watch) {
                Step::Tell => {
                    told += 1;
                    watch = Watch::Told;
                }
                Step::Arm => watch = Watch::Armed,
                Step::Nothing => {}
            }
        }
        assert_eq!(told, 2);
    }
}
