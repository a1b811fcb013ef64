//! Owns: the runs of pages that are going on here, so that a page can join late, replay and follow.
//! Does not own: runs that ended (their row) or that go on elsewhere (their open hold).
//! Invariant: bounded: so many runs, and of each no more text than its cap allows.

use super::finish::Closed;
use super::{Run, RunState};
use crate::error::{Error, Result};
use domain::denial::Denial;
use domain::funding::FundingSource;
use domain::id::ExecutionId;
use domain::money::Usd;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Runs that can go on at once on one server.
const MOST_RUNS: usize = 10_000;
/// The longest output kept for a page and in the row, in bytes.
const LONGEST_TEXT: usize = 1 << 20;

/// The runs of pages that are going on here. Cheap to clone.
#[derive(Clone, Default)]
pub struct Runs(Arc<Mutex<HashMap<ExecutionId, Arc<Live>>>>);

/// One run that goes on: what it has said so far.
pub struct Live {
    /// As it was when it began; what changes is in `now`.
    begun: Run,
    now: Mutex<Now>,
    changed: watch::Sender<()>,
    admission: watch::Sender<Admission>,
}

/// Whether the ledger has set the credit aside.
#[derive(Clone)]
enum Admission {
    Waiting,
    Admitted,
    Denied(Denial),
    Broken(String),
}

#[derive(Default)]
struct Now {
    text: String,
    output_tokens: u64,
    cost: Usd,
    /// Who pays, once that is decided.
    source: Option<FundingSource>,
    ended: Option<Arc<Run>>,
}

/// What is new to a reader who has seen so many bytes of the text.
#[derive(Clone, Debug)]
pub struct Seen {
    pub delta: String,
    pub output_tokens: u64,
    /// An estimate while it runs.
    pub cost: Usd,
    /// The run as it ended.
    pub ended: Option<Arc<Run>>,
}

impl Runs {
    /// Adds a run; the one that is there if it goes on already, and `None` if there are too many.
    pub(super) fn insert(&self, run: Run) -> Option<(Arc<Live>, bool)> {
        let mut runs = lock(&self.0);
        if let Some(live) = runs.get(&run.execution_id) {
            return Some((live.clone(), false));
        }
        if runs.len() >= MOST_RUNS {
            return None;
        }
        let live = Arc::new(Live {
            begun: run,
            now: Mutex::default(),
            changed: watch::Sender::new(()),
            admission: watch::Sender::new(Admission::Waiting),
        });
        runs.insert(live.begun.execution_id.clone(), live.clone());
        Some((live, true))
    }

    /// The run, if it goes on here.
    pub fn find(&self, id: &ExecutionId) -> Option<Arc<Live>> {
        lock(&self.0).get(id).cloned()
    }

    pub(super) fn remove(&self, id: &ExecutionId) {
        lock(&self.0).remove(id);
    }
}

impl Live {
    /// The run as it stands.
    pub fn run(&self) -> Run {
        let now = lock(&self.now);
        match &now.ended {
            Some(run) => (**run).clone(),
            None => Run {
                output_text: now.text.clone(),
                cost: now.cost,
                source: now.source.unwrap_or(self.begun.source),
                ..self.begun.clone()
            },
        }
    }

    /// What is new since the first `seen` bytes of the text.
    pub fn since(&self, seen: usize) -> Seen {
        let now = lock(&self.now);
        Seen {
            delta: now.text.get(seen..).unwrap_or_default().to_owned(),
            output_tokens: now.output_tokens,
            cost: now.cost,
            ended: now.ended.clone(),
        }
    }

    /// Tells of each change; the first `changed` waits for the next one.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the credit is held: every click on the same form gets the same answer.
    pub(super) async fn admitted(&self) -> Result<()> {
        let mut admission = self.admission.subscribe();
        let settled = admission.wait_for(|now| !matches!(now, Admission::Waiting)).await;
        match settled.map(|now| now.clone()) {
            Ok(Admission::Admitted | Admission::Waiting) => Ok(()),
            Ok(Admission::Denied(denial)) => Err(Error::Denied(denial)),
            Ok(Admission::Broken(problem)) => Err(Error::Internal(problem)),
            Err(_) => Err(Error::Internal("a run ended before it began".to_owned())),
        }
    }

    pub(super) fn admit(&self, result: Result<()>) {
        self.admission.send_replace(match result {
            Ok(()) => Admission::Admitted,
            Err(Error::Denied(denial)) => Admission::Denied(denial),
            Err(Error::Internal(problem)) => Admission::Broken(problem),
        });
    }

    pub(super) fn paid_by(&self, source: FundingSource) {
        lock(&self.now).source = Some(source);
    }

    pub(super) fn push(&self, text: &str) {
        let mut now = lock(&self.now);
        let room = LONGEST_TEXT.saturating_sub(now.text.len());
        now.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    pub(super) fn meter(&self, output_tokens: u64, cost: Usd) {
        let mut now = lock(&self.now);
        now.output_tokens = output_tokens;
        now.cost = cost;
        drop(now);
        self.changed.send_replace(());
    }

    pub(super) fn text(&self) -> String {
        lock(&self.now).text.clone()
    }

    pub(super) fn end(&self, closed: Closed) {
        let mut now = lock(&self.now);
        let run = Run {
            output_text: now.text.clone(),
            cost: closed.cost,
            source: closed.source,
            state: RunState::Ended {
                state: closed.state,
                charge: closed.charge,
                usage: closed.usage,
                usage_estimated: closed.usage_estimated,
                note: closed.note,
                ended_at: closed.ended_at,
            },
            ..self.begun.clone()
        };
        now.ended = Some(Arc::new(run));
        drop(now);
        self.changed.send_replace(());
    }
}

/// A poisoned lock guards plain values here, which are whole whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
