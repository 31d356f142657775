//! The event stream: from a place, with filters, over a restart, and with readers that don't read.

use std::time::Duration;

use ccm_core::api::{CreateTask, Event, EventKind, Status};
use ccm_core::event::Cursor;
use ccm_core::id::{LogId, ProjectId, Seq, TaskId};
use ccm_core::store::{CreateTasks, NewTask};
use ccm_core::task::{TaskSpec, TaskText, Title};
use ccm_core::time::{Clock, SystemClock};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::harness::{PATIENCE, Server};

/// One frame of a stream.
#[derive(Debug, Clone, Default)]
struct Frame {
    id: Option<Cursor>,
    event: Option<String>,
    data: Option<String>,
}

impl Frame {
    fn event(&self) -> Event {
        let event: Event = serde_json::from_str(self.data.as_deref().unwrap()).unwrap();
        assert_eq!(self.event.as_deref(), Some(event.kind.as_str()));
        assert_eq!(self.id.map(|id| id.seq), Some(event.seq));
        event
    }
}

/// An open stream.
struct Stream {
    response: reqwest::Response,
    bytes: Vec<u8>,
}

impl Stream {
    async fn open(server: &Server, query: &str, last: Option<Cursor>) -> Self {
        let path = format!("/api/v1/events{query}");
        let mut request = server.request(Method::GET, &path);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            bytes: Vec::new(),
        }
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return Some(parse(std::str::from_utf8(&frame[..end]).unwrap()));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            let chunk = chunk.await.expect("something comes").ok()??;
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// The next event, whatever comes in between.
    async fn event(&mut self) -> Option<(Cursor, Event)> {
        loop {
            let frame = self.next().await?;
            if frame.data.is_some() {
                return Some((frame.id.unwrap(), frame.event()));
            }
        }
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => frame.id = Some(id.parse().unwrap()),
            Some(("event", event)) => frame.event = Some(event.to_owned()),
            Some(("data", data)) => frame.data = Some(data.to_owned()),
            Some(("", _)) => {}
            _ => panic!("not a line of a stream: {line:?}"),
        }
    }
    frame
}

async fn log(server: &Server) -> Cursor {
    let status: Status = server.get("/api/v1/status").await.ok(200);
    Cursor {
        log: status.log.log_id,
        seq: status.log.seq,
    }
}

async fn create(server: &Server, project: ProjectId, count: usize, text: &str) {
    let tasks = (0..count).map(|_| CreateTask::new(project, text));
    let created = server
        .app
        .engine()
        .create_tasks(tasks.collect(), "test", None);
    created.await.unwrap();
}

#[tokio::test]
async fn every_kind_of_event_can_be_asked_for() {
    let server = Server::start().await;
    for kind in EventKind::ALL {
        let frame = Stream::open(&server, &format!("?kind={kind}"), None)
            .await
            .next()
            .await;
        assert!(frame.is_some(), "{kind}");
    }
}

#[tokio::test]
async fn without_a_place_it_tells_what_happens_from_now_on() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    create(&server, project, 1, "before").await;
    let head = log(&server).await;
    let mut stream = Stream::open(&server, "", None).await;
    // Said at once: whoever is cut off before the first event can go on from here.
    let first = stream.next().await.unwrap();
    assert_eq!((first.id, first.data), (Some(head), None));
    create(&server, project, 1, "after").await;
    let (cursor, event) = stream.event().await.unwrap();
    assert_eq!(cursor.seq.0, head.seq.0 + 1);
    assert_eq!(event.kind.as_str(), "task.created");
    assert_eq!(event.data["title"], "after");
}

#[tokio::test]
async fn filters_choose_and_still_move_the_place_on() {
    let server = Server::start().await;
    let a = server.paused_project("a").await;
    let b = server.paused_project("b").await;
    let begin = Cursor {
        seq: Seq(0),
        ..log(&server).await
    };
    let task = server.task(a, "one").await;
    create(&server, b, 3, "other").await;
    let cancelled = format!("/api/v1/tasks/{}/cancel", task.id);
    server.poke(&cancelled).await;
    for (query, wanted) in [
        (
            format!("task_id={}", task.id),
            vec!["task.created", "task.cancelled"],
        ),
        (
            format!("project_id={b}&kind=task.created"),
            vec!["task.created"; 3],
        ),
        (
            format!("project_id={a}&kind=task.cancelled,task.created"),
            vec!["task.created", "task.cancelled"],
        ),
    ] {
        let query = format!("?after={begin}&{query}");
        let mut stream = Stream::open(&server, &query, None).await;
        for kind in wanted {
            let (_, event) = stream.event().await.unwrap();
            assert_eq!(event.kind.as_str(), kind, "{query}");
        }
    }
    for wrong in [
        "after=x",
        "after=1",
        "kind=nope",
        "kind=",
        "task_id=1",
        "colour=red",
    ] {
        server
            .get(&format!("/api/v1/events?{wrong}"))
            .await
            .problem("bad_request");
    }
    let wrong = server
        .request(Method::GET, "/api/v1/events")
        .header("last-event-id", "7");
    server.send(wrong).await.problem("bad_request");
}

