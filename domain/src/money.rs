//! Owns: amounts of money and rates, as integers.
//! Does not own: prices (`catalogue`, `rate`) or formatting for the screen (`app::ui::money`).
//! Invariant: no float goes in or comes out; arithmetic is checked; rounding happens only where its name says so.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};
use std::fmt;

/// Nano-dollars in a dollar.
pub const NANOS_PER_DOLLAR: i64 = 1_000_000_000;
/// Nano-dollars in a cent.
pub const NANOS_PER_CENT: i64 = 10_000_000;
/// Pico-dollars in a nano-dollar.
pub const PICOS_PER_NANO: i128 = 1_000;

/// An amount of money: whole nano-dollars, about ±$9.2 billion. Negative amounts are debts and debits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Usd(i64);

impl Usd {
    pub const ZERO: Usd = Usd(0);
    pub const MAX: Usd = Usd(i64::MAX);

    /// From whole nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Usd {
        Usd(nanos)
    }

    /// From whole dollars; `None` past ±$9.2 billion.
    pub const fn from_dollars(dollars: i64) -> Option<Usd> {
        match dollars.checked_mul(NANOS_PER_DOLLAR) {
            Some(nanos) => Some(Usd(nanos)),
            None => None,
        }
    }

    /// From whole cents; `None` past ±$9.2 billion.
    pub const fn from_cents(cents: Cents) -> Option<Usd> {
        match cents.0.checked_mul(NANOS_PER_CENT) {
            Some(nanos) => Some(Usd(nanos)),
            None => None,
        }
    }

    /// From pico-dollars, rounded half up to the nano-dollar: the one rounding of spec §6.1. `None` out of range.
    pub fn from_picos_half_up(picos: i128) -> Option<Usd> {
        let nanos = picos.checked_add(500)?.div_euclid(PICOS_PER_NANO);
        i64::try_from(nanos).ok().map(Usd)
    }

    /// Reads a decimal number of dollars exactly, such as `11.50` or `0.0104`; `None` if it is no number, is finer
    /// than a nano-dollar, or is out of range.
    pub fn parse_dollars(text: &str) -> Option<Usd> {
        parse_decimal(text, 9).ok().map(Usd)
    }

    /// Reads dollars as people type them, such as `$1,250.50`: never negative, and a comma only between thousands. So `5,00` is
    /// no amount, rather than five hundred dollars.
    pub fn parse_typed(typed: &str) -> Option<Usd> {
        let typed = typed.trim();
        let typed = typed.strip_prefix('$').unwrap_or(typed).trim_start();
        let (whole, fraction) = typed.split_once('.').unwrap_or((typed, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let mut groups = whole.split(',');
        let first = groups.next().filter(|first| is_digits(first))?;
        let mut thousands = groups.peekable();
        let is_short = thousands.peek().is_none() || (1..=3).contains(&first.len());
        let is_plain = is_short && thousands.all(|group| group.len() == 3 && is_digits(group)) && is_digits(fraction);
        Usd::parse_dollars(&typed.replace(',', "")).filter(|_| is_plain)
    }

    /// Whole nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    #[must_use]
    pub const fn checked_add(self, other: Usd) -> Option<Usd> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Usd(sum)),
            None => None,
        }
    }

    #[must_use]
    pub const fn checked_sub(self, other: Usd) -> Option<Usd> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Usd(difference)),
            None => None,
        }
    }

    #[must_use]
    pub const fn checked_neg(self) -> Option<Usd> {
        match self.0.checked_neg() {
            Some(negated) => Some(Usd(negated)),
            None => None,
        }
    }

    /// The sum, stopping at the ends of the range. For showing and comparing, never for posting.
    #[must_use]
    pub const fn saturating_add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }

    /// The difference, stopping at the ends of the range. For showing and comparing, never for posting.
    #[must_use]
    pub const fn saturating_sub(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// Rounded half up to the cent, for Stripe and the screen.
    pub const fn to_cents_half_up(self) -> Cents {
        let cents = self.0.div_euclid(NANOS_PER_CENT);
        let rest = self.0.rem_euclid(NANOS_PER_CENT);
        // A cent is ten million nano-dollars, so the quotient is far from the end of the range.
        Cents(if rest >= 5_000_000 { cents.saturating_add(1) } else { cents })
    }

    /// Whole cents if nothing is lost, else `None`: what may be charged through Stripe.
    pub const fn to_cents_exact(self) -> Option<Cents> {
        if self.0.rem_euclid(NANOS_PER_CENT) == 0 { Some(Cents(self.0.div_euclid(NANOS_PER_CENT))) } else { None }
    }

    /// This amount × `basis_points` / 10,000, rounded half up to the nano-dollar; `None` out of range.
    pub fn checked_mul_basis_points(self, basis_points: BasisPoints) -> Option<Usd> {
        ratio_half_up(i128::from(self.0), 10_000, i128::from(basis_points.0)).map(Usd)
    }
}

