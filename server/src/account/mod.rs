//! Owns: accounts and the users who sign in: sign-up, e-mail links, sign-in, password reset.
//! Does not own: browser sessions (`session`), API keys (`api_key`), balances (`ledger`), what the mail says (`mail`).
//! Invariant: no answer tells whether an e-mail has an account: same sentence, same work, and a mail either way.

use crate::Server;
use crate::error::{Error, Result};
use domain::id::{AccountId, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

domain::text_enum! {
    /// What a user may do in the account.
    Role {
        Owner = "owner",
        Admin = "admin",
        Billing = "billing",
        Developer = "developer",
        Viewer = "viewer",
    }
}

/// Who is signed in, as every page sees it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub user_id: UserId,
    pub account_id: AccountId,
    pub email: String,
    pub role: Role,
    /// Ours: sees the admin pages.
    pub is_admin: bool,
    pub email_verified: bool,
    pub account_name: String,
    /// An IANA name, such as `Europe/Vienna`.
    pub time_zone: String,
}

/// What somebody typed into the sign-up form.
pub struct SignUp {
    pub email: String,
    pub password: SecretString,
    /// Empty: the part of the e-mail before the @ is taken.
    pub account_name: String,
    /// Empty: `UTC`.
    pub time_zone: String,
}

/// Opens an account with its owner and sends the link that verifies the e-mail. Nobody is signed in yet: the page says
/// "open the link we sent you". If the e-mail has an account, the answer is the same and the mail says so.
pub async fn sign_up(_server: &Server, _sign_up: SignUp, _ip: IpAddr) -> Result<()> {
    Err(Error::Internal("sign-up: not there yet".to_owned()))
}

/// Checks e-mail and password. Unknown e-mail, wrong password and an e-mail not verified yet are one denial,
/// `WrongCredentials`. The caller starts the session.
pub async fn sign_in(_server: &Server, _email: &str, _password: &SecretString, _ip: IpAddr) -> Result<User> {
    Err(Error::Internal("sign-in: not there yet".to_owned()))
}

/// Verifies the e-mail by the link's token, once. Call it from a POST (mail scanners follow links). Does not sign in:
/// whoever owns the mailbox need not be who chose the password.
pub async fn verify_email(_server: &Server, _token: &str) -> Result<()> {
    Err(Error::Internal("verify e-mail: not there yet".to_owned()))
}

/// Sends a link that resets the password, if the e-mail has an account; the answer is the same if not.
pub async fn request_password_reset(_server: &Server, _email: &str, _ip: IpAddr) -> Result<()> {
    Err(Error::Internal("reset: not there yet".to_owned()))
}

/// Sets a new password by the link's token, once, and ends every session of the user.
pub async fn reset_password(_server: &Server, _token: &str, _new_password: &SecretString) -> Result<()> {
    Err(Error::Internal("reset: not there yet".to_owned()))
}

/// The user with this id, as pages see them.
pub async fn load_user(_server: &Server, _user_id: &UserId) -> Result<Option<User>> {
    Err(Error::Internal("user: not there yet".to_owned()))
}
