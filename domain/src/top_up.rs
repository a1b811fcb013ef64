//! Owns: when credit is bought automatically, when it is not and why: the auto-top-up rule of spec §3, "Token Bank".
//! Does not own: the charge (`server::top_up`), or what is known of an account (its rows).
//! Invariant: whoever did not consent, or whose consent, card or cap does not cover it, is never charged; one charge
//! closes the gap.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::Catalogue;
use crate::denial::{Denial, Remedy};
use crate::id::PackId;
use crate::money::Usd;
use crate::pack::Pack;
use crate::period::Period;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
#[path = "top_up_tests.rs"]
mod tests;

crate::text_enum! {
    /// What made somebody look whether a top-up is due.
    Trigger {
        /// It was turned on, or given another card, while the balance was low.
        Enabled = "enabled",
        /// A run was charged.
        Capture = "capture",
        /// A run was refused for lack of credit.
        RefusedHold = "refused_hold",
        /// The look that is taken each minute.
        Sweep = "sweep",
    }
}

crate::text_enum! {
    /// Why nothing is charged, or why a charge failed: one word for programs, the same in API, mail and pages.
    Reason {
        ChargeFailed = "charge_failed",
        PurchaseLimitReached = "purchase_limit_reached",
        AttemptLimitReached = "attempt_limit_reached",
        FailedAttemptLimitReached = "failed_attempt_limit_reached",
        SuspendedAfterFailures = "suspended_after_failures",
        AuthenticationRequired = "authentication_required",
        LostCard = "lost_card",
        StolenCard = "stolen_card",
        ExpiredCard = "expired_card",
        MissingPaymentMethod = "missing_payment_method",
        InvalidAmount = "invalid_amount",
        ConsentExpired = "consent_expired",
        ConsentWithdrawn = "consent_withdrawn",
        AccountFrozen = "account_frozen",
    }
}

/// The guards and defaults of the catalogue: what nobody should have to think about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpLimits {
    /// What a new rule begins with.
    pub threshold: Usd,
    pub cap: Usd,
    pub charges_a_month: u32,
    /// The most charges a month that a rule may allow.
    pub most_charges_a_month: u32,
    /// How long a consent may count, in days; the last one is offered first.
    pub consent_days: Vec<u32>,
    /// Two charges never follow each other faster.
    pub burst_seconds: i64,
    /// So many attempts at most in a window of so many seconds.
    pub attempts: u32,
    pub attempt_window_seconds: i64,
    /// After a failure, nothing is tried for so long.
    pub failure_pause_seconds: i64,
    /// So many failures in a row suspend the rule until there is another card.
    pub failures_to_suspend: u32,
    /// How long a charge that the bank wants to ask about can be confirmed.
    pub recovery_hours: i64,
}

impl Default for TopUpLimits {
    /// What a catalogue file from before there was an auto-top-up means.
    fn default() -> TopUpLimits {
        TopUpLimits {
            threshold: Usd::from_nanos(5_000_000_000),
            cap: Usd::from_nanos(100_000_000_000),
            charges_a_month: 5,
            most_charges_a_month: 50,
            consent_days: vec![90, 180, 365],
            burst_seconds: 30,
            attempts: 2,
            attempt_window_seconds: 600,
            failure_pause_seconds: 3_600,
            failures_to_suspend: 3,
            recovery_hours: 24,
        }
    }
}

/// What an account agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Credit is bought when the balance falls under this.
    pub threshold: Usd,
    pub pack: PackId,
    /// The most that is charged in a calendar month (UTC).
    pub cap: Usd,
    pub charges_a_month: u32,
}

