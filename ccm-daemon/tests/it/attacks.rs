//! What has broken others that trusted "it is only localhost", tried on this one and kept.
//!
//! Requests are written byte by byte, as a browser that was led astray, or somebody without a browser, sends them.

use std::os::unix::fs::symlink;

use ccm_core::id::RunId;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DOCUMENT, PATIENCE, Server};

/// The answer to the lines of a request. `PORT` and `TOKEN` in them are the server's.
async fn raw(server: &Server, lines: &[&str], body: &str) -> (u16, String) {
    let mut request = lines.join("\r\n");
    if !body.is_empty() {
        request.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    request.push_str("\r\nConnection: close\r\n\r\n");
    let request = request
        .replace("PORT", &server.address.port().to_string())
        .replace("TOKEN", &server.token)
        + body;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A refusal that closes the connection with something unread is one, too.
    let _ = read.expect("an end");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.unwrap_or(0), answer)
}

/// DNS rebinding: the attacker's name leads here, and its page is of the same origin as we are.
#[tokio::test]
async fn a_name_that_was_rebound_to_this_address_opens_nothing() {
    let server = Server::start().await;
    for (path, more) in [
        ("GET /", ""),
        ("GET /icon.svg", ""),
        ("GET /health", ""),
        ("GET /sign-in?code=0", ""),
        ("GET /api/v1/reference", ""),
        ("GET /api/v1/status", "Authorization: Bearer TOKEN"),
        ("GET /api/v1/events", "Authorization: Bearer TOKEN"),
        ("POST /api/v1/reload", "Authorization: Bearer TOKEN"),
    ] {
        let line = format!("{path} HTTP/1.1");
        let mut lines = vec![
            line.as_str(),
            "Host: rebound.example:PORT",
            "Origin: http://rebound.example:PORT",
            "Sec-Fetch-Site: same-origin",
        ];
        lines.extend(Some(more).filter(|more| !more.is_empty()));
        let (status, answer) = raw(&server, &lines, "").await;
        assert_eq!(status, 403, "{path}: {answer}");
    }
}

/// Another site's form or `fetch` without permission: simple requests that browsers send unasked.
#[tokio::test]
async fn a_form_or_a_fetch_of_another_site_changes_nothing() {
    let server = Server::start().await;
    let project = server.paused_project("repo").await;
    let body = format!("{{\"project_id\":\"{project}\",\"text\":\"owned\"}}");
    for kind in [
        "text/plain",
        "text/plain; charset=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/jsonp",
    ] {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:1",
            "http://127.0.0.1",
        ] {
            let (kind, origin) = (format!("Content-Type: {kind}"), format!("Origin: {origin}"));
            let lines = [
                "POST /api/v1/tasks HTTP/1.1",
                "Host: localhost:PORT",
                &origin,
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Mode: no-cors",
                &kind,
            ];
            let (status, answer) = raw(&server, &lines, &body).await;
            assert_eq!(status, 403, "{answer}");
        }
        // Even whoever has the token must say that it is JSON.
        let kind = format!("Content-Type: {kind}");
        let lines = [
            "POST /api/v1/tasks HTTP/1.1",
            "Host: localhost:PORT",
            "Authorization: Bearer TOKEN",
            &kind,
        ];
        assert_eq!(raw(&server, &lines, &body).await.0, 415, "{kind}");
    }
    // A navigation, an image, a link that is fetched ahead: no Origin, no header of one's own.
    for path in ["/api/v1/tasks", "/api/v1/shutdown", "/api/v1/events"] {
        let line = format!("GET {path} HTTP/1.1");
        let lines = [&*line, "Host: localhost:PORT", "Sec-Fetch-Site: cross-site"];
        assert_eq!(raw(&server, &lines, "").await.0, 401, "{path}");
    }
    let tasks: Value = server.get("/api/v1/tasks").await.ok(200);
    assert_eq!(tasks["items"], json!([]));
    assert!(!server.app.stopping().is_cancelled());
}

