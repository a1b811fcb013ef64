//! Owns: the copies of Stripe's invoices, for the page and for comparing.

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::stripe::plan::{Invoice, InvoiceId, InvoiceLine, InvoiceStatus, SubscriptionId};
use crate::{Server, on_read, on_tx};
use domain::id::AccountId;
use domain::money::Cents;
use domain::period::Period;
use domain::time::Timestamp;

/// An invoice as the account sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInvoice {
    pub invoice_id: InvoiceId,
    pub number: Option<String>,
    pub status: InvoiceStatus,
    pub reason: Option<String>,
    pub total: Cents,
    pub paid: Cents,
    /// What must be paid after credit at Stripe.
    pub due: Cents,
    pub lines: Vec<InvoiceLine>,
    pub period: Period,
    pub attempts: i64,
    pub next_attempt_at: Option<Timestamp>,
    /// Stripe's page: the receipt, and where an open one can be paid.
    pub page_url: Option<String>,
    pub pdf_url: Option<String>,
    pub created_at: Timestamp,
    pub paid_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    stripe_invoice_id: InvoiceId,
    number: Option<String>,
    status: String,
    reason: Option<String>,
    total_cents: Cents,
    paid_cents: Cents,
    due_cents: Cents,
    lines: String,
    period_start: Timestamp,
    period_end: Timestamp,
    attempts: i64,
    next_attempt_at: Option<Timestamp>,
    page_url: Option<String>,
    pdf_url: Option<String>,
    created_at: Timestamp,
    paid_at: Option<Timestamp>,
}

/// The account's invoices, newest first, at most `limit` (and 200); drafts and voided ones are left out.
pub async fn list_invoices(server: &Server, account_id: &AccountId, limit: i64) -> Result<Vec<StoredInvoice>> {
    let rows: Vec<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   stripe_invoice_id, number, status, reason, total_cents, paid_cents, due_cents, lines, period_start,
                      period_end, attempts, next_attempt_at, page_url, pdf_url, created_at, paid_at
             from     invoice
             where    account_id = $1 and status in ('open', 'paid', 'uncollectible')
             order by created_at desc, stripe_invoice_id desc
             limit    $2",
        )
        .bind(account_id)
        .bind(limit.clamp(1, 200))
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter().map(StoredInvoice::from_row).collect()
}

impl StoredInvoice {
    fn from_row(row: Row) -> Result<StoredInvoice> {
        let lines = serde_json::from_str(&row.lines)
            .map_err(|error| Error::internal(&format!("invoice.lines of {}", row.stripe_invoice_id), error))?;
        Ok(StoredInvoice {
            invoice_id: row.stripe_invoice_id,
            number: row.number,
            status: row.status.parse()?,
            reason: row.reason,
            total: row.total_cents,
            paid: row.paid_cents,
            due: row.due_cents,
            lines,
            period: Period { start: row.period_start, end: row.period_end },
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            page_url: row.page_url,
            pdf_url: row.pdf_url,
            created_at: row.created_at,
            paid_at: row.paid_at,
        })
    }
}

/// From when on invoices of the subscription may differ from what is stored: the oldest that is neither paid nor void, or
/// the newest, with an hour to spare. `None` before the first. A paid invoice never changes, so it is not read again.
pub(super) async fn unsettled_since(server: &Server, subscription_id: &SubscriptionId) -> Result<Option<Timestamp>> {
    let since: Option<Timestamp> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select coalesce(min(case when status not in ('paid', 'void') then created_at end), max(created_at))
             from   invoice
             where  stripe_subscription_id = $1",
        )
        .bind(subscription_id)
        .fetch_one(conn)
        .await
    })?;
    Ok(since.map(|since| since.plus_seconds(-3_600)))
}

/// Keeps an invoice as it was read at a moment, unless a later reading is there.
pub(super) async fn store(tx: &mut Tx, account_id: &AccountId, invoice: &Invoice, asked_at: Timestamp) -> Result<()> {
    let lines = serde_json::to_string(&invoice.lines)?;
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into invoice (stripe_invoice_id, account_id, stripe_subscription_id, number, status, reason,
                                  total_cents, paid_cents, due_cents, lines, period_start, period_end, attempts,
                                  next_attempt_at, page_url, pdf_url, refreshed_at, created_at, paid_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
             on conflict (stripe_invoice_id) do update
             set    number = excluded.number, status = excluded.status, total_cents = excluded.total_cents,
                    paid_cents = excluded.paid_cents, due_cents = excluded.due_cents, lines = excluded.lines,
                    attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,
                    page_url = excluded.page_url, pdf_url = excluded.pdf_url, refreshed_at = excluded.refreshed_at,
                    paid_at = excluded.paid_at
             where  invoice.refreshed_at <= excluded.refreshed_at",
        )
        .bind(&invoice.invoice_id)
        .bind(account_id)
        .bind(&invoice.subscription_id)
        .bind(&invoice.number)
        .bind(invoice.status.as_str())
        .bind(&invoice.reason)
        .bind(invoice.total)
        .bind(invoice.paid)
        .bind(invoice.due)
        .bind(lines)
        .bind(invoice.period.start)
        .bind(invoice.period.end)
        .bind(invoice.attempts)
        .bind(invoice.next_attempt_at)
        .bind(&invoice.page_url)
        .bind(&invoice.pdf_url)
        .bind(asked_at)
        .bind(invoice.created_at)
        .bind(invoice.paid_at)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}
