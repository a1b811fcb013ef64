//! Owns: reading LiteLLM's price file (`model_prices_and_context_window.json`), digit by digit.
//! Does not own: what a difference to the rates in use means (`diff`), or storing rates.
//! Invariant: no price passes through a float, and none is rounded; what cannot be read exactly is not used.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use super::{LongContext, Prices};
use crate::id::UpstreamModel;
use crate::money::{BasisPoints, DecimalError, Rate, Usd, ratio_half_up};
use crate::provider::Provider;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The dearest rate that is believed: a dollar for a thousand tokens.
const DEAREST_RATE: Rate = Rate::from_picos(1_000_000_000);
/// The dearest price of a request that is believed: a dollar.
const DEAREST_REQUEST: Usd = Usd::from_nanos(1_000_000_000);

/// What a price file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceFile {
    /// How many entries it has.
    pub entries: usize,
    /// The prices of models that are chatted with, at providers we know; each model once.
    pub models: Vec<ListedModel>,
    /// How many entries were left out, and why.
    pub skipped: BTreeMap<Skip, usize>,
}

/// The prices of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    pub provider: Provider,
    pub model: UpstreamModel,
    pub prices: Prices,
    /// The line of its entry.
    pub line: usize,
}

/// Why an entry does not become a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    Documentation,
    OtherProvider,
    NotChat,
    NoTokenPrice,
    TooFine,
    OtherName,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Documentation => "an explanation of the format, not a model",
            Skip::OtherProvider => "at a provider that is not supported",
            Skip::NotChat => "not for chat",
            Skip::NoTokenPrice => "without a price for a token",
            Skip::TooFine => "with a price finer than a pico-dollar, which cannot be kept exactly",
            Skip::OtherName => "another name of a model that is listed (the dearer counts)",
        })
    }
}

/// What is wrong with a price file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PriceFileError {
    pub line: usize,
    pub message: String,
}

/// Reads a price file. Refused, with every mistake, if it is not JSON, names a model or a price twice, or has a price
/// that is no number, is negative, or is above a dollar for a thousand tokens.
pub fn parse(text: &str) -> Result<PriceFile, Vec<PriceFileError>> {
    let Pairs(entries) = serde_json::from_str(text)
        .map_err(|error| vec![PriceFileError { line: error.line(), message: error.to_string() }])?;
    let lines = Lines::new(text);
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut skipped = BTreeMap::new();
    let mut models: BTreeMap<(Provider, UpstreamModel), ListedModel> = BTreeMap::new();
    let count = entries.len();
    for (name, raw) in entries {
        let line = lines.line_of(raw);
        if !seen.insert(name.clone()) {
            problems.push(PriceFileError { line, message: format!("`{name}` is listed twice") });
            continue;
        }
        let skip = match read_entry(&lines, &name, raw) {
            Err(problem) => {
                problems.push(problem);
                continue;
            }
            Ok(Entry::Skipped(skip)) => skip,
            Ok(Entry::Listed(provider, model, prices)) => {
                let key = (provider, model.clone());
                let listed = ListedModel { provider, model, prices, line };
                match models.get_mut(&key) {
                    None => {
                        models.insert(key, listed);
                        continue;
                    }
                    Some(other) => {
                        let price = |listed: &ListedModel| (listed.prices.input, listed.prices.output);
                        if price(&listed) > price(other) {
                            *other = listed;
                        }
                        Skip::OtherName
                    }
                }
            }
        };
        let count: &mut usize = skipped.entry(skip).or_default();
        *count = count.saturating_add(1);
    }
    if problems.is_empty() {
        Ok(PriceFile { entries: count, models: models.into_values().collect(), skipped })
    } else {
        Err(problems)
    }
}

enum Entry {
    Skipped(Skip),
    Listed(Provider, UpstreamModel, Prices),
}

