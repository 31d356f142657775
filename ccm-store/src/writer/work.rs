//! The rows of one group, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ccm_core::agent::Agent;
use ccm_core::ask::Ask;
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, AskId, InputId, ProjectId, RunId, TaskId};
use ccm_core::input::Input;
use ccm_core::run::Run;
use ccm_core::scheduler::Machine;
use ccm_core::sync::local::{Subject, touched};
use ccm_core::task::{Gap, Rank, Task, TaskStateName};
use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use serde_json::Value;

use super::shared::Shared;
use crate::entity::{event, idempotency_key, meta, system};
use crate::error::corrupt;
use crate::projects::ProjectRecord;
use crate::tasks::{TaskRecord, fits};
use crate::values::{Id, column, from_json, to_json};

/// Everything that a group of changes looks at and leaves behind.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) meta: meta::Model,
    pub(crate) system: Option<Tracked<system::Model>>,
    pub(crate) projects: BTreeMap<ProjectId, Tracked<ProjectRecord>>,
    pub(crate) agents: BTreeMap<AgentId, Tracked<Agent>>,
    pub(crate) tasks: BTreeMap<TaskId, Tracked<TaskRecord>>,
    pub(crate) runs: BTreeMap<RunId, Tracked<Run>>,
    pub(crate) asks: BTreeMap<AskId, Tracked<Ask>>,
    pub(crate) inputs: BTreeMap<InputId, Tracked<Input>>,
    pub(crate) keys: HashMap<KeyName, Tracked<idempotency_key::Model>>,
    /// Tasks that are known to exist, here or elsewhere.
    pub(crate) known_tasks: HashMap<TaskId, Known>,
    pub(crate) known_runs: HashSet<RunId>,
    /// Tasks that wait, be it through others, for the one whose blockers are to change.
    pub(crate) circles: HashSet<TaskId>,
    /// Where the task that is to be moved would go.
    pub(crate) gap: Option<Gap>,
    /// (blocker, blocked) that are new.
    pub(super) edges: Vec<(TaskId, TaskId)>,
    /// (blocker, blocked) that are no more.
    pub(super) cut_edges: Vec<(TaskId, TaskId)>,
    /// Tasks that ask for something else than before.
    pub(super) edited: BTreeSet<TaskId>,
    /// Tasks that get another rank and are otherwise not looked at.
    pub(super) ranks: Vec<(TaskId, Rank)>,
    /// Blockers whose success came or went, in order.
    pub(super) unblocked: Vec<(TaskId, i64)>,
    pub(super) loads: BTreeMap<ProjectId, Load>,
    pub(super) abandoned: Vec<Abandoned>,
    pub(super) promoted: Option<Timestamp>,
    pub(super) pruned_keys: Option<Timestamp>,
    pub(super) probed: bool,
    pub(super) events: Vec<event::Model>,
    pub(crate) shared: Shared,
}

/// What is known of a task.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// Whether it is in this machine's own tables.
    pub(crate) here: bool,
    /// Whether its outcome is another machine's to tell all the same.
    pub(crate) yielded: bool,
    /// Whether this machine's own row says that it is done.
    pub(crate) done: bool,
    /// Whether another machine has told what it is.
    pub(crate) defined: bool,
    /// Whether another machine tells that it is done.
    pub(crate) reported: bool,
}

impl Known {
    /// Whether it runs here, so that its outcome is what its own row says.
    pub(crate) fn runs_here(self) -> bool {
        self.here && !self.yielded
    }

    pub(crate) fn has_succeeded(self) -> bool {
        match self.runs_here() {
            true => self.done,
            false => self.reported,
        }
    }
}

/// The whole name of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeyName {
    pub(crate) principal: String,
    pub(crate) route: String,
    pub(crate) key: String,
}

/// How a project's counters change.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) queued: i64,
    pub(super) running: i64,
    pub(super) last_started: Option<Timestamp>,
}

/// A project whose waiting tasks all fail.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) project: ProjectId,
    pub(super) at: Timestamp,
    /// The number before that of the first event.
    pub(super) before: i64,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About {
    pub(crate) project: Option<ProjectId>,
    pub(crate) task: Option<TaskId>,
    pub(crate) run: Option<RunId>,
    pub(crate) agent: Option<AgentId>,
}

impl About {
    /// A project.
    pub(crate) fn project(id: ProjectId) -> Self {
        Self {
            project: Some(id),
            ..Self::default()
        }
    }

    /// A task and the run that its state is about.
    pub(crate) fn task(task: &Task) -> Self {
        Self {
            project: Some(task.project_id),
            task: Some(task.id),
            run: task.state.run(),
            agent: None,
        }
    }

    /// A run.
    pub(crate) fn run(run: &Run) -> Self {
        Self {
            project: Some(run.project_id),
            task: Some(run.task_id),
            run: Some(run.id),
            agent: Some(run.agent_id),
        }
    }
}

/// A row and whether it must be written.
#[derive(Debug)]
pub(crate) struct Tracked<T> {
    row: T,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Update,
    Insert,
}

