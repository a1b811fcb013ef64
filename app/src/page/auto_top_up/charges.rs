//! The automatic charges that were made, and how each ended.

use crate::ui::empty::Empty;
use crate::ui::money::{Digits, Money};
use crate::ui::table::Table;
use crate::ui::when::When;
use leptos::prelude::*;
use server::top_up::{TopUp, TopUpState};

pub(super) fn charges(recent: &[TopUp], zone: &str) -> impl IntoView + use<> {
    let rows = recent
        .iter()
        .map(|top_up| {
            let (state, class) = state_words(top_up.state);
            let why = top_up.reason().map(|reason| reason.sentence().to_owned()).or_else(|| top_up.problem.clone());
            let href = format!("/credits/bought/{}", top_up.top_up_id);
            let (at, price, zone) = (top_up.created_at, top_up.price, zone.to_owned());
            view! {
                <tr>
                    <td class="text-ink-muted">
                        <When at=at zone=zone />
                    </td>
                    <td>
                        <a class="row-link" href=href>
                            <span class=class>{state}</span>
                        </a>
                    </td>
                    <td class="w-full min-w-48">{why.filter(|_| top_up.state != TopUpState::Paid)}</td>
                    <td class="number">
                        <Money amount=price digits=Digits::Cents />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-4" aria-labelledby="charges-made">
            <h2 class="text-20 font-semibold" id="charges-made">
                "Automatic charges"
            </h2>
            {if recent.is_empty() {
                view! { <Empty title="None yet" text="Each automatic charge stands here, with how it ended." /> }.into_any()
            } else {
                view! {
                    <Table caption="Automatic charges, newest first">
                        <thead>
                            <tr>
                                <th scope="col">"Date"</th>
                                <th scope="col">"State"</th>
                                <th scope="col">"Why"</th>
                                <th class="number" scope="col">
                                    "Price"
                                </th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </Table>
                }
                .into_any()
            }}
        </section>
    }
}

const fn state_words(state: TopUpState) -> (&'static str, &'static str) {
    match state {
        TopUpState::Open => ("Under way", "state state-live"),
        TopUpState::NeedsAction => ("Waits for your bank", "state"),
        TopUpState::Paid => ("Paid", "state"),
        TopUpState::Refused => ("Declined", "state"),
        TopUpState::Expired => ("Not made", "state"),
    }
}
