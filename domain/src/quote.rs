//! Owns: what a run will cost, before it runs: likely, the P50–P90 band, and the most it can cost (the hold).
//! Does not own: what it did cost (`execution`), or whether there is money for it (`funding`, `ledger`).
//! Invariant: p50 ≤ likely ≤ p90 ≤ ceiling. The same function prices in the browser and on the server.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::{Catalogue, Skill};
use crate::denial::Denial;
use crate::execution::{TokenUsage, cost};
use crate::id::{ModelId, SkillId};
use crate::limit;
use crate::money::Usd;
use crate::rate::{ModelRate, Prices, RateBook};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Bytes of text in a token, on average.
const BYTES_PER_TOKEN: u64 = 4;
/// Bytes of text in a token at the worst that the ceiling covers. English has about 4, code and most languages 3,
/// Chinese and Japanese 2 or more with these providers' tokenisers. Text beyond that (rare scripts, random bytes) can
/// cost more than its hold; then the charge stops at the hold and the rest is our loss (spec §6.4).
const FEWEST_BYTES_PER_TOKEN: u64 = 2;
/// Tokens that a provider adds around a system prompt and a message, for the ceiling.
const FRAMING_TOKENS: u64 = 16;
/// Past runs from which on they tell more than the prior.
const ENOUGH_HISTORY: usize = 5;

/// A run that somebody thinks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The skill, whose prompt is added to the input.
    pub skill: Option<SkillId>,
    pub model: ModelId,
    /// The user's input; for an API request all of its messages as JSON.
    pub input_bytes: u64,
    /// The output cap that the request asks for, if it does.
    pub max_output_tokens: Option<u64>,
    /// Whether the request asks the provider to write its cache, which costs more than plain input.
    pub writes_cache: bool,
}

/// The outputs, in tokens, of the account's past runs of the same skill on the same model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub outputs: Vec<u64>,
}

/// What a run will cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    pub model: ModelId,
    pub rate_version: String,
    pub likely: Usd,
    pub p50: Usd,
    pub p90: Usd,
    /// The most it can cost: what is held while it runs.
    pub ceiling: Usd,
    /// The likely input, prompt included.
    pub input_tokens: u64,
    /// The likely output.
    pub output_tokens: u64,
    /// Where the run stops; sent to the provider.
    pub max_output_tokens: u64,
}

/// What `draft` will cost at `now`. Refused when the model is unknown or has no rate, or when the prompt leaves no
/// room for an output.
pub fn quote(
    catalogue: &Catalogue,
    book: &RateBook,
    now: Timestamp,
    draft: &Draft,
    history: &History,
) -> Result<Quote, Denial> {
    let model = catalogue.model(&draft.model)?;
    let skill = draft.skill.as_ref().map(|id| catalogue.skill(id)).transpose()?;
    let unpriced = || Denial::UnpricedModel { model: model.id.clone() };
    let ModelRate { version, prices, .. } = book.rate_of(model, now).ok_or_else(unpriced)?;

    let bytes = draft.input_bytes.saturating_add(skill.map_or(0, |skill| skill.prompt_bytes));
    let input_tokens = bytes.div_ceil(BYTES_PER_TOKEN);
    let most_input = bytes.div_ceil(FEWEST_BYTES_PER_TOKEN).saturating_add(FRAMING_TOKENS);
    let wanted =
        draft.max_output_tokens.unwrap_or(u64::MAX).min(skill.map_or(u64::MAX, |skill| skill.max_output_tokens));
    let cap = limit::output_cap(&catalogue.limits, model, input_tokens, wanted)?;
    let output = outputs(catalogue, skill, history, cap);

    let price = |output: u64| cost(prices, &TokenUsage { input: input_tokens, output, ..TokenUsage::default() });
    let ceiling = ceiling(prices, most_input, cap, draft.writes_cache).ok_or_else(unpriced)?;
    let within = |usd: Option<Usd>| usd.map(|usd| usd.min(ceiling)).ok_or_else(unpriced);
    Ok(Quote {
        model: model.id.clone(),
        rate_version: version.clone(),
        likely: within(price(output.likely))?,
        p50: within(price(output.p50))?,
        p90: within(price(output.p90))?,
        ceiling,
        input_tokens,
        output_tokens: output.likely,
        max_output_tokens: cap,
    })
}

