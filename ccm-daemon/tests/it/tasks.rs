use ccm_core::api::{self, CancelAnswer, Page, RunStateName, TaskStateName};
use ccm_core::engine::EngineLimits;
use ccm_core::id::TaskId;
use ccm_core::task::Setback;
use ccm_core::time::{Clock, SystemClock};
use reqwest::Method;
use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn a_task_runs_and_its_run_can_be_read() {
    let server = Server::start().await;
    let project = server.project("repo-1").await;
    let task = server.task(project, "say hello").await;
    assert_eq!(task.project, "repo-1");
    assert_eq!(task.title, "say hello");
    assert_eq!(task.created_by, "api");

    let done = server.task_in(task.id, "succeeded").await;
    assert_eq!(done.result.as_deref(), Some("say hello"));
    let run_id = done.run_id.unwrap();
    let run: api::Run = server.get(&format!("/api/v1/runs/{run_id}")).await.ok(200);
    assert_eq!(run.state, RunStateName::Succeeded);
    assert_eq!(run.task_id, task.id);
    for filter in [
        format!("task_id={}", task.id),
        format!("agent_id={}", run.agent_id),
    ] {
        let runs: Page<api::Run> = server.get(&format!("/api/v1/runs?{filter}")).await.ok(200);
        assert_eq!(runs.items, vec![run.clone()]);
    }

    let log = server.get(&format!("/api/v1/runs/{run_id}/log")).await;
    assert_eq!(log.headers["content-type"], "application/octet-stream");
    assert_eq!(log.headers["x-log-offset"], "0");
    assert_eq!(log.headers["x-log-size"], "9");
    assert_eq!(log.body, b"say hello");
    let part = server
        .get(&format!(
            "/api/v1/runs/{run_id}/log?offset=4&limit=2&stream=out"
        ))
        .await;
    assert_eq!(part.headers["x-log-offset"], "4");
    assert_eq!(part.body, b"he");
    for (tail, offset, bytes) in [(5, "4", &b"hello"[..]), (99, "0", b"say hello")] {
        let path = format!("/api/v1/runs/{run_id}/log?tail={tail}");
        let end = server.get(&path).await;
        assert_eq!(end.headers["x-log-offset"], offset);
        assert_eq!(end.headers["x-log-size"], "9");
        assert_eq!(end.body, bytes);
    }
    let beyond = server
        .get(&format!("/api/v1/runs/{run_id}/log?offset=99&stream=err"))
        .await;
    assert_eq!((beyond.status.as_u16(), beyond.body.len()), (200, 0));
    for wrong in [
        "limit=0",
        "limit=1048577",
        "stream=both",
        "offset=-1",
        "tail=0",
        "tail=1&offset=1",
    ] {
        server
            .get(&format!("/api/v1/runs/{run_id}/log?{wrong}"))
            .await
            .problem("bad_request");
    }
}

#[tokio::test]
async fn a_created_task_says_where_it_is_and_who_made_it() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let request = server
        .request(Method::POST, "/api/v1/tasks")
        .header("x-ccm-client", "cli")
        .json(
            &json!({"project_id": project, "text": "x", "title": "T", "priority": -3, "tags": ["gpu"],
            "max_retries": 2, "timeout_s": 60, "not_before": "2100-01-01T00:00:00Z", "session": "continue"}),
        );
    let reply = server.send(request).await;
    let location = reply.headers["location"].to_str().unwrap().to_owned();
    let task: api::Task = reply.ok(201);
    assert_eq!(location, format!("/api/v1/tasks/{}", task.id));
    assert_eq!(task.created_by, "cli");
    assert_eq!(
        (task.priority, task.max_retries, task.timeout_s),
        (-3, 2, Some(60))
    );
    let again: api::Task = server.get(&location).await.ok(200);
    assert_eq!(again, task);
    for wrong in ["", "CLI", "a b", &"a".repeat(65)] {
        let request = server
            .request(Method::POST, "/api/v1/tasks")
            .header("x-ccm-client", wrong)
            .json(&json!({"project_id": project, "text": "x"}));
        server.send(request).await.problem("bad_request");
    }
}

#[tokio::test]
async fn cancel_ends_a_waiting_task_at_once_and_is_harmless_twice() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let task = server.task(project, "never").await;
    let path = format!("/api/v1/tasks/{}/cancel", task.id);
    for _ in 0..2 {
        let answer: CancelAnswer = server.poke(&path).await.ok(200);
        assert_eq!(answer.task.state, TaskStateName::Cancelled);
        assert!(!answer.stopping);
    }
}

#[tokio::test]
async fn cancel_stops_a_running_task() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = server.task(project, "hold").await;
    server.task_in(task.id, "running").await;
    let answer: CancelAnswer = server
        .poke(&format!("/api/v1/tasks/{}/cancel", task.id))
        .await
        .ok(200);
    assert!(answer.stopping);
    server.task_in(task.id, "cancelled").await;
}

