//! What the visitor compares: whose keys, and how many seats. It stands in the address, so a comparison can be sent.

use domain::id::PlanId;
use domain::subscription::{CurrentPlan, KeyMode, MOST_SEATS};
use leptos_router::params::ParamsMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub mode: KeyMode,
    pub seats: u32,
}

impl Choice {
    /// Whatever makes no sense counts as our keys and one seat.
    pub fn from_query(query: &ParamsMap) -> Choice {
        Choice {
            mode: query.get("mode").and_then(|mode| mode.parse().ok()).unwrap_or(KeyMode::Standard),
            seats: query.get("seats").map_or(1, |seats| seats_of(&seats)),
        }
    }
}

/// Seats as typed, within what can be bought.
pub fn seats_of(typed: &str) -> u32 {
    let typed = typed.trim();
    // More digits than a number has are many all the same.
    let is_huge = typed.len() > 9 && typed.bytes().all(|byte| byte.is_ascii_digit());
    if is_huge { MOST_SEATS } else { typed.parse::<u32>().unwrap_or(1).clamp(1, MOST_SEATS) }
}

/// Where a plan is bought or changed to.
pub fn address(plan: &PlanId, mode: KeyMode, seats: u32) -> String {
    format!("/plan?to={plan}&mode={mode}&seats={seats}")
}

/// What the button of a plan does for this visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nobody is signed in, and it costs nothing.
    SignUp,
    /// Nobody is signed in, or nothing is paid for yet.
    Choose,
    /// It is what they have.
    Current,
    /// The plan they have, on the other keys.
    SwitchKeys,
    /// The plan they have, for another number of people.
    ChangeSeats,
    Upgrade,
    Downgrade,
}

/// What a plan's button offers. `rank` is a plan's place in the catalogue, the least first.
pub fn offer(
    current: Option<&CurrentPlan>,
    plan: &PlanId,
    mode: KeyMode,
    quantity: u32,
    is_free: bool,
    rank: impl Fn(&PlanId) -> Option<usize>,
) -> Offer {
    let Some(current) = current else { return if is_free { Offer::SignUp } else { Offer::Choose } };
    if &current.plan == plan {
        return match (is_free || current.key_mode == mode, is_free || current.seats == quantity) {
            (true, true) => Offer::Current,
            (true, false) => Offer::ChangeSeats,
            (false, _) => Offer::SwitchKeys,
        };
    }
    match (rank(&current.plan), rank(plan)) {
        _ if current.status.is_none() => Offer::Choose,
        (Some(has), Some(wants)) if wants < has => Offer::Downgrade,
        (Some(_), Some(_)) => Offer::Upgrade,
        (None, _) | (_, None) => Offer::Choose,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::period::Period;
    use domain::subscription::SubscriptionStatus;
    use domain::time::Timestamp;

    fn having(plan: &str, key_mode: KeyMode, seats: u32, status: Option<SubscriptionStatus>) -> CurrentPlan {
        CurrentPlan {
            plan: PlanId::new(plan),
            key_mode,
            seats,
            status,
            period: Period::calendar_month(Timestamp::from_date(2026, 11, 24)),
            cancels_at: None,
            catalogue_version: "tiers".to_owned(),
        }
    }

    #[test]
    fn the_button_says_what_it_means_for_the_visitor() {
        let rank = |plan: &PlanId| ["free", "pro", "team"].iter().position(|known| *known == plan.as_str());
        let says = |current: Option<&CurrentPlan>, plan: &str, mode, quantity| {
            offer(current, &PlanId::new(plan), mode, quantity, plan == "free", rank)
        };
        let (ours, own) = (KeyMode::Standard, KeyMode::Byok);
        assert_eq!(says(None, "free", ours, 1), Offer::SignUp);
        assert_eq!(says(None, "pro", ours, 1), Offer::Choose);
        let free = having("free", ours, 1, None);
        assert_eq!(says(Some(&free), "free", own, 1), Offer::Current, "Free has one price");
        assert_eq!(says(Some(&free), "pro", ours, 1), Offer::Choose);
        let pro = having("pro", ours, 1, Some(SubscriptionStatus::Active));
        assert_eq!(says(Some(&pro), "free", ours, 1), Offer::Downgrade);
        assert_eq!(says(Some(&pro), "pro", ours, 1), Offer::Current);
        assert_eq!(says(Some(&pro), "pro", own, 1), Offer::SwitchKeys);
        assert_eq!(says(Some(&pro), "team", own, 3), Offer::Upgrade);
        let team = having("team", own, 3, Some(SubscriptionStatus::PastDue));
        assert_eq!(says(Some(&team), "team", own, 4), Offer::ChangeSeats);
        assert_eq!(says(Some(&team), "team", own, 3), Offer::Current);
        assert_eq!(says(Some(&team), "pro", own, 1), Offer::Downgrade);
    }

    #[test]
    fn seats_are_within_what_can_be_bought() {
        for (typed, seats) in [("4", 4), (" 12 ", 12), ("0", 1), ("-3", 1), ("many", 1), ("99999", MOST_SEATS)] {
            assert_eq!(seats_of(typed), seats, "{typed}");
        }
    }
}
