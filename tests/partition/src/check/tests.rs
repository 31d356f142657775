//! The judge, judged: what held is let through, and each thing that can go wrong is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::history::{Edited, Wished};
use crate::script::Create;

/// Five machines that did well.
struct World {
    machines: Vec<Known>,
    history: History,
    views: Vec<View>,
    log: Vec<Line>,
}

impl World {
    /// Two tasks that were done: one of machine 0 for machine 3, one for any that machine 1 did.
    fn new() -> Self {
        let machines = (0..5).map(|number| Known {
            project: format!("project-{number}"),
            system: format!("system-{number}"),
        });
        let history = History {
            created: vec![
                created("t1", "one", Target::Project(3)),
                created("t2", "two", Target::Shared),
            ],
            ..History::default()
        };
        let view = View {
            tasks: vec![
                task("one", "t1", "succeeded"),
                task("two", "t2", "succeeded"),
            ],
            runs: vec![run("run-1", "one", 3), run("run-2", "two", 1)],
            projects: vec![json!({ "id": "project-0", "state": "active" })],
            sync: json!({ "pending": 0, "unsettled": 0, "set_aside": 0, "condition": "ready" }),
            ..View::default()
        };
        let mut log = Vec::new();
        log.extend(lines("one", "run-1", 3));
        log.extend(lines("two", "run-2", 1));
        Self {
            machines: machines.collect(),
            history,
            views: vec![view; 5],
            log,
        }
    }

    fn judge(&self) -> Vec<String> {
        findings(Evidence {
            machines: &self.machines,
            clones: 2,
            history: &self.history,
            views: &self.views,
            log: &self.log,
        })
    }

    /// What does not hold is told, and nothing is that does.
    #[track_caller]
    fn has_only(&self, kinds: &[&str]) {
        let findings = self.judge();
        let of_kind = |kind: &str| findings.iter().any(|finding| finding.starts_with(kind));
        assert!(
            kinds.iter().all(|kind| of_kind(kind)),
            "{kinds:?}: {findings:#?}"
        );
        let known = |finding: &&String| kinds.iter().any(|kind| finding.starts_with(kind));
        let others: Vec<_> = findings.iter().filter(|finding| !known(finding)).collect();
        assert!(others.is_empty(), "beside {kinds:?}: {others:#?}");
    }

    fn edit(&mut self, title: &str, before: &str, fate: Fate) {
        self.history.edited.push(Edited {
            task: "one".to_owned(),
            machine: 2,
            title: title.to_owned(),
            before: before.to_owned(),
            fate,
        });
    }

    fn wish(&mut self, is_retry: bool, fate: Fate) {
        self.history.wished.push(Wished {
            task: "one".to_owned(),
            is_retry,
            fate,
        });
    }

    /// The same change on all machines.
    fn everywhere(&mut self, change: impl Fn(&mut View)) {
        self.views.iter_mut().for_each(change);
    }
}

fn created(name: &str, id: &str, target: Target) -> Created {
    Created {
        name: name.to_owned(),
        machine: 0,
        what: Create {
            target,
            works: Duration::ZERO,
            fails: false,
            retries: 0,
            waits: None,
        },
        fate: Fate::Acknowledged,
        id: Some(id.to_owned()),
        body: Value::Null,
    }
}

fn task(id: &str, name: &str, state: &str) -> Value {
    json!({
        "id": id, "title": name, "text": format!("work 0 succeed\n{name}\n"), "state": state, "priority": 0,
        "result": "done",
    })
}

fn run(id: &str, task: &str, machine: usize) -> Value {
    json!({ "id": id, "task_id": task, "state": "succeeded", "system_id": format!("system-{machine}") })
}

fn lines(task: &str, run: &str, machine: usize) -> [Line; 2] {
    [Mark::Begin, Mark::Succeeded].map(|what| line(what, task, run, machine))
}

fn line(what: Mark, task: &str, run: &str, machine: usize) -> Line {
    Line {
        what,
        task: task.to_owned(),
        run: run.to_owned(),
        machine,
        at: 0,
    }
}

#[test]
fn what_held_is_let_through() {
    assert_eq!(World::new().judge(), Vec::<String>::new());
}

#[test]
fn a_task_that_is_missing_on_one_machine_is_told() {
    let mut world = World::new();
    world.views[4].tasks.remove(0);
    world.has_only(&["lost: t1", "diverging: task one: not on m4"]);
}

