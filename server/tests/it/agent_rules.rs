//! What an agent decides otherwise than its account: whose key pays, which keys are its own, what a run may cost.

use crate::served::{CLAUDE, GPT, Served, ask, execution_of, path_of};
use crate::support::{World, each_database};
use domain::agent::AgentState;
use domain::catalogue::ModelClass;
use domain::denial::Denial;
use domain::id::{AgentId, ProviderKeyId};
use domain::key::KeyPolicy;
use domain::money::Usd;
use domain::provider::Provider;
use sandbox::Fault;
use serde_json::{Value, json};
use server::account::{Role, User};
use server::agent::{self, NewAgent};
use server::error::{Error, Result};
use server::provider_key::{self, Change, NewKey, save, set_agent_policy, set_policy};

const HERE: (Provider, ModelClass) = (Provider::Anthropic, ModelClass::Standard);

fn code<T>(outcome: Result<T>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Error::Denied(denial)) => Denial::code(&denial),
        Err(error) => panic!("{error}"),
    }
}

async fn add_agent(it: &Served, name: &str, run_cap: &str) -> AgentId {
    agent::create(&it.server, &it.user, NewAgent { name, run_cap, state: AgentState::Running }).await.unwrap()
}

async fn add_key(it: &Served) -> ProviderKeyId {
    let secret = "sk-ant-api03-canary-of-the-users-key-UsEr";
    let new = NewKey { provider: Provider::Anthropic, secret, url: "", label: "", replaces: None };
    save(&it.server, &it.user, new).await.unwrap().id
}

async fn only_for(it: &Served, key: &ProviderKeyId, agents: &[&AgentId]) -> Result<()> {
    let change = Change {
        label: "",
        allowed_models: Vec::new(),
        allowed_agents: agents.iter().map(|id| (*id).clone()).collect(),
        is_enabled: true,
        is_first: false,
        expires_at: None,
    };
    provider_key::change(&it.server, &it.user, key, change).await
}

async fn account_rule(it: &Served, policy: Option<KeyPolicy>, cap: &str) {
    set_policy(&it.server, &it.user, HERE, policy, cap).await.unwrap();
}

async fn agent_rule(it: &Served, agent: &AgentId, policy: Option<KeyPolicy>, cap: &str) {
    set_agent_policy(&it.server, &it.user, agent, HERE, (policy, cap)).await.unwrap();
}

async fn post(it: &Served, path: &str, agent: &str, body: &Value) -> reqwest::Response {
    let request = it.post(path, body);
    let request = if agent.is_empty() { request } else { request.header("X-Tokenbank-Agent", agent) };
    request.send().await.unwrap()
}

/// Who paid for a run of the agent (of nobody for an empty name), or the code of the refusal.
async fn run(it: &Served, agent: &str, cap: u64) -> String {
    let answer = post(it, "/v1/messages", agent, &ask(CLAUDE, "Hello", cap, false)).await;
    if answer.status().is_success() {
        return answer.headers()["x-tokenbank-source"].to_str().unwrap().to_owned();
    }
    let body: Value = answer.json().await.unwrap();
    body.pointer("/error/code").and_then(Value::as_str).unwrap_or("?").to_owned()
}

/// What the preview says of the same run.
async fn preview(it: &Served, agent: &str) -> String {
    let answer = post(it, "/v1/estimate", agent, &ask(CLAUDE, "Hello", 20, false)).await;
    let body: Value = answer.json().await.unwrap();
    let said = body["source"].as_str().or(body["refused"]["code"].as_str());
    said.unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[tokio::test]
async fn an_agents_own_rule_decides_for_its_runs_alone() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let support = add_agent(&it, "Support", "").await;
        add_agent(&it, "Report", "").await;
        let (own, platform) = (Some(KeyPolicy::Own), Some(KeyPolicy::Platform));
        let expect = async |account: &str, support: &str| {
            for (agent, expected) in [("", account), ("Report", account), ("Support", support)] {
                assert_eq!(preview(&it, agent).await, expected, "the preview of {agent:?}");
                assert_eq!(run(&it, agent, 20).await, expected, "the run of {agent:?}");
            }
        };
        // Without a key.
        agent_rule(&it, &support, own, "").await;
        expect("credits", "own_key_refused").await;
        account_rule(&it, own, "").await;
        agent_rule(&it, &support, platform, "").await;
        expect("own_key_refused", "credits").await;
        assert_eq!(agent::list(&it.server, &it.account_id).await.unwrap()[1].key_rules, 1);

        add_key(&it).await;
        expect("own_key", "credits").await;
        account_rule(&it, platform, "").await;
        agent_rule(&it, &support, own, "").await;
        expect("credits", "own_key").await;
        agent_rule(&it, &support, None, "").await;
        expect("credits", "credits").await;
        account_rule(&it, None, "").await;
        expect("own_key", "own_key").await;
    })
    .await;
}

