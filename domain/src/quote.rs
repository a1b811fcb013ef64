//! Owns: what a run will cost, before it runs: likely, the P50–P90 band, and the most it can cost (the hold).
//! Does not own: what it did cost (`execution`), or whether there is money for it (`funding`, `ledger`).
//! Invariant: p50 ≤ likely ≤ p90 ≤ ceiling. The same function prices in the browser and on the server.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::{Catalogue, Limits, Model, Skill};
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
/// Likely tokens of an image, on a model of which nobody says how many it can take.
const PRIOR_IMAGE_TOKENS: u64 = 1_000;
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
    /// The user's input; for an API request all of it as JSON, without its images.
    pub input_bytes: u64,
    /// What else it has the model read.
    pub media: Media,
    /// The output cap that the request asks for, if it does.
    pub max_output_tokens: Option<u64>,
    /// Whether the request asks the provider to write its cache, which costs more than plain input.
    pub writes_cache: bool,
}

/// Parts of a prompt whose tokens their bytes do not tell: an address, or compressed data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    pub images: u64,
    /// Whether there is a file, such as a PDF: as far as one can tell it fills the model's context.
    pub has_file: bool,
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
    price(model, book.rate_of(model, now), skill, &catalogue.limits, draft, history)
}

/// What the price of a skill follows from, on a few models: a part of catalogue and rates that is small enough for a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Each with its rate at the moment the tariff was made.
    pub models: Vec<(Model, Option<ModelRate>)>,
    pub skill: Skill,
    pub limits: Limits,
}

impl Tariff {
    /// For one skill on these models, at the rates of `now`. The skill's prompt is nobody's business in a browser and left out.
    pub fn new(catalogue: &Catalogue, book: &RateBook, now: Timestamp, skill: &Skill, models: &[&Model]) -> Tariff {
        Tariff {
            models: models.iter().map(|model| ((*model).clone(), book.rate_of(model, now).cloned())).collect(),
            skill: Skill { prompt: String::new(), ..skill.clone() },
            limits: catalogue.limits.clone(),
        }
    }

    /// As [`quote`], on one of the tariff's models, with its skill.
    pub fn quote(&self, draft: &Draft, history: &History) -> Result<Quote, Denial> {
        let unknown = || Denial::UnknownModel { model: draft.model.to_string() };
        let (model, rate) = self.models.iter().find(|(model, _)| model.id == draft.model).ok_or_else(unknown)?;
        price(model, rate.as_ref(), Some(&self.skill), &self.limits, draft, history)
    }

    pub fn model(&self, id: &ModelId) -> Option<&Model> {
        self.models.iter().map(|(model, _)| model).find(|model| &model.id == id)
    }
}

fn price(
    model: &Model,
    rate: Option<&ModelRate>,
    skill: Option<&Skill>,
    limits: &Limits,
    draft: &Draft,
    history: &History,
) -> Result<Quote, Denial> {
    let unpriced = || Denial::UnpricedModel { model: model.id.clone() };
    let ModelRate { version, prices, .. } = rate.ok_or_else(unpriced)?;

    let bytes = draft.input_bytes.saturating_add(skill.map_or(0, |skill| skill.prompt_bytes));
    let images = draft.media.images.saturating_mul(model.image_tokens.map_or(PRIOR_IMAGE_TOKENS, |most| most / 2));
    let input_tokens = bytes.div_ceil(BYTES_PER_TOKEN).saturating_add(images);
    let most_input = most_input(model, bytes, draft.media);
    let wanted =
        draft.max_output_tokens.unwrap_or(u64::MAX).min(skill.map_or(u64::MAX, |skill| skill.max_output_tokens));
    let cap = limit::output_cap(limits, model, input_tokens, wanted)?;
    let output = outputs(limits, skill, history, cap);

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
    typical_on(book, now, skill, catalogue.model(&skill.model).ok()?)
}

/// What a skill costs at its priors on any model; `None` without a rate.
pub fn typical_on(book: &RateBook, now: Timestamp, skill: &Skill, model: &Model) -> Option<Usd> {
    let usage =
        TokenUsage { input: skill.prior_input_tokens, output: skill.prior_output_tokens, ..TokenUsage::default() };
    cost(&book.rate_of(model, now)?.prices, &usage)
}

