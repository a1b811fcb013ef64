//! Owns: what of a purchase can be paid back, what is removed for it, and which part of its credit a sum is.
//! Does not own: taking it (`ledger`), or paying it (`server::refund`).
//!
//! A pack sells its credit and its bonus for its price. What is left of both goes back as the same part of the price:
//! half of what could be spent is half of the price. Bonus that was spent before the bought credit counts as spent, so it
//! is not paid out and cannot be won by buying, spending the bonus and giving the rest back. Stripe does not return its
//! fee for the payment (<https://docs.stripe.com/refunds>); the catalogue says whether its part is taken off or is ours.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::denial::Denial;
use crate::money::{BasisPoints, Cents, Usd, ratio_half_up};
use crate::pack::StripeFee;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// What a refund does about the fee that Stripe took for the payment and does not return.
    #[derive(Default)]
    FeePolicy {
        /// Its part is taken off what arrives on the card.
        #[default]
        Keep = "keep",
        /// All that was paid for the unused credit arrives; the fee is the platform's cost.
        GiveBack = "give_back",
    }
}

impl FeePolicy {
    /// What is taken off a whole payment that goes back, where Stripe took `fee`.
    #[must_use]
    pub const fn taken_off(self, fee: StripeFee) -> StripeFee {
        match self {
            FeePolicy::Keep => fee,
            FeePolicy::GiveBack => StripeFee { percent: BasisPoints(0), fixed: Usd::ZERO },
        }
    }
}

/// A paid purchase as far as it decides what can go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sold {
    /// The credit and bonus it gave, and what was paid.
    pub amount: Usd,
    pub bonus: Usd,
    pub price: Cents,
    /// What is left of them, without what runs hold.
    pub amount_left: Usd,
    pub bonus_left: Usd,
    /// What refunds and disputes took of them before, and what of the price went back for it.
    pub claimed_amount: Usd,
    pub claimed_bonus: Usd,
    pub back: Cents,
}

/// What goes back of one purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The part of the bought credit that is removed.
    pub credit: Usd,
    /// The part of the bonus that is removed: from bonus credit, or from bought credit if the bonus was spent.
    pub bonus: Usd,
    /// What of the price that is.
    pub price: Cents,
    /// What is taken off it for what Stripe kept; zero where the catalogue gives the fee back.
    pub fee: Cents,
    /// What arrives on the card.
    pub cash: Cents,
}

impl Part {
    /// All credit that is removed.
    pub const fn removed(&self) -> Usd {
        self.credit.saturating_add(self.bonus)
    }
}

impl Sold {
    /// The most that can go back; `None` if that is nothing.
    pub fn most(&self, fee: StripeFee) -> Option<Part> {
        let (amount, bonus) = (i128::from(self.amount.nanos()), i128::from(self.bonus.nanos()));
        // A claim that found this purchase's credit held took others', so more may be left than was not claimed.
        let unclaimed = (self.amount.checked_sub(self.claimed_amount)?, self.bonus.checked_sub(self.claimed_bonus)?);
        let amount_left = self.amount_left.min(unclaimed.0);
        let left = amount_left.checked_add(self.bonus_left.min(unclaimed.1))?;
        let share = i128::from(left.nanos()).checked_mul(amount)?.checked_div(amount.checked_add(bonus)?)?;
        let share = Usd::from_nanos(i64::try_from(share).ok()?);
        let (credit, bonus) = if share <= amount_left {
            (share, left.checked_sub(share)?.min(unclaimed.1))
        } else {
            let own = ratio_half_up(bonus, amount, i128::from(amount_left.nanos()))?;
            (amount_left, Usd::from_nanos(own).min(self.bonus_left).min(unclaimed.1))
        };
        let price = ratio_half_up(i128::from(credit.nanos()), amount, i128::from(self.price.0))?;
        let fee = ratio_half_up(i128::from(credit.nanos()), amount, i128::from(self.fee(fee)?.0))?;
        let at_most = self.price.0.checked_sub(self.back.0)?;
        let cash = price.checked_sub(fee)?.min(at_most);
        (cash > 0).then_some(Part { credit, bonus, price: Cents(price), fee: Cents(fee), cash: Cents(cash) })
    }

