//! Owns: what one run costs, given the tokens that the provider counted, and what of it is charged.
//! Does not own: the forecast before a run (`quote`), or moving the money (`ledger`).
//! Invariant: the cost is exact in pico-dollars and rounded once, half up, to the nano-dollar.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::money::{Rate, Usd};
use crate::rate::{LongContext, Prices};
use serde::{Deserialize, Serialize};

/// The tokens of one run in pools that do not overlap: each token is in exactly one. A provider that counts cached
/// tokens within its input, or reasoning within its output, is taken apart before it gets here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Input that was neither read from nor written to the cache.
    pub input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    /// Output without reasoning.
    pub output: u64,
    pub reasoning: u64,
}

impl TokenUsage {
    /// All input, cached or not; `None` past 2⁶⁴.
    pub fn total_input(&self) -> Option<u64> {
        self.input.checked_add(self.cache_read)?.checked_add(self.cache_write_5m)?.checked_add(self.cache_write_1h)
    }

    /// All output, reasoning included; `None` past 2⁶⁴.
    pub fn total_output(&self) -> Option<u64> {
        self.output.checked_add(self.reasoning)
    }
}

crate::text_enum! {
    /// How a run ended.
    ExecutionState {
        /// The model finished.
        Completed = "completed",
        /// Cut before its end: by the user, by a cap, or by a broken stream. What the provider billed is charged.
        Stopped = "stopped",
        /// It ended without any output; not charged.
        Waived = "waived",
        /// The provider, or we, failed; not charged.
        Failed = "failed",
        /// The hold timed out before the run ended; not charged.
        Expired = "expired",
    }
}

/// What the provider bills for a run: exact, rounded once, half up to the nano-dollar.
///
/// A prompt longer than a long-context threshold pays that tier's prices for all its tokens, input and output.
/// Where a price is missing, the run is never free: cache reads count as plain input (a provider without such a price
/// gives no discount), five-minute cache writes too (a provider without such a price asks no surcharge), reasoning
/// counts as output. An hour's cache write has no such stand-in where the provider does charge for writes, because it
/// is dearer than both: then the answer is `None`. `None` also when the sum does not fit; callers refuse, or charge
/// the hold, but never nothing.
pub fn cost(prices: &Prices, usage: &TokenUsage) -> Option<Usd> {
    let request = i128::from(prices.per_request.nanos()).checked_mul(crate::money::PICOS_PER_NANO)?;
    let picos = cost_lines(prices, usage)?.iter().map(CostLine::picos).try_fold(request, i128::checked_add)?;
    Usd::from_picos_half_up(picos)
}

/// One pool of a run's tokens and the price of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLine {
    pub pool: Pool,
    pub tokens: u64,
    pub rate: Rate,
}

/// A pool of [`TokenUsage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    Input,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    Output,
    Reasoning,
}

impl CostLine {
    /// In pico-dollars, not yet rounded.
    pub const fn picos(&self) -> i128 {
        self.rate.times(self.tokens)
    }
}

/// What [`cost`] adds up, besides the price of a request: the pools that have tokens. `None` where `cost` has none.
pub fn cost_lines(prices: &Prices, usage: &TokenUsage) -> Option<Vec<CostLine>> {
    let tier = tier(prices, usage.total_input()?);
    let write_1h = match (tier.cache_write_1h, tier.cache_write_5m) {
        (Some(rate), _) => rate,
        (None, None) => tier.input,
        (None, Some(_)) if usage.cache_write_1h == 0 => Rate::ZERO,
        (None, Some(_)) => return None,
    };
    let lines = [
        (Pool::Input, usage.input, tier.input),
        (Pool::CacheRead, usage.cache_read, tier.cache_read.unwrap_or(tier.input)),
        (Pool::CacheWrite5m, usage.cache_write_5m, tier.cache_write_5m.unwrap_or(tier.input)),
        (Pool::CacheWrite1h, usage.cache_write_1h, write_1h),
        (Pool::Output, usage.output, tier.output),
        (Pool::Reasoning, usage.reasoning, tier.reasoning.unwrap_or(tier.output)),
    ];
    Some(
        lines
            .into_iter()
            .filter(|(_, tokens, _)| *tokens > 0)
            .map(|(pool, tokens, rate)| CostLine { pool, tokens, rate })
            .collect(),
    )
}

