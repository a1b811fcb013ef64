//! Owns: the commands that freeze an account and lift a freeze.

use super::manage::open;
use super::{Outcome, Problem, say};
use clap::{Args, Subcommand};
use domain::id::AccountId;
use server::account::Email;
use server::config::Settings;
use server::error::Error;
use server::freeze::{self, Frozen};
use server::{Server, member};

#[derive(Subcommand)]
pub enum AccountCommand {
    /// Freeze an account: running work is finished, no new run starts and nothing can be bought. Its people are told that it was
    /// you, not why.
    Freeze(Box<Whose>),
    /// Lift a freeze by hand, or one that follows an early fraud warning. Ends 1 if something else still freezes the account: a
    /// dispute until the bank has decided, what is owed until it is paid.
    Unfreeze(Box<Whose>),
}

#[derive(Args)]
pub struct Whose {
    /// A member of the account.
    #[arg(long)]
    email: String,
    /// Which account, for somebody who is a member of several; without it they are listed.
    #[arg(long)]
    account: Option<String>,
    /// Why, in a sentence for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    settings: Box<Settings>,
}

pub async fn run(command: AccountCommand) -> Result<Outcome, Problem> {
    match command {
        AccountCommand::Freeze(whose) => {
            let server = open(&whose.settings).await?;
            let (account_id, name) = find(&server, &whose).await?;
            freeze::freeze_by_hand(&server, &account_id, &whose.reason).await.map_err(problem)?;
            say(&format!("{name} is frozen; its people are told."));
            Ok(Outcome::Done)
        }
        AccountCommand::Unfreeze(whose) => {
            let server = open(&whose.settings).await?;
            let (account_id, name) = find(&server, &whose).await?;
            let (lifted, left) = freeze::lift_by_hand(&server, &account_id, &whose.reason).await.map_err(problem)?;
            Ok(tell(&name, lifted, &left))
        }
    }
}

fn tell(name: &str, lifted: u64, left: &[Frozen]) -> Outcome {
    for frozen in left {
        let (day, cause) = (frozen.frozen_at.utc_day(), frozen.cause);
        say(&format!("{name} is still frozen since {day}: {}. {}", cause.reason(), cause.what_lifts_it()));
    }
    match (left.is_empty(), lifted) {
        (false, _) => Outcome::Found,
        (true, 0) => {
            say(&format!("{name} was not frozen. Nothing was changed."));
            Outcome::Done
        }
        (true, _) => {
            say(&format!("{name} is released; its people are told."));
            Outcome::Done
        }
    }
}

/// The one account that is meant. Freezing another one by mistake would cost its people their work.
async fn find(server: &Server, whose: &Whose) -> Result<(AccountId, String), Problem> {
    let email = Email::parse(&whose.email).map_err(|denial| Problem::Usage(denial.sentence()))?;
    let Some(user_id) = server::account::load_user_id(server, &email).await? else {
        return Err(Problem::Failed(format!("no user has the e-mail {}", whose.email)));
    };
    let mut accounts = member::list_accounts(server, &user_id).await?;
    if let Some(wanted) = &whose.account {
        accounts.retain(|account| account.account_id.as_str() == wanted);
    }
    match accounts.as_slice() {
        [only] => Ok((only.account_id.clone(), only.account_name.clone())),
        [] => Err(Problem::Failed(format!("{} is no member of such an account", whose.email))),
        several => {
            let line =
                |account: &member::Membership| format!("  --account {}   {}", account.account_id, account.account_name);
            let lines: Vec<String> = several.iter().map(line).collect();
            let text = format!("{} is a member of several accounts; say which one:\n{}", whose.email, lines.join("\n"));
            Err(Problem::Usage(text))
        }
    }
}

fn problem(error: Error) -> Problem {
    match error.denial() {
        Some(denial) => Problem::Usage(denial.sentence()),
        None => Problem::from(error),
    }
}
