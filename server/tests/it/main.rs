//! The integration tests: one file for each journey, each test on SQLite and on Postgres.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)] // A test may fail loudly.
#![allow(clippy::disallowed_methods)] // Callers of a test run beside the server, not inside it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A test that measures says what it measured.

mod mailbox;
mod served;
mod shop;
mod site;
mod support;
mod template;

mod advice;
mod agent_rules;
mod agents;
mod alert;
mod api_keys;
mod catalogue;
mod code;
mod deletion;
mod disputes;
mod execution;
mod funding;
mod gateway;
mod guard;
mod idempotency;
mod identity;
mod key_connect;
mod key_grace;
mod key_health;
mod key_policy;
mod key_secrecy;
mod ledger;
mod members;
mod money_history;
mod notice;
mod openapi;
mod payment_faults;
mod plan;
mod plan_table;
mod plan_year;
mod provider_keys;
mod provider_runs;
mod purchase;
mod rates;
mod refund;
mod second_factor;
mod sessions;
mod settings;
mod statement;
mod streaming;
mod stripe_events;
mod top_up;
mod top_up_refused;
mod trial;
mod vault_rotate;
mod webhook;
mod webhook_out;
