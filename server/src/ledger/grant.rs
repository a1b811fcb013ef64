//! Owns: giving credit, inside the transaction of the fact that it follows from.
//! Does not own: whether the fact is true (`purchase`, `trial`); a redirect of the browser never is one.

use crate::clock::Clock;
use crate::db::Tx;
use crate::error::{Error, Result};
use domain::id::{AccountId, ModelId, PostingId};
use domain::ledger::GrantKind;
use domain::money::Usd;
use domain::time::Timestamp;

/// Credit to give. Once for each `reference` and kind, whatever happens.
#[derive(Clone, Debug)]
pub struct Grant {
    pub account_id: AccountId,
    pub kind: GrantKind,
    pub amount: Usd,
    /// What the customer paid for it, markup included; zero unless `kind` is paid.
    pub price: Usd,
    /// The fact it follows from, such as the purchase's id.
    pub reference: String,
    /// For the statement, such as `Bought $10.00 of credit`.
    pub memo: String,
    /// The only models it may pay for; `None` for all.
    pub allowed_models: Option<Vec<ModelId>>,
    /// Only trial and promotional credit expires.
    pub expires_at: Option<Timestamp>,
}

/// Gives credit within the caller's transaction, which must then be committed. The same grant again returns the
/// first posting; the same reference and kind with another account or amount is denied as a conflict.
pub async fn grant(_tx: &mut Tx, _clock: &Clock, _grant: Grant) -> Result<PostingId> {
    Err(Error::Internal("grants are not there yet".to_owned()))
}

/// Gives a new account its ledger row, with nothing in it. Call it where the account is inserted.
pub async fn open_account(_tx: &mut Tx, _account_id: &AccountId) -> Result<()> {
    Err(Error::Internal("grants are not there yet".to_owned()))
}
