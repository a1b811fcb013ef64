//! Owns: the users' own keys of providers: what a check can find, whose shape a pasted text has, and whose key pays.
//! Does not own: asking the provider, or storing the secret (`server::provider_key`).
//! Invariant: a shape is a hint; it refuses only what is surely no key for models, or surely another provider's.

use crate::denial::Denial;
use crate::id::{AgentId, ModelId};
use crate::key_health::KeyHealth;
use crate::money::Usd;
use crate::provider::Provider;

crate::text_enum! {
    /// What is known of a key: what the last check, or the last run, found. Only an invalid one is not saved.
    KeyState {
        Valid = "valid",
        ValidNoCredit = "valid_no_credit",
        ValidRestricted = "valid_restricted",
        /// It works; the provider slows it down at the moment.
        RateLimited = "rate_limited",
        Invalid = "invalid",
        /// The provider did not answer, so nothing is known.
        Unreachable = "unreachable",
        RegionBlocked = "region_blocked",
    }
}

crate::text_enum! {
    /// Whose key a provider's models of a class run with.
    KeyPolicy {
        /// Only with the account's own.
        Own = "own",
        /// Only with ours.
        Platform = "platform",
        /// With the account's own, and with ours when none of them works: by consent, up to a sum a month.
        OwnThenPlatform = "own_then_platform",
    }
}

impl KeyState {
    /// The state in words, as a row of the list says it.
    pub const fn words(self) -> &'static str {
        match self {
            KeyState::Valid => "Works",
            KeyState::ValidNoCredit => "Works, but your provider account has no credit",
            KeyState::ValidRestricted => "Works, with restricted permissions",
            KeyState::RateLimited => "Works, and is rate limited now",
            KeyState::Invalid => "Refused by the provider",
            KeyState::Unreachable => "Not checked: the provider could not be reached",
            KeyState::RegionBlocked => "The provider does not serve this server's region",
        }
    }

    /// Whether runs may be sent with it. What is not known is tried.
    pub const fn is_usable(self) -> bool {
        match self {
            KeyState::Valid
            | KeyState::ValidNoCredit
            | KeyState::ValidRestricted
            | KeyState::RateLimited
            | KeyState::Unreachable => true,
            KeyState::Invalid | KeyState::RegionBlocked => false,
        }
    }
}

/// What decides whether a run is made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<T> {
    pub key: T,
    pub state: KeyState,
    pub health: KeyHealth,
    /// `None` for every model of the provider.
    pub allowed_models: Option<Vec<ModelId>>,
    /// `None` for every run; else only for the runs of these agents.
    pub allowed_agents: Option<Vec<AgentId>>,
}

impl<T> Candidate<T> {
    /// Whether runs may be sent with it.
    pub fn is_usable(&self) -> bool {
        self.state.is_usable() && self.health != KeyHealth::Expired
    }

    /// Whether it is for such a run at all.
    fn allows(&self, asked: Asked<'_>) -> bool {
        let model = self.allowed_models.as_ref().is_none_or(|models| models.contains(asked.model));
        let agent = self.allowed_agents.as_ref().is_none_or(|agents| asked.agent.is_some_and(|id| agents.contains(id)));
        model && agent
    }
}

/// What an account, or one of its agents, has decided for a provider's models of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRule {
    pub policy: KeyPolicy,
    /// What ours may cost in a month in place of its own. Without it there is no consent, and nothing is paid.
    pub cap: Option<Usd>,
    /// What it has cost this month, runs that still go on with the most they can cost.
    pub spent: Usd,
}

/// The rules for a provider's models of a class that a run may be under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub account: Option<KeyRule>,
    /// What the run's agent decides otherwise; nothing where it does as its account.
    pub agent: Option<KeyRule>,
}

/// Whose decision a rule is, and so whose cap it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOf {
    Account,
    Agent,
}

impl Rules {
    /// The one rule that counts: the agent's own, else its account's, cap and all.
    pub fn in_force(self) -> Option<(RuleOf, KeyRule)> {
        let agent = self.agent.map(|rule| (RuleOf::Agent, rule));
        agent.or_else(|| self.account.map(|rule| (RuleOf::Account, rule)))
    }
}

/// What is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub model: &'a ModelId,
    /// The agent that makes the run, if one does.
    pub agent: Option<&'a AgentId>,
}

/// Whose key a run is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    Own(T),
    Platform,
    /// Ours in place of the account's own, because none of them works and the account said so beforehand; up to what is
    /// left of its cap.
    Instead {
        left: Usd,
    },
    /// The account wants its own key used, and none works.
    NoneWorks,
}

