//! The trial on the page of the limits: the one that runs, those that can begin, and asking for another.

use crate::page::limits::names;
use crate::post::{ForAccount, Refused};
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::when::When;
use domain::catalogue::{Catalogue, Trial, TrialKind, TrialModels};
use domain::entitlement::RunningTrial;
use domain::trial::{AppealState, at_the_end};
use leptos::prelude::*;

pub(super) fn running_trial(running: RunningTrial, plan: &str, zone: String) -> impl IntoView + use<> {
    let what = match running.kind {
        TrialKind::OwnKey => {
            view! { {format!("Every model runs with your own keys, and the limits of {plan} count.")} }.into_any()
        }
        TrialKind::Managed | TrialKind::ManagedWithCard => view! {
            <Money amount=running.credit_left digits=Digits::Short />
            " of trial credit is left."
        }
        .into_any(),
    };
    view! {
        <Notice tone=Tone::Info title="Your trial is running">
            <p>
                {what} " It ends " <When at=running.ends_at zone=zone /> ". "
                {at_the_end(running.kind)}
            </p>
        </Notice>
    }
}

pub(super) fn offers_list(offers: &[Trial], catalogue: &Catalogue, may: (bool, bool)) -> impl IntoView + use<> {
    if offers.is_empty() {
        return view! { <p class="lede">"There is no trial to begin here at the moment."</p> }.into_any();
    }
    offers.iter().map(|offer| offer_card(offer, catalogue, may)).collect_view().into_any()
}

/// One trial: what it gives, what happens at its end, and the way to begin it.
fn offer_card(offer: &Trial, catalogue: &Catalogue, (may_choose, has_key): (bool, bool)) -> impl IntoView + use<> {
    let models = match &offer.models {
        TrialModels::All => "every model".to_owned(),
        TrialModels::Only(models) => names(models, catalogue),
    };
    let amount = text(offer.amount, Digits::Cents);
    let (title, gives) = match offer.kind {
        TrialKind::OwnKey => (
            format!("{} days with your own key for {models}", offer.days),
            "Your key pays the provider, and the limits of the plan you choose count meanwhile.",
        ),
        TrialKind::Managed => (
            format!("{} days with {amount} for {models}", offer.days),
            "Trial credit pays before your plan and your credits.",
        ),
        TrialKind::ManagedWithCard => (
            format!("{} days of a plan with {amount} for {models}", offer.days),
            "You leave a card and pay nothing today. Trial credit pays before your plan and your credits.",
        ),
    };
    let begin = match (may_choose, offer.kind) {
        (false, _) => {
            view! { <p class="text-13 text-ink-muted">"Whoever may buy for this account can start it."</p> }.into_any()
        }
        (true, TrialKind::OwnKey) if !has_key => view! {
            <p class="text-13">
                "It needs a key of yours that works. " <a class="underline" href="/keys">
                    "Add a key"
                </a>
            </p>
        }
        .into_any(),
        (true, TrialKind::ManagedWithCard) => {
            let to = offer.plans.first().map(|plan| format!("&to={plan}")).unwrap_or_default();
            view! {
                <p>
                    <a class="button" href=format!("/plan?trial=1{to}#choose")>
                        "Choose the plan to try"
                    </a>
                </p>
            }
            .into_any()
        }
        (true, TrialKind::OwnKey | TrialKind::Managed) => begin_form(offer, catalogue),
    };
    view! {
        <div class="card grid gap-4">
            <div class="grid gap-1">
                <h3 class="font-semibold">{title}</h3>
                <p class="text-ink-muted">{gives} " " {at_the_end(offer.kind)} " One trial for each person."</p>
            </div>
            {begin}
        </div>
    }
}

/// The button of a trial that begins here, with the plans to choose from where there are several.
fn begin_form(offer: &Trial, catalogue: &Catalogue) -> AnyView {
    let plans: Vec<AnyView> = offer
        .plans
        .iter()
        .filter_map(|id| catalogue.plan(id))
        .enumerate()
        .map(|(at, plan)| {
            let (value, name) = (plan.id.to_string(), plan.name.clone());
            view! {
                <label class="flex items-center gap-2">
                    <input type="radio" name="plan" value=value checked=at == 0 />
                    {name}
                </label>
            }
            .into_any()
        })
        .collect();
    let chooses = (plans.len() > 1).then(|| {
        view! {
            <fieldset class="flex flex-wrap gap-x-5 gap-y-1.5">
                <legend class="field-label pb-1">"With the limits of"</legend>
                {plans}
            </fieldset>
        }
    });
    view! {
        <form class="grid gap-4" method="post" action="/limits">
            <ForAccount />
            <input type="hidden" name="what" value="trial" />
            {chooses}
            <div>
                <button class="button button-primary" name="kind" value=offer.kind.as_str()>
                    {format!("Start the {}-day trial", offer.days)}
                </button>
            </div>
        </form>
    }
    .into_any()
}

/// For who has had one: asking a person for another, or what became of that.
pub(super) fn appeal(refused: &Refused, asked: Option<AppealState>, may_choose: bool) -> impl IntoView + use<> {
    let problem = refused.problem("reason");
    let invalid = problem.is_some().then_some("true");
    let typed = refused.typed("reason").unwrap_or_default();
    let (waits, was_refused) = (asked == Some(AppealState::Open), asked == Some(AppealState::Refused));
    view! {
        {waits
            .then(|| {
                view! {
                    <Notice tone=Tone::Info title="You have asked for another trial">
                        "A person reads it. The answer comes by mail."
                    </Notice>
                }
            })}
        {was_refused
            .then(|| {
                view! {
                    <Notice tone=Tone::Info title="Your last request for another trial was refused">
                        "You can ask again if there is something new to say."
                    </Notice>
                }
            })}
        <p class="max-w-prose">
            "There is one trial for each person, and yours, or one with this account or your card, has been used. If that \
             is wrong, or you need another one to decide, tell us why. A person reads it and answers by mail."
        </p>
        {(may_choose && !waits)
            .then(|| {
                view! {
                    <form class="grid gap-4" method="post" action="/limits">
                        <ForAccount />
                        <input type="hidden" name="what" value="appeal" />
                        <div class="field">
                            <label for="reason">"Why another trial"</label>
                            <textarea
                                class="input min-h-24"
                                id="reason"
                                name="reason"
                                required
                                maxlength="1000"
                                aria-invalid=invalid
                                aria-describedby=problem.is_some().then_some("reason-problem")
                            >
                                {typed}
                            </textarea>
                            {problem
                                .map(|problem| {
                                    view! { <p class="field-problem" id="reason-problem">{problem}</p> }
                                })}
                        </div>
                        <div>
                            <button class="button">"Ask for another trial"</button>
                        </div>
                    </form>
                }
            })}
    }
}
