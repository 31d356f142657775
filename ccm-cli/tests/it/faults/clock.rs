//! A clock that jumps an hour, forward and back.
//!
//! The clock of the daemon and of all that it starts is faked, by a library in front of the system's own; the time that
//! passes is not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use ccm_core::Reason;
use ccm_core::api::{Task, TaskStateName};
use ccm_core::time::{Clock, SystemClock};

use super::{
    agent, ended_once, let_go, nothing_is_left, runs_of, soon, started, starts, status, task_of,
};
use crate::support::{Daemon, Machine, until};

const HOUR: i64 = 3600;

/// Starts the daemon with a clock that [`set`] sets.
fn daemon(machine: &Machine) -> Daemon<'_> {
    machine.daemon_with(|command| command.envs(faked(machine)))
}

fn faked(machine: &Machine) -> BTreeMap<&'static str, PathBuf> {
    let file = machine.path("clock");
    if !file.exists() {
        set(machine, 0);
    }
    BTreeMap::from([
        ("LD_PRELOAD", library()),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("NO_FAKE_STAT", "1".into()),
    ])
}

/// Where the library is, which the program knows.
fn library() -> PathBuf {
    let shown = Command::new("faketime")
        .args(["-m", "-f", "+0s", "env"])
        .output();
    let shown = shown
        .expect("faketime is not installed: run scripts/tools faketime")
        .stdout;
    let shown = String::from_utf8(shown).unwrap();
    let preload = shown
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="));
    preload.unwrap().into()
}

