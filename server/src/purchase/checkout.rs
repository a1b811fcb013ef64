//! Owns: the way to Stripe's page: the pending row, the account's customer at Stripe, the Checkout Session.
//! Does not own: what happens once somebody paid (`complete`).
//! Invariant: the row is committed before Stripe is called, and every call for it carries its id as idempotency key.

use super::complete::{self, Effect};
use super::{Origin, PurchaseRow, PurchaseState};
use crate::Server;
use crate::account::{Permission, User};
use crate::error::{Error, Result};
use crate::stripe::Failure;
use crate::stripe::client::NewCheckout;
use crate::stripe::object::{Checkout, CheckoutState, CustomerId};
use crate::{freeze, on_read, on_tx};
use domain::denial::Denial;
use domain::id::{AccountId, PackId, PurchaseId};
use domain::money::Cents;
use domain::pack::Pack;
use uuid::Uuid;

/// How long Stripe's page can be paid. Stripe allows 30 minutes to 24 hours from the moment of its call, so for 90
/// minutes after a lost answer the same call can be made again.
pub(super) const CHECKOUT_SECONDS: i64 = 2 * 3_600;
/// Purchases that an account may begin in an hour without paying them.
const MOST_UNPAID: i64 = 30;

/// Begins the purchase of a pack and answers with the address to send the browser to: Stripe's page, or our own page
/// of the purchase if it is paid. `purchase_id` was made when the form was rendered, so a second click is harmless: it
/// answers with the same Checkout. Nothing is charged or granted here.
///
/// Denials: `UnknownPack`, `AccountFrozen`, `RoleMayNot`, `NotFound` (the id is somebody else's), `Invalid` (not an id),
/// `Conflict` (the id belongs to another pack, or its Checkout has ended), `TooManyAttempts`, `Upstream`.
pub async fn start(server: &Server, user: &User, pack_id: &PackId, purchase_id: PurchaseId) -> Result<String> {
    start_with(server, user, (pack_id, purchase_id), CardUse::Once).await
}

/// The same, and Stripe keeps the card for charges without its owner, who agreed to that on our page.
pub async fn start_keeping_card(
    server: &Server,
    user: &User,
    pack_id: &PackId,
    purchase_id: PurchaseId,
) -> Result<String> {
    start_with(server, user, (pack_id, purchase_id), CardUse::Again).await
}

/// What the buyer agreed to about the card.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CardUse {
    Once,
    Again,
}

async fn start_with(
    server: &Server,
    user: &User,
    (pack_id, purchase_id): (&PackId, PurchaseId),
    card_use: CardUse,
) -> Result<String> {
    check_may_buy(server, user).await?;
    check_id(&purchase_id)?;

    let row = match load_row(server, &purchase_id).await? {
        Some(row) => row,
        None => {
            let catalogue = server.catalogue.load_full();
            let pack = catalogue.pack(pack_id)?;
            check_unpaid(server, &user.account_id).await?;
            insert_pending(server, user, pack, (&purchase_id, card_use)).await?;
            load_row(server, &purchase_id).await?.ok_or_else(not_found)?
        }
    };
    if row.account_id != user.account_id {
        return Err(not_found());
    }
    if row.origin != Origin::Checkout {
        let problem = "This is an automatic top-up; it is not paid on Stripe's page. Reload Credits.".to_owned();
        return Err(Denial::Conflict { problem }.into());
    }
    if row.purchase.pack_id != *pack_id {
        let problem = "This purchase is for another pack. Reload Credits and choose the pack again.".to_owned();
        return Err(Denial::Conflict { problem }.into());
    }

    match row.purchase.state {
        PurchaseState::Paid | PurchaseState::HeldBack => Ok(our_page(&purchase_id)),
        PurchaseState::Failed | PurchaseState::Expired => Err(ended()),
        PurchaseState::Pending => {
            let customer_id = ensure_customer(server, &row, &user.email).await?;
            let checkout = match open_checkout(server, &row, &customer_id).await {
                Err(Failure::Missing) => return Err(ended()),
                Err(Failure::NoCustomer) => {
                    let customer_id = replace_customer(server, &row, &customer_id, &user.email).await?;
                    open_checkout(server, &row, &customer_id).await?
                }
                other => other?,
            };
            follow(server, &purchase_id, checkout).await
        }
    }
}

