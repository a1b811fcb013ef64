//! Owns: what is offered, as data: plans, packs, models, skills, limits; and finding one by its id.
//! Does not own: reading and checking the file (`file`), what models cost (`rate`).
//! Invariant: a `Catalogue` was checked; whoever has one need not check it again.

#[cfg(feature = "toml")]
mod check;
#[cfg(feature = "toml")]
mod file;
#[cfg(feature = "toml")]
mod source;
mod trial;

#[cfg(feature = "toml")]
pub use file::CatalogueError;
#[cfg(feature = "toml")]
pub use source::{Source, SourceError};
pub use trial::{Trial, TrialKind, TrialModels};

use crate::denial::Denial;
use crate::id::{ModelId, PackId, PlanId, ProfileId, SkillId, UpstreamModel};
use crate::money::{BasisPoints, Usd};
use crate::pack::{Pack, StripeFee};
use crate::plan::Plan;
use crate::provider::Provider;
use crate::refund::FeePolicy;
use crate::time::Timestamp;
use crate::top_up::TopUpLimits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

crate::text_enum! {
    /// How demanding the work is that a model is meant for.
    ModelClass { Fast = "fast", Standard = "standard", Heavy = "heavy" }
}

/// Everything that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    pub version: String,
    /// From when on it counts for new customers; earlier ones stay on the version they bought.
    pub effective_at: Timestamp,
    /// The plan of a new account.
    pub signup_plan: PlanId,
    /// What a pack costs above the credit that is bought.
    pub markup: BasisPoints,
    pub stripe_fee: StripeFee,
    /// What a refund does about that fee.
    #[serde(default)]
    pub refund_fee: FeePolicy,
    pub plans: Vec<Plan>,
    pub packs: Vec<Pack>,
    /// Every trial that is written down; [`Catalogue::trial`] says which are offered.
    pub trials: Vec<Trial>,
    /// Whether the trials that we pay for are offered.
    pub managed_trials: bool,
    pub grace: Grace,
    /// Defaults and guards of the automatic top-up.
    #[serde(default)]
    pub top_up: TopUpLimits,
    pub models: Vec<Model>,
    pub skills: Vec<Skill>,
    pub profiles: Vec<Profile>,
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
    /// The most input tokens that one image can take; `None` where nobody says, and it may fill the context.
    pub image_tokens: Option<u64>,
}

/// An operation that users run by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    pub id: SkillId,
    pub name: String,
    pub description: String,
    /// What the model is told; empty in the browser (see [`crate::quote::Tariff`]).
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

/// How much somebody runs, as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub id: ProfileId,
    pub name: String,
    pub description: String,
    /// Runs of each skill that one person makes in a month.
    pub runs: BTreeMap<SkillId, u64>,
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
    /// From this spend on credits in 30 days on, an own key is suggested.
    pub own_key_advice: Usd,
    /// Shares of a cap, in percent, at which the user is told.
    pub alert_percents: Vec<u64>,
}

