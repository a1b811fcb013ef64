//! The rule: its form with what is charged at once, what was typed into it, and the card it charges.

use super::ADDRESS;
use super::state::card_name;
use crate::post::{ForAccount, Post, Refused};
use crate::ui::form::{Field, Pick};
use crate::ui::money::{Digits, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::pack::round_dollars;
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::id::{CardSetupId, PackId, PurchaseId};
use domain::money::{Cents, Usd};
use domain::time::Timestamp;
use domain::top_up::Rule;
use leptos::prelude::*;
use server::Server;
use server::account::User;
use server::error::Result;
use server::payment_method::KeptCard;
use server::top_up::{self, Agreed, NewRule, RuleRow, View};

/// What the form shows: what was typed, else the rule, else the catalogue's defaults.
pub(super) struct Form {
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
    pub(super) async fn new(server: &Server, user: &User, view: &View, refused: &Refused) -> Result<Form> {
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

pub(super) fn rule_form(form: Form, view: &View, catalogue: &Catalogue) -> impl IntoView + use<> {
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

pub(super) fn card_section(card: Option<&KeptCard>, may_change: bool, setup_id: &str) -> impl IntoView + use<> {
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

fn dollars(field: &str, typed: &str) -> Result<Usd, Denial> {
    let whole_cents = Usd::parse_typed(typed).filter(|amount| amount.to_cents_exact().is_some());
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

pub(super) fn read_form(post: &Post) -> Result<NewRule, Denial> {
    let rule =
        read_rule(post.text("threshold"), &PackId::new(post.text("pack")), post.text("cap"), post.text("charges"))?;
    let shown: Option<i64> = post.text("shown_charge_cents").parse().ok();
    Ok(NewRule {
        rule,
        consent_days: post.text("consent_days").parse().unwrap_or_default(),
        agrees: if post.text("agrees").is_empty() { Agreed::No } else { Agreed::Yes },
        shown_charge: shown.and_then(|cents| Usd::from_cents(Cents(cents))),
        seen: post.text("seen").parse().ok().map(Timestamp::from_micros),
        purchase_id: PurchaseId::new(post.text("purchase_id")),
        card_setup_id: CardSetupId::new(post.text("card_setup_id")),
    })
}
