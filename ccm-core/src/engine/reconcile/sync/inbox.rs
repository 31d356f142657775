//! What other machines ask of this one: their tasks for its projects, and their wishes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::bodies;
use crate::engine::reconcile::Shared;
use crate::engine::sync::{spec, write_spec};
use crate::id::{InputId, ProjectId, SystemId, TaskId};
use crate::project::{Project, RemoteTasks};
use crate::reason::Reason;
use crate::store::{
    Act, CreateTasks, Document, NewDocument, NewTask, Replica, Reply, Settle, TaskEdit,
};
use crate::sync::Kind;
use crate::sync::documents::{self, Definition, Report, SystemReport, Wanted, Wish};
use crate::task::{Edit, Setback, SpecEdit, Task, TaskSpec, TaskState};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result, api};

/// How many documents are looked at together.
const TOGETHER: u32 = 100;
/// No name of a client is longer.
const MAX_CLIENT: usize = 64;
/// Of which at most so much is the name that it has on its own machine.
const MAX_NAME: usize = 42;

/// What is looked up once for all documents that are dealt with together.
#[derive(Default)]
struct View {
    /// Those of the tasks that this machine has.
    tasks: HashSet<TaskId>,
    reports: HashMap<Uuid, Value>,
    projects: HashMap<ProjectId, Option<(Project, RemoteTasks)>>,
    hosts: HashMap<SystemId, String>,
}

impl View {
    async fn of(shared: &Shared, replica: &dyn Replica, documents: &[Document]) -> Result<Self> {
        let tasks = documents.iter().filter(|one| one.kind == Kind::Task);
        let tasks: Vec<Uuid> = tasks.map(|document| document.id).collect();
        let reports = replica.documents_of(&Kind::Report, &tasks).await?;
        let reports = reports.into_iter();
        let tasks: Vec<TaskId> = tasks.into_iter().map(TaskId::from_uuid).collect();
        let tasks = shared.parts.store.tasks_of(&tasks).await?;
        Ok(Self {
            tasks: tasks.into_iter().map(|task| task.id).collect(),
            reports: reports
                .filter_map(|report| Some((report.id, report.body?)))
                .collect(),
            ..Self::default()
        })
    }
}

/// Deals with what other machines ask for.
pub(in crate::engine) struct Inbox {
    shared: Arc<Shared>,
}

impl Inbox {
    pub(in crate::engine) fn new(shared: &Arc<Shared>) -> Self {
        let shared = Arc::clone(shared);
        Self { shared }
    }

    fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }

    /// Deals with everything that asks for something. Whoever calls this holds the documents.
    pub(in crate::engine) async fn settle_all(&self, replica: &dyn Replica) -> Result<()> {
        let mut after = 0;
        loop {
            let unsettled = replica.unsettled(after, TOGETHER).await?;
            let Some(last) = unsettled.last() else {
                return Ok(());
            };
            after = last.place;
            let mut view = View::of(&self.shared, replica, &unsettled).await?;
            // What comes in large numbers goes in together.
            let mut new = Vec::new();
            for document in unsettled {
                // A wish may be about one of them.
                if document.kind != Kind::Task {
                    self.settle_together(replica, &mut new).await?;
                }
                let settle = self.dealing(replica, &document, &mut view).await?;
                if let Act::Create { .. } = settle.act {
                    new.push((document, settle));
                    continue;
                }
                self.settle_together(replica, &mut new).await?;
                self.settle_one(replica, settle).await?;
            }
            self.settle_together(replica, &mut new).await?;
        }
    }

    async fn settle_together(
        &self,
        replica: &dyn Replica,
        new: &mut Vec<(Document, Settle)>,
    ) -> Result<()> {
        let (documents, settles): (Vec<_>, Vec<_>) = new.drain(..).unzip();
        if documents.is_empty() {
            return Ok(());
        }
        if replica.settle_all(settles).await.is_ok() {
            crate::barrier!("sync.settled");
            self.shared.dispatch.notify_one();
            return Ok(());
        }
        // What is wrong with one of them is no matter of the others, and may be that the view was old.
        let mut view = View::of(&self.shared, replica, &documents).await?;
        for document in documents {
            let settle = self.dealing(replica, &document, &mut view).await?;
            self.settle_one(replica, settle).await?;
        }
        Ok(())
    }

    /// What is to be done about a document.
    async fn dealing(
        &self,
        replica: &dyn Replica,
        document: &Document,
        view: &mut View,
    ) -> Result<Settle> {
        let (kind, id) = (&document.kind, document.id);
        let act = match self.act(replica, document, view).await {
            Ok(act) => act,
            // Nothing that another machine writes may keep this one from its work.
            Err(error) if is_about_content(&error) => {
                tracing::warn!(%kind, %id, error = crate::chain(&error), "a document of another machine asks for what can't be done");
                Act::Nothing
            }
            Err(error) => return Err(error),
        };
        Ok(Settle {
            id,
            place: document.place,
            kind: document.kind.clone(),
            act,
            now: self.now(),
        })
    }

    async fn settle_one(&self, replica: &dyn Replica, settle: Settle) -> Result<()> {
        let (kind, id, place) = (settle.kind.clone(), settle.id, settle.place);
        let refused = Settle {
            act: Act::Nothing,
            ..settle.clone()
        };
        match self.settle(replica, settle).await {
            Err(error) if is_about_content(&error) => {
                tracing::warn!(%kind, %id, error = crate::chain(&error), "what a document asks for was refused");
                self.settle(replica, refused).await?;
            }
            // It changed since it was read, and is looked at again.
            Err(error) if error.kind() == ErrorKind::Superseded => {
                let now = replica.document(&kind, id).await?;
                if now.is_some_and(|document| document.place == place) {
                    return Err(error);
                }
            }
            settled => settled?,
        }
        Ok(())
    }

    /// Settles a document, and has what it asks for carried out.
    pub(super) async fn settle(&self, replica: &dyn Replica, settle: Settle) -> Result<()> {
        let task = match &settle.act {
            Act::Cancel { task, .. } | Act::Yield { task } => Some(*task),
            Act::Answer { ask, .. } => {
                let ask = self.shared.parts.store.ask(*ask).await;
                ask.ok().map(|ask| ask.task_id)
            }
            _ => None,
        };
        let nothing = settle.act == Act::Nothing;
        replica.settle(settle).await?;
        crate::barrier!("sync.settled");
        if nothing {
            return Ok(());
        }
        if let Some(task) = task
            && let Ok(task) = self.shared.parts.store.task(task).await
            && let Some(run) = task.state.run()
        {
            self.shared.actors.wake(run);
        }
        self.shared.dispatch.notify_one();
        Ok(())
    }

    async fn act(
        &self,
        replica: &dyn Replica,
        document: &Document,
        view: &mut View,
    ) -> Result<Act> {
        let id = document.id;
        let task = match view.tasks.contains(&TaskId::from_uuid(id)) {
            true => self.task(TaskId::from_uuid(id)).await?,
            false => None,
        };
        let Some(body) = &document.body else {
            return Ok(match task {
                Some(task) if !task.yielded => Act::Cancel {
                    task: task.id,
                    by: "sync".to_owned(),
                },
                _ => Act::Nothing,
            });
        };
        match document.kind {
            Kind::Task => {
                let definition: Definition = documents::read(&Kind::Task, id, body)?;
                let id = TaskId::from_uuid(id);
                match task {
                    Some(task) if task.yielded => Ok(Act::Nothing),
                    Some(task) => {
                        let by_me = document.origin == self.shared.parts.system.id;
                        self.edit(replica, &task, &definition, by_me).await
                    }
                    None if definition.is_shared() => Ok(Act::Nothing),
                    None => self.accept(replica, id, &definition, view).await,
                }
            }
            Kind::Wish => {
                let wish: Wish = documents::read(&Kind::Wish, id, body)?;
                self.grant(replica, wish).await
            }
            _ => Ok(Act::Nothing),
        }
    }

    /// The task as it is now, if this machine has it.
    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        match self.shared.parts.store.task(id).await {
            Ok(task) => Ok(Some(task)),
            Err(error) if bodies::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A task of another machine for a project of this one, or of this one when it was not sure of being reached.
    async fn accept(
        &self,
        replica: &dyn Replica,
        id: TaskId,
        definition: &Definition,
        view: &mut View,
    ) -> Result<Act> {
        let report: Option<Report> = match view.reports.get(id.as_uuid()) {
            Some(body) => Some(documents::read(&Kind::Report, *id.as_uuid(), body)?),
            None => None,
        };
        if report
            .as_ref()
            .is_some_and(|report| report.task.state.is_final())
        {
            return Ok(Act::Nothing);
        }
        let here = self.shared.parts.system.id;
        let Some((project, remote_tasks)) = self.project(definition.project_id, view).await? else {
            self.fail_of_removed(replica, id, definition).await?;
            return Ok(Act::Nothing);
        };
        let host = match view.hosts.get(&definition.created_on) {
            Some(host) => host.clone(),
            None => {
                let host = self.name_of(replica, definition.created_on).await?;
                view.hosts.insert(definition.created_on, host.clone());
                host
            }
        };
        let request = Box::new(self.request_from(&host, id, definition, project.id)?);
        let was_here = report.is_some_and(|report| report.system_id == here);
        if was_here || definition.created_on == here {
            let hold = was_here.then(|| {
                Setback::new(
                    Reason::RemoteUnapproved,
                    format!(
                        "this machine's data were put back to before it had the task, which may have been begun: look what \
                         is done, then `ccm task approve {id}` or cancel it"
                    ),
                )
            });
            return Ok(Act::Create {
                request,
                hold,
                lease: None,
            });
        }
        tracing::info!(task = %id, project = project.name, by = request.created_by, "a task of another machine came");
        Ok(match remote_tasks {
            RemoteTasks::Allow => Act::Create {
                request,
                hold: None,
                lease: None,
            },
            RemoteTasks::Ask => Act::Create {
                request,
                hold: Some(Setback::new(
                    Reason::RemoteUnapproved,
                    format!(
                        "it came from {host}, and the project asks first (`remote_tasks`): `ccm task approve {id}` on \
                         this machine lets it run"
                    ),
                )),
                lease: None,
            },
            RemoteTasks::Deny => Act::Refuse {
                request,
                cause: Setback::new(
                    Reason::RemoteDenied,
                    format!(
                        "it came from {host}, and the project takes no tasks of other machines (`remote_tasks`)"
                    ),
                ),
            },
        })
    }

    /// What a machine accepts when it accepts a definition: never more than what is to be said to the agent.
    pub(super) async fn request(
        &self,
        replica: &dyn Replica,
        id: TaskId,
        definition: &Definition,
        project_id: ProjectId,
    ) -> Result<CreateTasks> {
        let host = self.name_of(replica, definition.created_on).await?;
        self.request_from(&host, id, definition, project_id)
    }

    fn request_from(
        &self,
        host: &str,
        id: TaskId,
        definition: &Definition,
        project_id: ProjectId,
    ) -> Result<CreateTasks> {
        let is_own = definition.created_on == self.shared.parts.system.id;
        let created_by = match is_own {
            true => definition.created_by.clone(),
            false => client_of(&definition.created_by, host),
        };
        Ok(CreateTasks {
            tasks: vec![NewTask {
                id,
                project_id,
                spec: spec(definition)?,
            }],
            created_by,
            key: None,
            max_queued: u64::MAX,
            now: self.now(),
        })
    }

    /// A project of this machine, and what it does with tasks of others.
    async fn project(
        &self,
        id: ProjectId,
        view: &mut View,
    ) -> Result<Option<(Project, RemoteTasks)>> {
        if let Some(known) = view.projects.get(&id) {
            return Ok(known.clone());
        }
        let parts = &self.shared.parts;
        let found = match parts.store.project(id).await {
            Ok(project) => {
                let sharing = parts.profiles.sharing(&project).await;
                Some((project, sharing.remote_tasks))
            }
            Err(error) if bodies::is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        view.projects.insert(id, found.clone());
        Ok(found)
    }

    pub(super) async fn name_of(&self, replica: &dyn Replica, system: SystemId) -> Result<String> {
        let report: Option<SystemReport> =
            bodies::read(replica, &Kind::System, *system.as_uuid()).await?;
        Ok(report.map_or_else(|| system.to_string(), |report| report.hostname))
    }

    /// Whoever sent a task to a project that is gone is told so.
    async fn fail_of_removed(
        &self,
        replica: &dyn Replica,
        id: TaskId,
        definition: &Definition,
    ) -> Result<()> {
        let cause = Setback::new(
            Reason::ProjectRemoved,
            "its project was removed from its machine",
        );
        let now = self.now();
        let state = TaskState::Failed {
            run: None,
            cause,
            at: now,
        };
        self.report_of_none(replica, id, definition, state).await
    }

    /// Tells how a task ended that this machine never had in its queue.
    pub(super) async fn report_of_none(
        &self,
        replica: &dyn Replica,
        id: TaskId,
        definition: &Definition,
        state: TaskState,
    ) -> Result<()> {
        let now = self.now();
        let project = bodies::read::<documents::ProjectReport>(
            replica,
            &Kind::Project,
            *definition.project_id.as_uuid(),
        );
        let name = project.await?.map(|report| report.project.name);
        let project = (definition.project_id, name.unwrap_or_default());
        let mut task = Task::accepted(
            (id, spec(definition)?),
            project,
            definition.created_by.clone(),
            definition.created_at,
        );
        task.state = state;
        task.updated_at = now;
        let mut wire = api::Task::new(task, None);
        wire.text.clear();
        let body = bodies::write_report(&self.shared, wire, serde_json::Map::new())?;
        let document = NewDocument {
            kind: Kind::Report,
            id: *id.as_uuid(),
            body: Some(body),
            settled: true,
        };
        replica.put(vec![document], None, now).await.map(drop)
    }

    /// A definition of a task that this machine has was changed.
    async fn edit(
        &self,
        replica: &dyn Replica,
        task: &Task,
        definition: &Definition,
        by_me: bool,
    ) -> Result<Act> {
        let wanted = spec(definition)?;
        if task.spec.changes(&wanted).is_empty() {
            return Ok(Act::Nothing);
        }
        // What an agent is told is code from outside: it is not let in by the back door.
        if !by_me && task.hold.is_none() && task.spec.text != wanted.text {
            let project = self.shared.parts.store.project(task.project_id).await;
            let allowed = match project {
                Ok(project) => {
                    let sharing = self.shared.parts.profiles.sharing(&project).await;
                    sharing.remote_tasks == RemoteTasks::Allow
                }
                Err(_) => false,
            };
            if !allowed {
                tracing::info!(task = %task.id, "another machine's change of the text is not let in (`remote_tasks`)");
                let let_in = TaskSpec {
                    title: task.spec.title.clone(),
                    text: task.spec.text.clone(),
                    ..wanted
                };
                self.say_instead(replica, task.id, let_in, definition)
                    .await?;
                return Ok(Act::Nothing);
            }
        }
        Ok(Act::Edit(Box::new(TaskEdit {
            id: task.id,
            revision: None,
            edit: difference(&task.spec, wanted),
            by: "sync".to_owned(),
            now: self.now(),
        })))
    }

    /// Says what a task is to be, over what another machine made of it. That comes in as any other change.
    async fn say_instead(
        &self,
        replica: &dyn Replica,
        task: TaskId,
        spec: TaskSpec,
        definition: &Definition,
    ) -> Result<()> {
        let mut definition = definition.clone();
        write_spec(&mut definition, spec);
        let document = NewDocument {
            kind: Kind::Task,
            id: *task.as_uuid(),
            body: Some(documents::write(&definition)?),
            settled: false,
        };
        replica
            .put(vec![document], None, self.now())
            .await
            .map(drop)
    }

    async fn grant(&self, replica: &dyn Replica, wish: Wish) -> Result<Act> {
        let task = self.task(wish.task_id).await?;
        let Some(task) = task.filter(|task| !task.yielded) else {
            // Of a shared task that nobody has, whoever may claim it looks at the wishes itself.
            return Ok(Act::Nothing);
        };
        let host = self.name_of(replica, wish.system_id).await?;
        let by = match wish.system_id == self.shared.parts.system.id {
            true => wish.by,
            false => client_of(&wish.by, &host),
        };
        tracing::info!(task = %task.id, by, what = ?wish.what, "another machine has a wish");
        let task = task.id;
        Ok(match wish.what {
            Wanted::Cancel => Act::Cancel { task, by },
            Wanted::Retry => Act::Retry { task, by },
            Wanted::Answer { ask_id, answer } => Act::Answer {
                ask: ask_id,
                reply: Box::new(Reply {
                    answer,
                    by,
                    input_id: InputId::new(),
                    now: self.now(),
                }),
            },
            Wanted::Other => Act::Nothing,
        })
    }
}

/// Whether an error is about what was asked for, and not about whether anything can be done now.
fn is_about_content(error: &Error) -> bool {
    match error.kind() {
        // Sharing was switched off meanwhile.
        ErrorKind::WrongState(Noun::System) => false,
        kind => matches!(
            kind,
            ErrorKind::Invalid
                | ErrorKind::NotFound(_)
                | ErrorKind::WrongState(_)
                | ErrorKind::Taken(_)
                | ErrorKind::KeyReused
        ),
    }
}

/// The name of a client of another machine: `cli:laptop`.
pub(super) fn client_of(name: &str, host: &str) -> String {
    let clean = |text: &str, most: usize| -> String {
        let fits = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | ':' | '_' | '-') => c,
            _ => '-',
        };
        text.chars().take(most).map(fits).collect()
    };
    let name = clean(name, MAX_NAME);
    let host = clean(host, MAX_CLIENT - 1 - name.len());
    format!("{name}:{host}")
}

