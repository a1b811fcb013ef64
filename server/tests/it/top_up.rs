//! The automatic top-up: turned on by consent, one charge however many ask, found again when its answer is lost.

use crate::ledger::{capture, hold, new_hold};
use crate::shop::{GOOD_CARD, Shop, insert_user};
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::id::{CardSetupId, PackId, PurchaseId};
use domain::money::Usd;
use domain::top_up::{Reason, Rule, Trigger, Verdict};
use sandbox::{ApiFault, ApiFaultKind};
use serde_json::Value;
use server::account::{Role, User};
use server::payment_method::{self, KeptCard};
use server::top_up::{self, Agreed, NewRule, Next, TopUp, TopUpState};
use server::{Server, ledger, member};

pub fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

/// What the page would send: the $10 pack below $5, at most $100 and five charges a month, for a year.
pub async fn new_rule(shop: &Shop) -> NewRule {
    let seen = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap().rule.map(|rule| rule.updated_at);
    NewRule {
        rule: Rule { threshold: usd("5"), pack: PackId::new("pack-10"), cap: usd("100"), charges_a_month: 5 },
        consent_days: 365,
        agrees: Agreed::Yes,
        shown_charge: None,
        seen,
        purchase_id: shop.new_id(),
        card_setup_id: CardSetupId::new(shop.server.clock.new_id()),
    }
}

/// Leaves a card on Stripe's page.
pub async fn leave_card(shop: &Shop, number: &str) -> KeptCard {
    let id = CardSetupId::new(shop.server.clock.new_id());
    let url = payment_method::begin_setup(&shop.server, &shop.buyer, &id).await.unwrap();
    assert_eq!(shop.pay_page(&url, number).await.status, 303);
    shop.deliver().await;
    payment_method::load(&shop.server, &shop.buyer.account_id).await.unwrap().unwrap()
}

/// A shop whose buyer has so much credit, a card that is kept, and the rule turned on.
pub async fn open(world: &World, dollars: &str) -> Shop {
    let shop = Shop::open(world).await;
    if usd(dollars).is_positive() {
        world.buy(&shop.buyer.account_id, usd(dollars), Usd::ZERO).await;
    }
    leave_card(&shop, GOOD_CARD).await;
    let rule = new_rule(&shop).await;
    assert_eq!(top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap(), Next::On);
    shop.run_jobs().await;
    shop
}

/// Spends credit by a run, which asks for a top-up in its own transaction.
pub async fn spend(shop: &Shop, amount: &str) {
    let mut new = new_hold(&shop.buyer.account_id, &shop.server.clock.new_id(), usd(amount).nanos());
    new.expires_at = shop.server.clock.now().plus_seconds(600);
    let held = hold(&shop.server.ledger, new).await.unwrap();
    capture(&shop.server.ledger, held, usd(amount).nanos()).await.unwrap();
}

/// The buyer's payments at Stripe by their status, newest first.
pub async fn payments(shop: &Shop) -> Vec<String> {
    let list = shop.call_stripe_get("payment_intents?limit=100").await;
    let status = |payment: &Value| payment["status"].as_str().unwrap().to_owned();
    list["data"].as_array().unwrap().iter().map(status).collect()
}

pub async fn recent(shop: &Shop) -> Vec<TopUp> {
    top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap().recent
}

pub async fn verdict(shop: &Shop) -> Verdict {
    top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap().verdict
}

pub async fn sweep(shop: &Shop) {
    top_up::sweep(&shop.server).await.unwrap();
    shop.run_jobs().await;
}

pub fn fault(kind: ApiFaultKind, path: &str, times: u32) -> ApiFault {
    ApiFault { kind, times, path: Some(path.to_owned()), delay_ms: 0 }
}

