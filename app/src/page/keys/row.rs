//! What is known of each provider's keys: how each stands, when it was used, and where it is in the order.

use super::{agents, health};
use crate::post::ForAccount;
use crate::ui::when::When;
use domain::catalogue::Catalogue;
use domain::key::KeyState;
use domain::key_health::KeyHealth;
use domain::provider::Provider;
use domain::time::Timestamp;
use leptos::prelude::*;
use server::Server;
use server::agent::Agent;
use server::provider_key::{KeyDay, KeySummary, OwnKeys};

/// What the rows of keys are made of.
pub struct Look<'a> {
    pub server: &'a Server,
    pub catalogue: &'a Catalogue,
    pub keys: &'a [KeySummary],
    pub own: &'a OwnKeys,
    pub agents: &'a [Agent],
    pub days: &'a [KeyDay],
    pub manages: bool,
    pub zone: &'a str,
    pub now: Timestamp,
}

impl Look<'_> {
    /// One provider with its keys, or what is missing.
    pub fn provider_row(&self, provider: Provider) -> AnyView {
        let own: Vec<&KeySummary> = self.keys.iter().filter(|key| key.provider == provider).collect();
        let models = self.catalogue.models.iter().filter(|model| model.provider == provider).count();
        let count = if models == 1 { "model".to_owned() } else { format!("{models} models") };
        let note = match (models, self.server.providers.choose(provider).is_ok(), own.is_empty()) {
            (0, _, _) => Some("The catalogue has no model of this provider.".to_owned()),
            (_, true, true) => Some(format!("No key. Its {count} can run on ours.")),
            (_, false, true) => Some(format!("No key. Its {count} can run with a key of yours.")),
            (_, _, false) => None,
        };
        let last = own.len().saturating_sub(1);
        let keys = own.iter().enumerate().map(|(at, key)| self.key_row(key, (at > 0, at < last))).collect_view();
        let keys = (!own.is_empty()).then(|| view! { <ol class="grid grid-cols-1 gap-4">{keys}</ol> });
        view! {
            <li class="grid grid-cols-1 gap-3 px-5 py-4">
                <h3 class="font-semibold">{provider.name()}</h3>
                {note.map(|note| view! { <p class="text-13 text-ink-muted">{note}</p> })}
                {keys}
            </li>
        }
        .into_any()
    }

    fn key_row(&self, key: &KeySummary, (up, down): (bool, bool)) -> AnyView {
        let (tone, state) = words(key);
        let (label, hint, url) = (key.label.clone(), key.hint.clone(), key.base_url.clone());
        let problem = key.problem.clone();
        let zone = self.zone.to_owned();
        let (checked_at, last_used, expires_at) = (key.checked_at, key.last_used_at, key.expires_at);
        let expires = expires_at.map(|at| {
            let words = if at <= self.now { "Expired on" } else { "Expires on" };
            format!("{words} {}", at.utc_day())
        });
        let spend = health::spend(&key.id, self.days);
        let handle = (self.manages && (up || down)).then(handle);
        view! {
            <li class="key-row flex flex-wrap items-start gap-3" data-item=key.id.to_string()>
                {handle}
                <div class="grid min-w-0 flex-1 basis-64 gap-1">
                    <p class="flex min-w-0 flex-wrap items-baseline gap-x-2">
                        <span class="clip max-w-64 font-medium" title=label.clone()>{label.clone()}</span>
                        <code class="text-13 text-ink-muted">{hint}</code>
                        {url.map(|url| view! { <span class="clip max-w-64 text-13 text-ink-muted" title=url.clone()>{url.clone()}</span> })}
                    </p>
                    <p class=tone>{state}</p>
                    {problem.map(|problem| view! { <p class="text-13 text-ink-muted">{problem}</p> })}
                    <p class="text-13 text-ink-muted">
                        "Checked " <When at=checked_at zone=zone.clone() />
                        {last_used.map(|at| view! { " · last used " <When at=at zone=zone /> })}
                        {spend.map(|spend| format!(" · {spend}"))}
                    </p>
                    {agents::line(key, self.agents).map(|line| view! { <p class="text-13 text-ink-muted">{line}</p> })}
                    {expires.map(|expires| view! { <p class="text-13 text-ink-muted">{expires}</p> })}
                    {health::line(&key.id, self.days, self.now)}
                </div>
                {self
                    .manages
                    .then(|| view! { <div class="key-actions flex flex-wrap items-start gap-2 sm:justify-end">{moves(key, up, down)} {self.more(key)}</div> })}
            </li>
        }
        .into_any()
    }
}

/// How a key stands, and its tone: trouble that lasts is said before the last answer.
fn words(key: &KeySummary) -> (&'static str, &'static str) {
    const WELL: &str = "state state-positive text-13";
    const CAUTION: &str = "state state-caution text-13";
    const DANGER: &str = "state state-danger text-13";
    if !key.is_enabled {
        return ("state text-13", "Switched off");
    }
    match (key.health, key.state) {
        (KeyHealth::Expired, _) => (DANGER, KeyHealth::Expired.words()),
        (_, KeyState::Invalid | KeyState::RegionBlocked) => (DANGER, key.state.words()),
        (KeyHealth::Failing, _) => (DANGER, KeyHealth::Failing.words()),
        (KeyHealth::NoCredit, _) => (CAUTION, KeyState::ValidNoCredit.words()),
        (KeyHealth::Limited, _) => (CAUTION, KeyHealth::Limited.words()),
        (KeyHealth::Healthy, KeyState::Valid) => (WELL, key.state.words()),
        (
            KeyHealth::Healthy,
            KeyState::ValidNoCredit | KeyState::ValidRestricted | KeyState::RateLimited | KeyState::Unreachable,
        ) => (CAUTION, key.state.words()),
    }
}

/// What the mouse takes hold of to drag a key; the buttons do the same by the keyboard.
fn handle() -> AnyView {
    let dots =
        [2, 8, 14].into_iter().flat_map(|y| [2, 8].map(|x| view! { <circle cx=x cy=y r="1.5" /> })).collect_view();
    view! {
        <span class="drag-handle" draggable="true" aria-hidden="true" title="Drag to change the order">
            <svg width="10" height="16" viewBox="0 0 10 16" fill="currentColor">
                {dots}
            </svg>
        </span>
    }
    .into_any()
}

/// The order of a provider's keys, by buttons that the keyboard reaches. `at` is for the mouse.
fn moves(key: &KeySummary, up: bool, down: bool) -> AnyView {
    if !up && !down {
        return ().into_any();
    }
    let (id, label) = (key.id.to_string(), key.label.clone());
    let button = |value: &'static str, sign: &'static str, words: String, enabled: bool| {
        view! {
            <button class="button" id=format!("{value}-{id}") name="to" value=value disabled=!enabled aria-label=words>
                {sign}
            </button>
        }
    };
    let (earlier, later) = (
        button("up", "↑", format!("Use {label} earlier"), up),
        button("down", "↓", format!("Use {label} later"), down),
    );
    view! {
        <form class="flex gap-2" method="post" action="/keys" data-parts-done="provider-keys key-rules">
            <ForAccount />
            <input type="hidden" name="do" value="move" />
            <input type="hidden" name="key_id" value=id.clone() />
            <input type="hidden" name="at" value="" />
            {earlier}
            {later}
        </form>
    }
    .into_any()
}
