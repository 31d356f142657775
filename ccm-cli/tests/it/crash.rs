//! `kill -9` of the daemon between any two steps of a run, of an agent's host, and of the tmux server.
//!
//! | killed | at | what must be true after the next start |
//! | --- | --- | --- |
//! | daemon | claimed, launch file written | nothing was started, and one new run does the task |
//! | daemon | child forked ... program ended | the same run goes on and is adopted |
//! | daemon | exit recorded, before and after the outcome is committed | the outcome is committed once |
//! | daemon | while three agents work | the same runs go on, and every byte of their output is told once |
//! | host | while its agent works | the run is `lost`, nothing of it is left, and only a policy repeats it |
//! | tmux server | while an agent works | the run goes on, and its window comes back |

use std::collections::BTreeSet;
use std::path::PathBuf;

use ccm_cli::client::{EventFilter, Notice};
use ccm_core::api::{Run, RunStateName, Stream, Task, TaskStateName};
use ccm_core::event::{Cursor, EventKind};
use ccm_core::id::{LogId, RunId, Seq, TaskId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, Project, block_on, until};

/// How many lines a counting agent writes.
const LINES: usize = 400;

/// An agent that notes each of its starts outside the project, writes half of its lines, waits for `go`, and writes the
/// rest.
fn counting<'a>(machine: &'a Machine, name: &str) -> Project<'a> {
    let (starts, go) = (starts(machine), go(machine));
    let script = format!(
        "echo $CCM_RUN_ID >> '{}'
         cat
         i=0
         while [ $i -lt {LINES} ]; do
             echo line $i
             i=$((i + 1))
             if [ $i -eq {} ]; then while [ ! -e '{}' ]; do sleep 0.02; done; fi
         done",
        starts.display(),
        LINES / 2,
        go.display(),
    );
    machine.project(name, &["sh", "-c", &script])
}

fn starts(machine: &Machine) -> PathBuf {
    machine.path("starts")
}

fn go(machine: &Machine) -> PathBuf {
    machine.path("go")
}

/// What a counting agent writes in all.
fn expected(prompt: &str) -> String {
    let lines = (0..LINES).map(|i| format!("line {i}\n"));
    std::iter::once(prompt.to_owned()).chain(lines).collect()
}

fn task_of(machine: &Machine, id: &str) -> Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

/// A task's runs, the oldest first.
fn runs_of(machine: &Machine, id: &str) -> Vec<Run> {
    let id: TaskId = id.parse().unwrap();
    let mut runs = block_on(async { machine.client().runs(id).all().await.unwrap() });
    runs.reverse();
    runs
}

/// Which parts of a run's standard output the event log tells of, from its beginning to the run's end.
fn told(machine: &Machine, run: RunId) -> Vec<(u64, u64)> {
    block_on(async {
        let client = machine.client();
        let log: LogId = client.status().await.unwrap().log.log_id;
        let beginning = Cursor { log, seq: Seq(0) };
        let mut events = client.events(Some(beginning), &EventFilter::default());
        let mut parts = Vec::new();
        loop {
            let Notice::Event { event, .. } = events.next().await.unwrap() else {
                continue;
            };
            if event.run_id != Some(run) {
                continue;
            }
            match event.kind {
                EventKind::RunOutput if event.data["stream"] == "out" => {
                    let number = |key: &str| event.data[key].as_u64().unwrap();
                    parts.push((number("from"), number("to")));
                }
                EventKind::RunEnded => return parts,
                _ => {}
            }
        }
    })
}

/// Every byte of the run's output is there and was told once, in order.
#[track_caller]
fn assert_whole_output(machine: &Machine, run: RunId, expected: &str) {
    let mut at = 0;
    for (from, to) in told(machine, run) {
        assert_eq!(from, at, "output of {run} is missing or told twice");
        at = to;
    }
    assert_eq!(
        at,
        expected.len() as u64,
        "the end of the output is missing"
    );
    let log = block_on(async {
        let client = machine.client();
        client.read_log(run, Stream::Out, 0, 1 << 20).await.unwrap()
    });
    assert_eq!(String::from_utf8_lossy(&log.bytes), expected);
}

