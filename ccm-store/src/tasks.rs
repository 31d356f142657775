//! Tasks: accepting them, calling them off, queueing them again.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use ccm_core::event::EventKind;
use ccm_core::id::{FencingToken, ProjectId, Revision, RunId, TaskId};
use ccm_core::scheduler::{Machine, Wants};
use ccm_core::store::{CreateTasks, Created};
use ccm_core::task::{
    CancelEffect, Rank, SessionMode, Setback, Task, TaskSpec, TaskState, TaskText, Title,
};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use sea_orm::{FromQueryResult, IdenStatic, Iterable, QueryResult};
use serde_json::{Value, json};

use crate::entity::{idempotency_key, task};
use crate::error::{corrupt, from_db};
use crate::runs::note_stop;
use crate::values::{
    Id, column, count, date, from_json, id_list, id_list_bytes, length, length_micros, micros,
    optional_id, reason, required_date, small, to_json,
};
use crate::writer::{About, Change, KeyName, Needs, Tracked, Work};

/// How long a key is kept.
const KEYS_LIVE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The selection that [`TaskRecord::read`] reads.
pub(crate) fn select(condition: &str) -> String {
    format!(
        "SELECT 'task' AS kind_, task.*, project.name AS project_name, project.removed_at AS project_removed_at \
         FROM task JOIN project ON project.id = task.project_id WHERE {condition}"
    )
}

/// The same with no more than the first `chars` characters of what is long ([`Task::cut`]).
pub(crate) fn select_cut(condition: &str, chars: NonZeroU32) -> String {
    let columns = task::Column::iter().map(|column| match column {
        task::Column::Text => format!("substr(task.text, 1, {chars}) AS text"),
        task::Column::Result => format!("substr(task.result, 1, {chars}) AS result"),
        // Only the writer needs it.
        task::Column::FirstSpec => "NULL AS first_spec".to_owned(),
        column => format!("task.{}", column.as_str()),
    });
    let columns: Vec<String> = columns.collect();
    select(condition).replacen("task.*", &columns.join(", "), 1)
}

/// Whether the machine is what a task asks for, and may run it.
pub(crate) fn fits(task: &Task, machine: &Machine) -> bool {
    task.hold.is_none() && !task.yielded && Wants::from(&task.spec).met_by(machine)
}

/// A task with what only the store knows of it.
#[derive(Debug, Clone)]
pub(crate) struct TaskRecord {
    pub(crate) task: Task,
    pub(crate) token: FencingToken,
    pub(crate) open_blockers: i64,
    pub(crate) fits: bool,
    pub(crate) project_removed: bool,
    /// What it asked for when it was accepted, if that was changed, JSON.
    pub(crate) first_spec: Option<String>,
}

impl TaskRecord {
    /// A task that is new.
    pub(crate) fn accepted(task: Task, open_blockers: i64, machine: &Machine) -> Self {
        Self {
            token: FencingToken(0),
            open_blockers,
            fits: fits(&task, machine),
            task,
            project_removed: false,
            first_spec: None,
        }
    }

    /// From a row of [`select`].
    pub(crate) fn read(row: &QueryResult) -> Result<Self> {
        let model = task::Model::from_query_result(row, "").map_err(from_db)?;
        let project: String = row.try_get("", "project_name").map_err(from_db)?;
        let removed: Option<i64> = row.try_get("", "project_removed_at").map_err(from_db)?;
        let system_type = model
            .system_type
            .as_deref()
            .map(|kind| kind.parse().map_err(|_| corrupt("system type")))
            .transpose()?;
        Ok(Self {
            token: FencingToken(count(model.token)?),
            open_blockers: model.open_blockers,
            fits: model.fits,
            project_removed: removed.is_some(),
            first_spec: model.first_spec.clone(),
            task: Task {
                id: TaskId::read(&model.id)?,
                project_id: ProjectId::read(&model.project_id)?,
                project,
                state: read_state(&model)?,
                due_at: date(model.due_at),
                rank: Rank::from_number(model.rank),
                attempts: small(model.attempts)?,
                false_starts: small(model.false_starts)?,
                latest_run: optional_id(model.latest_run.as_ref())?,
                result: model.result,
                cost_usd: model.cost_usd,
                hold: model
                    .hold
                    .as_deref()
                    .map(|hold| from_json(hold, "reason to wait"))
                    .transpose()?,
                yielded: model.yielded,
                created_by: model.created_by,
                created_at: Timestamp::from_micros(model.created_at),
                updated_at: Timestamp::from_micros(model.updated_at),
                revision: Revision(count(model.revision)?),
                spec: TaskSpec {
                    title: Title::new(model.title).map_err(|_| corrupt("title"))?,
                    text: TaskText::new(model.text).map_err(|_| corrupt("task text"))?,
                    priority: model.priority,
                    not_before: date(model.not_before),
                    blocked_by: id_list(&model.blocked_by)?,
                    max_retries: small(model.max_retries)?,
                    timeout: model.timeout.map(length).transpose()?,
                    session: read_session(&model.session)?,
                    tags: from_json(&model.tags, "list of tags")?,
                    system_type,
                },
            },
        })
    }

