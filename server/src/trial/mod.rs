//! Owns: trials: beginning one for each person, announcing its end, ending it, and appeals.
//! Does not own: which trials there are (the catalogue), their credit once granted (`ledger`, which expires it), or the
//! card and the subscription of one that converts (`subscription`, which calls [`begin_with_card`] and [`convert`]).
//! Invariant: a person, a card and an account have one trial, and one more for each appeal that was granted; a trial and
//! its grant are one transaction.

mod appeal;

pub use appeal::{Appeal, answer, appeal, list_open, load_appeal};

use crate::account::{Permission, User};
use crate::clock::Clock;
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::ledger::{self, Grant, GrantKind};
use crate::notice::{self, Notice};
use crate::{Server, on_read, on_tx, provider_key, subscription};
use domain::catalogue::{Trial, TrialKind, TrialModels};
use domain::denial::Denial;
use domain::funding::FundingSource;
use domain::id::{AccountId, PlanId, UserId};
use domain::money::Usd;
use domain::time::Timestamp;
use domain::trial::{TrialState, ends_at};
use sha2::{Digest as _, Sha256};

/// Who begins a trial.
#[derive(Clone, Debug)]
pub struct Beginner {
    pub account_id: AccountId,
    pub user_id: UserId,
    /// Verified.
    pub email: String,
    /// The plan whose limits count meanwhile, or that it converts to.
    pub plan: PlanId,
}

/// The trials that an account could begin now, in the order of the catalogue's kinds, with why it cannot begin one if
/// somebody of it has had one. Those that stand for a plan are for accounts that pay for none.
pub async fn list_offers(server: &Server, user: &User) -> Result<(Vec<Trial>, Option<Denial>)> {
    let catalogue = server.catalogue.load_full();
    let has_plan = subscription::load_current(server, &user.account_id).await?.status.is_some();
    let fits = |kind: TrialKind| match kind {
        TrialKind::Managed => true,
        TrialKind::OwnKey | TrialKind::ManagedWithCard => !has_plan,
    };
    let offers = TrialKind::ALL.iter().filter(|kind| fits(**kind)).filter_map(|&kind| catalogue.trial(kind));
    let had: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select (select count(*) from trial where person = $1 or account_id = $2)
                  - (select count(*) from trial_appeal where person = $1 and state in ('granted', 'used'))",
        )
        .bind(person_of(&user.email))
        .bind(&user.account_id)
        .fetch_one(conn)
        .await
    })?;
    Ok((offers.cloned().collect(), (had > 0).then_some(Denial::TrialTaken)))
}

/// Who an address belongs to, as it is kept: known again, and not readable when the user is long gone.
fn person_of(email: &str) -> String {
    hex::encode(Sha256::digest(domain::trial::person(email)))
}

/// Begins a trial that needs no card; until when it runs. Its credit can be spent at once. `plan` is the one whose limits
/// count meanwhile, where the trial lets choose. Denials: `TrialTaken`, `TrialNotOffered`, `NoUsableKey` (the one with an
/// own key), `Conflict` while another one runs, `RoleMayNot` without the right to buy.
pub async fn start(server: &Server, user: &User, kind: TrialKind, plan: Option<&PlanId>) -> Result<Timestamp> {
    user.require(Permission::ManageBilling)?;
    let not_offered = |why: &str| Denial::TrialNotOffered { why: why.to_owned() };
    let catalogue = server.catalogue.load_full();
    let offer = catalogue.trial(kind).ok_or_else(|| not_offered("it is not offered here"))?;
    if offer.needs_card() {
        return Err(not_offered("it begins with the plan, on the Plan page").into());
    }
    if !user.email_verified {
        return Err(not_offered("confirm your e-mail first").into());
    }
    let current = subscription::load_current(server, &user.account_id).await?;
    if kind == TrialKind::OwnKey {
        if current.status.is_some() {
            return Err(not_offered("your plan runs with your own keys already").into());
        }
        if !provider_key::has_usable_key(server, &user.account_id).await? {
            return Err(Denial::NoUsableKey.into());
        }
    }
    let beginner = Beginner {
        account_id: user.account_id.clone(),
        user_id: user.user_id.clone(),
        email: user.email.clone(),
        plan: plan_of(offer, plan, current.plan).ok_or_else(|| not_offered("it is not offered with this plan"))?,
    };
    let ends = ends_at(offer, server.clock.now());
    let mut tx = server.db.begin().await?;
    begin(&mut tx, &server.clock, (offer, ends), beginner, None).await?;
    tx.commit().await?;
    Ok(ends)
}

/// The plan whose limits count: the one that was chosen, the account's own, or the first that the trial is offered with.
fn plan_of(offer: &Trial, chosen: Option<&PlanId>, current: PlanId) -> Option<PlanId> {
    let fits = |plan: &PlanId| offer.plans.is_empty() || offer.plans.contains(plan);
    match chosen {
        Some(chosen) => fits(chosen).then(|| chosen.clone()),
        None if fits(&current) => Some(current),
        None => offer.plans.first().cloned(),
    }
}

