//! Machines that share a queue through one server, all on one clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::api::CreateTask;
use ccm_core::engine::{DefineTask, Engine, EngineLimits, SyncLimits};
use ccm_core::id::{AgentId, ProjectId, SystemId, TaskId};
use ccm_core::project::{AgentProfile, Profile, Profiles, Project, ProjectSharing, RemoteTasks};
use ccm_core::store::{DocumentQuery, NewProject};
use ccm_core::sync::documents::{self, Definition, Report};
use ccm_core::sync::{Kind, SyncStatus};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{Setback, Task, TaskStateName};
use ccm_core::testing::memory::{
    FakeClock, MemoryRuntime, MemoryServer, MemoryStore, MemorySync, Step,
};
use ccm_core::time::Clock;
use ccm_core::{Result, Store};
use serde_json::Value;
use uuid::Uuid;

pub(crate) const REPOSITORY: &str = "example.org/website";

/// A server, and the clock of everybody.
pub(crate) struct Net {
    pub(crate) clock: FakeClock,
    pub(crate) server: MemoryServer,
}

impl Net {
    pub(crate) fn new() -> Self {
        let clock = FakeClock::default();
        Self {
            server: MemoryServer::new(Arc::new(clock.clone())),
            clock,
        }
    }

    pub(crate) fn home(&self, name: &str) -> Home {
        self.home_as(name, SystemId::new())
    }

    pub(crate) fn home_as(&self, name: &str, id: SystemId) -> Home {
        let runtime = MemoryRuntime::new(Arc::new(self.clock.clone()));
        runtime.program("agent", |order| {
            let words = order.prompt.as_str().split_whitespace();
            let step = |word| match word {
                "stay" => Step::Stay,
                "fail" => Step::Exit(3),
                "wait" => Step::wait("go"),
                other => Step::out(&format!("{other}\n")),
            };
            words.map(step).collect()
        });
        Home {
            clock: self.clock.clone(),
            store: MemoryStore::new(),
            runtime,
            line: Arc::new(self.server.connect()),
            settings: Arc::default(),
            system: System {
                id,
                hostname: name.to_owned(),
                kind: SystemKind::Developer,
                tags: Vec::new(),
            },
            limits: SyncLimits::default(),
            max_running: 10,
        }
    }

    /// Lets time pass in small steps, so that whoever waits for a moment in it finds it.
    pub(crate) async fn pass(&self, period: Duration) {
        let step = (period / 50).max(Duration::from_millis(5)).min(period);
        let mut left = period;
        while !left.is_zero() {
            work().await;
            let step = step.min(left);
            self.clock.advance(step);
            left -= step;
        }
        work().await;
    }

    /// Lets time pass until something is so, and not longer than `most`. Returns how long it took.
    pub(crate) async fn until<F>(&self, what: &str, most: Duration, is: impl Fn() -> F) -> Duration
    where
        F: Future<Output = bool>,
    {
        let begun = self.clock.uptime();
        loop {
            work().await;
            let passed = self.clock.uptime() - begun;
            if is().await {
                return passed;
            }
            assert!(passed <= most, "{what} did not come in {most:?}");
            // In small steps at first, where it is about moments.
            let step = (passed / 50).clamp(Duration::from_millis(5), Duration::from_millis(500));
            self.clock.advance(step);
        }
    }
}

/// Lets everybody do what can be done without time passing.
pub(crate) async fn work() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// What a machine's projects share, by name.
#[derive(Default)]
pub(crate) struct Settings(Mutex<BTreeMap<String, ProjectSharing>>);

#[async_trait]
impl Profiles for Settings {
    async fn profile(&self, _project: &Project) -> std::result::Result<Profile, Setback> {
        Ok(Profile {
            agent: AgentProfile::command(["agent"]),
            ..Profile::default()
        })
    }

    async fn sharing(&self, project: &Project) -> ProjectSharing {
        let shared = self.0.lock().unwrap();
        shared.get(&project.name).cloned().unwrap_or_default()
    }
}

/// A machine whose daemons come and go.
pub(crate) struct Home {
    pub(crate) clock: FakeClock,
    pub(crate) store: MemoryStore,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) line: Arc<MemorySync>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) system: System,
    pub(crate) limits: SyncLimits,
    pub(crate) max_running: u32,
}

