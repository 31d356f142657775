//! Reads the rows that a group needs, with one command.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ccm_core::id::{AgentId, AskId, InputId, ProjectId, RunId, TaskId};
use ccm_core::store::TaskMove;
use ccm_core::sync::Kind;
use sea_orm::sqlx::Sqlite;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::{FromQueryResult, QueryResult};
use uuid::Uuid;

use super::Trouble;
use super::gap;
use super::script::Script;
use super::shared::{Entry, Shared, SharedNeeds};
use super::work::{KeyName, Known, Tracked, Work};
use crate::entity::{idempotency_key, meta, system};
use crate::error::from_db;
use crate::projects::ProjectRecord;
use crate::replica::Key;
use crate::tasks::{self, TaskRecord};
use crate::values::{Id, id_list};
use crate::{agents, asks, inputs, runs};

/// SQLite allows 32766 parameters a statement.
const MAX_IDS: usize = 30_000;

/// How many requests are looked for by one statement.
const REQUESTS_AT_ONCE: usize = 10_000;

/// What agents have in hand. An agent has many runs, but few runs are open at all.
pub(crate) const OPEN_RUNS_OF: &str =
    "SELECT 'run' AS kind_, * FROM run WHERE state <> 'ended' AND +agent_id IN ";

/// What runs ask and wait for. Few of a run's asks are open, but few asks are open at all.
pub(crate) const OPEN_ASKS_OF: &str =
    "SELECT 'ask' AS kind_, * FROM ask WHERE state = 'open' AND run_id IN ";

/// What was not seen to arrive of what runs were given.
pub(crate) const OPEN_INPUTS_OF: &str = "SELECT 'input' AS kind_, * FROM input INDEXED BY input_open \
     WHERE state IN ('accepted', 'written') AND run_id IN ";

/// The rows that the changes of a group will look at.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    system: bool,
    all_projects: bool,
    projects: BTreeSet<ProjectId>,
    agents: BTreeSet<AgentId>,
    tasks: BTreeSet<TaskId>,
    known_tasks: BTreeSet<TaskId>,
    runs: BTreeSet<RunId>,
    known_runs: BTreeSet<RunId>,
    running_of: BTreeSet<ProjectId>,
    open_runs_of: BTreeSet<AgentId>,
    asks: BTreeSet<AskId>,
    requests: BTreeSet<(RunId, String)>,
    open_asks_of: BTreeSet<RunId>,
    inputs: BTreeSet<InputId>,
    open_inputs_of: BTreeSet<RunId>,
    keys: Vec<KeyName>,
    circles: Option<(TaskId, Vec<TaskId>)>,
    gap: Option<TaskMove>,
    pub(super) shared: SharedNeeds,
}

impl Needs {
    /// The machine.
    pub(crate) fn system(&mut self) {
        self.system = true;
    }

    /// Every project, and their agents.
    pub(crate) fn all_projects(&mut self) {
        self.all_projects = true;
        self.system = true;
    }

    /// A project.
    pub(crate) fn project(&mut self, id: ProjectId) {
        self.projects.insert(id);
    }

    /// An agent.
    pub(crate) fn agent(&mut self, id: AgentId) {
        self.agents.insert(id);
    }

    /// A task, and its run while it runs.
    pub(crate) fn task(&mut self, id: TaskId) {
        self.tasks.insert(id);
    }

    /// Whether a task exists and has succeeded.
    pub(crate) fn known_task(&mut self, id: TaskId) {
        self.known_tasks.insert(id);
    }

    /// Which of `blockers` wait for `task` themselves, be it through others. One task a group.
    pub(crate) fn circles(&mut self, task: TaskId, blockers: &[TaskId]) {
        if !blockers.is_empty() {
            self.circles = Some((task, blockers.to_vec()));
        }
    }

    /// Where a task would be moved to. One task a group.
    pub(crate) fn gap(&mut self, wish: &TaskMove) {
        self.task(wish.id);
        if let Some((other, _)) = wish.place.neighbour() {
            self.task(other);
        }
        self.gap = Some(wish.clone());
    }

    /// A run and its task.
    pub(crate) fn run(&mut self, id: RunId) {
        self.runs.insert(id);
    }

