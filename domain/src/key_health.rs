//! Owns: how a key has been doing, out of what probes and runs say about it, and when it is looked at again.
//! Does not own: asking a provider, telling people (`server::provider_key`), or whose key a run takes (`key`).
//! Invariant: what is certain (refused, no credit, expired) counts at once; what may pass (slow, unreachable) counts after
//! several in a row, and so does getting well again. Without a signal nothing changes but by the calendar.

use crate::key::KeyState;
use crate::time::Timestamp;

crate::text_enum! {
    /// How a key has been doing.
    KeyHealth {
        Healthy = "healthy",
        /// The provider slows it down again and again.
        Limited = "limited",
        NoCredit = "no_credit",
        /// Refused, or not to be reached for some time.
        Failing = "failing",
        /// Its day has come.
        Expired = "expired",
    }
}

/// Passing trouble in a row before it counts.
const TROUBLE_IN_A_ROW: u32 = 3;
/// Good answers in a row before trouble is over.
const GOOD_IN_A_ROW: u32 = 2;
/// A list of models does not tell about credit; after so long it is tried again.
const NO_CREDIT_SECONDS: i64 = 86_400;
const DAY_SECONDS: i64 = 86_400;
/// A key in trouble is probed again after this, doubled each time, until it is a day.
const FIRST_RETRY_SECONDS: i64 = 900;

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A free call, which may not tell about credit.
    Probe,
    /// A run, or a check that tells about credit.
    Run,
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub health: KeyHealth,
    pub since: Timestamp,
    /// Bad answers in a row.
    pub failures: u32,
    /// Good answers in a row.
    pub successes: u32,
}

impl KeyHealth {
    /// In words, as a row of the list says it.
    pub const fn words(self) -> &'static str {
        match self {
            KeyHealth::Healthy => "Healthy",
            KeyHealth::Limited => "Often rate limited",
            KeyHealth::NoCredit => "No credit at the provider",
            KeyHealth::Failing => "Failing",
            KeyHealth::Expired => "Expired",
        }
    }

    /// Whether runs go well with it. One that does not is tried last, and where ours may pay instead, not at all.
    pub const fn is_well(self) -> bool {
        match self {
            KeyHealth::Healthy | KeyHealth::Limited => true,
            KeyHealth::NoCredit | KeyHealth::Failing | KeyHealth::Expired => false,
        }
    }
}

impl Record {
    /// A key that has just been checked by hand: nothing before it counts.
    pub const fn new(state: KeyState, now: Timestamp) -> Record {
        let health = match state {
            KeyState::Valid | KeyState::ValidRestricted | KeyState::RateLimited | KeyState::Unreachable => {
                KeyHealth::Healthy
            }
            KeyState::ValidNoCredit => KeyHealth::NoCredit,
            KeyState::Invalid | KeyState::RegionBlocked => KeyHealth::Failing,
        };
        Record { health, since: now, failures: 0, successes: 0 }
    }

    /// The record after an answer of the provider.
    #[must_use]
    pub fn after(self, state: KeyState, from: Heard, now: Timestamp) -> Record {
        let good = Record { failures: 0, successes: self.successes.saturating_add(1), ..self };
        let bad = Record { failures: self.failures.saturating_add(1), successes: 0, ..self };
        let enough_trouble = bad.failures >= TROUBLE_IN_A_ROW;
        match (self.health, state) {
            (KeyHealth::Expired, _) => self,
            (_, KeyState::Invalid | KeyState::RegionBlocked) => bad.becomes(KeyHealth::Failing, now),
            (_, KeyState::ValidNoCredit) => bad.becomes(KeyHealth::NoCredit, now),
            (KeyHealth::Healthy, KeyState::RateLimited) if enough_trouble => bad.becomes(KeyHealth::Limited, now),
            (KeyHealth::Healthy | KeyHealth::Limited, KeyState::Unreachable) if enough_trouble => {
                bad.becomes(KeyHealth::Failing, now)
            }
            // It answers, so it is not refused; and that it is slowed down says nothing about credit.
            (KeyHealth::Failing, KeyState::RateLimited) => good.well_after(GOOD_IN_A_ROW, KeyHealth::Limited, now),
            (_, KeyState::RateLimited | KeyState::Unreachable) => bad,
            (KeyHealth::Healthy, KeyState::Valid | KeyState::ValidRestricted) => good,
            (KeyHealth::NoCredit, KeyState::Valid | KeyState::ValidRestricted) => match from {
                Heard::Run => good.becomes(KeyHealth::Healthy, now),
                Heard::Probe if now >= self.since.plus_seconds(NO_CREDIT_SECONDS) => {
                    good.becomes(KeyHealth::Healthy, now)
                }
                Heard::Probe => self,
            },
            (KeyHealth::Limited | KeyHealth::Failing, KeyState::Valid | KeyState::ValidRestricted) => {
                good.well_after(GOOD_IN_A_ROW, KeyHealth::Healthy, now)
            }
        }
    }

    /// The record on a day on which the key may be past its own.
    #[must_use]
    pub fn on(self, now: Timestamp, expires_at: Option<Timestamp>) -> Record {
        let is_over = expires_at.is_some_and(|expires_at| expires_at <= now);
        match (self.health, is_over) {
            (KeyHealth::Expired, false) => {
                Record { failures: 0, successes: 0, ..self }.becomes(KeyHealth::Healthy, now)
            }
            (_, true) => self.becomes(KeyHealth::Expired, now),
            (_, false) => self,
        }
    }

