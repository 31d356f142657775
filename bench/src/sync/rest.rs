//! What it costs to be connected and have nothing to say.

use std::path::Path;
use std::time::Duration;

use super::server::{LOOK, Server, state};
use crate::figure::{Figure, Report};
use crate::machine::{Build, Machine, until};
use crate::process::{memory, spent};

/// What comes after a start and after the first exchange.
const SETTLING: Duration = Duration::from_secs(15);

pub(super) fn measure(
    server: &Server,
    build: &Build,
    folder: &Path,
    idle: Duration,
    report: &mut Report,
) {
    let email = server.user();
    // What the config says by itself.
    let connected = server.machine(build, folder, &email, Duration::from_secs(10));
    let mut alone = Machine::new(build, folder);
    alone.start();
    until("pokes come", LOOK, || {
        (state(&mut connected.connection())["live"] == true).then_some(())
    });
    std::thread::sleep(SETTLING);
    let pids = [connected.pid(), alone.pid()];
    let [Some(held), Some(held_alone)] = pids.map(memory) else {
        eprintln!("memory and wake-ups are counted on Linux only");
        return;
    };
    for (what, ours, beside) in [
        ("resident", held.rss, held_alone.rss),
        ("of its own", held.own, held_alone.own),
    ] {
        let figure = Figure::new(format!("idle connected daemon, {what}"), ours, "MB");
        report.add(figure.beside("not connected", beside, ours / beside));
    }
    let seen = || server.run(async |supabase| supabase.seen("/").await);
    let look = || pids.map(|pid| spent(pid).unwrap_or_default());
    let (before, asked) = (look(), seen());
    std::thread::sleep(idle);
    let (after, asked) = (look(), seen() - asked);
    let per_hour = 3600.0 / idle.as_secs_f64();
    let [(woken, cpu), (woken_alone, _)] = [0, 1].map(|at| after[at].since(&before[at]));
    let seconds = idle.as_secs();
    for (what, value, unit) in [
        (format!("wake-ups in {seconds} s"), woken as f64, ""),
        (
            format!("wake-ups in {seconds} s, not connected"),
            woken_alone as f64,
            "",
        ),
        (
            "processor".to_owned(),
            cpu / idle.as_secs_f64() * 100.0,
            "%",
        ),
        ("requests".to_owned(), asked as f64 * per_hour, "/h"),
    ] {
        report.add(Figure::new(
            format!("idle connected daemon: {what}"),
            value,
            unit,
        ));
    }
}