    /// What is removed for exactly `cash`, which is less than the most; `None` if there is not so much.
    fn part(&self, fee: StripeFee, cash: Cents) -> Option<Part> {
        let most = self.most(fee).filter(|most| cash < most.cash)?;
        let (amount, kept) = (i128::from(self.amount.nanos()), self.fee(fee)?);
        let net = i128::from(self.price.0.checked_sub(kept.0)?);
        // Rounded up, so that many small refunds are not worth more than one.
        let credit = amount.checked_mul(i128::from(cash.0))?.checked_add(net.checked_sub(1)?)?.checked_div(net)?;
        let credit = Usd::from_nanos(i64::try_from(credit).ok()?).min(most.credit);
        let share = |of: i128| ratio_half_up(i128::from(credit.nanos()), amount, of);
        let bonus = Usd::from_nanos(share(i128::from(self.bonus.nanos()))?).min(most.bonus);
        let fee = share(i128::from(kept.0))?;
        Some(Part { credit, bonus, price: Cents(cash.0.checked_add(fee)?), fee: Cents(fee), cash })
    }

    /// What is taken off when the whole payment goes back, rounded half up to the cent as Stripe does.
    fn fee(&self, fee: StripeFee) -> Option<Cents> {
        let price = Usd::from_cents(self.price)?;
        Some(price.checked_mul_basis_points(fee.percent)?.checked_add(fee.fixed)?.to_cents_half_up().min(self.price))
    }

    /// The credit and the bonus that `back` of the price paid for, no more than `within` of each: what took credit of
    /// this purchase before is not taken twice.
    pub fn claimed(&self, back: Cents, within: (Usd, Usd)) -> Option<(Usd, Usd)> {
        let (back, price) = (i128::from(back.0), i128::from(self.price.0));
        let part = |of: Usd| ratio_half_up(back, price, i128::from(of.nanos())).map(Usd::from_nanos);
        Some((part(self.amount)?.min(within.0), part(self.bonus)?.min(within.1)))
    }
}

