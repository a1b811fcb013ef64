//! The automatic top-up when the card says no: suspension by decline code, failures in a row, the bank's question, cards that go.

use crate::shop::{GOOD_CARD, Shop};
use crate::support::each_database;
use crate::top_up::{fault, leave_card, open, payments, recent, spend, sweep, usd, verdict};
use domain::id::PurchaseId;
use domain::money::Usd;
use domain::top_up::{Reason, Trigger, Verdict};
use sandbox::ApiFaultKind;
use server::payment_method;
use server::top_up::{self, TopUpState};

const OTHER_CARD: &str = "5555555555554444";

/// What the bank says of the kept card from now on.
async fn fate(shop: &Shop, word: &str) {
    let card = payment_method::load(&shop.server, &shop.buyer.account_id).await.unwrap().unwrap();
    assert!(shop.sandbox.set_card_fate(card.payment_method_id.as_str(), word), "{word}");
}

const fn paused(reason: Reason) -> Verdict {
    Verdict::Paused { reason, until: None }
}

fn subjects(shop: &Shop, part: &str) -> usize {
    shop.sandbox.mail_to(&shop.buyer.email).iter().filter(|mail| mail.subject.contains(part)).count()
}

/// Each code of the reference: suspended at once, or paused for an hour and tried again.
#[tokio::test]
async fn each_decline_code_has_its_consequence() {
    each_database(async |world| {
        for (word, reason, suspends) in [
            ("lost_card", Reason::LostCard, true),
            ("stolen_card", Reason::StolenCard, true),
            ("expired_card", Reason::ExpiredCard, true),
            ("generic_decline", Reason::ChargeFailed, false),
            ("insufficient_funds", Reason::ChargeFailed, false),
            ("fraudulent", Reason::ChargeFailed, false),
            ("do_not_honor", Reason::ChargeFailed, false),
            ("card_velocity_exceeded", Reason::ChargeFailed, false),
            ("processing_error", Reason::ChargeFailed, false),
        ] {
            let shop = open(world, "6").await;
            fate(&shop, word).await;
            spend(&shop, "2").await;
            shop.run_jobs().await;
            shop.deliver().await;
            let refused = recent(&shop).await.remove(0);
            assert_eq!((refused.state, refused.reason()), (TopUpState::Refused, Some(reason)), "{word}");
            assert_eq!(refused.decline_code.as_deref(), Some(word));
            assert_eq!(payments(&shop).await, ["canceled"], "{word}: nobody can pay it any more");
            assert_eq!((shop.grants().await, shop.spendable().await.as_str()), (1, "$4.00"), "{word}");
            assert_eq!(subjects(&shop, "paused"), 1, "{word}");
            match verdict(&shop).await {
                Verdict::Paused { reason: said, until: None } => assert!(suspends && said == reason, "{word}: {said}"),
                Verdict::Paused { reason: Reason::FailedAttemptLimitReached, until: Some(_) } => assert!(!suspends),
                other => panic!("{word}: {other:?}"),
            }

            // Suspended, it stays so for any time; paused, it is tried again after the hour.
            fate(&shop, "pays").await;
            shop.advance_seconds(3_599);
            sweep(&shop).await;
            assert_eq!(payments(&shop).await.len(), 1, "{word}");
            shop.advance_seconds(86_400);
            sweep(&shop).await;
            assert_eq!(payments(&shop).await.len(), if suspends { 1 } else { 2 }, "{word}");
            if suspends {
                // The same card again lifts nothing, another one does.
                leave_card(&shop, GOOD_CARD).await;
                sweep(&shop).await;
                assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (1, paused(reason)), "{word}");
                leave_card(&shop, OTHER_CARD).await;
                shop.run_jobs().await;
                assert_eq!((payments(&shop).await.len(), verdict(&shop).await), (2, Verdict::Enough), "{word}");
            }
            shop.check_books().await;
        }
    })
    .await;
}

#[tokio::test]
async fn three_failures_in_a_row_suspend_until_there_is_another_card() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        fate(&shop, "insufficient_funds").await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        for failures in 1..=3_usize {
            assert_eq!(payments(&shop).await.len(), failures);
            shop.advance_seconds(3_600);
            // However often it is asked within the hour that follows.
            for _ in 0..3 {
                sweep(&shop).await;
                top_up::run(&shop.server, &shop.buyer.account_id, Trigger::Capture, Usd::ZERO).await.unwrap();
            }
        }
        assert_eq!(verdict(&shop).await, paused(Reason::SuspendedAfterFailures));
        shop.advance_seconds(7 * 86_400);
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 3);

        leave_card(&shop, OTHER_CARD).await;
        shop.run_jobs().await;
        assert_eq!((payments(&shop).await.len(), shop.spendable().await.as_str()), (4, "$14.00"));
        shop.check_books().await;
    })
    .await;
}

