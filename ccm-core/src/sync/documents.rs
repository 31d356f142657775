//! What machines share: the kinds of documents and what is in them.
//!
//! A document is JSON, so that what a newer program writes survives an older one: each of these has the fields that
//! this program does not know in `extra`, and writes them again.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Hlc;
use crate::ask::Answer;
use crate::id::{AskId, ProjectId, RunId, SystemId, TaskId};
use crate::system::SystemKind;
use crate::task::SessionMode;
use crate::time::Timestamp;
use crate::transcript::Entry;
use crate::{Error, Result, api};

/// The kind of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Kind {
    /// A machine. Written by itself.
    System,
    /// A folder on a machine. Written by that machine.
    Project,
    /// What a task is: its definition. May be edited anywhere, and is the only kind that can be in conflict.
    Task,
    /// What somebody on another machine wants of a task. Never changes.
    Wish,
    /// What happens to a task. Written by the machine that runs it, like all that follow.
    Report,
    /// One attempt at a task.
    Run,
    /// A question from a run to a person.
    Ask,
    /// A part of what a run said and did.
    Transcript,
    /// Two edits of one definition. Made by the server; a machine may add how it was resolved.
    Conflict,
    /// What a newer program shares.
    Other(String),
}

impl Kind {
    /// Every kind that this program knows.
    pub const KNOWN: [Self; 9] = [
        Self::System,
        Self::Project,
        Self::Task,
        Self::Wish,
        Self::Report,
        Self::Run,
        Self::Ask,
        Self::Transcript,
        Self::Conflict,
    ];

    /// The name used between machines and in databases.
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Project => "project",
            Self::Task => "task",
            Self::Wish => "wish",
            Self::Report => "report",
            Self::Run => "run",
            Self::Ask => "ask",
            Self::Transcript => "transcript",
            Self::Conflict => "conflict",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for Kind {
    fn from(name: String) -> Self {
        let known = Self::KNOWN.into_iter().find(|kind| kind.as_str() == name);
        known.unwrap_or(Self::Other(name))
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the content of a document as one of the types of this module.
///
/// # Errors
/// `Invalid` for a content of another shape.
pub fn read<T: serde::de::DeserializeOwned>(kind: &Kind, id: Uuid, body: &Value) -> Result<T> {
    T::deserialize(body).map_err(|error| {
        Error::invalid(format!("the {kind} {id} of another machine can't be read"))
            .with_source(error)
    })
}

/// The content of a document.
///
/// # Errors
/// `Internal` when it can't be written as JSON, which no type of this module comes to.
pub fn write<T: Serialize>(content: &T) -> Result<Value> {
    serde_json::to_value(content)
        .map_err(|error| Error::internal("a document can't be written").with_source(error))
}

/// What a task is. Its id is the task's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The project that it was created for.
    pub project_id: ProjectId,
    /// That project's repository, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Whether any machine may run it that has the repository.
    #[serde(default)]
    pub any_machine: bool,
    /// Whether the project's own machine runs it whatever it asks for, because it had it in its queue before anybody else
    /// knew of it.
    #[serde(default)]
    pub pinned: bool,
    /// One line for people.
    pub title: String,
    /// What the agent gets.
    pub text: String,
    /// Higher is sooner; 0 is usual.
    pub priority: i32,
    /// Not to be started before this.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Tasks that must have succeeded first.
    #[serde(default)]
    pub blocked_by: Vec<TaskId>,
    /// How many further attempts may follow one that failed.
    #[serde(default)]
    pub max_retries: u32,
    /// The longest that one attempt may take, in microseconds.
    #[serde(default)]
    pub timeout_us: Option<u64>,
    /// Which conversation it belongs to.
    #[serde(default)]
    pub session: SessionMode,
    /// Tags that a machine must all have.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The kind of machine it needs.
    #[serde(default)]
    pub system_type: Option<SystemKind>,
    /// Who created it, there.
    pub created_by: String,
    /// On which machine.
    pub created_on: SystemId,
    /// When.
    pub created_at: Timestamp,
    /// What this program does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Definition {
    /// Whether it is run by whichever machine gets its lease, and not by that of its project.
    pub fn is_shared(&self) -> bool {
        !self.pinned
            && self.repository.is_some()
            && (self.any_machine || !self.tags.is_empty() || self.system_type.is_some())
    }
}

/// What somebody wants of a task that another machine runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// The task.
    pub task_id: TaskId,
    /// What is wanted.
    #[serde(flatten)]
    pub what: Wanted,
    /// Who wants it.
    pub by: String,
    /// On which machine.
    pub system_id: SystemId,
    /// When.
    pub at: Timestamp,
}

/// What is wanted of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Wanted {
    /// That it is called off.
    Cancel,
    /// That it is done again.
    Retry,
    /// That a question of its run is answered so.
    Answer {
        /// The question.
        ask_id: AskId,
        /// The answer.
        answer: Answer,
    },
    /// What a newer program can want.
    #[serde(other)]
    Other,
}

