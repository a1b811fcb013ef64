//! Owns: refunds of unused credit: what can go back, asking for it, sending it through Stripe, and what refunds made at
//! Stripe do to an account.
//! Does not own: how much goes back (`domain::refund`), ledger rows (`ledger::claim`), Stripe's wire (`stripe`).
//! Invariant: credit is taken before Stripe is asked, and given back only when Stripe says that no money went; whatever
//! is lost on the way, one refund here is at most one at Stripe.

mod news;
mod send;
mod start;

pub(crate) use news::settle;
pub use news::{Whose, refresh, whose};
pub use send::{reconcile, send};
pub use start::start;

use crate::error::Result;
use crate::{Server, ledger, on_read};
use domain::id::{AccountId, PurchaseId, RefundId};
use domain::money::{Cents, Usd};
use domain::refund::{Part, plan};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

domain::text_enum! {
    /// How far a refund is.
    RefundState {
        /// The credit is taken, and the money is on its way.
        Pending = "pending",
        /// Stripe has sent the money; the bank shows it within days.
        Succeeded = "succeeded",
        /// No money went, and the credit is back.
        Failed = "failed",
    }
}

/// A refund, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Refund {
    pub refund_id: RefundId,
    pub purchase_id: PurchaseId,
    /// Credit and bonus that were removed.
    #[sqlx(rename = "credit_nanos")]
    pub credit: Usd,
    #[sqlx(rename = "bonus_nanos")]
    pub bonus: Usd,
    /// What arrives on the card.
    #[sqlx(rename = "cash_cents")]
    pub cash: Cents,
    #[sqlx(try_from = "String")]
    pub state: RefundState,
    /// Why it failed, in words for its owner.
    pub problem: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// What would go back of one purchase.
#[derive(Clone, Debug)]
pub struct Line {
    pub purchase_id: PurchaseId,
    pub bought_at: Timestamp,
    /// What was bought, and for how much.
    pub amount: Usd,
    pub bonus: Usd,
    pub price: Cents,
    pub part: Part,
}

/// What would go back now of the account's purchases, newest first: `cash` in all, or everything. Denied with `Invalid`
/// when there is not so much.
pub async fn load_offer(server: &Server, account_id: &AccountId, cash: Option<Cents>) -> Result<Vec<Line>> {
    let sold = ledger::list_sold(server, account_id).await?;
    lines(server, sold, cash)
}

fn lines(server: &Server, sold: Vec<ledger::SoldPurchase>, cash: Option<Cents>) -> Result<Vec<Line>> {
    // What has no payment at Stripe cannot go back through it.
    let sold = sold.into_iter().filter(|purchase| purchase.payment_intent_id.is_some());
    let sold: Vec<_> = sold.map(|purchase| (purchase.clone(), purchase.sold)).collect();
    let catalogue = server.catalogue.load();
    let parts = plan(&sold, catalogue.refund_fee.taken_off(catalogue.stripe_fee), cash)?;
    Ok(parts
        .into_iter()
        .map(|(purchase, part)| Line {
            purchase_id: purchase.purchase_id,
            bought_at: purchase.bought_at,
            amount: purchase.sold.amount,
            bonus: purchase.sold.bonus,
            price: purchase.sold.price,
            part,
        })
        .collect())
}

/// The account's refunds, newest first; at most 100.
pub async fn list(server: &Server, account_id: &AccountId) -> Result<Vec<Refund>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select refund_id, purchase_id, credit_nanos, bonus_nanos, cash_cents, state, problem, created_at, ended_at
             from   refund
             where  account_id = $1
             order  by refund_id desc
             limit  100",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?)
}
