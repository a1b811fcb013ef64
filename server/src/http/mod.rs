//! Everything that is not a page: guards, the API, webhooks.

pub mod client_ip;
