//! Tokenbank's pages, rendered on the server; what reacts in the browser is an island in [`ui`].
//!
//! Only [`ui`] compiles for WebAssembly. Pages exist on the server alone and call `server` themselves, so a type of
//! `server` goes from the SQL row to the pixel. An island gets plain serialisable props from its page.

// A page is one deeply nested type.
#![recursion_limit = "512"]

#[cfg(feature = "ssr")]
mod asset;
#[cfg(feature = "ssr")]
pub mod error;
#[cfg(feature = "ssr")]
pub mod page;
#[cfg(feature = "ssr")]
pub mod post;
#[cfg(feature = "ssr")]
mod shell;
#[cfg(feature = "ssr")]
mod site;
#[cfg(feature = "ssr")]
mod theme;
pub mod ui;
#[cfg(feature = "ssr")]
pub mod visitor;

#[cfg(feature = "ssr")]
pub use site::router;
