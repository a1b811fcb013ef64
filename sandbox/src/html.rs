//! Owns: the look of the sandbox's pages: plain HTML that works without JavaScript, light and dark, from 320 px on.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

const STYLE: &str = include_str!("page.css");

/// A whole page. `body` is HTML.
pub fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <p class=\"band\" role=\"note\"><strong>This is a sandbox: no money moves.</strong></p>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        escape(title)
    ))
}

/// A page that says one thing.
pub fn message(status: StatusCode, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    let link = link
        .map(|(url, words)| format!("<p><a class=\"button quiet\" href=\"{}\">{}</a></p>", escape(url), escape(words)))
        .unwrap_or_default();
    let body = format!("<section class=\"card\"><h1>{}</h1><p>{}</p>{link}</section>", escape(title), escape(text));
    (status, page(title, &body)).into_response()
}

/// Text as HTML text or as the value of an attribute.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// Cents as people read them: `$11.50`, `11.50 EUR`.
pub fn money(cents: i64, currency: &str) -> String {
    let sign = if cents < 0 { "\u{2212}" } else { "" };
    let amount = format!("{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    if currency == "usd" { format!("{sign}${amount}") } else { format!("{sign}{amount} {}", currency.to_uppercase()) }
}

/// Text with its web addresses made clickable.
pub fn linkify(text: &str) -> String {
    let mut html = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(start) = [rest.find("http://"), rest.find("https://")].into_iter().flatten().min() {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| c.is_whitespace() || "<>\"'".contains(c)).unwrap_or(from.len());
        let (address, after) = from.split_at(end);
        let trimmed = address.trim_end_matches(['.', ',', ')', ';']);
        let (url, tail) = address.split_at(trimmed.len());
        html.push_str(&escape(before));
        html.push_str(&format!("<a href=\"{0}\">{0}</a>", escape(url)));
        html.push_str(&escape(tail));
        rest = after;
    }
    html.push_str(&escape(rest));
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_links_and_nothing_becomes_markup() {
        assert_eq!(
            linkify("Go to http://127.0.0.1:3000/verify-email?token=a&b=1. <b>"),
            "Go to <a href=\"http://127.0.0.1:3000/verify-email?token=a&amp;b=1\">http://127.0.0.1:3000/verify-email?token=a&amp;b=1</a>. &lt;b&gt;"
        );
    }

    #[test]
    fn money_is_shown_in_its_currency() {
        assert_eq!(money(1150, "usd"), "$11.50");
        assert_eq!(money(5, "eur"), "0.05 EUR");
    }
}
