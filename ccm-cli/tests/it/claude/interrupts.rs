//! Claude Code is interrupted: its turn ends, its conversation stays open, and a person says how it goes on.

use ccm_core::Reason;
use ccm_core::api::{AgentStateName, AskStateName, InputState, TaskStateName};

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Daemon, Machine, Project, block_on, until};

/// Waits until the agent waits for the person who interrupted it.
fn until_it_waits(machine: &Machine) {
    until("the agent waits for a person", || {
        let agent = agent(machine);
        agent.state == AgentStateName::Waiting
            && agent
                .detail
                .is_some_and(|detail| detail.contains("interrupted it; say what"))
    });
}

fn inputs(machine: &Machine, task: &str) -> Vec<InputState> {
    let run = run(machine, task).id;
    let inputs = block_on(async { machine.client().inputs(run).all().await.unwrap() });
    inputs.iter().map(|input| input.state).collect()
}

/// A tool that notes that it was used, and runs until it is ended.
fn endless(project: &Project<'_>) -> String {
    project.set("agent.permission_mode", "bypassPermissions");
    project.set("agent.env", "{IS_SANDBOX: '1'}");
    let used = project.folder.join("used");
    let command = format!("echo $$ >> {}; sleep 1000", used.display());
    format!("@tool Bash {}", serde_json::json!({ "command": command }))
}

#[test]
fn an_answer_that_comes_is_cut_and_the_next_message_goes_on() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("The word is quagga.\n@stall never one two");
    stub.waits_at("never");
    let said = project.ccm(&["task", "interrupt", &id]);
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stderr.contains("ccm agent send"), "{said}");
    until_it_waits(&machine);
    let waiting = task(&machine, &id);
    assert_eq!(
        (waiting.state, waiting.reason),
        (TaskStateName::Running, Some(Reason::Interrupted))
    );
    for args in [&["task", "show", &id][..], &["agent", "list"]] {
        let shown = machine.ccm(args);
        assert!(format!("{shown}").contains("interrupted it"), "{shown}");
    }
    project
        .ccm(&["agent", "send", "demo", "What was it?\n@say that one"])
        .ok();
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!(
        (done.state, done.result.as_deref(), done.reason),
        (TaskStateName::Succeeded, Some("that one"), None)
    );
    // One run, one program, one conversation.
    let run = run(&machine, &id);
    assert_eq!(run.exit_code, Some(0));
    let last = stub.turns().last().unwrap().body.to_string();
    assert!(last.contains("quagga") && last.contains("interrupted by user"));
    assert_eq!(inputs(&machine, &id), [InputState::Delivered; 2]);
    let told = entries(&project, &id);
    assert!(
        told.iter()
            .any(|entry| entry["type"] == "note" && entry["text"] == "interrupted"),
        "{told:#?}"
    );
}

#[test]
fn an_interrupt_with_a_text_goes_on_at_once() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let tool = endless(&project);
    let id = project.task(&format!("{tool}\n@say never"));
    let used = project.folder.join("used");
    until("the tool runs", || used.exists());
    let said = project
        .ccm(&[
            "agent",
            "interrupt",
            "--json",
            "demo",
            "Rather this.\n@say done so",
        ])
        .json();
    assert_eq!(said["message"]["kind"], "message");
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task(&machine, &id).result.as_deref(), Some("done so"));
    assert_eq!(inputs(&machine, &id), [InputState::Delivered; 2]);
    // The tool is gone, and was told as stopped.
    let pid = std::fs::read_to_string(&used).unwrap();
    let process = format!("/proc/{}", pid.trim());
    until("the tool has ended", || {
        !std::path::Path::new(&process).exists()
    });
    let results = stub.turns().last().unwrap().tool_results();
    assert!(results[0].is_error, "{results:?}");
}

#[test]
fn what_it_asks_is_taken_back() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    project.set("agent.permission_mode", "default");
    let id = project.task("@tool Bash {\"command\":\"touch made\"}\n@say never");
    let ask = open_asks(&machine, 1).remove(0);
    project.ccm(&["task", "interrupt", &id]).ok();
    until_it_waits(&machine);
    assert_eq!(asks(&machine, &["--all"])[0].state, AskStateName::Void);
    let late = project
        .ccm(&["task", "answer", &ask.id.to_string(), "--allow"])
        .fails(5);
    assert!(late.contains("nobody waits"), "{late}");
    project.ccm(&["agent", "send", "demo", "@say well"]).ok();
    project.ccm(&["task", "wait", &id]).ok();
    assert!(!project.folder.join("made").exists());
    // Nobody denied anything.
    assert_eq!(run(&machine, &id).denied, 0);
}

