//! What Claude Code asks: shown where people look, answered once, by whoever is first.

use std::time::{Duration, Instant};

use ccm_core::api::{AgentStateName, AskKind, AskStateName, TaskStateName};

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Machine, Project, until};

/// A project whose agent asks before it does anything.
fn asking<'a>(machine: &'a Machine, name: &str) -> Project<'a> {
    let project = machine.plain_project(name);
    project.set("agent.permission_mode", "default");
    project
}

fn touch(file: &str) -> String {
    let command = format!("touch {file}");
    format!("@tool Bash {}", serde_json::json!({ "command": command }))
}

#[test]
fn an_ask_shows_wherever_its_task_or_agent_is_shown() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    let id = project.task(&format!("{}\n@say fine", touch("made")));
    let ask = open_asks(&machine, 1).remove(0);
    assert_eq!(
        (ask.kind, &*ask.title, ask.detail.lines().next()),
        (AskKind::Permission, "Bash: touch made", Some("touch made"))
    );
    let agent = agent(&machine);
    assert_eq!(agent.state, AgentStateName::Waiting);
    assert_eq!(agent.evidence.source, "stream");
    assert_eq!(agent.open_asks[0].id, ask.id);
    assert_eq!(task(&machine, &id).open_asks[0].id, ask.id);
    assert_eq!(run(&machine, &id).open_asks, 1);
    for args in [&["asks"][..], &["task", "show", &id], &["agent", "list"]] {
        let shown = machine.ccm(args);
        assert!(
            format!("{shown}").contains("touch made"),
            "{args:?}: {shown}"
        );
    }
    assert!(machine.ccm(&["task", "list"]).ok().contains("asks"));
    let status = machine.orchestrator(&["daemon", "status"]).ok();
    assert!(status.contains("1"), "{status}");
    let short = ask.id.to_string();
    let said = project.ccm(&["task", "answer", &short[28..], "--allow"]);
    assert_eq!(said.code, 0, "{said}");
    assert!(format!("{said}").contains("allowed"), "{said}");
    project.ccm(&["task", "wait", &id]).ok();
    assert!(project.folder.join("made").exists());
    let over = asks(&machine, &["--all"]).remove(0);
    assert_eq!(over.state, AskStateName::Answered);
    assert!(asks(&machine, &[]).is_empty());
    assert!(
        stub.turns()
            .last()
            .unwrap()
            .tool_results()
            .iter()
            .all(|result| !result.is_error)
    );
}

#[test]
fn a_denial_reaches_the_agent_and_is_no_failure() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    let id = project.task(&format!("{}\n@say then not", touch("made")));
    open_asks(&machine, 1);
    // The task asks one thing, so its id will do.
    let deny = [
        "task",
        "answer",
        &id,
        "--deny",
        "--message",
        "Not on a Friday",
    ];
    project.ccm(&deny).ok();
    project.ccm(&["task", "wait", &id]).ok();
    let results = stub.turns().last().unwrap().tool_results();
    assert!(
        results[0].is_error && results[0].text.contains("Not on a Friday"),
        "{results:?}"
    );
    assert!(!project.folder.join("made").exists());
    let done = task(&machine, &id);
    assert_eq!(
        (done.state, done.result.as_deref()),
        (TaskStateName::Succeeded, Some("then not"))
    );
    assert_eq!(run(&machine, &id).denied, 1);
}

#[test]
fn a_question_is_answered_in_words() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let option = |label: &str| serde_json::json!({ "label": label, "description": "" });
    let question = serde_json::json!({ "questions": [{
        "question": "Which way?", "header": "Way", "multiSelect": false,
        "options": [option("left"), option("right")],
    }]});
    let id = project.task(&format!("@tool AskUserQuestion {question}\n@say going"));
    let ask = open_asks(&machine, 1).remove(0);
    assert_eq!(
        (ask.kind, &ask.options[..]),
        (
            AskKind::Choice,
            &["left".to_owned(), "right".to_owned()][..]
        )
    );
    let wrong = project.ccm(&["task", "answer", &id, "--allow"]);
    assert_ne!(wrong.code, 0, "{wrong}");
    project.ccm(&["task", "answer", &id, "--text", "2"]).ok();
    project.ccm(&["task", "wait", &id]).ok();
    let results = stub.turns().last().unwrap().tool_results();
    assert!(
        results[0].text.contains("right") && !results[0].is_error,
        "{results:?}"
    );
}

