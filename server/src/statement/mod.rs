//! Owns: a month of the statement as a document: its bounds in the account's time zone, its lines, sums and balances; and
//! the forms it is handed out in, PDF and CSV.
//! Does not own: the ledger's lines (`ledger`), or the page that lists them.
//! Invariant: opening balance + the sums of its lines = closing balance, and one month's closing is the next one's opening.

mod csv;
mod font;
mod pdf;

pub use csv::stream as csv;
pub use pdf::write as pdf;

use crate::Server;
use crate::account::User;
use crate::error::{Error, Result};
use crate::ledger::{self, Expiring, Line};
use domain::id::AccountId;
use domain::money::Usd;
use domain::statement::{CalendarMonth, LineKind, Sums};
use domain::time::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A document has this many lines at most; beyond it, runs that follow one another on a day are one line.
const MOST_LINES: usize = 2_000;

/// Which month of which account.
#[derive(Clone, Debug)]
pub struct Subject {
    pub account_id: AccountId,
    pub account_name: String,
    /// An IANA name; months begin at its midnight.
    pub zone: String,
    pub month: CalendarMonth,
}

/// A month of an account, told from its ledger.
#[derive(Clone, Debug)]
pub struct Document {
    pub subject: Subject,
    pub bounds: Bounds,
    /// Whether the month was over when it was made; else it is what was known until then.
    pub is_over: bool,
    pub made_at: Timestamp,
    pub opening: Usd,
    pub lines: Vec<Entry>,
    pub sums: Sums,
    pub closing: Usd,
    /// Whether there were so many lines that runs are told by the day.
    pub is_folded: bool,
    /// What will expire, seen from now; nothing for a month that is over.
    pub expiring: Vec<Expiring>,
}

/// A line of a document: one of the statement, or runs that followed one another on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub kind: LineKind,
    pub what: String,
    pub change: Usd,
    pub balance_after: Usd,
    /// How many lines of the statement it stands for.
    pub count: u64,
}

impl Entry {
    /// Its kind and what it is about; a run that was not charged says so itself.
    pub fn in_words(&self) -> String {
        if self.kind == LineKind::Waiver { self.what.clone() } else { format!("{}: {}", self.kind.word(), self.what) }
    }
}

/// Where a month lies among an account's postings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub from: Timestamp,
    pub until: Timestamp,
    /// Places of the ledger (`ledger::cut`): lines after the first, up to the second.
    pub after: i64,
    pub upto: i64,
}

impl Subject {
    /// A month of the account that the user looks at; `NotFound` for one that has not begun.
    pub fn of(user: &User, month: CalendarMonth, now: Timestamp) -> Result<Subject> {
        let subject = Subject {
            account_id: user.account_id.clone(),
            account_name: user.account_name.clone(),
            zone: user.time_zone.clone(),
            month,
        };
        if first_moment(month, &subject.zone)? > now {
            let what = format!("statement for {}: the month has not begun", month.name());
            return Err(domain::denial::Denial::NotFound { what }.into());
        }
        Ok(subject)
    }
}

/// Where the month lies.
pub async fn load_bounds(server: &Server, subject: &Subject) -> Result<Bounds> {
    let from = first_moment(subject.month, &subject.zone)?;
    let until = first_moment(subject.month.next(), &subject.zone)?;
    let after = ledger::cut(server, &subject.account_id, from).await?;
    let upto = ledger::cut(server, &subject.account_id, until).await?;
    Ok(Bounds { from, until, after, upto })
}

/// The month with its lines, oldest first.
pub async fn load_document(server: &Server, subject: Subject) -> Result<Document> {
    let bounds = load_bounds(server, &subject).await?;
    let account_id = &subject.account_id;
    let opening = ledger::load_total_until(server, account_id, bounds.after).await?;
    let mut lines = Lines::new(&subject.zone, opening);
    let mut after = bounds.after;
    loop {
        let page = ledger::list_lines_between(server, account_id, after, bounds.upto).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for line in page {
            lines.push(line)?;
        }
    }
    let made_at = server.clock.now();
    let is_over = bounds.until <= made_at;
    let expiring = if is_over { Vec::new() } else { ledger::list_expiring(server, account_id).await? };
    let Lines { entries, sums, closing, is_folded, .. } = lines;
    Ok(Document { bounds, is_over, made_at, opening, lines: entries, sums, closing, is_folded, expiring, subject })
}

/// Lines as they come, folded once they are too many.
struct Lines {
    zone: TimeZone,
    entries: Vec<Entry>,
    sums: Sums,
    closing: Usd,
    is_folded: bool,
}

impl Lines {
    fn new(zone: &str, opening: Usd) -> Lines {
        Lines { zone: zone_of(zone), entries: Vec::new(), sums: Sums::default(), closing: opening, is_folded: false }
    }

    fn push(&mut self, line: Line) -> Result<()> {
        let out_of_range = || Error::Internal(format!("posting {}: sums are out of range", line.posting_id));
        self.sums.add(line.kind, line.change).ok_or_else(out_of_range)?;
        self.closing = line.balance_after;
        let entry = Entry {
            at: line.created_at,
            kind: line.kind,
            what: line.memo,
            change: line.change,
            balance_after: line.balance_after,
            count: 1,
        };
        if self.is_folded {
            fold(&mut self.entries, entry, &self.zone);
        } else {
            self.entries.push(entry);
        }
        if !self.is_folded && self.entries.len() > MOST_LINES {
            self.is_folded = true;
            let all = std::mem::take(&mut self.entries);
            for entry in all {
                fold(&mut self.entries, entry, &self.zone);
            }
        }
        Ok(())
    }
}

