//! What may be done with a key: it is changed, replaced or deleted, and its deletion says what it means for runs.

use super::agents;
use super::policy::choice_words;
use super::row::Look;
use crate::post::ForAccount;
use domain::key::Choice;
use domain::time::Timestamp;
use leptos::prelude::*;
use server::provider_key::KeySummary;

impl Look<'_> {
    /// The forms of a key, behind a word that opens them.
    pub fn more(&self, key: &KeySummary) -> AnyView {
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
        <details class="key-change">
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
                    {agents::field(key, self.agents)}
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
        if key.allowed_agents.is_some() {
            lines.push("Its agents' runs will use another key that is for them, or what your rules say.".to_owned());
        }
        if self.own.has_usable() && !without.has_usable() {
            lines.push("It is your last key that works: a plan at the own-key price needs one.".to_owned());
        }
        if lines.is_empty() {
            lines.push("Nothing runs with it at the moment.".to_owned());
        }
        lines
    }
}

/// `2027-01-15`, as a date field writes it: the last day that ends at this moment.
fn date_of(expires_at: Timestamp) -> String {
    let last =
        time::OffsetDateTime::from_unix_timestamp(expires_at.seconds() - 1).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    last.date().to_string()
}
