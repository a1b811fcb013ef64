//! Requests of the API with an Idempotency-Key: run once, answered again; and what is said at a balance of zero.

use crate::ledger::{assert_clean, capture, hold, new_hold};
use crate::served::{CLAUDE, GPT, Served, ask, path_of};
use crate::support::each_database;
use domain::agent::AgentState;
use domain::money::Usd;
use sandbox::Fault;
use serde_json::Value;
use server::agent::{self, NewAgent};
use server::execution::{list_refused, start};

const NO_CREDIT: &str = "Your credit balance is $0.00. Add credits to continue, or switch to BYOT for zero markup.";

struct Said {
    status: u16,
    execution: String,
    replayed: bool,
    body: Value,
}

async fn send(it: &Served, key: &str, model: &str, body: &Value) -> Said {
    let response = it.post(path_of(model), body).header("idempotency-key", key).send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Said {
        status: response.status().as_u16(),
        execution: header("x-tokenbank-execution").unwrap_or_default(),
        replayed: header("idempotent-replayed").is_some(),
        body: response.json().await.unwrap(),
    }
}

#[tokio::test]
async fn the_same_key_and_body_is_one_run_with_one_answer() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for model in [CLAUDE, GPT] {
            let body = ask(model, "Name three colours.", 50, false);
            let first = send(&it, model, model, &body).await;
            let (asked, left) = (it.sandbox.requests().len(), it.spendable().await);
            assert!((first.status, first.replayed) == (200, false), "{}", first.body);
            for _ in 0..3 {
                let again = send(&it, model, model, &body).await;
                assert!((again.status, again.replayed) == (200, true), "{}", again.body);
                assert_eq!((again.body, again.execution), (first.body.clone(), first.execution.clone()));
            }
            assert_eq!(
                (it.sandbox.requests().len(), it.spendable().await),
                (asked, left),
                "nothing ran or was charged"
            );

            let other = send(&it, model, model, &ask(model, "Name four colours.", 50, false)).await;
            assert_eq!((other.status, &other.body["error"]["code"]), (422, &"idempotency_mismatch".into()));
            let fresh = send(&it, &format!("{model}-2"), model, &body).await;
            assert!(!fresh.replayed && fresh.execution != first.execution);
        }
        // A day later the key is free again.
        world.clock.advance_seconds(86_400);
        let later = send(&it, CLAUDE, CLAUDE, &ask(CLAUDE, "Name four colours.", 50, false)).await;
        assert!((later.status, later.replayed) == (200, false), "{}", later.body);
        server::idempotency::sweep(&it.server).await.unwrap();
        assert_clean(&it.server.db).await;
    })
    .await;
}

#[tokio::test]
async fn the_same_key_of_another_agent_is_another_request() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        for name in ["one", "two"] {
            let new = NewAgent { name, run_cap: "", state: AgentState::Running };
            agent::create(&it.server, &it.user, new).await.unwrap();
        }
        let body = ask(CLAUDE, "Name three colours.", 50, false);
        let send = async |agent: Option<&str>| {
            let mut request = it.post(path_of(CLAUDE), &body).header("idempotency-key", "a-key");
            if let Some(agent) = agent {
                request = request.header("x-tokenbank-agent", agent);
            }
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.headers().contains_key("idempotent-replayed"))
        };
        assert_eq!(send(Some("one")).await, (200, false));
        assert_eq!(send(Some("one")).await, (200, true));
        assert_eq!(send(Some("two")).await, (422, false));
        assert_eq!(send(None).await, (422, false));
        assert_clean(&it.server.db).await;
    })
    .await;
}

#[tokio::test]
async fn sixteen_of_the_same_at_once_are_one_run() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let body = ask(CLAUDE, "Name three colours.", 50, false);
        let answers = futures::future::join_all((0..16).map(|_| send(&it, "once", CLAUDE, &body))).await;
        assert_eq!(it.sandbox.requests().len(), 1);
        assert!(answers.iter().any(|said| said.status == 200));
        for said in answers.iter().filter(|said| said.status != 200) {
            assert_eq!((said.status, &said.body["error"]["code"]), (409, &"conflict".into()), "{}", said.body);
        }
        assert!(send(&it, "once", CLAUDE, &body).await.replayed);
        assert_clean(&it.server.db).await;
    })
    .await;
}

