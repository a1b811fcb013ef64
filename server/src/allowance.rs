//! Owns: what an account has to pay for runs with, read together: its plan's rule for the period, what of it is used,
//! its running trial, and what it prefers.
//! Does not own: counting a run (`ledger`, under its lock), the rules (`domain::{limit, funding}`).
//! Invariant: what is read here is for previews and for the order of payers; the ledger decides again when a run begins.
//! It is as old as a second at most, and never older than a change that was made on this node.

use crate::error::{Error, Result};
use crate::ledger::{Balance, load_balance};
use crate::provider_key::{Fallback, OwnKeys, load_own_for};
use crate::subscription::CurrentRow;
use crate::{Server, catalogue, db, on_read, on_tx};
use domain::catalogue::{Catalogue, Model, TrialKind};
use domain::denial::Denial;
use domain::funding::{Funding, Means, PayWith, Payer, Purse, payers};
use domain::id::{AccountId, AgentId, ModelId, PlanId, ProviderKeyId};
use domain::key::Choice;
use domain::ledger::GrantKind;
use domain::limit::{AllowanceRule, AllowanceUsed, PlatformDay};
use domain::money::Usd;
use domain::period::Period;
use domain::plan::Plan;
use domain::subscription::CurrentPlan;
use domain::time::Timestamp;
use moka::sync::Cache;
use std::time::Duration;

/// How many accounts are remembered.
const MOST_REMEMBERED: u64 = 10_000;
/// For what other nodes change; what is changed here is read again at once.
const REMEMBERED: Duration = Duration::from_secs(1);

/// What an account has to pay for runs with.
#[derive(Clone, Debug)]
pub struct Standing {
    pub account_id: AccountId,
    pub current: CurrentPlan,
    /// The account's plan, whose allowance counts.
    pub own: Plan,
    /// The plan whose other limits count: the account's, or, while it pays for none, that of a trial with an own key.
    pub plan: Plan,
    pub rule: AllowanceRule,
    pub pay_with: PayWith,
    pub trial: Option<Running>,
    pub own_keys: OwnKeys,
}

/// The trial that an account is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub trial_id: String,
    pub kind: TrialKind,
    pub plan: PlanId,
    pub ends_at: Timestamp,
}

/// What was read of accounts a moment ago, so that not every call of a busy agent reads it again.
pub struct Remembered(Cache<AccountId, Seen>);

#[derive(Clone)]
struct Seen {
    row: Row,
    /// [`db::changes`] before it was read.
    changes: u64,
    /// By the clock that never goes back.
    until: Duration,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered(Cache::new(MOST_REMEMBERED))
    }
}

#[derive(Clone, sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    current: CurrentRow,
    pay_with: String,
    trial_id: Option<String>,
    trial_kind: Option<String>,
    trial_plan_id: Option<PlanId>,
    trial_ends_at: Option<Timestamp>,
    has_keys: bool,
}

/// What the account has to pay for runs with now. Denial: `NotFound`.
pub async fn load(server: &Server, account_id: &AccountId) -> Result<Standing> {
    load_for(server, account_id, None).await
}

/// [`load`] for the runs of an agent, whose own rules for keys count. Denial: `NotFound`.
pub async fn load_for(server: &Server, account_id: &AccountId, agent: Option<&AgentId>) -> Result<Standing> {
    let now = server.clock.now();
    let row = recall_row(server, account_id).await?.ok_or_else(|| Denial::NotFound { what: "account".to_owned() })?;
    let own_keys = if row.has_keys { load_own_for(server, account_id, agent).await? } else { OwnKeys::default() };
    let current = row.current.into_current(server)?;
    let trial = match (row.trial_id, row.trial_kind, row.trial_plan_id, row.trial_ends_at) {
        (Some(trial_id), Some(kind), Some(plan), Some(ends_at)) if ends_at > now => {
            Some(Running { trial_id, kind: kind.parse()?, plan, ends_at })
        }
        _ => None,
    };

    // A customer keeps the limits of the version they bought.
    let bought = catalogue::load_version(server, &current.catalogue_version).await?;
    let own = plan_of(&bought, &current.plan)?.clone();
    // A renewal that Stripe has not told us of yet begins the next month all the same.
    let period =
        if current.period.contains(now) { current.period } else { Period::month_from(current.period.start, now) };
    // The allowance is the plan's that is paid for; the other limits are the trial's while one with an own key runs.
    let rule = AllowanceRule::new(&own, current.seats, (period.start, period.end));
    let counts = |trial: &&Running| trial.kind == TrialKind::OwnKey && current.status.is_none();
    let plan = match trial.as_ref().filter(counts) {
        Some(trial) => plan_of(&bought, &trial.plan)?.clone(),
        None => own.clone(),
    };
    let pay_with = row.pay_with.parse()?;
    Ok(Standing { account_id: account_id.clone(), current, own, plan, rule, pay_with, trial, own_keys })
}

