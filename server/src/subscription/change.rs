//! Owns: what a wished plan means for an account, refused or proposed with what it costs.
//! Does not own: doing it (`confirm`, `checkout`), or the rule of now or later (`domain::subscription`).
//! Invariant: nothing is changed here; the proposal is kept with the moment and the amount that were shown.

use super::price::{self, PriceRow};
use super::row::{self, LiveRow};
use super::{checkout, count_members, manage};
use crate::Server;
use crate::account::User;
use crate::error::{Error, Result};
use crate::provider_key::has_usable_key;
use crate::stripe::billing::{ItemChange, Settle};
use crate::stripe::plan::Invoice;
use crate::{on_read, on_tx, trial};
use domain::catalogue::TrialKind;
use domain::denial::Denial;
use domain::id::{AccountId, PlanChangeId};
use domain::member::Permission;
use domain::money::Cents;
use domain::period::Period;
use domain::plan::Plan;
use domain::subscription::{self, Change, KeyMode, Offer, SubscriptionStatus, Terms, check_seats};
use domain::time::Timestamp;
use uuid::Uuid;

/// What comes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// It is so already.
    Same,
    /// To Stripe's page, for a first subscription.
    Checkout { url: String },
    /// To the page that shows what it costs and asks.
    Confirm,
    /// The subscription ends with its period: to be confirmed on the page of the plan.
    Cancel,
}

/// A change that waits for its confirmation.
#[derive(Clone, Debug)]
pub struct Preview {
    pub plan_change_id: PlanChangeId,
    pub change: Change,
    pub from: Terms,
    pub to: Terms,
    /// What Stripe bills for it: now, or next.
    pub invoice: Invoice,
    /// What a whole month costs afterwards.
    pub month: Cents,
    pub period: Period,
    pub is_trial: bool,
    pub members: u32,
}

/// A change that is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct ChangeRow {
    pub plan_change_id: PlanChangeId,
    pub account_id: AccountId,
    pub kind: String,
    pub plan_id: domain::id::PlanId,
    pub key_mode: String,
    pub seats: i64,
    pub preview_cents: Option<Cents>,
    pub proration_at: Option<Timestamp>,
    pub trial_days: Option<i64>,
    pub state: String,
    pub problem: Option<String>,
    pub created_at: Timestamp,
}

/// Proposes a plan: checks that it may be had, finds out what it would cost, and keeps that for the confirmation.
/// `plan_change_id` was made when the form was rendered; the same one again answers the same. Nothing is charged or
/// changed here but that a first subscription's Checkout is opened.
///
/// Denials: `RoleMayNot`, `AccountFrozen`, `NotFound` (no such plan, or by agreement), `Invalid` (seats, or an id that is
/// not ours), `NoUsableKey`, `Conflict` (a payment is missing, a change or an end is chosen already), `Upstream`.
pub async fn propose(server: &Server, user: &User, to: &Terms, plan_change_id: &PlanChangeId) -> Result<Proposal> {
    propose_after(server, user, to, plan_change_id, None).await
}

/// Proposes a first subscription that begins with the catalogue's trial with a card: nothing is paid until it ends.
/// Denials: as of [`propose`], `TrialNotOffered` (or not with this plan, or there is a subscription), `TrialTaken`.
pub async fn propose_trial(
    server: &Server,
    user: &User,
    to: &Terms,
    plan_change_id: &PlanChangeId,
) -> Result<Proposal> {
    let refused = |why: &str| Denial::TrialNotOffered { why: why.to_owned() };
    let catalogue = server.catalogue.load_full();
    let offer = catalogue.trial(TrialKind::ManagedWithCard).ok_or_else(|| refused("it is not offered here"))?;
    if !offer.plans.is_empty() && !offer.plans.contains(&to.plan) {
        return Err(refused("it is not offered with this plan").into());
    }
    if !user.email_verified {
        return Err(refused("confirm your e-mail first").into());
    }
    if row::load_live(server, &user.account_id).await?.is_some() {
        return Err(refused("it is for a first plan").into());
    }
    if let (_, Some(denial)) = trial::list_offers(server, user).await? {
        return Err(denial.into());
    }
    propose_after(server, user, to, plan_change_id, Some(offer.days)).await
}

