//! Owns: making a top-up: decide under the lock, write it down, commit, then charge.
//! Does not own: how it ends (`settle`), or what was left in the dark (`sweep`).
//! Invariant: the charge is written down and committed before Stripe hears of it.

use super::facts::Known;
use super::settle::{self, Refusal};
use super::{RuleRow, TopUp};
use crate::db::{Tx, breaks_unique};
use crate::error::{Error, Result};
use crate::job::{self, NewJob};
use crate::payment_method::KeptCard;
use crate::stripe::Failure;
use crate::stripe::card::NewCharge;
use crate::stripe::object::{CustomerId, PaymentMethodId, StripeCard};
use crate::{Server, ledger, on_read, on_tx};
use domain::id::{AccountId, PurchaseId};
use domain::money::{Cents, Usd};
use domain::pack::Pack;
use domain::time::Timestamp;
use domain::top_up::{Reason, Trigger, Verdict};

/// A charge that was written down and is to be sent.
pub(super) struct Begun {
    pub top_up_id: PurchaseId,
    pub customer_id: CustomerId,
    pub payment_method_id: PaymentMethodId,
    pub price: Usd,
}

/// Looks whether a top-up is due, and makes it. Any number of callers on any number of nodes make one. A charge whose
/// answer does not come is left to the sweep. `refused` is what a run needed that was refused, else zero.
pub async fn run(server: &Server, account_id: &AccountId, trigger: Trigger, refused: Usd) -> Result<()> {
    let Some(begun) = begin(server, account_id, trigger, refused).await? else { return Ok(()) };
    charge(server, &begun).await?;
    // Captures are told again what to look for; who asked meanwhile was not heard, as this job held their key.
    while let Some(begun) = begin(server, account_id, Trigger::Sweep, Usd::ZERO).await? {
        charge(server, &begun).await?;
    }
    Ok(())
}

async fn begin(server: &Server, account_id: &AccountId, trigger: Trigger, refused: Usd) -> Result<Option<Begun>> {
    let mut tx = server.db.begin().await?;
    let known = Known::lock(&mut tx, server, account_id).await?;

    let catalogue = server.catalogue.load_full();
    let verdict = known.verdict(&catalogue, server.clock.now(), refused);
    let (Some(rule), price) = (&known.rule, price_of(verdict)) else { return Ok(None) };

    match (verdict, &known.card, price) {
        (Verdict::Due { .. }, Some(card), Some(price)) => {
            let pack = catalogue.pack(&rule.pack_id)?;
            let Some(customer_id) = load_customer(&mut tx, account_id).await? else { return Ok(None) };
            let Some(top_up_id) = insert(&mut tx, server, (account_id, rule, card), pack, trigger).await? else {
                return Ok(None);
            };
            tx.commit().await?;
            let payment_method_id = card.payment_method_id.clone();
            Ok(Some(Begun { top_up_id, customer_id, payment_method_id, price }))
        }
        (Verdict::Enough, ..) => {
            ledger::watch(&mut tx, account_id, Some(rule.threshold)).await?;
            tx.commit().await?;
            Ok(None)
        }
        (Verdict::Wait { until, .. }, ..) => {
            let later = NewJob {
                unique_key: Some(format!("top_up_later:{account_id}")),
                ..ledger::top_up_job(account_id, trigger, refused, until)
            };
            job::insert(&mut tx, &server.clock, later).await?;
            tx.commit().await?;
            Ok(None)
        }
        (Verdict::Off | Verdict::Paused { .. } | Verdict::Open | Verdict::Due { .. }, ..) => {
            tx.commit().await?;
            Ok(None)
        }
    }
}

const fn price_of(verdict: Verdict) -> Option<Usd> {
    match verdict {
        Verdict::Due { price } => Some(price),
        Verdict::Off | Verdict::Paused { .. } | Verdict::Enough | Verdict::Open | Verdict::Wait { .. } => None,
    }
}

