//! Owns: how a pack is described: what it costs, what it gives, and what that is as a markup.

use crate::ui::money::{Digits, text};
use domain::catalogue::Catalogue;
use domain::money::{BasisPoints, Usd, ratio_half_up};
use domain::pack::Pack;

/// One pack in words, worked out from the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOffer {
    pub pack: Pack,
    pub spendable: Usd,
    /// `15.0 %`.
    pub markup: String,
    /// No other pack has a lower effective markup.
    pub is_cheapest: bool,
}

/// The catalogue's packs as they are offered.
pub fn offers(catalogue: &Catalogue) -> Vec<PackOffer> {
    let effective = |pack: &Pack| pack.economics(catalogue.stripe_fee);
    let lowest = catalogue.packs.iter().filter_map(effective).map(|economics| economics.effective_markup).min();
    catalogue
        .packs
        .iter()
        .filter_map(|pack| {
            let economics = effective(pack)?;
            Some(PackOffer {
                pack: pack.clone(),
                spendable: economics.spendable,
                markup: effective_markup_text(pack.price, economics.spendable),
                is_cheapest: Some(economics.effective_markup) == lowest,
            })
        })
        .collect()
}

/// What the price is above what can be spent, to a tenth of a percent: rounded once, not from the basis points.
pub fn effective_markup_text(price: Usd, spendable: Usd) -> String {
    let above = i128::from(price.nanos()).saturating_sub(i128::from(spendable.nanos()));
    tenths_text(ratio_half_up(above, i128::from(spendable.nanos()), 1_000).unwrap_or_default())
}

/// Basis points as a percentage with one decimal: 450 is `4.5 %`.
pub fn percent_text(points: BasisPoints) -> String {
    tenths_text(ratio_half_up(i128::from(points.0), 10, 1).unwrap_or_default())
}

fn tenths_text(tenths: i64) -> String {
    let sign = if tenths < 0 { "−" } else { "" };
    format!("{sign}{}.{} %", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10)
}

/// An amount without its cents when there are none: `$25`, `$28.75`.
pub fn round_dollars(amount: Usd) -> String {
    let text = text(amount, Digits::Cents);
    text.strip_suffix(".00").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markups_have_one_decimal() {
        assert_eq!(percent_text(BasisPoints(1_500)), "15.0 %");
        let usd = |dollars: i64| Usd::from_dollars(dollars).unwrap();
        assert_eq!(effective_markup_text(Usd::parse_dollars("57.50").unwrap(), usd(55)), "4.5 %");
        assert_eq!(effective_markup_text(usd(115), usd(115)), "0.0 %");
        assert_eq!(percent_text(BasisPoints(0)), "0.0 %");
        assert_eq!(percent_text(BasisPoints(-320)), "−3.2 %");
    }

    #[test]
    fn whole_dollars_have_no_cents() {
        assert_eq!(round_dollars(Usd::from_nanos(25_000_000_000)), "$25");
        assert_eq!(round_dollars(Usd::from_nanos(28_750_000_000)), "$28.75");
    }
}