/// Whose key a run is made with: the first of the account's that is well, in their order, then the first that may work.
/// `candidates` are the keys of the model's provider that are switched on. Keys that do not allow the model, or are for other
/// agents, are as if they were not there. Falling back on ours is only ever by a rule that says so, with a cap.
pub fn choose<T>(rules: Rules, candidates: Vec<Candidate<T>>, asked: Asked<'_>) -> Choice<T> {
    let allows = |key: &Candidate<T>| key.allows(asked);
    let rule = rules.in_force().map(|(_, rule)| rule);
    let fitting: Vec<Candidate<T>> = candidates.into_iter().filter(allows).collect();
    let has_any = !fitting.is_empty();
    let (well, rest): (Vec<_>, Vec<_>) = fitting
        .into_iter()
        .filter(Candidate::is_usable)
        .partition(|key| key.health.is_well() && key.state != KeyState::ValidNoCredit);
    let well = well.into_iter().next();
    let tried = rest.into_iter().next();
    let policy = rule.map(|rule| rule.policy);
    match (policy, well, tried) {
        (Some(KeyPolicy::Platform), _, _) => Choice::Platform,
        (_, Some(key), _) => Choice::Own(key.key),
        (Some(KeyPolicy::OwnThenPlatform), None, tried) => {
            let left = rule.and_then(|rule| Some(rule.cap?.saturating_sub(rule.spent)));
            match (left, tried) {
                (Some(left), _) if left.is_positive() => Choice::Instead { left },
                (Some(_) | None, Some(key)) => Choice::Own(key.key),
                (Some(_) | None, None) => Choice::NoneWorks,
            }
        }
        (Some(KeyPolicy::Own) | None, None, Some(key)) => Choice::Own(key.key),
        (Some(KeyPolicy::Own), None, None) => Choice::NoneWorks,
        (None, None, None) if has_any => Choice::NoneWorks,
        (None, None, None) => Choice::Platform,
    }
}

/// A pasted text without what copying adds: spaces, quotes, line ends, `Bearer`.
pub fn tidy(pasted: &str) -> &str {
    let mut text = pasted;
    loop {
        let before = text.len();
        text = text.trim().trim_matches(['"', '\'', '`', '“', '”', ',', ';']);
        text = text.strip_prefix("Bearer ").unwrap_or(text);
        if text.len() == before {
            return text;
        }
    }
}

/// Whose key a text surely is, by its beginning. `None` where several are alike.
pub fn recognise(key: &str) -> Option<Provider> {
    if key.starts_with("sk-ant-") {
        Some(Provider::Anthropic)
    } else if key.starts_with("sk-or-v1-") {
        Some(Provider::OpenRouter)
    } else if ["sk-proj-", "sk-svcacct-", "sk-service-", "sk-admin-"].iter().any(|shape| key.starts_with(shape)) {
        Some(Provider::OpenAi)
    } else if key.starts_with("gsk_") {
        Some(Provider::Groq)
    } else if key.starts_with("AIzaSy") || key.starts_with("AQ.") {
        Some(Provider::Google)
    } else if key.starts_with("tgp_v1_") {
        Some(Provider::Together)
    } else {
        None
    }
}

/// The text as a key for the provider, or why it cannot be one. Nothing was sent anywhere yet.
pub fn checked(provider: Provider, pasted: &str) -> Result<&str, Denial> {
    const LONGEST: usize = 4_096;
    let invalid = |problem: &str, remedy: &str| Err(Denial::invalid("secret", problem, remedy));
    let key = tidy(pasted);
    let name = provider.name();
    if key.is_empty() {
        return invalid("No key was pasted", "Copy it from the provider's console and paste it here.");
    }
    if key.len() > LONGEST {
        return invalid("This is too long to be a key", "Paste the key alone.");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid("A key has no spaces, line breaks or accents in it", "Paste the key alone.");
    }
    if key.starts_with("ya29.") || key.starts_with("eyJ") || key.starts_with("sk-ant-oat") {
        return invalid(
            "This is a sign-in token, which ends in an hour, not an API key",
            "Make an API key at the provider.",
        );
    }
    if key.starts_with("sk-ant-admin") || key.starts_with("sk-admin-") {
        return invalid(
            "This is an admin key: it manages your organisation and runs no models, so it is not stored here",
            "Make an ordinary API key at the provider.",
        );
    }
    if key.starts_with("tb_") {
        return invalid("This is one of our own API keys", "Paste a key of the provider.");
    }
    match recognise(key) {
        Some(other) if other != provider && provider != Provider::Ollama => invalid(
            &format!("This looks like a key of {}, so it was not sent to {name}", other.name()),
            &format!("Paste it at {} instead.", other.name()),
        ),
        Some(_) | None => Ok(key),
    }
}

