//! The form for a new key, and what came of checking it, beside the form: the same words whether it was answered in place or by a
//! page. What was typed comes back after a refusal, but for the key itself.

use super::connect;
use crate::post::{ForAccount, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::notice::{Notice, Tone};
use domain::key::KeyState;
use domain::provider::Provider;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use server::provider_key::{KeySummary, NotConnected};

/// The fields whose problems stand beside them.
pub const FIELDS: &[&str] = &["secret", "label", "url"];

pub fn section(refused: &Refused, came_of: Option<AnyView>) -> AnyView {
    let refused = refused.of("save");
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add">
            <h2 class="section-title" id="add">
                "Add a key"
            </h2>
            <form
                class="key-form grid grid-cols-1 gap-4"
                method="post"
                action="/keys"
                data-parts="key-fields key-result"
                data-parts-done="provider-keys key-rules key-missing"
            >
                <ForAccount />
                <input type="hidden" name="do" value="save" />
                <div class="grid grid-cols-1 items-start gap-4 sm:grid-cols-2" id="key-fields">
                    {fields(&refused)}
                </div>
                <div>
                    <Submit label="Check and save" />
                </div>
                <div
                    class="key-result text-13"
                    id="key-result"
                    aria-live="polite"
                    data-waiting="Checking the key at its provider, which takes ten seconds at most…"
                >
                    {came_of} {elsewhere(&refused)}
                </div>
            </form>
            {connect::button()}
        </section>
    }
    .into_any()
}

fn fields(refused: &Refused) -> AnyView {
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
        <div class="key-url">
            <Field
                label="Address of your Ollama"
                name="url"
                kind="url"
                value=refused.typed("url")
                problem=refused.problem("url")
                hint="Where it answers, such as https://ollama.example.com."
                optional=true
            />
        </div>
    }
    .into_any()
}

/// The offer to save a key at the provider whose it surely is.
fn elsewhere(refused: &Refused) -> Option<AnyView> {
    let other: Provider = refused.typed("looks_like")?.parse().ok()?;
    let label = format!("Save it at {} instead", other.name());
    Some(
        view! {
            <div class="grid justify-items-start gap-2">
                <button class="button" name="move_to" value=other.as_str()>
                    {label}
                </button>
                <p class="text-ink-muted">"If its field is empty, paste the key once more first: it was not kept."</p>
            </div>
        }
        .into_any(),
    )
}

/// What came of the form, or of OpenRouter's sign-in, as the address says after a redirect.
pub fn came_of(query: &ParamsMap, keys: &[KeySummary]) -> Option<AnyView> {
    if let Some(problem) = query.get("connect").and_then(|problem| problem.parse::<NotConnected>().ok()) {
        return Some(view! { <Notice tone=Tone::Danger title=problem.words() /> }.into_any());
    }
    let title = match query.get("done")?.as_str() {
        "saved" => "The key is saved.",
        "connected" => "OpenRouter is connected.",
        _ => return None,
    };
    let id = query.get("key")?;
    let key = keys.iter().find(|key| key.id.as_str() == id)?;
    let (tone, found) = found(key);
    Some(
        view! {
            <Notice tone=tone title=title>
                <p>{found}</p>
            </Notice>
        }
        .into_any(),
    )
}

/// What the provider said of a key, and what it means for runs.
pub fn found(key: &KeySummary) -> (Tone, String) {
    let name = key.provider.name();
    let said = key.problem.as_ref().map(|problem| format!(" {problem}")).unwrap_or_default();
    match key.state {
        KeyState::Valid => (
            Tone::Positive,
            format!("It works. {name}'s models run with it from now on, unless a rule below says otherwise.{said}"),
        ),
        KeyState::ValidNoCredit => (
            Tone::Caution,
            format!(
                "It works, but your {name} account has no credit: runs with it are refused until you add some there."
            ),
        ),
        KeyState::ValidRestricted => {
            (Tone::Caution, format!("It works, with restricted permissions: {name} refuses runs that need more."))
        }
        KeyState::RateLimited => {
            (Tone::Caution, format!("It works, and {name} slows it down at the moment. Runs with it may have to wait."))
        }
        KeyState::Unreachable => (
            Tone::Caution,
            format!(
                "Whether it works is not known yet.{said} It is asked about again by itself, and runs try it meanwhile."
            ),
        ),
        KeyState::RegionBlocked => (
            Tone::Caution,
            format!("{name} does not serve the region of this server, so nothing is run with it from here."),
        ),
        KeyState::Invalid => (Tone::Danger, format!("{name} refuses it, so nothing is run with it.")),
    }
}
