//! Owns: taking credit back for refunds and disputes inside the transaction of the fact, the rows of `claim`, and paying
//! what is owed from credit that comes later.
//! Does not own: what goes back of a purchase (`domain::refund`), or whether it did (`refund`, `dispute`).
//! Invariant: a claim is decided under the lock of its account's balance, and all claims of a purchase together take no
//! more than the purchase gave.

use super::batch::Batch;
use super::load;
use crate::clock::Clock;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::stripe::object::PaymentIntentId;
use crate::{Server, on_read, on_tx};
use domain::id::{AccountId, ClaimId, LotId, PurchaseId};
use domain::ledger::{Claim, ClaimKind, ClaimRecord, Command, Shortfall};
use domain::money::{Cents, Usd};
use domain::refund::{Part, Sold};
use domain::time::Timestamp;

/// A paid purchase with what is left of it.
#[derive(Clone, Debug)]
pub struct SoldPurchase {
    pub purchase_id: PurchaseId,
    pub sold: Sold,
    pub bought_at: Timestamp,
    pub payment_intent_id: Option<PaymentIntentId>,
    /// Where its credit and its bonus are.
    lots: Vec<LotId>,
}

/// A refund or dispute, and what it is said to have taken of its purchase.
#[derive(Clone, Copy, Debug)]
pub enum Taking<'a> {
    /// Exactly this, with its owner's consent; denied with `Conflict` when it is not all there (any more).
    Agreed(&'a Part),
    /// Exactly this; what is not there is owed. Nothing, if the refund failed.
    Exactly(Option<&'a Part>),
    /// Whatever this part of the price paid for, as far as other claims left it; what is not there is owed.
    PaidBy(Cents),
}

/// Says which claim it is, for the account's statement too.
#[derive(Clone, Debug)]
pub struct ClaimOf<'a> {
    pub claim_id: ClaimId,
    pub kind: ClaimKind,
    pub account_id: &'a AccountId,
    pub purchase_id: &'a PurchaseId,
    pub memo: String,
}

/// What a claim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Whether it takes more or less than before.
    pub changed: bool,
    /// What the account owes now, for all its claims.
    pub owed: Usd,
}

/// Brings a claim to what it takes in all now, within the caller's transaction. The same again changes nothing.
pub async fn claim(tx: &mut Tx, clock: &Clock, of: ClaimOf<'_>, taking: Taking<'_>) -> Result<Claimed> {
    let ClaimOf { claim_id, kind, account_id, purchase_id, memo } = of;
    let mut batch = Batch::for_accounts(tx, clock, &[account_id.to_string()]).await?;
    let Some(purchase) = load_sold(tx, purchase_id).await? else {
        return Err(Error::Internal(format!(
            "purchase {purchase_id} is not paid, so nothing can be taken back for it"
        )));
    };
    let claims = list_claims(tx, purchase_id).await?;
    let known = claims.iter().find(|record| record.claim_id == claim_id).cloned();

    let (credit, bonus, cash, shortfall) = match taking {
        Taking::Agreed(part) => (part.credit, part.bonus, part.cash, Shortfall::Refused),
        Taking::Exactly(Some(part)) => (part.credit, part.bonus, part.cash, Shortfall::Owed),
        Taking::Exactly(None) => (Usd::ZERO, Usd::ZERO, Cents(0), Shortfall::Owed),
        Taking::PaidBy(cents) => {
            let others = claims.iter().filter(|record| record.claim_id != claim_id);
            let (credit, bonus) = others.fold((purchase.sold.amount, purchase.sold.bonus), |(credit, bonus), other| {
                (credit.saturating_sub(other.credit), bonus.saturating_sub(other.bonus))
            });
            let claimed = purchase.sold.claimed(cents, (credit, bonus));
            let (credit, bonus) = claimed.ok_or_else(|| out_of_range(purchase_id))?;
            (credit, bonus, cents, Shortfall::Owed)
        }
    };
    let cash = Usd::from_cents(cash).ok_or_else(|| out_of_range(purchase_id))?;

    // The purchase's own lots, and those that credit may go back to.
    let taken = known.iter().flat_map(|record| record.taken.iter().map(|(lot_id, _)| lot_id.clone()));
    let lots = load::list_lots_by_id(tx, taken.chain(purchase.lots.iter().cloned()).collect()).await?;
    batch.know(account_id, lots, known.into_iter().collect());
    let own = purchase.lots;
    let command = Command::Claim(Claim { claim_id, kind, credit, bonus, cash, own, shortfall });
    let decision = batch.decide(account_id, &command, &memo)?;
    let claimed =
        Claimed { changed: !decision.repeated, owed: decision.balance.receivable.checked_neg().unwrap_or(Usd::ZERO) };
    if let Some(record) = decision.claim.filter(|_| !decision.repeated) {
        batch.into_writes()?.write(tx, clock).await?;
        write(tx, clock, (account_id, purchase_id), &record).await?;
    }
    Ok(claimed)
}

