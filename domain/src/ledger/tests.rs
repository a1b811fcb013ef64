//! The rules of the ledger, one by one; that the databases agree with them is tested in `server/tests/it`.

use super::*;
use crate::denial::Denial;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const LATER: Timestamp = Timestamp::from_seconds(1_800_000_600);

fn usd(nanos: i64) -> Usd {
    Usd::from_nanos(nanos)
}

fn model(name: &str) -> ModelId {
    ModelId::new(name)
}

fn apply(standing: &mut Standing, command: &Command) -> Result<Decision, Denial> {
    let decision = decide(standing, NOW, command)?;
    if let Some(posting) = &decision.posting {
        assert_eq!(posting.entries.iter().map(|entry| entry.amount.nanos()).sum::<i64>(), 0, "{posting:?}");
    }
    standing.apply(&decision);
    Ok(decision)
}

fn grant(standing: &mut Standing, lot: &str, kind: GrantKind, amount: i64, expires_at: Option<Timestamp>) {
    let price = if kind == GrantKind::Paid { usd(amount * 115 / 100) } else { Usd::ZERO };
    let command = Command::Grant {
        lot_id: LotId::new(lot),
        kind,
        amount: usd(amount),
        price,
        allowed_models: (kind == GrantKind::Trial).then(|| vec![model("haiku")]),
        expires_at,
        reference: lot.to_owned(),
    };
    apply(standing, &command).unwrap();
}

fn hold(id: &str, amount: i64, name: &str) -> Command {
    let execution_id = ExecutionId::new(id);
    Command::Hold {
        execution_id,
        amount: usd(amount),
        model: model(name),
        source: FundingSource::Credits,
        expires_at: LATER,
    }
}

fn capture(id: &str, cost: i64) -> Command {
    Command::Capture { execution_id: ExecutionId::new(id), cost: usd(cost) }
}

fn void(id: &str) -> Command {
    Command::Void { execution_id: ExecutionId::new(id) }
}

fn expire(id: &str) -> Command {
    Command::Expire { execution_id: ExecutionId::new(id) }
}

fn taken(decision: &Decision) -> Vec<(String, i64)> {
    let hold = decision.hold.as_ref().unwrap();
    hold.taken.iter().map(|(lot, part)| (lot.to_string(), part.nanos())).collect()
}

/// All kinds of lots, 100 each; the newer paid lot is granted first.
fn all_kinds() -> Standing {
    let mut standing = Standing::default();
    grant(&mut standing, "paid-2", GrantKind::Paid, 100, None);
    grant(&mut standing, "paid-1", GrantKind::Paid, 100, None);
    grant(&mut standing, "bonus", GrantKind::Bonus, 100, None);
    grant(&mut standing, "promo-late", GrantKind::Promotional, 100, Some(NOW.plus_seconds(200)));
    grant(&mut standing, "promo-soon", GrantKind::Promotional, 100, Some(NOW.plus_seconds(100)));
    grant(&mut standing, "trial", GrantKind::Trial, 100, Some(NOW.plus_seconds(300)));
    standing
}

#[test]
fn credit_burns_trial_then_promotional_by_expiry_then_bonus_then_paid() {
    let mut standing = all_kinds();
    let decision = apply(&mut standing, &hold("a", 510, "haiku")).unwrap();
    let burned = taken(&decision);
    let order: Vec<&str> = burned.iter().map(|(lot, _)| lot.as_str()).collect();
    assert_eq!(order, ["trial", "promo-soon", "promo-late", "bonus", "paid-1", "paid-2"]);
    assert_eq!(burned.last().unwrap().1, 10);
    assert_eq!(standing.balance.held, usd(510));
    assert_eq!(standing.balance.spendable(), usd(90));
}

