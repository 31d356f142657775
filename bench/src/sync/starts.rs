//! From a task's creation on one machine to its program on another.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use serde_json::json;

use super::server::{LOOK, Server, project, state};
use crate::figure::{Figure, Goal, Report};
use crate::machine::{Build, Machine, until};
use crate::rates::create;

/// How many tasks while pokes work.
const POKED: usize = 100;
/// How many when they don't.
const UNPOKED: usize = 20;
const INTERVAL: Duration = Duration::from_secs(2);

pub(super) fn measure(server: &Server, build: &Build, folder: &Path, report: &mut Report) {
    let email = server.user();
    let from = server.machine(build, folder, &email, INTERVAL);
    let to = server.machine(build, folder, &email, INTERVAL);
    let path = to.path("begun");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    // Open in both directions, so that neither end waits for the other.
    let open = std::fs::File::options().read(true).write(true).open(&path);
    let mut fifo = open.unwrap();
    let script = format!("echo >{}", path.display());
    let project = project(&to, "runs", &["sh", "-c", &script], &[&from]);
    let mut round = || once(&from, &to, &project, &mut fifo);
    // The first run brings the agent's host.
    round();

    live(&from, &to, true);
    let mut poked: Vec<f64> = (0..POKED).map(|_| round()).collect();
    tell("while pokes come", &mut poked, 300.0, report);
    server.run(async |supabase| {
        supabase.refuse_realtime(true).await;
        supabase.cut_realtime().await;
    });
    live(&from, &to, false);
    let mut unpoked: Vec<f64> = (0..UNPOKED).map(|_| round()).collect();
    let what = format!("without pokes, looking every {} s", INTERVAL.as_secs());
    tell(&what, &mut unpoked, INTERVAL.as_secs_f64() * 1e3, report);
    server.run(async |supabase| supabase.refuse_realtime(false).await);
}

/// Waits until both machines are told at once of what the other does, or know that they are not.
fn live(from: &Machine<'_>, to: &Machine<'_>, wanted: bool) {
    for machine in [from, to] {
        let mut connection = machine.connection();
        until("pokes come, or don't", LOOK, || {
            (state(&mut connection)["live"] == wanted).then_some(())
        });
    }
}

/// Milliseconds from the creation to the program's first act.
fn once(from: &Machine<'_>, to: &Machine<'_>, project: &str, fifo: &mut std::fs::File) -> f64 {
    let body = json!({ "project_id": project, "text": "go" }).to_string();
    let mut connection = from.connection();
    let begun = Instant::now();
    create(&mut connection, &body);
    fifo.read_exact(&mut [0]).unwrap();
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut there = to.connection();
    until("both have nothing more to say", LOOK, || {
        let (_, status) = there.get("/api/v1/status").ok()?;
        let is_idle = status["queue"]["running"] == 0;
        let has_told = |state: &serde_json::Value| state["pending"] == 0;
        (is_idle && has_told(&state(&mut there)) && has_told(&state(&mut connection))).then_some(())
    });
    ms
}

fn tell(when: &str, rounds: &mut [f64], goal: f64, report: &mut Report) {
    rounds.sort_by(f64::total_cmp);
    for (name, share) in [("median", 0.5), ("99th of 100", 0.99)] {
        let at = (rounds.len() as f64 * share) as usize;
        let value = rounds[at.min(rounds.len() - 1)];
        let what = format!("task on one machine until its program runs on another, {when}, {name}");
        report.add(Figure::new(what, value, "ms").goal(Goal::AtMost(goal)));
    }
}
