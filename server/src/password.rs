//! Owns: what a password may be, hashing it (argon2id), and checking one against a hash.
//! Does not own: who has which hash (`account`).
//! Invariant: at most two hashes run at a time, each 19 MiB, so that signing in cannot exhaust memory or both cores.

use crate::account::Email;
use crate::clock::Clock;
use crate::error::{Error, Result};
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::denial::Denial;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const SHORTEST: usize = 8;
const LONGEST: usize = 256;
/// Hashes that run at a time.
const AT_A_TIME: usize = 2;
/// Callers that may wait for their turn, about a second of work; more are asked to come back.
const QUEUE: usize = 32;

/// The most used passwords and what they are made of, lower case, one on each line.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("password_common.txt").lines().filter(|line| !line.is_empty()).collect());

/// A new password that passed [`Password::check`].
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// An argon2id hash in PHC text, as the database keeps it. Its `Debug` hides it.
#[derive(Clone, sqlx::Type)]
#[sqlx(transparent)]
pub struct PasswordHash(String);

/// The bounded pool that hashes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hashing {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Password {
    /// 8 to 256 characters, not a common one, not the e-mail. No rules about digits or symbols, nothing cut off.
    pub fn check(password: &SecretString, email: &Email) -> std::result::Result<Password, Denial> {
        let refuse = |problem: &str, remedy: &str| Err(Denial::invalid("password", problem, remedy));
        let text = password.expose_secret();
        let length = text.chars().count();
        if length < SHORTEST {
            return refuse("Shorter than 8 characters", "Use at least 8; a few unrelated words work well.");
        }
        if length > LONGEST {
            return refuse("Longer than 256 characters", "Use at most 256.");
        }
        let lower = text.to_lowercase();
        let local_part = email.as_str().split('@').next().unwrap_or_default();
        if lower == email.as_str() || stem(&lower) == stem(local_part) {
            return refuse("The same as your e-mail", "Choose something that others cannot guess.");
        }
        if is_common(&lower) {
            return refuse("One of the most used passwords", "Choose something that others cannot guess.");
        }
        Ok(Password(password.clone()))
    }
}

impl PasswordHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing { running: Arc::new(Semaphore::new(AT_A_TIME)), admitted: Arc::new(Semaphore::new(AT_A_TIME + QUEUE)) }
    }
}

impl Hashing {
    /// The hash of a new password. `TooManyAttempts` when the queue is full.
    pub async fn hash(&self, clock: &Clock, password: Password) -> Result<PasswordHash> {
        let salt: [u8; 16] = clock.random_bytes();
        self.run(move || {
            let hash = argon2id()?
                .hash_password_with_salt(password.0.expose_secret().as_bytes(), &salt)
                .map_err(|error| Error::internal("hash a password", error))?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    /// Whether the password is the one that was hashed. Without a hash it is never, after the same work, so that the
    /// time does not tell whether somebody has an account. `TooManyAttempts` when the queue is full.
    pub async fn verify(&self, password: &SecretString, hash: Option<PasswordHash>) -> Result<bool> {
        if password.expose_secret().chars().count() > LONGEST {
            return Ok(false);
        }
        let password = password.clone();
        self.run(move || {
            let bytes = password.expose_secret().as_bytes();
            match hash {
                Some(hash) => Ok(argon2id()?.verify_password(bytes, hash.as_str()).is_ok()),
                None => {
                    let _same_work = argon2id()?.hash_password_with_salt(bytes, &[0; 16]);
                    Ok(false)
                }
            }
        })
        .await
    }

    /// Runs the work on a thread of its own when it is its turn. The places are given back when the work ends, even
    /// if the caller has gone.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let place: OwnedSemaphorePermit = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_full| Denial::TooManyAttempts { retry_after_seconds: 2 })?;
        let turn = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|error| Error::internal("wait to hash a password", error))?;
        tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((turn, place));
            outcome
        })
        .await
        .map_err(|error| Error::internal("hash a password", error))?
    }
}

