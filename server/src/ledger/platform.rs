//! Owns: counting what the platform pays for: executions of a plan's allowance by period, and by day in UTC what runs
//! that the plan or a trial pays for cost us.
//! Does not own: what a plan lets run (`domain::limit`), or credit (`batch`).
//! Invariant: a counter changes in the transaction of the hold, or of its end, under the lock of the account's balance;
//! so it is the sum of its runs, at any concurrency and on any number of nodes.

use super::load::LoadedHold;
use super::write::{AllowanceRow, DayRow, Writes};
use crate::db::Tx;
use crate::error::{Error, Result};
use domain::denial::Denial;
use domain::funding::Payer;
use domain::id::{AccountId, ExecutionId};
use domain::ledger::HoldState;
use domain::limit::{AllowanceUsed, PlatformDay, check_day, take_one};
use domain::money::Usd;
use domain::time::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// What one run takes of the counters while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// The start of the period whose allowance it counts in.
    pub period: Option<Timestamp>,
    /// The day whose cost it is.
    pub day: Option<Timestamp>,
    /// The most it can cost us.
    pub at_most: Usd,
}

type Key = (AccountId, Timestamp);

/// The counters of a batch as they become.
#[derive(Default)]
pub(super) struct Platform {
    uses: HashMap<Key, AllowanceUsed>,
    days: HashMap<Key, PlatformDay>,
    taken: HashMap<ExecutionId, Taken>,
    changed_uses: BTreeSet<Key>,
    changed_days: BTreeSet<Key>,
}

impl Platform {
    /// Notes what a hold that was made before has taken.
    pub fn add_hold(&mut self, execution_id: &ExecutionId, hold: &LoadedHold) {
        self.taken.insert(execution_id.clone(), hold.taken);
        self.want(&hold.account_id, hold.taken);
    }

    /// Notes the counters that a payer is asked about.
    pub fn add_payer(&mut self, account_id: &AccountId, payer: &Payer, now: Timestamp) {
        self.want(account_id, taken_by(payer, Usd::ZERO, now));
    }

    fn want(&mut self, account_id: &AccountId, taken: Taken) {
        if let Some(period) = taken.period {
            self.uses.entry((account_id.clone(), period)).or_default();
        }
        if let Some(day) = taken.day {
            self.days.entry((account_id.clone(), day)).or_default();
        }
    }

    /// Reads every counter that was noted. The accounts are locked.
    pub async fn load(&mut self, tx: &mut Tx) -> Result<()> {
        for (account_id, period_start, executions, next_at) in list_uses(tx, self.uses.keys()).await? {
            if let Some(used) = self.uses.get_mut(&(account_id, period_start)) {
                let executions = u64::try_from(executions)
                    .map_err(|error| Error::internal("table allowance_use, column executions", error))?;
                *used = AllowanceUsed { executions, next_at };
            }
        }
        for (account_id, day, spent, held) in list_days(tx, self.days.keys()).await? {
            if let Some(sums) = self.days.get_mut(&(account_id, day)) {
                *sums = PlatformDay { spent, held };
            }
        }
        Ok(())
    }

    /// Whether the payer's plan lets a run begin that can cost up to `ceiling`.
    pub fn check(&self, account_id: &AccountId, payer: &Payer, ceiling: Usd, now: Timestamp) -> Result<(), Denial> {
        match payer {
            Payer::OwnKey | Payer::Credits => Ok(()),
            Payer::Trial(rule) => {
                check_day((&rule.plan, rule.daily_spend_cap), &self.day(account_id, now), ceiling, now)
            }
            Payer::Allowance(rule) => {
                let used = self.uses.get(&(account_id.clone(), rule.period_start)).copied().unwrap_or_default();
                take_one(rule, &used, &self.day(account_id, now), ceiling, now).map(drop)
            }
        }
    }

    fn day(&self, account_id: &AccountId, now: Timestamp) -> PlatformDay {
        self.days.get(&(account_id.clone(), now.day())).copied().unwrap_or_default()
    }

    /// Counts a run that `check` let through; what it has taken.
    pub fn take(
        &mut self,
        (account_id, execution_id): (&AccountId, &ExecutionId),
        payer: &Payer,
        ceiling: Usd,
        now: Timestamp,
    ) -> Result<Taken, Denial> {
        let taken = taken_by(payer, ceiling, now);
        if let Payer::Allowance(rule) = payer {
            let day = self.day(account_id, now);
            let key = (account_id.clone(), rule.period_start);
            let used = self.uses.entry(key.clone()).or_default();
            *used = take_one(rule, used, &day, ceiling, now)?;
            self.changed_uses.insert(key);
        }
        if let Some(day) = taken.day {
            let key = (account_id.clone(), day);
            let sums = self.days.entry(key.clone()).or_default();
            sums.held = sums.held.saturating_add(ceiling);
            self.changed_days.insert(key);
        }
        self.taken.insert(execution_id.clone(), taken);
        Ok(taken)
    }

