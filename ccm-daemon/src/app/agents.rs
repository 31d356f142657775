use std::collections::HashMap;

use ccm_core::agent::{Agent, AgentFacts};
use ccm_core::api;
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::project::Project;
use ccm_core::runtime::AttachCommand;
use ccm_core::{Error, Result};

use super::App;

impl App {
    pub(crate) async fn agents(&self, project: Option<ProjectId>) -> Result<Vec<api::Agent>> {
        let store = self.engine().store();
        let mut agents = store.agents().await?;
        if let Some(project) = project {
            store.project(project).await?;
            agents.retain(|agent| agent.project_id == project);
        }
        let projects = store.projects().await?;
        let projects: HashMap<_, _> = projects.iter().map(|p| (p.id, p)).collect();
        let seen = self.seen().await;
        let mut answers = Vec::with_capacity(agents.len());
        for agent in agents {
            let project = projects.get(&agent.project_id).copied();
            answers.push(self.agent_answer(agent, project, &seen).await);
        }
        Ok(answers)
    }

    pub(crate) async fn agent(&self, id: AgentId) -> Result<api::Agent> {
        let agent = self.engine().store().agent(id).await?;
        let project = self.engine().store().project(agent.project_id).await.ok();
        let seen = self.seen().await;
        Ok(self.agent_answer(agent, project.as_ref(), &seen).await)
    }

    pub(crate) async fn attach_command(&self, id: AgentId) -> Result<AttachCommand> {
        self.engine().store().agent(id).await?;
        self.engine().runtime().attach_command(id).await
    }

    /// What the store knows of an agent, with what the runtime sees of it now.
    pub(super) async fn agent_answer(
        &self,
        agent: Agent,
        project: Option<&Project>,
        seen: &HashMap<AgentId, AgentFacts>,
    ) -> api::Agent {
        let mut answer = api::Agent::from(agent);
        if let Some(project) = project
            && let Ok(profile) = self.parts.profiles.profile(project).await
        {
            answer.driver = Some(profile.agent.driver);
            answer.mode = Some(profile.agent.mode);
        }
        if let Some(facts) = seen.get(&answer.id) {
            answer.window.clone_from(&facts.window);
            answer.pid = facts.pid;
            if facts.pid.is_some() {
                let used = self.engine().runtime().resources(answer.id).await;
                let used = used.unwrap_or_else(|error| told(&error));
                answer.memory_bytes = used.map(|used| used.memory_bytes);
            }
        }
        answer
    }

    /// What the runtime sees. Nothing if it can't look: the list of agents is no less true for it.
    pub(super) async fn seen(&self) -> HashMap<AgentId, AgentFacts> {
        let facts = self.engine().runtime().agents().await;
        let facts = facts.unwrap_or_else(|error| told(&error));
        facts.into_iter().map(|facts| (facts.id, facts)).collect()
    }
}

fn told<T: Default>(error: &Error) -> T {
    tracing::warn!(error = %ccm_core::chain(error), "the runtime can't say what agents do");
    T::default()
}
