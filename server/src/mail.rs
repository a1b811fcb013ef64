//! Owns: the mail we send: its words, its links, and handing it to the SMTP server.
//! Does not own: when it is sent; a job does that and retries, so a page never waits for a mail server.
//! Invariant: a job's row holds no secret: the token of a link is made when the mail is sent.

use crate::Server;
use crate::account::{self, Email, Purpose, User};
use crate::clock::Clock;
use crate::config;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::job::{self, Job, NewJob};
use crate::member;
use crate::notice::{self, Recipient};
use domain::id::{EmailChangeId, InvitationId, PurchaseId, UserId};
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use domain::trial::AppealState;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use tokio::sync::OnceCell;

/// A mail to send, as the job keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "snake_case")]
pub enum Mail {
    /// The link that verifies the e-mail of a new user.
    VerifyEmail { user_id: UserId },
    /// The link that resets a password; nothing is sent if the address has no user.
    ResetPassword { email: String },
    /// Somebody signed up with an address that has an account.
    AlreadyHaveAccount { email: String },
    /// Somebody is asked to join an account; nothing is sent if the invitation has ended.
    Invitation { invitation_id: InvitationId },
    /// Somebody was taken out of an account.
    Removed { user_id: UserId, account_name: String },
    /// The link that makes a new e-mail a user's.
    ConfirmNewEmail { email_change_id: EmailChangeId },
    /// Told to the address that was a user's until now.
    EmailChanged { email: String },
    /// A second factor was turned on or off.
    SecondFactorChanged { user_id: UserId, is_on: bool },
    /// An account is gone.
    AccountDeleted { email: String, account_name: String },
    /// An appeal for another trial was answered.
    TrialAppeal { user_id: UserId, answer: AppealState },
    /// A pack was paid.
    Receipt {
        user_id: UserId,
        pack: String,
        price: Cents,
        credits: Usd,
        /// The part of `credits` that is a bonus.
        #[serde(default)]
        bonus: Usd,
        paid_at: Timestamp,
        purchase_id: PurchaseId,
    },
    /// Something that the people of an account should know.
    Notice(Recipient),
}

/// What a mail says, before it is text and HTML.
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) paragraphs: Vec<String>,
    /// Names and values, one under the other.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Label and address; the address may hold a token.
    pub(crate) button: Option<(&'static str, SecretString)>,
    pub(crate) closing: &'static str,
}

/// Small links at the end of a mail.
#[derive(Default)]
pub(crate) struct Links {
    /// Label and address; the address may hold a token.
    pub(crate) shown: Vec<(&'static str, SecretString)>,
    /// Where a mail program ends mails like this one, by one POST (RFC 8058).
    pub(crate) unsubscribe: Option<SecretString>,
}

/// The connection to the SMTP server, made at the first mail. Cheap to make.
#[derive(Default)]
pub struct Mailer {
    transport: OnceCell<AsyncSmtpTransport<Tokio1Executor>>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer")
    }
}

/// Adds the mail to the caller's transaction: it is sent if, and only if, that commits.
pub async fn send_later(tx: &mut Tx, clock: &Clock, mail: Mail) -> Result<()> {
    job::insert(tx, clock, NewJob::now(Job::SendMail(mail), clock)).await
}

/// Sends the mail. An error means that it was not accepted, and the job tries again. Nothing is sent, and that is no
/// error, when there is nobody to send it to any more.
pub async fn deliver(server: &Server, mail: &Mail) -> Result<()> {
    let Some((to, letter)) = compose(server, mail).await? else { return Ok(()) };
    let mut links = Links::default();
    if let Mail::Notice(recipient) = mail {
        links = notice::links(server, recipient).await?;
    }
    let from: Mailbox = (server.config.mail.from.parse())
        .map_err(|error| Error::internal("TOKENBANK_MAIL_FROM is not a sender", error))?;
    let to = Mailbox::new(None, to.parse().map_err(|error| Error::internal("address of a mail", error))?);
    let mut message = Message::builder().from(from).to(to).subject(letter.subject.clone());
    if let Some(address) = &links.unsubscribe {
        message = message
            .header(ListUnsubscribe(format!("<{}>", address.expose_secret())))
            .header(ListUnsubscribePost("List-Unsubscribe=One-Click".to_owned()));
    }
    let message = message
        .multipart(MultiPart::alternative_plain_html(letter.text(&links), letter.html(&links)))
        .map_err(|error| Error::internal("write a mail", error))?;
    let transport = server.mailer.transport.get_or_try_init(async || connect(&server.config.mail)).await?;
    transport.send(message).await.map_err(|error| Error::internal("hand a mail to the mail server", error))?;
    Ok(())
}

