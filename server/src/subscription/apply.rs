//! Owns: what news about a subscription does here: its row, its invoices, the account's plan, the change that began it.
//! Does not own: which event brought the news (`stripe::apply`) or asking without one (`reconcile`).
//! Invariant: everything is written from one reading of Stripe, and an older reading never overwrites a newer one, so
//! order, repetition and delay of events change nothing.

use super::dunning::{self, Told};
use super::price::{self, PriceRow};
use super::{invoice, key_grace, row};
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::notice::{self, Notice};
use crate::stripe::Failure;
use crate::stripe::object::{Checkout, CheckoutState, CustomerId};
use crate::stripe::plan::{Invoice, InvoiceStatus, Subscription, SubscriptionId};
use crate::trial::{self, Beginner};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, PlanChangeId, PlanId, UserId};
use domain::subscription::{Standing, SubscriptionStatus, Terms, standing};
use domain::time::Timestamp;

/// How soon Stripe is asked again without being told, while a payment is missing or on its way.
const SOON_SECONDS: i64 = 600;
/// How long after its end a period should have been renewed.
const RENEWAL_SECONDS: i64 = 120;

/// What news about a subscription did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// What Stripe has is stored.
    Stored,
    /// It is about nothing of ours.
    NotOurs,
    /// It should be ours and cannot be placed, for the reason given.
    Unplaced { problem: String },
}

/// Reads the subscription and those of its invoices that can still change from Stripe and stores what they are now. Doing it again changes nothing.
pub async fn refresh(server: &Server, subscription_id: &SubscriptionId) -> Result<Applied> {
    let asked_at = server.clock.now();
    let sub = match server.stripe.load_subscription(subscription_id).await {
        Ok(sub) => sub,
        Err(Failure::Missing) => return forget(server, subscription_id).await,
        Err(failure) => return Err(failure.into()),
    };
    if sub.live != server.config.stripe.live {
        return Ok(Applied::NotOurs);
    }
    let Some(account_id) = account_of(server, &sub).await? else {
        return Ok(match &sub.account_id {
            Some(_) => Applied::Unplaced { problem: "it belongs to an account that is not in the database".to_owned() },
            None => Applied::NotOurs,
        });
    };
    let since = invoice::unsettled_since(server, subscription_id).await?;
    let invoices = server.stripe.list_invoices(subscription_id, since).await?;
    let price = price::load_by_price(server, &sub.price_id).await?;
    let before = load_before(server, subscription_id).await?;
    let Some(seen) = Seen::decide(server, sub, &invoices, price, before)? else {
        let problem = "its price stands for no plan of the catalogue".to_owned();
        return Ok(Applied::Unplaced { problem });
    };

    let mut tx = server.db.begin().await?;
    match store(&mut tx, &account_id, &seen, asked_at).await {
        Ok(true) => {}
        // Somebody has read it later than we did.
        Ok(false) => return Ok(Applied::Stored),
        Err(error) if breaks_unique(&error, "subscription_one_live", "subscription.account_id") => {
            tx.rollback().await?;
            return give_back_second(server, &account_id, &seen).await;
        }
        Err(error) => return Err(error.into()),
    }
    for invoice in &invoices {
        invoice::store(&mut tx, &account_id, invoice, asked_at).await?;
    }
    set_plan(&mut tx, server, &account_id, &seen).await?;
    finish_change(&mut tx, server, &seen).await?;
    key_grace::follow(&mut tx, server, &account_id).await?;
    let told = dunning::tell(&mut tx, server, &account_id, subscription_id, seen.told).await?;
    match begin_or_convert(&mut tx, server, &account_id, &seen, told).await {
        Ok(()) => {}
        Err(Error::Denied(denial)) => {
            tx.rollback().await?;
            return refuse_trial(server, &seen, &denial).await;
        }
        Err(error) => return Err(error),
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(Applied::Stored)
}

/// Acts on a Checkout Session for a first subscription as Stripe has it now.
pub async fn apply_checkout(server: &Server, checkout: &Checkout) -> Result<Applied> {
    let Some(plan_change_id) = &checkout.plan_change_id else { return Ok(Applied::NotOurs) };
    match (&checkout.state, &checkout.subscription_id) {
        (CheckoutState::Complete, Some(subscription_id)) => refresh(server, subscription_id).await,
        (CheckoutState::Open { .. } | CheckoutState::Complete, _) => Ok(Applied::Stored),
        (CheckoutState::Expired, _) => {
            end_change(server, plan_change_id, "expired", None).await?;
            Ok(Applied::Stored)
        }
    }
}

/// Reads the subscription of a customer anew, because the customer changed: another card, or deleted.
pub async fn refresh_customer(server: &Server, customer_id: &CustomerId) -> Result<Applied> {
    let account_id: Option<AccountId> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select account_id from account where stripe_customer_id = $1")
            .bind(customer_id)
            .fetch_optional(conn)
            .await
    })?;
    let Some(account_id) = account_id else { return Ok(Applied::NotOurs) };
    match row::load_live(server, &account_id).await? {
        Some(live) => refresh(server, &live.subscription_id).await,
        None => Ok(Applied::Stored),
    }
}

