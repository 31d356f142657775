//! What it costs to have CCM and not use it: disk, memory, wake-ups.

use std::path::Path;
use std::time::Duration;

use crate::figure::{Figure, Goal, Report};
use crate::machine::{Build, Machine, PROGRAMS, Profile, finished, until};
use crate::process::{Memory, Spent, memory, spent};

/// What comes after a start: adoption, windows, the end of threads that helped with them. A figure of rest begins later.
const SETTLING: Duration = Duration::from_secs(15);

/// How large the programs are.
pub(crate) fn size(build: &Build, report: &mut Report) {
    let name = build.profile.as_str();
    let mut all = 0.0;
    for program in PROGRAMS {
        let bytes = build.program(program).metadata().unwrap().len() as f64;
        all += bytes / 1e6;
        let what = format!("{name}: {program} on disk");
        report.add(Figure::new(what, bytes / 1e6, "MB"));
    }
    let goal = Goal::AtMost(match build.profile {
        Profile::Full => 8.0,
        Profile::Minimal => 3.0,
    });
    let what = format!("{name}: programs on disk");
    report.add(Figure::new(what, all, "MB").goal(goal));
}

/// What a daemon holds and does while nothing is to be done, and what an agent adds.
pub(crate) fn measure(build: &Build, folder: &Path, idle: Duration, report: &mut Report) {
    let name = build.profile.as_str();
    let mut machine = Machine::new(build, folder);
    machine.start();
    std::thread::sleep(SETTLING);
    let Some(held) = memory(machine.pid()) else {
        eprintln!("memory and wake-ups are counted on Linux only");
        return;
    };
    let goal = Goal::AtMost(match build.profile {
        Profile::Full => 13.0,
        Profile::Minimal => 6.0,
    });
    report.add(Figure::new(format!("{name}: idle daemon, resident"), held.rss, "MB").goal(goal));
    report.add(Figure::new(
        format!("{name}: idle daemon, of its own"),
        held.own,
        "MB",
    ));
    at_rest(
        &format!("{name}: idle daemon"),
        &[machine.pid()],
        idle,
        report,
    );

    let id = machine.project("idle", &["cat"]);
    machine.run("ccm", &["task", "create", "--project", "idle", "hello"]);
    let mut connection = machine.connection();
    until("the task is done", Duration::from_millis(20), || {
        let (_, tasks) = connection
            .get(&format!("/api/v1/tasks?project_id={id}"))
            .ok()?;
        (tasks["items"][0]["state"] == "succeeded").then_some(())
    });
    let pid_of = |args: &[&str]| -> Vec<u32> {
        let told = finished(&mut machine.tmux(args));
        told.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let server = pid_of(&["display-message", "-p", "#{pid}"]);
    let windows = until("the agent has a window", Duration::from_millis(20), || {
        let windows = pid_of(&["list-panes", "-a", "-F", "#{pane_pid}"]);
        (!windows.is_empty()).then_some(windows)
    });
    std::thread::sleep(SETTLING);
    let agent = [machine.hosts(), windows].concat();
    let everything = [vec![machine.pid()], server.clone(), agent.clone()].concat();
    let share = |pids: &[u32]| -> f64 {
        let each = pids.iter().filter_map(|pid| memory(*pid));
        each.map(|Memory { pss, .. }| pss).sum()
    };
    let what = format!("{name}: idle agent (host, window), its share");
    report.add(Figure::new(what, share(&agent), "MB").goal(Goal::AtMost(5.0)));
    report.add(Figure::new(
        format!("{name}: tmux server, its share"),
        share(&server),
        "MB",
    ));
    let what = format!("{name}: daemon, tmux and an idle agent");
    at_rest(&what, &everything, idle, report);
}

fn at_rest(what: &str, processes: &[u32], during: Duration, report: &mut Report) {
    let look = || -> Vec<Option<Spent>> { processes.iter().map(|pid| spent(*pid)).collect() };
    let before = look();
    std::thread::sleep(during);
    let (mut wakeups, mut cpu) = (0, 0.0);
    for (before, after) in before.iter().zip(look()) {
        let (woken, seconds) = after
            .unwrap_or_default()
            .since(&before.clone().unwrap_or_default());
        wakeups += woken;
        cpu += seconds;
    }
    let what = format!("{what}, {} s", during.as_secs());
    let figure = Figure::new(format!("{what}: wake-ups"), wakeups as f64, "");
    report.add(figure.goal(Goal::AtMost(1.0)));
    let share = cpu / during.as_secs_f64() * 100.0;
    report.add(Figure::new(format!("{what}: processor"), share, "%"));
}
