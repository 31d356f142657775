use ccm_core::Store;
use ccm_core::api::{self, CheckStatus, CreateTask, Health, Page, Readiness, Status, System};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::time::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::harness::Server;

async fn fill(server: &Server, project: ProjectId, count: usize) -> Vec<TaskId> {
    let tasks = (0..count).map(|n| CreateTask::new(project, format!("task {n}")));
    let engine = server.app.engine();
    let created = engine.create_tasks(tasks.collect(), "test", None);
    let created = created.await.unwrap();
    created.tasks.iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn pages_hold_every_task_once_while_others_are_created() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let ids = fill(&server, project, 25).await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/tasks?page_size=10".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page: Page<api::Task> = server.get(&path).await.ok(200);
        sizes.push(page.items.len());
        seen.extend(page.items.iter().map(|task| task.id));
        fill(&server, project, 3).await;
        let Some(token) = page.next_page_token else {
            break;
        };
        path = format!("/api/v1/tasks?page_size=10&page_token={token}");
    }
    assert_eq!(sizes, [10, 10, 5]);
    let newest_first: Vec<TaskId> = ids.into_iter().rev().collect();
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn a_page_is_50_unless_asked_and_200_at_most() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    fill(&server, project, 210).await;
    for (query, wanted) in [("", 50), ("?page_size=1", 1), ("?page_size=200", 200)] {
        let page: Page<api::Task> = server.get(&format!("/api/v1/tasks{query}")).await.ok(200);
        assert_eq!(page.items.len(), wanted);
        assert!(page.next_page_token.is_some());
    }
    for wrong in [
        "page_size=0",
        "page_size=201",
        "page_size=-1",
        "page_size=x",
        "page_token=x",
    ] {
        for list in ["tasks", "runs"] {
            let reply = server.get(&format!("/api/v1/{list}?{wrong}")).await;
            let problem = reply.problem("bad_request");
            let name = wrong.split('=').next().unwrap();
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
    }
}

#[tokio::test]
async fn filters_choose_and_unknown_ones_are_refused() {
    let server = Server::start().await;
    let a = server.paused_project("a").await;
    let b = server.paused_project("b").await;
    let first = fill(&server, a, 2).await;
    fill(&server, b, 3).await;
    server
        .poke(&format!("/api/v1/tasks/{}/cancel", first[0]))
        .await;
    let count = async |query: &str| {
        let page: Page<api::Task> = server.get(&format!("/api/v1/tasks?{query}")).await.ok(200);
        page.items.len()
    };
    assert_eq!(count(&format!("project_id={b}")).await, 3);
    assert_eq!(count("state=queued").await, 4);
    assert_eq!(count("state=cancelled").await, 1);
    assert_eq!(count("state=queued,cancelled").await, 5);
    assert_eq!(count(&format!("state=queued&project_id={a}")).await, 1);
    assert_eq!(count(&format!("project_id={}", ProjectId::new())).await, 0);
    for wrong in [
        "state=",
        "state=queued,nope",
        "project_id=x",
        "colour=red",
        "state=queued&state=failed",
    ] {
        server
            .get(&format!("/api/v1/tasks?{wrong}"))
            .await
            .problem("bad_request");
    }
}

#[tokio::test]
async fn agents_are_told_with_what_the_runtime_sees() {
    let server = Server::start().await;
    let project = server.project("repo-1").await;
    server.project("repo-2").await;
    let all: Page<api::Agent> = server.get("/api/v1/agents").await.ok(200);
    assert_eq!(all.items.len(), 2);
    let of_one = format!("/api/v1/agents?project_id={project}");
    let of_one: Page<api::Agent> = server.get(&of_one).await.ok(200);
    let [agent] = &of_one.items[..] else {
        panic!("{of_one:?}")
    };
    assert_eq!(agent.project_id, project);
    assert_eq!(agent.driver.as_deref(), Some("command"));
    assert!(agent.pid.is_some());
    assert!(agent.window.is_some());
    let path = format!("/api/v1/agents/{}", agent.id);
    let one: api::Agent = server.get(&path).await.ok(200);
    assert_eq!((one.id, one.pid), (agent.id, agent.pid));
    let attach = server.get(&format!("{path}/attach")).await;
    assert!(matches!(attach.status.as_u16(), 200 | 501), "{attach:?}");
}

#[tokio::test]
async fn status_and_systems_tell_of_this_daemon() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    fill(&server, project, 2).await;
    let health: Health = server.get("/health").await.ok(200);
    assert_eq!(health.status, "ok");
    let ready: Readiness = server.get("/ready").await.ok(200);
    assert_eq!(ready.status, "ok");
    let status: Status = server.get("/api/v1/status").await.ok(200);
    let names: Vec<&str> = ready.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["database", "disk", "clock", "spool"]);
    assert_eq!(
        status.checks, ready.checks,
        "a look that is fresh is not repeated"
    );
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.address, server.address.to_string());
    assert_eq!((status.projects, status.queue.queued), (1, 2));
    assert_eq!(status.system.hostname, "box");
    assert!(status.log.seq.0 > 0);
    let systems: Page<System> = server.get("/api/v1/systems").await.ok(200);
    assert_eq!(systems.items, vec![status.system.clone()]);
    let system: System = server
        .get(&format!("/api/v1/systems/{}", status.system.id))
        .await
        .ok(200);
    assert!(system.this);
    let document: Value = server.get("/api/v1/openapi.json").await.ok(200);
    assert!(document["paths"]["/api/v1/tasks/{id}/cancel"].is_object());
}

#[tokio::test]
async fn shutdown_says_what_goes_on_and_ends_the_server() {
    for (body, wanted) in [(json!({}), (1, 0)), (json!({"agents": true}), (0, 1))] {
        let server = Server::start().await;
        let project = server.project("a").await;
        let task = server.task(project, "hold").await;
        server.task_in(task.id, "running").await;
        let reply = server.post("/api/v1/shutdown", &body).await;
        let report: api::ShutdownReport = reply.ok(200);
        assert_eq!((report.running, report.stopped), wanted);
        server.ended().await;
    }
}

#[tokio::test]
async fn without_its_database_a_daemon_is_not_ready() {
    let server = Server::start().await;
    let other = server.store.another();
    other
        .begin(server.app.engine().system(), SystemClock.now())
        .await
        .unwrap();
    let problem = server.get("/ready").await.problem("unavailable");
    assert!(
        problem
            .detail
            .contains("the database can't be written: another daemon"),
        "{problem:?}"
    );
    let status: Status = server.get("/api/v1/status").await.ok(200);
    let database = &status.checks[0];
    assert_eq!(
        (&*database.name, database.status),
        ("database", CheckStatus::Failed)
    );
    assert!(status.problems.contains(&database.detail), "{status:?}");
    // Whoever only wants to know whether it is there gets an answer.
    let health: Health = server.get("/health").await.ok(200);
    assert_eq!(health.status, "ok");
}