impl<T> Tracked<T> {
    /// A row that was read.
    pub(crate) fn read(row: T) -> Self {
        Self {
            row,
            fate: Fate::Keep,
        }
    }

    /// A row that is not in the database yet.
    pub(crate) fn new(row: T) -> Self {
        Self {
            row,
            fate: Fate::Insert,
        }
    }

    /// The row.
    pub(crate) fn get(&self) -> &T {
        &self.row
    }

    /// The row, to be changed.
    pub(crate) fn change(&mut self) -> &mut T {
        if self.fate == Fate::Keep {
            self.fate = Fate::Update;
        }
        &mut self.row
    }

    /// The row without marking it, for columns that are written in another way.
    pub(super) fn shadow(&mut self) -> &mut T {
        &mut self.row
    }

    pub(super) fn to_insert(&self) -> Option<&T> {
        (self.fate == Fate::Insert).then_some(&self.row)
    }

    pub(super) fn to_update(&self) -> Option<&T> {
        (self.fate == Fate::Update).then_some(&self.row)
    }
}

impl Work {
    pub(super) fn new(meta: meta::Model) -> Self {
        Self {
            meta,
            system: None,
            projects: BTreeMap::new(),
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            asks: BTreeMap::new(),
            inputs: BTreeMap::new(),
            keys: HashMap::new(),
            known_tasks: HashMap::new(),
            known_runs: HashSet::new(),
            circles: HashSet::new(),
            gap: None,
            edges: Vec::new(),
            cut_edges: Vec::new(),
            edited: BTreeSet::new(),
            ranks: Vec::new(),
            unblocked: Vec::new(),
            loads: BTreeMap::new(),
            abandoned: Vec::new(),
            promoted: None,
            pruned_keys: None,
            probed: false,
            events: Vec::new(),
            shared: Shared::default(),
        }
    }

    /// What this machine offers.
    pub(crate) fn machine(&self) -> Result<Machine> {
        let row = self.system.as_ref().map(Tracked::get);
        let row = row.ok_or_else(|| corrupt("system"))?;
        Ok(Machine {
            kind: row.kind.parse().map_err(|_| corrupt("system type"))?,
            tags: from_json(&row.tags, "list of tags")?,
        })
    }

    /// A project that is registered.
    pub(crate) fn project(&mut self, id: ProjectId) -> Result<&mut Tracked<ProjectRecord>> {
        self.projects
            .get_mut(&id)
            .filter(|row| row.get().removed_at.is_none())
            .ok_or_else(|| Error::no_project(id))
    }

    /// An agent.
    pub(crate) fn agent(&mut self, id: AgentId) -> Result<&mut Tracked<Agent>> {
        self.agents.get_mut(&id).ok_or_else(|| Error::no_agent(id))
    }

    /// A task.
    pub(crate) fn task(&mut self, id: TaskId) -> Result<&mut Tracked<TaskRecord>> {
        self.tasks.get_mut(&id).ok_or_else(|| Error::no_task(id))
    }

    /// A run.
    pub(crate) fn run(&mut self, id: RunId) -> Result<&mut Tracked<Run>> {
        self.runs.get_mut(&id).ok_or_else(|| Error::no_run(id))
    }

    /// An ask.
    pub(crate) fn ask(&mut self, id: AskId) -> Result<&mut Tracked<Ask>> {
        self.asks.get_mut(&id).ok_or_else(|| Error::no_ask(id))
    }

    /// Writes a line of the log.
    pub(crate) fn event(&mut self, time: Timestamp, kind: EventKind, about: About, data: &Value) {
        if self.meta.sharing {
            let subject = Subject {
                project: about.project,
                task: about.task,
                run: about.run,
            };
            for one in touched(kind, subject, data) {
                self.leave(one, time);
            }
        }
        self.meta.last_seq += 1;
        self.events.push(event::Model {
            seq: self.meta.last_seq,
            time: time.as_micros(),
            kind: kind.as_str().to_owned(),
            project_id: about.project.as_ref().map(Id::bytes),
            task_id: about.task.as_ref().map(Id::bytes),
            run_id: about.run.as_ref().map(Id::bytes),
            agent_id: about.agent.as_ref().map(Id::bytes),
            data: data.to_string(),
        });
    }

    /// Accepts a task that is not there yet; its blockers must be known.
    pub(crate) fn add_task(&mut self, task: Task, machine: &Machine) {
        let blockers: HashSet<TaskId> = task.spec.blocked_by.iter().copied().collect();
        let open = blockers.iter().filter(|id| !self.has_succeeded(id)).count();
        let id = task.id;
        self.edges
            .extend(blockers.into_iter().map(|blocker| (blocker, id)));
        self.moved(task.project_id, None, Some(TaskStateName::Queued));
        let known = self.known_tasks.entry(id).or_default();
        (known.here, known.done) = (true, false);
        if known.reported {
            self.unblock(id, 1);
        }
        let record = TaskRecord::accepted(task, column(open as u64), machine);
        self.tasks.insert(id, Tracked::new(record));
    }

