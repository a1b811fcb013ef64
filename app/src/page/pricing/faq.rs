//! The questions people ask before they buy, each with its answer folded below it.

use super::limits::includes_runs;
use crate::ui::pack::percent_text;
use domain::catalogue::Catalogue;
use leptos::prelude::*;

pub fn section(catalogue: &Catalogue) -> AnyView {
    let entries = entries(catalogue)
        .into_iter()
        .map(|(question, answer)| {
            view! {
                <details class="fold">
                    <summary>{question}</summary>
                    <p>{answer}</p>
                </details>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-6 lg:grid-cols-[1fr_2fr]" aria-labelledby="questions">
            <div class="grid content-start gap-3">
                <h2 class="text-28 font-semibold tracking-tight" id="questions">
                    "Questions"
                </h2>
                <p class="lede">
                    "The whole of it, in plain words, stands in the " <a href="/terms">"terms"</a>
                    ". What it would be for you, works out the " <a href="/pricing/calculator">"calculator"</a> "."
                </p>
            </div>
            <div class="folds">{entries}</div>
        </section>
    }
    .into_any()
}

fn entries(catalogue: &Catalogue) -> Vec<(&'static str, String)> {
    let markup = percent_text(catalogue.markup).replace(".0 %", " %");
    let has_allowance = catalogue.plans.iter().any(|plan| includes_runs(&plan.limits));
    let who_pays = if has_allowance {
        "Your own key, if you have one and chose it for this model. Otherwise a trial that is running, then your plan's \
         included runs, then credit, if you switched pay-per-use on. The preview says which one before you press Execute."
    } else {
        "Your own key, if you have one and chose it for this model. Otherwise a trial that is running, then credit. The \
         preview says which one before you press Execute."
    };
    vec![
        (
            "What is the markup for, and when do I pay it?",
            format!(
                "It is {markup}, paid once, when you buy credit. After that $1 of credit pays $1 of what the provider \
                 charges; nothing is added to a run. The larger packs have a bonus that takes the markup back.",
            ),
        ),
        ("Which money pays for a run?", who_pays.to_owned()),
        (
            "What happens when my credit is used up?",
            "Runs that need it pause, and you are told: “Your credit balance is $0.00. Add credits to continue, or switch \
             to BYOT for zero markup.” You cannot owe us anything."
                .to_owned(),
        ),
        (
            "Can a run cost more than I was shown?",
            "No. The most it can cost is set aside before it starts, and it stops there. If the provider bills more than \
             that, the difference is ours."
                .to_owned(),
        ),
        (
            "Does credit expire? Can I have my money back?",
            "Credit that you bought never expires. What you have not used of it is paid back whenever you ask, newest \
             purchase first; its bonus goes with it in proportion."
                .to_owned(),
        ),
        (
            "What if a provider changes its prices?",
            "Credit is dollars, not tokens: from that day on a run costs what the provider charges then. Rates have dates \
             on the rate card, and a run keeps the rate that priced it."
                .to_owned(),
        ),
        (
            "Do my own keys stay mine?",
            "They are kept encrypted, shown once, and sent to nobody but their provider. With them the models cost \
             nothing here; we record the tokens so that you see what you use."
                .to_owned(),
        ),
        (
            "What happens to my price when yours change?",
            "You stay on the version of the price list that you bought, until you change your plan.".to_owned(),
        ),
    ]
}