#[test]
fn a_task_that_is_missing_everywhere_is_told() {
    let mut world = World::new();
    world.everywhere(|view| drop(view.tasks.remove(0)));
    world.has_only(&["lost: t1 (one, created on m0 for m3) is missing on m0, m1, m2, m3, m4"]);
}

#[test]
fn a_task_that_nobody_asked_for_is_told() {
    let mut world = World::new();
    world.everywhere(|view| view.tasks.push(task("three", "t3", "succeeded")));
    world.has_only(&[
        "invented: m0",
        "invented: m1",
        "invented: m2",
        "invented: m3",
        "invented: m4",
    ]);
}

#[test]
fn a_task_that_was_refused_must_not_be_there() {
    let mut world = World::new();
    world.history.created[0].fate = Fate::Refused;
    world.history.created[0].id = None;
    world.has_only(&["invented"]);
    // One whose answer did not come may be there, or not.
    world.history.created[0].fate = Fate::Unknown;
    world.has_only(&[]);
    world.everywhere(|view| {
        view.tasks.remove(0);
        view.runs.remove(0);
    });
    world.log.drain(..2);
    world.has_only(&[]);
}

#[test]
fn one_request_that_made_two_tasks_is_told() {
    let mut world = World::new();
    world.everywhere(|view| view.tasks.push(task("one-again", "t1", "succeeded")));
    world.has_only(&["doubled: t1 was asked for once"]);
}

#[test]
fn a_task_that_is_listed_twice_is_told() {
    let mut world = World::new();
    let again = world.views[1].tasks[0].clone();
    world.views[1].tasks.push(again);
    world.has_only(&["doubled: m1 lists task one twice"]);
}

#[test]
fn whatever_differs_is_told_with_the_field() {
    for (name, value) in [
        ("title", json!("other")),
        ("priority", json!(1)),
        ("result", Value::Null),
        ("text", json!("work 0 succeed\nt1\nmore")),
    ] {
        let mut world = World::new();
        world.views[2].tasks[0][name] = value;
        world.has_only(&[&format!("diverging: task one: {name} is m0 ")]);
    }
    let mut world = World::new();
    world.views[2].runs[1]["exit_code"] = 0.into();
    world.has_only(&["diverging: run run-2: exit_code is m0 nothing"]);
    let mut world = World::new();
    world.views[2].projects[0]["state"] = "paused".into();
    world.has_only(&["diverging: project"]);
    let mut world = World::new();
    world.views[0]
        .conflicts
        .push(json!({ "id": "c", "task_id": "one" }));
    world.has_only(&["diverging: conflict c: not on m1, m2, m3, m4"]);
}

#[test]
fn what_is_about_the_machine_that_answers_may_differ() {
    let mut world = World::new();
    world.views[2].tasks[0]["revision"] = 7.into();
    world.views[2].tasks[0]["sharing"] = json!({ "sent": true });
    world.views[2].projects[0]["machine"] = json!({ "this": false });
    world.has_only(&[]);
}

#[test]
fn a_task_that_never_ended_is_told() {
    for state in ["queued", "running"] {
        let mut world = World::new();
        world.everywhere(|view| view.tasks[1]["state"] = state.into());
        world.has_only(&["wrong outcome: t2", "lost outcome: t2"]);
    }
}

#[test]
fn an_outcome_that_its_program_did_not_have_is_told() {
    let mut world = World::new();
    world.everywhere(|view| {
        view.tasks[0]["state"] = "failed".into();
        view.tasks[0]["reason"] = "lost".into();
        view.runs[0]["state"] = "lost".into();
    });
    world.log.remove(1);
    world.has_only(&["wrong outcome: t1"]);
    world.history.created[0].what.fails = true;
    world.has_only(&["wrong outcome: t1"]);
    world.everywhere(|view| view.tasks[0]["reason"] = "exit_code".into());
    world.has_only(&[]);
}

#[test]
fn a_success_without_its_program_is_told() {
    let mut world = World::new();
    world.log.clear();
    world.has_only(&["wrong outcome: run run-1", "wrong outcome: run run-2"]);
    // Nor is one that another machine had.
    let mut world = World::new();
    world.everywhere(|view| view.runs[1]["system_id"] = "system-0".into());
    world.has_only(&["wrong outcome: run run-2"]);
}

