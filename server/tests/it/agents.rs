//! Agents: made, named, started and stopped within what the plan lets run; and which agent makes a call.

use crate::identity::{owner, verified};
use crate::served::{CLAUDE, GPT, Served, ask, execution_of, path_of};
use crate::support::{World, each_database};
use domain::agent::AgentState;
use domain::denial::Denial;
use domain::id::{AccountId, AgentId, ExecutionId};
use domain::money::Usd;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use server::account::{NewAccount, Role, User};
use server::agent::{self, Agent, NewAgent};
use server::error::{Error, Result};
use server::execution::load_run;
use server::usage::{Filter, list_executions};
use server::{Server, api_key};

fn code<T>(outcome: Result<T>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Error::Denied(denial)) => Denial::code(&denial),
        Err(error) => panic!("{error}"),
    }
}

fn named(name: &str) -> NewAgent<'_> {
    NewAgent { name, run_cap: "", state: AgentState::Running }
}

async fn list(server: &Server, user: &User) -> Vec<Agent> {
    agent::list(server, &user.account_id).await.unwrap()
}

async fn running(world: &World, user: &User) -> u64 {
    server::entitlement::load(&world.server, &user.account_id).await.unwrap().running_agents_used
}

#[tokio::test]
async fn an_agent_is_made_named_capped_and_deleted() {
    each_database(async |world| {
        let (server, user) = (&world.server, owner(&world.server).await);
        let new = NewAgent { name: "  Support triage ", run_cap: "$0.05", state: AgentState::Stopped };
        let id = agent::create(server, &user, new).await.unwrap();
        let [made] = &list(server, &user).await[..] else { panic!("one agent") };
        let cap = Usd::parse_dollars("0.05");
        assert_eq!((made.name.as_str(), made.state, made.run_cap), ("Support triage", AgentState::Stopped, cap));
        assert_eq!((made.last_run_at, made.api_keys, made.key_rules, made.provider_keys), (None, 0, 0, 0));

        let other = agent::create(server, &user, named("Nightly report")).await.unwrap();
        for name in ["", "Nightly report", "a\nb", &"x".repeat(61)] {
            assert_eq!(code(agent::change(server, &user, &id, name, "").await), "invalid", "{name:?}");
            assert_eq!(code(agent::create(server, &user, named(name)).await), "invalid", "{name:?}");
        }
        assert_eq!(code(agent::change(server, &user, &id, "Support", "all of it").await), "invalid");
        agent::change(server, &user, &id, "Support", "").await.unwrap();
        let names = |agents: &[Agent]| agents.iter().map(|agent| agent.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&list(server, &user).await), ["Nightly report", "Support"]);

        agent::delete(server, &user, &other).await.unwrap();
        assert_eq!(code(agent::delete(server, &user, &other).await), "not_found");
        assert_eq!(code(agent::set_state(server, &user, &other, AgentState::Running).await), "not_found");
        // Its name is free again.
        agent::create(server, &user, named("Nightly report")).await.unwrap();
        assert_eq!(list(server, &user).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn only_those_who_may_change_agents_and_only_an_account_its_own() {
    each_database(async |world| {
        let (server, user) = (&world.server, owner(&world.server).await);
        let id = agent::create(server, &user, named("Support")).await.unwrap();
        for (role, expected) in [
            (Role::Admin, "ok"),
            (Role::Developer, "ok"),
            (Role::Billing, "role_may_not"),
            (Role::Viewer, "role_may_not"),
        ] {
            let join = NewAccount::Join(user.account_id.clone());
            let member = verified(server, &format!("{role}@example.test"), join, role).await;
            let new = NewAgent { name: role.as_str(), run_cap: "", state: AgentState::Stopped };
            assert_eq!(code(agent::create(server, &member, new).await), expected, "{role}");
            assert_eq!(code(agent::change(server, &member, &id, "Support", "1").await), expected, "{role}");
            assert_eq!(code(agent::set_state(server, &member, &id, AgentState::Running).await), expected, "{role}");
            let missing = AgentId::new("none");
            let expected = if expected == "ok" { "not_found" } else { expected };
            assert_eq!(code(agent::delete(server, &member, &missing).await), expected, "{role}");
        }
        let stranger = User { account_id: world.account().await, ..user.clone() };
        assert_eq!(code(agent::change(server, &stranger, &id, "Mine", "").await), "not_found");
        assert_eq!(code(agent::set_state(server, &stranger, &id, AgentState::Stopped).await), "not_found");
        assert_eq!(code(agent::delete(server, &stranger, &id).await), "not_found");
        assert_eq!(list(server, &stranger).await, []);
        assert_eq!(agent::list(server, &AccountId::new("none")).await.unwrap(), []);
        // The same name in another account is no conflict.
        agent::create(server, &stranger, named("Support")).await.unwrap();
    })
    .await;
}

/// Spec §2: three agents run on Free, however many ask at once and on however many nodes.
#[tokio::test]
async fn no_more_run_than_the_plan_lets() {
    each_database(async |world| {
        let (server, user, node) = (&world.server, owner(&world.server).await, world.node().await);
        let asked = (0..16).map(|at| {
            let (server, user) = (if at % 2 == 0 { server } else { &node }, &user);
            async move {
                let name = format!("agent {at}");
                code(agent::create(server, user, named(&name)).await)
            }
        });
        let answers = futures::future::join_all(asked).await;
        let count = |expected| answers.iter().filter(|code| **code == expected).count();
        assert_eq!((count("ok"), count("agent_limit")), (3, 13), "{answers:?}");
        assert_eq!(running(world, &user).await, 3);

        // Stopped ones do not count, until they are started.
        for name in ["a", "b", "c", "d"] {
            let new = NewAgent { name, run_cap: "", state: AgentState::Stopped };
            agent::create(server, &user, new).await.unwrap();
        }
        let agents = list(server, &user).await;
        let (on, off): (Vec<_>, Vec<_>) = agents.into_iter().partition(|agent| agent.state == AgentState::Running);
        agent::set_state(server, &user, &on[0].agent_id, AgentState::Stopped).await.unwrap();
        agent::set_state(server, &user, &on[0].agent_id, AgentState::Stopped).await.unwrap();
        agent::delete(server, &user, &on[1].agent_id).await.unwrap();
        assert_eq!(running(world, &user).await, 1);
        let asked = off.iter().zip([server, &node, server, &node]).map(|(agent, server)| {
            let user = &user;
            async move { code(agent::set_state(server, user, &agent.agent_id, AgentState::Running).await) }
        });
        let answers = futures::future::join_all(asked).await;
        assert_eq!(answers.iter().filter(|code| **code == "ok").count(), 2, "{answers:?}");
        assert_eq!(running(world, &user).await, 3);
        // Starting what runs is nothing new.
        assert_eq!(code(agent::set_state(server, &user, &on[2].agent_id, AgentState::Running).await), "ok");
        node.db.close().await;
    })
    .await;
}

/// A call of an agent: its code, or the status.
async fn call(it: &Served, key: &str, agent: Option<&str>, model: &str) -> std::result::Result<ExecutionId, String> {
    let body = ask(model, "Name three colours.", 20, false);
    let mut request = it.server.http.post(format!("{}{}", it.url, path_of(model))).bearer_auth(key).json(&body);
    if let Some(agent) = agent {
        request = request.header("X-Tokenbank-Agent", agent);
    }
    let response = request.send().await.unwrap();
    if response.status().is_success() {
        return Ok(execution_of(&response));
    }
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    // Both dialects say it at the same place.
    Err(format!("{status} {}", body.pointer("/error/code").and_then(Value::as_str).unwrap_or("?")))
}

#[tokio::test]
async fn a_run_is_the_agents_whose_key_it_is_or_whom_it_names() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let (server, user) = (&it.server, &it.user);
        let support = agent::create(server, user, named("Support triage")).await.unwrap();
        let report = agent::create(server, user, named("Bericht für Köln")).await.unwrap();
        // A key that is made in the same microsecond as another has no order among them.
        world.clock.advance_seconds(1);
        let (made, secret) = api_key::create_for(server, user, "of support", Some(&support)).await.unwrap();
        let its_key = secret.expose_secret().to_owned();
        assert_eq!(made.agent_name.as_deref(), Some("Support triage"));
        let listed = api_key::list(server, &it.account_id).await.unwrap();
        let mut whose: Vec<_> = listed.iter().map(|key| (key.name.as_str(), key.agent_id.as_ref())).collect();
        whose.sort();
        assert_eq!(whose, [("it", None), ("of support", Some(&support))]);

        for (key, named, expected) in [
            (&it.key, None, None),
            (&it.key, Some("Support triage"), Some(&support)),
            (&it.key, Some("Bericht für Köln"), Some(&report)),
            (&its_key, None, Some(&support)),
            (&its_key, Some("Support triage"), Some(&support)),
        ] {
            for model in [CLAUDE, GPT] {
                let id = call(&it, key, named, model).await.unwrap();
                let run = load_run(server, &it.account_id, &id).await.unwrap().unwrap();
                assert_eq!(run.agent_id.as_ref(), expected, "{named:?}");
            }
        }
        for (key, named, expected) in [
            (&it.key, "support triage", "404 unknown_agent"),
            (&it.key, "'; drop table agent; --", "404 unknown_agent"),
            (&it.key, " ", "400 invalid"),
            (&its_key, "Bericht für Köln", "403 key_of_other_agent"),
            (&its_key, "nobody", "403 key_of_other_agent"),
        ] {
            for model in [CLAUDE, GPT] {
                assert_eq!(call(&it, key, Some(named), model).await, Err(expected.to_owned()), "{named:?}");
            }
        }

        // The list says it, also when it is narrowed, and an agent's own list says when it ran last.
        let usage = async |query: &str| -> Value {
            it.get(&format!("/v1/usage{query}")).send().await.unwrap().json().await.unwrap()
        };
        let all = usage("").await;
        assert_eq!(all["data"].as_array().unwrap().len(), 10);
        let mine = usage(&format!("?agent={report}")).await;
        let rows: Vec<_> = mine["data"].as_array().unwrap().iter().map(|row| row["agent_name"].clone()).collect();
        assert_eq!(rows, ["Bericht für Köln", "Bericht für Köln"]);
        let agents = agent::list(server, &it.account_id).await.unwrap();
        assert!(agents.iter().all(|agent| agent.last_run_at.is_some()));
        assert_eq!(agents.iter().map(|agent| agent.api_keys).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(server::ledger::check(&server.db).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_is_changed_of_an_agent_counts_here_at_once_and_elsewhere_within_ten_seconds() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let (server, user, node) = (&it.server, &it.user, world.node().await);
        let id = agent::create(server, user, named("Support")).await.unwrap();
        let (_, secret) = api_key::create_for(server, user, "mine", Some(&id)).await.unwrap();
        let key = secret.expose_secret().to_owned();
        let elsewhere = async || {
            let caller = api_key::authenticate(&node, &key).await?;
            agent::acting(&node, &caller, None).await
        };
        call(&it, &key, None, CLAUDE).await.unwrap();
        assert_eq!(elsewhere().await.unwrap().unwrap().name, "Support");

        agent::set_state(server, user, &id, AgentState::Stopped).await.unwrap();
        let stopped = Err("403 agent_stopped".to_owned());
        assert_eq!(call(&it, &key, None, CLAUDE).await, stopped);
        assert_eq!(call(&it, &it.key, Some("Support"), GPT).await, stopped);
        world.clock.advance_seconds(10);
        assert_eq!(code(elsewhere().await), "agent_stopped");

        agent::set_state(server, user, &id, AgentState::Running).await.unwrap();
        agent::change(server, user, &id, "Triage", "").await.unwrap();
        call(&it, &key, Some("Triage"), CLAUDE).await.unwrap();
        assert_eq!(call(&it, &it.key, Some("Support"), CLAUDE).await, Err("404 unknown_agent".to_owned()));

        // Deleted, its key is refused, and is no key of the account's instead; what it ran keeps its name.
        agent::delete(server, user, &id).await.unwrap();
        assert_eq!(call(&it, &key, None, CLAUDE).await, Err("401 not_signed_in".to_owned()));
        assert_eq!(call(&it, &it.key, Some("Triage"), CLAUDE).await, Err("404 unknown_agent".to_owned()));
        assert_eq!(code(api_key::create_for(server, user, "late", Some(&id)).await), "not_found");
        let filter = Filter { agent: Some(id), ..Filter::default() };
        let rows = list_executions(server, &it.account_id, &filter, None, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.agent_name.as_deref()).collect::<Vec<_>>(), [Some("Triage"); 2]);
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn another_accounts_agent_is_as_if_it_were_not_there() {
    each_database(async |world| {
        let (it, theirs) = (Served::open(world, 10).await, Served::open(world, 10).await);
        let id = agent::create(&theirs.server, &theirs.user, named("Theirs")).await.unwrap();
        assert_eq!(call(&it, &it.key, Some("Theirs"), CLAUDE).await, Err("404 unknown_agent".to_owned()));
        assert_eq!(code(api_key::create_for(&it.server, &it.user, "mine", Some(&id)).await), "not_found");
        call(&theirs, &theirs.key, Some("Theirs"), CLAUDE).await.unwrap();
        let filter = Filter { agent: Some(id.clone()), ..Filter::default() };
        assert_eq!(list_executions(&it.server, &it.account_id, &filter, None, 10).await.unwrap(), []);
        assert_eq!(agent::load_name(&it.server, &it.account_id, &id).await.unwrap(), None);
    })
    .await;
}
