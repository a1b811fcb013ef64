//! Owns: which catalogue is in use, and every version that was: kept in the database, never changed.
//! Does not own: what makes a catalogue right (`domain::catalogue`).
//! Invariant: nothing is served from a file with a mistake; a version means the same for ever, so that a customer who
//! bought one can stay on it.

use crate::clock::Clock;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::{Server, on_read, on_tx};
use domain::catalogue::{Catalogue, Source};
use domain::time::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const TIERS: &str = include_str!("../../catalogue/tiers.toml");
const LEGIONIS: &str = include_str!("../../catalogue/legionis.toml");
const MODELS: &str = include_str!("../../catalogue/models.toml");
const SKILLS: &str = include_str!("../../catalogue/skills.toml");

/// Versions that were read, by name.
#[derive(Default)]
pub struct Versions(Mutex<HashMap<String, Arc<Catalogue>>>);

/// Reads the catalogue that the setting names: a file, `legionis`, or `tiers`, which is also used without one. The error
/// says file, line and reason.
pub fn load(setting: Option<&Path>) -> Result<Catalogue> {
    Ok(read(setting)?.1)
}

/// The catalogue to run with now. The one that the setting names is stored; if its day has not come, the newest stored
/// version that is in effect runs until then. Refused: a mistake, and a version that is stored with other content.
pub async fn choose(db: &Db, clock: &Clock, setting: Option<&Path>) -> Result<Catalogue> {
    let (source, named) = read(setting)?;
    keep(db, clock, &source.text(), &named).await?;

    let now = clock.now();
    if named.effective_at <= now {
        return Ok(named);
    }
    match load_in_effect(db, now).await? {
        Some((version, text)) => parse_stored(&version, &text),
        None => Err(Error::Internal(format!(
            "TOKENBANK_CATALOGUE: {} takes effect later, and no version before it is stored; give it an earlier \
             `effective_at`, or start with the catalogue that counts until then",
            named.version
        ))),
    }
}

/// Reads the setting's catalogue again, so that an edited file and a day that has come count without a restart. On a
/// mistake the running version stays.
pub async fn refresh(server: &Server) -> Result<()> {
    let chosen = choose(&server.db, &server.clock, server.config.catalogue.as_deref()).await?;
    if **server.catalogue.load() != chosen {
        tracing::info!(version = chosen.version, "another catalogue is in effect");
        server.catalogue.store(Arc::new(chosen));
    }
    Ok(())
}

/// A version that was in use at some time, such as the one a customer bought. One that is not there is a failure:
/// whoever stores a version's name refers to its row.
pub async fn load_version(server: &Server, version: &str) -> Result<Arc<Catalogue>> {
    let running = server.catalogue.load_full();
    if running.version == version {
        return Ok(running);
    }
    let known = || server.catalogue_versions.0.lock().unwrap_or_else(PoisonError::into_inner);
    let remembered = known().get(version).cloned();
    if let Some(catalogue) = remembered {
        return Ok(catalogue);
    }

    let text = load_text(&server.db, version)
        .await?
        .ok_or_else(|| Error::Internal(format!("catalogue_version: there is no version {version}")))?;
    let catalogue = Arc::new(parse_stored(version, &text)?);
    known().insert(version.to_owned(), Arc::clone(&catalogue));
    Ok(catalogue)
}