/// Looks again at what refunds at Stripe and disputes take of a purchase: where one gave back, another may take what it
/// could not before. Within the caller's transaction.
pub async fn reclaim(tx: &mut Tx, clock: &Clock, account_id: &AccountId, purchase_id: &PurchaseId) -> Result<()> {
    load::lock_accounts(tx, &[account_id.to_string()]).await?;
    for record in list_claims(tx, purchase_id).await? {
        let memo = match record.kind {
            ClaimKind::Refund => continue,
            ClaimKind::StripeRefund => "Credit taken back for a payment that was refunded at Stripe",
            ClaimKind::Dispute => "Credit taken back for a disputed payment",
        };
        let (claim_id, kind) = (record.claim_id, record.kind);
        let of = ClaimOf { claim_id, kind, account_id, purchase_id, memo: memo.to_owned() };
        claim(tx, clock, of, Taking::PaidBy(record.cash.to_cents_half_up())).await?;
    }
    Ok(())
}

/// Pays what the account owes from the credit it has now, oldest claim first, within the caller's transaction. What it
/// still owes.
pub async fn settle(tx: &mut Tx, clock: &Clock, account_id: &AccountId) -> Result<Usd> {
    let mut batch = Batch::for_accounts(tx, clock, &[account_id.to_string()]).await?;
    let mut owed = batch.owed(account_id);
    if owed.is_zero() {
        return Ok(owed);
    }
    let open = list_owed(tx, account_id).await?;
    batch.know(account_id, Vec::new(), open.iter().map(|(_, record)| record.clone()).collect());
    let mut changed = Vec::new();
    for (purchase_id, record) in open {
        let command = Command::Settle { claim_id: record.claim_id };
        let decision = batch.decide(account_id, &command, "Paid what was owed for money that went back")?;
        owed = decision.balance.receivable.checked_neg().unwrap_or(Usd::ZERO);
        if let Some(record) = decision.claim.filter(|_| !decision.repeated) {
            changed.push((purchase_id, record));
        }
    }
    if changed.is_empty() {
        return Ok(owed);
    }
    batch.into_writes()?.write(tx, clock).await?;
    for (purchase_id, record) in &changed {
        write(tx, clock, (account_id, purchase_id), record).await?;
    }
    Ok(owed)
}

/// Accounts that owe something and have credit that could pay it: a run that held it has ended.
pub async fn list_to_settle(server: &Server) -> Result<Vec<AccountId>> {
    Ok(on_read!(&server.db, conn => {
        sqlx::query_scalar(
            "select account_id
               from balance
              where receivable_nanos < 0 and paid_nanos + bonus_nanos > 0
              order by account_id
              limit 200",
        )
        .fetch_all(conn)
        .await
    })?)
}

/// The account's paid purchases of which something is left and nothing is disputed, newest first, as they are now.
pub async fn list_sold(server: &Server, account_id: &AccountId) -> Result<Vec<SoldPurchase>> {
    let rows: Vec<SoldRow> =
        on_read!(&server.db, conn => sqlx::query_as(SOLD_LEFT).bind(account_id).fetch_all(conn).await)?;
    Ok(rows.into_iter().map(SoldRow::into_sold).collect())
}

