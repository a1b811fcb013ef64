//! Owns: the rules of a catalogue that one entry alone cannot break, each with the place to point at.
//! Does not own: the shape of the file (`file`).

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use super::file::{File, LimitsRow, ModelRow, PackRow, PlanRow, PriceRow, SkillRow, TopUpRow, TrialRow};
use super::{TrialKind, TrialModels};
use crate::money::BasisPoints;
use crate::plan::Allowance;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// What is wrong, and the byte of the file where.
pub(super) struct Problem {
    pub at: usize,
    pub message: String,
}

fn refuse<T>(span: Range<usize>, message: String) -> Result<T, Problem> {
    Err(Problem { at: span.start, message })
}

/// Refuses a file that cannot be sold from: the first mistake, in the order of the file's parts.
pub(super) fn check(file: &File) -> Result<(), Problem> {
    if file.version.get_ref().trim().is_empty() {
        return refuse(file.version.span(), "a version without a name cannot be told from another".to_owned());
    }
    unique("plan", file.plans.iter().map(|plan| &plan.id))?;
    unique("pack", file.packs.iter().map(|pack| &pack.id))?;
    unique("trial", file.trials.iter().map(|trial| &trial.kind))?;
    unique("model", file.models.iter().map(|model| &model.id))?;
    unique("skill", file.skills.iter().map(|skill| &skill.id))?;
    unique("profile", file.profiles.iter().map(|profile| &profile.id))?;
    limits(file.limits.get_ref())?;
    if let Some(top_up) = &file.top_up {
        check_top_up(top_up)?;
    }
    for plan in &file.plans {
        check_plan(plan, &file.models)?;
        let first = plan.prices.get_ref().first().map(|price| price.get_ref().from.0);
        if first.is_none_or(|first| first > file.effective_at.get_ref().0) {
            let message = format!("no price of `{}` counts yet on that day", plan.id.get_ref());
            return refuse(file.effective_at.span(), message);
        }
    }
    check_signup_plan(file)?;
    for pack in &file.packs {
        check_pack(pack, BasisPoints(file.markup_basis_points.into()))?;
    }
    for trial in &file.trials {
        check_trial(trial, file)?;
    }
    let mut upstream = BTreeSet::new();
    for model in &file.models {
        check_model(model)?;
        if !upstream.insert((model.provider, model.upstream_name.get_ref())) {
            let name = model.upstream_name.get_ref();
            return refuse(model.upstream_name.span(), format!("another model is `{name}` at this provider already"));
        }
    }
    for skill in &file.skills {
        check_skill(skill, file)?;
    }
    for profile in &file.profiles {
        let is_known = |id| file.skills.iter().any(|skill| skill.id.get_ref() == id);
        if let Some(unknown) = profile.runs.get_ref().keys().find(|id| !is_known(*id)) {
            return refuse(profile.runs.span(), format!("there is no skill `{unknown}`"));
        }
    }
    Ok(())
}

fn unique<'a, T: Ord + std::fmt::Display + 'a>(
    what: &str,
    ids: impl Iterator<Item = &'a Spanned<T>>,
) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id.get_ref()) {
            return refuse(id.span(), format!("there is another {what} `{}` already", id.get_ref()));
        }
    }
    Ok(())
}

fn limits(limits: &LimitsRow) -> Result<(), Problem> {
    let (p50, p90) = (&limits.prior_p50_percent, &limits.prior_p90_percent);
    if *p50.get_ref() > 100 {
        return refuse(p50.span(), "the median is above the prior; give at most 100".to_owned());
    }
    if *p90.get_ref() < 100 {
        return refuse(p90.span(), "the 90th percentile is below the prior; give at least 100".to_owned());
    }
    let alerts = &limits.alert_percents;
    if !alerts.get_ref().windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
        return refuse(alerts.span(), "the shares do not rise".to_owned());
    }
    Ok(())
}

