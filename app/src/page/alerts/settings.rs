//! When an account is told, and how somebody is: budgets with the month's forecast, the low-balance mark, preferences.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console};
use crate::ui::meter::share;
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::Table;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::alert::arming_mark;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::forecast::METHOD;
use domain::id::BudgetId;
use domain::member::Permission;
use domain::money::Usd;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::alert::{self, Budget, Month, Scope};
use server::api_key::ApiKey;
use server::error::Result;
use server::member::Member;
use server::notice::{self, NoticeKind, Preference};

/// `GET /alerts/settings`.
#[component]
pub fn AlertSettingsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Alerts, "Budgets and preferences", async move {
        let (server, user) = signed_in()?;
        let catalogue = server.catalogue.load_full();
        let budgets = alert::list_budgets(&server, &user.account_id).await?;
        let month = alert::load_month(&server, &user.account_id).await?;
        let mark = alert::load_low_mark(&server, &user.account_id).await?;
        let preferences = notice::list_preferences(&server, &user).await?;
        let mut keys = server::api_key::list(&server, &user.account_id).await?;
        keys.retain(|key| key.revoked_at.is_none());
        let members = server::member::list_members(&server, &user.account_id).await?;
        let may_not = user.require(Permission::ManageBilling).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        let shares: Vec<String> =
            catalogue.limits.alert_percents.iter().map(|percent| format!("{percent} %")).collect();
        Ok(view! {
            <div class="grid max-w-4xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/alerts">"Alerts"</a>
                    </p>
                    <h1 class="page-title">"Budgets and preferences"</h1>
                    <p class="lede">
                        "You are told once at " {shares.join(", ")}
                        " of your plan's executions in a period, and of each budget and its forecast in a month (UTC)."
                    </p>
                </div>
                {refused.notice(&["amount", "mark", "scope"])}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {budget_part(&budgets, (&month, &catalogue), manages)}
                {manages.then(|| budget_form(&refused.of("budget"), &catalogue, (&keys, &members)))}
                {mark_part(mark, &refused.of("mark"), manages)}
                {preference_part(&preferences)}
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "budget" => Some("The budget is set. What is reached already is told within a minute."),
        "deleted" => Some("The budget is deleted."),
        "mark" => Some("The mark is saved."),
        "preferences" => Some("Your preferences are saved."),
        _ => None,
    }
}

fn budget_part(budgets: &[Budget], (month, catalogue): (&Month, &Catalogue), manages: bool) -> AnyView {
    let rows = budgets.iter().map(|budget| budget_row(budget, (month, catalogue), manages)).collect_view();
    view! {
        <section class="grid grid-cols-1 gap-4" aria-labelledby="budgets">
            <div class="grid gap-1">
                <h2 class="text-20 font-semibold" id="budgets">
                    "Budgets of this month"
                </h2>
                <p class="max-w-prose text-13 text-ink-muted">
                    "A budget tells you; it stops nothing. The forecast: " {METHOD}
                </p>
            </div>
            {if budgets.is_empty() {
                view! { <p class="text-ink-muted">"No budget yet."</p> }.into_any()
            } else {
                view! {
                    <Table caption="Budgets of this month">
                        <thead>
                            <tr>
                                <th scope="col">"For"</th>
                                <th scope="col" class="number">"Spent"</th>
                                <th scope="col" class="number">"Forecast"</th>
                                <th scope="col" class="number">"Budget"</th>
                                <th scope="col" class="number">"Used"</th>
                                <td></td>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </Table>
                }
                    .into_any()
            }}
        </section>
    }
    .into_any()
}

fn budget_row(budget: &Budget, (month, catalogue): (&Month, &Catalogue), manages: bool) -> AnyView {
    let name = budget.name(catalogue);
    let spent = month.spent(budget).this_month;
    let used = format!("{} %", share(spent.nanos(), budget.amount.nanos()) / 100);
    let (amount, id, label) = (budget.amount, budget.budget_id.to_string(), format!("Delete the budget for {name}"));
    view! {
        <tr>
            <th scope="row">
                <span class="clip max-w-56" title=name.clone()>
                    {name.clone()}
                </span>
            </th>
            <td class="number"><Money amount=spent /></td>
            <td class="number">
                {match month.forecast(budget) {
                    Some(forecast) => view! { <Money amount=forecast digits=Digits::Cents /> }.into_any(),
                    None => "too early".into_any(),
                }}
            </td>
            <td class="number"><Money amount=amount digits=Digits::Cents /></td>
            <td class="number">{used}</td>
            <td>
                {manages
                    .then(|| {
                        view! {
                            <form method="post" action="/alerts/settings">
                                <ForAccount />
                                <input type="hidden" name="do" value="delete" />
                                <input type="hidden" name="budget_id" value=id />
                                <button class="button button-quiet" aria-label=label>
                                    "Delete"
                                </button>
                            </form>
                        }
                    })}
            </td>
        </tr>
    }
    .into_any()
}

fn budget_form(refused: &Refused, catalogue: &Catalogue, (keys, members): (&[ApiKey], &[Member])) -> AnyView {
    let typed = refused.typed("scope").unwrap_or_default();
    let option = |value: String, name: String| {
        let selected = value == typed;
        view! { <option value=value selected=selected>{name}</option> }
    };
    let models = catalogue.models.iter().map(|model| option(format!("model:{}", model.id), model.name.clone()));
    let keys: Vec<_> = keys
        .iter()
        .map(|key| option(format!("api_key:{}", key.api_key_id), format!("{} ({})", key.name, key.hint)))
        .collect();
    let members: Vec<_> =
        members.iter().map(|member| option(format!("member:{}", member.user_id), member.email.clone())).collect();
    let skills = catalogue.skills.iter().map(|skill| option(format!("skill:{}", skill.id), skill.name.clone()));
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="add-budget">
            <h2 class="section-title" id="add-budget">
                "Set a budget"
            </h2>
            <form class="grid grid-cols-1 items-start gap-4 sm:grid-cols-3" method="post" action="/alerts/settings">
                <ForAccount />
                <input type="hidden" name="do" value="budget" />
                <div class="field">
                    <label for="scope">"For"</label>
                    <select class="input" id="scope" name="scope">
                        <option value="all:">"All runs"</option>
                        <optgroup label="One model">{models.collect_view()}</optgroup>
                        <optgroup label="One skill">{skills.collect_view()}</optgroup>
                        {(!keys.is_empty()).then(|| view! { <optgroup label="One API key">{keys}</optgroup> })}
                        <optgroup label="One member">{members}</optgroup>
                    </select>
                </div>
                <Field
                    label="Dollars a month"
                    name="amount"
                    value=refused.typed("amount")
                    problem=refused.problem("amount")
                    hint="What credits pay. It replaces the budget there is."
                />
                <div class="sm:pt-7">
                    <Submit label="Set the budget" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

fn mark_part(mark: Usd, refused: &Refused, manages: bool) -> AnyView {
    let now = if mark.is_zero() {
        "You are not told when the balance is low.".to_owned()
    } else {
        format!(
            "You are told once when the balance falls below {}, and again only after it was at {} or more.",
            text(mark, Digits::Cents),
            text(arming_mark(mark), Digits::Cents)
        )
    };
    let typed = refused.typed("mark").unwrap_or_else(|| text(mark, Digits::Cents).trim_start_matches('$').to_owned());
    let form = manages.then(|| {
        view! {
            <form class="grid max-w-md grid-cols-1 gap-4" method="post" action="/alerts/settings">
                <ForAccount />
                <input type="hidden" name="do" value="mark" />
                <Field
                    label="Mark, in dollars"
                    name="mark"
                    value=Some(typed)
                    problem=refused.problem("mark")
                    hint="0 is never."
                />
                <div>
                    <Submit label="Save the mark" />
                </div>
            </form>
        }
    });
    view! {
        <section class="grid grid-cols-1 gap-4" aria-labelledby="low">
            <div class="grid gap-1">
                <h2 class="text-20 font-semibold" id="low">
                    "Low balance"
                </h2>
                <p class="max-w-prose text-13 text-ink-muted">{now}</p>
            </div>
            {form}
        </section>
    }
    .into_any()
}

fn preference_part(preferences: &[(NoticeKind, Preference)]) -> AnyView {
    let rows = preferences.iter().map(|(kind, wants)| preference_row(*kind, *wants)).collect_view();
    view! {
        <section class="grid grid-cols-1 gap-4" aria-labelledby="preferences">
            <div class="grid gap-1">
                <h2 class="text-20 font-semibold" id="preferences">
                    "What you are told"
                </h2>
                <p class="max-w-prose text-13 text-ink-muted">
                    "For you alone, in this account. What money or the whole account depends on cannot be switched off. For programs there are "
                    <a href="/settings/webhooks">"webhooks"</a> "."
                </p>
            </div>
            <form class="grid grid-cols-1 gap-4" method="post" action="/alerts/settings">
                <ForAccount />
                <input type="hidden" name="do" value="preferences" />
                <Table caption="What you are told, and how">
                    <thead>
                        <tr>
                            <th scope="col">"When"</th>
                            <th scope="col">"Here"</th>
                            <th scope="col">"By mail"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </Table>
                <div>
                    <Submit label="Save your preferences" />
                </div>
            </form>
        </section>
    }
    .into_any()
}

fn preference_row(kind: NoticeKind, wants: Preference) -> AnyView {
    let label = kind.label();
    let tick = move |way: &'static str, words: &str, checked: bool| {
        let name = format!("{label}: {words}");
        view! {
            <label class="inline-flex min-h-6 min-w-6 items-center justify-center">
                <input
                    type="checkbox"
                    name=way
                    value=kind.as_str()
                    checked=checked
                    disabled=kind.is_essential()
                    aria-label=name
                />
            </label>
        }
    };
    view! {
        <tr>
            <th scope="row">{label}</th>
            <td>{tick("in_app", "here", wants.in_app)}</td>
            <td>{tick("by_mail", "by mail", wants.by_mail)}</td>
        </tr>
    }
    .into_any()
}

/// `POST /alerts/settings`: `do` says which of the page's forms was sent.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await.map(|done| format!("/alerts/settings?done={done}"));
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<&'static str> {
    let (server, user) = (&post.server, post.user()?);
    match post.text("do") {
        "budget" => {
            let unknown = || Denial::invalid("scope", "Not one we know", "Choose one from the list.");
            let (scope, id) = post.text("scope").split_once(':').ok_or_else(unknown)?;
            let scope: Scope = scope.parse().map_err(|_| unknown())?;
            alert::set_budget(server, user, scope, id, post.text("amount")).await?;
            Ok("budget")
        }
        "delete" => {
            alert::delete_budget(server, user, &BudgetId::new(post.text("budget_id"))).await?;
            Ok("deleted")
        }
        "mark" => {
            alert::set_low_mark(server, user, post.text("mark")).await?;
            Ok("mark")
        }
        "preferences" => {
            let ticked = |way: &str, kind: NoticeKind| post.texts(way).any(|value| value == kind.as_str());
            let kinds = NoticeKind::ALL.iter().filter(|kind| user.role.may(kind.audience()));
            let chosen: Vec<_> = kinds
                .map(|&kind| (kind, Preference { in_app: ticked("in_app", kind), by_mail: ticked("by_mail", kind) }))
                .collect();
            notice::set_preferences(server, user, &chosen).await?;
            Ok("preferences")
        }
        other => Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
}
