//! Owns: how the ledger's postings are told to the customer: what each line is, months, and sums by kind.
//! Does not own: the postings (`ledger`), reading them (`server::ledger`), or how a page or a file shows them.
//! Invariant: opening balance + the lines' changes = closing balance.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use crate::ledger::{GrantKind, PostingKind};
use crate::money::Usd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

crate::text_enum! {
    /// What a line is, as its reader thinks of it. The order is the one in which sums are listed.
    LineKind {
        Purchase = "purchase",
        Bonus = "bonus",
        Promotional = "promotional",
        Trial = "trial",
        /// A run that was charged.
        Debit = "debit",
        /// A run that was not charged: what it had set aside came back.
        Waiver = "waiver",
        Refund = "refund",
        Dispute = "dispute",
        Adjustment = "adjustment",
        /// Trial or promotional credit whose time was over.
        Expiry = "expiry",
        /// Set aside for a run; changes nothing of what the customer has.
        Hold = "hold",
    }
}

impl LineKind {
    /// What a posting is; `granted` is the kind of credit that a grant gave.
    pub const fn of(kind: PostingKind, granted: Option<GrantKind>) -> LineKind {
        match kind {
            PostingKind::Grant => match granted {
                Some(GrantKind::Bonus) => LineKind::Bonus,
                Some(GrantKind::Promotional) => LineKind::Promotional,
                Some(GrantKind::Trial) => LineKind::Trial,
                Some(GrantKind::Paid) | None => LineKind::Purchase,
            },
            PostingKind::Hold => LineKind::Hold,
            PostingKind::Capture => LineKind::Debit,
            PostingKind::Void | PostingKind::Expire => LineKind::Waiver,
            PostingKind::LotExpiry => LineKind::Expiry,
            PostingKind::Refund => LineKind::Refund,
            PostingKind::Dispute => LineKind::Dispute,
            PostingKind::Adjustment => LineKind::Adjustment,
        }
    }

    /// One line of this kind, in a word or two.
    pub const fn word(self) -> &'static str {
        match self {
            LineKind::Purchase => "Purchase",
            LineKind::Bonus => "Bonus",
            LineKind::Promotional => "Promotional credit",
            LineKind::Trial => "Trial credit",
            LineKind::Debit => "Run",
            LineKind::Waiver => "Not charged",
            LineKind::Refund => "Refund",
            LineKind::Dispute => "Dispute",
            LineKind::Adjustment => "Adjustment",
            LineKind::Expiry => "Expired credit",
            LineKind::Hold => "Set aside",
        }
    }

    /// All lines of this kind, as filters and sums name them.
    pub const fn words(self) -> &'static str {
        match self {
            LineKind::Purchase => "Purchases",
            LineKind::Bonus => "Bonuses",
            LineKind::Promotional => "Promotional credit",
            LineKind::Trial => "Trial credit",
            LineKind::Debit => "Runs",
            LineKind::Waiver => "Not charged",
            LineKind::Refund => "Refunds",
            LineKind::Dispute => "Disputes",
            LineKind::Adjustment => "Adjustments",
            LineKind::Expiry => "Expired credit",
            LineKind::Hold => "Set aside",
        }
    }
}

/// How many lines of a kind there are and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub lines: u64,
    pub change: Usd,
}

/// The lines of a time, summed by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<LineKind, Sum>);

impl Sums {
    /// Counts a line; `None` when the sum is out of range.
    pub fn add(&mut self, kind: LineKind, change: Usd) -> Option<()> {
        let sum = self.0.entry(kind).or_default();
        sum.lines = sum.lines.checked_add(1)?;
        sum.change = sum.change.checked_add(change)?;
        Some(())
    }

    /// The kinds that there are, in the order of [`LineKind`].
    pub fn by_kind(&self) -> impl Iterator<Item = (LineKind, Sum)> + '_ {
        self.0.iter().map(|(kind, sum)| (*kind, *sum))
    }

    /// What all lines come to; `None` out of range.
    pub fn change(&self) -> Option<Usd> {
        self.0.values().try_fold(Usd::ZERO, |all, sum| all.checked_add(sum.change))
    }
}

/// A month of the calendar, such as `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CalendarMonth {
    year: i16,
    month: i8,
}

impl CalendarMonth {
    /// `None` unless `month` is 1 to 12 and `year` 1970 to 9998, so that the month after it exists.
    pub const fn new(year: i16, month: i8) -> Option<CalendarMonth> {
        if year >= 1970 && year <= 9_998 && month >= 1 && month <= 12 {
            Some(CalendarMonth { year, month })
        } else {
            None
        }
    }

    pub const fn year(self) -> i16 {
        self.year
    }

    /// 1 to 12.
    pub const fn month(self) -> i8 {
        self.month
    }

    /// The month after it; itself at the end of the range.
    #[must_use]
    pub const fn next(self) -> CalendarMonth {
        let CalendarMonth { year, month } = self;
        match (month, CalendarMonth::new(year.saturating_add(1), 1)) {
            (12, Some(next)) => next,
            (12, None) => self,
            (_, _) => CalendarMonth { year, month: month.saturating_add(1) },
        }
    }

    /// The month before it; itself at the start of the range.
    #[must_use]
    pub const fn previous(self) -> CalendarMonth {
        let CalendarMonth { year, month } = self;
        match (month, CalendarMonth::new(year.saturating_sub(1), 12)) {
            (1, Some(previous)) => previous,
            (1, None) => self,
            (_, _) => CalendarMonth { year, month: month.saturating_sub(1) },
        }
    }

    /// Such as `November 2026`.
    pub fn name(self) -> String {
        let names = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let name = usize::try_from(self.month.saturating_sub(1)).ok().and_then(|index| names.get(index));
        format!("{} {}", name.copied().unwrap_or_default(), self.year)
    }
}

impl fmt::Display for CalendarMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for CalendarMonth {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<CalendarMonth, NoMonth> {
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let is_written_so =
            year.len() == 4 && month.len() == 2 && text.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        let (year, month) = (year.parse().map_err(|_| NoMonth)?, month.parse().map_err(|_| NoMonth)?);
        CalendarMonth::new(year, month).filter(|_| is_written_so).ok_or(NoMonth)
    }
}

/// Text that is no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a month is written like 2026-11")]
pub struct NoMonth;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_as_they_are_written() {
        let month: CalendarMonth = "2026-11".parse().unwrap();
        assert_eq!((month.to_string(), month.name()), ("2026-11".to_owned(), "November 2026".to_owned()));
        assert_eq!(month.next().next().to_string(), "2027-01");
        assert_eq!(month.next().next().previous(), month.next());
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-+1", "-026-01", "2026-11-01", "1969-12"]
        {
            assert_eq!(bad.parse::<CalendarMonth>(), Err(NoMonth), "{bad}");
        }
    }

    #[test]
    fn sums_add_up_by_kind() {
        let mut sums = Sums::default();
        for (kind, dollars) in [(LineKind::Debit, -2), (LineKind::Purchase, 10), (LineKind::Debit, -3)] {
            sums.add(kind, Usd::from_dollars(dollars).unwrap()).unwrap();
        }
        let listed: Vec<_> = sums.by_kind().map(|(kind, sum)| (kind.as_str(), sum.lines, sum.change)).collect();
        assert_eq!(
            listed,
            [("purchase", 1, Usd::from_dollars(10).unwrap()), ("debit", 2, Usd::from_dollars(-5).unwrap())]
        );
        assert_eq!(sums.change(), Usd::from_dollars(5));
        assert_eq!(sums.add(LineKind::Purchase, Usd::MAX), None, "out of range is said, not wrapped");
    }
}