async fn look(server: &Server, shop: &Shop) {
    top_up::run(server, &shop.buyer.account_id, Trigger::Capture, Usd::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_capture_below_the_threshold_buys_one_pack() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (0, Verdict::Enough));
        spend(&shop, "1").await;
        shop.run_jobs().await;
        assert_eq!(payments(&shop).await.len(), 0, "$5.00 is not under $5.00");

        spend(&shop, "0.000000001").await;
        shop.run_jobs().await;
        assert_eq!(payments(&shop).await, ["succeeded"]);
        assert_eq!(shop.spendable().await, "$14.999999999");
        shop.deliver().await;
        assert_eq!(shop.grants().await, 2, "what was bought before, and the top-up, once");
        let done = recent(&shop).await;
        assert_eq!((done.len(), done[0].state, done[0].price), (1, TopUpState::Paid, usd("11.50")));
        let purchase = shop.load(&done[0].top_up_id).await;
        assert_eq!(purchase.amount, usd("10"));
        let mails = shop.sandbox.mail_to(&shop.buyer.email);
        assert!(mails.iter().any(|mail| mail.subject.starts_with("Receipt")), "a receipt like every purchase's");

        // It goes on: the next time the balance is low, another one.
        shop.advance_seconds(3_600);
        spend(&shop, "12").await;
        shop.run_jobs().await;
        assert_eq!(payments(&shop).await, ["succeeded", "succeeded"]);
        shop.check_books().await;
    })
    .await;
}

/// Field failure 12: many triggers at once make one charge.
#[tokio::test]
async fn field_failure_12_sixteen_triggers_make_one_charge() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        let (node, _) = shop.node().await;
        spend(&shop, "2").await;
        let calls = (0..16).map(|number| look(if number % 2 == 0 { &shop.server } else { &node }, &shop));
        futures::future::join_all(calls).await;
        shop.run_jobs().await;
        shop.deliver().await;
        assert_eq!(payments(&shop).await, ["succeeded"]);
        assert_eq!((shop.spendable().await.as_str(), shop.grants().await), ("$14.00", 2));
        // And none after it, for the balance is not low any more; nor by the sweep.
        look(&node, &shop).await;
        shop.advance_seconds(61);
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 1);
        shop.check_books().await;
    })
    .await;
}

/// Sixteen runs that end at once below the threshold ask once each, and are answered by one charge.
#[tokio::test]
async fn field_failure_12_sixteen_captures_at_once_make_one_charge() {
    each_database(async |world| {
        let shop = open(world, "20.10").await;
        futures::future::join_all((0..16).map(|_| spend(&shop, "1"))).await;
        shop.run_jobs().await;
        shop.deliver().await;
        assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (1, "$14.10"));
        shop.check_books().await;
    })
    .await;
}

/// Field failure 13: an answer that was lost is looked for; nothing is charged a second time.
#[tokio::test]
async fn field_failure_13_a_lost_answer_is_one_charge_and_one_grant() {
    each_database(async |world| {
        for kind in [ApiFaultKind::CutAfter, ApiFaultKind::ServerErrorAfter] {
            let shop = open(world, "6").await;
            shop.lose_webhooks();
            shop.sandbox.set_stripe_fault(fault(kind, "payment_intents", 3));
            spend(&shop, "2").await;
            shop.run_jobs().await;
            assert_eq!(payments(&shop).await, ["succeeded"], "the money is taken");
            assert_eq!((shop.grants().await, verdict(&shop).await), (1, Verdict::Open), "and nobody here knows");

            // Whoever asks meanwhile charges nothing, and a webhook's time is waited for.
            for _ in 0..3 {
                look(&shop.server, &shop).await;
            }
            sweep(&shop).await;
            assert_eq!((payments(&shop).await.len(), shop.grants().await), (1, 1));

            shop.advance_seconds(121);
            let (node, _) = shop.node().await;
            let (here, there) = tokio::join!(top_up::sweep(&shop.server), top_up::sweep(&node));
            here.and(there).unwrap();
            shop.run_jobs().await;
            assert_eq!(payments(&shop).await, ["succeeded"]);
            assert_eq!((shop.grants().await, shop.spendable().await.as_str()), (2, "$14.00"), "{kind}");
            assert_eq!(recent(&shop).await[0].state, TopUpState::Paid);
            shop.check_books().await;
        }
    })
    .await;
}