fn read(setting: Option<&Path>) -> Result<(Source, Catalogue)> {
    let built_in = |name: &str| match name {
        "models.toml" => Ok(MODELS.to_owned()),
        "skills.toml" => Ok(SKILLS.to_owned()),
        other => Err(format!("there is no built-in {other}")),
    };
    let source = match setting.map(|setting| (setting, setting.to_str())) {
        None | Some((_, Some("tiers"))) => Source::assemble("catalogue/tiers.toml", TIERS.to_owned(), built_in),
        Some((_, Some("legionis"))) => Source::assemble("catalogue/legionis.toml", LEGIONIS.to_owned(), built_in),
        Some((file, _)) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|error| {
                Error::internal(&format!("TOKENBANK_CATALOGUE: read {name} (or give `tiers` or `legionis`)"), error)
            })?;
            // A file beside the catalogue counts before the built-in one of the same name.
            let beside = |included: &str| {
                let path = file.with_file_name(included);
                if path.exists() {
                    std::fs::read_to_string(&path).map_err(|error| error.to_string())
                } else {
                    built_in(included).map_err(|_| format!("{} does not exist", path.display()))
                }
            };
            Source::assemble(&name, text, beside)
        }
    };
    let source = source.map_err(|error| Error::Internal(error.to_string()))?;
    let catalogue = source.parse().map_err(|error| Error::Internal(error.to_string()))?;
    Ok((source, catalogue))
}

/// Stores a version, once. Its name with other content is refused; other comments are not other content.
async fn keep(db: &Db, clock: &Clock, text: &str, catalogue: &Catalogue) -> Result<()> {
    let version = catalogue.version.as_str();
    if load_text(db, version).await?.is_none() {
        let mut tx = db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into catalogue_version (version, text, effective_at, created_at)
                 values ($1, $2, $3, $4)
                 on conflict (version) do nothing",
            )
            .bind(version)
            .bind(text)
            .bind(catalogue.effective_at)
            .bind(clock.now())
            .execute(conn)
            .await
            .map(drop)
        })?;
        tx.commit().await?;
    }

    // Another node may have been first, so what is there is what is compared.
    let stored = load_text(db, version).await?.unwrap_or_default();
    if stored == text || parse_stored(version, &stored)? == *catalogue {
        return Ok(());
    }
    Err(Error::Internal(format!(
        "TOKENBANK_CATALOGUE: version {version} was stored with other content, and customers may have bought it; give \
         the changed catalogue a new `version`"
    )))
}

async fn load_text(db: &Db, version: &str) -> Result<Option<String>> {
    Ok(on_read!(db, conn => {
        sqlx::query_scalar("select text from catalogue_version where version = $1")
            .bind(version)
            .fetch_optional(conn)
            .await?
    }))
}

async fn load_in_effect(db: &Db, now: Timestamp) -> Result<Option<(String, String)>> {
    Ok(on_read!(db, conn => {
        sqlx::query_as(
            "select version, text
               from catalogue_version
              where effective_at <= $1
              order by effective_at desc, created_at desc
              limit 1",
        )
        .bind(now)
        .fetch_optional(conn)
        .await?
    }))
}

fn parse_stored(version: &str, text: &str) -> Result<Catalogue> {
    Catalogue::parse(text).map_err(|error| Error::Internal(format!("catalogue_version {version}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogues_are_right() {
        for (setting, version) in [(None, "tiers-"), (Some("tiers"), "tiers-"), (Some("legionis"), "legionis-")] {
            let catalogue = load(setting.map(Path::new)).unwrap();
            assert!(catalogue.version.starts_with(version), "{}", catalogue.version);
            assert_eq!(catalogue.skills.len(), 6);
        }
    }

    #[test]
    fn a_mistake_is_told_with_file_and_line() {
        let file = std::env::temp_dir().join("tokenbank-mistaken-catalogue.toml");
        std::fs::write(&file, TIERS.replace("price = \"28.75\"", "price = \"27.75\"")).unwrap();
        let line = TIERS.lines().position(|line| line == "price = \"28.75\"").unwrap() + 1;
        let error = load(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(error, format!("{}:{line}: $25.00 and the markup are $28.75, not $27.75", file.display()));
        let missing = load(Some(Path::new("/no/such/catalogue.toml"))).unwrap_err().to_string();
        assert!(missing.starts_with("TOKENBANK_CATALOGUE: read /no/such/catalogue.toml"), "{missing}");
    }
}
