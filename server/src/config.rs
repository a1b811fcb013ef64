//! Owns: every setting: where it comes from (flag or environment), what is missing or unsafe, by name.
//! Does not own: prices and limits (the catalogue).
//! Invariant: `serve` does not start on a setting that is missing or unsafe; each is named with its remedy.

use crate::http::client_ip::Network;
use crate::vault::Source;
use domain::provider::Provider;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The settings as given, by flag or environment, before they are checked.
#[derive(clap::Args, Clone)]
pub struct Settings {
    /// Folder for the SQLite database and the keys.
    #[arg(long = "data", env = "TOKENBANK_DATA", default_value = "data")]
    pub data: PathBuf,
    /// `postgres://…`; unset, a SQLite file in the data folder is used.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Address to listen on.
    #[arg(long, env = "TOKENBANK_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The address users type, such as `https://bank.example.com`.
    #[arg(long, env = "TOKENBANK_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// What is sold: `tiers`, `legionis`, or a catalogue file.
    #[arg(long, env = "TOKENBANK_CATALOGUE", value_name = "tiers|legionis|FILE")]
    pub catalogue: Option<PathBuf>,
    /// Where people write who want a plan by agreement or have a question: an e-mail address, shown on the pages.
    #[arg(long, env = "TOKENBANK_CONTACT")]
    pub contact: Option<String>,
    /// Stripe's secret key, `sk_…`.
    #[arg(long, env = "STRIPE_SECRET_KEY", hide_env_values = true)]
    pub stripe_secret_key: Option<SecretString>,
    /// The signing secret of the webhook endpoint, `whsec_…`.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true)]
    pub stripe_webhook_secret: Option<SecretString>,
    /// Where Stripe's API is.
    #[arg(long, env = "STRIPE_API_URL", default_value = "https://api.stripe.com/")]
    pub stripe_api_url: String,
    /// Whether Stripe computes taxes on plans: `off`, or `automatic` by the buyer's address (needs Stripe Tax).
    #[arg(long, env = "STRIPE_TAX", default_value = "off", value_parser = ["off", "automatic"])]
    pub stripe_tax: String,
    /// The event name of a meter at Stripe that is told how many executions each hour had; unset, nothing is told.
    #[arg(long, env = "STRIPE_METER")]
    pub stripe_meter: Option<String>,
    /// Our own Anthropic key; unset, its models are not offered.
    #[arg(long, env = "TOKENBANK_ANTHROPIC_API_KEY", hide_env_values = true)]
    pub anthropic_api_key: Option<SecretString>,
    /// Where Anthropic's API is.
    #[arg(long, env = "TOKENBANK_ANTHROPIC_URL", default_value = "https://api.anthropic.com")]
    pub anthropic_url: String,
    /// Our own OpenAI key; unset, its models are not offered.
    #[arg(long, env = "TOKENBANK_OPENAI_API_KEY", hide_env_values = true)]
    pub openai_api_key: Option<SecretString>,
    /// Where OpenAI's API is.
    #[arg(long, env = "TOKENBANK_OPENAI_URL", default_value = "https://api.openai.com")]
    pub openai_url: String,
    /// Proxies in front of us whose X-Forwarded-For is believed, such as `10.0.0.0/8`; comma-separated.
    #[arg(long, env = "TOKENBANK_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// Our own Google Gemini key; unset, its models run with users' own keys alone.
    #[arg(long, env = "TOKENBANK_GEMINI_API_KEY", hide_env_values = true)]
    pub gemini_api_key: Option<SecretString>,
    /// Where the API of Google Gemini is.
    #[arg(long, env = "TOKENBANK_GEMINI_URL", default_value = "https://generativelanguage.googleapis.com")]
    pub gemini_url: String,
    /// Our own Groq key; unset, its models run with users' own keys alone.
    #[arg(long, env = "TOKENBANK_GROQ_API_KEY", hide_env_values = true)]
    pub groq_api_key: Option<SecretString>,
    /// Where the API of Groq is.
    #[arg(long, env = "TOKENBANK_GROQ_URL", default_value = "https://api.groq.com")]
    pub groq_url: String,
    /// Our own DeepSeek key; unset, its models run with users' own keys alone.
    #[arg(long, env = "TOKENBANK_DEEPSEEK_API_KEY", hide_env_values = true)]
    pub deepseek_api_key: Option<SecretString>,
    /// Where the API of DeepSeek is.
    #[arg(long, env = "TOKENBANK_DEEPSEEK_URL", default_value = "https://api.deepseek.com")]
    pub deepseek_url: String,
    /// Our own OpenRouter key; unset, its models run with users' own keys alone.
    #[arg(long, env = "TOKENBANK_OPENROUTER_API_KEY", hide_env_values = true)]
    pub openrouter_api_key: Option<SecretString>,
    /// Where the API of OpenRouter is.
    #[arg(long, env = "TOKENBANK_OPENROUTER_URL", default_value = "https://openrouter.ai")]
    pub openrouter_url: String,
    /// Our own Together AI key; unset, its models run with users' own keys alone.
    #[arg(long, env = "TOKENBANK_TOGETHER_API_KEY", hide_env_values = true)]
    pub together_api_key: Option<SecretString>,
    /// Where the API of Together AI is.
    #[arg(long, env = "TOKENBANK_TOGETHER_URL", default_value = "https://api.together.xyz")]
    pub together_url: String,
    /// The master key that seals users' own keys, `1:BASE64` of 32 bytes; several with commas while one rotates. Unset, with
    /// SQLite, it is made in the data folder.
    #[arg(long, env = "TOKENBANK_MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<SecretString>,
    /// A file with the master keys, one a line, instead of `TOKENBANK_MASTER_KEY`.
    #[arg(long, env = "TOKENBANK_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Whether users may give private addresses for their own Ollama. Metadata and link-local are refused always.
    #[arg(long, env = "TOKENBANK_ALLOW_PRIVATE_URLS")]
    pub allow_private_urls: bool,
    /// How long a provider may be silent, in seconds, before a run is cut.
    #[arg(long, env = "TOKENBANK_PROVIDER_TIMEOUT_SECONDS", default_value_t = 120)]
    pub provider_timeout_seconds: u64,
    /// Mail server, `smtp://host:25` or `smtps://user:password@host`.
    #[arg(long, env = "TOKENBANK_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<SecretString>,
    /// The sender of our mail.
    #[arg(long, env = "TOKENBANK_MAIL_FROM", default_value = "Tokenbank <no-reply@localhost>")]
    pub mail_from: String,
}

