//! One actor a run, from its claim or adoption to its outcome.
//!
//! ```text
//! claimed ── launch ──┐
//!                     ├─▶ look ─▶ take output in ─▶ running: wait ─┐
//! adopted ── inspect ─┘     ▲                       held: wait ────┤
//!                           └──────────────────────────────────────┘
//!                                                   ended: finish ─▶ over
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Instrument;

use super::Shared;
use crate::agent::AgentState;
use crate::project::Profile;
use crate::reason::Reason;
use crate::run::{Ending, Parking, Reported, Run, RunState, Verdict, judge};
use crate::runtime::{RunEnd, RunProcess, RunStatus, Stopped};
use crate::schedule::retry;
use crate::store::{Claimed, Finish, Intake};
use crate::task::{Setback, StopIntent, Task};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result, chain};

/// How long an actor waits after the store or the runtime could not answer, and between looks at what can't be ended.
const RETRY: Duration = Duration::from_secs(2);
/// How old the evidence of an agent at work may get: each refreshing of it is a commit of its own.
const EVIDENCE: Duration = Duration::from_secs(10);
/// How long one adoption may hold the start of the engine up.
const ADOPTION: Duration = Duration::from_secs(2);

/// Begins to launch a claimed run.
pub(super) fn launch(shared: &Arc<Shared>, claimed: Claimed, profile: Profile) {
    let Claimed { task, run } = claimed;
    spawn(shared, run, task, Some(profile));
}

/// Gives every open run an actor and lets each look once, so that what the store says is what is.
pub(super) async fn adopt(shared: &Arc<Shared>) -> Result<()> {
    // What is there is listed before the database is read, so that a launch in between is not taken for a stray.
    let there = shared.parts.runtime.agents().await?;
    let open = shared.parts.store.open_runs().await?;
    for id in there.into_iter().filter_map(|agent| agent.run) {
        if let Err(error) = shared.parts.store.run(id).await
            && error.kind() == ErrorKind::NotFound(Noun::Run)
        {
            // Not ours to judge: perhaps an older database was restored. It is shown and never killed.
            tracing::warn!(run = %id, "there is a run that the database does not know");
            shared.problems.set(
                &format!("stray {id}"),
                format!("run {id} goes on here but is not in the database; it is left alone"),
            );
        }
    }
    let mut looked = Vec::new();
    for run in open {
        let task = shared.parts.store.task(run.task_id).await?;
        let first_look = Arc::new(Notify::new());
        if spawn_noting(shared, run, task, None, Some(Arc::clone(&first_look))) {
            looked.push(first_look);
        }
    }
    let all = async {
        for look in looked {
            look.notified().await;
        }
    };
    tokio::select! {
        () = all => {}
        () = shared.parts.clock.sleep(ADOPTION) => {
            tracing::warn!("some runs have not answered yet; they are looked at again");
        }
    }
    Ok(())
}

/// Gives an actor to every open run that has lost its own to a panic.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.runs.notified() => {}
        }
        while let Err(error) = replace_actors(&shared).await {
            tracing::error!(error = chain(&error), "looking after the runs failed");
            if !shared.pause(RETRY).await {
                return;
            }
        }
    }
}

async fn replace_actors(shared: &Arc<Shared>) -> Result<()> {
    for run in shared.parts.store.open_runs().await? {
        if !shared.actors.is_enlisted(run.id) {
            let task = shared.parts.store.task(run.task_id).await?;
            if !shared.pause(RETRY).await {
                return Ok(());
            }
            tracing::warn!(run = %run.id, "the run lost its actor and gets another");
            spawn(shared, run, task, None);
        }
    }
    Ok(())
}

fn spawn(shared: &Arc<Shared>, run: Run, task: Task, profile: Option<Profile>) {
    spawn_noting(shared, run, task, profile, None);
}