#[test]
fn a_capture_keeps_the_burn_order_and_gives_the_rest_back() {
    let mut standing = all_kinds();
    apply(&mut standing, &hold("a", 510, "haiku")).unwrap();
    let decision = apply(&mut standing, &capture("a", 150)).unwrap();
    assert_eq!(decision.posting.unwrap().change, usd(-150));
    let left: Vec<i64> = ["trial", "promo-soon", "promo-late", "bonus", "paid-1", "paid-2"]
        .iter()
        .map(|lot| standing.lot(&LotId::new(*lot)).unwrap().remaining.nanos())
        .collect();
    assert_eq!(left, [0, 50, 100, 100, 100, 100]);
    assert!(standing.lots.iter().all(|lot| lot.held.is_zero()));
    assert_eq!(standing.balance.held, Usd::ZERO);
}

#[test]
fn row_5_actual_above_hold_is_the_platforms_loss() {
    let mut standing = Standing::default();
    grant(&mut standing, "paid", GrantKind::Paid, 100, None);
    apply(&mut standing, &hold("a", 60, "opus")).unwrap();
    let decision = apply(&mut standing, &capture("a", 75)).unwrap();
    let record = decision.hold.unwrap();
    assert_eq!((record.captured, record.overrun), (usd(60), usd(15)));
    let posting = decision.posting.unwrap();
    let amount = |book| posting.entries.iter().find(|entry| entry.book == book).unwrap().amount;
    assert_eq!(amount(Book::Held), usd(-60));
    assert_eq!(amount(Book::UsageRevenue), usd(75));
    assert_eq!(amount(Book::OverrunLoss), usd(-15));
    assert_eq!(standing.balance.spendable(), usd(40));
}

#[test]
fn row_20_reserved_and_insufficient_are_told_apart_by_what_may_pay_for_the_model() {
    let mut standing = Standing::default();
    grant(&mut standing, "trial", GrantKind::Trial, 100, None);
    grant(&mut standing, "paid", GrantKind::Paid, 50, None);
    apply(&mut standing, &hold("a", 120, "haiku")).unwrap();
    let reserved = apply(&mut standing, &hold("b", 40, "haiku")).unwrap_err();
    assert_eq!(reserved, Denial::ReservedByRunningWork { needed: usd(40), spendable: usd(30), held: usd(120) });
    // The trial's 100 come back one day, but never for opus.
    let insufficient = apply(&mut standing, &hold("c", 51, "opus")).unwrap_err();
    assert_eq!(insufficient, Denial::InsufficientCredit { needed: usd(51), spendable: usd(30) });
    assert_eq!(apply(&mut standing, &hold("d", 50, "opus")).unwrap_err().code(), "reserved_by_running_work");
}

#[test]
fn an_expired_lot_pays_for_nothing_and_goes_to_breakage() {
    let mut standing = Standing::default();
    grant(&mut standing, "promo", GrantKind::Promotional, 100, Some(NOW));
    assert_eq!(apply(&mut standing, &hold("a", 1, "haiku")).unwrap_err().code(), "insufficient_credit");
    let lot_id = LotId::new("promo");
    let decision = apply(&mut standing, &Command::ExpireLot { lot_id: lot_id.clone() }).unwrap();
    assert_eq!(decision.posting.unwrap().change, usd(-100));
    assert!(apply(&mut standing, &Command::ExpireLot { lot_id }).unwrap().repeated);
    assert_eq!(standing.balance, Balance::default());
}

#[test]
fn a_lot_that_has_not_expired_is_not_taken_back() {
    let mut standing = all_kinds();
    let command = Command::ExpireLot { lot_id: LotId::new("trial") };
    assert_eq!(apply(&mut standing, &command).unwrap_err().code(), "conflict");
}

#[test]
fn a_frozen_account_finishes_its_runs_and_starts_none() {
    let mut standing = all_kinds();
    apply(&mut standing, &hold("a", 10, "haiku")).unwrap();
    standing.frozen = Some(Frozen { reason: "dispute".to_owned(), cause: None });
    let denied = apply(&mut standing, &hold("b", 10, "haiku")).unwrap_err();
    assert_eq!(denied, Denial::AccountFrozen { reason: "dispute".to_owned() });
    apply(&mut standing, &capture("a", 5)).unwrap();
}