/// What goes back of each of these purchases, given newest first: `cash` in all, or everything; `fee` is what is taken off
/// a payment ([`FeePolicy::taken_off`]). Denied with `Invalid` when there is not so much.
pub fn plan<T: Clone>(sold: &[(T, Sold)], fee: StripeFee, cash: Option<Cents>) -> Result<Vec<(T, Part)>, Denial> {
    let most: Vec<(&T, &Sold, Part)> =
        sold.iter().filter_map(|(purchase, sold)| Some((purchase, sold, sold.most(fee)?))).collect();
    let Some(Cents(mut wanted)) = cash else {
        return Ok(most.into_iter().map(|(purchase, _, part)| (purchase.clone(), part)).collect());
    };
    if wanted <= 0 {
        return Err(Denial::invalid("amount", "must be more than zero", "Leave it empty for everything."));
    }
    let mut parts = Vec::new();
    for (purchase, sold, part) in most {
        if wanted == 0 {
            break;
        }
        let part = if wanted >= part.cash.0 { Some(part) } else { sold.part(fee, Cents(wanted)) };
        if let Some(part) = part {
            wanted = wanted.saturating_sub(part.cash.0);
            parts.push((purchase.clone(), part));
        }
    }
    if wanted > 0 {
        return Err(Denial::invalid("amount", "is more than can be refunded", "Leave it empty for everything."));
    }
    Ok(parts)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const FEE: StripeFee = StripeFee { percent: BasisPoints(290), fixed: Usd::from_nanos(300_000_000) };

    fn usd(text: &str) -> Usd {
        Usd::parse_dollars(text).unwrap()
    }

    /// A pack of the table, with what is left of its credit and its bonus.
    fn sold(amount: &str, bonus: &str, amount_left: &str, bonus_left: &str) -> Sold {
        let price = Usd::from_nanos(usd(amount).nanos() / 100 * 115).to_cents_half_up();
        let (amount_left, bonus_left) = (usd(amount_left), usd(bonus_left));
        Sold {
            amount: usd(amount),
            bonus: usd(bonus),
            price,
            amount_left,
            bonus_left,
            claimed_amount: Usd::ZERO,
            claimed_bonus: Usd::ZERO,
            back: Cents(0),
        }
    }

    #[test]
    fn what_goes_back_to_the_cent_and_the_nano() {
        for (sold, credit, bonus, price, fee, cash) in [
            // Nothing spent: the price, less what Stripe keeps (the fees of the table of packs).
            (sold("10", "0", "10", "0"), "10", "0", 1_150, 63, 1_087),
            (sold("25", "0", "25", "0"), "25", "0", 2_875, 113, 2_762),
            (sold("50", "5", "50", "5"), "50", "5", 5_750, 197, 5_553),
            (sold("100", "15", "100", "15"), "100", "15", 11_500, 364, 11_136),
            // Half spent.
            (sold("10", "0", "5", "0"), "5", "0", 575, 32, 543),
            // The bonus spent: $100 of $115 are left, so $100 of the $115 paid, less 100/115 of the fee.
            (sold("100", "15", "100", "0"), "86.956521739", "13.043478261", 10_000, 317, 9_683),
            (sold("50", "5", "50", "0"), "45.454545454", "4.545454546", 5_227, 179, 5_048),
            // A third of the bonus left beside all of the credit.
            (sold("100", "15", "100", "5"), "91.304347826", "13.695652174", 10_500, 332, 10_168),
            // More bonus left than the part, after a run took bought credit: the rest of the bonus stays.
            (sold("50", "5", "25", "5"), "25", "2.5", 2_875, 99, 2_776),
            (sold("10", "0", "0.105", "0"), "0.105", "0", 12, 1, 11),
        ] {
            let expected = Part {
                credit: usd(credit),
                bonus: usd(bonus),
                price: Cents(price),
                fee: Cents(fee),
                cash: Cents(cash),
            };
            assert_eq!(sold.most(FEE), Some(expected), "{sold:?}");
        }
    }

    #[test]
    fn what_is_worth_less_than_a_cent_or_went_back_before_does_not_go_back() {
        assert_eq!(sold("10", "0", "0.004", "0").most(FEE), None);
        assert_eq!(sold("10", "0", "0", "0").most(FEE), None);
        assert_eq!(sold("100", "15", "0", "0").most(FEE), None);
        let mostly = Sold { back: Cents(1_100), ..sold("10", "0", "10", "0") };
        assert_eq!(mostly.most(FEE).unwrap().cash, Cents(50));
        assert_eq!(Sold { back: Cents(1_150), ..mostly }.most(FEE), None);
        // Half of it was claimed while a run held it, from another purchase's credit.
        let claimed = Sold { claimed_amount: usd("5"), back: Cents(575), ..sold("10", "0", "10", "0") };
        assert_eq!(claimed.most(FEE).unwrap().credit, usd("5"));
    }

    /// By hand, each way of the catalogue: (left of credit and bonus) → credit, bonus, price, fee and cash of "keep", then of
    /// "give_back".
    #[test]
    fn the_fee_is_taken_off_or_given_back_to_the_cent() {
        for (sold, credit, bonus, price, fee, kept, returned) in [
            (sold("10", "0", "10", "0"), "10", "0", 1_150, 63, 1_087, 1_150),
            (sold("25", "0", "25", "0"), "25", "0", 2_875, 113, 2_762, 2_875),
            (sold("50", "5", "50", "5"), "50", "5", 5_750, 197, 5_553, 5_750),
            (sold("100", "15", "100", "15"), "100", "15", 11_500, 364, 11_136, 11_500),
            // A quarter left: 287.5 cents of the price are 288, 15.75 of the fee are 16.
            (sold("10", "0", "2.50", "0"), "2.50", "0", 288, 16, 272, 288),
            // Half of a pack whose bonus is spent: 25 × 50 / 55 of credit, and the rest of it for the bonus.
            (sold("50", "5", "25", "0"), "22.727272727", "2.272727273", 2_614, 90, 2_524, 2_614),
            // A cent of credit is a cent of the price, and less than half a cent of the fee.
            (sold("10", "0", "0.01", "0"), "0.01", "0", 1, 0, 1, 1),
        ] {
            let part = |fee: i64, cash: i64| Part {
                credit: usd(credit),
                bonus: usd(bonus),
                price: Cents(price),
                fee: Cents(fee),
                cash: Cents(cash),
            };
            assert_eq!(sold.most(FeePolicy::Keep.taken_off(FEE)), Some(part(fee, kept)), "{sold:?}");
            assert_eq!(sold.most(FeePolicy::GiveBack.taken_off(FEE)), Some(part(0, returned)), "{sold:?}");
        }
    }

    /// Whatever is left: giving the fee back removes the same credit and sends what was paid for it, never more than that.
    #[test]
    fn both_policies_remove_the_same_credit() {
        let none = FeePolicy::GiveBack.taken_off(FEE);
        for cents in (1..=5_000).step_by(37) {
            for bonus_cents in [0, 1, 250, 500] {
                let amount_left = Usd::from_nanos(cents * 10_000_000);
                let bonus_left = Usd::from_nanos(bonus_cents * 10_000_000);
                let sold = Sold { amount_left, bonus_left, ..sold("50", "5", "50", "5") };
                let (Some(keep), Some(back)) = (sold.most(FEE), sold.most(none)) else { continue };
                assert_eq!((keep.credit, keep.bonus, keep.price), (back.credit, back.bonus, back.price));
                assert_eq!((back.fee, back.cash), (Cents(0), back.price));
                assert_eq!(keep.cash.0, keep.price.0 - keep.fee.0);
                assert!(back.cash <= sold.price);
            }
        }
        let whole = [("only", sold("50", "5", "50", "5"))];
        let some = plan(&whole, none, Some(Cents(575))).unwrap();
        // A tenth of the price is a tenth of the credit and of the bonus.
        assert_eq!((some[0].1.credit, some[0].1.bonus, some[0].1.fee), (usd("5"), usd("0.5"), Cents(0)));
    }

    #[test]
    fn a_chosen_sum_comes_from_the_newest_purchase_first() {
        let purchases = [("new", sold("50", "5", "50", "5")), ("old", sold("10", "0", "10", "0"))];
        let parts = plan(&purchases, FEE, Some(Cents(6_000))).unwrap();
        assert_eq!(
            parts.iter().map(|(id, part)| (*id, part.cash.0)).collect::<Vec<_>>(),
            [("new", 5_553), ("old", 447)]
        );
        // 447 of 1,087 cents net, rounded up to the nano.
        assert_eq!(parts[1].1.credit, usd("4.112235511"));
        let all = plan(&purchases, FEE, None).unwrap();
        assert_eq!(all.iter().map(|(_, part)| part.cash.0).sum::<i64>(), 6_640);
        let exact = plan(&purchases, FEE, Some(Cents(6_640))).unwrap();
        assert_eq!(exact, all);
        for wrong in [0, -1, 6_641] {
            assert_eq!(plan(&purchases, FEE, Some(Cents(wrong))).unwrap_err().code(), "invalid", "{wrong}");
        }
        assert_eq!(plan::<&str>(&[], FEE, None).unwrap(), []);
    }

    /// Many small refunds never give more than one of everything.
    #[test]
    fn cent_by_cent_is_worth_no_more_than_at_once() {
        let mut left = sold("50", "5", "50", "5");
        let most = left.most(FEE).unwrap().cash.0;
        let mut got = 0;
        while let Some(part) = left.part(FEE, Cents(7)).or_else(|| left.most(FEE)) {
            got += part.cash.0;
            let from_bonus = part.bonus.min(left.bonus_left);
            left.bonus_left = left.bonus_left.checked_sub(from_bonus).unwrap();
            let from_amount = part.removed().checked_sub(from_bonus).unwrap();
            left.amount_left = left.amount_left.checked_sub(from_amount).unwrap();
            left.back.0 += part.cash.0;
            left.claimed_amount = left.claimed_amount.saturating_add(part.credit);
            left.claimed_bonus = left.claimed_bonus.saturating_add(part.bonus);
            assert!(!left.amount_left.is_negative());
        }
        assert!(got <= most && got >= most - 1, "{got} of {most}");
    }

    #[test]
    fn a_sum_that_went_back_takes_its_part_and_never_twice() {
        let pack = sold("50", "5", "0", "0");
        let whole = (usd("50"), usd("5"));
        assert_eq!(pack.claimed(Cents(5_750), whole), Some(whole));
        assert_eq!(pack.claimed(Cents(2_875), whole), Some((usd("25"), usd("2.5"))));
        assert_eq!(pack.claimed(Cents(1), whole), Some((usd("0.008695652"), usd("0.000869565"))));
        assert_eq!(pack.claimed(Cents(5_750), (usd("20"), Usd::ZERO)), Some((usd("20"), Usd::ZERO)));
        assert_eq!(pack.claimed(Cents(0), whole), Some((Usd::ZERO, Usd::ZERO)));
    }
}
