//! Taking CCM off a machine, without a service.

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, Ran, until};

const PROGRAMS: [&str; 3] = ["ccm", "ccm-orchestrator", "ccm-daemon"];

/// Puts the programs into a folder, as somebody would who copies them.
fn install(machine: &Machine, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for name in PROGRAMS {
        let built = machine.command::<&str>(name, &[]).get_program().to_owned();
        let there = folder.join(name);
        std::fs::hard_link(&built, &there)
            .or_else(|_| std::fs::copy(&built, &there).map(drop))
            .unwrap();
    }
}

/// `ccm-orchestrator` of that folder.
fn installed(machine: &Machine, folder: &Path, args: &[&str]) -> Command {
    let like = machine.command::<&str>("ccm-orchestrator", &[]);
    let mut command = Command::new(folder.join("ccm-orchestrator"));
    command
        .args(args)
        .env_clear()
        .current_dir(machine.path("work"));
    for (name, value) in like.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

/// What the programs in their build folder say, wherever that is.
fn shown(machine: &Machine, args: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_ccm"));
    let build = program.parent().unwrap().canonicalize().unwrap();
    let ran = machine.orchestrator(args).to_string();
    ran.replace(&*build.to_string_lossy(), "[BUILD]")
}

#[test]
fn nothing_is_left_but_the_projects() {
    let machine = Machine::new();
    let bin = machine.path("bin");
    install(&machine, &bin);
    Ran::of(&mut installed(&machine, &bin, &["daemon", "start"])).ok();
    let project = machine.project("demo", &["sh", "-c", "echo > started; exec sleep 1000"]);
    project.task("the work");
    until("the agent works", || {
        project.folder.join("started").exists()
    });
    std::fs::write(machine.path("ccm/notes.txt"), "mine").unwrap();

    let gone = Ran::of(&mut installed(
        &machine,
        &bin,
        &["uninstall", "--data", "--yes"],
    ));
    machine.snapshots(|| assert_snapshot!("uninstall_data", gone));
    machine.until_empty();
    for name in PROGRAMS {
        assert!(!bin.join(name).exists());
    }
    let left: Vec<_> = std::fs::read_dir(machine.path("ccm"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(project.folder.join(".ccm/config.yaml").exists());

    std::fs::remove_file(machine.path("ccm/notes.txt")).unwrap();
    let again = || shown(&machine, &["uninstall", "--data", "--yes"]);
    machine.snapshots(|| assert_snapshot!("uninstall_empty", again()));
    assert!(!machine.path("ccm").exists());
    machine.snapshots(|| assert_snapshot!("uninstall_again", again()));
}

#[test]
fn the_data_stay_unless_they_are_meant() {
    let machine = Machine::new();
    let gone = shown(&machine, &["uninstall", "--yes"]);
    machine.snapshots(|| assert_snapshot!("uninstall", gone));
    assert!(machine.home().is_set_up());
    let gone = machine
        .orchestrator(&["uninstall", "--yes", "--json"])
        .json();
    assert_eq!(gone["removed"], serde_json::json!([]));
    machine.ccm(&["uninstall", "--yes", "--data"]).ok();
    assert!(!machine.path("ccm").exists());
}

#[test]
fn what_stays_can_be_removed_without_the_programs() {
    let machine = Machine::new();
    let bin = machine.path("bin");
    let uninstall = || {
        install(&machine, &bin);
        Ran::of(&mut installed(&machine, &bin, &["uninstall", "--yes"]))
    };
    let home = machine.path("ccm");
    let removes = format!("`rm -r '{}'` removes it", home.display());
    assert!(uninstall().stderr.contains(&removes));
    // What else is in the home would go with it.
    std::fs::write(home.join("notes.txt"), "mine").unwrap();
    let told = uninstall();
    assert!(!told.stderr.contains("rm -r"), "{told}");
}

#[test]
fn it_asks_and_refuses_what_is_dangerous() {
    let machine = Machine::new();
    machine.snapshots(|| {
        assert_snapshot!(
            "uninstall_no_terminal",
            machine.orchestrator(&["uninstall"])
        );
        let at_home = |args: &[&str]| {
            let mut command = machine.command("ccm-orchestrator", args);
            Ran::of(command.env("CCM_HOME", machine.path("home")))
        };
        std::fs::write(machine.path("home/config.yaml"), "profile: full\n").unwrap();
        assert_snapshot!("uninstall_home", at_home(&["uninstall", "--data", "--yes"]));
    });
    assert!(machine.path("home/config.yaml").exists() && machine.home().is_set_up());
}

#[test]
fn what_a_killed_daemon_left_is_stopped() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo > started; exec sleep 1000"]);
    project.task("the work");
    until("the agent works", || {
        project.folder.join("started").exists()
    });
    daemon.kill();
    let host = machine.hosts()[0];
    assert!(kill(Pid::from_raw(host.cast_signed()), None::<Signal>).is_ok());
    let gone = machine
        .orchestrator(&["uninstall", "--yes", "--json"])
        .json();
    assert_eq!(gone["stopped_runs"], 1, "{gone}");
    machine.until_empty();
}
