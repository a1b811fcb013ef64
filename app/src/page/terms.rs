//! How credit and plans work, as a promise: every number from the catalogue.

use crate::page::pricing::day;
use crate::ui::layout::public_about;
use crate::ui::money::{Digits, text};
use crate::ui::pack::percent_text;
use crate::visitor;
use domain::catalogue::{Catalogue, TrialKind};
use domain::refund::FeePolicy;
use leptos::prelude::*;

#[component]
pub fn TermsPage() -> impl IntoView {
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    let catalogue = visitor.server.catalogue.load_full();
    let contact = visitor.server.config.contact.clone();
    let parts = parts(&catalogue)
        .into_iter()
        .map(|(id, title, paragraphs)| {
            let paragraphs = paragraphs.into_iter().map(|text| view! { <p>{text}</p> }).collect_view();
            view! {
                <section class="grid gap-2" aria-labelledby=id>
                    <h2 class="text-20 font-semibold" id=id>
                        {title}
                    </h2>
                    {paragraphs}
                </section>
            }
        })
        .collect_view();
    public_about(
        "Terms of credit and plans",
        "How credit and plans work: the fee is taken once at purchase, rates are the providers' own, bought credit never expires and can be refunded.",
        view! {
            <article class="mx-auto grid w-full max-w-prose gap-10 pb-8 pt-6 sm:pt-12">
                <div class="grid gap-3">
                    <h1 class="text-40 font-semibold tracking-tight">"How credit and plans work"</h1>
                    <p class="lede">
                        {format!(
                            "Price list {}, in effect since {}. Every number here is the one we charge by.",
                            catalogue.version,
                            day(catalogue.effective_at),
                        )}
                    </p>
                </div>
                {parts}
                <section class="grid gap-2" aria-labelledby="contact">
                    <h2 class="text-20 font-semibold" id="contact">
                        "Questions"
                    </h2>
                    <p>
                        {match contact {
                            Some(contact) => {
                                let href = format!("mailto:{contact}");
                                view! { "Write to " <a href=href>{contact}</a> "." }.into_any()
                            }
                            None => view! { "Ask whoever runs this installation." }.into_any(),
                        }} " The prices stand on the " <a href="/pricing">"pricing page"</a> "."
                    </p>
                </section>
            </article>
        },
    )
}

fn parts(catalogue: &Catalogue) -> Vec<(&'static str, &'static str, Vec<String>)> {
    let markup = percent_text(catalogue.markup).replace(".0 %", " %");
    vec![
        (
            "value",
            "What credit is",
            vec![
                format!(
                    "Credit is dollars. It represents dollar value applied at the provider's current list rates, plus a \
                     fee of {markup} that is taken once, when you buy. $1 of credit pays $1 of what a provider charges \
                     for your run at the rate of that moment.",
                ),
                "Bonus credit of a pack is spent before what you paid for, and is worth the same while you have it."
                    .to_owned(),
            ],
        ),
        (
            "rates",
            "Rates may change",
            vec![
                "Providers change their prices, and our rates follow them from a date that the rate card shows. Your \
                 balance stays the same number of dollars; what a run costs may rise or fall. A run that has ended is \
                 never repriced."
                    .to_owned(),
            ],
        ),
        (
            "runs",
            "What a run costs",
            vec![
                "Before a run starts, the most it can cost is set aside, and it stops there. You are charged the tokens \
                 that the provider billed, at the provider's rate. If it bills more than was set aside, the difference is \
                 our loss."
                    .to_owned(),
                "Empty and failed answers are not charged. If you stop a run, you pay for what the provider billed until \
                 then. At a balance of zero, runs that need credit pause; your balance never goes below zero by running."
                    .to_owned(),
            ],
        ),
        (
            "expiry",
            "It does not expire",
            vec![
                "Credit that you bought never expires. Trial and promotional credit ends on the day that stands beside it."
                    .to_owned(),
            ],
        ),
        (
            "refunds",
            "Refunds",
            vec![format!(
                "You may have the unused part of the credit you bought paid back at any time, newest purchase first, to the card \
                 it was bought with, {}. The bonus of that purchase is taken away in proportion; bonus that was spent counts as \
                 spent. Trial, promotional and bonus credit is not paid out.",
                match catalogue.refund_fee {
                    FeePolicy::Keep => format!(
                        "less what Stripe keeps of the payment and does not give back ({} and {})",
                        percent_text(catalogue.stripe_fee.percent),
                        text(catalogue.stripe_fee.fixed, Digits::Cents),
                    ),
                    FeePolicy::GiveBack => {
                        "in full: what Stripe keeps of the payment and does not give back, we bear".to_owned()
                    }
                },
            )],
        ),
        (
            "disputes",
            "Disputes",
            vec![
                "If a payment is disputed with your bank, the credit it bought is taken back while the dispute is open. \
                 What was spent already is then owed, and the account is frozen until it is settled. If the dispute is \
                 decided for us, the credit comes back."
                    .to_owned(),
            ],
        ),
        (
            "plans",
            "Plans",
            vec![
                format!(
                    "A plan is paid a month ahead. A larger plan begins at once and costs the difference for the rest of the \
                     month; a smaller one begins when the paid month ends. If a renewal cannot be paid, the plan stays for \
                     {} days. You keep the price list you bought until you change your plan.",
                    catalogue.grace.past_due_days,
                ),
                format!(
                    "The price for your own keys needs a key that works. If the last one stops working, the price stays for \
                     {} days; then the price for our keys applies, and you are told before.",
                    catalogue.grace.own_key_days,
                ),
            ],
        ),
        ("trials", "Trials", trials(catalogue)),
    ]
}

fn trials(catalogue: &Catalogue) -> Vec<String> {
    let ends = |kind| domain::trial::at_the_end(kind);
    let mut paragraphs = vec![format!(
        "Each person may have one trial, known by e-mail and card; who was refused by mistake may appeal. A reminder comes \
         {} days before the end.",
        catalogue.grace.trial_reminder_days,
    )];
    for trial in TrialKind::ALL.iter().filter_map(|&kind| catalogue.trial(kind)) {
        let name = match trial.kind {
            TrialKind::OwnKey => "With your own key",
            TrialKind::Managed => "On our keys without a card",
            TrialKind::ManagedWithCard => "On our keys with a card",
        };
        paragraphs.push(format!("{name} it lasts {} days. {}", trial.days, ends(trial.kind)));
    }
    paragraphs
}