/// Every cause and every source: only what is owed leaves the account's own keys.
#[test]
fn debt_leaves_own_keys_and_every_other_freeze_stops_them() {
    for cause in FreezeCause::ALL.iter().copied().map(Some).chain([None]) {
        for source in FundingSource::ALL.iter().copied() {
            let mut standing = all_kinds();
            standing.frozen = Some(Frozen { reason: "why".to_owned(), cause });
            let amount = if source.takes_credit() { usd(10) } else { Usd::ZERO };
            let (execution_id, model) = (ExecutionId::new("a"), model("haiku"));
            let command = Command::Hold { execution_id, amount, model, source, expires_at: LATER };
            let runs = cause == Some(FreezeCause::Owed) && source == FundingSource::OwnKey;
            assert_eq!(apply(&mut standing, &command).is_ok(), runs, "{cause:?} {source}");
        }
    }
}

#[test]
fn a_hold_ends_once() {
    let ends = [capture("a", 5), void("a"), expire("a"), capture("a", 6), capture("a", 11), capture("a", 0)];
    for first in &ends {
        let mut standing = all_kinds();
        apply(&mut standing, &hold("a", 10, "haiku")).unwrap();
        apply(&mut standing, first).unwrap();
        let after = standing.clone();
        for second in &ends {
            match apply(&mut standing, second) {
                Ok(decision) => assert!(decision.repeated && first == second, "{first:?} then {second:?}"),
                Err(denial) => assert!(denial.code() == "conflict" && first != second, "{first:?} then {second:?}"),
            }
            assert_eq!(standing, after);
        }
    }
}

#[test]
fn the_same_hold_again_is_a_repeat_and_another_amount_a_conflict() {
    let mut standing = all_kinds();
    apply(&mut standing, &hold("a", 10, "haiku")).unwrap();
    let after = standing.clone();
    assert!(apply(&mut standing, &hold("a", 10, "haiku")).unwrap().repeated);
    assert_eq!(apply(&mut standing, &hold("a", 11, "haiku")).unwrap_err().code(), "conflict");
    assert_eq!(standing, after);
}

#[test]
fn a_renewal_lengthens_an_open_hold_only() {
    let mut standing = all_kinds();
    apply(&mut standing, &hold("a", 10, "haiku")).unwrap();
    let execution_id = ExecutionId::new("a");
    let renew = |expires_at| Command::Renew { execution_id: execution_id.clone(), expires_at };
    let renewed = apply(&mut standing, &renew(LATER.plus_seconds(60))).unwrap();
    assert_eq!(renewed.hold.unwrap().expires_at, LATER.plus_seconds(60));
    assert!(apply(&mut standing, &renew(NOW)).unwrap().repeated);
    apply(&mut standing, &void("a")).unwrap();
    assert_eq!(apply(&mut standing, &renew(LATER.plus_seconds(90))).unwrap_err().code(), "conflict");
}

#[test]
fn a_grant_of_ten_dollars_for_eleven_fifty() {
    let mut standing = Standing::default();
    let command = Command::Grant {
        lot_id: LotId::new("l"),
        kind: GrantKind::Paid,
        amount: Usd::from_dollars(10).unwrap(),
        price: Usd::parse_dollars("11.50").unwrap(),
        allowed_models: None,
        expires_at: None,
        reference: "purchase".to_owned(),
    };
    let posting = apply(&mut standing, &command).unwrap().posting.unwrap();
    let entries: Vec<(Book, String)> =
        posting.entries.iter().map(|entry| (entry.book, entry.amount.to_string())).collect();
    assert_eq!(
        entries,
        [
            (Book::Paid, "$10.00".to_owned()),
            (Book::MarkupRevenue, "$1.50".to_owned()),
            (Book::StripeClearing, "−$11.50".to_owned()),
        ]
    );
    assert_eq!(posting.idempotency_key, "grant:purchase:paid");
}

