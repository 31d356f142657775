//! Everything that the holder of a run writes about it.

use ccm_core::event::EventKind;
use ccm_core::id::{FencingToken, RunId};
use ccm_core::input::{InputBody, InputState};
use ccm_core::run::{Observation, Run, RunState, Verdict};
use ccm_core::store::{Finish, Intake};
use ccm_core::task::{StopIntent, Task, TaskState};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};
use serde_json::json;

use super::note_stop;
use crate::tasks::{ending, enter};
use crate::writer::{About, Change, Needs, Tracked, Work};
use crate::{asks, inputs};

fn superseded(why: &str) -> Error {
    Error::new(ErrorKind::Superseded, why)
}

/// The run, if the caller holds the task and the run has not ended.
pub(crate) fn held_by(
    work: &mut Work,
    id: RunId,
    token: FencingToken,
) -> Result<&mut Tracked<Run>> {
    let run = work.run(id)?.get();
    let (task, own) = (run.task_id, run.token);
    if own != token || work.task(task)?.get().token != token {
        return Err(superseded("another claim of the task counts now"));
    }
    let row = work.run(id)?;
    if row.get().state.is_ended() {
        return Err(superseded("the run has ended"));
    }
    Ok(row)
}

/// Puts the end of a lease further away.
pub(crate) struct Renew {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) until: Timestamp,
}

impl Change for Renew {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = held_by(work, self.run, self.token)?;
        // A renewal that was overtaken by a later one must not take anything back.
        if row.get().lease_until < Some(self.until) {
            row.change().lease_until = Some(self.until);
        }
        Ok(())
    }
}

/// Notes that the program was started.
pub(crate) struct MarkStarted {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) started_at: Timestamp,
    pub(crate) now: Timestamp,
}

impl Change for MarkStarted {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = held_by(work, self.run, self.token)?;
        if row.get().state != RunState::Launching {
            return Ok(());
        }
        let run = row.change();
        run.state = RunState::Running {
            started_at: self.started_at,
            held: None,
        };
        let about = About::run(run);
        let data = json!({ "started_at": self.started_at });
        work.event(self.now, EventKind::RunStarted, about, &data);
        Ok(())
    }
}

/// Notes a decision to end the run.
pub(crate) struct MarkStopping {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) intent: StopIntent,
}

impl Change for MarkStopping {
    type Answer = Run;

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<Run> {
        let task = held_by(work, self.run, self.token)?.get().task_id;
        let next = work
            .task(task)?
            .get()
            .task
            .state
            .stop(self.intent.clone())?;
        note_stop(work, task, next, self.intent.at)?;
        Ok(work.run(self.run)?.get().clone())
    }
}

/// Notes that something of the run can't be ended, or lifts that.
pub(crate) struct MarkHeld {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) held: Option<Reason>,
    pub(crate) now: Timestamp,
}

impl Change for MarkHeld {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = held_by(work, self.run, self.token)?;
        let RunState::Running { started_at, held } = row.get().state else {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Run),
                "the run's program was not started yet, so there is nothing to hold",
            ));
        };
        if held == self.held {
            return Ok(());
        }
        let run = row.change();
        run.state = RunState::Running {
            started_at,
            held: self.held,
        };
        let about = About::run(run);
        let data = json!({ "reason": self.held });
        work.event(self.now, EventKind::RunHeld, about, &data);
        Ok(())
    }
}

/// Takes in a part of the run's output.
pub(crate) struct TakeIn {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) intake: Intake,
    pub(crate) now: Timestamp,
}

impl Change for TakeIn {
    type Answer = ();

    fn weight(&self) -> usize {
        let asked = |seen: &Observation| match seen {
            Observation::Asked { question, .. } => question.detail.len() + question.payload.len(),
            _ => 0,
        };
        1 + self.intake.observations.iter().map(asked).sum::<usize>() / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
        for seen in &self.intake.observations {
            match seen {
                Observation::Asked { request_id, .. } | Observation::Withdrawn { request_id } => {
                    needs.request(self.run, request_id);
                }
                Observation::MessageTaken { .. } | Observation::AnswerTaken { .. } => {
                    needs.open_inputs_of(self.run);
                }
                _ => {}
            }
        }
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = held_by(work, self.run, self.token)?;
        if row.get().checkpoint != self.intake.from {
            return Err(superseded("this part of the output was taken in already"));
        }
        if self.intake.asked() != self.intake.ask_ids.len() {
            return Err(Error::invalid(
                "a part of the output needs an id for each of its asks",
            ));
        }
        let run = row.change();
        run.checkpoint = self.intake.to.clone();
        for seen in &self.intake.observations {
            run.note(seen);
        }
        let run = run.clone();
        let about = About::run(&run);
        self.asks_and_inputs(work, &run)?;
        for seen in &self.intake.observations {
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
            work.event(self.now, kind, about, &data);
        }
        Ok(())
    }
}

