//! A person takes an agent over: they sit with the real Claude Code in its window, and hand it back.

use ccm_core::Reason;
use ccm_core::api::{TaskStateName, Wanted};
use serde_json::{Value, json};

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Daemon, Machine, until};

/// Claude Code asks nobody whether it may work in this folder.
fn trust(machine: &Machine, folder: &std::path::Path) {
    let file = machine.path("home/.claude.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let folder = folder.canonicalize().unwrap();
    state["projects"][folder.to_str().unwrap()] = json!({ "hasTrustDialogAccepted": true });
    std::fs::write(&file, state.to_string()).unwrap();
}

fn screen(machine: &Machine) -> String {
    machine.tmux(&["capture-pane", "-p", "-t", "demo"])
}

fn until_shown(machine: &Machine, words: &str) {
    until(&format!("{words:?} is shown"), || {
        screen(machine).contains(words)
    });
}

fn keys(machine: &Machine, words: &str) {
    machine.tmux(&["send-keys", "-t", "demo", "-l", words]);
    until_shown(machine, words);
    machine.tmux(&["send-keys", "-t", "demo", "Enter"]);
}

/// The processes that carry a mark of a run or of a session, in a home of the tests.
fn marked(machine: &Machine) -> Vec<u32> {
    let has_mark = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|entry| entry.starts_with(b"CCM_RUN_ID="))
    };
    machine.processes().into_iter().filter(has_mark).collect()
}

#[test]
fn a_person_goes_on_with_the_conversation_and_hands_it_back() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let mut running: Option<Daemon<'_>> = Some(daemon(&machine, &claude));
    let project = machine.plain_project("demo");
    trust(&machine, &project.folder);
    let first = project.task("The word is quagga.\n@say noted");
    project.ccm(&["task", "wait", &first]).ok();

    let said = project.ccm(&["agent", "take-over", "demo"]);
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stderr.contains("hand-back"), "{said}");
    // The conversation is there.
    until_shown(&machine, "noted");
    keys(&machine, "plain words of a person");
    until("the model has heard it", || {
        let turns = stub.turns();
        let last = turns.last().unwrap().body.to_string();
        last.contains("plain words of a person") && last.contains("quagga")
    });

    // Meanwhile tasks wait, and every list says why.
    let create = ["task", "create", "--session", "continue", "@say that one"];
    let second = project.ccm(&create).ok();
    let shown = agent(&machine);
    assert_eq!(shown.wanted, Wanted::Taken);
    assert!(shown.detail.unwrap().contains("has taken the agent over"));
    for (args, words) in [
        (&["task", "list"][..], "agent_taken"),
        (&["task", "show", &second], "hand-back demo"),
        (&["project", "list"], "hand-back demo"),
        (&["agent", "list"], "hand-back demo"),
    ] {
        let told = format!("{}", machine.ccm(args));
        assert!(told.contains(words), "{args:?}: {told}");
    }
    assert_eq!(task(&machine, &second).reason, Some(Reason::AgentTaken));
    for args in [
        &["agent", "stop", "demo", "--yes"],
        &["agent", "restart", "demo", "--yes"],
    ] {
        let refused = machine.ccm(args).fails(5);
        assert!(refused.contains("hand-back demo"), "{refused}");
    }

    // A daemon that comes and goes disturbs nobody.
    let sitting = marked(&machine);
    assert!(!sitting.is_empty());
    running.take().unwrap().kill();
    running = Some(daemon(&machine, &claude));
    until("the agent is there again", || {
        agent(&machine).window.is_some()
    });
    // What the program starts beside comes and goes.
    let now = marked(&machine);
    assert!(now.iter().any(|pid| sitting.contains(pid)), "{now:?}");
    assert_eq!(task(&machine, &second).state, TaskStateName::Queued);

    project.ccm(&["agent", "hand-back", "demo"]).ok();
    project.ccm(&["task", "wait", &second]).ok();
    assert_eq!(agent(&machine).wanted, Wanted::Up);
    let (one, two) = (run(&machine, &first), run(&machine, &second));
    assert_eq!(one.session_id, two.session_id);
    let last = stub.turns().last().unwrap().body.to_string();
    for words in ["quagga", "plain words of a person"] {
        assert!(last.contains(words), "{words}");
    }
    // The window shows runs again, and nothing of the session is left.
    until_shown(&machine, "exit code 0");
    until("nothing is left", || marked(&machine).is_empty());
    assert!(
        !machine
            .path("ccm/agents")
            .join(agent(&machine).id.to_string())
            .join("sitting.json")
            .exists()
    );
    drop(running);
}

