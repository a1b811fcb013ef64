//! Owns: the mail that was sent to the sandbox's mail server, in memory.

mod mime;
pub mod page;
pub mod smtp;

use crate::task::lock;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Mutex;

const MOST_MAILS: usize = 10_000;

/// One mail, decoded.
#[derive(Clone, Debug, Serialize)]
pub struct Mail {
    pub id: u64,
    /// The sender and the receivers of the envelope.
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    /// The plain text part; empty if there is none.
    pub text: String,
    /// The HTML part; empty if there is none.
    pub html: String,
    /// Seconds since 1970.
    pub received_at: i64,
    /// As it came, dots unstuffed.
    #[serde(skip)]
    pub raw: String,
}

/// The mails, oldest first.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<VecDeque<Mail>>);

impl Mailbox {
    pub fn reset(&self) {
        lock(&self.0).clear();
    }

    /// Stores a mail as it came through SMTP.
    pub fn deliver(&self, from: String, to: Vec<String>, raw: &[u8], received_at: i64) {
        let parsed = mime::parse(raw);
        let mut mails = lock(&self.0);
        let id = mails.back().map_or(1, |mail| mail.id + 1);
        if mails.len() == MOST_MAILS {
            mails.pop_front();
        }
        mails.push_back(Mail {
            id,
            from,
            to,
            subject: parsed.subject,
            text: parsed.text,
            html: parsed.html,
            received_at,
            raw: String::from_utf8_lossy(raw).into_owned(),
        });
    }

    /// Every mail to an address, oldest first.
    pub fn list_to(&self, address: &str) -> Vec<Mail> {
        lock(&self.0).iter().filter(|mail| mail.to.iter().any(|to| to.eq_ignore_ascii_case(address))).cloned().collect()
    }

    /// Every mail, oldest first.
    pub fn list(&self) -> Vec<Mail> {
        lock(&self.0).iter().cloned().collect()
    }

    pub fn find(&self, id: u64) -> Option<Mail> {
        lock(&self.0).iter().find(|mail| mail.id == id).cloned()
    }
}
