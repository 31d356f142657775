//! Accepting tasks, calling them off, queueing them again.

use serde_json::json;

use super::{About, KeyName, KeyRow, State, TaskRow, touch};
use crate::event::EventKind;
use crate::id::{FencingToken, TaskId};
use crate::store::{CreateTasks, Created};
use crate::task::{CancelEffect, Task, TaskState};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

impl State {
    pub(super) fn create(&mut self, request: CreateTasks) -> Result<Created> {
        let key = request.key.map(|key| {
            let name = KeyName {
                principal: key.principal,
                route: key.route,
                key: key.key,
            };
            (name, key.fingerprint)
        });
        if let Some((name, fingerprint)) = &key
            && let Some(used) = self.keys.get(name)
        {
            return self.replay(used, fingerprint);
        }
        let waiting = self.counts(None).queued;
        if waiting + request.tasks.len() as u64 > request.max_queued {
            return Err(Error::new(
                ErrorKind::QueueFull,
                format!("{waiting} tasks wait, and {} may", request.max_queued),
            ));
        }
        let mut tasks: Vec<Task> = Vec::with_capacity(request.tasks.len());
        for (number, new) in request.tasks.into_iter().enumerate() {
            let project = self.project_row(new.project_id);
            let project = project.map_err(|error| error.at(format!("/tasks/{number}/project_id")));
            let project = project?.project.name.clone();
            let mut blockers = (0..).zip(&new.spec.blocked_by);
            let unknown = blockers
                .find(|(_, id)| !self.is_known(**id) && !tasks.iter().any(|task| task.id == **id));
            if let Some((place, unknown)) = unknown {
                let place = format!("/tasks/{number}/blocked_by/{place}");
                return Err(Error::no_task(*unknown).at(place));
            }
            if self.tasks.contains_key(&new.id) || tasks.iter().any(|task| task.id == new.id) {
                return Err(Error::new(
                    ErrorKind::Taken(Noun::Task),
                    format!("there is a task {} already", new.id),
                ));
            }
            tasks.push(Task::accepted(
                (new.id, new.spec),
                (new.project_id, project),
                request.created_by.clone(),
                request.now,
            ));
        }
        if let Some((name, fingerprint)) = key {
            let tasks = tasks.iter().map(|task| task.id).collect();
            let row = KeyRow {
                fingerprint,
                tasks,
                documents: Vec::new(),
            };
            self.keys.insert(name, row);
        }
        for task in &tasks {
            let row = TaskRow {
                task: task.clone(),
                token: FencingToken(0),
                first: None,
            };
            self.tasks.insert(task.id, row);
            let data = json!({ "title": task.spec.title, "priority": task.spec.priority });
            self.event(request.now, EventKind::TaskCreated, About::task(task), data);
        }
        Ok(Created {
            tasks,
            replayed: false,
        })
    }

    fn replay(&self, used: &KeyRow, fingerprint: &str) -> Result<Created> {
        if used.fingerprint != fingerprint {
            return Err(Error::new(
                ErrorKind::KeyReused,
                "the idempotency key was used for another request",
            ));
        }
        let tasks = used.tasks.iter().filter_map(|id| self.tasks.get(id));
        Ok(Created {
            tasks: tasks
                .map(|row| row.task.clone().as_created(row.first.clone()))
                .collect(),
            replayed: true,
        })
    }

    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Task, CancelEffect)> {
        let task = &mut self.task_row(id)?.task;
        let (state, effect) = task.state.cancel(by, now)?;
        if effect == CancelEffect::Unchanged {
            return Ok((task.clone(), effect));
        }
        task.state = state;
        task.due_at = None;
        touch(task, now);
        let task = task.clone();
        if let TaskState::Running { run, stop } = &task.state
            && let Some(run) = self.runs.get_mut(run)
        {
            run.stop.clone_from(stop);
        }
        let (kind, data) = match effect {
            CancelEffect::Done => (EventKind::TaskCancelled, json!({ "by": by })),
            _ => (
                EventKind::TaskStopping,
                json!({ "reason": crate::Reason::Cancelled, "by": by }),
            ),
        };
        self.event(now, kind, About::task(&task), data);
        Ok((task, effect))
    }

    pub(super) fn retry(&mut self, id: TaskId, _by: &str, now: Timestamp) -> Result<Task> {
        let row = self.task_row(id)?;
        let project = row.task.project_id;
        let state = row.task.state.retry()?;
        if self.projects.get(&project).is_none_or(|row| row.removed) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                "the task's project was removed",
            ));
        }
        let task = &mut self.task_row(id)?.task;
        task.state = state;
        task.attempts = 0;
        task.false_starts = 0;
        task.result = None;
        task.due_at = task.spec.not_before;
        touch(task, now);
        let task = task.clone();
        let data = json!({ "reason": null, "detail": null, "not_before": task.due_at });
        self.event(now, EventKind::TaskRequeued, About::task(&task), data);
        Ok(task)
    }
}
