//! Owns: taking credit back for money that went back, and giving it back when the money returns.
//! Does not own: how much that is (`refund`), or what Stripe says (`server::refund`, `server::dispute`).
//! Invariant: what a claim takes in all is what it took from lots and what is owed for it; an account's receivable is
//! what its claims owe; nothing is taken that is not there, and held credit is left to its run.

use super::decide::{add, lot_entry, negated, nothing, post, push, sub};
use super::{Book, Decision, Entry, GrantKind, Lot, PostingKind, Standing};
use crate::denial::Denial;
use crate::id::{ClaimId, LotId};
use crate::money::Usd;
use crate::text_enum;

text_enum! {
    /// What took credit back.
    ClaimKind {
        /// Its owner asked for it here.
        Refund = "refund",
        /// Somebody refunded the payment at Stripe.
        StripeRefund = "stripe_refund",
        /// The cardholder disputes the payment with their bank.
        Dispute = "dispute",
    }
}

/// What happens to the part of a claim that the account's credit does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The whole claim is refused: who asks for a refund has the credit.
    Refused,
    /// The account owes it.
    Owed,
}

/// What a refund or a dispute takes back in all, whatever it took before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub claim_id: ClaimId,
    pub kind: ClaimKind,
    /// Bought credit, the part of the pack's that the money paid for.
    pub credit: Usd,
    /// The same part of the pack's bonus.
    pub bonus: Usd,
    /// The money that went back.
    pub cash: Usd,
    /// The purchase's own lots; they pay first.
    pub own: Vec<LotId>,
    pub shortfall: Shortfall,
}

/// A claim as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRecord {
    pub claim_id: ClaimId,
    pub kind: ClaimKind,
    pub credit: Usd,
    pub bonus: Usd,
    pub cash: Usd,
    /// From which lots, in the order in which it was taken; goes back in the opposite order, bonus to bonus first.
    pub taken: Vec<(LotId, Usd)>,
    /// What no credit covered.
    pub owed: Usd,
    /// How often it was changed; part of the idempotency key of each change.
    pub changes: i64,
}

impl ClaimRecord {
    fn new(claim_id: ClaimId, kind: ClaimKind) -> ClaimRecord {
        let (credit, bonus, cash, owed) = (Usd::ZERO, Usd::ZERO, Usd::ZERO, Usd::ZERO);
        ClaimRecord { claim_id, kind, credit, bonus, cash, taken: Vec::new(), owed, changes: 0 }
    }
}

impl ClaimKind {
    const fn posting(self) -> PostingKind {
        match self {
            ClaimKind::Refund | ClaimKind::StripeRefund => PostingKind::Refund,
            ClaimKind::Dispute => PostingKind::Dispute,
        }
    }
}

/// Brings a claim to what it takes in all now: the change is taken from credit, or given back.
pub(super) fn set(standing: &Standing, claim: &Claim) -> Result<Decision, Denial> {
    if claim.credit.is_negative() || claim.bonus.is_negative() || claim.cash.is_negative() {
        return Err(Denial::invalid("claim", "is below zero", "Use zero or more."));
    }
    let known = standing.claim(&claim.claim_id).cloned();
    let old = known.unwrap_or_else(|| ClaimRecord::new(claim.claim_id.clone(), claim.kind));
    if (old.credit, old.bonus, old.cash) == (claim.credit, claim.bonus, claim.cash) {
        return Ok(Decision { claim: Some(old), ..nothing(standing) });
    }
    let (credit, bonus) = (sub(claim.credit, old.credit)?, sub(claim.bonus, old.bonus)?);
    let cash = sub(claim.cash, old.cash)?;
    let change = add(credit, bonus)?;

    let mut work = Work::new(standing, old);
    if change.is_negative() {
        work.give_back(negated(change)?, negated(bonus)?)?;
    } else {
        let missing = work.take(change, bonus, &claim.own)?;
        if missing.is_positive() && claim.shortfall == Shortfall::Refused {
            let problem =
                "Some of this credit was spent or set aside meanwhile. Nothing was refunded. Look at what can \
                           be refunded now."
                    .to_owned();
            return Err(Denial::Conflict { problem });
        }
        work.owe(missing)?;
    }
    push(&mut work.entries, Book::StripeClearing, cash);
    push(&mut work.entries, Book::BonusExpense, bonus);
    push(&mut work.entries, Book::MarkupRevenue, sub(credit, cash)?);
    work.record = ClaimRecord { credit: claim.credit, bonus: claim.bonus, cash: claim.cash, ..work.record };
    work.finish("claim")
}

/// Pays what is owed for a claim, as far as there is bought credit now.
pub(super) fn settle(standing: &Standing, claim_id: &ClaimId) -> Result<Decision, Denial> {
    let Some(old) = standing.claim(claim_id).cloned() else {
        return Err(Denial::NotFound { what: format!("claim {claim_id}") });
    };
    let owed = old.owed;
    let mut work = Work::new(standing, old);
    let missing = work.take(owed, Usd::ZERO, &[])?;
    let paid = sub(owed, missing)?;
    if paid.is_zero() {
        return Ok(nothing(standing));
    }
    work.owe(negated(paid)?)?;
    work.finish("settle")
}

