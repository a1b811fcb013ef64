//! Owns: the command line: what each command is called, and its exit code (0 done, 1 found something, 2 usage).
//! Does not own: what a command does; that is a function of `server`.

mod account;
mod code;
mod demo;
mod healthcheck;
mod manage;
mod serve;
mod vault;

use clap::{Args, Parser, Subcommand};
use domain::trial::AppealState;
use server::config::Settings;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Billing console and LLM gateway: plans, prepaid credits, metering to the nano-dollar.
#[derive(Parser)]
#[command(name = "tokenbank", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run in production: refuses to start on a setting that is missing or unsafe, and names it.
    Serve(Box<Settings>),
    /// Run with the sandbox (Stripe, providers, mailbox) and sample history. No account anywhere is needed.
    Demo(DemoArguments),
    /// Ask the server on this machine whether it is ready; ends 1 if it is not. For the health check of a container.
    Healthcheck {
        /// Where it listens.
        #[arg(long, env = "TOKENBANK_LISTEN", default_value = "127.0.0.1:3000")]
        listen: SocketAddr,
    },
    /// Bring the database's schema up to date.
    Migrate(Box<Settings>),
    /// Check every rule of the ledger; ends 1 and prints each finding if one is broken.
    Verify(Box<Settings>),
    /// Rates: the prices of the models.
    #[command(subcommand)]
    Rates(RatesCommand),
    /// Stripe: what stands there for the catalogue.
    #[command(subcommand)]
    Stripe(StripeCommand),
    /// Admins: the people who run this installation.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// API keys of accounts.
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Trials: what people who had one ask for.
    #[command(subcommand)]
    Trial(TrialCommand),
    /// The vault: the master key that seals users' own keys and second factors.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Codes that give credit.
    #[command(subcommand)]
    Code(code::CodeCommand),
    /// Accounts: freeze one, or lift a freeze.
    #[command(subcommand)]
    Account(account::AccountCommand),
}

#[derive(Args, Clone)]
pub struct DemoArguments {
    /// Port of the console on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Folder for the demo's data.
    #[arg(long, default_value = "data/demo")]
    data: PathBuf,
    /// `postgres://…`; unset, SQLite in the data folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// What is sold: `tiers`, `legionis`, or a catalogue file.
    #[arg(long, env = "TOKENBANK_CATALOGUE", value_name = "tiers|legionis|FILE")]
    catalogue: Option<PathBuf>,
    /// Days of sample history to make when the database is empty.
    #[arg(long, default_value_t = 90)]
    seed_days: u32,
    /// Empty the data folder first.
    #[arg(long)]
    fresh: bool,
    /// How fast the sandbox's models write, in tokens a second; 0 is as fast as possible.
    #[arg(long, default_value_t = 700)]
    pace: u32,
}

#[derive(Subcommand)]
enum RatesCommand {
    /// Read LiteLLM's price file, print what would change, and with --apply store it.
    Import {
        /// `model_prices_and_context_window.json`, or the copy inside LiteLLM's package.
        file: PathBuf,
        /// Store the rates instead of only printing the difference.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Subcommand)]
enum StripeCommand {
    /// Make the plans' products and prices at Stripe, or match those that are there; again, it changes nothing. Ends 1
    /// when a price, or what a subscription pays, differs from the catalogue: that is shown, and not followed.
    Sync {
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Tell the meter (STRIPE_METER) again what it refused, with the running server's next sweep.
    ReplayUsage {
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Make an admin, or make the user with this e-mail one. The password is read from standard input.
    Create {
        #[arg(long)]
        email: String,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Subcommand)]
enum ApiKeyCommand {
    /// Make an API key and print it, once.
    Create {
        /// The user it acts for.
        #[arg(long)]
        email: String,
        /// What it is for, shown in the list of keys.
        #[arg(long)]
        name: String,
        /// The name of the agent that it belongs to; without it, it is the whole account's.
        #[arg(long)]
        agent: Option<String>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Subcommand)]
enum TrialCommand {
    /// List the appeals that wait for an answer, the oldest first.
    Appeals {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Let the person of an appeal begin one more trial; they are told by mail.
    Grant {
        /// As `trial appeals` shows it.
        appeal: String,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Refuse an appeal; the person is told by mail.
    Refuse {
        appeal: String,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Subcommand)]
enum VaultCommand {
    /// Wrap everything sealed under the newest master key, while the servers run. Stop it at any time and run it again; when
    /// all is done, it changes nothing. Ends 1 if something does not open.
    Rotate {
        /// Make a new master key first, in the file that holds them. With TOKENBANK_MASTER_KEY, put a higher version there
        /// yourself, restart the servers, and leave this out.
        #[arg(long)]
        new_key: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

/// How a command ended.
pub enum Outcome {
    Done,
    /// It worked, and found something that a person should see.
    Found,
}

/// Runs the command; 0 done, 1 found something or failed, 2 could not be used like this.
pub fn run(cli: Cli) -> ExitCode {
    server::panic_log::install();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say_problem(&format!("the runtime could not start: {error}"));
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve(settings) => serve::serve(*settings).await,
            Command::Demo(arguments) => demo::demo(arguments).await,
            Command::Healthcheck { listen } => healthcheck::ask(listen).await,
            Command::Migrate(settings) => manage::migrate(&settings).await,
            Command::Verify(settings) => manage::verify(&settings).await,
            Command::Rates(RatesCommand::Import { file, apply, settings }) => {
                manage::import_rates(&settings, &file, apply).await
            }
            Command::Stripe(StripeCommand::Sync { dry_run, settings }) => manage::sync_stripe(*settings, dry_run).await,
            Command::Stripe(StripeCommand::ReplayUsage { settings }) => manage::replay_usage(&settings).await,
            Command::Admin(AdminCommand::Create { email, settings }) => manage::create_admin(*settings, &email).await,
            Command::ApiKey(ApiKeyCommand::Create { email, name, agent, settings }) => {
                manage::create_api_key(&settings, &email, &name, agent.as_deref()).await
            }
            Command::Vault(VaultCommand::Rotate { new_key, settings }) => vault::rotate(*settings, new_key).await,
            Command::Trial(TrialCommand::Appeals { settings }) => manage::list_appeals(&settings).await,
            Command::Trial(TrialCommand::Grant { appeal, settings }) => {
                manage::answer_appeal(&settings, &appeal, AppealState::Granted).await
            }
            Command::Code(command) => code::run(command).await,
            Command::Account(command) => account::run(command).await,
            Command::Trial(TrialCommand::Refuse { appeal, settings }) => {
                manage::answer_appeal(&settings, &appeal, AppealState::Refused).await
            }
        }
    });
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(Problem::Usage(text)) => {
            say_problem(&text);
            ExitCode::from(2)
        }
        Err(Problem::Failed(text)) => {
            say_problem(&text);
            ExitCode::from(1)
        }
    }
}

/// Why a command did not do what was asked.
pub enum Problem {
    /// It cannot be used like this; exit code 2.
    Usage(String),
    /// It failed; exit code 1.
    Failed(String),
}

impl From<server::error::Error> for Problem {
    fn from(error: server::error::Error) -> Problem {
        Problem::Failed(error.to_string())
    }
}

/// Prints a line of the command's result.
pub fn say(line: &str) {
    // A closed pipe (`tokenbank verify | head`) is no failure of the command.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say_problem(text: &str) {
    let _ = writeln!(std::io::stderr(), "tokenbank: {text}");
}
