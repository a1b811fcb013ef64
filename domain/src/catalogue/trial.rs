//! Owns: the trials that a catalogue offers (spec §3): how long, how much, on which models.
//! Does not own: who may begin one, and what is left of it (`crate::trial`, `server::trial`).

use crate::id::{ModelId, PlanId};
use crate::money::Usd;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// The three trials of spec §3. A catalogue offers each at most once.
    TrialKind {
        /// With the user's own key: we pay nothing, so there is no grant.
        OwnKey = "own_key",
        /// On our keys, without a card.
        Managed = "managed",
        /// On our keys, with a card: it becomes the chosen plan at its end.
        ManagedWithCard = "managed_with_card",
    }
}

/// A trial of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub kind: TrialKind,
    pub days: u32,
    /// The grant; nothing for an own key.
    pub amount: Usd,
    pub models: TrialModels,
    /// The plans it may be taken with. Its limits count meanwhile; with a card, it becomes that plan at the end. Empty:
    /// the account keeps the plan it has.
    pub plans: Vec<PlanId>,
}

/// Which models a trial runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialModels {
    All,
    Only(Vec<ModelId>),
}

impl TrialKind {
    /// Whether we pay for it: the catalogue's switch `managed_trials` turns these off.
    pub const fn is_managed(self) -> bool {
        match self {
            TrialKind::OwnKey => false,
            TrialKind::Managed | TrialKind::ManagedWithCard => true,
        }
    }
}

impl Trial {
    /// Whether a card is asked for before it begins.
    pub const fn needs_card(&self) -> bool {
        match self.kind {
            TrialKind::OwnKey | TrialKind::Managed => false,
            TrialKind::ManagedWithCard => true,
        }
    }

    /// Whether it becomes a paid plan at its end unless it was cancelled.
    pub const fn converts(&self) -> bool {
        self.needs_card()
    }

    pub fn allows(&self, model: &ModelId) -> bool {
        match &self.models {
            TrialModels::All => true,
            TrialModels::Only(models) => models.contains(model),
        }
    }
}