/// The prices that count for one request.
struct Tier {
    input: Rate,
    output: Rate,
    cache_read: Option<Rate>,
    cache_write_5m: Option<Rate>,
    cache_write_1h: Option<Rate>,
    reasoning: Option<Rate>,
}

fn tier(prices: &Prices, total_input: u64) -> Tier {
    let longest =
        prices.long_context.iter().filter(|tier| total_input > tier.above_tokens).max_by_key(|tier| tier.above_tokens);
    match longest {
        None => Tier {
            input: prices.input,
            output: prices.output,
            cache_read: prices.cache_read,
            cache_write_5m: prices.cache_write_5m,
            cache_write_1h: prices.cache_write_1h,
            reasoning: prices.reasoning,
        },
        Some(&LongContext { input, output, cache_read, cache_write_5m, cache_write_1h, .. }) => Tier {
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            // Providers publish one output price for long prompts; thinking costs no less than before.
            reasoning: prices.reasoning.map(|rate| rate.max(output)),
        },
    }
}

/// What becomes of the money that was held for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the customer pays: never more than the hold.
    pub charge: Usd,
    /// What the provider bills beyond the hold: our loss, recorded and alerted.
    pub overrun: Usd,
    /// What the provider bills for a run that is not charged.
    pub waived: Usd,
}

