//! Owns: the writer tasks: queue, batches, answers, and the short wait for credit that running work holds.

use super::{Finish, Finished, NewHold, Options, Started};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::Result;
use domain::id::{AccountId, ExecutionId, LotId};
use domain::ledger::HoldState;
use domain::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// One command of one caller.
pub(super) struct Request {
    pub account_id: AccountId,
    pub work: Work,
    pub answer: oneshot::Sender<Result<Outcome>>,
}

#[derive(Clone, Debug)]
pub(super) enum Work {
    Hold(Box<NewHold>),
    Renew { execution_id: ExecutionId, expires_at: Timestamp },
    Finish { execution_id: ExecutionId, started: Box<Started>, finish: Box<Finish> },
    Record { execution_id: ExecutionId, started: Box<Started>, finish: Box<Finish> },
    Expire { execution_id: ExecutionId },
    ExpireLot { lot_id: LotId },
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The state of the hold if it was made before.
    Held(Option<HoldState>),
    Finished(Finished),
    Done,
}

/// Which writer an account belongs to.
pub(super) fn shard(_account_id: &AccountId, _writers: usize) -> usize {
    0
}

pub(super) fn start(_db: Db, _clock: Clock, _options: Options) -> mpsc::Sender<Request> {
    mpsc::channel(1).0
}