/// The webhook may be faster than whoever looks: still one grant.
#[tokio::test]
async fn field_failure_13_the_webhook_settles_a_lost_answer_first() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::CutAfter, "payment_intents", 3));
        spend(&shop, "2").await;
        shop.run_jobs().await;
        assert_eq!(verdict(&shop).await, Verdict::Open);
        shop.deliver().await;
        assert_eq!((recent(&shop).await[0].state, shop.grants().await), (TopUpState::Paid, 2));
        shop.advance_seconds(121);
        sweep(&shop).await;
        assert_eq!((payments(&shop).await.len(), shop.grants().await), (1, 2));
        shop.check_books().await;
    })
    .await;
}

/// A call that never arrived is made again with the same id while it is wanted, and given up when it is not.
#[tokio::test]
async fn a_charge_that_never_reached_stripe_is_sent_again_or_given_up() {
    each_database(async |world| {
        for still_low in [true, false] {
            let shop = open(world, "6").await;
            shop.sandbox.set_stripe_fault(fault(ApiFaultKind::ServerErrorBefore, "payment_intents", 3));
            spend(&shop, "2").await;
            shop.run_jobs().await;
            assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (0, Verdict::Open));
            if !still_low {
                world.buy(&shop.buyer.account_id, usd("50"), Usd::ZERO).await;
            }
            shop.advance_seconds(121);
            sweep(&shop).await;
            let states: Vec<TopUpState> = recent(&shop).await.into_iter().map(|top_up| top_up.state).collect();
            if still_low {
                assert_eq!((payments(&shop).await.len(), states), (1, vec![TopUpState::Paid]));
                assert_eq!(shop.spendable().await, "$14.00");
            } else {
                assert_eq!((payments(&shop).await.len(), states), (0, vec![TopUpState::Expired]));
                assert_eq!(verdict(&shop).await, Verdict::Enough);
            }
            shop.check_books().await;
        }
    })
    .await;
}

/// "You will be charged $X now": without that sentence on the page, turning it on below the threshold saves nothing.
#[tokio::test]
async fn turning_it_on_below_the_threshold_says_so_first() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        world.buy(&shop.buyer.account_id, usd("4.99"), Usd::ZERO).await;
        leave_card(&shop, GOOD_CARD).await;
        let price = usd("11.50");
        for shown_charge in [None, Some(usd("11.49")), Some(usd("57.50"))] {
            let rule = NewRule { shown_charge, ..new_rule(&shop).await };
            let next = top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap();
            assert_eq!(next, Next::Announce { charge: Some(price) });
            shop.run_jobs().await;
            assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (0, Verdict::Off));
        }
        let rule = NewRule { shown_charge: Some(price), ..new_rule(&shop).await };
        assert_eq!(top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap(), Next::On);
        shop.run_jobs().await;
        assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (1, "$14.99"));

        // Above it the sentence would be wrong, and is not believed either.
        let rule = NewRule { shown_charge: Some(price), ..new_rule(&shop).await };
        let next = top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap();
        assert_eq!(next, Next::Announce { charge: None });
    })
    .await;
}

/// Without a card the first pack is paid on Stripe's page, which keeps the card by the consent that was given.
#[tokio::test]
async fn the_first_pack_leaves_the_card() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let rule = NewRule { shown_charge: Some(usd("11.50")), ..new_rule(&shop).await };
        let next = top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap();
        let Next::Stripe { url } = next else { panic!("{next:?}") };
        let paused = Verdict::Paused { reason: Reason::MissingPaymentMethod, until: None };
        assert_eq!(verdict(&shop).await, paused);
        assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
        shop.deliver().await;
        shop.deliver().await;
        let view = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!((view.verdict, view.card.map(|card| card.last4)), (Verdict::Enough, Some("4242".to_owned())));
        assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (1, "$10.00"));

        // A pack that is bought without that consent keeps no card.
        let other = Shop::open(world).await;
        other.start_and_pay("pack-10").await;
        other.deliver().await;
        assert_eq!(payment_method::load(&other.server, &other.buyer.account_id).await.unwrap(), None);
        shop.check_books().await;
    })
    .await;
}

