//! Owns: what a dollar of credit buys on each model: tokens, and runs of the skills.
//! Does not own: what a run costs (`quote::typical_on` and `execution::cost` are asked).

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::catalogue::{Catalogue, Model};
use crate::money::{PICOS_PER_NANO, Rate, Usd, ratio_half_up};
use crate::quote::typical_on;
use crate::rate::{ModelRate, RateBook};
use crate::route::offered;
use crate::time::Timestamp;

/// What an amount of credit buys on one model.
#[derive(Clone, Debug)]
pub struct Buys<'a> {
    pub model: &'a Model,
    pub rate: &'a ModelRate,
    /// Whole tokens of input alone; `None` where they cost nothing.
    pub input_tokens: Option<u64>,
    /// Whole tokens of output alone.
    pub output_tokens: Option<u64>,
    /// A run of each skill of the catalogue, in its order.
    pub operations: Vec<Operation<'a>>,
}

/// A typical run of one skill on one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    pub name: &'a str,
    /// Whether it is the model that the skill runs on unless another is chosen.
    pub is_its_own: bool,
    pub cost: Usd,
    /// How many of them the amount pays for, in tenths, rounded down; `None` where they cost nothing.
    pub tenths: Option<u64>,
}

/// What `amount` buys on each model that can be run at `now`, at the prices of that moment.
pub fn what_it_buys<'a>(catalogue: &'a Catalogue, book: &'a RateBook, now: Timestamp, amount: Usd) -> Vec<Buys<'a>> {
    let of_model = |model: &'a Model| {
        let rate = book.rate_of(model, now)?;
        let operations = catalogue.skills.iter().filter_map(|skill| {
            let cost = typical_on(book, now, skill, model)?;
            let is_its_own = skill.model == model.id;
            Some(Operation { name: &skill.name, is_its_own, cost, tenths: times(amount, cost, 10) })
        });
        Some(Buys {
            model,
            rate,
            input_tokens: tokens(amount, rate.prices.input),
            output_tokens: tokens(amount, rate.prices.output),
            operations: operations.collect(),
        })
    };
    offered(catalogue, book, now).into_iter().filter_map(of_model).collect()
}

/// How many whole tokens an amount pays for.
fn tokens(amount: Usd, rate: Rate) -> Option<u64> {
    let picos = i128::from(amount.nanos()).checked_mul(PICOS_PER_NANO)?;
    u64::try_from(picos.checked_div(i128::from(rate.picos()))?).ok()
}

/// How often an amount pays for `cost`, in parts of `scale`, rounded down.
fn times(amount: Usd, cost: Usd, scale: i128) -> Option<u64> {
    let scaled = i128::from(amount.nanos()).checked_mul(scale)?;
    u64::try_from(scaled.checked_div(i128::from(cost.nanos()))?).ok()
}

/// What a dollar of credit was bought for, half up to the nano-dollar: the price of some purchases over what they gave.
pub fn price_of_a_dollar(price: Usd, gave: Usd) -> Option<Usd> {
    let dollar = i128::from(crate::money::NANOS_PER_DOLLAR);
    ratio_half_up(i128::from(price.nanos()), i128::from(gave.nanos()), dollar).map(Usd::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{NOW, book, tiers};

    #[test]
    fn a_dollar_on_sonnet_and_on_haiku() {
        let (catalogue, book) = (tiers(), book());
        let all = what_it_buys(&catalogue, &book, NOW, Usd::from_dollars(1).unwrap());
        let sonnet = all.iter().find(|buys| buys.model.id.as_str() == "claude-sonnet-4-5").unwrap();
        // $3 and $15 a million.
        assert_eq!((sonnet.input_tokens, sonnet.output_tokens), (Some(333_333), Some(66_666)));
        let prd = sonnet.operations.iter().find(|operation| operation.cost.to_string() == "$0.105").unwrap();
        assert_eq!((prd.is_its_own, prd.tenths), (true, Some(95)));
        assert_eq!(sonnet.operations.len(), catalogue.skills.len());
        assert!(
            all.iter()
                .flat_map(|buys| &buys.operations)
                .all(|operation| operation.cost.is_positive() || operation.tenths.is_none())
        );
    }

    #[test]
    fn what_costs_nothing_is_not_counted() {
        assert_eq!(tokens(Usd::from_nanos(5), Rate::ZERO), None);
        assert_eq!(times(Usd::from_nanos(5), Usd::ZERO, 10), None);
        let usd = |text| Usd::parse_dollars(text).unwrap();
        assert_eq!(price_of_a_dollar(usd("57.50"), usd("55")), Some(usd("1.045454545")));
        assert_eq!(price_of_a_dollar(usd("11.50"), Usd::ZERO), None);
    }
}
