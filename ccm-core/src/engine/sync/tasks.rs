//! Tasks that other machines run: making, changing, and wishing something of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Map;
use uuid::Uuid;

use super::view::{self, Remote};
use crate::api::{self, CreateTask};
use crate::ask::{Answer, Ask, AskState};
use crate::engine::Engine;
use crate::engine::tasks::{spec, spec_edit};
use crate::id::{AskId, ProjectId, Revision, TaskId};
use crate::project::Profile;
use crate::store::{Document, IdempotencyKey, NewDocument, Replica};
use crate::sync::documents::{self, Definition, ProjectReport, Wanted, Wish};
use crate::sync::{Identity, Kind};
use crate::task::{CancelEffect, Task, TaskStateName};
use crate::{Error, ErrorKind, Noun, Result};

/// A task for another machine, or for any.
#[derive(Debug, Clone, PartialEq)]
pub struct DefineTask {
    /// What is wanted. Its project may be of any machine.
    pub task: CreateTask,
    /// Whether any machine may run it that has a project of the same repository.
    pub any_machine: bool,
}

/// What is known of a task's project.
#[derive(Debug, Clone)]
struct Target {
    profile: Profile,
    repository: Option<String>,
    is_here: bool,
}

impl Engine {
    /// Whether [`define_tasks`](Self::define_tasks) is the way for a task to come into the world, and not
    /// [`create_tasks`](Self::create_tasks): its project is another machine's, or any machine with the same repository may
    /// run it.
    ///
    /// # Errors
    /// `NotFound(Project)`.
    pub async fn is_for_others(&self, task: &DefineTask) -> Result<bool> {
        let Ok((replica, _)) = self.sharing().await else {
            self.store().project(task.task.project_id).await?;
            return Ok(false);
        };
        let target = self.target(replica, task.task.project_id).await?;
        let wants =
            task.any_machine || !task.task.tags.is_empty() || task.task.system_type.is_some();
        Ok(!target.is_here || (wants && target.repository.is_some()))
    }

    /// Tells other machines of new tasks, all of them or none. The machine of a task's project runs it, or, if it is for
    /// any machine or asks for tags or a type of machine, one that fits and has a project of the same repository.
    ///
    /// What a task of a project of this machine leaves out comes from its profile; of other projects it gets the built-in
    /// defaults. They are kept and sent later when the server can't be reached.
    ///
    /// # Errors
    /// `WrongState(System)` while sharing is off; `Invalid`, `NotFound(Project)` and `NotFound(Task)` as in
    /// [`create_tasks`](Self::create_tasks), with the same parts; those of [`Replica::put`].
    pub async fn define_tasks(
        &self,
        tasks: Vec<DefineTask>,
        created_by: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Document>> {
        let (replica, me) = self.sharing().await?;
        let now = self.shared.parts.clock.now();
        let mut targets: BTreeMap<ProjectId, Target> = BTreeMap::new();
        let mut definitions = Vec::with_capacity(tasks.len());
        for (number, task) in tasks.into_iter().enumerate() {
            let project_id = task.task.project_id;
            let target = match targets.entry(project_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let target = self.target(replica, project_id).await;
                    let part = format_args!("/tasks/{number}/project_id");
                    unknown.insert(target.map_err(|error| error.at(part))?)
                }
            };
            let spec = spec(task.task, &target.profile);
            let spec = spec.map_err(|error| error.at(format_args!("/tasks/{number}")))?;
            for (place, blocker) in spec.blocked_by.iter().enumerate() {
                let known = self.is_known(replica, *blocker).await;
                let part = format_args!("/tasks/{number}/blocked_by/{place}");
                known.map_err(|error| error.at(part))?;
            }
            let mut definition = Definition {
                project_id,
                repository: target.repository.clone(),
                any_machine: task.any_machine,
                pinned: false,
                title: String::new(),
                text: String::new(),
                priority: 0,
                not_before: None,
                blocked_by: Vec::new(),
                max_retries: 0,
                timeout_us: None,
                session: spec.session,
                tags: Vec::new(),
                system_type: None,
                created_by: created_by.to_owned(),
                created_on: me.system,
                created_at: now,
                extra: Map::new(),
            };
            view::write_spec(&mut definition, spec);
            definitions.push(NewDocument {
                kind: Kind::Task,
                id: *TaskId::new().as_uuid(),
                body: Some(documents::write(&definition)?),
                settled: false,
            });
        }
        let defined = self.noting(replica.put(definitions, key, now).await)?;
        tracing::info!(
            tasks = defined.len(),
            by = created_by,
            "tasks for other machines were written"
        );
        self.shared.sync.changed.notify_one();
        Ok(defined)
    }

