use std::collections::HashMap;

use ccm_core::agent::{Agent, AgentFacts};
use ccm_core::api::{self, AgentCleanup, CleanUpAgents, CleanedAgent, KeptAgent};
use ccm_core::engine::Cleanup;
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::project::Project;
use ccm_core::runtime::{AttachCommand, Resources};
use ccm_core::store::AskQuery;
use ccm_core::task::Setback;
use ccm_core::{Error, Result};

use super::App;
use super::asks::OpenAsks;
use super::load::Figures;

/// The most agents that one request may name to give their places back.
const MOST_CLEANED: usize = 1000;

impl App {
    pub(crate) async fn agents(&self, project: Option<ProjectId>) -> Result<Vec<api::Agent>> {
        let store = self.engine().store();
        let mut agents = store.agents().await?;
        if let Some(project) = project {
            self.project_here(project, "its agent is listed").await?;
            agents.retain(|agent| agent.project_id == project);
        }
        let projects = store.projects().await?;
        let projects: HashMap<_, _> = projects.iter().map(|p| (p.id, p)).collect();
        let asks = self.asks_of(project).await?;
        let seen = self.seen(|_| true).await;
        let mut answers = Vec::with_capacity(agents.len());
        for agent in agents {
            let project = projects.get(&agent.project_id).copied();
            answers.push(self.agent_answer(agent, project, &asks, &seen).await);
        }
        Ok(answers)
    }

    pub(crate) async fn agent(&self, id: AgentId) -> Result<api::Agent> {
        let agent = self.engine().store().agent(id).await?;
        let project = self.engine().store().project(agent.project_id).await.ok();
        let asks = self.asks_of(Some(agent.project_id)).await?;
        let seen = self.seen(|one| one == id).await;
        let project = project.as_ref();
        Ok(self.agent_answer(agent, project, &asks, &seen).await)
    }

    pub(crate) async fn attach_command(&self, id: AgentId) -> Result<AttachCommand> {
        // A person who wants to look at an agent that sleeps wakes it.
        self.engine().wake_agent(id, "attach").await?;
        self.engine().runtime().attach_command(id).await
    }

    pub(crate) async fn start_agent(&self, id: AgentId, by: &str) -> Result<api::Agent> {
        self.engine().start_agent(id, by).await?;
        self.agent(id).await
    }

    pub(crate) async fn stop_agent(
        &self,
        id: AgentId,
        force: bool,
        by: &str,
    ) -> Result<api::Agent> {
        self.engine().stop_agent(id, force, by).await?;
        self.agent(id).await
    }

    pub(crate) async fn take_over_agent(&self, id: AgentId, by: &str) -> Result<api::Agent> {
        self.engine().take_over_agent(id, by).await?;
        self.agent(id).await
    }

    pub(crate) async fn hand_back_agent(&self, id: AgentId, by: &str) -> Result<api::Agent> {
        self.engine().hand_back_agent(id, by).await?;
        self.agent(id).await
    }

    pub(crate) async fn restart_agent(
        &self,
        id: AgentId,
        force: bool,
        by: &str,
    ) -> Result<api::Agent> {
        self.engine().restart_agent(id, force, by).await?;
        self.agent(id).await
    }

    pub(crate) async fn clean_up_agents(
        &self,
        request: &CleanUpAgents,
        by: &str,
    ) -> Result<AgentCleanup> {
        if request.agents.len() > MOST_CLEANED {
            return Err(Error::invalid(format!(
                "{} agents are named, and at most {MOST_CLEANED} are allowed",
                request.agents.len()
            )));
        }
        let Cleanup {
            asleep,
            kept,
            strays,
        } = self.engine().clean_up(&request.agents, by).await?;
        let cleaned = |(agent, used): (Agent, Option<Resources>)| CleanedAgent {
            id: agent.id,
            name: agent.name,
            freed_bytes: used.map(|used| used.memory_bytes),
        };
        let asleep: Vec<_> = asleep.into_iter().map(cleaned).collect();
        let kept = kept.into_iter().map(|(agent, why)| KeptAgent {
            id: agent.id,
            name: agent.name,
            why,
        });
        Ok(AgentCleanup {
            freed_bytes: asleep.iter().filter_map(|agent| agent.freed_bytes).sum(),
            asleep,
            kept: kept.collect(),
            strays,
        })
    }

    /// Why the queues of projects wait for their agents.
    pub(super) async fn agent_holds(&self) -> Result<HashMap<ProjectId, Setback>> {
        let agents = self.engine().store().agents().await?;
        let held = agents.into_iter();
        Ok(held
            .filter_map(|agent| Some((agent.project_id, agent.hold()?)))
            .collect())
    }

    /// What the runs of a project's agents ask, or of all agents.
    pub(super) async fn asks_of(&self, project: Option<ProjectId>) -> Result<OpenAsks> {
        self.open_asks(AskQuery {
            project,
            ..AskQuery::default()
        })
        .await
    }

    /// What the store knows of an agent, with what it asks and what the runtime sees of it now.
    pub(super) async fn agent_answer(
        &self,
        agent: Agent,
        project: Option<&Project>,
        asks: &OpenAsks,
        seen: &Seen,
    ) -> api::Agent {
        let asks = asks.of_agent(agent.id);
        let mut answer = api::Agent::from(agent).with_open_asks(asks);
        if let Some(project) = project
            && let Ok(profile) = self.parts.profiles.profile(project).await
        {
            answer.driver = Some(profile.agent.driver);
            answer.mode = Some(profile.agent.mode);
        }
        if let Some(facts) = seen.facts.get(&answer.id) {
            answer.window.clone_from(&facts.window);
            answer.pid = facts.pid;
        }
        if let Some(figures) = seen.figures.get(&answer.id) {
            answer.memory_bytes = Some(figures.memory_bytes);
            answer.cpu_percent = Some(figures.cpu_percent);
        }
        if seen.waiting.contains(&answer.id) {
            answer.detail.get_or_insert_with(|| {
                "its window waits for room: there are as many as resources.max_tmux_windows allows"
                    .to_owned()
            });
        }
        answer
    }

    /// What the runtime sees of all agents, with the figures of those that are `measured`, which takes a moment. Nothing
    /// if it can't look: the list of agents is no less true for it.
    pub(super) async fn seen(&self, measured: impl Fn(AgentId) -> bool) -> Seen {
        let runtime = self.engine().runtime();
        let facts = runtime.agents().await;
        let facts = facts.unwrap_or_else(|error| told(&error));
        let facts: HashMap<_, _> = facts.into_iter().map(|facts| (facts.id, facts)).collect();
        let wanted = facts
            .values()
            .filter(|facts| facts.pid.is_some() && measured(facts.id));
        let figures = self
            .load
            .of(&**runtime, wanted.map(|facts| facts.id).collect());
        let figures = figures.await;
        let waiting = match &self.parts.windows {
            Some(windows) if facts.values().any(|facts| facts.window.is_none()) => {
                let waiting = windows.waiting_for_room().await;
                waiting.unwrap_or_else(|error| told(&error))
            }
            _ => Vec::new(),
        };
        Seen {
            facts,
            figures,
            waiting,
        }
    }
}

/// What the runtime sees of agents.
#[derive(Debug)]
pub(super) struct Seen {
    facts: HashMap<AgentId, AgentFacts>,
    figures: HashMap<AgentId, Figures>,
    /// Those whose windows wait for room.
    waiting: Vec<AgentId>,
}

pub(super) fn told<T: Default>(error: &Error) -> T {
    tracing::warn!(error = %ccm_core::chain(error), "the runtime can't say what agents do");
    T::default()
}
