//! What is around CCM fails: the disk, the database, the clock, and the processes that should answer.
//!
//! After each of these the promise in the README still holds: a task that was accepted ends once, nothing is started or
//! asked twice, what is shown is true within two seconds, and no process is left.
//!
//! | case | what is promised | test |
//! | --- | --- | --- |
//! | the disk fills up at any write of a creation | the task is accepted, or `disk_full` is told and nothing of it is there | `full::a_task_is_accepted_or_it_is_told_that_the_disk_is_full` |
//! | no room while runs go on | they end and are cancelled, from room that was kept; nothing new is accepted | `full::on_a_full_disk_runs_end_and_tasks_are_cancelled_but_none_is_created` |
//! | no room for a launch or a spool | it is told, and goes on by itself when there is room | `full::a_run_that_waits_for_room_goes_on_when_there_is_some` |
//! | no room at the daemon's start | it says so; a later one adopts what goes on | `full::a_daemon_that_finds_no_room_says_so_and_a_later_one_adopts` |
//! | a host dies on a full disk | the run is `lost` and nothing of it is left | `full::a_host_that_dies_on_a_full_disk_has_lost_its_run` |
//! | Claude Code's words find no room | the run has not succeeded, though Claude Code exits with 0 | `full::claude_code_whose_words_found_no_room_has_not_succeeded` |
//! | a home that is read-only at the start | the daemon says so and what to do, and ends | `read_only::a_daemon_with_a_read_only_home_says_so` |
//! | a home that becomes read-only | it is told, and made up for when it can be written again | `read_only::a_home_that_becomes_read_only_is_told_and_made_up_for` |
//! | a database that is damaged, or newer | refused with the way out, and not a byte of it touched | `database::a_database_that_is_damaged_or_newer_is_refused_and_left_as_it_is` |
//! | damage that shows later | it is told, and nothing is started | `database::damage_that_is_found_later_is_told_and_nothing_is_started` |
//! | a database that another program locks | told at the start; made up for when it was locked for a while | `database::a_database_that_is_locked_*` |
//! | a clock that jumps an hour, forward and back | dates count by the clock as it is, time limits by the time that passed | `clock::*` |
//! | a daemon, a host, or all of it suspended | told, and caught up with; nothing is done twice | `suspended::*` |

#[cfg(target_os = "linux")]
mod clock;
mod database;
#[cfg(target_os = "linux")]
mod full;
mod read_only;
mod suspended;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ccm_core::api::{Run, RunStateName, Status, Stream, Task, TaskStateName};
use ccm_core::id::TaskId;

use crate::support::{Machine, Project, block_on, until};

/// Within which what is shown has to be true.
const TRUE_WITHIN: Duration = Duration::from_secs(2);

/// Waits until `done` says so, for no longer than a person may be shown something that is not true.
#[track_caller]
fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    until(what, &mut done);
    let took = begun.elapsed();
    assert!(took < TRUE_WITHIN + SLACK, "{what}: only after {took:?}");
}

/// What a machine that runs other tests as well may take on top.
const SLACK: Duration = Duration::from_secs(8);

/// An agent that notes its start where no fault reaches, says what it was asked and waits for `go`. It fails when what
/// it says can't be written.
fn agent<'a>(machine: &'a Machine, name: &str) -> Project<'a> {
    let script = format!(
        "echo \"$CCM_TASK_ID $CCM_RUN_ID\" >> '{}'
         cat || exit 9
         while [ ! -e '{}' ]; do sleep 0.02; done
         echo done || exit 9",
        machine.path("starts").display(),
        go(machine).display(),
    );
    machine.project(name, &["sh", "-c", &script])
}

fn go(machine: &Machine) -> PathBuf {
    machine.path("go")
}

/// Lets agents end from now on.
fn let_go(machine: &Machine) {
    std::fs::write(go(machine), "").unwrap();
}

/// Which runs of the task were started.
fn starts(machine: &Machine, id: &str) -> Vec<String> {
    let notes = std::fs::read_to_string(machine.path("starts")).unwrap_or_default();
    let mut starts: Vec<String> = notes
        .lines()
        .filter_map(|line| line.strip_prefix(id))
        .map(|run| run.trim().to_owned())
        .collect();
    let count = starts.len();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), count, "a run was started twice: {notes}");
    starts
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

/// What the daemon tells of its own work, besides that its checks of the disk find little room on a small one.
fn troubles(machine: &Machine) -> Vec<String> {
    let status = status(machine);
    let is_found = |problem: &String| status.checks.iter().any(|check| check.detail == *problem);
    let problems = status.problems.iter().filter(|problem| !is_found(problem));
    problems.cloned().collect()
}

fn status(machine: &Machine) -> Status {
    block_on(async { machine.client().status().await.unwrap() })
}

/// What the task's latest run wrote.
fn output(machine: &Machine, id: &str) -> String {
    let run = task_of(machine, id).run_id.unwrap();
    let log = block_on(async {
        let client = machine.client();
        client.read_log(run, Stream::Out, 0, 1 << 20).await
    });
    String::from_utf8_lossy(&log.unwrap().bytes).into_owned()
}

/// Waits until the task's run is known to go on, and its agent has noted that it was started.
#[track_caller]
fn started(machine: &Machine, id: &str) -> Run {
    let mut found = None;
    until("the run starts", || {
        let runs = runs_of(machine, id);
        found = runs
            .into_iter()
            .find(|run| run.state == RunStateName::Running);
        found.is_some() && !starts(machine, id).is_empty()
    });
    found.unwrap()
}

/// Waits for the task's end, and checks that it had one attempt, which is what the store says it is.
#[track_caller]
fn ended_once(machine: &Machine, id: &str) -> Task {
    let waited = machine.ccm(&["task", "wait", id]);
    assert!(matches!(waited.code, 0 | 1), "{waited}");
    let task = task_of(machine, id);
    let runs = runs_of(machine, id);
    let starts = starts(machine, id);
    assert!(task.state.is_final(), "{task:?}");
    assert_eq!(task.attempts, 1, "{task:?}\n{runs:#?}");
    let last = runs.last().unwrap();
    assert_eq!(task.run_id, Some(last.id));
    assert!(last.finished_at.is_some(), "{last:?}");
    for earlier in &runs[..runs.len() - 1] {
        assert_eq!(earlier.state, RunStateName::Failed, "{earlier:?}");
        assert_eq!(earlier.started_at, None, "{earlier:?}");
    }
    match task.state {
        TaskStateName::Succeeded => {
            assert_eq!(starts, [last.id.to_string()]);
            assert_eq!(output(machine, id), format!("{}done\n", task.text));
        }
        _ => assert!(starts.len() <= 1, "{starts:?}"),
    }
    task
}

/// Stops the daemon and the agents, and waits until nothing is left of them.
#[track_caller]
fn nothing_is_left(machine: &Machine) {
    machine.ccm(&["daemon", "stop", "--agents"]).ok();
    machine.until_empty();
}
