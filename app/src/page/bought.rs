//! Where Checkout returns to: how far a purchase is. Coming here proves nothing; the page shows what Stripe told the
//! server, and asks again every few seconds until it knows.

use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::pack::round_dollars;
use crate::ui::when::When;
use crate::visitor::signed_in;
use domain::denial::Denial;
use domain::id::PurchaseId;
use domain::money::Usd;
use leptos::prelude::*;
use leptos_meta::Meta;
use leptos_router::hooks::use_params_map;
use server::ledger::load_balance;
use server::purchase::{self, Purchase, PurchaseState};

/// Seconds between two looks while the money has not come.
const LOOK_AGAIN: &str = "3";

#[component]
pub fn BoughtPage() -> impl IntoView {
    let purchase_id = PurchaseId::new(use_params_map().get_untracked().get("purchase").unwrap_or_default());
    console(Section::Credits, "Purchase", async move {
        let (server, user) = signed_in()?;
        let purchase = purchase::load(&server, &user.account_id, &purchase_id)
            .await?
            .ok_or_else(|| Denial::NotFound { what: "purchase".to_owned() })?;
        let spendable = load_balance(&server, &user.account_id).await?.spendable();
        let body = match purchase.state {
            PurchaseState::Pending => pending(&purchase).into_any(),
            PurchaseState::Paid => paid(&purchase, spendable).into_any(),
            PurchaseState::Failed => unpaid(&purchase, "The payment did not go through").into_any(),
            PurchaseState::Expired => unpaid(&purchase, "The payment page expired").into_any(),
            PurchaseState::HeldBack => held_back(&purchase).into_any(),
        };
        Ok(view! {
            <div class="grid max-w-2xl gap-6">
                {body} {particulars(&purchase, &user.time_zone)}
            </div>
        })
    })
}

fn pending(purchase: &Purchase) -> impl IntoView + use<> {
    let problem = purchase.problem.clone();
    view! {
        <Meta http_equiv="refresh" content=LOOK_AGAIN />
        <div class="grid gap-3" role="status">
            <p class="state state-live text-13">"Waiting for Stripe"</p>
            <h1 class="page-title">"Your payment is on its way"</h1>
            <p>
                "Your credit arrives when Stripe confirms the payment, usually within seconds. This page looks again by "
                "itself; you can also leave it, nothing is lost."
            </p>
            {problem.map(|problem| view! { <p class="text-danger">{problem}</p> })}
        </div>
        <div class="flex flex-wrap items-center gap-3">
            {checkout_button(purchase, "Back to the payment page")}
            <a class="button button-quiet" href="/credits">
                "Credits"
            </a>
        </div>
    }
}

fn paid(purchase: &Purchase, spendable: Usd) -> impl IntoView + use<> {
    let total = purchase.amount.saturating_add(purchase.bonus);
    view! {
        <div class="grid gap-3">
            <p class="state state-positive text-13">"Paid"</p>
            <h1 class="page-title">
                <Money amount=total digits=Digits::Cents />
                " of credit arrived"
            </h1>
            <p>"You can spend " <Money amount=spendable digits=Digits::Short /> " now. The receipt is in your mail."</p>
        </div>
        <p class="flex flex-wrap gap-3">
            <a class="button button-primary" href="/tasks">
                "Run a task"
            </a>
            <a class="button" href="/credits">
                "See the statement"
            </a>
        </p>
    }
}

fn unpaid(purchase: &Purchase, title: &'static str) -> impl IntoView + use<> {
    let problem = purchase.problem.clone();
    view! {
        <div class="grid gap-3" role="alert">
            <p class="state state-danger text-13">"Not paid"</p>
            <h1 class="page-title">{title}</h1>
            {problem.map(|problem| view! { <p>{problem}</p> })}
            <p>"You were not charged and got no credit. Choose a pack to try again, with another card if you like."</p>
        </div>
        <p>
            <a class="button button-primary" href="/credits#packs">
                "Choose a pack"
            </a>
        </p>
    }
}

fn held_back(purchase: &Purchase) -> impl IntoView + use<> {
    let problem = purchase.problem.clone();
    let reference = purchase.purchase_id.to_string();
    view! {
        <div class="grid gap-3" role="alert">
            <p class="state state-caution text-13">"Being looked at"</p>
            <h1 class="page-title">"Your payment needs a look"</h1>
            {problem.map(|problem| view! { <p>{problem}</p> })}
            <p>
                "Money came that does not fit this purchase, so no credit was granted yet. We look at it and either grant "
                "the credit or send the money back. Tell support this reference: " <code>{reference}</code>
            </p>
        </div>
    }
}

/// The same form as on the packs: the purchase exists, so it leads to its Checkout again.
fn checkout_button(purchase: &Purchase, label: &'static str) -> impl IntoView + use<> {
    view! {
        <form method="post" action="/credits">
            <input type="hidden" name="pack_id" value=purchase.pack_id.to_string() />
            <input type="hidden" name="purchase_id" value=purchase.purchase_id.to_string() />
            <button class="button">{label}</button>
        </form>
    }
}

fn particulars(purchase: &Purchase, zone: &str) -> impl IntoView + use<> {
    let price = Usd::from_cents(purchase.price).unwrap_or_default();
    let bonus = purchase.bonus;
    view! {
        <dl class="card pair-list">
            <dt>"Pack"</dt>
            <dd>{format!("{} pack", round_dollars(purchase.amount))}</dd>
            <dt>"Price"</dt>
            <dd>
                <Money amount=price digits=Digits::Cents />
            </dd>
            <dt>"Credit"</dt>
            <dd>
                <Money amount=purchase.amount digits=Digits::Cents />
                {bonus
                    .is_positive()
                    .then(|| view! { " and " <Money amount=bonus digits=Digits::Cents /> " bonus" })}
            </dd>
            <dt>"Begun"</dt>
            <dd>
                <When at=purchase.created_at zone=zone.to_owned() />
            </dd>
            <dt>"Reference"</dt>
            <dd class="min-w-0">
                <code class="clip" title=purchase.purchase_id.to_string()>
                    {purchase.purchase_id.to_string()}
                </code>
            </dd>
        </dl>
    }
}
