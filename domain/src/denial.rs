//! Owns: every "no" a user can get, with its stable code, HTTP status, sentence and the remedies that would work.
//! Does not own: failures (those are `server::Error::Internal`), or the dialect in which an endpoint says it.
//! Invariant: a denial means that nothing was charged and nothing is half-done.

use crate::funding::FundingSource;
use crate::id::ModelId;
use crate::member::{Permission, Role};
use crate::money::Usd;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is said when there is no credit at all, word for word (spec §3, "Token Bank").
const NO_CREDIT: &str = "Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup.";

crate::text_enum! {
    /// How it stands with credits where the plan does not pay.
    Otherwise {
        /// Credits would pay, and there is none.
        NoCredit = "no_credit",
        /// The account, or its plan, does not let credits pay.
        NotByCredit = "not_by_credit",
    }
}

impl Otherwise {
    const fn words(self) -> &'static str {
        match self {
            Otherwise::NoCredit => NO_CREDIT,
            Otherwise::NotByCredit => "Upgrade, or let credits pay for what your plan does not: see your limits.",
        }
    }
}

/// A typed "no". The fields are what its sentence needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Denial {
    /// The credit that exists, held or not, cannot cover the hold.
    InsufficientCredit { needed: Usd, spendable: Usd },
    /// The credit is there, but running work holds it.
    ReservedByRunningWork { needed: Usd, spendable: Usd, held: Usd },
    /// The account is frozen, for the reason given.
    AccountFrozen { reason: String },
    /// No such model in the catalogue.
    UnknownModel { model: String },
    /// The model has no rate, so it is not called.
    UnpricedModel { model: ModelId },
    /// No such skill in the catalogue.
    UnknownSkill { skill: String },
    /// No such pack in the catalogue.
    UnknownPack { pack: String },
    /// The prompt is longer than one execution may be.
    PromptTooLong { tokens: u64, limit: u64 },
    /// The run would cost more than what the user saw.
    PriceChanged { shown: Usd, now: Usd },
    /// The plan does not include this model on platform keys.
    ModelNotInPlan { model: ModelId, plan: String, otherwise: Otherwise },
    /// The plan's executions of this period are used up.
    PlanLimit { plan: String, limit: u64, resets_at: Timestamp, otherwise: Otherwise },
    /// The plan slows executions down after so many in a period. So many that asked before wait too, as far as is known.
    Throttled { plan: String, a_minute: u64, after: u64, ahead: u64, retry_after_seconds: u64 },
    /// What a day in UTC may cost us on this plan is taken.
    DailyCap { plan: String, cap: Usd, taken: Usd, needed: Usd, retry_after_seconds: u64 },
    /// What was to pay, as the preview showed it, no longer can.
    FundingChanged { shown: FundingSource },
    /// This person, or this card, has had a trial.
    TrialTaken,
    /// This trial is not offered here, or not with this account's plan.
    TrialNotOffered { why: String },
    /// A field has a value that cannot be used.
    Invalid { field: String, problem: String, remedy: String },
    /// Not signed in, or the API key is missing, unknown or revoked.
    NotSignedIn,
    /// The e-mail and the password do not match an account.
    WrongCredentials,
    /// Signed in, but not allowed.
    Forbidden { what: String },
    /// A member, but of a role that may not do this.
    RoleMayNot { role: Role, permission: Permission, account: String },
    /// There is no such thing, or it is not yours.
    NotFound { what: String },
    /// Too many attempts; wait.
    TooManyAttempts { retry_after_seconds: u64 },
    /// A link that was used, expired or never existed.
    LinkExpired { what: String },
    /// Stripe, or the provider, could not be reached or refused us; nothing was charged.
    Upstream { who: String, problem: String },
    /// The provider is overloaded or limits us; it may work soon.
    ProviderBusy { who: String, retry_after_seconds: u64 },
    /// We have no key for the provider of this model.
    NoPlatformKey { provider: String },
    /// The provider refuses the user's own key, or there is none that works; the platform does not pay instead.
    OwnKeyRefused { provider: String, problem: String },
    /// The user's own account at the provider has no credit, or has reached its limit there.
    OwnAccountEmpty { provider: String },
    /// The provider refuses our own key or account.
    PlatformKeyRefused { provider: String },
    /// What may be paid in place of the account's own key this month is taken.
    FallbackCap { provider: String, cap: Usd, needed: Usd, left: Usd },
    /// The plan lets no more agents run.
    AgentLimit { plan: String, limit: u64, running: u64 },
    /// No agent of the account has this name.
    UnknownAgent { agent: String },
    /// The agent is stopped, so its calls are refused.
    AgentStopped { agent: String },
    /// Even the shortest run can cost more than the agent's cap.
    AgentCap { agent: String, cap: Usd, least: Usd },
    /// The API key belongs to one agent, and the call names another.
    KeyOfOtherAgent { agent: String, named: String },
    /// This request came from another site.
    CrossSite,
    /// The card on file was declined, or its bank wants to ask; in Stripe's words.
    PaymentDeclined { problem: String },
    /// The price for own keys, or the trial with one, needs a key that works.
    NoUsableKey,
    /// An Idempotency-Key was used before, with another request.
    IdempotencyMismatch,
    /// The same request is being worked on, or was answered with another body.
    Conflict { problem: String },
}