/// The pack that a rule begins with is one of the month's charges: in dollars, and in their number.
#[tokio::test]
async fn the_first_pack_counts_in_the_cap_of_the_month() {
    each_database(async |world| {
        for (cap, charges_a_month, more) in [("22.99", 5, 0), ("23", 5, 1), ("100", 1, 0), ("100", 2, 1)] {
            let shop = Shop::open(world).await;
            let mut new = NewRule { shown_charge: Some(usd("11.50")), ..new_rule(&shop).await };
            (new.rule.cap, new.rule.charges_a_month) = (usd(cap), charges_a_month);
            let next = top_up::turn_on(&shop.server, &shop.buyer, new).await.unwrap();
            let Next::Stripe { url } = next else { panic!("{next:?}") };
            let before = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap();
            assert_eq!((before.charged, before.charges), (Usd::ZERO, 0), "nobody has paid yet");
            assert_eq!(shop.pay_page(&url, GOOD_CARD).await.status, 303);
            shop.deliver().await;
            shop.deliver().await;
            let view = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap();
            assert_eq!((view.charged, view.charges, view.first_packs.len()), (usd("11.50"), 1, 1));

            for _ in 0..3 {
                if shop.spendable().await == "$10.00" {
                    spend(&shop, "10").await;
                }
                shop.advance_seconds(3_600);
                shop.run_jobs().await;
                sweep(&shop).await;
            }
            assert_eq!(payments(&shop).await.len(), 1 + more, "{cap} in {charges_a_month}");
            let verdict = verdict(&shop).await;
            let is_capped = matches!(verdict, Verdict::Paused { reason: Reason::PurchaseLimitReached, .. });
            assert!(is_capped, "{verdict:?}");
            shop.check_books().await;

            // A new month begins anew.
            shop.advance_seconds(31 * 86_400);
            sweep(&shop).await;
            assert_eq!(payments(&shop).await.len(), 2 + more);
        }
    })
    .await;
}

/// Whoever agreed leaves, or may no longer spend: nothing is charged until somebody else agrees, and those who can are told.
#[tokio::test]
async fn the_consent_of_a_member_who_may_no_longer_spend_is_withdrawn() {
    each_database(async |world| {
        for how in ["role", "remove", "leave"] {
            let shop = open(world, "20").await;
            let (server, owner) = (&shop.server, &shop.buyer);
            let payer = join(world, &shop, Role::Billing).await;
            assert_eq!(top_up::turn_on(server, &payer, new_rule(&shop).await).await.unwrap(), Next::On);
            shop.advance_seconds(1);
            member::change_role(server, owner, &payer.user_id, Role::Admin).await.unwrap();
            assert_eq!(verdict(&shop).await, Verdict::Enough, "an admin may spend, too");

            match how {
                "role" => member::change_role(server, owner, &payer.user_id, Role::Developer).await.unwrap(),
                "remove" => member::remove(server, owner, &payer.user_id).await.unwrap(),
                _ => member::leave(server, &payer).await.unwrap(),
            }
            let withdrawn = Verdict::Paused { reason: Reason::ConsentWithdrawn, until: None };
            assert_eq!(verdict(&shop).await, withdrawn, "{how}");
            spend(&shop, "16").await;
            shop.run_jobs().await;
            shop.advance_seconds(61);
            sweep(&shop).await;
            assert_eq!(payments(&shop).await.len(), 0, "{how}");
            let told = |email: &str| {
                let mails = shop.sandbox.mail_to(email);
                mails.iter().filter(|mail| mail.subject.contains("paused")).count()
            };
            assert_eq!((told(&owner.email), told(&payer.email)), (1, 0), "{how}");

            // What their browser still shows saves nothing.
            let stale = top_up::turn_on(server, &payer, new_rule(&shop).await).await.unwrap_err();
            assert_eq!(stale.denial().map(Denial::code), Some("not_found"), "{how}");
            let anew = NewRule { shown_charge: Some(usd("11.50")), ..new_rule(&shop).await };
            assert_eq!(top_up::turn_on(server, owner, anew).await.unwrap(), Next::On);
            shop.run_jobs().await;
            assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (1, "$14.00"), "{how}");

            // A member who did not agree to it comes and goes, and nothing is paused.
            let other = join(world, &shop, Role::Billing).await;
            member::remove(server, owner, &other.user_id).await.unwrap();
            assert_eq!(verdict(&shop).await, Verdict::Enough, "{how}");
            shop.check_books().await;
        }
    })
    .await;
}

