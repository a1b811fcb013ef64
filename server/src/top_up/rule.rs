//! Owns: turning the automatic top-up on, changing it, and turning it off.
//! Does not own: the card (`payment_method`), or the charge that may follow at once (a job).
//! Invariant: nobody is charged by turning it on unless the sentence that says so, with the amount, was on the page.

use super::consent::may_agree;
use super::facts::Known;
use super::recover::give_up_recovery;
use super::run::run;
use crate::account::User;
use crate::error::Result;
use crate::{Server, ledger, on_tx, payment_method, purchase};
use domain::denial::Denial;
use domain::id::{AccountId, CardSetupId, PurchaseId};
use domain::member::Permission;
use domain::money::Usd;
use domain::time::Timestamp;
use domain::top_up::{Consent, Reason, Rule, Trigger, Verdict};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a page waits for a charge that was announced.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was chosen on the page.
#[derive(Clone, Debug)]
pub struct NewRule {
    pub rule: Rule,
    /// How long the consent counts.
    pub consent_days: u32,
    /// "I agree" was ticked.
    pub agrees: Agreed,
    /// The amount in "You will be charged $X now" as the page said it, if it did.
    pub shown_charge: Option<Usd>,
    /// The version of the rule that the page showed.
    pub seen: Option<Timestamp>,
    /// Ids that were made when the form was rendered, for whatever follows at Stripe.
    pub purchase_id: PurchaseId,
    pub card_setup_id: CardSetupId,
}

/// Whether somebody agreed to be charged while away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    Yes,
    No,
}

/// What comes after the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is on. If the balance is low, the charge that the page announced follows.
    On,
    /// Nothing was saved: the page must first say that this is charged now, or that nothing is.
    Announce { charge: Option<Usd> },
    /// It is on once a card is left, or the first pack is paid, at this address of Stripe's.
    Stripe { url: String },
}

/// Turns the rule on, or changes it. Turned on below the threshold it charges at once, and only if `shown_charge` says
/// so to the cent; without a card, Stripe's page takes the first payment or the card.
///
/// Denials: `RoleMayNot`, `AccountFrozen`, `Invalid` with the field, `UnknownPack`, `Conflict` (changed in another tab).
pub async fn turn_on(server: &Server, user: &User, new: NewRule) -> Result<Next> {
    user.require(Permission::ManageBilling)?;
    let catalogue = server.catalogue.load_full();
    new.rule.check(&catalogue)?;
    if !catalogue.top_up.consent_days.contains(&new.consent_days) {
        let days = new.consent_days;
        return Err(Denial::invalid(
            "consent_days",
            format!("{days} days cannot be chosen"),
            "Choose one of the list.",
        )
        .into());
    }
    if new.agrees == Agreed::No {
        let remedy = "Tick it if your card may be charged without you; without that it stays off.";
        return Err(Denial::invalid("agrees", "was not ticked", remedy).into());
    }
    let now = server.clock.now();
    let consent_ends_at = now.plus_seconds(i64::from(new.consent_days).saturating_mul(86_400));

    let mut tx = server.db.begin().await?;
    if !may_agree(&mut tx, &user.account_id, &user.user_id).await? {
        return Err(Denial::NotFound { what: "account of yours that you may spend for".to_owned() }.into());
    }
    let known = Known::lock(&mut tx, server, &user.account_id).await?;
    if let Some(reason) = known.frozen {
        return Err(Denial::AccountFrozen { reason }.into());
    }
    if known.rule.as_ref().map(|rule| rule.updated_at) != new.seen {
        let problem =
            "The rule was changed meanwhile, perhaps in another tab. Nothing was saved; look at it as it is now.";
        return Err(Denial::Conflict { problem: problem.to_owned() }.into());
    }
    let charge = charge_of(&known, &new.rule, Consent::Until(consent_ends_at), server);
    if charge != new.shown_charge {
        return Ok(Next::Announce { charge });
    }
    save(&mut tx, server, user, (&new, consent_ends_at)).await?;
    tx.commit().await?;

    if known.card.is_some() {
        look_now(server, user).await;
        return Ok(Next::On);
    }
    let url = if charge.is_some() {
        purchase::start_keeping_card(server, user, &new.rule.pack, new.purchase_id).await?
    } else {
        payment_method::begin_setup(server, user, &new.card_setup_id).await?
    };
    Ok(Next::Stripe { url })
}

