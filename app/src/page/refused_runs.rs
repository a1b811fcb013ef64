//! Runs that were refused for want of credit, where runs are listed: why nothing ran, and what would help.

use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use domain::id::AccountId;
use leptos::prelude::*;
use server::Server;
use server::error::Result;
use server::execution::list_refused;

/// How far back they are shown.
const SHOWN_SECONDS: i64 = 86_400;

/// What was refused in the last day, newest first; nothing when nothing was.
pub async fn notice(server: &Server, account_id: &AccountId, zone: &str) -> Result<Option<AnyView>> {
    let since = server.clock.now().plus_seconds(-SHOWN_SECONDS);
    let refused = list_refused(server, account_id, since).await?;
    let Some(newest) = refused.first() else { return Ok(None) };
    let title = newest.sentence.clone();
    let catalogue = server.catalogue.load_full();
    let rows = refused
        .iter()
        .map(|run| {
            let model =
                catalogue.model(&run.model_id).map_or_else(|_| run.model_id.to_string(), |model| model.name.clone());
            let (at, zone) = (run.last_at, zone.to_owned());
            view! {
                <li>
                    {model} ", last " <When at=at zone=zone /> " "
                    <span class="font-mono text-13">{run.code.clone()}</span>
                </li>
            }
        })
        .collect_view();
    Ok(Some(
        view! {
            <Notice tone=Tone::Caution title=title>
                <p>"Refused in the last day; nothing was charged for them:"</p>
                <ul class="grid gap-1">{rows}</ul>
                <p class="flex flex-wrap gap-3">
                    <a class="button button-primary" href="/credits">
                        "Add credits"
                    </a>
                    <a class="button" href="/keys">
                        "Switch to your own key"
                    </a>
                    <a class="button" href="/credits/auto-top-up">
                        "Set up auto-top-up"
                    </a>
                </p>
            </Notice>
        }
        .into_any(),
    ))
}
