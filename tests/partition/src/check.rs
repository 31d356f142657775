//! Judges what five machines say in the end, by what they were asked for and by what their agents really did.
//!
//! All of it is pure, so that the judge can be judged: see the tests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::agent::{Line, Mark};
use crate::history::{Created, Fate, History};
use crate::script::Target;

/// What is known of a machine from outside.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The id of its project.
    pub(crate) project: String,
    /// Its own id.
    pub(crate) system: String,
}

/// What a machine says.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) tasks: Vec<Value>,
    pub(crate) runs: Vec<Value>,
    pub(crate) projects: Vec<Value>,
    pub(crate) conflicts: Vec<Value>,
    pub(crate) set_aside: Vec<Value>,
    pub(crate) sync: Value,
}

/// All that there is to go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) machines: &'a [Known],
    /// The first so many have the same repository.
    pub(crate) clones: usize,
    pub(crate) history: &'a History,
    pub(crate) views: &'a [View],
    pub(crate) log: &'a [Line],
}

/// What does not hold, each in a line; nothing if all does.
pub(crate) fn findings(evidence: Evidence<'_>) -> Vec<String> {
    let mut findings = Vec::new();
    lost(evidence, &mut findings);
    invented(evidence, &mut findings);
    diverging("task", evidence, |view| &view.tasks, &mut findings);
    diverging("run", evidence, |view| &view.runs, &mut findings);
    diverging("project", evidence, |view| &view.projects, &mut findings);
    diverging("conflict", evidence, |view| &view.conflicts, &mut findings);
    for created in &evidence.history.created {
        outcome(created, evidence, &mut findings);
    }
    edits(evidence, &mut findings);
    done(evidence, &mut findings);
    settled(evidence, &mut findings);
    findings
}

/// Every task that was acknowledged is everywhere.
fn lost(evidence: Evidence<'_>, findings: &mut Vec<String>) {
    for created in &evidence.history.created {
        let Some(id) = &created.id else { continue };
        let missing = evidence.views.iter().enumerate();
        let missing = missing.filter(|(_, view)| find(&view.tasks, id).is_none());
        let missing: Vec<String> = missing.map(|(machine, _)| format!("m{machine}")).collect();
        if !missing.is_empty() {
            findings.push(format!(
                "lost: {} is missing on {}",
                describe(created),
                missing.join(", ")
            ));
        }
    }
}

/// No task is there that nobody asked for, and none twice.
fn invented(evidence: Evidence<'_>, findings: &mut Vec<String>) {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (machine, view) in evidence.views.iter().enumerate() {
        for task in &view.tasks {
            let name = text(task, "text").lines().nth(1).unwrap_or_default();
            let mut created = evidence.history.created.iter();
            match created.find(|created| created.name == name) {
                Some(created) if created.fate.may_be() => {
                    ids.entry(name).or_default().insert(text(task, "id"));
                }
                _ => findings.push(format!(
                    "invented: m{machine} has task {} ({name:?}), which was never taken",
                    text(task, "id")
                )),
            }
        }
    }
    for (name, ids) in ids {
        if ids.len() > 1 {
            findings.push(format!("doubled: {name} was asked for once and is {ids:?}"));
        }
    }
}

/// What is told about each thing is the same wherever one asks.
fn diverging(
    what: &str,
    evidence: Evidence<'_>,
    of: impl Fn(&View) -> &Vec<Value>,
    findings: &mut Vec<String>,
) {
    let mut things: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    for (machine, view) in evidence.views.iter().enumerate() {
        for thing in of(view) {
            let told = things.entry(text(thing, "id").to_owned()).or_default();
            told.resize(evidence.views.len(), None);
            if told[machine].is_some() {
                findings.push(format!(
                    "doubled: m{machine} lists {what} {} twice",
                    text(thing, "id")
                ));
            }
            told[machine] = Some(shared_part(what, thing));
        }
    }
    for (id, told) in things {
        if told.iter().all(|one| *one == told[0]) {
            continue;
        }
        let names: Vec<String> = (0..told.len())
            .map(|machine| format!("m{machine}"))
            .collect();
        findings.push(format!(
            "diverging: {what} {id}: {}",
            differences(&names, &told)
        ));
    }
}

