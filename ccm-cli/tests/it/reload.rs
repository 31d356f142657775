//! `daemon reload`: what a person sees of a config that is read again.

use insta::assert_snapshot;
use nix::sys::signal::Signal;

use crate::support::{Machine, until};

#[test]
fn what_changed_is_shown_and_what_needs_a_restart_is_named() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let reload = || machine.ccm(&["daemon", "reload"]);
    machine.snapshots(|| {
        assert_snapshot!("reload_nothing", reload());
        let set = machine.ccm(&["config", "set", "agents.max_concurrent", "3"]);
        assert_snapshot!("set_of_what_can_be_reloaded", set);
        machine.set("resources.max_agents", "3");
        assert_snapshot!("reload_applied", reload());
        machine.set("agents.tmux_socket", "other");
        machine.set("resources.max_queue_size", "5");
        assert_snapshot!("reload_restart", reload());
        let json = machine.ccm(&["daemon", "reload", "--json"]).json();
        assert_eq!(json["applied"], serde_json::json!([]));
        assert_eq!(json["restart"][0]["key"], "agents.tmux_socket");
        let status = machine.ccm(&["daemon", "status", "--json"]).json();
        assert_eq!(status["queue"]["max_running"], 3);
        assert_eq!(status["queue"]["max_queued"], 5);

        let file = machine.path("ccm/config.yaml");
        let good = std::fs::read_to_string(&file).unwrap();
        std::fs::write(
            &file,
            good.replace("max_queue_size: 5", "max_queue_size: many\n  max_agnets: 5"),
        )
        .unwrap();
        assert_snapshot!("reload_broken", reload());
        let status = machine.ccm(&["daemon", "status", "--json"]).json();
        assert_eq!(status["queue"]["max_queued"], 5);
        std::fs::write(&file, good).unwrap();
    });
    drop(daemon);
    let told = reload().fails(3);
    assert!(told.contains("daemon start"), "{told}");
}

#[test]
fn a_hangup_does_the_same() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["sleep", "600"]);
    let running = project.task("sleep");
    machine.set("resources.max_queue_size", "1");
    daemon.signal(Signal::SIGHUP);
    until("the limit counts", || {
        let status = machine.ccm(&["daemon", "status", "--json"]).json();
        status["queue"]["max_queued"] == 1
    });
    until("the task runs", || {
        machine.ccm(&["task", "show", &running, "--json"]).json()["state"] == "running"
    });
    project.task("one");
    let refused = project.ccm_with(&["task", "create"], b"two").fails(5);
    assert!(refused.contains("max_queue_size"), "{refused}");
    // Nothing of this touched the run.
    let shown = machine.ccm(&["task", "show", &running, "--json"]).json();
    assert_eq!(shown["state"], "running");
}
