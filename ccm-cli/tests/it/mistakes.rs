//! What people get wrong while a daemon runs, and what becomes of it.

use std::os::unix::fs::symlink;

use crate::support::{Machine, Ran};

#[test]
fn a_restart_with_a_broken_config_leaves_the_daemon_running() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    std::fs::write(machine.path("ccm/config.yaml"), "agents: [\n").unwrap();
    let told = machine.ccm(&["daemon", "restart"]).fails(1);
    assert!(told.contains("config.yaml:1"), "{told}");
    assert_eq!(machine.info().unwrap().pid, daemon.pid());
    machine.ccm(&["task", "list"]).ok();
}

#[test]
fn a_daemon_that_knows_another_token_can_still_be_restarted() {
    let machine = Machine::new();
    machine.ccm(&["daemon", "start"]).ok();
    let first = machine.info().unwrap().pid;
    std::fs::remove_file(machine.path("ccm/token")).unwrap();
    machine
        .ccm(&["daemon", "init", "--no-start", "--no-service"])
        .ok();
    let told = machine.ccm(&["task", "list"]).fails(6);
    assert!(told.contains("does not take this token"), "{told}");
    assert!(told.contains("daemon restart"), "{told}");
    let restarted = machine.ccm(&["daemon", "restart", "--json"]).json();
    assert_ne!(restarted["pid"], first);
    machine.ccm(&["task", "list"]).ok();
    std::fs::write(machine.path("ccm/token"), "no token").unwrap();
    machine.ccm(&["daemon", "stop"]).ok();
    assert!(machine.info().is_none());
    assert_eq!(
        machine.ccm(&["daemon", "stop", "--json"]).json()["running"],
        0
    );
}

#[test]
fn a_tmux_that_is_missing_is_told_by_start_and_status() {
    let machine = Machine::with_tmux();
    let path = machine.folder("programs");
    let ccm = |args: &[&str]| Ran::of(machine.command("ccm", args).env("PATH", &path));
    let started = ccm(&["daemon", "start"]);
    started.ok();
    for ran in [started, ccm(&["daemon", "status"])] {
        assert!(
            ran.stderr
                .contains("warning: tmux is not on the PATH; install"),
            "{ran}"
        );
    }
    ccm(&["daemon", "stop"]).ok();
    let old = path.join("tmux");
    std::fs::write(&old, "#!/bin/sh\necho tmux 3.1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&old, mode).unwrap();
    let started = ccm(&["daemon", "start"]);
    assert!(
        started
            .stderr
            .contains("warning: tmux 3.1 is too old; install"),
        "{started}"
    );
}

#[test]
fn a_name_for_a_project_that_has_one_is_not_taken_in_silence() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let folder = machine.folder("demo");
    machine.ccm_in(&folder, &["init"]).ok();
    let again = machine.ccm_in(&folder, &["init", "--name", "other"]);
    again.ok();
    assert!(
        again
            .stderr
            .contains("\"demo\" already and was not renamed to \"other\""),
        "{again}"
    );
}

#[test]
fn init_says_that_it_trusted_settings() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let file = project.folder.join(".ccm/config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[cat]", "[tac]")).unwrap();
    let told = project.ccm(&["init", "--yes"]);
    told.ok();
    assert!(told.stderr.contains("settings are trusted."), "{told}");
    assert!(!told.stderr.contains("nothing was changed"), "{told}");
}

#[test]
fn agents_of_projects_that_are_held_are_told() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    machine.project("other", &["cat"]);
    std::fs::remove_dir_all(&project.folder).unwrap();
    for args in [&["agent", "list"][..], &["agent", "list", "-p", "demo"]] {
        let listed = machine.ccm(args);
        listed.ok();
        assert!(
            listed.stderr.contains("warning: demo: missing: "),
            "{listed}"
        );
    }
    let other = machine.ccm(&["agent", "list", "-p", "other"]);
    assert_eq!(other.stderr, "", "{other}");
}