#[test]
fn a_success_that_was_forgotten_is_told() {
    let mut world = World::new();
    world.wish(false, Fate::Refused);
    world.everywhere(|view| {
        view.tasks[0]["state"] = "cancelled".into();
        view.runs.remove(0);
    });
    world.has_only(&["wrong outcome: t1", "lost outcome: t1"]);
    world.wish(false, Fate::Unknown);
    world.has_only(&[]);
}

#[test]
fn two_successes_are_told_but_of_a_task_that_was_retried() {
    let mut world = World::new();
    world.everywhere(|view| view.runs.push(run("run-3", "one", 3)));
    world.log.extend(lines("one", "run-3", 3));
    world.has_only(&["doubled: t1"]);
    let findings = world.judge();
    assert!(
        findings
            .iter()
            .any(|finding| finding.contains("succeeded 2 times")),
        "{findings:?}"
    );
    assert!(
        findings
            .iter()
            .any(|finding| finding.contains("was done 2 times")),
        "{findings:?}"
    );
    world.wish(true, Fate::Acknowledged);
    world.has_only(&[]);
}

#[test]
fn work_that_was_done_twice_and_told_once_is_told() {
    let mut world = World::new();
    world.log.extend(lines("two", "run-3", 0));
    world.has_only(&["doubled: t2"]);
}

#[test]
fn two_at_once_are_told() {
    let mut world = World::new();
    world.wish(true, Fate::Acknowledged);
    world.log.push(line(Mark::Twice, "one", "run-3", 3));
    world.has_only(&["twice at once: t1"]);
}

#[test]
fn a_run_that_began_twice_is_told() {
    let mut world = World::new();
    world.log.push(line(Mark::Begin, "one", "run-1", 3));
    world.has_only(&["doubled: run run-1", "doubled: t1"]);
}

#[test]
fn work_on_the_wrong_machine_is_told() {
    // A pinned task elsewhere, and a shared one where its repository is not.
    for (run, line, wrong) in [(0, 0..2, 1), (1, 2..4, 4)] {
        let mut world = World::new();
        world.everywhere(|view| view.runs[run]["system_id"] = format!("system-{wrong}").into());
        world.log[line]
            .iter_mut()
            .for_each(|line| line.machine = wrong);
        world.has_only(&["wrong machine: t"]);
    }
}

#[test]
fn work_on_a_task_that_nobody_knows_is_told() {
    let mut world = World::new();
    world.log.push(line(Mark::Begin, "three", "run-3", 0));
    world.has_only(&["invented: task three"]);
}

#[test]
fn an_edit_that_left_no_trace_is_told() {
    let mut world = World::new();
    world.edit("e1", "t1", Fate::Acknowledged);
    world.has_only(&["lost edit: e1"]);
    // One that was refused or not answered need not have left any.
    world.history.edited[0].fate = Fate::Unknown;
    world.has_only(&[]);
    world.history.edited[0].fate = Fate::Acknowledged;
    // It counts.
    world.everywhere(|view| view.tasks[0]["title"] = "e1".into());
    world.has_only(&[]);
    // Somebody who knew it wrote another.
    world.edit("e2", "e1", Fate::Acknowledged);
    world.everywhere(|view| view.tasks[0]["title"] = "e2".into());
    world.has_only(&[]);
    // Somebody who did not know it wrote another.
    world.history.edited[1].before = "t1".to_owned();
    world.has_only(&["lost edit: e1"]);
    // That is kept as a conflict.
    let conflict = json!({
        "id": "c", "task_id": "one", "fields": [{ "name": "title", "local": "e1", "remote": "e2" }],
    });
    world.everywhere(|view| view.conflicts.push(conflict.clone()));
    world.has_only(&[]);
    // Of another task it would not help.
    world.everywhere(|view| view.conflicts[0]["task_id"] = "two".into());
    world.has_only(&["lost edit: e1"]);
}

#[test]
fn whatever_waits_or_was_given_up_is_told() {
    for name in ["pending", "unsettled", "set_aside"] {
        let mut world = World::new();
        world.views[3].sync[name] = 2.into();
        world.has_only(&[&format!("unsettled: m3 says {name}: 2")]);
        world.views[3].sync[name] = Value::Null;
        world.has_only(&[&format!("unsettled: m3 says {name}: null")]);
    }
    let mut world = World::new();
    world.views[3].set_aside.push(json!({ "number": 4 }));
    world.has_only(&["set aside: on m3"]);
    let mut world = World::new();
    world.views[3].sync["condition"] = "offline".into();
    world.has_only(&["stuck: m3"]);
}