/// Makes the charge that the page announced, and waits a moment for it, so that the next page shows how it went. It goes
/// on without us; should the server end just now, the sweep makes it.
async fn look_now(server: &Server, user: &User) {
    let (sender, receiver) = oneshot::channel();
    let (task, account_id) = (server.clone(), user.account_id.clone());
    server.tasks.spawn(async move {
        if let Err(error) = run(&task, &account_id, Trigger::Enabled, Usd::ZERO).await {
            tracing::warn!(%error, %account_id, "a top-up could not be made; the next sweep tries again");
        }
        let _ = sender.send(());
    });
    let _ = tokio::time::timeout(PATIENCE, receiver).await;
}

/// What turning this rule on would charge at once, for the page to say so before; `None` for nothing, or for a rule that
/// cannot be.
pub async fn would_charge(
    server: &Server,
    account_id: &AccountId,
    rule: &Rule,
    consent_days: u32,
) -> Result<Option<Usd>> {
    if rule.check(&server.catalogue.load()).is_err() {
        return Ok(None);
    }
    let known = Known::read(server, account_id).await?;
    let consent_ends_at = server.clock.now().plus_seconds(i64::from(consent_days).saturating_mul(86_400));
    Ok(charge_of(&known, rule, Consent::Until(consent_ends_at), server))
}

fn charge_of(known: &Known, rule: &Rule, consent: Consent, server: &Server) -> Option<Usd> {
    let (catalogue, now) = (server.catalogue.load_full(), server.clock.now());
    match known.verdict_of((rule, consent), &catalogue, now, Usd::ZERO) {
        Verdict::Due { price } => Some(price),
        // The first pack is paid on Stripe's page, which keeps the card.
        Verdict::Paused { reason: Reason::MissingPaymentMethod, .. } if known.balance.total() < rule.threshold => {
            catalogue.pack(&rule.pack).ok().map(|pack| pack.price)
        }
        Verdict::Wait { .. } => catalogue.pack(&rule.pack).ok().map(|pack| pack.price),
        Verdict::Off | Verdict::Paused { .. } | Verdict::Enough | Verdict::Open => None,
    }
}

async fn save(
    tx: &mut crate::db::Tx,
    server: &Server,
    user: &User,
    (new, consent_ends_at): (&NewRule, Timestamp),
) -> Result<()> {
    let now = server.clock.now();
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into top_up_rule (account_id, user_id, is_on, threshold_nanos, pack_id, cap_nanos, charges_a_month,
                                      consented_at, consent_ends_at, told_consent_end, updated_at)
             values ($1, $2, 1, $3, $4, $5, $6, $7, $8, 0, $7)
             on conflict (account_id) do update
             set user_id = excluded.user_id, is_on = 1, threshold_nanos = excluded.threshold_nanos,
                 pack_id = excluded.pack_id, cap_nanos = excluded.cap_nanos,
                 charges_a_month = excluded.charges_a_month, consented_at = excluded.consented_at,
                 consent_ends_at = excluded.consent_ends_at, told_consent_end = 0, withdrawn_at = null,
                 updated_at = excluded.updated_at",
        )
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(new.rule.threshold)
        .bind(&new.rule.pack)
        .bind(new.rule.cap)
        .bind(i64::from(new.rule.charges_a_month))
        .bind(now)
        .bind(consent_ends_at)
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Turns the rule off: nothing is charged any more, from the next moment on. A charge that waits for a yes is cancelled;
/// one that was sent may still arrive. Denied with `RoleMayNot`.
pub async fn turn_off(server: &Server, user: &User) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    let mut tx = server.db.begin().await?;
    ledger::watch(&mut tx, &user.account_id, None).await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update top_up_rule set is_on = 0, updated_at = $1 where account_id = $2 and is_on = 1")
            .bind(server.clock.now())
            .bind(&user.account_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await?;
    give_up_recovery(server, &user.account_id).await
}
