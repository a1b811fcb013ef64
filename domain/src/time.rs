//! Owns: a moment, as microseconds since 1970 UTC. Does not own: the clock (`server::clock`) or calendars on screen.

use serde::{Deserialize, Serialize};

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    pub const fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000))
    }

    /// The first moment, in UTC, of a day of the Gregorian calendar. A month or day that does not exist counts on from
    /// the last one that does; callers give days that were checked.
    pub const fn from_date(year: i64, month: u8, day: u8) -> Timestamp {
        // Counted from 1 March, so that the leap day is a year's last: 365 days a year and the leap days, and the
        // months' lengths from March on as the line (153 m + 2) / 5.
        let (year, month) = if month > 2 { (year, month as i64 - 3) } else { (year - 1, month as i64 + 9) };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days = year * 365 + leap_days + (153 * month + 2).div_euclid(5) + day as i64 - 1;
        Timestamp::from_seconds((days - DAYS_TO_1970) * 86_400)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `seconds` more (or less, when negative).
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// The start of this moment's hour, for roll-ups.
    #[must_use]
    pub const fn hour(self) -> Timestamp {
        Timestamp(self.0.div_euclid(3_600_000_000) * 3_600_000_000)
    }

    /// The start of this moment's day in UTC, for what is counted by the day.
    #[must_use]
    pub const fn day(self) -> Timestamp {
        Timestamp(self.0.div_euclid(86_400_000_000) * 86_400_000_000)
    }

    /// Whole seconds until a later moment, rounded up and at least 1: what `Retry-After` says.
    pub const fn seconds_until(self, later: Timestamp) -> u64 {
        let micros = later.0.saturating_sub(self.0);
        if micros <= 1_000_000 { 1 } else { (micros as u64).div_ceil(1_000_000) }
    }

    /// The day in UTC, such as `1 Feb 2027`, for sentences that every reader gets alike.
    pub fn utc_day(self) -> String {
        let names = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
        // The years of [`Timestamp::from_date`], which begin in March, in cycles of 400.
        let days = self.seconds().div_euclid(86_400).saturating_add(DAYS_TO_1970);
        let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let year = cycle * 400 + year + i64::from(month >= 10);
        let name = usize::try_from(month).ok().and_then(|month| names.get(month)).copied().unwrap_or_default();
        format!("{day} {name} {year}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar_are_the_right_moments() {
        for (year, month, day, seconds) in [
            (1970, 1, 1, 0),
            (1969, 12, 31, -86_400),
            (2000, 2, 29, 951_782_400),
            (2000, 3, 1, 951_868_800),
            (2026, 11, 24, 1_795_478_400),
            (2100, 3, 1, 4_107_542_400),
        ] {
            assert_eq!(
                Timestamp::from_date(year, month, day),
                Timestamp::from_seconds(seconds),
                "{year}-{month}-{day}"
            );
        }
    }

    #[test]
    fn a_day_is_written_as_the_calendar_has_it() {
        for (year, month, day, text) in [
            (1970, 1, 1, "1 Jan 1970"),
            (2000, 2, 29, "29 Feb 2000"),
            (2027, 2, 1, "1 Feb 2027"),
            (2026, 12, 31, "31 Dec 2026"),
            (2100, 3, 1, "1 Mar 2100"),
        ] {
            let midnight = Timestamp::from_date(year, month, day);
            assert_eq!(midnight.utc_day(), text);
            assert_eq!(midnight.plus_seconds(86_399).utc_day(), text);
            assert_eq!(midnight.plus_seconds(86_399).day(), midnight);
        }
    }

    #[test]
    fn waiting_is_rounded_up_so_that_it_is_enough() {
        let now = Timestamp::from_seconds(10);
        let until = |micros: i64| now.seconds_until(Timestamp::from_micros(10_000_000 + micros));
        assert_eq!((until(-5), until(0), until(1), until(1_000_001), until(60_000_000)), (1, 1, 1, 2, 60));
    }
}
