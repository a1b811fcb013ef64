//! Owns: the commands that work on the database and end: migrate, verify, rates, admin, API keys, appeals.

use super::{Outcome, Problem, say};
use domain::trial::AppealState;
use secrecy::{ExposeSecret as _, SecretString};
use server::Server;
use server::account::Email;
use server::clock::Clock;
use server::config::Settings;
use server::subscription::{self, SyncMode, SyncOutcome};
use std::path::Path;

pub(super) async fn open(settings: &Settings) -> Result<Server, Problem> {
    let config = settings.clone().database_only().map_err(|problem| Problem::Usage(problem.to_string()))?;
    Ok(Server::open(config, Clock::system()).await?)
}

pub async fn migrate(settings: &Settings) -> Result<Outcome, Problem> {
    let database = settings.database().map_err(|problem| Problem::Usage(problem.to_string()))?;
    let db = server::open_database(&database).await?;
    db.migrate().await?;
    say(&format!("The {} database is up to date.", db.engine()));
    Ok(Outcome::Done)
}

pub async fn verify(settings: &Settings) -> Result<Outcome, Problem> {
    let database = settings.database().map_err(|problem| Problem::Usage(problem.to_string()))?;
    let db = server::open_database(&database).await?;
    let findings = server::ledger::check(&db).await?;
    for finding in &findings {
        say(&format!("{}: {}: {}", finding.invariant, finding.row, finding.problem));
    }
    if findings.is_empty() {
        say("Clean: every rule of the ledger holds.");
        Ok(Outcome::Done)
    } else {
        say(&format!("{} findings.", findings.len()));
        Ok(Outcome::Found)
    }
}

pub async fn import_rates(settings: &Settings, file: &Path, apply: bool) -> Result<Outcome, Problem> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Problem::Usage(format!("{} cannot be read: {error}", file.display())))?;
    let server = open(settings).await?;
    let report = server::rate::import(&server.db, &server.clock, &server.catalogue.load(), &text, apply)
        .await
        .map_err(|error| Problem::Failed(format!("{}: {error}", file.display())))?;
    for line in report.lines() {
        say(&line);
    }
    Ok(Outcome::Done)
}

pub async fn sync_stripe(settings: Settings, dry_run: bool) -> Result<Outcome, Problem> {
    let config = settings.check(false).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        Problem::Usage(format!("these settings must be mended before it can be done:\n{}", lines.join("\n")))
    })?;
    let server = Server::open(config, Clock::system()).await?;
    let mode = if dry_run { SyncMode::DryRun } else { SyncMode::Write };
    let lines = subscription::sync(&server, mode).await?;
    let mut found = false;
    for line in &lines {
        let what = match (&line.outcome, dry_run) {
            (SyncOutcome::Kept, _) => "is there".to_owned(),
            (SyncOutcome::Made, true) => "would be made".to_owned(),
            (SyncOutcome::Made, false) => "was made".to_owned(),
            (SyncOutcome::Drift(problem), _) => {
                found = true;
                format!("DIFFERS: {problem}. Nothing was changed; mend it at Stripe.")
            }
        };
        let (dollars, cents) = (line.unit.0 / 100, line.unit.0 % 100);
        say(&format!("{} ({}) ${dollars}.{cents:02} a month [{}]: {what}", line.plan, line.key_mode, line.lookup_key));
    }
    for odd in subscription::list_odd(&server).await? {
        found = true;
        let subscription::Odd { subscription_id, account_name, problem } = odd;
        say(&format!(
            "{subscription_id} ({account_name}) DIFFERS: {problem}. Its plan stays as it was bought; mend it at Stripe."
        ));
    }
    Ok(if found { Outcome::Found } else { Outcome::Done })
}

pub async fn replay_usage(settings: &Settings) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    let count = server::usage_mirror::replay_failed(&server).await?;
    say(&format!("{count} hours will be told again."));
    Ok(Outcome::Done)
}

pub async fn create_admin(settings: Settings, email: &str) -> Result<Outcome, Problem> {
    let server = open(&settings).await?;
    let mut password = String::new();
    std::io::stdin()
        .read_line(&mut password)
        .map_err(|error| Problem::Usage(format!("the password could not be read from standard input: {error}")))?;
    let password = SecretString::from(password.trim_end_matches(['\r', '\n']).to_owned());
    server::account::make_admin(&server, email, &password).await?;
    say(&format!("{email} is an admin."));
    Ok(Outcome::Done)
}

pub async fn create_api_key(
    settings: &Settings,
    email: &str,
    name: &str,
    agent: Option<&str>,
) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    let address = Email::parse(email).map_err(|denial| Problem::Usage(denial.sentence()))?;
    let user = match server::account::load_user_id(&server, &address).await? {
        Some(user_id) => server::account::load_user(&server, &user_id).await?,
        None => None,
    };
    let Some(user) = user else {
        return Err(Problem::Failed(format!("no user has the e-mail {email}")));
    };
    let agent_id = match agent {
        None => None,
        Some(name) => {
            let agents = server::agent::list(&server, &user.account_id).await?;
            let found = agents.into_iter().find(|agent| agent.name == name);
            Some(found.ok_or_else(|| Problem::Failed(format!("{email} has no agent `{name}`")))?.agent_id)
        }
    };
    let (_, secret) = server::api_key::create_for(&server, &user, name, agent_id.as_ref()).await?;
    say(secret.expose_secret());
    Ok(Outcome::Done)
}

pub async fn list_appeals(settings: &Settings) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    let appeals = server::trial::list_open(&server).await?;
    for appeal in &appeals {
        let reason = appeal.reason.replace(['\r', '\n'], " ");
        let day = appeal.created_at.utc_day();
        say(&format!("{}  {day}  {} ({}): {reason}", appeal.appeal_id, appeal.email, appeal.account_name));
    }
    if appeals.is_empty() {
        say("No appeal waits.");
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Found)
}

pub async fn answer_appeal(settings: &Settings, appeal: &str, answer: AppealState) -> Result<Outcome, Problem> {
    let server = open(settings).await?;
    server::trial::answer(&server, appeal, answer, "the command line").await?;
    say(&format!("The appeal is {answer}; the person is told by mail."));
    Ok(Outcome::Done)
}
