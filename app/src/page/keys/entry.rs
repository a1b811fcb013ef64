//! The form for a new key. What was typed comes back after a refusal, but for the key itself.

use crate::post::{ForAccount, Refused};
use crate::ui::form::{Field, Submit};
use domain::provider::Provider;
use leptos::prelude::*;

pub fn add_form(refused: &Refused) -> impl IntoView + use<> {
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
