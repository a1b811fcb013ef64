//! Owns: what each notice says: one title, a sentence or two, and what to do about it.

use super::{DisputeNews, Fact, KeyGraceNews, Notice, PlanPaymentNews};
use crate::money::{Cents, Usd};
use crate::trial;

impl Notice {
    /// One line that says what happened; the subject of its mail.
    pub fn title(&self) -> String {
        match self {
            Notice::ExecutionsReached { percent, .. } if *percent >= 100 => {
                "Your plan's executions of this period are used up".to_owned()
            }
            Notice::ExecutionsReached { percent, .. } => format!("{percent} % of your plan's executions are used"),
            Notice::ProjectedSpend { percent, budget, .. } => {
                format!("This month is on its way to {percent} % of the budget for {budget}")
            }
            Notice::BudgetReached { percent, budget, .. } => {
                format!("{percent} % of the budget for {budget} is spent")
            }
            Notice::LowBalance { spendable, .. } => format!("Your credit balance is {}", rounded(*spendable)),
            Notice::CreditExpiring { amount, .. } => format!("{} of your credit lapses soon", rounded(*amount)),
            Notice::PaymentNeedsAction { amount, .. } => {
                format!("Your bank wants you to confirm a payment of {}", money(*amount))
            }
            Notice::PlanPayment { news, .. } => match news {
                PlanPaymentNews::Failed => "Your Tokenbank plan could not be paid",
                PlanPaymentNews::Suspended => "Your Tokenbank plan is suspended",
                PlanPaymentNews::InOrderAgain => "Your Tokenbank plan is paid",
                PlanPaymentNews::Ended => "Your Tokenbank plan has ended",
            }
            .to_owned(),
            Notice::TopUpPaused { .. } => "Auto-top-up is paused".to_owned(),
            Notice::TopUpDone { credit, .. } => format!("Auto-top-up added {} of credit", rounded(*credit)),
            Notice::RefundDone { amount, .. } => format!("{} goes back to your card", money(*amount)),
            Notice::DisputeChanged { news, amount } => match news {
                DisputeNews::Opened => format!("A payment of {} is disputed", money(*amount)),
                DisputeNews::Won => format!("The dispute of {} was decided for this payment", money(*amount)),
                DisputeNews::Lost => format!("The disputed payment of {} was given back", money(*amount)),
            },
            Notice::AccountFrozen { .. } => "Your account is frozen".to_owned(),
            Notice::AccountReleased => "Your account is released".to_owned(),
            Notice::KeyTrouble { provider, label, .. } => {
                let name = provider.name();
                if label == name {
                    format!("Your {name} key has trouble")
                } else {
                    format!("Your {name} key “{label}” has trouble")
                }
            }
            Notice::KeyGrace { news, .. } => match news {
                KeyGraceNews::Lost => "Your plan's own-key price needs a key that works",
                KeyGraceNews::Works => "A key of yours works again, and your plan keeps its price",
                KeyGraceNews::Moved => "Your plan has the standard price now",
            }
            .to_owned(),
            Notice::TrialEnding { ends_at, .. } => format!("Your Tokenbank trial ends on {}", ends_at.utc_day()),
            Notice::TrialRefused { .. } => "Your Tokenbank trial did not begin".to_owned(),
            Notice::WebhookDisabled { .. } => "A webhook was disabled because it kept failing".to_owned(),
        }
    }

