//! Owns: the one card of an account that may be charged without its owner: leaving it, knowing it, letting it go.
//! Does not own: the charges (`top_up`), or the card that pays a plan (Stripe's, for the subscription alone).
//! Invariant: a card is kept only by consent, given on our page just before Stripe's; taking it back detaches it at Stripe.

use crate::account::User;
use crate::db::Tx;
use crate::error::Result;
use crate::job::{self, Job, NewJob};
use crate::purchase::{ensure_customer_of, replace_customer_of};
use crate::stripe::Failure;
use crate::stripe::card::NewCardSetup;
use crate::stripe::object::{
    CardSetup, Checkout, CheckoutState, CustomerId, PaymentIntentId, PaymentMethodId, SessionId, StripeCard,
};
use crate::{Server, on_read, on_tx, top_up};
use domain::denial::Denial;
use domain::id::{AccountId, CardSetupId, PurchaseId, UserId};
use domain::member::Permission;
use domain::time::Timestamp;
use domain::top_up::Trigger;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long Stripe's page for leaving a card stays open.
const SETUP_SECONDS: i64 = 2 * 3_600;
/// How long a webhook may take before Stripe is asked.
const PATIENCE_SECONDS: i64 = 120;

/// A card that may be charged without its owner being there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct KeptCard {
    #[sqlx(rename = "stripe_payment_method_id")]
    pub payment_method_id: PaymentMethodId,
    /// The number's fingerprint and the expiry: the same for the same card, another one when it was renewed.
    pub card: String,
    pub brand: String,
    pub last4: String,
    pub exp_month: i64,
    pub exp_year: i64,
    pub kept_at: Timestamp,
}

/// The account's card, if it left one.
pub async fn load(server: &Server, account_id: &AccountId) -> Result<Option<KeptCard>> {
    let card = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select stripe_payment_method_id, card, brand, last4, exp_month, exp_year, kept_at
             from   kept_card
             where  account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(card)
}

/// The same within a transaction.
pub(crate) async fn load_in(tx: &mut Tx, account_id: &AccountId) -> Result<Option<KeptCard>> {
    let card = on_tx!(tx, conn => {
        sqlx::query_as(
            "select stripe_payment_method_id, card, brand, last4, exp_month, exp_year, kept_at
             from   kept_card
             where  account_id = $1",
        )
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(card)
}

/// Leads to Stripe's page on which a card is left without paying; the address. The id was made when the form was
/// rendered, so a second click is the same page. Denials: `RoleMayNot`, `Invalid`, `Conflict`, `Upstream`.
pub async fn begin_setup(server: &Server, user: &User, card_setup_id: &CardSetupId) -> Result<String> {
    user.require(Permission::ManageBilling)?;
    if Uuid::try_parse(card_setup_id.as_str()).is_err() {
        return Err(Denial::invalid("card_setup_id", "is not an id of ours", "Reload the page and try again.").into());
    }
    let created_at = insert_setup(server, user, card_setup_id).await?;
    let customer_id = ensure_customer_of(server, user).await?;
    let checkout = match open_setup(server, user, (card_setup_id, created_at), &customer_id).await {
        Err(Failure::NoCustomer) => {
            let customer_id = replace_customer_of(server, user, &customer_id).await?;
            open_setup(server, user, (card_setup_id, created_at), &customer_id).await?
        }
        other => other?,
    };
    keep_session(server, card_setup_id, &checkout.session_id).await?;
    match checkout.state {
        CheckoutState::Open { url } => Ok(url),
        CheckoutState::Complete | CheckoutState::Expired => {
            let problem = "This page for the card has ended. Reload Auto-top-up and begin again.".to_owned();
            Err(Denial::Conflict { problem }.into())
        }
    }
}

async fn open_setup(
    server: &Server,
    user: &User,
    (card_setup_id, created_at): (&CardSetupId, Timestamp),
    customer_id: &CustomerId,
) -> Result<Checkout, Failure> {
    let page = format!("{}/credits/auto-top-up", server.config.public_url);
    let new = NewCardSetup {
        card_setup_id,
        account_id: &user.account_id,
        customer_id,
        expires_at: created_at.plus_seconds(SETUP_SECONDS),
        success_url: format!("{page}?card={card_setup_id}"),
        cancel_url: format!("{page}?cancelled={card_setup_id}"),
    };
    server.stripe.create_card_setup(new).await
}

/// When it was begun; the same id of another account is denied.
async fn insert_setup(server: &Server, user: &User, card_setup_id: &CardSetupId) -> Result<Timestamp> {
    let mut tx = server.db.begin().await?;
    let owner: Option<(AccountId, Timestamp)> = on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into card_setup (card_setup_id, account_id, user_id, state, created_at)
             values ($1, $2, $3, 'pending', $4)
             on conflict (card_setup_id) do nothing",
        )
        .bind(card_setup_id)
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(server.clock.now())
        .execute(&mut *conn)
        .await?;
        sqlx::query_as("select account_id, created_at from card_setup where card_setup_id = $1")
            .bind(card_setup_id)
            .fetch_optional(conn)
            .await
    })?;
    tx.commit().await?;
    match owner {
        Some((account_id, created_at)) if account_id == user.account_id => Ok(created_at),
        Some(_) | None => Err(Denial::NotFound { what: "page for a card".to_owned() }.into()),
    }
}