/// Like [`list_sold`], with the account's balance locked until the transaction ends.
pub async fn lock_sold(tx: &mut Tx, account_id: &AccountId) -> Result<Vec<SoldPurchase>> {
    load::lock_accounts(tx, &[account_id.to_string()]).await?;
    let rows: Vec<SoldRow> = on_tx!(tx, conn => sqlx::query_as(SOLD_LEFT).bind(account_id).fetch_all(conn).await)?;
    Ok(rows.into_iter().map(SoldRow::into_sold).collect())
}

#[derive(sqlx::FromRow)]
struct SoldRow {
    purchase_id: PurchaseId,
    amount_nanos: Usd,
    bonus_nanos: Usd,
    price_cents: Cents,
    payment_intent_id: Option<PaymentIntentId>,
    lot_id: LotId,
    amount_left: Usd,
    bought_at: Timestamp,
    bonus_lot_id: Option<LotId>,
    bonus_left: Option<Usd>,
    claimed_amount: Usd,
    claimed_bonus: Usd,
    back_nanos: Usd,
}

impl SoldRow {
    fn into_sold(self) -> SoldPurchase {
        let sold = Sold {
            amount: self.amount_nanos,
            bonus: self.bonus_nanos,
            price: self.price_cents,
            amount_left: self.amount_left,
            bonus_left: self.bonus_left.unwrap_or_default(),
            claimed_amount: self.claimed_amount,
            claimed_bonus: self.claimed_bonus,
            back: self.back_nanos.to_cents_half_up(),
        };
        SoldPurchase {
            purchase_id: self.purchase_id,
            sold,
            bought_at: self.bought_at,
            payment_intent_id: self.payment_intent_id,
            lots: std::iter::once(self.lot_id).chain(self.bonus_lot_id).collect(),
        }
    }
}

const SOLD_LEFT: &str = "
    select u.purchase_id, u.amount_nanos, u.bonus_nanos, u.price_cents, u.stripe_payment_intent_id as payment_intent_id,
           l.lot_id, l.remaining_nanos as amount_left, l.created_at as bought_at, b.lot_id as bonus_lot_id,
           b.remaining_nanos as bonus_left,
           cast(coalesce(c.credit, 0) as bigint) as claimed_amount, cast(coalesce(c.bonus, 0) as bigint) as claimed_bonus,
           cast(coalesce(c.cash, 0) as bigint) as back_nanos
      from purchase u
      join posting g on g.idempotency_key = 'grant:' || u.purchase_id || ':paid'
      join entry e on e.posting_id = g.posting_id and e.lot_id is not null
      join lot l on l.lot_id = e.lot_id
      left join posting bg on bg.idempotency_key = 'grant:' || u.purchase_id || ':bonus'
      left join entry be on be.posting_id = bg.posting_id and be.lot_id is not null
      left join lot b on b.lot_id = be.lot_id
      left join (select purchase_id, sum(credit_nanos) as credit, sum(bonus_nanos) as bonus, sum(cash_nanos) as cash
                   from claim
                  where account_id = $1
                  group by purchase_id) c on c.purchase_id = u.purchase_id
     where u.account_id = $1 and u.state = 'paid' and l.remaining_nanos > 0
       and not exists (select 1
                         from dispute d
                        where d.purchase_id = u.purchase_id
                          and d.state not in ('warning_closed', 'won', 'lost', 'prevented'))
     order by l.created_at desc, l.lot_id desc
     limit 200";

async fn load_sold(tx: &mut Tx, purchase_id: &PurchaseId) -> Result<Option<SoldPurchase>> {
    let row: Option<SoldRow> = on_tx!(tx, conn => {
        sqlx::query_as(
            "select u.purchase_id, u.amount_nanos, u.bonus_nanos, u.price_cents,
                    u.stripe_payment_intent_id as payment_intent_id, l.lot_id, l.remaining_nanos as amount_left,
                    l.created_at as bought_at, b.lot_id as bonus_lot_id, b.remaining_nanos as bonus_left,
                    cast(0 as bigint) as claimed_amount, cast(0 as bigint) as claimed_bonus,
                    cast(0 as bigint) as back_nanos
               from purchase u
               join posting g on g.idempotency_key = 'grant:' || u.purchase_id || ':paid'
               join entry e on e.posting_id = g.posting_id and e.lot_id is not null
               join lot l on l.lot_id = e.lot_id
               left join posting bg on bg.idempotency_key = 'grant:' || u.purchase_id || ':bonus'
               left join entry be on be.posting_id = bg.posting_id and be.lot_id is not null
               left join lot b on b.lot_id = be.lot_id
              where u.purchase_id = $1 and u.state = 'paid'",
        )
        .bind(purchase_id)
        .fetch_optional(conn)
        .await
    })?;
    Ok(row.map(SoldRow::into_sold))
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    claim_id: ClaimId,
    purchase_id: PurchaseId,
    kind: String,
    credit_nanos: Usd,
    bonus_nanos: Usd,
    cash_nanos: Usd,
    taken: String,
    owed_nanos: Usd,
    changes: i64,
}