async fn propose_after(
    server: &Server,
    user: &User,
    to: &Terms,
    plan_change_id: &PlanChangeId,
    trial_days: Option<u32>,
) -> Result<Proposal> {
    user.require(Permission::ManageBilling)?;
    check_id(plan_change_id)?;
    check_not_frozen(server, &user.account_id).await?;
    let catalogue = server.catalogue.load_full();
    let plan = catalogue.plan(&to.plan).ok_or_else(|| Denial::NotFound { what: "plan".to_owned() })?;
    let to = check_terms(server, user, plan, to).await?;
    let live = manage::load_fresh(server, &user.account_id).await?;
    let (change, _) = decide(server, live.as_ref(), &to)?;
    match (change, &live) {
        (Change::None, _) => Ok(Proposal::Same),
        (Change::Subscribe, _) | (_, None) => checkout::open(server, user, (&to, plan), plan_change_id, trial_days)
            .await
            .map(|url| Proposal::Checkout { url }),
        (Change::Cancel, Some(_)) => Ok(Proposal::Cancel),
        (Change::Now | Change::NowWithCredit | Change::AtPeriodEnd, Some(live)) => {
            let price = price::price_of(server, plan, to.key_mode).await?;
            let at = whole_seconds(server.clock.now()).max(live.period.start).min(live.period.end);
            let invoice = ask(server, live, &price, &to, change, at).await?;
            let shown = Shown::Preview { cents: total(change, &invoice), at };
            insert(server, user, change, &to, plan_change_id, shown).await?;
            Ok(Proposal::Confirm)
        }
    }
}

/// The account's change that waits to be confirmed, with what it costs now; `None` if there is no such change, or it is
/// done. Denials as of [`propose`].
pub async fn load_preview(server: &Server, user: &User, plan_change_id: &PlanChangeId) -> Result<Option<Preview>> {
    let Some(row) = load_row(server, &user.account_id, plan_change_id).await? else { return Ok(None) };
    let (Some(at), "pending") = (row.proration_at, row.state.as_str()) else { return Ok(None) };
    let Some(live) = row::load_live(server, &user.account_id).await? else { return Ok(None) };
    let to = row.terms()?;
    let catalogue = server.catalogue.load_full();
    let plan = catalogue.plan(&to.plan).ok_or_else(|| Denial::NotFound { what: "plan".to_owned() })?;
    let price = price::price_of(server, plan, to.key_mode).await?;
    let (change, _) = decide(server, Some(&live), &to)?;
    let invoice = ask(server, &live, &price, &to, change, at).await?;
    Ok(Some(Preview {
        plan_change_id: plan_change_id.clone(),
        change,
        from: live.had,
        month: month_of(price.unit_cents, to.seats)?,
        to,
        invoice,
        period: live.period,
        is_trial: live.status == SubscriptionStatus::Trialing,
        members: count_members(server, &user.account_id).await?,
    }))
}

