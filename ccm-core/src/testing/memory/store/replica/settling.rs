//! What documents of other machines do here.

use serde_json::json;

use super::DocumentState;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::reason::Reason;
use crate::store::{Act, CreateTasks, LeaseRecord, Settle, TaskEdit};
use crate::sync::Kind;
use crate::task::{Setback, StopIntent, TaskState};
use crate::testing::memory::store::{About, State, touch};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

impl State {
    pub(super) fn settle_all(&mut self, settles: Vec<Settle>) -> Result<()> {
        let before = (settles.len() > 1).then(|| self.clone());
        let settled = settles.into_iter().try_for_each(|one| self.settle_one(one));
        if let (Err(_), Some(before)) = (&settled, before) {
            *self = before;
        }
        settled
    }

    fn settle_one(&mut self, settle: Settle) -> Result<()> {
        let key = (settle.kind, settle.id);
        let held = self.kept()?.documents.get(&key);
        let Some(held) = held.filter(|held| held.place == settle.place) else {
            return Err(Error::new(
                ErrorKind::Superseded,
                "the document changed meanwhile",
            ));
        };
        let open = held.state != DocumentState::Settled;
        self.settling = true;
        let done = self.act(settle.act, open, settle.now);
        self.settling = false;
        done?;
        if let Some(held) = self.kept()?.documents.get_mut(&key) {
            held.state = DocumentState::Settled;
        }
        Ok(())
    }

    /// Does it; what could not be done twice only if the document was not dealt with yet.
    fn act(&mut self, act: Act, open: bool, now: Timestamp) -> Result<()> {
        match act {
            Act::Create {
                request,
                hold,
                lease,
            } => self.accept_shared(*request, hold, lease, now),
            Act::Refuse { request, cause } => self.refuse_shared(*request, cause, now),
            Act::Yield { task } => self.yield_task(task, now),
            Act::Edit(edit) if open => self.edit_anyway(*edit),
            Act::Cancel { task, by } if open => match self.task_row(task)?.task.state {
                TaskState::Succeeded { .. } | TaskState::Failed { .. } => Ok(()),
                _ => self.cancel(task, &by, now).map(drop),
            },
            Act::Retry { task, by } if open => {
                let ended = self.task_row(task)?.task.state.name().is_final();
                match ended {
                    true => self.retry(task, &by, now).map(drop),
                    false => Ok(()),
                }
            }
            Act::Answer { ask, reply } if open => self.answer(ask, *reply).map(drop),
            Act::Nothing
            | Act::Edit(_)
            | Act::Cancel { .. }
            | Act::Retry { .. }
            | Act::Answer { .. } => Ok(()),
        }
    }

    fn accept_shared(
        &mut self,
        request: CreateTasks,
        hold: Option<Setback>,
        lease: Option<LeaseRecord>,
        now: Timestamp,
    ) -> Result<()> {
        let id = only(&request)?;
        let known = self.tasks.get(&id).map(|row| row.task.yielded);
        match known {
            None => {
                let max_queued = u64::MAX;
                self.create(CreateTasks {
                    max_queued,
                    key: None,
                    ..request
                })?;
                self.task_row(id)?.task.hold = hold;
            }
            // It is this machine's again.
            Some(true) => {
                let again = self.task_row(id)?.task.state.retry();
                if again.is_err() {
                    return Err(Error::new(
                        ErrorKind::WrongState(Noun::Task),
                        "the run of the lease before has not ended yet",
                    ));
                }
                self.task_row(id)?.task.yielded = false;
                if let Err(error) = self.retry(id, &request.created_by, now) {
                    self.task_row(id)?.task.yielded = true;
                    return Err(error);
                }
            }
            Some(false) => {}
        }
        if let Some(lease) = lease {
            self.kept()?.leases.insert(id, lease);
        }
        self.reopen_wishes(id);
        Ok(())
    }

