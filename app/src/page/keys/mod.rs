//! The users' own keys of providers: what is known of each, adding one, and changing, replacing or deleting it.
//! A key is typed once and never shown again; a form that was refused comes back without it.

mod agents;
mod connect;
mod edit;
mod entry;
mod health;
mod policy;
mod row;
mod submit;

pub use connect::returned;
pub use submit::submit;

use crate::post::Refused;
use crate::ui::drag_order::DragOrder;
use crate::ui::in_place::InPlace;
use crate::ui::layout::{Section, console};
use crate::ui::notice::{Notice, Tone};
use crate::ui::plan::missing_key_notice;
use crate::visitor::signed_in;
use domain::member::Permission;
use domain::provider::Provider;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use policy::Policies;
use row::Look;
use server::{agent, provider_key, subscription};

#[component]
pub fn KeysPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Keys, "Keys", async move {
        let (server, user) = signed_in()?;
        let keys = provider_key::list(&server, &user.account_id).await?;
        let catalogue = server.catalogue.load_full();
        let own = provider_key::load_own(&server, &user.account_id).await?;
        let agents = agent::list(&server, &user.account_id).await?;
        let of = query.get("agent").and_then(|id| agents.iter().find(|agent| agent.agent_id.as_str() == id));
        let in_force = provider_key::load_own_for(&server, &user.account_id, of.map(|agent| &agent.agent_id)).await?;
        let days = provider_key::list_days(&server, &user.account_id).await?;
        let missing = subscription::load_missing_key(&server, &user.account_id).await?;
        let missing = missing_key_notice(missing, &user.time_zone, ("See your plan", "/plan"));
        let may_not = user.require(Permission::ManageKeys).err().map(|denial| denial.sentence());
        let manages = may_not.is_none();
        // Beside its field only where the form has its fields open; else at the top.
        let beside = if refused.of("save").denial().is_some() { entry::FIELDS } else { &[] };
        let came_of = entry::came_of(&query, &keys);
        let look = Look {
            server: &server,
            catalogue: &catalogue,
            keys: &keys,
            own: &own,
            agents: &agents,
            days: &days,
            manages,
            zone: &user.time_zone,
            now: server.clock.now(),
        };
        let rows = Provider::ALL.iter().map(|&provider| look.provider_row(provider)).collect_view();
        let sent = refused.of("policy");
        let policies = Policies {
            server: &server,
            catalogue: &catalogue,
            own: &in_force,
            keys: &keys,
            manages,
            agents: &agents,
            agent: of,
            refused: sent,
        };
        let policy = policies.section();
        Ok(view! {
            <div class="grid grid-cols-1 gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Keys"</h1>
                    <p class="lede">
                        "Your own keys of model providers. A run that uses one costs nothing here; the provider bills you, without a "
                        "markup."
                    </p>
                </div>
                <div class="empty:hidden" id="key-missing">
                    {missing}
                </div>
                {refused.notice(beside)}
                {query.get("done").and_then(|done| said(&done)).map(|done| view! { <Notice tone=Tone::Positive title=done /> })}
                {may_not.map(|sentence| view! { <Notice tone=Tone::Info title=sentence /> })}
                {manages.then(|| entry::section(&refused, came_of))}
                <section class="grid grid-cols-1 gap-4" aria-labelledby="providers">
                    <h2 class="text-20 font-semibold" id="providers">
                        "Providers"
                    </h2>
                    <ul class="card divide-y divide-line p-0" id="provider-keys">
                        {rows}
                    </ul>
                </section>
                <div id="key-rules">{policy}</div>
                <InPlace />
                <DragOrder />
            </div>
        })
    })
}

/// What happened, after a form was answered with a redirect.
fn said(done: &str) -> Option<&'static str> {
    match done {
        "replaced" => Some("The new key is in use. The one before is gone."),
        "changed" => Some("The change is saved."),
        "moved" => Some("The order is saved. The first key that works is used."),
        "policy" => Some("The rules are saved. They count from the next run on."),
        "deleted" => {
            Some("The key is deleted. Its secret is erased here; end it at the provider too if it may be known.")
        }
        _ => None,
    }
}
