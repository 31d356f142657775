//! What this machine's objects look like to others: made anew whenever they go out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::Shared;
use crate::ask::AskStateKind;
use crate::engine::sync::write_spec;
use crate::id::{AskId, FencingToken, ProjectId, RunId, TaskId};
use crate::store::{AskQuery, Mark, Replica, SealedOperation};
use crate::sync::Kind;
use crate::sync::documents::{self, Definition, ProjectReport, Report, SystemReport};
use crate::task::{Task, TaskState};
use crate::{Error, ErrorKind, Result, api};

/// The most open questions that a report tells of.
const MOST_ASKS: u32 = 1000;

/// The operations that marks become now.
pub(super) async fn operations(
    shared: &Shared,
    replica: &dyn Replica,
    marks: &[Mark],
) -> Result<Vec<SealedOperation>> {
    let mut ids: BTreeMap<&Kind, Vec<Uuid>> = BTreeMap::new();
    for mark in marks {
        ids.entry(&mark.kind).or_default().push(mark.id);
    }
    let tasks = [Kind::Task, Kind::Report].map(|kind| ids.get(&kind));
    let tasks: BTreeSet<&Uuid> = tasks.into_iter().flatten().flatten().collect();
    let tasks: Vec<TaskId> = tasks.into_iter().copied().map(TaskId::from_uuid).collect();
    let tasks = shared.parts.store.tasks_of(&tasks).await?;
    let mut objects = Objects {
        tasks: tasks.into_iter().map(|task| (task.id, task)).collect(),
        ..Objects::of(shared)
    };
    let mut kept = HashMap::new();
    for (kind, ids) in ids {
        for document in replica.documents_of(kind, &ids).await? {
            kept.insert((document.kind, document.id), document.body);
        }
    }
    let mut operations = Vec::with_capacity(marks.len());
    for mark in marks.iter().cloned() {
        let kept = kept.remove(&(mark.kind.clone(), mark.id)).flatten();
        let body = objects.body(&mark.kind, mark.id, kept).await?;
        let epoch = epoch(shared, &mark.kind, mark.id, body.as_ref());
        operations.push(SealedOperation {
            mark,
            uuid: Uuid::now_v7(),
            body,
            epoch,
        });
    }
    Ok(operations)
}

/// The token that it is said under, if it is about a shared task.
fn epoch(shared: &Shared, kind: &Kind, id: Uuid, body: Option<&Value>) -> Option<FencingToken> {
    shared.sync.epoch(task_of(kind, id, body)?)
}

/// The task that a document tells of.
pub(super) fn task_of(kind: &Kind, id: Uuid, body: Option<&Value>) -> Option<TaskId> {
    let task = match kind {
        Kind::Report => Some(id),
        Kind::Run | Kind::Ask | Kind::Transcript => body
            .and_then(|body| body.get("task_id")?.as_str())
            .and_then(|text| text.parse().ok()),
        _ => None,
    };
    task.map(TaskId::from_uuid)
}

/// What is looked up once for many documents.
struct Objects<'a> {
    shared: &'a Shared,
    tasks: HashMap<TaskId, Task>,
    repositories: HashMap<ProjectId, Option<String>>,
}

impl<'a> Objects<'a> {
    fn of(shared: &'a Shared) -> Self {
        Self {
            shared,
            tasks: HashMap::new(),
            repositories: HashMap::new(),
        }
    }

    /// The content of a document: of the object as it is now, else as the document was kept.
    async fn body(&mut self, kind: &Kind, id: Uuid, kept: Option<Value>) -> Result<Option<Value>> {
        let shared = self.shared;
        let store = &shared.parts.store;
        let task = self.tasks.get(&TaskId::from_uuid(id)).cloned();
        let made = match kind {
            Kind::System if id == *shared.parts.system.id.as_uuid() => {
                Some(system(shared, kept.as_ref())?)
            }
            Kind::Project => project(shared, ProjectId::from_uuid(id), kept.as_ref()).await?,
            Kind::Task => match task {
                Some(task) => Some(self.definition(task, kept.as_ref()).await?),
                None => None,
            },
            Kind::Report => match task {
                Some(task) => report(shared, task, kept.as_ref()).await?,
                None => None,
            },
            Kind::Run => match there(store.run(RunId::from_uuid(id)).await)? {
                Some(run) => Some(documents::write(&api::Run::from(run))?),
                None => None,
            },
            Kind::Ask => match there(store.ask(AskId::from_uuid(id)).await)? {
                Some(ask) => Some(documents::write(&api::Ask::from(ask))?),
                None => None,
            },
            _ => None,
        };
        Ok(made.or(kept))
    }

    /// What a task of this machine is, with what its definition says beside that.
    async fn definition(&mut self, task: Task, kept: Option<&Value>) -> Result<Value> {
        let kept = kept.and_then(|body| Definition::deserialize(body).ok());
        let mut definition = match kept {
            Some(kept) => kept,
            None => first(self.shared, &task, self.repository(task.project_id).await?),
        };
        write_spec(&mut definition, task.spec);
        documents::write(&definition)
    }

