//! Owns: what happens to subscriptions as time passes: trials end, periods renew, drafts become final, failed payments
//! are tried again, what was cancelled ends.
//! Invariant: each thing happens at its own moment, in order, however far the clock is moved at once.

use super::collect;
use super::invoice::{self, InvoiceStatus};
use super::store::Call;
use super::subscription::{self, MissingCard, Status};

/// How long a renewal's invoice stays a draft.
const DRAFT_SECONDS: i64 = 3_600;
const UPCOMING_DAYS: i64 = 7;
const TRIAL_WARNING_DAYS: i64 = 3;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    TrialWillEnd(String),
    Upcoming(String),
    Finalize(String),
    Retry(String),
    Renew(String),
}

/// Does everything that is due until now.
pub fn run_due(call: &mut Call<'_>) {
    let now = call.now;
    while let Some((at, due)) = next_due(call, now) {
        call.now = at.min(now);
        match due {
            Due::TrialWillEnd(id) => {
                if let Some(sub) = call.store.subscriptions.find_mut(&id) {
                    sub.trial_announced = true;
                }
                call.emit("customer.subscription.trial_will_end", &id);
            }
            Due::Upcoming(id) => announce(call, &id),
            Due::Finalize(id) => {
                invoice::finalize(call, &id);
                // What came of it stands in the invoice.
                collect::attempt(call, &id).ok();
            }
            Due::Retry(id) => {
                collect::attempt(call, &id).ok();
            }
            Due::Renew(id) => renew(call, &id),
        }
    }
    call.now = now;
}

/// The first thing that is due, and when.
fn next_due(call: &Call<'_>, now: i64) -> Option<(i64, Due)> {
    let mut first: Option<(i64, Due)> = None;
    let mut offer = |at: i64, due: &dyn Fn() -> Due| {
        if at <= now && first.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            first = Some((at, due()));
        }
    };
    for sub in
        call.store.subscriptions.iter().filter(|sub| sub.status != Status::Canceled && sub.status != Status::Paused)
    {
        let id = &sub.id;
        if let (Status::Trialing, Some(end), false) = (sub.status, sub.trial_end, sub.trial_announced) {
            offer(end - TRIAL_WARNING_DAYS * 86_400, &|| Due::TrialWillEnd(id.clone()));
        }
        if sub.announced < sub.period_end && !sub.cancel_at_period_end {
            offer(sub.period_end - UPCOMING_DAYS * 86_400, &|| Due::Upcoming(id.clone()));
        }
        offer(sub.period_end, &|| Due::Renew(id.clone()));
    }
    for invoice in call.store.invoices.iter() {
        let id = &invoice.id;
        match (invoice.status, invoice.finalizes_at, invoice.next_attempt) {
            (InvoiceStatus::Draft, Some(at), _) => offer(at, &|| Due::Finalize(id.clone())),
            (InvoiceStatus::Open, _, Some(at)) => offer(at, &|| Due::Retry(id.clone())),
            (InvoiceStatus::Draft | InvoiceStatus::Open | InvoiceStatus::Paid | InvoiceStatus::Void, _, _) => {}
        }
    }
    first
}

fn announce(call: &mut Call<'_>, id: &str) {
    let Some(sub) = call.store.subscriptions.find_mut(id) else { return };
    sub.announced = sub.period_end;
    let sub = sub.clone();
    let (start, end) = sub.next_period();
    let mut lines = sub.pending.clone();
    lines.push(sub.regular_line(call.world, start, end));
    if let Some(mut invoice) = invoice::draft(call, id, "upcoming", lines) {
        invoice.id = invoice.id.replace("in_", "upcoming_in_");
        let json = super::store::Object::json(&invoice, call.world);
        super::event::emit(call, "invoice.upcoming", json);
    }
}

/// The period is over: it ends, or the next one begins with an invoice.
fn renew(call: &mut Call<'_>, id: &str) {
    let Some(sub) = call.store.subscriptions.find(id).cloned() else { return };
    if sub.cancel_at_period_end {
        return subscription::end(call, id);
    }
    let has_card = sub.default_method.is_some()
        || call.store.customers.find(&sub.customer).is_some_and(|customer| customer.default_payment_method.is_some());
    if sub.status == Status::Trialing && !has_card {
        match sub.missing_card {
            MissingCard::Cancel => return subscription::end(call, id),
            MissingCard::Pause => {
                if let Some(sub) = call.store.subscriptions.find_mut(id) {
                    sub.status = Status::Paused;
                }
                return call.emit("customer.subscription.paused", id);
            }
            MissingCard::CreateInvoice => {}
        }
    }
    let was_trial = sub.status == Status::Trialing;
    let stays_draft = sub.status == Status::Unpaid;
    let anchor = if was_trial { sub.period_end } else { sub.anchor };
    let Some(stored) = call.store.subscriptions.find_mut(id) else { return };
    stored.anchor = anchor;
    let (start, end) = stored.next_period();
    stored.period_start = start;
    stored.period_end = end;
    if was_trial {
        stored.status = Status::Active;
    }
    let mut lines = std::mem::take(&mut stored.pending);
    lines.push(stored.clone().regular_line(call.world, start, end));
    if let Some(mut draft) = invoice::draft(call, id, "subscription_cycle", lines) {
        // As Stripe has it: the period that ended.
        draft.period_start = sub.period_start;
        draft.period_end = sub.period_end;
        draft.finalizes_at = (!stays_draft).then_some(call.now + DRAFT_SECONDS);
        invoice::insert(call, draft);
    }
    call.emit("customer.subscription.updated", id);
}
