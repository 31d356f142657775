//! What is asked of a store, and parts of what it answers.

use std::num::NonZeroU32;

use crate::ask::AskStateKind;
use crate::event::EventKind;
use crate::id::{AgentId, AskId, ProjectId, RunId, Seq, TaskId};
use crate::task::{Spot, Task, TaskStateName, Words};

/// Which part of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueQuery {
    /// The project whose queue it is.
    pub project: ProjectId,
    /// Only after this place.
    pub after: Option<Spot>,
    /// At most so many.
    pub limit: u32,
    /// Only so much of each ([`Task::cut`]).
    pub cut: Option<NonZeroU32>,
}

/// Which part of a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskQuery {
    /// What it is a list of.
    pub filter: TaskFilter,
    /// Only older than this one.
    pub before: Option<TaskId>,
    /// Without the first so many of those.
    pub skip: u32,
    /// At most so many.
    pub limit: u32,
    /// Only so much of each ([`Task::cut`]).
    pub cut: Option<NonZeroU32>,
}

/// Which tasks. Empty for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only in one of these states; empty for any.
    pub states: Vec<TaskStateName>,
    /// Only those with each of these words in title or text.
    pub words: Option<Words>,
    /// Only those that ask for this tag.
    pub tag: Option<String>,
    /// Only those that this one created.
    pub created_by: Option<String>,
    /// Only those that wait for a person's leave, because they came from another machine ([`Task::hold`]).
    pub held: bool,
}

impl TaskFilter {
    /// Whether `task` is one of them.
    pub fn holds(&self, task: &Task) -> bool {
        let spec = &task.spec;
        let found = |words: &Words| words.are_in(&[spec.title.as_str(), spec.text.as_str()]);
        self.project.is_none_or(|id| id == task.project_id)
            && (!self.held || task.hold.is_some())
            && (self.states.is_empty() || self.states.contains(&task.state.name()))
            && self.tag.as_ref().is_none_or(|tag| spec.tags.contains(tag))
            && self
                .created_by
                .as_ref()
                .is_none_or(|by| *by == task.created_by)
            && self.words.as_ref().is_none_or(found)
    }
}

/// Which runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunQuery {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// Only older than this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// Which asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskQuery {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only those that stand like this.
    pub state: Option<AskStateKind>,
    /// Only older than this one.
    pub before: Option<AskId>,
    /// At most so many.
    pub limit: u32,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Only after this one.
    pub after: Seq,
    /// Only about this project.
    pub project: Option<ProjectId>,
    /// Only about this task.
    pub task: Option<TaskId>,
    /// Only about this run.
    pub run: Option<RunId>,
    /// Only of these kinds; empty for any.
    pub kinds: Vec<EventKind>,
    /// At most so many.
    pub limit: u32,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Whether there are more after the last of them.
    pub more: bool,
}