/// No run started its program twice, and `count` programs were started in all.
#[track_caller]
fn assert_starts(machine: &Machine, count: usize) {
    let starts = std::fs::read_to_string(starts(machine)).unwrap();
    let lines: Vec<&str> = starts.lines().collect();
    let different: BTreeSet<&str> = lines.iter().copied().collect();
    assert_eq!(lines.len(), different.len(), "a run was started twice");
    assert_eq!(lines.len(), count);
}

/// Kills the daemon when a program comes to `step`, and starts another.
fn killed_at(step: &str) {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = counting(&machine, "demo");
    std::fs::write(go(&machine), "").unwrap();
    machine.hold(step);
    let asked = project.task_up_to(step, "do it\n");
    daemon.kill();
    machine.release(step);

    let _daemon = machine.daemon();
    let id = asked.id();
    machine.ccm(&["task", "wait", &id]).ok();
    let task = task_of(&machine, &id);
    assert_eq!(task.state, TaskStateName::Succeeded);
    assert_eq!(task.attempts, 1);
    assert_starts(&machine, 1);
    let runs = runs_of(&machine, &id);
    let done = runs.last().unwrap();
    assert_eq!(done.state, RunStateName::Succeeded);
    assert_eq!(task.run_id, Some(done.id));
    assert_whole_output(&machine, done.id, &expected("do it\n"));
    // One that was claimed and never started is kept, and was no attempt.
    for earlier in &runs[..runs.len() - 1] {
        assert_eq!(earlier.state, RunStateName::Failed);
        assert_eq!(earlier.started_at, None);
    }
}

macro_rules! killed_at {
    ($($name:ident = $step:literal,)*) => {$(
        #[test]
        fn $name() {
            killed_at($step);
        }
    )*};
}

killed_at! {
    daemon_killed_after_the_claim = "launch.1.claimed",
    daemon_killed_after_the_launch_file = "launch.2.written",
    daemon_killed_after_the_fork = "launch.3.forked",
    daemon_killed_after_the_gate = "launch.4.gated",
    daemon_killed_after_the_release = "launch.5.released",
    daemon_killed_after_the_prompt = "launch.6.prompted",
    daemon_killed_after_the_end = "launch.7.ended",
    daemon_killed_after_the_exit_record = "launch.7.recorded",
    daemon_killed_before_the_outcome = "launch.8.finishing",
    daemon_killed_after_the_outcome = "launch.8.finished",
}

