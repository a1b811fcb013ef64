//! Who pays for a run, through the API and the pages: the order of spec §1, the plan's limits, and how each "no" is said.

use crate::ledger::by_hand;
use crate::served::{CLAUDE, GPT, Served, ask, execution_of, path_of, priced};
use crate::support::{START, each_database};
use domain::funding::{FundingSource, PayWith};
use domain::id::ModelId;
use domain::money::Usd;
use domain::plan::{Allowance, PlanLimits};
use domain::time::Timestamp;
use sandbox::Fault;
use serde_json::{Value, json};
use server::allowance::{self, set_pay_with};
use server::execution::{RunRequest, start};
use server::ledger;
use std::sync::Arc;

/// Gives every plan a hundred executions and no other limit, then changes that.
fn with_plan(it: &Served, change: impl Fn(&mut PlanLimits)) {
    let mut catalogue = (*it.server.catalogue.load_full()).clone();
    for plan in &mut catalogue.plans {
        plan.limits.executions_a_month = Allowance::AtMost(100);
        plan.limits.daily_spend_cap = None;
        plan.limits.refused_models = Vec::new();
        (plan.limits.throttled_after, plan.limits.throttled_to_a_minute) = (None, None);
        change(&mut plan.limits);
    }
    it.server.catalogue.store(Arc::new(catalogue));
}

struct Said {
    status: u16,
    source: String,
    charge: String,
    retry_after: Option<u64>,
    body: Value,
}

async fn call(it: &Served, model: &str) -> Said {
    let response = it.post(path_of(model), &ask(model, "Name three colours.", 50, false)).send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (source, charge) = (header("x-tokenbank-source"), header("x-tokenbank-charge-nanos"));
    let (status, retry_after) = (response.status().as_u16(), header("retry-after").parse().ok());
    Said { status, source, charge, retry_after, body: response.json().await.unwrap() }
}

impl Said {
    fn denial(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body["error"][name].as_str().unwrap_or_default();
        (self.status, text("code"), text("type"))
    }

    fn hrefs(&self) -> Vec<&str> {
        let remedies = self.body["error"]["remedies"].as_array().unwrap();
        remedies.iter().map(|remedy| remedy["href"].as_str().unwrap()).collect()
    }
}

async fn entitlements(it: &Served) -> Value {
    it.get("/v1/entitlements").send().await.unwrap().json().await.unwrap()
}

async fn left(it: &Served) -> Value {
    entitlements(it).await["executions"]["left"].clone()
}

