//! Owns: the rules: what each command does to an account, or why it may not.

use super::claim::{self, Claim, ClaimRecord};
use super::{Balance, Book, Entry, GrantKind, HoldRecord, HoldState, Lot, Posting, PostingKind, Standing};
use crate::denial::Denial;
use crate::funding::FundingSource;
use crate::id::{ClaimId, ExecutionId, LotId, ModelId};
use crate::money::Usd;
use crate::time::Timestamp;

/// What may be done with an account's credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets `amount` aside for a run of `model`, from the credit that `source` may take: trial credit alone, or all of it.
    Hold { execution_id: ExecutionId, amount: Usd, model: ModelId, source: FundingSource, expires_at: Timestamp },
    /// Ends a hold by taking what the run cost. What it cost above the hold is the platform's loss.
    Capture { execution_id: ExecutionId, cost: Usd },
    /// Ends a hold and gives all of it back.
    Void { execution_id: ExecutionId },
    /// Ends a hold whose time is over and gives all of it back.
    Expire { execution_id: ExecutionId },
    /// Gives an open hold more time.
    Renew { execution_id: ExecutionId, expires_at: Timestamp },
    /// Gives credit. `price` is what the customer paid for it: at least `amount` for paid credit, zero for the others.
    Grant {
        lot_id: LotId,
        kind: GrantKind,
        amount: Usd,
        price: Usd,
        allowed_models: Option<Vec<ModelId>>,
        expires_at: Option<Timestamp>,
        /// The fact it follows from, such as the purchase; once for each fact and kind.
        reference: String,
    },
    /// Takes back what is left of a lot whose time is over.
    ExpireLot { lot_id: LotId },
    /// Takes what is left of a lot because its owner gives it up.
    GiveUpLot { lot_id: LotId },
    /// Says what a refund or a dispute takes back in all; the change against what it took before is taken or given back.
    Claim(Claim),
    /// Pays what a claim could not take from credit that has come since.
    Settle { claim_id: ClaimId },
}

/// What a command does: the account as it is afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `None` when no money moves: a renewal, or a repeat.
    pub posting: Option<Posting>,
    pub balance: Balance,
    /// The lots that changed, as they are afterwards.
    pub lots: Vec<Lot>,
    /// The hold the command is about, as it is afterwards.
    pub hold: Option<HoldRecord>,
    /// The claim the command is about, as it is afterwards.
    pub claim: Option<ClaimRecord>,
    /// Whether the same command was carried out before; then nothing changes.
    pub repeated: bool,
}

/// Decides one command. A hold that was made or ended before, in the same way, is a repeat; in another way, a conflict.
pub fn decide(standing: &Standing, now: Timestamp, command: &Command) -> Result<Decision, Denial> {
    match command {
        Command::Hold { execution_id, amount, model, source, expires_at } => match standing.hold(execution_id) {
            Some(made) if made.amount == *amount => Ok(repeat(standing, made)),
            Some(_) => Err(conflict(execution_id, "was started before with another price")),
            None => hold(standing, now, (execution_id, model, *source), *amount, *expires_at),
        },
        Command::Capture { execution_id, cost } => end(standing, execution_id, HoldState::Captured, *cost),
        Command::Void { execution_id } => end(standing, execution_id, HoldState::Voided, Usd::ZERO),
        Command::Expire { execution_id } => end(standing, execution_id, HoldState::Expired, Usd::ZERO),
        Command::Renew { execution_id, expires_at } => renew(standing, execution_id, *expires_at),
        Command::Grant { lot_id, kind, amount, price, allowed_models, expires_at, reference } => {
            let lot = Lot {
                lot_id: lot_id.clone(),
                kind: *kind,
                granted: *amount,
                remaining: *amount,
                held: Usd::ZERO,
                allowed_models: allowed_models.clone(),
                expires_at: *expires_at,
                created_at: now,
            };
            grant(standing, lot, *price, reference)
        }
        Command::ExpireLot { lot_id } => expire_lot(standing, now, lot_id),
        Command::GiveUpLot { lot_id } => give_up_lot(standing, now, lot_id),
        Command::Claim(claim) => claim::set(standing, claim),
        Command::Settle { claim_id } => claim::settle(standing, claim_id),
    }
}