/// How long something goes on before it has a consequence, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// The own-key price stays this long after the last usable key was lost.
    pub own_key_days: u32,
    /// A plan stays this long after a renewal could not be paid.
    pub past_due_days: u32,
    /// A trial's end is announced this long before it.
    pub trial_reminder_days: u32,
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
    #[cfg(feature = "toml")]
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        file::parse(text)
    }

    pub fn plan(&self, id: &PlanId) -> Option<&Plan> {
        self.plans.iter().find(|plan| &plan.id == id)
    }

    /// The trial of a kind, if it is offered.
    pub fn trial(&self, kind: TrialKind) -> Option<&Trial> {
        let is_offered = self.managed_trials || !kind.is_managed();
        self.trials.iter().find(|trial| is_offered && trial.kind == kind)
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

    /// What a run is called for people, such as `User story on Claude 3.5 Haiku`; what left the catalogue goes by its id.
    pub fn run_title(&self, skill: Option<&SkillId>, model: &ModelId) -> String {
        let task = skill.map_or("API request", |id| self.skill(id).map_or(id.as_str(), |skill| &skill.name));
        let model = self.model(model).map_or(model.as_str(), |model| &model.name);
        format!("{task} on {model}")
    }

    /// The model that an API client names: by `provider/` and our id or the provider's own name, or by either alone. The
    /// provider tells apart what several call alike; where it has no such model, the slash is part of a name.
    pub fn model_named(&self, name: &str) -> Result<&Model, Denial> {
        let is = |model: &Model, name: &str| model.id.as_str() == name || model.upstream_name.as_str() == name;
        let at_provider = name.split_once('/').and_then(|(provider, rest)| {
            let provider: Provider = provider.parse().ok()?;
            self.models.iter().find(|model| model.provider == provider && is(model, rest))
        });
        at_provider
            .or_else(|| self.models.iter().find(|model| is(model, name)))
            .ok_or_else(|| Denial::UnknownModel { model: name.to_owned() })
    }

    pub fn skill(&self, id: &SkillId) -> Result<&Skill, Denial> {
        self.skills
            .iter()
            .find(|skill| &skill.id == id)
            .ok_or_else(|| Denial::UnknownSkill { skill: id.as_str().to_owned() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::{Allowance, PayPerUse};
    use crate::rate::{ModelRate, RateBook, litellm};

    pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    pub const TIERS: &str = concat!(
        include_str!("../../../catalogue/tiers.toml"),
        include_str!("../../../catalogue/models.toml"),
        include_str!("../../../catalogue/skills.toml"),
    );
    const LEGIONIS: &str = concat!(
        include_str!("../../../catalogue/legionis.toml"),
        include_str!("../../../catalogue/models.toml"),
        include_str!("../../../catalogue/skills.toml"),
    );

    pub fn tiers() -> Catalogue {
        Catalogue::parse(TIERS).unwrap()
    }

    pub fn legionis() -> Catalogue {
        Catalogue::parse(LEGIONIS).unwrap()
    }

    /// The shipped rates of the catalogue's models.
    pub fn book() -> RateBook {
        let catalogue = tiers();
        let file = litellm::parse(include_str!("../../../catalogue/rates.json")).unwrap();
        let rate = |listed: litellm::ListedModel| ModelRate {
            version: "shipped".to_owned(),
            provider: listed.provider,
            model: listed.model,
            effective_at: catalogue.shipped_rates.effective_at,
            prices: listed.prices,
            source: catalogue.shipped_rates.source.clone(),
        };
        RateBook::new(file.models.into_iter().map(rate).collect())
    }

    #[test]
    fn every_model_of_the_catalogue_has_a_shipped_rate() {
        for model in &tiers().models {
            assert!(book().rate_of(model, NOW).is_some(), "{}", model.id);
        }
    }

    #[test]
    fn a_model_is_found_by_our_name_and_by_its_providers() {
        let catalogue = tiers();
        let named = |name| catalogue.model_named(name).map(|model| model.id.as_str().to_owned());
        assert_eq!(named("claude-opus-4").as_deref(), Ok("claude-opus-4"));
        assert_eq!(named("claude-opus-4-20250514").as_deref(), Ok("claude-opus-4"));
        assert_eq!(named("anthropic/claude-opus-4").as_deref(), Ok("claude-opus-4"));
        assert_eq!(
            named("openai/gpt-oss-120b").as_deref(),
            Ok("groq-gpt-oss-120b"),
            "Groq's own name has a slash in it"
        );
        assert_eq!(named("groq/openai/gpt-oss-120b").as_deref(), Ok("groq-gpt-oss-120b"));
        assert_eq!(named("openai/gpt-4o-mini").as_deref(), Ok("gpt-4o-mini"), "the provider first");
        assert_eq!(named("openrouter/openai/gpt-4o-mini").as_deref(), Ok("openrouter-gpt-4o-mini"));
        assert!(named("openai/claude-opus-4").is_err() && named("groq/gpt-4o").is_err());
        assert_eq!(named("gpt-9"), Err(Denial::UnknownModel { model: "gpt-9".to_owned() }));
    }

    /// Each mistake, made in the right file, is refused on the line where it stands.
    #[test]
    fn a_mistake_is_refused_with_its_line_and_reason() {
        for (right, wrong, reason) in [
            ("price = \"11.50\"", "price = \"-11.50\"", "is negative"),
            ("price = \"11.50\"", "price = 11.50", "expected an amount of dollars in quotes"),
            ("price = \"11.50\"", "price = \"eleven\"", "is not an amount"),
            ("price = \"11.50\"", "price = \"11.51\"", "$10.00 and the markup are $11.50, not $11.51"),
            ("price = \"11.50\"", "price = \"11.50\"\ncolour = \"red\"", "unknown field `colour`"),
            ("amount = \"10.00\"", "amount = \"0.00\"", "a pack of no credit"),
            ("id = \"pack-25\"", "id = \"pack-10\"", "another pack `pack-10`"),
            ("id = \"gpt-4o-mini\"", "id = \"gpt-4o\"", "another model `gpt-4o`"),
            ("upstream_name = \"gpt-4o-mini\"", "upstream_name = \"gpt-4o\"", "another model is `gpt-4o`"),
            ("id = \"user-story\"", "id = \"context-recall\"", "another skill `context-recall`"),
            ("id = \"pro\"", "id = \"free\"", "another plan `free`"),
            ("signup_plan = \"free\"", "signup_plan = \"gratis\"", "there is no plan `gratis`"),
            ("model = \"claude-sonnet-4-5\"", "model = \"claude-9\"", "there is no model `claude-9`"),
            ("refused_models = [\"gpt-4o\"]", "refused_models = [\"gpt-9\"]", "there is no model `gpt-9`"),
            ("refused_classes = [\"heavy\"]", "refused_classes = [\"huge\"]", "`huge` is not a ModelClass"),
            ("provider = \"openai\"", "provider = \"acme\"", "`acme` is not a Provider"),
            (
                "prior_output_tokens = 5_000",
                "prior_output_tokens = 8_001",
                "the prior of 8001 is above the cap of 8000",
            ),
            ("max_output_tokens = 18_000", "max_output_tokens = 33_000", "writes up to 32000"),
            ("prior_input_tokens = 30_000", "prior_input_tokens = 40_000", "above the 50000 of one execution"),
            ("max_output_tokens = 8_192", "max_output_tokens = 300_000", "does not fit a context of 200000"),
            ("image_tokens = 3_300", "image_tokens = 0", "an image of 0 tokens"),
            ("image_tokens = 50_000", "image_tokens = 128_001", "an image of 128001 tokens"),
            ("running_agents = 3", "running_agents = -3", "is negative"),
            ("running_agents = 3", "running_agents = \"many\"", "\"unlimited\""),
            ("throttled_to_a_minute = 1", "", "`throttled_to_a_minute` is missing"),
            ("version = \"tiers-2026-12-4\"", "version = \" \"", "without a name"),
            ("effective_at = 2026-01-01", "effective_at = 2025-12-31", "no price of `free` counts yet"),
            ("throttled_after = 3_000", "throttled_after = 5_000", "is never reached"),
            (
                "prices = [{ from = 2026-01-01, standard = \"0.00\", byok = \"0.00\" }]",
                "prices = [{ from = 2026-01-01, standard = \"1.00\", byok = \"0.00\" }]",
                "a new account pays nothing",
            ),
            (
                "prices = [{ from = 2026-01-01, standard = \"9.00\", byok = \"5.00\" }]",
                "prices = [{ from = 2026-01-01, standard = \"9.005\", byok = \"5.00\" }]",
                "is not whole cents",
            ),
            (
                "runs = { context-recall = 25, user-story = 125 }",
                "runs = { context-recall = 25, user-tale = 125 }",
                "there is no skill `user-tale`",
            ),
            ("id = \"regular\"", "id = \"light\"", "another profile `light`"),
            ("on_refund = \"keep\"", "on_refund = \"halve\"", "`halve` is not a FeePolicy"),
            ("days = 14", "days = 0", "a trial of no days"),
            ("amount = \"5.00\"", "amount = \"0.00\"", "needs an amount to spend"),
            ("models = \"all\"", "models = \"some\"", "or \"all\""),
            ("models = [\"claude-3-5-haiku\"]", "models = []", "runs nothing"),
            ("models = [\"claude-3-5-haiku\"]", "models = [\"claude-9\"]", "there is no model `claude-9`"),
            ("kind = \"managed\"", "kind = \"own_key\"", "another trial `own_key`"),
            ("kind = \"managed\"", "kind = \"free\"", "`free` is not a TrialKind"),
            ("pay_per_use = \"opt_in\"", "pay_per_use = \"maybe\"", "`maybe` is not a PayPerUse"),
            ("own_key_days = 7", "own_key_days = -7", "invalid value"),
            ("prior_p50_percent = 90", "prior_p50_percent = 101", "above the prior"),
            ("prior_p90_percent = 140", "prior_p90_percent = 99", "below the prior"),
            ("alert_percents = [50, 80, 100]", "alert_percents = [50, 80, 80]", "do not rise"),
            ("effective_at = 2025-10-01", "effective_at = 2025-13-01", ""),
            ("effective_at = 2025-10-01", "effective_at = 2025-10-01T00:00:00Z", "is not a day"),
            ("version = \"tiers-2026-12-4\"", "version = ", ""),
        ] {
            let text = TIERS.replacen(&format!("\n{right}\n"), &format!("\n{wrong}\n"), 1);
            assert_ne!(text, TIERS, "`{right}` is in the file");
            let error = Catalogue::parse(&text).expect_err(wrong);
            let expected = TIERS.lines().position(|line| line == right).unwrap() + 1;
            let off = error.line.abs_diff(expected);
            // An unknown field stands a line below, a missing one is told at its companion just above.
            assert!(off == 0 || (off == 1 && (wrong.is_empty() || wrong.contains("colour"))), "{wrong}: {error}");
            assert!(error.message.contains(reason), "{wrong}: {error}");
        }
    }

    /// Spec §1: fees between $10 and $25, nothing included, managed use from credits; the same skills and packs.
    #[test]
    fn legionis_is_platform_fees_and_credits() {
        let (catalogue, tiers) = (legionis(), tiers());
        assert_eq!((&catalogue.packs, &catalogue.skills), (&tiers.packs, &tiers.skills));
        assert_eq!((&catalogue.models, catalogue.markup), (&tiers.models, tiers.markup));
        let fees: Vec<_> = catalogue.plans.iter().filter(|plan| plan.listed).map(|plan| plan.price_at(NOW)).collect();
        assert_eq!(fees.len(), 3);
        for price in fees.into_iter().flatten() {
            assert_eq!((price.standard, price.byok_saving_percent()), (price.byok, None), "one fee, whoever's key");
            assert!((10..=25).contains(&(price.standard.unwrap().to_cents_exact().unwrap().0 / 100)));
        }
        for plan in &catalogue.plans {
            assert_eq!(plan.limits.executions_a_month, Allowance::AtMost(0), "{}", plan.id);
            assert_eq!(plan.pay_per_use, PayPerUse::Always, "{}", plan.id);
        }
        assert_eq!(catalogue.trials.len(), 3);
    }

    /// Spec §3, "Trials".
    #[test]
    fn three_trials_are_offered_and_the_managed_ones_can_be_turned_off() {
        let rows = |catalogue: &Catalogue| -> Vec<_> {
            let offered = TrialKind::ALL.iter().filter_map(|&kind| catalogue.trial(kind));
            offered.map(|trial| (trial.kind, trial.days, trial.amount.to_string(), trial.needs_card())).collect()
        };
        let row = |kind, days, amount: &str, needs_card| (kind, days, amount.to_owned(), needs_card);
        let own_key = row(TrialKind::OwnKey, 30, "$0.00", false);
        let catalogue = tiers();
        assert_eq!(
            rows(&catalogue),
            [
                own_key.clone(),
                row(TrialKind::Managed, 14, "$5.00", false),
                row(TrialKind::ManagedWithCard, 30, "$10.00", true),
            ]
        );
        let allows = |kind| -> Vec<&str> {
            let trial = catalogue.trial(kind).unwrap();
            catalogue.models.iter().filter(|model| trial.allows(&model.id)).map(|model| model.name.as_str()).collect()
        };
        assert_eq!(allows(TrialKind::OwnKey).len(), catalogue.models.len());
        assert_eq!(allows(TrialKind::Managed), ["Claude 3.5 Haiku"]);
        assert_eq!(allows(TrialKind::ManagedWithCard), ["Claude 3.5 Haiku", "Claude Sonnet 4.5"]);
        let off = Catalogue::parse(&TIERS.replace("managed_trials = true", "managed_trials = false")).unwrap();
        assert_eq!(rows(&off), [own_key]);
    }

    #[test]
    fn prices_whose_dates_overlap_are_refused() {
        let right = r#"prices = [{ from = 2026-01-01, standard = "9.00", byok = "5.00" }]"#;
        let line = TIERS.lines().position(|line| line == right).unwrap() + 1;
        let second = "{ from = 2026-06-01, standard = \"9.00\", byok = \"5.00\" }";
        for (first, reason) in [
            ("{ from = 2026-01-01, standard = \"9.00\", byok = \"5.00\" }", "overlap"),
            ("{ from = 2026-01-01, until = 2026-06-02, standard = \"9.00\", byok = \"5.00\" }", "overlap"),
        ] {
            let error = Catalogue::parse(&TIERS.replace(right, &format!("prices = [{first},\n{second}]"))).unwrap_err();
            assert_eq!(error.line, line + 1, "{error}");
            assert!(error.message.contains(reason), "{error}");
        }
        let backwards = right.replace("standard", "until = 2025-01-01, standard");
        let error = Catalogue::parse(&TIERS.replace(right, &backwards)).unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (line, "this price ends before it begins"));
    }
}
