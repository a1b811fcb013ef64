//! Owns: what an account's last thirty days say about own keys, and putting advice away.
//! Does not own: the comparison and the sentence (`domain::{calculator, advice}`).

use crate::account::User;
use crate::error::{Error, Result};
use crate::{Server, catalogue, on_read, on_tx, subscription};
use domain::advice::{Advice, AdviceKind, Thirty, advise};
use domain::calculator::{OwnWork, Spent, compare_own, compare_spent};
use domain::catalogue::Catalogue;
use domain::funding::FundingSource;
use domain::id::{AccountId, ModelId, PackId};
use domain::limit::in_allowance;
use domain::money::{Cents, Usd};
use domain::pack::Pack;
use domain::plan::Plan;
use domain::time::Timestamp;

const DAY_SECONDS: i64 = 86_400;
/// How long advice that was put away stays away.
const QUIET_DAYS: i64 = 60;
/// The newest purchases that say at which price credit is bought.
const PURCHASES: i64 = 20;

/// What to advise the user about own keys now; nothing that they have put away.
pub async fn load(server: &Server, user: &User) -> Result<Option<Advice>> {
    let thirty = load_thirty(server, &user.account_id).await?;
    let Some(advice) = advise(&thirty, server.catalogue.load().limits.own_key_advice) else { return Ok(None) };
    let is_away: bool = on_read!(&server.db, conn => {
        sqlx::query_scalar::<_, i64>(
            "select count(*)
             from   advice_dismissal
             where  account_id = $1 and user_id = $2 and advice = $3 and dismissed_until > $4",
        )
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(advice.kind.as_str())
        .bind(server.clock.now())
        .fetch_one(conn)
        .await
    })? > 0;
    Ok((!is_away).then_some(advice))
}

/// Puts advice away for this user, for some time.
pub async fn dismiss(server: &Server, user: &User, advice: AdviceKind) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into advice_dismissal (account_id, user_id, advice, dismissed_until)
             values ($1, $2, $3, $4)
             on conflict (account_id, user_id, advice) do update set dismissed_until = excluded.dismissed_until",
        )
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(advice.as_str())
        .bind(server.clock.now().plus_seconds(QUIET_DAYS * DAY_SECONDS))
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// What was paid for, in some purchases, and what they gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bought {
    pub price: Usd,
    pub gave: Usd,
}

/// The newest purchases together; `None` without one.
pub async fn load_bought(server: &Server, account_id: &AccountId) -> Result<Option<Bought>> {
    let rows: Vec<(i64, Usd, Usd)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select price_cents, amount_nanos, bonus_nanos
             from   purchase
             where  account_id = $1 and state = 'paid'
             order  by purchase_id desc
             limit  $2",
        )
        .bind(account_id)
        .bind(PURCHASES)
        .fetch_all(conn)
        .await
    })?;
    let sum = |bought: Bought, (cents, amount, bonus): (i64, Usd, Usd)| {
        let price = bought.price.saturating_add(Usd::from_cents(Cents(cents)).unwrap_or_default());
        Bought { price, gave: bought.gave.saturating_add(amount).saturating_add(bonus) }
    };
    let nothing = Bought { price: Usd::ZERO, gave: Usd::ZERO };
    Ok((!rows.is_empty()).then(|| rows.into_iter().fold(nothing, sum)))
}

/// One model's runs of thirty days, paid in one way.
struct Used {
    model: ModelId,
    source: FundingSource,
    runs: u64,
    cost: Usd,
    charge: Usd,
}

async fn load_thirty(server: &Server, account_id: &AccountId) -> Result<Thirty> {
    let now = server.clock.now();
    let since = now.plus_seconds(-30 * DAY_SECONDS);
    let used = list_used(server, account_id, since).await?;
    if used.is_empty() {
        return Ok(Thirty::default());
    }
    let current = subscription::load_current(server, account_id).await?;
    let had = catalogue::load_version(server, &current.catalogue_version).await?;
    let Some(plan) = had.plan(&current.plan) else { return Ok(Thirty::default()) };

    let of = |source| used.iter().filter(move |used| used.source == source);
    let charged = of(FundingSource::Credits).fold(Usd::ZERO, |sum, used| sum.saturating_add(used.charge));
    let given = load_given_spent(server, account_id, since).await?;
    let credit = charged.saturating_sub(given).max(Usd::ZERO);
    let included = of(FundingSource::Allowance).fold(Usd::ZERO, |sum, used| sum.saturating_add(used.cost));
    let pack = load_bought(server, account_id).await?.map(|bought| Pack {
        id: PackId::new("bought"),
        amount: bought.gave,
        bonus: Usd::ZERO,
        price: bought.price,
    });
    let spent = Spent { plan, seats: current.seats, included, credit, pack: pack.as_ref() };
    let own = own_work(&had, plan, current.seats, of(FundingSource::OwnKey));
    Ok(Thirty { credit, here: compare_spent(&spent, now), own: own.and_then(|work| compare_own(&had, &work, now)) })
}

/// The work that was done with own keys; `None` without any.
fn own_work<'a, 'b>(
    catalogue: &Catalogue,
    plan: &'a Plan,
    seats: u32,
    used: impl Iterator<Item = &'b Used>,
) -> Option<OwnWork<'a>> {
    let nothing = OwnWork { plan, seats, cost: Usd::ZERO, eligible: Usd::ZERO, eligible_runs: 0 };
    let work = used.fold(nothing, |work, used| {
        let is_included = catalogue.model(&used.model).is_ok_and(|model| in_allowance(plan, model).is_ok());
        let cost = work.cost.saturating_add(used.cost);
        if !is_included {
            return OwnWork { cost, ..work };
        }
        let (eligible, runs) = (work.eligible.saturating_add(used.cost), work.eligible_runs.saturating_add(used.runs));
        OwnWork { cost, eligible, eligible_runs: runs, ..work }
    });
    work.cost.is_positive().then_some(work)
}

async fn list_used(server: &Server, account_id: &AccountId, since: Timestamp) -> Result<Vec<Used>> {
    let rows: Vec<(ModelId, String, i64, Usd, Usd)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select model_id, source, cast(sum(executions) as bigint), cast(sum(cost_nanos) as bigint),
                    cast(sum(charge_nanos) as bigint)
             from   usage_hour
             where  account_id = $1 and hour >= $2
             group  by model_id, source",
        )
        .bind(account_id)
        .bind(since)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|(model, source, runs, cost, charge)| {
            let runs =
                u64::try_from(runs).map_err(|error| Error::internal("table usage_hour, column executions", error))?;
            Ok(Used { model, source: source.parse()?, runs, cost, charge })
        })
        .collect()
}

/// What was at most spent since then of promotional credit, which cost nothing: all that is gone of the lots that were
/// there. So the saving is never told too high.
async fn load_given_spent(server: &Server, account_id: &AccountId, since: Timestamp) -> Result<Usd> {
    let gone: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select cast(coalesce(sum(granted_nanos - remaining_nanos - held_nanos), 0) as bigint)
             from   lot
             where  account_id = $1 and kind = 'promotional'
                    and (created_at >= $2 or remaining_nanos > 0 or held_nanos > 0)",
        )
        .bind(account_id)
        .bind(since)
        .fetch_one(conn)
        .await
    })?;
    Ok(Usd::from_nanos(gone))
}