impl ClaimRow {
    fn into_record(self) -> Result<(PurchaseId, ClaimRecord)> {
        let taken = serde_json::from_str(&self.taken)
            .map_err(|error| Error::internal(&format!("table claim, column taken, row {}", self.claim_id), error))?;
        let record = ClaimRecord {
            claim_id: self.claim_id,
            kind: self.kind.parse()?,
            credit: self.credit_nanos,
            bonus: self.bonus_nanos,
            cash: self.cash_nanos,
            taken,
            owed: self.owed_nanos,
            changes: self.changes,
        };
        Ok((self.purchase_id, record))
    }
}

async fn list_claims(tx: &mut Tx, purchase_id: &PurchaseId) -> Result<Vec<ClaimRecord>> {
    let rows: Vec<ClaimRow> = on_tx!(tx, conn => {
        sqlx::query_as(
            "select claim_id, purchase_id, kind, credit_nanos, bonus_nanos, cash_nanos, taken, owed_nanos, changes
               from claim
              where purchase_id = $1
              order by created_at, claim_id",
        )
        .bind(purchase_id)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter().map(|row| row.into_record().map(|(_, record)| record)).collect()
}

async fn list_owed(tx: &mut Tx, account_id: &AccountId) -> Result<Vec<(PurchaseId, ClaimRecord)>> {
    let rows: Vec<ClaimRow> = on_tx!(tx, conn => {
        sqlx::query_as(
            "select claim_id, purchase_id, kind, credit_nanos, bonus_nanos, cash_nanos, taken, owed_nanos, changes
               from claim
              where account_id = $1 and owed_nanos > 0
              order by created_at, claim_id",
        )
        .bind(account_id)
        .fetch_all(conn)
        .await
    })?;
    rows.into_iter().map(ClaimRow::into_record).collect()
}

/// Writes a claim as it is now; it must be one change ahead of its row.
async fn write(
    tx: &mut Tx,
    clock: &Clock,
    (account_id, purchase_id): (&AccountId, &PurchaseId),
    record: &ClaimRecord,
) -> Result<()> {
    let taken = serde_json::to_string(&record.taken)?;
    let written = on_tx!(tx, conn => {
        sqlx::query(
            "insert into claim (claim_id, account_id, purchase_id, kind, credit_nanos, bonus_nanos, cash_nanos, taken,
                                owed_nanos, changes, created_at, changed_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
             on conflict (claim_id) do update
                set credit_nanos = excluded.credit_nanos,
                    bonus_nanos  = excluded.bonus_nanos,
                    cash_nanos   = excluded.cash_nanos,
                    taken        = excluded.taken,
                    owed_nanos   = excluded.owed_nanos,
                    changes      = excluded.changes,
                    changed_at   = excluded.changed_at
              where claim.account_id = excluded.account_id and claim.purchase_id = excluded.purchase_id
                and claim.changes = excluded.changes - 1",
        )
        .bind(&record.claim_id)
        .bind(account_id)
        .bind(purchase_id)
        .bind(record.kind.as_str())
        .bind(record.credit)
        .bind(record.bonus)
        .bind(record.cash)
        .bind(taken)
        .bind(record.owed)
        .bind(record.changes)
        .bind(clock.now())
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })?;
    if written == 1 {
        Ok(())
    } else {
        Err(Error::Internal(format!("claim {} is another's, or was changed meanwhile", record.claim_id)))
    }
}

fn out_of_range(purchase_id: &PurchaseId) -> Error {
    Error::Internal(format!("purchase {purchase_id}: what went back is out of range"))
}
