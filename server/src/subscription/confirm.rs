//! Owns: doing a change that was proposed, once, at the price that was shown.
//! Invariant: Stripe is called with the change's id as idempotency key, by one change at a time, and only while it still
//! costs what was shown; what is charged now is changed only if it is paid.

use super::change::{self, ChangeRow};
use super::row::{self, LiveRow};
use super::{apply, lease, manage, price};
use crate::Server;
use crate::account::User;
use crate::error::{Error, Result};
use crate::stripe::Failure;
use crate::stripe::plan::Had;
use domain::denial::Denial;
use domain::id::PlanChangeId;
use domain::member::Permission;
use domain::subscription::Change;
use tokio::sync::oneshot;

/// How long a preview may be confirmed.
const PREVIEW_SECONDS: i64 = 1_800;

/// Does the change. A second click, or the same one after a lost answer, does nothing more.
///
/// Denials: as of [`super::propose`], and `NotFound` (no such change), `Conflict` (the preview is stale: half an hour old,
/// or the change would cost something else now; or another change is being made), `PaymentDeclined` (nothing was changed).
pub async fn confirm(server: &Server, user: &User, plan_change_id: &PlanChangeId) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let row = change::load_row(server, &user.account_id, plan_change_id).await?;
    let row = row.ok_or_else(|| Denial::NotFound { what: "change of plan".to_owned() })?;
    match row.state.as_str() {
        "pending" => {}
        "done" => return Ok(()),
        _ended => {
            let problem = row.problem.unwrap_or_else(|| "This change has ended.".to_owned());
            return Err(Denial::Conflict { problem: format!("{problem} Choose the plan again.") }.into());
        }
    }
    // A task of the server: it goes on when the browser leaves.
    let (sender, receiver) = oneshot::channel();
    let (task, user) = (server.clone(), user.clone());
    server.tasks.spawn(async move {
        // Whoever asked may have left.
        let _ = sender.send(do_alone(&task, &user, &row).await);
    });
    receiver.await.map_err(|_| Error::Internal("a change of plan ended without an answer".to_owned()))?
}

/// Does it while nothing else changes the subscription.
async fn do_alone(server: &Server, user: &User, row: &ChangeRow) -> Result<()> {
    let lease = lease::take(server, &user.account_id, row.plan_change_id.as_str()).await?;
    let outcome = match manage::load_fresh(server, &user.account_id).await {
        Ok(Some(live)) => do_it(server, user, row, &live).await,
        Ok(None) => Err(Denial::NotFound { what: "subscription".to_owned() }.into()),
        Err(error) => Err(error),
    };
    lease.release(server).await;
    outcome
}

async fn do_it(server: &Server, user: &User, row: &ChangeRow, live: &LiveRow) -> Result<()> {
    let to = row.terms()?;
    let catalogue = server.catalogue.load_full();
    let plan = catalogue.plan(&to.plan).ok_or_else(|| Denial::NotFound { what: "plan".to_owned() })?;
    let to = change::check_terms(server, user, plan, &to).await?;
    let price = price::price_of(server, plan, to.key_mode).await?;
    if live.billed == to && live.price_id == price.stripe_price_id && live.had == to {
        // Done by the first of two clicks.
        return apply::end_change(server, &row.plan_change_id, "done", None).await;
    }

    let (change, _) = change::decide(server, Some(live), &to)?;
    let at = row.proration_at.unwrap_or(row.created_at);
    check_fresh(server, row, live, change).await?;
    let now = change::ask(server, live, &price, &to, change, at).await?;
    if row.preview_cents != Some(change::total(change, &now)) {
        return stale(server, live, row).await;
    }

    let had = (change == Change::AtPeriodEnd && to != live.had)
        .then(|| Had { terms: live.had.clone(), until: live.period.end });
    let item = change::item_change(live, &price, &to, change, at);
    match server.stripe.change_item(row.plan_change_id.as_str(), &item, had.as_ref()).await {
        Ok(_) => {
            apply::refresh(server, &live.subscription_id).await?;
            apply::end_change(server, &row.plan_change_id, "done", None).await
        }
        Err(Failure::Declined(problem)) => {
            apply::end_change(server, &row.plan_change_id, "failed", Some(&problem)).await?;
            Err(Denial::PaymentDeclined { problem }.into())
        }
        // Unknown, or refused: the change stays pending, and the same call tells.
        Err(failure) => Err(failure.into()),
    }
}

/// Refuses a preview that is too old, or of another period, or of another kind of change.
async fn check_fresh(server: &Server, row: &ChangeRow, live: &LiveRow, change: Change) -> Result<()> {
    let age = server.clock.now().seconds().saturating_sub(row.created_at.seconds());
    let kind = match change {
        Change::Now => "now",
        Change::NowWithCredit => "now_with_credit",
        Change::AtPeriodEnd => "at_period_end",
        Change::None | Change::Subscribe | Change::Cancel => "",
    };
    let same_period = row.proration_at.is_some_and(|at| live.period.start <= at && at <= live.period.end);
    if age > PREVIEW_SECONDS || kind != row.kind || !same_period {
        return stale(server, live, row).await;
    }
    Ok(())
}

/// The change would not cost what was shown. If that is because it was done just now, all is well.
async fn stale(server: &Server, live: &LiveRow, row: &ChangeRow) -> Result<()> {
    apply::refresh(server, &live.subscription_id).await?;
    if let Some(now) = row::load_live(server, &row.account_id).await?
        && now.billed == row.terms()?
    {
        return apply::end_change(server, &row.plan_change_id, "done", None).await;
    }
    let problem = "What this change costs is no longer what you were shown, so nothing was changed.";
    apply::end_change(server, &row.plan_change_id, "expired", Some(problem)).await?;
    Err(Denial::Conflict { problem: format!("{problem} Choose the plan again to see what it costs now.") }.into())
}
