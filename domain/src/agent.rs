//! Owns: what an agent may be called, how many of them a plan lets run, and what one run of an agent may cost.
//! Does not own: whose key its runs are made with (`key`), storing agents or counting them (`server::agent`).

use crate::denial::Denial;
use crate::money::Usd;
use crate::plan::Allowance;

const LONGEST_NAME: usize = 60;
/// The largest cap, which is a slip of the pen rather than a wish.
const LARGEST_CAP_DOLLARS: i64 = 100_000;

crate::text_enum! {
    /// Whether an agent's calls are let through.
    AgentState {
        Running = "running",
        Stopped = "stopped",
    }
}

/// A name as it is stored, 1 to 60 characters without spaces around it. Denial: `Invalid`.
pub fn checked_name(name: &str) -> Result<&str, Denial> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Denial::invalid("name", "An agent needs a name", "Name it after what it does."));
    }
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Denial::invalid(
            "name",
            "Longer than 60 characters, or with signs that cannot be shown",
            "Shorten it.",
        ));
    }
    Ok(name)
}

/// What a run may cost at most, in dollars as they were typed; nothing typed is no cap. Denial: `Invalid`.
pub fn read_cap(typed: &str) -> Result<Option<Usd>, Denial> {
    let tidy = typed.trim().trim_start_matches('$');
    if tidy.is_empty() {
        return Ok(None);
    }
    let most = Usd::from_dollars(LARGEST_CAP_DOLLARS).unwrap_or(Usd::ZERO);
    match Usd::parse_dollars(tidy).filter(|cap| cap.is_positive() && *cap <= most) {
        Some(cap) => Ok(Some(cap)),
        None => {
            let remedy = "Write what one run may cost at most, such as 0.05, or leave it empty for no cap.";
            Err(Denial::invalid("run_cap", "Not an amount of dollars", remedy))
        }
    }
}

/// Whether one more agent may run beside those that do. Denial: `AgentLimit`.
pub fn may_start(plan: &str, limit: Allowance, running: u64) -> Result<(), Denial> {
    match limit {
        Allowance::AtMost(limit) if running >= limit => {
            Err(Denial::AgentLimit { plan: plan.to_owned(), limit, running })
        }
        Allowance::AtMost(_) | Allowance::Unlimited => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_can_be_shown() {
        assert_eq!(checked_name("  Support triage "), Ok("Support triage"));
        assert_eq!(checked_name(&"ü".repeat(60)).map(str::len), Ok(120));
        for name in ["", "  ", "a\nb", &"x".repeat(61)] {
            assert_eq!(checked_name(name).unwrap_err().code(), "invalid", "{name:?}");
        }
    }

    #[test]
    fn a_cap_is_an_amount_or_nothing() {
        assert_eq!(read_cap(" "), Ok(None));
        assert_eq!(read_cap("$0.05"), Ok(Some(Usd::from_nanos(50_000_000))));
        for typed in ["0", "-1", "all", "1,5", "100001", "0.0000000001"] {
            assert_eq!(read_cap(typed).unwrap_err().code(), "invalid", "{typed:?}");
        }
    }

    /// Spec §2: 3, 20 and no end of them.
    #[test]
    fn a_plan_lets_so_many_run() {
        for (limit, running, starts) in [
            (Allowance::AtMost(3), 2, true),
            (Allowance::AtMost(3), 3, false),
            (Allowance::AtMost(0), 0, false),
            // After a downgrade there may be more than the plan has.
            (Allowance::AtMost(3), 20, false),
            (Allowance::Unlimited, 1 << 40, true),
        ] {
            assert_eq!(may_start("Free", limit, running).is_ok(), starts, "{limit:?} {running}");
        }
        let denial = may_start("Free", Allowance::AtMost(3), 3).unwrap_err();
        assert_eq!((denial.code(), denial.status()), ("agent_limit", 402));
        assert_eq!(denial.sentence(), "Your Free plan lets 3 agents run, and 3 do. Stop one, or upgrade.");
        assert_eq!(
            denial.remedies().iter().map(|remedy| remedy.href.as_str()).collect::<Vec<_>>(),
            ["/agents", "/plan"]
        );
    }
}
