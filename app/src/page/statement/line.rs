//! One line, opened: a debit to its tokens × rate = cost and the credit that paid, a grant to what is left to say of it.

use crate::page::execution::calculation_of;
use crate::page::usage::{model_name, task_name};
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use domain::denial::Denial;
use domain::id::{ExecutionId, PostingId};
use domain::ledger::GrantKind;
use domain::statement::LineKind;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use server::execution::load_run;
use server::ledger::{Line, LotPart, OpenLine, load_line};

/// Where a line is opened.
pub fn address(posting_id: &PostingId) -> String {
    format!("/credits/statement/line/{posting_id}")
}

#[component]
pub fn LinePage() -> impl IntoView {
    let posting_id = PostingId::new(use_params_map().get_untracked().get("posting").unwrap_or_default());
    console(Section::Credits, "Line of the statement", async move {
        let (server, user) = signed_in()?;
        let OpenLine { line, parts } = load_line(&server, &user.account_id, &posting_id)
            .await?
            .ok_or_else(|| Denial::NotFound { what: "line of the statement".to_owned() })?;
        let catalogue = server.catalogue.load_full();
        let run = match (&line.run, &line.reference) {
            (Some(_), Some(run)) => load_run(&server, &user.account_id, &ExecutionId::new(run.clone())).await?,
            _ => None,
        };
        let rate = run.as_ref().and_then(|run| {
            let model = catalogue.model(&run.model_id).ok()?;
            server.rates.load().of_version(model, &run.rate_version).cloned()
        });
        let worked_out = run.as_ref().map(|run| {
            let task = task_name(&catalogue, run.skill_id.as_ref());
            let model = model_name(&catalogue, &run.model_id);
            let source = run.source.words();
            let record = format!("/usage/{}", run.execution_id);
            view! {
                <p>
                    {format!("{task} on {model}, paid from {source}. ")} <a href=record>"The whole run"</a>
                </p>
                {calculation_of(run, rate)}
            }
        });
        Ok(view! {
            <div class="grid max-w-3xl gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits/statement">"Statement"</a>
                    </p>
                    <h1 class="page-title break-words">{line.memo.clone()}</h1>
                    <p class="lede">{line.kind.word()}</p>
                </div>
                {particulars(&line, &user.time_zone)}
                {(!parts.is_empty()).then(|| lots(line.kind, parts, &user.time_zone))}
                {worked_out}
            </div>
        })
    })
}

fn particulars(line: &Line, zone: &str) -> impl IntoView + use<> {
    let (change, balance, held) = (line.change, line.balance_after, line.held);
    let cause = match (line.kind, &line.reference) {
        (LineKind::Purchase | LineKind::Bonus, Some(purchase)) => {
            Some((format!("/credits/bought/{purchase}"), "The purchase"))
        }
        (LineKind::Trial, _) => Some(("/limits#trial".to_owned(), "The trial")),
        _ => None,
    };
    view! {
        <dl class="card pair-list">
            <dt>"Change"</dt>
            <dd>
                <Money amount=change digits=Digits::Exact signed=true />
            </dd>
            <dt>"Balance afterwards"</dt>
            <dd>
                <Money amount=balance digits=Digits::Exact />
            </dd>
            {(!held.is_zero())
                .then(|| {
                    view! {
                        <dt>{if held.is_negative() { "Had been set aside" } else { "Set aside" }}</dt>
                        <dd>
                            <Money
                                amount=if held.is_negative() { held.checked_neg().unwrap_or_default() } else { held }
                                digits=Digits::Exact
                            />
                        </dd>
                    }
                })}
            <dt>"Date"</dt>
            <dd>
                <When at=line.created_at zone=zone.to_owned() />
            </dd>
            {cause
                .map(|(href, label)| {
                    view! {
                        <dt>"Belongs to"</dt>
                        <dd>
                            <a href=href>{label}</a>
                        </dd>
                    }
                })}
            <dt>"Reference"</dt>
            <dd class="min-w-0">
                <code class="clip" title=line.posting_id.to_string()>
                    {line.posting_id.to_string()}
                </code>
            </dd>
        </dl>
    }
}

const fn kind_words(kind: GrantKind) -> &'static str {
    match kind {
        GrantKind::Trial => "Trial credit",
        GrantKind::Promotional => "Promotional credit",
        GrantKind::Bonus => "Bonus",
        GrantKind::Paid => "Bought credit",
    }
}

/// Which credit it was, in the order in which it is used up.
fn lots(kind: LineKind, parts: Vec<LotPart>, zone: &str) -> impl IntoView + use<> {
    let title = if matches!(kind, LineKind::Debit | LineKind::Hold) { "Paid with" } else { "Which credit" };
    let rows = parts
        .into_iter()
        .map(|part| {
            let expires = part.expires_at.map(|at| {
                view! {
                    "expires "
                    <When at=at zone=zone.to_owned() />
                }
            });
            view! {
                <tr>
                    <th scope="row">{kind_words(part.kind)}</th>
                    <td class="text-ink-muted">
                        <When at=part.given_at zone=zone.to_owned() />
                    </td>
                    <td class="text-ink-muted">
                        {match expires {
                            Some(expires) => expires.into_any(),
                            None => "never expires".into_any(),
                        }}
                    </td>
                    <td class="number">
                        <Money amount=part.change digits=Digits::Exact signed=true />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-3" aria-labelledby="lots">
            <h2 class="text-20 font-semibold" id="lots">
                {title}
            </h2>
            <Table caption="The credit that it came from or went to">
                <thead>
                    <tr>
                        <th scope="col">"Credit"</th>
                        <th scope="col">"Given"</th>
                        <th scope="col">"Time"</th>
                        <th class="number" scope="col">
                            "Change"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </section>
    }
}
