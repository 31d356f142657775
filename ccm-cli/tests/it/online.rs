//! Every command against a daemon that runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use insta::assert_snapshot;

use crate::support::{Machine, Ran, until};

#[test]
fn projects_are_registered_listed_paused_and_removed() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    machine.snapshots(|| {
        assert_snapshot!("project_list_empty", machine.ccm(&["project", "list"]));
        let demo = machine.folder("demo");
        assert_snapshot!("init", machine.ccm_in(&demo, &["init"]));
        assert_snapshot!("init_twice", machine.ccm_in(&demo, &["init"]));
        let other = machine.folder("other");
        let path = other.to_str().unwrap();
        assert_snapshot!(
            "project_add",
            machine.orchestrator(&["project", "add", path, "--name", "repo-1"])
        );
        assert_snapshot!(
            "init_name_taken",
            machine.ccm(&["init", "third", "--name", "repo-1"])
        );
        assert_snapshot!("project_list", machine.ccm(&["project", "list"]));
        machine.ccm_in(&demo, &["project", "pause"]).ok();
        assert_snapshot!("project_list_paused", machine.ccm(&["project", "list"]));
        machine.ccm(&["project", "resume", "demo"]).ok();
        assert_snapshot!("project_show", machine.ccm(&["project", "show", "demo"]));
        assert_snapshot!("project_typo", machine.ccm(&["project", "show", "dmeo"]));
        assert_snapshot!(
            "project_remove",
            machine.ccm(&["project", "remove", "repo-1"])
        );
        assert_snapshot!(
            "project_remove_again",
            machine.ccm(&["project", "remove", "repo-1"])
        );
        assert!(other.join(".ccm/config.yaml").exists());
    });
    let list = machine.ccm(&["project", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], "demo");
}

#[test]
fn names_that_are_taken_get_a_number_and_copies_an_id_of_their_own() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let first = machine.folder("a/same");
    let second = machine.folder("b/same");
    let id = machine.ccm_in(&first, &["init"]).ok();
    let registered = machine.ccm_in(&second, &["init", "--json"]).json();
    assert_eq!(registered["project"]["name"], "same-2");
    let copy = machine.path("work/copy");
    let copied = Command::new("cp")
        .args(["-R".as_ref(), first.as_os_str(), copy.as_os_str()])
        .status()
        .unwrap();
    assert!(copied.success());
    let made = machine.ccm_in(&copy, &["init"]);
    assert_ne!(made.ok(), id);
    machine.snapshots(|| assert_snapshot!("init_copy", made));
}

#[test]
fn a_moved_project_is_found_again() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = machine.ccm_in(&machine.folder("old"), &["init"]).ok();
    let new = machine.path("work/new");
    std::fs::rename(machine.path("work/old"), &new).unwrap();
    let moved = machine.ccm_in(&new, &["init"]);
    assert_eq!(moved.ok(), id);
    machine.snapshots(|| assert_snapshot!("init_moved", moved));
}

#[test]
fn a_task_goes_from_its_text_to_its_result() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "printf 'got: '; cat; echo oops >&2"]);
    let text = "- quotes ' \" ; `x` $HOME\n\u{1b}[201~ ö\n\n";
    let id = project.task(text);
    assert_eq!(id.len(), 36);
    let waited = machine.ccm(&["task", "wait", &id]);
    assert_eq!(waited.ok(), format!("{id} succeeded"), "{waited}");
    let log = machine.ccm(&["task", "logs", &id]);
    assert_eq!(log.stdout, format!("got: {text}").as_bytes());
    let end = &id[30..];
    assert_eq!(machine.ccm(&["task", "logs", end, "--stderr"]).ok(), "oops");
    assert_eq!(machine.ccm(&["task", "logs", end, "-f"]).stdout, log.stdout);
    let task = machine.ccm(&["task", "show", end, "--json"]).json();
    assert_eq!(task["text"], text);
    assert_eq!(task["state"], "succeeded");
    assert_eq!(task["created_by"], "cli");
    machine.snapshots(|| {
        assert_snapshot!("task_show", machine.ccm(&["task", "show", &id]));
        assert_snapshot!("task_list", machine.ccm(&["task", "list"]));
        assert_snapshot!("task_cancel_ended", machine.ccm(&["task", "cancel", &id]));
    });
    let listed = machine
        .ccm(&["task", "list", "--state", "succeeded", "--json"])
        .json();
    assert_eq!(listed[0]["id"], *id);
    assert_snapshot!(
        "task_list_none",
        machine.ccm(&["task", "list", "--state", "failed"])
    );
}

#[test]
fn the_largest_text_arrives_byte_for_byte() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let mut text = "\u{1}\\\"ö\n".repeat(1024 * 1024 / 6);
    text.truncate(1024 * 1024);
    let id = project.task(&text);
    machine.ccm(&["task", "wait", &id]).ok();
    assert!(machine.ccm(&["task", "logs", &id]).stdout == text.as_bytes());
}

