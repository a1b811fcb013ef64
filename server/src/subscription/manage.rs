//! Owns: ending and resuming a subscription, the way to Stripe's portal, paying what is open, and whether an own key
//! works.

use super::apply;
use super::row::{self, LiveRow};
use crate::Server;
use crate::account::User;
use crate::error::Result;
use crate::on_read;
use crate::stripe::Failure;
use crate::stripe::plan::{InvoiceId, SubscriptionId};
use domain::denial::Denial;
use domain::id::{AccountId, PlanChangeId};
use domain::member::Permission;

/// Lets the plan end with the period that is paid; until then nothing changes. `form_id` was made when the form was
/// rendered, so a second click is the same. Denials: `RoleMayNot`, `NotFound`, `Upstream`.
pub async fn cancel(server: &Server, user: &User, form_id: &PlanChangeId) -> Result<()> {
    set_cancel(server, user, form_id, true).await
}

/// Lets a plan that was going to end go on. Denials as of [`cancel`].
pub async fn resume(server: &Server, user: &User, form_id: &PlanChangeId) -> Result<()> {
    set_cancel(server, user, form_id, false).await
}

async fn set_cancel(server: &Server, user: &User, form_id: &PlanChangeId, cancels: bool) -> Result<()> {
    let live = require_live(server, user).await?;
    if live.cancels_at.is_some() == cancels {
        return Ok(());
    }
    let key = format!("{}:{form_id}", if cancels { "cancel" } else { "resume" });
    match server.stripe.set_cancel(&key, &live.subscription_id, cancels).await {
        Ok(_) | Err(Failure::Missing) => {}
        Err(failure) => return Err(failure.into()),
    }
    apply::refresh(server, &live.subscription_id).await.map(drop)
}

/// The address of Stripe's portal, where card and billing address are changed. Denials: `RoleMayNot`, `NotFound`.
pub async fn open_portal(server: &Server, user: &User) -> Result<String> {
    let live = require_live(server, user).await?;
    let customer_id = live.customer_id.ok_or_else(|| Denial::NotFound { what: "customer at Stripe".to_owned() })?;
    let back = format!("{}/plan", server.config.public_url);
    Ok(server.stripe.open_portal(&customer_id, &back).await?)
}

/// Tries now to pay what is open, with the card on file: after the card was changed. Denials: `RoleMayNot`, `NotFound`,
/// `PaymentDeclined`.
pub async fn pay_open_invoice(server: &Server, user: &User, form_id: &PlanChangeId) -> Result<()> {
    let live = require_live(server, user).await?;
    let open = oldest_open(server, &live.subscription_id).await?;
    let outcome = match open {
        Some(invoice_id) => server.stripe.pay_invoice(&format!("pay:{form_id}"), &invoice_id).await.map(drop),
        None => Ok(()),
    };
    apply::refresh(server, &live.subscription_id).await?;
    Ok(outcome?)
}

async fn oldest_open(server: &Server, subscription_id: &SubscriptionId) -> Result<Option<InvoiceId>> {
    let invoice_id = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   stripe_invoice_id
             from     invoice
             where    stripe_subscription_id = $1 and status = 'open'
             order by created_at, stripe_invoice_id
             limit    1",
        )
        .bind(subscription_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(invoice_id)
}

async fn require_live(server: &Server, user: &User) -> Result<LiveRow> {
    user.require(Permission::ManageBilling)?;
    let live = load_fresh(server, &user.account_id).await?;
    live.ok_or_else(|| Denial::NotFound { what: "subscription".to_owned() }.into())
}

/// The account's subscription after asking Stripe, because somebody is going to act on it.
pub(super) async fn load_fresh(server: &Server, account_id: &AccountId) -> Result<Option<LiveRow>> {
    let Some(known) = row::load_live(server, account_id).await? else { return Ok(None) };
    apply::refresh(server, &known.subscription_id).await?;
    row::load_live(server, account_id).await
}
