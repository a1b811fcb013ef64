//! Owns: the names of things, one type for each, so that two ids are never mixed up.
//! Does not own: making new ones (`server::clock`). Stored as text; new ids are UUIDv7, so they sort by age.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

id!(
    /// Who pays.
    AccountId,
    /// Who signs in.
    UserId,
    /// Somebody asked to join an account.
    InvitationId,
    /// A new e-mail that waits to be confirmed.
    EmailChangeId,
    /// A program of an account that calls models under a name.
    AgentId,
    /// One of our API keys (`tb_…`), not its secret.
    ApiKeyId,
    /// One of a user's own keys of a provider, not its secret.
    ProviderKeyId,
    /// One way to a provider's sign-in and back, for a key that is not pasted.
    KeyConnectionId,
    /// One run; also the id of its hold.
    ExecutionId,
    /// One balanced group of ledger entries.
    PostingId,
    /// One grant of credit and what is left of it.
    LotId,
    /// One purchase of a pack; also its idempotency key at Stripe.
    PurchaseId,
    /// A code that gives credit, not its text.
    CodeId,
    /// One use of a code; what it gave carries it.
    CodeUseId,
    /// One visit to Stripe's page to leave a card; also its idempotency key at Stripe.
    CardSetupId,
    /// One change of a plan that somebody asked for; also its idempotency key at Stripe.
    PlanChangeId,
    /// Something that an account was told.
    NoticeId,
    /// A budget for a month.
    BudgetId,
    /// An address that an account's notices are sent to.
    WebhookId,
    /// One message to one webhook, with all its attempts.
    DeliveryId,
    /// One refund that an owner asked for; also its idempotency key at Stripe, and the id of its claim.
    RefundId,
    /// One press of the button that asks for refunds; made when its form is rendered.
    RefundRequestId,
    /// What took credit back: a refund or a dispute.
    ClaimId,
    /// One background job.
    JobId,
    /// A plan of the catalogue, such as `free`.
    PlanId,
    /// A pack of the catalogue, such as `pack-10`.
    PackId,
    /// A skill of the catalogue, such as `prd`.
    SkillId,
    /// A usage profile of the catalogue, such as `light`.
    ProfileId,
    /// A model of the catalogue, such as `claude-sonnet-4-5`.
    ModelId,
    /// A model as its provider names it, such as `claude-sonnet-4-5-20250929`.
    UpstreamModel,
);
