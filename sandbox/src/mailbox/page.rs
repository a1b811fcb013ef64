//! Owns: the pages `/mailbox` (newest first) and `/mailbox/{id}`.

use crate::html::{escape, linkify, message, page};
use crate::world::World;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

pub async fn list(State(world): State<World>) -> Html<String> {
    let rows: String = world
        .mailbox
        .list()
        .iter()
        .rev()
        .map(|mail| {
            let subject = if mail.subject.is_empty() { "(no subject)" } else { &mail.subject };
            format!(
                "<tr><td><a href=\"/mailbox/{}\">{}</a></td><td>{}</td><td class=\"soft\">{}</td></tr>",
                mail.id,
                escape(subject),
                escape(&mail.to.join(", ")),
                moment(mail.received_at)
            )
        })
        .collect();
    let list = if rows.is_empty() {
        "<p>No mail yet. Whatever Tokenbank sends, to whomever, arrives here and goes nowhere else.</p>".to_owned()
    } else {
        format!(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Subject</th><th scope=\"col\">To</th><th scope=\"col\">Received</th></tr>\
             </thead><tbody>{rows}</tbody></table></div>"
        )
    };
    page("Mailbox", &format!("<section class=\"card\"><h1>Mailbox</h1>{list}</section>"))
}

pub async fn show(State(world): State<World>, Path(id): Path<u64>) -> Response {
    let Some(mail) = world.mailbox.find(id) else {
        return message(
            StatusCode::NOT_FOUND,
            "There is no such mail",
            "The sandbox keeps mail in memory.",
            Some(("/mailbox", "All mail")),
        );
    };
    let text = if mail.text.is_empty() { &mail.raw } else { &mail.text };
    let body = format!(
        "<p><a href=\"/mailbox\">All mail</a></p>\n<article class=\"card\">\n<h1>{}</h1>\n<p class=\"soft\">From {} to {}, {}</p>\n\
         <pre>{}</pre>\n</article>",
        escape(&mail.subject),
        escape(&mail.from),
        escape(&mail.to.join(", ")),
        moment(mail.received_at),
        linkify(text)
    );
    page(&mail.subject, &body).into_response()
}

/// `2026-11-24 14:05 UTC`.
fn moment(seconds: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    time::OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&format).ok()).unwrap_or_default()
}