    /// Whether a run exists.
    pub(crate) fn known_run(&mut self, id: RunId) {
        self.known_runs.insert(id);
    }

    /// The running tasks of a project, and their runs.
    pub(crate) fn running_of(&mut self, id: ProjectId) {
        self.running_of.insert(id);
    }

    /// The runs that an agent has in hand, and their tasks.
    pub(crate) fn open_runs_of(&mut self, id: AgentId) {
        self.open_runs_of.insert(id);
    }

    /// An ask and its run.
    pub(crate) fn ask(&mut self, id: AskId) {
        self.asks.insert(id);
    }

    /// The ask of a run's request, if there is one already.
    pub(crate) fn request(&mut self, run: RunId, request_id: &str) {
        self.requests.insert((run, request_id.to_owned()));
    }

    /// What a run asks and waits for.
    pub(crate) fn open_asks_of(&mut self, run: RunId) {
        self.open_asks_of.insert(run);
    }

    /// An input and its run, if there is one.
    pub(crate) fn input(&mut self, id: InputId) {
        self.inputs.insert(id);
    }

    /// The inputs of a run of which more can become known.
    pub(crate) fn open_inputs_of(&mut self, run: RunId) {
        self.open_inputs_of.insert(run);
    }

    /// What is kept of sharing.
    pub(crate) fn sharing(&mut self) {
        self.shared.sharing = true;
    }

    /// A document with all that waits for it, and whether this machine has the object itself.
    pub(crate) fn document(&mut self, kind: &Kind, id: Uuid) {
        self.shared.documents.insert((kind.clone(), id));
    }

    /// The operations up to a number, and the documents that they are of.
    pub(crate) fn operations(&mut self, numbers: RangeInclusive<u64>) {
        self.shared.operations = Some(numbers);
    }

    /// Whether an operation was set aside.
    pub(crate) fn aside(&mut self, number: u64) {
        self.shared.aside = Some(number);
    }

    /// What the server did not send again, if it has sent everything now.
    pub(crate) fn stale(&mut self) {
        self.shared.stale = true;
    }

    /// Whether a project is or was on this machine.
    pub(crate) fn known_project(&mut self, id: ProjectId) {
        self.shared.projects.insert(id);
    }

    /// An idempotency key, and the tasks that were created with it.
    pub(crate) fn key(&mut self, name: KeyName) {
        self.keys.push(name);
    }
}

impl Work {
    /// Opens the transaction and reads what is needed.
    pub(super) async fn load(
        needs: Needs,
        connection: &mut PoolConnection<Sqlite>,
    ) -> Result<Self, Trouble> {
        let mut script = Script::begin();
        script.push("SELECT 'meta' AS kind_, * FROM meta", []);
        needs.write(&mut script);
        let rows = script.run(connection).await?;
        let mut rows = rows.iter();
        let meta = rows
            .next()
            .ok_or_else(|| crate::error::corrupt("state of its own"))?;
        let meta = meta::Model::from_query_result(meta, "").map_err(from_db)?;
        let mut work = Self::new(meta);
        for row in rows {
            work.take(row)?;
        }
        // A repeated request is rare, so that its tasks may cost another way to the database.
        let replayed: Vec<TaskId> = work
            .keys
            .values()
            .map(|key| id_list(&key.get().task_ids))
            .collect::<ccm_core::Result<Vec<_>>>()?
            .concat();
        if !replayed.is_empty() {
            let mut script = Script::default();
            select_in(&mut script, &tasks::select("task.id IN "), &replayed);
            for row in &script.run(connection).await? {
                work.take(row)?;
            }
        }
        work.look_beside(connection).await?;
        if let Some(wish) = &needs.gap {
            work.gap = gap::look(&work, wish, connection).await?;
        }
        Ok(work)
    }

