//! What documents of other machines do here.

use ccm_core::event::EventKind;
use ccm_core::id::TaskId;
use ccm_core::store::{Act, CreateTasks, LeaseRecord, Settle, TaskEdit};
use ccm_core::sync::Kind;
use ccm_core::task::{Setback, StopIntent, Task, TaskState};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};
use serde_json::json;

use super::incoming::{release, reopen_wishes};
use super::sharing::me;
use super::{State, is_off};
use crate::asks::AnswerAsk;
use crate::queue::edit_to;
use crate::runs::note_stop;
use crate::tasks::{Again, Cancel, Create, ending, enter, fits};
use crate::values::{Id, column, micros};
use crate::writer::{About, Change, Needs, Work};

/// Whether it brings in something new, which has to wait while the disk is full.
pub(crate) fn grows(act: &Act) -> bool {
    match act {
        Act::Create { .. } | Act::Refuse { .. } | Act::Edit(_) | Act::Retry { .. } => true,
        Act::Nothing | Act::Cancel { .. } | Act::Answer { .. } | Act::Yield { .. } => false,
    }
}

/// Does what documents ask for.
pub(crate) struct SettleDocuments<const GROWS: bool>(pub(crate) Vec<Settle>);

impl<const GROWS: bool> Change for SettleDocuments<GROWS> {
    type Answer = ();
    // What some of it does must not meet others' changes of the same rows.
    const ALONE: bool = true;
    const GROWS: bool = GROWS;

    fn weight(&self) -> usize {
        self.0.len()
    }

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
        needs.system();
        for Settle { kind, id, act, .. } in &self.0 {
            needs.document(kind, *id);
            needs_of(needs, act);
        }
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        me(work)?;
        work.shared.settling = true;
        self.0.iter().try_for_each(|one| settle(work, one))
    }
}

fn needs_of(needs: &mut Needs, act: &Act) {
    match act {
        Act::Nothing => {}
        Act::Create { request, .. } | Act::Refuse { request, .. } => {
            Create((**request).clone()).needs(needs);
            for new in &request.tasks {
                needs.task(new.id);
            }
        }
        Act::Edit(edit) => {
            needs.task(edit.id);
            if let Some(blockers) = &edit.edit.blocked_by {
                for blocker in blockers {
                    needs.known_task(*blocker);
                }
                needs.circles(edit.id, blockers);
            }
        }
        Act::Cancel { task, .. } | Act::Retry { task, .. } => needs.task(*task),
        Act::Answer { ask, reply } => answer(*ask, reply).needs(needs),
        Act::Yield { task } => {
            needs.task(*task);
            needs.known_task(*task);
            needs.document(&Kind::Report, *task.as_uuid());
        }
    }
}

fn settle(work: &mut Work, settle: &Settle) -> Result<()> {
    let key = (settle.kind.clone(), settle.id);
    let held = work.shared.entry(key.clone()).document.clone();
    let Some(mut held) = held.filter(|held| held.place == settle.place) else {
        return Err(Error::new(
            ErrorKind::Superseded,
            format!("the {} {} changed meanwhile", settle.kind, settle.id),
        ));
    };
    let open = held.state != State::Settled;
    act(work, &settle.act, open, settle.now)?;
    if held.state != State::Settled {
        held.state = State::Settled;
        work.shared.entry(key).set_document(Some(held));
    }
    Ok(())
}

fn answer(ask: ccm_core::id::AskId, reply: &ccm_core::store::Reply) -> AnswerAsk {
    AnswerAsk {
        id: ask,
        reply: reply.clone(),
    }
}

