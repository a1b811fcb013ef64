//! Owns: the prices at Stripe that stand for the catalogue's: making them, finding them, and seeing where somebody
//! edited them by hand.
//! Does not own: what a plan costs (the catalogue).
//! Invariant: Stripe's price is used only while it is the catalogue's amount; a hand-edited one is shown, not followed.

use crate::error::{Error, Result};
use crate::stripe::Failure;
use crate::stripe::plan::{NewPrice, PriceAtStripe, PriceId, ProductId};
use crate::{Server, on_read, on_tx};
use domain::denial::Denial;
use domain::id::PlanId;
use domain::money::{Cents, Usd};
use domain::plan::Plan;
use domain::subscription::KeyMode;

/// Whether a sync changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Only says what it would do.
    DryRun,
    Write,
}

/// What a sync did with one price, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Stripe has it as the catalogue does.
    Kept,
    /// It is missing at Stripe, and is made.
    Made,
    /// Stripe's differs, for the reason given. Nothing is changed.
    Drift(String),
}

/// One price of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncLine {
    pub plan: PlanId,
    pub key_mode: KeyMode,
    pub unit: Cents,
    pub lookup_key: String,
    pub outcome: SyncOutcome,
}

/// A price that we know.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct PriceRow {
    pub plan_id: PlanId,
    pub key_mode: String,
    pub unit_cents: Cents,
    pub catalogue_version: String,
    pub stripe_price_id: PriceId,
}

/// A price of the catalogue that is sold now.
struct Wanted<'a> {
    plan: &'a Plan,
    key_mode: KeyMode,
    unit: Cents,
    lookup_key: String,
    product_id: ProductId,
}

/// Makes the products and prices of the catalogue at Stripe, or matches those that are there by lookup key. Running it
/// again changes nothing. A price that somebody edited at Stripe is reported and left alone.
pub async fn sync(server: &Server, mode: SyncMode) -> Result<Vec<SyncLine>> {
    let catalogue = server.catalogue.load_full();
    let mut lines = Vec::new();
    for plan in &catalogue.plans {
        for key_mode in KeyMode::ALL {
            let Some(wanted) = wanted(server, plan, *key_mode)? else { continue };
            let outcome = sync_one(server, &wanted, mode).await?;
            lines.push(SyncLine {
                plan: plan.id.clone(),
                key_mode: *key_mode,
                unit: wanted.unit,
                lookup_key: wanted.lookup_key,
                outcome,
            });
        }
    }
    Ok(lines)
}

async fn sync_one(server: &Server, wanted: &Wanted<'_>, mode: SyncMode) -> Result<SyncOutcome> {
    let known = load_by_key(server, &wanted.lookup_key).await?;
    let found = server.stripe.find_price(&wanted.lookup_key).await?;
    let (price, drift) = match (known, found) {
        (None, Some(found)) => {
            let drift = difference(wanted, &found);
            (Some(found), drift)
        }
        (Some(row), Some(found)) if row.stripe_price_id == found.price_id => {
            let drift = difference(wanted, &found);
            (Some(found), drift)
        }
        (Some(row), found) => match server.stripe.load_price(&row.stripe_price_id).await {
            Ok(ours) => {
                let now = found.map_or("no price".to_owned(), |found| found.price_id.to_string());
                (Some(ours), Some(format!("the lookup key names {now} instead of {}", row.stripe_price_id)))
            }
            // Another account at Stripe, or a sandbox that started again.
            Err(Failure::Missing) => (found, None),
            Err(failure) => return Err(failure.into()),
        },
        (None, None) => (None, None),
    };
    match (price, drift, mode) {
        (Some(price), None, SyncMode::Write) => keep(server, wanted, &price, None).await.map(|()| SyncOutcome::Kept),
        (Some(_), None, SyncMode::DryRun) => Ok(SyncOutcome::Kept),
        (Some(price), Some(drift), mode) => {
            // One that was never ours is not taken in while it differs.
            if mode == SyncMode::Write && load_by_key(server, &wanted.lookup_key).await?.is_some() {
                note_drift(server, &wanted.lookup_key, Some(&drift)).await?;
            }
            tracing::warn!(price = %price.price_id, drift, "a price at Stripe differs from the catalogue");
            Ok(SyncOutcome::Drift(drift))
        }
        (None, _, SyncMode::DryRun) => Ok(SyncOutcome::Made),
        (None, _, SyncMode::Write) => {
            server.stripe.ensure_product(&wanted.product_id, &wanted.plan.name, &wanted.plan.description).await?;
            let price = server
                .stripe
                .create_price(NewPrice {
                    lookup_key: &wanted.lookup_key,
                    product_id: &wanted.product_id,
                    nickname: format!("{} ({})", wanted.plan.name, wanted.key_mode),
                    unit: wanted.unit,
                    plan: &wanted.plan.id,
                    key_mode: wanted.key_mode,
                })
                .await?;
            keep(server, wanted, &price, None).await?;
            Ok(SyncOutcome::Made)
        }
    }
}

