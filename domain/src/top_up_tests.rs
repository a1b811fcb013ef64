//! The auto-top-up rule as a table: one line of facts each, and what follows.

use super::*;
use crate::catalogue::tests::{NOW, tiers};
use std::sync::LazyLock;

const CARD: &str = "fp_a:2034-12";
const OTHER: &str = "fp_b:2034-12";

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

fn rule() -> Rule {
    Rule { threshold: usd("5"), pack: PackId::new("pack-25"), cap: usd("100"), charges_a_month: 5 }
}

fn paid(seconds_ago: i64) -> Attempt {
    Attempt {
        started_at: NOW.plus_seconds(-seconds_ago),
        card: CARD.to_owned(),
        price: usd("28.75"),
        outcome: Outcome::Paid,
    }
}

fn refused(seconds_ago: i64) -> Attempt {
    Attempt { outcome: Outcome::Refused { at: NOW.plus_seconds(-seconds_ago) }, ..paid(seconds_ago) }
}

/// Decides at `NOW` with a balance, after the facts were changed.
fn verdict<'a>(balance: &str, attempts: &'a [Attempt], change: impl FnOnce(&mut Facts<'a>)) -> Verdict {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(tiers);
    static RULE: LazyLock<Rule> = LazyLock::new(rule);
    let catalogue: &'static Catalogue = &CATALOGUE;
    let rule: &'static Rule = &RULE;
    let mut facts = Facts {
        rule: Some(rule),
        consent: Consent::Until(NOW.plus_seconds(86_400)),
        balance: usd(balance),
        refused: Usd::ZERO,
        pack: catalogue.pack(&rule.pack).ok(),
        card: Some(CARD),
        suspension: None,
        is_frozen: false,
        attempts,
        month: Period::calendar_month(NOW),
    };
    change(&mut facts);
    decide(&catalogue.top_up, &facts, NOW)
}

const DUE: Verdict = Verdict::Due { price: Usd::from_nanos(28_750_000_000) };

fn paused(reason: Reason) -> Verdict {
    Verdict::Paused { reason, until: None }
}

#[test]
fn it_is_due_strictly_below_the_threshold() {
    for (balance, expected) in [
        ("0", DUE),
        ("4.999999999", DUE),
        ("5", Verdict::Enough),
        ("5.000000001", Verdict::Enough),
        ("1000", Verdict::Enough),
    ] {
        assert_eq!(verdict(balance, &[], |_| ()), expected, "{balance}");
    }
}

#[test]
fn a_refused_run_buys_one_pack_if_one_pack_pays_for_it() {
    for (refused, expected) in
        [("8", Verdict::Enough), ("8.01", DUE), ("33", DUE), ("33.01", Verdict::Enough), ("1000", Verdict::Enough)]
    {
        assert_eq!(verdict("8", &[], |facts| facts.refused = usd(refused)), expected, "{refused}");
    }
}

#[test]
fn whoever_did_not_agree_is_not_charged() {
    assert_eq!(verdict("0", &[], |facts| facts.rule = None), Verdict::Off);
    assert_eq!(verdict("0", &[], |facts| facts.consent = Consent::Until(NOW)), paused(Reason::ConsentExpired));
    assert_eq!(verdict("0", &[], |facts| facts.consent = Consent::Until(NOW.plus_seconds(1))), DUE);
    let withdrawn = verdict("0", &[], |facts| facts.consent = Consent::Withdrawn);
    assert_eq!(withdrawn, paused(Reason::ConsentWithdrawn));
    assert_eq!(verdict("0", &[], |facts| facts.card = None), paused(Reason::MissingPaymentMethod));
    assert_eq!(verdict("0", &[], |facts| facts.is_frozen = true), paused(Reason::AccountFrozen));
    assert_eq!(verdict("0", &[], |facts| facts.pack = None), paused(Reason::InvalidAmount));
}

#[test]
fn one_is_made_at_a_time() {
    let open = Attempt { outcome: Outcome::Open, ..paid(3_000) };
    assert_eq!(verdict("0", std::slice::from_ref(&open), |_| ()), Verdict::Open);
}

#[test]
fn a_suspension_is_tied_to_its_card() {
    for reason in [
        Reason::AuthenticationRequired,
        Reason::LostCard,
        Reason::StolenCard,
        Reason::ExpiredCard,
        Reason::SuspendedAfterFailures,
    ] {
        let suspension = Suspension { reason, card: CARD.to_owned() };
        assert_eq!(verdict("0", &[], |facts| facts.suspension = Some(&suspension)), paused(reason));
        let elsewhere = Suspension { reason, card: OTHER.to_owned() };
        assert_eq!(verdict("0", &[], |facts| facts.suspension = Some(&elsewhere)), DUE, "a new card lifts it");
    }
}

