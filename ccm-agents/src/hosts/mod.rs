//! Agents' hosts as seen from the daemon: starting them, asking them, and reading what they left behind.

mod agents;
mod changes;
mod connection;
mod inputs;
mod launch;
mod output;
mod settle;
mod sitting;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, Epoch, RunId};
use ccm_core::runtime::LaunchOrder;
use ccm_core::{Error, Result};

use crate::record::{AgentDir, RunDir};
use crate::scope::Scopes;
use crate::sys::durable;
use changes::Changes;

/// The program that becomes a host or a viewer when [`HOST_ARGUMENT`](crate::HOST_ARGUMENT) or
/// [`VIEW_ARGUMENT`](crate::VIEW_ARGUMENT) and an agent's folder follow these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCommand {
    /// The program and its first arguments.
    pub argv: Vec<OsString>,
}

/// What a run's program gets in its environment besides its profile's variables: credentials, for example.
#[derive(Clone)]
pub struct RunEnvironment(Arc<Make>);

type Make = dyn Fn(&LaunchOrder) -> BTreeMap<String, String> + Send + Sync;

impl RunEnvironment {
    /// The variables that `make` makes for each run. They beat those of its profile.
    pub fn new(
        make: impl Fn(&LaunchOrder) -> BTreeMap<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }

    fn of(&self, order: &LaunchOrder) -> BTreeMap<String, String> {
        (self.0)(order)
    }
}

impl Default for RunEnvironment {
    /// Nothing more.
    fn default() -> Self {
        Self::new(|_| BTreeMap::new())
    }
}

impl fmt::Debug for RunEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunEnvironment(...)")
    }
}

/// What a runtime with agent hosts must know.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The machine home. Agents are in its `agents/`, runs in its `runs/`.
    pub home: PathBuf,
    /// Which daemon start this is; hosts refuse lower ones.
    pub epoch: Epoch,
    /// What starts a host.
    pub host: HostCommand,
    /// The most bytes that a run may write before it is stopped.
    pub output_limit: u64,
    /// Whether runs get a control group (cgroup v2) of their own where this user may make one. With it also what an
    /// agent detached and hid is found after the agent's host was killed.
    pub cgroups: bool,
    /// Who makes scopes for hosts, and for a tmux server, if they are to outlive the service that the daemon is.
    pub scopes: Option<Scopes>,
    /// What runs' programs get in their environment besides.
    pub environment: RunEnvironment,
    /// What names the trace that a launch is a part of, as a `traceparent` of W3C Trace Context; asked in the launch.
    pub trace_context: Option<fn() -> Option<String>>,
}

impl RuntimeConfig {
    /// A config with the usual limits.
    pub fn new(home: impl Into<PathBuf>, epoch: Epoch, host: HostCommand) -> Self {
        Self {
            home: home.into(),
            epoch,
            host,
            output_limit: 1 << 30,
            cgroups: true,
            scopes: None,
            environment: RunEnvironment::default(),
            trace_context: None,
        }
    }
}

/// The agent hosts of one home: every operation of [`AgentRuntime`](ccm_core::AgentRuntime) that needs no terminal.
///
/// The methods keep that trait's contracts. A runtime with terminals puts its windows around them.
#[derive(Debug)]
pub struct Hosts {
    config: RuntimeConfig,
    changes: Changes,
}

impl Hosts {
    /// The hosts of the home in `config`, whose folders are made if they are missing.
    ///
    /// # Errors
    /// `Unavailable` or `DiskFull` when they can't be made; `Invalid` without a program to start hosts with.
    pub fn new(mut config: RuntimeConfig) -> Result<Self> {
        if config.host.argv.is_empty() {
            return Err(Error::invalid("the command that starts a host is empty"));
        }
        // A host has no current folder of anybody's.
        config.home = std::path::absolute(&config.home)
            .map_err(|error| durable::error("find", &config.home, error))?;
        for name in ["agents", "runs"] {
            let dir = config.home.join(name);
            durable::make_dir(&dir).map_err(|error| durable::error("make", &dir, error))?;
        }
        Ok(Self {
            config,
            changes: Changes::default(),
        })
    }

    /// The machine home.
    pub fn home(&self) -> &Path {
        &self.config.home
    }

    /// The folder of an agent.
    pub fn agent_dir(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).path().to_path_buf()
    }

    /// The program that shows an agent's log in a terminal.
    pub fn view_command(&self, agent: AgentId) -> Vec<OsString> {
        self.hidden(crate::VIEW_ARGUMENT, agent)
    }

    fn hidden(&self, argument: &str, agent: AgentId) -> Vec<OsString> {
        let mut argv = self.config.host.argv.clone();
        argv.push(argument.into());
        argv.push(self.agent_dir(agent).into());
        argv
    }

    /// The place that an agent was given last, if it ever was.
    pub async fn place(&self, agent: AgentId) -> Result<Option<AgentPlace>> {
        let dir = self.agent(agent);
        blocking(move || Ok(dir.place()?.map(|file| file.place))).await
    }

    /// See [`AgentRuntime::runs`](ccm_core::AgentRuntime::runs).
    pub async fn runs(&self) -> Result<Vec<RunId>> {
        let dir = self.config.home.join("runs");
        blocking(move || ids_in(&dir)).await
    }

    fn agent(&self, agent: AgentId) -> AgentDir {
        AgentDir::new(&self.config.home, agent)
    }

    fn run(&self, run: RunId) -> RunDir {
        RunDir::new(&self.config.home, run)
    }
}

/// The ids that are names of entries of a folder, in their order.
fn ids_in<T: std::str::FromStr + Ord>(dir: &Path) -> Result<Vec<T>> {
    let entries = std::fs::read_dir(dir).map_err(|error| durable::error("list", dir, error))?;
    let mut ids: Vec<T> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Does what waits for the disk or for processes where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("work on an agent's files was cut").with_source(error))?
}
