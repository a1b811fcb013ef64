//! What the account was told: each with what it means and what to do, the unread ones marked.

mod settings;

pub use settings::{AlertSettingsPage, submit as submit_settings};

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::table::Pager;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::NoticeId;
use domain::notice::{Fact, Urgency};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::error::Result;
use server::notice::{self, Listed};

const PAGE: i64 = 25;

/// `GET /alerts`.
#[component]
pub fn AlertsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Alerts, "Alerts", async move {
        let (server, user) = signed_in()?;
        let before = query.get("before").map(NoticeId::new);
        let list = notice::list(&server, &user, before.as_ref(), PAGE + 1).await?;
        let unread = notice::count_unread(&server, &user).await?;
        let shown: Vec<Listed> = list.iter().take(usize::try_from(PAGE).unwrap_or(25)).cloned().collect();
        let next = (list.len() > shown.len())
            .then(|| shown.last().map(|last| format!("/alerts?before={}", last.notice_id)))
            .flatten();
        let first = before.map(|_| "/alerts".to_owned());
        let is_empty = shown.is_empty() && first.is_none();
        let zone = user.time_zone.clone();
        let rows = shown.into_iter().map(|listed| row(listed, &zone)).collect_view();
        Ok(view! {
            <div class="grid max-w-3xl grid-cols-1 gap-8">
                <div class="flex flex-wrap items-end justify-between gap-3">
                    <div class="grid gap-1">
                        <h1 class="page-title">"Alerts"</h1>
                        <p class="lede">{summary(unread)}</p>
                    </div>
                    <div class="flex flex-wrap gap-2">
                        {(unread > 0).then(mark_all)}
                        <a class="button" href="/alerts/settings">
                            "Budgets and preferences"
                        </a>
                    </div>
                </div>
                {refused.notice(&[])}
                {if is_empty {
                    view! {
                        <Empty
                            title="Nothing to tell you"
                            text="When a share of your plan or a budget is used, the balance is low, a payment waits for you or a key has trouble, it stands here, and comes by mail."
                            action=("/alerts/settings", "Set a budget")
                        />
                    }
                        .into_any()
                } else {
                    view! { <ul class="card divide-y divide-line p-0">{rows}</ul> }.into_any()
                }}
                <Pager first=first next=next />
            </div>
        })
    })
}

fn summary(unread: u64) -> String {
    match unread {
        0 => "You have read everything.".to_owned(),
        1 => "1 is new.".to_owned(),
        100.. => "100 or more are new.".to_owned(),
        many => format!("{many} are new."),
    }
}

fn mark_all() -> AnyView {
    view! {
        <form method="post" action="/alerts">
            <ForAccount />
            <input type="hidden" name="do" value="all" />
            <button class="button">"Mark all as read"</button>
        </form>
    }
    .into_any()
}

fn row(listed: Listed, zone: &str) -> AnyView {
    let Listed { notice_id, notice, raised_at, read_at } = listed;
    let tone = match notice.urgency() {
        _ if read_at.is_some() => "state text-13",
        Urgency::Info => "state state-positive text-13",
        Urgency::Caution => "state state-caution text-13",
        Urgency::Danger => "state state-danger text-13",
    };
    let is_new = read_at.is_none();
    let (label, path) = notice.remedy();
    let title = notice.title();
    let (button_label, remedy_label) = (format!("Mark as read: {title}"), format!("{label}: {title}"));
    let facts = notice.facts();
    let facts = (!facts.is_empty()).then(|| {
        let pairs = facts
            .into_iter()
            .map(|(name, fact)| view! { <dt>{name}</dt><dd>{written(fact, zone)}</dd> })
            .collect_view();
        view! { <dl class="pair-list text-13">{pairs}</dl> }
    });
    view! {
        <li class="grid grid-cols-1 gap-3 px-5 py-4">
            <div class="grid gap-1">
                <p class="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1 text-13 text-ink-muted">
                    <span class=tone>{if is_new { "New" } else { "Read" }}</span>
                    <When at=raised_at zone=zone.to_owned() />
                </p>
                <h2 class=if is_new { "font-semibold" } else { "font-medium" }>{title}</h2>
                <p class="max-w-prose break-words text-ink-muted">{notice.text()}</p>
            </div>
            {facts}
            <div class="flex flex-wrap gap-2">
                <a class="button" href=path aria-label=remedy_label>
                    {label}
                </a>
                {is_new
                    .then(|| {
                        view! {
                            <form method="post" action="/alerts">
                                <ForAccount />
                                <input type="hidden" name="do" value="read" />
                                <input type="hidden" name="notice_id" value=notice_id.to_string() />
                                <button class="button button-quiet" aria-label=button_label>
                                    "Mark as read"
                                </button>
                            </form>
                        }
                    })}
            </div>
        </li>
    }
    .into_any()
}

fn written(fact: Fact, zone: &str) -> AnyView {
    match fact {
        Fact::Money(amount) => view! { <Money amount=amount digits=Digits::Cents /> }.into_any(),
        Fact::Moment(at) => view! { <When at=at zone=zone.to_owned() /> }.into_any(),
        Fact::Text(text) => text.into_any(),
    }
}

/// `POST /alerts`: marks one, or all, as read.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    match post.text("do") {
        "all" => notice::mark_all_read(server, user).await?,
        "read" => notice::mark_read(server, user, &NoticeId::new(post.text("notice_id"))).await?,
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
    Ok("/alerts".to_owned())
}
