//! Everything that is not a success is a problem with a code and a sentence.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn paths_and_methods_that_are_none_are_problems_too() {
    let server = Server::start().await;
    for path in [
        "/nowhere",
        "/api/v1",
        "/api/v1/",
        "/api/v1/tasks/",
        "/api/v2/tasks",
        "/api/v1/../health",
    ] {
        let reply = server.get(path).await;
        if reply.status == 200 {
            // The client resolves dots itself.
            assert!(path.contains(".."));
            continue;
        }
        reply.problem("not_found");
    }
    for (method, path) in [
        (Method::DELETE, "/api/v1/tasks"),
        (Method::PUT, "/api/v1/tasks"),
        (Method::PATCH, "/api/v1/status"),
        (Method::POST, "/health"),
        (Method::OPTIONS, "/api/v1/tasks"),
    ] {
        let reply = server.send(server.request(method.clone(), path)).await;
        assert!(reply.headers.contains_key("allow"), "{method} {path}");
        reply.problem("method_not_allowed");
    }
}

#[tokio::test]
async fn ids_that_are_none_are_told() {
    let server = Server::start().await;
    for path in [
        "tasks/x",
        "runs/1/log",
        "projects/%00",
        "agents/a%2Fb",
        "systems/%ff",
    ] {
        let reply = server.get(&format!("/api/v1/{path}")).await;
        reply.problem("bad_request");
    }
}

#[tokio::test]
async fn a_body_must_be_json_and_say_so() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let good = json!({"project_id": project, "text": "x"}).to_string();
    let send = async |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = server.request(Method::POST, "/api/v1/tasks").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        server.send(request).await
    };
    let json = Some("application/json");
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
        Some("multipart/form-data; boundary=application/json"),
    ] {
        let reply = send(content_type, good.clone().into_bytes()).await;
        reply.problem("unsupported_media_type");
    }
    let charset = Some("Application/JSON; charset=utf-8");
    assert_eq!(send(charset, good.clone().into_bytes()).await.status, 201);
    for body in [&b""[..], b"{", b"{\"text\": \xff}", b"nope", b"{} x"] {
        let reply = send(json, body.to_vec()).await;
        let code = if body == b"{} x" {
            "invalid"
        } else {
            "bad_request"
        };
        reply.problem(code);
    }
    let wrong = |body: Value| send(json, body.to_string().into_bytes());
    for (body, pointer) in [
        (json!({"project_id": project}), ""),
        (json!({"project_id": "x", "text": "a"}), "/project_id"),
        (json!({"project_id": project, "text": 3}), "/text"),
        (
            json!({"project_id": project, "text": "a", "priority": 1.5}),
            "/priority",
        ),
        (
            json!({"project_id": project, "text": "a", "tags": ["a", 1]}),
            "/tags/1",
        ),
        (
            json!({"project_id": project, "text": "a", "not_before": "soon"}),
            "/not_before",
        ),
    ] {
        let problem = wrong(body).await.problem("invalid");
        assert_eq!(problem.errors[0].pointer, pointer, "{problem:?}");
    }
    let unknown = json!({"project_id": project, "text": "a", "colour": "red"});
    let problem = wrong(unknown).await.problem("invalid");
    assert!(problem.detail.contains("colour"), "{problem:?}");
}

#[tokio::test]
async fn texts_that_are_not_allowed_are_refused_with_the_reason() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let create = async |text: &str| {
        let body = json!({"project_id": project, "text": text});
        server.post("/api/v1/tasks", &body).await
    };
    for (text, part) in [
        ("", "empty"),
        ("a\0b", "NUL character at byte 1"),
        (
            &"x".repeat(1024 * 1024 + 1),
            "1048577 bytes, and at most 1048576",
        ),
    ] {
        let problem = create(text).await.problem("invalid");
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
    let longest = "\u{1}".repeat(1024 * 1024);
    let task: ccm_core::api::Task = create(&longest).await.ok(201);
    assert_eq!(task.text, longest);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_client_gets_to_know() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let mut body = json!({"project_id": project, "text": "x"}).to_string();
    body.push_str(&" ".repeat(6 * 1024 * 1024 + 64 * 1024));
    let reply = server
        .send(
            server
                .request(Method::POST, "/api/v1/tasks")
                .header("content-type", "application/json")
                .body(body),
        )
        .await;
    let problem = reply.problem("too_large");
    assert!(problem.detail.contains("1 MiB"), "{}", problem.detail);
}
