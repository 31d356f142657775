//! The event stream with many readers, of whom some do not read, and with readers who were away for long.

use std::net::SocketAddr;

use ccm_core::event::{Cursor, Event};
use ccm_core::id::{ProjectId, Seq, TaskId};
use ccm_core::store::{CreateTasks, EventQuery, NewTask};
use ccm_core::task::{TaskSpec, TaskText, Title};
use ccm_core::time::{Clock, SystemClock};
use ccm_daemon::http;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::harness::{PATIENCE, Server};

/// Where the daemon is, and what it wants to be shown.
#[derive(Clone)]
struct Place {
    address: SocketAddr,
    token: String,
}

impl Place {
    fn of(server: &Server) -> Self {
        Self {
            address: server.address,
            token: server.token.clone(),
        }
    }
}

/// A stream on a bare connection, which holds no more than it was asked to read.
struct Connection {
    stream: BufReader<TcpStream>,
    /// How much of a chunk is still to come.
    chunk: usize,
}

impl Connection {
    async fn open(place: &Place, query: &str, after: Cursor) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // So that what a reader does not read soon stays with the daemon.
        socket.set_recv_buffer_size(8 * 1024)?;
        let mut stream = BufReader::with_capacity(4096, socket.connect(place.address).await?);
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nLast-Event-ID: {after}\r\n\r\n",
            place.address, place.token
        );
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        Ok(Self { stream, chunk: 0 })
    }

    /// The next part of the body; `None` at its end, however that came about.
    async fn part(&mut self) -> Option<Vec<u8>> {
        if self.chunk == 0 {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.ok()?;
            self.chunk = usize::from_str_radix(line.trim_end(), 16).ok()?;
            if self.chunk == 0 {
                return None;
            }
        }
        let mut part = vec![0; self.chunk.min(4096)];
        let count = self
            .stream
            .read(&mut part)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        part.truncate(count);
        self.chunk -= count;
        if self.chunk == 0 {
            self.stream.read_exact(&mut [0; 2]).await.ok()?;
        }
        Some(part)
    }
}

/// Somebody who wants every event, once and in order, over any number of connections.
struct Reader {
    place: watch::Receiver<Place>,
    after: Cursor,
    /// Seen on this connection and not whole yet.
    rest: Vec<u8>,
}

impl Reader {
    fn new(place: &watch::Sender<Place>, after: Cursor) -> Self {
        Self {
            place: place.subscribe(),
            after,
            rest: Vec::new(),
        }
    }

    async fn connect(&mut self) -> Connection {
        loop {
            let place = self.place.borrow_and_update().clone();
            self.rest.clear();
            match Connection::open(&place, "", self.after).await {
                Ok(connection) => return connection,
                // The daemon is between its ends; the next one says where it is.
                Err(_) => self.place.changed().await.unwrap(),
            }
        }
    }

    /// Reads until it has seen `last`.
    async fn until(mut self, mut connection: Connection, last: Seq) -> Seq {
        while self.after.seq < last {
            match connection.part().await {
                Some(part) => self.take(&part),
                None => connection = self.connect().await,
            }
        }
        self.after.seq
    }

