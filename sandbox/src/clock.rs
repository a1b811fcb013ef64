//! Owns: the sandbox's time, which tests move, and its ids, which a seed decides.
//! Does not own: the pace of streams and retries; those run on real time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The time of the outside world, and its ids.
#[derive(Debug)]
pub struct Clock {
    /// Seconds since 1970 if the clock stands still until it is moved, `i64::MIN` if it follows the machine's.
    stands_at: AtomicI64,
    /// Seconds that were added to the machine's time.
    moved_by: AtomicI64,
    seed: u64,
    counter: AtomicU64,
}

impl Clock {
    /// `stands_at` in seconds since 1970 makes a clock that only moves when told; `None` follows the machine.
    pub fn new(stands_at: Option<i64>, seed: u64) -> Clock {
        Clock {
            stands_at: AtomicI64::new(stands_at.unwrap_or(i64::MIN)),
            moved_by: AtomicI64::new(0),
            seed,
            counter: AtomicU64::new(0),
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        let stands_at = self.stands_at.load(Ordering::SeqCst);
        if stands_at == i64::MIN { machine_seconds() + self.moved_by.load(Ordering::SeqCst) } else { stands_at }
    }

    /// When webhooks are signed: a clock that was moved ahead of the machine's still delivers today.
    pub fn delivers_at(&self) -> i64 {
        let stands_at = self.stands_at.load(Ordering::SeqCst);
        if stands_at == i64::MIN { machine_seconds() } else { stands_at }
    }

    /// Moves the time forward.
    pub fn advance_seconds(&self, seconds: i64) {
        if self.stands_at.load(Ordering::SeqCst) == i64::MIN {
            self.moved_by.fetch_add(seconds, Ordering::SeqCst);
        } else {
            self.stands_at.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// Stops the clock at a moment, in seconds since 1970; from then on it only moves when told.
    pub fn stand_at(&self, seconds: i64) {
        self.stands_at.store(seconds, Ordering::SeqCst);
    }

    /// A new id such as `cs_test_a1b2…`: never the same twice, and the same again for the same seed.
    pub fn new_id(&self, prefix: &str) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(prefix.len() + 24);
        id.push_str(prefix);
        let mut bits = mix(self.seed ^ mix(count));
        for position in 0..24 {
            if position == 12 {
                bits = mix(bits ^ count);
            }
            let letter = LETTERS.get(usize::try_from(bits % 62).unwrap_or(0)).copied().unwrap_or(b'0');
            id.push(char::from(letter));
            bits /= 62;
            if bits == 0 {
                bits = mix(count ^ u64::from(letter));
            }
        }
        id
    }

    /// A number that the seed and the count of earlier numbers decide.
    pub fn random(&self) -> u64 {
        mix(self.seed ^ mix(self.counter.fetch_add(1, Ordering::Relaxed)).rotate_left(17))
    }
}

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Spreads a number over all 64 bits (the finaliser of SplitMix64).
pub const fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A seed that differs each time the program starts, so that ids of an earlier run do not come again.
#[allow(clippy::disallowed_methods)] // The sandbox's clock has its home here.
pub fn fresh_seed() -> u64 {
    let nanos = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    mix(u64::try_from(nanos & i128::from(u64::MAX)).unwrap_or(0))
}

#[allow(clippy::disallowed_methods)] // The sandbox's clock has its home here.
fn machine_seconds() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_repeat_for_a_seed_and_never_within_it() {
        let (one, again) = (Clock::new(None, 7), Clock::new(None, 7));
        let ids: Vec<String> = (0..10_000).map(|_| one.new_id("cs_test_")).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 32 && *id == again.new_id("cs_test_")));
        assert_ne!(ids.first(), Some(&Clock::new(None, 8).new_id("cs_test_")));
    }

    #[test]
    fn a_standing_clock_moves_only_when_told() {
        let clock = Clock::new(Some(1_800_000_000), 1);
        clock.advance_seconds(60);
        assert_eq!(clock.now(), 1_800_000_060);
    }
}
