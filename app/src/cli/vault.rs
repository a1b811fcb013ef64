//! Owns: `tokenbank vault rotate`: a new master key if one is asked for, and everything wrapped under the newest one.

use super::{Outcome, Problem, say};
use server::Server;
use server::clock::Clock;
use server::config::Settings;
use server::provider_key::{self, Rotated};
use server::vault::Source;

pub async fn rotate(settings: Settings, new_key: bool) -> Result<Outcome, Problem> {
    let usage = |problem: server::config::Problem| Problem::Usage(problem.to_string());
    let source = settings.master_key().map_err(usage)?;
    let mut config = settings.database_only().map_err(usage)?;
    config.master_key = source.clone();
    let server = Server::open(config, Clock::system()).await?;
    if new_key {
        add_master_key(&server, &source).await?;
    }
    let (old, all) = provider_key::count_old(&server).await?;
    let newest = server.vault.newest()?;
    say(&format!("Master key {newest} seals. {old} of {all} sealed rows are under an older one."));
    let Rotated { wrapped, failed } = provider_key::rotate(&server, u64::MAX, |done| {
        say(&format!("{done} of {old} wrapped."));
    })
    .await?;
    for row in &failed {
        say(&format!("{row}: does not open and stays as it is."));
    }
    if failed.is_empty() {
        say(&format!(
            "Done: {wrapped} wrapped. All {all} are under master key {newest}; once every server was restarted and"
        ));
        say("this was run again, the older ones open nothing any more and may be taken out.");
        Ok(Outcome::Done)
    } else {
        say(&format!(
            "{wrapped} wrapped, {} do not open. Keep the older master keys until that is mended.",
            failed.len()
        ));
        Ok(Outcome::Found)
    }
}

/// A new one only where the last rotation is through: an interrupted one is continued instead.
async fn add_master_key(server: &Server, source: &Source) -> Result<(), Problem> {
    match source {
        Source::File(_) => {}
        Source::Given(_) | Source::Nowhere => {
            let problem = "--new-key makes a master key in a file, and here TOKENBANK_MASTER_KEY has it; put `N:BASE64` with \
                           a higher N there, restart the servers, and run this without --new-key";
            return Err(Problem::Usage(problem.to_owned()));
        }
    }
    let (old, _) = provider_key::count_old(server).await?;
    if old > 0 {
        say(&format!("{old} rows are not under the newest master key yet; no new one is made before they are."));
        return Ok(());
    }
    let version = server.vault.add_master_key()?;
    say(&format!("Master key {version} was made. Copy the file of master keys to your backups."));
    Ok(())
}
