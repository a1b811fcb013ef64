//! Owns: the hosted Checkout page and its 3-D Secure page: plain forms, no JavaScript.

use super::card::{CARDS, CardForm, FieldErrors};
use super::checkout::{Mode, Session, SessionStatus};
use super::params::Params;
use super::pay::{self, PayOutcome};
use super::{promotion, with_call};
use crate::html::{escape, message, money, page};
use crate::world::World;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

/// `GET /checkout/{session}`.
pub async fn show(State(world): State<World>, Path(id): Path<String>) -> Response {
    match with_call(&world, |call| call.store.sessions.find(&id).cloned()) {
        None => no_such_session(),
        Some(session) => match session.status {
            SessionStatus::Open => checkout_form(&session, &CardForm::default(), &FieldErrors::default(), None),
            SessionStatus::Complete => already_paid(&session),
            SessionStatus::Expired => expired(&session),
        },
    }
}

/// `POST /checkout/{session}`: pays with what was typed. Sent twice, it pays once.
pub async fn submit(State(world): State<World>, Path(id): Path<String>, body: String) -> Response {
    let params = Params::parse(&body);
    let form = read_form(&params);
    if let Some(code) = params.text(&["promotion_code"]) {
        with_call(&world, |call| {
            let coupon = promotion::coupon_of_code(call, code);
            if let Some(session) = call.store.sessions.find_mut(&id).filter(|session| session.allow_promotion_codes) {
                session.coupon = coupon;
            }
        });
        // Applied first, so that the total is seen before it is paid.
        if params.text(&["apply"]).is_some() {
            return Redirect::to(&format!("/checkout/{id}")).into_response();
        }
    }
    let (outcome, session) =
        with_call(&world, |call| (pay::pay(call, &id, &form), call.store.sessions.find(&id).cloned()));
    answer(outcome, session, &form)
}

/// `GET /checkout/{session}/authenticate`: the page that stands for the bank's.
pub async fn show_authentication(State(world): State<World>, Path(id): Path<String>) -> Response {
    match with_call(&world, |call| call.store.sessions.find(&id).cloned()) {
        None => no_such_session(),
        Some(session) => match session.status {
            SessionStatus::Open => authentication_form(&session),
            SessionStatus::Complete => already_paid(&session),
            SessionStatus::Expired => expired(&session),
        },
    }
}

/// `POST /checkout/{session}/authenticate` with `outcome=complete` or `outcome=fail`.
pub async fn authenticate(State(world): State<World>, Path(id): Path<String>, body: String) -> Response {
    let completed = Params::parse(&body).text(&["outcome"]) == Some("complete");
    let (outcome, session) =
        with_call(&world, |call| (pay::authenticate(call, &id, completed), call.store.sessions.find(&id).cloned()));
    answer(outcome, session, &CardForm::default())
}

/// What was typed into the card form.
pub fn read_form(params: &Params) -> CardForm {
    CardForm {
        number: params.owned(&["number"]).unwrap_or_default(),
        expiry: params.owned(&["expiry"]).unwrap_or_default(),
        cvc: params.owned(&["cvc"]).unwrap_or_default(),
        name: params.owned(&["name"]).unwrap_or_default(),
    }
}

fn answer(outcome: PayOutcome, session: Option<Session>, form: &CardForm) -> Response {
    let Some(session) = session else { return no_such_session() };
    match outcome {
        PayOutcome::Paid { redirect } => Redirect::to(&redirect).into_response(),
        PayOutcome::NeedsAuthentication => {
            Redirect::to(&format!("/checkout/{}/authenticate", session.id)).into_response()
        }
        PayOutcome::Declined { message } => checkout_form(&session, form, &FieldErrors::default(), Some(&message)),
        PayOutcome::Invalid(errors) => checkout_form(&session, form, &errors, None),
        PayOutcome::Expired => expired(&session),
        PayOutcome::NoSuchSession => no_such_session(),
    }
}

fn no_such_session() -> Response {
    let text =
        "The sandbox keeps sessions in memory, so one from before its last start is gone. Go back and begin again.";
    message(StatusCode::NOT_FOUND, "There is no such checkout", text, None)
}

fn already_paid(session: &Session) -> Response {
    let text = "Nothing is paid a second time.";
    message(StatusCode::OK, "This checkout is already paid", text, Some((&session.return_url(), "Continue")))
}

fn expired(session: &Session) -> Response {
    let back = session.cancel_url.as_deref().map(|url| (url, "Go back"));
    let text = "Its time is over, and nothing was paid. Go back and begin again.";
    message(StatusCode::GONE, "This checkout has expired", text, back)
}

