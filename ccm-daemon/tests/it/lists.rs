use ccm_core::Store;
use ccm_core::api::{self, CheckStatus, CreateTask, Health, Page, Readiness, Status, System};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::time::{Clock, SystemClock};
use reqwest::Method;
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
async fn tasks_are_found_by_what_they_say() {
    let server = Server::start().await;
    let a = server.paused_project("a").await;
    let b = server.paused_project("b").await;
    for (project, text, tags, by) in [
        (a, "Mend the Login, 100%", json!(["gpu"]), "me"),
        (a, "mend nothing", json!([]), "me"),
        (b, "login again", json!(["gpu", "big"]), "other"),
    ] {
        let body = json!({"project_id": project, "text": text, "tags": tags});
        let request = server.request(Method::POST, "/api/v1/tasks").json(&body);
        let made = server.send(request.header("x-ccm-client", by)).await;
        made.ok::<api::Task>(201);
    }
    let found = async |query: &str| {
        let path = format!("/api/v1/tasks?count=true&{query}");
        let page: Page<api::Task> = server.get(&path).await.ok(200);
        assert_eq!(page.total, Some(page.items.len() as u64), "{query}");
        let texts = page.items.into_iter().map(|task| task.text);
        texts.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(found("q=LOGIN").await, "login again; Mend the Login, 100%");
    assert_eq!(found("q=login%20mend").await, "Mend the Login, 100%");
    assert_eq!(found("q=100%25").await, "Mend the Login, 100%");
    assert_eq!(found("q=100_").await, "");
    assert_eq!(found("tag=big").await, "login again");
    assert_eq!(found("created_by=me&tag=gpu").await, "Mend the Login, 100%");
    assert_eq!(found(&format!("project_id={b}&q=mend")).await, "");
    for wrong in ["q=", "q=%20", "q=a%00", "tag=a%20b", "created_by=Me"] {
        let path = format!("/api/v1/tasks?{wrong}");
        server.get(&path).await.problem("bad_request");
    }
    let queue = format!("/api/v1/tasks?order=queue&project_id={a}");
    for further in ["q=a", "tag=a", "created_by=a", "skip=1", "count=true"] {
        let path = format!("{queue}&{further}");
        server.get(&path).await.problem("bad_request");
    }
}

#[tokio::test]
async fn a_list_goes_on_by_place_or_by_token() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let newest: Vec<TaskId> = fill(&server, project, 25).await.into_iter().rev().collect();
    let page = async |query: &str| {
        let path = format!("/api/v1/tasks?page_size=10&{query}");
        let page: Page<api::Task> = server.get(&path).await.ok(200);
        let ids: Vec<TaskId> = page.items.iter().map(|task| task.id).collect();
        (ids, page.next_page_token, page.total)
    };
    let (first, token, total) = page("skip=0").await;
    assert_eq!((first, total), (newest[..10].to_vec(), None));
    let token = token.unwrap();
    let (second, _, total) = page(&format!("page_token={token}&count=true")).await;
    assert_eq!((second, total), (newest[10..20].to_vec(), Some(25)));
    let (last, token, total) = page("skip=20&count=true&q=task").await;
    assert_eq!((last, token), (newest[20..].to_vec(), None));
    assert_eq!(total, Some(25), "of the whole list");
    assert_eq!(page("skip=1000000").await.0, []);
    let both = format!("/api/v1/tasks?skip=1&page_token={}", "after-x");
    server.get(&both).await.problem("bad_request");
    let both = format!("/api/v1/tasks?skip=1&page_token=after-{}", newest[3]);
    let problem = server.get(&both).await.problem("bad_request");
    assert!(problem.detail.contains("skip or page_token"), "{problem:?}");
}

#[tokio::test]
async fn a_list_says_what_it_cut() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let long = server.task(project, &"ä".repeat(50)).await;
    server.task_in(long.id, "succeeded").await;
    let list = async |query: &str| {
        let path = format!("/api/v1/tasks?{query}");
        let page: Page<api::Task> = server.get(&path).await.ok(200);
        page.items.into_iter().next().unwrap()
    };
    let whole = server.get(&format!("/api/v1/tasks/{}", long.id)).await;
    let whole: api::Task = whole.ok(200);
    assert_eq!(whole.text.chars().count(), 50);
    assert!(whole.cut.is_empty());
    assert_eq!(list("").await, whole);
    let both = [api::CutField::Text, api::CutField::Result];
    for (limit, cut) in [(0, &both[..]), (49, &both[..1]), (10_000, &[])] {
        let task = list(&format!("text_limit={limit}")).await;
        assert_eq!(task.text, "ä".repeat(limit.min(50)), "{limit}");
        if limit == 0 {
            assert_eq!(task.result.as_deref(), Some(""));
        }
        assert!(task.cut.starts_with(cut), "{limit}: {:?}", task.cut);
        assert_eq!(task.cut.is_empty(), cut.is_empty());
        assert_eq!(task.title, whole.title);
    }
    let waits = server.paused_project("b").await;
    server.task(waits, "wait").await;
    let queued = list(&format!("order=queue&project_id={waits}&text_limit=2")).await;
    assert_eq!((&*queued.text, &queued.cut[..]), ("wa", &both[..1]));
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
