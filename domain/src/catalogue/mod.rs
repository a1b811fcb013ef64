//! Owns: what is offered, as data: plans, packs, models, skills, limits; and finding one by its id.
//! Does not own: reading and checking the file (`file`), what models cost (`rate`).
//! Invariant: a `Catalogue` was checked; whoever has one need not check it again.

mod check;
mod file;

pub use file::CatalogueError;

use crate::denial::Denial;
use crate::id::{ModelId, PackId, PlanId, SkillId, UpstreamModel};
use crate::money::{BasisPoints, Usd};
use crate::pack::{Pack, StripeFee};
use crate::plan::Plan;
use crate::provider::Provider;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// How demanding the work is that a model is meant for.
    ModelClass { Fast = "fast", Standard = "standard", Heavy = "heavy" }
}

/// Everything that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    pub version: String,
    /// The plan of a new account.
    pub signup_plan: PlanId,
    /// What a pack costs above the credit that is bought.
    pub markup: BasisPoints,
    pub stripe_fee: StripeFee,
    pub plans: Vec<Plan>,
    pub packs: Vec<Pack>,
    pub models: Vec<Model>,
    pub skills: Vec<Skill>,
    pub limits: Limits,
    pub shipped_rates: ShippedRates,
}

/// A model that can be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub id: ModelId,
    pub name: String,
    pub provider: Provider,
    /// The name that the provider is called with.
    pub upstream_name: UpstreamModel,
    pub class: ModelClass,
    pub max_output_tokens: u64,
    /// Input and output together.
    pub context_tokens: u64,
}

/// An operation that users run by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    pub id: SkillId,
    pub name: String,
    pub description: String,
    /// What the model is told; empty in the browser (see [`Catalogue::for_browser`]).
    pub prompt: String,
    /// The prompt's length, which the price needs.
    pub prompt_bytes: u64,
    /// What the user is asked for.
    pub input_label: String,
    /// An example that the user may start from.
    pub input_example: String,
    pub class: ModelClass,
    /// The model it runs on unless another is chosen.
    pub model: ModelId,
    /// What a run takes, as far as is known before any was seen.
    pub prior_input_tokens: u64,
    pub prior_output_tokens: u64,
    /// A run stops here.
    pub max_output_tokens: u64,
}

/// Limits and assumptions that count for every plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Input and output of one execution together, on our keys.
    pub execution_tokens: u64,
    /// The output expected of a request without a skill.
    pub prior_output_tokens: u64,
    /// Where P50 and P90 of the output lie, in percent of the prior, until there is a history.
    pub prior_p50_percent: u64,
    pub prior_p90_percent: u64,
    /// Below this balance the user is warned.
    pub low_balance: Usd,
    /// Shares of a cap, in percent, at which the user is told.
    pub alert_percents: Vec<u64>,
}

/// Where the rates come from that are shipped with this catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedRates {
    pub source: String,
    /// From when on they count.
    pub effective_at: Timestamp,
    /// When they were last compared with their source.
    pub checked_at: Timestamp,
}

impl Catalogue {
    /// Reads a catalogue file (TOML) and checks it; the error says the line and the reason.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        file::parse(text)
    }

    pub fn plan(&self, id: &PlanId) -> Option<&Plan> {
        self.plans.iter().find(|plan| &plan.id == id)
    }

    pub fn pack(&self, id: &PackId) -> Result<&Pack, Denial> {
        self.packs
            .iter()
            .find(|pack| &pack.id == id)
            .ok_or_else(|| Denial::UnknownPack { pack: id.as_str().to_owned() })
    }

    pub fn model(&self, id: &ModelId) -> Result<&Model, Denial> {
        self.models
            .iter()
            .find(|model| &model.id == id)
            .ok_or_else(|| Denial::UnknownModel { model: id.as_str().to_owned() })
    }

    /// The model that an API client names, by our id or by the provider's own name.
    pub fn model_named(&self, name: &str) -> Result<&Model, Denial> {
        self.models
            .iter()
            .find(|model| model.id.as_str() == name || model.upstream_name.as_str() == name)
            .ok_or_else(|| Denial::UnknownModel { model: name.to_owned() })
    }

    pub fn skill(&self, id: &SkillId) -> Result<&Skill, Denial> {
        self.skills
            .iter()
            .find(|skill| &skill.id == id)
            .ok_or_else(|| Denial::UnknownSkill { skill: id.as_str().to_owned() })
    }

    /// The same catalogue without the prompts, which are nobody's business in the browser. It prices alike.
    #[must_use]
    pub fn for_browser(&self) -> Catalogue {
        let mut catalogue = self.clone();
        for skill in &mut catalogue.skills {
            skill.prompt.clear();
        }
        catalogue
    }
}
