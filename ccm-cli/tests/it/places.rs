//! What becomes of a run whose files are deleted or copied under it.

use ccm_core::Reason;
use ccm_core::api::{Run, RunStateName, Task, TaskStateName};
use ccm_core::id::TaskId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, Project, block_on, until};

/// An agent that notes its start and waits until it may end.
fn waiting(machine: &Machine) -> Project<'_> {
    let script = format!(
        "echo start >> '{}'; while [ ! -e '{}' ]; do sleep 0.02; done",
        machine.path("starts").display(),
        machine.path("go").display(),
    );
    machine.project("demo", &["sh", "-c", &script])
}

fn starts(machine: &Machine) -> usize {
    let starts = std::fs::read_to_string(machine.path("starts"));
    starts.unwrap_or_default().lines().count()
}

fn task_of(machine: &Machine, id: &str) -> Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

fn started(machine: &Machine, id: &str) -> Run {
    let id: TaskId = id.parse().unwrap();
    let mut found = None;
    until("the run starts", || {
        let runs = block_on(async { machine.client().runs(id).all().await.unwrap() });
        found = runs
            .into_iter()
            .find(|run| run.state == RunStateName::Running);
        found.is_some() && starts(machine) > 0
    });
    found.unwrap()
}

#[test]
fn a_run_whose_folder_is_deleted_goes_on_and_is_not_done_again() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let id = waiting(&machine).task("x");
    let run = started(&machine, &id);
    std::fs::remove_dir_all(machine.path("ccm/runs")).unwrap();
    daemon.kill();
    let _daemon = machine.daemon();
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Running);
    std::fs::write(machine.path("go"), "").unwrap();
    // What it said is gone with the folder, so nobody can say that it succeeded.
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!((task.run_id, task.attempts), (Some(run.id), 1));
    assert_eq!(starts(&machine), 1);
}

#[test]
fn a_run_whose_folder_is_deleted_can_be_cancelled() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = waiting(&machine).task("x");
    let run = started(&machine, &id);
    std::fs::remove_dir_all(machine.path("ccm/runs").join(run.id.to_string())).unwrap();
    machine.ccm(&["task", "cancel", &id]).ok();
    machine.ccm(&["task", "wait", &id]).fails(1);
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Cancelled);
}

#[test]
fn a_run_of_which_nothing_is_left_is_lost_and_not_done_again() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let id = waiting(&machine).task("x");
    started(&machine, &id);
    daemon.kill();
    for host in machine.hosts() {
        kill(Pid::from_raw(i32::try_from(host).unwrap()), Signal::SIGKILL).unwrap();
    }
    std::fs::remove_dir_all(machine.path("ccm/runs")).unwrap();
    let _daemon = machine.daemon();
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!(
        (task.state, task.reason),
        (TaskStateName::Failed, Some(Reason::Lost))
    );
    assert_eq!(starts(&machine), 1);
}

#[test]
fn the_daemon_of_a_copied_home_leaves_the_runs_of_the_first_alone() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = waiting(&machine).task("x");
    let run = started(&machine, &id);
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([machine.path("ccm"), machine.path("copy")])
        .status();
    assert!(copied.unwrap().success());
    let ended = machine
        .path("copy/runs")
        .join(run.id.to_string())
        .join("stopped");
    assert!(!ended.exists());
    let mut other = machine
        .command::<&str>("ccm-daemon", &[])
        .env("CCM_HOME", machine.path("copy"))
        .spawn()
        .unwrap();
    let copy = ccm_daemon::machine::Home::at(machine.path("copy"));
    until("the copy's daemon is up", || {
        copy.running_daemon()
            .is_some_and(|info| info.pid == other.id())
    });
    // It has adopted: to it the run is over.
    let state = machine
        .command("ccm", &["task", "show", "--json", &id])
        .env("CCM_HOME", machine.path("copy"))
        .output()
        .unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    assert_eq!(state["reason"], "lost", "{state}");
    let stopped = machine
        .command("ccm", &["daemon", "stop", "--agents"])
        .env("CCM_HOME", machine.path("copy"))
        .output()
        .unwrap();
    assert!(stopped.status.success());
    other.wait().unwrap();

    assert_eq!(task_of(&machine, &id).state, TaskStateName::Running);
    std::fs::write(machine.path("go"), "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(starts(&machine), 1);
}
