//! Owns: the rules of trials (spec §3): who counts as one person, when a trial ends and is announced, and what happens
//! then; and how long a plan with own keys lasts without one.
//! Does not own: which trials there are (`catalogue`), or the grants (`ledger`).

use crate::catalogue::{Trial, TrialKind};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 86_400;

crate::text_enum! {
    /// Where a trial stands.
    TrialState {
        Running = "running",
        /// Its time is over; what was left of its credit is gone.
        Ended = "ended",
        /// It became a plan that is paid for.
        Converted = "converted",
    }
}

crate::text_enum! {
    /// Where an appeal for another trial stands.
    AppealState {
        /// Nobody has answered yet.
        Open = "open",
        /// One more trial may begin.
        Granted = "granted",
        Refused = "refused",
        /// It was granted, and the trial has begun.
        Used = "used",
    }
}

/// One spelling for all addresses that reach one person: the part after a plus is dropped, and at Gmail, where they
/// mean nothing, the dots. `email` is checked and in lower case.
pub fn person(email: &str) -> String {
    let Some((local, domain)) = email.rsplit_once('@') else { return email.to_owned() };
    // A name that begins with a plus keeps it, or nothing would be left.
    let name = local.split_once('+').map_or(local, |(name, _)| if name.is_empty() { local } else { name });
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", name.replace('.', "")),
        domain => format!("{name}@{domain}"),
    }
}

/// When a trial that begins now is over.
pub fn ends_at(trial: &Trial, now: Timestamp) -> Timestamp {
    now.plus_seconds(i64::from(trial.days).saturating_mul(DAY_SECONDS))
}

/// From when on its end is announced.
pub fn reminder_at(ends_at: Timestamp, reminder_days: u32) -> Timestamp {
    ends_at.plus_seconds(i64::from(reminder_days).saturating_mul(-DAY_SECONDS))
}

/// What happens when the time is over, for whoever thinks of beginning one.
pub const fn at_the_end(kind: TrialKind) -> &'static str {
    match kind {
        TrialKind::OwnKey => {
            "Afterwards your account goes back to the plan it had. Your keys stay, and nothing is charged."
        }
        TrialKind::Managed => {
            "Afterwards what is left of the trial credit expires. No card is asked for, so nothing can be charged."
        }
        TrialKind::ManagedWithCard => {
            "Afterwards what is left of the trial credit expires and the plan you chose begins: your card is charged its \
             price, unless you cancel before."
        }
    }
}

/// How a plan with own keys stands that has no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyGrace {
    /// The own-key price stays until then.
    Until(Timestamp),
    /// The standard price applies.
    Over,
}

/// Until when the own-key price stays after the last usable key was lost.
pub fn key_grace_ends(lost_at: Timestamp, grace_days: u32) -> Timestamp {
    lost_at.plus_seconds(i64::from(grace_days).saturating_mul(DAY_SECONDS))
}

/// How it stands now with a grace that ends at `ends_at`.
pub fn key_grace(ends_at: Timestamp, now: Timestamp) -> KeyGrace {
    if now < ends_at { KeyGrace::Until(ends_at) } else { KeyGrace::Over }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, tiers};

    #[test]
    fn one_person_has_one_name() {
        for (email, name) in [
            ("sam@example.test", "sam@example.test"),
            ("sam+trial2@example.test", "sam@example.test"),
            ("sam.field@example.test", "sam.field@example.test"),
            ("s.a.m+x@gmail.com", "sam@gmail.com"),
            ("sam@googlemail.com", "sam@gmail.com"),
            ("+sam@example.test", "+sam@example.test"),
        ] {
            assert_eq!(person(email), name, "{email}");
        }
    }

    #[test]
    fn a_trial_is_announced_three_days_before_its_end() {
        let catalogue = tiers();
        let managed = catalogue.trial(TrialKind::Managed).unwrap();
        let end = ends_at(managed, NOW);
        assert_eq!(end, NOW.plus_seconds(14 * 86_400));
        assert_eq!(reminder_at(end, catalogue.grace.trial_reminder_days), NOW.plus_seconds(11 * 86_400));
    }

    #[test]
    fn the_own_key_price_stays_seven_days() {
        let until = key_grace_ends(NOW, tiers().grace.own_key_days);
        assert_eq!(until, NOW.plus_seconds(7 * 86_400));
        assert_eq!(key_grace(until, until.plus_seconds(-1)), KeyGrace::Until(until));
        assert_eq!(key_grace(until, until), KeyGrace::Over);
    }
}
