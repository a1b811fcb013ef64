//! Owns: the commands about codes that give credit.

use super::manage::open;
use super::{Outcome, Problem, say};
use clap::{Args, Subcommand};
use domain::code::CodeKind;
use domain::id::{CodeId, ModelId};
use domain::money::Usd;
use secrecy::ExposeSecret as _;
use server::code::{self, NewCode};
use server::config::Settings;
use server::statement::day_in_zone;

#[derive(Subcommand)]
pub enum CodeCommand {
    /// Make a code and print it, once. Whoever has it may use it under Credits.
    Create(Box<CreateArguments>),
    /// List the newest codes with how often they were used.
    List {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Withdraw a code: it can no longer be used; what it gave stays.
    Revoke {
        /// As `code list` shows it.
        code: String,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

#[derive(Args)]
pub struct CreateArguments {
    /// Promotional credit expires; a gift stays unless --credit-days says otherwise.
    #[arg(long, value_parser = ["promotional", "gift"])]
    kind: String,
    /// What one use gives, in dollars, such as 5 or 2.50.
    #[arg(long)]
    amount: String,
    /// How many days the credit lasts once it was given.
    #[arg(long)]
    credit_days: Option<u32>,
    /// How many accounts may use it; each may once.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// The only models its credit may pay for, such as claude-3-5-haiku,gpt-4o-mini.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// The one address it is for.
    #[arg(long)]
    email: Option<String>,
    /// The last day, in UTC, on which it can be used, such as 2026-12-31.
    #[arg(long)]
    redeem_by: Option<String>,
    #[command(flatten)]
    settings: Box<Settings>,
}

pub async fn run(command: CodeCommand) -> Result<Outcome, Problem> {
    match command {
        CodeCommand::Create(arguments) => create(*arguments).await,
        CodeCommand::List { settings } => list(&settings).await,
        CodeCommand::Revoke { code, settings } => revoke(&settings, code).await,
    }
}

async fn create(arguments: CreateArguments) -> Result<Outcome, Problem> {
    let usage = |text: &str| Problem::Usage(text.to_owned());
    let new = NewCode {
        kind: arguments.kind.parse::<CodeKind>().map_err(|error| Problem::Usage(error.to_string()))?,
        amount: Usd::parse_dollars(&arguments.amount).ok_or_else(|| usage("--amount is no amount of dollars"))?,
        credit_days: arguments.credit_days,
        most_uses: arguments.uses,
        models: arguments.models.into_iter().map(ModelId::new).collect(),
        email: arguments.email,
        redeem_until: match arguments.redeem_by {
            None => None,
            Some(day) => {
                let (_, end) =
                    day_in_zone(&day, "UTC").ok_or_else(|| usage("--redeem-by is no day like 2026-12-31"))?;
                Some(end)
            }
        },
    };
    let server = open(&arguments.settings).await?;
    let made = code::create(&server, &new).await;
    let (_, text) = made.map_err(|error| match error.denial() {
        Some(denial) => Problem::Usage(denial.sentence()),
        None => Problem::from(error),
    })?;
    say(text.expose_secret());
    Ok(Outcome::Done)
}

async fn list(settings: &Settings) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    let codes = code::list(&server).await?;
    for code in &codes {
        let lasts = code.credit_days.map_or_else(|| "stays".to_owned(), |days| format!("lasts {days} days"));
        let ends = match (code.revoked_at, code.redeem_until) {
            (Some(at), _) => format!("withdrawn on {}", at.utc_day()),
            (None, Some(until)) => format!("until {}", until.plus_seconds(-1).utc_day()),
            (None, None) => "no end".to_owned(),
        };
        say(&format!(
            "{}  …{}  {} {} ({lasts}), used {} of {}, {ends}",
            code.code_id, code.hint, code.kind, code.amount, code.uses, code.most_uses
        ));
    }
    if codes.is_empty() {
        say("There is no code.");
    }
    Ok(Outcome::Done)
}

async fn revoke(settings: &Settings, code: String) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    code::revoke(&server, &CodeId::new(code)).await?;
    say("The code is withdrawn.");
    Ok(Outcome::Done)
}