fn checkout_form(session: &Session, form: &CardForm, errors: &FieldErrors, refused: Option<&str>) -> Response {
    let total = money(session.to_pay(), &session.currency);
    let button = match session.mode {
        Mode::Payment => format!("Pay {total}"),
        Mode::Subscription if session.subscription_data.trial_days.is_some() => "Start trial".to_owned(),
        Mode::Subscription => format!("Pay {total} and subscribe"),
        Mode::Setup => "Save card".to_owned(),
    };
    let code = if session.allow_promotion_codes {
        "<div class=\"pair\"><div class=\"field\"><label for=\"promotion_code\">Promotion code</label>\
         <input id=\"promotion_code\" name=\"promotion_code\"></div>\
         <button class=\"quiet\" name=\"apply\" value=\"1\" formnovalidate>Apply</button></div>"
    } else {
        ""
    };
    let off = if session.off() > 0 {
        format!(
            "<tr><th scope=\"row\">Discount</th><td></td><td class=\"number\">{}</td></tr>",
            money(-session.off(), "usd")
        )
    } else {
        String::new()
    };
    let rows: String = session
        .items
        .iter()
        .map(|item| {
            format!(
                "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
                escape(&item.price.name),
                item.quantity,
                money(item.total(), &session.currency)
            )
        })
        .collect();
    let refused = refused
        .map(|text| {
            format!("<p class=\"refused\" role=\"alert\">{} Nothing was paid. Try another card.</p>", escape(text))
        })
        .unwrap_or_default();
    let cancel = session
        .cancel_url
        .as_deref()
        .map(|url| format!("<a class=\"button quiet\" href=\"{}\">Cancel</a>", escape(url)))
        .unwrap_or_default();
    let body = format!(
        "<div class=\"columns\">\n<section class=\"card\" aria-label=\"Order\">\n<h1>Pay</h1>\n<p class=\"total\">{total}</p>\n\
         <table><thead><tr><th scope=\"col\">Item</th><th scope=\"col\" class=\"number\">Quantity</th>\
         <th scope=\"col\" class=\"number\">Price</th></tr></thead>\n<tbody>{rows}</tbody>\n\
         <tfoot>{off}<tr><th scope=\"row\">Total</th><td></td><td class=\"number\">{total}</td></tr></tfoot></table>\n</section>\n\
         <section class=\"card\" aria-label=\"Card\">\n{refused}\n<form method=\"post\" action=\"/checkout/{id}\" novalidate>\n\
         {fields}\n{code}\n<button type=\"submit\">{button}</button>\n{cancel}\n\
         </form>\n</section>\n</div>\n{cards}",
        id = escape(&session.id),
        fields = card_fields(form, errors),
        cards = test_cards(),
    );
    let status = if *errors != FieldErrors::default() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else if refused.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::PAYMENT_REQUIRED
    };
    (status, page(&format!("Pay {total}"), &body)).into_response()
}

/// The four fields of a card.
pub fn card_fields(form: &CardForm, errors: &FieldErrors) -> String {
    let (number, expiry, cvc, name) = (
        field("number", "Card number", "cc-number", "numeric", &form.number, errors.number),
        field("expiry", "Expiry (MM/YY)", "cc-exp", "text", &form.expiry, errors.expiry),
        // The security code is never shown again.
        field("cvc", "CVC", "cc-csc", "numeric", "", errors.cvc),
        field("name", "Name on card", "cc-name", "text", &form.name, errors.name),
    );
    format!("{number}\n<div class=\"pair\">{expiry}\n{cvc}</div>\n{name}")
}

fn field(name: &str, label: &str, autocomplete: &str, mode: &str, value: &str, wrong: Option<&str>) -> String {
    let (state, note) = match wrong {
        Some(text) => (
            format!(" aria-invalid=\"true\" aria-describedby=\"{name}-wrong\""),
            format!("<p class=\"wrong\" id=\"{name}-wrong\">{}</p>", escape(text)),
        ),
        None => (String::new(), String::new()),
    };
    format!(
        "<div class=\"field\"><label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" \
         autocomplete=\"{autocomplete}\" inputmode=\"{mode}\" required value=\"{}\"{state}>{note}</div>",
        escape(value)
    )
}

fn test_cards() -> String {
    let rows: String = CARDS
        .iter()
        .map(|card| format!("<tr><td><code>{}</code></td><td>{}</td></tr>", spaced(card.number), escape(card.note)))
        .collect();
    format!(
        "<section class=\"card\">\n<h2 style=\"margin-top:0\">Test cards</h2>\n<p class=\"soft\">With any later date, any CVC and any \
         name. Real cards are refused.</p>\n<table><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">What happens</th></tr></thead>\
         <tbody>{rows}</tbody></table>\n</section>"
    )
}

fn spaced(number: &str) -> String {
    number.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join(" ")
}

fn authentication_form(session: &Session) -> Response {
    let total = money(session.to_pay(), &session.currency);
    let body = format!(
        "<section class=\"card\">\n<h1>3-D Secure</h1>\n<p>Your bank asks whether you want to pay {total}. In the sandbox, you decide \
         how it ends.</p>\n<form method=\"post\" action=\"/checkout/{}/authenticate\">\n\
         <button type=\"submit\" name=\"outcome\" value=\"complete\">Complete</button>\n\
         <button type=\"submit\" name=\"outcome\" value=\"fail\" class=\"quiet\">Fail</button>\n</form>\n</section>",
        escape(&session.id)
    );
    page("3-D Secure", &body).into_response()
}
