//! The event stream: many readers, readers who do not read, and one who was away for long.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::figure::{Figure, Goal, Report, in_turns, median};
use crate::http::Connection;
use crate::machine::{Build, Machine, until};
use crate::process::memory;
use crate::rates::create;
use crate::readers::Readers;

const READERS: usize = 1000;
const EVENTS: usize = 1000;
const WRITERS: usize = 16;
const TURNS: usize = 5;
const AWAY: u64 = 100_000;

pub(crate) fn measure(build: &Build, folder: &Path, report: &mut Report) {
    let open = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(open).unwrap();
    nix::sys::resource::setrlimit(open, hard.min(8192), hard).unwrap();
    let mut machine = Machine::new(build, folder);
    machine.start();
    let project = machine.project("full", &["true"]);
    machine.run("ccm", &["project", "pause", "full"]);
    let body = json!({ "project_id": project, "text": "Fix the failing test in the parser." });
    let body = body.to_string();
    to_a_reader(&machine, &body, report);
    to_many(&machine, &body, report);
    held(&mut machine, &body, report);
    caught_up(&mut machine, report);
}

/// The request that opens a stream, from now on or after event number `after`.
fn request(machine: &Machine<'_>, after: Option<u64>) -> String {
    let mut connection = machine.connection();
    let (_, status) = connection.get("/api/v1/status").unwrap();
    let id = |seq: u64| format!("{}:{seq}", status["log"]["log_id"].as_str().unwrap());
    connection.head("GET", "/api/v1/events", after.map(id).as_deref())
}

/// From a wish to its event, beside the answer to the same wish when nobody reads.
fn to_a_reader(machine: &Machine<'_>, body: &str, report: &mut Report) {
    const ROUNDS: usize = 200;
    let alone = |connection: &mut Connection| {
        let one = || {
            let begun = Instant::now();
            create(connection, body);
            begun.elapsed().as_secs_f64() * 1e6
        };
        median(std::iter::repeat_with(one).take(ROUNDS).collect())
    };
    let with = |connection: &mut Connection| {
        let mut stream = TcpStream::connect(machine.address()).unwrap();
        stream.write_all(request(machine, None).as_bytes()).unwrap();
        let (seen, sees) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut reading = stream.try_clone().unwrap();
            scope.spawn(move || {
                let mut buffer = [0; 8192];
                // The head, the place, and then an event a time.
                while let Ok(1..) = reading.read(&mut buffer) {
                    if seen
                        .send((Instant::now(), find(&buffer, b"event: task.created")))
                        .is_err()
                    {
                        break;
                    }
                    buffer.fill(0);
                }
            });
            let one = || {
                let begun = Instant::now();
                create(connection, body);
                loop {
                    let (at, is_event) = sees.recv_timeout(Duration::from_secs(10)).unwrap();
                    if is_event {
                        break (at - begun).as_secs_f64() * 1e6;
                    }
                }
            };
            let seen = median(std::iter::repeat_with(one).take(ROUNDS).collect());
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            seen
        })
    };
    let (ours, beside, ratio) = in_turns(
        TURNS,
        || with(&mut machine.connection()),
        || alone(&mut machine.connection()),
    );
    report.add(
        Figure::new("POST of a task until a reader has its event", ours, "us")
            .beside("POST alone", beside, ratio)
            .goal(Goal::AtMost(1.1)),
    );
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|part| part == what)
}

/// Events that reach a thousand readers, a second, beside a server that writes each event to each of them.
fn to_many(machine: &Machine<'_>, body: &str, report: &mut Report) {
    let mut readers = Readers::connect(machine.address(), &request(machine, None), READERS);
    // The place that each is told first.
    readers.until(1);
    let ours = || {
        let mut writers: Vec<_> = (0..WRITERS).map(|_| machine.connection()).collect();
        let begun = Instant::now();
        let ended = std::thread::scope(|scope| {
            for connection in &mut writers {
                scope.spawn(|| {
                    for _ in 0..EVENTS / WRITERS {
                        create(connection, body);
                    }
                });
            }
            readers.until(EVENTS / WRITERS * WRITERS)
        });
        (EVENTS / WRITERS * WRITERS) as f64 / (ended - begun).as_secs_f64()
    };
    let frame = frame(machine);
    let (ours, beside, ratio) = in_turns(TURNS, ours, || one_by_one(&frame));
    report.add(
        Figure::new(format!("events to {READERS} readers each"), ours, "/s")
            .beside("one write for each", beside, ratio)
            .goal(Goal::AtLeast(5.0)),
    );
}

/// The text of one event as it is on the wire.
fn frame(machine: &Machine<'_>) -> Vec<u8> {
    let mut stream = TcpStream::connect(machine.address()).unwrap();
    stream
        .write_all(request(machine, Some(1)).as_bytes())
        .unwrap();
    let mut text = Vec::new();
    until("there is an event", Duration::ZERO, || {
        let mut buffer = [0; 65536];
        let count = stream.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..count]);
        let begin = text
            .windows(20)
            .rposition(|part| part.starts_with(b"event: task.created"))?;
        let length = text[begin..].windows(2).position(|part| part == b"\n\n")?;
        Some(text[begin..begin + length + 2].to_vec())
    })
}