#[tokio::test]
async fn the_plan_pays_first_and_credits_for_the_rest() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        with_plan(&it, |limits| limits.executions_a_month = Allowance::AtMost(1));
        let ten = it.spendable().await;
        let response = it.post(path_of(GPT), &ask(GPT, "Name three colours.", 50, false)).send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let cost = priced(GPT, &it.billed());
        assert!(cost.is_positive());
        assert_eq!(header("x-tokenbank-cost-nanos"), cost.nanos().to_string());
        assert_eq!(header("x-tokenbank-charge-nanos"), "0");
        assert_eq!(header("x-tokenbank-source"), "allowance");
        assert_eq!(header("x-tokenbank-balance-nanos"), ten.nanos().to_string());
        let ended = it.ended(&execution_of(&response)).await;
        assert_eq!((ended.run.source, ended.run.cost, ended.charge), (FundingSource::Allowance, cost, Usd::ZERO));

        let said = call(&it, GPT).await;
        assert_eq!((said.status, said.source.as_str()), (200, "credits"));
        assert_eq!(ten.checked_sub(it.spendable().await).unwrap().nanos().to_string(), said.charge);
        assert_eq!(ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_fails_or_answers_nothing_gives_its_execution_back() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        with_plan(&it, |_| ());
        assert_eq!(left(&it).await, 100);
        it.fault(&[Fault::Empty]);
        let said = call(&it, CLAUDE).await;
        assert_eq!((said.status, said.source.as_str()), (200, "allowance"));
        assert_eq!(left(&it).await, 100, "waived");
        it.faults(&[Fault::BadRequest], Some(1));
        assert_ne!(call(&it, CLAUDE).await.status, 200);
        assert_eq!(left(&it).await, 100, "failed");
        assert_eq!(call(&it, CLAUDE).await.status, 200);
        assert_eq!(left(&it).await, 99);
        assert_eq!(ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn each_limit_is_said_in_the_dialect_with_what_helps() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        let kinds = |anthropic, openai| [(CLAUDE, anthropic), (GPT, openai)];

        with_plan(&it, |limits| limits.refused_models = vec![ModelId::new(CLAUDE), ModelId::new(GPT)]);
        for (model, kind) in kinds("permission_error", "permission_error") {
            let said = call(&it, model).await;
            assert_eq!(said.denial(), (403, "model_not_in_plan", kind));
            assert!(said.hrefs()[0].ends_with("/credits") && said.hrefs()[1].ends_with("/plan"));
        }

        with_plan(&it, |limits| limits.executions_a_month = Allowance::AtMost(1));
        assert_eq!(call(&it, GPT).await.status, 200);
        for (model, kind) in kinds("billing_error", "insufficient_quota") {
            let said = call(&it, model).await;
            assert_eq!(said.denial(), (402, "plan_limit", kind));
            assert_eq!(said.retry_after, None, "no client waits until next month");
            let message = said.body["error"]["message"].as_str().unwrap();
            assert_eq!(
                message,
                "The 1 runs of your Free plan are used up until 1 Feb 2027. Your credit balance is $0.00. Add credits \
                 to continue, or switch to BYOT for zero markup."
            );
        }

        with_plan(&it, |limits| (limits.throttled_after, limits.throttled_to_a_minute) = (Some(1), Some(2)));
        assert_eq!(call(&it, GPT).await.status, 200);
        for (model, kind) in kinds("rate_limit_error", "rate_limit_error") {
            let said = call(&it, model).await;
            let wait = if model == CLAUDE { 30 } else { 60 };
            assert_eq!((said.denial(), said.retry_after), ((429, "throttled", kind), Some(wait)));
        }
        world.clock.advance_seconds(30);
        assert_eq!(call(&it, GPT).await.status, 200);

        with_plan(&it, |limits| limits.daily_spend_cap = Some(Usd::from_nanos(1)));
        let midnight = world.clock.now().day().plus_seconds(86_400);
        for (model, kind) in kinds("rate_limit_error", "rate_limit_error") {
            let said = call(&it, model).await;
            let wait = Some(world.clock.now().seconds_until(midnight));
            assert_eq!((said.denial(), said.retry_after), ((429, "daily_cap", kind), wait));
        }
        assert_eq!(ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

/// Each that waits is told a time of its own and its place, to the second and in both dialects, and keeps it when it asks
/// again; whoever runs lets the others move up.
#[tokio::test]
async fn those_that_wait_for_the_pace_stand_in_line() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        with_plan(&it, |limits| (limits.throttled_after, limits.throttled_to_a_minute) = (Some(1), Some(1)));
        let ask_for = async |model: &str, text: &str| {
            let response = it.post(path_of(model), &ask(model, text, 50, false)).send().await.unwrap();
            let (status, header) = (response.status().as_u16(), response.headers().get("retry-after").cloned());
            let wait = header.map_or(0, |value| value.to_str().unwrap().parse::<u64>().unwrap());
            let body: Value = response.json().await.unwrap();
            (status, wait, body["error"]["queue_position"].as_u64(), body["error"]["message"].to_string())
        };
        for text in ["quick", "sets the pace"] {
            assert_eq!(ask_for(GPT, text).await.0, 200);
        }
        let place = async |model: &str, text: &str| {
            let (status, wait, place, _) = ask_for(model, text).await;
            (status, wait, place)
        };
        assert_eq!(place(CLAUDE, "one").await, (429, 60, Some(1)));
        world.clock.advance_seconds(7);
        assert_eq!(place(GPT, "two").await, (429, 113, Some(2)));
        assert_eq!(place(CLAUDE, "three").await, (429, 173, Some(3)));
        let said = ask_for(CLAUDE, "three").await.3;
        assert!(said.contains("2 that asked before this wait too. Try again in 173 seconds"), "{said}");
        assert_eq!(place(CLAUDE, "one").await, (429, 53, Some(1)), "asking again changes nothing");

        world.clock.advance_seconds(53);
        assert_eq!(place(CLAUDE, "one").await.0, 200, "to the second");
        assert_eq!(place(GPT, "two").await, (429, 60, Some(1)), "it moved up");
        assert_eq!(place(CLAUDE, "three").await, (429, 120, Some(2)));
        world.clock.advance_seconds(60);
        assert_eq!(place(GPT, "two").await.0, 200);
        world.clock.advance_seconds(60);
        assert_eq!(place(CLAUDE, "three").await.0, 200);
        assert_eq!(ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn the_count_begins_again_with_the_period() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        with_plan(&it, |limits| limits.executions_a_month = Allowance::AtMost(1));
        assert_eq!(call(&it, GPT).await.status, 200);
        assert_eq!(call(&it, GPT).await.status, 402);
        let february = Timestamp::from_date(2027, 2, 1);
        world.clock.advance_seconds(february.seconds() - START.seconds() - 1);
        assert_eq!(call(&it, GPT).await.status, 402, "the last second of January");
        world.clock.advance_seconds(1);
        assert_eq!(call(&it, GPT).await.status, 200);
        assert_eq!(left(&it).await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_account_chooses_who_pays() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        with_plan(&it, |limits| limits.executions_a_month = Allowance::AtMost(1));
        set_pay_with(&it.server, &it.account_id, PayWith::Credits).await.unwrap();
        assert_eq!(call(&it, GPT).await.source, "credits");
        set_pay_with(&it.server, &it.account_id, PayWith::PlanOnly).await.unwrap();
        assert_eq!(call(&it, GPT).await.source, "allowance");
        let said = call(&it, GPT).await;
        assert_eq!(said.denial().1, "plan_limit");
        assert!(said.body["error"]["message"].as_str().unwrap().ends_with("see your limits."), "it has credit");
        set_pay_with(&it.server, &it.account_id, PayWith::PlanFirst).await.unwrap();
        assert_eq!(call(&it, GPT).await.source, "credits");
    })
    .await;
}

/// Who saw "paid from: plan allowance" is not charged credits, though there are some.
#[tokio::test]
async fn a_page_run_is_paid_by_what_its_preview_showed() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        with_plan(&it, |limits| limits.executions_a_month = Allowance::AtMost(1));
        let shown =
            |it: &Served| RunRequest { shown_source: Some(FundingSource::Allowance), ..it.request("A login page") };
        let request = shown(&it);
        let id = start(&it.server, &it.user, request.clone()).await.unwrap();
        assert_eq!(start(&it.server, &it.user, request).await.unwrap(), id, "a second click");
        let ended = it.ended(&id).await;
        assert_eq!((ended.run.source, ended.charge), (FundingSource::Allowance, Usd::ZERO));
        let error = start(&it.server, &it.user, shown(&it)).await.unwrap_err();
        assert_eq!(error.denial().map(domain::denial::Denial::code), Some("funding_changed"));
        let id = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        assert_eq!(it.ended(&id).await.run.source, FundingSource::Credits);
    })
    .await;
}