/// Where the browser goes, by what Stripe says of the session now.
async fn follow(server: &Server, purchase_id: &PurchaseId, checkout: Checkout) -> Result<String> {
    if let CheckoutState::Open { url } = checkout.state {
        return Ok(url);
    }
    let effect = complete::apply_checkout(server, &checkout).await?;
    match effect {
        Effect::Ended => Err(ended()),
        Effect::Nothing
        | Effect::Granted
        | Effect::AlreadyPaid
        | Effect::HeldBack { .. }
        | Effect::PaidTwice { .. }
        | Effect::UnknownPurchase
        | Effect::NotOurs => Ok(our_page(purchase_id)),
    }
}

/// The purchase's Checkout Session: the one it has, or a new one, which is then kept with it.
pub(super) async fn open_checkout(
    server: &Server,
    row: &PurchaseRow,
    customer_id: &CustomerId,
) -> Result<Checkout, Failure> {
    if let Some(session_id) = &row.stripe_session_id {
        return server.stripe.load_checkout(session_id).await;
    }
    let purchase = &row.purchase;
    let page = &server.config.public_url;
    let product = if purchase.bonus.is_positive() {
        format!("{} of credit and {} bonus", purchase.amount, purchase.bonus)
    } else {
        format!("{} of credit", purchase.amount)
    };
    // Everything here comes from the row, so that a repeated call is the same call.
    let checkout = server
        .stripe
        .create_checkout(NewCheckout {
            purchase_id: &purchase.purchase_id,
            customer_id,
            product,
            price: purchase.price,
            expires_at: purchase.created_at.plus_seconds(CHECKOUT_SECONDS),
            success_url: format!("{page}{}", our_page(&purchase.purchase_id)),
            cancel_url: format!("{page}/credits?cancelled={}", purchase.purchase_id),
            keeps_card: row.keeps_card != 0,
        })
        .await?;
    if let Err(error) = keep_session(server, &purchase.purchase_id, &checkout).await {
        // The buyer can pay all the same: the session names the purchase, and the reconciler asks for it again.
        tracing::error!(%error, purchase_id = %purchase.purchase_id, "a Checkout Session could not be kept");
    }
    Ok(checkout)
}

/// The account's customer at Stripe, made at its first purchase.
pub(super) async fn ensure_customer(server: &Server, row: &PurchaseRow, email: &str) -> Result<CustomerId> {
    match &row.stripe_customer_id {
        Some(customer_id) => Ok(customer_id.clone()),
        None => {
            let key = format!("customer:{}:{}", row.account_id, row.user_id);
            let customer_id = server.stripe.create_customer(&key, &row.account_id, email).await?;
            keep_customer(server, &row.account_id, &customer_id, None).await
        }
    }
}

/// The customer at Stripe of the user's account, made if it has none yet.
pub(crate) async fn ensure_customer_of(server: &Server, user: &User) -> Result<CustomerId> {
    let known: Option<Option<CustomerId>> = on_read!(&server.db, conn => {
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1")
            .bind(&user.account_id)
            .fetch_optional(conn)
            .await
    })?;
    if let Some(customer_id) = known.flatten() {
        return Ok(customer_id);
    }
    let key = format!("customer:{}:{}", user.account_id, user.user_id);
    let customer_id = server.stripe.create_customer(&key, &user.account_id, &user.email).await?;
    keep_customer(server, &user.account_id, &customer_id, None).await
}

/// A new customer for the user's account, whose customer Stripe does not know (any more).
pub(crate) async fn replace_customer_of(server: &Server, user: &User, gone: &CustomerId) -> Result<CustomerId> {
    tracing::warn!(account_id = %user.account_id, customer_id = %gone, "Stripe does not know this customer; a new one is made");
    let key = format!("customer:{}:{}:{gone}", user.account_id, user.user_id);
    let customer_id = server.stripe.create_customer(&key, &user.account_id, &user.email).await?;
    keep_customer(server, &user.account_id, &customer_id, Some(gone)).await
}

