//! Owns: reading the ledger for people: the balance now or at any moment, credit that will expire, and the lines of the
//! statement, page by page.
//! Does not own: months as documents (`crate::statement`).
//! Invariant: a moment is turned into a place in the account's postings once ([`cut`]), and everything about that moment is
//! read up to that place: so lines, sums and balances of one moment always agree, and neighbouring times meet.

use crate::Server;
use crate::error::{Error, Result};
use crate::on_read;
use domain::funding::FundingSource;
use domain::id::{AccountId, LotId, ModelId, PostingId, SkillId};
use domain::ledger::{Balance, Book, GrantKind, PostingKind};
use domain::money::Usd;
use domain::statement::LineKind;
use domain::time::Timestamp;

/// How far apart, at most, the clocks of two nodes are, in seconds, with the time that a posting waits for its lock.
const SKEW_SECONDS: i64 = 300;
/// Lines read at a time, at most.
const MOST_LINES: u32 = 1_000;

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub posting_id: PostingId,
    /// Its place among the account's postings, which count up without a gap.
    pub seq: i64,
    pub kind: LineKind,
    /// What it is about: the run of a debit, the purchase of a grant.
    pub reference: Option<String>,
    /// For people, such as `Bought $10.00 of credit`.
    pub memo: String,
    /// The change of what the customer has.
    pub change: Usd,
    /// What went into `held` (a hold) or came out of it (a run that ended).
    pub held: Usd,
    /// What the customer had afterwards, spendable and held.
    pub balance_after: Usd,
    /// The run of a line that is about one that ended.
    pub run: Option<LineRun>,
    pub created_at: Timestamp,
}

/// What a line tells of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRun {
    pub model_id: ModelId,
    /// All input, cached or not.
    pub input_tokens: u64,
    /// All output, reasoning included.
    pub output_tokens: u64,
    /// The rates that priced it.
    pub rate_version: String,
    pub source: FundingSource,
}

/// What a list of lines is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFilter {
    /// `None` for everything but holds.
    pub kind: Option<LineKind>,
    pub model: Option<ModelId>,
    pub skill: Option<SkillId>,
    /// Lines after this place ([`cut`]).
    pub after: Option<i64>,
    /// Lines up to this place.
    pub until: Option<i64>,
}

/// What an account has now. An account without a ledger row has nothing.
pub async fn load_balance(server: &Server, account_id: &AccountId) -> Result<Balance> {
    let balance = on_read!(&server.db, pool => {
        sqlx::query_as::<_, Balance>(
            "select paid_nanos, bonus_nanos, promotional_nanos, trial_nanos, held_nanos, receivable_nanos
               from balance
              where account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(pool)
        .await
    })?;
    Ok(balance.unwrap_or_default())
}

/// The place of the last posting before a moment; 0 when there is none. Found by halving, so it is as quick for the first
/// day of an account as for yesterday.
pub async fn cut(server: &Server, account_id: &AccountId, before: Timestamp) -> Result<i64> {
    let seq: Option<i64> = on_read!(&server.db, pool => {
        sqlx::query_scalar(
            "with recursive halving (low, high) as (
                select cast(0 as bigint), last_seq from balance where account_id = $1
                union all
                select case when p.created_at < $3 then p.seq else h.low end,
                       case when p.created_at < $3 then h.high else p.seq - 1 end
                  from halving h
                  join posting p on p.account_id = $1 and p.seq = (h.low + h.high + 1) / 2
                 where h.low < h.high
             )
             select p.seq
               from posting p
              where p.account_id = $1
                and p.seq <= (select max(low) from halving where low = high)
                and p.created_at < $2
              order by p.seq desc
              limit 1",
        )
        .bind(account_id)
        .bind(before)
        // Postings of two nodes may be a little out of order: looked for a little later, then walked back.
        .bind(before.plus_seconds(SKEW_SECONDS))
        .fetch_optional(pool)
        .await
    })?;
    Ok(seq.unwrap_or_default())
}

/// What an account had at a moment, by kind: the sum of its entries until then, that moment included.
pub async fn load_balance_at(server: &Server, account_id: &AccountId, at: Timestamp) -> Result<Balance> {
    let until = cut(server, account_id, Timestamp::from_micros(at.micros().saturating_add(1))).await?;
    load_balance_until(server, account_id, until).await
}

