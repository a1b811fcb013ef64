//! The calculator against document 004's numbers, and its rules for any scenario.

use super::*;
use crate::catalogue::tests::{NOW, book, legionis, tiers};
use crate::id::{PackId, PlanId, ProfileId};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Read once: the properties ask for them often.
fn both() -> [&'static Catalogue; 2] {
    static BOTH: LazyLock<[Catalogue; 2]> = LazyLock::new(|| [tiers(), legionis()]);
    BOTH.each_ref()
}

fn rates() -> &'static RateBook {
    static BOOK: LazyLock<RateBook> = LazyLock::new(book);
    &BOOK
}

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

fn scenario<'a>(catalogue: &'a Catalogue, plan: &str, profile: &str, pack: Option<&str>) -> Scenario<'a> {
    let profile = catalogue.profiles.iter().find(|known| known.id == ProfileId::new(profile)).unwrap();
    Scenario {
        plan: catalogue.plan(&PlanId::new(plan)).unwrap(),
        seats: 1,
        runs: profile.runs.clone(),
        pack: pack.map(|pack| catalogue.pack(&PackId::new(pack)).unwrap()),
    }
}

fn cents(amount: Usd) -> i64 {
    amount.to_cents_half_up().0
}

/// Document 004 §8, "Monthly Spend Profiles": cost a month, and with 15 % markup, each within its range.
#[test]
fn the_four_profiles_cost_what_the_document_says() {
    let catalogue = legionis();
    for (profile, (least, most), runs_a_day) in [
        ("light", ("1.50", "1.50"), 5),
        ("regular", ("10.00", "20.00"), 10),
        ("power", ("30.00", "60.00"), 20),
        ("strategic-leader", ("50.00", "100.00"), 10),
    ] {
        let scenario = scenario(&catalogue, "product", profile, Some("pack-10"));
        let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
        assert_eq!(estimate.runs, runs_a_day * 30, "{profile}");
        assert!((usd(least)..=usd(most)).contains(&estimate.cost), "{profile}: {}", estimate.cost);
        let with_markup =
            |text: &str| cents(usd(text).checked_mul_basis_points(crate::money::BasisPoints(11_500)).unwrap());
        let paid = cents(estimate.our_keys.credit_price);
        assert!((with_markup(least)..=with_markup(most)).contains(&paid), "{profile}: {paid}");
    }
    let light = scenario(&catalogue, "product", "light", Some("pack-10"));
    let light = estimate(&catalogue, &book(), NOW, &light).unwrap();
    assert_eq!((light.cost, cents(light.our_keys.credit_price)), (usd("1.50"), 173), "~$1.50 and ~$1.73");
}

/// Document 004 §7: "Token revenue $23.00 (= $20 x 1.15)" and "$57.50 (= $50 x 1.15)", on top of the platform fee.
#[test]
fn twenty_dollars_of_tokens_are_bought_for_twenty_three() {
    let catalogue = legionis();
    for (plan, fee) in [("product", 10), ("leadership", 25)] {
        let scenario = scenario(&catalogue, plan, "regular", Some("pack-25"));
        let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
        for (tokens, paid) in [("20.00", "23.00"), ("50.00", "57.50")] {
            let (ours, own) = estimate.totals_at(usd(tokens)).unwrap();
            let fee = Usd::from_dollars(fee).unwrap();
            assert_eq!(ours, fee.checked_add(usd(paid)).unwrap(), "{plan} {tokens}");
            assert_eq!(own, fee.checked_add(usd(tokens)).unwrap(), "{plan} {tokens}");
        }
        assert_eq!(estimate.stretches(), [Stretch { from: Usd::ZERO, cheaper: Cheaper::OwnKeys }]);
    }
}

/// Document 004 §8, the six operations, each as the only work there is.
#[test]
fn the_six_operations() {
    let catalogue = legionis();
    for (skill, cost) in [
        ("context-recall", "0.008"),
        ("user-story", "0.0104"),
        ("prd", "0.105"),
        ("agent-spawn-pm", "0.165"),
        ("strategic-bet", "1.05"),
        ("plt-gateway", "1.575"),
    ] {
        let runs = [(SkillId::new(skill), 1)].into();
        let scenario = Scenario { runs, ..scenario(&catalogue, "product", "light", None) };
        let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
        assert_eq!(estimate.cost, usd(cost), "{skill}");
    }
}

