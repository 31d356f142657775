//! The daemon as a service of a real systemd (see `boot.rs`): of an account's manager, and of the machine's.
//!
//! | what happens | what must be true |
//! | --- | --- |
//! | `systemctl restart`, `daemon restart`, `kill -9` of the daemon | the run goes on in the same host, and is adopted |
//! | `daemon stop` | nothing starts the daemon again, and the run goes on |
//! | the daemon hangs | systemd ends it and starts another, and the run goes on |
//! | the config is broken, or another daemon has the home | systemd does not try again, and people are told why |
//! | the port is taken | systemd tries until it is free |

mod account;
mod boot;
mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Machine, Project, Ran, until};
use boot::{HOME, RUNTIME_DIR};

const UNIT: &str = "ccm-orchestrator.service";

/// The machine of the account `ada`, under its own systemd.
struct Ada {
    machine: Machine,
}

impl Ada {
    /// Set up, with no service yet. What is in `settings` is beside the unit, as a person would put it there.
    fn new(settings: &str) -> Self {
        let ada = Self {
            machine: Machine::with_tmux(),
        };
        let path = |name| ada.machine.path(name).display().to_string();
        // What belongs to a test is known by its home, and keeps its files there.
        let text = format!(
            "[Service]\nEnvironment=CCM_HOME={} TMPDIR={} TMUX_TMPDIR={}\n{settings}\n",
            path("ccm"),
            path("tmp"),
            path("tmux"),
        );
        std::fs::create_dir_all(ada.drop_in().parent().unwrap()).unwrap();
        std::fs::write(ada.drop_in(), text).unwrap();
        ada
    }

    fn unit_file() -> PathBuf {
        Path::new(HOME).join(".config/systemd/user").join(UNIT)
    }

    fn drop_in(&self) -> PathBuf {
        Self::unit_file()
            .with_extension("service.d")
            .join("test.conf")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.machine.command("ccm-orchestrator", args);
        command
            .env("HOME", HOME)
            .env("XDG_RUNTIME_DIR", RUNTIME_DIR);
        command
    }

    /// Runs `ccm-orchestrator` to its end.
    fn orchestrator(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// A property of the unit.
    fn unit(&self, property: &str) -> String {
        let mut command = Command::new("systemctl");
        command.args(["--user", "show", "--value", "--property", property, UNIT]);
        Ran::of(&mut command).ok()
    }

    fn systemctl(&self, args: &[&str]) -> Ran {
        let mut command = Command::new("systemctl");
        Ran::of(command.arg("--user").args(args))
    }

    fn pid(&self) -> u32 {
        self.machine.info().expect("a daemon runs").pid
    }

    /// Waits until a daemon is ready that is not `old`.
    #[track_caller]
    fn until_another(&self, old: u32) {
        until("another daemon is ready", || {
            self.machine.info().is_some_and(|info| info.pid != old) && self.machine.is_ready()
        });
    }

    /// A project whose agent notes its start, and ends when it may.
    fn project(&self) -> Project<'_> {
        project(&self.machine, &self.machine.path("work"))
    }

    fn started(&self) -> usize {
        started(&self.machine.path("work"))
    }
}

/// A project whose agent notes its start in `folder`, and ends when there is a file `go`.
fn project<'a>(machine: &'a Machine, folder: &Path) -> Project<'a> {
    let script = format!(
        "cd '{}'; echo $CCM_RUN_ID >> starts; env > environment
         while [ ! -e go ]; do sleep 0.02; done; cat",
        folder.display()
    );
    machine.project("demo", &["sh", "-c", &script])
}

/// How often an agent was started.
fn started(folder: &Path) -> usize {
    let starts = std::fs::read_to_string(folder.join("starts")).unwrap_or_default();
    starts.lines().count()
}

/// The control group of a process, as systemd made it.
fn group_of(pid: u32) -> String {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    own.unwrap().to_owned()
}

/// What `systemd-analyze verify` prints, which exits with 0 when it warns.
fn verified(scope: &str, unit: &Path) -> String {
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args([scope, "verify", "--man=no"])
        .arg(unit)
        .output();
    let output = output.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}
