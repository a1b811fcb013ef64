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
}
