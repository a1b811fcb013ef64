//! Owns: buying a pack: the purchase row, its Checkout, and the credit that follows the money.
//! Does not own: Stripe's wire (`stripe`), ledger rows (`ledger`), which packs there are (the catalogue).
//! Invariant: credit is granted only by `complete`, which takes a payment that was read from Stripe, once for each
//! payment. Coming back from Stripe's page in the browser proves nothing.

use crate::Server;
use crate::account::User;
use crate::error::{Error, Result};
use domain::id::{AccountId, PackId, PurchaseId};
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

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

/// Begins the purchase of a pack and answers with the address to send the browser to: Stripe's page, or our own page
/// of the purchase if it is paid. `purchase_id` was made when the form was rendered, so a second click is harmless: it
/// answers with the same Checkout. Nothing is charged or granted here.
///
/// Denials: `UnknownPack`, `AccountFrozen`, `NotFound` (the id is somebody else's), `Invalid` (not an id), `Conflict`
/// (the id belongs to another pack, or its Checkout has ended), `Upstream`.
pub async fn start(_server: &Server, _user: &User, _pack_id: &PackId, _purchase_id: PurchaseId) -> Result<String> {
    Err(Error::Internal("purchases: not there yet".to_owned()))
}

/// The account's purchase with this id.
pub async fn load(_server: &Server, _account_id: &AccountId, _purchase_id: &PurchaseId) -> Result<Option<Purchase>> {
    Err(Error::Internal("purchases: not there yet".to_owned()))
}

/// The account's purchases, newest first, those older than `before`.
pub async fn list(
    _server: &Server,
    _account_id: &AccountId,
    _before: Option<&PurchaseId>,
    _limit: i64,
) -> Result<Vec<Purchase>> {
    Err(Error::Internal("purchases: not there yet".to_owned()))
}

/// Asks Stripe about purchases that have waited for more than two minutes, and takes up events that were stored but not
/// applied, so that lost webhooks cost nothing. Answers how many were looked at. Safe on several nodes at once.
pub async fn reconcile(_server: &Server) -> Result<usize> {
    Err(Error::Internal("purchases: not there yet".to_owned()))
}