impl Rule {
    /// The pack it buys, if the rule can work: one pack reaches the threshold, and the cap pays for one pack. Denials:
    /// `UnknownPack`, `Invalid` with the field.
    pub fn check<'a>(&self, catalogue: &'a Catalogue) -> Result<&'a Pack, Denial> {
        let pack = catalogue.pack(&self.pack)?;
        let most = catalogue.top_up.most_charges_a_month;
        if !self.threshold.is_positive() {
            return Err(Denial::invalid("threshold", "must be more than $0.00", "Give the balance to stay above."));
        }
        if self.threshold > pack.amount {
            return Err(Denial::invalid(
                "threshold",
                format!("{} is more than the {} that the pack gives", self.threshold, pack.amount),
                "Choose a larger pack or a lower threshold, so that one charge is enough.",
            ));
        }
        if self.cap < pack.price {
            return Err(Denial::invalid(
                "cap",
                format!("{} a month is less than the {} that one pack costs", self.cap, pack.price),
                "Raise it, or choose a smaller pack.",
            ));
        }
        if !(1..=most).contains(&self.charges_a_month) {
            return Err(Denial::invalid(
                "charges",
                format!("{} is not between 1 and {most}", self.charges_a_month),
                "Give how many charges there may be in a month.",
            ));
        }
        Ok(pack)
    }
}

/// How an attempt to charge ended, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows yet, or the bank waits for the customer.
    Open,
    Paid,
    /// The pack that a rule began with: its buyer paid it on Stripe's page. It counts in the month, not as a try.
    PaidByHand,
    Refused {
        at: Timestamp,
    },
}

/// One automatic charge of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub started_at: Timestamp,
    /// Which card; see [`Facts::card`].
    pub card: String,
    pub price: Usd,
    pub outcome: Outcome,
}

/// A rule that waits for another card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    pub reason: Reason,
    /// The card it is tied to.
    pub card: String,
}

/// What somebody agreed to, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Until(Timestamp),
    /// Whoever agreed has left the account, or may no longer spend for it.
    Withdrawn,
}

/// Everything that decides, as it is under the account's lock.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// `None` when it is off.
    pub rule: Option<&'a Rule>,
    pub consent: Consent,
    /// Everything that belongs to the customer, what running work holds included: that is not spent yet.
    pub balance: Usd,
    /// The most that a run could have cost which was refused just now; zero for other triggers.
    pub refused: Usd,
    /// The rule's pack, if the catalogue still has it.
    pub pack: Option<&'a Pack>,
    /// The card that is kept: its number's fingerprint and its expiry, so that a renewed card is another one.
    pub card: Option<&'a str>,
    pub suspension: Option<&'a Suspension>,
    pub is_frozen: bool,
    /// The charges since the month began and since the last one that was paid, newest first; the first pack of a rule, which is
    /// paid on Stripe's page, is one of them.
    pub attempts: &'a [Attempt],
    /// The calendar month whose charges the cap counts.
    pub month: Period,
}

/// Whether a top-up is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Not turned on.
    Off,
    /// Nothing is charged, whatever the balance, for this reason; until then, if it passes by itself.
    Paused { reason: Reason, until: Option<Timestamp> },
    /// The balance is not low.
    Enough,
    /// One is being made.
    Open,
    /// Not again so soon.
    Wait { reason: Reason, until: Timestamp },
    /// Charge the price of the rule's pack, once.
    Due { price: Usd },
}

/// Decides whether a top-up is due: consent, card, cap and guards first, then the balance.
pub fn decide(limits: &TopUpLimits, facts: &Facts<'_>, now: Timestamp) -> Verdict {
    let Some(rule) = facts.rule else { return Verdict::Off };
    if let Some((reason, until)) = paused(limits, facts, rule, now) {
        return Verdict::Paused { reason, until };
    }
    let Some(pack) = facts.pack else {
        return Verdict::Paused { reason: Reason::InvalidAmount, until: None };
    };
    if facts.attempts.iter().any(|attempt| attempt.outcome == Outcome::Open) {
        return Verdict::Open;
    }
    let is_low = facts.balance < rule.threshold;
    // A run that even a full pack could not pay for is no reason to buy one.
    let helps = pack.spendable().is_some_and(|more| facts.balance.saturating_add(more) >= facts.refused);
    let is_missed = facts.refused > facts.balance && helps;
    if !is_low && !is_missed {
        return Verdict::Enough;
    }
    if let Some(until) = busy_until(limits, facts.attempts, now) {
        return Verdict::Wait { reason: Reason::AttemptLimitReached, until };
    }
    Verdict::Due { price: pack.price }
}

