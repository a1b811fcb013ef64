//! The users' own keys of providers: what is known of each, adding one, and changing, replacing or deleting it.
//! A key is typed once and never shown again; a form that was refused comes back without it.

mod health;
mod policy;

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::plan::missing_key_notice;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::{ModelId, ProviderKeyId};
use domain::key::{Choice, KeyState};
use domain::key_health::KeyHealth;
use domain::member::Permission;
use domain::provider::Provider;
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use policy::{Policies, choice_words};
use server::Server;
use server::error::Result;
use server::provider_key::{self, Change, KeyDay, KeySummary, NewKey, OwnKeys};
use server::subscription;

#[component]
pub fn KeysPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Keys, "Keys", async move {
        let (server, user) = signed_in()?;
        let keys = provider_key::list(&server, &user.account_id).await?;
        let catalogue = server.catalogue.load_full();
        let own = provider_key::load_own(&server, &user.account_id).await?;
        let days = provider_key::list_days(&server, &user.account_id).await?;
        let missing = subscription::load_missing_key(&server, &user.account_id).await?;
        let missing = missing_key_notice(missing, &user.time_zone, ("See your plan", "/plan"));
        let may_not = user.require(Permission::ManageKeys).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        // Beside its field only where the form has its fields open; else at the top.
        let beside: &[&str] = if refused.of("save").denial().is_some() { &["secret", "label", "url"] } else { &[] };
        let look = Look {
            server: &server,
            catalogue: &catalogue,
            keys: &keys,
            own: &own,
            days: &days,
            manages,
            zone: &user.time_zone,
            now: server.clock.now(),
        };
        let rows = Provider::ALL.iter().map(|&provider| look.provider_row(provider)).collect_view();
        let sent = refused.of("policy");
        let policies =
            Policies { server: &server, catalogue: &catalogue, own: &own, keys: &keys, manages, refused: sent };
        let policy = policies.section();
        Ok(view! {
            <div class="grid grid-cols-1 gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Keys"</h1>
                    <p class="lede">
                        "Your own keys of model providers. A run that uses one costs nothing here; the provider bills you, without a "
                        "markup."
                    </p>
                </div>
                {missing} {refused.notice(beside)}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {manages.then(|| add_form(&refused))}
                <section class="grid grid-cols-1 gap-4" aria-labelledby="providers">
                    <h2 class="text-20 font-semibold" id="providers">
                        "Providers"
                    </h2>
                    <ul class="card divide-y divide-line p-0">{rows}</ul>
                </section>
                {policy}
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "saved" => Some("The key is saved. Its provider's models run with it from now on."),
        "replaced" => Some("The new key is in use. The one before is gone."),
        "changed" => Some("The change is saved."),
        "moved" => Some("The order is saved. The first key that works is used."),
        "policy" => Some("The rules are saved. They count from the next run on."),
        "deleted" => {
            Some("The key is deleted. Its secret is erased here; end it at the provider too if it may be known.")
        }
        _ => None,
    }
}

fn add_form(refused: &Refused) -> impl IntoView + use<> {
    let refused = refused.of("save");
    let chosen = refused.typed("provider").and_then(|provider| provider.parse().ok()).unwrap_or(Provider::Anthropic);
    let options = Provider::ALL
        .iter()
        .map(|&provider| {
            view! {
                <option value=provider.as_str() selected=provider == chosen>
                    {provider.name()}
                </option>
            }
        })
        .collect_view();
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add">
            <h2 class="section-title" id="add">
                "Add a key"
            </h2>
            <form class="grid grid-cols-1 items-start gap-4 sm:grid-cols-2" method="post" action="/keys">
                <ForAccount />
                <input type="hidden" name="do" value="save" />
                <div class="field">
                    <label for="provider">"Provider"</label>
                    <select class="input" id="provider" name="provider">
                        {options}
                    </select>
                </div>
                <Field
                    label="Key"
                    name="secret"
                    kind="password"
                    problem=refused.problem("secret")
                    hint="It is checked at the provider, sealed, and never shown again. Ollama may do without."
                    optional=true
                />
                <Field
                    label="Label"
                    name="label"
                    value=refused.typed("label")
                    problem=refused.problem("label")
                    hint="To tell several keys apart; may stay empty."
                    optional=true
                />
                <Field
                    label="Address, for Ollama alone"
                    name="url"
                    kind="url"
                    value=refused.typed("url")
                    problem=refused.problem("url")
                    hint="Where your own Ollama answers, such as https://ollama.example.com."
                    optional=true
                />
                <div>
                    <Submit label="Check and save" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

/// What the rows of keys are made of.
struct Look<'a> {
    server: &'a Server,
    catalogue: &'a Catalogue,
    keys: &'a [KeySummary],
    own: &'a OwnKeys,
    days: &'a [KeyDay],
    manages: bool,
    zone: &'a str,
    now: Timestamp,
}

impl Look<'_> {
    /// One provider with its keys, or what is missing.
    fn provider_row(&self, provider: Provider) -> AnyView {
        let own: Vec<&KeySummary> = self.keys.iter().filter(|key| key.provider == provider).collect();
        let models = self.catalogue.models.iter().filter(|model| model.provider == provider).count();
        let count = if models == 1 { "1 model".to_owned() } else { format!("{models} models") };
        let note = match (models, self.server.providers.choose(provider).is_ok(), own.is_empty()) {
            (0, _, _) => Some("The catalogue has no model of this provider.".to_owned()),
            (_, true, true) => Some(format!("No key. Its {count} can run on ours.")),
            (_, false, true) => Some(format!("No key. Its {count} can run with a key of yours.")),
            (_, _, false) => None,
        };
        let last = own.len().saturating_sub(1);
        let keys = own.iter().enumerate().map(|(at, key)| self.key_row(key, (at > 0, at < last))).collect_view();
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
        view! {
            <div class="flex flex-wrap items-start justify-between gap-3">
                <div class="grid min-w-0 gap-1">
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
                    {expires.map(|expires| view! { <p class="text-13 text-ink-muted">{expires}</p> })}
                    {health::line(&key.id, self.days, self.now)}
                </div>
                {self.manages.then(|| view! { <div class="grid gap-2">{moves(key, up, down)} {self.more(key)}</div> })}
            </div>
        }
        .into_any()
    }

    /// What a key's deletion means for runs, model by model.
    fn depends(&self, key: &KeySummary) -> Vec<String> {
        let without = self.own.without(&key.id);
        let mut lines: Vec<String> = self
            .catalogue
            .models
            .iter()
            .filter(|model| model.provider == key.provider && self.own.choose(model) == Choice::Own(key.id.clone()))
            .map(|model| {
                let then = choice_words(self.server, self.keys, &without.choose(model), model);
                format!("{} runs with it now; then it will use {then}.", model.name)
            })
            .collect();
        if self.own.has_usable() && !without.has_usable() {
            lines.push("It is your last key that works: a plan at the own-key price needs one.".to_owned());
        }
        if lines.is_empty() {
            lines.push("Nothing runs with it at the moment.".to_owned());
        }
        lines
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

/// The order of a provider's keys, by buttons that the keyboard reaches.
fn moves(key: &KeySummary, up: bool, down: bool) -> AnyView {
    if !up && !down {
        return ().into_any();
    }
    let button = |value: &'static str, sign: &'static str, label: String, enabled: bool| {
        view! {
            <button class="button" name="to" value=value disabled=!enabled aria-label=label>
                {sign}
            </button>
        }
    };
    let (id, label) = (key.id.to_string(), key.label.clone());
    view! {
        <form class="flex gap-2" method="post" action="/keys">
            <ForAccount />
            <input type="hidden" name="do" value="move" />
            <input type="hidden" name="key_id" value=id />
            {button("up", "↑", format!("Use {label} earlier"), up)}
            {button("down", "↓", format!("Use {label} later"), down)}
        </form>
    }
    .into_any()
}

/// What may be done with a key: changed, replaced, deleted.
impl Look<'_> {
    fn more(&self, key: &KeySummary) -> AnyView {
        let catalogue = self.catalogue;
        let depends = self.depends(key).into_iter().map(|line| view! { <li>{line}</li> }).collect_view();
        let expires = key.expires_at.map(date_of);
        let (id, label) = (key.id.to_string(), key.label.clone());
        let (name, is_enabled) = (label.clone(), key.is_enabled);
        let id_of = |what: &str| format!("{what}-{id}");
        let models: Vec<_> = catalogue
            .models
            .iter()
            .filter(|model| model.provider == key.provider)
            .map(|model| {
                let allowed = key.allowed_models.as_ref().is_some_and(|allowed| allowed.contains(&model.id));
                let (value, name) = (model.id.to_string(), model.name.clone());
                view! {
                    <label class="flex items-center gap-2">
                        <input type="checkbox" name="model" value=value checked=allowed />
                        {name}
                    </label>
                }
            })
            .collect();
        let (label_id, secret_id, expires_id) = (id_of("label"), id_of("secret"), id_of("expires"));
        let provider = key.provider.as_str();
        let url = key.base_url.clone().unwrap_or_default();
        let (change_id, replace_id, delete_id) = (id.clone(), id.clone(), id);
        view! {
        <details class="w-full sm:w-96">
            <summary class="button w-fit" aria-label=format!("Change {name}")>"Change"</summary>
            <div class="grid grid-cols-1 gap-5 pt-4">
                <form class="grid grid-cols-1 gap-3" method="post" action="/keys">
                    <ForAccount />
                    <input type="hidden" name="do" value="change" />
                    <input type="hidden" name="key_id" value=change_id />
                    <div class="field">
                        <label for=label_id.clone()>"Label"</label>
                        <input class="input" id=label_id name="label" value=label autocomplete="off" />
                    </div>
                    {(!models.is_empty())
                        .then(|| {
                            view! {
                                <fieldset class="grid gap-1.5">
                                    <legend class="field-label pb-1">"Only for these models; none chosen is all"</legend>
                                    {models}
                                </fieldset>
                            }
                        })}
                    <label class="flex items-center gap-2">
                        <input type="checkbox" name="enabled" value="yes" checked=is_enabled />
                        "Use it"
                    </label>
                    <div class="field">
                        <label for=expires_id.clone()>"Last day; empty for no end"</label>
                        <input class="input" id=expires_id name="expires" type="date" value=expires />
                    </div>
                    <button class="button w-fit">"Save the change"</button>
                </form>
                <form class="grid grid-cols-1 gap-3 border-t border-line pt-4" method="post" action="/keys">
                    <ForAccount />
                    <input type="hidden" name="do" value="replace" />
                    <input type="hidden" name="key_id" value=replace_id />
                    <input type="hidden" name="provider" value=provider />
                    <input type="hidden" name="url" value=url />
                    <input type="hidden" name="label" value=name.clone() />
                    <div class="field">
                        <label for=secret_id.clone()>"New key"</label>
                        <input class="input" id=secret_id name="secret" type="password" autocomplete="off" required />
                    </div>
                    <button class="button w-fit">"Check and replace"</button>
                </form>
                <form class="grid grid-cols-1 gap-3 border-t border-line pt-4" method="post" action="/keys">
                    <ForAccount />
                    <input type="hidden" name="do" value="delete" />
                    <input type="hidden" name="key_id" value=delete_id />
                    <div class="grid gap-1 text-13">
                        <p>"Its secret is erased at once."</p>
                        <ul class="grid gap-1">{depends}</ul>
                    </div>
                    <button class="button button-danger w-fit">"Delete the key"</button>
                </form>
            </div>
        </details>
    }
    .into_any()
    }
}

/// `2027-01-15`, as a date field writes it: the last day that ends at this moment.
fn date_of(expires_at: Timestamp) -> String {
    let last =
        time::OffsetDateTime::from_unix_timestamp(expires_at.seconds() - 1).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    last.date().to_string()
}

/// The end of the day that a date field names, in UTC.
fn end_of(date: &str) -> Result<Option<Timestamp>> {
    if date.is_empty() {
        return Ok(None);
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(date, &format)
        .map_err(|_| Denial::invalid("expires", "is no date", "Write it as 2027-12-31, or leave it empty."))?;
    let midnight = date.midnight().assume_utc().unix_timestamp();
    Ok(Some(Timestamp::from_seconds(midnight).plus_seconds(86_400)))
}

/// The order of the keys after one of them was moved past its neighbour of the same provider.
fn moved(keys: &[KeySummary], id: &ProviderKeyId, to: &str) -> Vec<ProviderKeyId> {
    let mut order: Vec<ProviderKeyId> = keys.iter().map(|key| key.id.clone()).collect();
    let Some(at) = keys.iter().position(|key| key.id == *id) else { return order };
    let of_same = |other: &usize| keys[*other].provider == keys[at].provider;
    let neighbour = if to == "up" { (0..at).rev().find(of_same) } else { (at + 1..keys.len()).find(of_same) };
    if let Some(neighbour) = neighbour {
        order.swap(at, neighbour);
    }
    order
}

/// `POST /keys`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let id = ProviderKeyId::new(post.text("key_id"));
    let new = |replaces| -> Result<NewKey<'_>> {
        let unknown = |_| Denial::invalid("provider", "is not one we know", "Choose one from the list.");
        let provider = post.text("provider").parse().map_err(unknown)?;
        Ok(NewKey { provider, secret: post.text("secret"), url: post.text("url"), label: post.text("label"), replaces })
    };
    let done = match post.text("do") {
        "save" => provider_key::save(server, user, new(None)?).await.map(|_| "saved"),
        "replace" => provider_key::save(server, user, new(Some(&id))?).await.map(|_| "replaced"),
        "change" => {
            let change = Change {
                label: post.text("label"),
                allowed_models: post.texts("model").map(ModelId::new).collect(),
                is_enabled: post.text("enabled") == "yes",
                is_first: false,
                expires_at: end_of(post.text("expires"))?,
            };
            provider_key::change(server, user, &id, change).await.map(|()| "changed")
        }
        "move" => {
            let keys = provider_key::list(server, &user.account_id).await?;
            provider_key::reorder(server, user, &moved(&keys, &id, post.text("to"))).await.map(|()| "moved")
        }
        "policy" => policy::save(post).await.map(|()| "policy"),
        "delete" => provider_key::delete(server, user, &id).await.map(|()| "deleted"),
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }?;
    Ok(format!("/keys?done={done}"))
}
