//! Owns: carrying out the commands of many callers in one transaction: load and lock, decide in memory, write in bulk.
//! Does not own: who waits for what (`writer`).
//! Invariant: an answer is given only after the commit; a denied command leaves no trace.

use super::load::{self, Account, LoadedHold, Wanted};
use super::platform::{Platform, Taken};
use super::run::{Draft, Ended, Started};
use super::watch::ask_for_top_up;
use super::write::{
    BalanceRow, EntryRow, ExecutionRow, HoldRow, LotRow, NewHoldRow, NewLotRow, PostingRow, UsageRow, Writes,
};
use super::writer::{Begun, MadeHold, Outcome, Request, Work};
use super::{End, Finish, Finished};
use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use domain::denial::Denial;
use domain::funding::{FundingSource, Payer, refusal};
use domain::id::{AccountId, ExecutionId, LotId, PostingId};
use domain::ledger::{ClaimRecord, Command, Decision, HoldRecord, HoldState, Lot, PostingKind, decide};
use domain::money::Usd;
use domain::time::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// What one command came to.
pub(super) type Answer = std::result::Result<Outcome, Denial>;

/// Carries the commands out in one transaction and answers each. An error means that none of them is known to be
/// done: the caller tries them again, one by one, and the idempotency keys say which were.
pub(super) async fn carry_out(db: &Db, clock: &Clock, requests: &[Request]) -> Result<Vec<Answer>> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let mut batch = Batch::load(&mut tx, clock, now, requests).await?;

    // What ends gives credit back to what begins.
    let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
    for begins in [false, true] {
        for (request, answer) in requests.iter().zip(&mut answers) {
            if matches!(request.work, Work::Hold(_)) == begins {
                *answer = Some(split(batch.carry_out(request))?);
            }
        }
    }

    let writes = batch.into_writes()?;
    if writes.is_empty() {
        tx.rollback().await?;
    } else {
        writes.write(&mut tx, clock).await?;
        tx.commit_books().await?;
    }
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(|| Error::Internal("a command was left out".to_owned())))
        .collect()
}

/// A denial is an answer to one command, any other error fails the batch.
fn split(answer: Result<Outcome>) -> Result<Answer> {
    match answer {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(Error::Denied(denial)) => Ok(Err(denial)),
        Err(Error::Internal(problem)) => Err(Error::Internal(problem)),
    }
}

/// The accounts of a batch as they become, and what has to be written for it.
pub(super) struct Batch<'a> {
    clock: &'a Clock,
    now: Timestamp,
    accounts: HashMap<AccountId, Account>,
    platform: Platform,
    drafts: HashMap<ExecutionId, Draft>,
    /// Whose each known hold is.
    owners: HashMap<ExecutionId, AccountId>,
    /// The runs that have their row, and its cost.
    executions: HashMap<ExecutionId, (AccountId, Usd)>,
    touched: BTreeMap<AccountId, ()>,
    lots: BTreeMap<LotId, Lot>,
    new_lots: BTreeMap<LotId, AccountId>,
    holds: BTreeMap<ExecutionId, HoldRecord>,
    usage: BTreeMap<(AccountId, Timestamp, String, String, &'static str), UsageRow>,
    writes: Writes,
}

