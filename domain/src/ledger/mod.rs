//! Owns: how money moves inside Tokenbank: books, lots, holds, and the entries that each command makes.
//! Does not own: reading, locking or writing any of it (`server::ledger`), or what a run costs (`execution`).
//! Invariant: every posting sums to zero, no customer's book goes below zero, and a hold ends once.
//!
//! Entries are signed from the customer's side: positive is credit to the customer, so a customer's balance is the
//! plain sum of their entries, and what the platform earned is positive in `usage_revenue`.

mod claim;
mod decide;
#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimKind, ClaimRecord, Shortfall};
pub use decide::{Command, Decision, decide, grant_key};

use crate::dispute::FreezeCause;
use crate::funding::FundingSource;
use crate::id::{ClaimId, ExecutionId, LotId, ModelId};
use crate::money::Usd;
use crate::text_enum;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

text_enum! {
    /// Where a lot of credit came from; the order is the order in which lots are used up (spec §6.6).
    GrantKind {
        Trial = "trial",
        Promotional = "promotional",
        Bonus = "bonus",
        /// Bought. Never expires.
        Paid = "paid",
    }
}

text_enum! {
    /// One column of the books. The first six belong to a customer, the others to the platform.
    Book {
        Paid = "paid",
        Bonus = "bonus",
        Promotional = "promotional",
        Trial = "trial",
        Held = "held",
        Receivable = "receivable",
        StripeClearing = "stripe_clearing",
        MarkupRevenue = "markup_revenue",
        UsageRevenue = "usage_revenue",
        BonusExpense = "bonus_expense",
        TrialExpense = "trial_expense",
        PromoExpense = "promo_expense",
        StripeFees = "stripe_fees",
        Refunds = "refunds",
        OverrunLoss = "overrun_loss",
        CreatorPayable = "creator_payable",
        Breakage = "breakage",
    }
}

text_enum! {
    /// What a posting records.
    PostingKind {
        Grant = "grant",
        Hold = "hold",
        Capture = "capture",
        Void = "void",
        Expire = "expire",
        LotExpiry = "lot_expiry",
        Refund = "refund",
        Dispute = "dispute",
        Adjustment = "adjustment",
    }
}

text_enum! {
    /// What became of a hold.
    HoldState {
        Open = "open",
        Captured = "captured",
        Voided = "voided",
        Expired = "expired",
    }
}

impl GrantKind {
    /// The customer's book that credit of this kind is in.
    pub const fn book(self) -> Book {
        match self {
            GrantKind::Trial => Book::Trial,
            GrantKind::Promotional => Book::Promotional,
            GrantKind::Bonus => Book::Bonus,
            GrantKind::Paid => Book::Paid,
        }
    }
}

impl Book {
    /// Whether it is a customer's book; its entries then carry the account.
    pub const fn is_customers(self) -> bool {
        matches!(self, Book::Paid | Book::Bonus | Book::Promotional | Book::Trial | Book::Held | Book::Receivable)
    }
}

/// What an account has, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::FromRow))]
pub struct Balance {
    #[cfg_attr(feature = "sqlx", sqlx(rename = "paid_nanos"))]
    pub paid: Usd,
    #[cfg_attr(feature = "sqlx", sqlx(rename = "bonus_nanos"))]
    pub bonus: Usd,
    #[cfg_attr(feature = "sqlx", sqlx(rename = "promotional_nanos"))]
    pub promotional: Usd,
    #[cfg_attr(feature = "sqlx", sqlx(rename = "trial_nanos"))]
    pub trial: Usd,
    /// Set aside for runs that have not ended.
    #[cfg_attr(feature = "sqlx", sqlx(rename = "held_nanos"))]
    pub held: Usd,
    /// What the customer owes us, as a negative amount.
    #[cfg_attr(feature = "sqlx", sqlx(rename = "receivable_nanos"))]
    pub receivable: Usd,
}

impl Balance {
    /// What a new run may still set aside. Some of it may be for certain models only.
    pub const fn spendable(&self) -> Usd {
        self.paid.saturating_add(self.bonus).saturating_add(self.promotional).saturating_add(self.trial)
    }

    /// What the customer has: spendable and held.
    pub const fn total(&self) -> Usd {
        self.spendable().saturating_add(self.held)
    }

    /// The balance with one entry applied; `None` for a book of the platform, or out of range.
    pub fn with(mut self, book: Book, amount: Usd) -> Option<Balance> {
        let field = match book {
            Book::Paid => &mut self.paid,
            Book::Bonus => &mut self.bonus,
            Book::Promotional => &mut self.promotional,
            Book::Trial => &mut self.trial,
            Book::Held => &mut self.held,
            Book::Receivable => &mut self.receivable,
            Book::StripeClearing
            | Book::MarkupRevenue
            | Book::UsageRevenue
            | Book::BonusExpense
            | Book::TrialExpense
            | Book::PromoExpense
            | Book::StripeFees
            | Book::Refunds
            | Book::OverrunLoss
            | Book::CreatorPayable
            | Book::Breakage => return None,
        };
        *field = field.checked_add(amount)?;
        Some(self)
    }
}

