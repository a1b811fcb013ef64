//! Owns: a plan at the own-key price whose last usable key was lost: its days of grace, what people are told, and the
//! standard price after them.
//! Does not own: which keys work (`provider_key`), how many days (the catalogue, by `domain::trial::key_grace`).
//! Invariant: the row of a grace follows from the account's keys and its plan, so looking again changes nothing; an account
//! has at most one that is open, and each step of it is told once, in the transaction that stores it.

use super::change::{self, month_of};
use super::row::{self, LiveRow};
use super::{apply, lease, manage, price};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::job::{self, Job, NewJob};
use crate::notice::{self, KeyGraceNews, Notice};
use crate::stripe::billing::Settle;
use crate::stripe::plan::Had;
use crate::{Server, catalogue, on_read, on_tx, provider_key};
use domain::id::{AccountId, PlanId};
use domain::money::Cents;
use domain::plan::Plan;
use domain::subscription::{Change, KeyMode, SubscriptionStatus, Terms};
use domain::time::Timestamp;
use domain::trial::{KeyGrace, key_grace, key_grace_ends};

/// Accounts that are looked at in one read of the sweep.
const PAGE: i64 = 500;
/// How long the job may take to move a plan before the sweep asks for it again.
const PATIENCE_SECONDS: i64 = 600;

/// What is to be said of a plan at the own-key price that has, or had, no key that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingKey {
    pub stands: PriceStands,
    /// What a month costs at the standard price.
    pub month: Option<Cents>,
}

/// How the price of such a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceStands {
    /// It stays until then, or should have been moved since.
    Grace(KeyGrace),
    /// It was moved to the standard price in this period, at this moment.
    Moved(Timestamp),
}

/// The own-key plan of an account, as far as its keys matter.
#[derive(sqlx::FromRow)]
struct OwnKeyPlan {
    plan_id: PlanId,
    key_mode: String,
    seats: i64,
    catalogue_version: String,
}

#[derive(sqlx::FromRow)]
struct Open {
    key_grace_id: String,
    ends_at: Timestamp,
    /// What a month will cost at the standard price, as it was said when the key was lost.
    #[sqlx(rename = "standard_month_cents")]
    month: Option<Cents>,
    moving_at: Option<Timestamp>,
}

