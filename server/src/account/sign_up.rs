//! Owns: opening an account with its owner, and the link that verifies the e-mail.

use super::{Email, NewAccount, NewUser, Purpose, Role, insert_user, link, set_verified};
use crate::Server;
use crate::error::Result;
use crate::mail::{self, Mail};
use crate::password::Password;
use domain::denial::Denial;
use secrecy::SecretString;
use std::net::IpAddr;

const LONGEST_NAME: usize = 80;

/// What somebody typed into the sign-up form.
pub struct SignUp {
    pub email: String,
    pub password: SecretString,
    /// Empty: the part of the e-mail before the @ is taken.
    pub account_name: String,
    /// Empty: `UTC`.
    pub time_zone: String,
}

/// Opens an account with its owner and sends the link that verifies the e-mail. Nobody is signed in yet: the page says
/// "open the link we sent you". If the e-mail has an account, the answer is the same and the mail says so.
pub async fn sign_up(server: &Server, sign_up: SignUp, ip: IpAddr) -> Result<()> {
    let email = Email::parse(&sign_up.email)?;
    let name = account_name(&sign_up.account_name, &email)?;
    let time_zone = time_zone(&sign_up.time_zone)?;
    let password = Password::check(&sign_up.password, &email)?;
    server.limits.check_sign_up(&email, ip)?;
    let password = server.passwords.hash(&server.clock, password).await?;

    let new = NewUser {
        email: email.clone(),
        password,
        account: NewAccount::Open { name, time_zone },
        role: Role::Owner,
        is_admin: false,
    };
    let mut tx = server.db.begin().await?;
    if let Some(user_id) = insert_user(&mut tx, server, new).await? {
        mail::send_later(&mut tx, &server.clock, Mail::VerifyEmail { user_id }).await?;
    } else {
        tx.rollback().await?;
        tx = server.db.begin().await?;
        mail::send_later(&mut tx, &server.clock, Mail::AlreadyHaveAccount { email: email.to_string() }).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Verifies the e-mail by the link's token, once. Call it from a POST (mail scanners follow links). Does not sign in:
/// whoever owns the mailbox need not be who chose the password.
pub async fn verify_email(server: &Server, token: &str) -> Result<()> {
    let now = server.clock.now();
    let mut tx = server.db.begin().await?;
    let user_id = link::take(&mut tx, now, token, Purpose::VerifyEmail).await?;
    set_verified(&mut tx, &user_id, now).await?;
    tx.commit().await
}

fn account_name(typed: &str, email: &Email) -> std::result::Result<String, Denial> {
    if typed.trim().is_empty() { Ok(email.local_part().to_owned()) } else { checked_name(typed) }
}

/// A name for an account: 1 to 80 characters that can be shown.
pub(crate) fn checked_name(typed: &str) -> std::result::Result<String, Denial> {
    let name = typed.trim();
    if name.is_empty() {
        return Err(Denial::invalid("account_name", "Empty", "Name it after your company, team or project."));
    }
    if name.chars().count() > LONGEST_NAME {
        return Err(Denial::invalid("account_name", "Longer than 80 characters", "Shorten it."));
    }
    if name.chars().any(char::is_control) {
        return Err(Denial::invalid("account_name", "Has a character that cannot be shown", "Type it again."));
    }
    Ok(name.to_owned())
}

/// An IANA name by its shape; an unknown one is shown as UTC later.
pub(super) fn time_zone(typed: &str) -> std::result::Result<String, Denial> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok("UTC".to_owned());
    }
    let shaped = typed.len() <= 64 && typed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    if shaped {
        Ok(typed.to_owned())
    } else {
        Err(Denial::invalid("time_zone", "Not a name of a time zone", "Choose one like Europe/Vienna."))
    }
}