/// 3-D Secure while its owner is away: paused at once, confirmed with the bank within a day, one charge.
#[tokio::test]
async fn the_banks_question_is_answered_within_a_day() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        fate(&shop, "authenticate").await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        shop.deliver().await;
        let waiting = recent(&shop).await.remove(0);
        assert_eq!((waiting.state, waiting.reason()), (TopUpState::NeedsAction, Some(Reason::AuthenticationRequired)));
        assert_eq!(waiting.recover_until, Some(shop.server.clock.now().plus_seconds(86_400)));
        assert_eq!(verdict(&shop).await, paused(Reason::AuthenticationRequired));
        let mails = shop.sandbox.mail_to(&shop.buyer.email);
        assert!(mails.iter().any(|mail| mail.text.contains("/credits/auto-top-up")), "the way to confirm it is mailed");

        // The bank may say no first; it can be asked again.
        let form = shop.server.clock.new_id();
        let url = recover(&shop, &waiting.top_up_id, &form).await.unwrap();
        assert_eq!(recover(&shop, &waiting.top_up_id, &form).await.unwrap(), url, "a second click");
        assert_eq!(shop.post_form(&url, "outcome=fail").await.status, 303);
        shop.deliver().await;
        assert_eq!((recent(&shop).await[0].state, shop.grants().await), (TopUpState::NeedsAction, 1));
        let form = shop.server.clock.new_id();
        let url = recover(&shop, &waiting.top_up_id, &form).await.unwrap();
        let back = shop.post_form(&url, "outcome=complete").await;
        assert!(back.location.unwrap().contains("/credits/auto-top-up?confirmed="));
        assert_eq!(shop.grants().await, 1, "coming back grants nothing");
        top_up::look(&shop.server, &shop.buyer.account_id, &waiting.top_up_id).await.unwrap();
        shop.deliver().await;
        assert_eq!((recent(&shop).await[0].state, shop.grants().await), (TopUpState::Paid, 2));
        assert_eq!(
            (payments(&shop).await, shop.spendable().await),
            (vec!["succeeded".to_owned()], "$14.00".to_owned())
        );

        // The card would ask again, so only another one lifts the pause.
        assert_eq!(verdict(&shop).await, paused(Reason::AuthenticationRequired));
        leave_card(&shop, OTHER_CARD).await;
        assert_eq!(verdict(&shop).await, Verdict::Enough);
        shop.check_books().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_day_the_question_is_over() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        fate(&shop, "authenticate").await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        let id = recent(&shop).await[0].top_up_id.clone();
        shop.advance_seconds(86_400 - 1);
        sweep(&shop).await;
        assert_eq!(recent(&shop).await[0].state, TopUpState::NeedsAction);
        shop.advance_seconds(1);
        let late = recover(&shop, &id, &shop.server.clock.new_id()).await.unwrap_err();
        assert_eq!(late.denial().map(domain::denial::Denial::code), Some("link_expired"));
        sweep(&shop).await;
        assert_eq!(
            (recent(&shop).await[0].state, payments(&shop).await),
            (TopUpState::Expired, vec!["canceled".to_owned()])
        );
        shop.deliver().await;
        assert_eq!(shop.grants().await, 1);
        shop.check_books().await;
    })
    .await;
}

/// Paid at the last moment, while the sweep gives it up: it is credited.
#[tokio::test]
async fn a_question_that_was_answered_unnoticed_is_credited_when_it_is_given_up() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        shop.lose_webhooks();
        fate(&shop, "authenticate").await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        let id = recent(&shop).await[0].top_up_id.clone();
        let url = recover(&shop, &id, &shop.server.clock.new_id()).await.unwrap();
        shop.post_form(&url, "outcome=complete").await;
        shop.advance_seconds(86_400);
        sweep(&shop).await;
        assert_eq!((recent(&shop).await[0].state, shop.grants().await), (TopUpState::Paid, 2));
        shop.check_books().await;
    })
    .await;
}

async fn recover(shop: &Shop, id: &PurchaseId, form: &str) -> server::error::Result<String> {
    top_up::recover(&shop.server, &shop.buyer, id, form).await
}