/// The exact amount with as many decimals as it needs and at least two: `$0.105`, `−$3.64`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "−" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let dollars = magnitude.div_euclid(NANOS_PER_DOLLAR.unsigned_abs());
        let fraction = format!("{:09}", magnitude.rem_euclid(NANOS_PER_DOLLAR.unsigned_abs()));
        let significant = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{sign}${dollars}.{}", &fraction[..significant])
    }
}

/// Whole US cents: only at Stripe and on screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Cents(pub i64);

/// Hundredths of a percent: 1,500 is 15 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BasisPoints(pub i32);

/// A price for one token: whole pico-dollars, so $3 per million tokens is 3,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(i64);

impl Rate {
    pub const ZERO: Rate = Rate(0);

    /// From whole pico-dollars a token.
    pub const fn from_picos(picos: i64) -> Rate {
        Rate(picos)
    }

    /// Reads a decimal number of dollars a token exactly, such as `3e-06`.
    pub fn parse_dollars_per_token(text: &str) -> Result<Rate, DecimalError> {
        parse_decimal(text, 12).map(Rate)
    }

    /// Whole pico-dollars a token.
    pub const fn picos(self) -> i64 {
        self.0
    }

    /// What `tokens` cost, in pico-dollars, not yet rounded.
    pub const fn times(self, tokens: u64) -> i128 {
        // At most 2⁶³ × 2⁶⁴, which is in range.
        (self.0 as i128).saturating_mul(tokens as i128)
    }
}

/// `part` × `scale` / `whole`, rounded half up; `None` for a whole that is not positive, or out of range.
pub fn ratio_half_up(part: i128, whole: i128, scale: i128) -> Option<i64> {
    if whole <= 0 {
        return None;
    }
    let scaled = part.checked_mul(scale)?;
    let (quotient, rest) = (scaled.div_euclid(whole), scaled.rem_euclid(whole));
    let rounded = if rest >= whole.checked_sub(rest)? { quotient.checked_add(1)? } else { quotient };
    i64::try_from(rounded).ok()
}

/// Why a decimal number was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("is not a decimal number")]
    NotANumber,
    #[error("has more decimals than can be kept exactly")]
    TooFine,
    #[error("is out of range")]
    OutOfRange,
}