/// Does it; what could not be done twice only if the document was not dealt with yet.
fn act(work: &mut Work, act: &Act, open: bool, now: Timestamp) -> Result<()> {
    match act {
        Act::Create {
            request,
            hold,
            lease,
        } => accept(work, request, hold.as_ref(), lease.as_ref(), now),
        Act::Refuse { request, cause } => refuse(work, request, cause, now),
        Act::Yield { task } => give_up(work, *task, now),
        Act::Edit(edit) if open => edit_anyway(work, edit),
        Act::Cancel { task, by } if open => match work.task(*task)?.get().task.state {
            TaskState::Succeeded { .. } | TaskState::Failed { .. } => Ok(()),
            _ => {
                let (id, by) = (*task, by.clone());
                Cancel { id, by, now }.apply(work).map(drop)
            }
        },
        Act::Retry { task, .. } if open => {
            let ended = work.task(*task)?.get().task.state.name().is_final();
            match ended {
                true => Again { id: *task, now }.apply(work).map(drop),
                false => Ok(()),
            }
        }
        Act::Answer { ask, reply } if open => answer(*ask, reply).apply(work).map(drop),
        Act::Nothing
        | Act::Edit(_)
        | Act::Cancel { .. }
        | Act::Retry { .. }
        | Act::Answer { .. } => Ok(()),
    }
}

fn only(request: &CreateTasks) -> Result<TaskId> {
    match request.tasks.as_slice() {
        [one] => Ok(one.id),
        _ => Err(Error::invalid("a document is of one task")),
    }
}

/// Accepts the task of a request, which the limit of the queue does not keep out.
fn create(work: &mut Work, request: &CreateTasks, hold: Option<&Setback>) -> Result<Task> {
    let mut tasks = Create(request.clone()).check(work)?;
    let mut task = tasks
        .pop()
        .ok_or_else(|| Error::invalid("a document is of one task"))?;
    task.hold = hold.cloned();
    let machine = work.machine()?;
    work.add_task(task.clone(), &machine);
    let data = json!({ "title": task.spec.title, "priority": task.spec.priority });
    let about = About::task(&task);
    work.event(request.now, EventKind::TaskCreated, about, &data);
    Ok(task)
}

fn accept(
    work: &mut Work,
    request: &CreateTasks,
    hold: Option<&Setback>,
    lease: Option<&LeaseRecord>,
    now: Timestamp,
) -> Result<()> {
    let id = only(request)?;
    match work.tasks.get(&id).map(|row| row.get().task.yielded) {
        None => drop(create(work, request, hold)?),
        // It is this machine's again.
        Some(true) => take_again(work, id, now)?,
        Some(false) => {}
    }
    if let Some(lease) = lease {
        keep_lease(work, id, Some(lease));
    }
    reopen_wishes(work, id);
    Ok(())
}

fn take_again(work: &mut Work, id: TaskId, now: Timestamp) -> Result<()> {
    let record = work.task(id)?.get();
    if record.task.state.retry().is_err() {
        return Err(Error::new(
            ErrorKind::WrongState(Noun::Task),
            "the run under the lease before has not ended yet",
        ));
    }
    if record.project_removed {
        return Err(Error::new(
            ErrorKind::WrongState(Noun::Project),
            format!("the project {} was removed", record.task.project),
        ));
    }
    let machine = work.machine()?;
    let record = work.task(id)?.change();
    record.task.yielded = false;
    record.fits = fits(&record.task, &machine);
    work.rewrite(id);
    // Whether it is done is what its own row says from here on, and that says no.
    let known = work.known_tasks.entry(id).or_default();
    known.yielded = false;
    if known.reported {
        work.unblock(id, 1);
    }
    let was_done = matches!(work.task(id)?.get().task.state, TaskState::Succeeded { .. });
    if was_done {
        // The way out of success tells those that wait, who never knew of it.
        work.unblock(id, -1);
    }
    Again { id, now }.apply(work).map(drop)
}

fn refuse(work: &mut Work, request: &CreateTasks, cause: &Setback, now: Timestamp) -> Result<()> {
    let id = only(request)?;
    if work.tasks.contains_key(&id) {
        return Ok(());
    }
    create(work, request, None)?;
    fail(work, id, cause, now)
}

/// Fails a task that waits.
fn fail(work: &mut Work, id: TaskId, cause: &Setback, now: Timestamp) -> Result<()> {
    let next = TaskState::Failed {
        run: None,
        cause: cause.clone(),
        at: now,
    };
    let task = enter(work, id, next, now, |record| record.task.due_at = None)?;
    let (kind, data) = ending(&task);
    work.event(now, kind, About::task(&task), &data);
    Ok(())
}

