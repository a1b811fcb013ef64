//! Owns: an account's plan: its subscription as Stripe has it, changes to it, invoices, dunning, the grace without own keys.
//! Does not own: Stripe's wire (`stripe`), what a plan includes (the catalogue), counting the allowance (`allowance`).
//! Invariant: the plan follows what was read from Stripe's API, never the browser and never an event's own words.

mod apply;
mod change;
mod checkout;
mod confirm;
mod drift;
mod dunning;
mod invoice;
mod key_grace;
mod lease;
mod load;
mod manage;
mod price;
mod reconcile;
mod row;
mod seat;

pub use apply::{Applied, apply_checkout, refresh, refresh_customer};
pub use change::{Preview, Proposal, load_preview, propose, propose_trial};
pub use confirm::confirm;
pub use drift::{Odd, list_odd, look_for_drift};
pub use invoice::{StoredInvoice, list_invoices};
pub(crate) use key_grace::follow as follow_keys;
pub use key_grace::{MissingKey, PriceStands, load_missing_key, look_at_keys, move_to_standard_price};
pub(crate) use load::CurrentRow;
pub use load::{Live, PlanView, load_current, load_refusal, load_standing, load_view};
pub use manage::{cancel, open_portal, pay_open_invoice, resume};
pub use price::{SyncLine, SyncMode, SyncOutcome, sync};
pub use reconcile::reconcile;
pub use seat::{count_members, sync_seats};
