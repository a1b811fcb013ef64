//! The account's agents: making one, starting and stopping, what one run may cost, and deleting with what hangs on it.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::money::Money;
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::agent::AgentState;
use domain::denial::Denial;
use domain::entitlement::Entitlements;
use domain::id::AgentId;
use domain::member::Permission;
use domain::money::Usd;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::agent::{self, Agent, NewAgent};
use server::entitlement;
use server::error::Result;

/// `GET /agents`.
#[component]
pub fn AgentsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Agents, "Agents", async move {
        let (server, user) = signed_in()?;
        let agents = agent::list(&server, &user.account_id).await?;
        let now = entitlement::load(&server, &user.account_id).await?;
        let may_not = user.require(Permission::ManageAgents).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        // Beside its field only where the form has its fields open; else at the top.
        let is_beside = refused.of("create").denial().is_some() || refused.of("change").denial().is_some();
        let beside: &[&str] = if is_beside { &["name", "run_cap"] } else { &[] };
        let rows = agents.iter().map(|agent| row(agent, manages, &user.time_zone, &refused)).collect_view();
        Ok(view! {
            <div class="grid max-w-4xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <h1 class="page-title">"Agents"</h1>
                    <p class="lede">{running_line(&now)}</p>
                    <p class="text-13">
                        "An API key can belong to an agent; with one of the whole account, each call names its agent by the header "
                        <code>"X-Tokenbank-Agent"</code> ". " <a class="underline" href="/api-keys">
                            "See the API keys"
                        </a>
                    </p>
                </div>
                {refused.notice(beside)}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {if agents.is_empty() {
                    view! {
                        <Empty
                            title="No agent yet"
                            text="An agent is a program of yours with a name here: its runs are told apart from others, cost no more than you allow, and end when you stop it."
                        />
                    }
                        .into_any()
                } else {
                    view! { <ul class="card divide-y divide-line p-0" aria-label="Agents">{rows}</ul> }.into_any()
                }}
                {manages.then(|| add_form(&refused.of("create")))}
            </div>
        })
    })
}

/// How many run, of how many that may.
fn running_line(now: &Entitlements) -> String {
    let (running, plan) = (now.running_agents_used, &now.plan_name);
    match now.running_agents {
        Some(limit) => format!("{running} of the {limit} that your {plan} plan lets run at a time."),
        None => format!("{running} running. Your {plan} plan sets no limit."),
    }
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "created" => Some("The agent is made."),
        "changed" => Some("The change is saved. It counts from the next run on."),
        "started" => Some("The agent runs."),
        "stopped" => Some("The agent is stopped. Its calls are refused; a run that is on its way ends by itself."),
        "deleted" => Some("The agent is deleted. What it ran stays in your usage."),
        _ => None,
    }
}

