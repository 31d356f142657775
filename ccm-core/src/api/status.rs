use serde::{Deserialize, Serialize};

use crate::id::{Epoch, LogId, Seq, SystemId};
use crate::system::SystemKind;
use crate::time::Timestamp;

/// Whether something can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
}

/// The daemon at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// For how many seconds it has been running.
    pub uptime_s: u64,
    /// `full` or `minimal`.
    pub profile: String,
    /// Where it listens.
    pub address: String,
    /// What a browser opens for the web UI, if it is served.
    #[serde(default)]
    pub web_ui: Option<String>,
    /// Which start of a daemon this is.
    pub epoch: Epoch,
    /// The machine.
    pub system: System,
    /// How agents are run: `tmux` or `process`.
    pub runtime: String,
    /// Agents that are there.
    pub agents: u64,
    /// Projects that are registered.
    pub projects: u64,
    /// Questions of running agents that wait for a person.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub open_asks: u64,
    /// The queue.
    pub queue: QueueStatus,
    /// The end of the event log.
    pub log: LogPlace,
    /// What is wrong now, a sentence each.
    pub problems: Vec<String>,
}

/// The queue at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueStatus {
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
    /// The most tasks that may wait.
    pub max_queued: u64,
    /// The most tasks that may run at once.
    pub max_running: u32,
}

/// A place in the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogPlace {
    /// Which log.
    pub log_id: LogId,
    /// The last event.
    pub seq: Seq,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct System {
    /// Its id.
    pub id: SystemId,
    /// What people call it.
    pub hostname: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: SystemKind,
    /// What it has.
    pub tags: Vec<String>,
    /// Whether it is the one that answers.
    pub this: bool,
}

/// How the daemon is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Stop the agents too. Their runs end as `lost`.
    #[serde(default)]
    pub agents: bool,
}

/// What a stopping daemon leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShutdownReport {
    /// Runs that go on.
    pub running: u64,
    /// Runs that were stopped.
    pub stopped: u64,
}