/// The most input tokens that a prompt can have: what a provider accepts, where its parts do not tell.
fn most_input(model: &Model, bytes: u64, media: Media) -> u64 {
    let text = bytes.div_ceil(FEWEST_BYTES_PER_TOKEN).saturating_add(FRAMING_TOKENS);
    let whole = text.max(model.context_tokens);
    match (media.images, media.has_file, model.image_tokens) {
        (0, false, _) => text,
        (images, false, Some(most)) => text.saturating_add(images.saturating_mul(most)).min(whole),
        (_, true, _) | (_, false, None) => whole,
    }
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

fn outputs(limits: &Limits, skill: Option<&Skill>, history: &History, cap: u64) -> Outputs {
    let percent = |tokens: u64, percent: u64| tokens.saturating_mul(percent).div_ceil(100);
    let (p50, likely, p90) = if history.outputs.len() >= ENOUGH_HISTORY {
        let mut sorted = history.outputs.clone();
        sorted.sort_unstable();
        (quantile(&sorted, 50), mean(&sorted), quantile(&sorted, 90))
    } else {
        let prior = skill.map_or(limits.prior_output_tokens, |skill| skill.prior_output_tokens);
        (percent(prior, limits.prior_p50_percent), prior, percent(prior, limits.prior_p90_percent))
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, book, tiers};
    use proptest::prelude::*;

    fn draft(skill: Option<&str>, model: &str, input_bytes: u64) -> Draft {
        Draft {
            skill: skill.map(SkillId::new),
            model: ModelId::new(model),
            input_bytes,
            media: Media::default(),
            max_output_tokens: None,
            writes_cache: false,
        }
    }

    fn prd(tokens: u64) -> Draft {
        let catalogue = tiers();
        let prompt = catalogue.skill(&SkillId::new("prd")).unwrap().prompt_bytes;
        draft(Some("prd"), "claude-sonnet-4-5", tokens * 4 - prompt)
    }

    fn of(draft: &Draft, outputs: &[u64]) -> Result<Quote, Denial> {
        quote(&tiers(), &book(), NOW, draft, &History { outputs: outputs.to_vec() })
    }

    #[test]
    fn a_prd_at_its_prior() {
        let quote = of(&prd(10_000), &[]).unwrap();
        assert_eq!((quote.input_tokens, quote.output_tokens, quote.max_output_tokens), (10_000, 5_000, 8_000));
        assert_eq!(quote.likely.to_string(), "$0.105");
        assert_eq!(quote.p50.to_string(), "$0.0975");
        assert_eq!(quote.p90.to_string(), "$0.135");
        // 20,000 tokens at the worst and 16 of framing, and the cap of 8,000.
        assert_eq!(quote.ceiling.to_string(), "$0.180048");
    }

    #[test]
    fn the_browser_prices_as_the_server_does() {
        let (catalogue, book) = (tiers(), book());
        let skill = catalogue.skill(&SkillId::new("prd")).unwrap();
        let sent = Tariff::new(&catalogue, &book, NOW, skill, &catalogue.models.iter().collect::<Vec<_>>());
        assert!(!skill.prompt.is_empty() && sent.skill.prompt.is_empty());
        let history = History::default();
        for model in &catalogue.models {
            for tokens in [10_000, 1_000_000] {
                let draft = Draft { model: model.id.clone(), ..prd(tokens) };
                assert_eq!(sent.quote(&draft, &history), quote(&catalogue, &book, NOW, &draft, &history));
            }
        }
        let unknown = Draft { model: ModelId::new("none"), ..prd(10_000) };
        assert_eq!(sent.quote(&unknown, &history), quote(&catalogue, &book, NOW, &unknown, &history));
    }

    #[test]
    fn five_past_runs_tell_more_than_the_prior() {
        assert_eq!(of(&prd(10_000), &[1_000; 4]).unwrap().output_tokens, 5_000);
        let quote = of(&prd(10_000), &[2_000, 1_000, 3_000, 4_000, 6_000]).unwrap();
        assert_eq!(quote.output_tokens, 3_200);
        assert_eq!((quote.p50.to_string(), quote.p90.to_string()), ("$0.075".to_owned(), "$0.12".to_owned()));
        let beyond_the_cap = of(&prd(10_000), &[9_000; 5]).unwrap();
        assert_eq!(beyond_the_cap.output_tokens, 8_000);
    }

    #[test]
    fn the_output_is_capped_by_what_is_asked_and_by_what_is_left() {
        let cap = |draft: &Draft| of(draft, &[]).map(|quote| quote.max_output_tokens);
        let asked = |tokens| Draft { max_output_tokens: Some(tokens), ..draft(None, "claude-sonnet-4-5", 400) };
        assert_eq!(cap(&asked(300)), Ok(300));
        assert_eq!(cap(&asked(1_000_000)), Ok(49_900), "input and output are 50,000 together");
        assert_eq!(cap(&draft(None, "gpt-4o", 400)), Ok(16_384), "the model writes no more");
        assert_eq!(cap(&prd(49_999)), Ok(1));
        assert_eq!(cap(&prd(50_000)), Err(Denial::PromptTooLong { tokens: 50_000, limit: 50_000 }));
        let endless = draft(None, "gpt-4o", u64::MAX);
        assert_eq!(cap(&endless), Err(Denial::PromptTooLong { tokens: u64::MAX / 4 + 1, limit: 50_000 }));
    }

    #[test]
    fn writing_the_cache_raises_the_ceiling_alone() {
        let plain = of(&prd(10_000), &[]).unwrap();
        let caching = of(&Draft { writes_cache: true, ..prd(10_000) }, &[]).unwrap();
        assert_eq!(caching.likely, plain.likely);
        assert_eq!(caching.ceiling.to_string(), "$0.240096", "input at an hour's cache write, $6 a million");
    }

    #[test]
    fn what_bytes_do_not_tell_is_held_at_its_most() {
        let ceiling = |model: &str, images, has_file| {
            let media = Media { images, has_file };
            let draft = Draft { media, max_output_tokens: Some(1_000), ..draft(None, model, 400) };
            let quote = of(&draft, &[]).unwrap();
            (quote.input_tokens, quote.ceiling.to_string())
        };
        // 216 tokens of text at the worst, then images of 3,300 each, at $3 a million; 1,000 of output at $15.
        assert_eq!(ceiling("claude-sonnet-4-5", 0, false), (100, "$0.015648".to_owned()));
        assert_eq!(ceiling("claude-sonnet-4-5", 2, false), (3_400, "$0.035448".to_owned()));
        assert_eq!(ceiling("claude-sonnet-4-5", 0, true), (100, "$0.615".to_owned()), "the context of 200,000");
        assert_eq!(ceiling("claude-sonnet-4-5", 14, true).1, "$0.615", "no more than the context");
        let (tokens, all) = ceiling("gemini-2.5-flash", 1, false);
        assert_eq!((tokens, all), (1_100, ceiling("gemini-2.5-flash", 0, true).1), "nobody says what an image takes");
    }

    #[test]
    fn what_cannot_be_priced_is_refused() {
        let catalogue = tiers();
        let denied =
            |draft: &Draft, book: &RateBook, now| quote(&catalogue, book, now, draft, &History::default()).unwrap_err();
        let unpriced = Denial::UnpricedModel { model: ModelId::new("claude-sonnet-4-5") };
        assert_eq!(denied(&prd(10_000), &RateBook::default(), NOW), unpriced);
        assert_eq!(denied(&prd(10_000), &book(), Timestamp::from_date(2025, 9, 30)), unpriced, "not yet");
        assert_eq!(denied(&draft(None, "gpt-9", 1), &book(), NOW).code(), "unknown_model");
        assert_eq!(denied(&draft(Some("poem"), "gpt-4o", 1), &book(), NOW).code(), "unknown_skill");
        assert_eq!(crate::route::offered(&catalogue, &RateBook::default(), NOW).len(), 0);
        assert_eq!(crate::route::offered(&catalogue, &book(), NOW).len(), 12);
    }

    #[test]
    fn other_models_stand_cheapest_first() {
        let quotes = alternatives(&tiers(), &book(), NOW, &prd(10_000), &History::default());
        let told: Vec<(String, String)> =
            quotes.iter().map(|quote| (quote.model.to_string(), quote.likely.to_string())).collect();
        let expected = [
            ("gpt-4o-mini", "$0.0045"),
            ("groq-gpt-oss-120b", "$0.0045"),
            ("openrouter-gpt-4o-mini", "$0.0045"),
            ("deepseek-chat", "$0.0049"),
            ("gemini-2.5-flash", "$0.0155"),
            ("together-llama-3.3-70b", "$0.0156"),
            ("claude-3-5-haiku", "$0.028"),
            ("gemini-2.5-pro", "$0.0625"),
            ("gpt-4o", "$0.075"),
            ("claude-opus-4", "$0.525"),
        ];
        assert_eq!(told, expected.map(|(model, likely)| (model.to_owned(), likely.to_owned())));
    }

    proptest! {
        #[test]
        fn the_band_is_ordered(
            bytes in 0..300_000_u64,
            skill in 0..7_usize,
            model in 0..12_usize,
            asked in proptest::option::of(0..100_000_u64),
            outputs in proptest::collection::vec(0..60_000_u64, 0..12),
            writes_cache in any::<bool>(),
            images in 0..4_u64,
            has_file in any::<bool>(),
        ) {
            let catalogue = tiers();
            let draft = Draft {
                skill: catalogue.skills.get(skill).map(|skill| skill.id.clone()),
                model: catalogue.models[model].id.clone(),
                input_bytes: bytes,
                media: Media { images, has_file },
                max_output_tokens: asked,
                writes_cache,
            };
            match quote(&catalogue, &book(), NOW, &draft, &History { outputs }) {
                Ok(quote) => {
                    prop_assert!(quote.p50 <= quote.likely && quote.likely <= quote.p90 && quote.p90 <= quote.ceiling);
                    prop_assert!(quote.output_tokens <= quote.max_output_tokens && quote.max_output_tokens > 0);
                    prop_assert!(quote.input_tokens + quote.max_output_tokens <= catalogue.limits.execution_tokens);
                }
                Err(denial) => prop_assert_eq!(denial.code(), "prompt_too_long"),
            }
        }
    }
}
