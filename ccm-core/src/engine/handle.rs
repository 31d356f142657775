use std::sync::Arc;
use std::time::Duration;

use super::reconcile::Shared;
use super::{EngineBuilder, EngineLimits};
use crate::agent::{AgentFacts, AgentState};
use crate::api::ShutdownReport;
use crate::ask::{Answer, Ask, AskState};
use crate::id::{AskId, InputId, ProjectId, RunId, TaskId};
use crate::input::Input;
use crate::project::Project;
use crate::reason::Reason;
use crate::store::{
    EventQuery, Interrupt, Interrupted, Message, NewProject, Registered, Reply, ReplyEffect,
};
use crate::system::System;
use crate::task::{StopIntent, Task, TaskState, TaskText};
use crate::{AgentRuntime, Error, ErrorKind, Noun, Result, Store, SyncBackend};

/// A running engine. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

impl Engine {
    /// An engine over this store and runtime, for this machine.
    pub fn builder(
        store: Arc<dyn Store>,
        runtime: Arc<dyn AgentRuntime>,
        system: System,
    ) -> EngineBuilder {
        EngineBuilder::new(store, runtime, system)
    }

    pub(super) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The store, for everything that only reads.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.parts.store
    }

    /// The runtime, for everything that only looks.
    pub fn runtime(&self) -> &Arc<dyn AgentRuntime> {
        &self.shared.parts.runtime
    }

    /// The sync backend, if there is one.
    pub fn sync(&self) -> Option<&Arc<dyn SyncBackend>> {
        self.shared.parts.sync.as_ref()
    }

    /// This machine.
    pub fn system(&self) -> &System {
        &self.shared.parts.system
    }

    /// What bounds it now.
    pub fn limits(&self) -> EngineLimits {
        self.shared.limits()
    }

    /// Bounds it otherwise from now on. Runs and tasks beyond a lower limit stay; no further ones are added to them.
    pub fn set_limits(&self, limits: EngineLimits) {
        self.shared.set_limits(limits);
    }

    /// Ends the engine if the store says that it is no longer this one's.
    pub(super) fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.shared.superseded(error);
        }
        result
    }

    /// Answers an ask, once: a later answer gets the ask with the first one. The answer to an ask of another machine is sent
    /// there, and counts if it is the first one there.
    ///
    /// # Errors
    /// Those of [`Store::answer_ask`], and `WrongState(Ask)` for another answer than the one that counts.
    pub async fn answer_ask(&self, id: AskId, answer: Answer, by: &str) -> Result<Ask> {
        let reply = Reply {
            answer: answer.clone(),
            by: by.to_owned(),
            input_id: InputId::new(),
            now: self.shared.parts.clock.now(),
        };
        let (ask, effect) = match self.store().answer_ask(id, reply).await {
            Err(error)
                if error.kind() == ErrorKind::NotFound(Noun::Ask) && self.is_sharing().await =>
            {
                return self.answer_elsewhere(id, answer, by).await;
            }
            answered => self.noting(answered)?,
        };
        tracing::info!(ask = %ask.id, run = %ask.run_id, task = %ask.task_id, by, ?effect, "an ask was answered");
        self.shared.actors.wake(ask.run_id);
        if let (
            ReplyEffect::Unchanged,
            AskState::Answered {
                answer: first, by, ..
            },
        ) = (effect, &ask.state)
            && ask.question.resolve(answer).ok().as_ref() != Some(first)
        {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Ask),
                format!("{by} answered it before, and that answer counts"),
            ));
        }
        Ok(ask)
    }

    /// Gives the run that works on a task a further message. Idempotent by `id`.
    ///
    /// # Errors
    /// Those of [`Store::send_message`], and `Invalid` for a text that breaks a rule.
    pub async fn send_message(
        &self,
        task: TaskId,
        id: InputId,
        text: String,
        by: &str,
    ) -> Result<Input> {
        let message = Message {
            id,
            task,
            text: TaskText::new(text)?,
            by: by.to_owned(),
            now: self.shared.parts.clock.now(),
        };
        let input = self.noting(self.store().send_message(message).await)?;
        tracing::info!(input = %id, run = %input.run_id, %task, by, "a run is given a message");
        self.shared.actors.wake(input.run_id);
        Ok(input)
    }

    /// Has the run that works on a task stop what it does. It goes on with `then`, if there is one, and waits for a
    /// person's next message otherwise. Idempotent by the interrupt's `id`.
    ///
    /// # Errors
    /// Those of [`Store::interrupt`], `Invalid` for a text that breaks a rule, `Unsupported` for a run whose program can't
    /// be interrupted, and `WrongState(Task)` for one that is only being started.
    pub async fn interrupt_task(
        &self,
        task: TaskId,
        id: InputId,
        then: Option<(InputId, String)>,
        by: &str,
    ) -> Result<Interrupted> {
        let then = match then {
            Some((id, text)) => Some((id, TaskText::new(text)?)),
            None => None,
        };
        if let TaskState::Running { run, .. } = self.store().task(task).await?.state {
            self.must_be_interruptible(run).await?;
        }
        let interrupt = Interrupt {
            id,
            task,
            then,
            by: by.to_owned(),
            now: self.shared.parts.clock.now(),
        };
        let done = self.noting(self.store().interrupt(interrupt).await)?;
        let run = done.interrupt.run_id;
        tracing::info!(input = %id, %run, %task, by, "a run is interrupted");
        self.shared.actors.wake(run);
        Ok(done)
    }

    async fn must_be_interruptible(&self, run: RunId) -> Result<()> {
        match self.runtime().can_interrupt(run).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(
                ErrorKind::Unsupported,
                "the program that works on the task can't be interrupted, only ended: cancel the task",
            )),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                "the task's program is only being started; interrupt it in a moment, or cancel the task",
            )),
            Err(error) => Err(error),
        }
    }

    /// Registers a folder and gives its agent a place.
    ///
    /// # Errors
    /// Those of [`Store::register_project`]. An agent that can't be started is no error here; its state says so.
    pub async fn register_project(&self, new: NewProject) -> Result<Registered> {
        let mut registered = self.noting(self.store().register_project(new).await)?;
        self.shared
            .start_agent(&registered.project, registered.agent.id)
            .await;
        registered.agent = self.store().agent(registered.agent.id).await?;
        registered.project = self.refresh_project(registered.project.id).await?;
        Ok(registered)
    }

    /// Removes a project, stops its runs and takes its agent's place away.
    ///
    /// # Errors
    /// Those of [`Store::remove_project`].
    pub async fn remove_project(&self, id: ProjectId, force: bool, by: &str) -> Result<()> {
        let now = self.shared.parts.clock.now();
        let stopping = self.noting(self.store().remove_project(id, force, by, now).await)?;
        for run in stopping {
            self.shared.actors.wake(run);
        }
        self.shared.agents.notify_one();
        Ok(())
    }

    /// Pauses or resumes a project's queue. Runs under way go on.
    ///
    /// # Errors
    /// Those of [`Store::pause_project`].
    pub async fn pause_project(&self, id: ProjectId, paused: bool) -> Result<Project> {
        let now = self.shared.parts.clock.now();
        let project = self.noting(self.store().pause_project(id, paused, now).await)?;
        self.shared.dispatch.notify_one();
        Ok(project)
    }

    /// Looks at a project's settings again, and holds its queue or lets it go accordingly.
    ///
    /// # Errors
    /// `NotFound(Project)`.
    pub async fn refresh_project(&self, id: ProjectId) -> Result<Project> {
        let project = self.store().project(id).await?;
        let hold = self.shared.parts.profiles.profile(&project).await.err();
        let now = self.shared.parts.clock.now();
        self.noting(self.store().hold_project(id, hold, now).await)?;
        self.shared.dispatch.notify_one();
        self.shared.agents.notify_one();
        self.store().project(id).await
    }

    /// Returns the task once it has ended.
    ///
    /// # Errors
    /// Those of [`Store::task`].
    pub async fn wait_task(&self, id: TaskId) -> Result<Task> {
        let mut head = self.store().watch();
        loop {
            // Looking before waiting, with the mark taken first, misses nothing that is committed in between.
            let seq = *head.borrow_and_update();
            let task = self.store().task(id).await?;
            if task.state.name().is_final() {
                return Ok(task);
            }
            let query = EventQuery {
                after: seq,
                task: Some(id),
                limit: 1,
                ..EventQuery::default()
            };
            while self.store().events(&query).await?.is_empty() {
                if head.changed().await.is_err() {
                    return Err(Error::unavailable("the store was closed"));
                }
            }
        }
    }

    /// What is wrong now, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        self.shared.problems.list()
    }

    /// Returns when this engine must not go on, with the reason: another daemon took the store over.
    pub async fn failed(&self) -> Error {
        self.shared.failed().await
    }

    /// Ends the engine. Runs go on without it, unless `stop_agents` is set: then each is stopped and ends as
    /// [`Reason::Lost`], retried only by its task's own policy, and every agent's place is taken away.
    pub async fn shutdown(&self, stop_agents: bool) -> ShutdownReport {
        let mut report = ShutdownReport {
            running: 0,
            stopped: 0,
        };
        self.shared.stop_dispatch.cancel();
        if stop_agents {
            report.stopped = self.stop_everything().await;
        }
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        report.running = self
            .store()
            .open_runs()
            .await
            .map_or(0, |runs| runs.len() as u64);
        report
    }

    async fn stop_everything(&self) -> u64 {
        let parts = &self.shared.parts;
        let runs = parts.store.open_runs().await.unwrap_or_default();
        for run in &runs {
            let intent = StopIntent {
                reason: Reason::Lost,
                by: "daemon stop".to_owned(),
                at: parts.clock.now(),
            };
            match parts.store.mark_stopping(run.id, run.token, intent).await {
                Ok(_) => self.shared.actors.wake(run.id),
                // It ended meanwhile, which is as good.
                Err(error) if matches!(error.kind(), ErrorKind::WrongState(_)) => {}
                Err(error) => tracing::warn!(run = %run.id, %error, "can't stop the run"),
            }
        }
        let stopped = self
            .ended_within(&runs.iter().map(|run| run.id).collect::<Vec<_>>())
            .await;
        match parts.runtime.agents().await {
            Ok(agents) => {
                for AgentFacts { id, .. } in agents {
                    match parts.runtime.stop_agent(id).await {
                        Ok(()) => {
                            let stopped = AgentState::Stopped;
                            self.shared.observe_agent(id, stopped, "engine").await;
                        }
                        Err(error) => tracing::warn!(agent = %id, %error, "can't stop the agent"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "can't list the agents"),
        }
        stopped
    }

    /// How many of `runs` end within the time that stopping may take.
    async fn ended_within(&self, runs: &[RunId]) -> u64 {
        let patience = self.shared.limits().stop_grace * 2 + Duration::from_secs(10);
        let ended = async {
            let mut head = self.store().watch();
            loop {
                head.mark_unchanged();
                let open = self.store().open_runs().await.unwrap_or_default();
                if !open.iter().any(|run| runs.contains(&run.id)) || head.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = ended => {}
            () = self.shared.parts.clock.sleep(patience) => {}
        }
        let open = self.store().open_runs().await.unwrap_or_default();
        runs.iter()
            .filter(|id| !open.iter().any(|run| run.id == **id))
            .count() as u64
    }
}