    fn take(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
        let mut begin = 0;
        while let Some(length) = find(&self.rest[begin..], b"\n\n") {
            let frame = std::str::from_utf8(&self.rest[begin..begin + length]).unwrap();
            begin += length + 2;
            let Some(text) = frame.strip_prefix("id: ") else {
                assert!(frame.starts_with(": "), "{frame}");
                continue;
            };
            let id: Cursor = text.lines().next().unwrap().parse().unwrap();
            // Exactly once and in order.
            assert_eq!(id.seq.0, self.after.seq.0 + 1);
            assert_eq!(id.log, self.after.log);
            self.after = id;
        }
        self.rest.drain(..begin);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// Thousands of connections need more descriptors than a process begins with.
fn allow_descriptors(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        hard >= count,
        "this needs a hard limit of {count} open files (ulimit -Hn)"
    );
    setrlimit(Resource::RLIMIT_NOFILE, count, hard).unwrap();
}

async fn head(server: &Server) -> Cursor {
    let log = server.store_handle().log().await.unwrap();
    Cursor {
        log: log.log,
        seq: log.head,
    }
}

/// Makes events of about a kilobyte, by one commit.
async fn make_events(server: &Server, project: ProjectId, count: usize) {
    let mut spec = TaskSpec::new(TaskText::new("x").unwrap());
    spec.title = Title::new("\u{1f980}".repeat(200)).unwrap();
    let task = || NewTask {
        id: TaskId::new(),
        project_id: project,
        spec: spec.clone(),
    };
    let tasks = CreateTasks {
        tasks: std::iter::repeat_with(task).take(count).collect(),
        created_by: "test".to_owned(),
        key: None,
        max_queued: 1_000_000,
        now: SystemClock.now(),
    };
    server.store_handle().create_tasks(tasks).await.unwrap();
}

#[tokio::test]
async fn a_thousand_readers_fast_and_slow_get_everything_once_over_a_restart() {
    const FAST: usize = 800;
    const SLOW: usize = 200;
    allow_descriptors(4096);
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let begin = head(&server).await;
    let place = watch::Sender::new(Place::of(&server));
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for n in 0..FAST + SLOW {
        let mut reader = Reader::new(&place, begin);
        let connection = reader.connect().await;
        let readers = if n < FAST { &mut fast } else { &mut slow };
        readers.push((reader, connection));
    }
    // More than the sockets of a connection hold, in commits of all sizes.
    for count in [1, 2, 50, 1, 100, 1, 145] {
        make_events(&server, project, count).await;
    }
    let first = head(&server).await;
    // Those who don't read hold up none of those who do.
    let reading = fast
        .into_iter()
        .map(|(reader, connection)| tokio::spawn(reader.until(connection, first.seq)));
    for reader in reading.collect::<Vec<_>>() {
        let seen = tokio::time::timeout(3 * PATIENCE, reader);
        assert_eq!(
            seen.await.expect("readers come to the end").unwrap(),
            first.seq
        );
    }
    // A daemon that ends while they read what it has for them, and the next one.
    let last = Seq(first.seq.0 + 1 + 100);
    let reading: Vec<_> = slow
        .into_iter()
        .map(|(reader, connection)| tokio::spawn(reader.until(connection, last)))
        .collect();
    let server = server.restart().await;
    place.send_replace(Place::of(&server));
    make_events(&server, project, 100).await;
    assert_eq!(head(&server).await.seq, last);
    for reader in reading {
        let seen = tokio::time::timeout(3 * PATIENCE, reader);
        assert_eq!(seen.await.expect("readers come to the end").unwrap(), last);
    }
}

// Time stands still while there is something to do, so a wait ends when nothing more comes.
#[tokio::test(start_paused = true)]
async fn what_a_connection_does_not_take_is_not_handed_out() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let begin = head(&server).await;
    let app = TowerToHyperService::new(http::router(server.app.clone()));
    let open = |query: String| {
        let request = axum::http::Request::get(format!("/api/v1/events{query}"))
            .header("host", server.address.to_string())
            .header("authorization", format!("Bearer {}", server.token))
            .header("last-event-id", begin.to_string())
            .body(axum::body::Body::empty())
            .unwrap();
        app.call(request)
    };
    let mut all = open(String::new()).await.unwrap().into_body();
    let mut chosen = open(format!("?project_id={project}"))
        .await
        .unwrap()
        .into_body();
    for count in [1, 30, 400] {
        make_events(&server, project, count).await;
    }
    for body in [&mut all, &mut chosen] {
        let mut held = Vec::new();
        let mut length = 0;
        for _ in 0..2 {
            // Everything that comes without that something is taken.
            while let Ok(frame) =
                tokio::time::timeout(std::time::Duration::from_millis(200), body.frame()).await
            {
                let part = frame.unwrap().unwrap().into_data().unwrap();
                length += part.len();
                held.push(part);
            }
            assert!(length > 8 * 1024, "{length}");
            assert!(length < 20 * 1024, "{length}");
        }
        assert!(body.frame().now_or_never().is_none());
        held.clear();
        // It goes on where it was.
        assert!(body.frame().await.is_some());
    }
}

#[tokio::test]
async fn who_was_away_for_a_hundred_thousand_events_gets_all_of_them() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let begin = head(&server).await;
    let tasks = |count| {
        let task = || NewTask {
            id: TaskId::new(),
            project_id: project,
            spec: TaskSpec::new(TaskText::new("x").unwrap()),
        };
        CreateTasks {
            tasks: std::iter::repeat_with(task).take(count).collect(),
            created_by: "test".to_owned(),
            key: None,
            max_queued: 1_000_000,
            now: SystemClock.now(),
        }
    };
    for _ in 0..10 {
        server
            .store_handle()
            .create_tasks(tasks(10_000))
            .await
            .unwrap();
    }
    let last = head(&server).await.seq;
    assert!(last.0 >= 100_000);
    let place = watch::Sender::new(Place::of(&server));
    // Another one wants the second half of it.
    let middle = Cursor {
        seq: Seq(last.0 / 2),
        ..begin
    };
    let mut reading = Vec::new();
    for after in [begin, middle] {
        let mut reader = Reader::new(&place, after);
        let connection = reader.connect().await;
        reading.push(tokio::spawn(reader.until(connection, last)));
    }
    for reader in reading {
        let seen = tokio::time::timeout(3 * PATIENCE, reader);
        assert_eq!(seen.await.expect("readers come to the end").unwrap(), last);
    }
}

