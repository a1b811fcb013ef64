//! Whose key pays: a small table of providers and classes, with a line for each model that says what its next run would use.
//! The lines come from the same function that decides a run.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::money::{Digits, text};
use crate::ui::table::Table;
use domain::catalogue::{Catalogue, Model, ModelClass};
use domain::denial::Denial;
use domain::id::{AgentId, ProviderKeyId};
use domain::key::{Choice, KeyPolicy, KeyRule, Rules};
use domain::money::Usd;
use domain::provider::Provider;
use leptos::prelude::*;
use server::Server;
use server::agent::Agent;
use server::error::Result;
use server::provider_key::{KeySummary, OwnKeys, load_own_for, set_agent_policy, set_policy};

/// What the rules are about, and what they would do now.
pub struct Policies<'a> {
    pub server: &'a Server,
    pub catalogue: &'a Catalogue,
    pub own: &'a OwnKeys,
    pub keys: &'a [KeySummary],
    pub manages: bool,
    /// The account's agents, and the one whose rules are shown; `None` for the account's own.
    pub agents: &'a [Agent],
    pub agent: Option<&'a Agent>,
    /// The form as it was sent, if it was refused.
    pub refused: Refused,
}

impl Policies<'_> {
    /// The section, or nothing where the catalogue is empty.
    pub fn section(&self) -> AnyView {
        let rows = Provider::ALL.iter().filter_map(|&provider| self.row(provider)).collect_view();
        let heads =
            ModelClass::ALL.iter().map(|class| view! { <th scope="col">{class_name(*class)}</th> }).collect_view();
        let manages = self.manages;
        let agent_id = self.agent.map(|agent| agent.agent_id.to_string());
        let address = self.agent.map_or_else(|| "/keys".to_owned(), |agent| of_agent(&agent.agent_id));
        view! {
            <section class="grid grid-cols-1 gap-4" aria-labelledby="policy">
                <div class="grid gap-1">
                    <h2 class="text-20 font-semibold" id="policy">
                        "Whose key pays"
                    </h2>
                    <p class="text-13 text-ink-muted">
                        "Without a rule, your key pays where there is one that fits, and nothing pays instead of it. Letting Tokenbank pay "
                        "when no key of yours works takes credit or your plan's runs, up to the sum that you write here, each month."
                    </p>
                </div>
                {self.chooser()}
                <form class="grid grid-cols-1 gap-4" method="post" action=address>
                    <ForAccount />
                    <input type="hidden" name="do" value="policy" />
                    {agent_id.map(|id| view! { <input type="hidden" name="agent_id" value=id /> })}
                    <Table caption="Whose key pays, by provider and class of model">
                        <thead>
                            <tr>
                                <th scope="col">"Provider"</th>
                                {heads}
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </Table>
                    {manages.then(|| view! { <button class="button w-fit">"Save the rules"</button> })}
                </form>
            </section>
        }
        .into_any()
    }

    /// Whose rules are shown, where there are agents.
    fn chooser(&self) -> Option<AnyView> {
        if self.agents.is_empty() {
            return None;
        }
        let chosen = self.agent.map(|agent| &agent.agent_id);
        let options = self
            .agents
            .iter()
            .map(|agent| {
                view! {
                    <option value=agent.agent_id.to_string() selected=chosen == Some(&agent.agent_id)>
                        {agent.name.clone()}
                    </option>
                }
            })
            .collect_view();
        Some(
            view! {
                <form class="flex flex-wrap items-end gap-3" method="get" action="/keys#policy">
                    <div class="field w-full max-w-80">
                        <label for="rules-of">"Rules of"</label>
                        <select class="input" id="rules-of" name="agent">
                            <option value="">"The whole account"</option>
                            {options}
                        </select>
                    </div>
                    <button class="button">"Show its rules"</button>
                </form>
            }
            .into_any(),
        )
    }

    /// The rule that is shown: the agent's own, or the account's.
    fn rule(&self, provider: Provider, class: ModelClass) -> Option<KeyRule> {
        let Rules { account, agent } = self.own.rules(provider, class);
        if self.agent.is_some() { agent } else { account }
    }

    fn row(&self, provider: Provider) -> Option<AnyView> {
        if !self.catalogue.models.iter().any(|model| model.provider == provider) {
            return None;
        }
        let cells = ModelClass::ALL.iter().map(|&class| self.cell(provider, class)).collect_view();
        Some(
            view! {
                <tr>
                    <th scope="row">{provider.name()}</th>
                    {cells}
                </tr>
            }
            .into_any(),
        )
    }

    fn cell(&self, provider: Provider, class: ModelClass) -> AnyView {
        let models: Vec<&Model> =
            self.catalogue.models.iter().filter(|model| model.provider == provider && model.class == class).collect();
        if models.is_empty() {
            return view! { <td class="text-ink-muted">"No model"</td> }.into_any();
        }
        let rule = self.rule(provider, class);
        let lines = models
            .iter()
            .map(|model| {
                let line = format!("{}: this run will use {}.", model.name, self.words(model));
                view! { <li>{line}</li> }
            })
            .collect_view();
        let spent = rule.filter(|rule| rule.cap.is_some()).map(spent_line);
        view! {
            <td class="align-top">
                <div class="policy-cell grid min-w-56 gap-2">
                    {self.controls(provider, class, rule)}
                    {spent.map(|spent| view! { <p class="text-13">{spent}</p> })}
                    <ul class="grid gap-1 text-13 text-ink-muted">{lines}</ul>
                </div>
            </td>
        }
        .into_any()
    }

    fn controls(&self, provider: Provider, class: ModelClass, rule: Option<KeyRule>) -> AnyView {
        let name = name_of(provider, class);
        let chosen = match self.refused.typed(&format!("policy-{name}")) {
            Some(typed) => typed.parse().ok(),
            None => rule.map(|rule| rule.policy),
        };
        let about = format!("{}, {}", provider.name(), class_name(class));
        if !self.manages {
            return view! { <p>{self.words_of(chosen)}</p> }.into_any();
        }
        let options = [None, Some(KeyPolicy::Own), Some(KeyPolicy::Platform), Some(KeyPolicy::OwnThenPlatform)]
            .into_iter()
            .map(|policy| {
                view! {
                    <option value=policy.map_or("none", KeyPolicy::as_str) selected=policy == chosen>
                        {self.words_of(policy)}
                    </option>
                }
            })
            .collect_view();
        let in_force = || rule.and_then(|rule| rule.cap).map(|cap| text(cap, Digits::Cents).replace(['$', ','], ""));
        let cap = self.refused.typed(&format!("cap-{name}")).or_else(in_force);
        view! {
            <select class="input" name=format!("policy-{name}") aria-label=format!("Whose key pays: {about}")>
                {options}
            </select>
            <label class="policy-cap items-center gap-2 text-13 text-ink-muted">
                "at most $"
                <input
                    class="input w-20"
                    name=format!("cap-{name}")
                    inputmode="decimal"
                    autocomplete="off"
                    value=cap
                    aria-label=format!("What Tokenbank may pay in a month, in dollars: {about}")
                />
                "a month"
            </label>
        }
        .into_any()
    }

    /// A choice as it is written: without a rule of its own an agent does as its account.
    fn words_of(&self, policy: Option<KeyPolicy>) -> &'static str {
        match (policy, self.agent) {
            (None, Some(_)) => "As the account",
            (policy, _) => policy_words(policy),
        }
    }

    /// What the next run of the model would use.
    pub fn words(&self, model: &Model) -> String {
        choice_words(self.server, self.keys, &self.own.choose(model), model)
    }
}