/// The sum of the account's entries up to a place ([`cut`]), by kind.
pub async fn load_balance_until(server: &Server, account_id: &AccountId, until: i64) -> Result<Balance> {
    let rows: Vec<(String, i64)> = on_read!(&server.db, pool => {
        sqlx::query_as(
            "select e.book, cast(sum(e.amount_nanos) as bigint)
               from posting p
               join entry e on e.posting_id = p.posting_id and e.account_id = p.account_id
              where p.account_id = $1 and p.seq <= $2
              group by e.book",
        )
        .bind(account_id)
        .bind(until)
        .fetch_all(pool)
        .await
    })?;
    let mut balance = Balance::default();
    for (book, nanos) in rows {
        let book: Book = book.parse()?;
        balance = balance
            .with(book, Usd::from_nanos(nanos))
            .ok_or_else(|| Error::Internal(format!("account {account_id}: {book} does not add up")))?;
    }
    Ok(balance)
}

/// What the account had at a place ([`cut`]), spendable and held, as its posting says.
pub async fn load_total_until(server: &Server, account_id: &AccountId, until: i64) -> Result<Usd> {
    let total: Option<Usd> = on_read!(&server.db, pool => {
        sqlx::query_scalar("select balance_after_nanos from posting where account_id = $1 and seq = $2")
            .bind(account_id)
            .bind(until)
            .fetch_optional(pool)
            .await
    })?;
    Ok(total.unwrap_or_default())
}

/// Credit that will expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    pub lot_id: LotId,
    pub kind: GrantKind,
    /// What is left of it, without what running work holds.
    pub left: Usd,
    pub expires_at: Timestamp,
    /// The only models it may pay for; `None` for all.
    pub allowed_models: Option<Vec<ModelId>>,
}

/// The credit that will expire, the soonest first, at most a hundred lots of it. Bought credit never does.
pub async fn list_expiring(server: &Server, account_id: &AccountId) -> Result<Vec<Expiring>> {
    let rows: Vec<(LotId, String, Usd, Timestamp, Option<String>)> = on_read!(&server.db, pool => {
        sqlx::query_as(
            "select lot_id, kind, remaining_nanos, expires_at, allowed_models
               from lot
              where account_id = $1 and remaining_nanos > 0 and expires_at > $2
              order by expires_at, lot_id
              limit 100",
        )
        .bind(account_id)
        .bind(server.clock.now())
        .fetch_all(pool)
        .await
    })?;
    rows.into_iter()
        .map(|(lot_id, kind, left, expires_at, models)| {
            let models = models.map(|json| serde_json::from_str(&json)).transpose();
            let allowed_models = models
                .map_err(|error| Error::internal(&format!("table lot, column allowed_models, row {lot_id}"), error))?;
            Ok(Expiring { kind: kind.parse()?, lot_id, left, expires_at, allowed_models })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    posting_id: PostingId,
    seq: i64,
    kind: String,
    book: Option<String>,
    reference: Option<String>,
    memo: String,
    change_nanos: Usd,
    held_nanos: Option<Usd>,
    balance_after_nanos: Usd,
    model_id: Option<ModelId>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    rate_version: Option<String>,
    source: Option<String>,
    created_at: Timestamp,
}

/// One text for each way through the postings, so that each finds its index: the middle says which lines, the end says
/// in which order.
macro_rules! lines_sql {
    ($which:literal, $order:literal) => {
        concat!(
            "select p.posting_id, p.seq, p.kind, p.reference, p.memo, p.change_nanos, p.balance_after_nanos, p.created_at,
                    (select min(e.book)
                       from entry e
                      where e.posting_id = p.posting_id and e.lot_id is not null and p.kind = 'grant') as book,
                    (select min(e.amount_nanos)
                       from entry e
                      where e.posting_id = p.posting_id and e.book = 'held') as held_nanos,
                    x.model_id, x.rate_version, x.source,
                    x.input_tokens + x.cache_read_tokens + x.cache_write_5m_tokens + x.cache_write_1h_tokens as input_tokens,
                    x.output_tokens + x.reasoning_tokens as output_tokens
               from posting p
               left join execution x on x.execution_id = p.reference and x.account_id = p.account_id
                                    and p.kind in ('hold', 'capture', 'void', 'expire')
              where p.account_id = $1 and p.seq > $2 and p.seq <= $3
                and ($5 is null or x.model_id = $5)
                and ($6 is null or x.skill_id = $6)
                and ($7 is null or p.kind = $7)
                and ($8 is null or exists (select 1
                                             from entry e
                                            where e.posting_id = p.posting_id and e.lot_id is not null and e.book = $8))
                and ",
            $which,
            " order by p.seq ",
            $order,
            " limit $4"
        )
    };
}

const EVERYTHING: &str = lines_sql!(
    "p.kind <> 'hold' and (p.change_nanos <> 0 or (p.kind in ('void', 'expire')
         and exists (select 1 from entry e where e.posting_id = p.posting_id)))",
    "desc"
);
const EVERYTHING_UP: &str = lines_sql!(
    "p.kind <> 'hold' and (p.change_nanos <> 0 or (p.kind in ('void', 'expire')
         and exists (select 1 from entry e where e.posting_id = p.posting_id)))",
    "asc"
);
const RARE: &str = lines_sql!("p.kind not in ('hold', 'capture', 'void', 'expire')", "desc");
const DEBITS: &str = lines_sql!("p.change_nanos <> 0 and p.kind = 'capture'", "desc");
// A run that the plan paid for held no credit, so its end has no entries and is no line.
const NOT_CHARGED: &str = lines_sql!(
    "p.kind in ('void', 'expire') and exists (select 1 from entry e where e.posting_id = p.posting_id)",
    "desc"
);
const HOLDS: &str =
    lines_sql!("p.kind = 'hold' and exists (select 1 from entry e where e.posting_id = p.posting_id)", "desc");