fn spawn_noting(
    shared: &Arc<Shared>,
    run: Run,
    task: Task,
    profile: Option<Profile>,
    first_look: Option<Arc<Notify>>,
) -> bool {
    let Some(wake) = shared.actors.enlist(run.id, run.agent_id) else {
        return false;
    };
    let actor = Actor {
        shared: Arc::clone(shared),
        wake,
        first_look,
        started_at: match &run.state {
            RunState::Running { started_at, .. } => Some(*started_at),
            _ => None,
        },
        age: None,
        run,
        task,
        launch_error: None,
        stopped: false,
        input_closed: false,
        said: None,
    };
    // For as long as the run goes on, whoever began it, and at the level at which whatever is logged has it.
    let span = tracing::error_span!(
        parent: None,
        "run",
        run = %actor.run.id,
        task = %actor.run.task_id,
        project = %actor.run.project_id,
        agent = %actor.run.agent_id,
        attempt = actor.run.attempt,
    );
    shared.tasks.spawn(actor.run(profile).instrument(span));
    true
}

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    wake: Arc<Notify>,
    first_look: Option<Arc<Notify>>,
    pub(super) run: Run,
    pub(super) task: Task,
    started_at: Option<Timestamp>,
    /// How long ago that was when it was looked at last, whatever the clock was set to since.
    age: Option<Duration>,
    /// Why the launch failed; it explains a run that turns out never to have started.
    launch_error: Option<Error>,
    /// Whether a stop was carried out.
    stopped: bool,
    /// Whether the program was told that nothing more comes.
    pub(super) input_closed: bool,
    /// What was said of the agent last, and when.
    said: Option<(AgentState, Timestamp)>,
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.shared.problems.clear(&self.trouble());
        self.shared.actors.dismiss(self.run.id);
        self.shared.dispatch.notify_one();
        self.shared.agents.notify_one();
        if std::thread::panicking() {
            // The run must not be without an actor for good.
            self.shared.runs.notify_one();
        }
    }
}

/// What a run's output came to, once all of it was taken in.
struct Taken {
    reported: Reported,
    last_words: Option<String>,
    resting: bool,
}

/// What an actor does after a look.
enum Next {
    Look,
    Wait,
    WaitHeld,
    Over,
}

