//! Owns: how many people are in an account, and paying for a seat for each.
//! Does not own: who they are (`member`).

use super::row::{self, LiveRow};
use super::{apply, lease, manage, price};
use crate::Server;
use crate::error::{Error, Result};
use crate::on_read;
use crate::stripe::Failure;
use crate::stripe::billing::{ItemChange, Settle};
use domain::id::AccountId;
use domain::subscription::SubscriptionStatus;
use domain::time::Timestamp;

/// How many people are in the account.
pub async fn count_members(server: &Server, account_id: &AccountId) -> Result<u32> {
    let count: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar("select count(*) from member where account_id = $1").bind(account_id).fetch_one(conn).await
    })?;
    u32::try_from(count).map_err(|error| Error::internal("count members", error))
}

/// Pays for as many seats as the account has members, where that is more than it pays for; the rest of the period is
/// charged at once. Seats that nobody sits on stay until somebody takes them off in Plan. A card that is declined
/// changes nothing here and is tried again when members change. `Conflict` while another change of the plan is being made.
pub async fn sync_seats(server: &Server, account_id: &AccountId) -> Result<()> {
    let Some(live) = row::load_live(server, account_id).await? else { return Ok(()) };
    if !needs_seats(server, &live).await? {
        return Ok(());
    }
    let lease = lease::take(server, account_id, &format!("seats:{}", server.clock.new_id())).await?;
    let outcome = add_seats(server, account_id).await;
    lease.release(server).await;
    outcome
}

async fn needs_seats(server: &Server, live: &LiveRow) -> Result<bool> {
    let per_seat = server.catalogue.load().plan(&live.billed.plan).is_some_and(|plan| plan.per_seat);
    let in_order = matches!(live.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing);
    Ok(per_seat && in_order && count_members(server, &live.account_id).await? > live.billed.seats)
}

/// With the lease: what is read now does not change until the seats are paid.
async fn add_seats(server: &Server, account_id: &AccountId) -> Result<()> {
    let Some(live) = manage::load_fresh(server, account_id).await? else { return Ok(()) };
    if !needs_seats(server, &live).await? {
        return Ok(());
    }
    let members = count_members(server, account_id).await?;
    // The same moment on each try within the hour, so that a repeated job is the same change.
    let hour = Timestamp::from_seconds(server.clock.now().seconds().div_euclid(3_600) * 3_600);
    let at = hour.max(live.period.start);
    let key = format!("seats:{}:{}:{members}:{}", live.subscription_id, live.billed.seats, at.seconds());
    let price_id = match price::load_by_price(server, &live.price_id).await? {
        Some(known) => known.stripe_price_id,
        None => live.price_id.clone(),
    };
    let change = ItemChange {
        subscription_id: &live.subscription_id,
        item_id: &live.item_id,
        price_id: &price_id,
        seats: members,
        settle: Settle::Now { at },
    };
    match server.stripe.change_item(&key, &change, None).await {
        Ok(_) => apply::refresh(server, &live.subscription_id).await.map(drop),
        Err(Failure::Declined(problem)) => {
            tracing::warn!(%account_id, problem, "a seat for a new member could not be paid");
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}
