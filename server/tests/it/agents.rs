//! Agents: made, named, started and stopped within what the plan lets run.

use crate::identity::{owner, verified};
use crate::support::{World, each_database};
use domain::agent::AgentState;
use domain::denial::Denial;
use domain::id::{AccountId, AgentId};
use domain::money::Usd;
use server::Server;
use server::account::{NewAccount, Role, User};
use server::agent::{self, Agent, NewAgent};
use server::error::{Error, Result};

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
