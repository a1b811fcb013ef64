//! One webhook: how it stands, its messages with their attempts, and what may be done with it.

use super::{SHOWN, chosen_kinds, kind_picker, name_of, new_secret, state_of};
use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::Submit;
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::{Pager, Table};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::{DeliveryId, WebhookId};
use domain::member::Permission;
use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};
use secrecy::{ExposeSecret as _, SecretString};
use server::error::Result;
use server::webhook_out::{self, Change, Delivery, DeliveryState, State, Webhook};

const PAGE: i64 = 20;

/// `GET /settings/webhooks/{id}`, and the same page again with a rotated secret, once.
#[component]
pub fn WebhookPage() -> impl IntoView {
    let (query, params) = (use_query_map().get_untracked(), use_params_map().get_untracked());
    let refused = Refused::current();
    console(Section::Settings, "Webhook", async move {
        let (server, user) = signed_in()?;
        let id = WebhookId::new(params.get("id").unwrap_or_default());
        let webhooks = webhook_out::list(&server, &user.account_id).await?;
        let known = webhooks.into_iter().find(|webhook| webhook.webhook_id == id);
        let webhook = known.ok_or_else(|| Denial::NotFound { what: "webhook".to_owned() })?;
        let before = query.get("before").map(DeliveryId::new);
        let log = webhook_out::list_deliveries(&server, (&user.account_id, &id), before.as_ref(), PAGE).await?;
        let next = (log.len() >= usize::try_from(PAGE).unwrap_or(20))
            .then(|| log.last().map(|last| format!("/settings/webhooks/{id}?before={}", last.delivery_id)))
            .flatten();
        let first = before.map(|_| format!("/settings/webhooks/{id}"));
        let manages = user.require(Permission::ManageApiKeys).is_ok();
        let zone = user.time_zone.clone();
        Ok(view! {
            <div class="grid max-w-4xl grid-cols-1 gap-8">
                {head(&webhook, &zone)}
                {refused.notice(&[])}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {refused.typed(SHOWN).map(|secret| new_secret(&secret))}
                {manages.then(|| actions(&webhook))}
                <section class="grid grid-cols-1 gap-4" aria-labelledby="log">
                    <h2 class="text-20 font-semibold" id="log">
                        "Messages of the last 30 days"
                    </h2>
                    {log_table(&log, &zone, manages)}
                    <Pager first=first next=next />
                </section>
                {manages.then(|| more(&webhook))}
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "test" => Some("The test is on its way. Reload this page in a moment to see how it fared."),
        "replay" => Some("The message is on its way once more, under the same id."),
        "changed" => Some("The change is saved."),
        "on" => Some("It is on. Messages from now on are sent."),
        "off" => Some("It is off. Nothing is sent until you switch it on."),
        _ => None,
    }
}

fn head(webhook: &Webhook, zone: &str) -> AnyView {
    let (tone, words) = state_of(webhook);
    let (name, url, hint) = (name_of(webhook), webhook.url.clone(), webhook.hint.clone());
    let zone = zone.to_owned();
    let former = webhook.former_until.map(|until| {
        let zone = zone.clone();
        view! {
            <dt>"Secret before"</dt>
            <dd>"signs too until " <When at=until zone=zone /></dd>
        }
    });
    let failing = webhook.failing_since.map(|since| {
        let zone = zone.clone();
        let problem = webhook.problem.clone().unwrap_or_default();
        view! {
            <dt>"Failing since"</dt>
            <dd><When at=since zone=zone /> ": " {problem}</dd>
        }
    });
    view! {
        <div class="grid grid-cols-1 gap-1">
            <p class="text-13">
                <a href="/settings/webhooks">"Webhooks"</a>
            </p>
            <h1 class="page-title clip" title=name.clone()>
                {name.clone()}
            </h1>
            <dl class="pair-list pt-2">
                <dt>"State"</dt>
                <dd><span class=tone>{words}</span></dd>
                <dt>"Address"</dt>
                <dd class="min-w-0 break-all">{url}</dd>
                <dt>"Secret"</dt>
                <dd><code>{hint}</code></dd>
                {former}
                {failing}
            </dl>
        </div>
    }
    .into_any()
}

fn action(webhook: &Webhook, what: &'static str, label: &'static str, class: &'static str) -> AnyView {
    let address = format!("/settings/webhooks/{}", webhook.webhook_id);
    view! {
        <form method="post" action=address>
            <ForAccount />
            <input type="hidden" name="do" value=what />
            <button class=class>{label}</button>
        </form>
    }
    .into_any()
}

fn actions(webhook: &Webhook) -> AnyView {
    let switch = match webhook.state {
        State::Enabled => action(webhook, "off", "Switch it off", "button"),
        State::Disabled | State::Failed => action(webhook, "on", "Switch it on", "button"),
    };
    view! {
        <div class="flex flex-wrap gap-3">
            {action(webhook, "test", "Send a test", "button button-primary")} {switch}
        </div>
    }
    .into_any()
}

fn log_table(log: &[Delivery], zone: &str, manages: bool) -> AnyView {
    if log.is_empty() {
        return view! { <p class="text-ink-muted">"Nothing was sent yet."</p> }.into_any();
    }
    let rows = log.iter().map(|delivery| delivery_row(delivery, zone, manages)).collect_view();
    view! {
        <Table caption="Messages">
            <thead>
                <tr>
                    <th scope="col">"Event"</th>
                    <th scope="col">"Made"</th>
                    <th scope="col">"State"</th>
                    <th scope="col">"Attempts"</th>
                    <td></td>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </Table>
    }
    .into_any()
}

fn delivery_row(delivery: &Delivery, zone: &str, manages: bool) -> AnyView {
    let (tone, words) = match delivery.state {
        DeliveryState::Open if delivery.attempts.is_empty() => ("state", "On its way"),
        DeliveryState::Open => ("state state-caution", "Is tried again"),
        DeliveryState::Delivered => ("state state-positive", "Delivered"),
        DeliveryState::GivenUp => ("state state-danger", "Given up"),
        DeliveryState::Dropped => ("state", "Not sent: it was off"),
    };
    let zone = zone.to_owned();
    let next = (delivery.state == DeliveryState::Open && !delivery.attempts.is_empty()).then(|| {
        let zone = zone.clone();
        view! { <p class="text-13 text-ink-muted">"next " <When at=delivery.next_at zone=zone /></p> }
    });
    let attempts = delivery
        .attempts
        .iter()
        .map(|attempt| {
            let status = attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            let problem = attempt.problem.clone().map(|problem| format!(": {problem}")).unwrap_or_default();
            let zone = zone.clone();
            view! {
                <li>
                    <When at=attempt.tried_at zone=zone /> " · " {status} {format!(" in {} ms", attempt.duration_ms)} {problem}
                </li>
            }
        })
        .collect_view();
    let (id, label) = (delivery.delivery_id.to_string(), format!("Send {} again", delivery.delivery_id));
    let event = delivery.event.clone();
    view! {
        <tr>
            <th scope="row">
                <code class="text-13">{event}</code>
                {delivery.is_test.then(|| view! { <span class="text-13 text-ink-muted">" · test"</span> })}
                <p class="text-12 text-ink-muted"><code>{id.clone()}</code></p>
            </th>
            <td><When at=delivery.created_at zone=zone /></td>
            <td><span class=tone>{words}</span> {next}</td>
            <td><ul class="grid gap-1 text-13">{attempts}</ul></td>
            <td>
                {manages
                    .then(|| {
                        view! {
                            <form method="post">
                                <ForAccount />
                                <input type="hidden" name="do" value="replay" />
                                <input type="hidden" name="delivery_id" value=id />
                                <button class="button button-quiet whitespace-nowrap" aria-label=label>
                                    "Send again"
                                </button>
                            </form>
                        }
                    })}
            </td>
        </tr>
    }
    .into_any()
}

/// Changing, rotating, deleting.
fn more(webhook: &Webhook) -> AnyView {
    let address = format!("/settings/webhooks/{}", webhook.webhook_id);
    let (url, label) = (webhook.url.clone(), webhook.label.clone());
    view! {
        <details>
            <summary class="font-medium">"Change, rotate or delete it"</summary>
            <div class="grid max-w-2xl grid-cols-1 gap-6 pt-4">
                <form class="grid grid-cols-1 gap-4" method="post" action=address>
                    <ForAccount />
                    <input type="hidden" name="do" value="change" />
                    <div class="field">
                        <label for="url">"Address"</label>
                        <input class="input" id="url" name="url" type="url" value=url required autocomplete="off" />
                    </div>
                    <div class="field">
                        <label for="label">"Label"</label>
                        <input class="input" id="label" name="label" value=label autocomplete="off" />
                    </div>
                    {kind_picker(webhook.kinds.as_deref(), None)}
                    <div>
                        <Submit label="Save the change" />
                    </div>
                </form>
                <div class="grid gap-3 border-t border-line pt-4">
                    <p class="text-13">
                        "A new secret is shown once. For a day each message carries both signatures, so that your program can change over."
                    </p>
                    {action(webhook, "rotate", "Make a new secret", "button")}
                </div>
                <div class="grid gap-3 border-t border-line pt-4">
                    <p class="text-13">"Its secret is erased at once, and what waits for it is not sent."</p>
                    {action(webhook, "delete", "Delete the webhook", "button button-danger")}
                </div>
            </div>
        </details>
    }
    .into_any()
}

/// `POST /settings/webhooks/{id}`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let id = WebhookId::new(post.path_after("/settings/webhooks/"));
    match change(&post, &id).await {
        Ok(Done::Shown(secret)) => {
            let shown = vec![(SHOWN.to_owned(), secret.expose_secret().to_owned())];
            post.again_with(shown).await
        }
        Ok(Done::Deleted) => post.answer(Ok("/settings/webhooks?done=deleted".to_owned())).await,
        Ok(Done::Said(done)) => post.answer(Ok(format!("/settings/webhooks/{id}?done={done}"))).await,
        Err(error) => post.answer(Err(error)).await,
    }
}

enum Done {
    Said(&'static str),
    Shown(SecretString),
    Deleted,
}

async fn change(post: &Post, id: &WebhookId) -> Result<Done> {
    let (server, user) = (&post.server, post.user()?);
    match post.text("do") {
        "test" => webhook_out::send_test(server, user, id).await.map(|_| Done::Said("test")),
        "replay" => {
            let delivery_id = DeliveryId::new(post.text("delivery_id"));
            webhook_out::replay(server, user, &delivery_id).await.map(|()| Done::Said("replay"))
        }
        "on" => webhook_out::set_enabled(server, user, id, State::Enabled).await.map(|()| Done::Said("on")),
        "off" => webhook_out::set_enabled(server, user, id, State::Disabled).await.map(|()| Done::Said("off")),
        "rotate" => webhook_out::rotate(server, user, id).await.map(|added| Done::Shown(added.secret)),
        "delete" => webhook_out::delete(server, user, id).await.map(|()| Done::Deleted),
        "change" => {
            let kinds = chosen_kinds(post)?;
            let change = Change { url: post.text("url"), label: post.text("label"), kinds: kinds.as_deref() };
            webhook_out::change(server, user, id, change).await.map(|()| Done::Said("changed"))
        }
        other => Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
}
