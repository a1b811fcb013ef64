//! The balance by kind, the packs, and the statement with its running balance.

use crate::page::auto_top_up;
use crate::page::explained::advice_notice;
use crate::page::given::{code_form, expiring_list};
use crate::page::statement::{line, rows};
use crate::post::{ForAccount, Post, Refused};
use crate::ui::balance::BalanceBar;
use crate::ui::empty::Empty;
use crate::ui::frozen::frozen_notice;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::{PackOffer, offers, round_dollars};
use crate::visitor::signed_in;
use axum::response::Response;
use domain::id::{PackId, PurchaseId};
use domain::statement::LineKind;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account::Permission;
use server::ledger::{Line, LineFilter, list_expiring, list_lines, load_balance};
use server::{advice, purchase};

/// The newest lines of the statement; all of them have their own page.
const ROWS: u32 = 10;

#[component]
pub fn CreditsPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Credits", async move {
        let (server, user) = signed_in()?;
        let balance = load_balance(&server, &user.account_id).await?;
        let newest = list_lines(&server, &user.account_id, &LineFilter::default(), None, ROWS).await?;
        let lines: Vec<_> = newest
            .into_iter()
            .map(|line| {
                let href = address(&line);
                (line, href, None)
            })
            .collect();
        let expiring = list_expiring(&server, &user.account_id).await?;
        let advice = advice::load(&server, &user).await?;
        let may_redeem = user.require(Permission::ManageBilling).is_ok();
        let frozen = server::freeze::list(&server, &user.account_id).await?;
        let cards: Vec<_> = offers(&server.catalogue.load())
            .into_iter()
            .map(|offer| pack_card(offer, &PurchaseId::new(server.clock.new_id())))
            .collect();
        let top_up_line = auto_top_up::line(&server, &user.account_id).await?;

        Ok(view! {
            <div class="grid gap-10">
                <h1 class="page-title">"Credits"</h1>
                {refused.notice(&[])} {frozen_notice(frozen, &user.time_zone)}
                {query
                    .get("cancelled")
                    .map(|_| {
                        view! {
                            <Notice tone=Tone::Info title="You left the payment page. Nothing was charged.">
                                ()
                            </Notice>
                        }
                    })}
                {advice.map(|advice| advice_notice(&advice))}
                <BalanceBar balance=balance />
                {(!expiring.is_empty()).then(|| expiring_list(expiring, &server.catalogue.load(), &user.time_zone))}
                <section class="grid gap-4" aria-labelledby="packs">
                    <div class="grid gap-1">
                        <h2 class="text-20 font-semibold" id="packs">
                            "Buy credit"
                        </h2>
                        <p class="lede">
                            "You pay on Stripe's page; we never see your card. Credit that you bought never expires, and what you "
                            "do not use can " <a class="underline" href="/credits/refund">"go back to your card"</a> ". "
                            <a href="/credits/explained">"What a dollar buys"</a>
                        </p>
                    </div>
                    <ul class="grid gap-4 sm:grid-cols-2 lg:grid-cols-4">{cards}</ul>
                </section>
                {may_redeem.then(|| code_form(None))}
                {top_up_line}
                <section class="grid gap-4" aria-labelledby="statement">
                    <div class="flex items-baseline justify-between gap-4">
                        <h2 class="text-20 font-semibold" id="statement">
                            "Statement"
                        </h2>
                        <a href="/credits/statement">"All of it, with PDF and CSV"</a>
                    </div>
                    {if lines.is_empty() {
                        no_rows().into_any()
                    } else {
                        rows::table(lines, &user.time_zone).into_any()
                    }}
                </section>
            </div>
        })
    })
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

/// A debit opens to its run, a grant to its purchase, anything else to its line.
fn address(row: &Line) -> String {
    match (row.kind, &row.reference) {
        (LineKind::Debit | LineKind::Waiver, Some(run)) => format!("/usage/{run}"),
        (LineKind::Purchase | LineKind::Bonus, Some(purchase)) => format!("/credits/bought/{purchase}"),
        (LineKind::Trial, _) => "/limits#trial".to_owned(),
        _ => line::address(&row.posting_id),
    }
}

fn no_rows() -> impl IntoView {
    view! {
        <Empty
            title="Nothing on the statement yet"
            text="Each purchase, bonus, run and refund stands here, with the balance after it. Buy a pack to begin."
        />
    }
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
