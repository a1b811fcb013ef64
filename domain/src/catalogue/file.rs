//! Owns: the catalogue as a TOML file, as it is written, and turning it into what the code uses.
//! Does not own: the rules that span several entries (`check`).

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use super::{
    Catalogue, Grace, Limits, Model, ModelClass, Profile, ShippedRates, Skill, Trial, TrialKind, TrialModels, check,
};
use crate::id::{ModelId, PackId, PlanId, ProfileId, SkillId, UpstreamModel};
use crate::money::{BasisPoints, Usd};
use crate::pack::{Pack, StripeFee};
use crate::plan::{Allowance, PayPerUse, Plan, PlanLimits, PlanPrice};
use crate::provider::Provider;
use crate::refund::FeePolicy;
use crate::time::Timestamp;
use crate::top_up::TopUpLimits;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

/// What is wrong with a catalogue file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CatalogueError {
    pub line: usize,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub version: Spanned<String>,
    pub effective_at: Spanned<Day>,
    /// Read before, by `source`: the text that is parsed has the included files at its end.
    #[serde(default, rename = "include")]
    _include: Vec<String>,
    pub signup_plan: Spanned<PlanId>,
    pub markup_basis_points: u16,
    stripe_fee: FeeRow,
    pub limits: Spanned<LimitsRow>,
    managed_trials: bool,
    grace: Grace,
    pub top_up: Option<Spanned<TopUpRow>>,
    shipped_rates: RatesRow,
    #[serde(rename = "plan")]
    pub plans: Vec<PlanRow>,
    #[serde(rename = "pack")]
    pub packs: Vec<PackRow>,
    #[serde(rename = "trial", default)]
    pub trials: Vec<TrialRow>,
    #[serde(rename = "model")]
    pub models: Vec<ModelRow>,
    #[serde(rename = "skill")]
    pub skills: Vec<SkillRow>,
    #[serde(rename = "profile", default)]
    pub profiles: Vec<ProfileRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeeRow {
    basis_points: u16,
    fixed: Amount,
    /// A file from before this could be chosen means that it is kept.
    #[serde(default)]
    on_refund: FeePolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsRow {
    pub execution_tokens: u64,
    pub prior_output_tokens: u64,
    pub prior_p50_percent: Spanned<u64>,
    pub prior_p90_percent: Spanned<u64>,
    low_balance: Amount,
    own_key_advice: Amount,
    pub alert_percents: Spanned<Vec<u64>>,
}

/// A file from before there was an automatic top-up has none, and means the defaults.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopUpRow {
    pub threshold: Amount,
    pub cap: Amount,
    pub charges_a_month: u32,
    pub most_charges_a_month: u32,
    pub consent_days: Vec<u32>,
    pub burst_seconds: u32,
    pub attempts: u32,
    pub attempt_window_seconds: u32,
    pub failure_pause_seconds: u32,
    pub failures_to_suspend: u32,
    pub recovery_hours: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesRow {
    source: String,
    effective_at: Day,
    checked_at: Day,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanRow {
    pub id: Spanned<PlanId>,
    name: String,
    description: String,
    per_seat: bool,
    #[serde(default = "yes")]
    listed: bool,
    pay_per_use: PayPerUse,
    pub prices: Spanned<Vec<Spanned<PriceRow>>>,
    running_agents: Count,
    pub executions_a_month: Count,
    pub throttled_after: Option<Spanned<u64>>,
    pub throttled_to_a_minute: Option<Spanned<u64>>,
    sandbox_tries_a_day: Count,
    channels: String,
    log_retention_hours: u64,
    support: String,
    sla_basis_points: Option<u16>,
    daily_spend_cap: AgreedAmount,
    #[serde(default)]
    refused_classes: Vec<ModelClass>,
    #[serde(default)]
    pub refused_models: Vec<Spanned<ModelId>>,
    #[serde(default)]
    not_in_allowance: Vec<ModelClass>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceRow {
    pub from: Day,
    pub until: Option<Day>,
    pub standard: AgreedAmount,
    pub byok: AgreedAmount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackRow {
    pub id: Spanned<PackId>,
    pub amount: Spanned<Amount>,
    bonus: Amount,
    pub price: Spanned<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialRow {
    pub kind: Spanned<TrialKind>,
    pub days: Spanned<u32>,
    pub amount: Spanned<Amount>,
    pub models: Spanned<ModelsOrAll>,
    #[serde(default)]
    pub plans: Vec<Spanned<PlanId>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRow {
    pub id: Spanned<ModelId>,
    name: String,
    pub provider: Provider,
    pub upstream_name: Spanned<UpstreamModel>,
    class: ModelClass,
    pub max_output_tokens: Spanned<u64>,
    pub context_tokens: u64,
    pub image_tokens: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SkillRow {
    pub id: Spanned<SkillId>,
    name: String,
    description: String,
    pub prompt: Spanned<String>,
    input_label: String,
    input_example: String,
    class: ModelClass,
    pub model: Spanned<ModelId>,
    pub prior_input_tokens: Spanned<u64>,
    pub prior_output_tokens: Spanned<u64>,
    pub max_output_tokens: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileRow {
    pub id: Spanned<ProfileId>,
    name: String,
    description: String,
    pub runs: Spanned<BTreeMap<SkillId, u64>>,
}

/// Reads a catalogue file and checks it.
pub(super) fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
    let file: File = toml::from_str(text).map_err(|error| CatalogueError {
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message: error.message().to_owned(),
    })?;
    check::check(&file)
        .map_err(|problem| CatalogueError { line: line_at(text, problem.at), message: problem.message })?;
    Ok(file.into_catalogue())
}

pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count().saturating_add(1)
}

impl File {
    fn into_catalogue(self) -> Catalogue {
        let limits = self.limits.into_inner();
        Catalogue {
            version: self.version.into_inner(),
            effective_at: self.effective_at.into_inner().0,
            signup_plan: self.signup_plan.into_inner(),
            markup: BasisPoints(self.markup_basis_points.into()),
            stripe_fee: StripeFee {
                percent: BasisPoints(self.stripe_fee.basis_points.into()),
                fixed: self.stripe_fee.fixed.0,
            },
            refund_fee: self.stripe_fee.on_refund,
            plans: self.plans.into_iter().map(PlanRow::into_plan).collect(),
            packs: self.packs.into_iter().map(PackRow::into_pack).collect(),
            trials: self.trials.into_iter().map(TrialRow::into_trial).collect(),
            managed_trials: self.managed_trials,
            grace: self.grace,
            top_up: self.top_up.map_or_else(TopUpLimits::default, |row| row.into_inner().into_limits()),
            models: self.models.into_iter().map(ModelRow::into_model).collect(),
            skills: self.skills.into_iter().map(SkillRow::into_skill).collect(),
            profiles: self.profiles.into_iter().map(ProfileRow::into_profile).collect(),
            limits: Limits {
                execution_tokens: limits.execution_tokens,
                prior_output_tokens: limits.prior_output_tokens,
                prior_p50_percent: limits.prior_p50_percent.into_inner(),
                prior_p90_percent: limits.prior_p90_percent.into_inner(),
                low_balance: limits.low_balance.0,
                own_key_advice: limits.own_key_advice.0,
                alert_percents: limits.alert_percents.into_inner(),
            },
            shipped_rates: ShippedRates {
                source: self.shipped_rates.source,
                effective_at: self.shipped_rates.effective_at.0,
                checked_at: self.shipped_rates.checked_at.0,
            },
        }
    }
}

impl TopUpRow {
    fn into_limits(self) -> TopUpLimits {
        TopUpLimits {
            threshold: self.threshold.0,
            cap: self.cap.0,
            charges_a_month: self.charges_a_month,
            most_charges_a_month: self.most_charges_a_month,
            consent_days: self.consent_days,
            burst_seconds: self.burst_seconds.into(),
            attempts: self.attempts,
            attempt_window_seconds: self.attempt_window_seconds.into(),
            failure_pause_seconds: self.failure_pause_seconds.into(),
            failures_to_suspend: self.failures_to_suspend,
            recovery_hours: self.recovery_hours.into(),
        }
    }
}

impl PlanRow {
    fn into_plan(self) -> Plan {
        let price = |row: Spanned<PriceRow>| {
            let PriceRow { from, until, standard, byok } = row.into_inner();
            PlanPrice { from: from.0, until: until.map(|day| day.0), standard: standard.0, byok: byok.0 }
        };
        Plan {
            id: self.id.into_inner(),
            name: self.name,
            description: self.description,
            per_seat: self.per_seat,
            listed: self.listed,
            pay_per_use: self.pay_per_use,
            prices: self.prices.into_inner().into_iter().map(price).collect(),
            limits: PlanLimits {
                running_agents: self.running_agents.0,
                executions_a_month: self.executions_a_month.0,
                throttled_after: self.throttled_after.map(Spanned::into_inner),
                throttled_to_a_minute: self.throttled_to_a_minute.map(Spanned::into_inner),
                sandbox_tries_a_day: self.sandbox_tries_a_day.0,
                channels: self.channels,
                log_retention_hours: self.log_retention_hours,
                support: self.support,
                sla: self.sla_basis_points.map(|points| BasisPoints(points.into())),
                daily_spend_cap: self.daily_spend_cap.0,
                refused_classes: self.refused_classes,
                refused_models: self.refused_models.into_iter().map(Spanned::into_inner).collect(),
                not_in_allowance: self.not_in_allowance,
            },
        }
    }
}

impl PackRow {
    fn into_pack(self) -> Pack {
        Pack {
            id: self.id.into_inner(),
            amount: self.amount.into_inner().0,
            bonus: self.bonus.0,
            price: self.price.into_inner().0,
        }
    }
}

impl TrialRow {
    fn into_trial(self) -> Trial {
        Trial {
            kind: self.kind.into_inner(),
            days: self.days.into_inner(),
            amount: self.amount.into_inner().0,
            models: self.models.into_inner().0,
            plans: self.plans.into_iter().map(Spanned::into_inner).collect(),
        }
    }
}

impl ModelRow {
    fn into_model(self) -> Model {
        Model {
            id: self.id.into_inner(),
            name: self.name,
            provider: self.provider,
            upstream_name: self.upstream_name.into_inner(),
            class: self.class,
            max_output_tokens: self.max_output_tokens.into_inner(),
            context_tokens: self.context_tokens,
            image_tokens: self.image_tokens.map(Spanned::into_inner),
        }
    }
}

impl SkillRow {
    fn into_skill(self) -> Skill {
        let prompt = self.prompt.into_inner();
        Skill {
            id: self.id.into_inner(),
            name: self.name,
            description: self.description,
            prompt_bytes: u64::try_from(prompt.len()).unwrap_or(u64::MAX),
            prompt,
            input_label: self.input_label,
            input_example: self.input_example,
            class: self.class,
            model: self.model.into_inner(),
            prior_input_tokens: self.prior_input_tokens.into_inner(),
            prior_output_tokens: self.prior_output_tokens.into_inner(),
            max_output_tokens: self.max_output_tokens.into_inner(),
        }
    }
}

impl ProfileRow {
    fn into_profile(self) -> Profile {
        Profile {
            id: self.id.into_inner(),
            name: self.name,
            description: self.description,
            runs: self.runs.into_inner(),
        }
    }
}

/// Dollars in quotes, such as `"11.50"`, never negative.
#[derive(Clone, Copy)]
pub(super) struct Amount(pub Usd);

/// Dollars in quotes, or `"custom"` for a price by agreement.
#[derive(Clone, Copy)]
pub(super) struct AgreedAmount(pub Option<Usd>);

/// A number, or `"unlimited"`.
pub(super) struct Count(pub Allowance);

/// A list of models, or `"all"`.
pub(super) struct ModelsOrAll(pub TrialModels);

const fn yes() -> bool {
    true
}

/// A day in UTC, such as `2026-01-01`: its first moment.
#[derive(Clone, Copy)]
pub(super) struct Day(pub Timestamp);

const AMOUNT: &str = "an amount of dollars in quotes, such as \"11.50\"";

fn read_amount<E: de::Error>(text: &str) -> Result<Usd, E> {
    match Usd::parse_dollars(text) {
        Some(amount) if amount.is_negative() => Err(E::custom(format!("`{text}` is negative; an amount cannot be"))),
        Some(amount) => Ok(amount),
        None => Err(E::custom(format!("`{text}` is not {AMOUNT}"))),
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(AMOUNT)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                read_amount(text).map(Amount)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl<'de> Deserialize<'de> for AgreedAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AgreedAmount, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = AgreedAmount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{AMOUNT}, or \"custom\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AgreedAmount, E> {
                Ok(AgreedAmount(if text == "custom" { None } else { Some(read_amount(text)?) }))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or \"unlimited\"")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                let unfit = |_| E::custom(format!("`{number}` is negative; a number of something cannot be"));
                u64::try_from(number).map(|number| Count(Allowance::AtMost(number))).map_err(unfit)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                match text {
                    "unlimited" => Ok(Count(Allowance::Unlimited)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for ModelsOrAll {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ModelsOrAll, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ModelsOrAll;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of models, or \"all\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ModelsOrAll, E> {
                match text {
                    "all" => Ok(ModelsOrAll(TrialModels::All)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<ModelsOrAll, A::Error> {
                let mut models = Vec::new();
                while let Some(model) = list.next_element()? {
                    models.push(model);
                }
                Ok(ModelsOrAll(TrialModels::Only(models)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        let given = toml::value::Datetime::deserialize(deserializer)?;
        match given {
            toml::value::Datetime { date: Some(date), time: None, offset: None } => {
                Ok(Day(Timestamp::from_date(i64::from(date.year), date.month, date.day)))
            }
            toml::value::Datetime { .. } => {
                Err(de::Error::custom(format!("`{given}` is not a day, such as 2026-01-01")))
            }
        }
    }
}
