//! Owns: a month as CSV, written while it is read, however long it is.
//! Invariant: amounts have every digit; a text that a spreadsheet would take for a formula is marked as text.

use super::{Bounds, Subject, day_in_words, in_words, load_bounds};
use crate::Server;
use crate::error::{Error, Result};
use crate::ledger::{self, Line};
use domain::money::Usd;
use domain::statement::{LineKind, Sums};
use domain::time::Timestamp;
use futures::stream::{Stream, try_unfold};

const HEADER: [&str; 13] = [
    "time_utc",
    "time",
    "line",
    "what",
    "change_usd",
    "balance_usd",
    "total_usd",
    "model",
    "input_tokens",
    "output_tokens",
    "rate_version",
    "paid_from",
    "reference",
];

/// Where the writing is.
enum At {
    Start,
    Lines { bounds: Bounds, after: i64, sums: Sums, balance: Usd },
    Done,
}

/// The month, piece by piece: a header, the opening balance, every line (oldest first), the totals by kind in a column of
/// their own, and the closing balance. The sum of `change_usd` is the difference of the two balances.
pub fn stream(server: Server, subject: Subject) -> impl Stream<Item = Result<Vec<u8>>> + Send + 'static {
    try_unfold((server, subject, At::Start), |(server, subject, at)| async move {
        match at {
            At::Start => {
                let bounds = load_bounds(&server, &subject).await?;
                let balance = ledger::load_total_until(&server, &subject.account_id, bounds.after).await?;
                let mut page = Page::default();
                page.write(HEADER.map(str::to_owned))?;
                page.balance("opening_balance", &about(&subject, &bounds), bounds.from, balance)?;
                let next = At::Lines { bounds, after: bounds.after, sums: Sums::default(), balance };
                Ok(Some((page.into_bytes()?, (server, subject, next))))
            }
            At::Lines { bounds, after, mut sums, balance } => {
                let lines = ledger::list_lines_between(&server, &subject.account_id, after, bounds.upto).await?;
                let mut page = Page::default();
                let Some(last) = lines.last() else {
                    for (kind, sum) in sums.by_kind() {
                        page.total(kind, sum.lines, sum.change)?;
                    }
                    let end = bounds.until.min(server.clock.now());
                    page.balance("closing_balance", &about(&subject, &bounds), end, balance)?;
                    return Ok(Some((page.into_bytes()?, (server, subject, At::Done))));
                };
                let (after, balance) = (last.seq, last.balance_after);
                for line in &lines {
                    let counted = sums.add(line.kind, line.change);
                    counted.ok_or_else(|| Error::Internal(format!("posting {}: out of range", line.posting_id)))?;
                    page.line(line, &subject.zone)?;
                }
                Ok(Some((page.into_bytes()?, (server, subject, At::Lines { bounds, after, sums, balance }))))
            }
            At::Done => Ok(None),
        }
    })
}

fn about(subject: &Subject, bounds: &Bounds) -> String {
    let Subject { account_id, account_name, zone, month } = subject;
    let last = bounds.until.plus_seconds(-1);
    let (from, until) = (day_in_words(bounds.from, zone), day_in_words(last, zone));
    format!("{account_name} ({account_id}), {}: {from} to {until}, {zone}", month.name())
}

/// Some rows.
struct Page(csv::Writer<Vec<u8>>);

impl Default for Page {
    fn default() -> Page {
        Page(csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new()))
    }
}

impl Page {
    fn write(&mut self, row: [String; 13]) -> Result<()> {
        self.0.write_record(row).map_err(|error| Error::internal("write a row of CSV", error))
    }

    fn balance(&mut self, what: &str, about: &str, at: Timestamp, balance: Usd) -> Result<()> {
        let mut row = <[String; 13]>::default();
        row[0] = utc(at);
        row[2] = what.to_owned();
        row[3] = text(about);
        row[5] = decimal(balance);
        self.write(row)
    }

    fn total(&mut self, kind: LineKind, lines: u64, change: Usd) -> Result<()> {
        let mut row = <[String; 13]>::default();
        row[2] = format!("total_{kind}");
        row[3] = format!("{}: {lines}", kind.words());
        row[6] = decimal(change);
        self.write(row)
    }

    fn line(&mut self, line: &Line, zone: &str) -> Result<()> {
        let run = line.run.as_ref();
        let of_run = |part: fn(&ledger::LineRun) -> String| run.map(part).unwrap_or_default();
        self.write([
            utc(line.created_at),
            in_words(line.created_at, zone),
            line.kind.to_string(),
            text(&line.memo),
            decimal(line.change),
            decimal(line.balance_after),
            String::new(),
            text(&of_run(|run| run.model_id.to_string())),
            of_run(|run| run.input_tokens.to_string()),
            of_run(|run| run.output_tokens.to_string()),
            text(&of_run(|run| run.rate_version.clone())),
            of_run(|run| run.source.to_string()),
            text(line.reference.as_deref().unwrap_or_default()),
        ])
    }

    fn into_bytes(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(|error| Error::internal("finish some rows of CSV", error))
    }
}

/// Every digit, as a plain number: `-0.105`.
fn decimal(amount: Usd) -> String {
    amount.to_string().replace('−', "-").replace('$', "")
}

/// With the time zone's letter and microseconds, as machines read it.
fn utc(at: Timestamp) -> String {
    super::moment(at).to_string()
}

/// A text that begins like a formula gets an apostrophe, which spreadsheets take for "this is text".
fn text(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_marked_as_text_and_numbers_are_not() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|calc", "%0A"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        assert_eq!(text("PRD, \"the\" one"), "PRD, \"the\" one");
        assert_eq!(decimal(Usd::from_nanos(-105_000_001)), "-0.105000001");
    }
}
