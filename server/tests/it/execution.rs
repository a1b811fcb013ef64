//! Runs from a page: price, second click, refusals, late readers, renewal, shutdown.

use crate::served::{CLAUDE, SKILL, Served, UNPRICED, priced, rates};
use crate::support::each_database;
use domain::denial::Denial;
use domain::id::{ExecutionId, ModelId, SkillId};
use domain::money::{Rate, Usd};
use futures::StreamExt as _;
use sandbox::Fault;
use serde_json::Value;
use server::execution::{RunRequest, start};
use server::ledger::expire_due;
use server::usage::{Filter, history, list_executions, load_month};
use server::{on_read, usage};

#[tokio::test]
async fn a_run_takes_exactly_its_cost_from_the_balance() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let before = it.spendable().await;
        let id = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        let ended = it.ended(&id).await;

        let cost = priced(CLAUDE, &it.billed());
        assert_eq!((ended.state, ended.usage, ended.usage_estimated), ("completed", it.billed(), false));
        assert_eq!((ended.run.cost, ended.charge), (cost, cost));
        let after = it.balance().await;
        assert_eq!((after.spendable(), after.held), (before.checked_sub(cost).unwrap(), Usd::ZERO));
        assert!(ended.run.quoted.ceiling >= cost, "the hold covers it");
        assert!(!ended.run.output_text.is_empty());

        let account = &it.account_id;
        let rows = list_executions(&it.server, account, &Filter::default(), None, 10).await.unwrap();
        assert_eq!((rows.len(), rows[0].charge, rows[0].execution_id.clone()), (1, cost, id.clone()));
        let none = Filter { model: Some(ModelId::new("other")), ..Filter::default() };
        assert!(list_executions(&it.server, account, &none, None, 10).await.unwrap().is_empty());
        assert!(list_executions(&it.server, account, &Filter::default(), Some(&id), 10).await.unwrap().is_empty());
        let month = load_month(&it.server, account, world.clock.now()).await.unwrap();
        assert_eq!((month.this_month.charge, month.this_month.executions), (cost, 1));
        assert_eq!((month.by_day.len(), month.by_day[14].sums.charge), (15, cost), "the 15th of January");
        let past = history(&it.server, account, &SkillId::new(SKILL)).await.unwrap();
        assert_eq!(past.outputs, [it.billed().output]);
        let stranger = world.account().await;
        assert_eq!(usage::load_execution(&it.server, &stranger, &id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_second_click_is_the_same_run_and_no_second_charge() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let request = it.request("A login page");
        let clicks = futures::future::join_all((0..5).map(|_| start(&it.server, &it.user, request.clone()))).await;
        let ids: Vec<ExecutionId> = clicks.into_iter().map(Result::unwrap).collect();
        let ended = it.ended(&ids[0]).await;
        let again = start(&it.server, &it.user, request.clone()).await.unwrap();
        assert!(ids.iter().all(|id| *id == again));
        assert_eq!(it.sandbox.requests().len(), 1, "one request to the provider");
        let spent = Usd::from_dollars(10).unwrap().checked_sub(it.spendable().await).unwrap();
        assert_eq!(spent, ended.charge);
    })
    .await;
}

#[tokio::test]
async fn a_price_that_rose_since_the_preview_is_refused() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let shown =
            it.ended(&start(&it.server, &it.user, it.request("A login page")).await.unwrap()).await.run.quoted.ceiling;
        let asked = |it: &Served| RunRequest { shown_ceiling: Some(shown), ..it.request("A login page") };
        it.ended(&start(&it.server, &it.user, asked(&it)).await.unwrap()).await;
        it.server.rates.store(std::sync::Arc::new(rates(Rate::from_picos(6_000_000))));
        let denial = denied(start(&it.server, &it.user, asked(&it)).await);
        assert!(
            matches!(denial, Denial::PriceChanged { shown: was, now } if was == shown && now > shown),
            "{denial:?}"
        );
        assert_eq!(it.sandbox.requests().len(), 2, "nothing was called");
        assert_eq!(it.balance().await.held, Usd::ZERO);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_the_provider_is_called() {
    each_database(async |world| {
        let poor = Served::open(world, 0).await;
        let denial = denied(start(&poor.server, &poor.user, poor.request("A login page")).await);
        assert_eq!(
            denial.sentence(),
            "Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup."
        );
        assert_eq!(denial.status(), 402);

        let it = Served::open(world, 10).await;
        let with = |model: &str| RunRequest { model: Some(ModelId::new(model)), ..it.request("A login page") };
        let code = async |request: RunRequest| denied(start(&it.server, &it.user, request).await).code();
        assert_eq!(code(with("no-such-model")).await, "unknown_model");
        assert_eq!(code(with(UNPRICED)).await, "unpriced_model");
        assert_eq!(code(with("gemini")).await, "unpriced_model");
        assert_eq!(code(RunRequest { skill: SkillId::new("nope"), ..it.request("x") }).await, "unknown_skill");
        assert_eq!(code(it.request("  \n")).await, "invalid");
        assert_eq!(code(it.request(&"word ".repeat(50_000))).await, "prompt_too_long");
        assert!(poor.sandbox.requests().is_empty() && it.sandbox.requests().is_empty(), "nothing was called");
        assert_eq!(it.balance().await.held, Usd::ZERO);
    })
    .await;
}