async fn keep_session(server: &Server, card_setup_id: &CardSetupId, session_id: &SessionId) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "update card_setup set stripe_session_id = $1 where card_setup_id = $2 and stripe_session_id is null",
        )
        .bind(session_id)
        .bind(card_setup_id)
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

/// Asks Stripe what became of the account's page for a card, for somebody who has just come back from it; a card that
/// was left is kept. Coming back proves nothing: what Stripe answers counts.
pub async fn finish_setup(server: &Server, account_id: &AccountId, card_setup_id: &CardSetupId) -> Result<()> {
    let session: Option<Option<SessionId>> = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select stripe_session_id
             from   card_setup
             where  card_setup_id = $1 and account_id = $2 and state = 'pending'",
        )
        .bind(card_setup_id)
        .bind(account_id)
        .fetch_optional(conn)
        .await
    })?;
    match session.flatten() {
        Some(session_id) => apply_setup(server, &session_id).await.map(drop),
        None => Ok(()),
    }
}

/// Keeps the card that was left on a page of ours, once, whichever event or sweep says so; whether it is one of ours.
pub(crate) async fn apply_setup(server: &Server, session_id: &SessionId) -> Result<bool> {
    let setup = server.stripe.load_card_setup(session_id).await?;
    let Some(card_setup_id) = setup.card_setup_id.clone() else { return Ok(false) };
    match &setup.state {
        CheckoutState::Open { .. } => {}
        CheckoutState::Expired => {
            let mut tx = server.db.begin().await?;
            end_setup(&mut tx, server, &card_setup_id, "expired").await?;
            tx.commit().await?;
        }
        CheckoutState::Complete => complete_setup(server, &card_setup_id, setup).await?,
    }
    Ok(true)
}

