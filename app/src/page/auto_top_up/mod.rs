//! The automatic top-up: the page, its form, and the line about it on the page of credits.

mod charges;
mod rule;
mod state;

use crate::post::{Post, Refused};
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::visitor::signed_in;
use axum::response::Response;
use charges::charges;
use domain::denial::Denial;
use domain::id::{AccountId, CardSetupId, PurchaseId};
use domain::top_up::Verdict;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use rule::{Form, card_section, read_form, rule_form};
use server::Server;
use server::account::Permission;
use server::error::Result;
use server::payment_method;
use server::top_up::{self, Next};
use state::{confirm, figures, sentence, state};

const ADDRESS: &str = "/credits/auto-top-up";

/// `GET /credits/auto-top-up`.
#[component]
pub fn AutoTopUpPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Auto-top-up", async move {
        let (server, user) = signed_in()?;
        // Whoever comes back from Stripe's page or the bank's: what Stripe says counts, not that they came.
        if let Some(setup) = query.get("card").map(CardSetupId::new) {
            note(payment_method::finish_setup(&server, &user.account_id, &setup).await);
        }
        if let Some(top_up_id) = query.get("confirmed").map(PurchaseId::new) {
            note(top_up::look(&server, &user.account_id, &top_up_id).await);
        }
        let view = top_up::load(&server, &user.account_id).await?;
        let may_change = user.require(Permission::ManageBilling).is_ok();
        let catalogue = server.catalogue.load_full();
        let form = Form::new(&server, &user, &view, &refused).await?;
        let zone = user.time_zone.clone();
        let to_confirm = view.to_confirm(server.clock.now()).cloned();
        let cancelled = query.get("cancelled").is_some();
        Ok(view! {
            <div class="grid gap-10">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits">"Credits"</a>
                    </p>
                    <h1 class="page-title">"Auto-top-up"</h1>
                    <p class="lede">{sentence(&view, &catalogue)}</p>
                </div>
                {refused.notice(&["threshold", "cap", "charges", "agrees"])}
                {cancelled
                    .then(|| {
                        view! {
                            <Notice tone=Tone::Info title="You left Stripe's page. No card was kept and nothing was charged.">
                                ()
                            </Notice>
                        }
                    })}
                {state(&view, &zone)}
                {to_confirm.map(|top_up| confirm(top_up, &zone, may_change, &server.clock.new_id()))}
                {figures(&view, &catalogue, &zone)}
                {may_change.then(|| rule_form(form, &view, &catalogue))}
                {card_section(view.card.as_ref(), may_change, &server.clock.new_id())}
                {charges(&view, &zone)}
                {(!may_change)
                    .then(|| view! { <p class="text-ink-muted">"Whoever pays for this account can change this."</p> })}
            </div>
        })
    })
}

/// Stripe could not be asked now: the page shows what is known, and the sweep asks again.
fn note(asked: Result<()>) {
    if let Err(error) = asked {
        tracing::warn!(%error, "Stripe could not be asked for a page; the next sweep asks");
    }
}

/// One line about it for the page of credits.
pub async fn line(server: &Server, account_id: &AccountId) -> Result<AnyView> {
    let view = top_up::load(server, account_id).await?;
    let catalogue = server.catalogue.load_full();
    let (state, words, link) = match view.verdict {
        Verdict::Off => ("off", "Buy a pack by itself when the balance is low.".to_owned(), "Set it up"),
        Verdict::Paused { reason, .. } => ("paused", reason.sentence().to_owned(), "See what to do"),
        Verdict::Enough | Verdict::Open | Verdict::Wait { .. } | Verdict::Due { .. } => {
            ("on", sentence(&view, &catalogue), "Change it")
        }
    };
    let tone = if state == "paused" { Tone::Caution } else { Tone::Info };
    Ok(view! {
        <Notice tone=tone title=format!("Auto-top-up is {state}")>
            {words} " " <a href=ADDRESS>{link}</a>
        </Notice>
    }
    .into_any())
}

/// Where the browser goes after the form.
enum Step {
    To(String),
    /// The page again with what was typed, to see what is charged first.
    Again,
}

/// `POST /credits/auto-top-up`: turn it on or off, leave or remove a card, or confirm a charge with the bank.
pub async fn submit(post: Post) -> Response {
    match act(&post).await {
        Ok(Step::To(url)) => post.answer(Ok(url)).await,
        Ok(Step::Again) => post.again().await,
        Err(error) => post.answer(Err(error)).await,
    }
}

async fn act(post: &Post) -> Result<Step> {
    let (server, user) = (&post.server, post.user()?);
    let here = || Step::To(ADDRESS.to_owned());
    match post.text("do") {
        "on" => match top_up::turn_on(server, user, read_form(post)?).await? {
            Next::On => Ok(here()),
            Next::Announce { .. } => Ok(Step::Again),
            Next::Stripe { url } => Ok(Step::To(url)),
        },
        "off" => top_up::turn_off(server, user).await.map(|()| here()),
        "card" => {
            let id = CardSetupId::new(post.text("card_setup_id"));
            payment_method::begin_setup(server, user, &id).await.map(Step::To)
        }
        "remove" => payment_method::remove(server, user).await.map(|()| here()),
        "confirm" => {
            let top_up_id = PurchaseId::new(post.text("top_up_id"));
            top_up::recover(server, user, &top_up_id, post.text("form_id")).await.map(Step::To)
        }
        other => {
            let problem = format!("“{other}” is nothing that this page does");
            Err(Denial::invalid("do", problem, "Reload the page and try again.").into())
        }
    }
}
