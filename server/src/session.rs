//! Owns: browser sessions: the cookie, the `session` table, sign-in and sign-out of a browser, idle and absolute end.
//! Does not own: who may sign in (`account`).
//! Invariant: the id in the cookie is never stored, only its SHA-256; the id changes at sign-in.

use crate::Server;
use crate::account::User;
use crate::error::{Error, Result};
use domain::id::UserId;
pub use tower_sessions::Session;

/// Signs this browser in: a new session id, so that an id planted before is worth nothing.
pub async fn start(_session: &Session, _user: &User) -> Result<()> {
    Err(Error::Internal("session: not there yet".to_owned()))
}

/// Signs this browser out.
pub async fn end(_session: &Session) -> Result<()> {
    Err(Error::Internal("session: not there yet".to_owned()))
}

/// Who is signed in with this browser, if anybody.
pub async fn load_signed_in(_server: &Server, _session: &Session) -> Result<Option<User>> {
    Err(Error::Internal("session: not there yet".to_owned()))
}

/// Signs the user out everywhere.
pub async fn end_all(_server: &Server, _user_id: &UserId) -> Result<()> {
    Err(Error::Internal("session: not there yet".to_owned()))
}
