use serde::{Deserialize, Serialize};

use super::OpenAsk;
use crate::agent::{self, AgentState, Evidence, Wanted};
use crate::id::{AgentId, ProjectId, RunId};
use crate::project::AgentMode;
use crate::time::Timestamp;

/// A project's worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its project.
    pub project_id: ProjectId,
    /// What people call it.
    pub name: String,
    /// The coding CLI's driver; absent while the project's settings can't be used.
    pub driver: Option<String>,
    /// With or without a person.
    pub mode: Option<AgentMode>,
    /// What it does.
    pub state: AgentStateName,
    /// What is wrong, why it is stopped, or what it waits for a person to do, in a sentence.
    pub detail: Option<String>,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// How that is known.
    pub evidence: Evidence,
    /// Until when it is parked, as far as that is known.
    pub until: Option<Timestamp>,
    /// What it is to be.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub wanted: Wanted,
    /// Who decided that.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<super::shapes::ClientName>))]
    pub wanted_by: Option<String>,
    /// When.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub wanted_since: Option<Timestamp>,
    /// What it waits for a person to answer.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true, max_items = 1000))]
    pub open_asks: Vec<OpenAsk>,
    /// The run it has in hand.
    pub run_id: Option<RunId>,
    /// Its window.
    pub window: Option<String>,
    /// Its host's process id.
    pub pid: Option<u32>,
    /// Memory of its host and of everything that belongs to its run. What they share counts once, where that is known.
    pub memory_bytes: Option<u64>,
    /// Processor use of the same now, 100 for one core.
    pub cpu_percent: Option<f64>,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub enum AgentStateName {
    Stopped,
    Starting,
    Idle,
    Working,
    Waiting,
    Parked,
    Unresponsive,
    Stopping,
    Failed,
}

impl AgentStateName {
    /// Every state there is.
    pub const ALL: [Self; 9] = [
        Self::Stopped,
        Self::Starting,
        Self::Idle,
        Self::Working,
        Self::Waiting,
        Self::Parked,
        Self::Unresponsive,
        Self::Stopping,
        Self::Failed,
    ];

    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
            Self::Unresponsive => "unresponsive",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

impl From<&AgentState> for AgentStateName {
    fn from(state: &AgentState) -> Self {
        match state {
            AgentState::Stopped => Self::Stopped,
            AgentState::Starting => Self::Starting,
            AgentState::Idle => Self::Idle,
            AgentState::Working { .. } => Self::Working,
            AgentState::Waiting { .. } => Self::Waiting,
            AgentState::Parked { .. } => Self::Parked,
            AgentState::Unresponsive { .. } => Self::Unresponsive,
            AgentState::Stopping => Self::Stopping,
            AgentState::Failed { .. } => Self::Failed,
        }
    }
}

impl Agent {
    /// Shows what the agent waits for a person to answer. Whatever was seen of it before, it does not work then.
    #[must_use]
    pub fn with_open_asks(mut self, asks: Vec<OpenAsk>) -> Self {
        if !asks.is_empty() && self.state == AgentStateName::Working {
            self.state = AgentStateName::Waiting;
        }
        self.open_asks = asks;
        self
    }
}

impl From<agent::Agent> for Agent {
    /// What the store knows of it; asks, driver, window, process and figures are for whoever can see them to add.
    fn from(agent: agent::Agent) -> Self {
        let why_stopped = match agent.wish.wanted {
            Wanted::Up => None,
            Wanted::Asleep => Some("idle for long, so it sleeps until its next task".to_owned()),
            Wanted::Down | Wanted::Taken => agent.hold().and_then(|hold| hold.detail),
        };
        Self {
            id: agent.id,
            project_id: agent.project_id,
            name: agent.name,
            driver: None,
            mode: None,
            state: AgentStateName::from(&agent.state),
            run_id: agent.state.run(),
            until: match &agent.state {
                AgentState::Parked { until, .. } => *until,
                _ => None,
            },
            detail: match agent.state {
                AgentState::Failed { detail } => Some(detail),
                AgentState::Parked { cause, .. } => {
                    Some(cause.detail.unwrap_or_else(|| cause.reason.to_string()))
                }
                AgentState::Waiting { detail, .. } => detail,
                AgentState::Stopped => why_stopped,
                AgentState::Idle | AgentState::Starting if agent.wish.wanted == Wanted::Taken => {
                    why_stopped
                }
                _ => None,
            },
            wanted: agent.wish.wanted,
            wanted_by: Some(agent.wish.by),
            wanted_since: Some(agent.wish.at),
            open_asks: Vec::new(),
            since: agent.since,
            evidence: agent.evidence,
            window: None,
            pid: None,
            memory_bytes: None,
            cpu_percent: None,
        }
    }
}

/// Which agents are to give their places back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CleanUpAgents {
    /// These; all that are idle if it is empty.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 1000))]
    pub agents: Vec<AgentId>,
}

/// What a cleaning up led to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentCleanup {
    /// Who sleeps now until its next task.
    pub asleep: Vec<CleanedAgent>,
    /// Who was left alone.
    pub kept: Vec<KeptAgent>,
    /// Places that belonged to no project and are gone.
    pub strays: Vec<AgentId>,
    /// What all of them gave back together.
    pub freed_bytes: u64,
}

/// An agent that gave its place back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CleanedAgent {
    /// Its id.
    pub id: AgentId,
    /// What people call it.
    pub name: String,
    /// What it had used, if that could be seen.
    pub freed_bytes: Option<u64>,
}

/// An agent that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptAgent {
    /// Its id.
    pub id: AgentId,
    /// What people call it.
    pub name: String,
    /// Why, in words that follow its name.
    pub why: String,
}
