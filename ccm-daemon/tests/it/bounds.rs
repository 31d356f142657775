//! Values beyond the limits that the description names are refused, and those at a limit are not.

use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn a_task_has_limits() {
    let server = Server::start().await;
    let project = server.paused_project("demo").await;
    let create = |with: (&'static str, Value)| {
        let mut body = json!({"project_id": project, "text": "a"});
        body[with.0] = with.1;
        body
    };
    for (field, good, bad) in [
        ("max_retries", json!(100), json!(101)),
        ("timeout_s", json!(31_622_400), json!(31_622_401)),
        ("timeout_s", json!(1), json!(0)),
        ("title", json!("é".repeat(200)), json!("é".repeat(201))),
        ("tags", json!(vec!["a"; 32]), json!(vec!["a"; 33])),
        ("tags", json!(["a".repeat(64)]), json!(["a".repeat(65)])),
        ("tags", json!(["büro"]), json!(["a b"])),
        (
            "not_before",
            json!("2100-01-01T00:00:00Z"),
            json!(format!("2100-01-01T00:00:00{}Z", " ".repeat(64))),
        ),
    ] {
        server
            .post("/api/v1/tasks", &create((field, good.clone())))
            .await
            .ok::<Value>(201);
        let refused = server
            .post("/api/v1/tasks", &create((field, bad.clone())))
            .await;
        assert_eq!(refused.status, 422, "{field}: {bad}");
        refused.problem("invalid");
    }
}

#[tokio::test]
async fn a_query_has_limits() {
    let server = Server::start().await;
    let project = server.paused_project("demo").await;
    let task = server.task(project, "a").await;
    let run = "/api/v1/runs/01890000-0000-7000-8000-000000000000";
    let many = |count: usize| vec!["queued"; count].join(",");
    for (good, bad) in [
        (
            format!("/api/v1/tasks?state={}", many(64)),
            format!("/api/v1/tasks?state={}", many(65)),
        ),
        (
            "/api/v1/tasks?skip=1000000".to_owned(),
            "/api/v1/tasks?skip=1000001".to_owned(),
        ),
        (
            "/api/v1/tasks?text_limit=10000".to_owned(),
            "/api/v1/tasks?text_limit=10001".to_owned(),
        ),
        (
            format!("/api/v1/tasks?q={}", "a".repeat(200)),
            format!("/api/v1/tasks?q={}", "a".repeat(201)),
        ),
        (
            format!("/api/v1/projects?name={}", "a".repeat(4096)),
            format!("/api/v1/projects?name={}", "a".repeat(4097)),
        ),
        (
            format!("{run}/log?offset={}", i64::MAX),
            format!("{run}/log?offset={}", i64::MAX as u64 + 1),
        ),
        (
            format!("{run}/log?tail=1048576"),
            format!("{run}/log?tail=1048577"),
        ),
        (
            format!("{run}/transcript?after=0"),
            format!("{run}/transcript?after=-1"),
        ),
        (
            format!("/api/v1/runs?task_id={}", task.id),
            "/api/v1/runs?task_id=1".to_owned(),
        ),
    ] {
        let status = server.get(&good).await.status;
        assert!(status == 200 || status == 404, "{good}: {status}");
        server.get(&bad).await.problem("bad_request");
    }
}

#[tokio::test]
async fn only_so_many_agents_are_named_at_once() {
    let server = Server::start().await;
    let agents =
        |count: usize| json!({"agents": vec!["01890000-0000-7000-8000-000000000000"; count]});
    server
        .post("/api/v1/agents/cleanup", &agents(1000))
        .await
        .problem("agent_not_found");
    server
        .post("/api/v1/agents/cleanup", &agents(1001))
        .await
        .problem("invalid");
}
