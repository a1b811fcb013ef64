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
