//! Owns: how a price file differs from the rates in use, and which differences are not believed.
//! Does not own: reading the file (`litellm`), or storing what is new.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use super::litellm::{ListedModel, PriceFileError};
use super::{ModelRate, Prices, RateBook};
use crate::money::{Rate, ratio_half_up};
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::fmt;

/// A rate this many times the last one, or that small a part of it, is taken for a mistake.
const LARGEST_FACTOR: i128 = 1_000;

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Models without a rate so far.
    pub new: Vec<ListedModel>,
    pub changed: Vec<Change>,
    /// Models that the file no longer lists. They keep their rate.
    pub gone: Vec<ModelRate>,
    pub unchanged: usize,
}

/// A model whose prices differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub listed: ListedModel,
    pub prices: Vec<PriceChange>,
}

/// One price that differs. `None` stands for a price that is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceChange {
    /// Such as `input` or `output above 200000 tokens`.
    pub name: String,
    pub before: Option<Rate>,
    pub after: Option<Rate>,
}

/// `input $3.00 → $6.00 per million tokens (× 2.00)`.
impl fmt::Display for PriceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} → {}", self.name, per_million(self.before), per_million(self.after))?;
        match (self.before, self.after) {
            (Some(before), Some(after)) => match ratio_half_up(after.picos().into(), before.picos().into(), 100) {
                Some(factor) => write!(f, " (× {}.{:02})", factor.div_euclid(100), factor.rem_euclid(100)),
                None => Ok(()),
            },
            (Some(_) | None, None) | (None, Some(_)) => Ok(()),
        }
    }
}

/// A rate as dollars for a million tokens, exactly: pico-dollars a token are micro-dollars a million.
fn per_million(rate: Option<Rate>) -> String {
    match rate.and_then(|rate| rate.picos().checked_mul(1_000)) {
        Some(nanos) => crate::money::Usd::from_nanos(nanos).to_string(),
        None => "none".to_owned(),
    }
}

/// How the listed models differ from the rates at `now`. Refused, with every line, when a price is 1,000 times the last
/// one or more, a thousandth or less, or falls to nothing.
pub fn diff(book: &RateBook, now: Timestamp, listed: &[ListedModel]) -> Result<Diff, Vec<PriceFileError>> {
    let mut diff = Diff::default();
    let mut problems = Vec::new();
    for model in listed {
        let Some(current) = book.rate(model.provider, &model.model, now) else {
            diff.new.push(model.clone());
            continue;
        };
        if current.prices == model.prices {
            diff.unchanged = diff.unchanged.saturating_add(1);
            continue;
        }
        let prices = changes(&current.prices, &model.prices);
        for change in prices.iter().filter(|change| !is_believable(change)) {
            let message = format!("`{}`: {change} is too far from the last rate to be believed", model.model);
            problems.push(PriceFileError { line: model.line, message });
        }
        diff.changed.push(Change { listed: model.clone(), prices });
    }
    let names: BTreeSet<_> = listed.iter().map(|model| (model.provider, &model.model)).collect();
    diff.gone =
        book.rates_at(now).into_iter().filter(|rate| !names.contains(&(rate.provider, &rate.model))).cloned().collect();
    if problems.is_empty() { Ok(diff) } else { Err(problems) }
}

fn is_believable(change: &PriceChange) -> bool {
    let (Some(before), Some(after)) = (change.before, change.after) else { return true };
    let (before, after) = (i128::from(before.picos()), i128::from(after.picos()));
    // What was free may get a price; nothing that cost becomes free unseen.
    before == 0 || (after < before.saturating_mul(LARGEST_FACTOR) && before < after.saturating_mul(LARGEST_FACTOR))
}

/// The prices that differ, by name. A change of the request's price or of the batch factor alone gives an empty list.
fn changes(before: &Prices, after: &Prices) -> Vec<PriceChange> {
    let (before, after) = (named(before), named(after));
    let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    let find =
        |prices: &[(String, Rate)], name: &str| prices.iter().find(|(own, _)| own == name).map(|(_, rate)| *rate);
    names
        .into_iter()
        .map(|name| PriceChange { name: name.clone(), before: find(&before, name), after: find(&after, name) })
        .filter(|change| change.before != change.after)
        .collect()
}

