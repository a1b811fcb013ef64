//! Lines of the statement as a table. On a phone the day stands under what happened and the balance under the change, so that
//! no amount is off the screen.

use crate::ui::money::{Digits, Money};
use crate::ui::table::Table;
use crate::ui::when::When;
use leptos::prelude::*;
use server::ledger::Line;

/// Lines, newest first; each with where it leads, and what there is to say beside it.
pub fn table(lines: Vec<(Line, String, Option<String>)>, zone: &str) -> impl IntoView + use<> {
    let rows = lines.into_iter().map(|(line, href, detail)| row(line, href, detail, zone.to_owned())).collect_view();
    view! {
        <Table caption="Statement, newest first">
            <thead>
                <tr>
                    <th class="max-sm:hidden" scope="col">
                        "Date"
                    </th>
                    <th scope="col">"What"</th>
                    <th class="number" scope="col">
                        "Change"
                    </th>
                    <th class="number max-sm:hidden" scope="col">
                        "Balance"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </Table>
    }
}

fn row(line: Line, href: String, detail: Option<String>, zone: String) -> impl IntoView {
    let (memo, title) = (line.memo.clone(), line.memo);
    let day = zone.clone();
    view! {
        <tr>
            <td class="text-ink-muted max-sm:hidden">
                <When at=line.created_at zone=zone />
            </td>
            <td class="w-full max-w-0 min-w-36">
                <a class="row-link clip" href=href title=title>
                    {memo}
                </a>
                {detail.map(|detail| view! { <span class="block text-13 text-ink-muted">{detail}</span> })}
                <span class="block text-13 text-ink-muted sm:hidden">
                    <When at=line.created_at zone=day />
                </span>
            </td>
            <td class="number">
                <Money amount=line.change digits=Digits::Exact signed=true />
                <span class="block text-13 text-ink-muted sm:hidden">
                    "then " <Money amount=line.balance_after digits=Digits::Cents />
                </span>
            </td>
            <td class="number max-sm:hidden">
                <Money amount=line.balance_after digits=Digits::Exact />
            </td>
        </tr>
    }
}
