//! `kill -9` of the daemon while an agent is stopped, put to sleep, woken or given a new place.
//!
//! | killed | what must be true after the next start |
//! | --- | --- |
//! | before an idle agent is put to sleep | it is up |
//! | after that was decided, with its host still there | it sleeps, its host goes, and a task wakes it |
//! | after a stop was decided, with a run in hand | the run ends as `lost`, the host goes, and nothing starts it |
//! | after the place of a restart was taken away | it is up in a new place |
//! | after a sleeper's task was claimed, before it was launched | the task is done in one attempt |

use ccm_core::api::{AgentStateName, TaskStateName, Wanted};

use super::{agent, go, patient, task, until_state};
use crate::support::{Machine, until};

/// Has another thread run `ccm` with these arguments while the daemon is killed at the barrier.
fn killed_at(machine: &Machine, step: &str, args: &[&str]) {
    let pid = machine.info().unwrap().pid;
    machine.hold(step);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| machine.ccm(args));
        machine.reached(step);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid as i32),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        let answer = asked.join().unwrap();
        assert_ne!(answer.code, 0, "{answer}");
    });
    machine.release(step);
    until("the daemon is gone", || machine.info().is_none());
}

#[test]
fn killed_before_an_agent_is_put_to_sleep() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    killed_at(&machine, "idle.seen", &["agent", "cleanup"]);
    drop(daemon);
    let _daemon = machine.daemon();
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Up);
    assert_eq!(machine.hosts().len(), 1);
}

#[test]
fn killed_after_an_agent_was_to_sleep() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    killed_at(&machine, "idle.asleep", &["agent", "cleanup"]);
    drop(daemon);
    assert_eq!(machine.hosts().len(), 1);
    let _daemon = machine.daemon();
    until("its place goes", || machine.hosts().is_empty());
    until_state(&machine, "demo", AgentStateName::Stopped);
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Asleep);
    let id = project.task("hello");
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task(&machine, &id).attempts, 1);
}

#[test]
fn killed_after_an_agent_was_to_stop() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = patient(&machine, "demo");
    let id = project.task("x");
    until_state(&machine, "demo", AgentStateName::Working);
    killed_at(&machine, "agent.down", &["agent", "stop", "demo", "--yes"]);
    drop(daemon);
    let _daemon = machine.daemon();
    until("its run is over", || task(&machine, &id).state.is_final());
    let lost = task(&machine, &id);
    assert_eq!(lost.state, TaskStateName::Failed);
    assert_eq!(lost.reason.unwrap().as_str(), "lost");
    until("its place goes", || machine.hosts().is_empty());
    until_state(&machine, "demo", AgentStateName::Stopped);
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Down);
    project.ccm(&["task", "retry", &id]).ok();
    go(&project);
    assert_eq!(task(&machine, &id).state, TaskStateName::Queued);
    project.ccm(&["agent", "start"]).ok();
    project.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn killed_between_two_places() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    killed_at(&machine, "agent.restarting", &["agent", "restart", "demo"]);
    drop(daemon);
    assert!(machine.hosts().is_empty());
    let _daemon = machine.daemon();
    until_state(&machine, "demo", AgentStateName::Idle);
    until("it has a host", || machine.hosts().len() == 1);
}

#[test]
fn killed_while_a_task_wakes_an_agent() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    machine.ccm(&["agent", "cleanup"]).ok();
    machine.hold("launch.1.placing");
    let asked = project.task_up_to("launch.1.placing", "hello");
    daemon.kill();
    machine.release("launch.1.placing");
    let _daemon = machine.daemon();
    let id = asked.id();
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!((done.state, done.attempts), (TaskStateName::Succeeded, 1));
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Up);
}