    /// What it means and what is safe, in a sentence or two.
    pub fn text(&self) -> String {
        match self {
            Notice::ExecutionsReached { percent, .. } if *percent >= 100 => {
                "Credits or your own key can pay for runs until the next period begins.".to_owned()
            }
            Notice::ExecutionsReached { .. } => {
                "Nothing changes yet. When they are used up, credits or your own key can pay.".to_owned()
            }
            Notice::ProjectedSpend { .. } => {
                "This is a forecast from what was spent so far; nothing was stopped or charged for it.".to_owned()
            }
            Notice::BudgetReached { .. } => "A budget tells you and stops nothing: runs go on.".to_owned(),
            Notice::LowBalance { .. } => {
                "It fell below your mark. At $0.00, runs that credits pay for pause; what is running is finished."
                    .to_owned()
            }
            Notice::CreditExpiring { .. } => {
                "It was given to you with an end. Credit that you bought never expires.".to_owned()
            }
            Notice::PaymentNeedsAction { .. } => "Nothing was charged yet. Confirm it, and the payment goes on; do nothing, and it \
                                                  lapses."
                .to_owned(),
            Notice::PlanPayment { news, grace_days } => plan_payment(*news, *grace_days),
            Notice::TopUpPaused { sentence, .. } => format!("{sentence} Until then nothing is charged by itself."),
            Notice::TopUpDone { price, .. } => {
                format!("Your card was charged {}, as you had asked for when the balance is low.", money(*price))
            }
            Notice::RefundDone { credit, .. } => format!(
                "{} of credit was taken from your balance for it. Banks take 5 to 10 days to show it.",
                rounded(*credit)
            ),
            Notice::DisputeChanged { news, .. } => match news {
                DisputeNews::Opened => "The card's owner asked the bank for the money back. The account is frozen and the credit of that \
                                        payment taken back until this is decided."
                    .to_owned(),
                DisputeNews::Won => "The credit of that payment is back in your balance.".to_owned(),
                DisputeNews::Lost => "The credit of that payment stays taken back.".to_owned(),
            },
            Notice::AccountFrozen { reason, may_buy: true } => format!(
                "New runs wait, because {reason}; those on your own keys go on. You can buy credit: what is owed is paid from it \
                 first, and runs start again at once."
            ),
            Notice::AccountFrozen { reason, may_buy: false } => {
                format!("No new run starts and nothing can be bought, because {reason}. Your credit and your keys are kept.")
            }
            Notice::AccountReleased => "Runs and purchases work again.".to_owned(),
            Notice::KeyTrouble { problem, .. } => problem.clone(),
            Notice::KeyGrace { news, .. } => match news {
                KeyGraceNews::Lost => {
                    "No key of yours works at the moment. Without one, the plan goes on at its standard price after that day."
                }
                KeyGraceNews::Works => "There is nothing to do.",
                KeyGraceNews::Moved => {
                    "No key of yours worked until the day that was announced. The difference for the rest of this period is on the \
                     next invoice. With a key that works you can choose the own-key price again at any time."
                }
            }
            .to_owned(),
            Notice::TrialEnding { trial, .. } => trial::at_the_end(*trial).to_owned(),
            Notice::TrialRefused { problem } => format!(
                "{problem} The subscription was ended before anything was charged, and your card is not used. A plan can be \
                 chosen without a trial at any time."
            ),
            Notice::WebhookDisabled { url, problem, .. } => {
                format!("Nothing is sent to {url} any more. Its last answer: {problem}")
            }
        }
    }