/// A new customer for an account whose customer Stripe does not know (any more).
async fn replace_customer(server: &Server, row: &PurchaseRow, gone: &CustomerId, email: &str) -> Result<CustomerId> {
    tracing::warn!(account_id = %row.account_id, customer_id = %gone, "Stripe does not know this customer; a new one is made");
    let key = format!("customer:{}:{}:{gone}", row.account_id, row.user_id);
    let customer_id = server.stripe.create_customer(&key, &row.account_id, email).await?;
    keep_customer(server, &row.account_id, &customer_id, Some(gone)).await
}

async fn check_may_buy(server: &Server, user: &User) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    freeze::check_may_buy(server, &user.account_id).await
}

/// Ids come from a form, so anything may stand there.
fn check_id(purchase_id: &PurchaseId) -> Result<(), Denial> {
    let text = purchase_id.as_str();
    match Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(()),
        Ok(_) | Err(_) => Err(Denial::invalid("purchase_id", "is not an id of ours", "Reload Credits and try again.")),
    }
}

async fn check_unpaid(server: &Server, account_id: &AccountId) -> Result<()> {
    let unpaid: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select count(*) from purchase where account_id = $1 and state = 'pending' and created_at > $2",
        )
        .bind(account_id)
        .bind(server.clock.now().plus_seconds(-3_600))
        .fetch_one(conn)
        .await
    })?;
    if unpaid >= MOST_UNPAID {
        return Err(Denial::TooManyAttempts { retry_after_seconds: 3_600 }.into());
    }
    Ok(())
}

/// Commits the purchase as pending, at the price of now; the same id again changes nothing.
async fn insert_pending(
    server: &Server,
    user: &User,
    pack: &Pack,
    (purchase_id, card_use): (&PurchaseId, CardUse),
) -> Result<()> {
    let Some(Cents(price_cents)) = pack.price_cents() else {
        return Err(Error::Internal(format!("pack {} has a price that is not whole cents", pack.id)));
    };
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(
            "insert into purchase (purchase_id, account_id, user_id, pack_id, amount_nanos, bonus_nanos, price_cents,
                                   currency, state, keeps_card, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, 'usd', 'pending', $8, $9)
             on conflict (purchase_id) do nothing",
        )
        .bind(purchase_id)
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(&pack.id)
        .bind(pack.amount)
        .bind(pack.bonus)
        .bind(price_cents)
        .bind(i64::from(card_use == CardUse::Again))
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    tx.commit().await
}

async fn load_row(server: &Server, purchase_id: &PurchaseId) -> Result<Option<PurchaseRow>> {
    let row = on_read!(&server.db, conn => {
        sqlx::query_as(select_purchase!("where p.purchase_id = $1"))
        .bind(purchase_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row)
}

async fn keep_session(server: &Server, purchase_id: &PurchaseId, checkout: &Checkout) -> Result<()> {
    let mut tx = server.db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query("update purchase set stripe_session_id = $1 where purchase_id = $2 and stripe_session_id is null")
            .bind(&checkout.session_id)
            .bind(purchase_id)
            .execute(conn)
            .await
            .map(drop)
    })?;
    tx.commit().await
}

/// Keeps the customer with the account unless another one is there already; answers with the one that is kept.
async fn keep_customer(
    server: &Server,
    account_id: &AccountId,
    customer_id: &CustomerId,
    instead_of: Option<&CustomerId>,
) -> Result<CustomerId> {
    let mut tx = server.db.begin().await?;
    let kept: Option<CustomerId> = on_tx!(&mut tx, conn => {
        sqlx::query(
            "update account
             set    stripe_customer_id = $1
             where  account_id = $2 and (stripe_customer_id is null or stripe_customer_id = $3)",
        )
        .bind(customer_id)
        .bind(account_id)
        .bind(instead_of)
        .execute(&mut *conn)
        .await?;
        sqlx::query_scalar("select stripe_customer_id from account where account_id = $1")
            .bind(account_id)
            .fetch_one(conn)
            .await
    })?;
    tx.commit().await?;
    Ok(kept.unwrap_or_else(|| customer_id.clone()))
}

/// Our page of the purchase, a path.
fn our_page(purchase_id: &PurchaseId) -> String {
    format!("/credits/bought/{purchase_id}")
}

fn not_found() -> Error {
    Denial::NotFound { what: "purchase".to_owned() }.into()
}

fn ended() -> Error {
    let problem =
        "This checkout has ended and nothing was charged. Reload Credits and choose the pack again.".to_owned();
    Denial::Conflict { problem }.into()
}
