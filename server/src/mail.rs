//! Owns: the mail we send: its words, its links, and handing it to the SMTP server.
//! Does not own: when it is sent; a job does that and retries, so a page never waits for a mail server.
//! Invariant: a job's row holds no secret: the token of a link is made when the mail is sent.

use crate::Server;
use crate::error::{Error, Result};
use domain::id::{PurchaseId, UserId};
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A mail to send, as the job keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "snake_case")]
pub enum Mail {
    /// The link that verifies the e-mail of a new user.
    VerifyEmail { user_id: UserId },
    /// The link that resets a password; nothing is sent if the address has no user.
    ResetPassword { email: String },
    /// Somebody signed up with an address that has an account.
    AlreadyHaveAccount { email: String },
    /// A pack was paid.
    Receipt { user_id: UserId, pack: String, price: Cents, credits: Usd, paid_at: Timestamp, purchase_id: PurchaseId },
}

/// Sends the mail. An error means that it was not accepted, and the job tries again.
pub async fn deliver(_server: &Server, _mail: &Mail) -> Result<()> {
    Err(Error::Internal("mail: not there yet".to_owned()))
}
