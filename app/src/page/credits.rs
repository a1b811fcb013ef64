//! The balance by kind, the packs, and the statement with its running balance.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::balance::BalanceBar;
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::{PackOffer, offers, round_dollars};
use crate::ui::table::{Chips, Pager, Table};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::id::{PackId, PostingId, PurchaseId};
use domain::ledger::PostingKind;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::ledger::{StatementRow, list_statement, load_balance};
use server::purchase;

/// Rows of the statement on one page.
const ROWS: u32 = 25;

#[component]
pub fn CreditsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Credits", async move {
        let (server, user) = signed_in()?;
        let kind: Option<PostingKind> = query.get("kind").and_then(|kind| kind.parse().ok());
        let before = query.get("before").map(PostingId::new);
        let balance = load_balance(&server, &user.account_id).await?;
        let mut rows = list_statement(&server, &user.account_id, kind, before.as_ref(), ROWS + 1).await?;
        let next = take_next(&mut rows);
        let cards: Vec<_> = offers(&server.catalogue.load())
            .into_iter()
            .map(|offer| pack_card(offer, &PurchaseId::new(server.clock.new_id())))
            .collect();
        let is_first_page = before.is_none();

        Ok(view! {
            <div class="grid gap-10">
                <h1 class="page-title">"Credits"</h1>
                {refused.notice(&[])}
                {query
                    .get("cancelled")
                    .map(|_| {
                        view! {
                            <Notice tone=Tone::Info title="You left the payment page. Nothing was charged.">
                                ()
                            </Notice>
                        }
                    })}
                <BalanceBar balance=balance />
                <section class="grid gap-4" aria-labelledby="packs">
                    <div class="grid gap-1">
                        <h2 class="text-20 font-semibold" id="packs">
                            "Buy credit"
                        </h2>
                        <p class="lede">
                            "You pay on Stripe's page; we never see your card. Credit that you bought never expires."
                        </p>
                    </div>
                    <ul class="grid gap-4 sm:grid-cols-2 lg:grid-cols-4">{cards}</ul>
                </section>
                <section class="grid gap-4" aria-labelledby="statement">
                    <h2 class="text-20 font-semibold" id="statement">
                        "Statement"
                    </h2>
                    {statement_filter(kind)}
                    {if rows.is_empty() {
                        no_rows(kind, is_first_page).into_any()
                    } else {
                        statement(rows, &user.time_zone).into_any()
                    }}
                    <Pager
                        first=(!is_first_page).then(|| address(kind, None))
                        next=next.map(|last| address(kind, Some(&last)))
                    />
                </section>
            </div>
        })
    })
}

/// Drops the row beyond the page; if there was one, the key after which the next page begins.
fn take_next(rows: &mut Vec<StatementRow>) -> Option<PostingId> {
    let page = usize::try_from(ROWS).unwrap_or(usize::MAX);
    if rows.len() <= page {
        return None;
    }
    rows.truncate(page);
    rows.last().map(|row| row.posting_id.clone())
}

fn address(kind: Option<PostingKind>, before: Option<&PostingId>) -> String {
    let kind = kind.map(|kind| format!("kind={kind}"));
    let before = before.map(|before| format!("before={before}"));
    let query: Vec<String> = [kind, before].into_iter().flatten().collect();
    if query.is_empty() { "/credits#statement".to_owned() } else { format!("/credits?{}#statement", query.join("&")) }
}

/// One pack: what it gives, what that is as a markup, and the button with its price.
fn pack_card(offer: PackOffer, purchase_id: &PurchaseId) -> impl IntoView + use<> {
    let PackOffer { pack, spendable, markup, is_cheapest } = offer;
    let has_bonus = pack.bonus.is_positive();
    let name = round_dollars(pack.amount);
    view! {
        <li class="card grid content-between gap-5">
            <div class="grid gap-2">
                <h3 class="figure-small">
                    <Money amount=spendable digits=Digits::Cents />
                    <span class="text-14 font-normal tracking-normal text-ink-muted">" to spend"</span>
                </h3>
                <p class="text-13 text-ink-muted">
                    {if has_bonus {
                        format!("{name} bought and {} bonus", round_dollars(pack.bonus))
                    } else {
                        format!("{name} bought")
                    }}
                </p>
                <p class="text-13">
                    <span class="font-medium">{markup}</span>
                    <span class="text-ink-muted">" effective markup"</span>
                    {is_cheapest
                        .then(|| view! { <span class="font-medium text-accent-ink">", the lowest of these"</span> })}
                </p>
            </div>
            <form method="post" action="/credits">
                <ForAccount />
                <input type="hidden" name="pack_id" value=pack.id.to_string() />
                <input type="hidden" name="purchase_id" value=purchase_id.to_string() />
                <button class=if is_cheapest { "button button-primary w-full" } else { "button w-full" }>
                    {format!("Buy {name} pack for {}", round_dollars(pack.price))}
                </button>
            </form>
        </li>
    }
}

