use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Engine;
use crate::api::{self, CreateTask};
use crate::id::{ProjectId, Revision, TaskId};
use crate::project::Profile;
use crate::store::{CreateTasks, Created, IdempotencyKey, NewTask, TaskEdit, TaskMove};
use crate::task::{CancelEffect, Place, SpecEdit, Task, TaskSpec, TaskText, Title};
use crate::{Error, Result};

/// What is done with tasks.
impl Engine {
    /// Accepts tasks, all of them or none. What a task leaves out comes from its project's profile.
    ///
    /// A project whose profile can't be used now accepts tasks too; they wait, and what they leave out gets the
    /// built-in defaults.
    ///
    /// # Errors
    /// Those of [`Store::create_tasks`](crate::Store::create_tasks), and `Invalid` for a task that breaks a rule. What is
    /// wrong with one of them has a [part](Error::part) such as `/tasks/3/text`.
    pub async fn create_tasks(
        &self,
        tasks: Vec<CreateTask>,
        created_by: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<Created> {
        let mut accepted = Vec::with_capacity(tasks.len());
        // Many tasks are often of one project, whose settings are read from a file.
        let mut profiles: BTreeMap<ProjectId, Profile> = BTreeMap::new();
        for (number, task) in tasks.into_iter().enumerate() {
            let project_id = task.project_id;
            let profile = match profiles.entry(project_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let profile = self.profile(project_id).await;
                    let part = format_args!("/tasks/{number}/project_id");
                    unknown.insert(profile.map_err(|error| error.at(part))?)
                }
            };
            let spec = spec(task, profile);
            accepted.push(NewTask {
                id: TaskId::new(),
                project_id,
                spec: spec.map_err(|error| error.at(format_args!("/tasks/{number}")))?,
            });
        }
        let created = self
            .store()
            .create_tasks(CreateTasks {
                tasks: accepted,
                created_by: created_by.to_owned(),
                key,
                max_queued: self.shared.limits().max_queued,
                now: self.shared.parts.clock.now(),
            })
            .await;
        let created = self.noting(created)?;
        self.shared.dispatch.notify_one();
        Ok(created)
    }

    async fn profile(&self, project: ProjectId) -> Result<Profile> {
        let project = self.store().project(project).await?;
        let profile = self.shared.parts.profiles.profile(&project).await;
        Ok(profile.unwrap_or_default())
    }

    /// Changes what a waiting task asks for. `seen` is the revision that the editor saw, `None` if it does not matter. A
    /// task of another machine is changed when that machine hears of it.
    ///
    /// # Errors
    /// Those of [`Store::edit_task`](crate::Store::edit_task), and `Invalid` for a value that breaks a rule.
    pub async fn edit_task(
        &self,
        id: TaskId,
        seen: Option<Revision>,
        edit: api::EditTask,
        by: &str,
    ) -> Result<Task> {
        if self.is_elsewhere(id).await {
            return self.edit_elsewhere(id, seen, edit, by).await;
        }
        let edit = TaskEdit {
            id,
            revision: seen,
            edit: spec_edit(edit)?,
            by: by.to_owned(),
            now: self.shared.parts.clock.now(),
        };
        let documents = self.noting(self.settled().await)?;
        let task = self.noting(self.store().edit_task(edit).await)?;
        drop(documents);
        self.shared.dispatch.notify_one();
        Ok(task)
    }

    /// Gives a waiting task another place in the queue of its project.
    ///
    /// # Errors
    /// Those of [`Store::move_task`](crate::Store::move_task).
    pub async fn move_task(&self, id: TaskId, place: Place, by: &str) -> Result<Task> {
        let wish = TaskMove {
            id,
            place,
            by: by.to_owned(),
            now: self.shared.parts.clock.now(),
        };
        let task = self.noting(self.store().move_task(wish).await)?;
        self.shared.dispatch.notify_one();
        Ok(task)
    }

    /// Calls a task off: at once if it waits; if it runs, its run is told to stop. The machine that has a task of another one
    /// is told of the wish, which is [`CancelEffect::Stopping`] too.
    ///
    /// # Errors
    /// Those of [`Store::cancel_task`](crate::Store::cancel_task).
    pub async fn cancel_task(&self, id: TaskId, by: &str) -> Result<(Task, CancelEffect)> {
        if self.is_elsewhere(id).await {
            return self.cancel_elsewhere(id, by).await;
        }
        let now = self.shared.parts.clock.now();
        let (task, effect) = self.noting(self.store().cancel_task(id, by, now).await)?;
        tracing::info!(task = %id, by, ?effect, "a task was called off");
        if let (CancelEffect::Stopping, Some(run)) = (effect, task.state.run()) {
            self.shared.actors.wake(run);
        }
        self.shared.dispatch.notify_one();
        Ok((task, effect))
    }

