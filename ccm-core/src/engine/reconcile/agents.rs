//! Gives every project's agent its place, and keeps what is known of it true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::agent::{Agent, AgentFacts, AgentPlace, AgentState, Evidence, Want, Wanted, Wish};
use crate::id::{AgentId, ProjectId, RunId};
use crate::project::Project;
use crate::runtime::{Resources, SittingOrder};
use crate::{Error, ErrorKind, Noun, Result, chain};

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

/// What became of putting an agent to sleep.
#[derive(Debug)]
pub(in crate::engine) enum Rest {
    /// It sleeps. It had used this, if that could be seen.
    Asleep { used: Option<Resources> },
    /// It was left alone.
    Kept(Kept),
}

/// Why an agent was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kept {
    Busy,
    Waiting,
    Parked,
    Watched,
    Silent,
    Gone,
    Taken,
    Failed,
}

impl Kept {
    fn by_state(agent: &Agent, spoken_for: bool) -> Option<Self> {
        match agent.wish.wanted {
            Wanted::Up => {}
            Wanted::Taken => return Some(Self::Taken),
            Wanted::Asleep | Wanted::Down => return Some(Self::Gone),
        }
        match agent.state {
            AgentState::Idle if spoken_for => Some(Self::Busy),
            AgentState::Idle => None,
            AgentState::Stopped => Some(Self::Gone),
            AgentState::Working { .. } | AgentState::Starting | AgentState::Stopping => {
                Some(Self::Busy)
            }
            AgentState::Waiting { .. } => Some(Self::Waiting),
            AgentState::Parked { .. } => Some(Self::Parked),
            AgentState::Unresponsive { .. } => Some(Self::Silent),
            AgentState::Failed { .. } => Some(Self::Failed),
        }
    }

    /// The error of whoever wanted the agent called `name` to give way.
    pub(in crate::engine) fn refusal(self, name: &str) -> Error {
        let message = format!("the agent {name} {self}");
        Error::new(ErrorKind::WrongState(Noun::Agent), message)
    }
}

