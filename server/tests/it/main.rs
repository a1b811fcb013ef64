//! The integration tests: one file for each journey, each test on SQLite and on Postgres.

mod support;

mod ledger;
