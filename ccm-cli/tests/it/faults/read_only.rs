//! A home that can't be written to.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ccm_core::api::TaskStateName;

use super::{agent, ended_once, let_go, nothing_is_left, runs_of, soon, started, status, task_of};
use crate::support::{Machine, until};

#[test]
#[cfg(target_os = "linux")]
fn a_daemon_with_a_read_only_home_says_so() {
    let Some(machine) = Machine::on_a_small_disk(12) else {
        return;
    };
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    let done = project.task("a\n");
    ended_once(&machine, &done);
    drop(daemon);
    until("nobody writes any more", || {
        machine.hosts().iter().for_each(|host| {
            let host = nix::unistd::Pid::from_raw(i32::try_from(*host).unwrap());
            let _ = nix::sys::signal::kill(host, nix::sys::signal::Signal::SIGTERM);
        });
        machine.processes().is_empty()
    });
    machine.disk().set_read_only(true);
    let home = machine.path("ccm");
    let home = home.to_str().unwrap();
    for (program, args) in [("ccm", &["daemon", "start"][..]), ("ccm-daemon", &[])] {
        let told = crate::support::Ran::of(&mut machine.command(program, args)).fails(1);
        assert!(told.contains("Read-only file system"), "{told}");
        assert!(told.contains(home), "{told}");
        assert!(
            told.contains("make") && told.contains("writable"),
            "what to do: {told}"
        );
    }
    assert_eq!(machine.ccm(&["daemon", "status"]).code, 3);
    machine.disk().set_read_only(false);
    machine.ccm(&["daemon", "start"]).ok();
    assert_eq!(task_of(&machine, &done).state, TaskStateName::Succeeded);
    let next = project.task("b\n");
    assert_eq!(ended_once(&machine, &next).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}

/// Folders that nothing can be put into, until this is dropped.
struct Closed(Vec<PathBuf>);

impl Closed {
    fn below(folder: &Path) -> Self {
        let mut found = vec![folder.to_owned()];
        let mut next = 0;
        while let Some(folder) = found.get(next) {
            let entries = std::fs::read_dir(folder).unwrap().flatten();
            found.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
            next += 1;
        }
        let closed = Self(found);
        closed.set(0o500);
        closed
    }

    fn set(&self, mode: u32) {
        for folder in &self.0 {
            let _ = std::fs::set_permissions(folder, Permissions::from_mode(mode));
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.set(0o700);
    }
}

/// The same program, for which the permissions of files count also if root runs it.
fn bound(command: &mut Command) -> &mut Command {
    if !nix::unistd::geteuid().is_root() {
        return command;
    }
    let mut bound = Command::new("setpriv");
    bound
        .args(["--bounding-set=-dac_override,-dac_read_search", "--"])
        .arg(command.get_program())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // A few bytes for as long as the test runs.
    Box::leak(Box::new(bound))
}

#[test]
fn a_home_that_becomes_read_only_is_told_and_made_up_for() {
    let machine = Machine::new();
    let _daemon = machine.daemon_with(bound);
    let (one, two) = (agent(&machine, "one"), agent(&machine, "two"));
    let ends = one.task("a\n");
    started(&machine, &ends);
    until("both agents are up", || machine.hosts().len() == 2);

    let closed = Closed::below(&machine.path("ccm"));
    let waits = two.task("b\n");
    let told = || status(&machine).problems.join("\n");
    soon("it is told that a run can't be started", || {
        told().contains("Permission denied")
    });
    assert_eq!(task_of(&machine, &waits).state, TaskStateName::Running);
    let_go(&machine);
    machine.ccm(&["task", "list"]).ok();
    assert_eq!(task_of(&machine, &ends).state, TaskStateName::Running);
    drop(closed);

    soon("what ended is known to have", || {
        task_of(&machine, &ends).state == TaskStateName::Succeeded
    });
    for id in [&ends, &waits] {
        assert_eq!(ended_once(&machine, id).state, TaskStateName::Succeeded);
    }
    assert_eq!(runs_of(&machine, &ends).len(), 1);
    soon("nothing is wrong any more", || told().is_empty());
    nothing_is_left(&machine);
}
