//! Owns: how a run ends: its state, what it cost, what is charged, and the words for it; recorded once.
//! Does not own: the books (`ledger`).
//! Invariant: empty or failed output is not charged, and nobody pays for what was not delivered or counted.

use super::forward::Delivery;
use super::run::Plan;
use crate::Server;
use crate::error::Error;
use crate::ledger::{End, Ended, Finish, Finished, Hold};
use crate::provider::{Refusal, StopReason};
use domain::denial::Denial;
use domain::execution::{ExecutionState, TokenUsage, cost, outcome};
use domain::funding::FundingSource;
use domain::money::Usd;
use domain::time::Timestamp;

/// A run that was recorded: what its reader is told.
#[derive(Clone, Debug)]
pub struct Closed {
    pub state: ExecutionState,
    pub usage: TokenUsage,
    pub usage_estimated: bool,
    /// What the provider bills.
    pub cost: Usd,
    /// What the customer pays.
    pub charge: Usd,
    pub source: FundingSource,
    /// What can be spent afterwards; `None` if the ledger did not say.
    pub spendable: Option<Usd>,
    pub note: Option<String>,
    pub ended_at: Timestamp,
}

/// Ends a run whose answer came, whole or cut.
pub(super) async fn finish(
    server: &Server,
    plan: &Plan,
    hold: Hold,
    delivery: Delivery,
    text: Option<String>,
) -> Closed {
    let mut ended = judge(plan, &delivery, server.clock.now());
    ended.output_text = text;
    record(server, plan, hold, ended).await
}

/// Ends a run that the provider refused before its first byte.
pub(super) async fn finish_refused(server: &Server, plan: &Plan, hold: Hold, refusal: &Refusal) -> Closed {
    let note = match refusal {
        Refusal::Denied(denial) | Refusal::OwnKey { denial, .. } => denial.sentence(),
        Refusal::Rejected(rejection) => {
            let words: String = String::from_utf8_lossy(&rejection.body).chars().take(300).collect();
            let (who, status) = (plan.provider.name(), rejection.status.as_u16());
            format!("{who} refused the request ({status}): {words}. Nothing was charged.")
        }
    };
    let ended = Ended {
        state: ExecutionState::Failed,
        usage: TokenUsage::default(),
        usage_estimated: false,
        raw_usage: None,
        cost: Usd::ZERO,
        note: Some(note),
        output_text: None,
        first_token_at: None,
        ended_at: server.clock.now(),
    };
    record(server, plan, hold, ended).await
}

/// Decides how a run ended.
fn judge(plan: &Plan, delivery: &Delivery, now: Timestamp) -> Ended {
    let reading = &delivery.reading;
    let (usage, usage_estimated) = reading.usage(plan.input_tokens);
    let tokens = usage.output.saturating_add(usage.reasoning);
    let stopped = format!("stopped at {tokens} tokens, billed {tokens}");
    let empty = reading.output_bytes == 0;
    let (state, note) = match &delivery.cut {
        Some(cut) if empty => {
            (ExecutionState::Failed, Some(format!("{}. Nothing was charged.", cut.words(plan.provider.name()))))
        }
        Some(cut) => (ExecutionState::Stopped, Some(format!("{}: {stopped}", cut.words(plan.provider.name())))),
        None if empty => (ExecutionState::Waived, Some("The output was empty. Nothing was charged.".to_owned())),
        None if delivery.left => (ExecutionState::Stopped, Some(format!("The connection closed early: {stopped}"))),
        None if reading.stop == Some(StopReason::Cap) => {
            let whose = plan.shortened_to.map(|cap| format!(" of {cap}, which is its agent's for one run"));
            (ExecutionState::Stopped, Some(format!("It reached its cap{}: {stopped}", whose.unwrap_or_default())))
        }
        None => (ExecutionState::Completed, None),
    };
    let billed = cost(&plan.prices, &usage);
    if billed.is_none() {
        tracing::error!(execution_id = %plan.execution_id, ?usage, "the rates do not price what was used");
    }
    // What nobody can price costs the hold, which the user agreed to, if it is charged at all.
    let outcome = outcome(state, billed, plan.ceiling);
    let cost = billed.unwrap_or_else(|| outcome.charge.saturating_add(outcome.waived));
    Ended {
        state,
        usage,
        usage_estimated,
        raw_usage: reading.raw_usage(),
        cost,
        note,
        output_text: None,
        first_token_at: delivery.first_token_at,
        ended_at: now,
    }
}

/// Whether the customer pays for a run that ended so.
const fn is_charged(state: ExecutionState) -> bool {
    match state {
        ExecutionState::Completed | ExecutionState::Stopped => true,
        ExecutionState::Waived | ExecutionState::Failed | ExecutionState::Expired => false,
    }
}

async fn record(server: &Server, plan: &Plan, hold: Hold, ended: Ended) -> Closed {
    let end = if is_charged(ended.state) { End::Capture { cost: ended.cost } } else { End::Void };
    let mut closed = Closed {
        state: ended.state,
        usage: ended.usage,
        usage_estimated: ended.usage_estimated,
        cost: ended.cost,
        charge: Usd::ZERO,
        source: plan.started.source,
        spendable: None,
        note: ended.note.clone(),
        ended_at: ended.ended_at,
    };
    match server.ledger.finish(hold, Finish { end, ended, jobs: Vec::new() }).await {
        Ok(Finished { charged, overrun, balance, repeated: _ }) => {
            closed.charge = charged;
            closed.spendable = Some(balance.spendable());
            if overrun.is_positive() {
                tracing::error!(execution_id = %plan.execution_id, %overrun, "a run cost more than its hold; the excess is ours");
                metrics::counter!("tokenbank_overrun_total").increment(1);
            }
        }
        // The sweeper, or a lost database, was first: the hold is given back, or will be.
        Err(error) => {
            match &error {
                Error::Denied(Denial::Conflict { .. }) => {
                    tracing::warn!(execution_id = %plan.execution_id, %error, "the hold had ended");
                }
                Error::Denied(_) | Error::Internal(_) => {
                    tracing::error!(execution_id = %plan.execution_id, %error, "finish a run");
                }
            }
            closed.state = ExecutionState::Expired;
            closed.note = Some("The run could not be recorded in time. Nothing was charged.".to_owned());
        }
    }
    closed
}
