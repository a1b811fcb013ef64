//! Owns: a run's use of the account's own key: opening it for that run alone, and what the run taught about it.
//! Does not own: whose key is used (`domain::key`), keeping it (`provider_key`).
//! Invariant: what a run learns is said of the secret it was made with, not of one that replaced it meanwhile.

use super::mask::Mask;
use crate::Server;
use crate::error::Error;
use crate::provider::{Provider, Providers, Refusal};
use crate::provider_key::{self, Opened, Signal};
use domain::denial::Denial;
use domain::id::{AccountId, ProviderKeyId};
use domain::key::KeyState;
use domain::key_health::Heard;
use domain::money::Usd;
use std::sync::Arc;

/// A key that a run is made with.
pub(super) struct Used {
    id: ProviderKeyId,
    key_version: i64,
}

/// The same provider with the user's own key, opened for this request alone.
pub(super) async fn open(
    server: &Server,
    account_id: &AccountId,
    provider: &dyn Provider,
    id: ProviderKeyId,
) -> Result<(Arc<dyn Provider>, Used), Refusal> {
    match provider_key::open(server, account_id, provider.kind(), &id).await {
        Ok(Opened { key, key_version, base_url }) => {
            let (kind, key) = (provider.kind(), key.into_secret());
            let provider = match base_url {
                None => server.providers.with_key(kind, key),
                // Looked up again: a name may lead elsewhere today, and what is checked is what is connected to.
                Some(url) => match provider_key::client_for(server, &url).await {
                    Ok((client, _)) => Providers::at_own_url(kind, key, client, &url),
                    Err(error) => return Err(Refusal::Denied(unreachable(provider, error))),
                },
            };
            Ok((provider, Used { id, key_version }))
        }
        Err(Error::Denied(denial)) => Err(Refusal::Denied(denial)),
        Err(error @ Error::Internal(_)) => {
            tracing::error!(provider_key_id = %id, %error, "open a user's key");
            let problem = "could not be opened here; the operator must look".to_owned();
            Err(Refusal::Denied(Denial::OwnKeyRefused { provider: provider.name().to_owned(), problem }))
        }
    }
}

/// The user's own address cannot be asked now.
fn unreachable(provider: &dyn Provider, error: Error) -> Denial {
    let problem = match error {
        Error::Denied(Denial::Invalid { problem, .. }) => format!("has an address that is not asked ({problem})"),
        Error::Denied(_) | Error::Internal(_) => "has an address that cannot be asked".to_owned(),
    };
    Denial::OwnKeyRefused { provider: provider.name().to_owned(), problem }
}

/// What the answers of an account with keys may not say. If that is not known, nothing is said.
pub(super) async fn load_mask(server: &Server, account_id: &AccountId) -> Result<Option<Mask>, Refusal> {
    match provider_key::open_all(server, account_id).await {
        Ok(secrets) => Ok(Mask::new(secrets)),
        Err(error) => {
            tracing::error!(%account_id, %error, "open an account's keys to keep them out of its answers");
            let problem = "was not read, because this account's keys could not be kept out of it".to_owned();
            Err(Refusal::Denied(Denial::Upstream { who: "The answer".to_owned(), problem }))
        }
    }
}

/// Notes on the user's own key that it was used, at what cost, and what the provider said about it.
pub(super) async fn learn(server: &Server, used: Option<&Used>, outcome: Result<Usd, &Refusal>) {
    let Some(Used { id, key_version }) = used else { return };
    let problem = || Some("A run was refused by the provider.".to_owned());
    let (state, problem, cost) = match outcome {
        Ok(cost) => (KeyState::Valid, None, cost),
        Err(Refusal::OwnKey { state, .. }) => (*state, problem(), Usd::ZERO),
        Err(Refusal::Denied(Denial::ProviderBusy { .. })) => (KeyState::RateLimited, None, Usd::ZERO),
        Err(Refusal::Denied(Denial::Upstream { .. })) => (KeyState::Unreachable, None, Usd::ZERO),
        // The request was wrong, which says nothing about the key but that it was let in.
        Err(Refusal::Rejected(_)) => (KeyState::Valid, None, Usd::ZERO),
        Err(Refusal::Denied(_)) => return,
    };
    let signal = Signal { from: Heard::Run, state, problem, cost: Some(cost) };
    if let Err(error) = provider_key::note(server, (id, *key_version), signal).await {
        tracing::error!(provider_key_id = %id, %error, "note the use of a user's key");
    }
}
