//! Stores in folders of their own, and what tests put in them.

use std::path::PathBuf;

use ccm_core::id::{AgentId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::run::{Outcome, Usage, Verdict};
use ccm_core::store::{
    Claim, Claimed, CreateTasks, Finish, IdempotencyKey, NewProject, NewTask, Registered,
};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{Task, TaskSpec, TaskText};
use ccm_core::time::Timestamp;
use ccm_core::{Result, Store};
use ccm_store::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A moment, `seconds` after the tests' beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

/// A database in a folder of its own.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) system: System,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            system: System {
                id: SystemId::new(),
                hostname: "here".to_owned(),
                kind: SystemKind::Developer,
                tags: vec!["gpu".to_owned()],
            },
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ccm.db")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The store, not begun.
    pub(crate) async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path(), SqliteOptions::default())
            .await
            .unwrap()
    }

    /// The store, begun.
    pub(crate) async fn begin(&self) -> SqliteStore {
        let store = self.open().await;
        store.begin(&self.system, at(0)).await.unwrap();
        store
    }
}

pub(crate) async fn project(store: &dyn Store, name: &str) -> Registered {
    store
        .register_project(NewProject {
            id: ProjectId::new(),
            agent_id: AgentId::new(),
            name: name.to_owned(),
            exact_name: false,
            path: PathBuf::from(format!("/projects/{name}")),
            now: at(1),
        })
        .await
        .unwrap()
}

pub(crate) fn spec(text: &str) -> TaskSpec {
    TaskSpec::new(TaskText::new(text).unwrap())
}

pub(crate) fn request(project: ProjectId, specs: Vec<TaskSpec>) -> CreateTasks {
    CreateTasks {
        tasks: specs
            .into_iter()
            .map(|spec| NewTask {
                id: TaskId::new(),
                project_id: project,
                spec,
            })
            .collect(),
        created_by: "test".to_owned(),
        key: None,
        max_queued: 10_000_000,
        now: at(2),
    }
}

pub(crate) fn key(key: &str, fingerprint: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        principal: "me".to_owned(),
        route: "tasks".to_owned(),
        key: key.to_owned(),
        fingerprint: fingerprint.to_owned(),
    })
}

pub(crate) async fn create(store: &dyn Store, project: ProjectId, text: &str) -> Task {
    let created = store.create_tasks(request(project, vec![spec(text)])).await;
    created.unwrap().tasks.remove(0)
}

pub(crate) async fn claim(store: &dyn Store, to: &Registered, task: TaskId) -> Result<Claimed> {
    store
        .claim(Claim {
            task,
            run: RunId::new(),
            agent: to.agent.id,
            system: to.project.system_id,
            lease_until: None,
            now: at(3),
        })
        .await
}

pub(crate) fn done(verdict: Verdict) -> Finish {
    Finish {
        outcome: Outcome {
            verdict,
            exit_code: Some(0),
            result: Some("done".to_owned()),
            denied: 0,
        },
        started_at: Some(at(3)),
        usage: Some(Usage::default()),
        cost_usd: Some(0.5),
        retry_at: None,
    }
}