async fn recall_row(server: &Server, account_id: &AccountId) -> Result<Option<Row>> {
    let (changes, now) = (db::changes(), server.clock.monotonic());
    if let Some(seen) = server.standings.0.get(account_id)
        && seen.changes == changes
        && now < seen.until
    {
        return Ok(Some(seen.row));
    }
    let row = load_row(server, account_id).await?;
    if let Some(row) = &row {
        let seen = Seen { row: row.clone(), changes, until: now + REMEMBERED };
        server.standings.0.insert(account_id.clone(), seen);
    }
    Ok(row)
}

/// In one read, because every call of the gateway waits for it: the plan, what the account chose to pay with, the trial
/// that runs, and whether there are keys to read.
async fn load_row(server: &Server, account_id: &AccountId) -> Result<Option<Row>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_as(
            "select    a.plan_id, s.status, s.had_key_mode, s.had_seats, s.period_start, s.period_end, s.cancels_at,
                       s.catalogue_version, a.pay_with, t.trial_id, t.kind as trial_kind, t.plan_id as trial_plan_id,
                       t.ends_at as trial_ends_at,
                       exists (select 1 from provider_key k where k.account_id = a.account_id and k.deleted_at is null)
                       or exists (select 1 from key_policy p where p.account_id = a.account_id)
                       or exists (select 1 from agent_key_policy p where p.account_id = a.account_id)
                       as has_keys
             from      account a
             left join subscription s
                       on s.account_id = a.account_id and s.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
             left join trial t on t.account_id = a.account_id and t.state = 'running' and t.ends_at > $2
             where     a.account_id = $1",
        )
        .bind(account_id)
        .bind(server.clock.now())
        .fetch_optional(conn)
        .await
    })?)
}

/// A plan that left the catalogue is looked after as the one that everybody starts on.
fn plan_of<'a>(catalogue: &'a Catalogue, id: &PlanId) -> Result<&'a Plan> {
    catalogue
        .plan(id)
        .or_else(|| catalogue.plan(&catalogue.signup_plan))
        .ok_or_else(|| Error::Internal(format!("the catalogue has no plan {id}")))
}

impl Standing {
    /// Who may pay for a run of the model, in order: nobody else where the account's own key is to be used.
    pub fn funding(&self, model: &Model) -> Funding {
        match self.own_key(model) {
            Ok(Some(_)) => return Funding { payers: vec![Payer::OwnKey], why_not: None },
            Err(denial) => return Funding { payers: Vec::new(), why_not: Some(denial) },
            Ok(None) => {}
        }
        let trial = self.trial.as_ref().is_some_and(|trial| trial.kind.is_managed());
        payers(&Means { own_key: false, trial, plan: &self.own, rule: &self.rule, pay_with: self.pay_with }, model)
    }

    /// How a run of the model is paid from here in place of the account's own key, if it is. Denial: `FallbackCap` when it
    /// can cost more than what is left of the account's cap.
    pub fn fallback(&self, model: &Model, ceiling: Usd) -> Result<Option<Fallback>, Denial> {
        let Choice::Instead { left } = self.own_keys.choose(model) else { return Ok(None) };
        let fallback = self.own_keys.fallback(model);
        if ceiling > left {
            let (provider, cap) =
                (model.provider.name().to_owned(), fallback.map_or(Usd::ZERO, |fallback| fallback.cap));
            return Err(Denial::FallbackCap { provider, cap, needed: ceiling, left });
        }
        Ok(fallback)
    }

    /// The account's own key that a run of the model is made with; `None` for ours. Denial: `OwnKeyRefused` when the
    /// account wants its own used and none works.
    pub fn own_key(&self, model: &Model) -> Result<Option<ProviderKeyId>, Denial> {
        match self.own_keys.choose(model) {
            Choice::Own(id) => Ok(Some(id)),
            Choice::Platform | Choice::Instead { .. } => Ok(None),
            Choice::NoneWorks => {
                let problem = "does not work, or is not there".to_owned();
                Err(Denial::OwnKeyRefused { provider: model.provider.name().to_owned(), problem })
            }
        }
    }
}

