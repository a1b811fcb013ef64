//! Owns: what Stripe's refunds of a payment do here: ours end, others' take back credit by the change of their sum.
//! Invariant: everything follows from one reading of all refunds of the payment, and an older reading never overwrites
//! a newer one; so order, repetition and delay of events change nothing.

use super::RefundState;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ledger::{self, ClaimOf, Taking};
use crate::notice::{self, Notice};
use crate::stripe::Failure;
use crate::stripe::money_back::{RefundMoney, StripeRefund, StripeRefundId};
use crate::stripe::object::{Payment, PaymentIntentId};
use crate::subscription::Applied;
use crate::{Server, freeze, on_read, on_tx, purchase};
use domain::id::{AccountId, ClaimId, PurchaseId, RefundId};
use domain::ledger::ClaimKind;
use domain::money::{Cents, Usd};
use domain::refund::Part;

/// A refund that has not ended, with what is needed to send it.
pub(super) struct Pending {
    pub refund_id: RefundId,
    pub account_id: AccountId,
    pub purchase_id: PurchaseId,
    pub payment_intent_id: PaymentIntentId,
    pub cash: Cents,
    pub stripe_refund_id: Option<StripeRefundId>,
    part: Part,
}

/// Whose a payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A paid purchase of a pack.
    Purchase { account_id: AccountId, purchase_id: PurchaseId },
    /// Another payment of a customer of ours, such as for a plan.
    Account { account_id: AccountId },
    /// Nobody's that we know, for the reason given.
    Nobody { problem: String },
}

/// Finds whose a payment is. A purchase whose own event has not come yet is completed first.
pub async fn whose(server: &Server, payment_intent_id: &PaymentIntentId) -> Result<Whose> {
    if let Some(known) = load_purchase(server, payment_intent_id).await? {
        return Ok(known);
    }
    let payment = match server.stripe.load_payment(payment_intent_id).await {
        Ok(payment) => payment,
        Err(Failure::Missing) => {
            return Ok(Whose::Nobody { problem: format!("Stripe has no payment {payment_intent_id}") });
        }
        Err(failure) => return Err(failure.into()),
    };
    let Payment::Paid(paid) = &payment else {
        return Ok(Whose::Nobody { problem: format!("payment {payment_intent_id} is not paid") });
    };
    if paid.purchase_id().is_some() {
        let effect = purchase::apply_payment(server, &payment).await?;
        return Ok(match load_purchase(server, payment_intent_id).await? {
            Some(known) => known,
            None => Whose::Nobody { problem: format!("payment {payment_intent_id} granted no credit: {effect:?}") },
        });
    }
    let account: Option<AccountId> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select account_id from account where stripe_customer_id = $1")
            .bind(paid.customer_id())
            .fetch_optional(conn)
            .await
    })?;
    Ok(match account {
        Some(account_id) => Whose::Account { account_id },
        None => Whose::Nobody { problem: format!("payment {payment_intent_id} is no known purchase's or customer's") },
    })
}

/// Reads every refund of a payment and brings ours and the account's credit to what they are now.
pub async fn refresh(server: &Server, payment_intent_id: &PaymentIntentId) -> Result<Applied> {
    let (account_id, purchase_id) = match whose(server, payment_intent_id).await? {
        Whose::Purchase { account_id, purchase_id } => (account_id, purchase_id),
        // No credit was bought with it, so none is taken.
        Whose::Account { .. } => return Ok(Applied::NotOurs),
        Whose::Nobody { problem } => {
            metrics::counter!("tokenbank_money_back_unplaced_total", "what" => "refund").increment(1);
            return Ok(Applied::Unplaced { problem });
        }
    };
    let reading = begin_reading(server, &purchase_id).await?;
    let refunds = server.stripe.list_refunds(payment_intent_id).await?;

    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &account_id).await?;
    if !store_reading(&mut tx, &purchase_id, reading).await? {
        return Ok(Applied::Stored);
    }
    let mut others = 0_i64;
    for stripe_refund in &refunds {
        match load_ours(&mut tx, &purchase_id, stripe_refund).await? {
            Some(ours) => follow(&mut tx, server, &ours, stripe_refund).await?,
            None if matches!(stripe_refund.money, RefundMoney::Failed { .. }) => {}
            None => others = others.saturating_add(stripe_refund.amount.0),
        }
    }
    let of = ClaimOf {
        claim_id: ClaimId::new(format!("stripe:{purchase_id}")),
        kind: ClaimKind::StripeRefund,
        account_id: &account_id,
        purchase_id: &purchase_id,
        memo: format!("Refunded at Stripe: {} in all", Usd::from_cents(Cents(others)).unwrap_or_default()),
    };
    let claimed = ledger::claim(&mut tx, &server.clock, of, Taking::PaidBy(Cents(others))).await?;
    ledger::reclaim(&mut tx, &server.clock, &account_id, &purchase_id).await?;
    settle(&mut tx, server, &account_id).await?;
    tx.commit().await?;
    if claimed.changed {
        tracing::info!(%purchase_id, cents = others, "a payment was refunded at Stripe");
    }
    server.wake_jobs.notify_one();
    Ok(Applied::Stored)
}

