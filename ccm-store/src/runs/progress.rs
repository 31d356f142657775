//! Everything that the holder of a run writes about it.

use ccm_core::event::EventKind;
use ccm_core::id::{FencingToken, RunId};
use ccm_core::run::{Observation, Run, RunState, Verdict};
use ccm_core::store::{Finish, Intake};
use ccm_core::task::{StopIntent, Task, TaskState};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};
use serde_json::json;

use super::note_stop;
use crate::tasks::{ending, enter};
use crate::writer::{About, Change, Needs, Tracked, Work};

fn superseded(why: &str) -> Error {
    Error::new(ErrorKind::Superseded, why)
}

/// The run, if the caller holds the task and the run has not ended.
fn held_by(work: &mut Work, id: RunId, token: FencingToken) -> Result<&mut Tracked<Run>> {
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

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = held_by(work, self.run, self.token)?;
        if row.get().checkpoint != self.intake.from {
            return Err(superseded("this part of the output was taken in already"));
        }
        let run = row.change();
        run.checkpoint = self.intake.to.clone();
        for seen in &self.intake.observations {
            if let Observation::Session { session_id } = seen {
                run.session_id = Some(session_id.clone());
            }
        }
        let about = About::run(run);
        for seen in &self.intake.observations {
            let (kind, data) = match seen {
                Observation::Output { stream, from, to } => (
                    EventKind::RunOutput,
                    json!({ "stream": stream, "from": from, "to": to }),
                ),
                other => (EventKind::RunObserved, json!(other)),
            };
            work.event(self.now, kind, about, &data);
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
        let again = self.finish.retry_at.is_some();
        let next = record.task.state.finish(verdict, again, self.now)?;
        self.end_run(work, verdict.clone())?;
        let task = enter(work, id, next, self.now, |record| {
            self.settle(&mut record.task);
        })?;
        let (kind, data) = ending(&task);
        work.event(self.now, kind, about, &data);
        Ok(task)
    }
}

impl End {
    /// What the outcome means for the task beside its state.
    fn settle(&self, task: &mut Task) {
        if matches!(self.finish.outcome.verdict, Verdict::NotStarted { .. }) {
            task.attempts = task.attempts.saturating_sub(1);
            task.false_starts += 1;
        } else {
            task.false_starts = 0;
        }
        if let Some(cost) = self.finish.cost_usd {
            task.cost_usd = Some(task.cost_usd.unwrap_or(0.0) + cost);
        }
        if let TaskState::Queued { .. } = task.state {
            task.due_at = self.finish.retry_at;
        } else {
            task.due_at = None;
            task.result.clone_from(&self.finish.outcome.result);
        }
    }

    fn end_run(&self, work: &mut Work, verdict: Verdict) -> Result<()> {
        let run = work.run(self.run)?.change();
        let mut outcome = self.finish.outcome.clone();
        outcome.verdict = verdict;
        let (state, cause) = match &outcome.verdict {
            Verdict::Succeeded => ("succeeded", None),
            Verdict::Cancelled => ("cancelled", None),
            Verdict::Superseded => ("superseded", None),
            Verdict::Lost { cause } => ("lost", Some(cause)),
            Verdict::Failed { cause } | Verdict::NotStarted { cause } => ("failed", Some(cause)),
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
        run.usage = self.finish.usage;
        run.cost_usd = self.finish.cost_usd;
        let about = About::run(run);
        work.event(self.now, EventKind::RunEnded, about, &data);
        Ok(())
    }
}