#[tokio::test]
async fn empty_and_failed_output_is_not_charged() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for (fault, state, words) in [
            (Fault::Empty, "waived", "The output was empty. Nothing was charged."),
            (Fault::CutAfter(0), "failed", "Anthropic broke off in the middle. Nothing was charged."),
            (Fault::ErrorAfter(0), "failed", "Nothing was charged."),
            (Fault::BadRequest, "failed", "Anthropic refused the request (400)"),
            (Fault::InvalidKey, "failed", "That is ours to mend, and nothing was charged."),
            (Fault::HangFirst, "failed", "Anthropic did not answer in 1 seconds. Nothing was charged."),
        ] {
            it.fault(&[fault]);
            let ended = it.ended(&start(&it.server, &it.user, it.request("A login page")).await.unwrap()).await;
            assert_eq!((ended.state, ended.charge), (state, Usd::ZERO), "{fault}");
            assert!(ended.note.contains(words), "{fault}: {}", ended.note);
            it.sandbox.clear_faults();
        }
        assert_eq!(it.spendable().await, Usd::from_dollars(10).unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_cut_pays_for_what_was_delivered_and_says_so() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for fault in [Fault::CutAfter(7), Fault::ErrorAfter(7), Fault::HangAfter(7)] {
            it.fault(&[fault]);
            let ended = it.ended(&start(&it.server, &it.user, it.request("A login page")).await.unwrap()).await;
            assert_eq!((ended.state, ended.usage), ("stopped", it.billed()), "{fault}");
            assert_eq!(ended.usage.output, 28);
            assert!(ended.note.ends_with("stopped at 28 tokens, billed 28"), "{fault}: {}", ended.note);
            assert_eq!(ended.charge, priced(CLAUDE, &it.billed()), "{fault}");
        }
        // The cap of the skill is 2,000 tokens.
        it.fault(&[Fault::Overshoot(0), Fault::ChunkTokens(64)]);
        let long = it.request("Everything about everything");
        let ended = it.ended(&start(&it.server, &it.user, long).await.unwrap()).await;
        assert_eq!(ended.charge, priced(CLAUDE, &it.billed()));
    })
    .await;
}

#[tokio::test]
async fn a_page_joins_late_replays_and_follows() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        it.sandbox.set_pace(1_500);
        let id = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        let cookie = sign_in(&it).await;
        let (first, second) = tokio::join!(follow(&it, &cookie, &id, 0), follow(&it, &cookie, &id, 9));
        let ended = it.ended(&id).await;
        let third = follow(&it, &cookie, &id, 0).await;
        for (text, end) in [&first, &second, &third] {
            assert_eq!(*text, ended.run.output_text);
            assert_eq!(end["state"], "completed");
            assert_eq!(end["charge_nanos"], ended.charge.nanos());
            assert_eq!(end["cost_nanos"], ended.run.cost.nanos());
        }

        let url = format!("{}/runs/{id}/events", it.url);
        assert_eq!(it.server.http.get(&url).send().await.unwrap().status(), 404, "not signed in");
        let stranger = Served::open(world, 0).await;
        let other = sign_in(&stranger).await;
        assert_eq!(it.server.http.get(&url).header("cookie", &other).send().await.unwrap().status(), 404);
    })
    .await;
}

/// Field failure 3: a sweeper that ends the hold of a run that goes on.
#[tokio::test]
async fn a_run_longer_than_its_hold_renews_it() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        it.sandbox.set_pace(400);
        it.server.http.get(&it.url).send().await.unwrap();
        let id = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        let expires_at = async || -> i64 {
            on_read!(world.db(), pool => {
                sqlx::query_scalar("select expires_at from hold where execution_id = $1").bind(&id).fetch_one(pool).await
            })
            .unwrap()
        };
        for _ in 0..3 {
            let before = expires_at().await;
            world.clock.advance_seconds(600);
            while expires_at().await == before {
                tokio::task::yield_now().await;
            }
            expire_due(&it.server).await.unwrap();
        }
        let ended = it.ended(&id).await;
        assert_eq!((ended.state, ended.usage), ("completed", it.billed()));
        assert_eq!(ended.charge, priced(CLAUDE, &it.billed()));
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_waits_for_runs() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        it.sandbox.set_pace(2_000);
        let id = start(&it.server, &it.user, it.request("A login page")).await.unwrap();
        it.server.tasks.stop().await;
        let ended = it.ended(&id).await;
        assert_eq!((ended.state, ended.charge), ("completed", priced(CLAUDE, &it.billed())));
    })
    .await;
}

fn denied(result: server::error::Result<ExecutionId>) -> Denial {
    match result {
        Err(server::error::Error::Denied(denial)) => denial,
        Err(server::error::Error::Internal(problem)) => panic!("failed instead of denied: {problem}"),
        Ok(id) => panic!("run {id} was started"),
    }
}

async fn sign_in(it: &Served) -> String {
    let response = it.server.http.post(format!("{}/it/sign-in", it.url)).send().await.unwrap();
    assert!(response.status().is_success());
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Reads a run's events to the end, joining after the run has said `after` characters.
async fn follow(it: &Served, cookie: &str, id: &ExecutionId, after: usize) -> (String, Value) {
    while let Some(live) = it.server.runs.find(id)
        && live.run().output_text.len() < after
    {
        tokio::task::yield_now().await;
    }
    let url = format!("{}/runs/{id}/events", it.url);
    let response = it.server.http.get(&url).header("cookie", cookie).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.unwrap());
    }
    let (mut text, mut end) = (String::new(), Value::Null);
    for frame in String::from_utf8(body).unwrap().split("\n\n") {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (Some(event), Some(data)) = (field("event:"), field("data:")) else { continue };
        let data: Value = serde_json::from_str(data).unwrap();
        assert!(end.is_null(), "`end` is the last event");
        match event {
            "delta" => text.push_str(data["text"].as_str().unwrap()),
            "meter" => assert!(data["cost_nanos"].as_i64().unwrap() >= 0),
            "end" => end = data,
            other => panic!("an event `{other}`"),
        }
    }
    (text, end)
}
