//! The whole statement: every line with its filters, the balance at any moment, and each month as PDF and CSV.

mod choice;
pub mod download;
pub mod line;
pub mod rows;

use crate::page::given::expiring_list;
use crate::page::usage::model_name;
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::Pager;
use crate::ui::when::When;
use crate::visitor::signed_in;
use choice::{Choice, address};
use domain::catalogue::Catalogue;
use domain::ledger::Balance;
use domain::statement::{CalendarMonth, LineKind};
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::ledger::{Line, cut, list_expiring, list_lines, load_balance_at};
use server::statement::month_of;

/// Rows on one page.
const ROWS: u32 = 50;

#[component]
pub fn StatementPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    console(Section::Credits, "Statement", async move {
        let (server, user) = signed_in()?;
        let zone = user.time_zone.clone();
        let choice = Choice::read(&query);
        let mut filter = choice.filter();
        if let Some(from) = choice.first_moment(&zone) {
            filter.after = Some(cut(&server, &user.account_id, from).await?);
        }
        if let Some(until) = choice.end_moment(&zone) {
            filter.until = Some(cut(&server, &user.account_id, until).await?);
        }
        let mut lines = list_lines(&server, &user.account_id, &filter, choice.before, ROWS + 1).await?;
        let next = take_next(&mut lines);
        let then = match choice.at_moment(&zone) {
            Some(at) => Some((at, load_balance_at(&server, &user.account_id, at).await?)),
            None => None,
        };
        let expiring = list_expiring(&server, &user.account_id).await?;
        let catalogue = server.catalogue.load_full();
        let month = month_of(server.clock.now(), &zone);
        let first = choice.before.is_some().then(|| address(&Choice { before: None, ..choice.clone() }));
        let next = next.map(|last| address(&Choice { before: Some(last), ..choice.clone() }));

        Ok(view! {
            <div class="grid gap-10">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits">"Credits"</a>
                    </p>
                    <h1 class="page-title">"Statement"</h1>
                    <p class="lede">
                        "Everything that came into your balance and went out of it, to the last digit. Credit that you "
                        "bought never expires."
                    </p>
                </div>
                {month.map(documents)}
                {(!expiring.is_empty()).then(|| expiring_list(expiring, &catalogue, &zone))}
                <section class="grid gap-4" aria-labelledby="lines">
                    <h2 class="text-20 font-semibold" id="lines">
                        "Lines"
                    </h2>
                    {choice::kinds(&choice)}
                    {choice::form(&choice, &catalogue)}
                    {choice
                        .problem(&zone)
                        .map(|problem| view! { <Notice tone=Tone::Caution title=problem /> })}
                    {if lines.is_empty() {
                        no_lines(&choice).into_any()
                    } else {
                        table(lines, &catalogue, &zone).into_any()
                    }}
                    <Pager first=first next=next />
                </section>
                {balance_then(&choice, then, &zone)}
            </div>
        })
    })
}

/// Drops the line beyond the page; if there was one, the place before which the next page begins.
fn take_next(lines: &mut Vec<Line>) -> Option<i64> {
    let page = usize::try_from(ROWS).unwrap_or(usize::MAX);
    if lines.len() <= page {
        return None;
    }
    lines.truncate(page);
    lines.last().map(|line| line.seq)
}

/// The months as files.
fn documents(month: CalendarMonth) -> impl IntoView {
    let link = |month: CalendarMonth, kind: &'static str| {
        let name = format!("{} as {}", month.name(), kind.to_uppercase());
        view! {
            <a class="button" href=format!("/credits/statement/{month}.{kind}")>
                {name}
            </a>
        }
    };
    let last = month.previous();
    view! {
        <section class="grid gap-4" aria-labelledby="months">
            <h2 class="text-20 font-semibold" id="months">
                "Monthly statements"
            </h2>
            <div class="flex flex-wrap gap-3">
                {link(last, "pdf")} {link(last, "csv")} {link(month, "pdf")} {link(month, "csv")}
            </div>
            <form class="flex flex-wrap items-end gap-3" method="get" action="/credits/statement/download">
                <div class="field">
                    <label for="month">"Another month"</label>
                    <input
                        class="input"
                        id="month"
                        name="month"
                        type="month"
                        required
                        pattern="[0-9]{4}-[0-9]{2}"
                        placeholder="2026-11"
                        max=month.to_string()
                    />
                </div>
                <button class="button" name="as" value="pdf">
                    "As PDF"
                </button>
                <button class="button" name="as" value="csv">
                    "As CSV"
                </button>
            </form>
        </section>
    }
}

