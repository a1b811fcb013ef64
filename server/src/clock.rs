//! Owns: the time, new ids and new secrets, from one place, so that tests can drive them.
//! Does not own: what a moment means (`domain::time`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::time::Timestamp;
use rand::RngCore as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The time and new ids. Cheap to clone; clones share a manual clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Microseconds since 1970 when a test drives the clock, `None` for the system's.
    manual: Option<Arc<AtomicI64>>,
    made: Instant,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock { manual: None, made: Instant::now() }
    }

    /// A clock that moves only by [`Clock::advance_seconds`].
    pub fn manual(start: Timestamp) -> Clock {
        Clock { manual: Some(Arc::new(AtomicI64::new(start.micros()))), made: Instant::now() }
    }

    #[allow(clippy::disallowed_methods)] // This is its home.
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
            None => {
                let nanos = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
                Timestamp::from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
            }
        }
    }

    /// Time that never goes back, for limits and short caches: since this clock was made, or a manual clock's time.
    pub fn monotonic(&self) -> Duration {
        match &self.manual {
            Some(micros) => Duration::from_micros(micros.load(Ordering::SeqCst).max(0).unsigned_abs()),
            None => self.made.elapsed(),
        }
    }

    /// Moves a manual clock; a system clock is not moved.
    pub fn advance_seconds(&self, seconds: i64) {
        if let Some(micros) = &self.manual {
            micros.fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
        }
    }

    /// A new UUIDv7 as text: ids sort by the time they were made, to the microsecond within one process.
    pub fn new_id(&self) -> String {
        // 48 bits of milliseconds, then 12 bits of the microseconds within it, then randomness.
        let micros = self.now().micros().max(0).unsigned_abs();
        let mut random = [0_u8; 8];
        rand::rng().fill_bytes(&mut random);
        let millis = (micros / 1_000) & 0xFFFF_FFFF_FFFF;
        let sub_millis = (micros % 1_000) * 4_096 / 1_000;
        let high = (millis << 16) | 0x7000 | (sub_millis & 0x0FFF);
        let low = (u64::from_be_bytes(random) & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000;
        Uuid::from_u64_pair(high, low).to_string()
    }

    /// A new secret of 256 random bits, as URL-safe text.
    pub fn new_secret(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.random_bytes::<32>())
    }

    /// Random bytes, fit for secrets and salts.
    pub fn random_bytes<const COUNT: usize>(&self) -> [u8; COUNT] {
        let mut random = [0_u8; COUNT];
        rand::rng().fill_bytes(&mut random);
        random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_are_version_7() {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let first = clock.new_id();
        clock.advance_seconds(1);
        let second = clock.new_id();
        assert!(first < second);
        assert_eq!(Uuid::parse_str(&first).unwrap().get_version_num(), 7);
    }
}
