//! Owns: buying a pack: the purchase row, its Checkout, and the credit that follows the money.
//! Does not own: Stripe's wire (`stripe`), ledger rows (`ledger`), which packs there are (the catalogue).
//! Invariant: credit is granted only by `complete`, which takes a payment that was read from Stripe, once for each
//! payment. Coming back from Stripe's page in the browser proves nothing.

/// Reads [`PurchaseRow`]s with the condition given: one text for everybody who works on a purchase.
macro_rules! select_purchase {
    ($condition:literal) => {
        concat!(
            "select p.purchase_id, p.pack_id, p.amount_nanos, p.bonus_nanos, p.price_cents, p.state, p.problem,
                    p.created_at, p.ended_at, p.account_id, p.user_id, p.currency, p.origin, p.keeps_card,
                    p.stripe_session_id, p.stripe_payment_intent_id, a.stripe_customer_id
             from   purchase p
             join   account a on a.account_id = p.account_id
             ",
            $condition
        )
    };
}

mod checkout;
mod complete;
mod reconcile;

pub(crate) use checkout::{ensure_customer_of, replace_customer_of};
pub use checkout::{start, start_keeping_card};
pub(crate) use complete::end_unpaid;
pub use complete::{Effect, apply_checkout, apply_payment};
pub use reconcile::reconcile;

use crate::error::Result;
use crate::stripe::object::{CustomerId, SessionId};
use crate::{Server, on_read};
use domain::id::{AccountId, PackId, PurchaseId, UserId};
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

domain::text_enum! {
    /// How a purchase is paid.
    Origin {
        /// On Stripe's page, by whoever is there.
        Checkout = "checkout",
        /// By an automatic charge, which is a `top_up` of the same id.
        AutoTopUp = "auto_top_up",
    }
}

domain::text_enum! {
    /// How far a purchase is.
    PurchaseState {
        /// Waiting for the money.
        Pending = "pending",
        /// The money came and the credit was granted.
        Paid = "paid",
        /// The payment failed for good. Honoured nevertheless if the money comes.
        Failed = "failed",
        /// Nobody paid in time. Honoured nevertheless if the money comes.
        Expired = "expired",
        /// Money came that does not fit the purchase; somebody of ours must look at it.
        HeldBack = "held_back",
    }
}

/// A purchase, as its buyer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Purchase {
    pub purchase_id: PurchaseId,
    pub pack_id: PackId,
    /// Credit that is bought.
    #[sqlx(rename = "amount_nanos")]
    pub amount: Usd,
    /// Credit on top.
    #[sqlx(rename = "bonus_nanos")]
    pub bonus: Usd,
    /// What is paid for it, fixed when the purchase began.
    #[sqlx(rename = "price_cents")]
    pub price: Cents,
    #[sqlx(try_from = "String")]
    pub state: PurchaseState,
    /// Why it is not paid, in words for the buyer: the last decline, or why it is held back.
    pub problem: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// A purchase as we need it to work on it.
#[derive(Clone, Debug, sqlx::FromRow)]
struct PurchaseRow {
    #[sqlx(flatten)]
    purchase: Purchase,
    account_id: AccountId,
    user_id: UserId,
    currency: String,
    #[sqlx(try_from = "String")]
    origin: Origin,
    /// Whether the buyer agreed that the card is kept: 1 or 0.
    keeps_card: i64,
    stripe_session_id: Option<SessionId>,
    stripe_payment_intent_id: Option<crate::stripe::object::PaymentIntentId>,
    /// The account's.
    stripe_customer_id: Option<CustomerId>,
}

/// The account's purchase with this id.
pub async fn load(server: &Server, account_id: &AccountId, purchase_id: &PurchaseId) -> Result<Option<Purchase>> {
    let purchase = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select purchase_id, pack_id, amount_nanos, bonus_nanos, price_cents, state, problem, created_at, ended_at
             from   purchase
             where  purchase_id = $1 and account_id = $2",
        )
        .bind(purchase_id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(purchase)
}

/// The account's purchases, newest first, those older than `before`; at most 200 of them.
pub async fn list(
    server: &Server,
    account_id: &AccountId,
    before: Option<&PurchaseId>,
    limit: i64,
) -> Result<Vec<Purchase>> {
    let purchases = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select purchase_id, pack_id, amount_nanos, bonus_nanos, price_cents, state, problem, created_at, ended_at
             from   purchase
             where  account_id = $1 and ($2 is null or purchase_id < $2)
             order  by purchase_id desc
             limit  $3",
        )
        .bind(account_id)
        .bind(before)
        .bind(limit.clamp(1, 200))
        .fetch_all(conn)
        .await
    })?;
    Ok(purchases)
}