/// What happens to a task, as the machine that runs it shows it. Its id is the task's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine that runs it.
    pub system_id: SystemId,
    /// The task as that machine's own API shows it, with an empty text: that is in its definition.
    #[serde(flatten)]
    pub task: api::Task,
    /// What this program does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A folder on a machine. Its id is the project's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectReport {
    /// The project as its machine's own API shows it.
    #[serde(flatten)]
    pub project: api::Project,
    /// Where its repository comes from, in one form whatever the protocol: `host/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What it does with tasks of other machines: `allow`, `ask` or `deny`.
    pub remote_tasks: String,
    /// What its agent does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_state: Option<String>,
    /// When it was removed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// What this program does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A machine. Its id is the system's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemReport {
    /// What people call it.
    pub hostname: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: SystemKind,
    /// What it has.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The version of its program.
    pub version: String,
    /// When it was shut out. Written by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// What this program does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A part of a run's transcript. Its id is made of the run and the part ([`TranscriptPart::id`]), and only the last
/// [`TranscriptPart::KEPT`] parts of a run are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptPart {
    /// The run.
    pub run_id: RunId,
    /// Its task.
    pub task_id: TaskId,
    /// 0, 1, 2 ... in order.
    pub part: u32,
    /// What was said and done.
    pub entries: Vec<Entry>,
    /// The place in standard output that it begins at, in bytes.
    pub begin: u64,
    /// The place that it goes up to, where the next part begins.
    pub next: u64,
    /// Whether the run is over and nothing follows.
    pub last: bool,
}

impl TranscriptPart {
    /// How many parts of one run are kept: a further one takes the place of the one so many before it.
    pub const KEPT: u32 = 128;

    /// The id of a part, which is that of the part that it takes the place of.
    pub fn id(run: RunId, part: u32) -> Uuid {
        Uuid::new_v5(run.as_uuid(), &(part % Self::KEPT).to_be_bytes())
    }
}

/// Two edits of one definition, made without knowing of each other. Its id is the losing operation's uuid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The task.
    pub task_id: TaskId,
    /// Which rule was used.
    pub rule: super::ConflictRule,
    /// The edit that counts.
    pub kept: Edit,
    /// The other one.
    pub lost: Edit,
    /// What both began with, if that is known.
    #[serde(default)]
    pub base: Option<Value>,
    /// When the server found it, in microseconds since 1970 UTC.
    pub found_at: i64,
    /// How it was resolved. One of `last_write_wins` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// What this program does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Conflict {
    /// Whether somebody has to decide.
    pub fn is_open(&self) -> bool {
        self.rule == super::ConflictRule::Manual && self.resolution.is_none()
    }
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// The machine that made it.
    pub origin: SystemId,
    /// When.
    pub hlc: Hlc,
    /// The definition, in the form of [`Definition`]; `None` if it was deleted.
    pub body: Option<Value>,
}

/// How a conflict was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which edit counts now.
    pub keep: Keep,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which of two edits is to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Keep {
    /// The one of this machine; where neither is, the one that lost.
    Local,
    /// The other machine's; where neither is this machine's, the one that counts already.
    Remote,
    /// Both, as far as they changed different fields.
    Merge,
}