/// Packs: a month that fits one is bought in it, and the $100 pack has no effective markup.
#[test]
fn the_pack_follows_the_need() {
    let catalogue = legionis();
    for (profile, pack, paid) in [
        ("light", "pack-10", 173),
        ("regular", "pack-25", 1_512),
        ("power", "pack-50", 4_030),
        ("strategic-leader", "pack-100", 7_230),
    ] {
        let scenario = scenario(&catalogue, "product", profile, None);
        let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
        assert_eq!(estimate.pack.map(|pack| pack.id.as_str()), Some(pack), "{profile}");
        assert_eq!(cents(estimate.our_keys.credit_price), paid, "{profile}");
    }
}

/// Tiers: the allowance pays for what it includes; heavy models are paid from credit.
#[test]
fn a_plan_pays_for_what_it_includes() {
    let catalogue = tiers();
    let of = |plan: &str, profile: &str, seats: u32| {
        let scenario = Scenario { seats, ..scenario(&catalogue, plan, profile, Some("pack-25")) };
        let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
        (cents(estimate.our_keys.total), cents(estimate.own_keys.total), estimate.our_keys.credit)
    };
    // Regular: 300 runs for $13.146, all within 5,000.
    assert_eq!(of("pro", "regular", 1), (900, 1_815, Usd::ZERO));
    // Four seats make four times as many.
    assert_eq!(of("team", "regular", 4), (11_600, 7_600 + 5_258, Usd::ZERO));
    // Strategic leader: 20 bets and 10 gateways are heavy, $36.75; bought in $25 packs that is $42.26.
    assert_eq!(of("pro", "strategic-leader", 1), (900 + 4_226, 500 + 7_230, usd("36.75")));
    // Free: 100 of 300 runs are included, so two thirds of $13.146 are paid: $8.764, bought for $10.08.
    assert_eq!(of("free", "regular", 1), (1_008, 1_315, usd("8.764")));
    let agreed = scenario(&catalogue, "enterprise", "regular", None);
    assert!(estimate(&catalogue, &book(), NOW, &agreed).is_none(), "by agreement");
}

/// Pro: own keys are cheaper below $4 of list price, our keys above, until the allowance and the markup are eaten up.
#[test]
fn where_the_two_break_even() {
    let catalogue = tiers();
    let scenario = scenario(&catalogue, "pro", "regular", Some("pack-25"));
    let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
    let stretches = estimate.stretches();
    let rows: Vec<_> = stretches.iter().map(|stretch| (cents(stretch.from), stretch.cheaper)).collect();
    // 5,000 runs of this mix are $219.10, but $5 a day are $150 a month: 9 + 1.15 × (x − 150) = 5 + x at x = $1,123.33.
    assert_eq!(rows, [(0, Cheaper::OwnKeys), (400, Cheaper::OurKeys), (112_333, Cheaper::OwnKeys)]);
}

#[test]
fn nothing_to_do_costs_the_fee() {
    let catalogue = tiers();
    let scenario = Scenario { runs: BTreeMap::new(), ..scenario(&catalogue, "pro", "light", None) };
    let estimate = estimate(&catalogue, &book(), NOW, &scenario).unwrap();
    assert_eq!((cents(estimate.our_keys.total), cents(estimate.own_keys.total)), (900, 500));
    assert_eq!((estimate.stretches().len(), estimate.pack), (0, None));
}

/// Numbers that nobody means, on every plan: an answer or none, and nothing wraps round.
#[test]
fn numbers_past_all_measure_are_answered_or_refused() {
    for catalogue in both() {
        for plan in catalogue.plans.iter().filter(|plan| plan.id.as_str() != "enterprise") {
            for seats in [0, 1, 10_000, u32::MAX] {
                for runs in [0, 1, MOST_RUNS, 1_000_000_000_000, u64::MAX] {
                    let runs = catalogue.skills.iter().map(|skill| (skill.id.clone(), runs)).collect();
                    let scenario = Scenario { plan, seats, runs, pack: None };
                    let Some(estimate) = estimate(catalogue, rates(), NOW, &scenario) else {
                        assert_eq!(seats, u32::MAX, "{}: only that is past the range of money", plan.id);
                        continue;
                    };
                    let OnOurKeys { fee, credit_price, total, .. } = estimate.our_keys.clone();
                    assert_eq!(fee.checked_add(credit_price), Some(total));
                    assert!(
                        total >= Usd::ZERO && estimate.own_keys.total >= estimate.cost && estimate.cost >= Usd::ZERO
                    );
                    let stretches = estimate.stretches();
                    let here = stretches.iter().rfind(|stretch| stretch.from <= estimate.cost);
                    let cheaper = match total.cmp(&estimate.own_keys.total) {
                        std::cmp::Ordering::Less => Cheaper::OurKeys,
                        std::cmp::Ordering::Equal => Cheaper::Same,
                        std::cmp::Ordering::Greater => Cheaper::OwnKeys,
                    };
                    assert!(here.is_none_or(|here| here.cheaper == cheaper), "{}: {seats}: {stretches:?}", plan.id);
                }
            }
        }
    }
}

