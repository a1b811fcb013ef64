//! Credit that was given: what of it will expire, and the page where a code is used.

use crate::page::usage::model_name;
use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::Field;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::id::{CodeUseId, ModelId};
use domain::ledger::GrantKind;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account::Permission;
use server::code::{self, Redeemed};
use server::ledger::{Expiring, list_expiring};

/// `GET /credits/code`
#[component]
pub fn CodePage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Code", async move {
        let (server, user) = signed_in()?;
        let catalogue = server.catalogue.load_full();
        let given = match query.get("given") {
            Some(id) => code::load_use(&server, &user.account_id, &CodeUseId::new(id)).await?,
            None => None,
        };
        let expiring = list_expiring(&server, &user.account_id).await?;
        let may_redeem = user.require(Permission::ManageBilling);
        let zone = user.time_zone.clone();
        Ok(view! {
            <div class="grid max-w-2xl gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits">"Credits"</a>
                    </p>
                    <h1 class="page-title">"Use a code"</h1>
                    <p class="lede">
                        "A gift or promotional code adds credit to your balance at once. It is used before credit that you "
                        "bought."
                    </p>
                </div>
                {given.map(|given| redeemed(given, &catalogue, &zone))}
                {refused.notice(&["code"])}
                {match may_redeem {
                    Ok(()) => code_form(refused.problem("code")).into_any(),
                    Err(denial) => view! { <Notice tone=Tone::Info title=denial.sentence() /> }.into_any(),
                }}
                {(!expiring.is_empty()).then(|| expiring_list(expiring, &catalogue, &zone))}
            </div>
        })
    })
}

fn redeemed(given: Redeemed, catalogue: &Catalogue, zone: &str) -> impl IntoView + use<> {
    let models = given.allowed_models.map(|models| format!(" It pays for {} only.", names(&models, catalogue)));
    let time = match given.expires_at {
        Some(at) => view! {
            "It expires on "
            <When at=at zone=zone.to_owned() />
            "."
        }
        .into_any(),
        None => "It does not expire.".into_any(),
    };
    view! {
        <Notice tone=Tone::Positive title="The code counted">
            <p>
                <Money amount=given.amount digits=Digits::Exact /> " is in your balance. " {time} {models} " "
                <a href="/credits/statement?kind=promotional#lines">"See it on the statement"</a>
            </p>
        </Notice>
    }
}

/// The field for a code; it leads to its own page, from wherever it stands.
pub fn code_form(problem: Option<String>) -> impl IntoView {
    view! {
        <form class="flex flex-wrap items-start gap-3" method="post" action="/credits/code">
            <ForAccount />
            <div class="w-full max-w-xs">
                <Field label="Gift or promotional code" name="code" problem=problem hint="TB-XXXX-XXXX-XXXX-XXXX" />
            </div>
            <button class="button sm:mt-7">"Use the code"</button>
        </form>
    }
}

/// Trial and promotional credit with the day on which it ends.
pub fn expiring_list(expiring: Vec<Expiring>, catalogue: &Catalogue, zone: &str) -> impl IntoView + use<> {
    let rows = expiring
        .into_iter()
        .map(|lot| {
            let kind = match lot.kind {
                GrantKind::Trial => " of trial credit expires on ",
                GrantKind::Promotional | GrantKind::Bonus | GrantKind::Paid => " of promotional credit expires on ",
            };
            let models = lot.allowed_models.map(|models| format!("; it pays for {} only", names(&models, catalogue)));
            view! {
                <li>
                    <Money amount=lot.left digits=Digits::Exact /> {kind}
                    <When at=lot.expires_at zone=zone.to_owned() /> {models} "."
                </li>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-2" aria-labelledby="expiring">
            <h2 class="text-20 font-semibold" id="expiring">
                "Credit that expires"
            </h2>
            <ul class="grid gap-1">{rows}</ul>
            <p class="text-13 text-ink-muted">"Credit that you bought never expires, and neither does its bonus."</p>
        </section>
    }
}

fn names(models: &[ModelId], catalogue: &Catalogue) -> String {
    models.iter().map(|model| model_name(catalogue, model)).collect::<Vec<_>>().join(", ")
}

/// `POST /credits/code`
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let given = code::redeem(&post.server, post.user()?, post.text("code"), post.ip()?).await?;
        Ok(format!("/credits/code?given={given}"))
    }
    .await;
    post.answer(outcome).await
}