fn edit_anyway(work: &mut Work, edit: &TaskEdit) -> Result<()> {
    let task = &work.task(edit.id)?.get().task;
    let changed = task.edited_anyway(edit.edit.clone(), edit.now)?;
    let Some((next, changes)) = changed else {
        return Ok(());
    };
    edit_to(work, edit, next, &changes).map(drop)
}

/// Gives a task up to the machine that has its lease now.
fn give_up(work: &mut Work, id: TaskId, now: Timestamp) -> Result<()> {
    let record = work.task(id)?;
    if record.get().task.yielded {
        return Ok(());
    }
    let record = record.change();
    // From here on nothing of it is told.
    record.task.yielded = true;
    record.fits = false;
    let state = record.task.state.clone();
    work.rewrite(id);
    keep_lease(work, id, None);
    let known = work.known_tasks.entry(id).or_default();
    let (was, is) = (known.done, known.reported);
    known.yielded = true;
    if was != is {
        work.unblock(id, if is { -1 } else { 1 });
    }
    forget_marks(work, id, now)?;
    match &state {
        TaskState::Queued { .. } => fail(work, id, &Setback::bare(Reason::LeaseLost), now),
        TaskState::Running { .. } => {
            let intent = StopIntent {
                reason: Reason::LeaseLost,
                by: "lease".to_owned(),
                at: now,
            };
            note_stop(work, id, state.stop(intent)?, now).map(drop)
        }
        _ => Ok(()),
    }
}

/// Takes away what was still to be told of a task that another machine tells of now, so that what that one says counts.
fn forget_marks(work: &mut Work, id: TaskId, now: Timestamp) -> Result<()> {
    let task = || vec![id.bytes().into()];
    for sql in [
        "DELETE FROM mark WHERE kind = 'report' AND id = ?",
        "DELETE FROM mark WHERE kind = 'run' AND id IN (SELECT id FROM run WHERE task_id = ?)",
        "DELETE FROM mark WHERE kind = 'ask' AND id IN (SELECT id FROM ask WHERE task_id = ?)",
    ] {
        work.shared.before(sql, task());
    }
    let key = (Kind::Report, *id.as_uuid());
    work.shared.entry(key.clone()).mark = None;
    release(work, &key, None, now)
}

fn keep_lease(work: &mut Work, task: TaskId, lease: Option<&LeaseRecord>) {
    match lease {
        Some(lease) => work.shared.after(
            "INSERT OR REPLACE INTO lease (task_id, claim, token, until) VALUES (?, ?, ?, ?)",
            vec![
                task.bytes().into(),
                lease.claim.bytes().into(),
                lease.token.map(|token| column(token.0)).into(),
                micros(lease.until).into(),
            ],
        ),
        None => work.shared.after(
            "DELETE FROM lease WHERE task_id = ?",
            vec![task.bytes().into()],
        ),
    }
}

/// Keeps a lease, or that there is none.
pub(crate) struct KeepLease {
    pub(crate) task: TaskId,
    pub(crate) lease: Option<LeaseRecord>,
}

impl Change for KeepLease {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        if !work.meta.sharing {
            return Err(is_off());
        }
        keep_lease(work, self.task, self.lease.as_ref());
        Ok(())
    }
}

/// Lets a task run that waits for a person's leave.
pub(crate) struct Approve {
    pub(crate) task: TaskId,
    pub(crate) by: String,
    pub(crate) now: Timestamp,
}

impl Change for Approve {
    type Answer = ();
    // Whether it fits must not change in the same group.
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.system();
        needs.task(self.task);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let task = &work.task(self.task)?.get().task;
        if task.hold.is_none() || !matches!(task.state, TaskState::Queued { .. }) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                "the task does not wait for anybody's leave",
            ));
        }
        let machine = work.machine()?;
        let record = work.task(self.task)?.change();
        record.task.hold = None;
        record.task.updated_at = self.now;
        record.task.revision.0 += 1;
        record.fits = fits(&record.task, &machine);
        let about = About::task(&record.task);
        work.rewrite(self.task);
        let data = json!({ "fields": ["hold"], "by": self.by });
        work.event(self.now, EventKind::TaskUpdated, about, &data);
        Ok(())
    }
}