fn check_top_up(row: &Spanned<TopUpRow>) -> Result<(), Problem> {
    let top_up = row.get_ref();
    let whole = [top_up.attempts, top_up.failures_to_suspend, top_up.charges_a_month, top_up.recovery_hours];
    if whole.contains(&0) || top_up.consent_days.is_empty() || top_up.consent_days.contains(&0) {
        return refuse(row.span(), "a number of [top_up] is zero, so nothing could ever be charged".to_owned());
    }
    if top_up.charges_a_month > top_up.most_charges_a_month {
        return refuse(row.span(), "`charges_a_month` is more than `most_charges_a_month`".to_owned());
    }
    Ok(())
}

fn check_plan(plan: &PlanRow, models: &[ModelRow]) -> Result<(), Problem> {
    let prices = plan.prices.get_ref();
    if prices.is_empty() {
        return refuse(plan.prices.span(), format!("plan `{}` has no price", plan.id.get_ref()));
    }
    for price in prices {
        check_price(price)?;
    }
    for pair in prices.windows(2) {
        let [earlier, later] = pair else { continue };
        if earlier.get_ref().until.is_none_or(|until| until.0 > later.get_ref().from.0) {
            let message = "this price's dates overlap with those of the one before it; give that one an `until`";
            return refuse(later.span(), message.to_owned());
        }
    }
    match (&plan.throttled_after, &plan.throttled_to_a_minute) {
        (Some(after), None) => refuse(after.span(), "`throttled_to_a_minute` is missing beside this".to_owned()),
        (None, Some(rate)) => refuse(rate.span(), "`throttled_after` is missing beside this".to_owned()),
        (Some(after), Some(_)) => match plan.executions_a_month.0 {
            Allowance::AtMost(most) if *after.get_ref() >= most => {
                refuse(after.span(), format!("the throttle after {} of {most} is never reached", after.get_ref()))
            }
            Allowance::AtMost(_) | Allowance::Unlimited => Ok(()),
        },
        (None, None) => Ok(()),
    }?;
    for model in &plan.refused_models {
        if !models.iter().any(|known| known.id.get_ref() == model.get_ref()) {
            return refuse(model.span(), format!("there is no model `{}`", model.get_ref()));
        }
    }
    Ok(())
}

fn check_price(price: &Spanned<PriceRow>) -> Result<(), Problem> {
    if price.get_ref().until.is_some_and(|until| until.0 <= price.get_ref().from.0) {
        return refuse(price.span(), "this price ends before it begins".to_owned());
    }
    for amount in [price.get_ref().standard.0, price.get_ref().byok.0].into_iter().flatten() {
        if amount.to_cents_exact().is_none() {
            return refuse(price.span(), format!("{amount} cannot be charged: it is not whole cents"));
        }
    }
    Ok(())
}

/// Nobody has agreed to pay for the plan that an account begins with.
fn check_signup_plan(file: &File) -> Result<(), Problem> {
    let id = file.signup_plan.get_ref();
    let Some(plan) = file.plans.iter().find(|plan| plan.id.get_ref() == id) else {
        return refuse(file.signup_plan.span(), format!("there is no plan `{id}`"));
    };
    for price in plan.prices.get_ref() {
        if [price.get_ref().standard.0, price.get_ref().byok.0]
            .iter()
            .any(|amount| amount.is_none_or(|amount| !amount.is_zero()))
        {
            let message = format!("a new account pays nothing, so `{id}` must cost \"0.00\"");
            return refuse(price.span(), message);
        }
    }
    Ok(())
}

fn check_pack(pack: &PackRow, markup: BasisPoints) -> Result<(), Problem> {
    let (amount, price) = (pack.amount.get_ref().0, pack.price.get_ref().0);
    if !amount.is_positive() {
        return refuse(pack.amount.span(), "a pack of no credit cannot be sold".to_owned());
    }
    let expected = amount.checked_mul_basis_points(markup).and_then(|markup| amount.checked_add(markup));
    match expected {
        Some(expected) if expected == price => {}
        Some(expected) => {
            return refuse(pack.price.span(), format!("{amount} and the markup are {expected}, not {price}"));
        }
        None => return refuse(pack.amount.span(), "this amount is too large".to_owned()),
    }
    match price.to_cents_exact() {
        Some(_) => Ok(()),
        None => refuse(pack.price.span(), format!("{price} cannot be charged: it is not whole cents")),
    }
}

