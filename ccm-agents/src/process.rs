//! Agents without terminals.

use std::time::Duration;

use async_trait::async_trait;
use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::{AgentId, RunId};
use ccm_core::input::Input;
use ccm_core::run::{Checkpoint, Stream};
use ccm_core::runtime::{
    AttachCommand, Batch, Chunk, LaunchOrder, Resources, RunEnd, RunStatus, Sent, SittingOrder,
    Stopped,
};
use ccm_core::transcript::Transcript;
use ccm_core::{AgentRuntime, Error, ErrorKind, Result};

use crate::hosts::{Hosts, RuntimeConfig};

/// Runs agents in hosts of their own, with no terminal to look at: for servers, containers and embedders.
#[derive(Debug)]
pub struct ProcessRuntime {
    hosts: Hosts,
}

impl ProcessRuntime {
    /// A runtime for the agents of one home.
    ///
    /// # Errors
    /// When the home's folders can't be made.
    pub fn new(config: RuntimeConfig) -> Result<Self> {
        Ok(Self {
            hosts: Hosts::new(config)?,
        })
    }

    /// The hosts behind it.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }
}

#[async_trait]
impl AgentRuntime for ProcessRuntime {
    async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        self.hosts.start_agent(place).await
    }

    async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        self.hosts.stop_agent(agent).await
    }

    async fn kill_agent(&self, agent: AgentId) -> Result<()> {
        self.hosts.kill_agent(agent).await
    }

    async fn agents(&self) -> Result<Vec<AgentFacts>> {
        self.hosts.agents().await
    }

    async fn attach_command(&self, _agent: AgentId) -> Result<AttachCommand> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "agents have no terminals here; set agents.runtime: tmux in config.yaml",
        ))
    }

    async fn take_over(&self, _order: &SittingOrder) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "agents have no terminals here; set agents.runtime: tmux in config.yaml",
        ))
    }

    async fn hand_back(&self, agent: AgentId, grace: Duration) -> Result<Stopped> {
        // What another runtime of this home began.
        self.hosts.stand_up(agent, grace).await
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        self.hosts.launch(order).await
    }

    async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        self.hosts.inspect(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        self.hosts.runs().await
    }

    async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        self.hosts.read(run, from, end).await
    }

    async fn output(&self, run: RunId, stream: Stream, offset: u64, limit: u64) -> Result<Chunk> {
        self.hosts.output(run, stream, offset, limit).await
    }

    async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        limit: u32,
    ) -> Result<Transcript> {
        self.hosts.transcript(run, from, to, limit).await
    }

    async fn send(&self, run: RunId, input: &Input) -> Result<Sent> {
        self.hosts.send(run, input).await
    }

    async fn can_interrupt(&self, run: RunId) -> Result<bool> {
        self.hosts.can_interrupt(run).await
    }

    async fn close_input(&self, run: RunId) -> Result<()> {
        self.hosts.close_input(run).await
    }

    async fn changed(&self, run: RunId) -> Result<()> {
        self.hosts.changed(run).await
    }

    async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped> {
        self.hosts.stop(run, grace).await
    }

    async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        self.hosts.resources(agent).await
    }

    async fn set_deadline(&self, run: RunId, deadline: Duration) -> Result<()> {
        self.hosts.set_deadline(run, deadline).await
    }

    async fn discard(&self, run: RunId) -> Result<()> {
        self.hosts.discard(run).await
    }
}
