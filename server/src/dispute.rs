//! Owns: disputes and early fraud warnings: whose they are, what they take and freeze, and what the operator sees.
//! Does not own: what each state means (`domain::dispute`), ledger rows (`ledger::claim`), freezing (`freeze`).
//! Invariant: everything follows from the dispute as Stripe has it, and an older reading never overwrites a newer one. A
//! dispute that belongs to nobody we know is kept and reported, and changes nothing else.

use crate::db::Tx;
use crate::error::Result;
use crate::ledger::{self, ClaimOf, Taking};
use crate::notice::{self, DisputeNews, Notice};
use crate::refund::{Whose, settle, whose};
use crate::stripe::Failure;
use crate::stripe::money_back::{DisputeId, StripeDispute, WarningId, load_warning};
use crate::subscription::Applied;
use crate::{Server, freeze, on_read, on_tx};
use domain::dispute::{DisputeState, FreezeCause};
use domain::id::{AccountId, ClaimId, PurchaseId};
use domain::ledger::ClaimKind;
use domain::money::{Cents, Usd};
use domain::time::Timestamp;

/// A dispute, as its account sees it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Dispute {
    pub stripe_dispute_id: String,
    #[sqlx(rename = "amount_cents")]
    pub amount: Cents,
    #[sqlx(try_from = "String")]
    pub state: DisputeState,
    pub created_at: Timestamp,
}

/// The account's disputes, newest first; at most 100.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<Dispute>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select stripe_dispute_id, amount_cents, state, created_at
             from   dispute
             where  account_id = $1 and state <> 'unread'
             order  by created_at desc, stripe_dispute_id desc
             limit  100",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?)
}

/// Reads the dispute from Stripe and brings freeze and credit to what it means now. Doing it again changes nothing.
pub async fn refresh(server: &Server, dispute_id: &DisputeId) -> Result<Applied> {
    let reading = begin_reading(server, dispute_id).await?;
    let dispute = match server.stripe.load_dispute(dispute_id).await {
        Ok(dispute) => dispute,
        Err(Failure::Missing) => return Ok(unplaced(dispute_id, "Stripe has no such dispute")),
        Err(failure) => return Err(failure.into()),
    };
    let whose = match &dispute.payment_intent_id {
        Some(payment_intent_id) => whose(server, payment_intent_id).await?,
        None => Whose::Nobody { problem: "it names no payment".to_owned() },
    };
    let (account_id, purchase_id) = match whose {
        Whose::Purchase { account_id, purchase_id } => (account_id, Some(purchase_id)),
        Whose::Account { account_id } => (account_id, None),
        Whose::Nobody { problem } => {
            store(server, dispute_id, (&dispute, reading), &problem).await?;
            return Ok(unplaced(dispute_id, &problem));
        }
    };

    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &account_id).await?;
    let place = (Some(&account_id), purchase_id.as_ref());
    if !write(&mut tx, server, dispute_id, (&dispute, reading), place, None).await? {
        return Ok(Applied::Stored);
    }
    if let Some(purchase_id) = &purchase_id {
        take_back(&mut tx, server, dispute_id, (&account_id, purchase_id), &dispute).await?;
        ledger::reclaim(&mut tx, &server.clock, &account_id, purchase_id).await?;
    }
    let cause = (FreezeCause::Dispute, dispute_id.as_str());
    if dispute.state.freezes() {
        freeze::freeze(&mut tx, &server.clock, &account_id, cause).await?;
    } else {
        freeze::lift(&mut tx, &server.clock, &account_id, cause).await?;
    }
    settle(&mut tx, server, &account_id).await?;
    tell(&mut tx, server, (dispute_id, &account_id), &dispute).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::warn!(%dispute_id, %account_id, state = %dispute.state, "a payment is disputed");
    Ok(Applied::Stored)
}

/// Takes the credit that the disputed money bought, or gives it back.
async fn take_back(
    tx: &mut Tx,
    server: &Server,
    dispute_id: &DisputeId,
    (account_id, purchase_id): (&AccountId, &PurchaseId),
    dispute: &StripeDispute,
) -> Result<()> {
    let amount = Usd::from_cents(dispute.amount).unwrap_or_default();
    let (cents, memo) = if dispute.state.takes_back() {
        (dispute.amount, format!("Disputed payment of {amount}: its credit is taken back"))
    } else {
        (Cents(0), format!("Dispute of {amount} ended for this payment: its credit is back"))
    };
    let claim_id = ClaimId::new(dispute_id.as_str());
    let of = ClaimOf { claim_id, kind: ClaimKind::Dispute, account_id, purchase_id, memo };
    ledger::claim(tx, &server.clock, of, Taking::PaidBy(cents)).await.map(drop)
}