/// What a choice means for a person.
pub fn choice_words(server: &Server, keys: &[KeySummary], choice: &Choice<ProviderKeyId>, model: &Model) -> String {
    let ours = server.providers.choose(model.provider).is_ok();
    match choice {
        Choice::Own(id) => match keys.iter().find(|key| key.id == *id) {
            Some(key) => format!("your key “{}” ({})", key.label, key.hint),
            None => "your key".to_owned(),
        },
        Choice::Platform if ours => "our key, paid from your plan or credits".to_owned(),
        Choice::Platform => "nothing, for neither you nor we have a key for it".to_owned(),
        Choice::Instead { left } if ours => {
            format!("our key in place of yours, up to {} more this month", text(*left, Digits::Cents))
        }
        Choice::Instead { .. } => "nothing, for no key of yours works and we have none".to_owned(),
        Choice::NoneWorks => "nothing, for no key of yours works and nothing may pay instead".to_owned(),
    }
}

fn spent_line(rule: KeyRule) -> String {
    let cap = rule.cap.unwrap_or(Usd::ZERO);
    format!("{} of {} used this month", text(rule.spent, Digits::Cents), text(cap, Digits::Cents))
}

fn policy_words(policy: Option<KeyPolicy>) -> &'static str {
    match policy {
        None => "My key if there is one",
        Some(KeyPolicy::Own) => "My key alone",
        Some(KeyPolicy::Platform) => "Tokenbank's key",
        Some(KeyPolicy::OwnThenPlatform) => "My key, then Tokenbank",
    }
}

fn class_name(class: ModelClass) -> &'static str {
    match class {
        ModelClass::Fast => "Fast",
        ModelClass::Standard => "Standard",
        ModelClass::Heavy => "Heavy",
    }
}

fn name_of(provider: Provider, class: ModelClass) -> String {
    format!("{}-{}", provider.as_str(), class.as_str())
}

/// The page with an agent's rules.
pub fn of_agent(agent_id: &AgentId) -> String {
    format!("/keys?agent={agent_id}")
}

/// Saves the rules that differ from those in force, of the account or of one agent; where to go then.
pub async fn save(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let agent_id = Some(post.text("agent_id")).filter(|id| !id.is_empty()).map(AgentId::new);
    let own = load_own_for(server, &user.account_id, agent_id.as_ref()).await?;
    for &provider in Provider::ALL {
        for &class in ModelClass::ALL {
            let name = name_of(provider, class);
            let policy = match post.text(&format!("policy-{name}")) {
                "" => continue,
                "none" => None,
                text => {
                    let unknown = |_| Denial::invalid("policy", "is not one we know", "Choose one from the list.");
                    Some(text.parse::<KeyPolicy>().map_err(unknown)?)
                }
            };
            let cap = post.text(&format!("cap-{name}")).to_owned();
            let rules = own.rules(provider, class);
            let rule = if agent_id.is_some() { rules.agent } else { rules.account };
            let is_same = rule.map(|rule| rule.policy) == policy
                && (policy != Some(KeyPolicy::OwnThenPlatform)
                    || Usd::parse_typed(&cap) == rule.and_then(|rule| rule.cap));
            match (&agent_id, is_same) {
                (_, true) => {}
                (None, false) => set_policy(server, user, (provider, class), policy, &cap).await?,
                (Some(agent_id), false) => {
                    set_agent_policy(server, user, agent_id, (provider, class), (policy, &cap)).await?;
                }
            }
        }
    }
    Ok(match agent_id {
        Some(agent_id) => format!("{}&done=policy", of_agent(&agent_id)),
        None => "/keys?done=policy".to_owned(),
    })
}