/// Somebody with an account of their own joins the shop's.
async fn join(world: &World, shop: &Shop, role: Role) -> User {
    let user = insert_user(world, world.account().await).await;
    let mut tx = world.db().begin().await.unwrap();
    member::insert(&mut tx, &world.clock, &shop.buyer.account_id, &user.user_id, role).await.unwrap();
    tx.commit().await.unwrap();
    User { account_id: shop.buyer.account_id.clone(), role, ..user }
}

/// A card's news may be lost, and repeated; the page and the sweep ask themselves.
#[tokio::test]
async fn a_card_that_was_left_is_found_without_a_webhook() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        shop.lose_webhooks();
        let account_id = &shop.buyer.account_id;
        let id = CardSetupId::new(shop.server.clock.new_id());
        let url = payment_method::begin_setup(&shop.server, &shop.buyer, &id).await.unwrap();
        assert_eq!(payment_method::begin_setup(&shop.server, &shop.buyer, &id).await.unwrap(), url, "a second click");
        payment_method::finish_setup(&shop.server, account_id, &id).await.unwrap();
        assert_eq!(payment_method::load(&shop.server, account_id).await.unwrap(), None, "coming back proves nothing");
        shop.pay_page(&url, GOOD_CARD).await;
        payment_method::finish_setup(&shop.server, account_id, &id).await.unwrap();
        assert!(payment_method::load(&shop.server, account_id).await.unwrap().is_some());

        // Removed, it does not come back by a repetition.
        payment_method::remove(&shop.server, &shop.buyer).await.unwrap();
        shop.run_jobs().await;
        payment_method::finish_setup(&shop.server, account_id, &id).await.unwrap();
        shop.advance_seconds(200);
        sweep(&shop).await;
        assert_eq!(payment_method::load(&shop.server, account_id).await.unwrap(), None);
    })
    .await;
}

/// Bad input of issue 4, through the same door as the page.
#[tokio::test]
async fn a_rule_that_cannot_be_is_refused_and_nothing_is_saved() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let base = new_rule(&shop).await;
        let with = |change: fn(&mut NewRule)| {
            let mut rule = base.clone();
            change(&mut rule);
            rule
        };
        for (rule, field) in [
            (with(|new| new.rule.threshold = usd("10.01")), "threshold"),
            (with(|new| new.rule.cap = usd("11.49")), "cap"),
            (with(|new| new.rule.charges_a_month = 0), "charges"),
            (with(|new| new.consent_days = 3_650), "consent_days"),
            (with(|new| new.agrees = Agreed::No), "agrees"),
        ] {
            let refused = top_up::turn_on(&shop.server, &shop.buyer, rule).await.unwrap_err();
            let named = matches!(refused.denial(), Some(Denial::Invalid { field: named, .. }) if named == field);
            assert!(named, "{field}: {refused}");
        }
        assert_eq!(verdict(&shop).await, Verdict::Off);
    })
    .await;
}