/// The counters at a moment: of the period, and of the day in UTC.
pub async fn load_counters(
    server: &Server,
    account_id: &AccountId,
    rule: &AllowanceRule,
) -> Result<(AllowanceUsed, PlatformDay)> {
    let used: Option<(i64, Timestamp)> = on_read!(&server.db, conn => {
        sqlx::query_as("select executions, next_at from allowance_use where account_id = $1 and period_start = $2")
            .bind(account_id)
            .bind(rule.period_start)
            .fetch_optional(conn)
            .await
    })?;
    let day: Option<(Usd, Usd)> = on_read!(&server.db, conn => {
        sqlx::query_as("select spent_nanos, held_nanos from platform_day where account_id = $1 and day = $2")
            .bind(account_id)
            .bind(server.clock.now().day())
            .fetch_optional(conn)
            .await
    })?;
    let (executions, next_at) = used.unwrap_or_default();
    let executions =
        u64::try_from(executions).map_err(|error| Error::internal("table allowance_use, column executions", error))?;
    let (spent, held) = day.unwrap_or_default();
    Ok((AllowanceUsed { executions, next_at }, PlatformDay { spent, held }))
}

/// For each model, what there is to pay for a run of it, so that a preview can say who pays.
pub async fn load_purses(server: &Server, account_id: &AccountId, models: &[&Model]) -> Result<Vec<Purse>> {
    purses(server, &load(server, account_id).await?, models).await
}

/// [`load_purses`] of somebody whose standing is known already.
pub async fn purses(server: &Server, standing: &Standing, models: &[&Model]) -> Result<Vec<Purse>> {
    let account_id = &standing.account_id;
    let (used, day) = load_counters(server, account_id, &standing.rule).await?;
    let balance = load_balance(server, account_id).await?;
    let given = list_given_lots(server, account_id).await?;
    let purse = |model: &&Model| {
        let sum = |is_wanted: fn(&GivenLot, &ModelId) -> bool| {
            let lots = given.iter().filter(|lot| is_wanted(lot, &model.id));
            lots.fold(Usd::ZERO, |sum, lot| sum.saturating_add(lot.left))
        };
        Purse {
            funding: standing.funding(model),
            used,
            day,
            trial: sum(|lot, model| lot.kind == GrantKind::Trial && lot.allows(model)),
            spendable: spendable(&balance, sum(|lot, model| !lot.allows(model))),
        }
    };
    Ok(models.iter().map(purse).collect())
}

/// What credits can pay for a model: all of it but the trial and promotional credit for other models.
fn spendable(balance: &Balance, for_others: Usd) -> Usd {
    balance.spendable().saturating_sub(for_others)
}

/// Trial credit that has not expired, for whatever models.
pub async fn load_trial_credit(server: &Server, account_id: &AccountId) -> Result<Usd> {
    let lots = list_given_lots(server, account_id).await?;
    let trials = lots.iter().filter(|lot| lot.kind == GrantKind::Trial);
    Ok(trials.fold(Usd::ZERO, |sum, lot| sum.saturating_add(lot.left)))
}

/// A lot of trial or promotional credit: only these may be for certain models.
struct GivenLot {
    kind: GrantKind,
    /// `None` for all.
    models: Option<Vec<ModelId>>,
    left: Usd,
}

impl GivenLot {
    fn allows(&self, model: &ModelId) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(model))
    }
}

/// Trial and promotional credit that has not expired.
async fn list_given_lots(server: &Server, account_id: &AccountId) -> Result<Vec<GivenLot>> {
    let rows: Vec<(String, Option<String>, Usd)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select kind, allowed_models, remaining_nanos
             from   lot
             where  account_id = $1 and kind in ('trial', 'promotional') and remaining_nanos > 0
                    and (expires_at is null or expires_at > $2)",
        )
        .bind(account_id)
        .bind(server.clock.now())
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter()
        .map(|(kind, models, left)| {
            let models = models.map(|json| serde_json::from_str(&json)).transpose();
            let models = models.map_err(|error| Error::internal("table lot, column allowed_models", error))?;
            Ok(GivenLot { kind: kind.parse()?, models, left })
        })
        .collect()
}

/// Chooses between the plan's allowance and credits. Who may: whoever may buy.
pub async fn set_pay_with(server: &Server, account_id: &AccountId, pay_with: PayWith) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update account set pay_with = $1 where account_id = $2")
            .bind(pay_with.as_str())
            .bind(account_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}