    /// A run has ended, and its provider bills `cost`. One that is not charged gives its execution back.
    pub fn end(&mut self, account_id: &AccountId, execution_id: &ExecutionId, state: HoldState, cost: Usd) {
        let taken = self.taken.get(execution_id).copied().unwrap_or_default();
        let is_given_back = match state {
            HoldState::Voided | HoldState::Expired => true,
            HoldState::Open | HoldState::Captured => false,
        };
        if let Some(period) = taken.period.filter(|_| is_given_back) {
            let key = (account_id.clone(), period);
            let used = self.uses.entry(key.clone()).or_default();
            used.executions = used.executions.saturating_sub(1);
            self.changed_uses.insert(key);
        }
        if let Some(day) = taken.day {
            let key = (account_id.clone(), day);
            let sums = self.days.entry(key.clone()).or_default();
            sums.held = sums.held.saturating_sub(taken.at_most);
            sums.spent = sums.spent.saturating_add(cost);
            self.changed_days.insert(key);
        }
    }

    /// The counters that changed.
    pub fn write_into(self, writes: &mut Writes) -> Result<()> {
        for (account_id, period_start) in self.changed_uses {
            let key = (account_id, period_start);
            let AllowanceUsed { executions, next_at } = self.uses.get(&key).copied().unwrap_or_default();
            let executions = i64::try_from(executions)
                .map_err(|error| Error::internal("table allowance_use, column executions", error))?;
            let (account_id, period_start) = key;
            writes.allowances.push(AllowanceRow { account_id, period_start, executions, next_at });
        }
        for (account_id, day) in self.changed_days {
            let key = (account_id, day);
            let PlatformDay { spent, held } = self.days.get(&key).copied().unwrap_or_default();
            let (account_id, day) = key;
            writes.days.push(DayRow { account_id, day, spent, held });
        }
        Ok(())
    }
}

/// What a run takes of the counters when this payer pays for it.
fn taken_by(payer: &Payer, at_most: Usd, now: Timestamp) -> Taken {
    match payer {
        Payer::OwnKey | Payer::Credits => Taken::default(),
        Payer::Trial(_) => Taken { period: None, day: Some(now.day()), at_most },
        Payer::Allowance(rule) => Taken { period: Some(rule.period_start), day: Some(now.day()), at_most },
    }
}

/// The accounts and the moments of some keys, for a query that finds every pair of them.
fn split<'a>(keys: impl Iterator<Item = &'a Key>) -> (Vec<String>, Vec<i64>) {
    let (accounts, moments): (BTreeSet<String>, BTreeSet<i64>) =
        keys.map(|(account_id, at)| (account_id.to_string(), at.micros())).unzip();
    (accounts.into_iter().collect(), moments.into_iter().collect())
}

async fn list_uses<'a>(
    tx: &mut Tx,
    keys: impl Iterator<Item = &'a Key>,
) -> Result<Vec<(AccountId, Timestamp, i64, Timestamp)>> {
    let (accounts, periods) = split(keys);
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match tx {
        Tx::Sqlite(conn) => {
            sqlx::query_as(
                "select account_id, period_start, executions, next_at
                   from allowance_use
                  where account_id in (select value from json_each($1))
                    and period_start in (select value from json_each($2))",
            )
            .bind(serde_json::to_string(&accounts)?)
            .bind(serde_json::to_string(&periods)?)
            .fetch_all(&mut **conn)
            .await?
        }
        Tx::Postgres(conn) => {
            sqlx::query_as(
                "select account_id, period_start, executions, next_at
                   from allowance_use
                  where account_id = any($1) and period_start = any($2)",
            )
            .bind(accounts)
            .bind(periods)
            .fetch_all(&mut **conn)
            .await?
        }
    })
}

async fn list_days<'a>(
    tx: &mut Tx,
    keys: impl Iterator<Item = &'a Key>,
) -> Result<Vec<(AccountId, Timestamp, Usd, Usd)>> {
    let (accounts, days) = split(keys);
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match tx {
        Tx::Sqlite(conn) => {
            sqlx::query_as(
                "select account_id, day, spent_nanos, held_nanos
                   from platform_day
                  where account_id in (select value from json_each($1)) and day in (select value from json_each($2))",
            )
            .bind(serde_json::to_string(&accounts)?)
            .bind(serde_json::to_string(&days)?)
            .fetch_all(&mut **conn)
            .await?
        }
        Tx::Postgres(conn) => {
            sqlx::query_as(
                "select account_id, day, spent_nanos, held_nanos
                   from platform_day
                  where account_id = any($1) and day = any($2)",
            )
            .bind(accounts)
            .bind(days)
            .fetch_all(&mut **conn)
            .await?
        }
    })
}
