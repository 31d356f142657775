//! Who is answered at all, byte by byte over a bare connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server};

/// The status and the body of the answer to `head`, a request of which every line is given but the connection's end.
async fn ask(server: &Server, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = head
        .replace("PORT", &server.address.port().to_string())
        .replace("TOKEN", &server.token);
    let request = format!(
        "{}\r\nConnection: close\r\n\r\n",
        head.replace('\n', "\r\n")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.unwrap_or(0), answer)
}

#[tokio::test]
async fn only_requests_for_this_daemon_are_answered() {
    let server = Server::start().await;
    let auth = "Authorization: Bearer TOKEN";
    for host in [
        "127.0.0.1:PORT",
        "localhost:PORT",
        "LocalHost:PORT",
        "[::1]:PORT",
        "box.example",
        "box.example:PORT",
    ] {
        let head = format!("GET /api/v1/status HTTP/1.1\nHost: {host}\n{auth}");
        let (status, answer) = ask(&server, &head).await;
        assert_eq!(status, 200, "{host}: {answer}");
    }
    for host in [
        "",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:1",
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1.evil.example:PORT",
        "box.example:1",
        "0.0.0.0:PORT",
    ] {
        // Not even what needs no token.
        for path in ["/health", "/api/v1/status", "/nowhere"] {
            let head = format!("GET {path} HTTP/1.1\nHost: {host}\n{auth}");
            let (status, answer) = ask(&server, &head).await;
            assert_eq!(status, 403, "{host}: {answer}");
            assert!(answer.contains("application/problem+json"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_host_must_come_once_and_in_its_header_alone() {
    let server = Server::start().await;
    for head in [
        "GET /health HTTP/1.1",
        "GET /health HTTP/1.0",
        "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nHost: 127.0.0.1:PORT",
        "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nHost: evil.example",
        "GET http://127.0.0.1:PORT/health HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET http://evil.example/health HTTP/1.1\nHost: 127.0.0.1:PORT",
        "CONNECT 127.0.0.1:PORT HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://evil.example",
        "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: null",
        "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://localhost:1",
    ] {
        let (status, answer) = ask(&server, head).await;
        assert_eq!(status, 403, "{head}: {answer}");
        assert!(answer.contains("\"code\":\"forbidden\""), "{answer}");
    }
    let own = "GET /health HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://localhost:PORT";
    assert_eq!(ask(&server, own).await.0, 200);
}

#[tokio::test]
async fn no_page_elsewhere_is_told_that_it_may_ask() {
    let server = Server::start().await;
    let preflight = "OPTIONS /api/v1/tasks HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://evil.example\n\
                     Access-Control-Request-Method: POST";
    let (status, answer) = ask(&server, preflight).await;
    assert_eq!(status, 403);
    assert!(
        !answer.to_lowercase().contains("access-control-allow"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_head_without_end_is_not_waited_for_and_not_kept() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let filler = "X-Filler: ".to_owned() + &"a".repeat(1000) + "\r\n";
    let start = "GET /health HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    stream.write_all(start.as_bytes()).await.unwrap();
    for _ in 0..200 {
        if stream.write_all(filler.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // Whether the answer or the end of the connection comes first is the network's choice.
    let _ = read.expect("the connection ends");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_slowly_is_not_waited_for() {
    let server = Server::start().await;
    let head = format!(
        "POST /api/v1/shutdown HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 9\r\n",
        server.address, server.token
    );
    for (sent, wanted) in [
        (format!("{head}\r\n{{"), "HTTP/1.1 408"),
        (head.clone(), ""),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut answer = vec![0; 1024];
        let count = stream.read(&mut answer).await.unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with(wanted), "{answer}");
        assert!(answer.is_empty() == wanted.is_empty(), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert!(!server.app.stopping().is_cancelled());
}