#[tokio::test]
async fn the_form_of_another_tab_is_refused() {
    each_database(async |world| {
        let shop = open(world, "20").await;
        let stale = NewRule { seen: None, ..new_rule(&shop).await };
        let refused = top_up::turn_on(&shop.server, &shop.buyer, stale).await.unwrap_err();
        assert!(refused.to_string().contains("another tab"), "{refused}");
        let mut first = new_rule(&shop).await;
        first.rule.threshold = usd("7");
        let second = first.clone();
        shop.advance_seconds(1);
        assert_eq!(top_up::turn_on(&shop.server, &shop.buyer, first).await.unwrap(), Next::On);
        assert!(top_up::turn_on(&shop.server, &shop.buyer, second).await.is_err());
        let kept = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap().rule.unwrap();
        assert_eq!(kept.threshold, usd("7"));
    })
    .await;
}

#[tokio::test]
async fn a_consent_ends_by_itself_and_is_told_once() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        shop.advance_seconds(365 * 86_400 - 1);
        assert_eq!(verdict(&shop).await, Verdict::Enough);
        shop.advance_seconds(1);
        let paused = Verdict::Paused { reason: Reason::ConsentExpired, until: None };
        assert_eq!(verdict(&shop).await, paused);
        spend(&shop, "2").await;
        shop.run_jobs().await;
        sweep(&shop).await;
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 0);
        let told = |shop: &Shop| {
            let mails = shop.sandbox.mail_to(&shop.buyer.email);
            mails.iter().filter(|mail| mail.subject.contains("paused")).count()
        };
        assert_eq!(told(&shop), 1);
    })
    .await;
}

#[tokio::test]
async fn the_cap_of_the_month_holds_and_ends_with_the_month() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        let mut capped = new_rule(&shop).await;
        capped.rule.cap = usd("23");
        assert_eq!(top_up::turn_on(&shop.server, &shop.buyer, capped).await.unwrap(), Next::On);
        for _ in 0..5 {
            let left = ledger::load_balance(&shop.server, &shop.buyer.account_id).await.unwrap().spendable();
            spend(&shop, left.to_string().trim_start_matches('$')).await;
            shop.run_jobs().await;
            shop.advance_seconds(3_600);
            sweep(&shop).await;
            if payments(&shop).await.len() == 2 && shop.spendable().await == "$0.00" {
                break;
            }
        }
        assert_eq!(payments(&shop).await.len(), 2, "2 × $11.50 are the $23.00");
        let view = top_up::load(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!((view.charged, view.charges), (usd("23"), 2));
        let until = Some(view.month.end);
        assert_eq!(view.verdict, Verdict::Paused { reason: Reason::PurchaseLimitReached, until });
        shop.advance_seconds(31 * 86_400);
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 3);
        shop.check_books().await;
    })
    .await;
}

/// A run that is refused for lack of credit asks too; one that a whole pack would not pay for does not.
#[tokio::test]
async fn a_refused_run_asks_for_credit_once() {
    each_database(async |world| {
        let shop = open(world, "8").await;
        let account_id = &shop.buyer.account_id;
        for needed in ["8", "18.01", "1000"] {
            top_up::run(&shop.server, account_id, Trigger::RefusedHold, usd(needed)).await.unwrap();
            assert_eq!(payments(&shop).await.len(), 0, "{needed}");
        }
        top_up::run(&shop.server, account_id, Trigger::RefusedHold, usd("17")).await.unwrap();
        assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (1, "$18.00"));
    })
    .await;
}

/// Turned off, nothing is charged, whatever was asked for before.
#[tokio::test]
async fn off_is_off() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        spend(&shop, "2").await;
        top_up::turn_off(&shop.server, &shop.buyer).await.unwrap();
        shop.run_jobs().await;
        shop.advance_seconds(61);
        sweep(&shop).await;
        assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (0, Verdict::Off));
    })
    .await;
}

/// The id of a top-up is no purchase that somebody could pay again on Stripe's page.
#[tokio::test]
async fn a_top_up_has_no_checkout() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        let id: PurchaseId = recent(&shop).await[0].top_up_id.clone();
        let refused =
            server::purchase::start(&shop.server, &shop.buyer, &PackId::new("pack-10"), id).await.unwrap_err();
        assert!(refused.to_string().contains("automatic top-up"), "{refused}");
    })
    .await;
}
