//! The integration tests: one file for each journey, each test on SQLite and on Postgres.

mod mailbox;
mod served;
mod shop;
mod site;
mod support;

mod api_keys;
mod execution;
mod gateway;
mod guard;
mod identity;
mod ledger;
mod payment_faults;
mod purchase;
mod rates;
mod sessions;
mod streaming;
mod webhook;