fn read_entry(lines: &Lines, name: &str, raw: &RawValue) -> Result<Entry, PriceFileError> {
    let refuse = |line, message: String| Err(PriceFileError { line, message: format!("`{name}`: {message}") });
    if name == "sample_spec" {
        return Ok(Entry::Skipped(Skip::Documentation));
    }
    let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs<'_>>(raw.get()) else {
        return refuse(lines.line_of(raw), "is not an object of prices".to_owned());
    };
    let mut fields: BTreeMap<&str, &RawValue> = BTreeMap::new();
    for (field, value) in &pairs {
        if fields.insert(field, value).is_some() {
            return refuse(lines.line_of(value), format!("`{field}` is given twice"));
        }
    }
    let text_of = |field| fields.get(field).and_then(|value| serde_json::from_str::<Cow<'_, str>>(value.get()).ok());
    let skip = match (provider_of(text_of("litellm_provider").as_deref()), text_of("mode").as_deref()) {
        (None, _) => Some(Skip::OtherProvider),
        (Some(_), Some("chat")) => None,
        (Some(_), Some(_) | None) => Some(Skip::NotChat),
    };

    let mut rates: BTreeMap<&str, Rate> = BTreeMap::new();
    let mut per_request = Usd::ZERO;
    let mut too_fine = false;
    for (&field, value) in fields.iter().filter(|(field, _)| is_price(field)) {
        let line = lines.line_of(value);
        match Rate::parse_dollars_per_token(value.get()) {
            Err(DecimalError::NotANumber) => {
                return refuse(line, format!("`{field}` is {}, which is not a number", value.get()));
            }
            Ok(rate) if rate < Rate::ZERO => return refuse(line, format!("`{field}` is negative")),
            // Only of what we would use must we know that it is right.
            _ if skip.is_some() => {}
            Ok(_) | Err(DecimalError::TooFine) if field == PER_REQUEST => match Usd::parse_dollars(value.get()) {
                Some(price) if price <= DEAREST_REQUEST => per_request = price,
                Some(_) => return refuse(line, format!("`{field}` is {}: above a dollar for a request", value.get())),
                None => too_fine = true,
            },
            Ok(rate) if rate > DEAREST_RATE => {
                return refuse(line, format!("`{field}` is {}: above a dollar for a thousand tokens", value.get()));
            }
            Ok(rate) => {
                rates.insert(field, rate);
            }
            Err(DecimalError::TooFine) => too_fine = true,
            Err(DecimalError::OutOfRange) => {
                return refuse(line, format!("`{field}` is {}: out of range", value.get()));
            }
        }
    }

    if let Some(skip) = skip {
        return Ok(Entry::Skipped(skip));
    }
    let Some((provider, prefix)) = provider_of(text_of("litellm_provider").as_deref()) else {
        return Ok(Entry::Skipped(Skip::OtherProvider));
    };
    if too_fine {
        return Ok(Entry::Skipped(Skip::TooFine));
    }
    let model = UpstreamModel::new(name.strip_prefix(prefix).unwrap_or(name));
    Ok(match prices(&rates, per_request) {
        Some(prices) => Entry::Listed(provider, model, prices),
        None => Entry::Skipped(Skip::NoTokenPrice),
    })
}

