//! Owns: the hosted page of an invoice: what it bills, and a card form while it is open. It stands for the PDF too.

use super::card::{self, CardForm, FieldErrors};
use super::invoice::{Invoice, InvoiceStatus};
use super::params::Params;
use super::{collect, customer, page, with_call};
use crate::html::{escape, message, money};
use crate::world::World;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

/// `GET /invoice/{invoice}`.
pub async fn show(State(world): State<World>, Path(id): Path<String>) -> Response {
    match with_call(&world, |call| call.store.invoices.find(&id).cloned()) {
        None => unknown(),
        Some(invoice) => render(&invoice, &CardForm::default(), &FieldErrors::default(), None),
    }
}

/// `POST /invoice/{invoice}`: pays it with what was typed; 3-D Secure is completed.
pub async fn submit(State(world): State<World>, Path(id): Path<String>, body: String) -> Response {
    let form = page::read_form(&Params::parse(&body));
    with_call(&world, |call| {
        let outcome = match card::check(&form, call.now) {
            Err(errors) => Err((errors, None)),
            Ok(card) => {
                let method = customer::insert_method(call, &card, None);
                collect::pay_on_page(call, &id, &method)
                    .map_err(|decline| (FieldErrors::default(), Some(decline.message)))
            }
        };
        let Some(invoice) = call.store.invoices.find(&id) else { return unknown() };
        match outcome {
            Ok(()) => render(invoice, &CardForm::default(), &FieldErrors::default(), None),
            Err((errors, refused)) => render(invoice, &form, &errors, refused),
        }
    })
}

fn unknown() -> Response {
    message(StatusCode::NOT_FOUND, "There is no such invoice", "The sandbox forgets when it starts again.", None)
}

fn render(invoice: &Invoice, form: &CardForm, errors: &FieldErrors, refused: Option<&str>) -> Response {
    let rows: String = invoice
        .lines
        .iter()
        .map(|line| {
            format!(
                "<tr><td>{}</td><td class=\"number\">{}</td></tr>",
                escape(&line.description),
                money(line.amount, "usd")
            )
        })
        .collect();
    let number = invoice.number.as_deref().unwrap_or("draft");
    let pay = if invoice.status == InvoiceStatus::Open {
        let refused =
            refused.map(|text| format!("<p class=\"refused\" role=\"alert\">{}</p>", escape(text))).unwrap_or_default();
        format!(
            "<section class=\"card\" aria-label=\"Card\">{refused}<form method=\"post\" novalidate>{}\
             <button>Pay {}</button></form></section>",
            page::card_fields(form, errors),
            money(invoice.due(), "usd")
        )
    } else {
        String::new()
    };
    let body = format!(
        "<section class=\"card\"><h1>Invoice {}</h1><p>{}</p><table><tbody>{rows}</tbody><tfoot>\
         <tr><th scope=\"row\">Discount</th><td class=\"number\">{}</td></tr>\
         <tr><th scope=\"row\">Total</th><td class=\"number\">{}</td></tr>\
         <tr><th scope=\"row\">Due</th><td class=\"number\">{}</td></tr></tfoot></table></section>{pay}",
        escape(number),
        invoice.status,
        money(-invoice.off, "usd"),
        money(invoice.total(), "usd"),
        money(invoice.due(), "usd"),
    );
    crate::html::page(&format!("Invoice {number}"), &body).into_response()
}