#[tokio::test]
async fn the_estimate_says_who_would_pay_and_the_host_product_what_is_left() {
    each_database(async |world| {
        let it = Served::open(world, 0).await;
        with_plan(&it, |limits| {
            limits.executions_a_month = Allowance::AtMost(1);
            limits.refused_models = vec![ModelId::new(CLAUDE)];
        });
        let estimate = async |model: &str| -> Value {
            it.post("/v1/estimate", &ask(model, "x", 9, false)).send().await.unwrap().json().await.unwrap()
        };
        assert_eq!(estimate(GPT).await["source"], "allowance");
        assert_eq!(estimate(CLAUDE).await["source"], Value::Null);
        assert_eq!(estimate(CLAUDE).await["refused"]["code"], "model_not_in_plan");
        assert_eq!(call(&it, GPT).await.status, 200);
        let said = entitlements(&it).await;
        assert_eq!(said["plan"], "free");
        assert_eq!(said["executions"], json!({ "limit": 1, "used": 1, "left": 0 }));
        assert_eq!(said["period_end"], json!(Timestamp::from_date(2027, 2, 1).micros()));
        assert_eq!(
            (&said["seats"], &said["seats_used"], &said["log_retention_hours"]),
            (&json!(1), &json!(1), &json!(24))
        );
        assert_eq!(said["daily_spend"]["spent"], json!(priced(GPT, &it.billed()).nanos()));
        assert!(said["models_not_included"].as_array().unwrap().contains(&json!(CLAUDE)));
        let anonymous = it.server.http.get(format!("{}/v1/entitlements", it.url)).send().await.unwrap();
        assert_eq!(anonymous.status(), 401);
    })
    .await;
}

#[tokio::test]
async fn a_choice_counts_at_once_here_and_a_second_later_on_other_nodes() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let pay_with = async || allowance::load(&it.server, &it.account_id).await.unwrap().pay_with;
        assert_eq!(pay_with().await, PayWith::PlanFirst);
        set_pay_with(&it.server, &it.account_id, PayWith::Credits).await.unwrap();
        assert_eq!(pay_with().await, PayWith::Credits, "what is remembered is forgotten by a change");
        // As a node in another process changes it.
        by_hand(world, "update account set pay_with = 'plan_only'").await.unwrap();
        world.clock.advance_seconds(1);
        assert_eq!(pay_with().await, PayWith::PlanOnly, "what is remembered is old after a second");
    })
    .await;
}