/// Our provider for LiteLLM's name, and what the file puts before the names of its models.
fn provider_of(litellm_provider: Option<&str>) -> Option<(Provider, &'static str)> {
    Some(match litellm_provider? {
        "anthropic" => (Provider::Anthropic, "anthropic/"),
        "openai" => (Provider::OpenAi, "openai/"),
        "gemini" => (Provider::Google, "gemini/"),
        "groq" => (Provider::Groq, "groq/"),
        "deepseek" => (Provider::DeepSeek, "deepseek/"),
        "openrouter" => (Provider::OpenRouter, "openrouter/"),
        "together_ai" => (Provider::Together, "together_ai/"),
        "ollama" => (Provider::Ollama, "ollama/"),
        _ => return None,
    })
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const CACHE_READ: &str = "cache_read_input_token_cost";
const CACHE_WRITE_5M: &str = "cache_creation_input_token_cost";
const CACHE_WRITE_1H: &str = "cache_creation_input_token_cost_above_1hr";
const REASONING: &str = "output_cost_per_reasoning_token";
const PER_REQUEST: &str = "input_cost_per_request";

/// Whether a field is a price that we keep. Those of priority, flex and regional service, and of images, sound and
/// searches, belong to calls that are not made here.
fn is_price(field: &str) -> bool {
    match field.strip_suffix("_batches") {
        Some(base) => base == INPUT || base == OUTPUT,
        None => {
            matches!(split_threshold(field).0, INPUT | OUTPUT | CACHE_READ | CACHE_WRITE_5M | CACHE_WRITE_1H)
                || field == REASONING
                || field == PER_REQUEST
        }
    }
}

/// `input_cost_per_token_above_200k_tokens` is `input_cost_per_token` of prompts above 200,000 tokens.
fn split_threshold(field: &str) -> (&str, Option<u64>) {
    let threshold = || {
        let (base, above) = field.strip_suffix("k_tokens")?.rsplit_once("_above_")?;
        Some((base, above.parse::<u64>().ok()?.checked_mul(1_000)?))
    };
    threshold().map_or((field, None), |(base, above)| (base, Some(above)))
}

/// The prices of a model; `None` without one for input and one for output.
fn prices(rates: &BTreeMap<&str, Rate>, per_request: Usd) -> Option<Prices> {
    let at = |name: &str, above: Option<u64>| {
        rates.iter().find(|(field, _)| split_threshold(field) == (name, above)).map(|(_, rate)| *rate)
    };
    let (input, output) = (at(INPUT, None)?, at(OUTPUT, None)?);
    // Some entries say 0 where a provider asks no surcharge for writing its cache; the tokens still cost as input.
    let write = |name, above| at(name, above).filter(|rate| *rate != Rate::ZERO || input == Rate::ZERO);
    let thresholds: BTreeSet<u64> = rates.keys().filter_map(|field| split_threshold(field).1).collect();
    let tier = |above_tokens| {
        let above = Some(above_tokens);
        LongContext {
            above_tokens,
            input: at(INPUT, above).unwrap_or(input),
            output: at(OUTPUT, above).unwrap_or(output),
            cache_read: at(CACHE_READ, above),
            cache_write_5m: write(CACHE_WRITE_5M, above),
            cache_write_1h: write(CACHE_WRITE_1H, above),
        }
    };
    let batch = |name: &str, price: Rate| {
        let batch = rates.get(format!("{name}_batches").as_str())?;
        let points = ratio_half_up(batch.picos().into(), price.picos().into(), 10_000)?;
        // Only an exact factor is one.
        let exact = i128::from(batch.picos()).checked_mul(10_000)? == price.times(u64::try_from(points).ok()?);
        exact.then_some(i32::try_from(points).ok().map(BasisPoints)?)
    };
    Some(Prices {
        input,
        output,
        cache_read: at(CACHE_READ, None),
        cache_write_5m: write(CACHE_WRITE_5M, None),
        cache_write_1h: write(CACHE_WRITE_1H, None),
        reasoning: rates.get(REASONING).copied().filter(|rate| *rate != Rate::ZERO || output == Rate::ZERO),
        per_request,
        long_context: thresholds.into_iter().map(tier).collect(),
        batch_factor: batch(INPUT, input).filter(|factor| batch(OUTPUT, output) == Some(*factor)),
    })
}

/// Where the lines of a text end.
struct Lines {
    start: usize,
    ends: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at).collect();
        Lines { start: text.as_ptr() as usize, ends }
    }

    /// The line on which `part`, a piece of the text, begins.
    fn line_of(&self, part: &RawValue) -> usize {
        let at = (part.get().as_ptr() as usize).saturating_sub(self.start);
        self.ends.partition_point(|&end| end < at).saturating_add(1)
    }
}

