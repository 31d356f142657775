//! A complete store in memory: durable as long as one handle lives.

mod asks;
mod contract;
mod projects;
mod queue;
mod reads;
mod replica;
mod runs;
mod stats;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::agent::Agent;
use crate::ask::Ask;
use crate::event::{Event, EventKind};
use crate::id::{
    AgentId, AskId, Epoch, FencingToken, InputId, LogId, ProjectId, RunId, Seq, TaskId,
};
use crate::input::Input;
use crate::project::Project;
use crate::run::Run;
use crate::sync::Kind;
use crate::sync::local::{Subject, touched};
use crate::system::System;
use crate::task::{Task, TaskSpec};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Result};

/// A [`Store`](crate::Store) in memory.
///
/// Handles made with [`another`](Self::another) share the data, and each has an epoch of its own, as two daemons on one
/// database have.
pub struct MemoryStore {
    shared: Arc<Shared>,
    epoch: Mutex<Option<Epoch>>,
}

struct Shared {
    state: Mutex<State>,
    head: watch::Sender<Seq>,
    slowness: AtomicUsize,
}

#[derive(Clone)]
struct State {
    system: Option<System>,
    epoch: Epoch,
    log: LogId,
    events: Vec<Event>,
    projects: BTreeMap<ProjectId, ProjectRow>,
    agents: BTreeMap<AgentId, Agent>,
    tasks: BTreeMap<TaskId, TaskRow>,
    runs: BTreeMap<RunId, Run>,
    asks: BTreeMap<AskId, Ask>,
    inputs: BTreeMap<InputId, Input>,
    keys: HashMap<KeyName, KeyRow>,
    replica: Option<replica::Kept>,
    /// Whether what is changed now is done for a document, which says already what the task is.
    settling: bool,
}

#[derive(Clone)]
struct ProjectRow {
    project: Project,
    agent: AgentId,
    removed: bool,
    last_started: Option<Timestamp>,
}

#[derive(Clone)]
struct TaskRow {
    task: Task,
    token: FencingToken,
    /// What it asked for when it was accepted, if that was changed.
    first: Option<TaskSpec>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct KeyName {
    principal: String,
    route: String,
    key: String,
}

#[derive(Clone)]
struct KeyRow {
    fingerprint: String,
    tasks: Vec<TaskId>,
    documents: Vec<(Kind, Uuid)>,
}

/// What an event is about.
#[derive(Default)]
struct About {
    project: Option<ProjectId>,
    task: Option<TaskId>,
    run: Option<RunId>,
    agent: Option<AgentId>,
}

impl About {
    fn task(task: &Task) -> Self {
        Self {
            project: Some(task.project_id),
            task: Some(task.id),
            run: task.state.run(),
            agent: None,
        }
    }

    fn run(run: &Run) -> Self {
        Self {
            project: Some(run.project_id),
            task: Some(run.task_id),
            run: Some(run.id),
            agent: Some(run.agent_id),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let state = State {
            system: None,
            epoch: Epoch(0),
            log: LogId::new(),
            events: Vec::new(),
            projects: BTreeMap::new(),
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            asks: BTreeMap::new(),
            inputs: BTreeMap::new(),
            keys: HashMap::new(),
            replica: None,
            settling: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                head: watch::Sender::new(Seq(0)),
                slowness: AtomicUsize::new(0),
            }),
            epoch: Mutex::new(None),
        }
    }

    /// Another handle on the same data, which has not begun.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            epoch: Mutex::new(None),
        }
    }

    /// A store of its own with a copy of all that this one has, as a copied home has.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock().clone();
        let head = state.head();
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                head: watch::Sender::new(head),
                slowness: AtomicUsize::new(0),
            }),
            epoch: Mutex::new(None),
        }
    }

    /// Has edits and what is shared wait until others had so many turns, as they do for a disk: whatever can come in between
    /// does.
    pub fn set_slow(&self, turns: usize) {
        self.shared.slowness.store(turns, Ordering::Relaxed);
    }

    async fn linger(&self) {
        for _ in 0..self.shared.slowness.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has failed already.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn own_epoch(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state under this handle's epoch and wakes readers.
    fn write<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let epoch = *self.own_epoch();
        let mut state = self.lock();
        if epoch != Some(state.epoch) {
            return Err(Error::new(
                ErrorKind::Superseded,
                match epoch {
                    Some(_) => "another daemon took the store over",
                    None => "the store was not taken over yet; begin first",
                },
            ));
        }
        let answer = change(&mut state);
        self.shared.publish(&state);
        answer
    }
}

impl Shared {
    /// Under the lock, so that the value never goes back.
    fn publish(&self, state: &State) {
        let head = state.head();
        self.head
            .send_if_modified(|seen| std::mem::replace(seen, head) != head);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl State {
    fn head(&self) -> Seq {
        self.events.last().map_or(Seq(0), |event| event.seq)
    }

    fn event(&mut self, time: Timestamp, kind: EventKind, about: About, data: Value) {
        let seq = Seq(self.head().0 + 1);
        let subject = Subject {
            project: about.project,
            task: about.task,
            run: about.run,
        };
        for one in touched(kind, subject, &data) {
            self.mark(one, time);
        }
        self.events.push(Event {
            seq,
            time,
            kind,
            project_id: about.project,
            task_id: about.task,
            run_id: about.run,
            agent_id: about.agent,
            data,
        });
    }

    fn task_row(&mut self, id: TaskId) -> Result<&mut TaskRow> {
        self.tasks.get_mut(&id).ok_or_else(|| Error::no_task(id))
    }

    fn project_row(&mut self, id: ProjectId) -> Result<&mut ProjectRow> {
        self.projects
            .get_mut(&id)
            .filter(|row| !row.removed)
            .ok_or_else(|| Error::no_project(id))
    }
}

/// Notes a change of a task.
fn touch(task: &mut Task, now: Timestamp) {
    task.revision.0 += 1;
    task.updated_at = now;
}