#[test]
fn nonsense_is_refused() {
    let mut standing = all_kinds();
    for (command, code) in [
        (hold("a", -1, "haiku"), "invalid"),
        (capture("nobody", 1), "not_found"),
        (Command::ExpireLot { lot_id: LotId::new("nothing") }, "not_found"),
    ] {
        assert_eq!(apply(&mut standing, &command).unwrap_err().code(), code, "{command:?}");
    }
    apply(&mut standing, &hold("a", 1, "haiku")).unwrap();
    assert_eq!(apply(&mut standing, &capture("a", -1)).unwrap_err().code(), "invalid");
    let bad = |kind, amount, price, expires_at| Command::Grant {
        lot_id: LotId::new("bad"),
        kind,
        amount: usd(amount),
        price: usd(price),
        allowed_models: None,
        expires_at,
        reference: "bad".to_owned(),
    };
    for command in [
        bad(GrantKind::Paid, 0, 0, None),
        bad(GrantKind::Paid, 100, 99, None),
        bad(GrantKind::Paid, 100, 115, Some(LATER)),
        bad(GrantKind::Bonus, 100, 0, Some(LATER)),
        bad(GrantKind::Trial, 100, 1, Some(LATER)),
        bad(GrantKind::Paid, i64::MAX, i64::MAX, None),
    ] {
        assert_eq!(apply(&mut standing, &command).unwrap_err().code(), "invalid", "{command:?}");
    }
}

fn claim(id: &str, (credit, bonus): (i64, i64), own: &[&str], shortfall: Shortfall) -> Command {
    Command::Claim(Claim {
        claim_id: ClaimId::new(id),
        kind: ClaimKind::Dispute,
        credit: usd(credit),
        bonus: usd(bonus),
        cash: usd(credit * 115 / 100),
        own: own.iter().map(|lot| LotId::new(*lot)).collect(),
        shortfall,
    })
}

fn left(standing: &Standing, lots: &[&str]) -> Vec<i64> {
    lots.iter().map(|lot| standing.lot(&LotId::new(*lot)).unwrap().remaining.nanos()).collect()
}

/// Two packs of 100 with a bonus of 10, the second one newer.
fn two_packs() -> Standing {
    let mut standing = Standing::default();
    for (lot, kind, amount) in [
        ("paid-1", GrantKind::Paid, 100),
        ("paid-2", GrantKind::Paid, 100),
        ("bonus-1", GrantKind::Bonus, 10),
        ("bonus-2", GrantKind::Bonus, 10),
    ] {
        grant(&mut standing, lot, kind, amount, None);
    }
    standing
}

const LOTS: [&str; 4] = ["paid-1", "paid-2", "bonus-1", "bonus-2"];

#[test]
fn a_claim_takes_its_purchases_credit_and_bonus_in_proportion() {
    let mut standing = two_packs();
    let decision = apply(&mut standing, &claim("c", (50, 5), &["paid-1", "bonus-1"], Shortfall::Refused)).unwrap();
    assert_eq!(left(&standing, &LOTS), [50, 100, 5, 10]);
    let posting = decision.posting.unwrap();
    let entries: Vec<(Book, i64)> = posting.entries.iter().map(|entry| (entry.book, entry.amount.nanos())).collect();
    assert_eq!(
        entries,
        [
            (Book::Bonus, -5),
            (Book::Paid, -50),
            (Book::StripeClearing, 57),
            (Book::BonusExpense, 5),
            (Book::MarkupRevenue, -7),
        ]
    );
    assert_eq!((posting.change, posting.idempotency_key.as_str()), (usd(-55), "claim:c:1"));
    assert!(apply(&mut standing, &claim("c", (50, 5), &[], Shortfall::Refused)).unwrap().repeated);
}

#[test]
fn a_claim_moves_by_the_change_of_what_it_takes_in_all() {
    let mut standing = two_packs();
    let own = ["paid-2", "bonus-2"];
    for (so_far, expected) in [
        ((20, 2), [100, 80, 10, 8]),
        ((100, 10), [100, 0, 10, 0]),
        ((40, 4), [100, 60, 10, 6]),
        ((0, 0), [100, 100, 10, 10]),
        ((0, 0), [100, 100, 10, 10]),
        ((100, 10), [100, 0, 10, 0]),
    ] {
        apply(&mut standing, &claim("c", so_far, &own, Shortfall::Owed)).unwrap();
        assert_eq!(left(&standing, &LOTS), expected, "{so_far:?}");
    }
    assert_eq!(standing.balance.receivable, Usd::ZERO);
}