#[test]
fn a_cancel_ends_what_waits_for_a_person() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project
        .ccm(&["task", "create", "--retries", "3", "@stall never a b"])
        .ok();
    stub.waits_at("never");
    project.ccm(&["task", "interrupt", &id]).ok();
    until_it_waits(&machine);
    project.ccm(&["task", "cancel", &id]).ok();
    assert_eq!(task(&machine, &id).state, TaskStateName::Cancelled);
    until("the agent is idle", || {
        agent(&machine).state == AgentStateName::Idle
    });
}

/// Nobody but a person is to go on with it, so it is not tried again either.
#[test]
fn what_dies_while_it_waits_for_a_person_stays_so() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project
        .ccm(&["task", "create", "--retries", "3", "@stall never a b"])
        .ok();
    stub.waits_at("never");
    project.ccm(&["task", "interrupt", &id]).ok();
    until_it_waits(&machine);
    for host in machine.hosts() {
        let host = nix::unistd::Pid::from_raw(i32::try_from(host).unwrap());
        nix::sys::signal::kill(host, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("the task ends", || task(&machine, &id).state.is_final());
    let done = task(&machine, &id);
    assert_eq!(
        (done.state, done.reason),
        (TaskStateName::Failed, Some(Reason::Interrupted))
    );
    assert_eq!(runs(&machine, &id).len(), 1);
}

#[test]
fn a_program_of_another_driver_can_only_be_cancelled() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "cat; sleep 1000"]);
    let id = project.task("x");
    until("it runs", || {
        agent(&machine).state == AgentStateName::Working
    });
    let refused = project.ccm(&["task", "interrupt", &id]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("cancel the task"), "{refused}");
    assert_eq!(inputs(&machine, &id), []);
    project.ccm(&["task", "cancel", &id]).ok();
}

/// The daemon is killed at a step of an interrupt with a message, and the next one does what is left of it, once.
fn daemon_dies_at(barrier: &str) {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("@stall never a b");
    stub.waits_at("never");
    machine.hold(barrier);
    let text = "Rather this.\n@say done so";
    let args = ["task", "interrupt", "--json", &id, text];
    let (wish, _second) = std::thread::scope(|scope| {
        let wish = scope.spawn(|| project.ccm(&args));
        machine.reached(barrier);
        first.kill();
        machine.release(barrier);
        let second = daemon(&machine, &claude);
        project.ccm(&["task", "wait", &id]).ok();
        (wish.join().unwrap(), second)
    });
    assert_eq!(wish.code, 0, "{wish}");
    assert_eq!(task(&machine, &id).result.as_deref(), Some("done so"));
    assert_eq!(inputs(&machine, &id), [InputState::Delivered; 2]);
    let last = stub.turns().last().unwrap().body.to_string();
    assert_eq!(last.matches("Rather this.").count(), 1);
    assert_eq!(last.matches("interrupted by user").count(), 1);
    assert_eq!(runs(&machine, &id).len(), 1);
}

#[test]
fn a_daemon_dies_before_it_hands_the_interrupt_over() {
    daemon_dies_at("input.accepted");
}

#[test]
fn a_daemon_dies_before_it_notes_the_interrupt_as_sent() {
    daemon_dies_at("input.sent");
}

#[test]
fn a_daemon_dies_before_it_has_taken_in_what_came_of_it() {
    daemon_dies_at("intake.read");
}

/// It waits for a person whatever daemon looks.
#[test]
fn who_waits_for_a_person_waits_over_restarts() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let mut running: Option<Daemon<'_>> = Some(daemon(&machine, &claude));
    let project = machine.plain_project("demo");
    let id = project.task("@stall never a b");
    stub.waits_at("never");
    // The wish is accepted, and nobody has acted on it.
    machine.hold("input.accepted");
    let accepted = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| project.ccm(&["task", "interrupt", &id]));
        machine.reached("input.accepted");
        running.take().unwrap().kill();
        machine.release("input.accepted");
        running = Some(daemon(&machine, &claude));
        accepted.join().unwrap()
    });
    assert_eq!(accepted.code, 0, "{accepted}");
    until_it_waits(&machine);
    let host = machine.hosts();
    for _ in 0..2 {
        running.take().unwrap().kill();
        running = Some(daemon(&machine, &claude));
        until_it_waits(&machine);
    }
    assert_eq!(machine.hosts(), host);
    assert_eq!(inputs(&machine, &id), [InputState::Delivered]);
    project.ccm(&["agent", "send", "demo", "@say at last"]).ok();
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task(&machine, &id).result.as_deref(), Some("at last"));
}