/// The same draft on every other model that can run it, the cheapest first.
pub fn alternatives(
    catalogue: &Catalogue,
    book: &RateBook,
    now: Timestamp,
    draft: &Draft,
    history: &History,
) -> Vec<Quote> {
    let mut quotes: Vec<Quote> = catalogue
        .models
        .iter()
        .filter(|model| model.id != draft.model)
        .filter_map(|model| {
            quote(catalogue, book, now, &Draft { model: model.id.clone(), ..draft.clone() }, history).ok()
        })
        .collect();
    quotes.sort_by(|a, b| (a.likely, &a.model).cmp(&(b.likely, &b.model)));
    quotes
}

/// What a skill costs at its priors on its own model (spec §2, the table of operations); `None` without a rate.
pub fn typical(catalogue: &Catalogue, book: &RateBook, now: Timestamp, skill: &Skill) -> Option<Usd> {
    let model = catalogue.model(&skill.model).ok()?;
    let usage =
        TokenUsage { input: skill.prior_input_tokens, output: skill.prior_output_tokens, ..TokenUsage::default() };
    cost(&book.rate_of(model, now)?.prices, &usage)
}

/// The most that a run can cost: every input token at the dearest price it can have, the output at its cap.
fn ceiling(prices: &Prices, most_input: u64, cap: u64, writes_cache: bool) -> Option<Usd> {
    let pools = |input| TokenUsage { input, ..TokenUsage::default() };
    let mut inputs = vec![pools(most_input)];
    if writes_cache {
        inputs.push(TokenUsage { cache_write_5m: most_input, ..TokenUsage::default() });
        inputs.push(TokenUsage { cache_write_1h: most_input, ..TokenUsage::default() });
    }
    let mut most = Usd::ZERO;
    for input in inputs {
        most = most.max(cost(prices, &TokenUsage { output: cap, ..input })?);
        most = most.max(cost(prices, &TokenUsage { reasoning: cap, ..input })?);
    }
    Some(most)
}

/// Output tokens: median, likely, and what nine runs of ten stay below.
struct Outputs {
    p50: u64,
    likely: u64,
    p90: u64,
}

fn outputs(catalogue: &Catalogue, skill: Option<&Skill>, history: &History, cap: u64) -> Outputs {
    let percent = |tokens: u64, percent: u64| tokens.saturating_mul(percent).div_ceil(100);
    let (p50, likely, p90) = if history.outputs.len() >= ENOUGH_HISTORY {
        let mut sorted = history.outputs.clone();
        sorted.sort_unstable();
        (quantile(&sorted, 50), mean(&sorted), quantile(&sorted, 90))
    } else {
        let prior = skill.map_or(catalogue.limits.prior_output_tokens, |skill| skill.prior_output_tokens);
        (percent(prior, catalogue.limits.prior_p50_percent), prior, percent(prior, catalogue.limits.prior_p90_percent))
    };
    // The mean of a skewed history can lie outside the band; it is shown at the band's edge.
    let p90 = p90.max(p50).min(cap);
    let p50 = p50.min(p90);
    Outputs { p50, likely: likely.clamp(p50, p90), p90 }
}

/// The smallest value that `percent` of the sorted values do not exceed.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0)
}

fn mean(values: &[u64]) -> u64 {
    let sum: u128 = values.iter().map(|&value| u128::from(value)).sum();
    let count = u128::try_from(values.len()).unwrap_or(u128::MAX).max(1);
    u64::try_from(sum.div_ceil(count)).unwrap_or(u64::MAX)
}