/// Permission that nobody gives: no preflight is answered, whatever is asked for.
#[tokio::test]
async fn no_preflight_is_granted() {
    let server = Server::start().await;
    for path in ["/api/v1/tasks", "/api/v1/events", "/health", "/"] {
        for origin in ["http://evil.example", "http://localhost:PORT", "null"] {
            let (line, origin) = (
                format!("OPTIONS {path} HTTP/1.1"),
                format!("Origin: {origin}"),
            );
            let lines = [
                &*line,
                "Host: localhost:PORT",
                &origin,
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: authorization, content-type",
                "Access-Control-Request-Private-Network: true",
            ];
            let (status, answer) = raw(&server, &lines, "").await;
            assert!(matches!(status, 401 | 403 | 405), "{path}: {answer}");
            let answer = answer.to_lowercase();
            assert!(!answer.contains("access-control-allow"), "{answer}");
        }
    }
}

/// A page of another site that opens a WebSocket: browsers ask for no permission, and send cookies along.
#[tokio::test]
async fn no_other_page_gets_a_websocket() {
    let server = Server::start().await;
    let line = format!("GET /api/v1/agents/{}/terminal HTTP/1.1", RunId::new());
    for (origin, more, wanted) in [
        (
            "Origin: http://evil.example",
            "Authorization: Bearer TOKEN",
            403,
        ),
        ("Origin: null", "Authorization: Bearer TOKEN", 403),
        (
            "Origin: http://localhost:1",
            "Authorization: Bearer TOKEN",
            403,
        ),
        (
            "Origin: http://localhost:PORT",
            "Cookie: ccm_session_PORT=0",
            401,
        ),
        ("Origin: http://localhost:PORT", "Accept: */*", 401),
        // The right one, to show that the others are refused for what is wrong with them.
        (
            "Origin: http://localhost:PORT",
            "Authorization: Bearer TOKEN",
            404,
        ),
    ] {
        let lines = [
            &*line,
            "Host: localhost:PORT",
            origin,
            more,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: ccm.terminal.v1",
        ];
        let (status, answer) = raw(&server, &lines, "").await;
        assert!(status != 101, "{origin}, {more}: {answer}");
        if wanted == 404 {
            assert!(!matches!(status, 401 | 403), "{answer}");
        } else {
            assert_eq!(status, wanted, "{origin}, {more}: {answer}");
        }
    }
}

/// Request smuggling and its relatives: a head that two programs could read in two ways.
#[tokio::test]
async fn a_head_with_two_meanings_is_refused() {
    let server = Server::start().await;
    let own = "Host: localhost:PORT";
    let auth = "Authorization: Bearer TOKEN";
    for lines in [
        &["GET /api/v1/status HTTP/1.1", own, own, auth][..],
        &[
            "GET /api/v1/status HTTP/1.1",
            own,
            "Host: evil.example",
            auth,
        ],
        &["GET /api/v1/status HTTP/1.1", own, auth, auth],
        &["GET /api/v1/status HTTP/1.1", auth],
        &[
            "GET http://localhost:PORT/api/v1/status HTTP/1.1",
            own,
            auth,
        ],
        &["GET //localhost:PORT/api/v1/status HTTP/1.1", own, auth],
        &[
            "POST /api/v1/reload HTTP/1.1",
            own,
            auth,
            "Content-Length: 1",
            "Content-Length: 2",
        ],
        &[
            "POST /api/v1/reload HTTP/1.1",
            own,
            auth,
            "Transfer-Encoding: chunked, identity",
        ],
        &[
            "GET /api/v1/status HTTP/1.1",
            own,
            auth,
            "X: a\nHost: evil.example\r",
        ],
        &["GET /api/v1/status HTTP/1.1", "Host : localhost:PORT", auth],
        &["GET /api/v1/status HTTP/1.1", " Host: localhost:PORT", auth],
    ] {
        let (status, answer) = raw(&server, lines, "").await;
        assert!(!(200..300).contains(&status), "{lines:?}: {answer}");
        assert!(status < 500, "{lines:?}: {answer}");
    }
}

