//! Programs that are replaced while they run, in the ways in which pip and cargo do it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Machine, Ran, until};

const PROGRAMS: [&str; 3] = ["ccm", "ccm-orchestrator", "ccm-daemon"];

/// How an installer puts a new file where an old one is.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As pip does: first all old ones go, then the new ones come.
    Removed,
    /// As cargo does: each is renamed into place.
    Renamed,
}

/// A folder with the three programs, as an installer leaves it.
struct Install<'a> {
    machine: &'a Machine,
    bin: PathBuf,
}

impl<'a> Install<'a> {
    fn new(machine: &'a Machine) -> Self {
        let bin = machine.folder("install/bin");
        let install = Self { machine, bin };
        for program in PROGRAMS {
            std::fs::copy(built(machine, program), install.bin.join(program)).unwrap();
        }
        install
    }

    fn replace(&self, way: Way) {
        match way {
            Way::Removed => {
                for program in PROGRAMS {
                    std::fs::remove_file(self.bin.join(program)).unwrap();
                }
                for program in PROGRAMS {
                    std::fs::copy(built(self.machine, program), self.bin.join(program)).unwrap();
                }
            }
            Way::Renamed => {
                for program in PROGRAMS {
                    let new = self.bin.join(format!(".{program}.new"));
                    std::fs::copy(built(self.machine, program), &new).unwrap();
                    std::fs::rename(new, self.bin.join(program)).unwrap();
                }
            }
        }
    }

    /// A program of this install with nothing of CCM on the `PATH`.
    fn run(&self, program: &str, args: &[&str]) -> Ran {
        let like = self.machine.command(program, args);
        let mut command = Command::new(self.bin.join(program));
        command.args(args).env_clear();
        for (name, value) in like.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Ran::of(command.current_dir(self.machine.path("work")))
    }
}

fn built(machine: &Machine, program: &str) -> PathBuf {
    machine.command::<&str>(program, &[]).get_program().into()
}

/// Whether a process runs from the file that is at `path` now.
fn runs_from(pid: u32, path: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() == path
}

fn upgraded_while_an_agent_works(machine: &Machine, way: Way) {
    let install = Install::new(machine);
    install.run("ccm-orchestrator", &["daemon", "start"]).ok();
    let before = machine.info().unwrap();
    let go = machine.path("tmp/go");
    let wait = "echo begun; while ! [ -e \"$0\" ]; do sleep 0.02; done; echo done";
    let busy = machine.project("busy", &["sh", "-c", wait, go.to_str().unwrap()]);
    let task = busy.task("work through an upgrade");
    until("the agent works", || {
        let log = machine.ccm(&["task", "logs", &task]);
        log.code == 0 && log.ok().contains("begun")
    });
    let [host] = machine.hosts()[..] else {
        panic!("{:?}", machine.hosts());
    };
    if cfg!(target_os = "linux") {
        assert!(runs_from(host, &install.bin.join("ccm")));
        assert!(runs_from(before.pid, &install.bin.join("ccm-daemon")));
    }

    install.replace(way);
    // The old daemon goes on, and the next agent's host is of the new program.
    let idle = machine.project("idle", &["cat"]);
    let between = idle.task("between the two");
    machine.ccm(&["task", "wait", &between]).ok();
    if cfg!(target_os = "linux") {
        assert!(!runs_from(before.pid, &install.bin.join("ccm-daemon")));
    }

    install.run("ccm-orchestrator", &["daemon", "restart"]).ok();
    let after = machine.info().unwrap();
    assert!(after.epoch > before.epoch);
    if cfg!(target_os = "linux") {
        assert!(runs_from(after.pid, &install.bin.join("ccm-daemon")));
        // The host is the old one, from a file that is gone.
        assert!(!runs_from(host, &install.bin.join("ccm")));
    }
    let shown = machine.ccm(&["task", "show", &task, "--json"]).json();
    assert_eq!(shown["state"], "running", "{way:?}: {shown}");
    std::fs::write(&go, "").unwrap();
    machine.ccm(&["task", "wait", &task]).ok();
    let log = machine.ccm(&["task", "logs", &task]).ok();
    assert_eq!(log.matches("begun").count(), 1, "{log}");
    assert_eq!(log.matches("done").count(), 1, "{log}");
    let next = busy.task("the next one");
    machine.ccm(&["task", "wait", &next]).ok();
    install.run("ccm", &["daemon", "stop", "--agents"]).ok();
    machine.until_empty();
}

#[test]
fn programs_removed_and_put_anew_go_on() {
    upgraded_while_an_agent_works(&Machine::new(), Way::Removed);
}

#[test]
fn programs_renamed_over_go_on_in_their_windows() {
    upgraded_while_an_agent_works(&Machine::with_tmux(), Way::Renamed);
}

#[test]
fn the_machine_level_name_is_the_program_beside_it() {
    let machine = Machine::bare();
    let install = Install::new(&machine);
    let version = format!("ccm-orchestrator {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(install.run("ccm-orchestrator", &["version"]).ok(), version);
    // A link to the one or to the other will do.
    let links = machine.folder("links");
    for target in ["ccm", "ccm-orchestrator"] {
        let link = links.join("ccm-orchestrator");
        std::os::unix::fs::symlink(install.bin.join(target), &link).unwrap();
        let ran = Ran::of(Command::new(&link).arg("version").env_clear());
        assert_eq!(ran.ok(), version, "{target}");
        std::fs::remove_file(&link).unwrap();
    }
    std::fs::remove_file(install.bin.join("ccm")).unwrap();
    // Nor is there another one.
    let mut alone = Command::new(install.bin.join("ccm-orchestrator"));
    let told = Ran::of(alone.arg("version").env_clear().env("PATH", &links)).fails(1);
    assert!(told.contains("install both again"), "{told}");
}
