//! Where an account's notices are sent for programs: adding a webhook, whose secret is shown once, and the list of them.

mod log;

pub use log::{WebhookPage, submit as submit_one};

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use crate::visitor::{self, origin, signed_in};
use axum::response::Response;
use domain::denial::Denial;
use domain::member::Permission;
use domain::notice::NoticeKind;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::ExposeSecret as _;
use server::error::{Error, Result};
use server::webhook_out::{self, Added, Change, State, Webhook};

/// The field that carries a new secret to the page that shows it, once.
const SHOWN: &str = "shown_secret";

/// `GET /settings/webhooks`, and the same page again with a new secret, once.
#[component]
pub fn WebhooksPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Settings, "Webhooks", async move {
        let (server, user) = signed_in()?;
        let webhooks = webhook_out::list(&server, &user.account_id).await?;
        let may_not = user.require(Permission::ManageApiKeys).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        let receiver = visitor::current()?.receiver();
        let zone = user.time_zone.clone();
        let rows = webhooks.iter().map(|webhook| row(webhook, &zone)).collect_view();
        Ok(view! {
            <div class="grid max-w-4xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/settings">"Settings"</a>
                    </p>
                    <h1 class="page-title">"Webhooks"</h1>
                    <p class="lede">
                        "What this account is told under Alerts, sent to a program of yours. Each message is signed after Standard Webhooks, "
                        "and tried again for a day."
                    </p>
                </div>
                {refused.notice(&["url", "label", "kinds"])}
                {query.get("done").filter(|done| done == "deleted").map(|_| view! { <Notice tone=Tone::Positive title="The webhook is deleted. Its secret is erased here." /> })}
                {refused.typed(SHOWN).map(|secret| new_secret(&secret))}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {if webhooks.is_empty() {
                    view! {
                        <Empty
                            title="No webhook yet"
                            text="Add the address of a program that should know: a chat room's bridge, an on-call service, your own."
                        />
                    }
                        .into_any()
                } else {
                    view! { <ul class="card divide-y divide-line p-0">{rows}</ul> }.into_any()
                }}
                {manages.then(|| add_form(&refused.of("add"), receiver))}
            </div>
        })
    })
}

/// A secret that is shown now and never again.
fn new_secret(secret: &str) -> AnyView {
    let secret = secret.to_owned();
    view! {
        <Notice tone=Tone::Caution title="Keep this secret now: it is not shown again">
            <p>"Your program checks each message's signature with it."</p>
            <p class="pt-2">
                <code class="break-all text-14">{secret}</code>
            </p>
        </Notice>
    }
    .into_any()
}

fn row(webhook: &Webhook, zone: &str) -> AnyView {
    let (tone, words) = state_of(webhook);
    let href = format!("/settings/webhooks/{}", webhook.webhook_id);
    let name = name_of(webhook);
    let open = format!("Open {name}");
    let url = webhook.url.clone();
    let what = match &webhook.kinds {
        None => "Everything".to_owned(),
        Some(kinds) if kinds.len() == 1 => "1 kind of event".to_owned(),
        Some(kinds) => format!("{} kinds of events", kinds.len()),
    };
    let since = webhook.failing_since.map(|at| {
        let zone = zone.to_owned();
        view! { " since " <When at=at zone=zone /> }
    });
    view! {
        <li class="person-row">
            <div class="grid min-w-0 gap-1">
                <p class="clip font-medium" title=name.clone()>
                    {name.clone()}
                </p>
                <p class="clip text-13 text-ink-muted" title=url.clone()>
                    {url.clone()}
                </p>
                <p class="text-13">
                    <span class=tone>{words}</span>
                    {since}
                    <span class="text-ink-muted">" · " {what}</span>
                </p>
            </div>
            <a class="button" href=href aria-label=open>
                "Open"
            </a>
        </li>
    }
    .into_any()
}

/// A webhook's label, or else its host.
fn name_of(webhook: &Webhook) -> String {
    if webhook.label.is_empty() {
        let host = origin(&webhook.url).rsplit_once("://").map_or("", |(_, host)| host);
        return host.to_owned();
    }
    webhook.label.clone()
}

