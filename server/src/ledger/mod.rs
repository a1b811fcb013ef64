//! Owns: the customers' money: holds, captures, grants, and every row of `balance`, `posting`, `entry`, `lot`, `hold`,
//! `execution`, `usage_hour` and `claim`. Nothing else writes them.
//! Does not own: what is allowed (`domain::ledger` decides), what a run costs, or when one is started.
//! Invariant: what was acknowledged is committed, each fact is recorded once, and spendable is never below zero,
//! with any number of callers and nodes: each transaction locks the accounts it decides on in the database.

mod batch;
mod check;
mod claim;
mod expiry;
mod give_up;
mod grant;
mod load;
mod platform;
mod run;
mod statement;
mod watch;
mod write;
mod writer;

pub use check::{Finding, check};
pub use claim::{ClaimOf, Claimed, SoldPurchase, Taking, claim, list_sold, list_to_settle, lock_sold, reclaim, settle};
pub use domain::ledger::{Balance, GrantKind, HoldState};
pub use expiry::expire_due;
pub use give_up::{forget_texts, give_up};
pub use grant::{Grant, grant, open_account};
pub use run::{Ended, Started};
pub use statement::{
    Expiring, Line, LineFilter, LineRun, LotPart, OpenLine, cut, list_expiring, list_lines, list_lines_between,
    load_balance, load_balance_at, load_balance_until, load_line, load_total_until,
};
pub(crate) use watch::top_up_job;
pub use watch::watch;

use crate::clock::Clock;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::job::NewJob;
use domain::denial::Denial;
use domain::funding::{Funding, FundingSource};
use domain::id::{AccountId, ExecutionId, LotId};
use domain::money::Usd;
use domain::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use writer::{Begun, MadeHold, Outcome, Request, Work};

/// The way to the ledger writers: commands of many callers, committed together. Cheap to clone.
///
/// Never call it while holding an open transaction of your own: on SQLite the writer waits for the same connection.
#[derive(Clone)]
pub struct Ledger {
    writers: Arc<[tokio::sync::mpsc::Sender<Request>]>,
    clock: Clock,
}

/// How a ledger works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a hold waits for running work to end before it is refused.
    pub wait_for_credit: Duration,
    /// How many commands are committed together at most.
    pub batch: usize,
    /// How many writers share the accounts on Postgres. SQLite always has one.
    pub writers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { wait_for_credit: Duration::from_secs(2), batch: 256, writers: 4 }
    }
}

/// A hold to make. `execution_id` names it, once; `amount` is the most the run can cost.
#[derive(Clone, Debug)]
pub struct NewHold {
    pub execution_id: ExecutionId,
    pub account_id: AccountId,
    pub amount: Usd,
    /// Who may pay for it: the first that can, decided under the lock of the account. `started.source` becomes that one.
    pub funding: Funding,
    /// When the hold ends by itself if nobody renews it.
    pub expires_at: Timestamp,
    pub started: Started,
}

/// What became of a request to hold.
#[must_use = "a new hold must be finished"]
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Nearly always `New`, and moved once.
pub enum Held {
    /// The credit is set aside, and the run may begin.
    New(Hold),
    /// The same hold was made before, by a second click or another node: whoever made it runs it.
    Repeated(HoldState),
}

/// Credit set aside for one run. Whoever has it runs it and finishes it, once.
#[must_use = "a hold must be finished, or it expires"]
#[derive(Debug)]
pub struct Hold {
    execution_id: ExecutionId,
    account_id: AccountId,
    amount: Usd,
    expires_at: Timestamp,
    started: Started,
}

/// How a hold ends, with everything that is recorded in the same transaction.
#[derive(Clone, Debug)]
pub struct Finish {
    pub end: End,
    pub ended: Ended,
    /// Work that follows from it.
    pub jobs: Vec<NewJob>,
}

/// What is taken of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The charge for the run; what is above the hold is the platform's loss.
    Capture { cost: Usd },
    /// Nothing: the run failed or was waived.
    Void,
}

/// What a finished run cost its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub charged: Usd,
    /// What the run cost above its hold: the platform's loss, to be alerted when it is not zero.
    pub overrun: Usd,
    /// The account just afterwards.
    pub balance: Balance,
    /// Whether it had been finished before, in the same way.
    pub repeated: bool,
}

impl Hold {
    pub fn execution_id(&self) -> &ExecutionId {
        &self.execution_id
    }

    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// The most that can be charged; nothing when the plan pays.
    pub fn amount(&self) -> Usd {
        self.amount
    }

    /// Who pays.
    pub fn source(&self) -> FundingSource {
        self.started.source
    }

    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub fn started(&self) -> &Started {
        &self.started
    }
}

impl Ledger {
    /// Starts the writers. They end when the last handle is gone.
    pub fn start(db: &Db, clock: &Clock, options: Options) -> Ledger {
        let writers = match db {
            Db::Sqlite { .. } => 1,
            Db::Postgres(_) => options.writers.max(1),
        };
        let writers = (0..writers).map(|_| writer::start(db.clone(), clock.clone(), options)).collect();
        Ledger { writers, clock: clock.clone() }
    }

