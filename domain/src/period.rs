//! Owns: spans of time that something is paid or counted for, and how months follow one another.
//! Does not own: whose period it is (`subscription`), the clock, or days on screen.
//! Invariant: half-open, `start` belongs to it and `end` does not, so that neighbours never overlap or leave a gap.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 86_400;

/// A span of time, from `start` until just before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Period {
    /// Whether a moment lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Its length in whole seconds, at least 0.
    pub fn seconds(&self) -> i64 {
        self.end.seconds().saturating_sub(self.start.seconds()).max(0)
    }

    /// The calendar month, in UTC, in which a moment lies: the period of an account that pays for no plan.
    pub fn calendar_month(at: Timestamp) -> Period {
        let date = Date::of(at);
        let start = Date { day: 1, ..date }.midnight();
        Period { start, end: plus_months(start, start, 1) }
    }

    /// The month in which a moment lies, counted from `anchor` as Stripe does: each begins on the anchor's day and time,
    /// or on the last day of a month that is too short. Moments before the anchor are in its first month.
    pub fn month_from(anchor: Timestamp, at: Timestamp) -> Period {
        let (first, now) = (Date::of(anchor), Date::of(at));
        let mut count = ((now.year - first.year) * 12 + i64::from(now.month) - i64::from(first.month)).max(0);
        if count > 0 && at < plus_months(anchor, anchor, count) {
            count -= 1;
        }
        Period { start: plus_months(anchor, anchor, count), end: plus_months(anchor, anchor, count + 1) }
    }

    /// The month that follows this one, counted from the same anchor.
    #[must_use]
    pub fn next_month(&self, anchor: Timestamp) -> Period {
        Period { start: self.end, end: plus_months(self.end, anchor, 1) }
    }
}

/// `from` and so many months more, on the day of the month and the time of day that `anchor` has; in a month that is
/// too short, on its last day.
fn plus_months(from: Timestamp, anchor: Timestamp, months: i64) -> Timestamp {
    let (start, wanted) = (Date::of(from), Date::of(anchor));
    let index = start.year * 12 + i64::from(start.month) - 1 + months;
    let (year, month) = (index.div_euclid(12), u8::try_from(index.rem_euclid(12) + 1).unwrap_or(1));
    let day = wanted.day.min(days_in(year, month));
    let midnight = Date { year, month, day }.midnight();
    Timestamp::from_micros(midnight.micros() + (anchor.micros() - wanted.midnight().micros()))
}

/// A day of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    month: u8,
    day: u8,
}

impl Date {
    fn midnight(self) -> Timestamp {
        Timestamp::from_date(self.year, self.month, self.day)
    }

    fn of(at: Timestamp) -> Date {
        // Guess by the mean length of a year and a month, then correct; no table of centuries is needed.
        let seconds = at.seconds();
        let mut year = 1970 + seconds.div_euclid(31_556_952);
        while Timestamp::from_date(year + 1, 1, 1) <= at {
            year += 1;
        }
        while Timestamp::from_date(year, 1, 1) > at {
            year -= 1;
        }
        let mut month = 12;
        while month > 1 && Timestamp::from_date(year, month, 1) > at {
            month -= 1;
        }
        let day = (seconds - Timestamp::from_date(year, month, 1).seconds()).div_euclid(DAY_SECONDS) + 1;
        Date { year, month, day: u8::try_from(day).unwrap_or(1) }
    }
}

fn days_in(year: i64, month: u8) -> u8 {
    let next =
        if month == 12 { Timestamp::from_date(year + 1, 1, 1) } else { Timestamp::from_date(year, month + 1, 1) };
    let days = (next.seconds() - Timestamp::from_date(year, month, 1).seconds()).div_euclid(DAY_SECONDS);
    u8::try_from(days).unwrap_or(28)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: u8, day: u8) -> Timestamp {
        Timestamp::from_date(year, month, day)
    }

    #[test]
    fn a_calendar_month_has_its_own_length() {
        let february = Period::calendar_month(at(2028, 2, 29).plus_seconds(3_600));
        assert_eq!(february, Period { start: at(2028, 2, 1), end: at(2028, 3, 1) });
        assert_eq!(february.seconds(), 29 * DAY_SECONDS);
        let december = Period::calendar_month(at(2026, 12, 31).plus_seconds(86_399));
        assert_eq!(december.end, at(2027, 1, 1));
        assert!(december.contains(december.start) && !december.contains(december.end));
    }

    /// Whoever subscribes on the 31st pays on the last day of shorter months, and on the 31st again afterwards.
    #[test]
    fn months_from_the_31st_keep_their_day() {
        let anchor = at(2027, 1, 31).plus_seconds(12 * 3_600);
        let noon = |year, month, day| at(year, month, day).plus_seconds(12 * 3_600);
        let first = Period::month_from(anchor, anchor);
        assert_eq!(first, Period { start: anchor, end: noon(2027, 2, 28) });
        let second = first.next_month(anchor);
        assert_eq!(second, Period { start: noon(2027, 2, 28), end: noon(2027, 3, 31) });
        assert_eq!(second.next_month(anchor).end, noon(2027, 4, 30));
        assert_eq!(Period::month_from(anchor, noon(2027, 2, 28)), second);
        assert_eq!(Period::month_from(anchor, noon(2027, 2, 28).plus_seconds(-1)), first);
    }

    proptest::proptest! {
        /// Months follow each other without gap or overlap, whichever way they are reached.
        #[test]
        fn months_meet(anchor in -4_000_000_000_i64..8_000_000_000, later in 0_i64..1_000_000_000) {
            let anchor = Timestamp::from_seconds(anchor);
            let moment = anchor.plus_seconds(later);
            let period = Period::month_from(anchor, moment);
            proptest::prop_assert!(period.contains(moment), "{period:?}");
            proptest::prop_assert!((28 * DAY_SECONDS..=31 * DAY_SECONDS).contains(&period.seconds()), "{period:?}");
            proptest::prop_assert_eq!(Period::month_from(anchor, period.end), period.next_month(anchor));
            proptest::prop_assert_eq!(Date::of(moment).midnight().seconds(), moment.seconds().div_euclid(DAY_SECONDS) * DAY_SECONDS);
        }
    }
}
