//! Owns: a month on paper: A4, selectable text in the site's own face, every amount with all its digits, pages numbered.
//! Does not own: any number; they are the document's.

use super::font::{Face, compress};
use super::{Document, Entry, day_in_words, in_words};
use crate::error::Result;
use domain::ledger::GrantKind;
use domain::money::Usd;
use pdf_writer::{Content, Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const LEFT: f32 = 48.0;
const RIGHT: f32 = 547.0;
const TOP: f32 = 790.0;
/// Nothing but the foot stands below.
const BOTTOM: f32 = 72.0;
/// Where what a line is about begins and ends, and where its change ends; its balance ends at the right.
const WHAT: f32 = 134.0;
const WHAT_END: f32 = 352.0;
const CHANGE: f32 = 448.0;

const BODY: f32 = 9.0;
const SMALL: f32 = 8.0;
const LEADING: f32 = 13.0;

const INK: f32 = 0.1;
const MUTED: f32 = 0.42;

#[derive(Clone, Copy)]
enum Weight {
    Regular,
    Semibold,
}

/// The document as a PDF. It computes for some milliseconds a page: call it where that blocks nobody.
pub fn write(document: &Document) -> Result<Vec<u8>> {
    let mut sheets = Sheets::new()?;
    head(&mut sheets, document);
    sums(&mut sheets, document);
    lines(&mut sheets, document);
    remarks(&mut sheets, document);
    let foot = format!("{} · {}", document.subject.account_name, document.subject.month.name());
    let title = format!("Statement {} of {}", document.subject.month, document.subject.account_name);
    sheets.finish(&foot, &title)
}

fn head(sheets: &mut Sheets, document: &Document) {
    let subject = &document.subject;
    sheets.text(LEFT, 11.0, Weight::Semibold, INK, "Tokenbank");
    sheets.down(30.0);
    sheets.text(LEFT, 20.0, Weight::Semibold, INK, &format!("Statement, {}", subject.month.name()));
    sheets.down(22.0);
    for line in sheets.wrap(&subject.account_name, 11.0, Weight::Regular, RIGHT - LEFT) {
        sheets.text(LEFT, 11.0, Weight::Regular, INK, &line);
        sheets.down(15.0);
    }
    let zone = &subject.zone;
    let (from, last) = (document.bounds.from, document.bounds.until.plus_seconds(-1));
    let period = format!("{} to {}, days as in {zone}", day_in_words(from, zone), day_in_words(last, zone));
    let made = if document.is_over { "Made" } else { "The month is not over; made" };
    let facts = [
        ("Account", subject.account_id.to_string()),
        ("Period", period),
        (made, in_words(document.made_at, zone)),
        ("Currency", "US dollars; every digit is shown".to_owned()),
    ];
    for (name, value) in facts {
        sheets.text(LEFT, SMALL, Weight::Regular, MUTED, &format!("{name}: {value}"));
        sheets.down(12.0);
    }
    sheets.down(10.0);
}

/// Opening balance, what happened by kind, closing balance.
fn sums(sheets: &mut Sheets, document: &Document) {
    sheets.rule();
    sheets.pair("Opening balance", document.opening.to_string(), Weight::Semibold);
    for (kind, sum) in document.sums.by_kind() {
        let count = if sum.lines == 1 { "1 line".to_owned() } else { format!("{} lines", sum.lines) };
        sheets.pair(&format!("{} ({count})", kind.words()), signed(sum.change), Weight::Regular);
    }
    let closing = if document.is_over { "Closing balance" } else { "Balance so far" };
    sheets.pair(closing, document.closing.to_string(), Weight::Semibold);
    sheets.rule();
    sheets.down(16.0);
}

fn lines(sheets: &mut Sheets, document: &Document) {
    if document.lines.is_empty() {
        sheets.text(LEFT, BODY, Weight::Regular, MUTED, "Nothing changed the balance in this month.");
        sheets.down(LEADING);
        return;
    }
    table_head(sheets);
    for entry in &document.lines {
        line(sheets, entry, &document.subject.zone);
    }
    sheets.rule();
}

fn table_head(sheets: &mut Sheets) {
    sheets.text(LEFT, SMALL, Weight::Semibold, MUTED, "Date");
    sheets.text(WHAT, SMALL, Weight::Semibold, MUTED, "What");
    sheets.text_to(CHANGE, SMALL, Weight::Semibold, MUTED, "Change");
    sheets.text_to(RIGHT, SMALL, Weight::Semibold, MUTED, "Balance");
    sheets.down(6.0);
    sheets.rule();
}

fn line(sheets: &mut Sheets, entry: &Entry, zone: &str) {
    let what = entry.in_words();
    let parts = sheets.wrap(&what, BODY, Weight::Regular, WHAT_END - WHAT);
    let count = i16::try_from(parts.len()).unwrap_or(i16::MAX);
    // A line is never torn apart, unless it alone is longer than a page.
    if sheets.room() < f32::from(count).min(40.0) * LEADING {
        sheets.new_page();
        table_head(sheets);
    }
    sheets.text(LEFT, SMALL, Weight::Regular, MUTED, &in_words(entry.at, zone));
    sheets.text_to(CHANGE, BODY, Weight::Regular, INK, &signed(entry.change));
    sheets.text_to(RIGHT, BODY, Weight::Regular, INK, &entry.balance_after.to_string());
    for part in parts {
        if sheets.room() < LEADING {
            sheets.new_page();
            table_head(sheets);
        }
        sheets.text(WHAT, BODY, Weight::Regular, INK, &part);
        sheets.down(LEADING);
    }
}

fn remarks(sheets: &mut Sheets, document: &Document) {
    sheets.down(14.0);
    let mut remarks = Vec::new();
    if document.is_folded {
        remarks.push(
            "There are so many lines that runs which followed one another on a day are one line here. The CSV has each."
                .to_owned(),
        );
    }
    for lot in &document.expiring {
        let kind = match lot.kind {
            GrantKind::Trial => "trial",
            GrantKind::Promotional | GrantKind::Bonus | GrantKind::Paid => "promotional",
        };
        let day = in_words(lot.expires_at, &document.subject.zone);
        remarks.push(format!("{} of {kind} credit expires on {day}.", lot.left));
    }
    remarks.push("Credit that was bought never expires; what is unused can be refunded.".to_owned());
    for remark in remarks {
        for part in sheets.wrap(&remark, SMALL, Weight::Regular, RIGHT - LEFT) {
            if sheets.room() < LEADING {
                sheets.new_page();
            }
            sheets.text(LEFT, SMALL, Weight::Regular, MUTED, &part);
            sheets.down(12.0);
        }
    }
}

fn signed(amount: Usd) -> String {
    if amount.is_positive() { format!("+{amount}") } else { amount.to_string() }
}

/// The pages so far, and how far down the last one is written.
struct Sheets {
    regular: Face,
    semibold: Face,
    pages: Vec<Content>,
    y: f32,
}

impl Sheets {
    fn new() -> Result<Sheets> {
        Ok(Sheets { regular: Face::regular()?, semibold: Face::semibold()?, pages: vec![Content::new()], y: TOP })
    }

    fn new_page(&mut self) {
        self.pages.push(Content::new());
        self.y = TOP;
    }

    fn room(&self) -> f32 {
        self.y - BOTTOM
    }

    fn down(&mut self, points: f32) {
        self.y -= points;
    }

    fn face(&self, weight: Weight) -> &Face {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Semibold => &self.semibold,
        }
    }

    /// Writes a text that begins at `x`.
    fn text(&mut self, x: f32, size: f32, weight: Weight, gray: f32, text: &str) {
        let (face, name) = match weight {
            Weight::Regular => (&mut self.regular, Name(b"R")),
            Weight::Semibold => (&mut self.semibold, Name(b"S")),
        };
        let encoded = face.encode(text);
        let Some(page) = self.pages.last_mut() else { return };
        page.set_fill_gray(gray);
        page.begin_text().set_font(name, size).next_line(x, self.y).show(Str(&encoded)).end_text();
    }

    /// Writes a text that ends at `x`.
    fn text_to(&mut self, x: f32, size: f32, weight: Weight, gray: f32, text: &str) {
        let width = self.face(weight).width(text, size);
        self.text(x - width, size, weight, gray, text);
    }

    /// A name at the left and an amount at the right.
    fn pair(&mut self, name: &str, amount: String, weight: Weight) {
        self.text(LEFT, BODY, weight, INK, name);
        self.text_to(RIGHT, BODY, weight, INK, &amount);
        self.down(LEADING + 2.0);
    }

    /// A hairline, with room around it.
    fn rule(&mut self) {
        let y = self.y;
        if let Some(page) = self.pages.last_mut() {
            page.set_stroke_gray(0.8).set_line_width(0.5).move_to(LEFT, y).line_to(RIGHT, y).stroke();
        }
        self.down(LEADING + 2.0);
    }

    /// A text in lines that are no wider than `width`: broken at blanks, and inside a word that alone is wider.
    fn wrap(&self, text: &str, size: f32, weight: Weight, width: f32) -> Vec<String> {
        let face = self.face(weight);
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let Some(line) = lines.last_mut() else { break };
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if face.width(&longer, size) <= width {
                *line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(String::new());
            }
            for letter in word.chars() {
                let Some(line) = lines.last_mut() else { break };
                let longer = format!("{line}{letter}");
                if face.width(&longer, size) <= width {
                    *line = longer;
                } else {
                    lines.push(letter.to_string());
                }
            }
        }
        lines
    }

    /// Writes the feet, and everything into one file.
    fn finish(mut self, foot: &str, title: &str) -> Result<Vec<u8>> {
        let pages = std::mem::take(&mut self.pages);
        let total = pages.len();
        let mut next = Ref::new(1);
        let (catalog, tree, info) = (next.bump(), next.bump(), next.bump());
        let (regular, semibold) = (next.bump(), next.bump());
        let sheets: Vec<(Ref, Ref)> = pages.iter().map(|_| (next.bump(), next.bump())).collect();

        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(tree).lang(TextStr("en"));
        pdf.document_info(info).title(TextStr(title)).producer(TextStr("Tokenbank"));
        pdf.pages(tree).kids(sheets.iter().map(|(page, _)| *page)).count(i32::try_from(total).unwrap_or(i32::MAX));
        for ((number, content), (page_id, content_id)) in (1..).zip(pages).zip(sheets) {
            self.pages = vec![content];
            self.y = 44.0;
            let number = format!("Page {number} of {total}");
            let room = RIGHT - LEFT - self.regular.width(&number, SMALL) - 24.0;
            let name = self.wrap(foot, SMALL, Weight::Regular, room).swap_remove(0);
            self.text(LEFT, SMALL, Weight::Regular, MUTED, &name);
            self.text_to(RIGHT, SMALL, Weight::Regular, MUTED, &number);
            let Some(content) = self.pages.pop().map(Content::finish) else { continue };

            let mut page = pdf.page(page_id);
            page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(tree).contents(content_id);
            page.resources().fonts().pair(Name(b"R"), regular).pair(Name(b"S"), semibold);
            page.finish();
            pdf.stream(content_id, &compress(content.as_slice())?).filter(Filter::FlateDecode);
        }
        self.regular.embed(&mut pdf, regular, &mut next)?;
        self.semibold.embed(&mut pdf, semibold, &mut next)?;
        Ok(pdf.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_wrap_and_lose_no_letter() {
        let sheets = Sheets::new().unwrap();
        let name = format!("A name {} of one word Žluťoučký", "x".repeat(200));
        let lines = sheets.wrap(&name, BODY, Weight::Regular, 200.0);
        assert!(lines.len() > 5);
        assert!(lines.iter().all(|line| sheets.regular.width(line, BODY) <= 200.0), "{lines:?}");
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
        assert_eq!(letters(&lines.concat()), letters(&name));
    }
}
