//! The plan: what the account has and pays, choosing another, the invoices, ending and resuming.

use crate::page::plan_form::{Chosen, change_form};
use crate::post::{Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::ui::plan::{day, dollars, invoice_table, missing_key_notice, terms_text};
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::{Catalogue, TrialKind};
use domain::id::{PlanChangeId, PlanId};
use domain::member::Permission;
use domain::subscription::{KeyMode, Standing, SubscriptionStatus, Terms};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account::User;
use server::subscription::{self, Live, PlanView, Proposal, StoredInvoice};
use server::trial;

/// Invoices on the page; older ones are in Stripe's portal.
const INVOICES: i64 = 24;
/// Seconds between two looks while the money has not come.
const LOOK_AGAIN: &str = "3";

#[component]
pub fn PlanPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Plan, "Plan", async move {
        let (server, user) = signed_in()?;
        let view = subscription::load_view(&server, &user.account_id).await?;
        let invoices = subscription::list_invoices(&server, &user.account_id, INVOICES).await?;
        let catalogue = server.catalogue.load_full();
        let may_change = user.require(Permission::ManageBilling).is_ok();
        let chosen = Chosen::read(&query, &refused, &view);
        let form_id = || PlanChangeId::new(server.clock.new_id());
        let came_back = query.get("subscribed").map(PlanChangeId::new);
        let refusal = match &came_back {
            Some(id) => subscription::load_refusal(&server, &user.account_id, id).await?,
            None => None,
        };
        let came_back = came_back.is_some();
        let has_none = view.live.is_none();
        let offer = if may_change && view.live.is_none() && trial::list_offers(&server, &user).await?.1.is_none() {
            catalogue.trial(TrialKind::ManagedWithCard)
        } else {
            None
        };
        let now = server.clock.now();
        let missing = missing_key_notice(view.missing_key, &user.time_zone, ("See your keys", "/keys"));

        Ok(view! {
            <div class="grid gap-10">
                {head(&catalogue, &view, &user)} {refused.notice(&["seats", "plan"])} {missing}
                {notices(&query.get("done"), query.get("cancelled").is_some(), came_back, &view)}
                {refusal
                    .map(|problem| {
                        view! {
                            <Notice tone=Tone::Danger title="Your plan did not begin, and nothing was charged">
                                <p>{problem}</p>
                                {has_none
                                    .then(|| {
                                        view! {
                                            <p>
                                                <a class="button" href="/limits?appeal=1#trial">
                                                    "Ask for a trial"
                                                </a>
                                            </p>
                                        }
                                    })}
                            </Notice>
                        }
                    })} {facts(&catalogue, &view, &user)}
                {(may_change && is_open(&view))
                    .then(|| change_form((&catalogue, offer), &view, &chosen, &refused, &form_id(), now))}
                {invoice_section(invoices, &user)}
                {view.live.as_ref().filter(|_| may_change).map(|live| payment(live, &form_id(), &user))}
                {(!may_change).then(|| view! { <p class="lede">"Owners, admins and billing members change the plan."</p> })}
            </div>
        })
    })
}

/// Whether another plan can be chosen now.
fn is_open(view: &PlanView) -> bool {
    view.live.as_ref().is_none_or(|live| {
        live.cancels_at.is_none() && matches!(live.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing)
    })
}

