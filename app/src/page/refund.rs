//! What unused credit can be paid back, purchase by purchase: what is removed, what Stripe keeps, what arrives on the
//! card; the button that asks for it; and how far each refund is.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::form::Field;
use crate::ui::frozen::frozen_notice;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::{percent_text, round_dollars};
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::RefundRequestId;
use domain::money::{Cents, Usd};
use domain::pack::StripeFee;
use domain::refund::FeePolicy;
use leptos::prelude::*;
use leptos_meta::Meta;
use leptos_router::hooks::use_query_map;
use server::account::Permission;
use server::refund::{Line, Refund, RefundState, list, load_offer, start};
use server::{error::Error, freeze};

/// Seconds between two looks while a refund is on its way.
const LOOK_AGAIN: &str = "3";

#[component]
pub fn RefundPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Refund", async move {
        let (server, user) = signed_in()?;
        let typed = refused.typed("amount").or_else(|| query.get("amount")).unwrap_or_default();
        let everything = load_offer(&server, &user.account_id, None).await?;
        let (lines, problem) = match read_amount(&typed) {
            Ok(None) => (everything.clone(), None),
            Ok(cash) => match load_offer(&server, &user.account_id, cash).await {
                Ok(lines) => (lines, None),
                Err(Error::Denied(denial)) => (everything.clone(), Some(denial)),
                Err(error) => return Err(error),
            },
            Err(denial) => (everything.clone(), Some(denial)),
        };
        let is_valid = problem.is_none();
        let problem = problem.map(|denial| {
            if let Denial::Invalid { problem, remedy, .. } = &denial {
                return format!("{problem}. {remedy}");
            }
            denial.sentence()
        });
        let frozen = freeze::list(&server, &user.account_id).await?;
        let refunds = list(&server, &user.account_id).await?;
        let may_not = user.require(Permission::ManageBilling).err();
        let request_id = RefundRequestId::new(server.clock.new_id());
        let (fee, fee_policy) = (server.catalogue.load().stripe_fee, server.catalogue.load().refund_fee);
        let shown_amount = if is_valid { typed.clone() } else { String::new() };

        Ok(view! {
            <div class="grid max-w-4xl gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Refund unused credit"</h1>
                    <p class="lede">
                        "Credit that you bought and did not use goes back to the card that paid for it, the newest purchase "
                        "first. The bonus of the purchase is removed in proportion; bonus that was spent counts as spent."
                    </p>
                </div>
                {refused.notice(&["amount"])} {frozen_notice(frozen, &user.time_zone)}
                {query.get("asked").map(|_| asked(&refunds))}
                {if everything.is_empty() {
                    view! {
                        <Empty
                            title="There is nothing to refund"
                            text="Only credit that was paid for here by card, and that nothing has used or set aside, can go back to \
                                  that card: not a gift, a bonus, or the sample of a demo. A payment that is disputed is settled \
                                  by the bank."
                            action=("/credits", "Back to Credits")
                        />
                    }
                        .into_any()
                } else {
                    view! {
                        {choose(total(&everything), typed, problem)}
                        <section class="grid gap-4" aria-labelledby="offer">
                            <h2 class="text-20 font-semibold" id="offer">
                                "What goes back"
                            </h2>
                            {offer(&lines, fee_policy, &user.time_zone)} {policy(fee_policy, fee)}
                            {match may_not {
                                Some(denial) => {
                                    view! { <Notice tone=Tone::Info title=denial.sentence()>()</Notice> }.into_any()
                                }
                                None => confirm(total(&lines), &request_id, shown_amount).into_any(),
                            }}
                        </section>
                    }
                        .into_any()
                }} {history(refunds, &user.time_zone)}
            </div>
        })
    })
}

fn usd(cents: Cents) -> Usd {
    Usd::from_cents(cents).unwrap_or_default()
}

fn total(lines: &[Line]) -> Cents {
    Cents(lines.iter().map(|line| line.part.cash.0).sum())
}

