//! The limit of open files: the daemon's is raised for many clients, its agents have the one that it was given.

use crate::support::{Machine, Ran};

fn open_files(pid: impl std::fmt::Display) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3);
    soft.unwrap().to_owned()
}

#[test]
fn the_daemon_raises_its_limit_and_not_that_of_what_it_starts() {
    let machine = Machine::with_tmux();
    let shell = ["sh", "-c", r#"ulimit -S -n 700; exec "$0""#];
    let daemon = machine.daemon_under(&shell, |command| command);
    assert_eq!(open_files(daemon.pid()), "4096");
    let project = machine.project("a", &["sh", "-c", "ulimit -S -n"]);
    let task = project.task("x");
    let ended: Ran = machine.ccm(&["task", "wait", &task]);
    ended.ok();
    let log = machine.ccm(&["task", "logs", &task]).ok();
    assert!(log.contains("700"), "{log}");
    let server = machine.tmux(&["display-message", "-p", "#{pid}"]);
    assert_eq!(open_files(server.trim()), "700");
}