/// OWASP's minimum: 19,456 KiB, 2 passes, 1 lane.
fn argon2id() -> Result<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| Error::internal("argon2 parameters", error))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Common as it is, or when the usual decorations are taken off: `P@ssw0rd123!` is `password`.
fn is_common(lower: &str) -> bool {
    let undecorated = stem(lower);
    let plain = undecorated
        .chars()
        .map(|letter| match letter {
            '@' | '4' => 'a',
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '$' | '5' => 's',
            '7' => 't',
            other => other,
        })
        .collect::<String>();
    COMMON.contains(lower)
        || COMMON.contains(undecorated)
        || COMMON.contains(stem(&plain))
        || COMMON.contains(plain.replace('i', "l").as_str())
        || is_one_step(lower)
}

/// Without the digits and signs at both ends; all of it if nothing else is there.
fn stem(text: &str) -> &str {
    let stem = text.trim_end_matches(|letter: char| !letter.is_alphabetic());
    let stem = stem.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if stem.is_empty() { text } else { stem }
}

/// One character over and over, or counting up or down: `aaaaaaaa`, `12345678`, `87654321`, `abcdefgh`.
fn is_one_step(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|letter| i64::from(u32::from(letter))).collect();
    let steps: HashSet<i64> = codes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.len() <= 1 && steps.iter().all(|step| step.abs() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> std::result::Result<Password, Denial> {
        Password::check(&SecretString::from(password), &Email::parse("sam.field@example.test").unwrap())
    }

    #[test]
    fn common_short_long_and_own_passwords_are_refused_with_the_reason() {
        for (password, problem) in [
            ("", "Shorter"),
            ("1234567", "Shorter"),
            ("ÄÖÜÄÖÜÄ", "Shorter"),
            ("password", "most used"),
            ("Password123!", "most used"),
            ("P@ssw0rd2024", "most used"),
            ("123456789", "most used"),
            ("aaaaaaaaaaaa", "most used"),
            ("qwertyuiop", "most used"),
            ("iloveyou!!", "most used"),
            ("1q2w3e4r5t", "most used"),
            ("Sam.Field@example.test", "The same as your e-mail"),
            ("sam.field2024", "The same as your e-mail"),
        ] {
            match check(password) {
                Err(Denial::Invalid { problem: said, .. }) => assert!(said.contains(problem), "{password}: {said}"),
                other => panic!("{password}: {other:?}"),
            }
        }
        assert!(check(&"long ".repeat(52)).is_err());
    }

    #[test]
    fn ordinary_passwords_of_any_alphabet_are_accepted() {
        for password in ["demo-password-1", "correct horse battery staple", "ÄÖÜÄÖÜÄÖ", "'; drop table account; --"]
        {
            assert!(check(password).is_ok(), "{password}");
        }
        assert!(check(&"wide ".repeat(51)).is_ok());
    }

    #[test]
    fn neither_a_password_nor_its_hash_shows_in_debug() {
        let password = check("correct horse battery staple").unwrap();
        let shown = format!("{password:?} {:?}", PasswordHash("$argon2id$secret".to_owned()));
        assert!(!shown.contains("correct") && !shown.contains("argon2id$secret"), "{shown}");
    }

    #[tokio::test]
    async fn a_hash_verifies_its_password_only() {
        let hashing = Hashing::default();
        let hash = hashing.hash(&Clock::system(), check("correct horse battery").unwrap()).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
        let verify = async |password: &str, hash: Option<PasswordHash>| {
            hashing.verify(&SecretString::from(password), hash).await.unwrap()
        };
        assert!(verify("correct horse battery", Some(hash.clone())).await);
        assert!(!verify("correct horse batterY", Some(hash)).await);
        assert!(!verify("correct horse battery", None).await);
    }

    #[tokio::test]
    async fn a_full_queue_asks_to_come_back() {
        let hashing = Hashing::default();
        let password = SecretString::from("some password");
        let attempts = (0..AT_A_TIME + QUEUE + 6).map(|_| hashing.verify(&password, None));
        let outcomes = futures::future::join_all(attempts).await;
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(refused, 6);
        assert!(!hashing.verify(&password, None).await.unwrap(), "its place is free again");
    }
}