/// What was typed as a sum for the card; nothing typed is everything.
fn read_amount(typed: &str) -> Result<Option<Cents>, Denial> {
    if typed.trim().is_empty() {
        return Ok(None);
    }
    let cents = Usd::parse_typed(typed).and_then(Usd::to_cents_exact);
    let wrong = || Denial::invalid("amount", "Not a sum in dollars and cents", "Write it like 25 or 25.50.");
    cents.map(Some).ok_or_else(wrong)
}

/// The sum, for those who do not want everything back.
fn choose(most: Cents, typed: String, problem: Option<String>) -> impl IntoView {
    let hint = format!("Leave it empty for everything: {}.", text(usd(most), Digits::Cents));
    view! {
        <form class="flex flex-wrap items-start gap-3" method="get" action="/credits/refund">
            <Field
                label="How much should arrive on the card, in dollars"
                name="amount"
                value=Some(typed)
                hint=hint
                problem=problem
                optional=true
            />
            <button class="button sm:mt-7">"Show what goes back"</button>
        </form>
    }
}

/// The lines, one for each purchase.
fn offer(lines: &[Line], fee_policy: FeePolicy, zone: &str) -> impl IntoView + use<> {
    let rows = lines
        .iter()
        .map(|line| {
            let part = line.part;
            let what = format!("{} for {}", round_dollars(line.amount), round_dollars(usd(line.price)));
            view! {
                <tr>
                    <td class="w-full">
                        <a class="row-link" href=format!("/credits/bought/{}", line.purchase_id)>
                            {what}
                        </a>
                        <span class="block text-13 text-ink-muted">
                            <When at=line.bought_at zone=zone.to_owned() />
                        </span>
                        {kept(usd(part.price), usd(part.fee), fee_policy)}
                    </td>
                    <td class="number">
                        <Money amount=part.credit digits=Digits::Cents />
                        {part
                            .bonus
                            .is_positive()
                            .then(|| {
                                view! {
                                    <span class="block text-13 text-ink-muted">
                                        "+ " <Money amount=part.bonus digits=Digits::Cents /> " bonus"
                                    </span>
                                }
                            })}
                    </td>
                    <td class="number font-medium">
                        <Money amount=usd(part.cash) digits=Digits::Cents />
                    </td>
                </tr>
            }
        })
        .collect_view();
    let removed = lines.iter().fold(Usd::ZERO, |sum, line| sum.saturating_add(line.part.removed()));
    let sum = |of: fn(&Line) -> i64| usd(Cents(lines.iter().map(of).sum()));
    let (price, fee) = (sum(|line| line.part.price.0), sum(|line| line.part.fee.0));
    let cash = usd(total(lines));
    view! {
        <Table caption="What goes back, newest purchase first">
            <thead>
                <tr>
                    <th scope="col">"Purchase"</th>
                    <th class="number" scope="col">
                        "Credit removed"
                    </th>
                    <th class="number" scope="col">
                        "To your card"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
            <tfoot>
                <tr>
                    <th scope="row">"Together" {kept(price, fee, fee_policy)}</th>
                    <td class="number">
                        <Money amount=removed digits=Digits::Cents />
                    </td>
                    <td class="number font-semibold">
                        <Money amount=cash digits=Digits::Cents />
                    </td>
                </tr>
            </tfoot>
        </Table>
    }
}

/// What was paid for what goes back, and what Stripe keeps of that, where the two differ.
fn kept(paid: Usd, fee: Usd, fee_policy: FeePolicy) -> Option<impl IntoView + use<>> {
    let takes_fee = match fee_policy {
        FeePolicy::Keep => true,
        FeePolicy::GiveBack => false,
    };
    takes_fee.then(|| {
        view! {
            <span class="block text-13 font-normal text-ink-muted">
                <Money amount=paid digits=Digits::Cents />
                " paid, of which Stripe keeps "
                <Money amount=fee digits=Digits::Cents />
            </span>
        }
    })
}