    /// Names and values for whoever writes the notice out, in the reader's zone.
    pub fn facts(&self) -> Vec<(&'static str, Fact)> {
        match self {
            Notice::ExecutionsReached { used, included, period_ends_at, .. } => vec![
                ("Used", Fact::Text(format!("{used} of {included}"))),
                ("Next period begins", Fact::Moment(*period_ends_at)),
            ],
            Notice::ProjectedSpend { forecast, amount, month_ends_at, .. } => vec![
                ("Forecast", Fact::Money(*forecast)),
                ("Budget", Fact::Money(*amount)),
                ("Month ends", Fact::Moment(*month_ends_at)),
            ],
            Notice::BudgetReached { spent, amount, month_ends_at, .. } => vec![
                ("Spent", Fact::Money(*spent)),
                ("Budget", Fact::Money(*amount)),
                ("Month ends", Fact::Moment(*month_ends_at)),
            ],
            Notice::LowBalance { spendable, mark } => {
                vec![("Balance", Fact::Money(*spendable)), ("Your mark", Fact::Money(*mark))]
            }
            Notice::CreditExpiring { amount, expires_at } => {
                vec![("Credit", Fact::Money(*amount)), ("Lapses", Fact::Moment(*expires_at))]
            }
            Notice::PaymentNeedsAction { amount, until, .. } => {
                let until = until.map(|until| ("Possible until", Fact::Moment(until)));
                [("Amount", Fact::Money(money(*amount)))].into_iter().chain(until).collect()
            }
            Notice::TopUpDone { price, credit } => {
                vec![("Charged", Fact::Money(money(*price))), ("Credit", Fact::Money(*credit))]
            }
            Notice::RefundDone { amount, credit } => {
                vec![("Refund", Fact::Money(money(*amount))), ("Credit taken", Fact::Money(*credit))]
            }
            Notice::KeyGrace { news, ends_at, month } => {
                let until = match news {
                    KeyGraceNews::Lost | KeyGraceNews::Moved => Some(("Own-key price until", Fact::Moment(*ends_at))),
                    KeyGraceNews::Works => None,
                };
                let month = month.map(|month| ("A month at the standard price", Fact::Money(money(month))));
                until.into_iter().chain(month).collect()
            }
            Notice::TrialEnding { ends_at, .. } => vec![("Ends", Fact::Moment(*ends_at))],
            Notice::WebhookDisabled { failing_since, .. } => vec![("Failing since", Fact::Moment(*failing_since))],
            Notice::PlanPayment { .. }
            | Notice::TopUpPaused { .. }
            | Notice::DisputeChanged { .. }
            | Notice::AccountFrozen { .. }
            | Notice::AccountReleased
            | Notice::TrialRefused { .. }
            | Notice::KeyTrouble { .. } => Vec::new(),
        }
    }

    /// What to do about it: the words on the button, and the path of our page.
    pub fn remedy(&self) -> (&'static str, String) {
        let (label, path) = match self {
            Notice::ExecutionsReached { .. } => ("See your limits", "/limits"),
            Notice::ProjectedSpend { .. } => ("See the forecast", "/alerts/settings"),
            Notice::BudgetReached { .. } => ("See what was used", "/usage"),
            Notice::LowBalance { .. } => ("Add credits", "/credits"),
            Notice::CreditExpiring { .. } | Notice::TopUpDone { .. } => ("See your credit", "/credits"),
            Notice::PaymentNeedsAction { path, .. } => ("Confirm the payment", path.as_str()),
            Notice::PlanPayment { .. } => ("See your plan", "/plan"),
            Notice::TopUpPaused { .. } => ("Look at auto-top-up", "/credits/auto-top-up"),
            Notice::RefundDone { .. } | Notice::DisputeChanged { .. } => ("See the statement", "/credits"),
            Notice::AccountFrozen { .. } => ("See what lifts it", "/credits#frozen"),
            Notice::AccountReleased => ("See your account", "/overview"),
            Notice::KeyGrace { news: KeyGraceNews::Moved, .. } => ("See your plan", "/plan"),
            Notice::KeyTrouble { .. } | Notice::KeyGrace { .. } => ("Look at your keys", "/keys"),
            Notice::TrialEnding { .. } => ("See what is left", "/limits"),
            Notice::TrialRefused { .. } => ("Ask for a trial", "/limits?appeal=1#trial"),
            Notice::WebhookDisabled { .. } => ("Look at your webhooks", "/settings/webhooks"),
        };
        (label, path.to_owned())
    }
}

fn plan_payment(news: PlanPaymentNews, grace_days: u32) -> String {
    match news {
        PlanPaymentNews::Failed => format!(
            "The payment for your plan was declined. Your plan stays as it is for {grace_days} days; Stripe tries the card again \
             by itself. Change the card, or pay now, on the page of your plan. Credit, keys and runs stay."
        ),
        PlanPaymentNews::Suspended => "The payment for your plan is still missing, so your account has the limits of the free plan for \
                                       now. It gets its plan back as soon as the invoice is paid. Credit that you bought can be spent as \
                                       before."
            .to_owned(),
        PlanPaymentNews::InOrderAgain => {
            "Thank you. The payment for your plan arrived, and everything is in order.".to_owned()
        }
        PlanPaymentNews::Ended => "Your account is on the free plan now. You can choose a plan again at any time. Credit that you \
                                   bought never expires."
            .to_owned(),
    }
}

/// To the cent: `$12.40`.
fn rounded(amount: Usd) -> String {
    money(amount.to_cents_half_up()).to_string()
}

