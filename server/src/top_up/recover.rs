//! Owns: a charge that the bank wants the customer's yes for: the way to the bank's page, and giving it up.
//! Does not own: when it was found out (`settle`), or the credit (`purchase::complete`).
//! Invariant: the same PaymentIntent is confirmed, so a top-up that is recovered is still one charge.

use super::settle::{self, expire};
use super::{TopUp, TopUpState};
use crate::account::User;
use crate::error::Result;
use crate::stripe::object::{Payment, PaymentIntentId};
use crate::{Server, on_read};
use domain::denial::Denial;
use domain::id::{AccountId, PurchaseId};
use domain::member::Permission;
use uuid::Uuid;

/// The address to send the browser to: the bank's page, or ours if nothing is left to confirm. `form_id` was made when
/// the form was rendered, so a second click asks the bank once.
///
/// Denials: `RoleMayNot`, `NotFound`, `LinkExpired` (after a day, or it has ended), `PaymentDeclined`, `Upstream`.
pub async fn recover(server: &Server, user: &User, top_up_id: &PurchaseId, form_id: &str) -> Result<String> {
    user.require(Permission::ManageBilling)?;
    if Uuid::try_parse(form_id).is_err() {
        return Err(Denial::invalid("form_id", "is not an id of ours", "Reload the page and try again.").into());
    }
    let top_up = settle::load(server, top_up_id).await?.filter(|top_up| top_up.account_id == user.account_id);
    let Some(top_up) = top_up else { return Err(Denial::NotFound { what: "top-up".to_owned() }.into()) };
    let ours = format!("{}/credits/auto-top-up?confirmed={top_up_id}", server.config.public_url);
    if top_up.state == TopUpState::Paid {
        return Ok(ours);
    }
    let Some(payment_id) = waiting(server, &top_up) else { return Err(ended()) };

    let now = server.stripe.load_payment(payment_id).await?;
    if let Some(url) = where_to(&now) {
        return Ok(url);
    }
    let payment = match now {
        Payment::Unpaid { .. } => {
            let key = format!("recover:{top_up_id}:{form_id}");
            server.stripe.confirm_on_session(&key, payment_id, &top_up.payment_method_id, &ours).await?
        }
        other @ (Payment::Paid(_) | Payment::Processing | Payment::Canceled { .. }) => other,
    };
    if let Some(url) = where_to(&payment) {
        return Ok(url);
    }
    match &payment {
        Payment::Unpaid { problem, .. } => {
            let problem = problem.clone().unwrap_or_else(|| "The card was declined.".to_owned());
            Err(Denial::PaymentDeclined { problem }.into())
        }
        Payment::Paid(_) | Payment::Processing => {
            settle::settle(server, top_up_id, &payment).await?;
            Ok(ours)
        }
        Payment::Canceled { .. } => {
            settle::settle(server, top_up_id, &payment).await?;
            Err(ended())
        }
    }
}

/// The bank's page, while the bank waits.
fn where_to(payment: &Payment) -> Option<String> {
    match payment {
        Payment::Unpaid { action_url, .. } => action_url.clone(),
        Payment::Paid(_) | Payment::Processing | Payment::Canceled { .. } => None,
    }
}

fn waiting<'a>(server: &Server, top_up: &'a TopUp) -> Option<&'a PaymentIntentId> {
    let is_in_time = top_up.recover_until.is_some_and(|until| server.clock.now() < until);
    top_up.payment_intent_id.as_ref().filter(|_| top_up.state == TopUpState::NeedsAction && is_in_time)
}

fn ended() -> crate::error::Error {
    Denial::LinkExpired { what: "confirmation".to_owned() }.into()
}

/// Asks Stripe how a charge stands, for somebody who has just come back from their bank; credit follows only if Stripe
/// says that it was paid.
pub async fn look(server: &Server, account_id: &AccountId, top_up_id: &PurchaseId) -> Result<()> {
    let top_up = settle::load(server, top_up_id).await?.filter(|top_up| &top_up.account_id == account_id);
    match top_up {
        Some(TopUp { state: TopUpState::NeedsAction, payment_intent_id: Some(payment_id), .. }) => {
            let payment = server.stripe.load_payment(&payment_id).await?;
            settle::settle(server, top_up_id, &payment).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// Gives up the account's charge that waits for a yes, if one does: cancelled at Stripe first, so that it cannot be paid
/// afterwards; one that was paid meanwhile is credited.
pub(crate) async fn give_up_recovery(server: &Server, account_id: &AccountId) -> Result<()> {
    let waiting: Option<(PurchaseId, Option<PaymentIntentId>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select top_up_id, stripe_payment_intent_id
             from   top_up
             where  account_id = $1 and state = 'needs_action'",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    match waiting {
        Some((top_up_id, Some(payment_id))) => give_up(server, &top_up_id, &payment_id, "It was given up.").await,
        Some((_, None)) | None => Ok(()),
    }
}

pub(super) async fn give_up(
    server: &Server,
    top_up_id: &PurchaseId,
    payment_id: &PaymentIntentId,
    why: &str,
) -> Result<()> {
    let payment = server.stripe.cancel_payment(payment_id).await?;
    match &payment {
        Payment::Canceled { .. } => expire(server, top_up_id, why).await.map(drop),
        Payment::Paid(_) | Payment::Processing | Payment::Unpaid { .. } => {
            settle::settle(server, top_up_id, &payment).await.map(drop)
        }
    }
}