/// Who gets the mail and what it says; nobody, when its reason has gone.
async fn compose(server: &Server, mail: &Mail) -> Result<Option<(String, Letter)>> {
    Ok(match mail {
        Mail::VerifyEmail { user_id } => match account::load_user(server, user_id).await? {
            Some(user) if !user.email_verified => Some(verify_email(server, user).await?),
            Some(_) | None => None,
        },
        Mail::ResetPassword { email } => match account::load_user_id(server, &Email::parse(email)?).await? {
            Some(user_id) => Some((email.clone(), reset_password(server, &user_id).await?)),
            None => None,
        },
        Mail::AlreadyHaveAccount { email } => Some((email.clone(), already_have_account(server))),
        Mail::Invitation { invitation_id } => {
            let link = member::issue_link(server, invitation_id).await?;
            link.map(|link| (link.email.clone(), invitation(server, &link)))
        }
        Mail::Removed { user_id, account_name } => {
            account::load_user(server, user_id).await?.map(|user| (user.email, removed(account_name)))
        }
        Mail::ConfirmNewEmail { email_change_id } => match account::issue_email_link(server, email_change_id).await? {
            Some(Ok((email, token))) => Some((email.to_string(), confirm_new_email(server, &token))),
            Some(Err(taken)) => Some((taken.to_string(), already_have_account(server))),
            None => None,
        },
        Mail::SecondFactorChanged { user_id, is_on } => {
            account::load_user(server, user_id).await?.map(|user| (user.email, second_factor_changed(*is_on)))
        }
        Mail::EmailChanged { email } => Some((email.clone(), email_changed())),
        Mail::AccountDeleted { email, account_name } => Some((email.clone(), account_deleted(account_name))),
        Mail::TrialAppeal { user_id, answer } => {
            let user = account::load_user(server, user_id).await?;
            user.map(|user| (user.email, trial_appeal(server, *answer)))
        }
        Mail::Receipt { user_id, .. } => match account::load_user(server, user_id).await? {
            Some(user) => receipt(server, &user, mail).map(|letter| (user.email, letter)),
            None => None,
        },
        Mail::Notice(recipient) => notice::letter(server, recipient).await?,
    })
}

async fn verify_email(server: &Server, user: User) -> Result<(String, Letter)> {
    let token = account::issue_link(server, &user.user_id, Purpose::VerifyEmail).await?;
    let letter = Letter {
        subject: "Confirm your e-mail for Tokenbank".to_owned(),
        paragraphs: vec![
            "Welcome. One step is left: confirm that this address is yours, then sign in.".to_owned(),
            "The link works once, within 24 hours.".to_owned(),
        ],
        facts: Vec::new(),
        button: Some(("Confirm e-mail", link(server, "/verify-email", &token))),
        closing: "If you did not sign up, do nothing: without your confirmation nobody can sign in with this address.",
    };
    Ok((user.email, letter))
}

async fn reset_password(server: &Server, user_id: &UserId) -> Result<Letter> {
    let token = account::issue_link(server, user_id, Purpose::ResetPassword).await?;
    Ok(Letter {
        subject: "Reset your Tokenbank password".to_owned(),
        paragraphs: vec![
            "Somebody, probably you, asked to reset the password of this account.".to_owned(),
            "The link works once, within an hour, and signs you out everywhere.".to_owned(),
        ],
        facts: Vec::new(),
        button: Some(("Choose a new password", link(server, "/reset-password/new", &token))),
        closing: "If it was not you, do nothing: your password stays as it is.",
    })
}

fn already_have_account(server: &Server) -> Letter {
    let address = format!("{}/sign-in", server.config.public_url);
    Letter {
        subject: "You already have a Tokenbank account".to_owned(),
        paragraphs: vec![
            "Somebody, probably you, signed up with this address, which has an account already. Nothing was changed."
                .to_owned(),
            "Sign in with it. If you forgot the password, or never confirmed this address, use \"Reset your password\" \
             on that page."
                .to_owned(),
        ],
        facts: Vec::new(),
        button: Some(("Sign in", SecretString::from(address))),
        closing: "If it was not you, do nothing.",
    }
}