/// How Stripe's price differs from the catalogue's, in words for an admin; `None` if it does not.
fn difference(wanted: &Wanted<'_>, found: &PriceAtStripe) -> Option<String> {
    if found.unit != Some(wanted.unit) {
        let unit = found.unit.map_or("no amount".to_owned(), |Cents(cents)| format!("{cents} cents"));
        return Some(format!("it is {unit} instead of {} cents", wanted.unit.0));
    }
    if found.currency != "usd" || !found.monthly {
        return Some(format!("it is not in dollars a month ({})", found.currency));
    }
    if found.product_id != wanted.product_id {
        return Some(format!("it belongs to the product {} instead of {}", found.product_id, wanted.product_id));
    }
    if !found.active {
        return Some("it was archived".to_owned());
    }
    None
}

/// What the catalogue sells of a plan now; `None` for what costs nothing or is by agreement.
fn wanted<'a>(server: &Server, plan: &'a Plan, key_mode: KeyMode) -> Result<Option<Wanted<'a>>> {
    let Some(unit) = unit_of(plan, key_mode, server)? else { return Ok(None) };
    if unit.0 <= 0 {
        return Ok(None);
    }
    Ok(Some(Wanted {
        plan,
        key_mode,
        unit,
        // The amount is a part of the name, so a new amount is a new price, and who has the old one keeps it.
        lookup_key: format!("tokenbank_{}_{key_mode}_{}_month", plan.id, unit.0),
        product_id: ProductId::new(format!("tokenbank_{}", plan.id)),
    }))
}

/// What one seat of a plan costs a month now; `None` by agreement.
pub(super) fn unit_of(plan: &Plan, key_mode: KeyMode, server: &Server) -> Result<Option<Cents>> {
    let price = plan.price_at(server.clock.now()).and_then(|price| match key_mode {
        KeyMode::Standard => price.standard,
        KeyMode::Byok => price.byok,
    });
    let whole = |usd: Usd| {
        usd.to_cents_exact().ok_or_else(|| Error::Internal(format!("plan {} costs {usd}, no whole cents", plan.id)))
    };
    price.map(whole).transpose()
}

/// The price at Stripe for a plan as it is sold now. Denials: `NotFound` (not sold, or by agreement), `Upstream` (not
/// made at Stripe yet).
pub(super) async fn price_of(server: &Server, plan: &Plan, key_mode: KeyMode) -> Result<PriceRow> {
    let Some(wanted) = wanted(server, plan, key_mode)? else {
        return Err(Denial::NotFound { what: format!("price for {} ({key_mode})", plan.name) }.into());
    };
    load_by_key(server, &wanted.lookup_key).await?.ok_or_else(|| {
        tracing::error!(lookup_key = wanted.lookup_key, "this price is not at Stripe; run `tokenbank stripe sync`");
        let problem = "does not have this plan yet".to_owned();
        Denial::Upstream { who: "Stripe".to_owned(), problem }.into()
    })
}

async fn load_by_key(server: &Server, lookup_key: &str) -> Result<Option<PriceRow>> {
    let row = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select plan_id, key_mode, unit_cents, catalogue_version, stripe_price_id
             from   stripe_price
             where  lookup_key = $1",
        )
        .bind(lookup_key)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row)
}

/// The plan that a price at Stripe stands for, also one that is no longer sold; `None` for a price that is not ours.
pub(super) async fn load_by_price(server: &Server, price_id: &PriceId) -> Result<Option<PriceRow>> {
    let row = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select plan_id, key_mode, unit_cents, catalogue_version, stripe_price_id
             from   stripe_price
             where  stripe_price_id = $1",
        )
        .bind(price_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row)
}

async fn keep(server: &Server, wanted: &Wanted<'_>, price: &PriceAtStripe, drift: Option<&str>) -> Result<()> {
    let version = server.catalogue.load().version.clone();
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into stripe_price (lookup_key, plan_id, key_mode, unit_cents, catalogue_version, stripe_product_id,
                                       stripe_price_id, drift, synced_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (lookup_key) do update
             set    stripe_product_id = excluded.stripe_product_id, stripe_price_id = excluded.stripe_price_id,
                    drift = excluded.drift, synced_at = excluded.synced_at",
        )
        .bind(&wanted.lookup_key)
        .bind(&wanted.plan.id)
        .bind(wanted.key_mode.as_str())
        .bind(wanted.unit)
        .bind(version)
        .bind(&wanted.product_id)
        .bind(&price.price_id)
        .bind(drift)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Keeps how the price at Stripe differs, or that it does not any more.
pub(super) async fn note_drift(server: &Server, lookup_key: &str, drift: Option<&str>) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update stripe_price set drift = $1, synced_at = $2 where lookup_key = $3")
            .bind(drift)
            .bind(server.clock.now())
            .bind(lookup_key)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}