fn add_form(refused: &Refused) -> AnyView {
    let starts = refused.denial().is_none() || refused.typed("start").is_some();
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add">
            <h2 class="section-title" id="add">
                "Add an agent"
            </h2>
            <form class="grid grid-cols-1 items-start gap-4 sm:grid-cols-2" method="post" action="/agents">
                <ForAccount />
                <input type="hidden" name="do" value="create" />
                <Field
                    label="Name"
                    name="name"
                    value=refused.typed("name")
                    problem=refused.problem("name")
                    hint="After what it does, such as Support triage."
                />
                <Field
                    label="A run costs at most, in dollars"
                    name="run_cap"
                    value=refused.typed("run_cap")
                    problem=refused.problem("run_cap")
                    hint="Such as 0.05. Empty is no cap of its own."
                    optional=true
                />
                <label class="flex items-center gap-2">
                    <input type="checkbox" name="start" value="yes" checked=starts />
                    "Start it now"
                </label>
                <div class="sm:col-start-1">
                    <Submit label="Add the agent" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

fn row(agent: &Agent, manages: bool, zone: &str, refused: &Refused) -> AnyView {
    let name = agent.name.clone();
    let (tone, state) = match agent.state {
        AgentState::Running => ("state state-positive", "Running"),
        AgentState::Stopped => ("state", "Stopped"),
    };
    let usage = format!("/usage?agent={}#runs", agent.agent_id);
    let rules = match agent.key_rules {
        0 => "Keys as the account".to_owned(),
        some => counted(some, "rule of its own for keys", "rules of its own for keys"),
    };
    let rules_href = format!("/keys?agent={}#policy", agent.agent_id);
    let rules_label = format!("{rules}: {name}");
    let keys = counted(agent.api_keys, "API key", "API keys");
    let cap = agent.run_cap.map(|cap| view! { " · at most " <Money amount=cap /> " a run" });
    let zone = zone.to_owned();
    let last = match agent.last_run_at {
        Some(at) => view! {
            <a class="underline" href=usage aria-label=format!("Runs of {}", agent.name)>
                "Last run"
            </a>
            " "
            <When at=at zone=zone />
        }
        .into_any(),
        None => view! { "Nothing ran yet" }.into_any(),
    };
    view! {
        <li class="person-row items-start" aria-label=name.clone()>
            <div class="grid min-w-0 gap-1">
                <p class="clip font-medium" title=name.clone()>
                    {name.clone()}
                </p>
                <p class="text-13">
                    <span class=tone>{state}</span>
                    <span class="text-ink-muted">{cap}</span>
                </p>
                <p class="text-13 text-ink-muted">
                    {keys} " · " <a class="underline" href=rules_href aria-label=rules_label>
                        {rules}
                    </a> " · " {last}
                </p>
            </div>
            {manages
                .then(|| view! { <div class="flex flex-wrap items-start gap-2">{switch(agent)} {more(agent, refused)}</div> })}
        </li>
    }
    .into_any()
}

/// Starts what is stopped, and stops what runs.
fn switch(agent: &Agent) -> AnyView {
    let (what, label) = match agent.state {
        AgentState::Running => ("stop", "Stop"),
        AgentState::Stopped => ("start", "Start"),
    };
    let (id, name) = (agent.agent_id.to_string(), format!("{label} {}", agent.name));
    view! {
        <form method="post" action="/agents">
            <ForAccount />
            <input type="hidden" name="do" value=what />
            <input type="hidden" name="agent_id" value=id />
            <button class="button" aria-label=name>
                {label}
            </button>
        </form>
    }
    .into_any()
}

/// Renaming, the cap, and deleting.
fn more(agent: &Agent, refused: &Refused) -> AnyView {
    let id = agent.agent_id.to_string();
    // What was refused of this agent comes back open, with what was typed.
    let refused = refused.of("change");
    let refused = if refused.typed("agent_id").as_ref() == Some(&id) { refused } else { Refused::default() };
    let is_open = refused.denial().is_some();
    let name = refused.typed("name").unwrap_or_else(|| agent.name.clone());
    let cap = refused.typed("run_cap").or_else(|| agent.run_cap.map(plain));
    let depends = depends(agent).into_iter().map(|line| view! { <li>{line}</li> }).collect_view();
    let delete_id = id.clone();
    view! {
        <details class="open:w-full sm:open:w-80" open=is_open>
            <summary class="button w-fit" aria-label=format!("Change {}", agent.name)>
                "Change"
            </summary>
            <div class="grid grid-cols-1 gap-5 pt-4">
                <form class="grid grid-cols-1 gap-3" method="post" action="/agents">
                    <ForAccount />
                    <input type="hidden" name="do" value="change" />
                    <input type="hidden" name="agent_id" value=id.clone() />
                    {field(("Name", "name"), &id, Some(name), refused.problem("name"))}
                    {field(("A run costs at most, in dollars", "run_cap"), &id, cap, refused.problem("run_cap"))}
                    <button class="button w-fit">"Save the change"</button>
                </form>
                <form class="grid grid-cols-1 gap-3 border-t border-line pt-4" method="post" action="/agents">
                    <ForAccount />
                    <input type="hidden" name="do" value="delete" />
                    <input type="hidden" name="agent_id" value=delete_id />
                    <ul class="grid gap-1 text-13">{depends}</ul>
                    <button class="button button-danger w-fit">"Delete the agent"</button>
                </form>
            </div>
        </details>
    }
    .into_any()
}

/// A field of one agent's form; there are several forms with the same fields on the page.
fn field(
    (label, name): (&'static str, &'static str),
    id: &str,
    value: Option<String>,
    problem: Option<String>,
) -> AnyView {
    let id = format!("{name}-{id}");
    let problem_id = format!("{id}-problem");
    let described_by = problem.as_ref().map(|_| problem_id.clone());
    view! {
        <div class="field">
            <label for=id.clone()>{label}</label>
            <input
                class="input"
                id=id
                name=name
                value=value
                autocomplete="off"
                aria-invalid=problem.is_some().then_some("true")
                aria-describedby=described_by
            />
            {problem.map(|problem| view! { <p class="field-problem" id=problem_id>{problem}</p> })}
        </div>
    }
    .into_any()
}

/// What deleting an agent means.
fn depends(agent: &Agent) -> Vec<String> {
    let mut lines = vec!["What it ran stays in your usage, under its name.".to_owned()];
    if agent.state == AgentState::Running {
        lines.push("It runs now; a run that is on its way ends by itself.".to_owned());
    }
    if agent.api_keys > 0 {
        let keys = counted(agent.api_keys, "API key", "API keys");
        let ends = if agent.api_keys == 1 { "ends" } else { "end" };
        lines.push(format!("Its {keys} {ends} at once: programs that use one are refused."));
    }
    if agent.key_rules > 0 {
        lines.push(format!("Its {} go.", counted(agent.key_rules, "rule for keys", "rules for keys")));
    }
    if agent.provider_keys > 0 {
        let keys = counted(agent.provider_keys, "provider key is", "provider keys are");
        lines.push(format!("{keys} for certain agents, this one among them: no other run uses them by that."));
    }
    lines
}

fn counted(number: i64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// `0.05`, as a field writes it.
fn plain(cap: Usd) -> String {
    cap.to_string().replace(['$', ','], "")
}

/// `POST /agents`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let id = AgentId::new(post.text("agent_id"));
    let done = match post.text("do") {
        "create" => {
            let state = if post.text("start") == "yes" { AgentState::Running } else { AgentState::Stopped };
            let new = NewAgent { name: post.text("name"), run_cap: post.text("run_cap"), state };
            agent::create(server, user, new).await.map(|_| "created")
        }
        "change" => agent::change(server, user, &id, post.text("name"), post.text("run_cap")).await.map(|()| "changed"),
        "start" => agent::set_state(server, user, &id, AgentState::Running).await.map(|()| "started"),
        "stop" => agent::set_state(server, user, &id, AgentState::Stopped).await.map(|()| "stopped"),
        "delete" => agent::delete(server, user, &id).await.map(|()| "deleted"),
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }?;
    Ok(format!("/agents?done={done}"))
}
