//! Owns: how a purchase ends: paid, failed, expired, or held back for a person to look at.
//! Does not own: asking Stripe (`stripe`), or the ledger's rows (`ledger::grant`).
//! Invariant: paid and its grants are one transaction; a purchase that ended unpaid is still honoured when its money
//! comes; money that does not fit is held back with the reason, never credited and never lost.

use super::{Origin, PurchaseRow, PurchaseState};
use crate::Server;
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::job::{self, Job, NewJob};
use crate::ledger::{self, Grant, GrantKind};
use crate::mail::Mail;
use crate::notice::{self, Notice};
use crate::stripe::object::{Checkout, CheckoutState, PaidPayment, Payment, PaymentIntentId};
use crate::{freeze, on_tx, refund, top_up};
use domain::id::PurchaseId;
use domain::money::Usd;
use domain::top_up::Trigger;

/// What news from Stripe did to a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Still waiting for the money, or for nothing.
    Nothing,
    /// The credit was granted just now.
    Granted,
    /// The credit for this payment was granted before.
    AlreadyPaid,
    /// It ended unpaid.
    Ended,
    /// The money does not fit the purchase, for the reason given.
    HeldBack { problem: String },
    /// The purchase was paid before by another payment: this one must be refunded.
    PaidTwice { problem: String },
    /// It names a purchase that is not in the database.
    UnknownPurchase,
    /// It names no purchase: not ours.
    NotOurs,
}

/// Acts on a Checkout Session as Stripe has it now, whichever event or sweep it came from.
pub async fn apply_checkout(server: &Server, checkout: &Checkout) -> Result<Effect> {
    let Some(purchase_id) = &checkout.purchase_id else { return Ok(Effect::NotOurs) };
    match (&checkout.state, &checkout.payment_intent_id) {
        (CheckoutState::Open { .. }, _) => Ok(Effect::Nothing),
        (CheckoutState::Expired, _) => end(server, purchase_id, PurchaseState::Expired, None).await,
        (CheckoutState::Complete, None) => {
            let problem = "The checkout is complete without a payment.".to_owned();
            hold_back(server, purchase_id, None, problem).await
        }
        (CheckoutState::Complete, Some(payment_intent_id)) => {
            match server.stripe.load_payment(payment_intent_id).await? {
                Payment::Paid(payment) => complete(server, &payment).await,
                // A bank debit: the money is on its way, or it did not come.
                Payment::Processing => Ok(Effect::Nothing),
                Payment::Unpaid { problem, .. } => end(server, purchase_id, PurchaseState::Failed, problem).await,
                Payment::Canceled { .. } => {
                    let problem = Some("The payment was cancelled.".to_owned());
                    end(server, purchase_id, PurchaseState::Failed, problem).await
                }
            }
        }
    }
}

/// Acts on a payment as Stripe has it now. A declined card is noted, and its Checkout can still be paid with another.
pub async fn apply_payment(server: &Server, payment: &Payment) -> Result<Effect> {
    match payment {
        Payment::Paid(payment) => complete(server, payment).await,
        Payment::Unpaid { purchase_id: Some(purchase_id), problem: Some(problem), .. } => {
            note_decline(server, purchase_id, problem).await
        }
        Payment::Unpaid { purchase_id: None, .. } => Ok(Effect::NotOurs),
        Payment::Processing | Payment::Canceled { .. } | Payment::Unpaid { .. } => Ok(Effect::Nothing),
    }
}

/// Grants the credit of a purchase whose money Stripe has, once: purchase, grants and receipt in one transaction.
async fn complete(server: &Server, payment: &PaidPayment) -> Result<Effect> {
    let Some(purchase_id) = payment.purchase_id() else { return Ok(Effect::NotOurs) };
    loop {
        if let Some(effect) = try_complete(server, purchase_id, payment).await? {
            return Ok(effect);
        }
    }
}

