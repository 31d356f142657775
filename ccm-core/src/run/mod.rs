//! Runs: attempts at tasks.

mod outcome;

pub use outcome::{Outcome, Report, Usage, Verdict, judge};

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, FencingToken, ProjectId, RunId, SystemId, TaskId};
use crate::reason::Reason;
use crate::task::StopIntent;
use crate::time::Timestamp;

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The task.
    pub task_id: TaskId,
    /// The task's project.
    pub project_id: ProjectId,
    /// The agent that does it.
    pub agent_id: AgentId,
    /// The machine it runs on.
    pub system_id: SystemId,
    /// 1 for the first attempt since the task was created or last retried by a person.
    pub attempt: u32,
    /// Only the holder of the task's current token may change the run.
    pub token: FencingToken,
    /// Until when the claim holds without being renewed; `None` for a task that only this machine can run.
    pub lease_until: Option<Timestamp>,
    /// Where it stands.
    pub state: RunState,
    /// A decision to end it.
    pub stop: Option<StopIntent>,
    /// How far its output was taken in.
    pub checkpoint: Checkpoint,
    /// The coding CLI's name for the conversation.
    pub session_id: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// What it cost, if that is known.
    pub cost_usd: Option<f64>,
    /// When it was claimed.
    pub claimed_at: Timestamp,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Claimed; whether a program was started is for the runtime to say.
    Launching,
    /// The program was started.
    Running {
        /// When it passed the gate.
        started_at: Timestamp,
        /// [`Reason::Unstoppable`] while something of an ended run can't be ended.
        held: Option<Reason>,
    },
    /// Over.
    Ended {
        /// When the program was started, if it was.
        started_at: Option<Timestamp>,
        /// When the outcome was committed.
        finished_at: Timestamp,
        /// What came of it.
        outcome: Outcome,
    },
}

impl RunState {
    /// Whether an outcome is committed.
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// One of a program's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// The name used in the API: `out` or `err`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

/// How far a run's output was taken in: everything before the offsets, nothing after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Bytes of standard output.
    pub out: u64,
    /// Bytes of standard error.
    pub err: u64,
    /// What the driver must remember between lines. Of another version it is rebuilt from the start.
    pub parser: Option<ParserState>,
}

impl Checkpoint {
    /// The offset in `stream`.
    pub const fn offset(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Out => self.out,
            Stream::Err => self.err,
        }
    }
}

/// A driver's memory between two lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParserState {
    /// The version of the driver's parser that wrote it.
    pub version: u32,
    /// Only the driver can read it.
    pub data: String,
}

/// One thing that a driver saw in a run's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Observation {
    /// New output that is for people only.
    Output {
        /// Which stream.
        stream: Stream,
        /// The first new byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// A line too long to be looked at.
    Skipped {
        /// Which stream.
        stream: Stream,
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// The coding CLI named the conversation.
    Session {
        /// Its name for it.
        session_id: String,
    },
}