    /// Whether [`define_tasks`](Self::define_tasks) was called with this key before, and would answer what it did then.
    ///
    /// # Errors
    /// `WrongState(System)` while sharing is off; those of [`Replica::put`].
    pub async fn has_defined(&self, key: IdempotencyKey) -> Result<bool> {
        let (replica, _) = self.sharing().await?;
        let now = self.shared.parts.clock.now();
        let defined = self.noting(replica.put(Vec::new(), Some(key), now).await)?;
        Ok(!defined.is_empty())
    }

    async fn target(&self, replica: &dyn Replica, id: ProjectId) -> Result<Target> {
        match self.store().project(id).await {
            Ok(project) => {
                let profiles = &self.shared.parts.profiles;
                return Ok(Target {
                    profile: profiles.profile(&project).await.unwrap_or_default(),
                    repository: profiles.sharing(&project).await.repository,
                    is_here: true,
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Project) => {}
            Err(error) => return Err(error),
        }
        let document = replica.document(&Kind::Project, *id.as_uuid()).await?;
        let body = document.and_then(|document| document.body);
        let body = body.ok_or_else(|| Error::no_project(id))?;
        let report: ProjectReport = documents::read(&Kind::Project, *id.as_uuid(), &body)?;
        if report.removed_at.is_some() {
            return Err(Error::no_project(id));
        }
        Ok(Target {
            profile: Profile::default(),
            repository: report.repository,
            is_here: false,
        })
    }

    async fn is_known(&self, replica: &dyn Replica, task: TaskId) -> Result<()> {
        if self.store().task(task).await.is_ok() {
            return Ok(());
        }
        let document = replica.document(&Kind::Task, *task.as_uuid()).await?;
        match document.and_then(|document| document.body) {
            Some(_) => Ok(()),
            None => Err(Error::no_task(task)),
        }
    }

    /// Tells the machine that runs a task what is wanted of it. It is done when that machine hears of it.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(System)` while sharing is off; those of [`Replica::put`].
    pub async fn wish(&self, task: TaskId, what: Wanted, by: &str) -> Result<Document> {
        let (replica, me) = self.sharing().await?;
        self.is_known(replica, task).await?;
        self.send_wish(replica, me, task, what, by).await
    }

    async fn send_wish(
        &self,
        replica: &dyn Replica,
        me: Identity,
        task: TaskId,
        what: Wanted,
        by: &str,
    ) -> Result<Document> {
        let now = self.shared.parts.clock.now();
        let wish = Wish {
            task_id: task,
            what,
            by: by.to_owned(),
            system_id: me.system,
            at: now,
        };
        let document = NewDocument {
            kind: Kind::Wish,
            id: Uuid::now_v7(),
            body: Some(documents::write(&wish)?),
            settled: false,
        };
        let mut put = self.noting(replica.put(vec![document], None, now).await)?;
        tracing::info!(%task, by, what = ?wish.what, "another machine is told of a wish");
        self.shared.sync.changed.notify_one();
        put.pop()
            .ok_or_else(|| Error::internal("a document was put and is not there"))
    }

    /// Lets a task of another machine run here that waits for a person's leave, or a shared one that this machine's project
    /// of its repository asks about.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when it does not wait for that; `WrongState(System)` while sharing is off.
    pub async fn approve_task(&self, id: TaskId, by: &str) -> Result<()> {
        let (replica, _) = self.sharing().await?;
        let now = self.shared.parts.clock.now();
        match replica.approve(id, by, now).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => {
                let remote = Remote::read(replica, id).await?;
                if !remote.definition.is_shared() || remote.report.is_some() {
                    return Err(Error::new(
                        ErrorKind::WrongState(Noun::Task),
                        "the task waits for no leave on this machine",
                    ));
                }
                self.shared.sync.approve(id);
            }
            approved => self.noting(approved)?,
        }
        tracing::info!(task = %id, by, "a task of another machine may run");
        self.shared.dispatch.notify_one();
        Ok(())
    }

    // --- what the ordinary methods do with tasks of other machines ---

    /// Whether a task is one that this machine does not run, as far as it shares anything.
    pub(in crate::engine) async fn is_elsewhere(&self, id: TaskId) -> bool {
        if self.store().replica().is_none() {
            return false;
        }
        let not_here = match self.store().task(id).await {
            Ok(task) => task.yielded,
            Err(error) => error.kind() == ErrorKind::NotFound(Noun::Task),
        };
        not_here && self.sharing().await.is_ok()
    }

    pub(in crate::engine) async fn cancel_elsewhere(
        &self,
        id: TaskId,
        by: &str,
    ) -> Result<(Task, CancelEffect)> {
        let (replica, me) = self.sharing().await?;
        let remote = Remote::read(replica, id).await?;
        let task = remote.task(id)?;
        match remote.state() {
            TaskStateName::Cancelled => return Ok((task, CancelEffect::Unchanged)),
            TaskStateName::Queued | TaskStateName::Running => {}
            ended => return Err(refused(ended, "cancelled")),
        }
        let what = Wanted::Cancel;
        self.send_wish(replica, me, id, what, by).await?;
        Ok((task, CancelEffect::Stopping))
    }

    pub(in crate::engine) async fn retry_elsewhere(&self, id: TaskId, by: &str) -> Result<Task> {
        let (replica, me) = self.sharing().await?;
        let remote = Remote::read(replica, id).await?;
        if !remote.state().is_final() {
            return Err(refused(remote.state(), "retried"));
        }
        let what = Wanted::Retry;
        self.send_wish(replica, me, id, what, by).await?;
        remote.task(id)
    }

    pub(in crate::engine) async fn edit_elsewhere(
        &self,
        id: TaskId,
        seen: Option<Revision>,
        edit: api::EditTask,
        by: &str,
    ) -> Result<Task> {
        let (replica, _) = self.sharing().await?;
        let _documents = self.shared.sync.documents.lock().await;
        let mut remote = Remote::read(replica, id).await?;
        let task = remote.task(id)?;
        let now = self.shared.parts.clock.now();
        let edited = task.edited(seen, spec_edit(edit)?, now)?;
        let Some((mut edited, _)) = edited else {
            return Ok(task);
        };
        for (place, blocker) in edited.spec.blocked_by.iter().enumerate() {
            let known = self.is_known(replica, *blocker).await;
            known.map_err(|error| error.at(format_args!("/blocked_by/{place}")))?;
        }
        view::write_spec(&mut remote.definition, edited.spec.clone());
        let document = NewDocument {
            kind: Kind::Task,
            id: *id.as_uuid(),
            body: Some(documents::write(&remote.definition)?),
            settled: false,
        };
        let put = self.noting(replica.put(vec![document], None, now).await)?;
        if let Some(document) = put.first() {
            edited.revision = Revision(document.place);
        }
        tracing::info!(task = %id, by, "a task of another machine was changed");
        self.shared.sync.changed.notify_one();
        Ok(edited)
    }

    pub(in crate::engine) async fn answer_elsewhere(
        &self,
        id: AskId,
        answer: Answer,
        by: &str,
    ) -> Result<Ask> {
        let (replica, me) = self.sharing().await?;
        let document = replica.document(&Kind::Ask, *id.as_uuid()).await?;
        let body = document.and_then(|document| document.body);
        let body = body.ok_or_else(|| Error::no_ask(id))?;
        let told: api::Ask = documents::read(&Kind::Ask, *id.as_uuid(), &body)?;
        let answer = view::question(&told).resolve(answer)?;
        match view::ask(told.clone(), None).state {
            AskState::Open => {}
            AskState::Answered {
                answer: first, by, ..
            } if first != answer => {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::Ask),
                    format!("{by} answered it before, and that answer counts"),
                ));
            }
            AskState::Answered { .. } => return Ok(view::ask(told, None)),
            AskState::Void { .. } => {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::Ask),
                    "nobody waits for the answer any more: the agent took the question back, or its run ended",
                ));
            }
        }
        let what = Wanted::Answer {
            ask_id: id,
            answer: answer.clone(),
        };
        self.send_wish(replica, me, told.task_id, what, by).await?;
        let now = self.shared.parts.clock.now();
        Ok(view::ask(told, Some((&answer, by, now))))
    }
}

fn refused(state: TaskStateName, what: &str) -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::Task),
        format!("the task is {state} and can't be {what}"),
    )
}
