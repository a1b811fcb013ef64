//! Owns: how a top-up ends once Stripe has said so: paid, refused, or waiting for the customer's yes; and what a refusal
//! means for the rule.
//! Does not own: the credit (`purchase::complete`, which calls [`mark_paid`] in its transaction).
//! Invariant: a charge ends once; whoever comes second changes and tells nothing.

use super::facts::Known;
use super::{TopUp, TopUpState};
use crate::db::Tx;
use crate::error::Result;
use crate::notice::{self, Notice};
use crate::purchase::{self, Effect, PurchaseState, end_unpaid};
use crate::stripe::object::{Payment, PaymentIntentId};
use crate::{Server, ledger, on_read, on_tx};
use domain::id::PurchaseId;
use domain::top_up::{Reason, after_refusal, failures_in_a_row, reason_of};

/// Why nothing was charged.
pub(super) struct Refusal {
    pub reason: Reason,
    pub decline_code: Option<String>,
    pub problem: String,
    pub payment: Option<PaymentIntentId>,
}

/// Acts on a payment as Stripe has it now, if it is a top-up's; `None` if it is not.
pub async fn apply_payment(server: &Server, payment: &Payment) -> Result<Option<Effect>> {
    let purchase_id = match payment {
        Payment::Paid(paid) => paid.purchase_id(),
        Payment::Unpaid { purchase_id, .. } | Payment::Canceled { purchase_id } => purchase_id.as_ref(),
        Payment::Processing => None,
    };
    let Some(top_up_id) = purchase_id else { return Ok(None) };
    match load(server, top_up_id).await? {
        Some(_) => settle(server, top_up_id, payment).await.map(Some),
        None => Ok(None),
    }
}

/// Acts on the payment of a top-up, as often as it is told.
pub(super) async fn settle(server: &Server, top_up_id: &PurchaseId, payment: &Payment) -> Result<Effect> {
    match payment {
        Payment::Paid(_) => purchase::apply_payment(server, payment).await,
        // Not tried yet, on its way, or at the bank with the customer.
        Payment::Processing | Payment::Unpaid { decline: None, .. } => Ok(Effect::Nothing),
        Payment::Canceled { .. } => expire(server, top_up_id, "The payment was cancelled.").await,
        Payment::Unpaid { decline: Some(decline), payment_intent_id, problem, .. } => {
            let refusal = Refusal {
                reason: reason_of(&decline.code, decline.decline_code.as_deref()),
                decline_code: Some(decline.decline_code.clone().unwrap_or_else(|| decline.code.clone())),
                problem: problem.clone().unwrap_or_else(|| "The card was declined.".to_owned()),
                payment: Some(payment_intent_id.clone()),
            };
            let is_final = refusal.reason != Reason::AuthenticationRequired;
            let effect = refuse(server, top_up_id, refusal).await?;
            if is_final && effect == Effect::Ended {
                close(server, payment_intent_id).await;
            }
            Ok(effect)
        }
    }
}

/// Has Stripe end a payment that was refused, so that nobody pays it later. If that fails, it stays unpaid all the same.
async fn close(server: &Server, payment: &PaymentIntentId) {
    if let Err(failure) = server.stripe.cancel_payment(payment).await {
        tracing::warn!(%payment, %failure, "a refused payment could not be cancelled");
    }
}

/// A charge was refused: for good, or until the customer says yes to the bank. The rule is suspended if it must be, and
/// whoever agreed to it is told, in one transaction.
pub(super) async fn refuse(server: &Server, top_up_id: &PurchaseId, refusal: Refusal) -> Result<Effect> {
    let Some(top_up) = load(server, top_up_id).await? else { return Ok(Effect::UnknownPurchase) };
    let mut tx = server.db.begin().await?;
    // The account first, as everywhere.
    ledger::watch(&mut tx, &top_up.account_id, None).await?;
    if note_refusal(&mut tx, server, &top_up, &refusal).await? == Noted::Nothing {
        tx.rollback().await?;
        return Ok(Effect::Nothing);
    }
    let known = Known::lock(&mut tx, server, &top_up.account_id).await?;
    let limits = server.catalogue.load().top_up.clone();
    let failures = failures_in_a_row(&known.attempts(), &top_up.card);
    let suspends = after_refusal(&limits, refusal.reason, failures);
    if let Some(reason) = suspends {
        suspend(&mut tx, server, &top_up, reason).await?;
    }
    tell(&mut tx, server, &top_up, (refusal.reason, suspends)).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    tracing::info!(%top_up_id, reason = %refusal.reason, "a top-up was refused");
    Ok(Effect::Ended)
}

