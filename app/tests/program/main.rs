//! The binary from outside: its commands, its public pages, and what only several real processes can show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)] // A test may fail loudly.
#![allow(clippy::disallowed_methods)] // Callers of a test run beside the server, not inside it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A test that measures says what it measured.

mod cli;
mod pricing;
mod processes;
