//! Whether it is on, paused or off, in words; the charge that waits for the bank; the next charge and this month's.

use super::ADDRESS;
use crate::post::ForAccount;
use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::round_dollars;
use crate::ui::when::When;
use domain::catalogue::Catalogue;
use domain::time::Timestamp;
use domain::top_up::{Reason, Verdict};
use leptos::prelude::*;
use server::payment_method::KeptCard;
use server::top_up::{TopUp, View};

/// The rule as one sentence.
pub(super) fn sentence(view: &View, catalogue: &Catalogue) -> String {
    match (view.rule.as_ref().filter(|rule| rule.is_on()), &view.card) {
        (Some(rule), card) => {
            let pack = catalogue.pack(&rule.pack_id).ok();
            let (name, price) = pack.map_or_else(
                || (rule.pack_id.to_string(), String::new()),
                |pack| {
                    (
                        format!("{} pack", round_dollars(pack.amount)),
                        format!(" for {}", text(pack.price, Digits::Cents)),
                    )
                },
            );
            let with = card.as_ref().map_or_else(String::new, |card| format!(" with {}", card_name(card)));
            format!(
                "When your balance falls under {}, the {name} is bought{price}{with}, at most {} a month.",
                text(rule.threshold, Digits::Cents),
                text(rule.cap, Digits::Cents)
            )
        }
        (None, _) => {
            "Buys a pack by itself when your balance is low, so that work does not stop. Off until you turn it on; \
                      you choose when, what, and how much a month at most."
                .to_owned()
        }
    }
}

pub(super) fn card_name(card: &KeptCard) -> String {
    let mut letters = card.brand.chars();
    let brand = letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
    format!("{brand} ending in {}", card.last4)
}

/// On, paused with the reason and the remedy, or off.
pub(super) fn state(view: &View, zone: &str) -> impl IntoView + use<> {
    match view.verdict {
        Verdict::Off => view! { <Notice tone=Tone::Info title="Off">"Nothing is charged by itself."</Notice> }.into_any(),
        Verdict::Paused { reason, until } => paused(reason, until, zone.to_owned()).into_any(),
        Verdict::Open => {
            view! {
                <Notice tone=Tone::Info title="On: a top-up is being made">
                    "Stripe has not answered yet. Nothing else is charged meanwhile; this page knows in a moment."
                </Notice>
            }
            .into_any()
        }
        Verdict::Wait { until, .. } => {
            let zone = zone.to_owned();
            view! {
                <Notice tone=Tone::Positive title="On">
                    "The balance is low. Charges keep their distance, so the next one is made "
                    <When at=until zone=zone /> "."
                </Notice>
            }
            .into_any()
        }
        Verdict::Enough | Verdict::Due { .. } => {
            view! { <Notice tone=Tone::Positive title="On">"It buys when the balance falls under the threshold."</Notice> }.into_any()
        }
    }
}

fn paused(reason: Reason, until: Option<Timestamp>, zone: String) -> impl IntoView {
    view! {
        <Notice tone=Tone::Caution title=format!("Paused: {}", reason.sentence())>
            <p>
                "Nothing is charged"
                {match until {
                    Some(until) => view! { " until " <When at=until zone=zone /> ". " }.into_any(),
                    None => ". ".into_any(),
                }} <span class="font-mono text-13">{reason.as_str()}</span>
            </p>
            {reason
                .remedy()
                .map(|remedy| {
                    view! {
                        <p>
                            <a class="button" href=remedy.href>
                                {remedy.label}
                            </a>
                        </p>
                    }
                })}
        </Notice>
    }
}

/// The charge that the bank wants a yes for.
pub(super) fn confirm(top_up: TopUp, zone: &str, may_change: bool, form_id: &str) -> impl IntoView + use<> {
    let price = text(top_up.price, Digits::Cents);
    let (zone, form_id) = (zone.to_owned(), form_id.to_owned());
    view! {
        <section class="card grid gap-4" aria-labelledby="confirm">
            <h2 class="text-20 font-semibold" id="confirm">
                {format!("Confirm {price} with your bank")}
            </h2>
            <p class="max-w-prose">
                {format!("The bank of the card ending in {} wants your yes before it pays this top-up. ", top_up.last4)}
                "Until then nothing is charged and no credit is added."
                {top_up
                    .recover_until
                    .map(|until| view! { " It can be confirmed until " <When at=until zone=zone /> "." })}
            </p>
            {may_change
                .then(|| {
                    view! {
                        <form method="post" action=ADDRESS>
                            <ForAccount />
                            <input type="hidden" name="do" value="confirm" />
                            <input type="hidden" name="top_up_id" value=top_up.top_up_id.to_string() />
                            <input type="hidden" name="form_id" value=form_id />
                            <button class="button button-primary">{format!("Go to the bank and confirm {price}")}</button>
                        </form>
                    }
                })}
        </section>
    }
}

/// The next charge, and this month's against the cap.
pub(super) fn figures(view: &View, catalogue: &Catalogue, zone: &str) -> Option<impl IntoView + use<>> {
    let rule = view.rule.as_ref().filter(|rule| rule.is_on())?;
    let next = catalogue.pack(&rule.pack_id).ok().map(|pack| text(pack.price, Digits::Cents));
    let of = format!("{} of {}", text(view.charged, Digits::Cents), text(rule.cap, Digits::Cents));
    let used = share(view.charged.nanos(), rule.cap.nanos());
    let count = format!("{} of {} charges", view.charges, rule.rule().charges_a_month);
    let label = format!("This month: {of}");
    let (zone, consent_zone) = (zone.to_owned(), zone.to_owned());
    let (month_end, consent_end, threshold, balance) =
        (view.month.end, rule.consent_ends_at, text(rule.threshold, Digits::Cents), view.balance);
    Some(view! {
        <section class="grid items-start gap-8 sm:grid-cols-3" aria-label="Charges">
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Next charge"</p>
                <p class="figure-small">{next}</p>
                <p class="text-13 text-ink-muted">
                    {format!("when the balance is under {threshold}; now it is ")} <Money amount=balance digits=Digits::Cents />
                </p>
            </div>
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Charged this month"</p>
                <p class="figure-small">{of}</p>
                <svg class="bar" role="img" aria-label=label>
                    <rect width="100%" height="100%" fill="var(--color-line)"></rect>
                    <rect class="fill-1" width=percent(used.clamp(0, 10_000)) height="100%"></rect>
                </svg>
                <p class="text-13 text-ink-muted">{count} "; it begins again " <When at=month_end zone=zone /></p>
            </div>
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Your consent ends"</p>
                <p class="figure-small">
                    <When at=consent_end zone=consent_zone />
                </p>
                <p class="text-13 text-ink-muted">"Saving the rule again renews it."</p>
            </div>
        </section>
    })
}