/// Why nothing would be charged even if the balance were low.
fn paused(limits: &TopUpLimits, facts: &Facts<'_>, rule: &Rule, now: Timestamp) -> Option<(Reason, Option<Timestamp>)> {
    if facts.is_frozen {
        return Some((Reason::AccountFrozen, None));
    }
    match facts.consent {
        Consent::Withdrawn => return Some((Reason::ConsentWithdrawn, None)),
        Consent::Until(ends_at) if now >= ends_at => return Some((Reason::ConsentExpired, None)),
        Consent::Until(_) => {}
    }
    let Some(card) = facts.card else { return Some((Reason::MissingPaymentMethod, None)) };
    if let Some(suspension) = facts.suspension.filter(|suspension| suspension.card == card) {
        return Some((suspension.reason, None));
    }
    let Some(pack) = facts.pack.filter(|pack| rule.threshold <= pack.amount) else {
        return Some((Reason::InvalidAmount, None));
    };
    let (charged, charges) = this_month(facts.attempts, facts.month);
    if charged.saturating_add(pack.price) > rule.cap || charges >= rule.charges_a_month {
        return Some((Reason::PurchaseLimitReached, Some(facts.month.end)));
    }
    let failed_at =
        facts.attempts.iter().filter(|attempt| attempt.card == card).find_map(|attempt| match attempt.outcome {
            Outcome::Refused { at } => Some(at),
            Outcome::Open | Outcome::Paid | Outcome::PaidByHand => None,
        });
    let until = failed_at?.plus_seconds(limits.failure_pause_seconds);
    (now < until).then_some((Reason::FailedAttemptLimitReached, Some(until)))
}

/// What was charged, or may have been, in the month, and in how many charges.
pub fn this_month(attempts: &[Attempt], month: Period) -> (Usd, u32) {
    let counted = attempts.iter().filter(|attempt| {
        let counts = matches!(attempt.outcome, Outcome::Open | Outcome::Paid | Outcome::PaidByHand);
        counts && month.contains(attempt.started_at)
    });
    counted.fold((Usd::ZERO, 0), |(sum, count), attempt| (sum.saturating_add(attempt.price), count.saturating_add(1)))
}

/// Until when another attempt would come too soon after those before.
fn busy_until(limits: &TopUpLimits, attempts: &[Attempt], now: Timestamp) -> Option<Timestamp> {
    let tries: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.outcome != Outcome::PaidByHand).collect();
    let newest = tries.iter().map(|attempt| attempt.started_at).max()?;
    let burst = newest.plus_seconds(limits.burst_seconds);
    let in_window = |attempt: &&&Attempt| attempt.started_at.plus_seconds(limits.attempt_window_seconds) > now;
    let mut recent: Vec<Timestamp> = tries.iter().filter(in_window).map(|attempt| attempt.started_at).collect();
    recent.sort_unstable();
    let most = usize::try_from(limits.attempts.max(1)).unwrap_or(usize::MAX);
    // The one that has to leave the window before there is room again.
    let leaves = recent.len().checked_sub(most).and_then(|index| recent.get(index));
    let full = leaves.map(|at| at.plus_seconds(limits.attempt_window_seconds));
    let until = full.map_or(burst, |full| full.max(burst));
    (now < until).then_some(until)
}

/// What a refused charge means for the rule: suspended at once, after so many failures in a row, or not yet.
/// `failures` counts this one.
pub fn after_refusal(limits: &TopUpLimits, reason: Reason, failures: u32) -> Option<Reason> {
    match reason {
        Reason::AuthenticationRequired | Reason::LostCard | Reason::StolenCard | Reason::ExpiredCard => Some(reason),
        Reason::ChargeFailed => (failures >= limits.failures_to_suspend).then_some(Reason::SuspendedAfterFailures),
        Reason::PurchaseLimitReached
        | Reason::AttemptLimitReached
        | Reason::FailedAttemptLimitReached
        | Reason::SuspendedAfterFailures
        | Reason::MissingPaymentMethod
        | Reason::InvalidAmount
        | Reason::ConsentExpired
        | Reason::ConsentWithdrawn
        | Reason::AccountFrozen => None,
    }
}