    /// Sets aside what a run can cost, by the first payer that can: credit, or an execution of the plan's allowance. Waits
    /// a moment if running work holds the credit that is missing. Denied as [`domain::funding::refusal`] says:
    /// `InsufficientCredit` when it can never fit, `ReservedByRunningWork` when it may fit later, `PlanLimit`,
    /// `Throttled`, `DailyCap`; or with `AccountFrozen`, or `Conflict` when the id was used for something else.
    pub async fn hold(&self, new: NewHold) -> Result<Held> {
        self.hold_and_tell(new, Arc::default()).await
    }

    /// Like [`Ledger::hold`], and notifies `fits` as soon as the decision is taken, just before it is durable: time to
    /// ask a provider meanwhile. Only the answer counts: until it is there, nobody may see what the provider says.
    pub async fn hold_and_tell(&self, new: NewHold, fits: Arc<Notify>) -> Result<Held> {
        let NewHold { execution_id, account_id, expires_at, started, .. } = new.clone();
        let work = Work::Hold(Box::new(MadeHold { maker: self.clock.new_id(), hold: new, fits }));
        match self.ask(account_id.clone(), work).await? {
            Outcome::Held(Begun { made_before: Some(state), .. }) => Ok(Held::Repeated(state)),
            Outcome::Held(Begun { made_before: None, source, amount }) => {
                let started = Started { source, ..started };
                Ok(Held::New(Hold { execution_id, account_id, amount, expires_at, started }))
            }
            Outcome::Finished(_) | Outcome::Done => Err(wrong_outcome()),
        }
    }

    /// Gives a running hold more time. Denied with `Conflict` when it has ended.
    pub async fn renew(&self, hold: &mut Hold, expires_at: Timestamp) -> Result<()> {
        let execution_id = hold.execution_id.clone();
        self.ask(hold.account_id.clone(), Work::Renew { execution_id, expires_at }).await?;
        hold.expires_at = expires_at;
        Ok(())
    }

    /// Ends a hold: the charge, the run's row, its roll-up and its jobs, in one transaction. A failing database is
    /// tried again for some seconds; after that the hold expires by itself. Denied with `Conflict` when the hold had
    /// ended in another way, such as expired.
    pub async fn finish(&self, hold: Hold, finish: Finish) -> Result<Finished> {
        let Hold { execution_id, account_id, started, .. } = hold;
        let mut pause = Duration::from_millis(50);
        loop {
            let work = Work::Finish {
                execution_id: execution_id.clone(),
                started: Box::new(started.clone()),
                finish: Box::new(finish.clone()),
            };
            match self.ask(account_id.clone(), work).await {
                Ok(Outcome::Finished(finished)) => return Ok(finished),
                Ok(Outcome::Held(_) | Outcome::Done) => return Err(wrong_outcome()),
                Err(Error::Denied(denial)) => return Err(Error::Denied(denial)),
                Err(Error::Internal(problem)) if pause > Duration::from_secs(4) => {
                    return Err(Error::Internal(problem));
                }
                Err(Error::Internal(problem)) => {
                    tracing::warn!(%execution_id, problem, "finishing a run is tried again");
                    tokio::time::sleep(pause).await;
                    pause *= 3;
                }
            }
        }
    }

    /// Records a run that no credit pays for: its row, its roll-up and its jobs. The charge is zero.
    pub async fn record(
        &self,
        (account_id, execution_id): (AccountId, ExecutionId),
        started: Started,
        ended: Ended,
        jobs: Vec<NewJob>,
    ) -> Result<()> {
        let finish = Box::new(Finish { end: End::Void, ended, jobs });
        self.ask(account_id, Work::Record { execution_id, started: Box::new(started), finish }).await?;
        Ok(())
    }

    async fn expire(&self, account_id: AccountId, execution_id: ExecutionId) -> Result<bool> {
        was_done(self.ask(account_id, Work::Expire { execution_id }).await)
    }

    async fn expire_lot(&self, account_id: AccountId, lot_id: LotId) -> Result<bool> {
        was_done(self.ask(account_id, Work::ExpireLot { lot_id }).await)
    }

    async fn ask(&self, account_id: AccountId, work: Work) -> Result<Outcome> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let writer = writer::shard(&account_id, self.writers.len());
        let Some(writer) = self.writers.get(writer) else { return Err(stopped()) };
        writer.send(Request { account_id, work, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Whether a sweep changed something; what ended in the meantime is no failure.
fn was_done(outcome: Result<Outcome>) -> Result<bool> {
    match outcome {
        Ok(Outcome::Finished(finished)) => Ok(!finished.repeated),
        Ok(Outcome::Held(_) | Outcome::Done) => Ok(true),
        Err(Error::Denied(Denial::Conflict { .. } | Denial::NotFound { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

fn stopped() -> Error {
    Error::Internal("the ledger writer has stopped".to_owned())
}

fn wrong_outcome() -> Error {
    Error::Internal("the ledger writer answered another question".to_owned())
}
