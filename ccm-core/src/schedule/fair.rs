//! The default scheduler: urgent first, everybody in turn, nobody for ever last.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::id::{ProjectId, TaskId};
use crate::scheduler::{Candidate, Plan, ProjectLoad, Scheduler, Snapshot, Start};
use crate::time::Timestamp;

/// Between tasks and between projects no priority counts for more than this, in either direction, so that waiting can
/// make up for any difference.
pub const COUNTED_PRIORITY: i32 = 100;

/// The default scheduler.
///
/// **Within a project** the task with the highest priority is next, where each [ageing step](Self::with_ageing) that a
/// task has waited since it could have started counts as one priority. Equal ones go by their priority alone, then the
/// lower rank first, which is the older task unless somebody moved one.
///
/// **Between projects** the one is next whose next task has the highest priority, where each ageing step since the
/// project's last start (or since that task could have started, if that is later) counts as one. So a project with a
/// long queue takes turns with others instead of being served first for its age. Among equals it is the project with
/// the fewest runs, then the one whose last start is longest ago.
///
/// Priorities count up to ±[`COUNTED_PRIORITY`], so a task waits at most twice that many steps for those that are more
/// urgent, then for its turn.
#[derive(Debug, Clone)]
pub struct FairScheduler {
    ageing: Duration,
}

impl FairScheduler {
    /// A scheduler in which a task that waited for `step` comes before a fresh one of the next higher priority. A step
    /// of zero counts as a microsecond.
    pub fn with_ageing(step: Duration) -> Self {
        Self { ageing: step }
    }

    /// The steps that have passed since `moment`.
    fn steps(&self, moment: Timestamp, now: Timestamp) -> i64 {
        let steps = now.since(moment).as_micros() / self.ageing.as_micros().max(1);
        i64::try_from(steps).unwrap_or(i64::MAX / 2)
    }

    /// A project's tasks that may start, the next one last.
    fn line<'a>(&self, project: &'a ProjectLoad, snapshot: &Snapshot) -> Vec<&'a Candidate> {
        let mut line: Vec<&Candidate> = project
            .candidates
            .iter()
            .filter(|task| task.wants.met_by(&snapshot.machine))
            .filter(|task| task.due_at.is_none_or(|due| due <= snapshot.now))
            .collect();
        line.sort_by_key(|task| {
            let aged = counted(task) + self.steps(waits_since(task), snapshot.now);
            (aged, task.priority, Reverse((task.rank, task.task)))
        });
        line
    }

    fn turn(&self, project: &Contender<'_>, task: &Candidate, now: Timestamp) -> Turn {
        let since = waits_since(task);
        let since = project.last_started.map_or(since, |last| since.max(last));
        Turn {
            urgency: counted(task) + self.steps(since, now),
            running: Reverse(project.running),
            last_started: Reverse(project.last_started),
            id: Reverse(project.id),
            task: task.task,
        }
    }
}

impl Default for FairScheduler {
    /// Ten minutes of waiting count as one priority.
    fn default() -> Self {
        Self::with_ageing(Duration::from_secs(600))
    }
}

fn counted(task: &Candidate) -> i64 {
    i64::from(task.priority.clamp(-COUNTED_PRIORITY, COUNTED_PRIORITY))
}

/// Since when a task could have started.
fn waits_since(task: &Candidate) -> Timestamp {
    let since = task.rank.moment();
    task.due_at.map_or(since, |due| due.max(since))
}

/// A project that may start something, as it is after what was planned already.
struct Contender<'a> {
    id: ProjectId,
    slots: u32,
    running: u32,
    last_started: Option<Timestamp>,
    line: Vec<&'a Candidate>,
}

/// What decides between projects; the greatest is next. The order of the fields is the order of what counts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    urgency: i64,
    running: Reverse<u32>,
    // `None`, never, comes before every date.
    last_started: Reverse<Option<Timestamp>>,
    id: Reverse<ProjectId>,
    task: TaskId,
}

impl Scheduler for FairScheduler {
    fn plan(&self, snapshot: &Snapshot) -> Plan {
        let mut contenders: Vec<Contender<'_>> = snapshot
            .projects
            .iter()
            .map(|project| Contender {
                id: project.id,
                slots: project.slots,
                running: project.running,
                last_started: project.last_started,
                line: self.line(project, snapshot),
            })
            .collect();
        // One entry a project: only the turn of the one that was planned changes.
        let mut turns = BinaryHeap::new();
        for (at, project) in contenders.iter().enumerate() {
            if let Some(task) = project.line.last().filter(|_| project.slots > 0) {
                turns.push((self.turn(project, task, snapshot.now), at));
            }
        }
        let mut planned = BTreeSet::new();
        let mut plan = Plan {
            start: Vec::new(),
            wake_at: wake_at(snapshot),
        };
        while plan.start.len() < snapshot.slots as usize
            && let Some((_, at)) = turns.pop()
        {
            let Some(project) = contenders.get_mut(at) else {
                continue;
            };
            if let Some(task) = project.line.pop()
                && planned.insert(task.task)
            {
                plan.start.push(Start {
                    task: task.task,
                    project: project.id,
                });
                project.slots -= 1;
                project.running = project.running.saturating_add(1);
                project.last_started = Some(snapshot.now);
            }
            if let Some(task) = project.line.last().filter(|_| project.slots > 0) {
                turns.push((self.turn(project, task, snapshot.now), at));
            }
        }
        plan
    }
}

/// When the first task that this machine can do becomes due.
fn wake_at(snapshot: &Snapshot) -> Option<Timestamp> {
    let tasks = snapshot
        .projects
        .iter()
        .flat_map(|project| &project.candidates);
    tasks
        .filter(|task| task.wants.met_by(&snapshot.machine))
        .filter_map(|task| task.due_at)
        .filter(|due| *due > snapshot.now)
        .min()
}