fn hold(
    standing: &Standing,
    now: Timestamp,
    (execution_id, model, source): (&ExecutionId, &ModelId, FundingSource),
    amount: Usd,
    expires_at: Timestamp,
) -> Result<Decision, Denial> {
    if amount.is_negative() {
        return Err(negative("amount"));
    }
    if let Some(frozen) = standing.frozen.as_ref().filter(|frozen| !frozen.leaves(source)) {
        return Err(Denial::AccountFrozen { reason: frozen.reason.clone() });
    }
    let is_asked = |kind| source != FundingSource::Trial || kind == GrantKind::Trial;
    let is_usable = |lot: &&Lot| lot.pays_for(model, now) && is_asked(lot.kind);
    let mut usable: Vec<&Lot> = standing.lots.iter().filter(is_usable).collect();
    usable.sort_by(|a, b| a.burn_order().cmp(&b.burn_order()));

    let mut missing = amount;
    let mut lots = Vec::new();
    let mut taken = Vec::new();
    let mut entries = Vec::new();
    for lot in &usable {
        let part = lot.remaining.min(missing);
        if part.is_zero() {
            continue;
        }
        missing = sub(missing, part)?;
        taken.push((lot.lot_id.clone(), part));
        entries.push(lot_entry(lot, negated(part)?));
        lots.push(Lot { remaining: sub(lot.remaining, part)?, held: add(lot.held, part)?, ..(*lot).clone() });
    }
    if missing.is_positive() {
        return Err(does_not_fit(&usable, amount));
    }
    push(&mut entries, Book::Held, amount);
    let record = HoldRecord {
        execution_id: execution_id.clone(),
        amount,
        captured: Usd::ZERO,
        overrun: Usd::ZERO,
        state: HoldState::Open,
        taken,
        expires_at,
    };
    let key = format!("hold:{execution_id}");
    post(standing, (PostingKind::Hold, key, execution_id.as_str()), entries, lots, Some(record))
}

/// Whether waiting for running work can help, counting only credit that may pay for this model.
fn does_not_fit(usable: &[&Lot], needed: Usd) -> Denial {
    let spendable = usable.iter().fold(Usd::ZERO, |sum, lot| sum.saturating_add(lot.remaining));
    let held = usable.iter().fold(Usd::ZERO, |sum, lot| sum.saturating_add(lot.held));
    if spendable.saturating_add(held) < needed {
        Denial::InsufficientCredit { needed, spendable }
    } else {
        Denial::ReservedByRunningWork { needed, spendable, held }
    }
}

/// Ends a hold. What is captured comes out of the lots in burn order; the rest goes back where it came from.
fn end(standing: &Standing, execution_id: &ExecutionId, state: HoldState, cost: Usd) -> Result<Decision, Denial> {
    if cost.is_negative() {
        return Err(negative("cost"));
    }
    let Some(open) = standing.hold(execution_id) else {
        return Err(Denial::NotFound { what: format!("hold for run {execution_id}") });
    };
    let captured = cost.min(open.amount);
    let overrun = sub(cost, captured)?;
    if open.state != HoldState::Open {
        let same = open.state == state && open.captured == captured && open.overrun == overrun;
        return if same {
            Ok(repeat(standing, open))
        } else {
            Err(conflict(execution_id, &format!("has ended before: {} for {}", open.state, open.captured)))
        };
    }

    let mut entries = Vec::new();
    push(&mut entries, Book::Held, negated(open.amount)?);
    push(&mut entries, Book::UsageRevenue, cost);
    push(&mut entries, Book::OverrunLoss, negated(overrun)?);
    let mut to_capture = captured;
    let mut lots = Vec::new();
    for (lot_id, part) in &open.taken {
        let used = to_capture.min(*part);
        to_capture = sub(to_capture, used)?;
        let back = sub(*part, used)?;
        let Some(lot) = standing.lot(lot_id) else {
            return Err(Denial::NotFound { what: format!("lot {lot_id}") });
        };
        if !back.is_zero() {
            entries.push(lot_entry(lot, back));
        }
        lots.push(Lot { remaining: add(lot.remaining, back)?, held: sub(lot.held, *part)?, ..lot.clone() });
    }
    let kind = match state {
        HoldState::Captured => PostingKind::Capture,
        HoldState::Voided => PostingKind::Void,
        HoldState::Expired | HoldState::Open => PostingKind::Expire,
    };
    let record = HoldRecord { captured, overrun, state, ..open.clone() };
    post(standing, (kind, format!("end:{execution_id}"), execution_id.as_str()), entries, lots, Some(record))
}

fn renew(standing: &Standing, execution_id: &ExecutionId, expires_at: Timestamp) -> Result<Decision, Denial> {
    let Some(open) = standing.hold(execution_id) else {
        return Err(Denial::NotFound { what: format!("hold for run {execution_id}") });
    };
    if open.state != HoldState::Open {
        return Err(conflict(execution_id, &format!("has ended: {}", open.state)));
    }
    // A renewal that comes late never shortens.
    let record = HoldRecord { expires_at: expires_at.max(open.expires_at), ..open.clone() };
    let repeated = record.expires_at == open.expires_at;
    Ok(Decision {
        posting: None,
        balance: standing.balance,
        lots: Vec::new(),
        hold: Some(record),
        claim: None,
        repeated,
    })
}

