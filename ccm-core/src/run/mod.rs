//! Runs: attempts at tasks.

mod outcome;

pub use outcome::{Ending, Outcome, Refusal, Report, Reported, Usage, Verdict, judge};

use serde::{Deserialize, Serialize};

use std::time::Duration;

use crate::ask::Question;
use crate::id::{AgentId, FencingToken, InputId, ProjectId, RunId, SystemId, TaskId};
use crate::input::{self, InputBody};
use crate::reason::Reason;
use crate::task::{Setback, StopIntent};
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
    /// What it used so far.
    pub usage: Usage,
    /// What it cost so far, if that is known.
    pub cost_usd: Option<f64>,
    /// What it waits for.
    pub waits: Waits,
    /// What it was given after its prompt.
    pub inputs: Inputs,
    /// When it was claimed.
    pub claimed_at: Timestamp,
}

impl Run {
    /// Keeps what an observation says of the run itself. Asks and inputs are the store's to keep.
    pub fn note(&mut self, seen: &Observation) {
        match seen {
            Observation::Session { session_id } => self.session_id = Some(session_id.clone()),
            Observation::Used { usage, cost_usd } => {
                self.usage = *usage;
                self.cost_usd = *cost_usd;
            }
            Observation::Parked { parking } => self.waits.parked.clone_from(parking),
            _ => {}
        }
    }
}

/// What a run waits for, and has waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waits {
    /// How many of its asks are open.
    pub open_asks: u32,
    /// Who interrupted it, for as long as nobody has said how it goes on.
    pub interrupted: Option<Interruption>,
    /// Since when it waits for a person: an ask is open, or it was interrupted.
    pub since: Option<Timestamp>,
    /// How long it waited for people before that. A run's time limit does not count this.
    pub before: Duration,
    /// The provider of its model lets it wait.
    pub parked: Option<Parking>,
}

impl Waits {
    /// How long the run waited for people until `now`.
    pub fn total(&self, now: Timestamp) -> Duration {
        let open = self.since.map(|since| now.since(since));
        self.before.saturating_add(open.unwrap_or_default())
    }

    /// One more ask is open.
    pub fn open(&mut self, now: Timestamp) {
        self.open_asks += 1;
        self.since.get_or_insert(now);
    }

    /// `count` asks are open no longer.
    pub fn close(&mut self, count: u32, now: Timestamp) {
        self.open_asks = self.open_asks.saturating_sub(count);
        self.settle(now);
    }

    /// An input is accepted for it. After an interrupt it waits for the next message, whatever it still reports.
    pub fn accept(&mut self, body: &InputBody, by: &str, now: Timestamp) {
        match body {
            InputBody::Interrupt { .. } => {
                let by = by.to_owned();
                self.interrupted = Some(Interruption { by, at: now });
                self.since.get_or_insert(now);
            }
            InputBody::Message { .. } => self.go_on(now),
            InputBody::Answer { .. } => {}
        }
    }

    /// Somebody said how it goes on, it could not be interrupted after all, or it is over.
    pub fn go_on(&mut self, now: Timestamp) {
        self.interrupted = None;
        self.settle(now);
    }

    /// Whether it is a person's turn.
    pub const fn are_for_person(&self) -> bool {
        self.open_asks > 0 || self.interrupted.is_some()
    }

    fn settle(&mut self, now: Timestamp) {
        if !self.are_for_person() {
            self.before = self.total(now);
            self.since = None;
        }
    }
}

/// Somebody interrupted a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Interruption {
    /// Why the run does not go on, and how it does.
    pub fn setback(&self) -> Setback {
        Setback::new(
            Reason::Interrupted,
            format!(
                "{} interrupted it; say what it is to do next, or cancel it",
                self.by
            ),
        )
    }
}

/// Why the provider of an agent's model lets it wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    /// Why.
    pub cause: Setback,
    /// Until when, as far as that is known.
    pub until: Option<Timestamp>,
}

/// What a run was given after its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The number of the last one.
    pub last: u32,
    /// Whether it takes no more.
    pub closed: bool,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            last: input::PROMPT,
            closed: false,
        }
    }
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
    /// When the program was started, if it was.
    pub const fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Launching => None,
            Self::Running { started_at, .. } => Some(*started_at),
            Self::Ended { started_at, .. } => *started_at,
        }
    }

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// It asks a person. Told again with the same request id it is the same ask.
    Asked {
        /// Its name for the request.
        request_id: String,
        /// What it asks.
        question: Question,
    },
    /// It wants no answer to this any more.
    Withdrawn {
        /// Its name for the request.
        request_id: String,
    },
    /// It has this message, or this interrupt. Its input stays open until it was seen to have every message that was
    /// written to it.
    MessageTaken {
        /// The input.
        input_id: InputId,
    },
    /// It has the answer to this.
    AnswerTaken {
        /// Its name for the request.
        request_id: String,
    },
    /// What the run used so far, from its beginning.
    Used {
        /// Tokens.
        usage: Usage,
        /// What they cost, if it says so.
        cost_usd: Option<f64>,
    },
    /// The provider of its model lets it wait, or no longer.
    Parked {
        /// Why; `None` when it goes on.
        parking: Option<Parking>,
    },
}