    pub(super) fn take(&mut self, row: &QueryResult) -> ccm_core::Result<()> {
        let kind: String = row.try_get("", "kind_").map_err(from_db)?;
        match kind.as_str() {
            "system" => {
                let model = system::Model::from_query_result(row, "").map_err(from_db)?;
                self.system = Some(Tracked::read(model));
            }
            "project" => {
                let record = ProjectRecord::read(row)?;
                self.projects
                    .insert(record.project.id, Tracked::read(record));
            }
            "agent" => {
                let agent = agents::read(row)?;
                self.agents.insert(agent.id, Tracked::read(agent));
            }
            "task" => {
                let record = TaskRecord::read(row)?;
                self.tasks.insert(record.task.id, Tracked::read(record));
            }
            "run" => {
                let run = runs::read(row)?;
                self.runs.insert(run.id, Tracked::read(run));
            }
            "ask" => {
                let ask = asks::read(row)?;
                self.asks.insert(ask.id, Tracked::read(ask));
            }
            "input" => {
                let input = inputs::read(row)?;
                self.inputs.insert(input.id, Tracked::read(input));
            }
            "key" => {
                let model = idempotency_key::Model::from_query_result(row, "").map_err(from_db)?;
                let name = KeyName {
                    principal: model.principal.clone(),
                    route: model.route.clone(),
                    key: model.key.clone(),
                };
                self.keys.insert(name, Tracked::read(model));
            }
            "circle" => {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                self.circles.insert(TaskId::read(&id)?);
            }
            "known_task" => {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                let is = |name| row.try_get::<bool>("", name).map_err(from_db);
                let known = Known {
                    here: is("here")?,
                    yielded: is("yielded")?,
                    done: is("done")?,
                    defined: is("defined")?,
                    reported: is("reported")?,
                };
                self.known_tasks.insert(TaskId::read(&id)?, known);
            }
            kind if Shared::has(kind) => self.shared.take(kind, row)?,
            _ => {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                self.known_runs.insert(RunId::read(&id)?);
            }
        }
        Ok(())
    }
}

impl Needs {
    /// Leaves out documents that are loaded.
    pub(super) fn forget(&mut self, loaded: &BTreeMap<Key, Entry>) {
        self.shared
            .documents
            .retain(|key| !loaded.contains_key(key));
    }

    pub(super) fn write(&self, script: &mut Script) {
        if self.system {
            script.push("SELECT 'system' AS kind_, * FROM system", []);
        }
        if self.all_projects {
            script.push("SELECT 'project' AS kind_, * FROM project", []);
            script.push("SELECT 'agent' AS kind_, * FROM agent", []);
        } else {
            select_in(
                script,
                "SELECT 'project' AS kind_, * FROM project WHERE id IN ",
                &self.projects,
            );
        }
        select_in(
            script,
            "SELECT 'agent' AS kind_, * FROM agent WHERE id IN ",
            &self.agents,
        );
        select_in(script, &tasks::select("task.id IN "), &self.tasks);
        select_in(
            script,
            "SELECT 'run' AS kind_, run.* FROM task JOIN run ON run.id = task.run_id WHERE task.state = 'running' \
             AND task.id IN ",
            &self.tasks,
        );
        for chunk in chunks(&self.known_tasks) {
            script.push(&known_tasks(chunk.len()), chunk);
        }
        select_in(
            script,
            "SELECT 'run' AS kind_, * FROM run WHERE id IN ",
            &self.runs,
        );
        for chunk in chunks(&self.runs) {
            let sql = format!(
                "{} (SELECT task_id FROM run WHERE id IN ({}))",
                tasks::select("task.id IN"),
                placeholders(chunk.len())
            );
            script.push(&sql, chunk);
        }
        select_in(
            script,
            "SELECT 'known_run' AS kind_, id FROM run WHERE id IN ",
            &self.known_runs,
        );
        for project in &self.running_of {
            let sql = tasks::select("task.project_id = ? AND task.state = 'running'");
            script.push(&sql, [project.bytes().into()]);
            script.push(
                "SELECT 'run' AS kind_, run.* FROM task JOIN run ON run.id = task.run_id \
                 WHERE task.project_id = ? AND task.state = 'running'",
                [project.bytes().into()],
            );
        }
        select_in(script, OPEN_RUNS_OF, &self.open_runs_of);
        for chunk in chunks(&self.open_runs_of) {
            let sql = format!(
                "{} (SELECT task_id FROM run WHERE state <> 'ended' AND +agent_id IN ({}))",
                tasks::select("task.id IN"),
                placeholders(chunk.len())
            );
            script.push(&sql, chunk);
        }
        if let Some((task, blockers)) = &self.circles {
            let values = std::iter::once(task).chain(blockers);
            script.push(&circles(blockers.len()), values.map(|id| id.bytes().into()));
        }
        self.write_asks_and_inputs(script);
        self.shared.write(script);
        for KeyName {
            principal,
            route,
            key,
        } in &self.keys
        {
            script.push(
                "SELECT 'key' AS kind_, * FROM idempotency_key WHERE principal = ? AND route = ? AND key = ?",
                [principal.into(), route.into(), key.into()],
            );
        }
    }
}

