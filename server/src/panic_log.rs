//! Owns: what a panic leaves behind: one error in the log, with the place, and the backtrace where `RUST_BACKTRACE` asks for it.
//! Does not own: what becomes of the work that panicked (`job`, `task`).
//! Invariant: the message of a panic is never written as it is. Cutting a text in the middle of a letter, for one, quotes the
//! text, and the text may be a key.

use domain::hide::hide_secrets;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;

/// From now on panics are logged by this, in place of what Rust does by itself.
pub fn install() {
    std::panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let message = hide_secrets(panic.payload_as_str().unwrap_or("a panic without words"));
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    if tracing::dispatcher::has_been_set() {
        tracing::error!(message, place, backtrace, "a panic");
    } else {
        // A command that keeps no log.
        let _ = writeln!(std::io::stderr(), "a panic at {place}: {message}");
    }
}