    /// The task as it was when it was accepted.
    fn as_created(&self) -> Result<Task> {
        let first = self.first_spec.as_deref();
        let first = first.map(|spec| from_json(spec, "first form of a task"));
        Ok(self.task.clone().as_created(first.transpose()?))
    }

    /// For a row of the table.
    pub(crate) fn model(&self) -> task::Model {
        let task = &self.task;
        let spec = &task.spec;
        let mut model = task::Model {
            id: task.id.bytes(),
            project_id: task.project_id.bytes(),
            state: task.state.name().as_str().to_owned(),
            priority: spec.priority,
            created_at: task.created_at.as_micros(),
            due_at: micros(task.due_at),
            dated: task.due_at.is_some(),
            open_blockers: self.open_blockers,
            fits: self.fits,
            token: column(self.token.0),
            attempts: i64::from(task.attempts),
            false_starts: i64::from(task.false_starts),
            revision: column(task.revision.0),
            updated_at: task.updated_at.as_micros(),
            run_id: task.state.run().as_ref().map(Id::bytes),
            latest_run: task.latest_run.as_ref().map(Id::bytes),
            reason: None,
            detail: None,
            ended_at: None,
            ended_by: None,
            stop: None,
            cost_usd: task.cost_usd,
            not_before: micros(spec.not_before),
            max_retries: i64::from(spec.max_retries),
            timeout: spec.timeout.map(length_micros),
            session: session_name(spec.session).to_owned(),
            tags: to_json(&spec.tags),
            system_type: spec.system_type.map(|kind| kind.as_str().to_owned()),
            blocked_by: id_list_bytes(&spec.blocked_by),
            created_by: task.created_by.clone(),
            title: spec.title.as_str().to_owned(),
            rank: task.rank.as_number(),
            text: spec.text.as_str().to_owned(),
            result: task.result.clone(),
            first_spec: self.first_spec.clone(),
            hold: task.hold.as_ref().map(to_json),
            yielded: task.yielded,
        };
        write_state(&task.state, &mut model);
        model
    }
}

fn read_state(model: &task::Model) -> Result<TaskState> {
    let run: Option<RunId> = optional_id(model.run_id.as_ref())?;
    let required_run = || run.ok_or_else(|| corrupt("state of a task"));
    let setback = reason(model.reason.as_ref())?.map(|reason| Setback {
        reason,
        detail: model.detail.clone(),
    });
    Ok(match model.state.as_str() {
        "queued" => TaskState::Queued { last: setback },
        "running" => TaskState::Running {
            run: required_run()?,
            stop: model
                .stop
                .as_deref()
                .map(|stop| from_json(stop, "decision to stop"))
                .transpose()?,
        },
        "succeeded" => TaskState::Succeeded {
            run: required_run()?,
            at: required_date(model.ended_at)?,
        },
        "failed" => TaskState::Failed {
            run,
            cause: setback.ok_or_else(|| corrupt("state of a task"))?,
            at: required_date(model.ended_at)?,
        },
        "cancelled" => TaskState::Cancelled {
            run,
            by: model.ended_by.clone().unwrap_or_default(),
            at: required_date(model.ended_at)?,
        },
        _ => return Err(corrupt("state of a task")),
    })
}

fn write_state(state: &TaskState, model: &mut task::Model) {
    let mut setback = |cause: &Setback| {
        model.reason = Some(cause.reason.as_str().to_owned());
        model.detail.clone_from(&cause.detail);
    };
    match state {
        TaskState::Queued { last } => {
            if let Some(last) = last {
                setback(last);
            }
        }
        TaskState::Running { stop, .. } => model.stop = stop.as_ref().map(to_json),
        TaskState::Succeeded { at, .. } => model.ended_at = Some(at.as_micros()),
        TaskState::Failed { cause, at, .. } => {
            setback(cause);
            model.ended_at = Some(at.as_micros());
        }
        TaskState::Cancelled { by, at, .. } => {
            model.ended_by = Some(by.clone());
            model.ended_at = Some(at.as_micros());
        }
    }
}

