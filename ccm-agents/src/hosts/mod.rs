//! Agents' hosts as seen from the daemon: starting them, asking them, and reading what they left behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::{AgentId, Epoch, RunId};
use ccm_core::run::{Checkpoint, Stream};
use ccm_core::runtime::{Batch, Chunk, LaunchOrder, Resources, RunEnd, RunStatus, Stopped};
use ccm_core::{Error, Result};

/// The program that becomes a host or a viewer when [`HOST_ARGUMENT`](crate::HOST_ARGUMENT) or
/// [`VIEW_ARGUMENT`](crate::VIEW_ARGUMENT) and an agent's folder follow these arguments.
///
/// What starts the host in a scope of its own (`systemd-run --user --scope ...`) may stand before the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCommand {
    /// The program and its first arguments.
    pub argv: Vec<OsString>,
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
}

impl RuntimeConfig {
    /// A config with the usual limits.
    pub fn new(home: impl Into<PathBuf>, epoch: Epoch, host: HostCommand) -> Self {
        Self {
            home: home.into(),
            epoch,
            host,
            output_limit: 1 << 30,
        }
    }
}

/// The agent hosts of one home: every operation of [`AgentRuntime`](ccm_core::AgentRuntime) that needs no terminal.
///
/// The methods keep that trait's contracts.
#[derive(Debug)]
pub struct Hosts {
    config: RuntimeConfig,
}

#[allow(
    missing_docs,
    clippy::unused_async,
    unused_variables,
    reason = "bodies follow"
)]
impl Hosts {
    pub fn new(config: RuntimeConfig) -> Result<Self> {
        Ok(Self { config })
    }

    /// The machine home.
    pub fn home(&self) -> &Path {
        &self.config.home
    }

    /// The folder of an agent.
    pub fn agent_dir(&self, agent: AgentId) -> PathBuf {
        self.config.home.join("agents").join(agent.to_string())
    }

    /// The program that shows an agent's log in a terminal.
    pub fn view_command(&self, agent: AgentId) -> Vec<OsString> {
        let mut argv = self.config.host.argv.clone();
        argv.push(crate::VIEW_ARGUMENT.into());
        argv.push(self.agent_dir(agent).into());
        argv
    }

    /// The place that an agent was given last, if it ever was.
    pub async fn place(&self, agent: AgentId) -> Result<Option<AgentPlace>> {
        Err(unbuilt())
    }

    pub async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        Err(unbuilt())
    }

    pub async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        Err(unbuilt())
    }

    pub async fn agents(&self) -> Result<Vec<AgentFacts>> {
        Err(unbuilt())
    }

    pub async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        Err(unbuilt())
    }

    pub async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        Err(unbuilt())
    }

    pub async fn runs(&self) -> Result<Vec<RunId>> {
        Err(unbuilt())
    }

    pub async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        Err(unbuilt())
    }

    pub async fn output(
        &self,
        run: RunId,
        stream: Stream,
        offset: u64,
        limit: u64,
    ) -> Result<Chunk> {
        Err(unbuilt())
    }

    pub async fn changed(&self, run: RunId) -> Result<()> {
        Err(unbuilt())
    }

    pub async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped> {
        Err(unbuilt())
    }

    pub async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        Err(unbuilt())
    }

    pub async fn discard(&self, run: RunId) -> Result<()> {
        Err(unbuilt())
    }
}

fn unbuilt() -> Error {
    Error::unavailable("agent hosts are not built yet")
}