/// Bodies without end or measure.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_not_kept() {
    let server = Server::start().await;
    let head = [
        "POST /api/v1/tasks HTTP/1.1",
        "Host: localhost:PORT",
        "Authorization: Bearer TOKEN",
        "Content-Type: application/json",
    ];
    let large = "[".repeat(8 * 1024 * 1024);
    assert_eq!(raw(&server, &head, &large).await.0, 413);
    // Deep enough to end a parser that calls itself.
    let deep = "[".repeat(1024 * 1024);
    assert_eq!(raw(&server, &head, &deep).await.0, 422);
    // A length that is announced and never comes close.
    let mut lines = head.to_vec();
    lines.push("Content-Length: 99999999999999999999");
    assert_eq!(raw(&server, &lines, "").await.0, 400);
    lines.pop();
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}: x")).collect();
    lines.extend(many.iter().map(String::as_str));
    assert_eq!(raw(&server, &lines, "").await.0, 431);
    assert_eq!(server.get("/api/v1/status").await.status, 200);
}

/// Every parameter of every path, with what leads elsewhere where paths are files.
#[tokio::test]
async fn no_parameter_leads_out_of_its_place() {
    let server = Server::start().await;
    let secret = server.home.path().join("ccm/token");
    let climb = "../".repeat(12) + secret.to_str().unwrap().trim_start_matches('/');
    let mut tried = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        if !path.contains('{') {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            for value in [
                "..",
                ".",
                "%2e%2e",
                "%2e%2e%2ftoken",
                "..%2f..%2ftoken",
                "..%5c..%5ctoken",
                "%00",
                "token%00",
                "%ff%fe",
                "%c0%ae%c0%ae",
                &climb.replace('/', "%2f"),
                &secret.to_str().unwrap().replace('/', "%2F"),
                "~",
                "$(id)",
                "'%20OR%20'1'='1",
                "%0d%0aX-Injected:%201",
            ] {
                let start = path.find('{').unwrap();
                let end = path.find('}').unwrap();
                let target = format!("{}{value}{}", &path[..start], &path[end + 1..]);
                let line = format!("{} {target} HTTP/1.1", method.to_uppercase());
                let lines = [
                    &*line,
                    "Host: localhost:PORT",
                    "Authorization: Bearer TOKEN",
                    "Content-Type: application/json",
                ];
                let (status, answer) = raw(&server, &lines, "").await;
                assert!((400..500).contains(&status), "{line}: {answer}");
                assert!(!answer.contains(&server.token), "{line}");
                assert!(!answer.to_lowercase().contains("\nx-injected"), "{answer}");
                tried += 1;
            }
        }
    }
    assert!(tried > 400, "{tried}");
}

/// A repository that links its `.ccm/` to somebody's secrets.
#[tokio::test]
async fn links_of_a_project_are_not_followed() {
    let server = Server::start().await;
    let secrets = server.home.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("config.yaml"), "name: stolen\n").unwrap();
    std::fs::write(secrets.join("project.json"), "{}").unwrap();
    let refused = |path: String| {
        let request = server.request(Method::POST, "/api/v1/projects");
        server.send(request.json(&json!({"path": path})))
    };
    let linked = server.home.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    symlink(&secrets, linked.join(".ccm")).unwrap();
    let told = refused(linked.display().to_string()).await;
    assert!(
        told.status == 422,
        "{}",
        String::from_utf8_lossy(&told.body)
    );
    assert!(!String::from_utf8_lossy(&told.body).contains("stolen"));
    for path in [
        "",
        "relative/path",
        "/nonexistent",
        "/dev/null",
        "/etc/passwd",
        "/proc/self/environ",
        "/\0",
    ] {
        let told = refused(path.to_owned()).await;
        assert!(
            (400..500).contains(&told.status.as_u16()),
            "{path:?}: {told:?}"
        );
    }
}