/// The page's question, answered in its first line.
fn head(catalogue: &Catalogue, view: &PlanView, user: &User) -> AnyView {
    let zone = &user.time_zone;
    let line = match &view.live {
        None => "You pay for no plan; the limits of the free plan count.".to_owned(),
        Some(live) => match (live.standing, live.cancels_at) {
            (Standing::Suspended, _) => "Suspended: a payment is missing, and the free plan's limits apply.".to_owned(),
            (Standing::Grace { until }, _) => {
                format!("A payment is missing. The plan stays until {}.", day(until, zone))
            }
            (Standing::InOrder | Standing::Without, Some(at)) => {
                format!("It ends on {} and becomes the free plan. Nothing more is charged.", day(at, zone))
            }
            (Standing::InOrder | Standing::Without, None) if live.billed != live.had => format!(
                "From {} on: {}. Until then nothing changes.",
                day(live.period.end, zone),
                terms_text(catalogue, &live.billed)
            ),
            (Standing::InOrder | Standing::Without, None) => match live.trial_end {
                Some(end) if live.status == SubscriptionStatus::Trialing => {
                    format!("Trial until {}, then it is paid.", day(end, zone))
                }
                Some(_) | None => format!("Paid, and renewed on {}.", day(live.period.end, zone)),
            },
        },
    };
    let terms = Terms { plan: view.current.plan.clone(), key_mode: view.current.key_mode, seats: view.current.seats };
    view! {
        <div class="grid gap-1">
            <h1 class="page-title">{format!("Plan: {}", terms_text(catalogue, &terms))}</h1>
            <p class="lede">{line}</p>
        </div>
    }
    .into_any()
}

fn notices(done: &Option<String>, cancelled: bool, came_back: bool, view: &PlanView) -> AnyView {
    if came_back && view.live.is_none() && view.pending.is_some() {
        return view! {
            <meta http-equiv="refresh" content=LOOK_AGAIN />
            <Notice tone=Tone::Info title="Waiting for Stripe">
                "Your plan begins when Stripe confirms the payment, usually within seconds. This page looks again by itself."
            </Notice>
        }
        .into_any();
    }
    let positive = |title: &'static str| view! { <Notice tone=Tone::Positive title=title /> }.into_any();
    match done.as_deref() {
        _ if came_back && view.live.is_some() => positive("Your plan has begun. The receipt is below."),
        Some("changed") => positive("Your plan was changed."),
        Some("cancel") => positive("Your plan ends with its period. You can resume it until then."),
        Some("resume") => positive("Your plan goes on."),
        Some("paid") => positive("Thank you, everything is paid."),
        Some("same") => {
            view! { <Notice tone=Tone::Info title="You have this plan already. Nothing was changed." /> }.into_any()
        }
        Some(_) | None if cancelled => {
            view! { <Notice tone=Tone::Info title="You left the payment page. Nothing was charged." /> }.into_any()
        }
        Some(_) | None => ().into_any(),
    }
}

/// What one has, as names and values.
fn facts(catalogue: &Catalogue, view: &PlanView, user: &User) -> AnyView {
    let Some(live) = &view.live else { return ().into_any() };
    let zone = &user.time_zone;
    let per_seat = catalogue.plan(&live.had.plan).is_some_and(|plan| plan.per_seat);
    let month = live.unit.0.saturating_mul(i64::from(live.billed.seats));
    let fact = |name: &'static str, value: AnyView| {
        view! {
            <div class="grid gap-0.5">
                <dt class="text-13 text-ink-muted">{name}</dt>
                <dd class="font-medium">{value}</dd>
            </div>
        }
        .into_any()
    };
    let keys = match live.had.key_mode {
        KeyMode::Standard => "Ours",
        KeyMode::Byok => "Yours",
    };
    let next = match (&view.next_invoice, live.cancels_at) {
        (_, Some(_)) => "None".into_any(),
        (Some(invoice), None) => view! {
            <Money amount=dollars(invoice.due) digits=Digits::Cents />
            {format!(" on {}", day(live.period.end, zone))}
        }
        .into_any(),
        (None, None) => "Stripe could not be asked".into_any(),
    };
    view! {
        <section class="card grid gap-4" aria-label="What you have">
            <dl class="grid gap-4 sm:grid-cols-2 lg:grid-cols-4">
                {fact(
                    "Price",
                    view! {
                        <Money amount=dollars(domain::money::Cents(month)) digits=Digits::Cents />
                        " a month"
                    }
                        .into_any(),
                )}
                {per_seat.then(|| fact("Seats", format!("{} of {} taken", view.members, live.had.seats).into_any()))}
                {fact("Keys", keys.into_any())}
                {fact(
                    "Period",
                    format!("{} to {}", day(live.period.start, zone), day(live.period.end, zone)).into_any(),
                )} {fact("Next invoice", next)}
            </dl>
            {live
                .problem
                .clone()
                .map(|problem| {
                    view! {
                        <Notice tone=Tone::Caution title="Stripe's price differs from the catalogue">
                            {format!("{problem}. Your plan stays as it is; tell the people who run this site.")}
                        </Notice>
                    }
                })}
        </section>
    }
    .into_any()
}

