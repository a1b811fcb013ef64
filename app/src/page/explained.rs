//! Your money, explained: what a dollar of credit buys on each model, what it was bought for, and whether an own key pays.

use crate::post::{ForAccount, Post};
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, grouped};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::advice::{Advice, AdviceKind};
use domain::denial::Denial;
use domain::explain::{Buys, Operation, price_of_a_dollar, what_it_buys};
use domain::money::{NANOS_PER_DOLLAR, Usd};
use leptos::prelude::*;
use server::advice;

const DOLLAR: Usd = Usd::from_nanos(NANOS_PER_DOLLAR);

/// `GET /credits/explained`
#[component]
pub fn ExplainedPage() -> impl IntoView {
    console(Section::Credits, "Your money, explained", async {
        let (server, user) = signed_in()?;
        let (catalogue, rates) = (server.catalogue.load_full(), server.rates.load_full());
        let now = server.clock.now();
        let bought = advice::load_bought(&server, &user.account_id).await?;
        let paid = bought.and_then(|bought| price_of_a_dollar(bought.price, bought.gave));
        let advice = advice::load(&server, &user).await?;
        let models = what_it_buys(&catalogue, &rates, now, DOLLAR)
            .iter()
            .map(|buys| model(buys, &user.time_zone).into_any())
            .collect_view();
        Ok(view! {
            <div class="grid gap-10">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits">"Credits"</a>
                    </p>
                    <h1 class="page-title">"Your money, explained"</h1>
                    <p class="lede max-w-prose">
                        "One dollar of credit pays for one dollar of the provider's list price, whatever the model. The markup "
                        "is charged once, when you buy."
                    </p>
                    {paid
                        .map(|paid| {
                            view! {
                                <p class="max-w-prose">
                                    "You paid " <Money amount=paid digits=Digits::Short />
                                    " for a dollar of credit, bonus counted, over your newest purchases."
                                </p>
                            }
                        })}
                </div>
                {advice.map(|advice| advice_notice(&advice))}
                <section class="grid gap-6" aria-labelledby="models">
                    <h2 class="text-20 font-semibold" id="models">
                        "What one dollar buys"
                    </h2>
                    {models}
                </section>
            </div>
        })
    })
}

fn model(buys: &Buys<'_>, zone: &str) -> impl IntoView + use<> {
    let tokens = |count: Option<u64>| count.map_or_else(|| "as many as you like".to_owned(), grouped);
    let (input, output) = (tokens(buys.input_tokens), tokens(buys.output_tokens));
    let id = format!("model-{}", buys.model.id.as_str().replace(['.', '/', ':'], "-"));
    let rows = buys.operations.iter().map(|operation| row(operation).into_any()).collect_view();
    let labelled_by = id.clone();
    let caption = format!("What one dollar buys on {}", buys.model.name);
    view! {
        <section class="card grid gap-4" aria-labelledby=labelled_by>
            <div class="grid gap-1">
                <h3 class="text-16 font-semibold" id=id>
                    {buys.model.name.clone()}
                </h3>
                <p>{format!("{input} tokens of input, or {output} tokens of output")}</p>
                <p class="text-13 text-ink-muted">
                    {format!("Rates {}, since ", buys.rate.version)}
                    <When at=buys.rate.effective_at zone=zone.to_owned() />
                </p>
            </div>
            <Table caption=caption>
                <thead>
                    <tr>
                        <th scope="col">"Task"</th>
                        <th class="number" scope="col">
                            "Each, about"
                        </th>
                        <th class="number" scope="col">
                            "For a dollar"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </section>
    }
}

fn row(operation: &Operation<'_>) -> impl IntoView + use<> {
    let times = match operation.tenths {
        None => "any number".to_owned(),
        Some(tenths) if tenths >= 100 => grouped(tenths / 10),
        Some(tenths) => format!("{}.{}", tenths / 10, tenths % 10),
    };
    view! {
        <tr>
            <th class="font-normal" scope="row">
                {operation.name.to_owned()}
                {operation.is_its_own.then(|| view! { <span class="text-ink-muted">" · its usual model"</span> })}
            </th>
            <td class="number">
                <Money amount=operation.cost digits=Digits::Short />
            </td>
            <td class="number">{times}</td>
        </tr>
    }
}

/// Advice with its numbers and the two things to do: follow it, or put it away.
pub fn advice_notice(advice: &Advice) -> impl IntoView + use<> {
    let Advice { kind, our_keys, own_keys, .. } = *advice;
    let action = match kind {
        AdviceKind::OwnKeys => Some(("/keys", "Add your key")),
        AdviceKind::Stay => None,
        AdviceKind::OurKeys => Some(("/keys", "Look at your keys")),
    };
    view! {
        <Notice tone=Tone::Info title=advice.sentence()>
            <p>
                "The last 30 days at your plan and your prices: " <Money amount=our_keys digits=Digits::Cents />
                " with our keys, " <Money amount=own_keys digits=Digits::Cents />
                " with your own, the provider's bill included."
            </p>
            <form class="flex flex-wrap gap-3 pt-2" method="post" action="/credits/explained">
                <ForAccount />
                <input type="hidden" name="advice" value=kind.as_str() />
                {action.map(|(href, label)| view! { <a class="button" href=href>{label}</a> })}
                <button class="button button-quiet">"Put this away"</button>
            </form>
        </Notice>
    }
}

/// `POST /credits/explained`: puts advice away.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let advice = post.text("advice").parse().map_err(|_| Denial::NotFound { what: "advice".to_owned() })?;
        advice::dismiss(&post.server, post.user()?, advice).await?;
        Ok("/credits".to_owned())
    }
    .await;
    post.answer(outcome).await
}
