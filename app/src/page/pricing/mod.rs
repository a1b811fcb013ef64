//! What everything costs: plans on our keys or on one's own, credit, rates, limits, and the questions people ask. Works
//! without JavaScript, and for a stranger without a look into the database.

mod choice;
mod credit;
mod faq;
mod limits;
mod plans;

use crate::ui::layout::public_about;
use crate::visitor::{self, Visitor};
use crate::{error, page::pricing::choice::Choice};
pub use choice::{address, seats_of};
pub use credit::day;
use domain::subscription::CurrentPlan;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

#[component]
pub fn PricingPage() -> impl IntoView {
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    let choice = Choice::from_query(&use_query_map().get_untracked());
    let content = Suspend::new(async move {
        match current_plan(&visitor).await {
            Ok(current) => content(&visitor, &choice, current.as_ref()),
            Err(cause) => error::in_place_of_page(&visitor.server, cause),
        }
    });
    public_about(
        "Pricing",
        "Plans with our keys or yours, credit packs with their effective markup, the rate of every model, and the limits of each plan.",
        content,
    )
}

/// What a signed-in visitor has; nothing is read for a stranger.
async fn current_plan(visitor: &Visitor) -> server::error::Result<Option<CurrentPlan>> {
    match &visitor.user {
        None => Ok(None),
        Some(user) => server::subscription::load_current(&visitor.server, &user.account_id).await.map(Some),
    }
}

fn content(visitor: &Visitor, choice: &Choice, current: Option<&CurrentPlan>) -> AnyView {
    let server = &visitor.server;
    let (catalogue, rates) = (server.catalogue.load_full(), server.rates.load_full());
    let now = server.clock.now();
    let includes_runs = catalogue.plans.iter().any(|plan| limits::includes_runs(&plan.limits));
    let lede = if includes_runs {
        "A plan for what you run every month, credit at the provider's list price for the rest. With your own keys the \
         plan costs less and the models cost nothing here."
    } else {
        "One fee for each person, the same on our keys and on yours. What the models cost is paid from credit at the \
         provider's list price, or by your own keys."
    };
    view! {
        <div class="grid grid-cols-[minmax(0,1fr)] gap-14 pb-8 pt-6 sm:gap-20 sm:pt-12">
            <div class="grid gap-8">
                <div class="grid max-w-3xl gap-3">
                    <h1 class="text-40 font-semibold tracking-tight">"Pricing"</h1>
                    <p class="lede">{lede}</p>
                </div>
                {plans::board(&catalogue, choice, current, server.config.contact.as_deref(), now)}
                {plans::trials(&catalogue)}
            </div>
            {credit::section(&catalogue, &rates, now)}
            {credit::rate_card(&catalogue, &rates, now)}
            {limits::section(&catalogue, now)}
            {faq::section(&catalogue)}
        </div>
    }
    .into_any()
}