/// What is stored of a subscription.
struct Seen {
    sub: Subscription,
    billed: Terms,
    had: Terms,
    catalogue_version: String,
    unpaid_since: Option<Timestamp>,
    problem: Option<String>,
    look_at: Option<Timestamp>,
    /// The plan that the account's limits come from.
    plan: PlanId,
    told: Told,
}

/// What was stored of it before.
#[derive(sqlx::FromRow)]
struct Before {
    plan_id: PlanId,
    key_mode: String,
    catalogue_version: String,
    unpaid_since: Option<Timestamp>,
}

impl Seen {
    /// `None` if nobody knows what its price stands for.
    fn decide(
        server: &Server,
        sub: Subscription,
        invoices: &[Invoice],
        price: Option<PriceRow>,
        before: Option<Before>,
    ) -> Result<Option<Seen>> {
        let now = server.clock.now();
        let (plan, key_mode, catalogue_version, problem) = match (price, &before) {
            (Some(price), _) => (price.plan_id, price.key_mode, price.catalogue_version, None),
            // Somebody gave it a price by hand. What was bought here stays, and the difference is shown.
            (None, Some(before)) => {
                let problem = format!("Stripe bills the price {}, which is not in the catalogue", sub.price_id);
                (before.plan_id.clone(), before.key_mode.clone(), before.catalogue_version.clone(), Some(problem))
            }
            (None, None) => return Ok(None),
        };
        let billed = Terms { plan, key_mode: key_mode.parse()?, seats: sub.seats };
        let had = sub.had.as_ref().map_or_else(|| billed.clone(), |had| had.terms.clone());
        let open = || invoices.iter().filter(|invoice| invoice.status == InvoiceStatus::Open && invoice.attempts > 0);
        let unpaid_since = match sub.status {
            SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid => {
                let known = before.as_ref().and_then(|before| before.unpaid_since);
                known.or_else(|| open().filter_map(|invoice| invoice.finalized_at).min()).or(Some(now))
            }
            SubscriptionStatus::Incomplete
            | SubscriptionStatus::IncompleteExpired
            | SubscriptionStatus::Trialing
            | SubscriptionStatus::Active
            | SubscriptionStatus::Canceled
            | SubscriptionStatus::Paused => None,
        };
        let catalogue = server.catalogue.load();
        let stands = standing(sub.status, unpaid_since, catalogue.grace.past_due_days, now);
        let plan = match stands {
            Standing::InOrder | Standing::Grace { .. } => had.plan.clone(),
            Standing::Suspended | Standing::Without => catalogue.signup_plan.clone(),
        };
        Ok(Some(Seen {
            look_at: look_at(&sub, invoices, now),
            billed,
            had,
            catalogue_version,
            unpaid_since,
            problem,
            plan,
            told: Told::of(sub.status, stands),
            sub,
        }))
    }
}

