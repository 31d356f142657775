//! What people want of agents: start, stop, restart, take over and hand back, clean up.

use std::time::Duration;

use super::Engine;
use super::reconcile::{Kept, Rest};
use crate::agent::{Agent, Want, Wanted, Wish};
use crate::id::{AgentId, RunId};
use crate::runtime::{Resources, Stopped};
use crate::{Error, ErrorKind, Noun, Result};

/// What a cleaning up led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cleanup {
    /// Who sleeps now, and what each had used.
    pub asleep: Vec<(Agent, Option<Resources>)>,
    /// Who was left alone, and why in words that follow a name.
    pub kept: Vec<(Agent, String)>,
    /// Places that belonged to no project, and are gone.
    pub strays: Vec<AgentId>,
}

impl Engine {
    /// Wants an agent up and gives it its place now. Idempotent.
    ///
    /// # Errors
    /// Those of [`Store::want_agent`](crate::Store::want_agent); `NotFound(Project)` when its project was removed. An
    /// agent that can't be started is no error here; its state says so.
    pub async fn start_agent(&self, id: AgentId, by: &str) -> Result<Agent> {
        let agent = self.store().agent(id).await?;
        let project = self.store().project(agent.project_id).await?;
        self.want(id, Wanted::Up, false, by).await?;
        self.shared.start_agent(&project, id).await;
        self.shared.dispatch.notify_one();
        self.store().agent(id).await
    }

    /// Wants an agent down and takes its place away: from then on it gets no task until somebody starts it.
    ///
    /// With `force` a run that it has in hand is stopped and ends as [`Reason::Lost`](crate::Reason::Lost), retried only
    /// by its task's own policy; one that was not started yet was no attempt. And a host that does not answer is killed.
    ///
    /// # Errors
    /// `WrongState(Agent)` when it has a run in hand, or does not answer, and `force` is not set; nothing changes then.
    /// Also when its run can't be ended: it is down then, and its place goes when the run has ended.
    pub async fn stop_agent(&self, id: AgentId, force: bool, by: &str) -> Result<Agent> {
        self.must_answer(id, force).await?;
        let runs = self.want(id, Wanted::Down, force, by).await?;
        crate::barrier!("agent.down");
        self.give_up(id, &runs).await;
        let gone = {
            let _held = self.shared.places.hold(id).await;
            match self.store().agent(id).await?.wish.wanted {
                Wanted::Down => self.shared.take_place(id, force).await,
                // Somebody started it again meanwhile.
                Wanted::Up | Wanted::Asleep | Wanted::Taken => Ok(()),
            }
        };
        self.shared.agents.notify_one();
        gone?;
        self.store().agent(id).await
    }

