//! Owns: the one place that builds HTTP clients: rustls with ring, no redirects, no Nagle, a name of our own.
//! Does not own: who is called, or how often (`provider`, `stripe`).
//! Invariant: a secret never follows a redirect to another host, because no redirect is followed.

use crate::error::{Error, Result};
use std::time::Duration;

/// What we call ourselves at providers; some refuse clients without a name.
pub const USER_AGENT: &str = concat!("tokenbank/", env!("CARGO_PKG_VERSION"));

/// A client that connects to one address under a name, for an address that a user gave and the guard has checked.
pub fn build_pinned(host: &str, address: std::net::SocketAddr) -> Result<reqwest::Client> {
    builder().resolve(host, address).no_proxy().build().map_err(|error| Error::internal("build the HTTP client", error))
}

/// A client for the outside world. Cheap to clone; its connections are pooled.
pub fn build() -> Result<reqwest::Client> {
    builder().build().map_err(|error| Error::internal("build the HTTP client", error))
}

#[allow(clippy::disallowed_methods)] // This is its home.
fn builder() -> reqwest::ClientBuilder {
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(512)
}
