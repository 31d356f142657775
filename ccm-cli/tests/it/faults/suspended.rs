//! Processes that stand still for a while: the daemon, a host, everything.

use ccm_core::api::{AgentStateName, TaskStateName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{agent, ended_once, let_go, nothing_is_left, runs_of, soon, started, starts, task_of};
use crate::support::{Machine, block_on, until};

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids {
        kill(Pid::from_raw(i32::try_from(*pid).unwrap()), signal).unwrap();
    }
}

fn agent_state(machine: &Machine) -> AgentStateName {
    let agents = block_on(async { machine.client().agents(None).all().await.unwrap() });
    agents[0].state
}

#[test]
fn a_suspended_daemon_is_told_and_catches_up() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let (ends, follows) = (project.task("a\n"), project.task("b\n"));
    let run = started(&machine, &ends);
    daemon.signal(Signal::SIGSTOP);
    let_go(&machine);
    let record = machine
        .path("ccm/runs")
        .join(run.id.to_string())
        .join("exit");
    until("the agent ends", || record.exists());
    // Whoever asks now gets no answer, and is told so.
    std::thread::scope(|scope| {
        let asked = [
            scope.spawn(|| machine.ccm(&["task", "list"])),
            scope.spawn(|| machine.ccm(&["daemon", "status"])),
            scope.spawn(|| project.ccm_with(&["task", "create"], b"c\n")),
        ];
        for asked in asked {
            let told = asked.join().unwrap().fails(3);
            assert!(told.contains("did not answer"), "{told}");
        }
    });
    daemon.signal(Signal::SIGCONT);
    soon("what ended is known to have", || {
        task_of(&machine, &ends).state == TaskStateName::Succeeded
    });
    for id in [&ends, &follows] {
        assert_eq!(ended_once(&machine, id).state, TaskStateName::Succeeded);
        assert_eq!(runs_of(&machine, id).len(), 1);
    }
    nothing_is_left(&machine);
}

#[test]
fn a_suspended_host_is_shown_and_goes_on() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = agent(&machine, "demo").task("a\n");
    let run = started(&machine, &id);
    until("it works", || {
        agent_state(&machine) == AgentStateName::Working
    });
    let hosts = machine.hosts();
    signal_all(&hosts, Signal::SIGSTOP);
    until("it is shown", || {
        agent_state(&machine) == AgentStateName::Unresponsive
    });
    // The agent itself ends meanwhile; nobody can say how before its host does.
    let_go(&machine);
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Running);
    signal_all(&hosts, Signal::SIGCONT);
    soon("the end is known", || {
        task_of(&machine, &id).state.is_final()
    });
    assert_eq!(ended_once(&machine, &id).state, TaskStateName::Succeeded);
    assert_eq!(starts(&machine, &id), [run.id.to_string()]);
    until("it is idle", || {
        agent_state(&machine) == AgentStateName::Idle
    });
    nothing_is_left(&machine);
}

#[test]
#[cfg(target_os = "linux")]
fn a_suspended_machine_goes_on_where_it_was() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = agent(&machine, "demo").task("a\n");
    let run = started(&machine, &id);
    let all = machine.processes();
    assert!(all.len() >= 3, "the daemon, a host and an agent: {all:?}");
    signal_all(&all, Signal::SIGSTOP);
    let_go(&machine);
    let stopped = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('T'))
    };
    until("everything stands still", || all.iter().all(stopped));
    signal_all(&all, Signal::SIGCONT);
    soon("the end is known", || {
        task_of(&machine, &id).state.is_final()
    });
    assert_eq!(ended_once(&machine, &id).state, TaskStateName::Succeeded);
    assert_eq!(runs_of(&machine, &id)[0].id, run.id);
    nothing_is_left(&machine);
}