/// What is charged when a run has ended in `state` and its provider bills `cost` (`None` when it cannot be priced),
/// with `hold` set aside. Spec §6.4 and §6.8.
pub fn outcome(state: ExecutionState, cost: Option<Usd>, hold: Usd) -> Outcome {
    match state {
        ExecutionState::Completed | ExecutionState::Stopped => {
            // The user agreed to the hold; usage that nobody can price costs that, and is never free.
            let cost = cost.unwrap_or(hold);
            let charge = cost.min(hold);
            Outcome { charge, overrun: cost.saturating_sub(charge), waived: Usd::ZERO }
        }
        ExecutionState::Waived | ExecutionState::Failed | ExecutionState::Expired => {
            Outcome { charge: Usd::ZERO, overrun: Usd::ZERO, waived: cost.unwrap_or(Usd::ZERO) }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, book, tiers};
    use proptest::prelude::*;

    fn prices() -> Prices {
        Prices {
            input: Rate::from_picos(3_000_000),
            output: Rate::from_picos(15_000_000),
            cache_read: Some(Rate::from_picos(300_000)),
            cache_write_5m: Some(Rate::from_picos(3_750_000)),
            cache_write_1h: Some(Rate::from_picos(6_000_000)),
            reasoning: None,
            per_request: Usd::ZERO,
            long_context: vec![],
            batch_factor: None,
        }
    }

    fn input(input: u64) -> TokenUsage {
        TokenUsage { input, ..TokenUsage::default() }
    }

    /// Spec §2, the table of operations, to the last digit.
    #[test]
    fn the_six_operations_at_list_cost() {
        let (catalogue, book) = (tiers(), book());
        let costs: Vec<(String, String)> = catalogue
            .skills
            .iter()
            .map(|skill| {
                let model = catalogue.model(&skill.model).unwrap();
                let usage = TokenUsage { output: skill.prior_output_tokens, ..input(skill.prior_input_tokens) };
                let cost = cost(&book.rate_of(model, NOW).unwrap().prices, &usage).unwrap();
                assert_eq!(crate::quote::typical(&catalogue, &book, NOW, skill), Some(cost));
                (skill.id.to_string(), cost.to_string())
            })
            .collect();
        let expected = [
            ("context-recall", "$0.008"),
            ("user-story", "$0.0104"),
            ("prd", "$0.105"),
            ("agent-spawn-pm", "$0.165"),
            ("strategic-bet", "$1.05"),
            ("plt-gateway", "$1.575"),
        ];
        assert_eq!(costs, expected.map(|(skill, cost)| (skill.to_owned(), cost.to_owned())));
    }

    #[test]
    fn each_pool_has_its_price() {
        let usage = TokenUsage {
            input: 1,
            cache_read: 10,
            cache_write_5m: 100,
            cache_write_1h: 1_000,
            output: 10_000,
            reasoning: 100_000,
        };
        // 3 + 3 + 375 + 6,000 + 150,000 + 1,500,000 micro-dollars: reasoning costs what output costs.
        assert_eq!(cost(&prices(), &usage), Some(Usd::from_nanos(1_656_381_000)));
        let thinking = Prices { reasoning: Some(Rate::from_picos(20_000_000)), ..prices() };
        assert_eq!(cost(&thinking, &usage), Some(Usd::from_nanos(2_156_381_000)));
        let asked = Prices { per_request: Usd::from_nanos(7), ..prices() };
        assert_eq!(cost(&asked, &TokenUsage::default()), Some(Usd::from_nanos(7)));
    }

    #[test]
    fn a_missing_price_is_never_free() {
        let bare = Prices { cache_read: None, cache_write_5m: None, cache_write_1h: None, ..prices() };
        for usage in [
            input(10),
            TokenUsage { cache_read: 10, ..TokenUsage::default() },
            TokenUsage { cache_write_5m: 10, ..TokenUsage::default() },
            TokenUsage { cache_write_1h: 10, ..TokenUsage::default() },
        ] {
            assert_eq!(cost(&bare, &usage), Some(Usd::from_nanos(30_000)), "{usage:?}");
        }
        let no_hour = Prices { cache_write_1h: None, ..prices() };
        assert_eq!(cost(&no_hour, &TokenUsage { cache_write_1h: 1, ..TokenUsage::default() }), None);
        assert!(cost(&no_hour, &TokenUsage { cache_write_5m: 1, ..TokenUsage::default() }).is_some());
    }

    #[test]
    fn it_is_rounded_once_half_up() {
        let of = |input, output, picos| {
            let prices = Prices { input: Rate::from_picos(picos), output: Rate::from_picos(picos), ..prices() };
            cost(&prices, &TokenUsage { output, ..self::input(input) }).unwrap().nanos()
        };
        assert_eq!((of(1, 0, 499), of(1, 0, 500), of(3, 0, 500)), (0, 1, 2));
        assert_eq!(of(1, 1, 500), 1, "rounding each pool would make it 2");
    }

    #[test]
    fn a_long_prompt_pays_its_tier_for_everything_from_the_first_token_above() {
        let tier = |above_tokens, input, output| LongContext {
            above_tokens,
            input: Rate::from_picos(input),
            output: Rate::from_picos(output),
            cache_read: Some(Rate::from_picos(600_000)),
            cache_write_5m: None,
            cache_write_1h: None,
        };
        let prices = Prices {
            long_context: vec![tier(200_000, 6_000_000, 22_500_000), tier(272_000, 9_000_000, 30_000_000)],
            ..prices()
        };
        let of = |input, cache_read| {
            cost(&prices, &TokenUsage { cache_read, output: 1, ..self::input(input) }).unwrap().nanos()
        };
        assert_eq!(of(199_999, 0), 199_999 * 3_000 + 15_000);
        assert_eq!(of(200_000, 0), 200_000 * 3_000 + 15_000);
        assert_eq!(of(200_001, 0), 200_001 * 6_000 + 22_500);
        assert_eq!(of(1, 200_000), 6_000 + 200_000 * 600 + 22_500, "cached input counts towards the threshold");
        assert_eq!(of(0, 200_000), 200_000 * 300 + 15_000);
        assert_eq!(of(272_000, 0), 272_000 * 6_000 + 22_500);
        assert_eq!(of(272_001, 0), 272_001 * 9_000 + 30_000);
    }

    /// Spec §6.4 and §6.8.
    #[test]
    fn no_more_than_the_hold_is_charged_and_nothing_for_nothing() {
        let usd = Usd::from_nanos;
        for (state, cost, charge, overrun, waived) in [
            (ExecutionState::Completed, Some(70), 70, 0, 0),
            (ExecutionState::Completed, Some(130), 100, 30, 0),
            (ExecutionState::Completed, None, 100, 0, 0),
            (ExecutionState::Stopped, Some(70), 70, 0, 0),
            (ExecutionState::Waived, Some(70), 0, 0, 70),
            (ExecutionState::Failed, None, 0, 0, 0),
            (ExecutionState::Expired, Some(70), 0, 0, 70),
        ] {
            let expected = Outcome { charge: usd(charge), overrun: usd(overrun), waived: usd(waived) };
            assert_eq!(outcome(state, cost.map(usd), usd(100)), expected, "{state} {cost:?}");
        }
    }

    fn any_usage() -> impl Strategy<Value = TokenUsage> {
        let tokens = prop_oneof![0..1_000_000_u64, any::<u64>()];
        proptest::array::uniform6(tokens).prop_map(
            |[input, cache_read, cache_write_5m, cache_write_1h, output, reasoning]| TokenUsage {
                input,
                cache_read,
                cache_write_5m,
                cache_write_1h,
                output,
                reasoning,
            },
        )
    }

    fn small_usage() -> impl Strategy<Value = TokenUsage> {
        proptest::array::uniform6(0..1_000_000_u64).prop_map(
            |[input, cache_read, cache_write_5m, cache_write_1h, output, reasoning]| TokenUsage {
                input,
                cache_read,
                cache_write_5m,
                cache_write_1h,
                output,
                reasoning,
            },
        )
    }

    fn sum(a: &TokenUsage, b: &TokenUsage) -> TokenUsage {
        TokenUsage {
            input: a.input + b.input,
            cache_read: a.cache_read + b.cache_read,
            cache_write_5m: a.cache_write_5m + b.cache_write_5m,
            cache_write_1h: a.cache_write_1h + b.cache_write_1h,
            output: a.output + b.output,
            reasoning: a.reasoning + b.reasoning,
        }
    }

    proptest! {
        /// Whatever a provider reports, the answer is a cost or `None`, never a panic or a debt.
        #[test]
        fn no_count_of_tokens_breaks_it(usage in any_usage(), picos in 0..i64::MAX) {
            let dear = Prices { input: Rate::from_picos(picos), output: Rate::from_picos(picos), ..prices() };
            for prices in [prices(), dear] {
                prop_assert!(cost(&prices, &usage).is_none_or(|cost| !cost.is_negative()));
            }
        }

        /// With rates in whole nano-dollars the parts add up exactly; more tokens never cost less.
        #[test]
        fn cost_adds_up_and_never_falls(a in small_usage(), b in small_usage()) {
            let of = |usage: &TokenUsage| cost(&Prices { cache_write_5m: Some(Rate::from_picos(3_751_000)), ..prices() }, usage).unwrap();
            prop_assert_eq!(of(&a).checked_add(of(&b)).unwrap(), of(&sum(&a, &b)));
            prop_assert!(of(&sum(&a, &b)) >= of(&a));
        }

        /// One rounding: at most half a nano-dollar from the exact sum, whatever the rates.
        #[test]
        fn it_is_half_a_nano_dollar_from_exact(usage in small_usage(), picos in 0..1_000_000_000_i64) {
            let odd = Prices { input: Rate::from_picos(picos), cache_read: Some(Rate::from_picos(picos / 7)), ..prices() };
            let exact: i128 = cost_lines(&odd, &usage).unwrap().iter().map(CostLine::picos).sum();
            let off = i128::from(cost(&odd, &usage).unwrap().nanos()) * 1_000 - exact;
            prop_assert!((-499..=500).contains(&off), "{}", off);
        }
    }
}
