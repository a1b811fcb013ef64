//! Owns: asking for a refund: the credit is taken and the row committed before Stripe is asked.
//! Invariant: one press of the button is one refund for each purchase, whatever is pressed or sent twice.

use super::{Line, RefundState, lines};
use crate::account::{Permission, User};
use crate::db::Tx;
use crate::error::Result;
use crate::job::{self, Job, NewJob};
use crate::ledger::{self, ClaimOf, Taking};
use crate::{Server, freeze, on_tx};
use domain::denial::Denial;
use domain::dispute::FreezeCause;
use domain::id::{AccountId, ClaimId, RefundId, RefundRequestId};
use domain::ledger::ClaimKind;
use domain::money::{Cents, Usd};
use uuid::Uuid;

/// Asks for a refund of unused credit, the newest purchase first: `cash` in all, or everything. `shown` is the sum that
/// the user saw; another one is refused. `request_id` was made when the form was rendered, so a second click changes
/// nothing. The credit is taken at once; a job sends the money.
///
/// Denials: `RoleMayNot`, `AccountFrozen` (by us), `NotFound` (the id is somebody else's), `Invalid` (not an id, or more
/// than can go back), `Conflict` (nothing can go back, or it is not what was shown).
pub async fn start(
    server: &Server,
    user: &User,
    request_id: &RefundRequestId,
    cash: Option<Cents>,
    shown: Cents,
) -> Result<()> {
    user.require(Permission::ManageBilling)?;
    check_id(request_id)?;
    check_not_frozen_by_us(server, &user.account_id).await?;

    let mut tx = server.db.begin().await?;
    freeze::lock(&mut tx, &user.account_id).await?;
    if let Some(owner) = load_owner(&mut tx, request_id).await? {
        let not_found = || Denial::NotFound { what: "refund".to_owned() }.into();
        return if owner == user.account_id { Ok(()) } else { Err(not_found()) };
    }
    let sold = ledger::lock_sold(&mut tx, &user.account_id).await?;
    let lines = lines(server, sold, cash)?;
    let total = Cents(lines.iter().map(|line| line.part.cash.0).sum());
    if lines.is_empty() {
        let problem = "There is no unused credit that could be refunded. Nothing was changed.".to_owned();
        return Err(Denial::Conflict { problem }.into());
    }
    if total != shown {
        let now = Usd::from_cents(total).unwrap_or_default();
        let problem =
            format!("What can be refunded has changed: it is {now} now. Nothing was changed. Look at it again.");
        return Err(Denial::Conflict { problem }.into());
    }
    for line in &lines {
        take(&mut tx, server, user, request_id, line).await?;
    }
    tx.commit().await?;
    server.wake_jobs.notify_one();
    Ok(())
}

/// One purchase's part: its row, its claim on the credit, and the job that sends the money.
async fn take(tx: &mut Tx, server: &Server, user: &User, request_id: &RefundRequestId, line: &Line) -> Result<()> {
    let refund_id = RefundId::new(server.clock.new_id());
    on_tx!(&mut *tx, conn => {
        sqlx::query(
            "insert into refund (refund_id, request_id, account_id, user_id, purchase_id, credit_nanos, bonus_nanos,
                                 price_cents, fee_cents, cash_cents, state, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(&refund_id)
        .bind(request_id)
        .bind(&user.account_id)
        .bind(&user.user_id)
        .bind(&line.purchase_id)
        .bind(line.part.credit)
        .bind(line.part.bonus)
        .bind(line.part.price)
        .bind(line.part.fee)
        .bind(line.part.cash)
        .bind(RefundState::Pending.as_str())
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    let of = ClaimOf {
        claim_id: ClaimId::new(refund_id.as_str()),
        kind: ClaimKind::Refund,
        account_id: &user.account_id,
        purchase_id: &line.purchase_id,
        memo: format!("Refund of {} to your card", Usd::from_cents(line.part.cash).unwrap_or_default()),
    };
    ledger::claim(tx, &server.clock, of, Taking::Agreed(&line.part)).await?;
    let unique_key = Some(format!("send_refund:{refund_id}"));
    let job = Job::SendRefund { refund_id };
    job::insert(tx, &server.clock, NewJob { unique_key, ..NewJob::now(job, &server.clock) }).await
}

/// Ids come from a form, so anything may stand there.
fn check_id(request_id: &RefundRequestId) -> Result<(), Denial> {
    let text = request_id.as_str();
    match Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(()),
        Ok(_) | Err(_) => Err(Denial::invalid("request_id", "is not an id of ours", "Reload the page and try again.")),
    }
}

/// A refund to the card that paid is right in a dispute and after a warning, too; what we froze, we look at first.
async fn check_not_frozen_by_us(server: &Server, account_id: &AccountId) -> Result<()> {
    let causes = freeze::list(server, account_id).await?;
    if causes.iter().any(|frozen| frozen.cause == FreezeCause::ByHand) {
        return Err(Denial::AccountFrozen { reason: FreezeCause::ByHand.reason().to_owned() }.into());
    }
    Ok(())
}

async fn load_owner(tx: &mut Tx, request_id: &RefundRequestId) -> Result<Option<AccountId>> {
    Ok(on_tx!(tx, conn => {
        sqlx::query_scalar("select account_id from refund where request_id = $1 limit 1")
            .bind(request_id)
            .fetch_optional(conn)
            .await
    })?)
}
