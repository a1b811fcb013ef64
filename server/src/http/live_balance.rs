//! Owns: `GET /live/balance`: what the signed-in account can spend now, in nano-dollars, for a page that is open.

use crate::session::{Session, load_signed_in};
use crate::{Server, ledger};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The nano-dollars as text; 401 for somebody who is not signed in.
pub async fn live_balance(State(server): State<Server>, session: Session) -> Response {
    let found = async {
        match load_signed_in(&server, &session).await? {
            Some(user) => Ok(Some(ledger::load_balance(&server, &user.account_id).await?.spendable())),
            None => Ok::<_, crate::error::Error>(None),
        }
    };
    match found.await {
        Ok(Some(spendable)) => ([(header::CACHE_CONTROL, "no-store")], spendable.nanos().to_string()).into_response(),
        Ok(None) => (StatusCode::UNAUTHORIZED, "Sign in to see a balance.\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "read a balance for an open page");
            (StatusCode::INTERNAL_SERVER_ERROR, "The balance cannot be read right now.\n").into_response()
        }
    }
}