    /// When it is probed next: once a day while it is well, sooner while it is not; `jitter` is a part of 1,000, so that
    /// a thousand keys are not asked about in the same second.
    pub fn probe_at(self, now: Timestamp, jitter: u32) -> Timestamp {
        let seconds = match self.health {
            KeyHealth::Healthy | KeyHealth::Expired => DAY_SECONDS,
            KeyHealth::Limited | KeyHealth::NoCredit | KeyHealth::Failing => {
                FIRST_RETRY_SECONDS.saturating_mul(1 << self.failures.min(7)).min(DAY_SECONDS)
            }
        };
        // Between nine tenths and eleven tenths of it.
        let tenth = seconds / 10;
        now.plus_seconds(seconds - tenth + tenth * 2 * i64::from(jitter.min(1_000)) / 1_000)
    }

    fn becomes(self, health: KeyHealth, now: Timestamp) -> Record {
        let since = if health == self.health { self.since } else { now };
        Record { health, since, ..self }
    }

    fn well_after(self, enough: u32, health: KeyHealth, now: Timestamp) -> Record {
        if self.successes >= enough { self.becomes(health, now) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyState::{Invalid, RateLimited, RegionBlocked, Unreachable, Valid, ValidNoCredit, ValidRestricted};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn after(first: KeyState, signals: &[KeyState], from: Heard) -> KeyHealth {
        signals.iter().fold(Record::new(first, NOW), |record, state| record.after(*state, from, NOW)).health
    }

    #[test]
    fn what_is_certain_counts_at_once_and_what_may_pass_after_several() {
        use KeyHealth::{Failing, Healthy, Limited, NoCredit};
        for (first, signals, expected) in [
            (Valid, &[][..], Healthy),
            (Unreachable, &[], Healthy),
            (ValidNoCredit, &[], NoCredit),
            (Invalid, &[], Failing),
            (Valid, &[Invalid], Failing),
            (Valid, &[RegionBlocked], Failing),
            (Valid, &[ValidNoCredit], NoCredit),
            (Valid, &[RateLimited; 2], Healthy),
            (Valid, &[RateLimited; 3], Limited),
            (Valid, &[RateLimited, RateLimited, Valid, RateLimited, RateLimited], Healthy),
            (Valid, &[Unreachable; 2], Healthy),
            (Valid, &[Unreachable; 3], Failing),
            (Valid, &[RateLimited, RateLimited, RateLimited, Valid], Limited),
            (Valid, &[RateLimited, RateLimited, RateLimited, Valid, Valid], Healthy),
            (Valid, &[RateLimited, RateLimited, RateLimited, Valid, RateLimited, Valid], Limited),
            (Invalid, &[Valid], Failing),
            (Invalid, &[Valid, ValidRestricted], Healthy),
            (Invalid, &[RateLimited, RateLimited], Limited),
            (Invalid, &[Valid, Unreachable, Valid], Failing),
            (ValidNoCredit, &[Valid], Healthy),
            (ValidNoCredit, &[RateLimited; 5], NoCredit),
        ] {
            assert_eq!(after(first, signals, Heard::Run), expected, "{first} {signals:?}");
        }
        assert_eq!(after(ValidNoCredit, &[Valid; 9], Heard::Probe), NoCredit, "a list of models does not tell");
        let later = Record::new(ValidNoCredit, NOW).after(Valid, Heard::Probe, NOW.plus_seconds(86_400));
        assert_eq!(later.health, Healthy, "after a day it is tried again");
    }

    #[test]
    fn a_key_expires_on_its_day_and_returns_with_a_new_one() {
        let record = Record::new(Valid, NOW);
        let day = Some(NOW.plus_seconds(10));
        assert_eq!(record.on(NOW, day).health, KeyHealth::Healthy);
        let expired = record.on(NOW.plus_seconds(10), day);
        assert_eq!(expired.health, KeyHealth::Expired);
        assert_eq!(expired.after(Valid, Heard::Run, NOW).health, KeyHealth::Expired, "whatever it answers");
        assert_eq!(expired.on(NOW.plus_seconds(20), None).health, KeyHealth::Healthy);
        assert_eq!(expired.on(NOW.plus_seconds(20), Some(NOW.plus_seconds(99))).health, KeyHealth::Healthy);
    }

    #[test]
    fn a_well_key_is_probed_each_day_and_one_in_trouble_sooner_and_then_later() {
        let seconds = |record: Record, jitter| record.probe_at(NOW, jitter).seconds() - NOW.seconds();
        let well = Record::new(Valid, NOW);
        assert_eq!((seconds(well, 0), seconds(well, 500), seconds(well, 1_000)), (77_760, 86_400, 95_040));
        let mut failing = Record::new(Invalid, NOW);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(seconds(failing, 500));
            failing = failing.after(Invalid, Heard::Probe, NOW);
        }
        assert_eq!(pauses, [900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400]);
    }

    #[test]
    fn since_is_when_it_began_and_not_the_last_signal() {
        let failing = Record::new(Invalid, NOW).after(Invalid, Heard::Probe, NOW.plus_seconds(60));
        assert_eq!(failing.since, NOW);
        assert!(!failing.health.is_well() && KeyHealth::Limited.is_well());
    }
}
