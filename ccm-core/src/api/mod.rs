//! The wire types of the HTTP API, shared by server and clients.
//!
//! Fields are only ever added. Clients ignore what they don't know.

mod access;
mod agent;
mod ask;
mod config;
mod machine;
mod problem;
mod project;
mod run;
#[cfg(feature = "openapi")]
pub mod shapes;
mod stats;
mod status;
mod sync;
mod task;
mod template;
mod terminal;

pub use access::{AuditEntry, Session, SignInCode};
pub use agent::{Agent, AgentCleanup, AgentStateName, CleanUpAgents, CleanedAgent, KeptAgent};
pub use ask::{
    Ask, AskStateName, Input, InputKind, InterruptTask, Interrupted, OpenAsk, SendMessage,
};
pub use config::{
    Config, ConfigApplied, ConfigKey, ConfigOrigin, EditConfig, EditKey, EditedProjectConfig,
};
pub use machine::{Machine, Machines, TaskSharing, WishName};
pub use problem::{Problem, ProblemCode, ProblemPart};
pub use project::{CreateProject, Project, ProjectState, RegisteredProject, Trust, TrustProject};
pub use run::{Run, RunStateName};
pub use stats::{Stats, StatsBucket};
pub use status::{
    Check, CheckStatus, ConfigChange, Health, LogPlace, QueueStatus, Readiness, Reload, Shutdown,
    ShutdownReport, Status, System,
};
pub use sync::{
    Conflict, ConflictField, ConflictResolution, ConflictSide, ConflictStateName, DecideSetAside,
    Device, KeyStorage, ResolveConflict, ResolveField, SetAside, SetAsideAction, Side,
    SyncCondition, SyncRound, SyncState, definition_field,
};
pub use task::{
    BulkCreate, BulkCreated, BulkIds, BulkResult, BulkResults, CancelAnswer, CreateTask, CutField,
    EditTask, MAX_BULK, MoveEnd, MoveTask, Task,
};
pub use template::{
    RenderTemplate, RenderedTemplate, Template, TemplateInput, TemplateValue, TemplateVariable,
};
pub use terminal::{
    TERMINAL_PROTOCOL, TerminalClose, TerminalCursor, TerminalInput, TerminalMessage,
    TerminalScreen,
};

pub use crate::agent::Wanted;
pub use crate::ask::{Answer, AskKind, Choice, ChoiceOption};
pub use crate::event::{Event, EventKind};
pub use crate::input::InputState;
pub use crate::run::Stream;
pub use crate::runtime::AttachCommand;
pub use crate::sync::ConflictRule;
pub use crate::sync::documents::Keep;
pub use crate::task::TaskStateName;
pub use crate::transcript::{Entry, EntryBody, Transcript};

use serde::{Deserialize, Serialize};

/// The header in which a client names a request that creates something, so that repeating it is harmless.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A part of a list, and how to get the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Goes into `page_token` for the next part; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<shapes::PageToken>, nullable = false))]
    pub next_page_token: Option<String>,
    /// How many objects the whole list has, whatever part this is. Only there if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub total: Option<u64>,
}