/// Reads `-12.5e-3` as an integer scaled by 10^`scale`, exactly, or says why that cannot be.
fn parse_decimal(text: &str, scale: i64) -> Result<i64, DecimalError> {
    use DecimalError::{NotANumber, OutOfRange, TooFine};
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NotANumber)?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(NotANumber);
    }
    let all = format!("{whole}{fraction}");
    let untrailed = all.trim_end_matches('0');
    let significant = untrailed.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    // The power of ten of the last significant digit, in units of the scale.
    let shift = scale
        .saturating_add(i64::from(exponent))
        .saturating_sub(length(fraction))
        .saturating_add(length(&all).saturating_sub(length(untrailed)));
    let shift = u32::try_from(shift).map_err(|_| if shift < 0 { TooFine } else { OutOfRange })?;
    let magnitude = significant
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(10_i64.checked_pow(shift)?))
        .ok_or(OutOfRange)?;
    // The magnitude is positive, so its negative is in range.
    Ok(if negative { magnitude.saturating_neg() } else { magnitude })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_refused() {
        assert_eq!(Usd::parse_dollars("11.50"), Some(Usd(11_500_000_000)));
        assert_eq!(Usd::parse_dollars("-0.000000001"), Some(Usd(-1)));
        assert_eq!(Usd::parse_dollars("0.0000000001"), None, "finer than a nano-dollar");
        for (typed, nanos) in [
            ("5", 5_000_000_000),
            (" $ 5.00 ", 5_000_000_000),
            ("1,250.50", 1_250_500_000_000),
            ("$1,000,000", 1_000_000_000_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(Usd::parse_typed(typed), Some(Usd(nanos)), "{typed}");
        }
        for typed in
            ["", "$", "5,00", "1,5", "1,2500", "1250,000", ",500", "-5", "+5", "1e3", "5.0,0", "5.5.5", "$$5", "five"]
        {
            assert_eq!(Usd::parse_typed(typed), None, "{typed}");
        }
        assert_eq!(Rate::parse_dollars_per_token("3e-06"), Ok(Rate(3_000_000)));
        assert_eq!(Rate::parse_dollars_per_token("8e-07"), Ok(Rate(800_000)));
        assert_eq!(Rate::parse_dollars_per_token("1.25E-6"), Ok(Rate(1_250_000)));
        assert_eq!(Rate::parse_dollars_per_token("0.00"), Ok(Rate(0)));
        assert_eq!(Rate::parse_dollars_per_token("3.0000000000000004e-07"), Err(DecimalError::TooFine));
        assert_eq!(Rate::parse_dollars_per_token("1e12"), Err(DecimalError::OutOfRange));
        for bad in ["", ".", "-", "1,5", "NaN", "0x1", "1e", "1e400", "99999999999999999999"] {
            assert_eq!(Usd::parse_dollars(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        /// Every amount, written out with all its decimals or with an exponent, is read back as itself.
        #[test]
        fn printed_amounts_are_read_back(nanos in proptest::prelude::any::<i64>()) {
            let printed = Usd(nanos).to_string().replace('−', "-").replace('$', "");
            let expected = (nanos != i64::MIN).then_some(Usd(nanos));
            proptest::prop_assert_eq!(Usd::parse_dollars(&printed), expected);
            proptest::prop_assert_eq!(Usd::parse_dollars(&format!("{nanos}e-9")), expected);
            proptest::prop_assert_eq!(Rate::parse_dollars_per_token(&format!("{nanos}e-12")).ok(), expected.map(|_| Rate(nanos)));
        }

        /// Cents never differ from the amount by more than half a cent.
        #[test]
        fn cents_are_the_nearest(nanos in proptest::prelude::any::<i64>()) {
            let Cents(cents) = Usd(nanos).to_cents_half_up();
            let off = i128::from(nanos) - i128::from(cents) * i128::from(NANOS_PER_CENT);
            proptest::prop_assert!((-5_000_000..5_000_000).contains(&off), "{nanos}: {cents}");
        }
    }

    #[test]
    fn rounding_is_half_up() {
        assert_eq!(Usd::from_picos_half_up(1_499), Some(Usd(1)));
        assert_eq!(Usd::from_picos_half_up(1_500), Some(Usd(2)));
        assert_eq!(Usd::from_picos_half_up(-1_500), Some(Usd(-1)));
        assert_eq!(Usd::parse_dollars("0.6335").map(Usd::to_cents_half_up), Some(Cents(63)));
        assert_eq!(Usd::parse_dollars("1.9675").map(Usd::to_cents_half_up), Some(Cents(197)));
        assert_eq!(Usd::parse_dollars("3.635").map(Usd::to_cents_half_up), Some(Cents(364)));
    }

    #[test]
    fn display_is_exact() {
        assert_eq!(Usd(105_000_000).to_string(), "$0.105");
        assert_eq!(Usd(-3_640_000_000).to_string(), "−$3.64");
        assert_eq!(Usd(0).to_string(), "$0.00");
        assert_eq!(Usd(i64::MIN).to_string(), "−$9223372036.854775808");
    }
}
