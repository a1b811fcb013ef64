//! Owns: the stored rates: the shipped ones, importing LiteLLM's price file, and the book that prices are read from.
//! Does not own: reading a price or comparing it (`domain::rate`).
//! Invariant: rows are only added; a rate that priced something stays as it was.

use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::{Server, on_read, on_tx};
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::UpstreamModel;
use domain::rate::diff::{Diff, diff};
use domain::rate::litellm::{self, ListedModel, PriceFile, PriceFileError};
use domain::rate::{ModelRate, RateBook};
use domain::time::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

const SHIPPED: &str = include_str!("../../catalogue/rates.json");

/// What an import found.
#[derive(Debug)]
pub struct Import {
    pub file: PriceFile,
    pub diff: Diff,
    /// Models of the catalogue that have no rate, neither before nor now.
    pub unpriced: Vec<String>,
    /// The version under which the rates were stored; `None` if they were only compared.
    pub stored_as: Option<String>,
}

impl Import {
    /// The report, line by line.
    pub fn lines(&self) -> Vec<String> {
        let Import { file, diff, .. } = self;
        let mut lines = vec![format!("{} entries, {} models with a rate.", file.entries, file.models.len())];
        for (skip, count) in &file.skipped {
            lines.push(format!("  left out: {count} {skip}"));
        }
        for ListedModel { provider, model, .. } in &diff.new {
            lines.push(format!("+ {provider} {model}"));
        }
        for change in &diff.changed {
            let ListedModel { provider, model, .. } = &change.listed;
            lines.push(format!("~ {provider} {model}"));
            lines.extend(change.prices.iter().map(|price| format!("    {price}")));
        }
        for ModelRate { provider, model, .. } in &diff.gone {
            lines.push(format!("- {provider} {model}: no longer listed; keeps its rate"));
        }
        for model in &self.unpriced {
            lines.push(format!("! {model} of the catalogue has no rate, so it is refused"));
        }
        let (new, changed, gone) = (diff.new.len(), diff.changed.len(), diff.gone.len());
        lines.push(format!("{new} new, {changed} changed, {gone} gone, {} as before.", diff.unchanged));
        lines.push(match &self.stored_as {
            Some(version) => format!("Stored as {version}; running servers use it within a minute."),
            None if new == 0 && changed == 0 => "Nothing to store.".to_owned(),
            None => "Nothing was stored. Run it again with --apply to store this.".to_owned(),
        });
        lines
    }
}

/// Compares a price file with the rates in use and, if told to `apply`, stores what is new or changed, in effect from
/// now on. A file with a mistake is refused whole, with every line, and nothing is stored.
pub async fn import(db: &Db, clock: &Clock, catalogue: &Catalogue, text: &str, apply: bool) -> Result<Import> {
    let now = clock.now();
    let file = litellm::parse(text).map_err(refused)?;

    let book = load_book(db).await?;
    let diff = diff(&book, now, &file.models).map_err(refused)?;
    let is_priced = |name: &UpstreamModel, provider| {
        book.rate(provider, name, now).is_some()
            || file.models.iter().any(|listed| listed.provider == provider && &listed.model == name)
    };
    let unpriced = catalogue
        .models
        .iter()
        .filter(|model| !is_priced(&model.upstream_name, model.provider))
        .map(|model| model.id.to_string())
        .collect();
    let changed = diff.changed.iter().map(|change| &change.listed);
    let version = format!("litellm-{}", stamp(now)?);
    let rates: Vec<ModelRate> =
        diff.new.iter().chain(changed).map(|listed| rate(listed, &version, now, "LiteLLM's price file")).collect();

    let stored_as = (apply && !rates.is_empty()).then_some(version);
    if stored_as.is_some() {
        let mut tx = db.begin().await?;
        insert_rates(&mut tx, &rates, now).await?;
        tx.commit().await?;
    }
    Ok(Import { file, diff, unpriced, stored_as })
}

/// Stores the shipped rate of every model that has none yet. Safe to run at each start, on several nodes at once.
pub async fn seed(db: &Db, clock: &Clock, catalogue: &Catalogue) -> Result<()> {
    let file = litellm::parse(SHIPPED).map_err(|problems| Error::Internal(sentence(&problems)))?;

    let book = load_book(db).await?;
    let shipped = &catalogue.shipped_rates;
    let version = format!("shipped-{}", stamp(shipped.effective_at)?);
    let rates: Vec<ModelRate> = file
        .models
        .iter()
        .filter(|listed| !book.has_any(listed.provider, &listed.model))
        .map(|listed| rate(listed, &version, shipped.effective_at, &shipped.source))
        .collect();

    if rates.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    insert_rates(&mut tx, &rates, clock.now()).await?;
    tx.commit().await
}

/// Every rate there is.
pub async fn load_book(db: &Db) -> Result<RateBook> {
    let rows: Vec<(String, String, UpstreamModel, String, String, Timestamp)> = on_read!(db, pool => {
        sqlx::query_as(
            "select rate_version, provider, model_id, prices, source, effective_at
               from rate
              order by provider, model_id, effective_at",
        )
        .fetch_all(pool)
        .await?
    });
    let read =
        |(version, provider, model, prices, source, effective_at): (String, String, UpstreamModel, String, _, _)| {
            let place = |error: &dyn std::fmt::Display| Error::Internal(format!("rate of {provider} {model}: {error}"));
            Ok(ModelRate {
                provider: provider.parse().map_err(|error| place(&error))?,
                prices: serde_json::from_str(&prices).map_err(|error| place(&error))?,
                version,
                model,
                effective_at,
                source,
            })
        };
    Ok(RateBook::new(rows.into_iter().map(read).collect::<Result<_>>()?))
}

/// Reads the rates again, so that an import by another process counts here too.
pub async fn refresh(server: &Server) -> Result<()> {
    let book = load_book(&server.db).await?;
    server.rates.store(std::sync::Arc::new(book));
    Ok(())
}

fn rate(listed: &ListedModel, version: &str, effective_at: Timestamp, source: &str) -> ModelRate {
    ModelRate {
        version: version.to_owned(),
        provider: listed.provider,
        model: listed.model.clone(),
        effective_at,
        prices: listed.prices.clone(),
        source: source.to_owned(),
    }
}

/// Adds rates; one that is there already, for the same model and moment, stays.
async fn insert_rates(tx: &mut Tx, rates: &[ModelRate], now: Timestamp) -> Result<()> {
    for rate in rates {
        let prices = serde_json::to_string(&rate.prices)?;
        on_tx!(tx, conn => {
            sqlx::query(
                "insert into rate (rate_version, provider, model_id, prices, source, effective_at, created_at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (provider, model_id, effective_at) do nothing",
            )
            .bind(&rate.version)
            .bind(rate.provider.as_str())
            .bind(&rate.model)
            .bind(prices)
            .bind(&rate.source)
            .bind(rate.effective_at)
            .bind(now)
            .execute(conn)
            .await
            .map(drop)
        })?;
    }
    Ok(())
}

/// `2026-11-24T04:30:00Z`, for the name of a version.
fn stamp(at: Timestamp) -> Result<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .map_err(|error| Error::internal("name a rate version", error))?
        .format(format)
        .map_err(|error| Error::internal("name a rate version", error))
}

fn refused(problems: Vec<PriceFileError>) -> Error {
    Error::Denied(Denial::invalid(
        "price file",
        sentence(&problems),
        "Nothing was stored; mend the file and try again.",
    ))
}

fn sentence(problems: &[PriceFileError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