impl<'a> Batch<'a> {
    /// Locks the accounts of one or more commands that are not about holds, such as grants.
    pub(super) async fn for_accounts(tx: &mut Tx, clock: &'a Clock, account_ids: &[String]) -> Result<Batch<'a>> {
        Ok(Batch::new(clock, clock.now(), load::lock_accounts(tx, account_ids).await?))
    }

    fn new(clock: &'a Clock, now: Timestamp, accounts: HashMap<AccountId, Account>) -> Batch<'a> {
        Batch {
            clock,
            now,
            accounts,
            platform: Platform::default(),
            drafts: HashMap::new(),
            owners: HashMap::new(),
            executions: HashMap::new(),
            touched: BTreeMap::new(),
            lots: BTreeMap::new(),
            new_lots: BTreeMap::new(),
            holds: BTreeMap::new(),
            usage: BTreeMap::new(),
            writes: Writes::default(),
        }
    }

    async fn load(tx: &mut Tx, clock: &'a Clock, now: Timestamp, requests: &[Request]) -> Result<Batch<'a>> {
        let mut account_ids: Vec<String> = requests.iter().map(|request| request.account_id.to_string()).collect();
        account_ids.sort_unstable();
        account_ids.dedup();

        let mut platform = Platform::default();
        let mut wanted = Wanted::default();
        let mut recorded = Vec::new();
        for request in requests {
            match &request.work {
                Work::Hold(new) => {
                    wanted.with_draft.push(new.hold.execution_id.to_string());
                    for payer in &new.hold.funding.payers {
                        platform.add_payer(&request.account_id, payer, now);
                    }
                }
                Work::Expire { execution_id } => wanted.with_draft.push(execution_id.to_string()),
                Work::Renew { execution_id, .. } | Work::Finish { execution_id, .. } => {
                    wanted.holds.push(execution_id.to_string());
                }
                Work::Record { execution_id, .. } => recorded.push(execution_id.to_string()),
                Work::ExpireLot { .. } => {}
            }
        }
        wanted.holds.extend(wanted.with_draft.iter().cloned());
        let (accounts, holds) = load::lock(tx, &account_ids, &wanted).await?;
        let mut batch = Batch { platform, ..Batch::new(clock, now, accounts) };
        for (execution_id, hold) in holds {
            batch.platform.add_hold(&execution_id, &hold);
            let LoadedHold { account_id, record, draft, .. } = hold;
            if let Some(json) = draft {
                let draft = serde_json::from_str(&json).map_err(|error| {
                    Error::internal(&format!("table hold, column draft, row {execution_id}"), error)
                })?;
                batch.drafts.insert(execution_id.clone(), draft);
            }
            if let Some(account) = batch.accounts.get_mut(&account_id) {
                account.standing.holds.push(record);
            }
            batch.owners.insert(execution_id, account_id);
        }
        batch.platform.load(tx).await?;
        batch.executions = load::list_executions(tx, &recorded).await?;
        Ok(batch)
    }

    fn carry_out(&mut self, request: &Request) -> Result<Outcome> {
        let account_id = &request.account_id;
        match &request.work {
            Work::Hold(new) => self.begin(account_id, new).map(Outcome::Held),
            Work::Renew { execution_id, expires_at } => {
                let command = Command::Renew { execution_id: execution_id.clone(), expires_at: *expires_at };
                self.decide(account_id, &command, "")?;
                Ok(Outcome::Done)
            }
            Work::Finish { execution_id, started, finish } => {
                let execution_id = execution_id.clone();
                let command = match finish.end {
                    // What the plan pays for is counted, not taken from credit.
                    End::Capture { cost } => {
                        let cost = if started.source.takes_credit() { cost } else { Usd::ZERO };
                        Command::Capture { execution_id: execution_id.clone(), cost }
                    }
                    End::Void => Command::Void { execution_id: execution_id.clone() },
                };
                let decision = self.decide(account_id, &command, &started.title)?;
                self.finish((account_id, &execution_id), started, finish, decision)
            }
            Work::Expire { execution_id } => {
                let Some(draft) = self.drafts.get(execution_id).cloned() else {
                    return Err(Denial::NotFound { what: format!("hold for run {execution_id}") }.into());
                };
                let command = Command::Expire { execution_id: execution_id.clone() };
                let still_running = self.hold(account_id, execution_id).is_some_and(|hold| hold.expires_at > self.now);
                if still_running {
                    return Err(Denial::Conflict { problem: format!("Run {execution_id} was renewed.") }.into());
                }
                let decision = self.decide(account_id, &command, "Given back: the run did not report back")?;
                let finish = Finish { end: End::Void, ended: Ended::expired(self.now), jobs: Vec::new() };
                self.finish((account_id, execution_id), &draft.started, &finish, decision)
            }
            Work::ExpireLot { lot_id } => {
                let command = Command::ExpireLot { lot_id: lot_id.clone() };
                self.decide(account_id, &command, "Expired")?;
                Ok(Outcome::Done)
            }
            Work::Record { execution_id, started, finish } => {
                if let Some((owner, cost)) = self.executions.get(execution_id) {
                    if owner == account_id && *cost == finish.ended.cost {
                        return Ok(Outcome::Done);
                    }
                    let problem = format!("Run {execution_id} was recorded before with other content.");
                    return Err(Denial::Conflict { problem }.into());
                }
                if !self.accounts.contains_key(account_id) {
                    return Err(Denial::NotFound { what: format!("account {account_id}") }.into());
                }
                self.executions.insert(execution_id.clone(), (account_id.clone(), finish.ended.cost));
                self.insert_execution((account_id, execution_id), started, &finish.ended, Usd::ZERO)?;
                self.writes.jobs.extend(finish.jobs.iter().cloned());
                Ok(Outcome::Done)
            }
        }
    }

    /// Begins a run: asks who may pay for it, one after the other, and takes the first that can.
    fn begin(&mut self, account_id: &AccountId, new: &MadeHold) -> Result<Begun> {
        let hold = &new.hold;
        let id = (account_id, &hold.execution_id);
        if let Some(owner) = self.owners.get(&hold.execution_id) {
            return if owner == account_id {
                self.begin_again(id, new)
            } else {
                Err(used_otherwise(&hold.execution_id))
            };
        }
        let mut said = Vec::new();
        for payer in &hold.funding.payers {
            if let Err(denial) = self.platform.check(account_id, payer, hold.amount, self.now) {
                said.push(denial);
                continue;
            }
            let source = payer.source();
            let amount = if source.takes_credit() { hold.amount } else { Usd::ZERO };
            let command = Command::Hold {
                execution_id: hold.execution_id.clone(),
                amount,
                model: hold.started.model_id.clone(),
                source,
                expires_at: hold.expires_at,
            };
            match self.decide(account_id, &command, "Set aside for a run") {
                Ok(decision) => {
                    let taken = self.platform.take(id, payer, hold.amount, self.now)?;
                    self.insert_hold(account_id, new, (payer, taken), &decision)?;
                    new.fits.notify_one();
                    return Ok(Begun { made_before: None, source, amount });
                }
                // Trial credit that is used up, or busy, is no reason: the next one is asked.
                Err(Error::Denied(Denial::InsufficientCredit { .. } | Denial::ReservedByRunningWork { .. }))
                    if source == FundingSource::Trial => {}
                Err(Error::Denied(
                    denial @ (Denial::InsufficientCredit { .. } | Denial::ReservedByRunningWork { .. }),
                )) => said.push(denial),
                Err(error) => return Err(error),
            }
        }
        Err(refusal(hold.funding.why_not.as_ref(), &said).into())
    }

    /// The same id again: the same run, if it asks for the same at the same price.
    fn begin_again(&self, (account_id, execution_id): (&AccountId, &ExecutionId), new: &MadeHold) -> Result<Begun> {
        let (Some(first), Some(record)) = (self.drafts.get(execution_id), self.hold(account_id, execution_id)) else {
            return Err(used_otherwise(execution_id));
        };
        let source = first.started.source;
        let is_same_price = !source.takes_credit() || record.amount == new.hold.amount;
        if !first.started.is_same_request(&new.hold.started) || !is_same_price {
            return Err(used_otherwise(execution_id));
        }
        // The commit of this very command may have succeeded although its answer was lost.
        let made_before = (first.maker != new.maker).then_some(record.state);
        Ok(Begun { made_before, source, amount: record.amount })
    }

    fn hold(&self, account_id: &AccountId, execution_id: &ExecutionId) -> Option<&HoldRecord> {
        self.accounts.get(account_id)?.standing.hold(execution_id)
    }

    /// Decides one command, takes the decision over, and notes what has to be written for it.
    pub(super) fn decide(&mut self, account_id: &AccountId, command: &Command, memo: &str) -> Result<Decision> {
        let Some(account) = self.accounts.get_mut(account_id) else {
            return Err(Denial::NotFound { what: format!("account {account_id}") }.into());
        };
        let decision = decide(&account.standing, self.now, command)?;
        if decision.repeated {
            return Ok(decision);
        }
        for lot in &decision.lots {
            if account.standing.lot(&lot.lot_id).is_none() {
                self.new_lots.insert(lot.lot_id.clone(), account_id.clone());
            }
            self.lots.insert(lot.lot_id.clone(), lot.clone());
        }
        account.standing.apply(&decision);
        if let Some(hold) = &decision.hold {
            self.holds.insert(hold.execution_id.clone(), hold.clone());
        }
        if let Some(posting) = &decision.posting {
            account.last_seq += 1;
            let posting_id = PostingId::new(self.clock.new_id());
            for (line, entry) in posting.entries.iter().enumerate() {
                self.writes.entries.push(EntryRow {
                    posting_id: posting_id.clone(),
                    line: i64::try_from(line).unwrap_or(i64::MAX),
                    book: entry.book.as_str(),
                    account_id: entry.book.is_customers().then(|| account_id.clone()),
                    lot_id: entry.lot_id.clone(),
                    amount: entry.amount,
                });
            }
            self.writes.postings.push(PostingRow {
                posting_id,
                account_id: account_id.clone(),
                seq: account.last_seq,
                kind: posting.kind.as_str(),
                idempotency_key: posting.idempotency_key.clone(),
                reference: posting.reference.clone(),
                memo: memo_of(posting.kind, memo),
                change: posting.change,
                balance_after: decision.balance.total(),
                created_at: self.now,
            });
            self.touched.insert(account_id.clone(), ());
        }
        Ok(decision)
    }

    /// Adds lots and claims that the commands to come are about, beyond those that are loaded with each account.
    pub(super) fn know(&mut self, account_id: &AccountId, lots: Vec<Lot>, claims: Vec<ClaimRecord>) {
        let Some(Account { standing, .. }) = self.accounts.get_mut(account_id) else { return };
        for lot in lots {
            if standing.lot(&lot.lot_id).is_none() {
                standing.lots.push(lot);
            }
        }
        standing.claims.extend(claims);
    }

    /// What the account owes for money that went back.
    pub(super) fn owed(&self, account_id: &AccountId) -> Usd {
        let receivable = self.accounts.get(account_id).map(|account| account.standing.balance.receivable);
        receivable.and_then(Usd::checked_neg).unwrap_or_default()
    }

    /// Whether a run holds credit of this account.
    pub(super) fn has_open_holds(&self, account_id: &AccountId) -> bool {
        self.accounts.get(account_id).is_some_and(|account| !account.standing.balance.held.is_zero())
    }

    /// The lots that have something left.
    pub(super) fn lots_left(&self, account_id: &AccountId) -> Vec<LotId> {
        let lots = self.accounts.get(account_id).map(|account| account.standing.lots.as_slice()).unwrap_or_default();
        lots.iter().filter(|lot| lot.remaining.is_positive()).map(|lot| lot.lot_id.clone()).collect()
    }

    /// The id of the posting that was decided last.
    pub(super) fn last_posting_id(&self) -> Option<PostingId> {
        self.writes.postings.last().map(|posting| posting.posting_id.clone())
    }

    fn insert_hold(
        &mut self,
        account_id: &AccountId,
        new: &MadeHold,
        (payer, taken): (&Payer, Taken),
        decision: &Decision,
    ) -> Result<()> {
        let Some(record) = &decision.hold else { return Ok(()) };
        let started = Started { source: payer.source(), ..new.hold.started.clone() };
        let draft = Draft { maker: new.maker.clone(), started };
        self.writes.new_holds.push(NewHoldRow {
            execution_id: record.execution_id.clone(),
            account_id: account_id.clone(),
            amount: record.amount,
            taken: serde_json::to_string(&record.taken)?,
            draft: serde_json::to_string(&draft)?,
            allowance_period: taken.period,
            platform_day: taken.day,
            platform: taken.at_most,
            expires_at: record.expires_at,
            created_at: self.now,
        });
        // Inserted as it is; a row in `holds` would be an update.
        self.holds.remove(&record.execution_id);
        self.owners.insert(record.execution_id.clone(), account_id.clone());
        self.drafts.insert(record.execution_id.clone(), draft);
        Ok(())
    }

    /// Notes the run of a hold that just ended, and answers its caller.
    fn finish(
        &mut self,
        (account_id, execution_id): (&AccountId, &ExecutionId),
        started: &Started,
        finish: &Finish,
        decision: Decision,
    ) -> Result<Outcome> {
        let (charged, overrun) =
            decision.hold.as_ref().map_or((Usd::ZERO, Usd::ZERO), |hold| (hold.captured, hold.overrun));
        if !decision.repeated {
            let state = decision.hold.as_ref().map_or(HoldState::Voided, |hold| hold.state);
            self.platform.end(account_id, execution_id, state, finish.ended.cost);
            self.insert_execution((account_id, execution_id), started, &finish.ended, charged)?;
            self.writes.jobs.extend(finish.jobs.iter().cloned());
            if charged.is_positive()
                && let Some(account) = self.accounts.get_mut(account_id)
            {
                let job = ask_for_top_up(account_id, account.top_up_below, decision.balance.total(), self.now);
                // Asked once in a batch.
                account.top_up_below = account.top_up_below.filter(|_| job.is_none());
                self.writes.jobs.extend(job);
            }
        }
        Ok(Outcome::Finished(Finished { charged, overrun, balance: decision.balance, repeated: decision.repeated }))
    }

    fn insert_execution(
        &mut self,
        (account_id, execution_id): (&AccountId, &ExecutionId),
        started: &Started,
        ended: &Ended,
        charge: Usd,
    ) -> Result<()> {
        let row = ExecutionRow::new((account_id, execution_id), started, ended, charge)?;
        let hour = ended.ended_at.hour();
        let skill_id = row.skill_id.clone().unwrap_or_default();
        let key = (account_id.clone(), hour, row.model_id.clone(), skill_id.clone(), row.source);
        let sum = self.usage.entry(key).or_insert_with(|| UsageRow {
            account_id: account_id.clone(),
            hour,
            model_id: row.model_id.clone(),
            skill_id,
            source: row.source,
            executions: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost: Usd::ZERO,
            charge: Usd::ZERO,
        });
        sum.add(&row).ok_or_else(|| Error::Internal(format!("run {execution_id}: usage is out of range")))?;
        self.writes.executions.push(row);
        Ok(())
    }

    /// Everything that has to be written.
    pub(super) fn into_writes(self) -> Result<Writes> {
        let mut writes = self.writes;
        for account_id in self.touched.into_keys() {
            let Some(account) = self.accounts.get(&account_id) else { continue };
            let balance = account.standing.balance;
            writes.balances.push(BalanceRow {
                account_id,
                paid: balance.paid,
                bonus: balance.bonus,
                promotional: balance.promotional,
                trial: balance.trial,
                held: balance.held,
                receivable: balance.receivable,
                last_seq: account.last_seq,
            });
        }
        for (lot_id, lot) in self.lots {
            match self.new_lots.get(&lot_id) {
                None => writes.lots.push(LotRow { lot_id, remaining: lot.remaining, held: lot.held }),
                Some(account_id) => writes.new_lots.push(NewLotRow::new(account_id.clone(), lot)?),
            }
        }
        for (execution_id, hold) in self.holds {
            writes.holds.push(HoldRow {
                execution_id,
                captured: hold.captured,
                overrun: hold.overrun,
                state: hold.state.as_str(),
                expires_at: hold.expires_at,
                ended_at: (hold.state != HoldState::Open).then_some(self.now),
            });
        }
        writes.usage.extend(self.usage.into_values());
        self.platform.write_into(&mut writes)?;
        Ok(writes)
    }
}

fn used_otherwise(execution_id: &ExecutionId) -> Error {
    Denial::Conflict { problem: format!("Run {execution_id} was started before with other content or another price.") }
        .into()
}

/// A void says so; everything else has its own words.
fn memo_of(kind: PostingKind, memo: &str) -> String {
    match kind {
        PostingKind::Void => format!("Not charged: {memo}"),
        PostingKind::Grant
        | PostingKind::Hold
        | PostingKind::Capture
        | PostingKind::Expire
        | PostingKind::LotExpiry
        | PostingKind::Refund
        | PostingKind::Dispute
        | PostingKind::Adjustment => memo.to_owned(),
    }
}
