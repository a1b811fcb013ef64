//! The users' own keys of providers: what is known of each, adding one, and changing, replacing or deleting it.
//! A key is typed once and never shown again; a form that was refused comes back without it.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::{ModelId, ProviderKeyId};
use domain::key::KeyState;
use domain::member::Permission;
use domain::provider::Provider;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::Server;
use server::error::Result;
use server::provider_key::{self, Change, KeySummary, NewKey};

#[component]
pub fn KeysPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Keys, "Keys", async move {
        let (server, user) = signed_in()?;
        let keys = provider_key::list(&server, &user.account_id).await?;
        let catalogue = server.catalogue.load_full();
        let may_not = user.require(Permission::ManageKeys).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        // Beside its field only where the form has its fields open; else at the top.
        let beside: &[&str] = if refused.of("save").denial().is_some() { &["secret", "label", "url"] } else { &[] };
        let rows = Provider::ALL
            .iter()
            .map(|&provider| provider_row(&server, provider, &keys, (&catalogue, manages), &user.time_zone))
            .collect_view();
        Ok(view! {
            <div class="grid grid-cols-1 gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Keys"</h1>
                    <p class="lede">
                        "Your own keys of model providers. A run that uses one costs nothing here; the provider bills you, without a "
                        "markup."
                    </p>
                </div>
                {refused.notice(beside)}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {manages.then(|| add_form(&refused))}
                <section class="grid grid-cols-1 gap-4" aria-labelledby="providers">
                    <h2 class="text-20 font-semibold" id="providers">
                        "Providers"
                    </h2>
                    <ul class="card divide-y divide-line p-0">{rows}</ul>
                </section>
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

/// One provider with its keys, or what is missing.
fn provider_row(
    server: &Server,
    provider: Provider,
    keys: &[KeySummary],
    (catalogue, manages): (&Catalogue, bool),
    zone: &str,
) -> AnyView {
    let own: Vec<&KeySummary> = keys.iter().filter(|key| key.provider == provider).collect();
    let models = catalogue.models.iter().filter(|model| model.provider == provider).count();
    let note = match (models, server.providers.can_run(provider), own.is_empty()) {
        (_, false, _) => Some("Keys are checked and kept, but runs on this provider are not possible yet.".to_owned()),
        (0, true, _) => Some("The catalogue has no model of this provider.".to_owned()),
        (1, true, true) => Some("No key. 1 model runs on ours.".to_owned()),
        (models, true, true) => Some(format!("No key. {models} models run on ours.")),
        (_, true, false) => None,
    };
    let keys = own.into_iter().map(|key| key_row(key, (catalogue, manages), zone)).collect_view();
    view! {
        <li class="grid grid-cols-1 gap-3 px-5 py-4">
            <h3 class="font-semibold">{provider.name()}</h3>
            {note.map(|note| view! { <p class="text-13 text-ink-muted">{note}</p> })}
            {keys}
        </li>
    }
    .into_any()
}

fn key_row(key: &KeySummary, (catalogue, manages): (&Catalogue, bool), zone: &str) -> AnyView {
    let tone = match key.state {
        _ if !key.is_enabled => "state text-13",
        KeyState::Valid => "state state-positive text-13",
        KeyState::ValidNoCredit | KeyState::ValidRestricted | KeyState::RateLimited | KeyState::Unreachable => {
            "state state-caution text-13"
        }
        KeyState::Invalid | KeyState::RegionBlocked => "state state-danger text-13",
    };
    let state = if key.is_enabled { key.state.words() } else { "Switched off" };
    let (label, hint, problem, url) = (key.label.clone(), key.hint.clone(), key.problem.clone(), key.base_url.clone());
    let zone = zone.to_owned();
    let (checked_at, last_used) = (key.checked_at, key.last_used_at);
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
                </p>
            </div>
            {manages.then(|| more(key, catalogue))}
        </div>
    }
    .into_any()
}

/// What may be done with a key: changed, replaced, deleted.
fn more(key: &KeySummary, catalogue: &Catalogue) -> AnyView {
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
    let (label_id, secret_id) = (id_of("label"), id_of("secret"));
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
                    <label class="flex items-center gap-2">
                        <input type="checkbox" name="first" value="yes" />
                        "Before this provider's other keys"
                    </label>
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
                    <p class="text-13">
                        "Its secret is erased at once. Runs of its models use your next key of this provider; without one, what your plan "
                        "and your credits pay for."
                    </p>
                    <button class="button button-danger w-fit">"Delete the key"</button>
                </form>
            </div>
        </details>
    }
    .into_any()
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
                is_first: post.text("first") == "yes",
            };
            provider_key::change(server, user, &id, change).await.map(|()| "changed")
        }
        "delete" => provider_key::delete(server, user, &id).await.map(|()| "deleted"),
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }?;
    Ok(format!("/keys?done={done}"))
}
