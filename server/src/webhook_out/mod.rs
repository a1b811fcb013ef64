//! Owns: outgoing webhooks after Standard Webhooks (standardwebhooks.com): where an account's notices are sent, their secrets,
//! the outbox, and how each message fared.
//! Does not own: what a notice is (`notice`), which addresses may be reached (`provider_key::guard`).
//! Invariant: at least once, under one id however often; secrets are sealed by the vault; nothing is sent to an address that
//! the guard refuses, also when its name has changed its mind since.

mod manage;
mod outbox;
mod secret;
mod send;
mod sign;

pub use manage::{Added, Change, State, Webhook, add, change, delete, list, rotate, set_enabled};
pub use outbox::{
    Attempt, Delivery, DeliveryState, TEST_EVENT, enqueue, event_of, forget_old, list_deliveries, replay, send_test,
};
pub use secret::rewrap_all;
pub use send::{run_due, work};
pub use sign::signature;