impl Home {
    pub(crate) async fn daemon(&self) -> Engine {
        let store = self.store.another();
        store.begin(&self.system, self.clock.now()).await.unwrap();
        Engine::builder(
            Arc::new(store),
            Arc::new(self.runtime.another()),
            self.system.clone(),
        )
        .profiles(self.settings.clone())
        .clock(Arc::new(self.clock.clone()))
        .limits(EngineLimits {
            max_running: self.max_running,
            ..EngineLimits::default()
        })
        .sync_limits(self.limits)
        .sync(self.line.clone())
        .start()
        .await
        .unwrap()
    }

    pub(crate) fn set(&self, project: &str, remote_tasks: RemoteTasks) {
        let sharing = ProjectSharing {
            repository: Some(REPOSITORY.to_owned()),
            remote_tasks,
        };
        let mut settings = self.settings.0.lock().unwrap();
        settings.insert(project.to_owned(), sharing);
    }

    /// Registers a project that allows everything, unless it was set before.
    pub(crate) async fn project(&self, engine: &Engine, name: &str) -> ProjectId {
        let known = self.settings.0.lock().unwrap().contains_key(name);
        if !known {
            self.set(name, RemoteTasks::Allow);
        }
        let registered = engine
            .register_project(NewProject {
                id: ProjectId::new(),
                agent_id: AgentId::new(),
                name: name.to_owned(),
                exact_name: true,
                path: PathBuf::from("/projects")
                    .join(&self.system.hostname)
                    .join(name),
                now: self.clock.now(),
            })
            .await
            .unwrap();
        registered.project.id
    }
}

/// Writes a task for a project, wherever that is.
pub(crate) async fn define(engine: &Engine, project: ProjectId, text: &str) -> TaskId {
    define_as(engine, CreateTask::new(project, text), false).await
}

/// Writes a task that any machine with the repository may run.
pub(crate) async fn define_for_any(engine: &Engine, project: ProjectId, text: &str) -> TaskId {
    define_as(engine, CreateTask::new(project, text), true).await
}

pub(crate) async fn define_as(engine: &Engine, task: CreateTask, any_machine: bool) -> TaskId {
    let task = DefineTask { task, any_machine };
    let defined = engine.define_tasks(vec![task], "cli", None).await.unwrap();
    TaskId::from_uuid(defined[0].id)
}

pub(crate) async fn now(engine: &Engine) -> SyncStatus {
    engine.sync_now().await.unwrap()
}

/// Has everybody hear of everything.
pub(crate) async fn all_now(engines: &[&Engine]) {
    for _ in 0..3 {
        for engine in engines {
            now(engine).await;
        }
        work().await;
    }
}

pub(crate) async fn local(engine: &Engine, id: TaskId) -> Option<Task> {
    engine.store().task(id).await.ok()
}

pub(crate) async fn state(engine: &Engine, id: TaskId) -> Option<TaskStateName> {
    local(engine, id).await.map(|task| task.state.name())
}

pub(crate) async fn body(engine: &Engine, kind: Kind, id: &Uuid) -> Option<Value> {
    let replica = engine.store().replica().unwrap();
    replica.document(&kind, *id).await.unwrap()?.body
}

pub(crate) async fn report(engine: &Engine, id: TaskId) -> Option<Report> {
    let body = body(engine, Kind::Report, id.as_uuid()).await?;
    Some(documents::read(&Kind::Report, *id.as_uuid(), &body).unwrap())
}

/// What other machines are told of the task's state.
pub(crate) async fn told(engine: &Engine, id: TaskId) -> Option<TaskStateName> {
    report(engine, id).await.map(|report| report.task.state)
}

pub(crate) async fn definition(engine: &Engine, id: TaskId) -> Definition {
    let body = body(engine, Kind::Task, id.as_uuid()).await.unwrap();
    documents::read(&Kind::Task, *id.as_uuid(), &body).unwrap()
}

/// All that a machine knows of others and of what it shares, but what it tells of itself.
pub(crate) async fn known(engine: &Engine) -> BTreeMap<(String, Uuid), Option<Value>> {
    let replica = engine.store().replica().unwrap();
    let query = DocumentQuery {
        limit: u32::MAX,
        ..DocumentQuery::default()
    };
    let found: Result<Vec<_>> = replica.documents(&query).await;
    let entry = |one: ccm_core::store::Document| ((one.kind.to_string(), one.id), one.body);
    found.unwrap().into_iter().map(entry).collect()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