/// Begins or ends the account's grace, as its keys and its plan are in the caller's transaction, which has just changed
/// one of them. Doing it again changes nothing.
pub(crate) async fn follow(tx: &mut Tx, server: &Server, account_id: &AccountId) -> Result<()> {
    let plan: Option<OwnKeyPlan> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(
            "select plan_id, key_mode, seats, catalogue_version
             from   subscription
             where  account_id = $1 and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let needs_key = match &plan {
        Some(plan) => plan.key_mode.parse::<KeyMode>()? == KeyMode::Byok,
        None => false,
    };
    let has_key = provider_key::has_usable_key_in(tx, account_id).await?;
    match (load_open(tx, account_id).await?, plan, needs_key, has_key) {
        (None, Some(plan), true, false) => begin(tx, server, account_id, &plan).await,
        (Some(open), _, true, true) if open.moving_at.is_none() => {
            end(tx, server, account_id, (&open, "key_works"), Some(KeyGraceNews::Works)).await
        }
        // Stripe may have been asked for the standard price already; the job finds out.
        (Some(_), _, true, true | false) | (None, _, _, _) => Ok(()),
        (Some(open), Some(_), false, _) if open.moving_at.is_some() => {
            end(tx, server, account_id, (&open, "moved"), Some(KeyGraceNews::Moved)).await
        }
        (Some(open), _, false, _) => end(tx, server, account_id, (&open, "over"), None).await,
    }
}

async fn load_open(tx: &mut Tx, account_id: &AccountId) -> Result<Option<Open>> {
    let open = on_tx!(tx, conn => {
        sqlx::query_as(
            "select key_grace_id, ends_at, standard_month_cents, moving_at
             from   key_grace
             where  account_id = $1 and state = 'open'",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(open)
}

async fn begin(tx: &mut Tx, server: &Server, account_id: &AccountId, plan: &OwnKeyPlan) -> Result<()> {
    let now = server.clock.now();
    let ends_at = key_grace_ends(now, server.catalogue.load().grace.own_key_days);
    let seats = u32::try_from(plan.seats).map_err(|error| Error::internal("subscription.seats", error))?;
    let month = standard_month(server, &plan.catalogue_version, &plan.plan_id, seats).await?;
    let open = Open { key_grace_id: server.clock.new_id(), ends_at, month, moving_at: None };
    let begun = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into key_grace (key_grace_id, account_id, lost_at, ends_at, standard_month_cents, state)
             values ($1, $2, $3, $4, $5, 'open')
             on conflict (account_id) where state = 'open' do nothing",
        )
        .bind(&open.key_grace_id)
        .bind(account_id)
        .bind(now)
        .bind(ends_at)
        .bind(month)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if begun == 0 {
        return Ok(());
    }
    tracing::info!(%account_id, "the last usable key of an own-key plan was lost");
    let move_then = NewJob { run_at: ends_at, ..NewJob::now(move_later(account_id), &server.clock) };
    job::insert(tx, &server.clock, move_then).await?;
    tell(tx, server, account_id, &open, KeyGraceNews::Lost).await
}

async fn end(
    tx: &mut Tx,
    server: &Server,
    account_id: &AccountId,
    (open, state): (&Open, &'static str),
    news: Option<KeyGraceNews>,
) -> Result<()> {
    let ended = on_tx!(&mut *tx, conn => {
        sqlx::query("update key_grace set state = $1, ended_at = $2 where key_grace_id = $3 and state = 'open'")
            .bind(state)
            .bind(server.clock.now())
            .bind(&open.key_grace_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })?;
    match news {
        Some(news) if ended > 0 => tell(tx, server, account_id, open, news).await,
        Some(_) | None => Ok(()),
    }
}

async fn tell(tx: &mut Tx, server: &Server, account_id: &AccountId, open: &Open, news: KeyGraceNews) -> Result<()> {
    let notice = Notice::KeyGrace { news, ends_at: open.ends_at, month: open.month };
    let dedupe_key = format!("key_grace:{}:{news}", open.key_grace_id);
    notice::raise(tx, &server.clock, account_id, &notice, &dedupe_key).await.map(drop)
}

fn move_later(account_id: &AccountId) -> Job {
    Job::MoveToStandardPrice { account_id: account_id.clone() }
}

/// Gives an own-key plan the standard price when its grace is over and no key works still: the same swap of price on the
/// subscription's item as any change of keys, whose difference is on the next invoice, so nothing is charged by surprise.
/// Nothing happens before its time, to a plan that ends anyway, or while a payment is missing; then it is tried later.
/// `Conflict` while another change of the plan is being made.
pub async fn move_to_standard_price(server: &Server, account_id: &AccountId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    follow(&mut tx, server, account_id).await?;
    let open = load_open(&mut tx, account_id).await?;
    tx.commit().await?;
    let Some(open) = open.filter(|open| key_grace(open.ends_at, server.clock.now()) == KeyGrace::Over) else {
        return Ok(());
    };

    if row::load_live(server, account_id).await?.is_none() {
        return Ok(());
    }
    let lease = lease::take(server, account_id, &format!("own_keys:{}", open.key_grace_id)).await?;
    let outcome = move_if_due(server, account_id, &open).await;
    lease.release(server).await;
    outcome
}

/// With the lease, so that nobody changes the plan meanwhile.
async fn move_if_due(server: &Server, account_id: &AccountId, open: &Open) -> Result<()> {
    // Reading it stores what Stripe has, and so ends the grace of a plan that was moved before an answer was lost.
    let Some(live) = manage::load_fresh(server, account_id).await? else { return Ok(()) };
    let is_open = match live.status {
        SubscriptionStatus::Active | SubscriptionStatus::Trialing => live.cancels_at.is_none(),
        SubscriptionStatus::PastDue
        | SubscriptionStatus::Unpaid
        | SubscriptionStatus::Paused
        | SubscriptionStatus::Incomplete
        | SubscriptionStatus::IncompleteExpired
        | SubscriptionStatus::Canceled => false,
    };
    if live.billed.key_mode != KeyMode::Byok || !is_open {
        return Ok(());
    }
    if provider_key::has_usable_key(server, account_id).await? {
        return keep_price(server, account_id, open).await;
    }
    swap(server, &live, open).await
}

async fn swap(server: &Server, live: &LiveRow, open: &Open) -> Result<()> {
    let to = Terms { key_mode: KeyMode::Standard, ..live.billed.clone() };
    // A customer stays on the version that was bought.
    let bought = catalogue::load_version(server, &live.catalogue_version).await?;
    let plan = bought.plan(&to.plan);
    let plan = plan.ok_or_else(|| Error::Internal(format!("{} has no plan {}", live.catalogue_version, to.plan)))?;
    let price = price::price_of(server, plan, KeyMode::Standard).await?;
    let at = change::whole_seconds(open.ends_at).max(live.period.start).min(live.period.end);
    let (change, had) = if live.had == live.billed {
        (Change::NowWithCredit, None)
    } else {
        (Change::AtPeriodEnd, Some(Had { terms: live.had.clone(), until: live.period.end }))
    };

    note_moving(server, open).await?;
    let item = change::item_change(live, &price, &to, change, at);
    let key = match item.settle {
        Settle::Now { at } | Settle::NextInvoice { at } => format!("own_keys:{}:{}", open.key_grace_id, at.seconds()),
        Settle::NextPeriod => format!("own_keys:{}:{}", open.key_grace_id, live.period.end.seconds()),
    };
    server.stripe.change_item(&key, &item, had.as_ref()).await?;
    apply::refresh(server, &live.subscription_id).await.map(drop)
}

async fn note_moving(server: &Server, open: &Open) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update key_grace set moving_at = $1 where key_grace_id = $2 and moving_at is null")
            .bind(server.clock.now())
            .bind(&open.key_grace_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}

/// A key works again, and Stripe has been read: the plan was not moved.
async fn keep_price(server: &Server, account_id: &AccountId, open: &Open) -> Result<()> {
    let mut tx = server.db.begin().await?;
    end(&mut tx, server, account_id, (open, "key_works"), Some(KeyGraceNews::Works)).await?;
    tx.commit().await
}

/// Looks at every account with an own-key plan and every open grace, for keys that a probe or a run found out about, and
/// asks again for plans that should have been moved; how many were looked at. Safe on several nodes at once.
pub async fn look_at_keys(server: &Server) -> Result<usize> {
    let mut looked = 0_usize;
    let mut after = AccountId::new("");
    loop {
        let page = list_doubtful(server, &after).await?;
        let Some(last) = page.last().cloned() else { break };
        for account_id in &page {
            let mut tx = server.db.begin().await?;
            follow(&mut tx, server, account_id).await?;
            tx.commit().await?;
        }
        looked = looked.saturating_add(page.len());
        after = last;
    }
    ask_again(server).await?;
    Ok(looked)
}

/// Accounts whose grace may have to begin, or to end: an own-key plan without any key that simply works, or an open
/// grace.
async fn list_doubtful(server: &Server, after: &AccountId) -> Result<Vec<AccountId>> {
    let accounts = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select   s.account_id
             from     subscription s
             where    s.account_id > $1 and s.key_mode = 'byok'
             and      s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             and      not exists (
                          select 1
                          from   provider_key k
                          where  k.account_id = s.account_id and k.enabled = 1 and k.deleted_at is null
                          and    k.state = 'valid'
                      )
             union
             select   g.account_id
             from     key_grace g
             where    g.account_id > $1 and g.state = 'open'
             order by 1
             limit    $2",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    Ok(accounts)
}

/// Inserts the job anew for plans that are overdue: its first one was given up, or the plan could not be moved then.
async fn ask_again(server: &Server) -> Result<()> {
    let now = server.clock.now();
    let overdue: Vec<(String, AccountId)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   g.key_grace_id, g.account_id
             from     key_grace g
             join     subscription s on s.account_id = g.account_id
             where    g.state = 'open' and g.ends_at <= $1
             and      s.status in ('trialing', 'active') and s.key_mode = 'byok' and s.cancels_at is null
             order by g.ends_at
             limit    $2",
        )
        .bind(now.plus_seconds(-PATIENCE_SECONDS))
        .bind(PAGE)
        .fetch_all(conn)
        .await
    })?;
    if overdue.is_empty() {
        return Ok(());
    }
    let mut tx = server.db.begin().await?;
    for (key_grace_id, account_id) in overdue {
        let unique_key = Some(format!("own_keys:{key_grace_id}"));
        let again = NewJob { unique_key, ..NewJob::now(move_later(&account_id), &server.clock) };
        job::insert(&mut tx, &server.clock, again).await?;
    }
    tx.commit().await
}

/// What the account's pages say about missing keys; `None` when all is well.
pub async fn load_missing_key(server: &Server, account_id: &AccountId) -> Result<Option<MissingKey>> {
    let last: Option<(String, Timestamp, Option<Cents>, Option<Timestamp>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   state, ends_at, standard_month_cents, ended_at
             from     key_grace
             where    account_id = $1
             order by case state when 'open' then 0 else 1 end, ended_at desc
             limit    1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((state, ends_at, month, ended_at)) = last else { return Ok(None) };
    let stands = match (state.as_str(), ended_at) {
        ("open", _) => PriceStands::Grace(key_grace(ends_at, server.clock.now())),
        ("moved", Some(moved_at)) => {
            let live = row::load_live(server, account_id).await?;
            let is_news = |live: LiveRow| live.billed.key_mode == KeyMode::Standard && live.period.start <= moved_at;
            if !live.is_some_and(is_news) {
                return Ok(None);
            }
            PriceStands::Moved(moved_at)
        }
        (_, _) => return Ok(None),
    };
    Ok(Some(MissingKey { stands, month }))
}

/// What a month costs at the standard price of the version that was bought.
async fn standard_month(server: &Server, version: &str, plan: &PlanId, seats: u32) -> Result<Option<Cents>> {
    let bought = catalogue::load_version(server, version).await?;
    let unit = |plan: &Plan| price::unit_of(plan, KeyMode::Standard, server);
    let unit = bought.plan(plan).map(unit).transpose()?.flatten();
    unit.map(|unit| month_of(unit, seats)).transpose()
}