/// Bad input of issue 4: the card is removed while a top-up is open, here and at Stripe.
#[tokio::test]
async fn a_card_that_is_removed_while_a_top_up_is_open() {
    each_database(async |world| {
        // Here: it says why not, and works once the charge has ended.
        let shop = open(world, "6").await;
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::CutAfter, "payment_intents", 3));
        spend(&shop, "2").await;
        shop.run_jobs().await;
        let refused = payment_method::remove(&shop.server, &shop.buyer).await.unwrap_err();
        assert!(refused.to_string().contains("A top-up of $11.50 with this card is being made"), "{refused}");
        shop.deliver().await;
        payment_method::remove(&shop.server, &shop.buyer).await.unwrap();
        shop.run_jobs().await;
        assert_eq!(verdict(&shop).await, paused(Reason::MissingPaymentMethod));
        assert_eq!(shop.grants().await, 2);

        // At Stripe, before the charge arrived: it is not sent again, and nothing is charged.
        let shop = open(world, "6").await;
        shop.sandbox.set_stripe_fault(fault(ApiFaultKind::ServerErrorBefore, "payment_intents", 3));
        spend(&shop, "2").await;
        shop.run_jobs().await;
        detach(&shop).await;
        shop.deliver().await;
        assert_eq!(payment_method::load(&shop.server, &shop.buyer.account_id).await.unwrap(), None);
        shop.advance_seconds(121);
        sweep(&shop).await;
        assert_eq!((payments(&shop).await.len(), recent(&shop).await[0].state), (0, TopUpState::Expired));
        assert_eq!(verdict(&shop).await, paused(Reason::MissingPaymentMethod));

        // At Stripe, and nobody told us: the charge itself is refused, and says why.
        let shop = open(world, "6").await;
        shop.lose_webhooks();
        detach(&shop).await;
        spend(&shop, "2").await;
        shop.run_jobs().await;
        let ended = recent(&shop).await.remove(0);
        assert_eq!((ended.state, ended.reason()), (TopUpState::Refused, Some(Reason::MissingPaymentMethod)));
        assert_eq!(ended.problem.as_deref(), Some("The card was removed at Stripe."));
        assert_eq!(payments(&shop).await.len(), 0);
        shop.check_books().await;
    })
    .await;
}

async fn detach(shop: &Shop) {
    let card = payment_method::load(&shop.server, &shop.buyer.account_id).await.unwrap().unwrap();
    shop.call_stripe(&format!("payment_methods/{}/detach", card.payment_method_id), String::new()).await;
}

/// Removing the card, or turning it off, while the bank waits gives that charge up first.
#[tokio::test]
async fn a_question_ends_with_the_consent() {
    each_database(async |world| {
        for turns_off in [true, false] {
            let shop = open(world, "6").await;
            fate(&shop, "authenticate").await;
            spend(&shop, "2").await;
            shop.run_jobs().await;
            if turns_off {
                top_up::turn_off(&shop.server, &shop.buyer).await.unwrap();
            } else {
                payment_method::remove(&shop.server, &shop.buyer).await.unwrap();
            }
            assert_eq!(payments(&shop).await, ["canceled"]);
            assert_eq!(recent(&shop).await[0].state, TopUpState::Expired);
        }
    })
    .await;
}

/// Two charges never follow each other within 30 seconds, nor three within ten minutes, even when each is wanted.
#[tokio::test]
async fn wanted_charges_keep_their_distance() {
    each_database(async |world| {
        let shop = open(world, "6").await;
        let drain = async |shop: &Shop| {
            let left = shop.spendable().await;
            spend(shop, left.trim_start_matches('$')).await;
            shop.run_jobs().await;
        };
        drain(&shop).await;
        drain(&shop).await;
        assert_eq!(payments(&shop).await.len(), 1, "30 seconds have not passed");
        shop.advance_seconds(29);
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 1);
        shop.advance_seconds(1);
        shop.run_jobs().await;
        assert_eq!(payments(&shop).await.len(), 2, "the job that was put off makes it, without a sweep");
        drain(&shop).await;
        shop.advance_seconds(300);
        sweep(&shop).await;
        assert_eq!(payments(&shop).await.len(), 2, "two within ten minutes");
        shop.advance_seconds(300);
        sweep(&shop).await;
        assert_eq!((payments(&shop).await.len(), shop.spendable().await), (3, "$10.00".to_owned()));
        assert_eq!(usd("10").to_string(), "$10.00");
        shop.check_books().await;
    })
    .await;
}
