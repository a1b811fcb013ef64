//! What a change of plan costs, line by line as Stripe bills it, what it takes away, and the button that does it.

use crate::post::{Post, Refused};
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use crate::ui::plan::{day, dollars, terms_text};
use crate::ui::table::Table;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::downgrade;
use domain::id::PlanChangeId;
use domain::money::Cents;
use domain::subscription::Change;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use server::subscription::{self, Preview};

#[component]
pub fn PlanChangePage() -> impl IntoView {
    let plan_change_id = PlanChangeId::new(use_params_map().get_untracked().get("id").unwrap_or_default());
    let refused = Refused::current();
    console(Section::Plan, "Change of plan", async move {
        let (server, user) = signed_in()?;
        let catalogue = server.catalogue.load_full();
        let preview = subscription::load_preview(&server, &user, &plan_change_id).await;
        let body = match preview {
            Ok(Some(preview)) => whole(&catalogue, &preview, &user.time_zone),
            Ok(None) => gone(),
            // The refusal stands above; the change itself cannot be shown any more.
            Err(_) if refused.denial().is_some() => gone(),
            Err(error) => return Err(error),
        };
        Ok(view! {
            <div class="grid max-w-2xl gap-8">
                {refused.notice(&[])} {body}
            </div>
        })
    })
}

fn gone() -> AnyView {
    view! {
        <h1 class="page-title">"This change is over"</h1>
        <Notice tone=Tone::Info title="There is nothing to confirm here">
            "It was done, has expired, or was never begun. Your plan shows what you have now."
        </Notice>
        <p>
            <a class="button button-primary" href="/plan">
                "Back to the plan"
            </a>
        </p>
    }
    .into_any()
}

fn whole(catalogue: &Catalogue, preview: &Preview, zone: &str) -> AnyView {
    let due = dollars(preview.invoice.due);
    let ends = day(preview.period.end, zone);
    let (headline, label) = match preview.change {
        Change::Now if preview.is_trial => ("Nothing is charged during the trial".to_owned(), "Change now".to_owned()),
        Change::Now if preview.invoice.due.0 <= 0 => ("Nothing to pay now".to_owned(), "Change now".to_owned()),
        Change::Now => (format!("{} now", money(due)), format!("Change now and pay {}", money(due))),
        Change::NowWithCredit => ("Nothing to pay now".to_owned(), "Change now".to_owned()),
        Change::AtPeriodEnd | Change::None | Change::Subscribe | Change::Cancel => {
            (format!("Nothing changes until {ends}"), format!("Change on {ends}"))
        }
    };
    let lost = match (catalogue.plan(&preview.from.plan), catalogue.plan(&preview.to.plan)) {
        (Some(from), Some(to)) => downgrade::lost(from, preview.from.seats, to, preview.to.seats),
        (None, _) | (_, None) => Vec::new(),
    };
    let action = format!("/plan/change/{}", preview.plan_change_id);
    view! {
        <div class="grid gap-1">
            <p class="lede">
                {format!("{} → {}", terms_text(catalogue, &preview.from), terms_text(catalogue, &preview.to))}
            </p>
            <h1 class="page-title">{headline}</h1>
        </div>
        {lines(preview)}
        <p>
            "From " {ends} " on: " <Money amount=dollars(preview.month) digits=Digits::Cents /> " a month."
        </p>
        {(!lost.is_empty()).then(|| effects(lost))}
        <form class="flex flex-wrap gap-3" method="post" action=action>
            <button class="button button-primary">{label}</button>
            <a class="button button-quiet" href="/plan">
                "Keep the plan"
            </a>
        </form>
    }
    .into_any()
}

fn money(amount: domain::money::Usd) -> String {
    crate::ui::money::text(amount, Digits::Cents)
}

/// The lines as Stripe bills them, with what is taken off and what remains.
fn lines(preview: &Preview) -> AnyView {
    let invoice = &preview.invoice;
    if invoice.lines.is_empty() {
        return ().into_any();
    }
    let row = |text: String, amount: Cents| {
        view! {
            <tr>
                <td class="w-full">{text}</td>
                <td class="number">
                    <Money amount=dollars(amount) digits=Digits::Cents />
                </td>
            </tr>
        }
        .into_any()
    };
    let mut rows: Vec<AnyView> = invoice.lines.iter().map(|line| row(line.text.clone(), line.amount)).collect();
    if invoice.off.0 > 0 {
        rows.push(row("Promotion code".to_owned(), Cents(-invoice.off.0)));
    }
    if invoice.balance.0 < 0 {
        rows.push(row("Your credit at Stripe".to_owned(), invoice.balance));
    }
    let due = dollars(invoice.due);
    let total = match preview.change {
        Change::Now => "To pay now",
        Change::NowWithCredit | Change::AtPeriodEnd | Change::None | Change::Subscribe | Change::Cancel => {
            "Next invoice"
        }
    };
    view! {
        <Table caption="What is billed">
            <tbody>
                {rows}
            </tbody>
            <tfoot>
                <tr>
                    <th scope="row">{total}</th>
                    <td class="number font-semibold">
                        <Money amount=due digits=Digits::Cents />
                    </td>
                </tr>
            </tfoot>
        </Table>
    }
    .into_any()
}

fn effects(lost: Vec<String>) -> AnyView {
    view! {
        <section class="grid gap-2" aria-labelledby="effects">
            <h2 class="section-title font-semibold" id="effects">
                "What you will have less of"
            </h2>
            <ul class="grid list-disc gap-1 pl-5">
                {lost.into_iter().map(|text| view! { <li>{text}</li> }).collect_view()}
            </ul>
        </section>
    }
    .into_any()
}

/// `POST /plan/change/{id}`: does the change at the price that was shown.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let id = PlanChangeId::new(post.path_after("/plan/change/"));
        subscription::confirm(&post.server, post.user()?, &id).await?;
        Ok("/plan?done=changed".to_owned())
    }
    .await;
    post.answer(outcome).await
}
