//! Agents: projects' workers, and what is known about them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ProjectId, RunId};
use crate::task::Setback;
use crate::time::Timestamp;

/// A project's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its project.
    pub project_id: ProjectId,
    /// What people call it; also its window's name.
    pub name: String,
    /// What was last seen of it.
    pub state: AgentState,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// How that is known.
    pub evidence: Evidence,
}

/// What an agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing of it exists.
    Stopped,
    /// Its host and window are being made.
    Starting,
    /// It waits for a task.
    Idle,
    /// It works.
    Working {
        /// On this.
        run: RunId,
    },
    /// It waits for a person's answer.
    Waiting {
        /// In this run.
        run: RunId,
    },
    /// The provider of its model lets it wait.
    Parked {
        /// The run it has in hand meanwhile.
        run: Option<RunId>,
        /// Why.
        cause: Setback,
        /// Until when, as far as that is known.
        until: Option<Timestamp>,
    },
    /// It doesn't answer, though its lock is held.
    Unresponsive {
        /// The run it had.
        run: Option<RunId>,
    },
    /// It is being ended.
    Stopping,
    /// It could not be started, or something of it can't be ended.
    Failed {
        /// What is wrong and what to do, in one sentence.
        detail: String,
    },
}

impl AgentState {
    /// The run it is about.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Working { run } | Self::Waiting { run } => Some(*run),
            Self::Parked { run, .. } | Self::Unresponsive { run } => *run,
            _ => None,
        }
    }
}

impl AgentState {
    /// Until when it is parked without a run in hand; `None` if it may work at `now`.
    pub fn parked_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Parked {
                run: None,
                until: Some(until),
                ..
            } if *until > now => Some(*until),
            _ => None,
        }
    }
}

/// How something about an agent is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// Who said so: `engine`, `host`, `gate`, `exit_record`, `lock`, `tmux`, and `stream`, the coding CLI's own words.
    pub source: String,
    /// When.
    pub seen_at: Timestamp,
}

/// What a runtime must know to give an agent its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPlace {
    /// The agent.
    pub id: AgentId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its name, for its window.
    pub name: String,
    /// The folder it works in.
    pub folder: PathBuf,
}

/// What a runtime sees of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// The agent.
    pub id: AgentId,
    /// Its host's process id, if it has one.
    pub pid: Option<u32>,
    /// Its window, in words that the runtime's terminal understands.
    pub window: Option<String>,
    /// Whether its host answered just now.
    pub answers: bool,
    /// The run its host has in hand.
    pub run: Option<RunId>,
}