/// Adds an entry, or adds its run to the runs before it on the same day.
fn fold(entries: &mut Vec<Entry>, entry: Entry, zone: &TimeZone) {
    let day = |at: Timestamp| moment(at).to_zoned(zone.clone()).date();
    match entries.last_mut() {
        Some(last) if last.kind == entry.kind && entry.kind == LineKind::Debit && day(last.at) == day(entry.at) => {
            last.count = last.count.saturating_add(1);
            last.what = format!("{} runs", last.count);
            last.change = last.change.saturating_add(entry.change);
            last.balance_after = entry.balance_after;
        }
        Some(_) | None => entries.push(entry),
    }
}

/// The first moment of a month in a zone.
fn first_moment(month: CalendarMonth, zone: &str) -> Result<Timestamp> {
    let first =
        Date::new(month.year(), month.month(), 1).map_err(|error| Error::internal("a month's first day", error))?;
    start_of(first, zone).ok_or_else(|| Error::Internal(format!("{month} does not begin in {zone}")))
}

/// The first moment of a day in a zone.
fn start_of(day: Date, zone: &str) -> Option<Timestamp> {
    let start = day.to_zoned(zone_of(zone)).ok()?;
    Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

/// The first moment of a day that was typed as `2026-11-05`, in a zone, and that of the next day.
pub fn day_in_zone(typed: &str, zone: &str) -> Option<(Timestamp, Timestamp)> {
    let day: Date = typed.trim().parse().ok()?;
    Some((start_of(day, zone)?, start_of(day.tomorrow().ok()?, zone)?))
}

/// A moment that was typed as `2026-11-05T14:30`, in a zone.
pub fn moment_in_zone(typed: &str, zone: &str) -> Option<Timestamp> {
    let moment: DateTime = typed.trim().parse().ok()?;
    Some(Timestamp::from_micros(moment.to_zoned(zone_of(zone)).ok()?.timestamp().as_microsecond()))
}

/// The month in which a moment lies, in a zone.
pub fn month_of(at: Timestamp, zone: &str) -> Option<CalendarMonth> {
    let there = moment(at).to_zoned(zone_of(zone));
    CalendarMonth::new(there.year(), there.month())
}

/// A moment in a zone, `5 Nov 2026, 14:05`.
pub fn in_words(at: Timestamp, zone: &str) -> String {
    moment(at).to_zoned(zone_of(zone)).strftime("%-d %b %Y, %H:%M").to_string()
}

/// A day in a zone, `5 Nov 2026`.
pub fn day_in_words(at: Timestamp, zone: &str) -> String {
    moment(at).to_zoned(zone_of(zone)).strftime("%-d %b %Y").to_string()
}

fn moment(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// A zone nobody knows counts as UTC, as on the pages.
fn zone_of(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_days_begin_at_the_zones_midnight() {
        let november: CalendarMonth = "2026-11".parse().unwrap();
        let at = |zone| first_moment(november, zone).unwrap().seconds();
        assert_eq!(at("UTC") - at("Europe/Vienna"), 3_600);
        assert_eq!(at("America/New_York") - at("UTC"), 4 * 3_600, "summer time ends on the first of that month");
        // The day on which Vienna's clocks go back has 25 hours.
        let (start, end) = day_in_zone("2026-10-25", "Europe/Vienna").unwrap();
        assert_eq!(end.seconds() - start.seconds(), 25 * 3_600);
        assert_eq!(day_in_zone("2026-02-30", "UTC"), None);
        assert_eq!(month_of(start.plus_seconds(-1), "Europe/Vienna").unwrap().to_string(), "2026-10");
        let moment = moment_in_zone("2026-11-24T12:05", "Europe/Vienna").unwrap();
        assert_eq!(in_words(moment, "Europe/Vienna"), "24 Nov 2026, 12:05");
        assert_eq!(moment_in_zone("yesterday", "UTC"), None);
    }

    #[test]
    fn too_many_lines_become_runs_by_the_day_and_the_balance_goes_on() {
        let mut entries = Vec::new();
        let entry = |kind, seconds, change: i64, after: i64| Entry {
            at: Timestamp::from_seconds(seconds),
            kind,
            what: "PRD".to_owned(),
            change: Usd::from_nanos(change),
            balance_after: Usd::from_nanos(after),
            count: 1,
        };
        for next in [
            entry(LineKind::Debit, 10, -1, 99),
            entry(LineKind::Debit, 20, -2, 97),
            entry(LineKind::Purchase, 30, 50, 147),
            entry(LineKind::Debit, 40, -3, 144),
            entry(LineKind::Debit, 86_400, -4, 140),
        ] {
            fold(&mut entries, next, &TimeZone::UTC);
        }
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.what.as_str(), entry.change.nanos(), entry.balance_after.nanos()))
            .collect();
        assert_eq!(told, [("2 runs", -3, 97), ("PRD", 50, 147), ("PRD", -3, 144), ("PRD", -4, 140)]);
    }
}
