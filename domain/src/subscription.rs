//! Owns: what an account subscribes to, where a subscription stands, and what a wished change means: now or at the end
//! of the period.
//! Does not own: what it costs (`proration`, the catalogue), Stripe's objects, or who may change it.
//! Invariant: what was paid for is had until it ends; nobody loses a paid period by choosing less.

use crate::denial::Denial;
use crate::id::PlanId;
use crate::period::Period;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// More seats than any account has; guards against a slip of the keyboard.
pub const MOST_SEATS: u32 = 1_000;

crate::text_enum! {
    /// Whose provider keys a plan runs on: each has its own price.
    KeyMode {
        /// Our keys.
        Standard = "standard",
        /// The customer's own.
        Byok = "byok",
    }
}

crate::text_enum! {
    /// Where a subscription stands, as Stripe says it.
    SubscriptionStatus {
        /// The first payment has not come yet.
        Incomplete = "incomplete",
        /// The first payment never came.
        IncompleteExpired = "incomplete_expired",
        Trialing = "trialing",
        Active = "active",
        /// A renewal was not paid; Stripe tries again.
        PastDue = "past_due",
        /// Stripe stopped trying.
        Unpaid = "unpaid",
        Canceled = "canceled",
        Paused = "paused",
    }
}

impl SubscriptionStatus {
    /// It is over for good: another one may begin.
    pub const fn is_over(self) -> bool {
        match self {
            SubscriptionStatus::IncompleteExpired | SubscriptionStatus::Canceled => true,
            SubscriptionStatus::Incomplete
            | SubscriptionStatus::Trialing
            | SubscriptionStatus::Active
            | SubscriptionStatus::PastDue
            | SubscriptionStatus::Unpaid
            | SubscriptionStatus::Paused => false,
        }
    }
}

/// What is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    pub plan: PlanId,
    pub key_mode: KeyMode,
    /// How many members it is paid for; 1 for plans that are not sold by the seat.
    pub seats: u32,
}

/// What an account has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentPlan {
    /// The plan that limits come from. While an account is suspended, the plan of those who pay nothing.
    pub plan: PlanId,
    pub key_mode: KeyMode,
    pub seats: u32,
    /// `None` without a subscription.
    pub status: Option<SubscriptionStatus>,
    /// What is paid for, and what the allowance counts in. Without a subscription the calendar month in UTC.
    pub period: Period,
    /// When it falls back to the plan that costs nothing, if that was chosen.
    pub cancels_at: Option<Timestamp>,
    /// The catalogue it was bought from.
    pub catalogue_version: String,
}

/// What a subscription's state means for its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It has its plan.
    InOrder,
    /// A payment is missing; it keeps its plan until then.
    Grace { until: Timestamp },
    /// It has what those have who pay nothing, until it pays.
    Suspended,
    /// There is nothing to have: not begun, or over.
    Without,
}

/// Where an account stands by its subscription. `unpaid_since` is when the first renewal failed that is still open,
/// `grace_days` how long the plan stays after that (the catalogue's `past_due_days`).
pub fn standing(
    status: SubscriptionStatus,
    unpaid_since: Option<Timestamp>,
    grace_days: u32,
    now: Timestamp,
) -> Standing {
    match status {
        SubscriptionStatus::Active | SubscriptionStatus::Trialing => Standing::InOrder,
        SubscriptionStatus::PastDue => {
            let until = unpaid_since.unwrap_or(now).plus_seconds(i64::from(grace_days).saturating_mul(86_400));
            if now < until { Standing::Grace { until } } else { Standing::Suspended }
        }
        SubscriptionStatus::Unpaid | SubscriptionStatus::Paused => Standing::Suspended,
        SubscriptionStatus::Incomplete | SubscriptionStatus::IncompleteExpired | SubscriptionStatus::Canceled => {
            Standing::Without
        }
    }
}

/// What a wished change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is so already.
    None,
    /// A first subscription: on Stripe's page.
    Subscribe,
    /// At once; the difference for the rest of the period is charged now.
    Now,
    /// At once; the difference is a credit on the next invoice.
    NowWithCredit,
    /// When the paid period ends. Until then nothing changes, and nothing is charged.
    AtPeriodEnd,
    /// The subscription ends with the paid period.
    Cancel,
}

/// What a change from `from` (`None` without a subscription) to `to` means. `rank` says how a plan stands among the
/// plans, the cheapest first; `is_free` that it costs nothing. Costs are what a full month of each would cost, in cents.
///
/// A plan above is had at once, a plan below when the paid period ends; within a plan, keys and seats change at once.
pub fn change(from: Option<&Offer<'_>>, to: &Offer<'_>) -> Change {
    let Some(from) = from else { return if to.month_cents == 0 { Change::None } else { Change::Subscribe } };
    if from.terms == to.terms {
        return Change::None;
    }
    if to.month_cents == 0 {
        return Change::Cancel;
    }
    if from.terms.plan == to.terms.plan {
        return if to.month_cents < from.month_cents { Change::NowWithCredit } else { Change::Now };
    }
    if to.rank > from.rank { Change::Now } else { Change::AtPeriodEnd }
}

