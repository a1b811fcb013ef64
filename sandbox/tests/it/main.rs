//! The sandbox from outside: with async-stripe, with raw sockets, with a plain HTTP client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests are not marked as tests.

mod mail;
mod page;
mod provider;
mod stripe_api;
mod support;
mod webhook;