fn money(amount: Cents) -> Usd {
    Usd::from_cents(amount).unwrap_or(Usd::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::TrialKind;
    use crate::notice::NoticeKind;
    use crate::provider::Provider;
    use crate::time::Timestamp;

    fn usd(text: &str) -> Usd {
        Usd::parse_dollars(text).unwrap()
    }

    /// One of each kind.
    fn all() -> Vec<Notice> {
        let at = Timestamp::from_seconds(1_795_521_900);
        let (budget, amount) = ("all runs".to_owned(), usd("50"));
        vec![
            Notice::ExecutionsReached { percent: 80, used: 80, included: 100, period_ends_at: at },
            Notice::ProjectedSpend {
                percent: 100,
                budget: budget.clone(),
                forecast: amount,
                amount,
                month_ends_at: at,
            },
            Notice::BudgetReached { percent: 50, budget, spent: usd("25.004"), amount, month_ends_at: at },
            Notice::LowBalance { spendable: usd("4.3961"), mark: usd("5") },
            Notice::CreditExpiring { amount, expires_at: at },
            Notice::PaymentNeedsAction { amount: Cents(2_875), path: "/credits/confirm/1".to_owned(), until: Some(at) },
            Notice::PlanPayment { news: PlanPaymentNews::Failed, grace_days: 14 },
            Notice::TopUpPaused { reason: "card_expired".to_owned(), sentence: "Your card has expired.".to_owned() },
            Notice::TopUpDone { price: Cents(2_875), credit: usd("25") },
            Notice::RefundDone { amount: Cents(1_150), credit: usd("10") },
            Notice::DisputeChanged { news: DisputeNews::Opened, amount: Cents(1_150) },
            Notice::AccountFrozen { reason: "a payment is disputed".to_owned(), may_buy: false },
            Notice::AccountReleased,
            Notice::KeyTrouble {
                provider: Provider::OpenAi,
                label: "Work".to_owned(),
                problem: "OpenAI refuses it.".to_owned(),
            },
            Notice::KeyGrace { news: KeyGraceNews::Moved, ends_at: at, month: Some(Cents(900)) },
            Notice::TrialEnding { trial: TrialKind::Managed, ends_at: at },
            Notice::TrialRefused { problem: "There is one for each person.".to_owned() },
            Notice::WebhookDisabled {
                url: "https://example.com/in".to_owned(),
                failing_since: at,
                problem: "500".to_owned(),
            },
        ]
    }

    #[test]
    fn every_kind_has_its_words_and_is_read_back_as_it_was_written() {
        let all = all();
        assert_eq!(all.iter().map(Notice::kind).collect::<Vec<_>>(), NoticeKind::ALL);
        for notice in all {
            let json = serde_json::to_string(&notice).unwrap();
            assert!(json.contains(&format!(r#""kind":"{}""#, notice.kind())), "{json}");
            assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice);
            let (title, text, (label, path)) = (notice.title(), notice.text(), notice.remedy());
            assert!(!title.ends_with('.') && text.ends_with('.') || text.ends_with("500"), "{title} / {text}");
            assert!(!label.is_empty() && path.starts_with('/'), "{path}");
            assert!(!text.contains('!') && !text.contains("  "), "{text}");
        }
    }

    /// A notice of before there was `may_buy` is read, and says the more careful thing.
    #[test]
    fn a_freeze_says_whether_credit_can_be_bought() {
        let old = r#"{"kind":"account_frozen","reason":"a payment is disputed"}"#;
        let dispute = serde_json::from_str::<Notice>(old).unwrap();
        assert!(dispute.text().contains("nothing can be bought"), "{}", dispute.text());
        let owed = Notice::AccountFrozen { reason: "money is owed".to_owned(), may_buy: true };
        assert!(owed.text().contains("You can buy credit") && !owed.text().contains("nothing"), "{}", owed.text());
    }

    #[test]
    fn amounts_in_titles_are_to_the_cent() {
        let low = Notice::LowBalance { spendable: usd("4.3961"), mark: usd("5") };
        assert_eq!(low.title(), "Your credit balance is $4.40");
    }
}
