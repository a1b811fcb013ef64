//! The agents whose runs a key is for: choosing them, and saying so.

use domain::id::AgentId;
use leptos::prelude::*;
use server::agent::Agent;
use server::provider_key::KeySummary;

/// What stands in place of the name of an agent that is no more.
const DELETED: &str = "a deleted agent";

/// The names of the agents that a key is for.
fn names(key: &KeySummary, agents: &[Agent]) -> Vec<String> {
    let name = |id: &AgentId| {
        let agent = agents.iter().find(|agent| agent.agent_id == *id);
        agent.map_or_else(|| DELETED.to_owned(), |agent| agent.name.clone())
    };
    key.allowed_agents.iter().flatten().map(name).collect()
}

/// For whose runs a key is, where it is not for all.
pub fn line(key: &KeySummary, agents: &[Agent]) -> Option<String> {
    let names = names(key, agents);
    (!names.is_empty()).then(|| format!("Only for runs of {}", names.join(", ")))
}

/// The choice. One that was deleted stays chosen until it is taken off, so that its key does not become everybody's.
pub fn field(key: &KeySummary, agents: &[Agent]) -> Option<AnyView> {
    let chosen = key.allowed_agents.as_deref().unwrap_or_default();
    let gone = chosen.iter().filter(|id| !agents.iter().any(|agent| agent.agent_id == **id));
    let mut choices: Vec<(AgentId, String)> =
        agents.iter().map(|agent| (agent.agent_id.clone(), agent.name.clone())).collect();
    choices.extend(gone.map(|id| (id.clone(), DELETED.to_owned())));
    if choices.is_empty() {
        return None;
    }
    let boxes = choices
        .into_iter()
        .map(|(id, name)| {
            let checked = chosen.contains(&id);
            view! {
                <label class="flex min-w-0 items-center gap-2">
                    <input type="checkbox" name="agent" value=id.to_string() checked=checked />
                    <span class="clip" title=name.clone()>
                        {name.clone()}
                    </span>
                </label>
            }
        })
        .collect_view();
    Some(
        view! {
            <fieldset class="grid min-w-0 gap-1.5">
                <legend class="field-label pb-1">"Only for runs of these agents; none chosen is every run"</legend>
                {boxes}
            </fieldset>
        }
        .into_any(),
    )
}