#[tokio::test]
async fn a_place_that_is_not_in_the_log_is_told() {
    let server = Server::start().await;
    let head = log(&server).await;
    let ahead = Cursor {
        seq: Seq(head.seq.0 + 1),
        ..head
    };
    let foreign = Cursor {
        log: LogId::new(),
        ..head
    };
    for wrong in [ahead, foreign] {
        let problem = server
            .get(&format!("/api/v1/events?after={wrong}"))
            .await
            .problem("resync");
        assert!(
            problem.detail.contains(&head.to_string()),
            "{}",
            problem.detail
        );
    }
    // The header counts, not the query.
    let request = server
        .request(Method::GET, &format!("/api/v1/events?after={head}"))
        .header("last-event-id", ahead.to_string());
    server.send(request).await.problem("resync");
}

#[tokio::test]
async fn a_reader_misses_nothing_and_sees_nothing_twice_over_a_restart() {
    let mut server = Server::start().await;
    let project = server.paused_project("a").await;
    let mut last = Cursor {
        seq: Seq(0),
        ..log(&server).await
    };
    let mut seen = Vec::new();
    for round in 0..3 {
        create(&server, project, 300, "x").await;
        let head = log(&server).await;
        let mut stream = Stream::open(&server, "", Some(last)).await;
        // Cut off in mid-stream in all rounds but the last.
        let enough = if round == 2 {
            head.seq.0
        } else {
            head.seq.0 - 100
        };
        while last.seq.0 < enough {
            let (cursor, event) = stream.event().await.unwrap();
            seen.push(event.seq.0);
            last = cursor;
        }
        if round == 1 {
            drop(stream);
            server = server.restart().await;
        } else if round == 0 {
            // The server ends the stream, and what it had sent already still counts.
            let (restarted, rest) = tokio::join!(server.restart(), async {
                let mut rest = Vec::new();
                while let Some(event) = stream.event().await {
                    rest.push(event);
                }
                rest
            });
            server = restarted;
            for (cursor, event) in rest {
                seen.push(event.seq.0);
                last = cursor;
            }
        }
    }
    let wanted: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, wanted);
    assert!(seen.len() > 900);
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_nobody_up_and_misses_nothing() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let begin = Cursor {
        seq: Seq(0),
        ..log(&server).await
    };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut slow = socket.connect(server.address).await.unwrap();
    let request = format!(
        "GET /api/v1/events?after={begin} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        server.address, server.token
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    // More than the buffers of a connection hold.
    let mut spec = TaskSpec::new(TaskText::new("x").unwrap());
    spec.title = Title::new("\u{1f980}".repeat(200)).unwrap();
    let task = || NewTask {
        id: TaskId::new(),
        project_id: project,
        spec: spec.clone(),
    };
    let tasks = CreateTasks {
        tasks: std::iter::repeat_with(task).take(8000).collect(),
        created_by: "test".to_owned(),
        key: None,
        max_queued: 100_000,
        now: SystemClock.now(),
    };
    let store = server.app.engine().store();
    store.create_tasks(tasks).await.unwrap();
    let head = log(&server).await;
    let mut quick = Stream::open(&server, &format!("?after={begin}"), None).await;
    let mut last = 0;
    while last < head.seq.0 {
        last = quick.event().await.unwrap().0.seq.0;
    }
    let marker = format!("id: {head}\n");
    let mut tail = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while !tail
        .windows(marker.len())
        .any(|part| part == marker.as_bytes())
    {
        let read = tokio::time::timeout(PATIENCE, slow.read(&mut buffer));
        let count = read.await.expect("the stream goes on").unwrap();
        assert_ne!(count, 0, "the stream ended");
        // Only what the marker may begin in is looked at again.
        tail.drain(..tail.len().saturating_sub(marker.len()));
        tail.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_hundred_readers_get_an_event_each() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = Stream::open(&server, "", None).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    create(&server, project, 1, "for all").await;
    for stream in &mut streams {
        let (_, event) = stream.event().await.unwrap();
        assert_eq!(event.data["title"], "for all");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_has_a_heartbeat() {
    let server = Server::start().await;
    let head = log(&server).await;
    let mut stream = Stream::open(&server, "", None).await;
    stream.next().await.unwrap();
    let begun = tokio::time::Instant::now();
    let beat = stream.next().await.unwrap();
    assert_eq!((beat.id, beat.data), (Some(head), None));
    assert!(begun.elapsed() >= Duration::from_secs(14));
}
