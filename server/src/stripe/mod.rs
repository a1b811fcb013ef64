//! Owns: everything that knows Stripe: its API, its objects, its signed events.
//! Does not own: what a payment means for an account (`purchase`), or the route (`http::webhook`).
//! Invariant: async-stripe's types do not leave this folder, and an event is only a hint: what is believed is the
//! object that was read from Stripe's API afterwards.

pub mod apply;
pub mod billing;
pub mod card;
pub mod client;
pub mod event;
pub mod inbox;
pub mod money_back;
pub mod object;
pub mod plan;

pub use client::{Client, Failure};