/// The settings after the check: what the server runs with.
#[derive(Clone)]
pub struct Config {
    pub data: PathBuf,
    pub database: Database,
    pub listen: SocketAddr,
    /// Without a slash at its end.
    pub public_url: String,
    pub catalogue: Option<PathBuf>,
    /// An e-mail address for questions, if one is shown.
    pub contact: Option<String>,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    pub stripe: Stripe,
    pub anthropic: Upstream,
    pub openai: Upstream,
    /// Where the other providers are, without a slash at the end.
    pub key_urls: BTreeMap<Provider, String>,
    /// Our own keys of the other providers, where we have one.
    pub platform_keys: BTreeMap<Provider, SecretString>,
    pub master_key: Source,
    pub allow_private_urls: bool,
    pub provider_timeout: Duration,
    pub mail: Mail,
    /// Shown as a banner, and turns on the demo logins' hint.
    pub demo: bool,
}

#[derive(Clone)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(SecretString),
}

#[derive(Clone)]
pub struct Stripe {
    pub secret_key: SecretString,
    pub webhook_secret: SecretString,
    /// Ends in a slash, as async-stripe wants it.
    pub api_url: String,
    /// Whether the key is a live one: events of the other mode are refused.
    pub live: bool,
    /// Stripe computes taxes on plans.
    pub automatic_tax: bool,
    /// The meter that is told what was run.
    pub meter: Option<String>,
}

