//! Claude Code at work on tasks: what it is given, what it does, and where that is told.

use ccm_core::api::{AgentStateName, TaskStateName};

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Machine, Project, until};

fn write(project: &Project<'_>, file: &str, text: &str) -> String {
    let path = project.folder.join(file);
    let input = serde_json::json!({ "file_path": path, "content": text });
    format!("@tool Write {input}")
}

fn bash(command: &str) -> String {
    format!("@tool Bash {}", serde_json::json!({ "command": command }))
}

#[test]
fn a_task_is_done_and_told_everywhere() {
    let machine = Machine::with_tmux();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let skill = project.folder.join(".ccm/skills/deploy");
    std::fs::create_dir_all(&skill).unwrap();
    let text = "---\nname: deploy\ndescription: Deploys by the zanzibar way\n---\nDo it.\n";
    std::fs::write(skill.join("SKILL.md"), text).unwrap();
    project.set("agent.model", "claude-sonnet-5-5");
    project.set(
        "agent.args",
        "[--append-system-prompt, 'Speak of pangolins.']",
    );
    // What a shell expands is asked about otherwise.
    project.set("agent.permission_mode", "bypassPermissions");
    project.set("agent.env", "{GREETING: from the project, IS_SANDBOX: '1'}");
    // Bytes that shells, terminals and JSON would change.
    let nasty = "-p \"'$(reboot)`x`\\ \u{1b}[201~ \u{7f}\u{2028}🦀\r";
    let prompt = format!(
        "{nasty}\n{}\n{}\n@say Done: **all** of it.",
        write(&project, "out.txt", "made\n"),
        bash("cat out.txt; echo $GREETING"),
    );
    let id = project.task(&prompt);
    assert_eq!(
        project.ccm(&["task", "wait", &id]).ok(),
        format!("{id} succeeded")
    );

    // What the model got.
    let turns = stub.turns();
    let first = turns.first().unwrap();
    assert_eq!(first.model(), Some("claude-sonnet-5-5"));
    assert!(first.last_user_text().unwrap().contains(&prompt));
    let body = first.body.to_string();
    assert!(body.contains("zanzibar"), "the skill is not there");
    assert!(body.contains("Speak of pangolins."));
    let results = turns.last().unwrap().tool_results();
    assert!(
        results
            .iter()
            .any(|result| result.text.contains("made\nfrom the project"))
    );

    // What came of it.
    assert_eq!(
        std::fs::read_to_string(project.folder.join("out.txt")).unwrap(),
        "made\n"
    );
    let done = task(&machine, &id);
    assert_eq!(done.result.as_deref(), Some("Done: **all** of it."));
    let run = run(&machine, &id);
    // Three answers of the stub: 100 in, 20 into and 30 from the cache, 50 out each.
    let usage = run.usage;
    assert_eq!(
        (
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_write_tokens,
            usage.cache_read_tokens
        ),
        (300, 150, 60, 90)
    );
    assert!(run.cost_usd.unwrap() > 0.0);
    assert_eq!(done.cost_usd, run.cost_usd);
    assert_eq!(run.exit_code, Some(0));
    assert_eq!(run.session_id.as_deref(), first.session());

    // Where people see it.
    let told = entries(&project, &id);
    assert_eq!(
        types(&told),
        [
            "session",
            "prompt",
            "text",
            "tool_use",
            "tool_result",
            "text",
            "tool_use",
            "tool_result",
            "text",
            "result"
        ]
    );
    let shown = project.ccm(&["task", "logs", &id]).ok();
    let log = std::fs::read_to_string(project.folder.join(".ccm/agent.log")).unwrap();
    let socket = machine.ccm(&["config", "get", "agents.tmux_socket"]).ok();
    let mut pane = String::new();
    until("the pane shows the end", || {
        let mut tmux = std::process::Command::new("tmux");
        tmux.env("TMUX_TMPDIR", machine.path("tmux"));
        let tmux = tmux.args([
            "-L",
            &socket,
            "capture-pane",
            "-p",
            "-J",
            "-S",
            "-",
            "-t",
            "demo",
        ]);
        pane = String::from_utf8(tmux.output().unwrap().stdout).unwrap();
        pane.contains("exit code 0")
    });
    for place in [&shown, &log, &pane] {
        for words in [
            "● Write",
            "● Bash cat out.txt",
            "made",
            "Done: **all** of it.",
            "tokens in",
        ] {
            assert!(place.contains(words), "{words:?} is not in\n{place}");
        }
        assert!(!place.contains("\"type\":"), "{place}");
    }
    assert!(!log.contains('\u{1b}'));
    assert!(machine.ccm(&["task", "show", &id]).ok().contains("cost:"));
}