/// `None` when another payment or delivery was faster: the purchase is paid now, and looking again tells by which.
async fn try_complete(server: &Server, purchase_id: &PurchaseId, payment: &PaidPayment) -> Result<Option<Effect>> {
    let mut tx = server.db.begin().await?;
    let Some(row) = load_row(&mut tx, purchase_id).await? else { return Ok(Some(Effect::UnknownPurchase)) };

    match decide(&row, payment, server.config.stripe.live) {
        Decision::AlreadyPaid => Ok(Some(Effect::AlreadyPaid)),
        Decision::PaidTwice { problem } => {
            tracing::error!(%purchase_id, problem, "a purchase was paid twice");
            Ok(Some(Effect::PaidTwice { problem }))
        }
        Decision::HoldBack { problem } => {
            tx.rollback().await?;
            hold_back(server, purchase_id, Some(payment.payment_intent_id()), problem).await.map(Some)
        }
        Decision::Grant => {
            // The grants lock the account first, as everything that moves money does. Whoever comes second finds the
            // grants made and the purchase paid, and undoes nothing but its own reading.
            freeze::lock(&mut tx, &row.account_id).await?;
            grant(&mut tx, server, &row).await?;
            match mark_paid(&mut tx, server, purchase_id, payment.payment_intent_id()).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) if is_other_purchases_payment(&error) => {
                    tx.rollback().await?;
                    let problem = format!("Payment {} has paid another purchase.", payment.payment_intent_id());
                    return hold_back(server, purchase_id, None, problem).await.map(Some);
                }
                Err(error) => return Err(error.into()),
            }
            // What is owed for money that went back is paid first.
            refund::settle(&mut tx, server, &row.account_id).await?;
            insert_receipt(&mut tx, server, &row).await?;
            match row.origin {
                Origin::Checkout => {}
                Origin::AutoTopUp => {
                    top_up::mark_paid(&mut tx, server, purchase_id, payment.payment_intent_id()).await?;
                    tell_top_up(&mut tx, server, &row).await?;
                }
            }
            if row.keeps_card != 0 {
                let keep = Job::KeepCard { purchase_id: purchase_id.clone() };
                job::insert(&mut tx, &server.clock, NewJob::now(keep, &server.clock)).await?;
            }
            top_up::look_again(&mut tx, server, &row.account_id, Trigger::Sweep).await?;
            tx.commit().await?;
            server.wake_jobs.notify_one();
            Ok(Some(Effect::Granted))
        }
    }
}

enum Decision {
    Grant,
    AlreadyPaid,
    PaidTwice { problem: String },
    HoldBack { problem: String },
}

/// Whether this money is for this purchase, to the cent.
fn decide(row: &PurchaseRow, payment: &PaidPayment, live: bool) -> Decision {
    if row.purchase.state == PurchaseState::Paid {
        return if row.stripe_payment_intent_id.as_ref() == Some(payment.payment_intent_id()) {
            Decision::AlreadyPaid
        } else {
            let problem = format!(
                "Purchase {} was paid before; {} must be refunded.",
                row.purchase.purchase_id,
                payment.payment_intent_id()
            );
            Decision::PaidTwice { problem }
        };
    }
    let mode = |live: bool| if live { "live" } else { "test" };
    let problem = if payment.is_live() != live {
        Some(format!("The payment is a {} one and this server runs in {} mode.", mode(payment.is_live()), mode(live)))
    } else if payment.currency() != row.currency {
        Some(format!("The payment is in {} and the price in {}.", payment.currency(), row.currency))
    } else if payment.received() != row.purchase.price {
        Some(format!("{} cents were paid and the price is {} cents.", payment.received().0, row.purchase.price.0))
    } else if payment.customer_id() != row.stripe_customer_id.as_ref() || row.stripe_customer_id.is_none() {
        Some("The payment is another customer's.".to_owned())
    } else {
        None
    };
    problem.map_or(Decision::Grant, |problem| Decision::HoldBack { problem })
}