/// What becomes of Stripe's fee, said before anything is confirmed.
fn policy(fee_policy: FeePolicy, fee: StripeFee) -> impl IntoView {
    let fee = format!("{} and {}", percent_text(fee.percent), text(fee.fixed, Digits::Cents));
    let said = match fee_policy {
        FeePolicy::Keep => format!(
            "Stripe does not give back what it kept of a payment ({fee}) when the payment is refunded, so that part is taken off."
        ),
        FeePolicy::GiveBack => format!(
            "You get back everything that you paid for the unused credit. What Stripe kept of the payment ({fee}) it does not \
             return; we bear it."
        ),
    };
    view! {
        <p class="max-w-prose text-13 text-ink-muted">
            {said} " The credit is removed at once; banks show the money after 5 to 10 days."
        </p>
    }
}

fn confirm(cash: Cents, request_id: &RefundRequestId, amount: String) -> impl IntoView + use<> {
    view! {
        <form class="flex flex-wrap gap-3" method="post" action="/credits/refund">
            <ForAccount />
            <input type="hidden" name="request_id" value=request_id.to_string() />
            <input type="hidden" name="amount" value=amount />
            <input type="hidden" name="shown" value=cash.0.to_string() />
            <button class="button button-primary">
                {format!("Refund {} to your card", text(usd(cash), Digits::Cents))}
            </button>
            <a class="button button-quiet" href="/credits">
                "Keep the credit"
            </a>
        </form>
    }
}

/// After asking: whether the money is on its way yet.
fn asked(refunds: &[Refund]) -> AnyView {
    if refunds.iter().any(|refund| refund.state == RefundState::Pending) {
        view! {
            <Meta http_equiv="refresh" content=LOOK_AGAIN />
            <Notice tone=Tone::Info title="Your refund is on its way">
                "The credit is removed. This page looks again by itself; you can also leave it, nothing is lost."
            </Notice>
        }
        .into_any()
    } else {
        ().into_any()
    }
}

fn history(refunds: Vec<Refund>, zone: &str) -> AnyView {
    if refunds.is_empty() {
        return ().into_any();
    }
    let rows = refunds
        .into_iter()
        .map(|refund| {
            let removed = refund.credit.saturating_add(refund.bonus);
            let (class, state) = match refund.state {
                RefundState::Pending => ("state state-live", "On its way"),
                RefundState::Succeeded => ("state state-positive", "Sent to your card"),
                RefundState::Failed => ("state state-danger", "Did not go through, the credit is back"),
            };
            view! {
                <tr>
                    <td class="w-full">
                        <span class=class>{state}</span>
                        <span class="block text-13 text-ink-muted">
                            <When at=refund.created_at zone=zone.to_owned() />
                        </span>
                        {refund.problem.map(|problem| view! { <span class="block text-13">{problem}</span> })}
                    </td>
                    <td class="number">
                        <Money amount=removed digits=Digits::Cents />
                    </td>
                    <td class="number">
                        <Money amount=usd(refund.cash) digits=Digits::Cents />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-4" aria-labelledby="refunds">
            <h2 class="text-20 font-semibold" id="refunds">
                "Your refunds"
            </h2>
            <Table caption="Refunds, newest first">
                <thead>
                    <tr>
                        <th scope="col">"State and date"</th>
                        <th class="number" scope="col">
                            "Credit removed"
                        </th>
                        <th class="number" scope="col">
                            "To your card"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </Table>
        </section>
    }
    .into_any()
}

/// `POST /credits/refund`: takes the credit and asks for the refund that was shown.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let request_id = RefundRequestId::new(post.text("request_id"));
        let cash = read_amount(post.text("amount"))?;
        let shown = post
            .text("shown")
            .parse()
            .map(Cents)
            .map_err(|_| Denial::invalid("shown", "The sum is missing", "Reload the page and try again."))?;
        start(&post.server, post.user()?, &request_id, cash, shown).await?;
        // Without a fragment: browsers do not read a page again by itself when its address has one.
        Ok("/credits/refund?asked=1".to_owned())
    }
    .await;
    post.answer(outcome).await
}
