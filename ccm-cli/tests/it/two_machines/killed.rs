//! `kill -9` of a daemon between any two steps of sharing: when it is back, a task that was on its way is done once, and
//! both machines say so.

use std::process::Stdio;

use super::{Place, repository};
use crate::support::{Daemon, Machine, Project, until};

/// A project whose program adds a line with its task's text to `done.log` in its folder.
fn shop(machine: &Machine) -> Project<'_> {
    let project = machine.project("shop", &["sh", "-c", "cat >> done.log; echo >> done.log"]);
    project.set("remote_tasks", "allow");
    project
}

fn hears_of_shop(machine: &Machine) {
    until("it hears of the project", || {
        machine.ccm(&["project", "show", "shop"]).code == 0
    });
}

/// Has `laptop` write a task, and kills the daemon of `machine` when it comes to the step after that.
fn kill_at<'a>(
    step: &str,
    daemon: Daemon<'a>,
    machine: &'a Machine,
    laptop: &Machine,
    create: &[&str],
) -> Daemon<'a> {
    machine.hold(step);
    // It may be the one whose answer is waited for.
    let mut asking = laptop
        .command("ccm", create)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(machine.reached(step), daemon.pid(), "{step}");
    daemon.kill();
    machine.release(step);
    asking.wait().unwrap();
    machine.daemon()
}

/// How a task with this text goes, as a machine tells it.
fn state(machine: &Machine, text: &str) -> Option<String> {
    let listed = machine.ccm(&["task", "list", "--all", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
    let mut tasks = listed.as_array()?.iter();
    let task = tasks.find(|task| task["title"] == text)?;
    Some(task["state"].as_str()?.to_owned())
}

fn done_once(projects: &[&Project<'_>], machines: &[&Machine], text: &str) {
    for machine in machines {
        until(&format!("{text:?} is done"), || {
            state(machine, text).as_deref() == Some("succeeded")
        });
    }
    let lines = projects.iter().flat_map(|project| {
        let done = std::fs::read_to_string(project.folder.join("done.log"));
        done.unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(lines.filter(|line| line == text).count(), 1, "{text}");
}

#[test]
fn whoever_sends_a_task_is_killed() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    let (mut here, _there) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let shop = shop(&server);
    hears_of_shop(&laptop);
    let steps = ["sync.sealed", "sync.answered", "sync.pushed"];
    for step in steps {
        let create = ["task", "create", "--project", "shop", step];
        // It may come to that step with something else, before it has the task.
        while state(&laptop, step).is_none() {
            here = kill_at(step, here, &laptop, &laptop, &create);
        }
        done_once(&[&shop], &[&server, &laptop], step);
    }
    // Nor was any done again since.
    for step in steps {
        done_once(&[&shop], &[], step);
    }
}

#[test]
fn whoever_gets_a_task_is_killed() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    let (_here, mut there) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let shop = shop(&server);
    hears_of_shop(&laptop);
    let steps = [
        "sync.marked",
        "sync.fetched",
        "sync.adopted",
        "sync.settled",
        "sync.pulled",
    ];
    for step in steps {
        let create = ["task", "create", "--project", "shop", step];
        there = kill_at(step, there, &server, &laptop, &create);
        done_once(&[&shop], &[&server, &laptop], step);
    }
    // Nor was any done again since.
    for step in steps {
        done_once(&[&shop], &[], step);
    }
}

#[test]
fn whoever_claims_a_task_is_killed() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    for machine in [&laptop, &server] {
        repository(&machine.folder("shop"), "https://example.com/me/shop");
    }
    let (_here, mut there) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let (mine, theirs) = (shop(&laptop), shop(&server));
    mine.ccm(&["project", "pause"]).ok();
    let steps = ["sync.claiming", "sync.claimed"];
    for step in steps {
        let folder = mine.folder.to_str().unwrap();
        let create = ["task", "create", "--project", folder, "--any-machine", step];
        there = kill_at(step, there, &server, &laptop, &create);
        done_once(&[&mine, &theirs], &[&server, &laptop], step);
    }
    for step in steps {
        done_once(&[&mine, &theirs], &[], step);
    }
}

#[test]
fn whoever_takes_a_task_of_its_own_without_contact_is_killed() {
    let place = Place::new();
    let laptop = Place::machine("laptop");
    repository(&laptop.folder("shop"), "https://example.com/me/shop");
    let here = laptop.daemon();
    place.connect(&laptop).ok();
    let shop = shop(&laptop);
    place.runtime.block_on(place.server.stop_server());
    // What is on its way when the line is cut may be known elsewhere.
    until("the laptop knows that it is alone", || {
        laptop.ccm(&["sync", "now"]).code != 0
    });
    let folder = shop.folder.to_str().unwrap();
    let text = "sync.pinned";
    let create = ["task", "create", "--project", folder, "--any-machine", text];
    let _here = kill_at(text, here, &laptop, &laptop, &create);
    done_once(&[&shop], &[&laptop], text);
    place.runtime.block_on(place.server.start_server());
    laptop.ccm(&["sync", "now"]).ok();
    done_once(&[&shop], &[&laptop], text);
}
