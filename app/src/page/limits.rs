//! What the plan includes and what of it is used, who pays, and the trial.

use crate::page::trial_offers::{appeal, offers_list, running_trial};
use crate::post::{ForAccount, Post, Refused};
use crate::ui::layout::{Section, console};
use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, grouped, text};
use crate::ui::when::{When, in_zone};
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::entitlement::{DailySpend, Entitlements};
use domain::funding::PayWith;
use domain::id::{ModelId, PlanId};
use domain::plan::PayPerUse;
use domain::trial::AppealState;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::account::Permission;
use server::{allowance, entitlement, provider_key, trial};

/// `GET /limits`.
#[component]
pub fn LimitsPage() -> impl IntoView {
    let refused = Refused::current();
    // A mail about a trial that did not begin leads here, whatever else could begin.
    let appeals = use_query_map().get_untracked().get("appeal").is_some();
    console(Section::Plan, "Limits", async move {
        let (server, user) = signed_in()?;
        let now = entitlement::load(&server, &user.account_id).await?;
        let (offers, taken) = trial::list_offers(&server, &user).await?;
        let has_key = provider_key::has_usable_key(&server, &user.account_id).await?;
        let catalogue = server.catalogue.load_full();
        let may_choose = user.require(Permission::ManageBilling).is_ok();
        let asked = trial::load_appeal(&server, &user).await?;
        let refused_one = matches!(refused.denial(), Some(Denial::TrialTaken)) || refused.typed("reason").is_some();
        let is_taken = taken.is_some() || refused_one || (appeals && asked != Some(AppealState::Granted));
        let zone = user.time_zone.clone();
        Ok(view! {
            <div class="grid gap-10">
                <div class="grid gap-1">
                    <h1 class="page-title">"Limits"</h1>
                    <p class="lede">
                        "What your " {now.plan_name.clone()} " plan includes until "
                        <When at=now.period_end zone=zone.clone() /> ", and what of it is used."
                    </p>
                </div>
                {refused.notice(&["reason"])}
                {meters(&now, &zone)}
                {facts(&now, &catalogue, &zone)}
                {who_pays(&now, &catalogue, may_choose)}
                <section class="grid max-w-3xl gap-4" aria-labelledby="trial">
                    <h2 class="text-20 font-semibold" id="trial">
                        "Trial"
                    </h2>
                    {match now.trial.clone() {
                        Some(running) => running_trial(running, &now.plan_name, zone.clone()).into_any(),
                        None if is_taken => appeal(&refused, asked, may_choose).into_any(),
                        None => offers_list(&offers, &catalogue, (may_choose, has_key)).into_any(),
                    }}
                </section>
            </div>
        })
    })
}

fn meters(now: &Entitlements, zone: &str) -> impl IntoView + use<> {
    let executions = now.executions;
    let left = match (executions.left, executions.limit) {
        (Some(_), Some(0)) => "None".to_owned(),
        (Some(left), Some(limit)) => format!("{} of {} left", grouped(left), grouped(limit)),
        (None, _) | (_, None) => "No limit".to_owned(),
    };
    let begins_again = if executions.limit == Some(0) {
        view! { "Credits pay for every run on this plan." }.into_any()
    } else {
        view! {
            {format!("{} used; it begins again ", grouped(executions.used))}
            <When at=now.period_end zone=zone.to_owned() />
        }
        .into_any()
    };
    let bar = executions.limit.filter(|limit| *limit > 0).map(|limit| {
        let as_i64 = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        share(as_i64(executions.used), as_i64(limit))
    });
    let (seats, seats_foot) = if now.per_seat {
        (format!("{} of {}", now.seats_used, now.seats), "Members and paid seats; the limits are counted by the seat.")
    } else {
        (now.seats_used.to_string(), "This plan is not sold by the seat.")
    };
    view! {
        <section class="grid items-start gap-8 sm:grid-cols-2 lg:grid-cols-3" aria-label="Use of the plan">
            {meter("Runs the plan pays for", left, bar, begins_again)}
            {daily(now.daily_spend, zone)}
            {meter("Members", seats, None, view! { {seats_foot} }.into_any())}
        </section>
    }
}