/// A provider of models: where it is, and our own key if we have one.
#[derive(Clone)]
pub struct Upstream {
    /// Without a slash at its end.
    pub url: String,
    pub key: Option<SecretString>,
}

#[derive(Clone)]
pub struct Mail {
    pub smtp_url: SecretString,
    pub from: String,
}

/// One setting that is missing or unsafe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The environment variable.
    pub setting: &'static str,
    /// What is wrong with it, and what to set.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl Settings {
    /// Which database these settings name. Enough for the commands that only need the database.
    pub fn database(&self) -> Result<Database, Problem> {
        match &self.database_url {
            None => Ok(Database::Sqlite(self.data.join("tokenbank.sqlite"))),
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Database::Postgres(SecretString::from(url.clone())))
            }
            Some(_) => Err(Problem {
                setting: "DATABASE_URL",
                problem: "is not a `postgres://` address; unset it to use SQLite in the data folder".to_owned(),
            }),
        }
    }

    /// Where the master keys are, if that is safe: several nodes on Postgres must share one, so it is not made there.
    pub fn master_key(&self) -> Result<Source, Problem> {
        let problem = |problem: String| Problem { setting: "TOKENBANK_MASTER_KEY", problem };
        match (not_empty(self.master_key.clone()), &self.master_key_file, &self.database_url) {
            (Some(text), _, _) => match crate::vault::parse(text.expose_secret()) {
                Ok(()) => Ok(Source::Given(text)),
                Err(wrong) => Err(problem(wrong)),
            },
            (None, Some(file), _) if file.is_file() => match std::fs::read_to_string(file) {
                Ok(text) => crate::vault::parse(&text)
                    .and_then(|()| crate::vault::check_mode(file))
                    .map(|()| Source::File(file.clone()))
                    .map_err(problem),
                Err(error) => Err(problem(format!("cannot be read from its file: {error}"))),
            },
            (None, Some(file), _) => Err(problem(format!("has no file at {}", file.display()))),
            (None, None, None) => {
                let file = self.data.join("master.key");
                match std::fs::read_to_string(&file) {
                    Ok(text) => crate::vault::parse(&text)
                        .and_then(|()| crate::vault::check_mode(&file))
                        .map(|()| Source::File(file))
                        .map_err(problem),
                    Err(_) => Ok(Source::File(file)),
                }
            }
            // That address is a problem of its own.
            (None, None, Some(url)) if !url.starts_with("postgres") => Ok(Source::Nowhere),
            (None, None, Some(_)) => Err(problem(
                "is not set; set `1:` and the Base64 of 32 random bytes, such as `1:$(openssl rand -base64 32)`, the same \
                 on every node, and keep a copy: without it no user's key opens"
                    .to_owned(),
            )),
        }
    }

    fn platform_keys(&self) -> BTreeMap<Provider, SecretString> {
        let keys = [
            (Provider::Google, &self.gemini_api_key),
            (Provider::Groq, &self.groq_api_key),
            (Provider::DeepSeek, &self.deepseek_api_key),
            (Provider::OpenRouter, &self.openrouter_api_key),
            (Provider::Together, &self.together_api_key),
        ];
        keys.into_iter().filter_map(|(provider, key)| Some((provider, not_empty(key.clone())?))).collect()
    }

    fn key_urls(&self) -> BTreeMap<Provider, String> {
        BTreeMap::from([
            (Provider::Google, self.gemini_url.trim_end_matches('/').to_owned()),
            (Provider::Groq, self.groq_url.trim_end_matches('/').to_owned()),
            (Provider::DeepSeek, self.deepseek_url.trim_end_matches('/').to_owned()),
            (Provider::OpenRouter, self.openrouter_url.trim_end_matches('/').to_owned()),
            (Provider::Together, self.together_url.trim_end_matches('/').to_owned()),
        ])
    }

    /// For the commands that only work on the database: no address, no Stripe, no provider, no mail.
    pub fn database_only(self) -> Result<Config, Problem> {
        let none = || SecretString::from(String::new());
        let master_key = self.master_key().unwrap_or(Source::Nowhere);
        Ok(Config {
            key_urls: self.key_urls(),
            platform_keys: BTreeMap::new(),
            master_key,
            allow_private_urls: self.allow_private_urls,
            database: self.database()?,
            data: self.data,
            listen: self.listen,
            public_url: String::new(),
            catalogue: self.catalogue,
            contact: self.contact,
            trusted_proxies: Vec::new(),
            stripe: Stripe {
                secret_key: none(),
                webhook_secret: none(),
                api_url: with_slash(&self.stripe_api_url),
                live: false,
                automatic_tax: self.stripe_tax == "automatic",
                meter: self.stripe_meter.clone(),
            },
            anthropic: Upstream { url: self.anthropic_url, key: None },
            openai: Upstream { url: self.openai_url, key: None },
            provider_timeout: Duration::from_secs(self.provider_timeout_seconds.max(1)),
            mail: Mail { smtp_url: none(), from: self.mail_from },
            demo: false,
        })
    }

    /// The settings a server can safely run with, or every problem there is.
    pub fn check(self, demo: bool) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let (master_key, key_urls, platform_keys) = (self.master_key(), self.key_urls(), self.platform_keys());
        let mut missing = |setting: &'static str, problem: &str| {
            problems.push(Problem { setting, problem: problem.to_owned() });
        };

        let database = match self.database() {
            Ok(database) => Some(database),
            Err(problem) => {
                missing(problem.setting, &problem.problem);
                None
            }
        };
        let public_url = match self.public_url.as_deref() {
            None => {
                missing(
                    "TOKENBANK_PUBLIC_URL",
                    "is not set; set the address that users type, such as https://bank.example.com",
                );
                String::new()
            }
            Some(url) if url.starts_with("https://") || is_loopback(url) => url.trim_end_matches('/').to_owned(),
            Some(_) => {
                missing(
                    "TOKENBANK_PUBLIC_URL",
                    "must begin with https://, or sessions and Checkout would be open to eavesdroppers",
                );
                String::new()
            }
        };
        let secret_key = required(
            self.stripe_secret_key,
            "STRIPE_SECRET_KEY",
            "your secret key, sk_test_… or sk_live_…",
            &mut missing,
        );
        let webhook_secret = required(
            self.stripe_webhook_secret,
            "STRIPE_WEBHOOK_SECRET",
            "the signing secret of your webhook endpoint, whsec_…; without it anybody could grant themselves credit",
            &mut missing,
        );
        let smtp_url = required(
            self.smtp_url,
            "TOKENBANK_SMTP_URL",
            "your mail server, such as smtps://user:password@mail.example.com",
            &mut missing,
        );
        for (setting, url) in [
            ("STRIPE_API_URL", &self.stripe_api_url),
            ("TOKENBANK_ANTHROPIC_URL", &self.anthropic_url),
            ("TOKENBANK_OPENAI_URL", &self.openai_url),
            ("TOKENBANK_GEMINI_URL", &self.gemini_url),
            ("TOKENBANK_GROQ_URL", &self.groq_url),
            ("TOKENBANK_DEEPSEEK_URL", &self.deepseek_url),
            ("TOKENBANK_OPENROUTER_URL", &self.openrouter_url),
            ("TOKENBANK_TOGETHER_URL", &self.together_url),
        ] {
            if !url.starts_with("https://") && !is_loopback(url) {
                missing(setting, "must begin with https://, or our key would travel in clear");
            }
        }

        let mut trusted_proxies = Vec::new();
        for text in self.trusted_proxies.iter().filter(|text| !text.trim().is_empty()) {
            match text.parse::<Network>() {
                Ok(network) => trusted_proxies.push(network),
                Err(problem) => missing("TOKENBANK_TRUSTED_PROXIES", problem.as_str()),
            }
        }

        let master_key = match master_key {
            Ok(source) => source,
            Err(problem) => {
                missing(problem.setting, &problem.problem);
                Source::Nowhere
            }
        };

        let (Some(database), true) = (database, problems.is_empty()) else { return Err(problems) };
        let live =
            secret_key.expose_secret().starts_with("sk_live_") || secret_key.expose_secret().starts_with("rk_live_");
        Ok(Config {
            key_urls,
            platform_keys,
            master_key,
            allow_private_urls: self.allow_private_urls,
            data: self.data,
            database,
            listen: self.listen,
            public_url,
            catalogue: self.catalogue,
            contact: self.contact,
            trusted_proxies,
            stripe: Stripe {
                secret_key,
                webhook_secret,
                api_url: with_slash(&self.stripe_api_url),
                live,
                automatic_tax: self.stripe_tax == "automatic",
                meter: self.stripe_meter.clone(),
            },
            anthropic: Upstream {
                url: self.anthropic_url.trim_end_matches('/').to_owned(),
                key: not_empty(self.anthropic_api_key),
            },
            openai: Upstream {
                url: self.openai_url.trim_end_matches('/').to_owned(),
                key: not_empty(self.openai_api_key),
            },
            provider_timeout: Duration::from_secs(self.provider_timeout_seconds.max(1)),
            mail: Mail { smtp_url, from: self.mail_from },
            demo,
        })
    }
}

