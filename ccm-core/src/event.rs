//! Events: the log of everything.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, LogId, ProjectId, RunId, Seq, TaskId};
use crate::time::Timestamp;
use crate::{Error, Result};

/// One line of the log. Written in the same transaction as the change it tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its place: 1, 2, 3 ... without gaps for any reader.
    pub seq: Seq,
    /// When it was committed.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The project it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The run it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The agent it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// What else there is to say; its shape depends on the kind.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: serde_json::Value,
}

// A `tt`, because the derive of the description does not see through what a `literal` is wrapped in.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:tt,)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl EventKind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name used in the API and the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// A daemon took over the store. `data`: `epoch`.
    DaemonStarted = "daemon.started",
    /// A folder was registered. `data`: `name`, `path`.
    ProjectCreated = "project.created",
    /// A project's name, path, pause or hold changed. `data`: `name`, `path`, `state`, `detail`.
    ProjectUpdated = "project.updated",
    /// A project was removed.
    ProjectRemoved = "project.removed",
    /// What is known of an agent changed. `data`: `state`, `source`.
    AgentUpdated = "agent.updated",
    /// It was decided what an agent is to be. `data`: `wanted`, `by`.
    AgentWanted = "agent.wanted",
    /// A task was accepted. `data`: `title`, `priority`.
    TaskCreated = "task.created",
    /// What a waiting task asks for, or its place in the queue, was changed. `data`: `fields` (their names, and `place`),
    /// `by`.
    TaskUpdated = "task.updated",
    /// A run took a task. `data`: `attempt`.
    TaskStarted = "task.started",
    /// A task waits again. `data`: `reason`, `detail`, `not_before`.
    TaskRequeued = "task.requeued",
    /// Someone wants a running task stopped. `data`: `reason`, `by`.
    TaskStopping = "task.stopping",
    /// A task is done. `data`: `result` (its first 1000 characters).
    TaskSucceeded = "task.succeeded",
    /// A task was given up. `data`: `reason`, `detail`.
    TaskFailed = "task.failed",
    /// A task was called off. `data`: `by`.
    TaskCancelled = "task.cancelled",
    /// A run was claimed. `data`: `attempt`.
    RunCreated = "run.created",
    /// A run's program was started. `data`: `started_at`.
    RunStarted = "run.started",
    /// A run is held or no longer held. `data`: `reason`.
    RunHeld = "run.held",
    /// A run wrote output. `data`: `stream`, `from`, `to`.
    RunOutput = "run.output",
    /// A driver saw something else in a run's output. `data`: the observation.
    RunObserved = "run.observed",
    /// A run asks a person. `data`: `ask_id`, `kind`, `title`.
    AskCreated = "ask.created",
    /// An ask was answered. `data`: `ask_id`, `answer`, `by`.
    AskAnswered = "ask.answered",
    /// An ask needs no answer any more. `data`: `ask_id`.
    AskVoided = "ask.voided",
    /// A running agent is to be given something. `data`: `input_id`, `number`, `kind`, `by`.
    InputAccepted = "input.accepted",
    /// More is known of what became of an input. `data`: `input_id`, `number`, `state`.
    InputUpdated = "input.updated",
    /// A run is over. `data`: `state`, `reason`, `detail`, `exit_code`.
    RunEnded = "run.ended",
    /// Something of another machine became known here. `data`: `kind`, `id`, `origin`.
    DocumentChanged = "document.changed",
    /// Sharing was switched on or off, or began again. `data`: `on`.
    SharingChanged = "sharing.changed",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is not an event kind")))
    }
}

/// A reader's place in a log, written `LOGID:SEQ`: everything up to `seq` was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which log.
    pub log: LogId,
    /// The last event that was read; 0 for none.
    pub seq: Seq,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "{text:?} is not a place in an event log (LOGID:SEQ)"
            ))
        };
        let (log, seq) = text.split_once(':').ok_or_else(bad)?;
        Ok(Self {
            log: log.parse().map_err(|_| bad())?,
            seq: Seq(seq.parse().map_err(|_| bad())?),
        })
    }
}