#[test]
fn an_answer_counts_once_also_over_restarts_of_the_daemon() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    let id = project.task(&format!("{}\n{}\n@say both", touch("one"), touch("two")));
    let one = open_asks(&machine, 1).remove(0);
    first.kill();
    let second = daemon(&machine, &claude);
    assert_eq!(agent(&machine).state, AgentStateName::Waiting);
    assert_eq!(open_asks(&machine, 1)[0].id, one.id);
    // Ten people at once: one of them is heard, the others are told so.
    let ask = one.id.to_string();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let answer = |at: usize| {
            let flag = if at == 0 { "--allow" } else { "--deny" };
            let (machine, ask) = (&machine, &ask);
            scope.spawn(move || machine.ccm(&["task", "answer", ask, flag]).code)
        };
        let asked: Vec<_> = (0..10).map(answer).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let allowed = codes[0] == 0;
    // The same denial again is no contradiction.
    let denied = codes[1..].iter().filter(|code| **code == 0).count();
    assert_eq!(denied, if allowed { 0 } else { 9 }, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 5].contains(code)), "{codes:?}");
    let two = open_asks(&machine, 1).remove(0);
    assert_ne!(two.id, one.id);
    second.kill();
    let _third = daemon(&machine, &claude);
    project
        .ccm(&["task", "answer", &two.id.to_string(), "--allow"])
        .ok();
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(project.folder.join("one").exists(), allowed);
    assert!(project.folder.join("two").exists());
    assert_eq!(asks(&machine, &["--all"]).len(), 2);
    let told = entries(&project, &id);
    let answers = types(&told)
        .iter()
        .filter(|kind| **kind == "answered")
        .count();
    assert_eq!(answers, 2);
}

#[test]
fn asks_at_once_are_answered_one_by_one() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    // Reading elsewhere has to be asked for, and is done side by side.
    let elsewhere = machine.folder("elsewhere");
    let read = |file: &str| {
        let path = elsewhere.join(file);
        std::fs::write(&path, format!("it is {file}")).unwrap();
        format!("Read {}", serde_json::json!({ "file_path": path }))
    };
    let id = project.task(&format!(
        "@tools {} || {}\n@say ok",
        read("one"),
        read("two")
    ));
    let open = open_asks(&machine, 2);
    let several = project.ccm(&["task", "answer", &id, "--allow"]).fails(2);
    assert!(several.contains(&open[0].id.to_string()[24..]), "{several}");
    let answer = |at: usize, flag: &str| {
        let ask = open[at].id.to_string();
        project.ccm(&["task", "answer", &ask, flag]).ok();
    };
    answer(1, "--deny");
    assert_eq!(agent(&machine).state, AgentStateName::Waiting);
    answer(0, "--allow");
    project.ccm(&["task", "wait", &id]).ok();
    let allowed = if open[0].title.contains("one") {
        "one"
    } else {
        "two"
    };
    let results = stub.turns().last().unwrap().tool_results();
    let read: Vec<_> = results.iter().filter(|result| !result.is_error).collect();
    assert_eq!((results.len(), read.len()), (2, 1), "{results:?}");
    assert!(read[0].text.contains(allowed), "{results:?}");
}

#[test]
fn a_cancel_voids_what_is_asked() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    let id = project.task(&format!("{}\n@say no", touch("made")));
    let ask = open_asks(&machine, 1).remove(0);
    let said = project.ccm(&["task", "cancel", &id]);
    assert_eq!(said.code, 0, "{said}");
    assert!(format!("{said}").contains("is cancelled"), "{said}");
    assert_eq!(task(&machine, &id).state, TaskStateName::Cancelled);
    assert_eq!(asks(&machine, &["--all"])[0].state, AskStateName::Void);
    let late = project
        .ccm(&["task", "answer", &ask.id.to_string(), "--allow"])
        .fails(5);
    assert!(late.contains("nobody waits"), "{late}");
    assert!(!project.folder.join("made").exists());
    until("the agent is idle", || {
        agent(&machine).state == AgentStateName::Idle
    });
}

#[test]
fn the_clock_stands_still_while_a_person_is_asked() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let first = daemon(&machine, &claude);
    let project = asking(&machine, "demo");
    let text = format!("{}\n@say in time", touch("made"));
    let id = project
        .ccm(&["task", "create", "--timeout", "8s", &text])
        .ok();
    let ask = open_asks(&machine, 1).remove(0);
    first.kill();
    let _second = daemon(&machine, &claude);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(9) {
        assert_eq!(task(&machine, &id).state, TaskStateName::Running);
        std::thread::sleep(Duration::from_millis(200));
    }
    project
        .ccm(&["task", "answer", &ask.id.to_string(), "--allow"])
        .ok();
    project.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task(&machine, &id).result.as_deref(), Some("in time"));
}
