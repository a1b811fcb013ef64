//! Owns: what an e-mail address is here, so that one person has one spelling of it.

use domain::denial::Denial;
use std::fmt;

/// A checked e-mail address in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Email(String);

impl Email {
    /// Trims, lowers and checks: `name@domain.tld`, ASCII, at most 254 characters, no quotes, spaces or comments.
    pub fn parse(text: &str) -> Result<Email, Denial> {
        let email = text.trim().to_ascii_lowercase();
        if is_address(&email) {
            return Ok(Email(email));
        }
        Err(Denial::invalid("email", "Not an address we can send to", "Type it like name@example.com."))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the @.
    pub fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_address(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    let local_ok = (1..=64).contains(&local.len())
        && local.split('.').all(|part| !part.is_empty() && part.bytes().all(is_local_byte));
    let labels: Vec<&str> = domain.split('.').collect();
    let domain_ok = labels.len() >= 2 && labels.iter().all(|label| is_label(label));
    email.len() <= 254 && local_ok && domain_ok
}

fn is_local_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_one_spelling() {
        assert_eq!(Email::parse("  Sam.Field+Work@Example.TEST ").unwrap().as_str(), "sam.field+work@example.test");
        assert!(Email::parse("o'neill@example.test").is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.test", "a".repeat(65));
        for text in [
            "",
            "@",
            "sam",
            "sam@",
            "@example.test",
            "sam@localhost",
            "sam@@example.test",
            "sam field@example.test",
            "sam@example..test",
            ".sam@example.test",
            "sam@-example.test",
            "sam@example.test\r\nBcc: all@example.test",
            "\"sam\"@example.test",
            "sam@exämple.test",
            "sam@example.test' or '1'='1",
            long.as_str(),
        ] {
            assert!(Email::parse(text).is_err(), "{text}");
        }
    }
}