/// `sk-…AbCd`: the beginning up to its first dash, and the last four characters, if enough stays hidden.
pub fn hint(key: &str) -> String {
    let prefix = key.find(['-', '_']).filter(|at| *at <= 3).map_or("", |at| &key[..=at]);
    let ending = if key.len() >= 16 { key.get(key.len() - 4..).unwrap_or_default() } else { "" };
    format!("{prefix}…{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: u8, state: KeyState, models: Option<&[&str]>) -> Candidate<u8> {
        let allowed_models = models.map(|models| models.iter().map(|id| ModelId::new(*id)).collect());
        Candidate { key, state, health: KeyHealth::Healthy, allowed_models, allowed_agents: None }
    }

    #[test]
    fn whose_key_pays_is_a_table() {
        let of_health = |key, health| Candidate { health, ..candidate(key, KeyState::Valid, None) };
        let good = || candidate(1, KeyState::Valid, None);
        let dead = || candidate(2, KeyState::Invalid, None);
        let other = || candidate(3, KeyState::Valid, Some(&["other"]));
        let broke = || candidate(4, KeyState::ValidNoCredit, None);
        let failing = || of_health(5, KeyHealth::Failing);
        let expired = || of_health(6, KeyHealth::Expired);
        let model = ModelId::new("haiku");
        let dollars = |dollars| Usd::from_dollars(dollars).unwrap();
        let rule = |policy, cap| Some(KeyRule { policy, cap, spent: dollars(2) });
        let own = rule(KeyPolicy::Own, None);
        let platform = rule(KeyPolicy::Platform, None);
        let (unasked, both, used_up) = (
            rule(KeyPolicy::OwnThenPlatform, None),
            rule(KeyPolicy::OwnThenPlatform, Some(dollars(5))),
            rule(KeyPolicy::OwnThenPlatform, Some(dollars(2))),
        );
        let instead = Choice::Instead { left: dollars(3) };
        for (rule, keys, expected) in [
            (None, vec![], Choice::Platform),
            (None, vec![good()], Choice::Own(1)),
            (None, vec![dead(), good()], Choice::Own(1)),
            (None, vec![broke(), failing(), good()], Choice::Own(1)),
            (None, vec![failing(), broke()], Choice::Own(5)),
            (None, vec![expired()], Choice::NoneWorks),
            (None, vec![dead()], Choice::NoneWorks),
            (None, vec![other()], Choice::Platform),
            (own, vec![], Choice::NoneWorks),
            (own, vec![other()], Choice::NoneWorks),
            (own, vec![dead()], Choice::NoneWorks),
            (own, vec![broke()], Choice::Own(4)),
            (both, vec![], instead.clone()),
            (both, vec![dead()], instead.clone()),
            (both, vec![broke(), failing(), expired()], instead.clone()),
            (both, vec![broke(), good()], Choice::Own(1)),
            (used_up, vec![broke()], Choice::Own(4)),
            (used_up, vec![dead()], Choice::NoneWorks),
            (unasked, vec![dead()], Choice::NoneWorks),
            (unasked, vec![broke()], Choice::Own(4)),
            (platform, vec![good()], Choice::Platform),
        ] {
            let asked = Asked { model: &model, agent: None };
            let rules = Rules { account: rule, agent: None };
            assert_eq!(choose(rules, keys.clone(), asked), expected, "{rule:?} {keys:?}");
            // An agent that decides nothing does as its account; one that decides so, whatever its account does.
            let agent = AgentId::new("support");
            let asked = Asked { model: &model, agent: Some(&agent) };
            assert_eq!(choose(rules, keys.clone(), asked), expected, "{rule:?} {keys:?}");
            for account in [own, platform, both] {
                let rules = Rules { account, agent: rule };
                if rule.is_some() {
                    assert_eq!(choose(rules, keys.clone(), asked), expected, "{rules:?} {keys:?}");
                }
            }
        }
    }

    /// Spec §1: account × agent, without a key and with one.
    #[test]
    fn an_agents_own_rule_comes_before_its_accounts() {
        let (model, agent) = (ModelId::new("haiku"), AgentId::new("support"));
        let dollars = |dollars| Usd::from_dollars(dollars).unwrap();
        let rule = |policy| Some(KeyRule { policy, cap: None, spent: Usd::ZERO });
        let capped = |cap, spent| {
            Some(KeyRule { policy: KeyPolicy::OwnThenPlatform, cap: Some(dollars(cap)), spent: dollars(spent) })
        };
        let (own, platform) = (rule(KeyPolicy::Own), rule(KeyPolicy::Platform));
        let (mine, ours, none) = (Choice::Own(1), Choice::Platform, Choice::NoneWorks);
        let left = |left| Choice::Instead { left: dollars(left) };
        for (account, decided, without, with) in [
            (None, None, &ours, &mine),
            (own, None, &none, &mine),
            (platform, None, &ours, &ours),
            (capped(5, 1), None, &left(4), &mine),
            (None, own, &none, &mine),
            (platform, own, &none, &mine),
            (capped(5, 1), own, &none, &mine),
            (None, platform, &ours, &ours),
            (own, platform, &ours, &ours),
            (capped(5, 1), platform, &ours, &ours),
            (own, capped(9, 2), &left(7), &mine),
            // Each counts against its own cap: what the account has used up is not the agent's, and the other way.
            (capped(5, 5), capped(9, 2), &left(7), &mine),
            (capped(5, 1), capped(9, 9), &none, &mine),
        ] {
            let rules = Rules { account, agent: decided };
            let asked = Asked { model: &model, agent: Some(&agent) };
            assert_eq!(&choose(rules, Vec::new(), asked), without, "{rules:?} without a key");
            assert_eq!(&choose(rules, vec![candidate(1, KeyState::Valid, None)], asked), with, "{rules:?} with a key");
        }
    }

    #[test]
    fn a_key_for_certain_agents_is_nobody_elses() {
        let model = ModelId::new("haiku");
        let (support, report) = (AgentId::new("support"), AgentId::new("report"));
        let of = |key, agents: &[&AgentId]| Candidate {
            allowed_agents: Some(agents.iter().map(|id| (*id).clone()).collect()),
            ..candidate(key, KeyState::Valid, None)
        };
        let keys = || vec![of(1, &[&support]), of(2, &[&support, &report]), of(3, &[])];
        let own = Rules { account: Some(KeyRule { policy: KeyPolicy::Own, cap: None, spent: Usd::ZERO }), agent: None };
        for (agent, expected, alone) in [
            (Some(&support), Choice::Own(1), Choice::Own(1)),
            (Some(&report), Choice::Own(2), Choice::Own(2)),
            (Some(&AgentId::new("other")), Choice::Platform, Choice::NoneWorks),
            (None, Choice::Platform, Choice::NoneWorks),
        ] {
            let asked = Asked { model: &model, agent };
            assert_eq!(choose(Rules::default(), keys(), asked), expected, "{agent:?}");
            assert_eq!(choose(own, keys(), asked), alone, "{agent:?}");
        }
        let any = candidate(4, KeyState::Valid, None);
        let asked = Asked { model: &model, agent: None };
        assert_eq!(choose(own, vec![of(1, &[&support]), any], asked), Choice::Own(4));
    }

    #[test]
    fn pasted_text_is_tidied_and_surely_wrong_text_is_refused() {
        for pasted in [" sk-x1 \n", "\"sk-x1\"", "'sk-x1',", "Bearer sk-x1", "“sk-x1”"] {
            assert_eq!(checked(Provider::DeepSeek, pasted), Ok("sk-x1"), "{pasted:?}");
        }
        for (provider, pasted, words) in [
            (Provider::OpenAi, "  ", "No key"),
            (Provider::OpenAi, "sk-a b", "no spaces"),
            (Provider::OpenAi, "sk-admin-abc", "admin key"),
            (Provider::Anthropic, "sk-ant-admin01-abc", "admin key"),
            (Provider::Anthropic, "sk-ant-oat01-abc", "sign-in token"),
            (Provider::Google, "ya29.abc", "sign-in token"),
            (Provider::OpenAi, "sk-ant-api03-abc", "key of Anthropic"),
            (Provider::Groq, "sk-or-v1-abc", "key of OpenRouter"),
        ] {
            let denial = checked(provider, pasted).unwrap_err();
            assert!(denial.sentence().contains(words), "{}", denial.sentence());
        }
        assert!(checked(Provider::OpenAi, &"x".repeat(10 << 20)).is_err());
    }

    #[test]
    fn a_hint_shows_the_ends_and_never_a_short_key() {
        assert_eq!(hint("sk-ant-api03-aaaaaaaaaaaaAbCd"), "sk-…AbCd");
        assert_eq!(hint("gsk_0123456789abcdef"), "gsk_…cdef");
        assert_eq!(hint("0123456789abcdef0123"), "…0123");
        assert_eq!(hint("short"), "…");
    }
}