fn required(
    secret: Option<SecretString>,
    setting: &'static str,
    what: &str,
    missing: &mut impl FnMut(&'static str, &str),
) -> SecretString {
    match not_empty(secret) {
        Some(secret) => secret,
        None => {
            missing(setting, &format!("is not set; set {what}"));
            SecretString::from(String::new())
        }
    }
}

fn not_empty(secret: Option<SecretString>) -> Option<SecretString> {
    secret.filter(|secret| !secret.expose_secret().trim().is_empty())
}

fn is_loopback(url: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|prefix| {
        url.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with('/'))
    })
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        Command::parse_from(std::iter::once("test").chain(arguments.iter().copied())).settings
    }

    fn complete() -> Vec<&'static str> {
        vec![
            "--public-url=https://bank.example.com",
            "--stripe-secret-key=sk_test_1",
            "--stripe-webhook-secret=whsec_1",
            "--smtp-url=smtp://mail.example.com",
        ]
    }

    #[test]
    fn complete_settings_are_accepted() {
        assert!(settings(&complete()).check(false).is_ok());
    }

    #[test]
    fn each_missing_or_unsafe_setting_is_named() {
        for (argument, replacement, setting) in [
            ("--public-url", "", "TOKENBANK_PUBLIC_URL"),
            ("--public-url", "--public-url=http://bank.example.com", "TOKENBANK_PUBLIC_URL"),
            ("--public-url", "--public-url=http://127.0.0.1.evil.example", "TOKENBANK_PUBLIC_URL"),
            ("--stripe-secret-key", "", "STRIPE_SECRET_KEY"),
            ("--stripe-webhook-secret", "", "STRIPE_WEBHOOK_SECRET"),
            ("--stripe-webhook-secret", "--stripe-webhook-secret= ", "STRIPE_WEBHOOK_SECRET"),
            ("--smtp-url", "", "TOKENBANK_SMTP_URL"),
            ("", "--stripe-api-url=http://stripe.example.com", "STRIPE_API_URL"),
            ("", "--master-key=canary", "TOKENBANK_MASTER_KEY"),
            ("", "--master-key=1:AAAA", "TOKENBANK_MASTER_KEY"),
            ("", "--master-key-file=/nowhere/master.key", "TOKENBANK_MASTER_KEY"),
            ("", "--database-url=postgres://x", "TOKENBANK_MASTER_KEY"),
            ("", "--trusted-proxies=10.0.0.0/8,proxy", "TOKENBANK_TRUSTED_PROXIES"),
        ] {
            let mut arguments: Vec<&str> =
                complete().into_iter().filter(|given| argument.is_empty() || !given.starts_with(argument)).collect();
            if !replacement.is_empty() {
                arguments.push(replacement);
            }
            let problems = settings(&arguments).check(false).err().unwrap_or_default();
            assert_eq!(problems.iter().map(|problem| problem.setting).collect::<Vec<_>>(), [setting], "{arguments:?}");
        }
    }
}
