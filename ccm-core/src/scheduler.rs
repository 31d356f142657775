//! The contract of scheduling: a snapshot in, a plan out.

use std::fmt;

use crate::id::{ProjectId, TaskId};
use crate::system::{System, SystemKind};
use crate::task::{Rank, TaskSpec};
use crate::time::Timestamp;

/// Decides which tasks start now.
///
/// # Contract
///
/// - **Pure**: the same snapshot gives the same plan; no clock, no randomness, no memory between calls.
/// - **Bounded**: work is proportional to the snapshot, whose size does not depend on the length of the queue.
/// - **Within limits**: never more starts than [`Snapshot::slots`] in all, nor than [`ProjectLoad::slots`] in a project.
/// - **Only what may start**: never a task that is not in the snapshot, no task twice, none before its
///   [`Candidate::due_at`], none whose [`Candidate::wants`] this machine does not meet.
/// - **No starvation**: a task that may start is planned after a bounded number of rounds in which others were started.
pub trait Scheduler: Send + Sync + fmt::Debug {
    /// The tasks to start, in order, and when to look again.
    fn plan(&self, snapshot: &Snapshot) -> Plan;
}

/// What a scheduler may know.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The moment it was taken.
    pub now: Timestamp,
    /// How many more runs may start on this machine now.
    pub slots: u32,
    /// What this machine is.
    pub machine: Machine,
    /// Every project that has a ready task and may start one.
    pub projects: Vec<ProjectLoad>,
}

/// What a machine offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// What it is for.
    pub kind: SystemKind,
    /// What it has.
    pub tags: Vec<String>,
}

impl From<&System> for Machine {
    fn from(system: &System) -> Self {
        Self {
            kind: system.kind,
            tags: system.tags.clone(),
        }
    }
}

/// One project's part of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectLoad {
    /// The project.
    pub id: ProjectId,
    /// How many more runs it may start now.
    pub slots: u32,
    /// How many of its runs are under way.
    pub running: u32,
    /// When one of its tasks was started last.
    pub last_started: Option<Timestamp>,
    /// Its first tasks by priority, and its oldest, without doubles.
    pub candidates: Vec<Candidate>,
}

/// A queued task that waits for nothing but its time and its turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The task.
    pub task: TaskId,
    /// Higher is sooner.
    pub priority: i32,
    /// Its place among those of its priority, and since when it counts as waiting.
    pub rank: Rank,
    /// Not before this.
    pub due_at: Option<Timestamp>,
    /// What it asks of a machine.
    pub wants: Wants,
}

/// What a task asks of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// Tags it must all have.
    pub tags: Vec<String>,
    /// The kind it must be of.
    pub system_type: Option<SystemKind>,
}

impl Wants {
    /// Whether `machine` is what the task asks for.
    pub fn met_by(&self, machine: &Machine) -> bool {
        self.system_type.is_none_or(|kind| kind == machine.kind)
            && self.tags.iter().all(|tag| machine.tags.contains(tag))
    }
}

impl From<&TaskSpec> for Wants {
    fn from(spec: &TaskSpec) -> Self {
        Self {
            tags: spec.tags.clone(),
            system_type: spec.system_type,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Tasks to start, the most urgent first.
    pub start: Vec<Start>,
    /// When a task of the snapshot becomes due, if nothing else happens first.
    pub wake_at: Option<Timestamp>,
}

/// One task to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectId,
}
