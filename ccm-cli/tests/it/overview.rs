//! The program without a command.

use insta::assert_snapshot;

use crate::support::{Machine, until};

#[test]
fn without_a_command_the_machine_or_the_project_is_shown() {
    let machine = Machine::bare();
    let glance = || machine.ccm::<&str>(&[]);
    machine.snapshots(|| assert_snapshot!("not_set_up", glance()));
    let machine = Machine::new();
    let glance = || machine.ccm::<&str>(&[]);
    machine.snapshots(|| assert_snapshot!("stopped", glance()));
    let down = machine.ccm(&["--json"]).json();
    assert_eq!(
        (&down["scope"], &down["set_up"]),
        (&"down".into(), &true.into())
    );

    let _daemon = machine.daemon();
    machine.snapshots(|| assert_snapshot!("no_projects", glance()));
    let shop = machine.project("shop", &["sh", "-c", "cat; exit 3"]);
    machine
        .project("tools", &["cat"])
        .ccm(&["project", "pause"])
        .ok();
    let empty = shop.ccm::<&str>(&[]);
    machine.snapshots(|| assert_snapshot!("project_without_tasks", empty));
    let task = shop.ccm(&["task", "create", "Fix the checkout test"]).ok();
    assert_eq!(machine.ccm(&["task", "wait", &task]).code, 1);
    until("the agent rests", || {
        machine.ccm(&["agent", "list", "--json"]).json()[0]["state"] == "idle"
    });
    machine.snapshots(|| {
        assert_snapshot!("machine", glance());
        assert_snapshot!("project", shop.ccm::<&str>(&[]));
    });
    let here = shop.ccm(&["--json"]).json();
    assert_eq!(here["scope"], "project");
    assert_eq!(here["tasks"][0]["id"], task.as_str());
    // A folder below belongs to the project, too.
    let below = shop.folder.join("src");
    std::fs::create_dir(&below).unwrap();
    let here = machine.ccm_in(&below, &["--json"]).json();
    assert_eq!(here["project"]["name"], "shop");
    let everything = machine.ccm(&["--json"]).json();
    assert_eq!(everything["projects"].as_array().unwrap().len(), 2);
}

#[test]
fn a_command_of_another_family_is_named() {
    let machine = Machine::bare();
    for (typed, meant) in [
        ("create", "task create"),
        ("pause", "project pause"),
        ("lsit", "help"),
    ] {
        let told = machine.ccm(&[typed]).fails(2);
        assert!(told.contains(meant), "{told}");
    }
}