async fn tell(
    tx: &mut Tx,
    server: &Server,
    (dispute_id, account_id): (&DisputeId, &AccountId),
    dispute: &StripeDispute,
) -> Result<()> {
    let news = match dispute.state {
        DisputeState::NeedsResponse | DisputeState::UnderReview => DisputeNews::Opened,
        DisputeState::Won => DisputeNews::Won,
        DisputeState::Lost => DisputeNews::Lost,
        DisputeState::WarningNeedsResponse
        | DisputeState::WarningUnderReview
        | DisputeState::WarningClosed
        | DisputeState::Prevented => return Ok(()),
    };
    let key = format!("dispute:{dispute_id}:{news}");
    let changed = Notice::DisputeChanged { news, amount: dispute.amount };
    notice::raise(tx, &server.clock, account_id, &changed, &key).await.map(drop)
}

/// Reads an early fraud warning and freezes its account while nobody has acted on it.
pub async fn refresh_warning(server: &Server, warning_id: &WarningId) -> Result<Applied> {
    let warning = match load_warning(server, warning_id).await {
        Ok(warning) => warning,
        Err(Failure::Missing) => return Ok(Applied::Unplaced { problem: "Stripe has no such warning".to_owned() }),
        Err(failure) => return Err(failure.into()),
    };
    let whose = match &warning.payment_intent_id {
        Some(payment_intent_id) => whose(server, payment_intent_id).await?,
        None => Whose::Nobody { problem: "the warning names no payment".to_owned() },
    };
    let account_id = match whose {
        Whose::Purchase { account_id, .. } | Whose::Account { account_id } => account_id,
        Whose::Nobody { problem } => {
            metrics::counter!("tokenbank_money_back_unplaced_total", "what" => "fraud_warning").increment(1);
            return Ok(Applied::Unplaced { problem });
        }
    };
    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &account_id).await?;
    let cause = (FreezeCause::FraudWarning, warning_id.as_str());
    if warning.is_open {
        freeze::freeze(&mut tx, &server.clock, &account_id, cause).await?;
    } else {
        freeze::lift(&mut tx, &server.clock, &account_id, cause).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(Applied::Stored)
}

/// The number of a reading that begins now; the first one makes the row.
async fn begin_reading(server: &Server, dispute_id: &DisputeId) -> Result<i64> {
    let mut tx = server.db.begin().await?;
    let reading = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "insert into dispute (stripe_dispute_id, amount_cents, currency, reason, state, readings, stored_reading,
                                  created_at, changed_at)
             values ($1, 0, '', '', 'unread', 1, 0, $2, $2)
             on conflict (stripe_dispute_id) do update
             set    readings = dispute.readings + 1
             returning readings",
        )
        .bind(dispute_id)
        .bind(server.clock.now())
        .fetch_one(conn)
        .await
    })?;
    tx.commit().await?;
    Ok(reading)
}

/// Keeps a dispute that cannot be placed.
async fn store(server: &Server, dispute_id: &DisputeId, read: (&StripeDispute, i64), problem: &str) -> Result<()> {
    let mut tx = server.db.begin().await?;
    write(&mut tx, server, dispute_id, read, (None, None), Some(problem)).await?;
    tx.commit().await
}

/// Writes the dispute as it was read; false if a newer reading is there already.
async fn write(
    tx: &mut Tx,
    server: &Server,
    dispute_id: &DisputeId,
    (dispute, reading): (&StripeDispute, i64),
    (account_id, purchase_id): (Option<&AccountId>, Option<&PurchaseId>),
    problem: Option<&str>,
) -> Result<bool> {
    let written = on_tx!(tx, conn => {
        sqlx::query(
            "update dispute
             set    account_id = $1, purchase_id = $2, amount_cents = $3, currency = $4, reason = $5, state = $6,
                    problem = $7, stored_reading = $8, changed_at = $9
             where  stripe_dispute_id = $10 and stored_reading < $8",
        )
        .bind(account_id)
        .bind(purchase_id)
        .bind(dispute.amount)
        .bind(&dispute.currency)
        .bind(&dispute.reason)
        .bind(dispute.state.as_str())
        .bind(problem)
        .bind(reading)
        .bind(server.clock.now())
        .bind(dispute_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(written == 1)
}

/// Says loudly that a dispute belongs to nobody here.
fn unplaced(dispute_id: &DisputeId, problem: &str) -> Applied {
    metrics::counter!("tokenbank_money_back_unplaced_total", "what" => "dispute").increment(1);
    tracing::error!(%dispute_id, problem, "a dispute cannot be placed; see Stripe's dashboard");
    Applied::Unplaced { problem: format!("dispute {dispute_id}: {problem}") }
}
