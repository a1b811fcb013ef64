//! The automatic charges that were made, and how each ended; with them the packs that turning it on began with.

use crate::ui::empty::Empty;
use crate::ui::money::{Digits, Money};
use crate::ui::table::Table;
use crate::ui::when::When;
use domain::id::PurchaseId;
use domain::money::Usd;
use domain::time::Timestamp;
use leptos::prelude::*;
use server::top_up::{FirstPack, TopUp, TopUpState, View};

/// One line of the table.
struct Charge {
    at: Timestamp,
    purchase_id: PurchaseId,
    state: TopUpState,
    why: Option<String>,
    price: Usd,
}

impl Charge {
    fn automatic(top_up: &TopUp) -> Charge {
        let why = top_up.reason().map(|reason| reason.sentence().to_owned()).or_else(|| top_up.problem.clone());
        Charge {
            at: top_up.created_at,
            purchase_id: top_up.top_up_id.clone(),
            state: top_up.state,
            why: why.filter(|_| top_up.state != TopUpState::Paid),
            price: top_up.price,
        }
    }

    fn first(pack: &FirstPack) -> Charge {
        Charge {
            at: pack.paid_at,
            purchase_id: pack.purchase_id.clone(),
            state: TopUpState::Paid,
            why: Some("The first pack, paid by you when you turned it on. It counts in the month.".to_owned()),
            price: pack.price(),
        }
    }
}

pub(super) fn charges(view: &View, zone: &str) -> impl IntoView + use<> {
    let mut all: Vec<Charge> = view.recent.iter().map(Charge::automatic).collect();
    all.extend(view.first_packs.iter().map(Charge::first));
    all.sort_by_key(|charge| std::cmp::Reverse(charge.at));
    let is_empty = all.is_empty();
    let rows = all
        .into_iter()
        .map(|charge| {
            let (state, class) = state_words(charge.state);
            let href = format!("/credits/bought/{}", charge.purchase_id);
            let zone = zone.to_owned();
            view! {
                <tr>
                    <td class="text-ink-muted">
                        <When at=charge.at zone=zone />
                    </td>
                    <td>
                        <a class="row-link" href=href>
                            <span class=class>{state}</span>
                        </a>
                    </td>
                    <td class="w-full min-w-48">{charge.why}</td>
                    <td class="number">
                        <Money amount=charge.price digits=Digits::Cents />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="grid gap-4" aria-labelledby="charges-made">
            <h2 class="text-20 font-semibold" id="charges-made">
                "Charges made"
            </h2>
            {if is_empty {
                view! { <Empty title="None yet" text="Each automatic charge stands here, with how it ended." /> }.into_any()
            } else {
                view! {
                    <Table caption="Charges of auto-top-up, newest first">
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