fn check_trial(trial: &TrialRow, file: &File) -> Result<(), Problem> {
    if *trial.days.get_ref() == 0 {
        return refuse(trial.days.span(), "a trial of no days cannot be offered".to_owned());
    }
    let (kind, amount) = (*trial.kind.get_ref(), trial.amount.get_ref().0);
    if kind.is_managed() != amount.is_positive() {
        let message = match kind {
            TrialKind::OwnKey => "with an own key nothing is granted; give \"0.00\"",
            TrialKind::Managed | TrialKind::ManagedWithCard => "a trial on our keys needs an amount to spend",
        };
        return refuse(trial.amount.span(), message.to_owned());
    }
    match &trial.models.get_ref().0 {
        TrialModels::All => {}
        TrialModels::Only(models) => {
            if models.is_empty() {
                return refuse(trial.models.span(), "a trial without a model runs nothing".to_owned());
            }
            let is_known = |model| file.models.iter().any(|known| known.id.get_ref() == model);
            if let Some(unknown) = models.iter().find(|model| !is_known(*model)) {
                return refuse(trial.models.span(), format!("there is no model `{unknown}`"));
            }
        }
    }
    for plan in &trial.plans {
        if !file.plans.iter().any(|known| known.id.get_ref() == plan.get_ref()) {
            return refuse(plan.span(), format!("there is no plan `{}`", plan.get_ref()));
        }
    }
    match kind {
        TrialKind::ManagedWithCard if trial.plans.is_empty() => {
            refuse(trial.kind.span(), "name the `plans` that it can become".to_owned())
        }
        TrialKind::OwnKey | TrialKind::Managed | TrialKind::ManagedWithCard => Ok(()),
    }
}

fn check_model(model: &ModelRow) -> Result<(), Problem> {
    let cap = *model.max_output_tokens.get_ref();
    if cap == 0 || cap > model.context_tokens {
        let message = format!("an output of {cap} tokens does not fit a context of {}", model.context_tokens);
        return refuse(model.max_output_tokens.span(), message);
    }
    match &model.image_tokens {
        Some(most) if *most.get_ref() == 0 || *most.get_ref() > model.context_tokens => {
            let message = format!("an image of {} tokens is none, or none that fits", most.get_ref());
            refuse(most.span(), message)
        }
        Some(_) | None => Ok(()),
    }
}

fn check_skill(skill: &SkillRow, file: &File) -> Result<(), Problem> {
    let Some(model) = file.models.iter().find(|model| model.id.get_ref() == skill.model.get_ref()) else {
        return refuse(skill.model.span(), format!("there is no model `{}`", skill.model.get_ref()));
    };
    if skill.prompt.get_ref().trim().is_empty() {
        return refuse(skill.prompt.span(), "the prompt is empty".to_owned());
    }
    let (cap, most) = (*skill.max_output_tokens.get_ref(), *model.max_output_tokens.get_ref());
    if cap == 0 || cap > most {
        let message = format!("an output of {cap} tokens cannot be had: `{}` writes up to {most}", model.id.get_ref());
        return refuse(skill.max_output_tokens.span(), message);
    }
    let prior = *skill.prior_output_tokens.get_ref();
    if prior > cap {
        return refuse(skill.prior_output_tokens.span(), format!("the prior of {prior} is above the cap of {cap}"));
    }
    let limit = file.limits.get_ref().execution_tokens;
    let input = *skill.prior_input_tokens.get_ref();
    if input.checked_add(cap).is_none_or(|tokens| tokens > limit) {
        let message = format!("{input} tokens of input and {cap} of output are above the {limit} of one execution");
        return refuse(skill.prior_input_tokens.span(), message);
    }
    Ok(())
}