async fn load_customer(tx: &mut Tx, account_id: &AccountId) -> Result<Option<CustomerId>> {
    let customer: Option<Option<CustomerId>> = on_tx!(tx, conn => {
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    Ok(customer.flatten())
}

/// Writes the purchase and its charge; `None` if one is under way, which the index says.
async fn insert(
    tx: &mut Tx,
    server: &Server,
    (account_id, rule, card): (&AccountId, &RuleRow, &KeptCard),
    pack: &Pack,
    trigger: Trigger,
) -> Result<Option<PurchaseId>> {
    let Some(Cents(price_cents)) = pack.price_cents() else {
        return Err(Error::Internal(format!("pack {} has a price that is not whole cents", pack.id)));
    };
    let (top_up_id, now) = (PurchaseId::new(server.clock.new_id()), server.clock.now());
    let inserted = on_tx!(tx, conn => {
        sqlx::query(
            "insert into purchase (purchase_id, account_id, user_id, pack_id, amount_nanos, bonus_nanos, price_cents,
                                   currency, state, origin, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, 'usd', 'pending', 'auto_top_up', $8)",
        )
        .bind(&top_up_id)
        .bind(account_id)
        .bind(&rule.user_id)
        .bind(&pack.id)
        .bind(pack.amount)
        .bind(pack.bonus)
        .bind(price_cents)
        .bind(now)
        .execute(&mut *conn)
        .await?;
        sqlx::query(
            "insert into top_up (top_up_id, account_id, cause, state, price_nanos, stripe_payment_method_id, card, last4,
                                 sent_at, created_at)
             values ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $8)",
        )
        .bind(&top_up_id)
        .bind(account_id)
        .bind(trigger.as_str())
        .bind(pack.price)
        .bind(&card.payment_method_id)
        .bind(&card.card)
        .bind(&card.last4)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
    });
    match inserted {
        Ok(()) => Ok(Some(top_up_id)),
        Err(error) if breaks_unique(&error, "top_up_one_open", "top_up.account_id") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends the charge and acts on the answer. The same charge again is the same PaymentIntent.
pub(super) async fn charge(server: &Server, begun: &Begun) -> Result<()> {
    let Some(price) = begun.price.to_cents_exact() else {
        return Err(Error::Internal(format!("top-up {} has a price that is not whole cents", begun.top_up_id)));
    };
    let new = NewCharge {
        top_up_id: &begun.top_up_id,
        customer_id: &begun.customer_id,
        payment_method_id: &begun.payment_method_id,
        price,
        description: "Auto-top-up of Tokenbank credit".to_owned(),
        return_url: format!("{}/credits/auto-top-up?confirmed={}", server.config.public_url, begun.top_up_id),
    };
    match server.stripe.charge_off_session(new).await {
        Ok(payment) => settle::settle(server, &begun.top_up_id, &payment).await.map(drop),
        Err(Failure::NoAnswer(problem)) => {
            // Unknown: it may have been charged. The sweep asks; nothing else is charged meanwhile.
            tracing::warn!(top_up_id = %begun.top_up_id, problem, "nobody knows yet how a top-up ended");
            Ok(())
        }
        Err(failure @ (Failure::Declined(_) | Failure::Refused(_) | Failure::Missing | Failure::NoCustomer)) => {
            refused_without_payment(server, begun, &failure).await
        }
    }
}

/// Stripe would not even try. That is certain only once no payment of this id is there: an earlier call may have made it.
async fn refused_without_payment(server: &Server, begun: &Begun, failure: &Failure) -> Result<()> {
    let since = load_created(server, &begun.top_up_id).await?;
    let found = match server.stripe.find_payment(&begun.customer_id, &begun.top_up_id, since).await {
        Err(Failure::NoCustomer | Failure::Missing) => None,
        other => other?,
    };
    if let Some(payment) = found {
        return settle::settle(server, &begun.top_up_id, &payment).await.map(drop);
    }
    let card: Option<StripeCard> = match failure {
        Failure::NoCustomer => None,
        Failure::Declined(_) | Failure::Refused(_) | Failure::Missing | Failure::NoAnswer(_) => {
            server.stripe.load_card(&begun.customer_id, &begun.payment_method_id).await?
        }
    };
    let is_kept = card.is_some_and(|card| card.is_attached);
    let reason = if is_kept { Reason::ChargeFailed } else { Reason::MissingPaymentMethod };
    let problem = if is_kept { failure.to_string() } else { "The card was removed at Stripe.".to_owned() };
    settle::refuse(server, &begun.top_up_id, Refusal { reason, decline_code: None, problem, payment: None }).await?;
    Ok(())
}

async fn load_created(server: &Server, top_up_id: &PurchaseId) -> Result<Timestamp> {
    let created = on_read!(&server.db, conn => {
        sqlx::query_scalar("select created_at from top_up where top_up_id = $1").bind(top_up_id).fetch_one(conn).await
    })?;
    Ok(created)
}

/// What is needed to send a charge again; `None` if the account has no customer at Stripe any more.
pub(super) async fn begun_before(server: &Server, top_up: &TopUp) -> Result<Option<Begun>> {
    let customer: Option<Option<CustomerId>> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1")
            .bind(&top_up.account_id)
            .fetch_optional(conn)
            .await
    })?;
    Ok(customer.flatten().map(|customer_id| Begun {
        top_up_id: top_up.top_up_id.clone(),
        customer_id,
        payment_method_id: top_up.payment_method_id.clone(),
        price: top_up.price,
    }))
}