/// A stream cannot be given again: the second request is pointed at the first one's run.
#[tokio::test]
async fn a_stream_is_pointed_at() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let body = ask(CLAUDE, "Name three colours.", 50, true);
        let first = it.post("/v1/messages", &body).header("idempotency-key", "s").send().await.unwrap();
        let id = first.headers()["x-tokenbank-execution"].to_str().unwrap().to_owned();
        first.text().await.unwrap();
        let again = send(&it, "s", CLAUDE, &body).await;
        assert_eq!((again.status, it.sandbox.requests().len()), (409, 1));
        assert!(again.body["error"]["message"].as_str().unwrap().contains(&id), "{}", again.body);
    })
    .await;
}

/// What was refused charged nothing and frees its key; what cannot be a key is refused.
#[tokio::test]
async fn a_refusal_frees_the_key() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let body = ask(CLAUDE, "Name three colours.", 50, false);
        it.faults(&[Fault::ServerError], Some(3));
        let failed = send(&it, "r", CLAUDE, &body).await;
        assert!(failed.status >= 500, "{}", failed.body);
        let again = send(&it, "r", CLAUDE, &body).await;
        assert!((again.status, again.replayed) == (200, false), "{}", again.body);
        let bad = send(&it, "two words", CLAUDE, &body).await;
        assert_eq!((bad.status, &bad.body["error"]["param"]), (400, &"Idempotency-Key".into()));
        assert_clean(&it.server.db).await;
    })
    .await;
}

/// At zero: the exact sentence in both dialects, on pages and in the log of what was refused; remedies as links; and what
/// runs already is finished from its hold.
#[tokio::test]
async fn at_zero_the_sentence_is_exact_and_running_work_goes_on() {
    each_database(async |world| {
        let it = Served::open(world, 1).await;
        let everything = Usd::parse_dollars("1").unwrap().nanos();
        let mut new = new_hold(&it.account_id, "in-flight", everything);
        new.expires_at = it.server.clock.now().plus_seconds(600);
        let running = hold(&it.server.ledger, new).await.unwrap();
        assert_eq!(it.spendable().await, Usd::ZERO);
        // Everything is held, not spent: it may fit later, and says so with another code.
        let reserved = it.post("/v1/messages", &ask(CLAUDE, "x", 9, false)).send().await.unwrap();
        assert_eq!(reserved.status(), 429);
        let body: Value = reserved.json().await.unwrap();
        assert_eq!(body["error"]["code"], "reserved_by_running_work");
        let done = capture(&it.server.ledger, running, everything).await.unwrap();
        assert_eq!((done.charged.nanos(), done.overrun), (everything, Usd::ZERO), "finished from its hold");

        for model in [CLAUDE, GPT] {
            let response = it.post(path_of(model), &ask(model, "x", 9, false)).send().await.unwrap();
            assert_eq!(response.status(), 402);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"]["message"], NO_CREDIT);
            assert_eq!(body["error"]["code"], "insufficient_credit");
            let links: Vec<&str> = body["error"]["remedies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|remedy| remedy["href"].as_str().unwrap())
                .collect();
            assert!(links[0].ends_with("/credits") && links[1].ends_with("/keys"), "{links:?}");
        }
        let page = start(&it.server, &it.user, it.request("colours")).await.unwrap_err();
        assert_eq!(page.to_string(), NO_CREDIT);
        let since = it.server.clock.now().plus_seconds(-3_600);
        it.idle().await;
        let refused = list_refused(&it.server, &it.account_id, since).await.unwrap();
        assert_eq!(refused.len(), 2, "one line for each model: {refused:?}");
        assert!(
            refused.iter().all(|run| run.sentence == NO_CREDIT && run.code == "insufficient_credit"),
            "{refused:?}"
        );
        assert_clean(&it.server.db).await;
    })
    .await;
}