async fn complete_setup(server: &Server, card_setup_id: &CardSetupId, setup: CardSetup) -> Result<()> {
    let mut tx = server.db.begin().await?;
    // Only who ends it keeps the card, so a late repetition does not bring back one that was removed.
    let begun = end_setup(&mut tx, server, card_setup_id, "done").await?;
    if let (Some((account_id, user_id)), Some(card)) = (begun, setup.card.filter(|card| card.is_attached)) {
        if setup.account_id.as_ref() != Some(&account_id) {
            tracing::error!(%card_setup_id, "a card was left for another account than the one that asked");
            return Ok(());
        }
        keep(&mut tx, server, (&account_id, &user_id), &card).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Ends a setup that was pending; who had begun it.
async fn end_setup(
    tx: &mut Tx,
    server: &Server,
    card_setup_id: &CardSetupId,
    state: &str,
) -> Result<Option<(AccountId, UserId)>> {
    let begun = on_tx!(tx, conn => {
        sqlx::query_as(
            "update    card_setup
             set       state = $1, ended_at = $2
             where     card_setup_id = $3 and state = 'pending'
             returning account_id, user_id",
        )
        .bind(state)
        .bind(server.clock.now())
        .bind(card_setup_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(begun)
}

/// Keeps the card that a purchase was paid with, whose buyer agreed to that. A job does it, after the money came.
pub(crate) async fn keep_from_purchase(server: &Server, purchase_id: &PurchaseId) -> Result<()> {
    let paid: Option<(AccountId, UserId, Option<PaymentIntentId>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select account_id, user_id, stripe_payment_intent_id
             from   purchase
             where  purchase_id = $1 and state = 'paid' and keeps_card = 1",
        )
        .bind(purchase_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((account_id, user_id, Some(payment))) = paid else { return Ok(()) };
    let Some(card) = server.stripe.load_card_of_payment(&payment).await?.filter(|card| card.is_attached) else {
        return Ok(());
    };
    let mut tx = server.db.begin().await?;
    keep(&mut tx, server, (&account_id, &user_id), &card).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// The card takes the place of the one before, which Stripe is told to forget; and it may be time for a top-up.
async fn keep(
    tx: &mut Tx,
    server: &Server,
    (account_id, user_id): (&AccountId, &UserId),
    card: &StripeCard,
) -> Result<()> {
    let before = load_in(tx, account_id).await?;
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into kept_card (account_id, user_id, stripe_payment_method_id, card, brand, last4, exp_month,
                                    exp_year, kept_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (account_id) do update
             set user_id = excluded.user_id, stripe_payment_method_id = excluded.stripe_payment_method_id,
                 card = excluded.card, brand = excluded.brand, last4 = excluded.last4,
                 exp_month = excluded.exp_month, exp_year = excluded.exp_year, kept_at = excluded.kept_at",
        )
        .bind(account_id)
        .bind(user_id)
        .bind(&card.payment_method_id)
        .bind(name_of(card))
        .bind(&card.brand)
        .bind(&card.last4)
        .bind(card.exp_month)
        .bind(card.exp_year)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    if let Some(before) = before.filter(|before| before.payment_method_id != card.payment_method_id) {
        detach_later(tx, server, before.payment_method_id).await?;
    }
    top_up::look_again(tx, server, account_id, Trigger::Enabled).await
}

/// What suspensions are tied to.
fn name_of(card: &StripeCard) -> String {
    format!("{}:{}-{:02}", card.fingerprint, card.exp_year, card.exp_month)
}

async fn detach_later(tx: &mut Tx, server: &Server, payment_method_id: PaymentMethodId) -> Result<()> {
    let detach = Job::DetachCard { payment_method_id };
    job::insert(tx, &server.clock, NewJob::now(detach, &server.clock)).await
}

/// Takes the consent back: the card is removed here and at Stripe, and an automatic top-up is paused. Denied with
/// `Conflict` while a charge with it is under way, and with `RoleMayNot`. Without a card there is nothing to do.
pub async fn remove(server: &Server, user: &User) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    top_up::give_up_recovery(server, &user.account_id).await?;
    let mut tx = server.db.begin().await?;
    top_up::refuse_while_open(&mut tx, &user.account_id).await?;
    forget(&mut tx, server, &user.account_id).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Removes the account's card within the caller's transaction, and has Stripe forget it.
pub(crate) async fn forget(tx: &mut Tx, server: &Server, account_id: &AccountId) -> Result<()> {
    let gone: Option<PaymentMethodId> = on_tx!(&mut *tx, conn => {
        sqlx::query_scalar("delete from kept_card where account_id = $1 returning stripe_payment_method_id")
            .bind(account_id)
            .fetch_optional(conn)
            .await
    })?;
    match gone {
        Some(payment_method_id) => detach_later(tx, server, payment_method_id).await,
        None => Ok(()),
    }
}

/// Something happened to a card at Stripe: a kept one is read again, and forgotten if it is not its customer's any more.
pub(crate) async fn refresh(server: &Server, payment_method_id: &PaymentMethodId) -> Result<()> {
    let known: Option<(AccountId, Option<CustomerId>)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select k.account_id, a.stripe_customer_id
             from   kept_card k
             join   account a on a.account_id = k.account_id
             where  k.stripe_payment_method_id = $1",
        )
        .bind(payment_method_id)
        .fetch_optional(conn)
        .await
    })?;
    let Some((account_id, Some(customer_id))) = known else { return Ok(()) };
    let card = server.stripe.load_card(&customer_id, payment_method_id).await?;

    let mut tx = server.db.begin().await?;
    match card.filter(|card| card.is_attached) {
        Some(card) => {
            on_tx!(&mut tx, conn => {
                sqlx::query(
                    "update kept_card
                     set    card = $1, last4 = $2, exp_month = $3, exp_year = $4
                     where  account_id = $5 and stripe_payment_method_id = $6",
                )
                .bind(name_of(&card))
                .bind(&card.last4)
                .bind(card.exp_month)
                .bind(card.exp_year)
                .bind(&account_id)
                .bind(payment_method_id)
                .execute(conn)
                .await
                .map(drop)
            })?;
        }
        None => {
            on_tx!(&mut tx, conn => {
                sqlx::query("delete from kept_card where account_id = $1 and stripe_payment_method_id = $2")
                    .bind(&account_id)
                    .bind(payment_method_id)
                    .execute(conn)
                    .await
                    .map(drop)
            })?;
        }
    }
    top_up::look_again(&mut tx, server, &account_id, Trigger::Sweep).await?;
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// Asks Stripe about pages for cards whose news never came; how many were looked at.
pub(crate) async fn reconcile(server: &Server) -> Result<usize> {
    let now = server.clock.now();
    let waiting: Vec<(CardSetupId, Option<SessionId>, Timestamp)> = on_read!(&server.db, conn => {
        sqlx::query_as(
            "select   card_setup_id, stripe_session_id, created_at
             from     card_setup
             where    state = 'pending' and created_at < $1
             order by created_at
             limit    100",
        )
        .bind(now.plus_seconds(-PATIENCE_SECONDS))
        .fetch_all(conn)
        .await
    })?;
    for (card_setup_id, session_id, created_at) in &waiting {
        let is_over = now > created_at.plus_seconds(SETUP_SECONDS);
        let outcome = match session_id {
            Some(session_id) => apply_setup(server, session_id).await.map(drop),
            // Nobody has the address of its page.
            None if is_over => {
                let mut tx = server.db.begin().await?;
                end_setup(&mut tx, server, card_setup_id, "expired").await?;
                tx.commit().await
            }
            None => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, %card_setup_id, "a page for a card could not be looked at; the next sweep tries again");
        }
    }
    Ok(waiting.len())
}
