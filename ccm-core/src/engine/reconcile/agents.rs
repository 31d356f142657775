//! Gives every project's agent its place, and keeps what is known of it true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::agent::{Agent, AgentFacts, AgentPlace, AgentState, Evidence};
use crate::id::{AgentId, ProjectId};
use crate::project::Project;
use crate::{Result, chain};

/// How often an agent that could not be started is tried again.
const RETRY: Duration = Duration::from_secs(30);

pub(super) async fn run(shared: Arc<Shared>) {
    // Ends with dispatching: an engine that stops every agent must not have one started again behind its back.
    loop {
        let settled = tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            settled = reconcile(&shared) => settled,
        };
        let again = match settled {
            Ok(again) => again,
            Err(error) if shared.superseded(&error) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "looking after the agents failed");
                Some(RETRY)
            }
        };
        let timer = async {
            match again {
                Some(period) => shared.parts.clock.sleep(period).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            () = shared.agents.notified() => {}
            () = timer => {}
        }
    }
}

/// Starts what is missing and takes away what belongs to no project. Returns when to look again if nothing wakes it
/// before: soon if an agent is not up, and when one is no longer parked.
async fn reconcile(shared: &Shared) -> Result<Option<Duration>> {
    let parts = &shared.parts;
    // What is there is listed before what should be, so that an agent made in between is not taken for a stray.
    let there = parts.runtime.agents().await?;
    let projects: BTreeMap<ProjectId, Project> = parts
        .store
        .projects()
        .await?
        .into_iter()
        .map(|project| (project.id, project))
        .collect();
    let agents = parts.store.agents().await?;
    for stray in there
        .iter()
        .filter(|facts| !agents.iter().any(|agent| agent.id == facts.id))
    {
        // Its project was removed. One with a run in hand refuses and goes when the run has ended.
        if let Err(error) = parts.runtime.stop_agent(stray.id).await {
            tracing::info!(agent = %stray.id, %error, "an agent without a project stays");
        }
    }
    let mut all_well = true;
    for agent in &agents {
        if let Some(project) = projects.get(&agent.project_id) {
            all_well &= shared.ensure_agent(project, agent).await;
        }
    }
    let now = parts.clock.now();
    let until = agents
        .iter()
        .filter_map(|agent| agent.state.parked_until(now))
        .min();
    let by_date = until.map(|until| until.since(now).max(Duration::from_millis(1)));
    let by_trouble = (!all_well).then_some(RETRY);
    Ok([by_date, by_trouble].into_iter().flatten().min())
}

impl Shared {
    /// Gives an agent its place now, and notes what came of it.
    pub(in crate::engine) async fn start_agent(&self, project: &Project, id: AgentId) {
        match self.parts.store.agent(id).await {
            Ok(agent) => {
                self.ensure_agent(project, &agent).await;
            }
            Err(error) => tracing::warn!(agent = %id, %error, "can't start the agent"),
        }
    }

    async fn ensure_agent(&self, project: &Project, agent: &Agent) -> bool {
        let place = place(project, agent);
        let (state, source) = match self.parts.runtime.start_agent(&place).await {
            Ok(facts) => (state_of(&facts), "host"),
            Err(error) => {
                let detail = chain(&error);
                let state = AgentState::Failed { detail };
                // It is tried at every wake-up, and told when it is news.
                if state != agent.state {
                    tracing::warn!(agent = %agent.name, error = chain(&error), "the agent could not be started");
                }
                (state, "engine")
            }
        };
        let well = !matches!(state, AgentState::Failed { .. });
        // While a run has the agent, its actor says what the agent does; and one that is parked stays so until its date.
        let parked =
            state == AgentState::Idle && agent.state.parked_until(self.parts.clock.now()).is_some();
        if !self.actors.speak_for(agent.id) && !parked {
            self.observe_agent(agent.id, state, source).await;
        }
        well
    }

    /// Keeps what was just seen of an agent. It is only shown, so a failure to keep it is logged and no more.
    pub(in crate::engine) async fn observe_agent(
        &self,
        id: AgentId,
        state: AgentState,
        source: &str,
    ) {
        let evidence = Evidence {
            source: source.to_owned(),
            seen_at: self.parts.clock.now(),
        };
        if let Err(error) = self.parts.store.observe_agent(id, state, evidence).await
            && !self.superseded(&error)
        {
            tracing::warn!(agent = %id, %error, "can't note an agent's state");
        }
    }
}

pub(super) fn place(project: &Project, agent: &Agent) -> AgentPlace {
    AgentPlace {
        id: agent.id,
        project_id: project.id,
        name: agent.name.clone(),
        folder: project.path.clone(),
    }
}

fn state_of(facts: &AgentFacts) -> AgentState {
    match facts.run {
        run if !facts.answers => AgentState::Unresponsive { run },
        Some(run) => AgentState::Working { run },
        None => AgentState::Idle,
    }
}