fn grant(standing: &Standing, lot: Lot, price: Usd, reference: &str) -> Result<Decision, Denial> {
    if !lot.granted.is_positive() {
        return Err(Denial::invalid("amount", "must be more than zero", "Grant at least one nano-dollar."));
    }
    if lot.expires_at.is_some() && matches!(lot.kind, GrantKind::Paid | GrantKind::Bonus) {
        return Err(Denial::invalid("expires_at", "credit that was bought never expires", "Leave it out."));
    }
    let mut entries = vec![lot_entry(&lot, lot.granted)];
    let expense = match lot.kind {
        GrantKind::Paid => {
            let markup = sub(price, lot.granted)?;
            if markup.is_negative() {
                return Err(Denial::invalid("price", "is less than the credit it buys", "Check the pack."));
            }
            push(&mut entries, Book::MarkupRevenue, markup);
            push(&mut entries, Book::StripeClearing, negated(price)?);
            None
        }
        GrantKind::Bonus => Some(Book::BonusExpense),
        GrantKind::Promotional => Some(Book::PromoExpense),
        GrantKind::Trial => Some(Book::TrialExpense),
    };
    if let Some(book) = expense {
        if !price.is_zero() {
            return Err(Denial::invalid("price", "only paid credit has a price", "Grant it as paid."));
        }
        push(&mut entries, book, negated(lot.granted)?);
    }
    let key = grant_key(reference, lot.kind);
    post(standing, (PostingKind::Grant, key, reference), entries, vec![lot], None)
}

/// The idempotency key of a grant: once for each fact and kind of credit.
pub fn grant_key(reference: &str, kind: GrantKind) -> String {
    format!("grant:{reference}:{kind}")
}

fn expire_lot(standing: &Standing, now: Timestamp, lot_id: &LotId) -> Result<Decision, Denial> {
    let Some(lot) = standing.lot(lot_id) else {
        return Err(Denial::NotFound { what: format!("lot {lot_id}") });
    };
    if !lot.is_expired(now) {
        return Err(Denial::Conflict { problem: format!("Lot {lot_id} has not expired.") });
    }
    // A hold that ends later may put credit back, which expires again: so the moment is part of the fact.
    to_breakage(standing, lot, (PostingKind::LotExpiry, format!("lot_expiry:{lot_id}:{}", now.micros())))
}

fn give_up_lot(standing: &Standing, now: Timestamp, lot_id: &LotId) -> Result<Decision, Denial> {
    let Some(lot) = standing.lot(lot_id) else {
        return Err(Denial::NotFound { what: format!("lot {lot_id}") });
    };
    to_breakage(standing, lot, (PostingKind::Adjustment, format!("given_up:{lot_id}:{}", now.micros())))
}

fn to_breakage(standing: &Standing, lot: &Lot, (kind, key): (PostingKind, String)) -> Result<Decision, Denial> {
    if lot.remaining.is_zero() {
        return Ok(nothing(standing));
    }
    let mut entries = vec![lot_entry(lot, negated(lot.remaining)?)];
    push(&mut entries, Book::Breakage, lot.remaining);
    let lots = vec![Lot { remaining: Usd::ZERO, ..lot.clone() }];
    post(standing, (kind, key, lot.lot_id.as_str()), entries, lots, None)
}

/// Completes a decision: the balance after the entries, and the change of what the customer has.
pub(super) fn post(
    standing: &Standing,
    (kind, idempotency_key, reference): (PostingKind, String, &str),
    entries: Vec<Entry>,
    lots: Vec<Lot>,
    hold: Option<HoldRecord>,
) -> Result<Decision, Denial> {
    let mut balance = standing.balance;
    for entry in entries.iter().filter(|entry| entry.book.is_customers()) {
        balance = balance.with(entry.book, entry.amount).ok_or_else(out_of_range)?;
    }
    let change = sub(balance.total(), standing.balance.total())?;
    let reference = reference.to_owned();
    let posting = Posting { kind, idempotency_key, reference, change, entries };
    Ok(Decision { posting: Some(posting), balance, lots, hold, claim: None, repeated: false })
}

fn repeat(standing: &Standing, hold: &HoldRecord) -> Decision {
    Decision { hold: Some(hold.clone()), ..nothing(standing) }
}

/// What a command comes to that has nothing (more) to do.
pub(super) fn nothing(standing: &Standing) -> Decision {
    let balance = standing.balance;
    Decision { posting: None, balance, lots: Vec::new(), hold: None, claim: None, repeated: true }
}

pub(super) fn lot_entry(lot: &Lot, amount: Usd) -> Entry {
    Entry { book: lot.kind.book(), lot_id: Some(lot.lot_id.clone()), amount }
}

/// Adds an entry unless it is zero.
pub(super) fn push(entries: &mut Vec<Entry>, book: Book, amount: Usd) {
    if !amount.is_zero() {
        entries.push(Entry { book, lot_id: None, amount });
    }
}

pub(super) fn add(a: Usd, b: Usd) -> Result<Usd, Denial> {
    a.checked_add(b).ok_or_else(out_of_range)
}

pub(super) fn sub(a: Usd, b: Usd) -> Result<Usd, Denial> {
    a.checked_sub(b).ok_or_else(out_of_range)
}

pub(super) fn negated(a: Usd) -> Result<Usd, Denial> {
    a.checked_neg().ok_or_else(out_of_range)
}

fn out_of_range() -> Denial {
    Denial::invalid("amount", "is out of range", "Use an amount below nine billion dollars.")
}

fn negative(field: &str) -> Denial {
    Denial::invalid(field, "is below zero", "Use zero or more.")
}

fn conflict(execution_id: &ExecutionId, problem: &str) -> Denial {
    Denial::Conflict { problem: format!("Run {execution_id} {problem}. Nothing was charged again.") }
}