#[tokio::test]
async fn more_streams_than_there_is_room_for_are_refused_and_nothing_else_is() {
    let server = Server::start().await.restart_with_streams(2).await;
    let place = Place::of(&server);
    let at = head(&server).await;
    let first = Connection::open(&place, "", at).await.unwrap();
    let _second = Connection::open(&place, "", at).await.unwrap();
    let refused = server.get("/api/v1/events").await;
    assert_eq!(refused.headers["retry-after"], "5");
    refused.problem("too_many_streams");
    assert_eq!(server.get("/api/v1/status").await.status, 200);
    // One that ends makes room.
    drop(first);
    let again = async {
        loop {
            let request = server.request(reqwest::Method::GET, "/api/v1/events");
            if request.send().await.unwrap().status() == 200 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("there is room again");
}

/// What readers may want: where they begin, as a share of the log, and whether by project, task and kinds.
type Wish = (f64, Option<usize>, Option<usize>, Vec<&'static str>);

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let kinds = prop::sample::subsequence(
        vec!["task.created", "task.cancelled", "project.updated"],
        0..3,
    );
    let wish = (
        0.0..1.0,
        proptest::option::of(0..2_usize),
        proptest::option::weighted(0.3, 0..40_usize),
        kinds,
    );
    prop::collection::vec(wish, 60)
}

#[tokio::test]
async fn what_filters_choose_is_what_the_log_has() {
    let server = Server::start().await;
    let projects = [
        server.paused_project("a").await,
        server.paused_project("b").await,
    ];
    let mut tasks = Vec::new();
    for n in 0..40 {
        tasks.push(server.task(projects[n % 2], "x").await.id);
    }
    let middle = head(&server).await;
    let wishes = wishes()
        .new_tree(&mut TestRunner::default())
        .unwrap()
        .current();
    let mut readers = Vec::new();
    for (begin, project, task, kinds) in wishes {
        let mut query = EventQuery {
            after: Seq((begin * middle.seq.0 as f64) as u64),
            project: project.map(|n| projects[n]),
            task: task.map(|n| tasks[n]),
            limit: 10_000,
            ..EventQuery::default()
        };
        let mut text = String::new();
        for (name, value) in [
            ("project_id", query.project.map(|id| id.to_string())),
            ("task_id", query.task.map(|id| id.to_string())),
            ("kind", (!kinds.is_empty()).then(|| kinds.join(","))),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(
                    "{}{name}={value}",
                    if text.is_empty() { "?" } else { "&" }
                ));
            }
        }
        query.kinds = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
        let after = Cursor {
            seq: query.after,
            ..middle
        };
        let connection = Connection::open(&Place::of(&server), &text, after)
            .await
            .unwrap();
        readers.push((query, connection));
    }
    // What they find in the log, and what comes while they read.
    for task in tasks.iter().step_by(3) {
        server.poke(&format!("/api/v1/tasks/{task}/cancel")).await;
    }
    for project in projects {
        make_events(&server, project, 200).await;
    }
    for (query, mut connection) in readers {
        let wanted = server.store_handle().events(&query).await.unwrap();
        let (mut seen, mut rest) = (Vec::<Event>::new(), Vec::new());
        while seen.len() < wanted.len() {
            let part = tokio::time::timeout(PATIENCE, connection.part()).await;
            rest.extend(
                part.expect("the stream goes on")
                    .expect("the stream goes on"),
            );
            while let Some(length) = find(&rest, b"\n\n") {
                let frame: Vec<u8> = rest.drain(..length + 2).collect();
                let frame = std::str::from_utf8(&frame).unwrap();
                if let Some((_, data)) = frame.trim_end().split_once("\ndata: ") {
                    seen.push(serde_json::from_str(data).unwrap());
                }
            }
        }
        assert_eq!(seen, wanted, "{query:?}");
    }
}
