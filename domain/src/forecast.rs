//! Owns: what a month will have cost at its end, if it goes on as in the last days.
//! Does not own: what was spent (`server::alert`), or budgets. Invariant: integers only, rounded once, half up.

use crate::money::Usd;
use crate::period::Period;
use crate::time::Timestamp;

/// How the forecast is made, as pages say it.
pub const METHOD: &str = "What this month has cost so far, and for the rest of it the mean of the last 7 days, or of the days since \
                          the first run if those are fewer; for one API key or member, the mean of this month. There is no forecast \
                          before 3 days of use.";

/// The days whose mean counts.
pub const WINDOW_SECONDS: i64 = 7 * 86_400;
/// Less than this is no basis.
const SHORTEST_SECONDS: i64 = 3 * 86_400;

/// What was spent so far, as the forecast needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// In this month.
    pub this_month: Usd,
    /// Since `recent_since`: the beginning of the last 7 days, or the first run, whichever is later.
    pub recent: Usd,
    pub recent_since: Timestamp,
}

/// What the month will have cost at its end; `None` when there are too few days to say. Never below what was spent already.
pub fn month_end(month: Period, now: Timestamp, spent: Spent) -> Option<Usd> {
    let past = now.seconds().saturating_sub(spent.recent_since.seconds());
    if past < SHORTEST_SECONDS {
        return None;
    }
    let left = month.end.seconds().saturating_sub(now.seconds()).max(0);
    let recent = i128::from(spent.recent.nanos().max(0)).checked_mul(i128::from(left))?;
    let more = recent.checked_add(i128::from(past / 2))?.div_euclid(i128::from(past));
    spent.this_month.checked_add(Usd::from_nanos(i64::try_from(more).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        Usd::parse_dollars(text).unwrap()
    }

    fn day(day: u8) -> Timestamp {
        Timestamp::from_date(2027, 1, day)
    }

    fn forecast(now: Timestamp, this_month: &str, recent: &str, since: Timestamp) -> Option<String> {
        let spent = Spent { this_month: usd(this_month), recent: usd(recent), recent_since: since };
        month_end(Period::calendar_month(now), now, spent).map(|amount| amount.to_string())
    }

    #[test]
    fn the_rest_of_the_month_goes_on_as_the_last_days() {
        for (now, this_month, recent, since, expected) in [
            // $1 a day, 14 days gone, 17 left.
            (day(15), "14", "7", day(8), Some("$31.00")),
            // It has slowed down to nothing.
            (day(15), "14", "0", day(8), Some("$14.00")),
            // It began four days ago: $2 a day.
            (day(15), "8", "8", day(11), Some("$42.00")),
            // Too few days.
            (day(15), "8", "8", day(13), None),
            (day(15), "8", "8", day(12), Some("$53.333333333")),
            // The last moment of the month, and one that reaches back into the month before.
            (day(31).plus_seconds(86_400 - 1), "31", "7", day(25), Some("$31.000011574")),
            (day(2), "1", "7", Timestamp::from_date(2026, 12, 26), Some("$31.00")),
            (day(15), "0", "0", day(8), Some("$0.00")),
        ] {
            assert_eq!(forecast(now, this_month, recent, since).as_deref(), expected, "{now:?} {this_month} {recent}");
        }
    }

    proptest::proptest! {
        /// Never less than what was spent, and more spending never makes it smaller.
        #[test]
        fn it_rises_with_what_was_spent(so_far in 0_i64..1 << 50, recent in 0_i64..1 << 40, more in 0_i64..1 << 40, hour in 0_i64..744) {
            let now = day(1).plus_seconds(hour * 3_600);
            let at = |recent: i64| {
                let spent = Spent {
                    this_month: Usd::from_nanos(so_far),
                    recent: Usd::from_nanos(recent),
                    recent_since: now.plus_seconds(-WINDOW_SECONDS),
                };
                month_end(Period::calendar_month(now), now, spent).unwrap()
            };
            proptest::prop_assert!(at(recent).nanos() >= so_far);
            proptest::prop_assert!(at(recent + more) >= at(recent));
        }
    }
}