/// What the change means, after refusing what cannot be changed now; and what the account has.
pub(super) fn decide(server: &Server, live: Option<&LiveRow>, to: &Terms) -> Result<(Change, Option<Terms>)> {
    let catalogue = server.catalogue.load_full();
    let offer = |terms: &Terms| -> Result<(usize, i64)> {
        let rank = catalogue.plans.iter().position(|plan| plan.id == terms.plan).unwrap_or(0);
        let unit = match catalogue.plan(&terms.plan) {
            Some(plan) => price::unit_of(plan, terms.key_mode, server)?,
            None => None,
        };
        let unit = unit.ok_or_else(|| Denial::NotFound { what: format!("price for {}", terms.plan) })?;
        Ok((rank, month_of(unit, terms.seats)?.0))
    };
    let (rank, month_cents) = offer(to)?;
    let wanted = Offer { terms: to, rank, month_cents };
    let Some(live) = live else { return Ok((subscription::change(None, &wanted), None)) };
    let (rank, _) = offer(&live.had).unwrap_or((0, 0));
    // What is paid, not what the catalogue asks today: the price may have changed since.
    let month_cents =
        if live.had == live.billed { month_of(live.unit, live.had.seats)?.0 } else { offer(&live.had)?.1 };
    let has = Offer { terms: &live.had, rank, month_cents };
    let change = match subscription::change(Some(&has), &wanted) {
        // Less was chosen for the next period, and now the present plan again.
        Change::None if live.billed != live.had => Change::AtPeriodEnd,
        other @ (Change::None
        | Change::Subscribe
        | Change::Now
        | Change::NowWithCredit
        | Change::AtPeriodEnd
        | Change::Cancel) => other,
    };
    check_changeable(live, change)?;
    Ok((change, Some(live.had.clone())))
}

/// Refuses a change that would not mean what it says.
fn check_changeable(live: &LiveRow, change: Change) -> Result<(), Denial> {
    let conflict = |problem: &str| Err(Denial::Conflict { problem: problem.to_owned() });
    match (live.status, change) {
        (_, Change::None | Change::Cancel) => return Ok(()),
        (SubscriptionStatus::Active | SubscriptionStatus::Trialing, _) => {}
        (
            SubscriptionStatus::PastDue
            | SubscriptionStatus::Unpaid
            | SubscriptionStatus::Paused
            | SubscriptionStatus::Incomplete
            | SubscriptionStatus::IncompleteExpired
            | SubscriptionStatus::Canceled,
            _,
        ) => return conflict("A payment for your plan is missing. Pay it first, then change the plan."),
    }
    if live.cancels_at.is_some() {
        return conflict("Your plan is going to end with its period. Resume it first, then change it.");
    }
    if live.had != live.billed && change != Change::AtPeriodEnd {
        return conflict(
            "You chose a smaller plan for the next period. Choose your present plan again first, then change it.",
        );
    }
    Ok(())
}

/// What Stripe would bill for the change.
pub(super) async fn ask(
    server: &Server,
    live: &LiveRow,
    price: &PriceRow,
    to: &Terms,
    change: Change,
    at: Timestamp,
) -> Result<Invoice> {
    let item = item_change(live, price, to, change, at);
    Ok(server.stripe.preview(&live.subscription_id, Some(&item)).await?)
}

pub(super) fn item_change<'a>(
    live: &'a LiveRow,
    price: &'a PriceRow,
    to: &Terms,
    change: Change,
    at: Timestamp,
) -> ItemChange<'a> {
    let settle = match change {
        Change::Now => Settle::Now { at },
        Change::NowWithCredit => Settle::NextInvoice { at },
        Change::AtPeriodEnd | Change::None | Change::Subscribe | Change::Cancel => Settle::NextPeriod,
    };
    ItemChange {
        subscription_id: &live.subscription_id,
        item_id: &live.item_id,
        price_id: &price.stripe_price_id,
        seats: to.seats,
        settle,
    }
}

/// The amount that the confirmation must still find: what is due now, or the total of the next invoice.
pub(super) fn total(change: Change, invoice: &Invoice) -> Cents {
    match change {
        Change::Now => invoice.due,
        Change::NowWithCredit | Change::AtPeriodEnd | Change::None | Change::Subscribe | Change::Cancel => {
            invoice.total
        }
    }
}

/// The terms with the seats that they may have. Denials: `Invalid`, `NoUsableKey`.
pub(super) async fn check_terms(server: &Server, user: &User, plan: &Plan, to: &Terms) -> Result<Terms> {
    let members = count_members(server, &user.account_id).await?;
    let is_free = price::unit_of(plan, to.key_mode, server)?.is_some_and(|unit| unit.0 == 0);
    let seats = if is_free { 1 } else { check_seats(plan.per_seat, to.seats, members)? };
    if to.key_mode == KeyMode::Byok && !is_free && !has_usable_key(server, &user.account_id).await? {
        return Err(Denial::NoUsableKey.into());
    }
    let key_mode = if is_free { KeyMode::Standard } else { to.key_mode };
    Ok(Terms { plan: plan.id.clone(), key_mode, seats })
}

