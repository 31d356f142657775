//! The daemon's log and those of the hosts: lines that name what they are about, and that nobody can forge.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Machine, until};

/// Whether every line is one that the log began itself: with a time, and a level.
fn assert_own_lines(log: &str) {
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        let level = words.next().unwrap_or_default();
        let is_time = time.len() > 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z');
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
        assert!(is_time && levels.contains(&level), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.contains(" INFO forged"), "{line:?}");
    }
}

/// Sends a request of any bytes, and returns the answer's head.
fn send(machine: &Machine, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(machine.info().unwrap().address).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn host_log(machine: &Machine) -> String {
    let agents = std::fs::read_dir(machine.path("ccm/agents")).unwrap();
    let logs = agents.map(|agent| std::fs::read_to_string(agent.unwrap().path().join("host.log")));
    logs.filter_map(Result::ok).collect()
}

#[test]
fn nothing_from_outside_begins_a_line() {
    let machine = Machine::new();
    let _daemon = machine.daemon_with(|daemon| daemon.env("RUST_LOG", "trace"));
    let forged = "x\n2026-01-01T00:00:00.000000Z  INFO forged: run=1\r\u{1b}[2J\u{9b}31m\u{2028}y";
    let project = machine.project("a", &["sh", "-c", "cat; exit 3"]);
    // A folder's name, a task's text and title, the words of whoever asks.
    let folder = machine.folder("b\n2026-01-01T00:00:00.000000Z  INFO forged: b");
    machine.ccm_in(&folder, &["init"]);
    let title = project.ccm_with(&["task", "create", "--retries", "0"], forged.as_bytes());
    let task = title.ok();
    machine.ccm(&["task", "wait", &task]);
    machine.ccm(&["task", "cancel", "\u{1b}]0;x\u{7}\n2026 INFO forged"]);
    let info = machine.info().unwrap();
    let token = std::fs::read_to_string(machine.path("ccm/token")).unwrap();
    let answer = send(
        &machine,
        &[
            format!(
                "GET /api/v1/tasks/%0a2026%20INFO%20forged%1b HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
                 Connection: close\r\nX-Ccm-Client: a\tINFO forged ",
                info.address,
                token.trim()
            )
            .as_bytes(),
            b"\x85\x9b2J\xe2\x80\xa8\r\n\r\n",
        ]
        .concat(),
    );
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let log = machine.log();
    assert!(
        log.contains("%0a2026%20INFO%20forged%1b"),
        "the path is in the log"
    );
    assert!(
        log.contains(r"a\tINFO forged"),
        "the client's words are in the log"
    );
    assert_own_lines(&log);
    assert_own_lines(&host_log(&machine));
}

#[test]
fn lines_about_a_run_name_it_its_task_its_project_and_its_agent() {
    let machine = Machine::new();
    let daemon = machine.daemon_with(|daemon| daemon.env("RUST_LOG", "ccm=info"));
    let project = machine.project("a", &["cat"]);
    let task = project.task("x");
    machine.ccm(&["task", "wait", &task]).ok();
    let shown = machine.ccm(&["task", "show", &task, "--json"]).json();
    let agents = machine.ccm(&["agent", "list", "--json"]).json();
    let names = [
        format!("run={}", shown["run_id"].as_str().unwrap()),
        format!("task={task}"),
        format!("agent={}", agents[0]["id"].as_str().unwrap()),
    ];
    let is_over = |log: &str| log.lines().any(|line| line.contains("the run is over"));
    until("the end is in the log", || is_over(&machine.log()));
    let log = machine.log();
    for what in ["the run begins", "the run is over"] {
        let line = log
            .lines()
            .find(|line| line.contains(what))
            .unwrap_or_else(|| panic!("{what} is not in\n{log}"));
        for name in &names {
            assert!(line.contains(name), "{name} is not in {line}");
        }
        assert!(line.contains("project="), "{line}");
    }
    let log = host_log(&machine);
    for what in ["past its gate", "its program runs", "over"] {
        let line = log
            .lines()
            .find(|line| line.contains(what))
            .unwrap_or_else(|| panic!("{what} is not in\n{log}"));
        for name in &names {
            assert!(line.contains(name), "{name} is not in {line}");
        }
    }
    drop(daemon);
}

#[test]
fn who_wants_to_hear_of_troubles_alone_hears_of_which_run() {
    let machine = Machine::new();
    let _daemon = machine.daemon_with(|daemon| daemon.env("RUST_LOG", "warn"));
    let project = machine.project("a", &["cat"]);
    // Where a launch is to be written there is something else.
    let (runs, aside) = (machine.path("ccm/runs"), machine.path("ccm/aside"));
    std::fs::rename(&runs, &aside).unwrap();
    std::fs::write(&runs, "").unwrap();
    let task = project.task("x");
    let line = |log: &str| {
        log.lines()
            .find(|line| line.contains("the launch failed"))
            .map(str::to_owned)
    };
    until("the launch fails", || line(&machine.log()).is_some());
    std::fs::remove_file(&runs).unwrap();
    std::fs::rename(&aside, &runs).unwrap();
    let line = line(&machine.log()).unwrap();
    assert!(
        line.contains("run{run=") && line.contains(&format!("task={task}")),
        "{line}"
    );
}

#[test]
fn a_host_is_silent_unless_it_is_asked() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("a", &["cat"]);
    let task = project.task("x");
    machine.ccm(&["task", "wait", &task]).ok();
    assert_eq!(host_log(&machine), "");
}

#[test]
fn the_name_of_a_request_is_in_its_answer_and_in_the_log() {
    let machine = Machine::new();
    let _daemon = machine.daemon_with(|daemon| daemon.env("RUST_LOG", "ccm=debug"));
    let info = machine.info().unwrap();
    let answer = send(
        &machine,
        format!(
            "GET /ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            info.address
        )
        .as_bytes(),
    );
    let name = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let named = format!("id={} ", name.unwrap());
    let log = machine.log();
    let line = log
        .lines()
        .find(|line| line.contains(&named) && line.contains("answered"));
    assert!(line.unwrap().contains("status=401"), "{log}");
}