/// A grant of credit: what is left of it, and what open holds have taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    pub lot_id: LotId,
    pub kind: GrantKind,
    pub granted: Usd,
    pub remaining: Usd,
    /// Taken by open holds; comes back if they end for less.
    pub held: Usd,
    /// The only models it may pay for; `None` for all.
    pub allowed_models: Option<Vec<ModelId>>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl Lot {
    /// Whether it may pay for a run of `model` that begins now.
    pub fn pays_for(&self, model: &ModelId, now: Timestamp) -> bool {
        !self.is_expired(now) && self.allowed_models.as_ref().is_none_or(|allowed| allowed.contains(model))
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Sorts by burn order: trial, promotional (soonest expiry first), bonus, paid (oldest first).
    fn burn_order(&self) -> (GrantKind, i64, Timestamp, &LotId) {
        (self.kind, self.expires_at.map_or(i64::MAX, Timestamp::micros), self.created_at, &self.lot_id)
    }
}

/// A hold as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    pub execution_id: ExecutionId,
    pub amount: Usd,
    /// What was taken of it when it ended; never more than `amount`.
    pub captured: Usd,
    /// What the run cost above it: the platform's loss.
    pub overrun: Usd,
    pub state: HoldState,
    /// From which lots, in burn order; adds up to `amount`.
    pub taken: Vec<(LotId, Usd)>,
    pub expires_at: Timestamp,
}

/// Everything a command about one account is decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub balance: Balance,
    /// At least the lots with something left or something held.
    pub lots: Vec<Lot>,
    /// At least the holds that the commands name.
    pub holds: Vec<HoldRecord>,
    /// At least the claims that the commands name.
    pub claims: Vec<ClaimRecord>,
    /// Why the account is frozen, if it is: no new holds, but those that the cause leaves.
    pub frozen: Option<Frozen>,
}

/// An account that starts no new runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// After "This account is frozen: ".
    pub reason: String,
    /// `None` where only the reason is known, such as of an account that was deleted: nothing runs.
    pub cause: Option<FreezeCause>,
}

impl Frozen {
    /// Whether a run that this source pays for may start all the same.
    pub fn leaves(&self, source: FundingSource) -> bool {
        match source {
            FundingSource::OwnKey => self.cause.is_some_and(FreezeCause::leaves_own_keys),
            FundingSource::Trial | FundingSource::Allowance | FundingSource::Credits => false,
        }
    }
}

impl Standing {
    pub fn hold(&self, execution_id: &ExecutionId) -> Option<&HoldRecord> {
        self.holds.iter().find(|hold| hold.execution_id == *execution_id)
    }

    pub fn lot(&self, lot_id: &LotId) -> Option<&Lot> {
        self.lots.iter().find(|lot| lot.lot_id == *lot_id)
    }

    pub fn claim(&self, claim_id: &ClaimId) -> Option<&ClaimRecord> {
        self.claims.iter().find(|claim| claim.claim_id == *claim_id)
    }

    /// Takes a decision over, so that the next command of the same batch is decided on it.
    pub fn apply(&mut self, decision: &Decision) {
        self.balance = decision.balance;
        for changed in &decision.lots {
            match self.lots.iter_mut().find(|lot| lot.lot_id == changed.lot_id) {
                Some(lot) => lot.clone_from(changed),
                None => self.lots.push(changed.clone()),
            }
        }
        if let Some(changed) = &decision.hold {
            match self.holds.iter_mut().find(|hold| hold.execution_id == changed.execution_id) {
                Some(hold) => hold.clone_from(changed),
                None => self.holds.push(changed.clone()),
            }
        }
        if let Some(changed) = &decision.claim {
            match self.claims.iter_mut().find(|claim| claim.claim_id == changed.claim_id) {
                Some(claim) => claim.clone_from(changed),
                None => self.claims.push(changed.clone()),
            }
        }
    }
}

/// One side of a posting. `lot_id` is set where credit leaves or enters a lot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub book: Book,
    pub lot_id: Option<LotId>,
    pub amount: Usd,
}

/// A balanced group of entries about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub kind: PostingKind,
    /// Which fact it records; a second posting of the same fact is impossible.
    pub idempotency_key: String,
    /// What it is about: the run, or the purchase.
    pub reference: String,
    /// The change of what the customer has, held or not: zero for a hold, minus the charge for a capture.
    pub change: Usd,
    pub entries: Vec<Entry>,
}
