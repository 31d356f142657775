use std::sync::{Arc, Mutex};

use ccm_cli::client::{Client, Endpoint, Error, EventFilter, Notice};
use ccm_core::api::{CreateProject, ProblemCode, Shutdown};
use ccm_core::event::Cursor;
use ccm_core::id::{LogId, Seq};

use crate::server::{Server, Turn, header, json};

const PROJECT: &str = r#"{"id":"019aa7a0-0000-7000-8000-000000000001","name":"p","path":"/p","system_id":"019aa7a0-0000-7000-8000-000000000002","state":"active","detail":null,"queued":0,"running":0,"created_at":"2026-01-31T12:00:00Z"}"#;

fn client(server: &Server) -> Client {
    Client::new(&Endpoint::new(&server.url, "secret")).unwrap()
}

fn registered() -> Turn {
    let agent = r#"{"id":"019aa7a0-0000-7000-8000-000000000003","project_id":"019aa7a0-0000-7000-8000-000000000001","name":"p","driver":null,"mode":null,"state":"idle","detail":null,"since":"2026-01-31T12:00:00Z","evidence":{"source":"engine","seen_at":"2026-01-31T12:00:00Z"},"run_id":null,"window":null,"pid":null,"memory_bytes":null,"cpu_percent":null}"#;
    json(
        "201 Created",
        "application/json",
        &format!(r#"{{"project":{PROJECT},"agent":{agent},"created":true,"moved":false}}"#),
    )
}

fn wish() -> CreateProject {
    CreateProject {
        path: "/p".to_owned(),
        name: None,
    }
}

#[tokio::test]
async fn a_create_that_breaks_off_is_sent_again_with_the_same_key() {
    let server = Server::new(vec![Turn::Hang, Turn::Hang, registered()]);
    let client = client(&server);
    assert!(client.create_project(&wish()).await.unwrap().created);
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| header(request, "idempotency-key").unwrap())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(
        requests
            .iter()
            .all(|request| request.ends_with(r#"{"path":"/p"}"#))
    );
    assert_eq!(
        header(&requests[0], "authorization").unwrap(),
        "Bearer secret"
    );
    assert_eq!(header(&requests[0], "x-ccm-client").unwrap(), "client");
}

#[tokio::test]
async fn every_create_has_a_key_of_its_own() {
    let server = Server::new(vec![registered(), registered()]);
    let client = client(&server);
    client.create_project(&wish()).await.unwrap();
    client.create_project(&wish()).await.unwrap();
    let requests = server.requests();
    assert_ne!(
        header(&requests[0], "idempotency-key"),
        header(&requests[1], "idempotency-key")
    );
}

#[tokio::test]
async fn what_must_not_happen_twice_is_sent_once() {
    let server = Server::new(vec![Turn::Hang]);
    let client = client(&server);
    let error = client.shutdown(&Shutdown::default()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn errors_tell_refusals_strangers_and_silence_apart() {
    let problem = r#"{"type":"/problems#queue_full","title":"The queue is full","status":429,"detail":"the queue holds 1000 tasks","code":"queue_full","new":1}"#;
    let server = Server::new(vec![
        json("429 Too Many", "application/problem+json", problem),
        json("404 Not Found", "text/html", "<html>"),
        json("200 OK", "application/json", "{\"hello\":1}"),
    ]);
    let client = client(&server);
    let refused = client.status().await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::QueueFull));
    assert_eq!(refused.to_string(), "the queue holds 1000 tasks");
    assert!(matches!(
        client.status().await.unwrap_err(),
        Error::Foreign { .. }
    ));
    assert!(matches!(
        client.status().await.unwrap_err(),
        Error::Foreign { .. }
    ));
    server.requests();
    assert!(client.status().await.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let page = |token: &str| {
        let body = format!(r#"{{"items":[{PROJECT},{PROJECT}]{token}}}"#);
        json("200 OK", "application/json", &body)
    };
    let server = Server::new(vec![page(r#","next_page_token":"a b""#), page("")]);
    assert_eq!(client(&server).projects().all().await.unwrap().len(), 4);
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /api/v1/projects HTTP"));
    assert!(
        requests[1].starts_with("GET /api/v1/projects?page_token=a+b HTTP"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_daemon_that_moved_is_found_again() {
    let gone = Server::new(vec![]);
    let old = gone.url.clone();
    gone.requests();
    let server = Server::new(vec![json("200 OK", "application/json", PROJECT)]);
    let new = server.url.clone();
    let locate = Arc::new(move || Some(Endpoint::new(&new, "secret")));
    let client = Client::with(&Endpoint::new(&old, "secret"), "cli", Some(locate)).unwrap();
    let id = "019aa7a0-0000-7000-8000-000000000001".parse().unwrap();
    assert_eq!(client.project(id).await.unwrap().name, "p");
    server.requests();
}

#[tokio::test]
async fn the_event_stream_goes_on_where_it_broke_off() {
    let log = LogId::new();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let event = |seq: u64| {
        format!(
            "id: {log}:{seq}\nevent: task.created\ndata: {{\"seq\":{seq},\"time\":\"2026-01-31T12:00:00Z\",\"kind\":\"task.created\",\"data\":{{}}}}\n\n"
        )
    };
    let unknown = format!("id: {log}:3\nevent: x\ndata: {{\"kind\":\"of.tomorrow\"}}\n\n");
    let second = event(2);
    let (half, rest) = second.split_at(30);
    let gone = r#"{"type":"/problems#resync","title":"gone","status":410,"detail":"gone","code":"resync"}"#;
    let server = Server::new(vec![
        Turn::Pieces(vec![
            head.to_owned(),
            format!(": heartbeat\nid: {log}:0\n\n"),
            event(1),
            half.to_owned(),
        ]),
        Turn::Pieces(vec![
            head.to_owned(),
            half.to_owned(),
            rest.to_owned(),
            unknown,
        ]),
        json("410 Gone", "application/problem+json", gone),
        Turn::Pieces(vec![head.to_owned(), event(9)]),
    ]);
    let place = Mutex::new(server.url.clone());
    let locate = Arc::new(move || Some(Endpoint::new(&*place.lock().unwrap(), "secret")));
    let client = Client::with(&Endpoint::new(&server.url, "secret"), "cli", Some(locate)).unwrap();
    let after = Cursor { log, seq: Seq(0) };
    let mut stream = client.events(Some(after), &EventFilter::default());
    let mut told = Vec::new();
    while told.last() != Some(&"9".to_owned()) {
        told.push(match stream.next().await.unwrap() {
            Notice::Open => "open".to_owned(),
            Notice::Event { cursor, event } => {
                assert_eq!(cursor.seq, event.seq);
                event.seq.to_string()
            }
            Notice::Lost(_) => "lost".to_owned(),
            Notice::Resync => "resync".to_owned(),
            _ => unreachable!(),
        });
    }
    assert_eq!(
        told,
        [
            "open", "1", "lost", "open", "2", "lost", "resync", "open", "9"
        ]
    );
    let places: Vec<_> = server
        .requests()
        .iter()
        .map(|request| header(request, "last-event-id").unwrap_or_default())
        .collect();
    let at = |seq| format!("{log}:{seq}");
    assert_eq!(places, [at(0), at(1), at(3), String::new()]);
}
