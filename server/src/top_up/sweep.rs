//! Owns: what nothing else finds: charges whose answer was lost, confirmations that nobody gave, rules whose moment
//! passed unnoticed, consents that ended.
//! Does not own: how a charge ends (`settle`).
//! Invariant: a charge whose end is unknown is looked for at Stripe first, and sent again only with its own id; one account
//! that fails does not keep the others from their turn.

use super::facts::Known;
use super::run::{begun_before, charge, run};
use super::settle::{expire, settle};
use super::{TopUp, TopUpState, recover};
use crate::error::Result;
use crate::notice::{self, Notice};
use crate::{Server, on_read, on_tx, payment_method};
use domain::id::AccountId;
use domain::money::Usd;
use domain::time::Timestamp;
use domain::top_up::{Reason, Trigger, Verdict};

/// A call to Stripe and its repetitions take less; after that nothing of it is on its way any more.
const PATIENCE_SECONDS: i64 = 120;
/// Stripe keeps an idempotency key for at least a day; later, the same call could charge a second time.
const KEY_SECONDS: i64 = 23 * 3_600;
/// How many of each are taken at a time; the next sweep takes the rest.
const PAGE: i64 = 200;

/// Takes up everything about top-ups that was left; how many were looked at. Safe on several nodes at once.
pub async fn sweep(server: &Server) -> Result<usize> {
    let cards = payment_method::reconcile(server).await?;
    let waiting = sweep_waiting(server).await?;
    let consents = tell_ended_consents(server).await?;
    let rules = sweep_rules(server).await?;
    Ok(cards.saturating_add(waiting).saturating_add(consents).saturating_add(rules))
}

async fn sweep_waiting(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let waiting: Vec<TopUp> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   top_up_id, account_id, state, price_nanos, stripe_payment_method_id, card, last4,
                      stripe_payment_intent_id, reason, decline_code, problem, sent_at, recover_until, created_at,
                      ended_at
             from     top_up
             where    (state = 'open' and coalesce(sent_at, created_at) < $1)
                      or (state = 'needs_action' and recover_until <= $2)
             order by created_at
             limit    $3",
        )
        .bind(now.plus_seconds(-PATIENCE_SECONDS))
        .bind(now)
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    for top_up in &waiting {
        let outcome = match (top_up.state, &top_up.payment_intent_id) {
            (TopUpState::NeedsAction, Some(payment)) => {
                recover::give_up(server, &top_up.top_up_id, payment, "Nobody confirmed it in time.").await
            }
            (TopUpState::Open | TopUpState::NeedsAction, _) => find_out(server, top_up).await,
            (TopUpState::Paid | TopUpState::Refused | TopUpState::Expired, _) => Ok(()),
        };
        if let Err(error) = outcome {
            let top_up_id = &top_up.top_up_id;
            tracing::warn!(%error, %top_up_id, "a top-up could not be reconciled; the next sweep tries again");
        }
    }
    Ok(waiting.len())
}

/// Finds out how a charge ended whose answer was lost. Only when Stripe has none of this id is it sent again, with the
/// same id, if it is still wanted; if not, it ends.
async fn find_out(server: &Server, top_up: &TopUp) -> Result<()> {
    let Some(begun) = begun_before(server, top_up).await? else {
        return expire(server, &top_up.top_up_id, "The customer is gone at Stripe.").await.map(drop);
    };
    let found = server.stripe.find_payment(&begun.customer_id, &top_up.top_up_id, top_up.created_at).await?;
    if let Some(payment) = found {
        return settle(server, &top_up.top_up_id, &payment).await.map(drop);
    }
    let is_late = server.clock.now() > top_up.created_at.plus_seconds(KEY_SECONDS);
    if is_late || !is_wanted(server, top_up).await? {
        return expire(server, &top_up.top_up_id, "It never reached Stripe, and was no longer wanted.").await.map(drop);
    }
    if claim(server, top_up).await? { charge(server, &begun).await } else { Ok(()) }
}

/// Whether it would be made now if it were not there.
async fn is_wanted(server: &Server, top_up: &TopUp) -> Result<bool> {
    let mut known = Known::read(server, &top_up.account_id).await?;
    known.top_ups.retain(|other| other.top_up_id != top_up.top_up_id);
    let verdict = known.verdict(&server.catalogue.load(), server.clock.now(), Usd::ZERO);
    let is_same_card = known.card.is_some_and(|card| card.payment_method_id == top_up.payment_method_id);
    Ok(is_same_card && matches!(verdict, Verdict::Due { price } if price == top_up.price))
}

/// Only one node sends it again.
async fn claim(server: &Server, top_up: &TopUp) -> Result<bool> {
    let mut tx = server.db.begin().await?;
    let claimed = on_tx!(&mut tx, conn => {
        sqlx::query("update top_up set sent_at = $1 where top_up_id = $2 and state = 'open' and sent_at = $3")
            .bind(server.clock.now())
            .bind(&top_up.top_up_id)
            .bind(top_up.sent_at)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    tx.commit().await?;
    Ok(claimed == 1)
}

/// Rules that are on and may have to act: the balance is low, or captures do not know what to look for.
async fn sweep_rules(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let mut after = AccountId::new("");
    let mut count = 0_usize;
    loop {
        let accounts = list_due(server, now, &after).await?;
        let Some(last) = accounts.last() else { return Ok(count) };
        after = last.clone();
        count = count.saturating_add(accounts.len());
        for account_id in &accounts {
            if let Err(error) = run(server, account_id, Trigger::Sweep, Usd::ZERO).await {
                tracing::warn!(%error, %account_id, "a top-up could not be made; the next sweep tries again");
            }
        }
    }
}

async fn list_due(server: &Server, now: Timestamp, after: &AccountId) -> Result<Vec<AccountId>> {
    let accounts = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   r.account_id
             from     top_up_rule r
             join     kept_card k on k.account_id = r.account_id
             join     balance b on b.account_id = r.account_id
             where    r.is_on = 1 and r.withdrawn_at is null and r.consent_ends_at > $1 and r.account_id > $2
                      and (r.suspended_card is null or r.suspended_card <> k.card)
                      and (b.top_up_below_nanos is null
                           or b.paid_nanos + b.bonus_nanos + b.promotional_nanos + b.trial_nanos + b.held_nanos
                              < r.threshold_nanos)
                      and not exists (select 1 from top_up t
                                      where t.account_id = r.account_id and t.state in ('open', 'needs_action'))
             order by r.account_id
             limit    $3",
        )
        .bind(now)
        .bind(after)
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    Ok(accounts)
}

/// Tells those whose consent has ended, once.
async fn tell_ended_consents(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let ended: Vec<(AccountId, Timestamp)> = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            "update    top_up_rule
             set       told_consent_end = 1
             where     is_on = 1 and withdrawn_at is null and told_consent_end = 0 and consent_ends_at <= $1
             returning account_id, consent_ends_at",
        )
        .bind(now)
        .fetch_all(conn)
        .await
    })?;
    if ended.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    for (account_id, ended_at) in &ended {
        let reason = Reason::ConsentExpired;
        let paused = Notice::TopUpPaused { reason: reason.to_string(), sentence: reason.sentence().to_owned() };
        let key = format!("top_up_consent:{}", ended_at.micros());
        notice::raise(&mut tx, &server.clock, account_id, &paused, &key).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(ended.len())
}