const fn session_name(session: SessionMode) -> &'static str {
    match session {
        SessionMode::Fresh => "fresh",
        SessionMode::Continue => "continue",
    }
}

fn read_session(name: &str) -> Result<SessionMode> {
    [SessionMode::Fresh, SessionMode::Continue]
        .into_iter()
        .find(|session| session_name(*session) == name)
        .ok_or_else(|| corrupt("session mode"))
}

/// Gives a task another state and notes that it changed. The caller writes the event.
pub(crate) fn enter(
    work: &mut Work,
    id: TaskId,
    next: TaskState,
    now: Timestamp,
    edit: impl FnOnce(&mut TaskRecord),
) -> Result<Task> {
    let record = work.task(id)?.change();
    let (from, to) = (record.task.state.name(), next.name());
    record.task.state = next;
    record.task.updated_at = now;
    record.task.revision.0 += 1;
    edit(record);
    let task = record.task.clone();
    work.task_moved(&task, from, to);
    Ok(task)
}

/// What the log says of a task that waits again or has ended.
pub(crate) fn ending(task: &Task) -> (EventKind, Value) {
    match &task.state {
        TaskState::Queued { last } => (
            EventKind::TaskRequeued,
            json!({
                "reason": last.as_ref().map(|last| last.reason),
                "detail": last.as_ref().and_then(|last| last.detail.as_deref()),
                "not_before": task.due_at,
            }),
        ),
        TaskState::Running { stop, .. } => (
            EventKind::TaskStopping,
            json!({
                "reason": stop.as_ref().map(|stop| stop.reason),
                "by": stop.as_ref().map(|stop| &stop.by),
            }),
        ),
        TaskState::Succeeded { .. } => {
            let result = task.result.as_deref().unwrap_or_default();
            let beginning: String = result.chars().take(1000).collect();
            (EventKind::TaskSucceeded, json!({ "result": beginning }))
        }
        TaskState::Failed { cause, .. } => (
            EventKind::TaskFailed,
            json!({ "reason": cause.reason, "detail": cause.detail }),
        ),
        TaskState::Cancelled { by, .. } => (EventKind::TaskCancelled, json!({ "by": by })),
    }
}

/// Accepts tasks.
pub(crate) struct Create(pub(crate) CreateTasks);

impl Change for Create {
    type Answer = Created;
    const GROWS: bool = true;

    fn weight(&self) -> usize {
        let texts = self.0.tasks.iter().map(|new| new.spec.text.as_str().len());
        self.0.tasks.len() + texts.sum::<usize>() / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.system();
        if let Some(name) = self.key() {
            needs.key(name);
        }
        for new in &self.0.tasks {
            needs.project(new.project_id);
            needs.known_task(new.id);
            for blocker in &new.spec.blocked_by {
                needs.known_task(*blocker);
            }
        }
    }

    fn apply(&self, work: &mut Work) -> Result<Created> {
        let request = &self.0;
        if let Some(name) = self.key()
            && let Some(used) = work.keys.get(&name)
        {
            let used = used.get().clone();
            return self.replay(work, &used);
        }
        let waiting = work.meta.queued.unsigned_abs();
        if waiting + request.tasks.len() as u64 > request.max_queued {
            return Err(Error::new(
                ErrorKind::QueueFull,
                format!(
                    "{waiting} tasks wait already, and at most {} may",
                    request.max_queued
                ),
            ));
        }
        let tasks = self.check(work)?;
        let machine = work.machine()?;
        if let Some(name) = self.key() {
            let key = idempotency_key::Model {
                principal: name.principal.clone(),
                route: name.route.clone(),
                key: name.key.clone(),
                fingerprint: self.fingerprint().to_owned(),
                task_ids: id_list_bytes(tasks.iter().map(|task| &task.id)),
                created_at: request.now.as_micros(),
                documents: None,
            };
            work.keys.insert(name, Tracked::new(key));
            prune_keys(work, request.now);
        }
        for task in &tasks {
            work.add_task(task.clone(), &machine);
            let data = json!({ "title": task.spec.title, "priority": task.spec.priority });
            work.event(
                request.now,
                EventKind::TaskCreated,
                About::task(task),
                &data,
            );
        }
        Ok(Created {
            tasks,
            replayed: false,
        })
    }
}

impl Create {
    fn key(&self) -> Option<KeyName> {
        self.0.key.as_ref().map(|key| KeyName {
            principal: key.principal.clone(),
            route: key.route.clone(),
            key: key.key.clone(),
        })
    }

    fn fingerprint(&self) -> &str {
        self.0.key.as_ref().map_or("", |key| &key.fingerprint)
    }