#[tokio::test]
async fn each_cap_of_falling_back_counts_its_own_runs() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let support = add_agent(&it, "Support", "").await;
        add_agent(&it, "Report", "").await;
        let both = Some(KeyPolicy::OwnThenPlatform);
        // A run of 2,000 tokens can cost three cents.
        account_rule(&it, both, "0.04").await;
        agent_rule(&it, &support, both, "0.04").await;
        let drain = async |agent: &str| {
            let mut paid = 0;
            for _ in 0..200 {
                match run(&it, agent, 2_000).await.as_str() {
                    "credits" => paid += 1,
                    "fallback_cap" => return paid,
                    other => panic!("{other}"),
                }
            }
            panic!("no cap in 200 runs");
        };
        assert!(drain("Support").await > 0);
        assert!(drain("Report").await > 0, "the account's cap is untouched by what the agent's own took");
        assert_eq!(run(&it, "", 2_000).await, "fallback_cap", "which the account and its other agents share");
        agent_rule(&it, &support, None, "").await;
        assert_eq!(run(&it, "Support", 2_000).await, "fallback_cap");
        agent_rule(&it, &support, both, "0.10").await;
        assert_eq!(run(&it, "Support", 2_000).await, "credits");
        assert_eq!(server::ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_key_for_certain_agents_is_nobody_elses_even_when_they_are_gone() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let support = add_agent(&it, "Support", "").await;
        add_agent(&it, "Report", "").await;
        let key = add_key(&it).await;
        only_for(&it, &key, &[&support]).await.unwrap();
        let answers = async || (run(&it, "", 20).await, run(&it, "Report", 20).await, run(&it, "Support", 20).await);
        let all = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(answers().await, all("credits", "credits", "own_key"));
        assert_eq!(preview(&it, "Support").await, "own_key");
        assert_eq!(preview(&it, "Report").await, "credits");

        let theirs = Served::open(world, 0).await;
        let foreign = add_agent(&theirs, "Theirs", "").await;
        assert_eq!(code(only_for(&it, &key, &[&foreign]).await), "not_found");
        assert_eq!(agent::list(&it.server, &it.account_id).await.unwrap()[1].provider_keys, 1);
        agent::delete(&it.server, &it.user, &support).await.unwrap();
        assert_eq!(answers().await, all("credits", "credits", "unknown_agent"));
        // Saved again as it stands, it does not become everybody's.
        only_for(&it, &key, &[&support]).await.unwrap();
        assert_eq!(run(&it, "", 20).await, "credits");
        only_for(&it, &key, &[]).await.unwrap();
        assert_eq!(run(&it, "", 20).await, "own_key");
    })
    .await;
}