impl Needs {
    fn write_asks_and_inputs(&self, script: &mut Script) {
        select_in(
            script,
            "SELECT 'ask' AS kind_, * FROM ask WHERE id IN ",
            &self.asks,
        );
        for chunk in chunks(&self.asks) {
            script.push(&run_of("ask", chunk.len()), chunk);
        }
        let requests: Vec<_> = self.requests.iter().collect();
        for chunk in requests.chunks(REQUESTS_AT_ONCE) {
            let values = chunk
                .iter()
                .flat_map(|(run, request)| [run.bytes().into(), request.into()]);
            script.push(&asks_of_requests(chunk.len()), values);
        }
        select_in(script, OPEN_ASKS_OF, &self.open_asks_of);
        select_in(
            script,
            "SELECT 'input' AS kind_, * FROM input WHERE id IN ",
            &self.inputs,
        );
        for chunk in chunks(&self.inputs) {
            script.push(&run_of("input", chunk.len()), chunk);
        }
        select_in(script, OPEN_INPUTS_OF, &self.open_inputs_of);
    }
}

/// What is known of `count` tasks, here and elsewhere.
pub(crate) fn known_tasks(count: usize) -> String {
    format!(
        "SELECT 'known_task' AS kind_, wanted.column1 AS id, task.id IS NOT NULL AS here, \
         EXISTS (SELECT 1 FROM task AS given INDEXED BY task_yielded WHERE given.yielded = 1 AND given.id = wanted.column1) \
         AS yielded, COALESCE(task.state = 'succeeded', 0) AS done, \
         EXISTS (SELECT 1 FROM document WHERE kind = 'task' AND id = wanted.column1 AND body IS NOT NULL) AS defined, \
         EXISTS (SELECT 1 FROM document WHERE kind = 'report' AND id = wanted.column1 AND succeeded = 1) AS reported \
         FROM (VALUES {}) AS wanted LEFT JOIN task ON task.id = wanted.column1",
        vec!["(?)"; count].join(", ")
    )
}

/// Those of `count` tasks that wait for one task, be it through others: from that one along the edges.
pub(crate) fn circles(count: usize) -> String {
    format!(
        "WITH RECURSIVE waiting (id) AS (VALUES (?) UNION SELECT edge.task_id FROM waiting \
         CROSS JOIN task_blocker AS edge ON edge.blocker_id = waiting.id) \
         SELECT 'circle' AS kind_, id FROM waiting WHERE id IN ({})",
        placeholders(count)
    )
}

/// The runs of `count` asks or inputs.
pub(crate) fn run_of(table: &str, count: usize) -> String {
    format!(
        "SELECT 'run' AS kind_, * FROM run WHERE id IN (SELECT run_id FROM {table} WHERE id IN ({}))",
        placeholders(count)
    )
}

/// The asks that `count` runs' requests led to.
pub(crate) fn asks_of_requests(count: usize) -> String {
    format!(
        "SELECT 'ask' AS kind_, ask.* FROM (VALUES {}) AS request CROSS JOIN ask \
         ON ask.run_id = request.column1 AND ask.request_id = request.column2",
        vec!["(?, ?)"; count].join(", ")
    )
}

fn select_in<'a, T: Id + 'a>(
    script: &mut Script,
    head: &str,
    ids: impl IntoIterator<Item = &'a T>,
) {
    for chunk in chunks(ids) {
        script.push(&format!("{head}({})", placeholders(chunk.len())), chunk);
    }
}

pub(super) fn chunks<'a, T: Id + 'a>(
    ids: impl IntoIterator<Item = &'a T>,
) -> Vec<Vec<sea_orm::sea_query::Value>> {
    let values: Vec<_> = ids.into_iter().map(|id| id.bytes().into()).collect();
    values.chunks(MAX_IDS).map(<[_]>::to_vec).collect()
}

pub(super) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