prop_compose! {
    fn any_runs()(runs in prop::collection::vec(0_u64..2_000, 6)) -> Vec<u64> { runs }
}

fn with_runs<'a>(catalogue: &'a Catalogue, plan: usize, seats: u32, runs: &[u64], pack: usize) -> Scenario<'a> {
    let priced: Vec<&Plan> = catalogue.plans.iter().filter(|plan| plan.id.as_str() != "enterprise").collect();
    Scenario {
        plan: priced[plan % priced.len()],
        seats,
        runs: catalogue.skills.iter().map(|skill| skill.id.clone()).zip(runs.iter().copied()).collect(),
        pack: catalogue.packs.get(pack),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The parts add up, own keys cost the list price, and the total at the own list price is the estimate's.
    #[test]
    fn the_parts_add_up(plan in 0_usize..4, seats in 1_u32..50, runs in any_runs(), pack in 0_usize..6) {
        for catalogue in both() {
            let scenario = with_runs(catalogue, plan, seats, &runs, pack);
            let estimate = estimate(catalogue, rates(), NOW, &scenario).unwrap();
            let OnOurKeys { fee, included, credit, credit_price, total } = estimate.our_keys.clone();
            prop_assert_eq!(included.checked_add(credit), Some(estimate.cost));
            prop_assert_eq!(fee.checked_add(credit_price), Some(total));
            prop_assert!(credit_price >= credit, "no pack sells below the list price");
            prop_assert_eq!(estimate.own_keys.total.checked_sub(estimate.own_keys.fee), Some(estimate.cost));
            prop_assert_eq!(estimate.totals_at(estimate.cost), Some((total, estimate.own_keys.total)));
            let standard = scenario.plan.month(NOW, KeyMode::Standard, seats).unwrap();
            prop_assert_eq!(fee.to_cents_exact(), Some(standard), "the fee is what billing charges");
        }
    }

    /// More work is never cheaper.
    #[test]
    fn more_work_costs_no_less(plan in 0_usize..4, runs in any_runs(), more in 0_usize..6, by in 1_u64..500) {
        for catalogue in both() {
            let total = |runs: &[u64]| {
                let estimate = estimate(catalogue, rates(), NOW, &with_runs(catalogue, plan, 1, runs, 1)).unwrap();
                (estimate.cost, estimate.own_keys.total)
            };
            let mut more_runs = runs.clone();
            more_runs[more] += by;
            let (before, after) = (total(&runs), total(&more_runs));
            prop_assert!(before.0 <= after.0 && before.1 <= after.1, "{before:?} {after:?}");
        }
    }

    /// Along one mix of work both sides rise, and within a stretch the side it names is the cheaper one.
    #[test]
    fn stretches_say_which_is_cheaper(plan in 0_usize..4, runs in any_runs(), pack in 0_usize..4, at in 1_i64..99_999_000) {
        for catalogue in both() {
            let scenario = with_runs(catalogue, plan, 1, &runs, pack);
            let estimate = estimate(catalogue, rates(), NOW, &scenario).unwrap();
            let stretches = estimate.stretches();
            prop_assert_eq!(stretches.is_empty(), estimate.cost.is_zero());
            prop_assert!(stretches.windows(2).all(|pair| pair[0].from < pair[1].from && pair[0].cheaper != pair[1].cheaper));
            if estimate.cost.is_zero() { continue }
            let list = Usd::from_nanos(at * 1_000_000);
            let (ours, own) = estimate.totals_at(list).unwrap();
            let next = estimate.totals_at(list.checked_add(usd("1.00")).unwrap()).unwrap();
            prop_assert!(next.0 >= ours && next.1 >= own);
            let stretch = stretches.iter().rev().find(|stretch| stretch.from <= list).unwrap();
            // Rounding to the nano-dollar may tip the balance exactly at an end.
            let off = ours.checked_sub(own).unwrap().nanos();
            match stretch.cheaper {
                Cheaper::OurKeys => prop_assert!(off <= 1, "{list}: {off}"),
                Cheaper::OwnKeys => prop_assert!(off >= -1, "{list}: {off}"),
                Cheaper::Same => prop_assert!(off.abs() <= 1, "{list}: {off}"),
            }
        }
    }
}
