//! Owns: background work, so that a shutdown tells it to stop and waits for it.
//! Does not own: what the work is; lasting work is a `job`.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The background work of one server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// Runs `work` in the background; a shutdown waits for it.
    pub fn spawn<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(work);
    }

    /// Ends when the server is told to stop: loops end, runs that stream go on to their end.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Tells the work to stop, without waiting.
    pub fn announce_stop(&self) {
        self.stopping.cancel();
    }

    /// Ends when nothing is under way. For tests that want to see what a run leaves: drive, don't sleep.
    pub async fn idle(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        if !self.is_stopping() {
            self.tracker.reopen();
        }
    }

    /// Tells the work to stop, and waits until it has.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