#[test]
fn a_session_that_ends_by_itself_says_how_to_go_on() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    trust(&machine, &project.folder);
    project.ccm(&["agent", "take-over", "demo"]).ok();
    // A new conversation: there was none.
    until_shown(&machine, "Claude Code");
    until("it takes keys", || screen(&machine).contains('❯'));
    keys(&machine, "/exit");
    until_shown(&machine, "ccm agent hand-back demo");
    assert_eq!(agent(&machine).wanted, Wanted::Taken);
    machine.tmux(&["send-keys", "-t", "demo", "Enter"]);
    until("it is there again", || !marked(&machine).is_empty());
    // A window that is lost with the whole server is drawn again, with a session in it.
    let before = marked(&machine);
    machine.tmux(&["kill-server"]);
    until("another one is there", || {
        let now = marked(&machine);
        !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
    });
    project.ccm(&["agent", "hand-back", "demo"]).ok();
    until("nothing is left", || marked(&machine).is_empty());
    let id = project.task("@say as good as before");
    project.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn an_agent_at_work_is_not_taken_over() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("@hold go\n@say done");
    stub.waits_at("go");
    let refused = project.ccm(&["agent", "take-over", "demo"]).fails(5);
    assert!(refused.contains("cancel its task"), "{refused}");
    assert_eq!(agent(&machine).wanted, Wanted::Up);
    stub.open("go");
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task(&machine, &id).result.as_deref(), Some("done"));
}

#[test]
fn without_terminals_nobody_sits() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let refused = project.ccm(&["agent", "take-over", "demo"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("agents.runtime"), "{refused}");
    assert_eq!(agent(&machine).wanted, Wanted::Up);
    let id = project.task("@say still at work");
    project.ccm(&["task", "wait", &id]).ok();
}

/// Asks for something in the middle of which the daemon is killed, and starts the next one.
fn daemon_dies_at<'a>(
    machine: &'a Machine,
    claude: &Claude<'_>,
    first: Daemon<'a>,
    barrier: &str,
    args: &[&str],
) -> Daemon<'a> {
    machine.hold(barrier);
    std::thread::scope(|scope| {
        // Whether it hears of the outcome is not what this is about.
        scope.spawn(|| drop(machine.ccm(args)));
        machine.reached(barrier);
        first.kill();
    });
    machine.release(barrier);
    daemon(machine, claude)
}

#[test]
fn a_daemon_dies_before_a_session_begins() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    trust(&machine, &project.folder);
    let args = ["agent", "take-over", "demo"];
    let _second = daemon_dies_at(&machine, &claude, first, "agent.taken", &args);
    assert_eq!(agent(&machine).wanted, Wanted::Taken);
    until_shown(&machine, "Claude Code");
    let id = project.task("@say done");
    assert_eq!(task(&machine, &id).reason, Some(Reason::AgentTaken));
    project.ccm(&["agent", "hand-back", "demo"]).ok();
    project.ccm(&["task", "wait", &id]).ok();
}

/// It is as if it had never been asked: nobody may go on with the conversation but the person.
#[test]
fn a_daemon_dies_before_it_notes_that_an_agent_is_back() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    trust(&machine, &project.folder);
    project.ccm(&["agent", "take-over", "demo"]).ok();
    until("somebody sits there", || !marked(&machine).is_empty());
    let before = marked(&machine);
    let args = ["agent", "hand-back", "demo"];
    let _second = daemon_dies_at(&machine, &claude, first, "agent.left", &args);
    assert_eq!(agent(&machine).wanted, Wanted::Taken);
    until("there is another session", || {
        let now = marked(&machine);
        !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
    });
    project.ccm(&args).ok();
    assert_eq!(agent(&machine).wanted, Wanted::Up);
    until("nothing is left", || marked(&machine).is_empty());
}
