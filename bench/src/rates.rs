//! How fast tasks are taken in, each of them durable before it is answered.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::figure::{Figure, Goal, Report, in_turns, median};
use crate::http::Connection;
use crate::machine::{Build, Machine};
use crate::raw;

const TURNS: usize = 5;
const CONNECTIONS: usize = 64;
const EACH: usize = 100;

pub(crate) fn measure(build: &Build, folder: &Path, report: &mut Report) {
    let mut machine = Machine::new(build, folder);
    machine.start();
    let project = machine.project("full", &["true"]);
    machine.run("ccm", &["project", "pause", "full"]);
    let body = json!({ "project_id": project, "text": "Fix the failing test in the parser." });
    let body = body.to_string();

    // First, so that the daemon has written as much as one that has been in use.
    let (ours, beside, ratio) = in_turns(
        TURNS,
        || posts(&machine, &body),
        || raw::grouped(&machine.path("group.db"), CONNECTIONS, EACH),
    );
    report.add(
        Figure::new(
            format!("POSTs of a task, {CONNECTIONS} connections"),
            ours,
            "/s",
        )
        .beside("SQLite, grouped commits", beside, ratio)
        .goal(Goal::AtLeast(0.7)),
    );

    let mut one = raw::OneByOne::new(&machine.path("one.db"));
    let mut connection = machine.connection();
    let rounds =
        |mut once: Box<dyn FnMut() -> f64 + '_>| median((0..100).map(|_| once() * 1e6).collect());
    let (ours, beside, ratio) = in_turns(
        TURNS,
        || rounds(Box::new(|| timed(|| create(&mut connection, &body)))),
        || rounds(Box::new(|| one.one())),
    );
    report.add(
        Figure::new("POST of a task, one connection", ours, "us")
            .beside("SQLite, one durable row", beside, ratio)
            .goal(Goal::AtMost(1.8)),
    );
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

pub(crate) fn create(connection: &mut Connection, body: &str) {
    let (status, answer) = connection.post("/api/v1/tasks", body).unwrap();
    assert_eq!(status, 201, "{answer}");
}

/// Tasks a second over many connections, of which each has one request under way.
fn posts(machine: &Machine<'_>, body: &str) -> f64 {
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| machine.connection()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for mut connection in connections {
            scope.spawn(move || {
                for _ in 0..EACH {
                    create(&mut connection, body);
                }
            });
        }
    });
    (CONNECTIONS * EACH) as f64 / begun.elapsed().as_secs_f64()
}