    fn replay(&self, work: &mut Work, used: &idempotency_key::Model) -> Result<Created> {
        if used.fingerprint != self.fingerprint() {
            return Err(Error::new(
                ErrorKind::KeyReused,
                format!(
                    "the idempotency key {:?} was used for another request",
                    used.key
                ),
            ));
        }
        let tasks = id_list(&used.task_ids)?
            .into_iter()
            .map(|id| work.task(id)?.get().as_created())
            .collect::<Result<_>>()?;
        Ok(Created {
            tasks,
            replayed: true,
        })
    }

    /// Checks everything before anything is changed.
    pub(crate) fn check(&self, work: &mut Work) -> Result<Vec<Task>> {
        let request = &self.0;
        let mut own = HashSet::new();
        let mut tasks = Vec::with_capacity(request.tasks.len());
        for (number, new) in request.tasks.iter().enumerate() {
            let project = work.project(new.project_id);
            let project = project.map_err(|error| error.at(format!("/tasks/{number}/project_id")));
            let project = project?.get().project.name.clone();
            let known = |id: &TaskId| own.contains(id) || work.knows(id);
            let mut blockers = (0..).zip(&new.spec.blocked_by);
            if let Some((place, unknown)) = blockers.find(|(_, id)| !known(id)) {
                let place = format!("/tasks/{number}/blocked_by/{place}");
                return Err(Error::no_task(*unknown).at(place));
            }
            if own.contains(&new.id) || work.is_here(&new.id) {
                return Err(Error::new(
                    ErrorKind::Taken(Noun::Task),
                    format!("there is a task {} already", new.id),
                ));
            }
            own.insert(new.id);
            tasks.push(Task::accepted(
                (new.id, new.spec.clone()),
                (new.project_id, project),
                request.created_by.clone(),
                request.now,
            ));
        }
        Ok(tasks)
    }
}

/// Forgets keys that were kept for long enough.
pub(crate) fn prune_keys(work: &mut Work, now: Timestamp) {
    let length = i64::try_from(KEYS_LIVE.as_micros()).unwrap_or(i64::MAX);
    let oldest = now.as_micros().saturating_sub(length);
    work.prune_keys(Timestamp::from_micros(oldest));
}

/// Calls a task off.
pub(crate) struct Cancel {
    pub(crate) id: TaskId,
    pub(crate) by: String,
    pub(crate) now: Timestamp,
}

impl Change for Cancel {
    type Answer = (Task, CancelEffect);

    fn needs(&self, needs: &mut Needs) {
        needs.task(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<(Task, CancelEffect)> {
        let task = work.task(self.id)?.get().task.clone();
        let (next, effect) = task.state.cancel(&self.by, self.now)?;
        let task = match effect {
            CancelEffect::Unchanged => task,
            CancelEffect::Stopping => note_stop(work, self.id, next, self.now)?,
            CancelEffect::Done => {
                let task = enter(work, self.id, next, self.now, |record| {
                    record.task.due_at = None;
                })?;
                let (kind, data) = ending(&task);
                work.event(self.now, kind, About::task(&task), &data);
                task
            }
        };
        Ok((task, effect))
    }
}

/// Queues an ended task again.
pub(crate) struct Again {
    pub(crate) id: TaskId,
    pub(crate) now: Timestamp,
}

impl Change for Again {
    type Answer = Task;

    fn needs(&self, needs: &mut Needs) {
        needs.task(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<Task> {
        let record = work.task(self.id)?.get();
        let next = record.task.state.retry()?;
        if record.project_removed {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                format!("the project {} was removed", record.task.project),
            ));
        }
        let task = enter(work, self.id, next, self.now, |record| {
            let task = &mut record.task;
            task.attempts = 0;
            task.false_starts = 0;
            task.result = None;
            task.due_at = task.spec.not_before;
        })?;
        let (kind, data) = ending(&task);
        work.event(self.now, kind, About::task(&task), &data);
        Ok(task)
    }
}

/// Why a task can't be claimed now although it is queued.
pub(crate) fn not_ready(record: &TaskRecord, now: Timestamp) -> Option<Error> {
    let why = if record.open_blockers > 0 {
        "the task waits for another one"
    } else if record.task.due_at.is_some_and(|due| due > now) {
        "the task is not due yet"
    } else if !record.fits {
        match record.task.hold {
            Some(_) => "the task waits for somebody's leave",
            None => "the task wants another machine",
        }
    } else {
        return None;
    };
    Some(Error::new(ErrorKind::WrongState(Noun::Task), why))
}

/// Keeps dates that have come from being looked at again.
pub(crate) struct Promote(pub(crate) Timestamp);

impl Change for Promote {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        work.promote(self.0);
        Ok(())
    }
}