    /// Calls tasks off, each as [`cancel_task`](Self::cancel_task) does. The answers are in the order of the ids, and one
    /// that can't be done spoils no other.
    pub async fn cancel_tasks(&self, ids: Vec<TaskId>, by: &str) -> Vec<Result<Task>> {
        let by = by.to_owned();
        each(ids, |id| {
            let (engine, by) = (self.clone(), by.clone());
            async move { engine.cancel_task(id, &by).await.map(|(task, _)| task) }
        })
        .await
    }

    /// Queues ended tasks again, each as [`retry_task`](Self::retry_task) does. The answers are in the order of the ids,
    /// and one that can't be done spoils no other.
    pub async fn retry_tasks(&self, ids: Vec<TaskId>, by: &str) -> Vec<Result<Task>> {
        let by = by.to_owned();
        each(ids, |id| {
            let (engine, by) = (self.clone(), by.clone());
            async move { engine.retry_task(id, &by).await }
        })
        .await
    }

    /// Queues an ended task again. The machine that had a task of another one is told of the wish; the answer is the task as
    /// it is until then.
    ///
    /// # Errors
    /// Those of [`Store::retry_task`](crate::Store::retry_task).
    pub async fn retry_task(&self, id: TaskId, by: &str) -> Result<Task> {
        if self.is_elsewhere(id).await {
            return self.retry_elsewhere(id, by).await;
        }
        let now = self.shared.parts.clock.now();
        let task = self.noting(self.store().retry_task(id, by, now).await)?;
        tracing::info!(task = %id, by, "a task waits again");
        self.shared.dispatch.notify_one();
        Ok(task)
    }
}

/// Does something with each task at once, so that a store that commits what waits together can do so.
async fn each<F>(ids: Vec<TaskId>, act: impl Fn(TaskId) -> F) -> Vec<Result<Task>>
where
    F: Future<Output = Result<Task>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for (number, id) in ids.iter().enumerate() {
        let done = act(*id);
        under_way.spawn(async move { (number, done.await) });
    }
    let mut answers: BTreeMap<usize, Result<Task>> = BTreeMap::new();
    while let Some(answer) = under_way.join_next().await {
        answers.extend(answer.ok());
    }
    (0..ids.len())
        .map(|number| {
            let answer = answers.remove(&number);
            answer.unwrap_or_else(|| Err(Error::internal("it was given up without an answer")))
        })
        .collect()
}

/// What a new task asks for, checked.
pub(super) fn spec(task: CreateTask, profile: &Profile) -> Result<TaskSpec> {
    let text = TaskText::new(task.text).map_err(|error| error.at("/text"))?;
    let title = task.title.map_or_else(|| Ok(text.title()), Title::new);
    let spec = TaskSpec {
        title: title.map_err(|error| error.at("/title"))?,
        text,
        priority: task.priority.unwrap_or(profile.tasks.priority),
        not_before: task.not_before,
        blocked_by: task.blocked_by,
        max_retries: task.max_retries.unwrap_or(profile.limits.max_retries),
        timeout: task
            .timeout_s
            .map(Duration::from_secs)
            .or(profile.limits.timeout),
        session: task.session.unwrap_or(profile.tasks.session),
        tags: task.tags,
        system_type: task.system_type,
    };
    spec.validate()?;
    Ok(spec)
}

/// A change as it came, checked as far as it can be without the task.
pub(super) fn spec_edit(edit: api::EditTask) -> Result<SpecEdit> {
    let text = edit.text.map(TaskText::new).transpose();
    let title = edit.title.try_map(Title::new);
    Ok(SpecEdit {
        title: title.map_err(|error| error.at("/title"))?,
        text: text.map_err(|error| error.at("/text"))?,
        priority: edit.priority,
        not_before: edit.not_before,
        blocked_by: edit.blocked_by,
        max_retries: edit.max_retries,
        timeout: edit
            .timeout_s
            .try_map(|seconds| Ok(Duration::from_secs(seconds)))?,
        session: edit.session,
        tags: edit.tags,
        system_type: edit.system_type,
    })
}
