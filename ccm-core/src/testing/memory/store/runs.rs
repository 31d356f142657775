//! Claims and everything that is written about a run.

use serde_json::json;

use super::{About, State, touch};
use crate::event::EventKind;
use crate::id::{FencingToken, RunId};
use crate::reason::Reason;
use crate::run::{Checkpoint, Inputs, Observation, Run, RunState, Usage, Verdict, Waits};
use crate::store::{Claim, Claimed, Finish, Intake};
use crate::task::{StopIntent, Task, TaskState};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

fn superseded(what: &str) -> Error {
    Error::new(ErrorKind::Superseded, what)
}

impl State {
    pub(super) fn claim(&mut self, claim: Claim) -> Result<Claimed> {
        let row = self.tasks.get(&claim.task);
        let row = row.ok_or_else(|| Error::no_task(claim.task))?;
        let next = row.task.state.claim(claim.run)?;
        if !self.is_ready(&row.task, claim.now) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                "the task is not due yet, waits for another one or wants another machine",
            ));
        }
        if self.runs.contains_key(&claim.run) {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Run),
                format!("there is a run {} already", claim.run),
            ));
        }
        let agent = self.agents.get(&claim.agent);
        let wish = agent.map(|agent| agent.claim(format!("task {}", claim.task), claim.now));
        let wish = wish.transpose()?.flatten();
        let row = self.task_row(claim.task)?;
        row.token.0 += 1;
        let token = row.token;
        let task = &mut row.task;
        task.state = next;
        task.due_at = None;
        task.attempts += 1;
        task.latest_run = Some(claim.run);
        touch(task, claim.now);
        let task = task.clone();
        let run = Run {
            id: claim.run,
            task_id: task.id,
            project_id: task.project_id,
            agent_id: claim.agent,
            system_id: claim.system,
            attempt: task.attempts,
            token,
            lease_until: claim.lease_until,
            state: RunState::Launching,
            stop: None,
            checkpoint: Checkpoint::default(),
            session_id: None,
            usage: Usage::default(),
            cost_usd: None,
            waits: Waits::default(),
            inputs: Inputs::default(),
            claimed_at: claim.now,
        };
        self.runs.insert(run.id, run.clone());
        if let Some(project) = self.projects.get_mut(&task.project_id) {
            project.last_started = Some(claim.now);
        }
        if let Some(wish) = wish {
            self.decide(claim.agent, wish);
        }
        let data = json!({ "attempt": run.attempt });
        let about = About::run(&run);
        self.event(claim.now, EventKind::RunCreated, about, data.clone());
        self.event(claim.now, EventKind::TaskStarted, About::run(&run), data);
        Ok(Claimed { task, run })
    }

    /// The run, if `token` is the current one and the run has not ended.
    pub(super) fn current(&mut self, id: RunId, token: FencingToken) -> Result<&mut Run> {
        let run = self.runs.get(&id).ok_or_else(|| Error::no_run(id))?;
        let row = self.tasks.get(&run.task_id);
        if row.is_none_or(|row| row.token != token) || run.token != token {
            return Err(superseded("the claim is no longer the current one"));
        }
        if run.state.is_ended() {
            return Err(superseded("the run has ended"));
        }
        self.runs.get_mut(&id).ok_or_else(|| Error::no_run(id))
    }

    pub(super) fn mark_started(
        &mut self,
        run: RunId,
        token: FencingToken,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let run = self.current(run, token)?;
        if run.state == RunState::Launching {
            run.state = RunState::Running {
                started_at,
                held: None,
            };
            let about = About::run(run);
            let data = json!({ "started_at": started_at });
            self.event(now, EventKind::RunStarted, about, data);
        }
        Ok(())
    }

    pub(super) fn mark_stopping(
        &mut self,
        run: RunId,
        token: FencingToken,
        intent: StopIntent,
    ) -> Result<Run> {
        let task = self.current(run, token)?.task_id;
        let now = intent.at;
        let next = self.task_row(task)?.task.state.stop(intent)?;
        let TaskState::Running { stop, .. } = &next else {
            return Err(Error::internal("a stop led out of running"));
        };
        let kept = self.current(run, token)?;
        if kept.stop == *stop {
            return Ok(kept.clone());
        }
        kept.stop.clone_from(stop);
        let kept = kept.clone();
        let task = &mut self.task_row(task)?.task;
        task.state = next;
        touch(task, now);
        let data = kept.stop.as_ref().map_or(
            json!({}),
            |stop| json!({ "reason": stop.reason, "by": stop.by }),
        );
        self.event(now, EventKind::TaskStopping, About::run(&kept), data);
        Ok(kept)
    }

    pub(super) fn mark_held(
        &mut self,
        run: RunId,
        token: FencingToken,
        held: Option<Reason>,
        now: Timestamp,
    ) -> Result<()> {
        let run = self.current(run, token)?;
        let RunState::Running { held: kept, .. } = &mut run.state else {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Run),
                "the run has not started",
            ));
        };
        if *kept != held {
            *kept = held;
            let about = About::run(run);
            self.event(now, EventKind::RunHeld, about, json!({ "reason": held }));
        }
        Ok(())
    }

    pub(super) fn take_in(
        &mut self,
        run: RunId,
        token: FencingToken,
        intake: Intake,
        now: Timestamp,
    ) -> Result<()> {
        let run = self.current(run, token)?;
        if run.checkpoint != intake.from {
            return Err(superseded("another taking-in came first"));
        }
        if intake.asked() != intake.ask_ids.len() {
            return Err(Error::invalid(
                "a part of the output needs an id for each of its asks",
            ));
        }
        run.checkpoint = intake.to.clone();
        for seen in &intake.observations {
            run.note(seen);
        }
        let run = run.clone();
        self.observe_run(&run, &intake, now)?;
        for seen in intake.observations {
            let (kind, data) = match seen {
                Observation::Output { stream, from, to } => (
                    EventKind::RunOutput,
                    json!({ "stream": stream, "from": from, "to": to }),
                ),
                // These have events of their own.
                Observation::Asked { .. }
                | Observation::Withdrawn { .. }
                | Observation::MessageTaken { .. }
                | Observation::AnswerTaken { .. } => continue,
                other => (EventKind::RunObserved, json!(other)),
            };
            self.event(now, kind, About::run(&run), data);
        }
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        id: RunId,
        token: FencingToken,
        finish: Finish,
        now: Timestamp,
    ) -> Result<Task> {
        let run = self.runs.get(&id).ok_or_else(|| Error::no_run(id))?;
        let (task_id, about) = (run.task_id, About::run(run));
        let row = self.tasks.get(&task_id);
        let row = row.ok_or_else(|| Error::no_task(run.task_id))?;
        let holder = row.task.latest_run == Some(id);
        if token != row.token || token != run.token || !holder {
            // A run whose own claim still counts is not ended by a caller with a wrong token.
            if !holder && !run.state.is_ended() {
                self.end_run(id, &finish, Verdict::Superseded, now)?;
            }
            return Err(superseded("the claim is no longer the current one"));
        }
        if run.state.is_ended() {
            return Ok(row.task.clone());
        }
        let verdict = finish.outcome.verdict.clone();
        // Whoever has the lease now decides whether it is tried again.
        let again = finish.retry_at.is_some() && !row.task.yielded;
        let next = row.task.state.finish(&verdict, again, now)?;
        self.end_run(id, &finish, verdict.clone(), now)?;
        let cost_usd = self.runs.get(&id).and_then(|run| run.cost_usd);
        let task = &mut self.task_row(task_id)?.task;
        task.state = next;
        if verdict.is_no_attempt() {
            task.attempts = task.attempts.saturating_sub(1);
            task.false_starts += 1;
        } else {
            task.false_starts = 0;
        }
        task.due_at = match task.state {
            TaskState::Queued { .. } => finish.retry_at,
            _ => None,
        };
        if task.state.name().is_final() {
            task.result = finish.outcome.result;
        }
        if let Some(cost) = cost_usd {
            *task.cost_usd.get_or_insert(0.0) += cost;
        }
        touch(task, now);
        let task = task.clone();
        let (kind, data) = task_end(&task);
        self.event(now, kind, about, data);
        Ok(task)
    }

    fn end_run(
        &mut self,
        id: RunId,
        finish: &Finish,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<()> {
        self.end_asks_and_inputs(id, now)?;
        let run = self.runs.get_mut(&id).ok_or_else(|| Error::no_run(id))?;
        let noted = match run.state {
            RunState::Running { started_at, .. } => Some(started_at),
            _ => None,
        };
        let (state, cause) = match &verdict {
            Verdict::Succeeded => ("succeeded", None),
            Verdict::Cancelled => ("cancelled", None),
            Verdict::Superseded => ("superseded", None),
            Verdict::Lost { cause } => ("lost", Some(cause)),
            Verdict::Failed { cause }
            | Verdict::NotStarted { cause }
            | Verdict::Refused { cause, .. } => ("failed", Some(cause)),
        };
        let data = json!({
            "state": state,
            "reason": cause.map(|cause| cause.reason),
            "detail": cause.and_then(|cause| cause.detail.as_deref()),
            "exit_code": finish.outcome.exit_code,
        });
        let mut outcome = finish.outcome.clone();
        outcome.verdict = verdict;
        run.state = RunState::Ended {
            started_at: noted.or(finish.started_at),
            finished_at: now,
            outcome,
        };
        run.usage = finish.usage.unwrap_or(run.usage);
        run.cost_usd = finish.cost_usd.or(run.cost_usd);
        run.waits.parked = None;
        run.waits.go_on(now);
        run.inputs.closed = true;
        let about = About::run(run);
        self.event(now, EventKind::RunEnded, about, data);
        Ok(())
    }
}

fn task_end(task: &Task) -> (EventKind, serde_json::Value) {
    match &task.state {
        TaskState::Succeeded { .. } => {
            let result = task.result.as_deref().unwrap_or_default();
            let start: String = result.chars().take(1000).collect();
            (EventKind::TaskSucceeded, json!({ "result": start }))
        }
        TaskState::Failed { cause, .. } => (
            EventKind::TaskFailed,
            json!({ "reason": cause.reason, "detail": cause.detail }),
        ),
        TaskState::Cancelled { by, .. } => (EventKind::TaskCancelled, json!({ "by": by })),
        TaskState::Queued { last } => (
            EventKind::TaskRequeued,
            json!({
                "reason": last.as_ref().map(|last| last.reason),
                "detail": last.as_ref().and_then(|last| last.detail.as_deref()),
                "not_before": task.due_at,
            }),
        ),
        TaskState::Running { .. } => (EventKind::TaskStarted, json!({})),
    }
}