fn invoice_section(invoices: Vec<StoredInvoice>, user: &User) -> AnyView {
    view! {
        <section class="grid gap-4" aria-labelledby="invoices">
            <h2 class="text-20 font-semibold" id="invoices">
                "Invoices and receipts"
            </h2>
            {if invoices.is_empty() {
                view! {
                    <Empty title="No invoices yet" text="Each payment for a plan stands here, with its receipt from Stripe." />
                }
                    .into_any()
            } else {
                invoice_table(invoices, &user.time_zone)
            }}
        </section>
    }
    .into_any()
}

/// Card, missing payment, ending and resuming.
fn payment(live: &Live, form_id: &PlanChangeId, user: &User) -> AnyView {
    let owes = matches!(live.status, SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid);
    let button = |what: &'static str, label: String, class: &'static str| {
        view! {
            <form method="post" action="/plan">
                <input type="hidden" name="what" value=what />
                <input type="hidden" name="plan_change_id" value=form_id.to_string() />
                <button class=class>{label}</button>
            </form>
        }
        .into_any()
    };
    let ends = day(live.period.end, &user.time_zone);
    view! {
        <section class="grid gap-4" aria-labelledby="payment">
            <h2 class="text-20 font-semibold" id="payment">
                "Payment"
            </h2>
            <p class="lede max-w-prose">
                {if owes {
                    "Change the card at Stripe, then pay what is open. Stripe also tries again by itself."
                } else {
                    "Card, billing address and tax id are kept by Stripe; we never see your card."
                }}
            </p>
            <div class="flex flex-wrap gap-3">
                {owes.then(|| button("pay", "Pay what is open now".to_owned(), "button button-primary"))}
                {button("portal", "Change card or address".to_owned(), "button")}
                {match live.cancels_at {
                    None => button("cancel", format!("End the plan on {ends}"), "button button-quiet"),
                    Some(_) => button("resume", "Resume the plan".to_owned(), "button button-primary"),
                }}
            </div>
        </section>
    }
    .into_any()
}

/// `POST /plan`: proposes a plan, or ends, resumes, pays, opens the portal.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let (server, user) = (&post.server, post.user()?);
        let form_id = PlanChangeId::new(post.text("plan_change_id"));
        match post.text("what") {
            "cancel" => subscription::cancel(server, user, &form_id).await.map(|()| "/plan?done=cancel".to_owned()),
            "resume" => subscription::resume(server, user, &form_id).await.map(|()| "/plan?done=resume".to_owned()),
            "pay" => {
                subscription::pay_open_invoice(server, user, &form_id).await.map(|()| "/plan?done=paid".to_owned())
            }
            "portal" => subscription::open_portal(server, user).await,
            _choose => {
                let to = Terms {
                    plan: PlanId::new(post.text("plan")),
                    key_mode: post.text("mode").parse().unwrap_or(KeyMode::Standard),
                    seats: post.text("seats").trim().parse().unwrap_or(1),
                };
                let proposal = if post.text("trial").is_empty() {
                    subscription::propose(server, user, &to, &form_id).await
                } else {
                    subscription::propose_trial(server, user, &to, &form_id).await
                };
                Ok(match proposal? {
                    Proposal::Same => "/plan?done=same".to_owned(),
                    Proposal::Checkout { url } => url,
                    Proposal::Confirm => format!("/plan/change/{form_id}"),
                    Proposal::Cancel => {
                        subscription::cancel(server, user, &form_id).await?;
                        "/plan?done=cancel".to_owned()
                    }
                })
            }
        }
    }
    .await;
    post.answer(outcome).await
}
