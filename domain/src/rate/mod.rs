//! Owns: what each provider charges for each model, from which moment on.
//! Does not own: reading price files (`litellm`), how they differ (`diff`), or what an execution costs (`execution::cost`).
//! Invariant: a rate is never changed, only followed by a later one; a model without a rate is never guessed.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

pub mod diff;
pub mod litellm;

use crate::catalogue::Model;
use crate::id::UpstreamModel;
use crate::money::{BasisPoints, Rate, Usd};
use crate::provider::Provider;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Every price a provider has for one model. `None` says that the provider publishes no such price; what then counts
/// stands at [`crate::execution::cost`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    pub input: Rate,
    pub output: Rate,
    /// Input tokens that the provider had in its cache.
    pub cache_read: Option<Rate>,
    /// Input tokens that the provider put into its cache for five minutes.
    pub cache_write_5m: Option<Rate>,
    /// Input tokens that the provider put into its cache for an hour.
    pub cache_write_1h: Option<Rate>,
    /// Output tokens the model thought with, where they cost something else than written ones.
    pub reasoning: Option<Rate>,
    /// For each request, whatever its length.
    pub per_request: Usd,
    /// Prices of long prompts, by rising threshold.
    pub long_context: Vec<LongContext>,
    /// What a batch run costs, as a part of these prices: 5,000 is half.
    pub batch_factor: Option<BasisPoints>,
}

/// The prices of a whole request whose input, cached or not, is longer than `above_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongContext {
    pub above_tokens: u64,
    pub input: Rate,
    pub output: Rate,
    pub cache_read: Option<Rate>,
    pub cache_write_5m: Option<Rate>,
    pub cache_write_1h: Option<Rate>,
}

/// What a provider charges for a model from `effective_at` on, until a later rate follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRate {
    /// Which import it came with; stored with each execution it priced.
    pub version: String,
    pub provider: Provider,
    /// The model as its provider names it.
    pub model: UpstreamModel,
    pub effective_at: Timestamp,
    pub prices: Prices,
    /// Where the prices were read.
    pub source: String,
}

/// All rates, past, present and announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateBook {
    /// Sorted by provider, model and moment.
    rates: Vec<ModelRate>,
}

impl RateBook {
    pub fn new(mut rates: Vec<ModelRate>) -> RateBook {
        rates.sort_by(|a, b| (a.provider, &a.model, a.effective_at).cmp(&(b.provider, &b.model, b.effective_at)));
        RateBook { rates }
    }

    /// The rate of a model of the catalogue at a moment; `None` if it has no price then.
    pub fn rate_of(&self, model: &Model, at: Timestamp) -> Option<&ModelRate> {
        self.rate(model.provider, &model.upstream_name, at)
    }

    /// The rate of a provider's model at a moment; `None` if it has no price then.
    pub fn rate(&self, provider: Provider, model: &UpstreamModel, at: Timestamp) -> Option<&ModelRate> {
        let after =
            self.rates.partition_point(|rate| (rate.provider, &rate.model, rate.effective_at) <= (provider, model, at));
        let rate = self.rates.get(after.checked_sub(1)?)?;
        (rate.provider == provider && &rate.model == model).then_some(rate)
    }

    /// The rate of a model of the catalogue that carries this version: the one that priced a run, whatever came later.
    pub fn of_version(&self, model: &Model, version: &str) -> Option<&ModelRate> {
        self.rates.iter().find(|rate| {
            rate.provider == model.provider && rate.model == model.upstream_name && rate.version == version
        })
    }

    /// Whether a provider's model has a rate, at whatever moment.
    pub fn has_any(&self, provider: Provider, model: &UpstreamModel) -> bool {
        self.rates.iter().any(|rate| rate.provider == provider && &rate.model == model)
    }

    /// The rate of every model at a moment, sorted by provider and model.
    pub fn rates_at(&self, at: Timestamp) -> Vec<&ModelRate> {
        let mut current: Vec<&ModelRate> = Vec::new();
        for rate in self.rates.iter().filter(|rate| rate.effective_at <= at) {
            match current.last_mut() {
                Some(last) if last.provider == rate.provider && last.model == rate.model => *last = rate,
                Some(_) | None => current.push(rate),
            }
        }
        current
    }

    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_the_moment_counts() {
        let prices = |input| Prices {
            input: Rate::from_picos(input),
            output: Rate::from_picos(input),
            cache_read: None,
            cache_write_5m: None,
            cache_write_1h: None,
            reasoning: None,
            per_request: Usd::ZERO,
            long_context: vec![],
            batch_factor: None,
        };
        let rate = |model: &str, second, input| ModelRate {
            version: format!("{model}-{second}"),
            provider: Provider::OpenAi,
            model: UpstreamModel::new(model),
            effective_at: Timestamp::from_seconds(second),
            prices: prices(input),
            source: String::new(),
        };
        let book = RateBook::new(vec![rate("b", 20, 3), rate("a", 10, 1), rate("b", 10, 2), rate("c", 30, 4)]);
        let input = |model: &str, second| {
            book.rate(Provider::OpenAi, &UpstreamModel::new(model), Timestamp::from_seconds(second))
                .map(|rate| rate.prices.input.picos())
        };
        assert_eq!((input("b", 9), input("b", 10), input("b", 19), input("b", 20)), (None, Some(2), Some(2), Some(3)));
        assert_eq!((input("a", 99), input("c", 29), input("d", 99)), (Some(1), None, None));
        assert_eq!(book.rate(Provider::Groq, &UpstreamModel::new("b"), Timestamp::from_seconds(20)), None);
        let current: Vec<&str> =
            book.rates_at(Timestamp::from_seconds(25)).iter().map(|rate| rate.version.as_str()).collect();
        assert_eq!(current, ["a-10", "b-20"]);
    }
}