/// When Stripe should be asked again without being told.
fn look_at(sub: &Subscription, invoices: &[Invoice], now: Timestamp) -> Option<Timestamp> {
    let moving = invoices.iter().any(|invoice| match invoice.status {
        InvoiceStatus::Draft | InvoiceStatus::Open => true,
        InvoiceStatus::Paid | InvoiceStatus::Uncollectible | InvoiceStatus::Void => false,
    });
    let renewed = sub.period.end.plus_seconds(RENEWAL_SECONDS).max(now.plus_seconds(RENEWAL_SECONDS));
    match sub.status {
        // Over, but for an invoice that Stripe still tries.
        SubscriptionStatus::Canceled | SubscriptionStatus::IncompleteExpired => {
            let tried = invoices.iter().any(|invoice| invoice.next_attempt_at.is_some());
            tried.then(|| now.plus_seconds(SOON_SECONDS))
        }
        SubscriptionStatus::PastDue | SubscriptionStatus::Incomplete => Some(now.plus_seconds(SOON_SECONDS)),
        SubscriptionStatus::Active
        | SubscriptionStatus::Trialing
        | SubscriptionStatus::Unpaid
        | SubscriptionStatus::Paused => Some(if moving { now.plus_seconds(SOON_SECONDS) } else { renewed }),
    }
}

/// The account of the subscription's customer, or the one that its metadata names.
async fn account_of(server: &Server, sub: &Subscription) -> Result<Option<AccountId>> {
    let account_id = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   account_id
             from     account
             where    stripe_customer_id = $1 or account_id = $2
             order by case when stripe_customer_id = $1 then 0 else 1 end
             limit    1",
        )
        .bind(&sub.customer_id)
        .bind(&sub.account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(account_id)
}

async fn load_before(server: &Server, subscription_id: &SubscriptionId) -> Result<Option<Before>> {
    let before = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select plan_id, key_mode, catalogue_version, unpaid_since
             from   subscription
             where  stripe_subscription_id = $1",
        )
        .bind(subscription_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(before)
}

/// Writes the row; false if a later reading is there already, or it is over for good.
async fn store(
    tx: &mut Tx,
    account_id: &AccountId,
    seen: &Seen,
    asked_at: Timestamp,
) -> std::result::Result<bool, sqlx::Error> {
    let Seen { sub, billed, had, .. } = seen;
    let stored: Option<AccountId> = on_tx!(tx, conn => {
        sqlx::query_scalar(
            "insert into subscription (stripe_subscription_id, account_id, status, plan_id, key_mode, seats,
                                       had_plan_id, had_key_mode, had_seats, stripe_item_id, stripe_price_id, unit_cents,
                                       catalogue_version, period_start, period_end, trial_end, cancels_at, unpaid_since,
                                       problem, look_at, refreshed_at, created_at, ended_at, told)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                     $23, $24)
             on conflict (stripe_subscription_id) do update
             set    status = excluded.status, plan_id = excluded.plan_id, key_mode = excluded.key_mode,
                    seats = excluded.seats, had_plan_id = excluded.had_plan_id, had_key_mode = excluded.had_key_mode,
                    had_seats = excluded.had_seats, stripe_item_id = excluded.stripe_item_id,
                    stripe_price_id = excluded.stripe_price_id, unit_cents = excluded.unit_cents,
                    catalogue_version = excluded.catalogue_version, period_start = excluded.period_start,
                    period_end = excluded.period_end, trial_end = excluded.trial_end, cancels_at = excluded.cancels_at,
                    unpaid_since = excluded.unpaid_since, problem = excluded.problem, look_at = excluded.look_at,
                    refreshed_at = excluded.refreshed_at, ended_at = excluded.ended_at
             where  subscription.refreshed_at <= excluded.refreshed_at
             and    (subscription.status <> 'canceled' or excluded.status = 'canceled')
             returning account_id",
        )
        .bind(&sub.subscription_id)
        .bind(account_id)
        .bind(sub.status.as_str())
        .bind(&billed.plan)
        .bind(billed.key_mode.as_str())
        .bind(i64::from(billed.seats))
        .bind(&had.plan)
        .bind(had.key_mode.as_str())
        .bind(i64::from(had.seats))
        .bind(&sub.item_id)
        .bind(&sub.price_id)
        .bind(sub.unit)
        .bind(&seen.catalogue_version)
        .bind(sub.period.start)
        .bind(sub.period.end)
        .bind(sub.trial_end)
        .bind(sub.cancels_at)
        .bind(seen.unpaid_since)
        .bind(&seen.problem)
        .bind(seen.look_at)
        .bind(asked_at)
        .bind(sub.created_at)
        .bind(sub.ended_at)
        .bind(Told::Nothing.as_str())
        .fetch_optional(conn)
        .await
    })?;
    Ok(stored.is_some())
}