    fn refuse_shared(
        &mut self,
        request: CreateTasks,
        cause: Setback,
        now: Timestamp,
    ) -> Result<()> {
        let id = only(&request)?;
        if self.tasks.contains_key(&id) {
            return Ok(());
        }
        let max_queued = u64::MAX;
        self.create(CreateTasks {
            max_queued,
            key: None,
            ..request
        })?;
        self.fail(id, cause, now)
    }

    /// Fails a task that waits.
    fn fail(&mut self, id: TaskId, cause: Setback, now: Timestamp) -> Result<()> {
        let task = &mut self.task_row(id)?.task;
        task.state = TaskState::Failed {
            run: None,
            cause: cause.clone(),
            at: now,
        };
        task.due_at = None;
        touch(task, now);
        let about = About::task(task);
        let data = json!({ "reason": cause.reason, "detail": cause.detail });
        self.event(now, EventKind::TaskFailed, about, data);
        Ok(())
    }

    fn edit_anyway(&mut self, edit: TaskEdit) -> Result<()> {
        let TaskEdit {
            id, edit, by, now, ..
        } = edit;
        let task = &self.task_row(id)?.task;
        let Some((next, changes)) = task.edited_anyway(edit, now)? else {
            return Ok(());
        };
        self.replace_checked(next, &changes, &by, now).map(drop)
    }

    fn yield_task(&mut self, id: TaskId, now: Timestamp) -> Result<()> {
        let task = &self.task_row(id)?.task;
        if task.yielded {
            return Ok(());
        }
        let task = task.clone();
        // From here on nothing of it is told.
        self.task_row(id)?.task.yielded = true;
        self.kept()?.leases.remove(&id);
        self.forget_marks(id, now)?;
        match &task.state {
            TaskState::Queued { .. } => self.fail(id, Setback::bare(Reason::LeaseLost), now),
            TaskState::Running { run, .. } => {
                let intent = StopIntent {
                    reason: Reason::LeaseLost,
                    by: "lease".to_owned(),
                    at: now,
                };
                let token = self.runs.get(run).map(|run| run.token).unwrap_or_default();
                self.mark_stopping(*run, token, intent).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Takes away what was still to be told of a task that another machine tells of now, so that what that one says counts.
    fn forget_marks(&mut self, id: TaskId, now: Timestamp) -> Result<()> {
        let report = (Kind::Report, *id.as_uuid());
        let runs = self.runs.values().filter(|run| run.task_id == id);
        let runs = runs.map(|run| (Kind::Run, *run.id.as_uuid()));
        let asks = self.asks.values().filter(|ask| ask.task_id == id);
        let asks = asks.map(|ask| (Kind::Ask, *ask.id.as_uuid()));
        let told: Vec<_> = runs.chain(asks).chain([report.clone()]).collect();
        let kept = self.kept()?;
        for key in told {
            kept.marks.remove(&key);
        }
        self.release(&report, None, now)
    }

    pub(super) fn keep_lease(&mut self, task: TaskId, lease: Option<LeaseRecord>) -> Result<()> {
        let kept = self.kept()?;
        match lease {
            Some(lease) => drop(kept.leases.insert(task, lease)),
            None => drop(kept.leases.remove(&task)),
        }
        Ok(())
    }

    pub(super) fn approve(&mut self, id: TaskId, by: &str, now: Timestamp) -> Result<()> {
        let task = &mut self.task_row(id)?.task;
        if task.hold.is_none() || !matches!(task.state, TaskState::Queued { .. }) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                "the task does not wait for anybody's leave",
            ));
        }
        task.hold = None;
        touch(task, now);
        let about = About::task(task);
        let data = json!({ "fields": ["hold"], "by": by });
        self.event(now, EventKind::TaskUpdated, about, data);
        Ok(())
    }
}

fn only(request: &CreateTasks) -> Result<TaskId> {
    match request.tasks.as_slice() {
        [one] => Ok(one.id),
        _ => Err(Error::invalid("a document is of one task")),
    }
}
