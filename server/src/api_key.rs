//! Owns: our own API keys (`tb_…`): making, listing, revoking, and telling who calls.
//! Does not own: the users' keys of providers (`vault`).
//! Invariant: the secret is shown once and stored only as its SHA-256.

use crate::Server;
use crate::error::{Error, Result};
use domain::id::{AccountId, ApiKeyId, PlanId, UserId};
use domain::time::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// An API key as lists show it: never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub api_key_id: ApiKeyId,
    pub account_id: AccountId,
    pub user_id: UserId,
    pub name: String,
    /// `tb_…AbCd`.
    pub hint: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// Who calls the API, known by their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCaller {
    pub api_key_id: ApiKeyId,
    pub account_id: AccountId,
    pub user_id: UserId,
    pub plan: PlanId,
}

/// Makes a key for the user's account. The secret is returned here and never again.
pub async fn create(_server: &Server, _user_id: &UserId, _name: &str) -> Result<(ApiKey, SecretString)> {
    Err(Error::Internal("API key: not there yet".to_owned()))
}

/// The account's keys, newest first, revoked ones included; at most 200.
pub async fn list(_server: &Server, _account_id: &AccountId) -> Result<Vec<ApiKey>> {
    Err(Error::Internal("API key: not there yet".to_owned()))
}

/// Ends a key: at once on this node, within 10 seconds on others. Repeating it changes nothing.
pub async fn revoke(_server: &Server, _account_id: &AccountId, _api_key_id: &ApiKeyId) -> Result<()> {
    Err(Error::Internal("API key: not there yet".to_owned()))
}

/// Who calls with this key (`tb_…`, without `Bearer`), or `NotSignedIn`.
pub async fn authenticate(_server: &Server, _key: &str) -> Result<ApiCaller> {
    Err(Error::Internal("API key: not there yet".to_owned()))
}
