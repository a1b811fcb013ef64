//! Owns: a run's use of the account's own key: opening it for that run alone, and what the run taught about it.
//! Does not own: whose key is used (`domain::key`), keeping it (`provider_key`).
//! Invariant: what a run learns is said of the secret it was made with, not of one that replaced it meanwhile.

use crate::Server;
use crate::error::Error;
use crate::provider::{Provider, Refusal};
use crate::provider_key::{self, Opened};
use domain::denial::Denial;
use domain::id::{AccountId, ProviderKeyId};
use domain::key::KeyState;
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
        Ok(Opened { key, key_version, .. }) => {
            let provider = server.providers.with_key(provider.kind(), key.into_secret()).map_err(Refusal::Denied)?;
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

/// Notes on the user's own key that it was used, and what the provider said about it.
pub(super) async fn learn(server: &Server, used: Option<&Used>, refusal: Option<&Refusal>) {
    let Some(Used { id, key_version }) = used else { return };
    let learnt: Option<(KeyState, &str)> = match refusal {
        Some(Refusal::OwnKey { state, .. }) => Some((*state, "A run was refused by the provider.")),
        Some(Refusal::Denied(_) | Refusal::Rejected(_)) | None => None,
    };
    if let Err(error) = provider_key::mark(server, (id, *key_version), learnt).await {
        tracing::error!(provider_key_id = %id, %error, "note the use of a user's key");
    }
}