#[tokio::test]
async fn consent_for_an_agent_is_given_by_whoever_may_spend() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let support = add_agent(&it, "Support", "").await;
        let (both, own) = (Some(KeyPolicy::OwnThenPlatform), Some(KeyPolicy::Own));
        let set = async |user: &User, policy, cap: &str| {
            code(set_agent_policy(&it.server, user, &support, HERE, (policy, cap)).await)
        };
        for cap in ["", "0", "-5", "all"] {
            assert_eq!(set(&it.user, both, cap).await, "invalid", "{cap:?}");
        }
        let developer = User { role: Role::Developer, ..it.user.clone() };
        assert_eq!(set(&developer, both, "5").await, "role_may_not");
        assert_eq!(set(&developer, own, "").await, "ok");
        let viewer = User { role: Role::Viewer, ..it.user.clone() };
        assert_eq!(set(&viewer, None, "").await, "role_may_not");
        let stranger = User { account_id: world.account().await, ..it.user.clone() };
        assert_eq!(set(&stranger, own, "").await, "not_found");
        agent::delete(&it.server, &it.user, &support).await.unwrap();
        assert_eq!(set(&it.user, own, "").await, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_run_stops_at_its_agents_cap_and_says_so() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let cap = Usd::parse_dollars("0.0008").unwrap();
        let support = add_agent(&it, "Support", "0.0008").await;
        let question = |stream| ask(CLAUDE, "Name three colours.", 60, stream);
        let words = "It reached its cap of $0.0008, which is its agent's for one run: stopped at ";
        for stream in [false, true] {
            let whole = post(&it, "/v1/messages", "", &question(stream)).await;
            let whole_id = execution_of(&whole);
            whole.text().await.unwrap();
            let ended = it.ended(&whole_id).await;
            assert_eq!(ended.note, "It reached its cap: stopped at 60 tokens, billed 60");

            let before = it.spendable().await;
            let short = post(&it, "/v1/messages", "Support", &question(stream)).await;
            let id = execution_of(&short);
            if !stream {
                assert!(short.headers()["x-tokenbank-note"].to_str().unwrap().starts_with(words));
            }
            short.text().await.unwrap();
            let ended = it.ended(&id).await;
            assert!(ended.state == "stopped" && ended.note.starts_with(words), "{}", ended.note);
            assert!(ended.usage.output < 60 && ended.usage.output > 0);
            assert!(ended.run.quoted.ceiling <= cap && ended.charge <= cap && ended.charge.is_positive());
            assert_eq!(before.saturating_sub(it.spendable().await), ended.charge);
        }
        // The estimate is of the same run; one that is cheap enough is left alone.
        let estimate: Value = post(&it, "/v1/estimate", "Support", &question(false)).await.json().await.unwrap();
        assert!(estimate["ceiling"].as_i64().unwrap() <= cap.nanos(), "{estimate}");
        let cheap = post(&it, path_of(GPT), "Support", &ask(GPT, "Name three colours.", 60, false)).await;
        assert_eq!(it.ended(&execution_of(&cheap)).await.note, "It reached its cap: stopped at 60 tokens, billed 60");

        // Below what the shortest run can cost nothing is run, whoever would pay.
        agent::change(&it.server, &it.user, &support, "Support", "0.0001").await.unwrap();
        let before = it.spendable().await;
        let refused = post(&it, "/v1/messages", "Support", &question(true)).await;
        assert_eq!(refused.status(), 403);
        let body: Value = refused.json().await.unwrap();
        assert_eq!((&body["type"], &body["error"]["code"]), (&json!("error"), &json!("agent_cap")));
        add_key(&it).await;
        assert_eq!(run(&it, "Support", 20).await, "agent_cap");
        assert_eq!((it.spendable().await, it.balance().await.held), (before, Usd::ZERO));
        assert_eq!(server::ledger::check(&it.server.db).await.unwrap(), []);
    })
    .await;
}

/// A dead key of an agent's own is not paid over, whatever the account allows itself.
#[tokio::test]
async fn an_agent_that_wants_its_key_alone_is_not_paid_over() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let it = Served::open(world, 10).await;
            let support = add_agent(&it, "Support", "").await;
            add_key(&it).await;
            account_rule(&it, Some(KeyPolicy::OwnThenPlatform), "5").await;
            agent_rule(&it, &support, Some(KeyPolicy::Own), "").await;
            it.fault(&[Fault::InvalidKey]);
            assert_eq!(run(&it, "Support", 20).await, "own_key_refused");
            assert_eq!(run(&it, "Support", 20).await, "own_key_refused", "known dead now");
            assert_eq!(run(&it, "", 20).await, "credits");
        })
        .await;
}