    /// Keeps a waiting task that asks for something else now, or has another place. Its blockers must be known, and
    /// nothing else may be in the group.
    pub(crate) fn replace_task(&mut self, task: Task, machine: &Machine) -> Result<()> {
        let id = task.id;
        let old = &self.task(id)?.get().task.spec;
        let was: HashSet<TaskId> = old.blocked_by.iter().copied().collect();
        let is: HashSet<TaskId> = task.spec.blocked_by.iter().copied().collect();
        let open = (was != is).then(|| is.iter().filter(|id| !self.has_succeeded(id)).count());
        let edge = |blocker: &TaskId| (*blocker, id);
        self.cut_edges.extend(was.difference(&is).map(edge));
        self.edges.extend(is.difference(&was).map(edge));
        let record = self.task(id)?.change();
        if record.first_spec.is_none() && record.task.spec != task.spec {
            record.first_spec = Some(to_json(&record.task.spec));
        }
        if let Some(open) = open {
            record.open_blockers = column(open as u64);
        }
        record.fits = fits(&task, machine);
        record.task = task;
        self.edited.insert(id);
        Ok(())
    }

    /// Writes also what of a task only an edit changes. Nothing else may be in the group.
    pub(crate) fn rewrite(&mut self, id: TaskId) {
        self.edited.insert(id);
    }

    /// Gives waiting tasks other ranks.
    pub(crate) fn shift(&mut self, ranks: Vec<(TaskId, Rank)>) {
        self.ranks.extend(ranks);
    }

    fn has_succeeded(&self, id: &TaskId) -> bool {
        self.known_tasks
            .get(id)
            .is_some_and(|known| known.has_succeeded())
    }

    /// Whether somebody can wait for a task.
    pub(crate) fn knows(&self, id: &TaskId) -> bool {
        let known = self.known_tasks.get(id);
        known.is_some_and(|known| known.here || known.defined)
    }

    /// Whether a task is in this machine's own tables.
    pub(crate) fn is_here(&self, id: &TaskId) -> bool {
        self.known_tasks.get(id).is_some_and(|known| known.here)
    }

    /// Follows a task from one state to another: counters, and those that wait for it.
    pub(crate) fn task_moved(&mut self, task: &Task, from: TaskStateName, to: TaskStateName) {
        self.moved(task.project_id, Some(from), Some(to));
        let (was, is) = (
            from == TaskStateName::Succeeded,
            to == TaskStateName::Succeeded,
        );
        if was != is {
            let known = self.known_tasks.entry(task.id).or_default();
            (known.here, known.done) = (true, is);
            if !task.yielded {
                self.unblock(task.id, if is { -1 } else { 1 });
            }
        }
    }

    /// Tells those that wait for a task of its success, or that it is none any more.
    pub(crate) fn unblock(&mut self, task: TaskId, by: i64) {
        self.unblocked.push((task, by));
        // Those that came in this group are not in the table yet.
        for (_, blocked) in self.edges.iter().filter(|(blocker, _)| *blocker == task) {
            if let Some(row) = self.tasks.get_mut(blocked) {
                row.shadow().open_blockers += by;
            }
        }
    }

    fn moved(
        &mut self,
        project: ProjectId,
        from: Option<TaskStateName>,
        to: Option<TaskStateName>,
    ) {
        let is = |name, state: Option<TaskStateName>| i64::from(state == Some(name));
        let queued = is(TaskStateName::Queued, to) - is(TaskStateName::Queued, from);
        let running = is(TaskStateName::Running, to) - is(TaskStateName::Running, from);
        self.count(project, queued, running);
    }

    fn count(&mut self, project: ProjectId, queued: i64, running: i64) {
        self.meta.queued += queued;
        self.meta.running += running;
        let load = self.loads.entry(project).or_default();
        load.queued += queued;
        load.running += running;
        if let Some(row) = self.projects.get_mut(&project) {
            let project = &mut row.shadow().project;
            project.queued = project.queued.saturating_add_signed(queued);
            project.running = project.running.saturating_add_signed(running);
        }
    }

    /// Notes that a project had its turn.
    pub(crate) fn started(&mut self, project: ProjectId, at: Timestamp) {
        self.loads.entry(project).or_default().last_started = Some(at);
    }

    /// Fails all waiting tasks of a project, with their events. Nothing else may be in the group.
    pub(crate) fn abandon(&mut self, project: ProjectId, queued: u64, at: Timestamp) {
        self.abandoned.push(Abandoned {
            project,
            at,
            before: self.meta.last_seq,
        });
        if self.meta.sharing {
            self.tick(at);
        }
        let queued = column(queued);
        self.meta.last_seq += queued;
        self.count(project, -queued, 0);
    }

    /// Takes tasks whose date has come out of the index of dates.
    pub(crate) fn promote(&mut self, now: Timestamp) {
        self.promoted = Some(now);
    }

    /// Writes something that leaves nothing behind.
    pub(crate) fn probe(&mut self) {
        self.probed = true;
    }

    /// Forgets keys that are older.
    pub(crate) fn prune_keys(&mut self, before: Timestamp) {
        self.pruned_keys = Some(before);
    }
}
