//! The statement: every line with its running balance, the balance at any moment, and months as PDF and CSV that say what the
//! ledger says, to the nano-dollar.

use crate::ledger::{capture, hold, nanos, new_hold, void};
use crate::support::{START, World, each_database};
use domain::denial::Denial;
use domain::id::{AccountId, ModelId};
use domain::ledger::{Balance, GrantKind};
use domain::money::Usd;
use domain::statement::{CalendarMonth, LineKind};
use domain::time::Timestamp;
use futures::TryStreamExt as _;
use server::ledger::{
    self, Grant, Line, LineFilter, cut, expire_due, list_expiring, list_lines, load_balance, load_balance_at, load_line,
};
use server::statement::{self, Document, Subject};
use server::{on_read, on_tx};

const DAY: i64 = 86_400;
const ZONE: &str = "Europe/Vienna";

async fn give(world: &World, account: &AccountId, kind: GrantKind, amount: i64, (memo, days): (&str, Option<i64>)) {
    let mut tx = world.db().begin().await.unwrap();
    let grant = Grant {
        account_id: account.clone(),
        kind,
        amount: nanos(amount),
        price: Usd::ZERO,
        reference: world.clock.new_id(),
        memo: memo.to_owned(),
        allowed_models: None,
        expires_at: days.map(|days| world.clock.now().plus_seconds(days * DAY)),
    };
    ledger::grant(&mut tx, &world.clock, grant).await.unwrap();
    tx.commit().await.unwrap();
}

/// Six weeks with every kind of line that needs no Stripe; answers what the account had after each step.
async fn six_weeks(world: &World, account: &AccountId) -> Vec<(Timestamp, Balance)> {
    let ledger = &world.server.ledger;
    let mut seen = Vec::new();
    world.buy(account, Usd::from_dollars(50).unwrap(), Usd::from_dollars(5).unwrap()).await;
    give(world, account, GrantKind::Promotional, 2_000_000_000, ("=HYPERLINK(\"http://example.test\")", Some(20)))
        .await;
    for day in 0..42_i64 {
        let run = |what: &str| new_hold(account, &format!("{what}-{day}"), 90_000_000 + day);
        let charged = hold(ledger, run("charged")).await.unwrap();
        world.clock.advance_seconds(60);
        seen.push((world.clock.now(), load_balance(&world.server, account).await.unwrap()));
        world.clock.advance_seconds(60);
        capture(ledger, charged, 70_000_001 + 997 * day).await.unwrap();
        if day % 5 == 0 {
            let waived = hold(ledger, run("waived")).await.unwrap();
            void(ledger, waived).await.unwrap();
        }
        if day == 30 {
            world.buy(account, Usd::from_dollars(10).unwrap(), Usd::ZERO).await;
        }
        world.clock.advance_seconds(DAY - 120);
        expire_due(&world.server).await.unwrap();
        seen.push((world.clock.now(), load_balance(&world.server, account).await.unwrap()));
        world.clock.advance_seconds(1);
    }
    seen
}

fn subject(account: &AccountId, name: &str, month: &str) -> Subject {
    let month: CalendarMonth = month.parse().unwrap();
    Subject { account_id: account.clone(), account_name: name.to_owned(), zone: ZONE.to_owned(), month }
}

async fn all_lines(world: &World, account: &AccountId, filter: &LineFilter) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::new();
    loop {
        let before = all.last().map(|line| line.seq);
        let page = list_lines(&world.server, account, filter, before, 7).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test]
async fn the_balance_at_any_moment_is_the_sum_of_the_entries_until_then() {
    each_database(async |world| {
        let account = world.account().await;
        assert_eq!(load_balance_at(&world.server, &account, START).await.unwrap(), Balance::default());
        let seen = six_weeks(world, &account).await;
        assert_eq!(seen.len(), 84);
        for (at, balance) in &seen {
            assert_eq!(load_balance_at(&world.server, &account, *at).await.unwrap(), *balance, "{at:?}");
        }
        let before = load_balance_at(&world.server, &account, START.plus_seconds(-1)).await.unwrap();
        assert_eq!(before, Balance::default());
        let (_, last) = seen.last().unwrap();
        let far = load_balance_at(&world.server, &account, START.plus_seconds(900 * DAY)).await.unwrap();
        assert_eq!(far, *last);
    })
    .await;
}

