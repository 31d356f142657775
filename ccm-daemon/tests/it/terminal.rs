//! Agents' terminals: who is refused before there is one. What is seen in one is tested with the programs.

use ccm_core::api::{Agent, Page, Problem};
use ccm_core::id::AgentId;
use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};

use crate::harness::{DOCUMENT, Server};

const PROTOCOL: &str = "ccm.terminal.v1";

fn request(server: &Server, path: &str) -> Request<()> {
    let url = format!("ws://{}{path}", server.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in [
        ("authorization", format!("Bearer {}", server.token)),
        ("sec-websocket-protocol", PROTOCOL.to_owned()),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

/// The problem that answers a request for a WebSocket.
async fn refused(request: Request<()>) -> Problem {
    let Err(Error::Http(answer)) = connect_async(request).await else {
        panic!("it was not refused with an answer");
    };
    let body = answer.body().clone().unwrap_or_default();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, answer.status().as_u16());
    let described = &DOCUMENT["paths"]["/api/v1/agents/{id}/terminal"]["get"]["responses"];
    assert!(
        described[answer.status().as_str()].is_object(),
        "{problem:?}"
    );
    problem
}

async fn agent(server: &Server) -> Agent {
    server.project("demo").await;
    let mut page: Page<Agent> = server.get("/api/v1/agents").await.ok(200);
    page.items.remove(0)
}

#[tokio::test]
async fn a_page_of_somebody_else_gets_no_terminal() {
    let server = Server::start().await;
    let path = format!(
        "/api/v1/agents/{}/terminal?input=true",
        agent(&server).await.id
    );
    for (header, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "ws://127.0.0.1"),
        ("host", "evil.example"),
        ("host", "127.0.0.1"),
    ] {
        let mut hijack = request(&server, &path);
        let value = HeaderValue::from_static(value);
        hijack.headers_mut().insert(header, value.clone());
        let problem = refused(hijack).await;
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (403, "forbidden"),
            "{header}: {value:?}"
        );
    }
    // Its own page is let on, as far as there is a terminal.
    let mut own = request(&server, &path);
    let origin = format!("http://{}", server.address).parse().unwrap();
    own.headers_mut().insert("origin", origin);
    assert_eq!(refused(own).await.code.as_str(), "unsupported");
}

#[tokio::test]
async fn without_the_token_there_is_no_terminal() {
    let server = Server::start().await;
    let path = format!("/api/v1/agents/{}/terminal", agent(&server).await.id);
    for token in [None, Some("Bearer"), Some("Bearer 00"), Some("Basic Og==")] {
        let mut request = request(&server, &path);
        request.headers_mut().remove("authorization");
        if let Some(token) = token {
            let token = HeaderValue::from_static(token);
            request.headers_mut().insert("authorization", token);
        }
        assert_eq!(refused(request).await.code.as_str(), "unauthorized");
    }
}

#[tokio::test]
async fn what_is_no_terminal_is_told() {
    let server = Server::start().await;
    let known = agent(&server).await.id;
    let path = |id: &dyn std::fmt::Display| format!("/api/v1/agents/{id}/terminal");
    for (path, code, words) in [
        (path(&AgentId::new()), "agent_not_found", "no agent"),
        (path(&"x"), "bad_request", "id"),
        (path(&known) + "?input=yes", "bad_request", "input"),
        (path(&known) + "?inputs=true", "bad_request", "inputs"),
        // Agents in memory have no windows.
        (path(&known), "unsupported", "agents.runtime"),
    ] {
        let problem = refused(request(&server, &path)).await;
        assert_eq!(problem.code.as_str(), code, "{problem:?}");
        let said = serde_json::to_string(&problem).unwrap();
        assert!(said.contains(words), "{problem:?}");
    }
    for protocol in [None, Some("ccm.terminal.v2")] {
        let mut request = request(&server, &path(&known));
        request.headers_mut().remove("sec-websocket-protocol");
        if let Some(protocol) = protocol {
            let protocol = HeaderValue::from_static(protocol);
            request
                .headers_mut()
                .insert("sec-websocket-protocol", protocol);
        }
        let problem = refused(request).await;
        assert_eq!(problem.code.as_str(), "bad_request");
        assert!(problem.detail.contains(PROTOCOL), "{problem:?}");
    }
    let plain = server.get(&path(&known)).await.problem("bad_request");
    assert!(plain.detail.contains("WebSocket"), "{plain:?}");
}

#[test]
fn its_messages_are_described() {
    let schemas = &DOCUMENT["components"]["schemas"];
    for name in ["TerminalMessage", "TerminalMessageScreen", "TerminalInput"] {
        assert!(schemas[name].is_object(), "{name}");
    }
    let operation = &DOCUMENT["paths"]["/api/v1/agents/{id}/terminal"]["get"];
    assert!(operation["responses"]["101"]["content"] == Value::Null);
}