/// The way through the postings for a kind of line, and the kind of posting and of credit that it then is.
const fn way(kind: Option<LineKind>) -> (&'static str, Option<PostingKind>, Option<GrantKind>) {
    let grant = Some(PostingKind::Grant);
    match kind {
        None => (EVERYTHING, None, None),
        Some(LineKind::Purchase) => (RARE, grant, Some(GrantKind::Paid)),
        Some(LineKind::Bonus) => (RARE, grant, Some(GrantKind::Bonus)),
        Some(LineKind::Promotional) => (RARE, grant, Some(GrantKind::Promotional)),
        Some(LineKind::Trial) => (RARE, grant, Some(GrantKind::Trial)),
        Some(LineKind::Refund) => (RARE, Some(PostingKind::Refund), None),
        Some(LineKind::Dispute) => (RARE, Some(PostingKind::Dispute), None),
        Some(LineKind::Adjustment) => (RARE, Some(PostingKind::Adjustment), None),
        Some(LineKind::Expiry) => (RARE, Some(PostingKind::LotExpiry), None),
        Some(LineKind::Debit) => (DEBITS, None, None),
        Some(LineKind::Waiver) => (NOT_CHARGED, None, None),
        Some(LineKind::Hold) => (HOLDS, None, None),
    }
}