fn invitation(server: &Server, invited: &member::Link) -> Letter {
    let member::Link { role, account_name, inviter, token, .. } = invited;
    Letter {
        subject: format!("Join {account_name} on Tokenbank"),
        paragraphs: vec![
            format!("{inviter} invites you to the account {account_name}."),
            "The link works once, within 7 days, and only for this address.".to_owned(),
        ],
        facts: vec![("Account", account_name.clone()), ("Your role", format!("{}: {}", role.label(), role.summary()))],
        button: Some(("See the invitation", link(server, "/invitation", token))),
        closing: "If you do not know who this is, do nothing: nobody becomes a member without opening the link.",
    }
}

fn removed(account_name: &str) -> Letter {
    Letter {
        subject: format!("You are no longer a member of {account_name}"),
        paragraphs: vec![
            format!("Somebody who manages the members of {account_name} took you out of it."),
            "API keys that you made there have stopped working. Your own sign-in is as it was.".to_owned(),
        ],
        facts: Vec::new(),
        button: None,
        closing: "If this is a mistake, ask an owner or admin of that account to invite you again.",
    }
}

fn confirm_new_email(server: &Server, token: &SecretString) -> Letter {
    Letter {
        subject: "Confirm your new e-mail for Tokenbank".to_owned(),
        paragraphs: vec![
            "Somebody, probably you, wants to sign in to Tokenbank with this address from now on.".to_owned(),
            "The link works once, within 24 hours. Until then the old address stays.".to_owned(),
        ],
        facts: Vec::new(),
        button: Some(("Confirm the new e-mail", link(server, "/confirm-email", token))),
        closing: "If it was not you, do nothing.",
    }
}

fn email_changed() -> Letter {
    Letter {
        subject: "Your Tokenbank e-mail was changed".to_owned(),
        paragraphs: vec!["Your sign-in has a new e-mail; this address is not used any more.".to_owned()],
        facts: Vec::new(),
        button: None,
        closing: "If it was not you, tell the people who run this installation at once.",
    }
}

fn second_factor_changed(is_on: bool) -> Letter {
    let (what, then) = if is_on {
        (
            "on",
            "Signing in asks for a code of your app from now on. Keep the recovery codes where you find them without it.",
        )
    } else {
        ("off", "Signing in asks for your password alone from now on.")
    };
    Letter {
        subject: format!("Your second factor for Tokenbank is {what}"),
        paragraphs: vec![then.to_owned()],
        facts: Vec::new(),
        button: None,
        closing: "If it was not you, reset your password at once and tell the people who run this installation.",
    }
}

fn account_deleted(account_name: &str) -> Letter {
    Letter {
        subject: format!("{account_name} was deleted from Tokenbank"),
        paragraphs: vec![
            format!("You deleted the account {account_name} with its data."),
            "Postings, purchases and invoices are kept without names, as the law asks.".to_owned(),
        ],
        facts: Vec::new(),
        button: None,
        closing: "Nothing will be charged any more.",
    }
}

/// What was bought, for whoever keeps the books: amounts to the cent, the day in the account's own zone.
fn receipt(server: &Server, user: &User, mail: &Mail) -> Option<Letter> {
    let Mail::Receipt { pack, price, credits, bonus, paid_at, purchase_id, .. } = mail else { return None };
    let price = Usd::from_cents(*price).map_or_else(|| "out of range".to_owned(), |price| price.to_string());
    let address = format!("{}/credits/bought/{purchase_id}", server.config.public_url);
    let credit = if bonus.is_positive() { format!("{credits}, {bonus} of it bonus") } else { credits.to_string() };
    let zone = &user.time_zone;
    Some(Letter {
        subject: format!("Receipt: {credits} of Tokenbank credit"),
        paragraphs: vec!["Thank you. Your payment arrived and the credit is in your balance.".to_owned()],
        facts: vec![
            ("Account", user.account_name.clone()),
            ("Pack", pack.clone()),
            ("Paid", format!("{price} (US dollars)")),
            ("Credit", credit),
            ("Date", format!("{} ({zone})", crate::statement::in_words(*paid_at, zone))),
            ("Reference", purchase_id.to_string()),
        ],
        button: Some(("See the purchase", SecretString::from(address))),
        closing: "Purchased credit never expires; what is unused can be refunded.",
    })
}

