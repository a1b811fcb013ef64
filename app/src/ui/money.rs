//! Owns: how money looks. The only place that writes an amount on the screen.
//! Two digits from a dollar up (`$12.40`), at most four significant ones below (`$0.0104`); the exact amount is in
//! the `title`. A negative amount has a true minus.

use domain::money::{NANOS_PER_CENT, NANOS_PER_DOLLAR, Usd};
use leptos::prelude::*;

/// How much of an amount is written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digits {
    /// Two digits from a dollar up, four significant ones below.
    #[default]
    Short,
    /// Two digits always: balances and prices in running text.
    Cents,
    /// Every digit there is: a statement, a calculation.
    Exact,
}

/// An amount of money.
#[component]
pub fn Money(
    amount: Usd,
    #[prop(optional)] digits: Digits,
    /// Writes a plus before a positive amount: for changes.
    #[prop(optional)]
    signed: bool,
) -> impl IntoView {
    let text = if signed { signed_text(amount, digits) } else { text(amount, digits) };
    let exact = amount.to_string();
    let title = (exact != text).then_some(exact);
    view! {
        <span class="money" title=title>
            {text}
        </span>
    }
}

/// The amount as text, for labels and titles that cannot hold a component.
pub fn text(amount: Usd, digits: Digits) -> String {
    match digits {
        Digits::Exact => exact(amount),
        Digits::Cents => cents(amount),
        Digits::Short => short(amount),
    }
}

/// An amount below a dollar in cents, to a tenth: `10.5 ¢`. For running text about small prices.
pub fn text_in_cents(amount: Usd) -> String {
    let tenths = amount.nanos().saturating_mul(10).saturating_add(NANOS_PER_CENT / 2).div_euclid(NANOS_PER_CENT);
    if tenths % 10 == 0 { format!("{} ¢", tenths / 10) } else { format!("{}.{} ¢", tenths / 10, tenths % 10) }
}

fn signed_text(amount: Usd, digits: Digits) -> String {
    let plus = if amount.is_positive() { "+" } else { "" };
    format!("{plus}{}", text(amount, digits))
}

fn short(amount: Usd) -> String {
    let magnitude = amount.nanos().unsigned_abs();
    let whole_cents = magnitude.is_multiple_of(NANOS_PER_CENT.unsigned_abs());
    if whole_cents || magnitude >= NANOS_PER_DOLLAR.unsigned_abs() {
        return cents(amount);
    }
    // Below a dollar: keep four significant digits, rounded half up. 1 nano-dollar is the finest there is.
    let mut unit = 1_u64;
    while magnitude / unit >= 10_000 {
        unit = unit.saturating_mul(10);
    }
    let rounded = magnitude.saturating_add(unit / 2) / unit * unit;
    let signed = i64::try_from(rounded).unwrap_or(i64::MAX);
    exact(Usd::from_nanos(if amount.is_negative() { signed.saturating_neg() } else { signed }))
}

fn cents(amount: Usd) -> String {
    let cents = amount.to_cents_half_up().0;
    let magnitude = cents.unsigned_abs();
    format!("{}${}.{:02}", minus(cents < 0), grouped(magnitude / 100), magnitude % 100)
}

fn exact(amount: Usd) -> String {
    let magnitude = amount.nanos().unsigned_abs();
    let fraction = format!("{:09}", magnitude % NANOS_PER_DOLLAR.unsigned_abs());
    let significant = fraction.trim_end_matches('0').len().max(2);
    let (shown, _) = fraction.split_at(significant);
    format!("{}${}.{shown}", minus(amount.is_negative()), grouped(magnitude / NANOS_PER_DOLLAR.unsigned_abs()))
}

const fn minus(negative: bool) -> &'static str {
    if negative { "−" } else { "" }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        Usd::parse_dollars(text).unwrap()
    }

    #[test]
    fn short_has_two_digits_from_a_dollar_and_four_significant_below() {
        for (amount, shown) in [
            ("12.4", "$12.40"),
            ("1234567.891", "$1,234,567.89"),
            ("1.575", "$1.58"),
            ("0.105", "$0.105"),
            ("0.0104", "$0.0104"),
            ("0.008", "$0.008"),
            ("0.5", "$0.50"),
            ("0.000123456", "$0.0001235"),
            ("0.99999999", "$1.00"),
            ("0.000000001", "$0.000000001"),
            ("0", "$0.00"),
            ("-3.64", "−$3.64"),
            ("-0.0104", "−$0.0104"),
        ] {
            assert_eq!(text(usd(amount), Digits::Short), shown, "{amount}");
        }
    }

    #[test]
    fn exact_keeps_every_digit_and_cents_two() {
        assert_eq!(text(usd("1.575"), Digits::Exact), "$1.575");
        assert_eq!(text(usd("1050"), Digits::Exact), "$1,050.00");
        assert_eq!(text(usd("0.105"), Digits::Cents), "$0.11");
        assert_eq!(text_in_cents(usd("0.105")), "10.5 ¢");
        assert_eq!(text_in_cents(usd("0.01")), "1 ¢");
        assert_eq!(signed_text(usd("10"), Digits::Exact), "+$10.00");
        assert_eq!(signed_text(usd("-0.105"), Digits::Exact), "−$0.105");
    }
}
