//! Owns: `tokenbank demo`: the sandbox as a child process, a server that points at it, and sample history.
//! Does not own: the sample history itself (`server::demo`). The sandbox is its own program, never linked in here.

use super::serve::{Format, bind, log, until_told_to_stop};
use super::{DemoArguments, Outcome, Problem, say};
use domain::provider::Provider;
use secrecy::SecretString;
use server::Server;
use server::clock::Clock;
use server::config::{Config, Database, Mail, Stripe, Upstream};
use server::vault::Source;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A file that marks a folder as one the demo made, so that `--fresh` empties nothing else.
const MARKER: &str = ".tokenbank-demo";

pub async fn demo(arguments: DemoArguments) -> Result<Outcome, Problem> {
    log(Format::Text);
    prepare_folder(&arguments)?;
    let clock = Clock::system();
    let listener = bind(([127, 0, 0, 1], arguments.port).into()).await?;
    let address = listener.local_addr().map_err(|error| Problem::Failed(error.to_string()))?;
    let webhook_secret = format!("whsec_{}", clock.new_secret());
    let public_url = format!("http://{address}");
    let sandbox = start_sandbox(&arguments, &public_url, &webhook_secret).await?;
    let config = demo_config(&arguments, address, &sandbox, webhook_secret)?;

    let seeded = server::demo::seed(&config, &clock, arguments.seed_days).await?;
    let server = Server::open(config, clock).await?;
    server::subscription::sync(&server, server::subscription::SyncMode::Write).await?;
    server.run_background();
    if seeded {
        say(&format!("Made {} days of sample history.", arguments.seed_days));
    }
    say("");
    say(&format!("  Tokenbank   {public_url}"));
    say(&format!("  Mailbox     {}/mailbox", sandbox.url));
    say(&format!(
        "  Logins      owner@demo.test, member@demo.test, admin@demo.test, password {}",
        server::demo::PASSWORD
    ));
    say("  Test card   4242 4242 4242 4242, any later date, any CVC");
    say("");
    say(&format!("sandbox: {}", sandbox.url));
    say(&format!("ready: {public_url}"));
    until_told_to_stop(server, listener).await?;
    drop(sandbox);
    Ok(Outcome::Done)
}

fn prepare_folder(arguments: &DemoArguments) -> Result<(), Problem> {
    let folder = &arguments.data;
    let failed = |error: std::io::Error| Problem::Failed(format!("{}: {error}", folder.display()));
    if arguments.fresh && folder.exists() {
        let is_empty = folder.read_dir().map_err(failed)?.next().is_none();
        if !is_empty && !folder.join(MARKER).exists() {
            return Err(Problem::Usage(format!(
                "--fresh would empty {}, which the demo did not make. Choose another --data.",
                folder.display()
            )));
        }
        std::fs::remove_dir_all(folder).map_err(failed)?;
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(folder.join(MARKER), "Made by `tokenbank demo`; `--fresh` may empty this folder.\n").map_err(failed)
}

/// The running sandbox. Its standard input is held open: when it closes, the sandbox ends.
struct Sandbox {
    url: String,
    smtp: String,
    _child: Child,
}

async fn start_sandbox(arguments: &DemoArguments, public_url: &str, secret: &str) -> Result<Sandbox, Problem> {
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(|folder| folder.join("tokenbank-sandbox")))
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("tokenbank-sandbox"));
    // The sandbox keeps its port beside the console's, so that links in old mails work after a restart.
    let port = if arguments.port == 0 { 0 } else { arguments.port.saturating_add(1) };
    let mut child = Command::new(&program)
        .args(["--port", &port.to_string(), "--smtp-port", "0", "--pace", &arguments.pace.to_string()])
        .args(["--webhook-url", &format!("{public_url}/webhooks/stripe")])
        .env("SANDBOX_WEBHOOK_SECRET", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Problem::Failed(format!("{} could not be started: {error}. Build it with `make build`.", program.display()))
        })?;
    let mut lines = match child.stdout.take() {
        Some(stdout) => BufReader::new(stdout).lines(),
        None => return Err(Problem::Failed("the sandbox has no output".to_owned())),
    };
    // One line, `ready http://127.0.0.1:4000 smtp://127.0.0.1:2525`.
    match lines.next_line().await {
        Ok(Some(line)) => {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("ready"), Some(url), Some(smtp)) => {
                    Ok(Sandbox { url: url.to_owned(), smtp: smtp.to_owned(), _child: child })
                }
                _ => Err(Problem::Failed(format!("the sandbox said: {line}"))),
            }
        }
        Ok(None) | Err(_) => Err(Problem::Failed(format!(
            "the sandbox ended at once. Is port {port} taken? Choose another with --port."
        ))),
    }
}

fn demo_config(
    arguments: &DemoArguments,
    address: std::net::SocketAddr,
    sandbox: &Sandbox,
    webhook_secret: String,
) -> Result<Config, Problem> {
    let database = match &arguments.database_url {
        None => Database::Sqlite(arguments.data.join("tokenbank.sqlite")),
        Some(url) if url.starts_with("postgres") => Database::Postgres(SecretString::from(url.clone())),
        Some(_) => return Err(Problem::Usage("DATABASE_URL: is not a `postgres://` address".to_owned())),
    };
    let upstream = |path: &str| Upstream {
        url: format!("{}/{path}", sandbox.url),
        key: Some(SecretString::from("sandbox-platform-key".to_owned())),
    };
    let at = |path: &str| format!("{}/{path}", sandbox.url);
    Ok(Config {
        key_urls: [
            (Provider::Google, at("gemini")),
            (Provider::Groq, at("groq")),
            (Provider::DeepSeek, at("deepseek")),
            (Provider::OpenRouter, at("openrouter")),
            (Provider::Together, at("together")),
        ]
        .into(),
        platform_keys: std::collections::BTreeMap::new(),
        master_key: Source::File(arguments.data.join("master.key")),
        // The sandbox's Ollama is on this machine.
        allow_private_urls: true,
        data: arguments.data.clone(),
        database,
        listen: address,
        public_url: format!("http://{address}"),
        catalogue: arguments.catalogue.clone(),
        contact: Some("sales@demo.test".to_owned()),
        stripe: Stripe {
            secret_key: SecretString::from("sk_test_sandbox".to_owned()),
            webhook_secret: SecretString::from(webhook_secret),
            api_url: format!("{}/stripe/", sandbox.url),
            live: false,
            automatic_tax: false,
            meter: None,
        },
        anthropic: upstream("anthropic"),
        openai: upstream("openai"),
        mail: Mail {
            smtp_url: SecretString::from(sandbox.smtp.clone()),
            from: "Tokenbank <no-reply@demo.test>".to_owned(),
        },
        trusted_proxies: Vec::new(),
        provider_timeout: Duration::from_secs(60),
        demo: true,
    })
}
