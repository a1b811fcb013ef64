//! Owns: the way of a first subscription to Stripe's page.
//! Does not own: what happens once somebody paid (`apply`), or customers' rows (`purchase`).
//! Invariant: the row is committed before Stripe is called, and every call for it carries its id as idempotency key.

use super::change::Shown;
use super::{apply, change, price};
use crate::Server;
use crate::account::User;
use crate::error::Result;
use crate::on_tx;
use crate::purchase;
use crate::stripe::Failure;
use crate::stripe::billing::NewSubscription;
use crate::stripe::object::{Checkout, CheckoutState, CustomerId};
use domain::denial::Denial;
use domain::id::PlanChangeId;
use domain::plan::Plan;
use domain::subscription::{Change, Terms};

/// How long Stripe's page can be paid.
const CHECKOUT_SECONDS: i64 = 2 * 3_600;

/// Opens the Checkout of a first subscription; the address to send the browser to. The same change again answers with
/// the same Checkout. Nothing is charged here.
pub(super) async fn open(
    server: &Server,
    user: &User,
    (to, plan): (&Terms, &Plan),
    plan_change_id: &PlanChangeId,
    trial_days: Option<u32>,
) -> Result<String> {
    let price = price::price_of(server, plan, to.key_mode).await?;
    let shown = Shown::Checkout { trial_days };
    change::insert(server, user, Change::Subscribe, to, plan_change_id, shown).await?;
    let row = change::load_row(server, &user.account_id, plan_change_id).await?;
    let row = row.ok_or_else(|| Denial::NotFound { what: "change of plan".to_owned() })?;
    if row.state != "pending" {
        return if row.state == "done" { Ok("/plan".to_owned()) } else { Err(ended()) };
    }

    let customer_id = purchase::ensure_customer_of(server, user).await?;
    let create = async |customer_id: &CustomerId| {
        let page = &server.config.public_url;
        server
            .stripe
            .create_subscription_checkout(NewSubscription {
                plan_change_id,
                account_id: &user.account_id,
                customer_id,
                price_id: &price.stripe_price_id,
                seats: to.seats,
                trial_days: row.trial_days.and_then(|days| u32::try_from(days).ok()),
                automatic_tax: server.config.stripe.automatic_tax,
                // From the row, so that a repeated call is the same call.
                expires_at: row.created_at.plus_seconds(CHECKOUT_SECONDS),
                success_url: format!("{page}/plan?subscribed={plan_change_id}"),
                cancel_url: format!("{page}/plan?cancelled=1"),
            })
            .await
    };
    let checkout = match create(&customer_id).await {
        Err(Failure::NoCustomer) => {
            let customer_id = purchase::replace_customer_of(server, user, &customer_id).await?;
            create(&customer_id).await?
        }
        other => other?,
    };
    keep_session(server, plan_change_id, &checkout).await?;
    // The answer may be the first call's, and the session may have been paid since.
    let current = server.stripe.load_checkout(&checkout.session_id).await?;
    if let CheckoutState::Open { url } = current.state {
        return Ok(url);
    }
    apply::apply_checkout(server, &current).await?;
    match current.state {
        CheckoutState::Open { url } => Ok(url),
        CheckoutState::Complete => Ok("/plan".to_owned()),
        CheckoutState::Expired => Err(ended()),
    }
}

async fn keep_session(server: &Server, plan_change_id: &PlanChangeId, checkout: &Checkout) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update plan_change set stripe_session_id = $1 where plan_change_id = $2 and stripe_session_id is null",
        )
        .bind(&checkout.session_id)
        .bind(plan_change_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

fn ended() -> crate::error::Error {
    let problem = "This checkout has ended and nothing was charged. Reload Plan and choose the plan again.".to_owned();
    Denial::Conflict { problem }.into()
}