fn named(prices: &Prices) -> Vec<(String, Rate)> {
    let mut named = vec![("input".to_owned(), Some(prices.input)), ("output".to_owned(), Some(prices.output))];
    named.push(("cache read".to_owned(), prices.cache_read));
    named.push(("cache write 5 min".to_owned(), prices.cache_write_5m));
    named.push(("cache write 1 h".to_owned(), prices.cache_write_1h));
    named.push(("reasoning".to_owned(), prices.reasoning));
    for tier in &prices.long_context {
        let mut push = |name: &str, rate| named.push((format!("{name} above {} tokens", tier.above_tokens), rate));
        push("input", Some(tier.input));
        push("output", Some(tier.output));
        push("cache read", tier.cache_read);
        push("cache write 5 min", tier.cache_write_5m);
        push("cache write 1 h", tier.cache_write_1h);
    }
    named.into_iter().filter_map(|(name, rate)| rate.map(|rate| (name, rate))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, book};
    use crate::rate::litellm;

    fn shipped_but(from: &str, to: &str) -> Result<Diff, Vec<PriceFileError>> {
        let shipped = include_str!("../../../catalogue/rates.json");
        let text = shipped.replacen(from, to, 1);
        assert!(from == to || text != shipped, "`{from}` is in the file");
        diff(&book(), NOW, &litellm::parse(&text).unwrap().models)
    }

    #[test]
    fn new_changed_and_gone_models_are_told_apart() {
        let same = shipped_but("", "").unwrap();
        assert_eq!((same.new.len(), same.changed.len(), same.gone.len(), same.unchanged), (0, 0, 0, 12));

        let renamed = shipped_but("\"gpt-4o-mini\"", "\"gpt-5-mini\"").unwrap();
        assert_eq!((renamed.new[0].model.as_str(), renamed.gone[0].model.as_str()), ("gpt-5-mini", "gpt-4o-mini"));

        let dearer = shipped_but("\"input_cost_per_token\": 3e-06", "\"input_cost_per_token\": 4.5e-06").unwrap();
        let [change] = dearer.changed.as_slice() else { panic!("one change") };
        let told: Vec<String> = change.prices.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["input $3.00 → $4.50 (× 1.50)"]);

        let dropped = shipped_but("\"cache_read_input_token_cost\": 3e-07,", "").unwrap();
        assert_eq!(dropped.changed[0].prices[0].to_string(), "cache read $0.30 → none");
    }

    #[test]
    fn what_is_a_thousand_times_off_is_refused_with_its_line() {
        for (price, refused) in
            [("2.999e-3", true), ("3e-9", true), ("0", true), ("0.0003", false), ("3.1e-9", false), ("9.99e-4", false)]
        {
            let outcome = shipped_but("\"output_cost_per_token\": 4e-06", "\"output_cost_per_token\": 4e-06");
            assert!(outcome.is_ok());
            let text = format!("\"input_cost_per_token\": {price}");
            let shipped =
                include_str!("../../../catalogue/rates.json").replacen("\"input_cost_per_token\": 3e-06", &text, 1);
            // Above a dollar for a thousand tokens the file itself is refused.
            let outcome = litellm::parse(&shipped).and_then(|file| diff(&book(), NOW, &file.models));
            assert_eq!(outcome.is_err(), refused, "{price}: {outcome:?}");
        }
        let problems =
            shipped_but("\"input_cost_per_token\": 1.5e-07", "\"input_cost_per_token\": 1.5e-04").unwrap_err();
        let line =
            include_str!("../../../catalogue/rates.json").lines().position(|line| line.contains("\"gpt-4o-mini\""));
        assert_eq!(problems[0].line, line.unwrap().saturating_add(1));
        assert_eq!(
            problems[0].message,
            "`gpt-4o-mini`: input $0.15 → $150.00 (× 1000.00) is too far from the last rate to be believed"
        );
    }
}
