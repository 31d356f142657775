use std::collections::HashMap;

use ccm_core::api::{self, BulkCreate, CancelAnswer, CreateTask, EditTask, MoveTask};
use ccm_core::id::{ProjectId, Revision, RunId, TaskId};
use ccm_core::run::{Run, RunState};
use ccm_core::store::{AskQuery, IdempotencyKey, Page, QueueQuery, TaskFilter, TaskQuery};
use ccm_core::task::{CancelEffect, Setback, Spot, Task, TaskState, TaskStateName};
use ccm_core::{Error, ErrorKind, Noun, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::App;
use super::asks::OpenAsks;
use crate::http::Keyed;

/// What repeated creations of a task have in common.
const CREATE_ROUTE: &str = "POST /api/v1/tasks";
/// What repeated creations of many tasks have in common.
const CREATE_MANY_ROUTE: &str = "POST /api/v1/tasks/bulk";

impl App {
    /// Accepts a task. The second value says whether an earlier request with this key did.
    pub(crate) async fn create_task(
        &self,
        request: CreateTask,
        by: &str,
        key: Option<Keyed>,
    ) -> Result<(api::Task, bool)> {
        let key = key.map(|key| self.idempotency_key(CREATE_ROUTE, key, &request));
        let created = self.accept(vec![request], by, key).await;
        let (tasks, replayed) = created.map_err(|error| error.seen_from("/tasks/0"))?;
        let task = tasks.into_iter().next().ok_or_else(|| {
            ccm_core::Error::internal("the store accepted a task and returned none")
        })?;
        Ok((task, replayed))
    }

    /// Accepts tasks, all of them or none. The second value says whether an earlier request with this key did.
    pub(crate) async fn create_tasks(
        &self,
        request: BulkCreate,
        by: &str,
        key: Option<Keyed>,
    ) -> Result<(Vec<api::Task>, bool)> {
        let key = key.map(|key| self.idempotency_key(CREATE_MANY_ROUTE, key, &request));
        self.accept(request.tasks, by, key).await
    }

    /// Accepts tasks for this machine, or tells others of them.
    async fn accept(
        &self,
        tasks: Vec<CreateTask>,
        by: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<(Vec<api::Task>, bool)> {
        if self.are_for_others(&tasks).await? {
            return self.define(tasks, by, key).await;
        }
        let created = self.engine().create_tasks(tasks, by, key).await?;
        Ok((self.task_answers(created.tasks).await?, created.replayed))
    }

    fn idempotency_key(&self, route: &str, key: Keyed, request: &impl Serialize) -> IdempotencyKey {
        IdempotencyKey {
            principal: self.owner_of(&key),
            route: route.to_owned(),
            key: key.key,
            // The request as it was understood, so that spaces and the order of its keys don't count.
            fingerprint: digest(&serde_json::to_vec(request).unwrap_or_default()),
        }
    }

    /// Changes a waiting task. `seen` says which revision the editor saw, given the present one.
    pub(crate) async fn edit_task(
        &self,
        id: TaskId,
        seen: impl FnOnce(Revision) -> Option<Revision>,
        edit: EditTask,
        by: &str,
    ) -> Result<api::Task> {
        let Some(present) = self.task_here(id).await? else {
            return self.edit_elsewhere(id, seen, edit, by).await;
        };
        let seen = seen(present.revision);
        let task = self.engine().edit_task(id, seen, edit, by).await?;
        self.task_answer(task).await
    }

    pub(crate) async fn move_task(&self, id: TaskId, to: MoveTask, by: &str) -> Result<api::Task> {
        match self.engine().move_task(id, to.into(), by).await {
            Ok(task) => self.task_answer(task).await,
            Err(error) if error.part().is_some() => Err(error),
            Err(error) => Err(self.not_this_task(error, id, "it is moved").await),
        }
    }

    /// Lets a task that came from another machine run here.
    pub(crate) async fn approve_task(&self, id: TaskId, by: &str) -> Result<api::Task> {
        match self.engine().approve_task(id, by).await {
            Ok(()) => self.task(id).await,
            Err(error) if error.kind() == ErrorKind::WrongState(Noun::System) => {
                // With nothing shared there is no such task either.
                self.engine().store().task(id).await?;
                Err(Error::new(
                    ErrorKind::WrongState(Noun::Task),
                    "the task waits for nobody's leave",
                ))
            }
            Err(error) => Err(self.not_this_task(error, id, "it is approved").await),
        }
    }

    /// The waiting tasks of a project in their order, with their places.
    pub(crate) async fn queue(&self, query: &QueueQuery) -> Result<Page<(Spot, api::Task)>> {
        let page = self.engine().store().queue(query).await?;
        let spots: Vec<Spot> = page.items.iter().map(Task::spot).collect();
        let tasks = self.task_answers(page.items).await?;
        Ok(Page {
            items: spots.into_iter().zip(tasks).collect(),
            more: page.more,
        })
    }

    pub(crate) async fn cancel_tasks(
        &self,
        ids: Vec<TaskId>,
        by: &str,
    ) -> Result<Vec<(TaskId, Result<api::Task>)>> {
        let done = self.engine().cancel_tasks(ids.clone(), by).await;
        self.each_answer(ids, done).await
    }

    pub(crate) async fn retry_tasks(
        &self,
        ids: Vec<TaskId>,
        by: &str,
    ) -> Result<Vec<(TaskId, Result<api::Task>)>> {
        let done = self.engine().retry_tasks(ids.clone(), by).await;
        self.each_answer(ids, done).await
    }

    async fn each_answer(
        &self,
        ids: Vec<TaskId>,
        done: Vec<Result<Task>>,
    ) -> Result<Vec<(TaskId, Result<api::Task>)>> {
        let mut here = Vec::new();
        let mut there = HashMap::new();
        for task in done.iter().filter_map(|done| done.as_ref().ok()) {
            match self.task_here(task.id).await? {
                Some(_) => here.push(task.clone()),
                None => drop(there.insert(task.id, self.task(task.id).await)),
            }
        }
        let mut here = self.task_answers(here).await?.into_iter();
        let answers = done.into_iter().map(|done| match done {
            Ok(task) => there.remove(&task.id).unwrap_or_else(|| {
                let next = here.next();
                next.ok_or_else(|| ccm_core::Error::internal("a task has no answer"))
            }),
            Err(error) => Err(error),
        });
        Ok(ids.into_iter().zip(answers).collect())
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<api::Task> {
        match self.task_here(id).await? {
            Some(task) => self.task_answer(task).await,
            None => {
                let task = self.task_elsewhere(id).await?;
                task.ok_or_else(|| Error::no_task(id))
            }
        }
    }

    /// The task, if this machine runs it or is to.
    pub(super) async fn task_here(&self, id: TaskId) -> Result<Option<Task>> {
        match self.engine().store().task(id).await {
            Ok(task) => Ok(Some(task).filter(|task| !task.yielded)),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn tasks(&self, query: &TaskQuery) -> Result<Page<api::Task>> {
        let page = self.engine().store().tasks(query).await?;
        let of = AskQuery {
            project: query.filter.project,
            ..AskQuery::default()
        };
        Ok(Page {
            items: self.wires(page.items, of).await?,
            more: page.more,
        })
    }

    pub(crate) async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64> {
        self.engine().store().count_tasks(filter).await
    }

    pub(crate) async fn cancel_task(&self, id: TaskId, by: &str) -> Result<CancelAnswer> {
        let (task, effect) = self.engine().cancel_task(id, by).await?;
        // The machine of a task of another one is told, and cancels it then.
        let stopping = effect == CancelEffect::Stopping || task.state.run().is_some();
        Ok(CancelAnswer {
            stopping,
            task: self.same_task(task).await?,
        })
    }

    pub(crate) async fn retry_task(&self, id: TaskId, by: &str) -> Result<api::Task> {
        let task = self.engine().retry_task(id, by).await?;
        self.same_task(task).await
    }

    /// The answer for a task that the engine did something with, or had another machine asked to.
    async fn same_task(&self, task: Task) -> Result<api::Task> {
        match self.task_here(task.id).await? {
            Some(_) => self.task_answer(task).await,
            None => self.task(task.id).await,
        }
    }

    /// Among whose keys this one is.
    pub(super) fn owner_of(&self, key: &Keyed) -> String {
        match key.run {
            None => digest(self.token().as_bytes()),
            Some(run) => digest(run.to_string().as_bytes()),
        }
    }

    async fn task_answer(&self, task: Task) -> Result<api::Task> {
        let of = AskQuery {
            task: Some(task.id),
            ..AskQuery::default()
        };
        let wire = self.wires(vec![task], of).await?.pop();
        wire.ok_or_else(|| ccm_core::Error::internal("a task has no answer"))
    }

    async fn task_answers(&self, tasks: Vec<Task>) -> Result<Vec<api::Task>> {
        self.wires(tasks, AskQuery::default()).await
    }

    /// The wire forms of tasks; what their runs ask is looked for among the asks that `of` is about.
    async fn wires(&self, tasks: Vec<Task>, of: AskQuery) -> Result<Vec<api::Task>> {
        let holds = self.holds(&tasks).await?;
        let asks = self.asked(&tasks, of).await?;
        let waits = self.waits(&tasks).await?;
        let mut sharing = self.sharing_of(&tasks).await?;
        let wire = |task: Task| {
            let hold = holds.get(&task.project_id);
            let sharing = sharing.remove(&task.id);
            let mut wire = self.wire(task, hold, &asks, &waits);
            wire.sharing = sharing;
            wire
        };
        Ok(tasks.into_iter().map(wire).collect())
    }

    /// The wire form of `task`, which also says what its run asks, and when it waits for another machine than this one.
    fn wire(
        &self,
        task: Task,
        hold: Option<&Setback>,
        asks: &OpenAsks,
        waits: &HashMap<RunId, Setback>,
    ) -> api::Task {
        let missing = self.missing_here(&task);
        let run = task.state.run();
        let mut wire = api::Task::new(task, hold);
        if wire.state == TaskStateName::Running {
            wire.open_asks = asks.of_task(wire.id);
            if let Some(wait) = run.and_then(|run| waits.get(&run))
                && wire.reason.is_none()
            {
                wire.reason = Some(wait.reason);
                wire.detail.clone_from(&wait.detail);
            }
        }
        if wire.state == TaskStateName::Queued && wire.reason.is_none() {
            wire.detail = missing;
        }
        wire
    }

    fn missing_here(&self, task: &Task) -> Option<String> {
        let here = self.engine().system();
        if let Some(kind) = task.spec.system_type.filter(|kind| *kind != here.kind) {
            return Some(format!(
                "waits for a machine of type {}; this one is {} (system.type)",
                kind.as_str(),
                here.kind.as_str()
            ));
        }
        let tags = task.spec.tags.iter();
        let missing: Vec<&str> = tags
            .filter(|tag| !here.tags.contains(tag))
            .map(String::as_str)
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "waits for a machine with {}; this one has not (system.tags)",
                missing.join(", ")
            )
        })
    }

    /// What the running ones of `tasks` ask, looked for among the asks that `of` is about.
    async fn asked(&self, tasks: &[Task], of: AskQuery) -> Result<OpenAsks> {
        if tasks.iter().any(|task| task.state.run().is_some()) {
            self.open_asks(of).await
        } else {
            Ok(OpenAsks::default())
        }
    }

    /// What the runs that have not ended wait for, if one of `tasks` has such a run.
    async fn waits(&self, tasks: &[Task]) -> Result<HashMap<RunId, Setback>> {
        let runs = |task: &Task| matches!(task.state, TaskState::Running { .. });
        if !tasks.iter().any(runs) {
            return Ok(HashMap::new());
        }
        let open = self.engine().store().open_runs().await?;
        let wait = |run: Run| {
            let id = run.id;
            let RunState::Running { held, .. } = run.state else {
                return None;
            };
            let interrupted = run.waits.interrupted.map(|by| by.setback());
            let parked = run.waits.parked.map(|parking| parking.cause);
            let held = held.map(Setback::bare);
            Some((id, held.or(interrupted).or(parked)?))
        };
        Ok(open.into_iter().filter_map(wait).collect())
    }

    /// What holds the tasks that wait, by project.
    async fn holds(&self, tasks: &[Task]) -> Result<HashMap<ProjectId, Setback>> {
        let waits = |task: &Task| matches!(task.state, TaskState::Queued { .. });
        if !tasks.iter().any(waits) {
            return Ok(HashMap::new());
        }
        let projects = self.engine().store().projects().await?;
        let mut holds = self.agent_holds().await?;
        let held = projects.into_iter();
        holds.extend(held.filter_map(|project| Some((project.id, project.hold?))));
        Ok(holds)
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
