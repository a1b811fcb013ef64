//! Everything behind Tokenbank's pages: database, ledger, Stripe, providers, jobs, the API and the webhooks.
//! Never here: leptos. Two hops: page or route, then a function of this crate, then SQL.

pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod task;
