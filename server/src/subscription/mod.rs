//! Owns: an account's plan: its subscription as Stripe has it, changes to it, invoices, dunning.
//! Does not own: Stripe's wire (`stripe`), what a plan includes (the catalogue), counting the allowance (`allowance`).
//! Invariant: the plan follows what was read from Stripe's API, never the browser and never an event's own words.

mod load;

pub use load::{load_current, sync_seats};
