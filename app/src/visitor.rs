//! Owns: who is looking at a page and what its frame needs to know of them, read once for each request.

use crate::shell;
use crate::theme::Theme;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use domain::denial::Denial;
use domain::money::Usd;
use domain::subscription::Standing;
use leptos::prelude::use_context;
use server::Server;
use server::account::User;
use server::error::{Error, Result};
use server::member::{Membership, list_accounts};
use tower_sessions::Session;

/// The one who asked for this page.
#[derive(Clone)]
pub struct Visitor {
    pub server: Server,
    /// This browser's session.
    pub session: Session,
    /// Whoever is signed in.
    pub user: Option<User>,
    /// What the signed-in account can spend now.
    pub spendable: Option<Usd>,
    /// How the account's plan stands, if it pays for one.
    pub standing: Option<Standing>,
    /// What they were told in this account and have not read, for the console.
    pub unread: u64,
    /// The accounts they belong to, for the console.
    pub accounts: Vec<Membership>,
    pub theme: Theme,
    /// Path and query of this page, for forms that return to it.
    pub address: String,
}

impl Visitor {
    /// In the demo, where the mail that was sent can be read: the sandbox that also stands in for Stripe.
    pub fn mailbox(&self) -> Option<String> {
        let config = &self.server.config;
        config.demo.then(|| format!("{}/mailbox", origin(&config.stripe.api_url)))
    }

    /// In the demo, a page that takes messages to webhooks and shows them.
    pub fn receiver(&self) -> Option<String> {
        let config = &self.server.config;
        config.demo.then(|| format!("{}/receiver", origin(&config.stripe.api_url)))
    }

    /// The path of this page, without its query.
    pub fn path(&self) -> &str {
        self.address.split_once('?').map_or(self.address.as_str(), |(path, _)| path)
    }
}

/// Scheme, host and port of an address.
pub fn origin(address: &str) -> &str {
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = address.split_at(after_scheme);
    let host = rest.split('/').next().unwrap_or_default();
    address.get(..scheme.len() + host.len()).unwrap_or(address)
}

/// The visitor of the page that is being rendered.
pub fn current() -> Result<Visitor> {
    use_context::<Visitor>().ok_or_else(|| Error::Internal("a page was rendered without its visitor".to_owned()))
}

/// The server and the one who is signed in; a denial when nobody is.
pub fn signed_in() -> Result<(Server, User)> {
    let visitor = current()?;
    let user = visitor.user.ok_or(Denial::NotSignedIn)?;
    Ok((visitor.server, user))
}

/// Reads the visitor of each request and leaves them in its extensions.
pub async fn load(
    State(server): State<Server>,
    session: Session,
    mut request: Request,
    next: Next,
) -> std::result::Result<Response, crate::error::Failure> {
    let user = server::session::load_signed_in(&server, &session).await?;
    let spendable = match &user {
        Some(user) => Some(server::ledger::load_balance(&server, &user.account_id).await?.spendable()),
        None => None,
    };
    let standing = match &user {
        Some(user) => server::subscription::load_standing(&server, &user.account_id).await?,
        None => None,
    };
    let accounts = match &user {
        Some(user) if shell::is_console(request.uri().path()) => list_accounts(&server, &user.user_id).await?,
        Some(_) | None => Vec::new(),
    };
    let unread = match &user {
        Some(user) if shell::is_console(request.uri().path()) => server::notice::count_unread(&server, user).await?,
        Some(_) | None => 0,
    };
    let theme = Theme::from_headers(request.headers());
    let address = request.uri().path_and_query().map_or("/", |address| address.as_str()).to_owned();
    let visitor = Visitor { server, session, user, spendable, standing, unread, accounts, theme, address };
    request.extensions_mut().insert(visitor);
    Ok(next.run(request).await)
}
