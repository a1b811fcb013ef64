//! Owns: what an account would lose by another plan, said before it happens.
//! Does not own: whether the change is allowed (`subscription`), or what is used now.

use crate::plan::{Allowance, Plan};

/// What shrinks from one plan to another, a sentence for each limit; empty if nothing does. Seats multiply executions on
/// plans that are sold by the seat.
pub fn lost(from: &Plan, from_seats: u32, to: &Plan, to_seats: u32) -> Vec<String> {
    let mut lost = Vec::new();
    let executions = |plan: &Plan, seats: u32| match plan.limits.executions_a_month {
        Allowance::AtMost(count) => Allowance::AtMost(count.saturating_mul(u64::from(plan.quantity(seats)))),
        Allowance::Unlimited => Allowance::Unlimited,
    };
    let pairs = [
        ("running agents", from.limits.running_agents, to.limits.running_agents),
        ("executions a month", executions(from, from_seats), executions(to, to_seats)),
        ("sandbox tries a day", from.limits.sandbox_tries_a_day, to.limits.sandbox_tries_a_day),
    ];
    for (what, before, after) in pairs {
        match (before, after) {
            (Allowance::Unlimited, Allowance::AtMost(after)) => {
                lost.push(format!("{} {what} instead of no limit", grouped(after)));
            }
            (Allowance::AtMost(before), Allowance::AtMost(after)) if after < before => {
                lost.push(format!("{} {what} instead of {}", grouped(after), grouped(before)));
            }
            (Allowance::AtMost(_) | Allowance::Unlimited, _) => {}
        }
    }
    if to.limits.log_retention_hours < from.limits.log_retention_hours {
        lost.push(format!(
            "logs are kept for {} instead of {}",
            span(to.limits.log_retention_hours),
            span(from.limits.log_retention_hours)
        ));
    }
    match (from.limits.daily_spend_cap, to.limits.daily_spend_cap) {
        (before, Some(after)) if before.is_none_or(|before| after < before) => {
            let before = before.map_or("no cap".to_owned(), |before| before.to_string());
            lost.push(format!("at most {after} a day on our keys instead of {before}"));
        }
        (_, Some(_) | None) => {}
    }
    for class in to.limits.refused_classes.iter().filter(|class| !from.limits.refused_classes.contains(class)) {
        lost.push(format!("no models of the class {class} on our keys"));
    }
    if to.limits.support != from.limits.support {
        lost.push(format!("support: {} instead of {}", to.limits.support, from.limits.support));
    }
    lost
}

fn span(hours: u64) -> String {
    if hours.is_multiple_of(24) && hours > 24 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::tiers;
    use crate::id::PlanId;

    #[test]
    fn what_shrinks_is_said_and_what_grows_is_not() {
        let catalogue = tiers();
        let plan = |id: &str| catalogue.plan(&PlanId::new(id)).unwrap();
        assert_eq!(
            lost(plan("team"), 3, plan("pro"), 1),
            [
                "20 running agents instead of no limit",
                "5,000 executions a month instead of 75,000",
                "50 sandbox tries a day instead of 200",
                "logs are kept for 30 days instead of 90 days",
                "at most $5.00 a day on our keys instead of $20.00",
                "support: E-mail instead of Priority e-mail",
            ]
        );
        assert!(lost(plan("pro"), 1, plan("free"), 1).contains(&"no models of the class heavy on our keys".to_owned()));
        assert_eq!(lost(plan("team"), 3, plan("team"), 3), Vec::<String>::new());
        assert_eq!(lost(plan("team"), 3, plan("team"), 2), ["50,000 executions a month instead of 75,000"]);
    }
}