#[test]
fn a_failed_task_says_why_and_can_be_tried_again() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "exit 3"]);
    let id = project.ccm(&["task", "create", "fail", "please"]).ok();
    let waited = machine.ccm(&["task", "wait", &id]);
    assert_eq!(waited.code, 1, "{waited}");
    machine.snapshots(|| assert_snapshot!("task_wait_failed", waited));
    project.set("agent.command", "[\"true\"]");
    machine.snapshots(|| assert_snapshot!("task_retry", machine.ccm(&["task", "retry", &id])));
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn waiting_has_a_limit_and_cancelling_ends_it() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo up; sleep 600"]);
    let id = project.task("sleep");
    let late = machine.ccm(&["task", "wait", &id, "--timeout", "1s"]);
    assert_eq!(late.code, 7, "{late}");
    machine.snapshots(|| assert_snapshot!("task_wait_timeout", late));
    until("the run's output is there", || {
        machine.ccm(&["task", "logs", &id]).stdout == b"up\n"
    });
    let next = project.task("waits behind it");
    machine.snapshots(|| {
        assert_snapshot!("task_logs_queued", machine.ccm(&["task", "logs", &next]));
        assert_snapshot!(
            "project_remove_refused",
            machine.ccm(&["project", "remove", "demo"])
        );
    });
    machine.ccm(&["task", "cancel", &next]).ok();
    machine.ccm(&["task", "cancel", &id]).ok();
    let waited = machine.ccm(&["task", "wait", &id, &next]);
    assert_eq!(waited.code, 1, "{waited}");
    assert_eq!(
        String::from_utf8_lossy(&waited.stdout)
            .matches("cancelled")
            .count(),
        2
    );
    machine.ccm(&["project", "remove", "demo", "--yes"]).ok();
}

#[test]
fn waiting_and_following_survive_a_restart_of_the_daemon() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let script =
        "read word; echo one; [ $word = quick ] || until [ -e go ]; do sleep 0.05; done; echo two";
    let project = machine.project("demo", &["sh", "-c", script]);
    let quick = project.task("quick\n");
    let slow = project.task("slow\n");
    machine.ccm(&["task", "wait", &quick]).ok();
    let mut waiting = Reading::new(machine.command("ccm", &["task", "wait", &quick, &slow]));
    let mut following = Reading::new(machine.command("ccm", &["task", "logs", "-f", &slow]));
    // Each is connected once it tells what there is to tell now.
    assert_eq!(waiting.line(), format!("{quick} succeeded\n"));
    assert_eq!(following.line(), "one\n");
    daemon.kill();
    let _daemon = machine.daemon();
    std::fs::write(project.folder.join("go"), "").unwrap();
    assert_eq!(waiting.rest(), (0, format!("{slow} succeeded\n")));
    assert_eq!(following.rest(), (0, "two\n".to_owned()));
}

/// A program whose output is read while it runs.
struct Reading {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Reading {
    fn new(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// What else it prints, and its exit code.
    fn rest(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), rest)
    }
}

#[test]
fn tasks_wait_for_others_and_for_their_time() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    machine.ccm(&["project", "pause", "demo"]).ok();
    let first = project.task("first");
    let line = [
        "task",
        "create",
        "--after",
        &first,
        "--priority",
        "5",
        "--retries",
        "2",
        "--timeout",
        "1h30m",
        "--title",
        "Second",
        "second",
    ];
    let second = project.ccm(&line).ok();
    let task = machine.ccm(&["task", "show", &second, "--json"]).json();
    assert_eq!(task["blocked_by"][0], *first);
    assert_eq!(task["timeout_s"], 5400);
    assert_eq!(task["max_retries"], 2);
    let later = project
        .ccm(&["task", "create", "--not-before", "+1h", "later"])
        .ok();
    machine.ccm(&["project", "resume", "demo"]).ok();
    machine.ccm(&["task", "wait", &first, &second]).ok();
    machine
        .snapshots(|| assert_snapshot!("task_show_more", machine.ccm(&["task", "show", &second])));
    let task = machine.ccm(&["task", "show", &later, "--json"]).json();
    assert_eq!(task["state"], "queued");
}

#[test]
fn what_is_not_there_exits_4() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let nowhere = machine.folder("nowhere");
    machine.snapshots(|| {
        assert_snapshot!(
            "no_task",
            machine.ccm(&["task", "show", "019aa7a0-0000-7000-8000-000000000001"])
        );
        assert_snapshot!("no_task_end", machine.ccm(&["task", "show", "beef"]));
        assert_snapshot!("short_end", machine.ccm(&["task", "show", "bee"]));
        assert_snapshot!("no_id", machine.ccm(&["task", "show", "hello"]));
        assert_snapshot!(
            "no_project",
            machine.ccm(&["task", "create", "-p", "x", "hello"])
        );
        assert_snapshot!(
            "in_no_project",
            machine.ccm_in(&nowhere, &["task", "create", "hello"])
        );
        assert_snapshot!("no_agent", machine.ccm(&["agent", "attach", "x"]));
    });
}