/// The postings of two nodes may be out of order by the difference of their clocks: a moment is one place all the same.
#[tokio::test]
async fn a_moment_is_the_same_place_however_much_comes_after_it() {
    each_database(async |world| {
        let account = world.account().await;
        let midnight = START.plus_seconds(1_000);
        world.clock.advance_seconds(999);
        world.buy(&account, Usd::from_dollars(1).unwrap(), Usd::ZERO).await;
        world.clock.advance_seconds(3);
        world.buy(&account, Usd::from_dollars(1).unwrap(), Usd::ZERO).await;
        // The other node's clock is four seconds behind.
        world.clock.advance_seconds(-4);
        world.buy(&account, Usd::from_dollars(1).unwrap(), Usd::ZERO).await;
        for later in 0..12 {
            assert_eq!(cut(&world.server, &account, midnight).await.unwrap(), 3, "with {later} more");
            world.clock.advance_seconds(40);
            world.buy(&account, Usd::from_dollars(1).unwrap(), Usd::ZERO).await;
        }
        assert_eq!(cut(&world.server, &account, START).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn lines_are_filtered_by_kind_time_model_and_task_and_paged_without_a_gap() {
    each_database(async |world| {
        let account = world.account().await;
        six_weeks(world, &account).await;
        let everything = all_lines(world, &account, &LineFilter::default()).await;
        assert!(everything.windows(2).all(|pair| pair[0].seq > pair[1].seq));
        for line in everything.windows(2) {
            let before = line[1].balance_after;
            assert_eq!(before.checked_add(line[0].change).unwrap(), line[0].balance_after, "{line:?}");
        }
        let count = async |kind| {
            let lines = all_lines(world, &account, &LineFilter { kind: Some(kind), ..LineFilter::default() }).await;
            assert!(lines.iter().all(|line| line.kind == kind), "{kind}");
            lines.len()
        };
        let mut counts = Vec::new();
        for kind in LineKind::ALL {
            counts.push((kind.as_str(), count(*kind).await));
        }
        let expected = [
            ("purchase", 2),
            ("bonus", 1),
            ("promotional", 1),
            ("trial", 0),
            ("debit", 42),
            ("waiver", 9),
            ("refund", 0),
            ("dispute", 0),
            ("adjustment", 0),
            ("expiry", 1),
            ("hold", 51),
        ];
        assert_eq!(counts, expected);
        assert_eq!(everything.len(), 56, "all but holds");

        // One day in Vienna, whose runs are at 9 in the morning.
        let (from, until) = statement::day_in_zone("2027-01-20", ZONE).unwrap();
        let day = LineFilter {
            after: Some(cut(&world.server, &account, from).await.unwrap()),
            until: Some(cut(&world.server, &account, until).await.unwrap()),
            ..LineFilter::default()
        };
        let kinds: Vec<_> = all_lines(world, &account, &day).await.iter().map(|line| line.kind.as_str()).collect();
        assert_eq!(kinds, ["waiver", "debit"]);
        let haiku = LineFilter { model: Some(ModelId::new("haiku")), ..LineFilter::default() };
        assert_eq!(all_lines(world, &account, &haiku).await.len(), 51);
        let opus = LineFilter { model: Some(ModelId::new("opus")), ..LineFilter::default() };
        assert_eq!(all_lines(world, &account, &opus).await, []);
        // Another account sees none of it.
        let other = world.account().await;
        assert_eq!(all_lines(world, &other, &LineFilter::default()).await, []);
        assert_eq!(load_line(&world.server, &other, &everything[0].posting_id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_debit_opens_to_the_credit_that_paid_it() {
    each_database(async |world| {
        let account = world.account().await;
        world.buy(&account, nanos(1_000), nanos(30)).await;
        give(world, &account, GrantKind::Promotional, 50, ("Gift", Some(3))).await;
        let held = hold(&world.server.ledger, new_hold(&account, "run", 500)).await.unwrap();
        capture(&world.server.ledger, held, 100).await.unwrap();
        let lines = list_lines(&world.server, &account, &LineFilter::default(), None, 1).await.unwrap();
        let opened = load_line(&world.server, &account, &lines[0].posting_id).await.unwrap().unwrap();
        assert_eq!((opened.line.kind, opened.line.change), (LineKind::Debit, nanos(-100)));
        let mut parts: Vec<_> = opened.parts.iter().map(|part| (part.kind, part.change.nanos())).collect();
        parts.sort_unstable();
        // Promotional before bonus before bought, and what the hold took beyond that is back.
        let expected = [(GrantKind::Promotional, -50), (GrantKind::Bonus, -30), (GrantKind::Paid, -20)];
        assert_eq!(parts, expected);
        let run = opened.line.run.unwrap();
        assert_eq!((run.input_tokens, run.output_tokens, run.rate_version.as_str()), (16, 24, "2027-01"));
    })
    .await;
}

#[tokio::test]
async fn credit_that_expires_is_shown_before_and_afterwards() {
    each_database(async |world| {
        let account = world.account_with(10).await;
        give(world, &account, GrantKind::Trial, 300, ("Trial", Some(5))).await;
        give(world, &account, GrantKind::Promotional, 200, ("Promotion", Some(2))).await;
        give(world, &account, GrantKind::Promotional, 100, ("Gift", None)).await;
        let left = async || {
            let lots = list_expiring(&world.server, &account).await.unwrap();
            lots.iter().map(|lot| (lot.kind, lot.left.nanos())).collect::<Vec<_>>()
        };
        assert_eq!(left().await, [(GrantKind::Promotional, 200), (GrantKind::Trial, 300)], "the soonest first");
        world.clock.advance_seconds(2 * DAY);
        assert_eq!(left().await, [(GrantKind::Trial, 300)], "before any sweep");
        assert_eq!(expire_due(&world.server).await.unwrap(), 1);
        let expired = LineFilter { kind: Some(LineKind::Expiry), ..LineFilter::default() };
        let lines = list_lines(&world.server, &account, &expired, None, 10).await.unwrap();
        assert_eq!(lines.iter().map(|line| line.change.nanos()).collect::<Vec<_>>(), [-200]);
        world.clock.advance_seconds(900 * DAY);
        expire_due(&world.server).await.unwrap();
        let balance = load_balance(&world.server, &account).await.unwrap();
        assert_eq!((balance.paid, balance.promotional), (Usd::from_dollars(10).unwrap(), nanos(100)));
    })
    .await;
}

#[tokio::test]
async fn months_meet_and_their_sums_are_their_lines() {
    each_database(async |world| {
        let account = world.account().await;
        six_weeks(world, &account).await;
        let load =
            async |month| statement::load_document(&world.server, subject(&account, "Buyer", month)).await.unwrap();
        let mut all = 0;
        let mut closing = Usd::ZERO;
        for month in ["2026-12", "2027-01", "2027-02", "2027-03"] {
            let document = load(month).await;
            assert_eq!(document.opening, closing, "{month} begins where the one before ended");
            let sum = document.lines.iter().fold(Usd::ZERO, |sum, line| sum.checked_add(line.change).unwrap());
            assert_eq!(document.sums.change(), Some(sum));
            assert_eq!(document.opening.checked_add(sum), Some(document.closing), "{month}");
            all += document.lines.len();
            closing = document.closing;
        }
        assert_eq!(closing, load_balance(&world.server, &account).await.unwrap().total());
        assert_eq!(all, 56);
    })
    .await;
}

/// The text of a PDF, read by a reader that is not ours; one string for each page, without blanks.
fn text_of_pages(pdf: &[u8]) -> Vec<String> {
    let read = lopdf::Document::load_mem(pdf).unwrap();
    let pages = read.get_pages();
    pages
        .keys()
        .map(|page| {
            let text = read.extract_text(&[*page]).unwrap();
            text.chars().filter(|letter| !letter.is_whitespace()).collect()
        })
        .collect()
}

/// Looks for each text after the one before it.
fn assert_in_order(all: &str, texts: impl IntoIterator<Item = String>) {
    let mut rest = all;
    for text in texts {
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let at = rest.find(&text).unwrap_or_else(|| panic!("`{text}` is not in the rest: {rest:.300}"));
        rest = &rest[at + text.len()..];
    }
}

fn signed(amount: Usd) -> String {
    if amount.is_positive() { format!("+{amount}") } else { amount.to_string() }
}

#[tokio::test]
async fn the_pdf_says_what_the_ledger_says() {
    each_database(async |world| {
        let account = world.account().await;
        six_weeks(world, &account).await;
        let name = format!("Žluťoučký kůň & Söhne {} Ltd", "of the very long name".repeat(12));
        let document: Document =
            statement::load_document(&world.server, subject(&account, &name, "2027-02")).await.unwrap();
        assert!(document.lines.len() > 30);
        let pages = text_of_pages(&statement::pdf(&document).unwrap());
        assert!(pages.len() >= 2, "{}", pages.len());
        for (number, page) in (1..).zip(&pages) {
            assert!(page.contains(&format!("Page{number}of{}", pages.len())), "{page}");
        }

        let whole = pages.concat();
        let head = ["Tokenbank".to_owned(), "Statement, February 2027".to_owned(), name, account.to_string()];
        let period = ["1 Feb 2027 to 28 Feb 2027, days as in Europe/Vienna".to_owned()];
        let opening = ["Opening balance".to_owned(), document.opening.to_string()];
        let sums = document.sums.by_kind().flat_map(|(kind, sum)| [kind.words().to_owned(), signed(sum.change)]);
        let closing = ["so far".to_owned(), document.closing.to_string()];
        assert_in_order(&whole, head.into_iter().chain(period).chain(opening).chain(sums).chain(closing));

        // Every line of the ledger, in its order, with its amounts to the last digit.
        let filter = LineFilter {
            after: Some(document.bounds.after),
            until: Some(document.bounds.upto),
            ..LineFilter::default()
        };
        let mut lines = all_lines(world, &account, &filter).await;
        lines.reverse();
        assert_eq!(lines.len(), document.lines.len());
        let texts = lines.iter().flat_map(|line| {
            [
                statement::in_words(line.created_at, ZONE),
                signed(line.change),
                line.balance_after.to_string(),
                line.memo.clone(),
            ]
        });
        assert_in_order(&whole, texts);
        assert!(whole.contains("neverexpires"));
    })
    .await;
}

#[tokio::test]
async fn a_month_of_nothing_and_a_month_to_come() {
    each_database(async |world| {
        let account = world.account().await;
        let document = statement::load_document(&world.server, subject(&account, "Buyer", "2026-05")).await.unwrap();
        assert_eq!((document.opening, document.closing, document.is_over), (Usd::ZERO, Usd::ZERO, true));
        let pages = text_of_pages(&statement::pdf(&document).unwrap());
        assert_eq!(pages.len(), 1);
        assert!(pages[0].contains("Nothingchangedthebalance"), "{}", pages[0]);
        let user = crate::shop::insert_user(world, account).await;
        let to_come = Subject::of(&user, "2027-02".parse().unwrap(), world.clock.now());
        assert_eq!(to_come.unwrap_err().denial().map(Denial::code), Some("not_found"));
    })
    .await;
}

#[tokio::test]
async fn the_csv_is_exact_and_no_text_is_a_formula() {
    each_database(async |world| {
        let account = world.account().await;
        six_weeks(world, &account).await;
        let name = "=cmd|' /C calc'!A0, \"quoted\"\nand broken";
        for month in ["2027-01", "2027-02"] {
            let pieces: Vec<Vec<u8>> =
                statement::csv(world.server.clone(), subject(&account, name, month)).try_collect().await.unwrap();
            let bytes = pieces.concat();
            let mut reader = csv::Reader::from_reader(bytes.as_slice());
            let header = reader.headers().unwrap().clone();
            let column = |name: &str| header.iter().position(|field| field == name).unwrap();
            let (line, what, change, balance, total) =
                (column("line"), column("what"), column("change_usd"), column("balance_usd"), column("total_usd"));
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            let usd = |text: &str| Usd::parse_dollars(text).unwrap_or_else(|| panic!("`{text}` is no amount"));

            let document = statement::load_document(&world.server, subject(&account, name, month)).await.unwrap();
            let lines: Vec<_> = rows.iter().filter(|row| !row[change].is_empty()).collect();
            assert_eq!(lines.len(), document.lines.len());
            for (row, entry) in lines.iter().zip(&document.lines) {
                assert_eq!((usd(&row[change]), usd(&row[balance])), (entry.change, entry.balance_after));
                assert_eq!(&row[line], entry.kind.as_str());
            }
            let (first, last) = (rows.first().unwrap(), rows.last().unwrap());
            assert_eq!((&first[line], usd(&first[balance])), ("opening_balance", document.opening));
            assert_eq!((&last[line], usd(&last[balance])), ("closing_balance", document.closing));
            let totals: Vec<_> = rows.iter().filter(|row| row[line].starts_with("total_")).collect();
            let sums: Vec<_> = document.sums.by_kind().collect();
            assert_eq!(totals.len(), sums.len());
            for (row, (kind, sum)) in totals.iter().zip(sums) {
                assert_eq!((&row[line], usd(&row[total])), (format!("total_{kind}").as_str(), sum.change));
            }
            for row in &rows {
                let text = &row[what];
                assert!(!text.starts_with(['=', '+', '-', '@']), "{text}");
            }
            assert!(first[what].starts_with("'=cmd|"), "{}", &first[what]);
        }
    })
    .await;
}

/// Ten thousand lines are read page by page, each page by its index; the last page costs what the first does.
#[tokio::test]
#[allow(clippy::print_stdout)] // What it measured, for whoever runs it with --no-capture.
async fn ten_thousand_lines_are_paged_quickly() {
    each_database(async |world| {
        let account = world.account_with(100).await;
        let mut tx = world.db().begin().await.unwrap();
        let insert = "with recursive n (i) as (select cast(1 as bigint) union all select i + 1 from n where i < 10000)
                      insert into posting (posting_id, account_id, seq, kind, idempotency_key, reference, memo,
                                           change_nanos, balance_after_nanos, created_at)
                      select 'p' || i, $1, i + 1, 'capture', 'end:' || i, 'r' || i, 'PRD', -1, 0, $2 + i * 1000000 from n";
        on_tx!(&mut tx, conn => {
            sqlx::query(insert).bind(&account).bind(START).execute(conn).await.map(drop)
        })
        .unwrap();
        on_tx!(&mut tx, conn => {
            sqlx::query("update balance set last_seq = 10001 where account_id = $1").bind(&account).execute(conn).await.map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();

        let began = std::time::Instant::now();
        let mut pages = 0_u32;
        let mut before = None;
        let mut all = 0;
        loop {
            let page = list_lines(&world.server, &account, &LineFilter::default(), before, 100).await.unwrap();
            let Some(last) = page.last() else { break };
            (before, all, pages) = (Some(last.seq), all + page.len(), pages + 1);
        }
        assert_eq!((all, pages), (10_001, 101));
        let each = began.elapsed() / pages;
        let began = std::time::Instant::now();
        let purchases = LineFilter { kind: Some(LineKind::Purchase), ..LineFilter::default() };
        assert_eq!(list_lines(&world.server, &account, &purchases, None, 50).await.unwrap().len(), 1);
        let rare = began.elapsed();
        let began = std::time::Instant::now();
        assert_eq!(cut(&world.server, &account, START.plus_seconds(5_000)).await.unwrap(), 5_000);
        let halving = began.elapsed();
        let engine = world.db().engine();
        println!("{engine}: a page of 100 lines {each:?}, the purchase among 10,000 runs {rare:?}, a moment {halving:?}");

        if engine == "sqlite" {
            let plan: Vec<(i64, i64, i64, String)> = on_read!(world.db(), pool => {
                sqlx::query_as(
                    "explain query plan select posting_id from posting p
                      where p.account_id = $1 and p.seq > 0 and p.seq <= 9
                        and p.kind not in ('hold', 'capture', 'void', 'expire') order by p.seq desc limit 5",
                )
                .bind(&account)
                .fetch_all(pool)
                .await
            })
            .unwrap();
            assert!(plan.iter().any(|(.., step)| step.contains("posting_rare")), "{plan:?}");
        }
    })
    .await;
}
