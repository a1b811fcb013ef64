//! Owns: how a plan looks wherever it is shown: its name with seats and keys, its invoices, and the banner of a payment
//! that is missing. Does not own: the page of the plan (`page::plan`).

use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::table::Table;
use crate::ui::when::in_zone;
use domain::catalogue::Catalogue;
use domain::money::{Cents, Usd};
use domain::subscription::{KeyMode, Standing, Terms};
use domain::time::Timestamp;
use domain::trial::KeyGrace;
use leptos::prelude::*;
use server::stripe::plan::InvoiceStatus;
use server::subscription::{MissingKey, PriceStands, StoredInvoice};

/// Cents as an amount; what is past the range of money is shown as nothing, which no price is.
pub fn dollars(cents: Cents) -> Usd {
    Usd::from_cents(cents).unwrap_or_default()
}

/// `Team, 3 seats, your keys`.
pub fn terms_text(catalogue: &Catalogue, terms: &Terms) -> String {
    let plan = catalogue.plan(&terms.plan);
    let name = plan.map_or_else(|| terms.plan.to_string(), |plan| plan.name.clone());
    let seats = match (plan.is_some_and(|plan| plan.per_seat), terms.seats) {
        (false, _) => String::new(),
        (true, 1) => ", 1 seat".to_owned(),
        (true, seats) => format!(", {seats} seats"),
    };
    let keys = match terms.key_mode {
        KeyMode::Standard => "",
        KeyMode::Byok => ", your keys",
    };
    format!("{name}{seats}{keys}")
}

/// A day in the account's zone, for running text: `24 Dec 2026`.
pub fn day(at: Timestamp, zone: &str) -> String {
    in_zone(at, zone).strftime("%-d %b %Y").to_string()
}

/// A full-width banner while a payment for the plan is missing; nothing otherwise.
pub fn past_due_banner(standing: Option<Standing>, zone: &str) -> AnyView {
    let text = match standing {
        Some(Standing::Grace { until }) => {
            format!("The payment for your plan failed. Your plan stays until {}.", day(until, zone))
        }
        Some(Standing::Suspended) => {
            "Your plan is suspended, because its payment is missing. The limits of the free plan apply.".to_owned()
        }
        Some(Standing::InOrder | Standing::Without) | None => return ().into_any(),
    };
    view! {
        <aside class="banner banner-danger" aria-label="Payment">
            {text} " "
            <a class="font-semibold underline" href="/plan#payment">
                "Pay or change the card"
            </a>
        </aside>
    }
    .into_any()
}

/// What is said of a plan at the own-key price without a key that works: until when the price stays, and what comes then.
/// The link leads to the other page that has to do with it.
pub fn missing_key_notice(missing: Option<MissingKey>, zone: &str, link: (&'static str, &'static str)) -> AnyView {
    let Some(MissingKey { stands, month }) = missing else { return ().into_any() };
    let standard = month.map_or_else(
        || "the standard price".to_owned(),
        |month| format!("the standard price, {} a month", text(dollars(month), Digits::Cents)),
    );
    let (tone, title, words) = match stands {
        PriceStands::Grace(KeyGrace::Until(until)) => (
            Tone::Caution,
            format!("No key of yours works. Your plan keeps its price until {}", day(until, zone)),
            format!("Add or repair a key by then; otherwise your plan goes on at {standard}."),
        ),
        PriceStands::Grace(KeyGrace::Over) => (
            Tone::Caution,
            "No key of yours works, and the time to add one is over".to_owned(),
            format!("Your plan goes on at {standard}. With a key that works you can choose your own keys again."),
        ),
        PriceStands::Moved(at) => (
            Tone::Info,
            format!("Your plan has the standard price since {}", day(at, zone)),
            "No key of yours worked. The difference for the rest of the period is on the next invoice. With a key that works \
             you can choose your own keys again."
                .to_owned(),
        ),
    };
    let (label, href) = link;
    view! {
        <Notice tone=tone title=title>
            <p>
                {words} " "
                <a class="font-semibold underline" href=href>
                    {label}
                </a>
            </p>
        </Notice>
    }
    .into_any()
}

/// Invoices, newest first.
pub fn invoice_table(invoices: Vec<StoredInvoice>, zone: &str) -> AnyView {
    let rows = invoices.into_iter().map(|invoice| invoice_row(invoice, zone)).collect_view();
    view! {
        <Table caption="Invoices, newest first">
            <thead>
                <tr>
                    <th scope="col">"Date"</th>
                    <th class="max-sm:hidden" scope="col">
                        "What"
                    </th>
                    <th scope="col">"State"</th>
                    <th class="number" scope="col">
                        "Amount"
                    </th>
                    <th scope="col">"Invoice"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </Table>
    }
    .into_any()
}

fn invoice_row(invoice: StoredInvoice, zone: &str) -> AnyView {
    let (state, class) = match invoice.status {
        InvoiceStatus::Paid => ("Paid", "state state-positive"),
        InvoiceStatus::Open => ("To be paid", "state state-danger"),
        InvoiceStatus::Draft => ("Draft", "state"),
        InvoiceStatus::Uncollectible => ("Given up", "state state-caution"),
        InvoiceStatus::Void => ("Voided", "state"),
    };
    let what = invoice.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(", ");
    let title = what.clone();
    let number = invoice.number.clone().unwrap_or_else(|| invoice.invoice_id.to_string());
    let label = if invoice.status == InvoiceStatus::Open { "Pay" } else { "Receipt" };
    let link = invoice.page_url.clone();
    view! {
        <tr>
            <td class="whitespace-nowrap text-ink-muted">{day(invoice.created_at, zone)}</td>
            <td class="w-full max-w-0 min-w-48 max-sm:hidden">
                <span class="clip" title=title>
                    {what}
                </span>
            </td>
            <td>
                <span class=class>{state}</span>
            </td>
            <td class="number">
                <Money amount=dollars(invoice.total) digits=Digits::Cents />
            </td>
            <td>
                {link
                    .map(|href| {
                        view! {
                            <a class="row-link whitespace-nowrap" href=href rel="external">
                                {label} <span class="max-sm:sr-only">" " {number}</span>
                            </a>
                        }
                    })}
            </td>
        </tr>
    }
    .into_any()
}