#[test]
fn what_is_spent_is_taken_from_other_bought_credit_and_the_rest_is_owed() {
    let mut standing = two_packs();
    grant(&mut standing, "gift", GrantKind::Promotional, 1_000, Some(LATER));
    standing.lots.retain(|lot| lot.kind != GrantKind::Promotional);
    apply(&mut standing, &hold("a", 180, "haiku")).unwrap();
    apply(&mut standing, &capture("a", 170)).unwrap();
    // 50 of the newer pack are left, 10 of them back from the hold.
    assert_eq!(left(&standing, &LOTS), [0, 50, 0, 0]);
    apply(&mut standing, &claim("c", (100, 10), &["paid-1", "bonus-1"], Shortfall::Owed)).unwrap();
    assert_eq!(left(&standing, &LOTS), [0, 0, 0, 0]);
    assert_eq!(standing.balance.receivable, usd(-60));
    // Won: what is owed is forgiven first, then the lots get theirs.
    let mut won = standing.clone();
    apply(&mut won, &claim("c", (0, 0), &["paid-1", "bonus-1"], Shortfall::Owed)).unwrap();
    assert_eq!((left(&won, &LOTS), won.balance.receivable), (vec![0, 50, 0, 0], Usd::ZERO));
    // Paid later: what is owed comes first, and a dispute that is won after all gives it back where it came from.
    grant(&mut standing, "paid-3", GrantKind::Paid, 100, None);
    let settle = Command::Settle { claim_id: ClaimId::new("c") };
    let decision = apply(&mut standing, &settle).unwrap();
    assert_eq!(decision.posting.unwrap().idempotency_key, "settle:c:2");
    assert_eq!((left(&standing, &["paid-3"]), standing.balance.receivable), (vec![40], Usd::ZERO));
    assert!(apply(&mut standing, &settle).unwrap().repeated);
    apply(&mut standing, &claim("c", (0, 0), &[], Shortfall::Owed)).unwrap();
    assert_eq!(left(&standing, &["paid-3", "paid-2"]), [100, 50]);
}

#[test]
fn a_claim_with_consent_is_refused_when_the_credit_is_not_all_there() {
    let mut standing = two_packs();
    apply(&mut standing, &hold("a", 215, "haiku")).unwrap();
    let before = standing.clone();
    let denied = apply(&mut standing, &claim("c", (100, 10), &["paid-2"], Shortfall::Refused)).unwrap_err();
    assert_eq!((denied.code(), &standing), ("conflict", &before));
    // What runs hold is theirs, whatever is claimed.
    apply(&mut standing, &claim("c", (100, 10), &["paid-2"], Shortfall::Owed)).unwrap();
    assert_eq!((standing.balance.receivable, standing.balance.held), (usd(-105), usd(215)));
    apply(&mut standing, &void("a")).unwrap();
    apply(&mut standing, &Command::Settle { claim_id: ClaimId::new("c") }).unwrap();
    assert_eq!((standing.balance.receivable, standing.balance.spendable()), (Usd::ZERO, usd(110)));
}

#[test]
fn a_claim_leaves_trial_and_promotional_credit_alone() {
    let mut standing = Standing::default();
    grant(&mut standing, "promo", GrantKind::Promotional, 100, Some(LATER));
    grant(&mut standing, "trial", GrantKind::Trial, 100, Some(LATER));
    apply(&mut standing, &claim("c", (10, 0), &[], Shortfall::Owed)).unwrap();
    assert_eq!((standing.balance.receivable, standing.balance.spendable()), (usd(-10), usd(200)));
    for (command, code) in [
        (claim("d", (-1, 0), &[], Shortfall::Owed), "invalid"),
        (Command::Settle { claim_id: ClaimId::new("nobody") }, "not_found"),
    ] {
        assert_eq!(apply(&mut standing, &command).unwrap_err().code(), code);
    }
}