/// Waits until the task's run is known to have started.
fn started(machine: &Machine, id: &str) -> Run {
    let mut found = None;
    until("the run starts", || {
        found = runs_of(machine, id)
            .into_iter()
            .find(|run| run.state == RunStateName::Running);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn three_agents_outlive_daemon_after_daemon() {
    let machine = Machine::new();
    let mut daemon = machine.daemon();
    let tasks: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|name| counting(&machine, name).task("go on\n"))
        .collect();
    let runs: Vec<Run> = tasks.iter().map(|id| started(&machine, id)).collect();
    for _ in 0..3 {
        daemon.kill();
        daemon = machine.daemon();
        // A daemon that is ready has adopted: the store, the runtime and the agents say the same.
        for (id, run) in tasks.iter().zip(&runs) {
            assert_eq!(task_of(&machine, id).state, TaskStateName::Running);
            assert_eq!(runs_of(&machine, id), std::slice::from_ref(run));
        }
    }
    daemon.kill();
    // They end while no daemon looks.
    std::fs::write(go(&machine), "").unwrap();
    until("the agents end by themselves", || {
        runs.iter().all(|run| {
            machine
                .path("ccm/runs")
                .join(run.id.to_string())
                .join("exit")
                .exists()
        })
    });
    let _daemon = machine.daemon();
    for (id, run) in tasks.iter().zip(&runs) {
        machine.ccm(&["task", "wait", id]).ok();
        assert_eq!(task_of(&machine, id).state, TaskStateName::Succeeded);
        assert_whole_output(&machine, run.id, &expected("go on\n"));
    }
    assert_starts(&machine, 3);
}

#[test]
fn a_second_daemon_names_the_first_and_does_no_harm() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let first = machine.info().unwrap();
    let project = counting(&machine, "demo");
    let id = project.task("x");
    started(&machine, &id);
    let second = machine.command::<&str>("ccm-daemon", &[]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(said.contains(&format!("pid {}", daemon.pid())), "{said}");
    assert!(said.contains(&first.address.to_string()), "{said}");
    assert_eq!(machine.info().unwrap().pid, daemon.pid());
    std::fs::write(go(&machine), "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_starts(&machine, 1);
}

#[test]
fn a_run_whose_host_is_killed_is_lost_with_all_that_belongs_to_it() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let pids = machine.path("pids");
    // A grandchild in a session of its own, and the agent itself.
    let script = format!(
        "setsid sh -c 'echo $$ >> {0}; sleep 600' & echo $$ >> {0}; wait",
        pids.display()
    );
    let project = machine.project("demo", &["sh", "-c", &script]);
    let id = project.task("x");
    started(&machine, &id);
    let mut alive = Vec::new();
    until("both processes are up", || {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        alive = text
            .lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .collect();
        alive.len() == 2
    });
    for host in machine.hosts() {
        kill(Pid::from_raw(i32::try_from(host).unwrap()), Signal::SIGKILL).unwrap();
    }
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!(task.state, TaskStateName::Failed);
    assert_eq!(task.reason, Some(ccm_core::Reason::Lost));
    assert_eq!(runs_of(&machine, &id)[0].state, RunStateName::Lost);
    for pid in alive {
        assert!(gone(pid), "process {pid} of the lost run is left");
    }
    // The agent has a host again, and does its next task.
    let next = machine.project("next", &["cat"]).task("hello");
    machine.ccm(&["task", "wait", &next]).ok();
}

fn gone(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

#[test]
fn a_lost_run_is_repeated_by_policy() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = counting(&machine, "demo");
    let id = project
        .ccm_with(&["task", "create", "--retries", "1"], b"again\n")
        .ok();
    let first = started(&machine, &id);
    for host in machine.hosts() {
        kill(Pid::from_raw(i32::try_from(host).unwrap()), Signal::SIGKILL).unwrap();
    }
    until("it waits again", || {
        task_of(&machine, &id).state == TaskStateName::Queued
    });
    std::fs::write(go(&machine), "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
    let runs = runs_of(&machine, &id);
    assert_eq!(runs.len(), 2);
    assert_eq!((runs[0].id, runs[0].state), (first.id, RunStateName::Lost));
    assert_whole_output(&machine, runs[1].id, &expected("again\n"));
    assert_starts(&machine, 2);
}

#[test]
fn a_run_outlives_the_tmux_server_and_gets_its_window_back() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    let project = counting(&machine, "demo");
    let id = project.task("x\n");
    let run = started(&machine, &id);
    let windows = || {
        let listed = tmux(&machine, &["list-windows", "-a", "-F", "#{window_name}"]);
        String::from_utf8_lossy(&listed.stdout)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    until("the window is there", || {
        windows().contains(&"demo".to_owned())
    });
    let server = tmux(&machine, &["display-message", "-p", "#{pid}"]).stdout;
    let server: i32 = String::from_utf8_lossy(&server).trim().parse().unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    until("the window is back", || {
        windows().contains(&"demo".to_owned())
    });
    assert_eq!(runs_of(&machine, &id), std::slice::from_ref(&run));
    std::fs::write(go(&machine), "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_whole_output(&machine, run.id, &expected("x\n"));
    assert_starts(&machine, 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_daemon_leaves_no_client_in_the_tmux_server() {
    let machine = Machine::with_tmux();
    let daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    let clients = || {
        let listed = tmux(&machine, &["list-clients", "-F", "#{client_pid}"]);
        String::from_utf8_lossy(&listed.stdout).lines().count()
    };
    until("the daemon is in the server", || clients() == 1);
    // More is told to it than a pipe holds, and it reads no more.
    daemon.signal(Signal::SIGSTOP);
    let long = "x".repeat(200);
    let renames = (0..1000).map(|at| format!("rename-session -t '$0' {long}{at}\n"));
    let script = machine.path("renames");
    std::fs::write(&script, renames.collect::<String>()).unwrap();
    let sourced = tmux(&machine, &["source-file", &script.to_string_lossy()]);
    assert!(sourced.status.success(), "{sourced:?}");
    daemon.kill();
    until("its client is gone", || clients() == 0);
}

fn tmux(machine: &Machine, args: &[&str]) -> std::process::Output {
    std::process::Command::new("tmux")
        .args(["-L", "ccm-test"])
        .args(args)
        .env("TMUX_TMPDIR", machine.path("tmux"))
        .output()
        .unwrap()
}