fn table(lines: Vec<Line>, catalogue: &Catalogue, zone: &str) -> impl IntoView + use<> {
    let rows = lines.into_iter().map(|line| {
        let (href, detail) = (line::address(&line.posting_id), detail(&line, catalogue));
        (line, href, Some(detail))
    });
    rows::table(rows.collect(), zone)
}

/// The kind of a line, and what there is to say beside it.
fn detail(line: &Line, catalogue: &Catalogue) -> String {
    let held = line.held.checked_neg().unwrap_or_default();
    match (line.kind, &line.run) {
        (LineKind::Hold, _) => format!("Set aside: {}", text(line.held, Digits::Exact)),
        (LineKind::Waiver, _) => format!("{} was set aside and is back", text(held, Digits::Exact)),
        (kind, Some(run)) => format!("{} · {}", kind.word(), model_name(catalogue, &run.model_id)),
        (kind, None) => kind.word().to_owned(),
    }
}

fn no_lines(choice: &Choice) -> impl IntoView + use<> {
    let (title, text) = if choice.before.is_some() {
        ("No older lines", "This is the end of your statement.")
    } else if choice.is_narrowed() {
        ("Nothing fits", "There is no such line on your statement. Take a filter off to see more.")
    } else {
        (
            "Nothing on the statement yet",
            "Each purchase, bonus, run and refund stands here, with the balance after it. Buy a pack to begin.",
        )
    };
    view! { <Empty title=title text=text /> }
}

/// What there was at any moment, by kind.
fn balance_then(choice: &Choice, then: Option<(Timestamp, Balance)>, zone: &str) -> impl IntoView + use<> {
    let typed = choice.at.clone();
    let answer = then.map(|(at, balance)| balance_table(at, &balance, zone));
    view! {
        <section class="grid gap-4" aria-labelledby="then">
            <h2 class="text-20 font-semibold" id="then">
                "Balance at a moment"
            </h2>
            <form class="flex flex-wrap items-end gap-3" method="get" action="/credits/statement#then">
                <div class="field">
                    <label for="at">{format!("Date and time, as in {zone}")}</label>
                    <input
                        class="input"
                        id="at"
                        name="at"
                        type="datetime-local"
                        required
                        placeholder="2026-11-24T12:00"
                        value=typed
                    />
                </div>
                <button class="button">"Show the balance"</button>
            </form>
            {answer}
        </section>
    }
}

fn balance_table(at: Timestamp, balance: &Balance, zone: &str) -> impl IntoView + use<> {
    let rows = [
        ("Trial", balance.trial),
        ("Promotional", balance.promotional),
        ("Bonus", balance.bonus),
        ("Bought", balance.paid),
        ("Held by running work", balance.held),
    ];
    let total = balance.total();
    view! {
        <div class="card grid max-w-md gap-3" role="status">
            <p class="text-13 text-ink-muted">
                "Balance on " <When at=at zone=zone.to_owned() />
            </p>
            <p class="figure-small">
                <Money amount=total digits=Digits::Exact />
            </p>
            <dl class="pair-list">
                {rows
                    .into_iter()
                    .map(|(name, amount)| {
                        view! {
                            <dt>{name}</dt>
                            <dd>
                                <Money amount=amount digits=Digits::Exact />
                            </dd>
                        }
                    })
                    .collect_view()}
            </dl>
        </div>
    }
}