#[test]
fn the_cap_counts_dollars_and_charges_of_the_month() {
    let month = Period::calendar_month(NOW);
    let limit = Verdict::Paused { reason: Reason::PurchaseLimitReached, until: Some(month.end) };
    let hours = |count: i64| (1..=count).map(|number| paid(number * 3_600)).collect::<Vec<_>>();
    // Three packs of $28.75 are $86.25; the fourth would be $115.
    assert_eq!(verdict("0", &hours(2), |_| ()), DUE);
    assert_eq!(verdict("0", &hours(3), |_| ()), limit);
    let wide = Rule { cap: usd("1000"), ..rule() };
    assert_eq!(verdict("0", &hours(4), |facts| facts.rule = Some(&wide)), DUE);
    assert_eq!(verdict("0", &hours(5), |facts| facts.rule = Some(&wide)), limit);
    // To the cent: 2 × 28.75 + 28.75 = 86.25.
    for (cap, expected) in [("86.25", DUE), ("86.24", limit)] {
        let exact = Rule { cap: usd(cap), ..rule() };
        assert_eq!(verdict("0", &hours(2), |facts| facts.rule = Some(&exact)), expected, "{cap}");
    }
    // What was refused took nothing, and last month is over.
    let mut old = hours(3);
    for attempt in &mut old {
        attempt.started_at = month.start.plus_seconds(-1);
    }
    assert_eq!(verdict("0", &old, |_| ()), DUE);
    let failed: Vec<_> = (2..9).map(|number| refused(number * 3_600)).collect();
    assert_eq!(verdict("0", &failed, |_| ()), DUE);
    // What may have been charged counts as charged.
    let open = Attempt { outcome: Outcome::Open, ..paid(3_600) };
    assert_eq!(this_month(&[open], month), (usd("28.75"), 1));
}

#[test]
fn attempts_keep_their_distance() {
    let wait = |until: i64| Verdict::Wait { reason: Reason::AttemptLimitReached, until: NOW.plus_seconds(until) };
    let ago = |all: &[i64]| all.iter().map(|seconds| paid(*seconds)).collect::<Vec<_>>();
    for (attempts, expected) in [
        (ago(&[0]), wait(30)),
        (ago(&[29]), wait(1)),
        (ago(&[30]), DUE),
        (ago(&[31, 599]), wait(1)),
        (ago(&[31, 600]), DUE),
        (ago(&[100, 300]), wait(300)),
        // The burst guard may last longer than the window.
        (ago(&[10, 595]), wait(20)),
    ] {
        assert_eq!(verdict("0", &attempts, |_| ()), expected, "{attempts:?}");
    }
    assert_eq!(verdict("5", &ago(&[0]), |_| ()), Verdict::Enough, "nothing is said while nothing is due");
}

#[test]
fn after_a_failure_the_card_rests_for_an_hour() {
    let pause = |until: i64| Verdict::Paused {
        reason: Reason::FailedAttemptLimitReached,
        until: Some(NOW.plus_seconds(until)),
    };
    assert_eq!(verdict("0", &[refused(60)], |_| ()), pause(3_540));
    assert_eq!(verdict("0", &[refused(3_599)], |_| ()), pause(1));
    assert_eq!(verdict("0", &[refused(3_600)], |_| ()), DUE);
    assert_eq!(verdict("0", &[refused(60)], |facts| facts.card = Some(OTHER)), DUE, "another card may be tried");
}