/// The newest lines that fit, `limit` of them (at most a thousand), before the place `before`.
pub async fn list_lines(
    server: &Server,
    account_id: &AccountId,
    filter: &LineFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Line>> {
    let (sql, posting, granted) = way(filter.kind);
    let until = filter.until.unwrap_or(i64::MAX).min(before.map_or(i64::MAX, |before| before.saturating_sub(1)));
    let rows: Vec<Row> = on_read!(&server.db, pool => {
        sqlx::query_as(sql)
            .bind(account_id)
            .bind(filter.after.unwrap_or(0))
            .bind(until)
            .bind(i64::from(limit.min(MOST_LINES)))
            .bind(&filter.model)
            .bind(&filter.skill)
            .bind(posting.map(PostingKind::as_str))
            .bind(granted.map(|granted| granted.book().as_str()))
            .fetch_all(pool)
            .await
    })?;
    rows.into_iter().map(Line::try_from).collect()
}

/// The oldest lines after one place and up to another, a thousand at most, holds left out: what a document is made of.
pub async fn list_lines_between(server: &Server, account_id: &AccountId, after: i64, until: i64) -> Result<Vec<Line>> {
    let nothing: Option<&str> = None;
    let rows: Vec<Row> = on_read!(&server.db, pool => {
        sqlx::query_as(EVERYTHING_UP)
            .bind(account_id)
            .bind(after)
            .bind(until)
            .bind(i64::from(MOST_LINES))
            .bind(nothing)
            .bind(nothing)
            .bind(nothing)
            .bind(nothing)
            .fetch_all(pool)
            .await
    })?;
    rows.into_iter().map(Line::try_from).collect()
}

impl TryFrom<Row> for Line {
    type Error = Error;

    fn try_from(row: Row) -> Result<Line> {
        let granted = match row.book.as_deref() {
            Some(book) => Some(book.parse::<GrantKind>()?),
            None => None,
        };
        let run = match (row.model_id, row.rate_version, row.source) {
            (Some(model_id), Some(rate_version), Some(source)) => Some(LineRun {
                model_id,
                input_tokens: row.input_tokens.unwrap_or_default().max(0).unsigned_abs(),
                output_tokens: row.output_tokens.unwrap_or_default().max(0).unsigned_abs(),
                rate_version,
                source: source.parse()?,
            }),
            _ => None,
        };
        Ok(Line {
            kind: LineKind::of(row.kind.parse()?, granted),
            posting_id: row.posting_id,
            seq: row.seq,
            reference: row.reference,
            memo: row.memo,
            change: row.change_nanos,
            held: row.held_nanos.unwrap_or_default(),
            balance_after: row.balance_after_nanos,
            run,
            created_at: row.created_at,
        })
    }
}

/// One line, and which credit it came out of or went into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLine {
    pub line: Line,
    pub parts: Vec<LotPart>,
}

/// What a line, with the hold that it ends, took out of one lot (negative) or put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LotPart {
    pub kind: GrantKind,
    pub change: Usd,
    /// When the lot was given.
    pub given_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// A line of the account, opened.
pub async fn load_line(server: &Server, account_id: &AccountId, posting_id: &PostingId) -> Result<Option<OpenLine>> {
    let seq: Option<i64> = on_read!(&server.db, pool => {
        sqlx::query_scalar("select seq from posting where posting_id = $1 and account_id = $2")
            .bind(posting_id)
            .bind(account_id)
            .fetch_optional(pool)
            .await
    })?;
    let Some(seq) = seq else { return Ok(None) };
    let place = LineFilter { after: Some(seq.saturating_sub(1)), until: Some(seq), ..LineFilter::default() };
    let mut lines = list_lines(server, account_id, &place, None, 1).await?;
    if lines.is_empty() {
        lines = list_lines(server, account_id, &LineFilter { kind: Some(LineKind::Hold), ..place }, None, 1).await?;
    }
    let Some(line) = lines.pop() else { return Ok(None) };

    // A run's hold took the credit, and its end gave back what was not needed.
    let hold_key = match (line.kind, &line.reference) {
        (LineKind::Debit | LineKind::Waiver, Some(run)) => Some(format!("hold:{run}")),
        _ => None,
    };
    let rows: Vec<(String, i64, Timestamp, Option<Timestamp>)> = on_read!(&server.db, pool => {
        sqlx::query_as(
            "select l.kind, cast(sum(e.amount_nanos) as bigint), l.created_at, l.expires_at
               from posting p
               join entry e on e.posting_id = p.posting_id and e.lot_id is not null
               join lot l on l.lot_id = e.lot_id
              where p.account_id = $1 and (p.posting_id = $2 or p.idempotency_key = $3)
              group by l.lot_id, l.kind, l.created_at, l.expires_at
             having sum(e.amount_nanos) <> 0
              order by l.created_at, l.lot_id",
        )
        .bind(account_id)
        .bind(posting_id)
        .bind(hold_key)
        .fetch_all(pool)
        .await
    })?;
    let parts = rows.into_iter().map(|(kind, nanos, given_at, expires_at)| {
        Ok(LotPart { kind: kind.parse()?, change: Usd::from_nanos(nanos), given_at, expires_at })
    });
    Ok(Some(OpenLine { line, parts: parts.collect::<Result<_>>()? }))
}
