//! Owns: credit packs and what selling one earns (spec §2, the table of packs).
//! Does not own: selling them (`server::purchase`).
//! Invariant: price = amount × (1 + markup), checked when a catalogue is read.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::id::PackId;
use crate::money::{BasisPoints, Cents, Usd, ratio_half_up};
use serde::{Deserialize, Serialize};

/// A credit pack of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    pub id: PackId,
    /// The credit that is bought.
    pub amount: Usd,
    /// Credit on top, a grant of its own.
    pub bonus: Usd,
    /// What the buyer pays: whole cents.
    pub price: Usd,
}

/// What Stripe keeps of a payment: a part of it, and a fixed sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeFee {
    pub percent: BasisPoints,
    pub fixed: Usd,
}

/// What selling a pack earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackEconomics {
    /// What the buyer can spend.
    pub spendable: Usd,
    /// What the price is above what can be spent, in basis points of the latter, rounded half up.
    pub effective_markup: BasisPoints,
    /// Rounded half up to the cent, as Stripe does.
    pub stripe_fee: Cents,
    /// What is left of the price after Stripe's fee and the bought credit.
    pub net_before_bonus: Cents,
    /// What is left once the bonus is spent too.
    pub net_after_bonus: Cents,
    /// The nets as a part of the price, in basis points, rounded half up.
    pub net_before_bonus_share: BasisPoints,
    pub net_after_bonus_share: BasisPoints,
}

impl Pack {
    /// The price in cents, for Stripe; `None` if it is not whole cents, which a checked catalogue does not have.
    pub const fn price_cents(&self) -> Option<Cents> {
        self.price.to_cents_exact()
    }

    /// What the buyer can spend: the amount and the bonus.
    pub const fn spendable(&self) -> Option<Usd> {
        self.amount.checked_add(self.bonus)
    }

    /// What selling it earns; `None` past the range of money, or for a pack of nothing.
    pub fn economics(&self, fee: StripeFee) -> Option<PackEconomics> {
        let spendable = self.spendable()?;
        let stripe_fee = self.price.checked_mul_basis_points(fee.percent)?.checked_add(fee.fixed)?.to_cents_half_up();
        let before = self.price.checked_sub(Usd::from_cents(stripe_fee)?)?.checked_sub(self.amount)?;
        let after = before.checked_sub(self.bonus)?;
        Some(PackEconomics {
            spendable,
            effective_markup: share(self.price.checked_sub(spendable)?, spendable)?,
            stripe_fee,
            net_before_bonus: before.to_cents_half_up(),
            net_after_bonus: after.to_cents_half_up(),
            net_before_bonus_share: share(before, self.price)?,
            net_after_bonus_share: share(after, self.price)?,
        })
    }
}

/// `part` of `whole` in basis points, rounded half up; `None` for a whole that is not positive.
fn share(part: Usd, whole: Usd) -> Option<BasisPoints> {
    let basis_points = ratio_half_up(i128::from(part.nanos()), i128::from(whole.nanos()), 10_000)?;
    i32::try_from(basis_points).ok().map(BasisPoints)
}

#[cfg(test)]
mod tests {
    use crate::catalogue::tests::tiers;
    use crate::money::{BasisPoints, Cents};

    /// Spec §2, the table of packs, to the last digit.
    #[test]
    fn the_table_of_packs() {
        let catalogue = tiers();
        let rows: Vec<_> = catalogue
            .packs
            .iter()
            .map(|pack| {
                let economics = pack.economics(catalogue.stripe_fee).unwrap();
                (
                    (pack.amount.to_string(), pack.price.to_string(), pack.bonus.to_string()),
                    (economics.spendable.to_string(), economics.effective_markup.0, economics.stripe_fee.0),
                    (economics.net_before_bonus.0, percent(economics.net_before_bonus_share)),
                    (economics.net_after_bonus.0, percent(economics.net_after_bonus_share)),
                )
            })
            .collect();
        let row = |amount: &str, price: &str, bonus: &str, spendable: &str, markup, fee, before, after| {
            let text = |text: &str| text.to_owned();
            ((text(amount), text(price), text(bonus)), (text(spendable), markup, fee), before, after)
        };
        assert_eq!(
            rows,
            [
                row("$10.00", "$11.50", "$0.00", "$10.00", 1_500, 63, (87, 76), (87, 76)),
                row("$25.00", "$28.75", "$0.00", "$25.00", 1_500, 113, (262, 91), (262, 91)),
                row("$50.00", "$57.50", "$5.00", "$55.00", 455, 197, (553, 96), (53, 9)),
                row("$100.00", "$115.00", "$15.00", "$115.00", 0, 364, (1_136, 99), (-364, -32)),
            ]
        );
        assert_eq!(catalogue.packs[0].price_cents(), Some(Cents(1_150)));
    }

    /// Tenths of a percent, as the table has them.
    fn percent(BasisPoints(points): BasisPoints) -> i64 {
        crate::money::ratio_half_up(points.into(), 10, 1).unwrap()
    }
}