/// Terms with their place among the plans and their price.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub terms: &'a Terms,
    /// Where the plan stands among the catalogue's plans, the least first.
    pub rank: usize,
    /// What a whole month costs, all seats together.
    pub month_cents: i64,
}

/// The seats that may be bought: at least one for each member, one for a plan that is not sold by the seat, and no more
/// than [`MOST_SEATS`].
pub fn check_seats(per_seat: bool, seats: u32, members: u32) -> Result<u32, Denial> {
    if !per_seat {
        return if members > 1 {
            let problem = format!("is for one person, and {members} people are in this account");
            Err(Denial::invalid("plan", problem, "Remove members in Team first, or choose a plan with seats."))
        } else {
            Ok(1)
        };
    }
    if seats < members {
        let problem = format!("is less than the {members} people in this account");
        return Err(Denial::invalid(
            "seats",
            problem,
            "Take at least one seat for each, or remove members in Team first.",
        ));
    }
    if seats == 0 || seats > MOST_SEATS {
        let problem = format!("is not between 1 and {MOST_SEATS}");
        return Err(Denial::invalid("seats", problem, "For more seats, write to us."));
    }
    Ok(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn terms(plan: &str, key_mode: KeyMode, seats: u32) -> Terms {
        Terms { plan: PlanId::new(plan), key_mode, seats }
    }

    #[test]
    fn grace_lasts_from_the_first_failure_until_its_last_second() {
        const DAYS: u32 = 14;
        let since = NOW.plus_seconds(-14 * 86_400);
        let past_due = |since| standing(SubscriptionStatus::PastDue, since, DAYS, NOW);
        assert_eq!(past_due(Some(since)), Standing::Suspended);
        assert_eq!(past_due(Some(since.plus_seconds(1))), Standing::Grace { until: NOW.plus_seconds(1) });
        assert_eq!(past_due(None), Standing::Grace { until: NOW.plus_seconds(14 * 86_400) });
        assert_eq!(standing(SubscriptionStatus::Active, Some(since), DAYS, NOW), Standing::InOrder);
        assert_eq!(standing(SubscriptionStatus::Unpaid, None, DAYS, NOW), Standing::Suspended);
        for status in SubscriptionStatus::ALL {
            let without = standing(*status, None, DAYS, NOW) == Standing::Without;
            assert_eq!(without, status.is_over() || *status == SubscriptionStatus::Incomplete, "{status}");
        }
    }

    /// Every pair of plans, key modes and seat counts: more is had at once, less when it was used up.
    #[test]
    fn more_comes_now_and_less_at_the_end() {
        use KeyMode::{Byok, Standard};
        let all = [
            (terms("free", Standard, 1), 0, 0),
            (terms("pro", Standard, 1), 1, 900),
            (terms("pro", Byok, 1), 1, 500),
            (terms("team", Standard, 3), 2, 8_700),
            (terms("team", Byok, 3), 2, 5_700),
            (terms("team", Standard, 5), 2, 14_500),
        ];
        let expected = [
            // to:  free            pro              pro byok               team 3           team byok 3            team 5
            ["None", "Subscribe", "Subscribe", "Subscribe", "Subscribe", "Subscribe"],
            ["Cancel", "None", "NowWithCredit", "Now", "Now", "Now"],
            ["Cancel", "Now", "None", "Now", "Now", "Now"],
            ["Cancel", "AtPeriodEnd", "AtPeriodEnd", "None", "NowWithCredit", "Now"],
            ["Cancel", "AtPeriodEnd", "AtPeriodEnd", "Now", "None", "Now"],
            ["Cancel", "AtPeriodEnd", "AtPeriodEnd", "NowWithCredit", "NowWithCredit", "None"],
        ];
        for (from, row) in all.iter().zip(expected) {
            for (to, expected) in all.iter().zip(row) {
                let offer = |(terms, rank, month_cents): &(Terms, usize, i64)| (terms.clone(), *rank, *month_cents);
                let ((a, b, c), (d, e, f)) = (offer(from), offer(to));
                let from = Offer { terms: &a, rank: b, month_cents: c };
                let to = Offer { terms: &d, rank: e, month_cents: f };
                let change = change((c > 0).then_some(&from), &to);
                assert_eq!(format!("{change:?}"), expected, "{a:?} to {d:?}");
            }
        }
    }

    #[test]
    fn seats_cover_the_members() {
        assert_eq!(check_seats(true, 3, 3), Ok(3));
        assert_eq!(check_seats(false, 7, 1), Ok(1));
        for (per_seat, seats, members) in [(true, 2, 3), (false, 1, 2), (true, 0, 0), (true, MOST_SEATS + 1, 1)] {
            assert_eq!(check_seats(per_seat, seats, members).unwrap_err().code(), "invalid", "{seats} for {members}");
        }
    }
}