#[test]
fn untrusted_changes_hold_the_queue_until_they_are_trusted() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let file = project.folder.join(".ccm/config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[cat]", "[cat, '-n']")).unwrap();
    let id = project.task("x");
    until("the queue is held", || {
        machine
            .ccm(&["project", "list"])
            .ok()
            .contains("config_untrusted")
    });
    machine.snapshots(|| {
        assert_snapshot!("held_project_list", machine.ccm(&["project", "list"]));
        assert_snapshot!("held_trust", machine.ccm(&["project", "trust", "demo"]));
        assert_snapshot!(
            "held_trust_yes",
            machine.ccm(&["project", "trust", "demo", "--yes"])
        );
    });
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(machine.ccm(&["task", "logs", &id]).ok(), "     1\tx");
}

#[test]
fn the_daemon_is_started_shown_restarted_and_stopped() {
    let machine = Machine::new();
    machine.snapshots(|| {
        assert_snapshot!("daemon_start", machine.orchestrator(&["daemon", "start"]));
        assert_snapshot!(
            "daemon_start_again",
            machine.orchestrator(&["daemon", "start"])
        );
        assert_snapshot!("daemon_status", machine.orchestrator(&["daemon", "status"]));
    });
    let first = machine.info().unwrap().pid;
    machine.ccm(&["daemon", "restart"]).ok();
    let status = machine.ccm(&["daemon", "status", "--json"]).json();
    assert_ne!(status["pid"], first);
    let project = machine.project("demo", &["sleep", "600"]);
    let id = project.task("sleep");
    until("it runs", || {
        machine.ccm(&["task", "show", &id, "--json"]).json()["state"] == "running"
    });
    machine.snapshots(|| {
        assert_snapshot!("daemon_stop_leaves", machine.ccm(&["daemon", "stop"]));
    });
    assert!(machine.info().is_none());
    machine.ccm(&["daemon", "start"]).ok();
    machine.snapshots(|| {
        assert_snapshot!(
            "daemon_stop_agents",
            machine.ccm(&["daemon", "stop", "--agents"])
        );
    });
    machine.until_empty();
    assert!(
        !machine
            .ccm(&["daemon", "logs", "-n", "3"])
            .stdout
            .is_empty()
    );
}

#[test]
fn a_daemon_that_can_not_start_says_why() {
    let machine = Machine::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    machine.set("web_ui.port", &port.to_string());
    machine.snapshots(|| assert_snapshot!("port_taken", machine.ccm(&["daemon", "start"])));
}

#[test]
fn a_daemon_holds_nothing_of_whoever_started_it() {
    let machine = Machine::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // The shell leaves a descriptor open to what it starts, as a script with a lock does.
    let script = format!(
        "exec {} daemon start 9>&1 >/dev/null",
        env!("CARGO_BIN_EXE_ccm")
    );
    let ccm = machine.command("ccm", &["version"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdout(writer);
    for (name, value) in ccm.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let mut started = shell.spawn().unwrap();
    drop(shell);
    let mut rest = Vec::new();
    // Ends only when nobody has the other end open any more.
    reader.read_to_end(&mut rest).unwrap();
    assert!(started.wait().unwrap().success());
    assert!(machine.info().is_some());
}

#[test]
fn init_starts_the_daemon_when_told_to() {
    let machine = Machine::new();
    let folder = machine.folder("demo");
    machine.ccm_in(&folder, &["init", "--yes"]).ok();
    assert!(machine.info().is_some());
}

#[test]
fn agents_are_listed() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let id = project.task("x");
    machine.ccm(&["task", "wait", &id]).ok();
    let agents = machine.ccm(&["agent", "list", "--json"]).json();
    assert_eq!(agents[0]["name"], "demo");
    let table = machine.ccm(&["agent", "list"]).ok();
    assert!(table.starts_with("NAME  STATE"), "{table}");
    machine
        .snapshots(|| assert_snapshot!("attach_piped", machine.ccm(&["agent", "attach", "demo"])));
}

#[test]
fn a_program_that_takes_nothing_after_its_task_is_told_nothing() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo up; exec sleep 600"]);
    let id = project.task("x");
    until("it works", || {
        machine.ccm(&["task", "logs", &id]).stdout == b"up\n"
    });
    for line in [&["go on"][..], &["demo", "go", "on"]] {
        let sent = project.ccm(&[&["agent", "send"], line].concat());
        assert_eq!(sent.code, 5, "{sent}");
        machine.snapshots(|| assert_snapshot!("send_too_late", sent));
    }
    machine.ccm(&["task", "cancel", &id]).ok();
}

#[test]
fn the_token_is_asked_for() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let url = machine.info().unwrap().url();
    let with = |token: &str| {
        let mut command = machine.command("ccm", &["task", "list"]);
        Ran::of(command.env("CCM_URL", &url).env("CCM_TOKEN", token))
    };
    machine.snapshots(|| assert_snapshot!("wrong_token", with("x")));
    assert_eq!(with(machine.home().token().unwrap().reveal()).code, 0);
}
