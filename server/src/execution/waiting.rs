//! Owns: who was told to wait by a plan's pace, in the order of asking, so that each is told a time of its own and its place.
//! Does not own: the pace (`domain::limit`) or the count (`ledger`): a place is no promise, and whoever comes at the right
//! moment runs.
//! Invariant: it is this node's own and bounded; a run that is admitted while nobody waits costs one read of a number here.

use super::run::Plan;
use crate::Server;
use crate::error::Error;
use bytes::Bytes;
use domain::denial::Denial;
use domain::id::AccountId;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Accounts that may have a line at once; beyond it lines begin anew.
const MOST_ACCOUNTS: usize = 10_000;
/// Places of one account that are kept; whoever comes later is told of so many.
const LONGEST_LINE: usize = 100;
/// Who has not come back so long after its time has left.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of all accounts.
#[derive(Debug, Default)]
pub struct Waiting {
    lines: Mutex<HashMap<AccountId, Vec<Place>>>,
    /// How many lines there are.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Place {
    who: [u8; 32],
    /// When it has left, on the clock that never goes back.
    until: Duration,
}

impl Waiting {
    /// The denial with the place of whoever asked. Asking again keeps the place.
    pub(super) fn place(&self, server: &Server, plan: &Plan, asked: &Bytes, error: Error) -> Error {
        match error {
            Error::Denied(denial @ Denial::Throttled { .. }) => {
                let ahead = self.stand(&plan.who.account_id, identity(plan, asked), &denial, server.clock.monotonic());
                Error::Denied(denial.behind(ahead))
            }
            other @ (Error::Denied(_) | Error::Internal(_)) => other,
        }
    }

    /// Takes a place, or the one that is taken already; how many are before it.
    fn stand(&self, account_id: &AccountId, who: [u8; 32], denial: &Denial, now: Duration) -> u64 {
        let mut lines = lock(&self.lines);
        if lines.len() >= MOST_ACCOUNTS && !lines.contains_key(account_id) {
            lines.clear();
        }
        let line = lines.entry(account_id.clone()).or_default();
        line.retain(|place| place.until > now);
        let at = line.iter().position(|place| place.who == who).unwrap_or(line.len());
        let ahead = u64::try_from(at).unwrap_or(u64::MAX);
        let wait = denial.clone().behind(ahead).retry_after_seconds().unwrap_or(0);
        let until = now.saturating_add(Duration::from_secs(wait)).saturating_add(PATIENCE);
        if let Some(place) = line.get_mut(at) {
            place.until = until;
        } else if line.len() < LONGEST_LINE {
            line.push(Place { who, until });
        }
        self.count.store(lines.len(), Ordering::Relaxed);
        ahead
    }

    /// It runs, so those behind it move up.
    pub(super) fn leave(&self, plan: &Plan, asked: &Bytes) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get_mut(&plan.who.account_id) {
            let who = identity(plan, asked);
            line.retain(|place| place.who != who);
            if line.is_empty() {
                lines.remove(&plan.who.account_id);
            }
        }
        self.count.store(lines.len(), Ordering::Relaxed);
    }
}

/// The same for the same request of the same caller, who has no other name for it when coming back.
fn identity(plan: &Plan, asked: &Bytes) -> [u8; 32] {
    let caller = plan.who.api_key_id.as_ref().map_or(plan.who.user_id.as_str(), |key| key.as_str());
    let mut digest = Sha256::new();
    digest.update(caller);
    digest.update([0]);
    digest.update(plan.started.model_id.as_str());
    digest.update([0]);
    digest.update(asked);
    digest.finalize().into()
}

/// A poisoned lock guards plain values here, which are whole whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_in_the_order_of_asking_and_given_up_by_who_does_not_come_back() {
        let waiting = Waiting::default();
        let account = AccountId::new("a");
        let slow =
            Denial::Throttled { plan: "Pro".to_owned(), a_minute: 1, after: 9, ahead: 0, retry_after_seconds: 60 };
        let stand = |who: u8, seconds| waiting.stand(&account, [who; 32], &slow, Duration::from_secs(seconds));
        assert_eq!((stand(1, 0), stand(2, 0), stand(3, 1)), (0, 1, 2));
        assert_eq!((stand(2, 2), stand(1, 3)), (1, 0), "asking again keeps the place");
        // The first is to come at 63 s and has a minute more; the third has until 241 s.
        assert_eq!((stand(3, 123), stand(4, 124)), (1, 2), "the first has not come back");
        assert_eq!(waiting.stand(&AccountId::new("b"), [9; 32], &slow, Duration::ZERO), 0, "another account");
        for who in 10..200 {
            stand(who, 130);
        }
        assert_eq!(stand(250, 130), 100, "bounded");
    }
}
