//! The integration tests: one file for each journey, each test on SQLite and on Postgres.

mod shop;
mod support;

mod ledger;
mod payment_faults;
mod purchase;
mod webhook;