fn trial_appeal(server: &Server, answer: AppealState) -> Letter {
    let (subject, words) = match answer {
        AppealState::Granted | AppealState::Used => {
            ("You may begin another trial", "We looked at what you wrote: you may begin a trial now.")
        }
        AppealState::Refused | AppealState::Open => (
            "About your request for another trial",
            "We looked at what you wrote and cannot offer another trial. What your plan includes and credits work as \
             before.",
        ),
    };
    Letter {
        subject: subject.to_owned(),
        paragraphs: vec![words.to_owned()],
        facts: Vec::new(),
        button: Some(("Open your limits", SecretString::from(format!("{}/limits", server.config.public_url)))),
        closing: "You get this mail because you asked for a trial.",
    }
}

fn link(server: &Server, path: &str, token: &SecretString) -> SecretString {
    SecretString::from(format!("{}{path}?token={}", server.config.public_url, token.expose_secret()))
}

impl Letter {
    fn text(&self, links: &Links) -> String {
        let mut parts = self.paragraphs.clone();
        if !self.facts.is_empty() {
            let lines = self.facts.iter().map(|(name, value)| format!("{name}: {value}"));
            parts.push(lines.collect::<Vec<_>>().join("\n"));
        }
        if let Some((label, address)) = &self.button {
            parts.push(format!("{label}:\n{}", address.expose_secret()));
        }
        parts.push(self.closing.to_owned());
        for (label, address) in &links.shown {
            parts.push(format!("{label}:\n{}", address.expose_secret()));
        }
        format!("{}\n", parts.join("\n\n"))
    }

    fn html(&self, links: &Links) -> String {
        let mut body = String::new();
        for paragraph in &self.paragraphs {
            body.push_str(&format!("<p>{}</p>", escape(paragraph)));
        }
        if !self.facts.is_empty() {
            let rows = self.facts.iter().map(|(name, value)| {
                format!("<tr><td style=\"padding:2px 16px 2px 0\">{name}</td><td>{}</td></tr>", escape(value))
            });
            body.push_str(&format!("<table>{}</table>", rows.collect::<String>()));
        }
        if let Some((label, address)) = &self.button {
            let address = escape(address.expose_secret());
            body.push_str(&format!(
                "<p><a href=\"{address}\" style=\"display:inline-block;padding:10px 16px;border-radius:6px;\
                 background:#14532d;color:#ffffff;text-decoration:none\">{label}</a></p>\
                 <p style=\"color:#555555;font-size:13px\">Or open this address: {address}</p>"
            ));
        }
        let more: String = (links.shown.iter())
            .map(|(label, address)| {
                format!("<br><a href=\"{}\" style=\"color:#555555\">{label}</a>", escape(address.expose_secret()))
            })
            .collect();
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\
             <body style=\"font-family:system-ui,sans-serif;font-size:15px;line-height:1.5;color:#111111;max-width:560px\">\
             {body}<p style=\"color:#555555;font-size:13px\">{}{more}</p></body></html>",
            escape(&self.subject),
            escape(self.closing)
        )
    }
}

/// A header that lettre has no type for.
macro_rules! text_header {
    ($name:ident, $text:literal) => {
        #[derive(Clone)]
        struct $name(String);
        impl lettre::message::header::Header for $name {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($text)
            }
            fn parse(text: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok($name(text.to_owned()))
            }
            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}
text_header!(ListUnsubscribe, "List-Unsubscribe");
text_header!(ListUnsubscribePost, "List-Unsubscribe-Post");

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `smtps://` is TLS from the start. Plain `smtp://` turns to TLS where the server offers it, and must when a password
/// is sent, except on this machine.
fn connect(config: &config::Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let unusable = |_| Error::Internal("TOKENBANK_SMTP_URL is not an smtp:// or smtps:// address".to_owned());
    let address = config.smtp_url.expose_secret();
    let url = reqwest::Url::parse(address).map_err(|_| unusable(()))?;
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(address).map_err(|_| unusable(()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let on_this_machine = ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str());
    if url.scheme() == "smtp" && url.query().is_none() && !on_this_machine {
        let tls = TlsParameters::new(host).map_err(|error| Error::internal("TLS to the mail server", error))?;
        transport = transport.tls(if url.password().is_some() { Tls::Required(tls) } else { Tls::Opportunistic(tls) });
    }
    Ok(transport.timeout(Some(Duration::from_secs(20))).build())
}