/// The fields that differ, with what each of `names` says.
pub(crate) fn differences(names: &[String], told: &[Option<Value>]) -> String {
    let mut parts = Vec::new();
    let (there, gone): (Vec<_>, Vec<_>) =
        names.iter().zip(told).partition(|(_, one)| one.is_some());
    if !gone.is_empty() {
        let gone: Vec<&str> = gone.iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("not on {}", gone.join(", ")));
    }
    let there: Vec<_> = there
        .into_iter()
        .filter_map(|(name, one)| Some((name, one.as_ref()?.as_object()?)))
        .collect();
    let fields: BTreeSet<&String> = there.iter().flat_map(|(_, object)| object.keys()).collect();
    for field in fields {
        let mut values = there.iter().map(|(_, object)| object.get(field));
        let first = values.next();
        if values.all(|value| Some(value) == first) {
            continue;
        }
        let values = there.iter().map(|(name, object)| {
            let value = object.get(field);
            format!(
                "{name} {}",
                value.map_or_else(|| "nothing".to_owned(), Value::to_string)
            )
        });
        parts.push(format!(
            "{field} is {}",
            values.collect::<Vec<_>>().join(", ")
        ));
    }
    parts.join("; ")
}

/// Without what is only about the machine that answers.
fn shared_part(what: &str, thing: &Value) -> Value {
    let mut part = thing.clone();
    let own: &[&str] = match what {
        // Who runs it has a copy of its own, that it accepted at a time of its own, from somebody on another machine.
        // That all have the same definition is seen in their databases.
        "task" => &[
            "revision",
            "updated_at",
            "created_at",
            "created_by",
            "sharing",
        ],
        // What is said of projects of other machines alone; and how much there was to do when something else of the
        // project changed last, which is no promise.
        "project" => &["machine", "agent_state", "repository", "queued", "running"],
        // It is told from the side of who is asked.
        "conflict" => &["local", "remote", "counts", "fields"],
        _ => &["machine"],
    };
    if let Some(object) = part.as_object_mut() {
        for name in own {
            object.remove(*name);
        }
    }
    part
}

/// The task has ended, as its program did.
fn outcome(created: &Created, evidence: Evidence<'_>, findings: &mut Vec<String>) {
    let Some(id) = &created.id else { return };
    let wishes = evidence.history.wished.iter();
    let wishes = wishes.filter(|wish| wish.task == *id && wish.fate.may_be());
    let (retries, cancels): (Vec<_>, Vec<_>) = wishes.partition(|wish| wish.is_retry);
    for (machine, view) in evidence.views.iter().enumerate() {
        let Some(task) = find(&view.tasks, id) else {
            continue;
        };
        let what = describe(created);
        let state = text(task, "state");
        let reason = task["reason"].as_str().unwrap_or_default();
        let wrong = match state {
            "succeeded" => created.what.fails.then_some("though its program fails"),
            "failed" if !created.what.fails => Some("though its program does not"),
            "failed" => (reason != "exit_code").then_some("but not by its program"),
            "cancelled" => cancels.is_empty().then_some("though nobody wanted that"),
            _ => Some("and was to be over"),
        };
        if let Some(wrong) = wrong {
            findings.push(format!(
                "wrong outcome: {what} is {state} ({reason}) on m{machine}, {wrong}"
            ));
        }
        let runs = view.runs.iter().filter(|run| text(run, "task_id") == id);
        let good = runs.filter(|run| text(run, "state") == "succeeded").count();
        if good > 1 + retries.len() {
            findings.push(format!(
                "doubled: {what} succeeded {good} times on m{machine}"
            ));
        }
    }
}

/// Every edit that was acknowledged is what counts, was overwritten by one who knew it, or is kept as a conflict.
fn edits(evidence: Evidence<'_>, findings: &mut Vec<String>) {
    let edited = &evidence.history.edited;
    for edit in edited.iter().filter(|edit| edit.fate == Fate::Acknowledged) {
        let is_overwritten = edited.iter().any(|other| {
            other.task == edit.task && other.before == edit.title && other.fate.may_be()
        });
        for (machine, view) in evidence.views.iter().enumerate() {
            let task = find(&view.tasks, &edit.task);
            let counts = task.is_some_and(|task| text(task, "title") == edit.title);
            let is_kept = view.conflicts.iter().any(|conflict| {
                text(conflict, "task_id") == edit.task && has_title(conflict, &edit.title)
            });
            if !(counts || is_overwritten || is_kept) {
                findings.push(format!(
                    "lost edit: {} of task {} (made on m{} of {}) counts nowhere and is no conflict on m{machine}, where the \
                     title is {:?}",
                    edit.title,
                    edit.task,
                    edit.machine,
                    edit.before,
                    task.map(|task| text(task, "title"))
                ));
            }
        }
    }
}

fn has_title(conflict: &Value, title: &str) -> bool {
    let fields = conflict["fields"].as_array().into_iter().flatten();
    let mut titles = fields.filter(|field| text(field, "name") == "title");
    titles.any(|field| field["local"] == title || field["remote"] == title)
}

