//! Owns: the sandbox's background work, which ends with it.

use std::future::Future;
use std::sync::Mutex;
use tokio::task::AbortHandle;

/// Work that runs until it ends or the sandbox does.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<Vec<AbortHandle>>);

impl Tasks {
    #[allow(clippy::disallowed_methods)] // The sandbox is not linked into a server; this is its one place.
    pub fn spawn<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = tokio::spawn(work).abort_handle();
        let mut running = lock(&self.0);
        running.retain(|task| !task.is_finished());
        running.push(handle);
    }

    pub fn stop(&self) {
        for task in lock(&self.0).drain(..) {
            task.abort();
        }
    }
}

/// Locks, also after a panic elsewhere: the sandbox's state has no half-done step that matters.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
