//! Owns: the writer tasks: queue, batches, answers, and the short wait for credit that running work holds.
//! Does not own: what a command does (`batch`).
//! Invariant: a command is answered once, after its transaction committed; a batch that fails is tried again one by
//! one, so that one command that cannot be carried out does not fail its neighbours.

use super::batch;
use super::{Finish, Finished, NewHold, Options, Started};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::{Error, Result};
use domain::denial::Denial;
use domain::funding::FundingSource;
use domain::id::{AccountId, ExecutionId, LotId};
use domain::ledger::HoldState;
use domain::money::Usd;
use domain::time::Timestamp;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// How many commands may wait in a writer's queue before callers wait to hand theirs in.
const QUEUE: usize = 4_096;
/// How many holds may wait for credit in one writer.
const MOST_WAITING: usize = 4_096;
/// How often waiting holds are tried again for credit that another node, or a grant, has freed.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// One command of one caller.
pub(super) struct Request {
    pub account_id: AccountId,
    pub work: Work,
    pub answer: oneshot::Sender<Result<Outcome>>,
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    Hold(Box<MadeHold>),
    Renew { execution_id: ExecutionId, expires_at: Timestamp },
    Finish { execution_id: ExecutionId, started: Box<Started>, finish: Box<Finish> },
    Record { execution_id: ExecutionId, started: Box<Started>, finish: Box<Finish> },
    Expire { execution_id: ExecutionId },
    ExpireLot { lot_id: LotId },
}

/// A hold to make, and which request makes it: so that a lost commit answer is told from a second click.
#[derive(Clone, Debug)]
pub(super) struct MadeHold {
    pub maker: String,
    pub hold: NewHold,
    /// Notified when the credit is there, before that is durable.
    pub fits: Arc<Notify>,
}

/// A hold that was made, now or before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// The state of the hold if another request had made it before.
    pub made_before: Option<HoldState>,
    /// Who pays.
    pub source: FundingSource,
    /// The credit that is set aside.
    pub amount: Usd,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Held(Begun),
    Finished(Finished),
    Done,
}

impl Work {
    /// Whether it can give credit back to its account.
    fn frees_credit(&self) -> bool {
        match self {
            Work::Finish { .. } | Work::Expire { .. } => true,
            Work::Hold(_) | Work::Renew { .. } | Work::Record { .. } | Work::ExpireLot { .. } => false,
        }
    }
}

/// Which writer an account belongs to.
pub(super) fn shard(account_id: &AccountId, writers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    account_id.hash(&mut hasher);
    let writers = u64::try_from(writers.max(1)).unwrap_or(1);
    usize::try_from(hasher.finish() % writers).unwrap_or(0)
}

/// Starts one writer. It ends when nobody can send to it any more.
#[allow(clippy::disallowed_methods)] // Not in `tasks`: it must outlive the runs that a shutdown waits for.
pub(super) fn start(db: Db, clock: Clock, options: Options) -> mpsc::Sender<Request> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(Writer { db, clock, options, receiver, waiting: Vec::new() }.run());
    sender
}

struct Writer {
    db: Db,
    clock: Clock,
    options: Options,
    receiver: mpsc::Receiver<Request>,
    waiting: Vec<Waiting>,
}

/// A command and until when it may wait for credit.
struct Waiting {
    request: Request,
    until: Instant,
}

impl Waiting {
    /// A hold whose caller went away would only keep credit from others until it expires.
    fn is_abandoned(&self) -> bool {
        matches!(self.request.work, Work::Hold(_)) && self.request.answer.is_closed()
    }
}

impl Writer {
    async fn run(mut self) {
        let mut requests = Vec::new();
        let mut freed: HashSet<AccountId> = HashSet::new();
        let mut next_retry = Instant::now() + RETRY_EVERY;
        loop {
            // Wait for work, unless a hold that waits can be tried again at once.
            if self.waiting.iter().any(|one| freed.contains(&one.request.account_id)) {
                while requests.len() < self.options.batch
                    && let Ok(request) = self.receiver.try_recv()
                {
                    requests.push(request);
                }
            } else {
                let received = tokio::select! {
                    received = self.receiver.recv_many(&mut requests, self.options.batch) => Some(received),
                    () = tokio::time::sleep_until(next_retry), if !self.waiting.is_empty() => None,
                };
                if received == Some(0) {
                    return;
                }
            }

            // Holds that wait go before new ones; what a batch has just freed, or all of them now and then.
            let all = Instant::now() >= next_retry;
            if all {
                next_retry = Instant::now() + RETRY_EVERY;
            }
            let mut batch: Vec<Waiting> =
                self.waiting.extract_if(.., |one| all || freed.contains(&one.request.account_id)).collect();
            let until = Instant::now() + self.options.wait_for_credit;
            batch.extend(requests.drain(..).map(|request| Waiting { request, until }));
            batch.retain(|one| !one.is_abandoned());
            freed.clear();
            if !batch.is_empty() {
                self.carry_out(batch, &mut freed).await;
            }
        }
    }

    /// Carries a batch out and answers it; holds that may wait for credit go back to waiting.
    async fn carry_out(&mut self, batch: Vec<Waiting>, freed: &mut HashSet<AccountId>) {
        let (requests, untils): (Vec<Request>, Vec<Instant>) =
            batch.into_iter().map(|one| (one.request, one.until)).unzip();
        match batch::carry_out(&self.db, &self.clock, &requests).await {
            Ok(answers) => {
                for ((request, until), answer) in requests.into_iter().zip(untils).zip(answers) {
                    self.answer(Waiting { request, until }, answer.map_err(Error::from), freed);
                }
            }
            Err(error) => {
                tracing::warn!(%error, commands = requests.len(), "a ledger batch failed and is tried again one by one");
                for (request, until) in requests.into_iter().zip(untils) {
                    let answer = self.carry_out_alone(&request).await;
                    self.answer(Waiting { request, until }, answer, freed);
                }
            }
        }
    }

    async fn carry_out_alone(&self, request: &Request) -> Result<Outcome> {
        match batch::carry_out(&self.db, &self.clock, std::slice::from_ref(request)).await?.pop() {
            Some(answer) => answer.map_err(Error::from),
            None => Err(Error::Internal("a ledger command was left out".to_owned())),
        }
    }

    fn answer(&mut self, one: Waiting, answer: Result<Outcome>, freed: &mut HashSet<AccountId>) {
        let reserved = matches!(&answer, Err(Error::Denied(Denial::ReservedByRunningWork { .. })));
        if reserved && Instant::now() < one.until && self.waiting.len() < MOST_WAITING {
            self.waiting.push(one);
            return;
        }
        if answer.is_ok() && one.request.work.frees_credit() {
            freed.insert(one.request.account_id.clone());
        }
        // A caller that went away is no failure: its hold expires.
        let _ = one.request.answer.send(answer);
    }
}