    /// The repository of a project of this machine.
    async fn repository(&mut self, id: ProjectId) -> Result<Option<String>> {
        if let Some(known) = self.repositories.get(&id) {
            return Ok(known.clone());
        }
        let parts = &self.shared.parts;
        let repository = match there(parts.store.project(id).await)? {
            Some(project) => parts.profiles.sharing(&project).await.repository,
            None => None,
        };
        self.repositories.insert(id, repository.clone());
        Ok(repository)
    }
}

/// `None` for what the store does not have, or no longer.
fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a newer program wrote into a document before.
fn unknown<T: DeserializeOwned>(
    kept: Option<&Value>,
    of: fn(T) -> Map<String, Value>,
) -> Map<String, Value> {
    kept.and_then(|body| T::deserialize(body).ok())
        .map(of)
        .unwrap_or_default()
}

fn system(shared: &Shared, kept: Option<&Value>) -> Result<Value> {
    let here = &shared.parts.system;
    let kept: Option<SystemReport> =
        kept.and_then(|body| serde_json::from_value(body.clone()).ok());
    documents::write(&SystemReport {
        hostname: here.hostname.clone(),
        kind: here.kind,
        tags: here.tags.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // Who can write this is in.
        revoked_at: None,
        extra: kept.map(|kept| kept.extra).unwrap_or_default(),
    })
}

async fn project(shared: &Shared, id: ProjectId, kept: Option<&Value>) -> Result<Option<Value>> {
    let parts = &shared.parts;
    let Some(project) = there(parts.store.project(id).await)? else {
        // It was removed, and others are to know since when.
        let Some(kept) = kept else { return Ok(None) };
        let mut removed: ProjectReport = documents::read(&Kind::Project, *id.as_uuid(), kept)?;
        removed.removed_at.get_or_insert(parts.clock.now());
        removed.agent_state = None;
        return documents::write(&removed).map(Some);
    };
    let agents = parts.store.agents().await?;
    let agent = agents.into_iter().find(|agent| agent.project_id == id);
    let sharing = parts.profiles.sharing(&project).await;
    let hold = agent.as_ref().and_then(crate::agent::Agent::hold);
    let report = ProjectReport {
        project: api::Project::from(project).with_agent_hold(hold),
        repository: sharing.repository,
        remote_tasks: sharing.remote_tasks.as_str().to_owned(),
        agent_state: agent.map(|agent| api::AgentStateName::from(&agent.state).as_str().to_owned()),
        removed_at: None,
        extra: unknown(kept, |kept: ProjectReport| kept.extra),
    };
    documents::write(&report).map(Some)
}

/// The definition of a task that was created here, for this machine.
fn first(shared: &Shared, task: &Task, repository: Option<String>) -> Definition {
    Definition {
        project_id: task.project_id,
        repository,
        any_machine: false,
        // It was in this machine's queue before anybody else knew of it.
        pinned: true,
        title: String::new(),
        text: String::new(),
        priority: 0,
        not_before: None,
        blocked_by: Vec::new(),
        max_retries: 0,
        timeout_us: None,
        session: task.spec.session,
        tags: Vec::new(),
        system_type: None,
        created_by: task.created_by.clone(),
        created_on: shared.parts.system.id,
        created_at: task.created_at,
        extra: Map::new(),
    }
}

async fn report(shared: &Shared, task: Task, kept: Option<&Value>) -> Result<Option<Value>> {
    if task.yielded {
        return Ok(None);
    }
    let id = task.id;
    let extra = unknown(kept, |kept: Report| kept.extra);
    let running = matches!(task.state, TaskState::Running { .. });
    let mut wire = api::Task::new(task, None);
    // That is in its definition.
    wire.text.clear();
    if running {
        let query = AskQuery {
            task: Some(id),
            state: Some(AskStateKind::Open),
            limit: MOST_ASKS,
            ..AskQuery::default()
        };
        let asks = shared.parts.store.asks(&query).await?;
        wire.open_asks = asks.items.iter().map(api::OpenAsk::from).collect();
    }
    write_report(shared, wire, extra).map(Some)
}

/// What happens to a task, as this machine tells it.
pub(super) fn write_report(
    shared: &Shared,
    task: api::Task,
    extra: Map<String, Value>,
) -> Result<Value> {
    documents::write(&Report {
        system_id: shared.parts.system.id,
        task,
        extra,
    })
}

/// A document of another machine, or of this one, as a type of it. `None` if it is not there or was deleted.
pub(super) async fn read<T: DeserializeOwned>(
    replica: &dyn Replica,
    kind: &Kind,
    id: Uuid,
) -> Result<Option<T>> {
    let document = replica.document(kind, id).await?;
    let Some(body) = document.and_then(|document| document.body) else {
        return Ok(None);
    };
    documents::read(kind, id, &body).map(Some)
}

/// Whether an error says that what was asked for is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound(_))
}