/// The plain way: whenever there is an event, everybody is written to. Its events cost nothing to make.
fn one_by_one(frame: &[u8]) -> f64 {
    const FEWER: usize = 300;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let (go, going) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut streams: Vec<TcpStream> = (0..READERS)
                .map(|_| {
                    let (stream, _) = listener.accept().unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream
                })
                .collect();
            going.recv().unwrap();
            for _ in 0..FEWER {
                for stream in &mut streams {
                    stream.write_all(frame).unwrap();
                }
            }
        });
        let mut readers = Readers::connect(address, "", READERS);
        let begun = Instant::now();
        go.send(()).unwrap();
        let ended = readers.until(FEWER);
        FEWER as f64 / (ended - begun).as_secs_f64()
    })
}

/// What readers hold of the daemon's memory: those who have everything, and those who do not read.
fn held(machine: &mut Machine<'_>, body: &str, report: &mut Report) {
    let resident =
        |machine: &Machine<'_>| memory(machine.pid()).map_or(0.0, |memory| memory.rss * 1000.0);
    // A daemon keeps for itself what it was once given, so each of the two begins with a fresh one.
    let fresh = |machine: &mut Machine<'_>| {
        machine.stop();
        machine.start();
        create(&mut machine.connection(), body);
        resident(machine)
    };
    let before = fresh(machine);
    if before == 0.0 {
        return;
    }
    let mut readers = Readers::connect(machine.address(), &request(machine, None), READERS);
    readers.until(1);
    create(&mut machine.connection(), body);
    readers.until(1);
    let after = resident(machine);
    report.add(
        Figure::new("an event reader", (after - before) / READERS as f64, "kB")
            .goal(Goal::AtMost(25.0)),
    );
    drop(readers);

    let before = fresh(machine);
    // They want megabytes of the log and read nothing of it.
    let _readers = Readers::connect(machine.address(), &request(machine, Some(1)), READERS);
    let mut connection = machine.connection();
    let began = Instant::now();
    create(&mut connection, body);
    let answered = began.elapsed();
    std::thread::sleep(Duration::from_secs(3));
    let stalled = resident(machine);
    report.add(
        Figure::new(
            "an event reader who does not read",
            (stalled - before) / READERS as f64,
            "kB",
        )
        .goal(Goal::AtMost(25.0)),
    );
    report.add(Figure::new(
        "POST of a task as 1000 readers come back",
        answered.as_secs_f64() * 1e3,
        "ms",
    ));
}

/// How many events a second a reader gets who was away, beside the same bytes with no log behind them.
fn caught_up(machine: &mut Machine<'_>, report: &mut Report) {
    let head = |machine: &Machine<'_>| -> u64 {
        let (_, status): (u16, Value) = machine.connection().get("/api/v1/status").unwrap();
        status["log"]["seq"].as_u64().unwrap()
    };
    let last = head(machine);
    machine.stop();
    // A daemon would need minutes to come by so many.
    let database = rusqlite::Connection::open(machine.path("ccm/ccm.db")).unwrap();
    database
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {AWAY})
             INSERT INTO event SELECT {last} + i, time, kind, project_id, task_id, run_id, agent_id, data
             FROM n, (SELECT * FROM event WHERE kind = 'task.created' ORDER BY seq DESC LIMIT 1);
             UPDATE meta SET last_seq = last_seq + {AWAY};
             COMMIT;"
        ))
        .unwrap();
    drop(database);
    machine.start();
    let address = machine.address();
    let request = request(machine, Some(last));
    let marker = format!(":{}\n", head(machine));
    let size = std::cell::Cell::new(0);
    let read = |stream: &mut TcpStream| {
        let mut buffer = vec![0; 256 * 1024];
        let (mut kept, mut total) = (0, 0);
        loop {
            let count = stream.read(&mut buffer[kept..]).unwrap();
            assert_ne!(count, 0, "the stream ended");
            total += count;
            let tail = (kept + count).saturating_sub(2048);
            if find(&buffer[tail..kept + count], marker.as_bytes()) {
                return total;
            }
            // A marker may come in two parts.
            let end = kept + count;
            kept = end.min(64);
            buffer.copy_within(end - kept..end, 0);
        }
    };
    let ours = || {
        let mut stream = TcpStream::connect(address).unwrap();
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        size.set(read(&mut stream));
        AWAY as f64 / begun.elapsed().as_secs_f64()
    };
    // So that the size is known.
    ours();
    let (ours, beside, ratio) = in_turns(TURNS, ours, || raw(size.get()));
    report.add(
        Figure::new("events to a reader who was away for 100,000", ours, "/s").beside(
            "the same bytes over loopback",
            beside,
            ratio,
        ),
    );
}

fn raw(bytes: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let part = [b'x'; 16 * 1024];
            let mut left = bytes;
            while left > 0 {
                let count = left.min(part.len());
                stream.write_all(&part[..count]).unwrap();
                left -= count;
            }
        });
        let mut stream = TcpStream::connect(address).unwrap();
        let begun = Instant::now();
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(1..) = stream.read(&mut buffer) {}
        AWAY as f64 / begun.elapsed().as_secs_f64()
    })
}