/// The account's limits follow, unless another subscription of it is the live one.
async fn set_plan(tx: &mut Tx, server: &Server, account_id: &AccountId, seen: &Seen) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "update account
             set    plan_id = $1, stripe_customer_id = coalesce(stripe_customer_id, $2)
             where  account_id = $3
             and    not exists (
                        select 1
                        from   subscription
                        where  account_id = $3 and stripe_subscription_id <> $4
                        and    status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                    )",
        )
        .bind(&seen.plan)
        .bind(&seen.sub.customer_id)
        .bind(account_id)
        .bind(&seen.sub.subscription_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tracing::info!(%account_id, plan = %seen.plan, status = %seen.sub.status, at = ?server.clock.now(), "plan refreshed");
    Ok(())
}

/// A trial with a card begins with its subscription, and is converted when that is paid for. Denials: `TrialTaken` and
/// the like; then nothing of this may be committed.
async fn begin_or_convert(tx: &mut Tx, server: &Server, account_id: &AccountId, seen: &Seen, told: Told) -> Result<()> {
    match (seen.sub.status, seen.sub.trial_end, &seen.sub.plan_change_id) {
        (SubscriptionStatus::Active, Some(ended_at), _) => {
            trial::convert(tx, &server.clock, account_id, ended_at).await
        }
        (SubscriptionStatus::Trialing, Some(ends_at), Some(plan_change_id)) if told == Told::Nothing => {
            let person: Option<(UserId, String)> = on_tx!(&mut *tx, conn => {
                sqlx::query_as(
                    r#"select u.user_id, u.email
                       from   plan_change c
                       join   "user" u on u.user_id = c.user_id
                       where  c.plan_change_id = $1 and c.account_id = $2"#,
                )
                .bind(plan_change_id)
                .bind(account_id)
                .fetch_optional(conn)
                .await
            })?;
            let Some((user_id, email)) = person else { return Ok(()) };
            let beginner = Beginner { account_id: account_id.clone(), user_id, email, plan: seen.had.plan.clone() };
            // What is paid with may be no card; then the address alone says who it is.
            trial::begin_with_card(tx, server, beginner, (seen.sub.card_fingerprint.as_deref(), ends_at)).await
        }
        (_, _, _) => Ok(()),
    }
}

/// This person or card has had a trial: the subscription ends before anything is charged, and its change says why.
async fn refuse_trial(server: &Server, seen: &Seen, denial: &Denial) -> Result<Applied> {
    let subscription_id = &seen.sub.subscription_id;
    tracing::warn!(%subscription_id, code = denial.code(), "a trial with a card is refused");
    note_problem(server, seen, &denial.sentence()).await?;
    match server.stripe.end_subscription(subscription_id).await {
        Ok(()) | Err(Failure::Missing) => {}
        Err(failure) => return Err(failure.into()),
    }
    Box::pin(refresh(server, subscription_id)).await
}

