//! Owns: the subscription and its first invoice that a paid Checkout Session begins.

use super::collect;
use super::invoice;
use super::store::Call;
use super::subscription::{self, MissingCard, Status, Subscription};
use domain::period::Period;
use domain::time::Timestamp;

/// Begins what a complete session subscribes to. Its first invoice is paid by the session's payment.
pub fn subscribe(call: &mut Call<'_>, session_id: &str) {
    let Some(session) = call.store.sessions.find(session_id).cloned() else { return };
    let (Some(customer), Some(item)) = (session.customer.clone(), session.items.first()) else { return };
    if let Some(method) = &session.method {
        super::customer::set_customer(call, method, Some(customer.clone()));
        call.emit("payment_method.attached", method);
    }
    let now = call.now;
    let trial_end = session.subscription_data.trial_days.map(|days| now + days * 86_400);
    let anchor = Timestamp::from_seconds(now);
    let period_end = trial_end.unwrap_or_else(|| Period::month_from(anchor, anchor).end.seconds());
    let pending = call.store.customers.find_mut(&customer).map(|owner| std::mem::take(&mut owner.pending));
    let id = call.world.clock.new_id("sub_");
    call.store.subscriptions.insert(Subscription {
        id: id.clone(),
        created: now,
        customer,
        status: if trial_end.is_some() { Status::Trialing } else { Status::Active },
        item: call.world.clock.new_id("si_"),
        price: item.price.clone(),
        quantity: item.quantity,
        anchor: now,
        period_start: now,
        period_end,
        metadata: session.subscription_data.metadata.clone(),
        cancel_at_period_end: false,
        canceled_at: None,
        ended_at: None,
        trial_start: trial_end.map(|_| now),
        trial_end,
        missing_card: session.subscription_data.missing_card.unwrap_or(MissingCard::CreateInvoice),
        default_method: session.method.clone(),
        latest_invoice: None,
        coupon: None,
        discount: None,
        pending: pending.unwrap_or_default(),
        announced: 0,
        trial_announced: false,
    });
    if let Some(coupon) = session.coupon.clone() {
        subscription::apply_coupon(call, &id, coupon);
    }
    call.emit("customer.subscription.created", &id);
    let invoice_id = first_invoice(call, &id, session.intent.clone());
    if let Some(session) = call.store.sessions.find_mut(session_id) {
        session.subscription = Some(id);
        session.invoice = invoice_id;
    }
}

fn first_invoice(call: &mut Call<'_>, id: &str, intent: Option<String>) -> Option<String> {
    let sub = call.store.subscriptions.find(id)?.clone();
    let mut line = sub.regular_line(call.world, sub.period_start, sub.period_end);
    if sub.status == Status::Trialing {
        line.amount = 0;
        line.description = format!("Trial period for {}", sub.price.name);
    }
    // What a former subscription left to give back waits for the renewal: this invoice was paid as the page showed it.
    let mut draft = invoice::draft(call, id, "subscription_create", vec![line])?;
    draft.intent = intent;
    let invoice_id = invoice::insert(call, draft);
    invoice::finalize(call, &invoice_id);
    collect::paid(call, &invoice_id);
    Some(invoice_id)
}
