//! Owns: acting on a stored event, once or as often as it comes.
//! Does not own: what a payment does to an account (`purchase`).
//! Invariant: an event only says where to look; what is acted on is the object as Stripe's API has it now, so order,
//! repetition and delay of events change nothing.

use crate::Server;
use crate::error::{Error, Result};

/// Acts on the stored event. Applying it again does nothing more. An error means that it is still to be done.
pub async fn apply_stored(_server: &Server, _stripe_event_id: &str) -> Result<()> {
    Err(Error::Internal("events: not there yet".to_owned()))
}