/// How a webhook stands, in a tone and words.
fn state_of(webhook: &Webhook) -> (&'static str, &'static str) {
    match (webhook.state, webhook.failing_since) {
        (State::Enabled, None) => ("state state-positive", "On"),
        (State::Enabled, Some(_)) => ("state state-caution", "Failing"),
        (State::Disabled, _) => ("state", "Switched off"),
        (State::Failed, _) => ("state state-danger", "Disabled: it kept failing"),
    }
}

fn add_form(refused: &Refused, receiver: Option<String>) -> AnyView {
    let hint = match receiver {
        Some(receiver) => format!("In the demo, {receiver} takes messages and shows them."),
        None => "Begins with https:// and answers with a status from 200 to 299 within 10 seconds.".to_owned(),
    };
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add">
            <h2 class="section-title" id="add">
                "Add a webhook"
            </h2>
            <form class="grid grid-cols-1 gap-4" method="post" action="/settings/webhooks">
                <ForAccount />
                <input type="hidden" name="do" value="add" />
                <div class="grid grid-cols-1 items-start gap-4 sm:grid-cols-2">
                    <Field
                        label="Address"
                        name="url"
                        kind="url"
                        value=refused.typed("url")
                        problem=refused.problem("url")
                        hint=hint
                    />
                    <Field
                        label="Label"
                        name="label"
                        value=refused.typed("label")
                        problem=refused.problem("label")
                        hint="May stay empty."
                        optional=true
                    />
                </div>
                {kind_picker(None, refused.problem("kinds"))}
                <div>
                    <Submit label="Add the webhook" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

/// Which events are sent; none ticked is everything.
fn kind_picker(chosen: Option<&[NoticeKind]>, problem: Option<String>) -> AnyView {
    let is_open = chosen.is_some();
    let boxes = NoticeKind::ALL
        .iter()
        .map(|&kind| {
            let checked = chosen.is_some_and(|chosen| chosen.contains(&kind));
            view! {
                <label class="flex items-center gap-2">
                    <input type="checkbox" name="kind" value=kind.as_str() checked=checked />
                    <code class="text-13">{webhook_out::event_of(kind)}</code>
                </label>
            }
        })
        .collect_view();
    view! {
        <details open=is_open>
            <summary class="font-medium">"Choose events; none chosen is everything"</summary>
            <fieldset class="grid gap-1.5 pt-3 sm:grid-cols-2">
                <legend class="sr-only">"Events"</legend>
                {boxes}
            </fieldset>
            {problem.map(|problem| view! { <p class="field-problem">{problem}</p> })}
        </details>
    }
    .into_any()
}

/// The kinds that were ticked; `None` for everything.
fn chosen_kinds(post: &Post) -> Result<Option<Vec<NoticeKind>>> {
    let unknown = |_| Denial::invalid("kinds", "Not an event we know", "Choose from the list.");
    let kinds = post.texts("kind").map(str::parse).collect::<std::result::Result<Vec<NoticeKind>, _>>();
    let kinds = kinds.map_err(unknown)?;
    Ok((!kinds.is_empty()).then_some(kinds))
}

/// `POST /settings/webhooks`: adds one and shows its secret.
pub async fn submit(post: Post) -> Response {
    match add(&post).await {
        Ok(Added { secret, .. }) => {
            let shown = vec![(SHOWN.to_owned(), secret.expose_secret().to_owned())];
            post.again_with(shown).await
        }
        Err(error) => post.answer(Err(error)).await,
    }
}

async fn add(post: &Post) -> Result<Added> {
    let (server, user) = (&post.server, post.user()?);
    if post.text("do") != "add" {
        return Err(Error::from(Denial::invalid("do", "No form of this page", "Reload it.")));
    }
    let kinds = chosen_kinds(post)?;
    let new = Change { url: post.text("url"), label: post.text("label"), kinds: kinds.as_deref() };
    webhook_out::add(server, user, new).await
}