    /// Gives an agent a new place: another host, another window. One that is down is started.
    ///
    /// With `force` what it has in hand is given up, as [`stop_agent`](Self::stop_agent) does it.
    ///
    /// # Errors
    /// Those of [`stop_agent`](Self::stop_agent), and of [`start_agent`](Self::start_agent).
    pub async fn restart_agent(&self, id: AgentId, force: bool, by: &str) -> Result<Agent> {
        let agent = self.store().agent(id).await?;
        let project = self.store().project(agent.project_id).await?;
        self.must_answer(id, force).await?;
        if !force {
            let open = self.store().open_runs().await?;
            if let Some(run) = open.iter().find(|run| run.agent_id == id) {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::Agent),
                    format!("the agent {} has run {} in hand", agent.name, run.id),
                ));
            }
        }
        let runs = self.want(id, Wanted::Up, force, by).await?;
        if force {
            self.give_up(id, &runs).await;
        }
        {
            let _held = self.shared.places.hold(id).await;
            self.shared.take_place(id, force).await?;
            crate::barrier!("agent.restarting");
            let agent = self.store().agent(id).await?;
            if agent.wish.wanted == Wanted::Up {
                self.shared.ensure_agent(&project, &agent).await;
            }
        }
        self.shared.dispatch.notify_one();
        self.store().agent(id).await
    }

    /// Lets a person sit in an agent's place with a session of their own, in the agent's last conversation. From then on it
    /// gets no task until it is handed back. Idempotent.
    ///
    /// # Errors
    /// `WrongState(Agent)` when it has a run in hand or was stopped; `WrongState(Project)` when the project's settings can't
    /// be used now; those of [`AgentRuntime::take_over`](crate::AgentRuntime::take_over). After one of the last two it is
    /// as it was before: nobody has it, or whoever had it still does.
    pub async fn take_over_agent(&self, id: AgentId, by: &str) -> Result<Agent> {
        let agent = self.store().agent(id).await?;
        let project = self.store().project(agent.project_id).await?;
        let wish = self.agent_wish(Wanted::Taken, by);
        self.want_it(id, wish.clone(), false).await?;
        crate::barrier!("agent.taken");
        let (sits, is_own) = {
            let _held = self.shared.places.hold(id).await;
            let agent = self.store().agent(id).await?;
            let sits = match agent.wish.wanted {
                Wanted::Taken => {
                    self.shared.ensure_agent(&project, &agent).await;
                    self.shared.sit_down(&project, &agent).await
                }
                // Somebody handed it back meanwhile.
                _ => Ok(()),
            };
            (sits, agent.wish == wish)
        };
        if let Err(error) = sits {
            // Whoever had it before goes on sitting there.
            if is_own {
                self.hand_back_agent(id, by).await?;
            }
            return Err(error);
        }
        self.store().agent(id).await
    }

    /// Ends the session of whoever took an agent over, with everything that belongs to it; then the queue goes on. An agent
    /// that nobody has taken over stays as it is.
    ///
    /// # Errors
    /// `WrongState(Agent)` when something of the session can't be ended: it stays taken over then.
    pub async fn hand_back_agent(&self, id: AgentId, by: &str) -> Result<Agent> {
        {
            let _held = self.shared.places.hold(id).await;
            let agent = self.store().agent(id).await?;
            if agent.wish.wanted != Wanted::Taken {
                return Ok(agent);
            }
            // Only then a task may go on with the conversation: no two programs ever do.
            let grace = self.shared.limits().stop_grace;
            if let Stopped::Unstoppable(pids) = self.runtime().hand_back(id, grace).await? {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::Agent),
                    format!("processes {pids:?} of the session can't be ended"),
                ));
            }
            crate::barrier!("agent.left");
            let want = Want {
                wish: self.agent_wish(Wanted::Up, by),
                force: false,
                hand_back: true,
            };
            self.noting(self.store().want_agent(id, want).await)?;
        }
        self.shared.agents.notify_one();
        self.shared.dispatch.notify_one();
        self.store().agent(id).await
    }

    /// Has an agent that sleeps take its place again, for a person who wants to look at it. One that is up stays as it
    /// is.
    ///
    /// # Errors
    /// `NotFound(Agent)`; `WrongState(Agent)` for one that is down.
    pub async fn wake_agent(&self, id: AgentId, by: &str) -> Result<()> {
        let agent = self.store().agent(id).await?;
        match agent.wish.wanted {
            Wanted::Up | Wanted::Taken => Ok(()),
            Wanted::Asleep => self.start_agent(id, by).await.map(drop),
            Wanted::Down => Err(Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!(
                    "the agent {} was stopped by {}; `ccm agent start {}` starts it again",
                    agent.name, agent.wish.by, agent.name
                ),
            )),
        }
    }

    /// Puts idle agents to sleep now, all of them or those in `only`, and takes away what belongs to no project.
    ///
    /// # Errors
    /// `NotFound(Agent)` for one in `only`; those of [`AgentRuntime::agents`](crate::AgentRuntime::agents).
    pub async fn clean_up(&self, only: &[AgentId], by: &str) -> Result<Cleanup> {
        let mut agents = self.store().agents().await?;
        if let Some(id) = only
            .iter()
            .find(|id| !agents.iter().any(|agent| agent.id == **id))
        {
            return Err(Error::no_agent(*id));
        }
        let mut cleanup = Cleanup::default();
        if only.is_empty() {
            cleanup.strays = self.shared.clear_strays().await?;
            // Without being asked for they are no news.
            agents.retain(|agent| agent.wish.wanted == Wanted::Up);
        } else {
            agents.retain(|agent| only.contains(&agent.id));
            // Nothing is left to be done.
            agents.retain(|agent| agent.wish.wanted != Wanted::Asleep);
        }
        for agent in agents {
            match self.noting(self.shared.put_to_sleep(agent.id, by).await)? {
                Rest::Asleep { used } => {
                    let agent = self.store().agent(agent.id).await?;
                    cleanup.asleep.push((agent, used));
                }
                Rest::Kept(why) => cleanup.kept.push((agent, why.to_string())),
            }
        }
        Ok(cleanup)
    }

    fn agent_wish(&self, wanted: Wanted, by: &str) -> Wish {
        Wish {
            wanted,
            by: by.to_owned(),
            at: self.shared.parts.clock.now(),
        }
    }

    async fn want(&self, id: AgentId, wanted: Wanted, force: bool, by: &str) -> Result<Vec<RunId>> {
        self.want_it(id, self.agent_wish(wanted, by), force).await
    }

    async fn want_it(&self, id: AgentId, wish: Wish, force: bool) -> Result<Vec<RunId>> {
        let want = Want {
            wish,
            force,
            hand_back: false,
        };
        let wanted = self.store().want_agent(id, want).await;
        let (_, runs) = self.noting(wanted)?;
        // Whoever asked may go away before it is carried out.
        self.shared.agents.notify_one();
        Ok(runs)
    }

    /// An agent that does not answer is ended only by force, because nobody can say what it has in hand.
    async fn must_answer(&self, id: AgentId, force: bool) -> Result<()> {
        if force {
            return Ok(());
        }
        let there = self.runtime().agents().await?;
        let silent = |facts: &crate::agent::AgentFacts| {
            facts.id == id && facts.pid.is_some() && !facts.answers
        };
        match there.into_iter().find(silent) {
            Some(_) => Err(Kept::Silent.refusal(&self.store().agent(id).await?.name)),
            None => Ok(()),
        }
    }

    /// Has the agent's runs end, and waits for it as long as stopping may take.
    async fn give_up(&self, id: AgentId, runs: &[RunId]) {
        for run in runs {
            self.shared.actors.wake(*run);
        }
        let patience = self.shared.limits().stop_grace * 2 + Duration::from_secs(10);
        tokio::select! {
            () = self.shared.actors.until_silent(id) => {}
            () = self.shared.parts.clock.wait(patience) => {}
        }
    }
}