/// How many failures of this card stand in a row, newest first, up to the last charge that was paid.
pub fn failures_in_a_row(attempts: &[Attempt], card: &str) -> u32 {
    let refused = attempts
        .iter()
        .filter(|attempt| attempt.card == card)
        .take_while(|attempt| attempt.outcome != Outcome::Paid)
        .filter(|attempt| matches!(attempt.outcome, Outcome::Refused { .. }))
        .count();
    u32::try_from(refused).unwrap_or(u32::MAX)
}

/// What a decline means, by Stripe's `code` and `decline_code`.
pub fn reason_of(code: &str, decline_code: Option<&str>) -> Reason {
    for word in [decline_code.unwrap_or_default(), code] {
        match word {
            "authentication_required" | "authentication_not_handled" => return Reason::AuthenticationRequired,
            "lost_card" => return Reason::LostCard,
            "stolen_card" => return Reason::StolenCard,
            "expired_card" => return Reason::ExpiredCard,
            _other => {}
        }
    }
    Reason::ChargeFailed
}

impl Reason {
    /// What it means, in a sentence for whoever pays.
    pub const fn sentence(self) -> &'static str {
        match self {
            Reason::ChargeFailed => "The card was declined.",
            Reason::PurchaseLimitReached => "Another pack would go above this month's cap.",
            Reason::AttemptLimitReached => "A charge was tried a moment ago; the next one waits a little.",
            Reason::FailedAttemptLimitReached => "The last charge was declined, so the next try waits an hour.",
            Reason::SuspendedAfterFailures => "The card was declined several times in a row.",
            Reason::AuthenticationRequired => "The bank wants you to confirm the payment.",
            Reason::LostCard => "The bank says that the card was reported lost.",
            Reason::StolenCard => "The bank says that the card was reported stolen.",
            Reason::ExpiredCard => "The card has expired.",
            Reason::MissingPaymentMethod => "There is no card to charge.",
            Reason::InvalidAmount => "The pack is no longer sold as it was when you agreed.",
            Reason::ConsentExpired => "Your consent has ended, as you chose.",
            Reason::ConsentWithdrawn => "Who agreed to it has left, or may no longer spend for this account.",
            Reason::AccountFrozen => "The account is frozen.",
        }
    }

    /// What would help, if something does.
    pub fn remedy(self) -> Option<Remedy> {
        let remedy = |label: &str, href: &str| Some(Remedy { label: label.to_owned(), href: href.to_owned() });
        match self {
            Reason::PurchaseLimitReached => remedy("Raise the cap", "/credits/auto-top-up#rule"),
            Reason::AuthenticationRequired => remedy("Confirm the payment", "/credits/auto-top-up#confirm"),
            Reason::SuspendedAfterFailures | Reason::LostCard | Reason::StolenCard | Reason::ExpiredCard => {
                remedy("Use another card", "/credits/auto-top-up#card")
            }
            Reason::MissingPaymentMethod => remedy("Add a card", "/credits/auto-top-up#card"),
            Reason::InvalidAmount => remedy("Choose a pack", "/credits/auto-top-up#rule"),
            Reason::ConsentExpired => remedy("Renew your consent", "/credits/auto-top-up#rule"),
            Reason::ConsentWithdrawn => remedy("Agree to it yourself", "/credits/auto-top-up#rule"),
            Reason::ChargeFailed | Reason::FailedAttemptLimitReached => {
                remedy("Use another card", "/credits/auto-top-up#card")
            }
            Reason::AttemptLimitReached | Reason::AccountFrozen => None,
        }
    }
}