#[tokio::test]
async fn cancelling_what_succeeded_is_refused() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = server.task(project, "once").await;
    server.task_in(task.id, "succeeded").await;
    let problem = server
        .poke(&format!("/api/v1/tasks/{}/cancel", task.id))
        .await
        .problem("wrong_state");
    assert!(problem.detail.contains("succeeded"), "{}", problem.detail);
}

#[tokio::test]
async fn retry_queues_an_ended_task_and_no_other() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = server.task(project, "once").await;
    server.task_in(task.id, "succeeded").await;
    let engine = server.app.engine();
    engine.pause_project(project, true).await.unwrap();
    let path = format!("/api/v1/tasks/{}/retry", task.id);
    let again: api::Task = server.poke(&path).await.ok(200);
    assert_eq!(again.state, TaskStateName::Queued);
    server.poke(&path).await.problem("wrong_state");
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let ask = |key: &'static str, body: serde_json::Value| {
        let request = server
            .request(Method::POST, "/api/v1/tasks")
            .header("Idempotency-Key", key)
            .json(&body);
        server.send(request)
    };
    let body = json!({"project_id": project, "text": "x", "priority": 1});
    let first = ask("k-1", body.clone()).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let first: api::Task = first.ok(201);
    // It went on meanwhile; the answer is still the first one.
    server
        .poke(&format!("/api/v1/tasks/{}/cancel", first.id))
        .await
        .ok::<CancelAnswer>(200);
    let reordered = json!({"text": "x", "priority": 1, "project_id": project});
    for body in [body, reordered] {
        let again = ask("k-1", body).await;
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.ok::<api::Task>(201), first);
    }
    ask("k-1", json!({"project_id": project, "text": "y"}))
        .await
        .problem("idempotency_key_reused");
    let other: api::Task = ask("k-2", json!({"project_id": project, "text": "x"}))
        .await
        .ok(201);
    assert_ne!(other.id, first.id);

    for wrong in ["", "with space", "\u{e4}", &"k".repeat(256)] {
        let request = server
            .request(Method::POST, "/api/v1/tasks")
            .header("Idempotency-Key", wrong.as_bytes())
            .json(&json!({"project_id": project, "text": "x"}));
        let problem = server.send(request).await.problem("bad_request");
        assert_eq!(problem.errors[0].pointer, "idempotency-key");
    }
}

#[tokio::test]
async fn a_full_queue_is_told_and_when_to_come_again() {
    let limits = EngineLimits {
        max_queued: 1,
        ..EngineLimits::default()
    };
    let server = Server::with_limits(limits).await;
    let project = server.paused_project("a").await;
    let body = json!({"project_id": project, "text": "x"});
    let keyed = || {
        let request = server
            .request(Method::POST, "/api/v1/tasks")
            .header("Idempotency-Key", "first");
        server.send(request.json(&body))
    };
    keyed().await.ok::<api::Task>(201);
    let refused = server.post("/api/v1/tasks", &body).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.problem("queue_full");
    // A repeated request is no new task.
    keyed().await.ok::<api::Task>(201);
}

#[tokio::test]
async fn a_waiting_task_of_a_held_project_says_why() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let task = server.task(project, "x").await;
    assert_eq!(task.reason, None);
    let reason = ccm_core::Reason::ConfigUntrusted;
    let hold = Setback::new(reason, "its settings changed");
    let store = server.app.engine().store();
    let held = store.hold_project(project, Some(hold), SystemClock.now());
    held.await.unwrap();
    let task: api::Task = server
        .get(&format!("/api/v1/tasks/{}", task.id))
        .await
        .ok(200);
    assert_eq!(task.reason, Some(reason));
    let tasks: Page<api::Task> = server.get("/api/v1/tasks").await.ok(200);
    assert_eq!(tasks.items, vec![task]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let id = TaskId::new();
    for (path, code) in [
        ("tasks/ID", "task_not_found"),
        ("runs/ID", "run_not_found"),
        ("runs/ID/log", "run_not_found"),
        ("projects/ID", "project_not_found"),
        ("projects/ID/trust", "project_not_found"),
        ("agents/ID", "agent_not_found"),
        ("agents/ID/attach", "agent_not_found"),
        ("agents?project_id=ID", "project_not_found"),
        ("systems/ID", "system_not_found"),
    ] {
        let path = format!("/api/v1/{}", path.replace("ID", &id.to_string()));
        let problem = server.get(&path).await.problem(code);
        assert!(
            problem.detail.contains(&id.to_string()),
            "{path}: {problem:?}"
        );
    }
    for (path, code) in [
        ("tasks/ID/cancel", "task_not_found"),
        ("tasks/ID/retry", "task_not_found"),
        ("projects/ID/pause", "project_not_found"),
        ("projects/ID/resume", "project_not_found"),
        ("projects/ID/refresh", "project_not_found"),
    ] {
        let path = format!("/api/v1/{}", path.replace("ID", &id.to_string()));
        server.poke(&path).await.problem(code);
    }
    server
        .post("/api/v1/tasks", &json!({"project_id": id, "text": "x"}))
        .await
        .problem("project_not_found");
    server
        .delete(&format!("/api/v1/projects/{id}"))
        .await
        .problem("project_not_found");
}
