//! `agent logs`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Machine, until};

#[test]
fn the_log_is_read_with_and_without_the_daemon() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let log = project.folder.join(".ccm/agent.log");
    for text in ["first", "second"] {
        let id = project.task(text);
        project.ccm(&["task", "wait", &id]).ok();
    }
    until("the log has all of it", || {
        std::fs::read_to_string(&log).unwrap().contains("second")
    });
    let whole = std::fs::read_to_string(&log).unwrap();
    let named = machine.ccm(&["agent", "logs", "demo"]).ok();
    assert_eq!(named, whole.trim_end_matches('\n'));
    let last = machine.ccm(&["agent", "logs", "demo", "-n", "1"]).ok();
    assert_eq!(last, whole.trim_end_matches('\n').lines().last().unwrap());
    assert_eq!(daemon.stop().code(), Some(0));

    // Here, by the name of where one stands, and by its folder.
    assert_eq!(project.ccm(&["agent", "logs"]).ok(), named);
    assert_eq!(project.ccm(&["agent", "logs", "demo"]).ok(), named);
    let folder = project.folder.to_str().unwrap();
    assert_eq!(machine.ccm(&["agent", "logs", folder]).ok(), named);
    let away = machine.path("home");
    let unknown = machine.ccm_in(&away, &["agent", "logs", "demo"]).fails(3);
    assert!(unknown.contains("daemon start"), "{unknown}");
    std::fs::remove_file(&log).unwrap();
    let none = project.ccm(&["agent", "logs"]).fails(4);
    assert!(none.contains("agent.log yet"), "{none}");
    let elsewhere = machine
        .command("ccm", &["agent", "logs", "demo"])
        .env("CCM_URL", "http://127.0.0.1:1")
        .env("CCM_TOKEN", "x")
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(5));
}

#[test]
fn the_log_is_followed_over_its_rotation() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    drop(daemon);
    let log = project.folder.join(".ccm/agent.log");
    std::fs::write(&log, "one\ntwo\n").unwrap();
    let mut command = machine.command("ccm", &["agent", "logs", "-f", "-n", "1"]);
    let mut child = command
        .current_dir(&project.folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || lines.next().unwrap().unwrap();
    assert_eq!(next(), "two");
    let add = |text: &str| {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    add("three\n");
    assert_eq!(next(), "three");
    add("four\n");
    std::fs::rename(&log, log.with_extension("log.1")).unwrap();
    std::fs::write(&log, "five\n").unwrap();
    assert_eq!(next(), "four");
    assert_eq!(next(), "five");
    child.kill().unwrap();
    child.wait().unwrap();
}
