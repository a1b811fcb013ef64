//! The automatic top-up: whether it is on, paused or off, what it charges next, the rule, the card, and what it charged.

use crate::post::{ForAccount, Post, Refused};
use crate::ui::empty::Empty;
use crate::ui::form::{Field, Pick};
use crate::ui::layout::{Section, console};
use crate::ui::meter::{percent, share};
use crate::ui::money::{Digits, Money, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::round_dollars;
use crate::ui::table::Table;
use crate::ui::when::When;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::{AccountId, CardSetupId, PackId, PurchaseId};
use domain::money::Usd;
use domain::time::Timestamp;
use domain::top_up::{Reason, Rule, Verdict};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server::Server;
use server::account::{Permission, User};
use server::error::Result;
use server::payment_method::{self, KeptCard};
use server::top_up::{self, Agreed, NewRule, Next, RuleRow, TopUp, TopUpState, View};

const ADDRESS: &str = "/credits/auto-top-up";

/// `GET /credits/auto-top-up`.
#[component]
pub fn AutoTopUpPage() -> impl IntoView {
    let query = use_query_map().get_untracked();
    let refused = Refused::current();
    console(Section::Credits, "Auto-top-up", async move {
        let (server, user) = signed_in()?;
        // Whoever comes back from Stripe's page or the bank's: what Stripe says counts, not that they came.
        if let Some(setup) = query.get("card").map(CardSetupId::new) {
            note(payment_method::finish_setup(&server, &user.account_id, &setup).await);
        }
        if let Some(top_up_id) = query.get("confirmed").map(PurchaseId::new) {
            note(top_up::look(&server, &user.account_id, &top_up_id).await);
        }
        let view = top_up::load(&server, &user.account_id).await?;
        let may_change = user.require(Permission::ManageBilling).is_ok();
        let catalogue = server.catalogue.load_full();
        let form = Form::new(&server, &user, &view, &refused).await?;
        let zone = user.time_zone.clone();
        let to_confirm = view.to_confirm(server.clock.now()).cloned();
        let cancelled = query.get("cancelled").is_some();
        Ok(view! {
            <div class="grid gap-10">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/credits">"Credits"</a>
                    </p>
                    <h1 class="page-title">"Auto-top-up"</h1>
                    <p class="lede">{sentence(&view, &catalogue)}</p>
                </div>
                {refused.notice(&["threshold", "cap", "charges", "agrees"])}
                {cancelled
                    .then(|| {
                        view! {
                            <Notice tone=Tone::Info title="You left Stripe's page. No card was kept and nothing was charged.">
                                ()
                            </Notice>
                        }
                    })}
                {state(&view, &zone)}
                {to_confirm.map(|top_up| confirm(top_up, &zone, may_change, &server.clock.new_id()))}
                {figures(&view, &catalogue, &zone)}
                {may_change.then(|| rule_form(form, &view, &catalogue))}
                {card_section(view.card.as_ref(), may_change, &server.clock.new_id())}
                {charges(&view.recent, &zone)}
                {(!may_change)
                    .then(|| view! { <p class="text-ink-muted">"Whoever pays for this account can change this."</p> })}
            </div>
        })
    })
}

/// Stripe could not be asked now: the page shows what is known, and the sweep asks again.
fn note(asked: Result<()>) {
    if let Err(error) = asked {
        tracing::warn!(%error, "Stripe could not be asked for a page; the next sweep asks");
    }
}

/// The rule as one sentence.
fn sentence(view: &View, catalogue: &Catalogue) -> String {
    match (view.rule.as_ref().filter(|rule| rule.is_on()), &view.card) {
        (Some(rule), card) => {
            let pack = catalogue.pack(&rule.pack_id).ok();
            let (name, price) = pack.map_or_else(
                || (rule.pack_id.to_string(), String::new()),
                |pack| {
                    (
                        format!("{} pack", round_dollars(pack.amount)),
                        format!(" for {}", text(pack.price, Digits::Cents)),
                    )
                },
            );
            let with = card.as_ref().map_or_else(String::new, |card| format!(" with {}", card_name(card)));
            format!(
                "When your balance falls under {}, the {name} is bought{price}{with}, at most {} a month.",
                text(rule.threshold, Digits::Cents),
                text(rule.cap, Digits::Cents)
            )
        }
        (None, _) => {
            "Buys a pack by itself when your balance is low, so that work does not stop. Off until you turn it on; \
                      you choose when, what, and how much a month at most."
                .to_owned()
        }
    }
}

fn card_name(card: &KeptCard) -> String {
    let mut letters = card.brand.chars();
    let brand = letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
    format!("{brand} ending in {}", card.last4)
}

/// On, paused with the reason and the remedy, or off.
fn state(view: &View, zone: &str) -> impl IntoView + use<> {
    match view.verdict {
        Verdict::Off => view! { <Notice tone=Tone::Info title="Off">"Nothing is charged by itself."</Notice> }.into_any(),
        Verdict::Paused { reason, until } => paused(reason, until, zone.to_owned()).into_any(),
        Verdict::Open => {
            view! {
                <Notice tone=Tone::Info title="On: a top-up is being made">
                    "Stripe has not answered yet. Nothing else is charged meanwhile; this page knows in a moment."
                </Notice>
            }
            .into_any()
        }
        Verdict::Wait { until, .. } => {
            let zone = zone.to_owned();
            view! {
                <Notice tone=Tone::Positive title="On">
                    "The balance is low. Charges keep their distance, so the next one is made "
                    <When at=until zone=zone /> "."
                </Notice>
            }
            .into_any()
        }
        Verdict::Enough | Verdict::Due { .. } => {
            view! { <Notice tone=Tone::Positive title="On">"It buys when the balance falls under the threshold."</Notice> }.into_any()
        }
    }
}

fn paused(reason: Reason, until: Option<Timestamp>, zone: String) -> impl IntoView {
    view! {
        <Notice tone=Tone::Caution title=format!("Paused: {}", reason.sentence())>
            <p>
                "Nothing is charged"
                {match until {
                    Some(until) => view! { " until " <When at=until zone=zone /> ". " }.into_any(),
                    None => ". ".into_any(),
                }} <span class="font-mono text-13">{reason.as_str()}</span>
            </p>
            {reason
                .remedy()
                .map(|remedy| {
                    view! {
                        <p>
                            <a class="button" href=remedy.href>
                                {remedy.label}
                            </a>
                        </p>
                    }
                })}
        </Notice>
    }
}

/// The charge that the bank wants a yes for.
fn confirm(top_up: TopUp, zone: &str, may_change: bool, form_id: &str) -> impl IntoView + use<> {
    let price = text(top_up.price, Digits::Cents);
    let (zone, form_id) = (zone.to_owned(), form_id.to_owned());
    view! {
        <section class="card grid gap-4" aria-labelledby="confirm">
            <h2 class="text-20 font-semibold" id="confirm">
                {format!("Confirm {price} with your bank")}
            </h2>
            <p class="max-w-prose">
                {format!("The bank of the card ending in {} wants your yes before it pays this top-up. ", top_up.last4)}
                "Until then nothing is charged and no credit is added."
                {top_up
                    .recover_until
                    .map(|until| view! { " It can be confirmed until " <When at=until zone=zone /> "." })}
            </p>
            {may_change
                .then(|| {
                    view! {
                        <form method="post" action=ADDRESS>
                            <ForAccount />
                            <input type="hidden" name="do" value="confirm" />
                            <input type="hidden" name="top_up_id" value=top_up.top_up_id.to_string() />
                            <input type="hidden" name="form_id" value=form_id />
                            <button class="button button-primary">{format!("Go to the bank and confirm {price}")}</button>
                        </form>
                    }
                })}
        </section>
    }
}

/// The next charge, and this month's against the cap.
fn figures(view: &View, catalogue: &Catalogue, zone: &str) -> Option<impl IntoView + use<>> {
    let rule = view.rule.as_ref().filter(|rule| rule.is_on())?;
    let next = catalogue.pack(&rule.pack_id).ok().map(|pack| text(pack.price, Digits::Cents));
    let of = format!("{} of {}", text(view.charged, Digits::Cents), text(rule.cap, Digits::Cents));
    let used = share(view.charged.nanos(), rule.cap.nanos());
    let count = format!("{} of {} charges", view.charges, rule.rule().charges_a_month);
    let label = format!("This month: {of}");
    let (zone, consent_zone) = (zone.to_owned(), zone.to_owned());
    let (month_end, consent_end, threshold, balance) =
        (view.month.end, rule.consent_ends_at, text(rule.threshold, Digits::Cents), view.balance);
    Some(view! {
        <section class="grid items-start gap-8 sm:grid-cols-3" aria-label="Charges">
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Next charge"</p>
                <p class="figure-small">{next}</p>
                <p class="text-13 text-ink-muted">
                    {format!("when the balance is under {threshold}; now it is ")} <Money amount=balance digits=Digits::Cents />
                </p>
            </div>
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Charged this month"</p>
                <p class="figure-small">{of}</p>
                <svg class="bar" role="img" aria-label=label>
                    <rect width="100%" height="100%" fill="var(--color-line)"></rect>
                    <rect class="fill-1" width=percent(used.clamp(0, 10_000)) height="100%"></rect>
                </svg>
                <p class="text-13 text-ink-muted">{count} "; it begins again " <When at=month_end zone=zone /></p>
            </div>
            <div class="grid gap-2">
                <p class="text-13 text-ink-muted">"Your consent ends"</p>
                <p class="figure-small">
                    <When at=consent_end zone=consent_zone />
                </p>
                <p class="text-13 text-ink-muted">"Saving the rule again renews it."</p>
            </div>
        </section>
    })
}

/// What the form shows: what was typed, else the rule, else the catalogue's defaults.
struct Form {
    threshold: String,
    pack: PackId,
    cap: String,
    charges: String,
    consent_days: u32,
    agrees: bool,
    /// Sending it charges this at once.
    charge: Option<Usd>,
    /// It was sent, and nothing was saved, because the page had not said what is charged.
    is_announced: bool,
    purchase_id: PurchaseId,
    card_setup_id: CardSetupId,
    refused: Refused,
}

impl Form {
    async fn new(server: &Server, user: &User, view: &View, refused: &Refused) -> Result<Form> {
        let catalogue = server.catalogue.load_full();
        let limits = &catalogue.top_up;
        let typed = refused.of("on");
        let rule = view.rule.as_ref();
        let plain = |amount: Usd| text(amount, Digits::Cents).trim_start_matches('$').replace(',', "");
        let default_pack = || {
            let fits = catalogue.packs.iter().find(|pack| pack.amount > limits.threshold && pack.price <= limits.cap);
            fits.or_else(|| catalogue.packs.first()).map_or_else(|| PackId::new(""), |pack| pack.id.clone())
        };
        let consent_days = typed.typed("consent_days").and_then(|days| days.parse().ok());
        let mut form = Form {
            threshold: typed
                .typed("threshold")
                .unwrap_or_else(|| plain(rule.map_or(limits.threshold, |rule| rule.threshold))),
            pack: typed
                .typed("pack")
                .map_or_else(|| rule.map_or_else(default_pack, |rule| rule.pack_id.clone()), PackId::new),
            cap: typed.typed("cap").unwrap_or_else(|| plain(rule.map_or(limits.cap, |rule| rule.cap))),
            charges: typed
                .typed("charges")
                .unwrap_or_else(|| rule.map_or(limits.charges_a_month, |rule| rule.rule().charges_a_month).to_string()),
            consent_days: consent_days.or_else(|| limits.consent_days.last().copied()).unwrap_or_default(),
            agrees: typed.typed("agrees").is_some(),
            charge: None,
            is_announced: typed.typed("do").is_some() && typed.denial().is_none(),
            purchase_id: PurchaseId::new(server.clock.new_id()),
            card_setup_id: CardSetupId::new(server.clock.new_id()),
            refused: typed,
        };
        let chosen = read_rule(&form.threshold, &form.pack, &form.cap, &form.charges);
        if let Ok(chosen) = chosen {
            form.charge = top_up::would_charge(server, &user.account_id, &chosen, form.consent_days).await?;
        }
        Ok(form)
    }
}

fn rule_form(form: Form, view: &View, catalogue: &Catalogue) -> impl IntoView + use<> {
    let is_on = view.rule.as_ref().is_some_and(RuleRow::is_on);
    let seen = view.rule.as_ref().map(|rule| rule.updated_at.micros().to_string());
    let has_card = view.card.is_some();
    let packs = catalogue
        .packs
        .iter()
        .map(|pack| {
            let name = format!("{} pack for {}", round_dollars(pack.amount), text(pack.price, Digits::Cents));
            (pack.id.to_string(), name, pack.id == form.pack)
        })
        .collect();
    let days = catalogue
        .top_up
        .consent_days
        .iter()
        .map(|&days| (days.to_string(), format!("{days} days"), days == form.consent_days))
        .collect();
    let shown = form.charge.and_then(Usd::to_cents_exact).map(|cents| cents.0.to_string());
    let amount = form.charge.map(|charge| text(charge, Digits::Cents));
    let button = match (&amount, is_on, has_card) {
        (Some(amount), _, true) => format!("Turn on and pay {amount} now"),
        (Some(amount), _, false) => format!("Turn on: pay {amount} and leave the card"),
        (None, true, true) => "Save and renew the consent".to_owned(),
        (None, false, true) => "Turn on".to_owned(),
        (None, _, false) => "Turn on: leave a card".to_owned(),
    };
    let how = if has_card {
        "It is charged to the card that you left."
    } else {
        "You pay on Stripe's page, which keeps the card for the next ones."
    };
    let problem = form.refused.problem("agrees");
    view! {
        <section class="grid max-w-3xl gap-4" aria-labelledby="rule">
            <h2 class="text-20 font-semibold" id="rule">
                "The rule"
            </h2>
            {form
                .is_announced
                .then(|| {
                    view! {
                        <Notice tone=Tone::Info title="Not saved yet">
                            "What would be charged now has changed with what you chose. Look at it, then send it again."
                        </Notice>
                    }
                })}
            <form class="card grid gap-5" method="post" action=ADDRESS>
                <ForAccount />
                <input type="hidden" name="do" value="on" />
                <input type="hidden" name="seen" value=seen />
                <input type="hidden" name="shown_charge_cents" value=shown />
                <input type="hidden" name="purchase_id" value=form.purchase_id.to_string() />
                <input type="hidden" name="card_setup_id" value=form.card_setup_id.to_string() />
                <div class="grid gap-5 sm:grid-cols-2">
                    <Field
                        label="When the balance falls under ($)"
                        name="threshold"
                        value=Some(form.threshold)
                        problem=form.refused.problem("threshold")
                    />
                    <Pick label="Buy" name="pack" options=packs />
                    <Field
                        label="At most a month ($)"
                        name="cap"
                        value=Some(form.cap)
                        problem=form.refused.problem("cap")
                    />
                    <Field
                        label="Charges a month at most"
                        name="charges"
                        kind="number"
                        value=Some(form.charges)
                        problem=form.refused.problem("charges")
                    />
                    <Pick label="Your consent counts for" name="consent_days" options=days />
                </div>
                <p class="text-13 text-ink-muted">
                    "A run that needs more than the balance, and no more than a pack adds, buys one too. One charge at a time; \
                     the credit never expires, and what is unused can be refunded."
                </p>
                <div class="grid gap-1">
                    <label class="flex items-start gap-3">
                        <input
                            class="mt-1"
                            type="checkbox"
                            name="agrees"
                            value="1"
                            checked=form.agrees
                            aria-describedby=problem.is_some().then_some("agrees-problem")
                        />
                        <span>
                            "I agree that Stripe keeps the card and that it is charged by this rule without me, until the consent \
                             ends or I turn this off."
                        </span>
                    </label>
                    {problem.map(|problem| view! { <p class="field-problem" id="agrees-problem">{problem}</p> })}
                </div>
                {amount
                    .map(|amount| {
                        view! {
                            <Notice tone=Tone::Caution title=format!("You will be charged {amount} now.")>
                                "Your balance is under the threshold. " {how}
                            </Notice>
                        }
                    })}
                <div>
                    <button class="button button-primary">{button}</button>
                </div>
            </form>
            {is_on
                .then(|| {
                    view! {
                        <form method="post" action=ADDRESS>
                            <ForAccount />
                            <input type="hidden" name="do" value="off" />
                            <button class="button">"Turn off"</button>
                        </form>
                    }
                })}
        </section>
    }
}

fn card_section(card: Option<&KeptCard>, may_change: bool, setup_id: &str) -> impl IntoView + use<> {
    let setup_id = setup_id.to_owned();
    let (words, label) = match card {
        Some(card) => {
            (format!("{}, valid until {:02}/{}.", card_name(card), card.exp_month, card.exp_year), "Use another card")
        }
        None => ("No card is kept. A card is kept only if you leave one here.".to_owned(), "Leave a card"),
    };
    let has_card = card.is_some();
    view! {
        <section class="grid max-w-3xl gap-4" aria-labelledby="card">
            <h2 class="text-20 font-semibold" id="card">
                "Card"
            </h2>
            <p>{words}</p>
            {may_change
                .then(|| {
                    view! {
                        <div class="flex flex-wrap gap-3">
                            <form method="post" action=ADDRESS>
                                <ForAccount />
                                <input type="hidden" name="do" value="card" />
                                <input type="hidden" name="card_setup_id" value=setup_id />
                                <button class="button">{label}</button>
                            </form>
                            {has_card
                                .then(|| {
                                    view! {
                                        <form method="post" action=ADDRESS>
                                            <ForAccount />
                                            <input type="hidden" name="do" value="remove" />
                                            <button class="button">"Remove the card"</button>
                                        </form>
                                    }
                                })}
                        </div>
                    }
                })}
        </section>
    }
}

fn charges(recent: &[TopUp], zone: &str) -> impl IntoView + use<> {
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

/// One line about it for the page of credits.
pub async fn line(server: &Server, account_id: &AccountId) -> Result<AnyView> {
    let view = top_up::load(server, account_id).await?;
    let catalogue = server.catalogue.load_full();
    let (state, words, link) = match view.verdict {
        Verdict::Off => ("off", "Buy a pack by itself when the balance is low.".to_owned(), "Set it up"),
        Verdict::Paused { reason, .. } => ("paused", reason.sentence().to_owned(), "See what to do"),
        Verdict::Enough | Verdict::Open | Verdict::Wait { .. } | Verdict::Due { .. } => {
            ("on", sentence(&view, &catalogue), "Change it")
        }
    };
    let tone = if state == "paused" { Tone::Caution } else { Tone::Info };
    Ok(view! {
        <Notice tone=tone title=format!("Auto-top-up is {state}")>
            {words} " " <a href=ADDRESS>{link}</a>
        </Notice>
    }
    .into_any())
}

fn dollars(field: &str, typed: &str) -> Result<Usd, Denial> {
    let plain = typed.trim().trim_start_matches('$').replace(',', "");
    let whole_cents = Usd::parse_dollars(&plain).filter(|amount| amount.to_cents_exact().is_some());
    whole_cents
        .ok_or_else(|| Denial::invalid(field, format!("“{typed}” is not an amount of dollars"), "Write it like 5.00."))
}

fn read_rule(threshold: &str, pack: &PackId, cap: &str, charges: &str) -> Result<Rule, Denial> {
    let count = charges.trim().parse();
    Ok(Rule {
        threshold: dollars("threshold", threshold)?,
        pack: pack.clone(),
        cap: dollars("cap", cap)?,
        charges_a_month: count.map_err(|_| {
            Denial::invalid("charges", format!("“{charges}” is not a whole number"), "Write it like 5.")
        })?,
    })
}

/// Where the browser goes after the form.
enum Step {
    To(String),
    /// The page again with what was typed, to see what is charged first.
    Again,
}

/// `POST /credits/auto-top-up`: turn it on or off, leave or remove a card, or confirm a charge with the bank.
pub async fn submit(post: Post) -> Response {
    match act(&post).await {
        Ok(Step::To(url)) => post.answer(Ok(url)).await,
        Ok(Step::Again) => post.again().await,
        Err(error) => post.answer(Err(error)).await,
    }
}

async fn act(post: &Post) -> Result<Step> {
    let (server, user) = (&post.server, post.user()?);
    let here = || Step::To(ADDRESS.to_owned());
    match post.text("do") {
        "on" => match top_up::turn_on(server, user, read_form(post)?).await? {
            Next::On => Ok(here()),
            Next::Announce { .. } => Ok(Step::Again),
            Next::Stripe { url } => Ok(Step::To(url)),
        },
        "off" => top_up::turn_off(server, user).await.map(|()| here()),
        "card" => {
            let id = CardSetupId::new(post.text("card_setup_id"));
            payment_method::begin_setup(server, user, &id).await.map(Step::To)
        }
        "remove" => payment_method::remove(server, user).await.map(|()| here()),
        "confirm" => {
            let top_up_id = PurchaseId::new(post.text("top_up_id"));
            top_up::recover(server, user, &top_up_id, post.text("form_id")).await.map(Step::To)
        }
        other => {
            let problem = format!("“{other}” is nothing that this page does");
            Err(Denial::invalid("do", problem, "Reload the page and try again.").into())
        }
    }
}

fn read_form(post: &Post) -> Result<NewRule, Denial> {
    let rule =
        read_rule(post.text("threshold"), &PackId::new(post.text("pack")), post.text("cap"), post.text("charges"))?;
    let shown: Option<i64> = post.text("shown_charge_cents").parse().ok();
    Ok(NewRule {
        rule,
        consent_days: post.text("consent_days").parse().unwrap_or_default(),
        agrees: if post.text("agrees").is_empty() { Agreed::No } else { Agreed::Yes },
        shown_charge: shown.and_then(|cents| Usd::from_cents(domain::money::Cents(cents))),
        seen: post.text("seen").parse().ok().map(Timestamp::from_micros),
        purchase_id: PurchaseId::new(post.text("purchase_id")),
        card_setup_id: CardSetupId::new(post.text("card_setup_id")),
    })
}