fn daily(daily: DailySpend, zone: &str) -> AnyView {
    let taken = daily.spent.saturating_add(daily.held);
    let (figure, bar) = match daily.cap {
        Some(cap) => (
            format!("{} of {}", text(taken, Digits::Short), text(cap, Digits::Cents)),
            Some(share(taken.nanos(), cap.nanos())),
        ),
        None => (format!("{}, no cap", text(taken, Digits::Short)), None),
    };
    let held =
        daily.held.is_positive().then(|| format!("{} of it is held by what runs. ", text(daily.held, Digits::Short)));
    let all = bar.is_some_and(|used| used >= 10_000).then_some("All of it is taken: credits or your own key pay now. ");
    let foot = view! {
        "At list price, by plan and trial. "
        {held}
        {all}
        "It begins again "
        <When at=daily.resets_at zone=zone.to_owned() />
    };
    meter("Today, on our keys", figure, bar, foot.into_any())
}

/// A figure with its name, a bar in hundredths of a percent, and a line below. From 80 % on the bar has the colour of
/// caution, and when nothing is left that of danger; the figure says the same in words.
fn meter(name: &'static str, figure: String, bar: Option<i64>, foot: AnyView) -> AnyView {
    let label = format!("{name}: {figure}");
    let fill = |used: i64| match used {
        10_000.. => "var(--color-danger)",
        8_000.. => "var(--color-caution)",
        _under => "var(--color-chart-1)",
    };
    view! {
        <div class="grid gap-2">
            <p class="text-13 text-ink-muted">{name}</p>
            <p class="figure-small">{figure}</p>
            {bar
                .map(|used| {
                    view! {
                        <svg class="bar" role="img" aria-label=label>
                            <rect width="100%" height="100%" fill="var(--color-line)"></rect>
                            <rect fill=fill(used) width=percent(used.clamp(0, 10_000)) height="100%"></rect>
                        </svg>
                    }
                })}
            <p class="text-13 text-ink-muted">{foot}</p>
        </div>
    }
    .into_any()
}

fn facts(now: &Entitlements, catalogue: &Catalogue, zone: &str) -> impl IntoView + use<> {
    let number = |number: Option<u64>| number.map_or_else(|| "unlimited".to_owned(), grouped);
    let hours = now.log_retention_hours;
    let kept =
        if hours.is_multiple_of(24) && hours > 24 { format!("{} days", hours / 24) } else { format!("{hours} hours") };
    let pace = now.throttle.map_or_else(
        || "not slowed down".to_owned(),
        |throttle| {
            let slow = if throttle.is_slow { "slowed down now: " } else { "" };
            let (a_minute, after) = (grouped(throttle.to_a_minute), grouped(throttle.after));
            let next = throttle.next_at.map(|at| in_zone(at, zone).strftime("; the next one at %H:%M:%S").to_string());
            format!("{slow}{a_minute} a minute after {after} runs of the period{}", next.unwrap_or_default())
        },
    );
    let running = grouped(now.running_agents_used);
    let agents = match now.running_agents {
        Some(limit) => format!("{running} of {} run", grouped(limit)),
        None => format!("{running} run, unlimited"),
    };
    let rows = [
        ("Paid by the plan", names(&now.models_included, catalogue)),
        ("Paid from credits", names(&now.models_not_included, catalogue)),
        ("Pace", pace),
        ("Tokens of a run", grouped(now.execution_tokens)),
        ("Running agents", agents),
        ("Sandbox tries a day", number(now.sandbox_tries_a_day)),
        ("Logs are kept", kept),
        ("Channels", now.channels.clone()),
        ("Support", now.support.clone()),
    ];
    view! {
        <section class="grid gap-4" aria-labelledby="included">
            <h2 class="text-20 font-semibold" id="included">
                "Included"
            </h2>
            <dl class="card pair-list">
                {rows.into_iter().map(|(name, value)| view! { <dt>{name}</dt> <dd>{value}</dd> }).collect_view()}
            </dl>
        </section>
    }
}