/// Begins the trial with a card in the transaction that notes its subscription; it ends when Stripe's trial does.
/// `TrialTaken` if the person or the card has had one: then the subscription's trial must be ended at once.
pub async fn begin_with_card(
    tx: &mut Tx,
    server: &Server,
    beginner: Beginner,
    (card_fingerprint, ends_at): (Option<&str>, Timestamp),
) -> Result<()> {
    let catalogue = server.catalogue.load_full();
    let offer = catalogue
        .trial(TrialKind::ManagedWithCard)
        .ok_or_else(|| Denial::TrialNotOffered { why: "it is not offered here".to_owned() })?;
    begin(tx, &server.clock, (offer, ends_at), beginner, card_fingerprint).await
}

async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    (offer, ends_at): (&Trial, Timestamp),
    beginner: Beginner,
    card_fingerprint: Option<&str>,
) -> Result<()> {
    let now = clock.now();
    let person = person_of(&beginner.email);
    let before: i64 = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar(
            "select coalesce(max(attempt), 0)
             from   trial
             where  person = $1 or account_id = $2 or card_fingerprint = $3",
        )
        .bind(&person)
        .bind(&beginner.account_id)
        .bind(card_fingerprint)
        .fetch_one(conn)
        .await
    })?;
    if before > 0 && !appeal::use_granted(tx, &person).await? {
        return Err(Denial::TrialTaken.into());
    }

    let trial_id = clock.new_id();
    let inserted = on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into trial (trial_id, account_id, user_id, kind, person, card_fingerprint, attempt, state,
                                amount_nanos, plan_id, started_at, ends_at)
             values ($1, $2, $3, $4, $5, $6, $7, 'running', $8, $9, $10, $11)",
        )
        .bind(&trial_id)
        .bind(&beginner.account_id)
        .bind(&beginner.user_id)
        .bind(offer.kind.as_str())
        .bind(&person)
        .bind(card_fingerprint)
        .bind(before + 1)
        .bind(offer.amount)
        .bind(&beginner.plan)
        .bind(now)
        .bind(ends_at)
        .execute(conn)
        .await
        .map(drop)
    });
    inserted.map_err(denied)?;
    if offer.amount.is_positive() {
        let grant = Grant {
            account_id: beginner.account_id,
            kind: GrantKind::Trial,
            amount: offer.amount,
            price: Usd::ZERO,
            reference: format!("trial:{trial_id}"),
            memo: format!("Trial credit for {} days", offer.days),
            allowed_models: match &offer.models {
                TrialModels::All => None,
                TrialModels::Only(models) => Some(models.clone()),
            },
            expires_at: Some(ends_at),
        };
        ledger::grant(tx, clock, grant).await?;
    }
    tracing::info!(trial_id, kind = %offer.kind, "a trial began");
    Ok(())
}

/// Two that begin at once: the constraint says so.
fn denied(error: sqlx::Error) -> Error {
    if breaks_unique(&error, "trial_one_running", "trial.account_id") {
        return Denial::Conflict { problem: "A trial is running already.".to_owned() }.into();
    }
    if breaks_unique(&error, "trial_one_for_each_person", "trial.person")
        || breaks_unique(&error, "trial_one_for_each_card", "trial.card_fingerprint")
    {
        return Denial::TrialTaken.into();
    }
    error.into()
}

/// The trial with a card, the one that ended at `ends_at`, has become a plan that is paid for, also when the sweep found
/// its time over before Stripe told. Without such a trial nothing changes.
pub async fn convert(tx: &mut Tx, clock: &Clock, account_id: &AccountId, ends_at: Timestamp) -> Result<()> {
    on_tx!(tx, conn => {
        sqlx::query(
            "update trial
             set    state = 'converted', ended_at = $1
             where  account_id = $2 and kind = 'managed_with_card' and ends_at = $3 and state in ('running', 'ended')",
        )
        .bind(clock.now())
        .bind(account_id)
        .bind(ends_at)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Announces each trial's end once, the catalogue's days before it; how many now.
pub async fn remind_due(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let days = i64::from(server.catalogue.load().grace.trial_reminder_days);
    let mut tx = server.db.begin().await?;
    let due: Vec<(String, AccountId, String, Timestamp)> = on_tx!(&mut tx, conn => {
        sqlx::query_as(
            "update trial
             set    reminded_at = $1
             where  state = 'running' and reminded_at is null and ends_at > $1 and ends_at <= $2
             returning trial_id, account_id, kind, ends_at",
        )
        .bind(now)
        .bind(now.plus_seconds(days * 86_400))
        .fetch_all(conn)
        .await
    })?;
    let count = due.len();
    for (trial_id, account_id, kind, ends_at) in due {
        let notice = Notice::TrialEnding { trial: kind.parse()?, ends_at };
        notice::raise(&mut tx, &server.clock, &account_id, &notice, &format!("trial_ending:{trial_id}")).await?;
    }
    if count > 0 {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(count)
}

/// Ends each trial whose time is over; how many. What is left of its credit expires with its lot (`ledger::expire_due`),
/// and the account's own plan counts again by itself.
pub async fn end_due(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let ended: Vec<String> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(
            "update trial
             set    state = $1, ended_at = $2
             where  state = 'running' and ends_at <= $2
             returning trial_id",
        )
        .bind(TrialState::Ended.as_str())
        .bind(now)
        .fetch_all(conn)
        .await
    })?;
    if ended.is_empty() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
        tracing::info!(source = %FundingSource::Trial, count = ended.len(), "trials ended");
    }
    Ok(ended.len())
}