#[test]
fn what_a_refusal_means_for_the_rule() {
    let limits = TopUpLimits::default();
    for (code, decline, reason, suspends) in [
        ("card_declined", Some("generic_decline"), Reason::ChargeFailed, None),
        ("card_declined", Some("insufficient_funds"), Reason::ChargeFailed, None),
        ("card_declined", Some("fraudulent"), Reason::ChargeFailed, None),
        ("card_declined", Some("lost_card"), Reason::LostCard, Some(Reason::LostCard)),
        ("card_declined", Some("stolen_card"), Reason::StolenCard, Some(Reason::StolenCard)),
        ("expired_card", Some("expired_card"), Reason::ExpiredCard, Some(Reason::ExpiredCard)),
        ("expired_card", None, Reason::ExpiredCard, Some(Reason::ExpiredCard)),
        ("authentication_required", None, Reason::AuthenticationRequired, Some(Reason::AuthenticationRequired)),
        (
            "card_declined",
            Some("authentication_required"),
            Reason::AuthenticationRequired,
            Some(Reason::AuthenticationRequired),
        ),
        ("processing_error", Some("processing_error"), Reason::ChargeFailed, None),
        ("a_code_of_tomorrow", None, Reason::ChargeFailed, None),
    ] {
        assert_eq!(reason_of(code, decline), reason, "{code} {decline:?}");
        assert_eq!(after_refusal(&limits, reason, 1), suspends, "{code} {decline:?}");
    }
    assert_eq!(after_refusal(&limits, Reason::ChargeFailed, 2), None);
    assert_eq!(after_refusal(&limits, Reason::ChargeFailed, 3), Some(Reason::SuspendedAfterFailures));
}

#[test]
fn failures_count_since_the_last_charge_that_was_paid() {
    let other = Attempt { card: OTHER.to_owned(), ..refused(50) };
    assert_eq!(failures_in_a_row(&[refused(1), refused(2), paid(3), refused(4)], CARD), 2);
    assert_eq!(failures_in_a_row(&[refused(1), other, refused(2)], CARD), 2);
    assert_eq!(failures_in_a_row(&[paid(1), refused(2)], CARD), 0);
}

/// Bad input of issue 4: each has its own field and sentence.
#[test]
fn a_rule_that_cannot_work_is_refused_with_its_field() {
    let catalogue = tiers();
    let refuse = |rule: Rule| rule.check(&catalogue).map(drop).unwrap_err();
    for (rule, field, words) in [
        (Rule { threshold: usd("25.01"), ..rule() }, "threshold", "is more than the $25.00 that the pack gives"),
        (Rule { threshold: Usd::ZERO, ..rule() }, "threshold", "must be more than $0.00"),
        (Rule { threshold: usd("-1"), ..rule() }, "threshold", "must be more than $0.00"),
        (Rule { cap: usd("28.74"), ..rule() }, "cap", "is less than the $28.75 that one pack costs"),
        (Rule { charges_a_month: 0, ..rule() }, "charges", "is not between 1 and 50"),
        (Rule { charges_a_month: 51, ..rule() }, "charges", "is not between 1 and 50"),
    ] {
        let denial = refuse(rule);
        assert!(matches!(&denial, Denial::Invalid { field: named, .. } if named == field), "{denial:?}");
        assert!(denial.sentence().contains(words), "{}", denial.sentence());
    }
    assert_eq!(refuse(Rule { pack: PackId::new("pack-1"), ..rule() }).code(), "unknown_pack");
    let exact = Rule { threshold: usd("25"), cap: usd("28.75"), ..rule() };
    assert_eq!(exact.check(&catalogue).map(|pack| pack.price), Ok(usd("28.75")));
}

#[test]
fn the_shipped_catalogues_have_the_defaults_of_the_reference() {
    for catalogue in [tiers(), crate::catalogue::tests::legionis()] {
        assert_eq!(catalogue.top_up, TopUpLimits::default(), "{}", catalogue.version);
    }
}

#[test]
fn every_reason_has_its_words() {
    for reason in Reason::ALL {
        assert!(reason.sentence().ends_with('.'), "{reason}");
    }
}

/// The pack that a rule began with counts in the month, in dollars and number, and holds no charge up.
#[test]
fn what_was_paid_by_hand_counts_in_the_cap_and_is_no_try() {
    let by_hand = |seconds_ago| Attempt { outcome: Outcome::PaidByHand, card: String::new(), ..paid(seconds_ago) };
    let since = NOW.seconds() - Period::calendar_month(NOW).start.seconds();
    assert_eq!(verdict("0", &[by_hand(1), by_hand(2)], |_| ()), DUE, "no burst, and no try of the window");
    let capped = Verdict::Paused { reason: Reason::PurchaseLimitReached, until: Some(Period::calendar_month(NOW).end) };
    assert_eq!(
        verdict("0", &[by_hand(1), by_hand(2), by_hand(3)], |_| ()),
        capped,
        "3 × $28.75 and one more are above $100"
    );
    assert_eq!(
        verdict("0", &[by_hand(1), by_hand(2), by_hand(since + 1)], |_| ()),
        DUE,
        "last month's is not this month's"
    );
}
