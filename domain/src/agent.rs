//! Owns: what an agent may be called, how many of them a plan lets run, and what one run of an agent may cost.
//! Does not own: whose key its runs are made with (`key`), storing agents or counting them (`server::agent`).
//! Invariant: a run of an agent with a cap can cost no more than the cap, whoever pays for it, or it is refused.

use crate::denial::Denial;
use crate::money::Usd;
use crate::plan::Allowance;
use crate::quote::{Draft, Quote};

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
    if typed.trim().is_empty() {
        return Ok(None);
    }
    let most = Usd::from_dollars(LARGEST_CAP_DOLLARS).unwrap_or(Usd::ZERO);
    match Usd::parse_typed(typed).filter(|cap| cap.is_positive() && *cap <= most) {
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

/// What one run of an agent may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCap<'a> {
    pub agent: &'a str,
    pub most: Usd,
    /// The shortest answer there is, in tokens: one for each choice that is asked for.
    pub fewest_tokens: u64,
}

/// A quote within a cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    pub quote: Quote,
    /// The run stops earlier than it would without the cap.
    pub is_shortened: bool,
}

impl RunCap<'_> {
    /// The draft's quote, its output so short that the run cannot cost more than the cap. `price` quotes a draft; a longer
    /// output never costs less. Denials: `AgentCap` if even the shortest answer can cost more, or what `price` says.
    pub fn fit(&self, draft: &Draft, price: impl Fn(&Draft) -> Result<Quote, Denial>) -> Result<Fitted, Denial> {
        let whole = price(draft)?;
        if whole.ceiling <= self.most {
            return Ok(Fitted { quote: whole, is_shortened: false });
        }
        let of = |tokens: u64| price(&Draft { max_output_tokens: Some(tokens), ..draft.clone() });
        let mut best = of(self.fewest_tokens)?;
        if best.ceiling > self.most {
            let (agent, cap, least) = (self.agent.to_owned(), self.most, best.ceiling);
            return Err(Denial::AgentCap { agent, cap, least });
        }
        // `low` fits and `high` does not.
        let (mut low, mut high) = (self.fewest_tokens, whole.max_output_tokens);
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            let quote = of(middle)?;
            if quote.ceiling <= self.most {
                (low, best) = (middle, quote);
            } else {
                high = middle;
            }
        }
        Ok(Fitted { quote: best, is_shortened: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, book, tiers};
    use crate::id::ModelId;
    use crate::quote::{History, Media, quote};
    use proptest::prelude::*;

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

    fn sonnet(input_bytes: u64, writes_cache: bool) -> Draft {
        let model = ModelId::new("claude-sonnet-4-5");
        Draft { skill: None, model, input_bytes, media: Media::default(), max_output_tokens: Some(4_000), writes_cache }
    }

    fn fit(most: Usd, draft: &Draft) -> Result<Fitted, Denial> {
        let (catalogue, book) = (tiers(), book());
        let cap = RunCap { agent: "Support", most, fewest_tokens: 1 };
        cap.fit(draft, |draft| quote(&catalogue, &book, NOW, draft, &History::default()))
    }

    #[test]
    fn a_cap_shortens_a_run_to_what_it_pays() {
        let usd = |text| Usd::parse_dollars(text).unwrap();
        // 200 bytes are at most 116 tokens at $3 a million, $0.000348; then each token of output is $0.000015.
        let draft = sonnet(200, false);
        let whole = fit(usd("1"), &draft).unwrap();
        assert_eq!((whole.is_shortened, whole.quote.max_output_tokens), (false, 4_000));
        assert_eq!(whole.quote.ceiling, usd("0.060348"));
        assert_eq!(fit(usd("0.060348"), &draft), Ok(whole));

        let short = fit(usd("0.01"), &draft).unwrap();
        assert_eq!((short.is_shortened, short.quote.max_output_tokens), (true, 643));
        assert_eq!(short.quote.ceiling, usd("0.009993"));
        let least = fit(usd("0.000363"), &draft).unwrap();
        assert_eq!((least.is_shortened, least.quote.max_output_tokens), (true, 1));
        let denial = fit(usd("0.000362"), &draft).unwrap_err();
        assert_eq!((denial.code(), denial.status()), ("agent_cap", 403));
        assert_eq!(
            denial.sentence(),
            "A run of the agent `Support` may cost $0.000362, and this one can cost $0.000363 for the \
             shortest answer. Nothing was run. Shorten the input, choose a cheaper model, or raise the cap under Agents."
        );
    }

    proptest! {
        #[test]
        fn what_fits_costs_no_more_than_the_cap_and_could_not_be_longer(
            bytes in 0_u64..100_000, nanos in 1_i64..2_000_000_000, writes_cache: bool
        ) {
            let draft = sonnet(bytes, writes_cache);
            let most = Usd::from_nanos(nanos);
            match fit(most, &draft) {
                Ok(Fitted { quote, is_shortened }) => {
                    prop_assert!(quote.ceiling <= most && quote.p90 <= quote.ceiling);
                    let longer = Draft { max_output_tokens: Some(quote.max_output_tokens + 1), ..draft };
                    prop_assert!(!is_shortened || fit(most, &longer).unwrap().quote == quote);
                }
                Err(Denial::AgentCap { least, .. }) => prop_assert!(least > most),
                Err(other) => prop_assert!(other.code() == "prompt_too_long"),
            }
        }
    }
}