#[test]
fn one_wrong_id_does_not_keep_the_others_from_being_cancelled() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sleep", "600"]);
    let id = project.task("sleep");
    let unknown = "01a20000-0000-7000-8000-000000000000";
    let told = machine.ccm(&["task", "cancel", unknown, &id]).fails(4);
    assert!(told.contains(unknown), "{told}");
    machine.ccm(&["task", "wait", &id]).fails(1);
    // What has ended is told however little time there is, and once.
    let waited = machine.ccm(&["task", "wait", "--timeout", "0", &id, &id]);
    waited.fails(1);
    let stdout = String::from_utf8_lossy(&waited.stdout).into_owned();
    assert_eq!(stdout, format!("{id} cancelled\n"));
}

#[test]
fn logs_of_a_task_that_never_ran_promise_nothing() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    project.ccm(&["project", "pause"]).ok();
    let id = project.task("x");
    let told = project.ccm(&["task", "logs", &id]).fails(5);
    assert!(told.contains("-f waits"), "{told}");
    project.ccm(&["task", "cancel", &id]).ok();
    let told = project.ccm(&["task", "logs", &id]).fails(5);
    assert!(!told.contains("-f"), "{told}");
}

#[test]
fn what_is_in_the_way_of_a_project_is_named() {
    let machine = Machine::new();
    let linked = machine.folder("linked");
    symlink(machine.path("work"), linked.join(".ccm")).unwrap();
    let told = machine.ccm_in(&linked, &["init"]).fails(2);
    assert!(told.contains("put what it leads to in its place"), "{told}");
    let file = machine.folder("file");
    std::fs::write(file.join(".ccm"), "").unwrap();
    let told = machine.ccm_in(&file, &["init"]).fails(2);
    assert!(told.contains("move it away"), "{told}");
}

#[test]
fn lists_tell_what_projects_are_now_though_no_task_waits() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let state = || machine.ccm(&["project", "list", "--json"]).json()[0]["state"].clone();
    let away = machine.path("work/away");
    std::fs::rename(&project.folder, &away).unwrap();
    assert_eq!(state(), "missing");
    std::fs::rename(&away, &project.folder).unwrap();
    assert_eq!(state(), "active");
    let file = project.folder.join(".ccm/config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[cat]", "[tac, x]")).unwrap();
    assert_eq!(state(), "config_untrusted");
    std::fs::write(&file, text + "# a comment\n").unwrap();
    assert_eq!(state(), "active");
}

#[test]
fn a_full_queue_refuses_one_more_and_drops_nothing() {
    let machine = Machine::new();
    machine.set("resources.max_queue_size", "2");
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    project.ccm(&["project", "pause", "demo"]).ok();
    let accepted = [project.task("one"), project.task("two")];
    let refused = project.ccm_with(&["task", "create"], b"three");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("2"), "{refused}");
    assert!(refused.stdout.is_empty(), "{refused}");
    project.ccm(&["project", "resume", "demo"]).ok();
    for id in &accepted {
        machine.ccm(&["task", "wait", id]).ok();
    }
    // There is room again.
    let id = project.task("three");
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn a_project_whose_folder_is_gone_waits_and_goes_on_when_it_is_back() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let away = machine.path("away");
    std::fs::rename(&project.folder, &away).unwrap();
    let id = machine
        .ccm_with(&["task", "create", "--project", "demo"], b"x")
        .ok();
    let shown = machine.ccm(&["task", "show", &id]).ok();
    assert!(shown.contains("project_missing"), "{shown}");
    assert!(shown.contains(project.folder.to_str().unwrap()), "{shown}");
    std::fs::rename(&away, &project.folder).unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn a_project_whose_config_is_broken_waits_and_names_the_line() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let config = project.folder.join(".ccm/config.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        format!("limits:\n  timeout: soon\n{}", good.replace("limits:", "")),
    )
    .unwrap();
    let id = project.task("x");
    let shown = machine.ccm(&["task", "show", &id]).ok();
    assert!(
        shown.contains(".ccm/config.yaml:2: limits.timeout"),
        "{shown}"
    );
    std::fs::write(&config, good).unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn a_task_for_another_kind_of_machine_says_that_it_waits_for_one() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let id = project
        .ccm_with(&["task", "create", "--tag", "gpu"], b"x")
        .ok();
    let next = project.task("this one can be done here");
    machine.ccm(&["task", "wait", &next]).ok();
    for shown in [
        machine.ccm(&["task", "show", &id]),
        machine.ccm(&["task", "list"]),
    ] {
        assert!(
            shown.ok().contains("waits for a machine with gpu"),
            "{shown}"
        );
    }
}