#[test]
fn tools_run_side_by_side() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let read = |file: &str, text: &str| {
        let path = project.folder.join(file);
        std::fs::write(&path, text).unwrap();
        format!("Read {}", serde_json::json!({ "file_path": path }))
    };
    let (a, b) = (read("a.txt", "alpha"), read("b.txt", "beta"));
    let id = project.task(&format!("@tools {a} || {b}\n@say both"));
    project.ccm(&["task", "wait", &id]).ok();
    let results = stub.turns().last().unwrap().tool_results();
    let texts: String = results.iter().map(|result| result.text.as_str()).collect();
    assert!(
        results.len() == 2 && texts.contains("alpha") && texts.contains("beta"),
        "{texts}"
    );
    assert_eq!(run(&machine, &id).usage.output_tokens, 100);
}

#[test]
fn a_message_reaches_the_running_agent_once() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("@hold first\n@say one");
    stub.waits_at("first");
    let sent = project
        .ccm(&["agent", "send", "--json", "demo", "More of it.\n@say two"])
        .json();
    assert_eq!(sent["kind"], "message");
    let run_id = run(&machine, &id).id.to_string();
    let state = |at: usize| -> String {
        let inputs = project.ccm(&["task", "show", "--json", &id]);
        assert_eq!(inputs.code, 0);
        let run: ccm_core::id::RunId = run_id.parse().unwrap();
        let inputs =
            crate::support::block_on(async { machine.client().inputs(run).all().await.unwrap() });
        inputs[at].state.as_str().to_owned()
    };
    until("the program has the message", || state(0) == "delivered");
    stub.open("first");
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!(
        (done.state, done.result.as_deref()),
        (TaskStateName::Succeeded, Some("two"))
    );
    // Two turns in one process, and one message in what the model got.
    let run = run(&machine, &id);
    assert_eq!(run.usage.output_tokens, 100);
    let last = stub.turns().last().unwrap().body.to_string();
    assert_eq!(last.matches("More of it.").count(), 1);
    let late = project.ccm(&["agent", "send", "demo", "anybody?"]).fails(5);
    assert!(late.contains("--session continue"), "{late}");
}

#[test]
fn a_second_task_goes_on_with_the_conversation() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let first = project.task("The word is quagga.\n@say noted");
    project.ccm(&["task", "wait", &first]).ok();
    let create = [
        "task",
        "create",
        "--session",
        "continue",
        "What was it?\n@say that one",
    ];
    let second = project.ccm(&create).ok();
    let fresh = project.task("Something else.\n@say new");
    project.ccm(&["task", "wait", &second, &fresh]).ok();
    let (one, two) = (run(&machine, &first), run(&machine, &second));
    assert_eq!(one.session_id, two.session_id);
    assert_ne!(run(&machine, &fresh).session_id, one.session_id);
    // The whole conversation is there, and its price is counted once.
    let turns = stub.turns();
    let with_history = turns
        .iter()
        .filter(|turn| turn.body.to_string().contains("quagga"));
    assert_eq!(with_history.count(), 2);
    assert_eq!(one.cost_usd, two.cost_usd);
    assert_eq!(two.usage.output_tokens, 50);

    // A conversation that somebody deleted is begun anew instead.
    std::fs::remove_dir_all(machine.path("home/.claude/projects")).unwrap();
    let third = project
        .ccm(&[
            "task",
            "create",
            "--session",
            "continue",
            "And now?\n@say fine",
        ])
        .ok();
    project.ccm(&["task", "wait", &third]).ok();
    let runs = runs(&machine, &third);
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert!(runs[0].detail.as_deref().unwrap().contains("is gone"));
    assert_eq!(task(&machine, &third).attempts, 1);
}