pub(super) fn month_of(unit: Cents, seats: u32) -> Result<Cents> {
    let month = unit.0.checked_mul(i64::from(seats)).map(Cents);
    month.ok_or_else(|| Error::Internal("a month of this plan is past the range of money".to_owned()))
}

pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.seconds())
}

/// Ids come from a form, so anything may stand there.
fn check_id(plan_change_id: &PlanChangeId) -> Result<(), Denial> {
    let text = plan_change_id.as_str();
    match Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(()),
        Ok(_) | Err(_) => Err(Denial::invalid("plan_change_id", "is not an id of ours", "Reload Plan and try again.")),
    }
}

async fn check_not_frozen(server: &Server, account_id: &AccountId) -> Result<()> {
    let frozen: Option<Option<String>> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select frozen_reason from account where account_id = $1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    match frozen.flatten() {
        Some(reason) => Err(Denial::AccountFrozen { reason }.into()),
        None => Ok(()),
    }
}

/// What was shown before it is confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// What a change costs, computed for a moment.
    Preview { cents: Cents, at: Timestamp },
    /// Stripe's page shows it, after so many days that cost nothing.
    Checkout { trial_days: Option<u32> },
}

/// Keeps the proposal; the same id again keeps the first one, unless it is somebody else's or for something else.
pub(super) async fn insert(
    server: &Server,
    user: &User,
    change: Change,
    to: &Terms,
    plan_change_id: &PlanChangeId,
    shown: Shown,
) -> Result<()> {
    let (cents, at, trial_days) = match shown {
        Shown::Preview { cents, at } => (Some(cents), Some(at), None),
        Shown::Checkout { trial_days } => (None, None, trial_days),
    };
    let kind = match change {
        Change::Subscribe | Change::None => "subscribe",
        Change::Now => "now",
        Change::NowWithCredit => "now_with_credit",
        Change::AtPeriodEnd => "at_period_end",
        Change::Cancel => "cancel",
    };
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into plan_change (plan_change_id, account_id, user_id, kind, plan_id, key_mode, seats, preview_cents,
                                      proration_at, trial_days, state, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', $11)
             on conflict (plan_change_id) do nothing",
        )
        .bind(plan_change_id)
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(kind)
        .bind(&to.plan)
        .bind(to.key_mode.as_str())
        .bind(i64::from(to.seats))
        .bind(cents)
        .bind(at)
        .bind(trial_days.map(i64::from))
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await?;
    let row = load_row(server, &user.account_id, plan_change_id).await?;
    match row {
        Some(row) if row.terms()? == *to && row.kind == kind => Ok(()),
        Some(_) | None => {
            let problem = "This form was used for another change. Reload Plan and choose again.".to_owned();
            Err(Denial::Conflict { problem }.into())
        }
    }
}

pub(super) async fn load_row(
    server: &Server,
    account_id: &AccountId,
    plan_change_id: &PlanChangeId,
) -> Result<Option<ChangeRow>> {
    let row = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select plan_change_id, account_id, kind, plan_id, key_mode, seats, preview_cents, proration_at, trial_days,
                    state, problem, created_at
             from   plan_change
             where  plan_change_id = $1 and account_id = $2",
        )
        .bind(plan_change_id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row)
}

impl ChangeRow {
    pub(super) fn terms(&self) -> Result<Terms> {
        Ok(Terms {
            plan: self.plan_id.clone(),
            key_mode: self.key_mode.parse()?,
            seats: u32::try_from(self.seats).map_err(|error| Error::internal("plan_change.seats", error))?,
        })
    }
}