impl Actor {
    async fn run(mut self, profile: Option<Profile>) {
        let stop = self.shared.stop.clone();
        if let Some(profile) = profile {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.launch(profile) => {}
            }
        }
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => break,
                next = self.look() => next,
            };
            self.looked();
            if next.is_ok() {
                self.shared.problems.clear(&self.trouble());
            }
            let more = match next {
                Ok(Next::Over) => break,
                Ok(Next::Look) => true,
                Ok(Next::Wait) => self.wait().await,
                Ok(Next::WaitHeld) => self.wait_held().await,
                Err(error) => match self.recover(error).await {
                    true => self.shared.pause(RETRY).await,
                    false => break,
                },
            };
            if !more {
                break;
            }
        }
    }

    #[tracing::instrument(name = "launch", skip_all)]
    async fn launch(&mut self, profile: Profile) {
        tracing::info!(driver = profile.agent.driver, "the run begins");
        crate::barrier!("launch.1.placing");
        let shared = Arc::clone(&self.shared);
        // An agent that is just being put to sleep or given a new place is not to be launched into.
        let _held = shared.places.hold(self.run.agent_id).await;
        if let Ok(Run {
            stop: Some(stop), ..
        }) = shared.parts.store.run(self.run.id).await
        {
            let why = format!("stopped by {} before its program was started", stop.by);
            self.launch_error = Some(Error::unavailable(why));
            return;
        }
        match self.order(profile).await {
            Ok(order) => {
                if let Err(error) = self.shared.parts.runtime.launch(&order).await {
                    tracing::warn!(error = chain(&error), "the launch failed");
                    self.launch_error = Some(error);
                }
            }
            Err(error) => self.launch_error = Some(error),
        }
    }

    /// Compares what the runtime sees with what the store has, and moves the store on.
    async fn look(&mut self) -> Result<Next> {
        let parts = &self.shared.parts;
        self.run = parts.store.run(self.run.id).await?;
        if self.run.state.is_ended() {
            return Ok(Next::Over);
        }
        match parts.runtime.inspect(self.run.id).await? {
            RunStatus::Running(process) => {
                self.age = process.age;
                if self.started_at.is_none() {
                    self.note_start(process.started_at).await?;
                }
                let taken = self.take_in(None).await?;
                let (state, source) = self.state_of(&process, taken.resting);
                self.say(state, source).await;
                if process.answers && self.run.stop.is_none() {
                    self.deliver().await?;
                    if taken.resting {
                        self.let_end().await?;
                    }
                }
                self.stop_if_wanted().await
            }
            RunStatus::Ended { end, started_at } => {
                let taken = self.take_in(Some(&end)).await?;
                self.deliver().await?;
                // What came too late for it does not count.
                self.run = self.shared.parts.store.run(self.run.id).await?;
                self.finish(&end, taken, started_at).await?;
                Ok(Next::Over)
            }
            RunStatus::Unstoppable(pids) => self.hold(&pids).await,
        }
    }

    /// What an agent with a live run does, and how that is known. It never works while a person is asked, nor once it has
    /// stopped for a person who interrupted it.
    fn state_of(&self, process: &RunProcess, resting: bool) -> (AgentState, &'static str) {
        let run = self.run.id;
        if !process.answers {
            return (AgentState::Unresponsive { run: Some(run) }, "lock");
        }
        if self.run.waits.open_asks > 0 {
            return (AgentState::Waiting { run, detail: None }, "stream");
        }
        let interruption = self.run.waits.interrupted.as_ref();
        if let Some(interruption) = interruption.filter(|_| resting) {
            let detail = interruption.setback().detail;
            return (AgentState::Waiting { run, detail }, "stream");
        }
        match &self.run.waits.parked {
            Some(Parking { cause, until }) => {
                let state = AgentState::Parked {
                    run: Some(run),
                    cause: cause.clone(),
                    until: *until,
                };
                (state, "stream")
            }
            None => (AgentState::Working { run }, "host"),
        }
    }

    /// Notes what the agent does, if that is news or the evidence gets old.
    async fn say(&mut self, state: AgentState, source: &str) {
        let now = self.shared.parts.clock.now();
        let fresh = self
            .said
            .as_ref()
            .is_some_and(|(said, at)| *said == state && now >= *at && now.since(*at) < EVIDENCE);
        if !fresh {
            self.shared
                .observe_agent(self.run.agent_id, state.clone(), source)
                .await;
            self.said = Some((state, now));
        }
    }

    /// The start of the engine need not wait for this run any longer.
    fn looked(&mut self) {
        if let Some(first_look) = self.first_look.take() {
            first_look.notify_one();
        }
    }

    async fn note_start(&mut self, started_at: Timestamp) -> Result<()> {
        let parts = &self.shared.parts;
        parts
            .store
            .mark_started(self.run.id, self.run.token, started_at, parts.clock.now())
            .await?;
        self.started_at = Some(started_at);
        tracing::info!("its program runs");
        Ok(())
    }

    /// Takes in everything that is there now.
    #[tracing::instrument(name = "take_in", level = "debug", skip_all)]
    async fn take_in(&mut self, end: Option<&RunEnd>) -> Result<Taken> {
        let parts = &self.shared.parts;
        loop {
            let from = self.run.checkpoint.clone();
            let batch = parts.runtime.read(self.run.id, &from, end).await?;
            if batch.checkpoint != from {
                let intake = Intake::new(from, batch.checkpoint, batch.observations);
                crate::barrier!("intake.read");
                parts
                    .store
                    .take_in(self.run.id, self.run.token, intake, parts.clock.now())
                    .await?;
                crate::barrier!("intake.committed");
                // What was taken in may have changed what the run waits for.
                self.run = parts.store.run(self.run.id).await?;
            }
            if batch.complete {
                return Ok(Taken {
                    reported: batch.reported,
                    last_words: batch.last_words,
                    resting: batch.resting,
                });
            }
        }
    }

    async fn stop_if_wanted(&mut self) -> Result<Next> {
        let parts = &self.shared.parts;
        let is_out_of_time =
            !self.run.waits.are_for_person() && self.time_left().is_some_and(|left| left.is_zero());
        if self.run.stop.is_none() && is_out_of_time {
            let intent = StopIntent {
                reason: Reason::Timeout,
                by: "its time limit".to_owned(),
                at: parts.clock.now(),
            };
            self.run = parts
                .store
                .mark_stopping(self.run.id, self.run.token, intent)
                .await?;
        }
        if self.run.stop.is_none() || self.stopped {
            return Ok(Next::Wait);
        }
        // What is to come may take as long as an agent wants it to; the start of the engine is not to wait for that.
        self.looked();
        crate::barrier!("run.stopping");
        let parts = &self.shared.parts;
        match parts
            .runtime
            .stop(self.run.id, self.shared.limits().stop_grace)
            .await?
        {
            Stopped::Empty => {
                self.stopped = true;
                Ok(Next::Look)
            }
            Stopped::Unstoppable(pids) => self.hold(&pids).await,
        }
    }

    /// How much of the task's time was left at the last look: it runs from the gate, also over an adoption, but not while
    /// a person is asked, or is to say how it goes on.
    fn time_left(&self) -> Option<Duration> {
        let timeout = self.task.spec.timeout?;
        let started_at = self.started_at?;
        let now = self.shared.parts.clock.now();
        let used = self.age.unwrap_or_else(|| now.since(started_at));
        Some(timeout.saturating_sub(used.saturating_sub(self.run.waits.total(now))))
    }

    async fn hold(&mut self, pids: &[u32]) -> Result<Next> {
        let parts = &self.shared.parts;
        let detail = format!("processes {pids:?} of run {} can't be ended", self.run.id);
        tracing::error!("{detail}");
        parts
            .store
            .mark_held(
                self.run.id,
                self.run.token,
                Some(Reason::Unstoppable),
                parts.clock.now(),
            )
            .await?;
        self.shared
            .problems
            .set(&format!("held {}", self.run.id), detail.as_str());
        self.say(AgentState::Failed { detail }, "host").await;
        Ok(Next::WaitHeld)
    }

    #[tracing::instrument(name = "finish", skip_all)]
    async fn finish(
        &mut self,
        end: &RunEnd,
        taken: Taken,
        started_at: Option<Timestamp>,
    ) -> Result<()> {
        let parts = &self.shared.parts;
        // Only a record of the end comes from a host that is up. Else the agents' reconciler looks what there is.
        let (state, source) = match end {
            RunEnd::Exited(_) => (AgentState::Idle, "exit_record"),
            RunEnd::NeverStarted(_) => (AgentState::Starting, "gate"),
            RunEnd::Gone => (AgentState::Starting, "lock"),
        };
        let end = self.explain(end);
        let ending = Ending {
            end: &end,
            reported: &taken.reported,
            last_words: taken.last_words.as_deref(),
            interrupted: self.run.waits.interrupted.as_ref(),
        };
        let outcome = judge(&ending, self.run.stop.as_ref());
        let report = match &taken.reported {
            Reported::Whole(report) if report.conclusive => Some(report),
            _ => None,
        };
        let now = parts.clock.now();
        let task = parts.store.task(self.task.id).await?;
        let finish = Finish {
            retry_at: retry::next_attempt(&task, &self.run, &outcome.verdict, now),
            started_at: self.started_at.or(started_at),
            usage: report.map(|report| report.usage),
            cost_usd: report.and_then(|report| report.cost_usd),
            outcome,
        };
        let (state, source) = match &finish.outcome.verdict {
            // Its provider would refuse the next task as well.
            Verdict::Refused {
                cause,
                lost_session: false,
                ..
            } => {
                let state = AgentState::Parked {
                    run: None,
                    cause: cause.clone(),
                    until: finish.retry_at,
                };
                (state, "stream")
            }
            _ => (state, source),
        };
        if matches!(state, AgentState::Parked { .. }) {
            // Before its task waits again, so that nothing else is started in between.
            self.say(state.clone(), source).await;
        }
        if finish.outcome.verdict.setback().reason == Reason::LeaseLost
            && finish.outcome.verdict != Verdict::Succeeded
        {
            // How it goes on with the task is for whoever has it now to tell.
            super::sync::give_up(&self.shared, self.task.id, Duration::ZERO).await?;
        }
        crate::barrier!("launch.8.finishing");
        let exit_code = finish.outcome.exit_code;
        let reason = match &finish.outcome.verdict {
            Verdict::Succeeded => None,
            verdict => Some(verdict.setback().reason.as_str()),
        };
        let task = self
            .shared
            .parts
            .store
            .finish(self.run.id, self.run.token, finish, now)
            .await?;
        crate::barrier!("launch.8.finished");
        tracing::info!(task_state = %task.state.name(), reason, exit_code, "the run is over");
        self.shared.problems.clear(&format!("held {}", self.run.id));
        self.say(state, source).await;
        Ok(())
    }

    /// A run that never started because its launch failed says why it failed. One that was seen at work did start,
    /// whatever is left of its traces: done again unasked, it would be done twice.
    fn explain(&self, end: &RunEnd) -> RunEnd {
        match (end, &self.launch_error) {
            (RunEnd::NeverStarted(_), _) if self.started_at.is_some() => RunEnd::Gone,
            (RunEnd::NeverStarted(_), Some(error)) => {
                RunEnd::NeverStarted(Setback::new(Reason::NotStarted, chain(error)))
            }
            _ => end.clone(),
        }
    }

    /// Waits for something that is worth another look. Returns false when the engine ends.
    async fn wait(&self) -> bool {
        let parts = &self.shared.parts;
        let deadline = async {
            match self.time_left() {
                Some(left) if self.run.stop.is_none() && !self.run.waits.are_for_person() => {
                    parts.clock.sleep(left).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.stop.cancelled() => false,
            () = self.wake.notified() => true,
            () = deadline => true,
            changed = parts.runtime.changed(self.run.id) => match changed {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "can't watch the run");
                    self.shared.pause(RETRY).await
                }
            },
        }
    }

    async fn wait_held(&mut self) -> bool {
        // What could not be ended is tried again, since nothing tells when a process leaves an uninterruptible call.
        self.stopped = false;
        tokio::select! {
            () = self.wake.notified() => true,
            more = self.shared.pause(RETRY) => more,
        }
    }

    /// What a failure to look after the run is about.
    fn trouble(&self) -> String {
        format!("run {}", self.run.id)
    }

    /// Decides what an error means. Returns whether the actor goes on.
    async fn recover(&mut self, error: Error) -> bool {
        if error.kind() != ErrorKind::Superseded {
            tracing::warn!(error = chain(&error), "looking after the run failed");
            // What is shown of the run may be old until this has passed.
            self.shared.problems.set(
                &self.trouble(),
                format!(
                    "run {} can't be looked after: {}",
                    self.run.id,
                    chain(&error)
                ),
            );
            return true;
        }
        // Either this run's claim or this daemon is no longer the current one; the store knows which.
        match self.shared.parts.store.run(self.run.id).await {
            Ok(run) if run.state.is_ended() => false,
            Ok(run) if run.token == self.run.token && run.checkpoint != self.run.checkpoint => true,
            Ok(_) => {
                self.shared.superseded(&error);
                false
            }
            Err(_) => true,
        }
    }
}