#[test]
fn an_agent_that_slept_goes_on_with_its_conversation() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    machine.set("agents.max_idle_time", "1");
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    project.set("tasks.session", "continue");
    let first = project.task("The word is quagga.\n@say noted");
    project.ccm(&["task", "wait", &first]).ok();
    until("it sleeps", || {
        machine.hosts().is_empty() && agent(&machine).state == AgentStateName::Stopped
    });
    let second = project.task("What was it?\n@say that one");
    project.ccm(&["task", "wait", &second]).ok();
    let (one, two) = (run(&machine, &first), run(&machine, &second));
    assert!(one.session_id.is_some());
    assert_eq!(one.session_id, two.session_id);
    assert_eq!(task(&machine, &second).attempts, 1);
    // What it sends names the session, and has what was said before it slept.
    let turns = stub.turns();
    let last = turns.last().unwrap();
    assert!(last.body.to_string().contains("quagga"));
    assert_eq!(last.session(), one.session_id.as_deref());
}

#[test]
fn a_megabyte_of_output_is_taken_in() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("@big 1048576\n@say end");
    project.ccm(&["task", "wait", &id]).ok();
    let told = entries(&project, &id);
    let texts: usize = told
        .iter()
        .filter(|entry| entry["type"] == "text")
        .map(|entry| entry["text"].as_str().unwrap().len())
        .sum();
    assert!(texts >= 1_048_576, "{texts}");
    let done = task(&machine, &id);
    assert_eq!(done.result.map(|text| text.len() >= 1_048_576), Some(true));
}

#[test]
fn work_in_the_background_is_waited_for() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    project.set("agent.permission_mode", "bypassPermissions");
    project.set("agent.env", "{IS_SANDBOX: '1'}");
    let (mark, go) = (project.folder.join("mark"), project.folder.join("go"));
    let command = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; touch {}",
        go.display(),
        mark.display()
    );
    let input = serde_json::json!({ "command": command, "run_in_background": true });
    let id = project.task(&format!(
        "@tool Bash {input}\n@say started it\n@say it is over"
    ));
    until("it was started", || !runs(&machine, &id).is_empty());
    until("the turn is over", || {
        let told = entries(&project, &id);
        types(&told).contains(&"result")
    });
    let waiting = task(&machine, &id);
    assert_eq!(
        (waiting.state, waiting.result),
        (TaskStateName::Running, None)
    );
    std::fs::write(go, "").unwrap();
    project.ccm(&["task", "wait", &id]).ok();
    assert!(mark.exists());
    assert_eq!(task(&machine, &id).result.as_deref(), Some("it is over"));
    drop(_daemon);
    machine.ccm(&["daemon", "stop", "--agents"]);
}

#[test]
fn three_projects_work_at_once() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let names = ["one", "two", "three"];
    let projects = names.map(|name| machine.plain_project(name));
    let tasks = names.map(|name| {
        let project = &projects[names.iter().position(|other| *other == name).unwrap()];
        let file = write(project, "made.txt", name);
        project.task(&format!("@hold {name}\n{file}\n@say {name} done"))
    });
    for name in names {
        stub.waits_at(name);
    }
    let agents = machine.ccm(&["agent", "list", "--json"]).json();
    let working = agents.as_array().unwrap().iter();
    assert_eq!(
        working.filter(|agent| agent["state"] == "working").count(),
        3,
        "{agents}"
    );
    names.iter().for_each(|name| stub.open(name));
    for ((name, id), project) in names.iter().zip(&tasks).zip(&projects) {
        machine.ccm(&["task", "wait", id]).ok();
        assert_eq!(task(&machine, id).result, Some(format!("{name} done")));
        let made = std::fs::read_to_string(project.folder.join("made.txt")).unwrap();
        assert_eq!(made, *name);
    }
    until("all are idle", || {
        let agents = machine.ccm(&["agent", "list", "--json"]).json();
        let mut agents = agents.as_array().unwrap().iter();
        agents.all(|agent| agent["state"] == AgentStateName::Idle.as_str())
    });
}