/// Tells whoever pays for the account: that their bank wants them, or why nothing is charged.
async fn tell(
    tx: &mut Tx,
    server: &Server,
    top_up: &TopUp,
    (reason, suspends): (Reason, Option<Reason>),
) -> Result<()> {
    let now = server.clock.now();
    let notice = if reason == Reason::AuthenticationRequired {
        let hours = server.catalogue.load().top_up.recovery_hours;
        Notice::PaymentNeedsAction {
            amount: top_up.price.to_cents_half_up(),
            path: "/credits/auto-top-up#confirm".to_owned(),
            until: Some(now.plus_seconds(hours.saturating_mul(3_600))),
        }
    } else {
        let paused = if reason == Reason::ChargeFailed { Reason::FailedAttemptLimitReached } else { reason };
        let said = suspends.unwrap_or(paused);
        Notice::TopUpPaused { reason: said.to_string(), sentence: said.sentence().to_owned() }
    };
    let key = format!("top_up_refused:{}", top_up.top_up_id);
    notice::raise(tx, &server.clock, &top_up.account_id, &notice, &key).await.map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Noted {
    Nothing,
    Ended,
}

/// Writes what the bank said. A charge that waits for the customer keeps waiting, whatever the bank says meanwhile.
async fn note_refusal(tx: &mut Tx, server: &Server, top_up: &TopUp, refusal: &Refusal) -> Result<Noted> {
    let waits = refusal.reason == Reason::AuthenticationRequired && refusal.payment.is_some();
    let hours = server.catalogue.load().top_up.recovery_hours;
    let now = server.clock.now();
    let (state, until, ended_at) = if waits {
        (TopUpState::NeedsAction, Some(now.plus_seconds(hours.saturating_mul(3_600))), None)
    } else {
        (TopUpState::Refused, None, Some(now))
    };
    let updated = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update top_up
             set    state = $1, recover_until = $2, ended_at = $3, reason = $4, decline_code = $5, problem = $6,
                    stripe_payment_intent_id = coalesce($7, stripe_payment_intent_id)
             where  top_up_id = $8 and state = 'open'",
        )
        .bind(state.as_str())
        .bind(until)
        .bind(ended_at)
        .bind(refusal.reason.as_str())
        .bind(&refusal.decline_code)
        .bind(&refusal.problem)
        .bind(&refusal.payment)
        .bind(&top_up.top_up_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if updated == 0 {
        return Ok(Noted::Nothing);
    }
    if !waits {
        let failed = (&top_up.top_up_id, PurchaseState::Failed);
        end_unpaid(tx, server, failed, Some(refusal.problem.clone())).await?;
    }
    Ok(Noted::Ended)
}

async fn suspend(tx: &mut Tx, server: &Server, top_up: &TopUp, reason: Reason) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "update top_up_rule set suspended_reason = $1, suspended_card = $2, updated_at = $3 where account_id = $4",
        )
        .bind(reason.as_str())
        .bind(&top_up.card)
        .bind(server.clock.now())
        .bind(&top_up.account_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// The money of a top-up came. In the transaction that grants its credit; whatever the charge was thought to be before.
pub(crate) async fn mark_paid(
    tx: &mut Tx,
    server: &Server,
    top_up_id: &PurchaseId,
    payment: &PaymentIntentId,
) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "update top_up
             set    state = 'paid', stripe_payment_intent_id = $1, reason = null, decline_code = null, problem = null,
                    ended_at = $2
             where  top_up_id = $3 and state <> 'paid'",
        )
        .bind(payment)
        .bind(server.clock.now())
        .bind(top_up_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Ends a charge that took nothing and is no failure of the card.
pub(super) async fn expire(server: &Server, top_up_id: &PurchaseId, problem: &str) -> Result<Effect> {
    let Some(top_up) = load(server, top_up_id).await? else { return Ok(Effect::UnknownPurchase) };
    let mut tx = server.db.begin().await?;
    // The account first, as everywhere.
    ledger::watch(&mut tx, &top_up.account_id, None).await?;
    let updated = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update top_up
             set    state = 'expired', problem = $1, ended_at = $2
             where  top_up_id = $3 and state in ('open', 'needs_action')",
        )
        .bind(problem)
        .bind(server.clock.now())
        .bind(top_up_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    end_unpaid(&mut tx, server, (top_up_id, PurchaseState::Expired), Some(problem.to_owned())).await?;
    tx.commit().await?;
    Ok(if updated == 1 { Effect::Ended } else { Effect::Nothing })
}

/// The top-up of this id.
pub(super) async fn load(server: &Server, top_up_id: &PurchaseId) -> Result<Option<TopUp>> {
    let top_up = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select top_up_id, account_id, state, price_nanos, stripe_payment_method_id, card, last4,
                    stripe_payment_intent_id, reason, decline_code, problem, sent_at, recover_until, created_at, ended_at
             from   top_up
             where  top_up_id = $1",
        )
        .bind(top_up_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(top_up)
}
