//! Tasks: what someone wants done.

mod edit;
mod queue;
mod spec;
mod state;
mod words;

pub use edit::{Edit, SpecEdit};
pub use queue::{Fit, Gap, Place, Rank, Side, Spot};
pub use spec::{
    MAX_BLOCKERS, MAX_RETRIES, MAX_TAGS, MAX_TEXT_BYTES, MAX_TIMEOUT, MAX_TITLE_CHARS, SessionMode,
    TaskSpec, TaskText, Title, is_tag,
};
pub use state::{CancelEffect, Setback, StopIntent, TaskState, TaskStateName};
pub use words::{MAX_SEARCH_CHARS, Words, cases};

use std::num::NonZeroU32;

use crate::id::{ProjectId, Revision, RunId, TaskId};
use crate::time::Timestamp;

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The project whose agent does it.
    pub project_id: ProjectId,
    /// That project's name.
    pub project: String,
    /// What it asks for.
    pub spec: TaskSpec,
    /// Where it stands.
    pub state: TaskState,
    /// While it is queued: not to be started before this, by its spec or by a backoff.
    pub due_at: Option<Timestamp>,
    /// Where it stands among those of its priority while it is queued.
    pub rank: Rank,
    /// How many runs were started for it since it was created or last retried by a person.
    pub attempts: u32,
    /// How many tries in a row ended before anything was started.
    pub false_starts: u32,
    /// The latest run, whatever became of it.
    pub latest_run: Option<RunId>,
    /// What the agent answered in the end.
    pub result: Option<String>,
    /// What all its runs cost together, if that is known.
    pub cost_usd: Option<f64>,
    /// Why it waits for a person's leave, if it does: it came from another machine.
    pub hold: Option<Setback>,
    /// Whether another machine has its lease now and tells what becomes of it.
    pub yielded: bool,
    /// Who created it: `cli`, `api`, `agent:RUN_ID` ...
    pub created_by: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: Revision,
}

impl Task {
    /// Its place in the queue of its project.
    pub fn spot(&self) -> Spot {
        Spot {
            priority: self.spec.priority,
            rank: self.rank,
            task: self.id,
        }
    }

    /// A task that is new, and waits.
    pub fn accepted(
        new: (TaskId, TaskSpec),
        (project_id, project): (ProjectId, String),
        created_by: String,
        now: Timestamp,
    ) -> Self {
        let (id, spec) = new;
        Self {
            id,
            project_id,
            project,
            state: TaskState::Queued { last: None },
            due_at: spec.not_before,
            rank: Rank::of(now),
            spec,
            attempts: 0,
            false_starts: 0,
            latest_run: None,
            result: None,
            cost_usd: None,
            hold: None,
            yielded: false,
            created_by,
            created_at: now,
            updated_at: now,
            revision: Revision(1),
        }
    }

    /// The task with no more than the first `chars` characters of its text and its result each, to be shown in a list.
    #[must_use]
    pub fn cut(mut self, chars: NonZeroU32) -> Self {
        self.spec.text = self.spec.text.cut(chars);
        if let Some(result) = &mut self.result {
            spec::cut(result, chars);
        }
        self
    }

    /// The task as it was when it was accepted: the answer that a repeated creation gets. `first` is what it asked for
    /// then, if that was changed.
    #[must_use]
    pub fn as_created(mut self, first: Option<TaskSpec>) -> Self {
        if let Some(first) = first {
            self.spec = first;
        }
        self.rank = Rank::of(self.created_at);
        self.state = TaskState::Queued { last: None };
        self.due_at = self.spec.not_before;
        self.attempts = 0;
        self.false_starts = 0;
        self.latest_run = None;
        self.result = None;
        self.cost_usd = None;
        self.hold = None;
        self.yielded = false;
        self.updated_at = self.created_at;
        self.revision = Revision(1);
        self
    }
}