/// The change that makes a task ask for `to`.
fn difference(from: &TaskSpec, to: TaskSpec) -> SpecEdit {
    fn set<T>(value: Option<T>) -> Edit<T> {
        value.map_or(Edit::Unset, Edit::Set)
    }
    let mut edit = SpecEdit {
        // Always said, or it would follow the text.
        title: Edit::Set(to.title.clone()),
        ..SpecEdit::default()
    };
    for field in from.changes(&to) {
        match field {
            "text" => edit.text = Some(to.text.clone()),
            "priority" => edit.priority = Some(to.priority),
            "not_before" => edit.not_before = set(to.not_before),
            "blocked_by" => edit.blocked_by = Some(to.blocked_by.clone()),
            "max_retries" => edit.max_retries = Some(to.max_retries),
            "timeout_s" => edit.timeout = set(to.timeout),
            "session" => edit.session = Some(to.session),
            "tags" => edit.tags = Some(to.tags.clone()),
            "system_type" => edit.system_type = set(to.system_type),
            _ => {}
        }
    }
    edit
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::task::{SessionMode, TaskText, Title};

    #[test]
    fn a_client_of_another_machine_has_a_name_that_can_be_one() {
        assert_eq!(client_of("cli", "laptop"), "cli:laptop");
        assert_eq!(client_of("api", "Büro.PC"), "api:b-ro-pc");
        let long = client_of(&format!("agent:{}", Uuid::nil()), &"h".repeat(300));
        assert_eq!(long.len(), 64);
        assert!(long.starts_with("agent:00000000-0000-0000-0000-000000000000:h"));
    }

    #[test]
    fn a_difference_makes_one_of_the_other() {
        let text = |text: &str| TaskText::new(text).unwrap();
        let from = TaskSpec::new(text("one"));
        let to = TaskSpec {
            title: Title::new("another").unwrap(),
            text: text("two"),
            priority: 3,
            not_before: Some(Timestamp::from_micros(5)),
            blocked_by: vec![TaskId::new()],
            max_retries: 2,
            timeout: Some(Duration::from_secs(9)),
            session: SessionMode::Continue,
            tags: vec!["gpu".to_owned()],
            system_type: Some(crate::system::SystemKind::Devops),
        };
        for (from, to) in [(&from, &to), (&to, &from), (&to, &to)] {
            let edit = difference(from, to.clone());
            assert_eq!(from.edited(edit).unwrap(), *to);
        }
    }
}