/// What the agents really did: each task where it may be done, never twice at once, and not again once it was done.
fn done(evidence: Evidence<'_>, findings: &mut Vec<String>) {
    let mut of_task: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    for line in evidence.log {
        of_task.entry(&line.task).or_default().push(line);
        if line.what == Mark::Begin && !begun.insert(&line.run) {
            findings.push(format!(
                "doubled: run {} of task {} was begun twice",
                line.run, line.task
            ));
        }
    }
    for (id, lines) in &of_task {
        let created = evidence
            .history
            .created
            .iter()
            .find(|created| created.id.as_deref() == Some(*id));
        // Its creation was not answered. What it is known by is in what the machines list.
        let created = created.or_else(|| {
            let task = evidence
                .views
                .iter()
                .find_map(|view| find(&view.tasks, id))?;
            let name = text(task, "text").lines().nth(1)?;
            let mut all = evidence.history.created.iter();
            all.find(|created| created.name == name)
        });
        let Some(created) = created else {
            findings.push(format!(
                "invented: task {id} was worked on, and nobody knows it"
            ));
            continue;
        };
        done_of(id, created, lines, evidence, findings);
    }
    // And the other way round: what is said to have succeeded was done.
    for view in evidence.views {
        for run in &view.runs {
            let (id, task) = (text(run, "id"), text(run, "task_id"));
            let lines = of_task.get(task).map_or(&[][..], Vec::as_slice);
            let is_done = lines.iter().any(|line| {
                line.run == id
                    && line.what == Mark::Succeeded
                    && evidence.machines[line.machine].system == text(run, "system_id")
            });
            if text(run, "state") == "succeeded" && !is_done {
                findings.push(format!(
                    "wrong outcome: run {id} of task {task} succeeded, which its program did not, or not there"
                ));
            }
        }
    }
}

fn done_of(
    id: &str,
    created: &Created,
    lines: &[&Line],
    evidence: Evidence<'_>,
    findings: &mut Vec<String>,
) {
    let what = describe(created);
    let count = |mark: Mark| lines.iter().filter(|line| line.what == mark).count();
    let wishes = evidence.history.wished.iter();
    let mut wishes = wishes.filter(|wish| wish.task == id && wish.fate.may_be());
    let retries = wishes.clone().filter(|wish| wish.is_retry).count();
    let is_cancelled = wishes.any(|wish| !wish.is_retry);
    if count(Mark::Twice) > 0 {
        findings.push(format!("twice at once: {what}: {lines:?}"));
    }
    if count(Mark::Succeeded) > 1 + retries {
        findings.push(format!(
            "doubled: {what} was done {} times: {lines:?}",
            count(Mark::Succeeded)
        ));
    }
    let most = (1 + retries) * (1 + created.what.retries as usize);
    if count(Mark::Begin) > most {
        findings.push(format!(
            "doubled: {what} was begun {} times and may be {most} times: {lines:?}",
            count(Mark::Begin)
        ));
    }
    let machines: BTreeSet<usize> = lines.iter().map(|line| line.machine).collect();
    for machine in machines {
        let may_be = match created.what.target {
            Target::Project(owner) => machine == owner,
            Target::Shared => machine < evidence.clones,
        };
        if !may_be {
            findings.push(format!("wrong machine: {what} was worked on by m{machine}"));
        }
    }
    if count(Mark::Succeeded) > 0 && retries == 0 && !is_cancelled {
        for (machine, view) in evidence.views.iter().enumerate() {
            if let Some(task) = find(&view.tasks, id)
                && text(task, "state") != "succeeded"
            {
                findings.push(format!(
                    "lost outcome: {what} was done, and is {} on m{machine}",
                    text(task, "state")
                ));
            }
        }
    }
}

/// Nothing waits, nothing was given up, and nothing is stuck.
fn settled(evidence: Evidence<'_>, findings: &mut Vec<String>) {
    for (machine, view) in evidence.views.iter().enumerate() {
        for name in ["pending", "unsettled", "set_aside"] {
            let count = view.sync[name].as_u64();
            if count != Some(0) {
                findings.push(format!(
                    "unsettled: m{machine} says {name}: {}",
                    view.sync[name]
                ));
            }
        }
        if view.sync["condition"] != "ready" {
            findings.push(format!("stuck: m{machine} says {}", view.sync));
        }
        for one in &view.set_aside {
            findings.push(format!("set aside: on m{machine}: {one}"));
        }
    }
}

fn describe(created: &Created) -> String {
    let target = match created.what.target {
        Target::Project(machine) => format!("for m{machine}"),
        Target::Shared => "for any".to_owned(),
    };
    format!(
        "{} ({}, created on m{} {target})",
        created.name,
        created.id.as_deref().unwrap_or("no id"),
        created.machine
    )
}

fn text<'a>(thing: &'a Value, name: &str) -> &'a str {
    thing[name].as_str().unwrap_or_default()
}

fn find<'a>(things: &'a [Value], id: &str) -> Option<&'a Value> {
    things.iter().find(|thing| text(thing, "id") == id)
}

#[cfg(test)]
mod tests;
