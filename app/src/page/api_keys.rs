//! Our own API keys of the account: making one for the account or an agent, shown once; the list; revoking.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::form::{Field, Pick, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::{AgentId, ApiKeyId};
use domain::member::Permission;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::ExposeSecret as _;
use server::agent::{self, Agent};
use server::api_key::{self, ApiKey};
use server::error::Result;

/// The field that carries a new key to the page that shows it, once.
const SHOWN: &str = "shown_secret";

/// `GET /api-keys`, and the same page again with a new key, once.
#[component]
pub fn ApiKeysPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Agents, "API keys", async move {
        let (server, user) = signed_in()?;
        let keys = api_key::list(&server, &user.account_id).await?;
        let agents = agent::list(&server, &user.account_id).await?;
        let may_not = user.require(Permission::ManageApiKeys).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        let rows = keys.iter().map(|key| row(key, manages, &user.time_zone)).collect_view();
        Ok(view! {
            <div class="grid max-w-4xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/agents">"Agents"</a>
                    </p>
                    <h1 class="page-title">"API keys"</h1>
                    <p class="lede">
                        "With one, the official OpenAI and Anthropic clients call models here. A key may do what whoever made it may do."
                    </p>
                </div>
                {refused.notice(&["name"])}
                {query
                    .get("done")
                    .filter(|done| done == "revoked")
                    .map(|_| view! { <Notice tone=Tone::Positive title="The key is revoked. Calls with it are refused within ten seconds." /> })}
                {refused.typed(SHOWN).map(|secret| new_secret(&secret))}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {if keys.is_empty() {
                    view! {
                        <Empty
                            title="No API key yet"
                            text="Make one for each program, so that you can end one without the others."
                        />
                    }
                        .into_any()
                } else {
                    view! { <ul class="card divide-y divide-line p-0" aria-label="API keys">{rows}</ul> }.into_any()
                }}
                {manages.then(|| add_form(&refused.of("create"), &agents))}
            </div>
        })
    })
}

/// A key that is shown now and never again.
fn new_secret(secret: &str) -> AnyView {
    let secret = secret.to_owned();
    view! {
        <Notice tone=Tone::Caution title="Keep this key now: it is not shown again">
            <p>
                <code class="break-all text-14">{secret}</code>
            </p>
        </Notice>
    }
    .into_any()
}

fn row(key: &ApiKey, manages: bool, zone: &str) -> AnyView {
    let (name, hint, id) = (key.name.clone(), key.hint.clone(), key.api_key_id.to_string());
    let whose = match &key.agent_name {
        Some(agent) => format!("Of the agent {agent}"),
        None => "Of the whole account".to_owned(),
    };
    let zone = zone.to_owned();
    let (made_at, revoked_at) = (key.created_at, key.revoked_at);
    let revoke = (manages && revoked_at.is_none()).then(|| {
        let label = format!("Revoke {name}");
        view! {
            <form method="post" action="/api-keys">
                <ForAccount />
                <input type="hidden" name="do" value="revoke" />
                <input type="hidden" name="api_key_id" value=id />
                <button class="button button-danger" aria-label=label>
                    "Revoke"
                </button>
            </form>
        }
    });
    let state = match revoked_at {
        Some(at) => view! {
            <span class="state">"Revoked"</span>
            " "
            <When at=at zone=zone.clone() />
        }
        .into_any(),
        None => view! { <span class="state state-positive">"Works"</span> }.into_any(),
    };
    view! {
        <li class="person-row" aria-label=name.clone()>
            <div class="grid min-w-0 gap-1">
                <p class="flex min-w-0 flex-wrap items-baseline gap-x-2">
                    <span class="clip font-medium" title=name.clone()>
                        {name.clone()}
                    </span>
                    <code class="text-13 text-ink-muted">{hint}</code>
                </p>
                <p class="clip text-13 text-ink-muted" title=whose.clone()>
                    {whose.clone()}
                </p>
                <p class="text-13 text-ink-muted">{state} " · made " <When at=made_at zone=zone /></p>
            </div>
            {revoke}
        </li>
    }
    .into_any()
}

fn add_form(refused: &Refused, agents: &[Agent]) -> AnyView {
    let chosen = refused.typed("agent_id").unwrap_or_default();
    let mut options = vec![(String::new(), "The whole account".to_owned(), chosen.is_empty())];
    options.extend(agents.iter().map(|agent| {
        let id = agent.agent_id.to_string();
        (id.clone(), agent.name.clone(), id == chosen)
    }));
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add">
            <h2 class="section-title" id="add">
                "Make an API key"
            </h2>
            <form class="grid grid-cols-1 items-start gap-4 sm:grid-cols-2" method="post" action="/api-keys">
                <ForAccount />
                <input type="hidden" name="do" value="create" />
                <Field
                    label="Name"
                    name="name"
                    value=refused.typed("name")
                    problem=refused.problem("name")
                    hint="After where it is used."
                />
                <Pick label="Belongs to" name="agent_id" options=options />
                <div class="sm:col-start-1">
                    <Submit label="Make the key" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

/// `POST /api-keys`: makes one and shows it, or revokes one.
pub async fn submit(post: Post) -> Response {
    match change(&post).await {
        Ok(Done::Made(secret)) => post.again_with(vec![(SHOWN.to_owned(), secret)]).await,
        Ok(Done::Revoked) => post.answer(Ok("/api-keys?done=revoked".to_owned())).await,
        Err(error) => post.answer(Err(error)).await,
    }
}

enum Done {
    Made(String),
    Revoked,
}

async fn change(post: &Post) -> Result<Done> {
    let (server, user) = (&post.server, post.user()?);
    match post.text("do") {
        "create" => {
            let agent_id = Some(post.text("agent_id")).filter(|id| !id.is_empty()).map(AgentId::new);
            let (_, secret) = api_key::create_for(server, user, post.text("name"), agent_id.as_ref()).await?;
            Ok(Done::Made(secret.expose_secret().to_owned()))
        }
        "revoke" => {
            api_key::revoke(server, user, &ApiKeyId::new(post.text("api_key_id"))).await?;
            Ok(Done::Revoked)
        }
        other => Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
}
