//! Owns: the balance as one figure, one bar and a legend of its kinds.

use crate::ui::meter::{Part, StackedBar};
use crate::ui::money::{Digits, Money};
use crate::ui::notice::{Notice, Tone};
use domain::ledger::Balance;
use leptos::prelude::*;

/// What an account has, by kind.
#[component]
pub fn BalanceBar(balance: Balance) -> impl IntoView {
    let parts = parts(&balance);
    let has_any = balance.total().is_positive();
    view! {
        <section class="grid gap-4" aria-label="Balance">
            <div class="grid gap-1">
                <p class="text-13 text-ink-muted">"Spendable"</p>
                <p class="figure">
                    <Money amount=balance.spendable() digits=Digits::Short />
                </p>
            </div>
            {has_any.then(|| view! { <StackedBar label="Balance by kind" parts=parts /> })}
            {balance
                .receivable
                .is_negative()
                .then(|| {
                    let owed = balance.receivable.checked_neg().unwrap_or_default();
                    view! {
                        <Notice tone=Tone::Danger title="A payment was taken back after its credit was spent">
                            <p>"Your account owes " <Money amount=owed digits=Digits::Cents /> "."</p>
                        </Notice>
                    }
                })}
        </section>
    }
}

/// The kinds in the order in which they are used up, then what running work holds. Bought credit is always named.
fn parts(balance: &Balance) -> Vec<Part> {
    [
        ("Trial", balance.trial, 4),
        ("Promotional", balance.promotional, 3),
        ("Bonus", balance.bonus, 2),
        ("Bought", balance.paid, 1),
        ("Held by running work", balance.held, 6),
    ]
    .into_iter()
    .filter(|(label, amount, _)| amount.is_positive() || *label == "Bought")
    .map(|(label, amount, colour)| Part { label, amount, colour })
    .collect()
}
