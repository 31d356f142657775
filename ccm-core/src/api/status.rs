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

/// Whether work can be accepted, and what that was looked up in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// `ok`: what can't be accepted is a problem.
    pub status: String,
    /// What was looked at.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub checks: Vec<Check>,
}

/// One thing that the daemon needs, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What it is about: `database`, `tmux`, `disk`, `clock`, `spool` or `sync`.
    pub name: String,
    /// Whether it is as it should be.
    pub status: CheckStatus,
    /// What was found; if that is not well, what to do, in a sentence.
    pub detail: String,
    /// When.
    pub checked_at: Timestamp,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckStatus {
    /// It is.
    Ok,
    /// Work goes on, but somebody should know.
    Warning,
    /// It is not.
    Failed,
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
    /// What the daemon needs, as it was found at the last look.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub checks: Vec<Check>,
    /// What is wrong now, a sentence each, that of the checks included.
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
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<super::shapes::Tag>))]
    pub tags: Vec<String>,
    /// Whether it is the one that answers.
    pub this: bool,
    /// The version of its program, if it has said that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 64))]
    pub version: Option<String>,
    /// When it was heard of last, if that is known. Not there for the one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub last_seen: Option<Timestamp>,
    /// When it was shut out, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub revoked_at: Option<Timestamp>,
}

/// What became of the config file that a daemon was asked to read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reload {
    /// Keys that count now with their new value.
    pub applied: Vec<ConfigChange>,
    /// Keys whose new value counts after a restart; until then the old one does.
    pub restart: Vec<ConfigChange>,
    /// What is odd about the file, a sentence each.
    pub warnings: Vec<String>,
}

/// A key of the config that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigChange {
    /// Its full name, such as `agents.max_concurrent`.
    pub key: String,
    /// What it was; null if it was not set and has no default, or is a secret.
    pub from: serde_json::Value,
    /// What it is to be, in the same way.
    pub to: serde_json::Value,
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
