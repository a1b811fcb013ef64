//! Owns: reading a mail: unfolded headers, encoded words, multipart bodies, quoted-printable and base64. UTF-8 only.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};

/// Forgives a missing `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Reads what can be read; a part that is broken is left out.
pub fn parse(raw: &[u8]) -> Parsed {
    let mail = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let (headers, body) = split(&mail);
    let mut parsed =
        Parsed { subject: decode_words(&header(&headers, "subject").unwrap_or_default()), ..Parsed::default() };
    read_part(&headers, body, &mut parsed, 0);
    parsed
}

/// Headers (unfolded, one a line) and the body.
fn split(part: &str) -> (Vec<String>, &str) {
    let (head, body) = match part.strip_prefix('\n') {
        Some(body) => ("", body),
        None => part.split_once("\n\n").unwrap_or((part, "")),
    };
    let mut headers: Vec<String> = Vec::new();
    for line in head.lines() {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            Some(_) | None => headers.push(line.to_owned()),
        }
    }
    (headers, body)
}

fn header(headers: &[String], name: &str) -> Option<String> {
    headers.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn read_part(headers: &[String], body: &str, parsed: &mut Parsed, depth: usize) {
    let kind = header(headers, "content-type").unwrap_or_else(|| "text/plain".to_owned());
    let lower = kind.to_ascii_lowercase();
    if lower.starts_with("multipart/") {
        let Some(boundary) = parameter(&kind, "boundary").filter(|_| depth < 5) else { return };
        let mark = format!("--{boundary}");
        for part in body.split(mark.as_str()).skip(1) {
            if part.starts_with("--") {
                break;
            }
            let (headers, body) = split(part.strip_prefix('\n').unwrap_or(part));
            read_part(&headers, body, parsed, depth + 1);
        }
        return;
    }
    let encoding = header(headers, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let text = match encoding.as_str() {
        "base64" => {
            let packed: String = body.split_whitespace().collect();
            String::from_utf8_lossy(&BASE64.decode(packed).unwrap_or_default()).into_owned()
        }
        "quoted-printable" => String::from_utf8_lossy(&unquote(body, false)).into_owned(),
        _ => body.to_owned(),
    };
    let text = text.replace("\r\n", "\n");
    if lower.starts_with("text/html") {
        if parsed.html.is_empty() {
            parsed.html = text;
        }
    } else if lower.starts_with("text/plain") && parsed.text.is_empty() {
        parsed.text = text.trim_end().to_owned();
    }
}

/// `boundary="…"` of a header's value.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (key, text) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| text.trim().trim_matches('"').to_owned())
    })
}

/// Undoes quoted-printable; `in_word` for the form in headers, where `_` is a space.
fn unquote(text: &str, in_word: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'_' if in_word => bytes.push(b' '),
            b'=' if after.first() == Some(&b'\n') => rest = after.get(1..).unwrap_or_default(),
            b'=' => {
                let code =
                    after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
                match code {
                    Some(code) => {
                        bytes.push(code);
                        rest = after.get(2..).unwrap_or_default();
                    }
                    None => bytes.push(b'='),
                }
            }
            other => bytes.push(*other),
        }
    }
    bytes
}

/// `=?utf-8?b?…?=` and `=?utf-8?q?…?=` in a header; blanks between two encoded words are dropped.
fn decode_words(header: &str) -> String {
    let mut text = String::new();
    let mut rest = header;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let mut parts = from.get(2..).unwrap_or("").splitn(3, '?');
        let word = match (parts.next(), parts.next(), parts.next()) {
            (Some(_charset), Some(kind), Some(coded)) => coded.split_once("?=").and_then(|(coded, after)| {
                let bytes = match kind {
                    "b" | "B" => STANDARD.decode(coded).ok()?,
                    "q" | "Q" => unquote(coded, true),
                    _ => return None,
                };
                Some((bytes, after))
            }),
            (_, _, _) => None,
        };
        let Some((bytes, after)) = word else { break };
        if !(after_word && before.trim().is_empty()) {
            text.push_str(before);
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
        rest = after;
        after_word = true;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipart_mail_is_decoded() {
        let mail = b"Subject: =?utf-8?b?WW91ciBiYWxhbmNlOiA=?=\r\n =?utf-8?q?=E2=82=AC5_left?=\r\nContent-Type: multipart/alternative;\r\n boundary=\"b1\"\r\n\r\n\
            --b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            Go to http://127.0.0.1/verify?token=3Dab=\r\ncd =E2=80=94 now\r\n\
            --b1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n--b1--\r\n";
        assert_eq!(
            parse(mail),
            Parsed {
                subject: "Your balance: €5 left".to_owned(),
                text: "Go to http://127.0.0.1/verify?token=abcd — now".to_owned(),
                html: "<b>hi</b>".to_owned(),
            }
        );
    }

    #[test]
    fn a_plain_mail_needs_no_headers_for_it() {
        assert_eq!(parse(b"Subject: Hi\r\n\r\nBody\r\n").text, "Body");
        assert_eq!(parse(b"").subject, "");
    }
}