/// Pays what is owed as far as there is credit, and freezes the account for the rest. Its row must be locked.
pub(crate) async fn settle(tx: &mut Tx, server: &Server, account_id: &AccountId) -> Result<()> {
    let owed = ledger::settle(tx, &server.clock, account_id).await?;
    freeze::follow_debt(tx, &server.clock, account_id, owed).await
}

/// Keeps what Stripe answered to the request for a refund.
pub(super) async fn keep(server: &Server, refund: &Pending, stripe_refund: &StripeRefund) -> Result<()> {
    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &refund.account_id).await?;
    // News that came meanwhile is newer than this answer.
    let is_news: Option<i64> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "select created_at from refund where refund_id = $1 and state = 'pending' and stripe_refund_id is null",
        )
        .bind(&refund.refund_id)
        .fetch_optional(conn)
        .await
    })?;
    if is_news.is_some() {
        follow(&mut tx, server, refund, stripe_refund).await?;
        ledger::reclaim(&mut tx, &server.clock, &refund.account_id, &refund.purchase_id).await?;
        settle(&mut tx, server, &refund.account_id).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Ends a refund that Stripe refused: the credit comes back.
pub(super) async fn give_up(server: &Server, refund: &Pending, problem: &str) -> Result<()> {
    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &refund.account_id).await?;
    if end(&mut tx, server, refund, (RefundState::Failed, None), Some(problem)).await? {
        take(&mut tx, server, refund, None).await?;
        ledger::reclaim(&mut tx, &server.clock, &refund.account_id, &refund.purchase_id).await?;
        settle(&mut tx, server, &refund.account_id).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Brings one of our refunds to what Stripe says of it. A failure may come after a success: then the credit comes back.
async fn follow(tx: &mut Tx, server: &Server, refund: &Pending, stripe_refund: &StripeRefund) -> Result<()> {
    let (state, problem) = match &stripe_refund.money {
        RefundMoney::OnItsWay => (RefundState::Pending, None),
        RefundMoney::Sent => (RefundState::Succeeded, None),
        RefundMoney::Failed { problem } => (RefundState::Failed, Some(problem.as_str())),
    };
    let changed = end(tx, server, refund, (state, Some(&stripe_refund.stripe_refund_id)), problem).await?;
    match state {
        RefundState::Pending | RefundState::Succeeded => take(tx, server, refund, Some(&refund.part)).await?,
        RefundState::Failed => take(tx, server, refund, None).await?,
    }
    if changed && state == RefundState::Succeeded {
        let done = Notice::RefundDone { amount: refund.cash, credit: refund.part.removed() };
        let key = format!("refund:{}", refund.refund_id);
        notice::raise(tx, &server.clock, &refund.account_id, &done, &key).await?;
    }
    Ok(())
}

/// Brings the credit to what the refund takes now: its part, or nothing.
async fn take(tx: &mut Tx, server: &Server, refund: &Pending, part: Option<&Part>) -> Result<()> {
    let of = ClaimOf {
        claim_id: ClaimId::new(refund.refund_id.as_str()),
        kind: ClaimKind::Refund,
        account_id: &refund.account_id,
        purchase_id: &refund.purchase_id,
        memo: match part {
            Some(_) => format!("Refund of {} to your card", Usd::from_cents(refund.cash).unwrap_or_default()),
            None => "Credit back: the refund did not go through".to_owned(),
        },
    };
    ledger::claim(tx, &server.clock, of, Taking::Exactly(part)).await.map(drop)
}

/// Writes the state; whether it is another one than before.
async fn end(
    tx: &mut Tx,
    server: &Server,
    refund: &Pending,
    (state, stripe_refund_id): (RefundState, Option<&StripeRefundId>),
    problem: Option<&str>,
) -> Result<bool> {
    let ended_at = (state != RefundState::Pending).then(|| server.clock.now());
    let before: Option<String> = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar("select state from refund where refund_id = $1")
            .bind(&refund.refund_id)
            .fetch_optional(conn)
            .await
    })?;
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "update refund
             set    state = $1, stripe_refund_id = coalesce(stripe_refund_id, $2), problem = $3,
                    ended_at = case when state = $1 then ended_at else $4 end
             where  refund_id = $5",
        )
        .bind(state.as_str())
        .bind(stripe_refund_id)
        .bind(problem)
        .bind(ended_at)
        .bind(&refund.refund_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(before.as_deref() != Some(state.as_str()))
}