impl std::fmt::Display for Kept {
    /// In words that follow a name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Busy => "works",
            Self::Waiting => "waits for an answer",
            Self::Parked => "is parked",
            Self::Watched => "is looked at by someone",
            Self::Silent => "does not answer, so that only force ends it",
            Self::Gone => "is stopped already",
            Self::Taken => "was taken over by someone",
            Self::Failed => "could not be started",
        })
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
    shared.clear_strays_of(&there, &agents).await;
    let mut all_well = true;
    for agent in &agents {
        if let Some(project) = projects.get(&agent.project_id) {
            let facts = there.iter().find(|facts| facts.id == agent.id);
            all_well &= shared.see_to(project, agent.id, facts).await?;
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
    /// Gives an agent its place now, if it is to have one, and notes what came of it.
    pub(in crate::engine) async fn start_agent(&self, project: &Project, id: AgentId) {
        let _held = self.places.hold(id).await;
        match self.parts.store.agent(id).await {
            Ok(agent) if agent.wish.wanted == Wanted::Up => {
                self.ensure_agent(project, &agent).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(agent = %id, %error, "can't start the agent"),
        }
    }

    /// Makes an agent's place what it is to be. Returns whether that could be done.
    async fn see_to(
        &self,
        project: &Project,
        id: AgentId,
        there: Option<&AgentFacts>,
    ) -> Result<bool> {
        // Whoever has it in hand leaves it as it is to be.
        let Some(_held) = self.places.try_hold(id) else {
            return Ok(true);
        };
        let agent = match self.parts.store.agent(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Agent) => return Ok(true),
            agent => agent?,
        };
        match (agent.wish.wanted, there) {
            (Wanted::Up, _) => Ok(self.ensure_agent(project, &agent).await),
            (Wanted::Taken, _) => {
                let well = self.ensure_agent(project, &agent).await;
                match self.sit_down(project, &agent).await {
                    Ok(()) => Ok(well),
                    Err(error) => {
                        tracing::warn!(agent = %agent.name, error = chain(&error), "nobody can sit with the agent now");
                        Ok(false)
                    }
                }
            }
            // It ends with its run, and is looked at again then.
            _ if self.actors.speak_for(id) => Ok(true),
            (Wanted::Asleep, Some(facts)) if facts.watched => {
                let wish = Wish {
                    wanted: Wanted::Up,
                    by: "engine".to_owned(),
                    at: self.parts.clock.now(),
                };
                let want = Want {
                    wish,
                    force: false,
                    hand_back: false,
                };
                self.parts.store.want_agent(id, want).await?;
                Ok(self.ensure_agent(project, &agent).await)
            }
            (_, Some(_)) => match self.take_place(id, false).await {
                Ok(()) => Ok(true),
                Err(error) => {
                    tracing::warn!(agent = %agent.name, error = chain(&error), "the agent's place can't be taken away");
                    Ok(false)
                }
            },
            (_, None) => {
                if agent.state != AgentState::Stopped {
                    self.observe_agent(id, AgentState::Stopped, "engine").await;
                }
                Ok(true)
            }
        }
    }

    /// Has whoever took an agent over sit in its place. The caller holds it.
    pub(in crate::engine) async fn sit_down(&self, project: &Project, agent: &Agent) -> Result<()> {
        let profile = self.parts.profiles.profile(project).await;
        let profile = profile.map_err(|hold| {
            let why = hold.detail.unwrap_or_else(|| hold.reason.to_string());
            Error::new(ErrorKind::WrongState(Noun::Project), why)
        })?;
        let order = SittingOrder {
            id: RunId::new(),
            place: place(project, agent),
            profile: profile.agent,
            session_id: self.last_session(agent.id, None).await?,
        };
        self.parts.runtime.take_over(&order).await
    }

    /// Takes an agent's place away; one that does not answer only with `force`. The caller holds the place.
    pub(in crate::engine) async fn take_place(&self, id: AgentId, force: bool) -> Result<()> {
        let runtime = &self.parts.runtime;
        if force {
            runtime.kill_agent(id).await?;
        } else {
            runtime.stop_agent(id).await?;
        }
        self.observe_agent(id, AgentState::Stopped, "engine").await;
        Ok(())
    }

    /// Has an idle agent give its place back until its next task.
    ///
    /// The wish is committed first: a task that is claimed before finds the agent up and makes it refuse, and one that is
    /// claimed after wants it up again and waits with its launch until the place is gone.
    pub(in crate::engine) async fn put_to_sleep(&self, id: AgentId, by: &str) -> Result<Rest> {
        let Some(_held) = self.places.try_hold(id) else {
            return Ok(Rest::Kept(Kept::Busy));
        };
        let parts = &self.parts;
        let agent = parts.store.agent(id).await?;
        if let Some(why) = Kept::by_state(&agent, self.actors.speak_for(id)) {
            return Ok(Rest::Kept(why));
        }
        let there = parts.runtime.agents().await?;
        match there.iter().find(|facts| facts.id == id) {
            Some(facts) if facts.watched => return Ok(Rest::Kept(Kept::Watched)),
            Some(facts) if facts.run.is_some() => return Ok(Rest::Kept(Kept::Busy)),
            Some(facts) if facts.pid.is_some() && !facts.answers => {
                return Ok(Rest::Kept(Kept::Silent));
            }
            _ => {}
        }
        let used = parts.runtime.resources(id).await.ok().flatten();
        crate::barrier!("idle.seen");
        let wish = Wish {
            wanted: Wanted::Asleep,
            by: by.to_owned(),
            at: parts.clock.now(),
        };
        match parts
            .store
            .want_agent(
                id,
                Want {
                    wish,
                    force: false,
                    hand_back: false,
                },
            )
            .await
        {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WrongState(Noun::Agent) => {
                return Ok(Rest::Kept(Kept::Busy));
            }
            Err(error) => return Err(error),
        }
        crate::barrier!("idle.asleep");
        self.take_place(id, false).await?;
        Ok(Rest::Asleep { used })
    }

    /// Takes away what belongs to no project. One with a run in hand refuses, and goes when the run has ended.
    pub(in crate::engine) async fn clear_strays(&self) -> Result<Vec<AgentId>> {
        let there = self.parts.runtime.agents().await?;
        let agents = self.parts.store.agents().await?;
        Ok(self.clear_strays_of(&there, &agents).await)
    }

    async fn clear_strays_of(&self, there: &[AgentFacts], agents: &[Agent]) -> Vec<AgentId> {
        let mut gone = Vec::new();
        let is_known = |id: AgentId| agents.iter().any(|agent| agent.id == id);
        for stray in there.iter().filter(|facts| !is_known(facts.id)) {
            match self.parts.runtime.stop_agent(stray.id).await {
                Ok(()) => gone.push(stray.id),
                Err(error) => {
                    tracing::info!(agent = %stray.id, %error, "an agent without a project stays");
                }
            }
        }
        gone
    }

    /// Gives an agent its place. The caller holds it.
    pub(in crate::engine) async fn ensure_agent(&self, project: &Project, agent: &Agent) -> bool {
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
        let is_idle = state == AgentState::Idle;
        if let Err(error) = self.parts.store.observe_agent(id, state, evidence).await
            && !self.superseded(&error)
        {
            tracing::warn!(agent = %id, %error, "can't note an agent's state");
        }
        if is_idle {
            self.idle.notify_one();
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
