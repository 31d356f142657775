//! How long people and agents wait for something to begin.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use serde_json::json;

use crate::figure::{Figure, Goal, Report, in_turns};
use crate::machine::{Build, Machine, finished, until};
use crate::rates::create;

const TURNS: usize = 21;

pub(crate) fn measure(build: &Build, folder: &Path, report: &mut Report) {
    let mut machine = Machine::new(build, folder);
    // The first start makes the database.
    machine.start();
    machine.stop();
    let nothing = || took(&mut Command::new("/bin/true"));
    let (ours, beside, ratio) = in_turns(
        TURNS,
        || {
            let seconds = machine.start();
            machine.stop();
            seconds * 1e3
        },
        nothing,
    );
    report.add(
        Figure::new("start of the daemon until it is ready", ours, "ms").beside(
            "/bin/true",
            beside,
            ratio,
        ),
    );

    machine.start();
    machine.project("full", &["true"]);
    machine.run("ccm", &["project", "pause", "full"]);
    let ccm = build.program("ccm");
    let cli = |args: &[&str]| took(&mut machine.command(&ccm, args));
    let (ours, beside, ratio) = in_turns(TURNS, || cli(&["version"]), nothing);
    report.add(
        Figure::new("ccm version", ours, "ms")
            .beside("/bin/true", beside, ratio)
            .goal(Goal::AtMost(3.0)),
    );
    let line = ["task", "create", "--project", "full", "Fix the parser."];
    let (ours, beside, ratio) = in_turns(TURNS, || cli(&line), nothing);
    report.add(Figure::new("ccm task create", ours, "ms").beside("/bin/true", beside, ratio));
    running(&machine, build, report);
}

/// From the wish to the program that runs, beside tmux given the same wish.
fn running(machine: &Machine<'_>, build: &Build, report: &mut Report) {
    let path = machine.path("begun");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    // Open in both directions, so that neither end waits for the other.
    let open = std::fs::File::options().read(true).write(true).open(&path);
    let mut fifo = open.unwrap();
    let script = format!("echo >{}", path.display());
    let project = machine.project("runs", &["sh", "-c", &script]);
    let body = json!({ "project_id": project, "text": "go" }).to_string();
    let mut connection = machine.connection();
    let mut begun = move || fifo.read_exact(&mut [0]).unwrap();
    let idle = || {
        let mut connection = machine.connection();
        until("the agent is idle", Duration::from_millis(2), || {
            let (_, status) = connection.get("/api/v1/status").ok()?;
            (status["queue"]["running"] == 0).then_some(())
        });
    };
    // The first run brings the agent's host.
    create(&mut connection, &body);
    begun();
    idle();
    let begun = std::cell::RefCell::new(begun);
    let wish = |ask: &mut dyn FnMut()| {
        let since = Instant::now();
        ask();
        begun.borrow_mut()();
        let ms = since.elapsed().as_secs_f64() * 1e3;
        idle();
        ms
    };
    let window = || {
        wish(&mut || {
            finished(&mut machine.tmux(&["new-window", "-d", &script]));
        })
    };
    let (ours, beside, ratio) = in_turns(
        TURNS,
        || wish(&mut || create(&mut connection, &body)),
        window,
    );
    report.add(
        Figure::new("POST of a task until its program runs", ours, "ms")
            .beside("tmux new-window", beside, ratio)
            .goal(Goal::AtMost(0.8)),
    );
    let ccm = build.program("ccm");
    let line = ["task", "create", "--project", "runs", "go"];
    let by_hand = || {
        wish(&mut || {
            finished(&mut machine.command(&ccm, &line));
        })
    };
    let (ours, beside, ratio) = in_turns(TURNS, by_hand, window);
    report.add(
        Figure::new("ccm task create until its program runs", ours, "ms").beside(
            "tmux new-window",
            beside,
            ratio,
        ),
    );
}

/// How many milliseconds a program takes from its start to its end.
fn took(command: &mut Command) -> f64 {
    let begun = Instant::now();
    finished(command);
    begun.elapsed().as_secs_f64() * 1e3
}
