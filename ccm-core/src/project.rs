//! Projects: folders on machines, and how their agents are to be run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{ProjectId, SystemId};
use crate::task::{SessionMode, Setback};
use crate::time::Timestamp;

/// A folder on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id, also in the folder's `.ccm/`.
    pub id: ProjectId,
    /// Unique on its machine.
    pub name: String,
    /// The folder with symlinks resolved.
    pub path: PathBuf,
    /// The machine it is on.
    pub system_id: SystemId,
    /// Whether a person paused its queue.
    pub paused: bool,
    /// Why its queue is held, if it is.
    pub hold: Option<Setback>,
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// How a project's agent is to be run: the machine's defaults with the project's own settings on top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Which program, and how.
    pub agent: AgentProfile,
    /// What bounds a run.
    pub limits: RunLimits,
    /// What a task gets that doesn't say otherwise.
    pub tasks: TaskDefaults,
}

/// Which coding CLI does a project's work, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentProfile {
    /// The driver: `claude`, `command` ...
    pub driver: String,
    /// The program and its first arguments, instead of the driver's own.
    pub command: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// The model, if not the program's own choice.
    pub model: Option<String>,
    /// With or without a person.
    pub mode: AgentMode,
    /// What the agent may do without asking.
    pub permission_mode: String,
    /// Environment on top of the host's.
    pub env: BTreeMap<String, String>,
}

impl Default for AgentProfile {
    fn default() -> Self {
        Self {
            driver: "claude".to_owned(),
            command: Vec::new(),
            args: Vec::new(),
            model: None,
            mode: AgentMode::default(),
            permission_mode: "acceptEdits".to_owned(),
            env: BTreeMap::new(),
        }
    }
}

impl AgentProfile {
    /// A profile that runs `command` with the driver `command`.
    pub fn command<I, S>(command: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            driver: "command".to_owned(),
            command: command.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

/// Whether a person sits with the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AgentMode {
    /// The program is started for each task and speaks a protocol.
    #[default]
    Headless,
    /// The program's own terminal interface.
    Interactive,
}

/// What bounds a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunLimits {
    /// The longest a run may take.
    pub timeout: Option<Duration>,
    /// How many further attempts may follow one that failed.
    pub max_retries: u32,
    /// The most memory of a run's whole process tree, in MiB.
    pub memory_mb: Option<u64>,
}

/// What a task gets that doesn't say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskDefaults {
    /// Its priority.
    pub priority: i32,
    /// Its conversation.
    pub session: SessionMode,
}

/// Where the engine learns how a project is to be run *now*.
///
/// Not one of the contracts that storage, sync, runtime and scheduling implement, but the seam to whatever keeps
/// settings: the daemon answers from `.ccm/config.yaml` and what this machine trusted, an embedder mostly with
/// [`FixedProfile`].
#[async_trait]
pub trait Profiles: Send + Sync {
    /// The profile of `project`, or why its queue has to wait.
    ///
    /// Called before every dispatch round for each project with ready tasks, so it should cost no more than a look at
    /// a file's date. Must not block. A hold is shown to people until a later call lifts it.
    async fn profile(&self, project: &Project) -> std::result::Result<Profile, Setback>;

    /// What `project` shares with other machines. By default its tasks are its own machine's, and a person is asked about
    /// those that come from others.
    ///
    /// Called whenever the project is told to other machines and before one of their tasks is taken. Must not block.
    async fn sharing(&self, _project: &Project) -> ProjectSharing {
        ProjectSharing::default()
    }
}

/// What a project shares with other machines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectSharing {
    /// Where its repository comes from, in one form whatever the protocol: `host/path`. Machines whose projects have the
    /// same one can run each other's shared tasks.
    pub repository: Option<String>,
    /// What it does with tasks that were written on other machines.
    pub remote_tasks: RemoteTasks,
}

/// What a project does with tasks that were written on other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RemoteTasks {
    /// It runs them like its own.
    Allow,
    /// It has them wait for a person's leave on this machine.
    #[default]
    Ask,
    /// It refuses them.
    Deny,
}

impl RemoteTasks {
    /// The name used in the config, in documents and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// The same profile for every project.
#[derive(Debug, Clone, Default)]
pub struct FixedProfile(pub Profile);

#[async_trait]
impl Profiles for FixedProfile {
    async fn profile(&self, _project: &Project) -> std::result::Result<Profile, Setback> {
        Ok(self.0.clone())
    }
}
