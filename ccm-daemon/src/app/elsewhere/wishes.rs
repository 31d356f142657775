//! Making tasks that other machines run, and changing what they are.

use std::collections::BTreeMap;

use ccm_core::api::{self, CreateTask, EditTask};
use ccm_core::engine::DefineTask;
use ccm_core::id::{Revision, TaskId};
use ccm_core::store::{DocumentQuery, IdempotencyKey};
use ccm_core::sync::Kind;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::shown::Told;
use crate::app::App;

impl App {
    /// Whether these tasks are for other machines, or for any, and not for this one.
    ///
    /// # Errors
    /// `Invalid` for some of either: they can't be accepted in one piece. `NotFound(Project)`.
    pub(in crate::app) async fn are_for_others(&self, tasks: &[CreateTask]) -> Result<bool> {
        let elsewhere = self.elsewhere();
        let mut first = None;
        // Many tasks are often alike in this.
        let mut known = BTreeMap::new();
        for (number, task) in tasks.iter().enumerate() {
            let at = |error: Error, what: &str| error.at(format_args!("/tasks/{number}{what}"));
            if elsewhere.is_none() {
                match task.any_machine {
                    true => return Err(at(alone(), "/any_machine")),
                    false => continue,
                }
            }
            let wanted = DefineTask {
                task: task.clone(),
                any_machine: task.any_machine,
            };
            let asks = !task.tags.is_empty() || task.system_type.is_some();
            let others = match known.get(&(task.project_id, task.any_machine, asks)) {
                Some(others) => *others,
                None => {
                    let others = self.engine().is_for_others(&wanted).await;
                    let others = others.map_err(|error| at(error, "/project_id"))?;
                    if task.any_machine && !self.has_repository(task).await? {
                        return Err(at(no_repository(), "/any_machine"));
                    }
                    known.insert((task.project_id, task.any_machine, asks), others);
                    others
                }
            };
            if *first.get_or_insert(others) != others {
                let error = Error::invalid(
                    "some of these tasks are for this machine and some for others: create them by two requests",
                );
                return Err(at(error, "/project_id"));
            }
        }
        Ok(first.unwrap_or(false))
    }

    /// Whether machines can tell that they have the same repository as the task's project.
    async fn has_repository(&self, task: &CreateTask) -> Result<bool> {
        match self.engine().store().project(task.project_id).await {
            Ok(project) => {
                let sharing = self.parts.profiles.sharing(&project).await;
                Ok(sharing.repository.is_some())
            }
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Project) => {
                let Some(elsewhere) = self.elsewhere() else {
                    return Ok(false);
                };
                let project = elsewhere.project(task.project_id).await?;
                Ok(project.is_some_and(|project| project.repository.is_some()))
            }
            Err(error) => Err(error),
        }
    }

    /// Tells other machines of tasks. The second value says whether an earlier request with this key did.
    pub(in crate::app) async fn define(
        &self,
        tasks: Vec<CreateTask>,
        by: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<(Vec<api::Task>, bool)> {
        if let Err(full) = self.must_have_room(tasks.len()).await {
            // What was accepted is told again, however much waits.
            let is_known = match &key {
                Some(key) => self.engine().has_defined(key.clone()).await?,
                None => false,
            };
            if !is_known {
                return Err(full);
            }
        }
        let tasks = tasks.into_iter().map(|task| DefineTask {
            any_machine: task.any_machine,
            task,
        });
        let before = self.now();
        let defined = self.engine().define_tasks(tasks.collect(), by, key).await?;
        let told = defined.iter().map(|document| Told::new(document, None));
        let told: Option<Vec<Told>> = told.collect();
        let is_new = |told: &Told| told.definition.created_at >= before;
        if let Some(elsewhere) = self.elsewhere()
            && let Some(told) = told.filter(|told| told.iter().all(is_new))
        {
            let view = elsewhere.view(&self.engine().system().hostname).await?;
            let new = told.into_iter().map(|told| told.show(&view, Vec::new()));
            return Ok((new.collect(), false));
        }
        // Those of an earlier request are as they are now.
        let mut answers = Vec::with_capacity(defined.len());
        for document in defined {
            answers.push(self.task(TaskId::from_uuid(document.id)).await?);
        }
        Ok((answers, true))
    }

    /// Refuses more tasks for other machines than may wait on this one: nobody else counts what is written here and is not
    /// heard of there.
    async fn must_have_room(&self, more: usize) -> Result<()> {
        let most = self.engine().limits().max_queued;
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(());
        };
        // Nearly always there are few tasks of all machines.
        let all = elsewhere.defined(false).await?;
        if all.saturating_add(more as u64) <= most {
            return Ok(());
        }
        let waiting = elsewhere.defined(true).await?;
        if waiting.saturating_add(more as u64) > most {
            return Err(Error::new(
                ErrorKind::QueueFull,
                format!(
                    "{waiting} tasks that were written here wait for other machines to hear of them, and \
                     resources.max_queue_size allows {most}"
                ),
            ));
        }
        Ok(())
    }

    /// Changes what a task of another machine asks for.
    pub(in crate::app) async fn edit_elsewhere(
        &self,
        id: TaskId,
        seen: impl FnOnce(Revision) -> Option<Revision>,
        edit: EditTask,
        by: &str,
    ) -> Result<api::Task> {
        let present = self.task_elsewhere(id).await?;
        let present = present.ok_or_else(|| Error::no_task(id))?;
        // Looked at again where nothing can come in between.
        let seen = seen(present.revision);
        self.engine().edit_task(id, seen, edit, by).await?;
        self.task(id).await
    }
}

impl super::Elsewhere<'_> {
    /// How many tasks of other machines there are, or how many of those that were written last here and that no machine has
    /// said anything of.
    async fn defined(&self, waiting: bool) -> Result<u64> {
        let query = DocumentQuery {
            kinds: vec![Kind::Task],
            elsewhere: true,
            origin: waiting.then_some(self.this),
            unheard: waiting,
            ..DocumentQuery::default()
        };
        self.replica.count_documents(&query).await
    }
}

fn alone() -> Error {
    Error::invalid(
        "this machine shares its queue with no other one, so no other can run it; `ccm supabase connect` begins that",
    )
}

fn no_repository() -> Error {
    Error::invalid(
        "the project has no git remote `origin` that other machines can have, so they can't tell that they have the same",
    )
}