impl TakeIn {
    /// What was seen means for what the run asks and what it was given.
    fn asks_and_inputs(&self, work: &mut Work, run: &Run) -> Result<()> {
        let now = self.now;
        let mut ids = self.intake.ask_ids.iter();
        for seen in &self.intake.observations {
            match seen {
                Observation::Asked {
                    request_id,
                    question,
                } => {
                    // There is one for each, as was looked at before anything was changed.
                    if let Some(id) = ids.next() {
                        asks::open(work, run, *id, (request_id, question), now)?;
                    }
                }
                Observation::Withdrawn { request_id } => {
                    asks::void(work, run.id, now, |ask| ask.request_id == *request_id)?;
                }
                Observation::MessageTaken { input_id } => {
                    inputs::learn(work, run.id, InputState::Delivered, now, |input| {
                        input.id == *input_id
                    })?;
                }
                Observation::AnswerTaken { request_id } => {
                    inputs::learn(
                        work,
                        run.id,
                        InputState::Delivered,
                        now,
                        |input| matches!(&input.body, InputBody::Answer { request_id: of, .. } if of == request_id),
                    )?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Commits the run's outcome.
pub(crate) struct End {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) finish: Finish,
    pub(crate) now: Timestamp,
}

impl Change for End {
    type Answer = Task;

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
        needs.open_asks_of(self.run);
        needs.open_inputs_of(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<Task> {
        let run = work.run(self.run)?.get();
        let (id, own, ended) = (run.task_id, run.token, run.state.is_ended());
        let about = About::run(run);
        let record = work.task(id)?.get();
        let current = record.token == own;
        if !current || own != self.token {
            // Only the run whose claim was overtaken is over by this; a wrong token must not end somebody else's run.
            if !current && !ended {
                self.end_run(work, Verdict::Superseded)?;
            }
            return Err(superseded("another claim of the task counts now"));
        }
        if ended {
            return Ok(record.task.clone());
        }
        let verdict = &self.finish.outcome.verdict;
        // Whoever has the lease now decides whether it is tried again.
        let again = self.finish.retry_at.is_some() && !record.task.yielded;
        let next = record.task.state.finish(verdict, again, self.now)?;
        self.end_run(work, verdict.clone())?;
        let cost_usd = work.run(self.run)?.get().cost_usd;
        let task = enter(work, id, next, self.now, |record| {
            self.settle(&mut record.task, cost_usd);
        })?;
        let (kind, data) = ending(&task);
        work.event(self.now, kind, about, &data);
        Ok(task)
    }
}

impl End {
    /// What the outcome means for the task beside its state.
    fn settle(&self, task: &mut Task, cost_usd: Option<f64>) {
        if self.finish.outcome.verdict.is_no_attempt() {
            task.attempts = task.attempts.saturating_sub(1);
            task.false_starts += 1;
        } else {
            task.false_starts = 0;
        }
        if let Some(cost) = cost_usd {
            *task.cost_usd.get_or_insert(0.0) += cost;
        }
        if let TaskState::Queued { .. } = task.state {
            task.due_at = self.finish.retry_at;
        } else {
            task.due_at = None;
            task.result.clone_from(&self.finish.outcome.result);
        }
    }

    fn end_run(&self, work: &mut Work, verdict: Verdict) -> Result<()> {
        asks::void(work, self.run, self.now, |_| true)?;
        inputs::end_all(work, self.run, self.now)?;
        let run = work.run(self.run)?.change();
        let mut outcome = self.finish.outcome.clone();
        outcome.verdict = verdict;
        let (state, cause) = match &outcome.verdict {
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
            "exit_code": outcome.exit_code,
        });
        let noted = match run.state {
            RunState::Running { started_at, .. } => Some(started_at),
            _ => None,
        };
        run.state = RunState::Ended {
            started_at: noted.or(self.finish.started_at),
            finished_at: self.now,
            outcome,
        };
        run.usage = self.finish.usage.unwrap_or(run.usage);
        run.cost_usd = self.finish.cost_usd.or(run.cost_usd);
        run.waits.parked = None;
        run.waits.go_on(self.now);
        run.inputs.closed = true;
        let about = About::run(run);
        work.event(self.now, EventKind::RunEnded, about, &data);
        Ok(())
    }
}