fn statement_filter(chosen: Option<PostingKind>) -> impl IntoView {
    let entries = [
        ("Everything", None),
        ("Bought and granted", Some(PostingKind::Grant)),
        ("Runs", Some(PostingKind::Capture)),
        ("Refunds", Some(PostingKind::Refund)),
        ("Expired credit", Some(PostingKind::LotExpiry)),
        ("Adjustments", Some(PostingKind::Adjustment)),
    ];
    let chips =
        entries.into_iter().map(|(label, kind)| (label.to_owned(), address(kind, None), kind == chosen)).collect();
    view! { <Chips label="Show" chips=chips /> }
}

fn statement(rows: Vec<StatementRow>, zone: &str) -> impl IntoView + use<> {
    let rows = rows
        .into_iter()
        .map(|row| {
            let memo = row.memo.clone();
            view! {
                <tr>
                    <td class="text-ink-muted">
                        <When at=row.created_at zone=zone.to_owned() />
                    </td>
                    <td class="w-full max-w-0 min-w-48">{memo_link(&row, memo)}</td>
                    <td class="number">
                        <Money amount=row.change digits=Digits::Exact signed=true />
                    </td>
                    <td class="number">
                        <Money amount=row.balance_after digits=Digits::Exact />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <Table caption="Statement, newest first">
            <thead>
                <tr>
                    <th scope="col">"Date"</th>
                    <th scope="col">"What"</th>
                    <th class="number" scope="col">
                        "Change"
                    </th>
                    <th class="number" scope="col">
                        "Balance"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </Table>
    }
}

/// A debit opens to its run, a grant to its purchase.
fn memo_link(row: &StatementRow, memo: String) -> AnyView {
    let target = row.reference.as_ref().and_then(|reference| match row.kind {
        PostingKind::Capture | PostingKind::Void | PostingKind::Expire => Some(format!("/usage/{reference}")),
        PostingKind::Grant if reference.starts_with("trial:") => Some("/limits#trial".to_owned()),
        PostingKind::Grant => Some(format!("/credits/bought/{reference}")),
        PostingKind::Hold
        | PostingKind::LotExpiry
        | PostingKind::Refund
        | PostingKind::Dispute
        | PostingKind::Adjustment => None,
    });
    let title = memo.clone();
    match target {
        Some(href) => view! {
            <a class="row-link clip" href=href title=title>
                {memo}
            </a>
        }
        .into_any(),
        None => view! {
            <span class="clip" title=title>
                {memo}
            </span>
        }
        .into_any(),
    }
}

fn no_rows(kind: Option<PostingKind>, is_first_page: bool) -> impl IntoView {
    let (title, text) = match (kind, is_first_page) {
        (None, true) => (
            "Nothing on the statement yet",
            "Each purchase, bonus, run and refund stands here, with the balance after it. Buy a pack to begin.",
        ),
        (Some(_), true) => {
            ("Nothing of this kind", "There is no such line on your statement. Show everything to see the rest.")
        }
        (_, false) => ("No older lines", "This is the end of your statement."),
    };
    view! { <Empty title=title text=text /> }
}

/// `POST /credits`: begins the purchase of a pack and leads to Checkout. Nothing is charged or granted here.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let pack_id = PackId::new(post.text("pack_id"));
        let purchase_id = PurchaseId::new(post.text("purchase_id"));
        purchase::start(&post.server, post.user()?, &pack_id, purchase_id).await
    }
    .await;
    post.answer(outcome).await
}
