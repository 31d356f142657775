//! Agents over HTTP: started, stopped, restarted, cleaned up.

use ccm_core::AgentRuntime;
use ccm_core::api::{
    self, Agent, AgentCleanup, AgentStateName, EventKind, Page, ProjectState, Wanted,
};
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::store::{EventQuery, Store};
use serde_json::json;

use crate::harness::{PATIENCE, Server};

async fn agent_of(server: &Server, project: ProjectId) -> Agent {
    let path = format!("/api/v1/agents?project_id={project}");
    let mut page: Page<Agent> = server.get(&path).await.ok(200);
    assert_eq!(page.items.len(), 1);
    page.items.remove(0)
}

/// The agent once it is in `state`.
async fn agent_in(server: &Server, project: ProjectId, state: AgentStateName) -> Agent {
    let looking = async {
        loop {
            let agent = agent_of(server, project).await;
            if agent.state == state {
                return agent;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap()
}

fn path(agent: &Agent, what: &str) -> String {
    format!("/api/v1/agents/{}/{what}", agent.id)
}

/// Who wanted agents to be what, in order.
async fn wishes(server: &Server) -> Vec<String> {
    let query = EventQuery {
        kinds: vec![EventKind::AgentWanted],
        limit: 100,
        ..EventQuery::default()
    };
    let events = server.store.events(&query).await.unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let wish = |event: &api::Event| {
        format!(
            "{} by {}",
            text(&event.data["wanted"]),
            text(&event.data["by"])
        )
    };
    events.iter().map(wish).collect()
}

#[tokio::test]
async fn an_agent_is_stopped_and_started_and_every_list_says_so() {
    let server = Server::start().await;
    let project = server.project("demo").await;
    let agent = agent_in(&server, project, AgentStateName::Idle).await;
    assert_eq!((agent.wanted, agent.detail.as_deref()), (Wanted::Up, None));
    for _ in 0..2 {
        let stopped: Agent = server.poke(&path(&agent, "stop")).await.ok(200);
        assert_eq!(
            (stopped.state, stopped.wanted, stopped.wanted_by.as_deref()),
            (AgentStateName::Stopped, Wanted::Down, Some("api"))
        );
        assert!(stopped.detail.unwrap().contains("ccm agent start demo"));
    }
    assert_eq!(server.runtime.agents().await.unwrap(), []);
    let task = server.task(project, "hello").await;
    assert_eq!(task.reason.unwrap().as_str(), "agent_stopped");
    assert!(task.detail.unwrap().contains("ccm agent start demo"));
    let held: api::Project = server
        .get(&format!("/api/v1/projects/{project}"))
        .await
        .ok(200);
    assert_eq!(held.state, ProjectState::AgentStopped);
    let listed: Page<api::Project> = server.get("/api/v1/projects").await.ok(200);
    assert_eq!(listed.items[0].state, ProjectState::AgentStopped);
    let paused: api::Project = server
        .poke(&format!("/api/v1/projects/{project}/pause"))
        .await
        .ok(200);
    assert_eq!(
        paused.state,
        ProjectState::Paused,
        "what a person did there counts"
    );
    let resumed: api::Project = server
        .poke(&format!("/api/v1/projects/{project}/resume"))
        .await
        .ok(200);
    assert_eq!(resumed.state, ProjectState::AgentStopped);
    server
        .get(&path(&agent, "attach"))
        .await
        .problem("wrong_state");

    let server = server.restart().await;
    assert_eq!(agent_of(&server, project).await.wanted, Wanted::Down);
    let started: Agent = server.poke(&path(&agent, "start")).await.ok(200);
    assert_eq!((started.wanted, started.detail), (Wanted::Up, None));
    server.task_in(task.id, "succeeded").await;
    assert_eq!(wishes(&server).await, ["down by api", "up by api"]);
}

#[tokio::test]
async fn what_an_agent_has_in_hand_needs_force() {
    let server = Server::start().await;
    let project = server.project("demo").await;
    let task = server.task(project, "hold on").await;
    let agent = agent_in(&server, project, AgentStateName::Working).await;
    for what in ["stop", "restart", "stop?force=false"] {
        let problem = server
            .poke(&path(&agent, what))
            .await
            .problem("wrong_state");
        assert!(problem.detail.contains("run"), "{problem:?}");
    }
    assert_eq!(wishes(&server).await, Vec::<String>::new());
    let again: Agent = server
        .poke(&path(&agent, "restart?force=true"))
        .await
        .ok(200);
    assert_eq!(
        (again.state, again.wanted),
        (AgentStateName::Idle, Wanted::Up)
    );
    assert_ne!(again.pid, agent.pid);
    let lost = server.task_in(task.id, "failed").await;
    assert_eq!(lost.reason.unwrap().as_str(), "lost");
    assert_eq!(
        lost.detail.as_deref(),
        Some("stopped by api with its agent")
    );
    // While one is stopped by force, nothing but that changes.
    let task = server.task(project, "hold again").await;
    agent_in(&server, project, AgentStateName::Working).await;
    let stopped: Agent = server.poke(&path(&agent, "stop?force=true")).await.ok(200);
    assert_eq!(stopped.wanted, Wanted::Down);
    server.task_in(task.id, "failed").await;
    assert_eq!(server.runtime.agents().await.unwrap(), []);
}

#[tokio::test]
async fn idle_agents_are_cleaned_up() {
    let server = Server::start().await;
    let (idle, busy) = (server.project("idle").await, server.project("busy").await);
    server.task(busy, "hold on").await;
    let worker = agent_in(&server, busy, AgentStateName::Working).await;
    let sleeper = agent_in(&server, idle, AgentStateName::Idle).await;
    let cleanup =
        async |body: &serde_json::Value| server.post("/api/v1/agents/cleanup", body).await;
    let done: AgentCleanup = cleanup(&json!({})).await.ok(200);
    assert_eq!(done.asleep.len(), 1);
    assert_eq!(
        (done.asleep[0].id, done.kept[0].id),
        (sleeper.id, worker.id)
    );
    assert_eq!(done.kept[0].why, "works");
    let asleep = agent_of(&server, idle).await;
    assert_eq!(
        (asleep.state, asleep.wanted),
        (AgentStateName::Stopped, Wanted::Asleep)
    );
    assert!(asleep.detail.unwrap().contains("until its next task"));
    let again: AgentCleanup = cleanup(&json!({"agents": [sleeper.id]})).await.ok(200);
    assert_eq!(again, AgentCleanup::default());
    cleanup(&json!({"agents": [AgentId::new()]}))
        .await
        .problem("agent_not_found");
    cleanup(&json!({"agent": []})).await.problem("invalid");
    cleanup(&json!({"agents": "all"})).await.problem("invalid");
    // A task that waits says nothing of it: it wakes the agent.
    let woken = server.task(idle, "hello").await;
    assert_eq!(woken.reason, None);
    server.task_in(woken.id, "succeeded").await;
    let by = wishes(&server).await;
    assert_eq!(
        by,
        [
            "asleep by api".to_owned(),
            format!("up by task {}", woken.id)
        ]
    );
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_not_found() {
    let server = Server::start().await;
    for what in ["start", "stop", "restart"] {
        let unknown = format!("/api/v1/agents/{}/{what}", AgentId::new());
        server.poke(&unknown).await.problem("agent_not_found");
        server
            .poke(&format!("/api/v1/agents/x/{what}"))
            .await
            .problem("bad_request");
    }
    let project = server.project("demo").await;
    let agent = agent_of(&server, project).await;
    server
        .poke(&path(&agent, "stop?forse=true"))
        .await
        .problem("bad_request");
    // Its project was removed, and it with it.
    server.delete(&format!("/api/v1/projects/{project}")).await;
    server
        .poke(&path(&agent, "start"))
        .await
        .problem("project_not_found");
}