pub(super) fn names(models: &[ModelId], catalogue: &Catalogue) -> String {
    if models.is_empty() {
        return "none".to_owned();
    }
    let name = |id: &ModelId| catalogue.model(id).map_or_else(|_| id.to_string(), |model| model.name.clone());
    models.iter().map(name).collect::<Vec<_>>().join(", ")
}

const fn choice_words(pay_with: PayWith) -> (&'static str, &'static str) {
    match pay_with {
        PayWith::PlanFirst => ("The plan first, then credits", "Credits pay for what the plan does not."),
        PayWith::PlanOnly => ("Only the plan", "Nothing is taken from credits; what the plan refuses does not run."),
        PayWith::Credits => ("Credits first", "The plan's runs are kept for when credits are used up."),
    }
}

/// The choice, where the plan leaves one.
fn who_pays(now: &Entitlements, catalogue: &Catalogue, may_choose: bool) -> Option<AnyView> {
    let pay_per_use = catalogue.plan(&now.plan).map_or(PayPerUse::OptIn, |plan| plan.pay_per_use);
    // Elsewhere there is nothing to choose.
    if pay_per_use != PayPerUse::OptIn {
        return None;
    }
    let chosen = now.pay_with;
    let choice = |pay_with: PayWith| {
        let (title, words) = choice_words(pay_with);
        view! {
            <label class="choice">
                <input
                    type="radio"
                    name="pay_with"
                    value=pay_with.as_str()
                    checked=pay_with == chosen
                    disabled=!may_choose
                />
                <span class="min-w-0">
                    <span class="font-medium">{title}</span>
                    <span class="block text-13 text-ink-muted">{words}</span>
                </span>
            </label>
        }
    };
    let form = view! {
        <form class="grid max-w-3xl gap-4" method="post" action="/limits">
            <ForAccount />
            <input type="hidden" name="what" value="pay_with" />
            <fieldset class="grid gap-1">
                <legend class="pb-3 text-20 font-semibold">"Who pays for runs"</legend>
                {PayWith::ALL.iter().map(|&pay_with| choice(pay_with)).collect_view()}
            </fieldset>
            {may_choose
                .then(|| {
                    view! {
                        <div>
                            <button class="button">"Save who pays"</button>
                        </div>
                    }
                })}
        </form>
    };
    Some(form.into_any())
}

/// `POST /limits`: who pays, a trial to begin, or an appeal.
pub async fn submit(post: Post) -> Response {
    let outcome = async {
        let user = post.user()?;
        match post.text("what") {
            "pay_with" => {
                user.require(Permission::ManageBilling)?;
                let pay_with = post.text("pay_with").parse().map_err(|error: domain::text_enum::UnknownText| {
                    Denial::invalid("pay_with", error.to_string(), "Choose one of the three.")
                })?;
                allowance::set_pay_with(&post.server, &user.account_id, pay_with).await?;
                Ok("/limits".to_owned())
            }
            "trial" => {
                let kind = post.text("kind").parse().map_err(|error: domain::text_enum::UnknownText| {
                    Denial::invalid("kind", error.to_string(), "Choose one of the trials.")
                })?;
                let plan = Some(post.text("plan")).filter(|plan| !plan.is_empty()).map(PlanId::new);
                trial::start(&post.server, user, kind, plan.as_ref()).await?;
                Ok("/limits#trial".to_owned())
            }
            "appeal" => {
                trial::appeal(&post.server, user, post.text("reason")).await?;
                Ok("/limits?appeal=1#trial".to_owned())
            }
            other => {
                Err(Denial::invalid("what", format!("`{other}` is nothing to do here"), "Use the buttons.").into())
            }
        }
    }
    .await;
    post.answer(outcome).await
}