/// Why a change that is being undone will have failed, before Stripe is asked to undo it.
async fn note_problem(server: &Server, seen: &Seen, problem: &str) -> Result<()> {
    let Some(plan_change_id) = &seen.sub.plan_change_id else { return Ok(()) };
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update plan_change set problem = $1 where plan_change_id = $2 and state = 'pending'")
            .bind(problem)
            .bind(plan_change_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}

/// The change that began it is done.
async fn finish_change(tx: &mut Tx, server: &Server, seen: &Seen) -> Result<()> {
    let Some(plan_change_id) = &seen.sub.plan_change_id else { return Ok(()) };
    if seen.sub.status.is_over() {
        return fail_change(tx, server, plan_change_id).await;
    }
    on_tx!(tx, conn => {
        sqlx::query(
            "update plan_change
             set    state = 'done', problem = null, ended_at = $1
             where  plan_change_id = $2 and kind = 'subscribe' and state <> 'done'",
        )
        .bind(server.clock.now())
        .bind(plan_change_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// The subscription was over before it was ever seen here: its change has failed, and who wanted a trial is told why.
async fn fail_change(tx: &mut Tx, server: &Server, plan_change_id: &PlanChangeId) -> Result<()> {
    let failed: Option<(AccountId, Option<i64>, String)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            "update plan_change
             set    state = 'failed', ended_at = $1,
                    problem = coalesce(problem, 'The subscription was ended at Stripe before it began here.')
             where  plan_change_id = $2 and kind = 'subscribe' and state = 'pending'
             returning account_id, trial_days, problem",
        )
        .bind(server.clock.now())
        .bind(plan_change_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((account_id, Some(_), problem)) = failed else { return Ok(()) };
    let key = format!("trial_refused:{plan_change_id}");
    notice::raise(tx, &server.clock, &account_id, &Notice::TrialRefused { problem }, &key).await.map(drop)
}

/// Ends a change that is still pending.
pub(super) async fn end_change(
    server: &Server,
    plan_change_id: &PlanChangeId,
    state: &'static str,
    problem: Option<&str>,
) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update plan_change
             set    state = $1, problem = $2, ended_at = $3
             where  plan_change_id = $4 and state = 'pending'",
        )
        .bind(state)
        .bind(problem)
        .bind(server.clock.now())
        .bind(plan_change_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// An account paid for a second subscription beside the one it has: it ends at once, and what was paid is credit at
/// Stripe, which the next invoices take.
async fn give_back_second(server: &Server, account_id: &AccountId, seen: &Seen) -> Result<Applied> {
    let subscription_id = &seen.sub.subscription_id;
    // Two readings of one new subscription at the same moment meet here too: then it is there already.
    if row::load_live(server, account_id).await?.is_none_or(|live| live.subscription_id == *subscription_id) {
        return Box::pin(refresh(server, subscription_id)).await;
    }
    tracing::error!(%account_id, %subscription_id, "a second subscription was begun and is given back");
    let problem = "You have a plan already. The second subscription was ended, and what was paid for it is credit for your next invoices.";
    note_problem(server, seen, problem).await?;
    match server.stripe.end_subscription(subscription_id).await {
        Ok(()) | Err(Failure::Missing) => {}
        Err(failure) => return Err(failure.into()),
    }
    Box::pin(refresh(server, subscription_id)).await
}

/// Stripe has no such subscription (any more): if it is one of ours, it is over.
async fn forget(server: &Server, subscription_id: &SubscriptionId) -> Result<Applied> {
    let now = server.clock.now();
    let signup_plan = server.catalogue.load().signup_plan.clone();
    let mut tx = server.db.begin().await?;
    let account_id: Option<AccountId> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update subscription
             set    status = 'canceled', look_at = null, ended_at = coalesce(ended_at, $1), refreshed_at = $1,
                    problem = 'Stripe has no such subscription'
             where  stripe_subscription_id = $2
             returning account_id",
        )
        .bind(now)
        .bind(subscription_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some(account_id) = account_id else {
        return Ok(Applied::Unplaced { problem: "Stripe has no such subscription".to_owned() });
    };
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update account
             set    plan_id = $1
             where  account_id = $2
             and    not exists (
                        select 1
                        from   subscription
                        where  account_id = $2 and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                    )",
        )
        .bind(signup_plan)
        .bind(&account_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    tracing::warn!(%account_id, %subscription_id, "Stripe has no such subscription; the account has none now");
    Ok(Applied::Stored)
}