/// One thing the user can do about a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// What the button says.
    pub label: String,
    /// Where it leads, a path of the console.
    pub href: String,
}

impl Denial {
    /// The stable code, the same in pages, API and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Denial::InsufficientCredit { .. } => "insufficient_credit",
            Denial::ReservedByRunningWork { .. } => "reserved_by_running_work",
            Denial::AccountFrozen { .. } => "account_frozen",
            Denial::UnknownModel { .. } => "unknown_model",
            Denial::UnpricedModel { .. } => "unpriced_model",
            Denial::UnknownSkill { .. } => "unknown_skill",
            Denial::UnknownPack { .. } => "unknown_pack",
            Denial::PromptTooLong { .. } => "prompt_too_long",
            Denial::PriceChanged { .. } => "price_changed",
            Denial::ModelNotInPlan { .. } => "model_not_in_plan",
            Denial::PlanLimit { .. } => "plan_limit",
            Denial::Throttled { .. } => "throttled",
            Denial::DailyCap { .. } => "daily_cap",
            Denial::FundingChanged { .. } => "funding_changed",
            Denial::TrialTaken => "trial_taken",
            Denial::TrialNotOffered { .. } => "trial_not_offered",
            Denial::Invalid { .. } => "invalid",
            Denial::NotSignedIn => "not_signed_in",
            Denial::WrongCredentials => "wrong_credentials",
            Denial::Forbidden { .. } => "forbidden",
            Denial::RoleMayNot { .. } => "role_may_not",
            Denial::NotFound { .. } => "not_found",
            Denial::TooManyAttempts { .. } => "too_many_attempts",
            Denial::LinkExpired { .. } => "link_expired",
            Denial::Upstream { .. } => "upstream",
            Denial::ProviderBusy { .. } => "provider_busy",
            Denial::NoPlatformKey { .. } => "no_platform_key",
            Denial::OwnKeyRefused { .. } => "own_key_refused",
            Denial::OwnAccountEmpty { .. } => "own_account_empty",
            Denial::PlatformKeyRefused { .. } => "platform_key_refused",
            Denial::FallbackCap { .. } => "fallback_cap",
            Denial::AgentLimit { .. } => "agent_limit",
            Denial::UnknownAgent { .. } => "unknown_agent",
            Denial::AgentStopped { .. } => "agent_stopped",
            Denial::AgentCap { .. } => "agent_cap",
            Denial::KeyOfOtherAgent { .. } => "key_of_other_agent",
            Denial::CrossSite => "cross_site",
            Denial::PaymentDeclined { .. } => "payment_declined",
            Denial::NoUsableKey => "no_usable_key",
            Denial::IdempotencyMismatch => "idempotency_mismatch",
            Denial::Conflict { .. } => "conflict",
        }
    }

    /// The HTTP status an API client gets.
    pub const fn status(&self) -> u16 {
        match self {
            Denial::InsufficientCredit { .. }
            | Denial::PlanLimit { .. }
            | Denial::AgentLimit { .. }
            | Denial::PaymentDeclined { .. } => 402,
            Denial::ReservedByRunningWork { .. }
            | Denial::Throttled { .. }
            | Denial::DailyCap { .. }
            | Denial::TooManyAttempts { .. } => 429,
            Denial::AccountFrozen { .. }
            | Denial::Forbidden { .. }
            | Denial::RoleMayNot { .. }
            | Denial::ModelNotInPlan { .. }
            | Denial::TrialNotOffered { .. }
            | Denial::AgentStopped { .. }
            | Denial::AgentCap { .. }
            | Denial::KeyOfOtherAgent { .. }
            | Denial::CrossSite => 403,
            Denial::UnknownModel { .. }
            | Denial::UnknownSkill { .. }
            | Denial::UnknownPack { .. }
            | Denial::UnknownAgent { .. }
            | Denial::NotFound { .. } => 404,
            Denial::UnpricedModel { .. } | Denial::Invalid { .. } => 400,
            Denial::PromptTooLong { .. } => 413,
            Denial::PriceChanged { .. }
            | Denial::NoUsableKey
            | Denial::FundingChanged { .. }
            | Denial::TrialTaken
            | Denial::Conflict { .. } => 409,
            Denial::NotSignedIn | Denial::WrongCredentials => 401,
            Denial::LinkExpired { .. } => 410,
            Denial::IdempotencyMismatch => 422,
            Denial::OwnKeyRefused { .. } | Denial::OwnAccountEmpty { .. } | Denial::FallbackCap { .. } => 424,
            Denial::Upstream { .. } | Denial::PlatformKeyRefused { .. } => 502,
            Denial::ProviderBusy { .. } | Denial::NoPlatformKey { .. } => 503,
        }
    }

    /// Seconds after which the same request may succeed, if waiting helps.
    pub const fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Denial::ReservedByRunningWork { .. } => Some(2),
            Denial::TooManyAttempts { retry_after_seconds }
            | Denial::Throttled { retry_after_seconds, .. }
            | Denial::DailyCap { retry_after_seconds, .. }
            | Denial::ProviderBusy { retry_after_seconds, .. } => Some(*retry_after_seconds),
            Denial::InsufficientCredit { .. }
            | Denial::AccountFrozen { .. }
            | Denial::UnknownModel { .. }
            | Denial::UnpricedModel { .. }
            | Denial::UnknownSkill { .. }
            | Denial::UnknownPack { .. }
            | Denial::PromptTooLong { .. }
            | Denial::PriceChanged { .. }
            | Denial::ModelNotInPlan { .. }
            | Denial::PlanLimit { .. }
            | Denial::FundingChanged { .. }
            | Denial::TrialTaken
            | Denial::TrialNotOffered { .. }
            | Denial::Invalid { .. }
            | Denial::NotSignedIn
            | Denial::WrongCredentials
            | Denial::Forbidden { .. }
            | Denial::RoleMayNot { .. }
            | Denial::NotFound { .. }
            | Denial::LinkExpired { .. }
            | Denial::Upstream { .. }
            | Denial::NoPlatformKey { .. }
            | Denial::OwnKeyRefused { .. }
            | Denial::OwnAccountEmpty { .. }
            | Denial::PlatformKeyRefused { .. }
            | Denial::FallbackCap { .. }
            | Denial::AgentLimit { .. }
            | Denial::UnknownAgent { .. }
            | Denial::AgentStopped { .. }
            | Denial::AgentCap { .. }
            | Denial::KeyOfOtherAgent { .. }
            | Denial::CrossSite
            | Denial::PaymentDeclined { .. }
            | Denial::NoUsableKey
            | Denial::IdempotencyMismatch
            | Denial::Conflict { .. } => None,
        }
    }

    /// The same after waiting for so many seconds; `None` once the time is over, so that trying again may help.
    pub fn after_waiting(&self, seconds: u64) -> Option<Denial> {
        let mut later = self.clone();
        if let Denial::TooManyAttempts { retry_after_seconds }
        | Denial::Throttled { retry_after_seconds, .. }
        | Denial::DailyCap { retry_after_seconds, .. }
        | Denial::ProviderBusy { retry_after_seconds, .. } = &mut later
        {
            *retry_after_seconds = retry_after_seconds.checked_sub(seconds).filter(|left| *left > 0)?;
        }
        Some(later)
    }

    /// A throttled run behind so many that wait: each of them takes its place in the pace first. Other denials stay as
    /// they are.
    pub fn behind(mut self, others: u64) -> Denial {
        if let Denial::Throttled { a_minute, ahead, retry_after_seconds, .. } = &mut self {
            let longer = others.saturating_mul(60).div_ceil((*a_minute).max(1));
            *retry_after_seconds = retry_after_seconds.saturating_add(longer);
            *ahead = others;
        }
        self
    }

    /// Its place among those that wait, from 1; `None` where nobody waits in line.
    pub const fn queue_position(&self) -> Option<u64> {
        if let Denial::Throttled { ahead, .. } = self { Some(ahead.saturating_add(1)) } else { None }
    }

    /// What happened and what to do, in a sentence or two for the person who asked.
    pub fn sentence(&self) -> String {
        match self {
            Denial::InsufficientCredit { spendable, .. } if spendable.is_zero() => {
                NO_CREDIT.to_owned()
            }
            Denial::InsufficientCredit { needed, spendable } => format!(
                "This can cost up to {needed} and your spendable balance is {spendable}. Add credits to continue."
            ),
            Denial::ReservedByRunningWork { needed, spendable, held } => format!(
                "This can cost up to {needed}; {held} of your balance is held by running work and {spendable} is free. \
                 Try again when a run has finished."
            ),
            Denial::AccountFrozen { reason } => {
                format!("This account is frozen: {reason}. Running work is finished; new runs wait. Credits says what lifts it.")
            }
            Denial::UnknownModel { model } => {
                format!("There is no model `{model}` here. GET /v1/models lists the models you can use.")
            }
            Denial::UnpricedModel { model } => {
                format!("`{model}` has no price yet, so it was not called. Choose another model.")
            }
            Denial::UnknownSkill { skill } => format!("There is no skill `{skill}` here. Choose one from Tasks."),
            Denial::UnknownPack { pack } => {
                format!("There is no pack `{pack}`. Choose one of the packs under Credits.")
            }
            Denial::PromptTooLong { tokens, limit } => format!(
                "This is about {tokens} tokens and one run may take {limit}, its output included. Shorten the input."
            ),
            Denial::PriceChanged { shown, now } => format!(
                "The price changed since the preview: it showed at most {shown}, now it is at most {now}. \
                 Look at the new price and run it again if it suits you."
            ),
            Denial::ModelNotInPlan { model, plan, otherwise } => {
                format!("The {plan} plan does not include `{model}`. {}", otherwise.words())
            }
            Denial::PlanLimit { plan, limit, resets_at, otherwise } => format!(
                "The {limit} runs of your {plan} plan are used up until {}. {}",
                resets_at.utc_day(),
                otherwise.words()
            ),
            Denial::Throttled { plan, a_minute, after, ahead, retry_after_seconds } => {
                let line = match ahead {
                    0 => String::new(),
                    1 => " One that asked before this waits too.".to_owned(),
                    many => format!(" {many} that asked before this wait too."),
                };
                format!(
                    "Your {plan} plan runs {a_minute} a minute after {after} runs of a period.{line} Try again in {}, or add \
                     credits to run now.",
                    seconds(*retry_after_seconds)
                )
            }
            Denial::DailyCap { plan, cap, taken, needed, .. } => format!(
                "Your {plan} plan pays up to {cap} a day, {taken} of it is taken, and this can cost up to {needed}. It \
                 begins again at midnight UTC; credits pay now."
            ),
            Denial::FundingChanged { shown } => format!(
                "The preview said that this is paid from {}, and that no longer covers it. Look at the new preview and \
                 run it again if it suits you.",
                shown.words()
            ),
            Denial::TrialTaken => {
                "A trial was begun with this address or this card before; there is one for each person. If that was not \
                 you, tell us below and a person looks at it."
                    .to_owned()
            }
            Denial::TrialNotOffered { why } => format!("This trial cannot begin: {why}."),
            Denial::Invalid { field, problem, remedy } => format!("{field}: {problem}. {remedy}"),
            Denial::NotSignedIn => "Sign in to continue, or send a valid API key.".to_owned(),
            Denial::WrongCredentials => "The e-mail or the password is not right. Try again, or reset it. If you have just signed up, open the link in \
                 our mail first."
                .to_owned(),
            Denial::Forbidden { what } => format!("You are not allowed to {what}. Ask the owner of this account."),
            Denial::RoleMayNot { role, permission, account } => format!(
                "Your role here is {role}, which may not {}. Ask {} of {account}.",
                permission.what(),
                permission.who()
            ),
            Denial::NotFound { what } => format!("There is no such {what}."),
            Denial::TooManyAttempts { retry_after_seconds } => {
                format!("Too many attempts. Try again in {}.", seconds(*retry_after_seconds))
            }
            Denial::LinkExpired { what } => {
                format!("This {what} link was used, has expired, or is incomplete. Ask for a new one.")
            }
            Denial::Upstream { who, problem } => format!("{who} {problem}. Nothing was charged. Try again."),
            Denial::ProviderBusy { who, retry_after_seconds } => {
                format!("{who} is busy. Nothing was charged. Try again in {}.", seconds(*retry_after_seconds))
            }
            Denial::NoPlatformKey { provider } => {
                format!("{provider} is not set up here, so this model cannot run. Choose another model.")
            }
            Denial::OwnKeyRefused { provider, problem } => format!(
                "Your {provider} key {problem}. Nothing was charged, and nothing was paid from anything else. Look at it \
                 under Keys."
            ),
            Denial::OwnAccountEmpty { provider } => format!(
                "Your {provider} account has no credit left, or has reached its limit there. Nothing was charged. Add credit \
                 there, or let Tokenbank pay from your balance under Keys."
            ),
            Denial::PlatformKeyRefused { provider } => format!(
                "{provider} refuses our own key. That is ours to mend, and nothing was charged. Choose another model, or use a \
                 key of your own."
            ),
            Denial::FallbackCap { provider, cap, needed, left } => format!(
                "No {provider} key of yours works, and of the {cap} a month that may be paid instead {left} is left; this can \
                 cost up to {needed}. Nothing was charged. Mend the key, or raise the sum under Keys."
            ),
            Denial::AgentLimit { plan, limit, running } => {
                let agents = if *limit == 1 { "agent" } else { "agents" };
                let run = if *running == 1 { "does" } else { "do" };
                format!("Your {plan} plan lets {limit} {agents} run, and {running} {run}. Stop one, or upgrade.")
            }
            Denial::UnknownAgent { agent } => format!(
                "This account has no agent `{agent}`. Nothing was run. Add it under Agents, or leave out the header X-Tokenbank-Agent."
            ),
            Denial::AgentStopped { agent } => {
                format!("The agent `{agent}` is stopped, so nothing was run. Start it under Agents.")
            }
            Denial::AgentCap { agent, cap, least } => format!(
                "A run of the agent `{agent}` may cost {cap}, and this one can cost {least} for the shortest \
                 answer. Nothing was run. Shorten the input, choose a cheaper model, or raise the cap under Agents."
            ),
            Denial::KeyOfOtherAgent { agent, named } => format!(
                "This API key belongs to the agent `{agent}` and cannot run as `{named}`. Nothing was run. Leave out the header \
                 X-Tokenbank-Agent, or use an API key of the whole account."
            ),
            Denial::CrossSite => {
                "This request came from another site and was refused. Open the page itself.".to_owned()
            }
            Denial::PaymentDeclined { problem } => {
                format!("{problem} Nothing was charged and nothing was changed. Change the card, then try again.")
            }
            Denial::NoUsableKey => "This needs at least one provider key that works, and this account has none. Nothing was changed. Add a \
                                    key first; it is checked at its provider before it is saved."
                .to_owned(),
            Denial::IdempotencyMismatch => "This Idempotency-Key was used before with another request. Nothing was run. Send a new key for a new request."
                .to_owned(),
            Denial::Conflict { problem } => problem.clone(),
        }
    }

    /// The buttons that would help, best first.
    pub fn remedies(&self) -> Vec<Remedy> {
        let remedy = |label: &str, href: &str| Remedy { label: label.to_owned(), href: href.to_owned() };
        match self {
            Denial::InsufficientCredit { .. } => {
                vec![remedy("Add credits", "/credits"), remedy("Switch to your own key", "/keys")]
            }
            Denial::ReservedByRunningWork { .. } => {
                vec![remedy("See running work", "/usage"), remedy("Add credits", "/credits")]
            }
            Denial::UnknownModel { .. } | Denial::UnpricedModel { .. } | Denial::UnknownSkill { .. } => {
                vec![remedy("Choose a task", "/tasks")]
            }
            Denial::UnknownPack { .. } => vec![remedy("See the packs", "/credits")],
            Denial::ModelNotInPlan { .. } | Denial::PlanLimit { .. } => {
                vec![
                    remedy("Add credits", "/credits"),
                    remedy("Upgrade", "/plan"),
                    remedy("See your limits", "/limits"),
                ]
            }
            Denial::Throttled { .. } | Denial::DailyCap { .. } => {
                vec![remedy("Add credits", "/credits"), remedy("See your limits", "/limits")]
            }
            Denial::TrialTaken | Denial::TrialNotOffered { .. } => vec![remedy("See your limits", "/limits")],
            Denial::NotSignedIn | Denial::WrongCredentials => {
                vec![remedy("Sign in", "/sign-in"), remedy("Reset password", "/reset-password")]
            }
            Denial::LinkExpired { .. } => vec![remedy("Sign in", "/sign-in")],
            Denial::OwnKeyRefused { .. } | Denial::OwnAccountEmpty { .. } | Denial::FallbackCap { .. } => {
                vec![remedy("See your keys", "/keys")]
            }
            Denial::PlatformKeyRefused { .. } => {
                vec![remedy("Choose another model", "/tasks"), remedy("Add a key", "/keys")]
            }
            Denial::AgentLimit { .. } => vec![remedy("Stop an agent", "/agents"), remedy("Upgrade", "/plan")],
            Denial::UnknownAgent { .. } | Denial::AgentStopped { .. } | Denial::AgentCap { .. } => {
                vec![remedy("See your agents", "/agents")]
            }
            Denial::KeyOfOtherAgent { .. } => vec![remedy("See your API keys", "/api-keys")],
            Denial::AccountFrozen { .. } => vec![remedy("See what lifts it", "/credits#frozen")],
            Denial::PromptTooLong { .. }
            | Denial::PriceChanged { .. }
            | Denial::FundingChanged { .. }
            | Denial::Invalid { .. }
            | Denial::Forbidden { .. }
            | Denial::RoleMayNot { .. }
            | Denial::NotFound { .. }
            | Denial::TooManyAttempts { .. }
            | Denial::Upstream { .. }
            | Denial::ProviderBusy { .. }
            | Denial::NoPlatformKey { .. }
            | Denial::CrossSite
            | Denial::IdempotencyMismatch
            | Denial::Conflict { .. } => Vec::new(),
            Denial::NoUsableKey => vec![remedy("Add a key", "/keys")],
            Denial::PaymentDeclined { .. } => vec![remedy("Change the card", "/plan#payment")],
        }
    }

    /// A field that cannot be used, why, and what to do.
    pub fn invalid(field: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Denial {
        Denial::Invalid { field: field.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}

fn seconds(count: u64) -> String {
    if count == 1 { "1 second".to_owned() } else { format!("{count} seconds") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow() -> Denial {
        Denial::Throttled { plan: "Pro".to_owned(), a_minute: 4, after: 3_000, ahead: 0, retry_after_seconds: 9 }
    }

    #[test]
    fn who_waits_behind_others_is_told_its_place_and_its_own_time() {
        assert_eq!((slow().queue_position(), slow().retry_after_seconds()), (Some(1), Some(9)));
        let third = slow().behind(2);
        assert_eq!((third.queue_position(), third.retry_after_seconds()), (Some(3), Some(9 + 30)));
        assert!(third.sentence().contains("2 that asked before this wait too. Try again in 39 seconds"));
        assert!(slow().behind(1).sentence().contains("One that asked before this waits too."));
        assert_eq!((Denial::CrossSite.behind(7), Denial::CrossSite.queue_position()), (Denial::CrossSite, None));
    }

    #[test]
    fn waiting_makes_the_rest_shorter_until_it_is_over() {
        let last = slow().after_waiting(8).unwrap();
        assert_eq!(last.retry_after_seconds(), Some(1));
        assert!(last.sentence().contains("Try again in 1 second, or"), "{}", last.sentence());
        assert_eq!((slow().after_waiting(9), slow().after_waiting(10)), (None, None));
        assert_eq!(Denial::CrossSite.after_waiting(99), Some(Denial::CrossSite), "waiting does not help");
    }
}