async fn load_purchase(server: &Server, payment_intent_id: &PaymentIntentId) -> Result<Option<Whose>> {
    let known: Option<(AccountId, PurchaseId)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select account_id, purchase_id from purchase where stripe_payment_intent_id = $1 and state = 'paid'",
        )
        .bind(payment_intent_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(known.map(|(account_id, purchase_id)| Whose::Purchase { account_id, purchase_id }))
}

/// The number of a reading that begins now.
async fn begin_reading(server: &Server, purchase_id: &PurchaseId) -> Result<i64> {
    let mut tx = server.db.begin().await?;
    let reading = on_tx!(&mut tx, conn => {
        sqlx::query_scalar("update purchase set readings = readings + 1 where purchase_id = $1 returning readings")
            .bind(purchase_id)
            .fetch_one(conn)
            .await
    })?;
    tx.commit().await?;
    Ok(reading)
}

/// Whether this reading is newer than the one that was stored last.
async fn store_reading(tx: &mut Tx, purchase_id: &PurchaseId, reading: i64) -> Result<bool> {
    let stored = on_tx!(tx, conn => {
        sqlx::query("update purchase set stored_reading = $1 where purchase_id = $2 and stored_reading < $1")
            .bind(reading)
            .bind(purchase_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(stored == 1)
}

#[derive(sqlx::FromRow)]
struct Row {
    refund_id: RefundId,
    account_id: AccountId,
    purchase_id: PurchaseId,
    payment_intent_id: Option<PaymentIntentId>,
    stripe_refund_id: Option<StripeRefundId>,
    credit_nanos: Usd,
    bonus_nanos: Usd,
    price_cents: Cents,
    fee_cents: Cents,
    cash_cents: Cents,
}

impl Row {
    fn into_pending(self) -> Result<Pending> {
        let Some(payment_intent_id) = self.payment_intent_id else {
            return Err(Error::Internal(format!("refund {} is of a purchase without a payment", self.refund_id)));
        };
        let part = Part {
            credit: self.credit_nanos,
            bonus: self.bonus_nanos,
            price: self.price_cents,
            fee: self.fee_cents,
            cash: self.cash_cents,
        };
        Ok(Pending {
            refund_id: self.refund_id,
            account_id: self.account_id,
            purchase_id: self.purchase_id,
            payment_intent_id,
            cash: self.cash_cents,
            stripe_refund_id: self.stripe_refund_id,
            part,
        })
    }
}

/// The refund, if it has not ended.
pub(super) async fn load_pending(server: &Server, refund_id: &RefundId) -> Result<Option<Pending>> {
    let row: Option<Row> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select r.refund_id, r.account_id, r.purchase_id, p.stripe_payment_intent_id as payment_intent_id,
                    r.stripe_refund_id, r.credit_nanos, r.bonus_nanos, r.price_cents, r.fee_cents, r.cash_cents
             from   refund r
             join   purchase p on p.purchase_id = r.purchase_id
             where  r.refund_id = $1 and r.state = 'pending'",
        )
        .bind(refund_id)
        .fetch_optional(conn)
        .await
    })?;
    row.map(Row::into_pending).transpose()
}

/// Our refund that this one at Stripe is, if it was asked for here and is of this purchase and this sum.
async fn load_ours(tx: &mut Tx, purchase_id: &PurchaseId, stripe_refund: &StripeRefund) -> Result<Option<Pending>> {
    let Some(refund_id) = &stripe_refund.refund_id else { return Ok(None) };
    let row: Option<Row> = on_tx!(tx, conn => {
        sqlx::query_as(
            "select r.refund_id, r.account_id, r.purchase_id, p.stripe_payment_intent_id as payment_intent_id,
                    r.stripe_refund_id, r.credit_nanos, r.bonus_nanos, r.price_cents, r.fee_cents, r.cash_cents
             from   refund r
             join   purchase p on p.purchase_id = r.purchase_id
             where  r.refund_id = $1 and r.purchase_id = $2 and r.cash_cents = $3
             and    (r.stripe_refund_id is null or r.stripe_refund_id = $4)",
        )
        .bind(refund_id)
        .bind(purchase_id)
        .bind(stripe_refund.amount)
        .bind(&stripe_refund.stripe_refund_id)
        .fetch_optional(conn)
        .await
    })?;
    row.map(Row::into_pending).transpose()
}
