//! Owns: everything the sandbox remembers, in memory, and the way to empty it.

use crate::clock::Clock;
use crate::mailbox::Mailbox;
use crate::provider::Providers;
use crate::receiver::Receiver;
use crate::stripe::Stripe;
use crate::task::Tasks;
use std::net::SocketAddr;
use std::sync::Arc;

/// The outside world. Cheap to clone.
pub type World = Arc<Parts>;

/// What a [`World`] is made of.
#[derive(Debug)]
pub struct Parts {
    pub clock: Clock,
    pub tasks: Tasks,
    /// Where browsers find the hosted pages, without a slash at its end.
    pub public_url: String,
    pub smtp_addr: SocketAddr,
    pub stripe: Stripe,
    pub providers: Providers,
    pub mailbox: Mailbox,
    pub receiver: Receiver,
}

impl Parts {
    /// Forgets everything that happened and every fault that was asked for. The time, the ids, the pace and the
    /// address of the webhook endpoint go on.
    pub fn reset(&self) {
        self.stripe.reset();
        self.providers.reset();
        self.mailbox.reset();
        self.receiver.reset();
    }
}