/// An object as the pairs it was written as, so that nothing hides behind a second key of the same name.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    pairs.push((key.0, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// A key, borrowed from the text unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'de>, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../catalogue/rates.json");

    fn rate(text: &str) -> Rate {
        Rate::parse_dollars_per_token(text).unwrap()
    }

    fn one(entry: &str) -> Result<PriceFile, Vec<PriceFileError>> {
        parse(&format!(
            "{{\n  \"gpt-x\": {{\n    \"litellm_provider\": \"openai\", \"mode\": \"chat\",\n    {entry}\n  }}\n}}"
        ))
    }

    #[test]
    fn the_shipped_excerpt_is_read_to_the_last_digit() {
        let file = parse(SHIPPED).unwrap();
        assert_eq!((file.entries, file.models.len(), file.skipped.len()), (12, 12, 0));
        let sonnet = file.models.iter().find(|listed| listed.model.as_str() == "claude-sonnet-4-5-20250929").unwrap();
        assert_eq!(
            sonnet.prices,
            Prices {
                input: Rate::from_picos(3_000_000),
                output: Rate::from_picos(15_000_000),
                cache_read: Some(Rate::from_picos(300_000)),
                cache_write_5m: Some(Rate::from_picos(3_750_000)),
                cache_write_1h: Some(Rate::from_picos(6_000_000)),
                reasoning: None,
                per_request: Usd::ZERO,
                long_context: vec![],
                batch_factor: Some(BasisPoints(5_000)),
            }
        );
    }

    #[test]
    fn every_kind_of_price_is_kept() {
        let file = one(
            r#""input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-5, "output_cost_per_reasoning_token": 2e-5,
               "input_cost_per_request": 0.005, "cache_read_input_token_cost": 0.000000125,
               "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05,
               "cache_creation_input_token_cost": 0.0, "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 5e-6,
               "input_cost_per_token_above_272k_tokens": 5e-06, "input_cost_per_token_flex": 1e-9,
               "input_cost_per_token_batches": 6.25e-07, "output_cost_per_token_batches": 5e-06"#,
        )
        .unwrap();
        let prices = &file.models[0].prices;
        assert_eq!(prices.reasoning, Some(rate("2e-5")));
        assert_eq!(prices.per_request, Usd::from_nanos(5_000_000));
        assert_eq!(prices.cache_read, Some(rate("1.25e-7")));
        assert_eq!(prices.cache_write_5m, None, "0 is no price for writing a cache");
        assert_eq!(prices.batch_factor, Some(BasisPoints(5_000)));
        let tier = |at: usize| {
            (prices.long_context[at].above_tokens, prices.long_context[at].input, prices.long_context[at].output)
        };
        assert_eq!(tier(0), (200_000, rate("2.5e-6"), rate("1.5e-5")));
        assert_eq!(tier(1), (272_000, rate("5e-6"), rate("1e-5")), "a missing price is that of short prompts");
        assert_eq!(prices.long_context[0].cache_write_1h, Some(rate("5e-6")));
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_its_line() {
        for (entry, line, reason) in [
            (r#""input_cost_per_token": "0.1""#, 4, "not a number"),
            (r#""input_cost_per_token": true"#, 4, "not a number"),
            (r#""input_cost_per_token": null"#, 4, "not a number"),
            (r#""input_cost_per_token": -1e-6"#, 4, "negative"),
            (r#""input_cost_per_token": 0.0011"#, 4, "above a dollar for a thousand tokens"),
            (r#""input_cost_per_token": 3"#, 4, "above a dollar for a thousand tokens"),
            (r#""input_cost_per_token": 1e300"#, 4, "out of range"),
            (r#""input_cost_per_request": 1.5"#, 4, "above a dollar for a request"),
            ("\"input_cost_per_token\": 1e-6,\n\"input_cost_per_token\": 1e-6", 5, "given twice"),
            ("\"mode\": \"chat\"", 4, "given twice"),
            (r#""input_cost_per_token": NaN"#, 4, "expected value"),
        ] {
            let problems = one(entry).unwrap_err();
            assert_eq!(problems.len(), 1, "{entry}");
            assert_eq!(problems[0].line, line, "{entry}: {}", problems[0]);
            assert!(problems[0].message.contains(reason), "{entry}: {}", problems[0]);
        }
        let twice = parse("{\"a\": {},\n\"b\": {},\n\"a\": {}}").unwrap_err();
        assert_eq!(twice[0].to_string(), "line 3: `a` is listed twice");
        assert_eq!(parse("{\"a\": 1}").unwrap_err()[0].to_string(), "line 1: `a`: is not an object of prices");
        assert!(parse("[1]").is_err() && parse("").is_err() && parse("{\"a\": {}").is_err());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "{\"a\": {\"input_cost_per_token\": \"x\"},\n\"b\": {\"output_cost_per_token\": -1}}";
        let lines: Vec<usize> = parse(text).unwrap_err().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn entries_that_are_left_out_are_counted_by_reason() {
        let file = parse(
            r#"{"sample_spec": {"litellm_provider": "one of …", "mode": "one of …"},
                "bedrock/x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 5},
                "dall-e": {"litellm_provider": "openai", "mode": "image_generation"},
                "gpt-0": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6},
                "gpt-1": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 3.0000000000000004e-07,
                          "output_cost_per_token": 1e-6},
                "groq/llama": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 1e-6,
                               "output_cost_per_token": 1e-6},
                "llama": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 2e-6,
                          "output_cost_per_token": 1e-6}}"#,
        )
        .unwrap();
        assert_eq!(file.entries, 7);
        assert_eq!(
            file.skipped.into_iter().collect::<Vec<_>>(),
            [
                (Skip::Documentation, 1),
                (Skip::OtherProvider, 1),
                (Skip::NotChat, 1),
                (Skip::NoTokenPrice, 1),
                (Skip::TooFine, 1),
                (Skip::OtherName, 1),
            ]
        );
        let [llama] = file.models.as_slice() else { panic!("one model") };
        assert_eq!(
            (llama.model.as_str(), llama.prices.input),
            ("llama", rate("2e-6")),
            "the dearer of two names counts"
        );
    }
}