async fn load_row(tx: &mut Tx, purchase_id: &PurchaseId) -> Result<Option<PurchaseRow>> {
    let row = on_tx!(tx, conn => {
        sqlx::query_as(select_purchase!("where p.purchase_id = $1"))
        .bind(purchase_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row)
}

async fn grant(tx: &mut Tx, server: &Server, row: &PurchaseRow) -> Result<()> {
    let purchase = &row.purchase;
    let Some(price) = Usd::from_cents(purchase.price) else {
        return Err(Error::Internal(format!("purchase {} has a price out of range", purchase.purchase_id)));
    };
    let paid = Grant {
        account_id: row.account_id.clone(),
        kind: GrantKind::Paid,
        amount: purchase.amount,
        price,
        reference: purchase.purchase_id.to_string(),
        memo: format!("Bought {} of credit", purchase.amount),
        allowed_models: None,
        expires_at: None,
    };
    let bonus = Grant {
        kind: GrantKind::Bonus,
        amount: purchase.bonus,
        price: Usd::ZERO,
        memo: format!("Bonus with {} of credit", purchase.amount),
        ..paid.clone()
    };
    ledger::grant(tx, &server.clock, paid).await?;
    if bonus.amount.is_positive() {
        ledger::grant(tx, &server.clock, bonus).await?;
    }
    Ok(())
}

/// Whether this transaction is the one that pays the purchase.
async fn mark_paid(
    tx: &mut Tx,
    server: &Server,
    purchase_id: &PurchaseId,
    payment_intent_id: &PaymentIntentId,
) -> Result<bool, sqlx::Error> {
    let updated = on_tx!(tx, conn => {
        sqlx::query(
            "update purchase
             set    state = 'paid', stripe_payment_intent_id = $1, problem = null, ended_at = $2
             where  purchase_id = $3 and state <> 'paid'",
        )
        .bind(payment_intent_id)
        .bind(server.clock.now())
        .bind(purchase_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(updated == 1)
}

async fn insert_receipt(tx: &mut Tx, server: &Server, row: &PurchaseRow) -> Result<()> {
    let purchase = &row.purchase;
    let receipt = Mail::Receipt {
        user_id: row.user_id.clone(),
        pack: format!("{} of credit", purchase.amount),
        price: purchase.price,
        credits: purchase.amount.saturating_add(purchase.bonus),
        bonus: purchase.bonus,
        paid_at: server.clock.now(),
        purchase_id: purchase.purchase_id.clone(),
    };
    job::insert(tx, &server.clock, NewJob::now(Job::SendMail(receipt), &server.clock)).await
}

async fn tell_top_up(tx: &mut Tx, server: &Server, row: &PurchaseRow) -> Result<()> {
    let purchase = &row.purchase;
    let credit = purchase.amount.saturating_add(purchase.bonus);
    let done = Notice::TopUpDone { price: purchase.price, credit };
    let key = format!("top_up_done:{}", purchase.purchase_id);
    notice::raise(tx, &server.clock, &row.account_id, &done, &key).await.map(drop)
}

/// Keeps money that does not fit from being credited, and says so loudly.
async fn hold_back(
    server: &Server,
    purchase_id: &PurchaseId,
    payment_intent_id: Option<&PaymentIntentId>,
    problem: String,
) -> Result<Effect> {
    let mut tx = server.db.begin().await?;
    let updated = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update purchase
             set    state = 'held_back', stripe_payment_intent_id = coalesce($1, stripe_payment_intent_id),
                    problem = $2, ended_at = coalesce(ended_at, $3)
             where  purchase_id = $4 and state <> 'paid'",
        )
        .bind(payment_intent_id)
        .bind(&problem)
        .bind(server.clock.now())
        .bind(purchase_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    tracing::error!(%purchase_id, problem, "a payment does not fit its purchase; no credit was granted");
    if updated == 1 {
        Ok(Effect::HeldBack { problem })
    } else {
        Err(Error::Internal(format!("purchase {purchase_id} was paid while it was looked at")))
    }
}

/// Ends a purchase that nobody paid; one that ended otherwise stays as it is.
pub(super) async fn end(
    server: &Server,
    purchase_id: &PurchaseId,
    state: PurchaseState,
    problem: Option<String>,
) -> Result<Effect> {
    let mut tx = server.db.begin().await?;
    let ended = end_unpaid(&mut tx, server, (purchase_id, state), problem).await?;
    tx.commit().await?;
    Ok(if ended { Effect::Ended } else { Effect::Nothing })
}

/// The same within the caller's transaction; whether it was waiting until now.
pub(crate) async fn end_unpaid(
    tx: &mut Tx,
    server: &Server,
    (purchase_id, state): (&PurchaseId, PurchaseState),
    problem: Option<String>,
) -> Result<bool> {
    let updated = on_tx!(tx, conn => {
        sqlx::query(
            "update purchase
             set    state = $1, problem = coalesce($2, problem), ended_at = $3
             where  purchase_id = $4 and state = 'pending'",
        )
        .bind(state.as_str())
        .bind(problem)
        .bind(server.clock.now())
        .bind(purchase_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(updated == 1)
}

async fn note_decline(server: &Server, purchase_id: &PurchaseId, problem: &str) -> Result<Effect> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update purchase set problem = $1 where purchase_id = $2 and state = 'pending'")
            .bind(problem)
            .bind(purchase_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await?;
    Ok(Effect::Nothing)
}

fn is_other_purchases_payment(error: &sqlx::Error) -> bool {
    breaks_unique(error, "purchase_payment_intent_unique", "purchase.stripe_payment_intent_id")
}
