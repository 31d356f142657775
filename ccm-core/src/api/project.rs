use serde::{Deserialize, Serialize};

use super::{Agent, AgentStateName, Machine};
use crate::id::{ProjectId, SystemId};
use crate::project;
use crate::reason::Reason;
use crate::task::Setback;
use crate::time::Timestamp;

/// A folder on a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Unique on its machine.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::ProjectName))]
    pub name: String,
    /// The folder.
    #[cfg_attr(feature = "openapi", schema(max_length = 4096))]
    pub path: String,
    /// The machine.
    pub system_id: SystemId,
    /// Whether its queue moves.
    pub state: ProjectState,
    /// Why not, in a sentence that says what to do.
    pub detail: Option<String>,
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The machine that it is on, if that is another one than the one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub machine: Option<Machine>,
    /// What its agent did when the machine was heard of last. Not there for those of the machine that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub agent_state: Option<AgentStateName>,
    /// Where its repository comes from, in one form whatever the protocol: `host/path`. Any machine with a project of the
    /// same one may run its tasks that are for any. Lists have it of other machines' projects alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 4096))]
    pub repository: Option<String>,
}

/// Whether a project's queue moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProjectState {
    /// It does.
    Active,
    /// A person paused it.
    Paused,
    /// The folder is not where it was.
    Missing,
    /// Its settings changed and nobody on this machine trusted the change yet, or they can't be read.
    ConfigUntrusted,
    /// Its agent was stopped.
    AgentStopped,
    /// A person has taken its agent over.
    AgentTaken,
}

impl ProjectState {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Missing => "missing",
            Self::ConfigUntrusted => "config_untrusted",
            Self::AgentStopped => "agent_stopped",
            Self::AgentTaken => "agent_taken",
        }
    }
}

impl Project {
    /// Shows that the project's agent was stopped or taken over, if nothing else holds its queue. Pass the agent's
    /// [`hold`](crate::agent::Agent::hold).
    #[must_use]
    pub fn with_agent_hold(mut self, hold: Option<Setback>) -> Self {
        if let Some(hold) = hold.filter(|_| self.state == ProjectState::Active) {
            self.state = match hold.reason {
                Reason::AgentTaken => ProjectState::AgentTaken,
                _ => ProjectState::AgentStopped,
            };
            self.detail = hold.detail;
        }
        self
    }
}

impl From<project::Project> for Project {
    fn from(project: project::Project) -> Self {
        let state = match &project.hold {
            Some(hold) if hold.reason == Reason::ProjectMissing => ProjectState::Missing,
            Some(_) => ProjectState::ConfigUntrusted,
            None if project.paused => ProjectState::Paused,
            None => ProjectState::Active,
        };
        Self {
            id: project.id,
            name: project.name,
            path: project.path.to_string_lossy().into_owned(),
            system_id: project.system_id,
            state,
            detail: project.hold.and_then(|hold| hold.detail),
            queued: project.queued,
            running: project.running,
            created_at: project.created_at,
            machine: None,
            agent_state: None,
            repository: None,
        }
    }
}

/// A folder to register. It must have been set up by `ccm init`, which writes its `.ccm/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// The folder, absolute.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 4096,
            pattern = "^/[^\\u0000]*$",
            example = "/home/me/website"
        )
    )]
    pub path: String,
    /// The wished name; the one in its settings or the folder's if left out. If given and taken, it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<super::shapes::ProjectName>))]
    pub name: Option<String>,
}

/// What a registration led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisteredProject {
    /// The project.
    pub project: Project,
    /// Its dedicated agent.
    pub agent: Agent,
    /// Whether it was registered by this request.
    pub created: bool,
    /// Whether it was found again at another place.
    pub moved: bool,
}

/// A project's settings, as far as they can run code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trust {
    /// Whether this machine trusts them as they are now.
    pub trusted: bool,
    /// The digest of what they say now. Trusting names it, so that nothing else is trusted by mistake.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")
    )]
    pub digest: String,
    /// What they say now, a `key: value` line each.
    pub settings: Vec<String>,
    /// What was trusted last, if anything was.
    pub trusted_settings: Option<Vec<String>>,
}

/// What to trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustProject {
    /// The digest of what was shown to the person who trusts it.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")
    )]
    pub digest: String,
}