/// A claim being changed: the lots and entries as they become.
struct Work<'a> {
    standing: &'a Standing,
    record: ClaimRecord,
    lots: Vec<Lot>,
    entries: Vec<Entry>,
}

impl<'a> Work<'a> {
    fn new(standing: &'a Standing, record: ClaimRecord) -> Work<'a> {
        Work { standing, record, lots: standing.lots.clone(), entries: Vec::new() }
    }

    /// Takes `amount` from bought and bonus credit: first up to `bonus` from the purchase's own bonus, then its own
    /// credit, then other purchases', the newest first. What could not be taken.
    fn take(&mut self, amount: Usd, bonus: Usd, own: &[LotId]) -> Result<Usd, Denial> {
        let mut order: Vec<(LotId, Usd)> = Vec::new();
        let mut lots: Vec<&Lot> =
            self.lots.iter().filter(|lot| matches!(lot.kind, GrantKind::Paid | GrantKind::Bonus)).collect();
        lots.sort_by(|a, b| b.burn_order().cmp(&a.burn_order()));
        let (own, others): (Vec<&Lot>, Vec<&Lot>) = lots.into_iter().partition(|lot| own.contains(&lot.lot_id));
        let own_bonus = own.iter().filter(|lot| lot.kind == GrantKind::Bonus);
        order.extend(own_bonus.map(|lot| (lot.lot_id.clone(), bonus)));
        order.extend(own.iter().chain(&others).map(|lot| (lot.lot_id.clone(), Usd::MAX)));

        let mut missing = amount;
        for (lot_id, at_most) in order {
            let part = match self.lots.iter().find(|lot| lot.lot_id == lot_id) {
                Some(lot) => lot.remaining.min(missing).min(at_most),
                None => Usd::ZERO,
            };
            if part.is_positive() {
                missing = sub(missing, part)?;
                self.change_lot(&lot_id, negated(part)?)?;
                match self.record.taken.iter_mut().find(|(taken_from, _)| *taken_from == lot_id) {
                    Some((_, taken)) => *taken = add(*taken, part)?,
                    None => self.record.taken.push((lot_id, part)),
                }
            }
        }
        Ok(missing)
    }

    /// Gives `amount` back: first what is owed is owed no more; then bonus that was taken gets up to `bonus`, so that it
    /// does not come back as credit that was paid for; then the lots get theirs, the last one first.
    fn give_back(&mut self, amount: Usd, bonus: Usd) -> Result<(), Denial> {
        let forgiven = self.record.owed.min(amount);
        self.owe(negated(forgiven)?)?;
        let left = sub(amount, forgiven)?;
        let rest = self.give_back_to(&[GrantKind::Bonus], bonus.min(left))?;
        let left = add(sub(left, bonus.min(left))?, rest)?;
        if self.give_back_to(GrantKind::ALL, left)?.is_positive() {
            return Err(Denial::Conflict { problem: "A claim cannot give back more than it took.".to_owned() });
        }
        Ok(())
    }

    /// Gives back to lots of these kinds what was taken from them, the last one first. What is left over.
    fn give_back_to(&mut self, kinds: &[GrantKind], mut left: Usd) -> Result<Usd, Denial> {
        for index in (0..self.record.taken.len()).rev() {
            let Some((lot_id, taken)) = self.record.taken.get(index).cloned() else { continue };
            let is_of_kind = self.lots.iter().any(|lot| lot.lot_id == lot_id && kinds.contains(&lot.kind));
            let back = if is_of_kind { taken.min(left) } else { Usd::ZERO };
            if back.is_positive() {
                left = sub(left, back)?;
                self.change_lot(&lot_id, back)?;
                if let Some((_, taken)) = self.record.taken.get_mut(index) {
                    *taken = sub(*taken, back)?;
                }
            }
        }
        self.record.taken.retain(|(_, taken)| taken.is_positive());
        Ok(left)
    }

    fn owe(&mut self, more: Usd) -> Result<(), Denial> {
        self.record.owed = add(self.record.owed, more)?;
        push(&mut self.entries, Book::Receivable, negated(more)?);
        Ok(())
    }

    fn change_lot(&mut self, lot_id: &LotId, change: Usd) -> Result<(), Denial> {
        let Some(lot) = self.lots.iter_mut().find(|lot| lot.lot_id == *lot_id) else {
            return Err(Denial::NotFound { what: format!("lot {lot_id}") });
        };
        lot.remaining = add(lot.remaining, change)?;
        // One entry for each lot, even if it was asked twice.
        match self.entries.iter_mut().find(|entry| entry.lot_id.as_ref() == Some(lot_id)) {
            Some(entry) => entry.amount = add(entry.amount, change)?,
            None => self.entries.push(lot_entry(lot, change)),
        }
        Ok(())
    }

    fn finish(mut self, verb: &str) -> Result<Decision, Denial> {
        self.record.changes = self.record.changes.saturating_add(1);
        let ClaimRecord { claim_id, kind, changes, .. } = &self.record;
        let key = format!("{verb}:{claim_id}:{changes}");
        let changed = self.lots.into_iter().filter(|lot| self.standing.lot(&lot.lot_id) != Some(lot)).collect();
        let what = (kind.posting(), key, claim_id.as_str());
        let decision = post(self.standing, what, self.entries, changed, None)?;
        Ok(Decision { claim: Some(self.record), ..decision })
    }
}