/// Sets the clock so many seconds off the real one.
fn set(machine: &Machine, offset: i64) {
    let file = machine.path("clock");
    let new = machine.path("clock.new");
    std::fs::write(&new, format!("{offset:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// A moment so many seconds from now, by the real clock.
fn moment(seconds: i64) -> String {
    let now = SystemClock.now().as_micros();
    ccm_core::time::Timestamp::from_micros(now + seconds * 1_000_000).to_string()
}

fn state(machine: &Machine, id: &str) -> TaskStateName {
    task_of(machine, id).state
}

#[test]
fn a_task_that_waits_for_a_date_waits_by_the_clock_as_it_is() {
    let machine = Machine::new();
    let _daemon = daemon(&machine);
    let project = agent(&machine, "demo");
    let_go(&machine);
    let dated = |seconds| {
        let at = moment(seconds);
        project
            .ccm_with(&["task", "create", "--not-before", &at], b"a\n")
            .ok()
    };
    let soon_due = dated(3);
    set(&machine, -HOUR);
    // Its date passes by the real clock, and the daemon does other things meanwhile.
    let date = task_of(&machine, &soon_due).not_before.unwrap();
    until("its date has passed", || SystemClock.now() > date);
    let other = project.task("b\n");
    assert_eq!(ended_once(&machine, &other).state, TaskStateName::Succeeded);
    assert_eq!(state(&machine, &soon_due), TaskStateName::Queued);
    set(&machine, 0);
    soon("its date has come", || {
        state(&machine, &soon_due) == TaskStateName::Succeeded
    });

    let later = dated(HOUR / 2);
    set(&machine, HOUR);
    soon("its date has come", || {
        state(&machine, &later) == TaskStateName::Succeeded
    });
    set(&machine, -HOUR);
    for id in [&soon_due, &later] {
        ended_once(&machine, id);
        assert_eq!(runs_of(&machine, id).len(), 1);
    }
    assert_eq!(status(&machine).problems, Vec::<String>::new());
    nothing_is_left(&machine);
}

#[test]
fn a_task_that_waits_to_be_tried_again_is_tried_once_more() {
    let machine = Machine::new();
    let daemon_of_then = daemon(&machine);
    let script = format!(
        "echo \"$CCM_TASK_ID $CCM_RUN_ID\" >> '{}'; exit 3",
        machine.path("starts").display()
    );
    let project = machine.project("demo", &["sh", "-c", &script]);
    let create = || {
        project
            .ccm_with(&["task", "create", "--retries", "1"], b"a\n")
            .ok()
    };
    let waits = |id: &str| {
        until("it waits to be tried again", || {
            let task = task_of(&machine, id);
            task.state == TaskStateName::Queued && task.attempts == 1
        });
    };
    let forward = create();
    waits(&forward);
    set(&machine, HOUR);
    soon("it is tried again", || {
        state(&machine, &forward) == TaskStateName::Failed
    });

    let back = create();
    waits(&back);
    set(&machine, -HOUR);
    // Also a daemon that is new finds the date that was noted.
    assert!(daemon_of_then.stop().success());
    let _daemon = daemon(&machine);
    assert_eq!(state(&machine, &back), TaskStateName::Queued);
    set(&machine, 2 * HOUR);
    soon("it is tried again", || {
        state(&machine, &back) == TaskStateName::Failed
    });
    for id in [&forward, &back] {
        let task: Task = task_of(&machine, id);
        assert_eq!((task.attempts, task.reason), (2, Some(Reason::ExitCode)));
        assert_eq!(starts(&machine, id).len(), 2);
    }
    nothing_is_left(&machine);
}

#[test]
fn a_time_limit_counts_the_time_that_passed() {
    let machine = Machine::new();
    let mut guard = daemon(&machine);
    let project = agent(&machine, "demo");
    let limited = |limit: &str, text: &[u8]| {
        project
            .ccm_with(&["task", "create", "--timeout", limit], text)
            .ok()
    };
    let long = limited("10m", b"a\n");
    let run = started(&machine, &long);
    for offset in [HOUR, -HOUR, HOUR] {
        set(&machine, offset);
        // A daemon that adopts under another clock knows as well how long the run has taken.
        guard.kill();
        guard = daemon(&machine);
        let other = machine.project("other", &["cat"]).task("b\n");
        machine.ccm(&["task", "wait", &other]).ok();
        assert_eq!(runs_of(&machine, &long), std::slice::from_ref(&run));
        assert_eq!(state(&machine, &long), TaskStateName::Running);
    }
    let_go(&machine);
    assert_eq!(ended_once(&machine, &long).state, TaskStateName::Succeeded);

    std::fs::remove_file(super::go(&machine)).unwrap();
    let short = limited("3s", b"c\n");
    started(&machine, &short);
    set(&machine, -HOUR);
    until("its time is up", || {
        state(&machine, &short) == TaskStateName::Failed
    });
    assert_eq!(ended_once(&machine, &short).reason, Some(Reason::Timeout));
    nothing_is_left(&machine);
}

#[test]
fn a_run_and_its_log_go_on_over_every_jump() {
    let machine = Machine::new();
    let _daemon = daemon(&machine);
    let project = agent(&machine, "demo");
    let (first, second) = (project.task("a\n"), project.task("b\n"));
    let run = started(&machine, &first);
    set(&machine, HOUR);
    let third = project.task("c\n");
    set(&machine, -HOUR);
    assert_eq!(runs_of(&machine, &first), [run]);
    let_go(&machine);
    let ended: Vec<Task> = [&first, &second, &third]
        .map(|id| ended_once(&machine, id))
        .into();
    assert!(
        ended
            .iter()
            .all(|task| task.state == TaskStateName::Succeeded)
    );
    // What happened is told in its order, whatever the clock said.
    let log = status(&machine).log;
    let seen = crate::support::block_on(async {
        let client = machine.client();
        let from = ccm_core::event::Cursor {
            log: log.log_id,
            seq: ccm_core::id::Seq(0),
        };
        let mut events = client.events(Some(from), &ccm_cli::client::EventFilter::default());
        let mut seen = 0;
        while seen < log.seq.0 {
            if let ccm_cli::client::Notice::Event { event, .. } = events.next().await.unwrap() {
                seen += 1;
                assert_eq!(event.seq.0, seen, "the log has a gap");
            }
        }
        seen
    });
    assert!(seen > 0);
    nothing_is_left(&machine);
}
