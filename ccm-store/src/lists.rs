//! Objects and pages of them, as readers see them.

use ccm_core::agent::Agent;
use ccm_core::ask::{Ask, AskStateKind};
use ccm_core::id::{AgentId, AskId, ProjectId, RunId, TaskId};
use ccm_core::input::Input;
use ccm_core::project::Project;
use ccm_core::run::Run;
use ccm_core::store::{AskQuery, Counts, Page, RunQuery};
use ccm_core::task::Task;
use ccm_core::{Error, Result};
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;

use crate::error::{corrupt, from_db};
use crate::projects::ProjectRecord;
use crate::reader::Reader;
use crate::tasks::{self, TaskRecord};
use crate::values::{Id, count};
use crate::{agents, asks, inputs, runs};

/// What has not ended, oldest first.
pub(crate) const OPEN_RUNS: &str = "SELECT * FROM run WHERE state <> 'ended' ORDER BY id";
pub(crate) const OPEN_RUN_IDS: &str = "SELECT id FROM run WHERE state <> 'ended' ORDER BY id";

/// What a run was given, in order.
pub(crate) const INPUTS: &str = "SELECT * FROM input WHERE run_id = ? ORDER BY number";

impl Reader {
    pub(crate) async fn project(&self, id: ProjectId) -> Result<Project> {
        let row = self
            .first(
                "SELECT * FROM project WHERE id = ? AND removed_at IS NULL",
                vec![id.bytes().into()],
            )
            .await?
            .ok_or_else(|| Error::no_project(id))?;
        Ok(ProjectRecord::read(&row)?.project)
    }

    pub(crate) async fn projects(&self) -> Result<Vec<Project>> {
        self.all(
            "SELECT * FROM project WHERE removed_at IS NULL ORDER BY name",
            vec![],
        )
        .await?
        .iter()
        .map(|row| Ok(ProjectRecord::read(row)?.project))
        .collect()
    }

    pub(crate) async fn agent(&self, id: AgentId) -> Result<Agent> {
        let row = self
            .first("SELECT * FROM agent WHERE id = ?", vec![id.bytes().into()])
            .await?
            .ok_or_else(|| Error::no_agent(id))?;
        agents::read(&row)
    }

    pub(crate) async fn agents(&self) -> Result<Vec<Agent>> {
        self.all(
            "SELECT agent.* FROM agent JOIN project ON project.id = agent.project_id \
             WHERE project.removed_at IS NULL ORDER BY agent.name, agent.id",
            vec![],
        )
        .await?
        .iter()
        .map(agents::read)
        .collect()
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<Task> {
        let row = self
            .first(&tasks::select("task.id = ?"), vec![id.bytes().into()])
            .await?
            .ok_or_else(|| Error::no_task(id))?;
        Ok(TaskRecord::read(&row)?.task)
    }

    pub(crate) async fn counts(&self) -> Result<Counts> {
        let row = self
            .first("SELECT queued, running FROM meta", vec![])
            .await?
            .ok_or_else(|| corrupt("state of its own"))?;
        Ok(Counts {
            queued: count(row.try_get("", "queued").map_err(from_db)?)?,
            running: count(row.try_get("", "running").map_err(from_db)?)?,
        })
    }

    pub(crate) async fn run(&self, id: RunId) -> Result<Run> {
        let row = self
            .first("SELECT * FROM run WHERE id = ?", vec![id.bytes().into()])
            .await?
            .ok_or_else(|| Error::no_run(id))?;
        runs::read(&row)
    }

    pub(crate) async fn open_runs(&self) -> Result<Vec<Run>> {
        self.all(OPEN_RUNS, vec![])
            .await?
            .iter()
            .map(runs::read)
            .collect()
    }

    pub(crate) async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        let (sql, values) = run_page(query);
        let rows = self.all(&sql, values).await?;
        page(&rows, query.limit, runs::read)
    }

    pub(crate) async fn ask(&self, id: AskId) -> Result<Ask> {
        let row = self
            .first("SELECT * FROM ask WHERE id = ?", vec![id.bytes().into()])
            .await?
            .ok_or_else(|| Error::no_ask(id))?;
        asks::read(&row)
    }

    pub(crate) async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>> {
        let (sql, values) = ask_page(query);
        let rows = self.all(&sql, values).await?;
        page(&rows, query.limit, asks::read)
    }

    pub(crate) async fn inputs(&self, run: RunId) -> Result<Vec<Input>> {
        self.all(INPUTS, vec![run.bytes().into()])
            .await?
            .iter()
            .map(inputs::read)
            .collect()
    }
}

/// A page of runs.
pub(crate) fn run_page(query: &RunQuery) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE"];
    let mut values: Vec<Value> = Vec::new();
    if let Some(task) = query.task {
        conditions.push("task_id = ?");
        values.push(task.bytes().into());
    }
    if let Some(agent) = query.agent {
        // A task has few runs, an agent many: with both, the task's index is the one to use.
        conditions.push(if query.task.is_some() {
            "+agent_id = ?"
        } else {
            "agent_id = ?"
        });
        values.push(agent.bytes().into());
    }
    if let Some(before) = query.before {
        conditions.push("id < ?");
        values.push(before.bytes().into());
    }
    values.push((i64::from(query.limit) + 1).into());
    let sql = format!(
        "SELECT * FROM run WHERE {} ORDER BY id DESC LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

/// A page of asks, along the narrowest of their indexes: a run has fewer than a task, a task fewer than a project, and
/// few are open at all.
pub(crate) fn ask_page(query: &AskQuery) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut indexed = false;
    match query.state {
        None => {}
        // The one that has an index.
        Some(AskStateKind::Open) => {
            conditions.push("state = 'open'".to_owned());
            indexed = true;
        }
        Some(AskStateKind::Answered) => conditions.push("state = 'answered'".to_owned()),
        Some(AskStateKind::Void) => conditions.push("state = 'void'".to_owned()),
    }
    let owners = [
        ("run_id", query.run.as_ref().map(Id::bytes)),
        ("task_id", query.task.as_ref().map(Id::bytes)),
        ("project_id", query.project.as_ref().map(Id::bytes)),
    ];
    for (column, id) in owners {
        if let Some(id) = id {
            // A sign before it hides a column from the planner.
            let hidden = if indexed { "+" } else { "" };
            conditions.push(format!("{hidden}{column} = ?"));
            values.push(id.into());
            indexed = true;
        }
    }
    if let Some(before) = query.before {
        conditions.push("id < ?".to_owned());
        values.push(before.bytes().into());
    }
    values.push((i64::from(query.limit) + 1).into());
    let sql = format!(
        "SELECT * FROM ask WHERE {} ORDER BY id DESC LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

pub(crate) fn page<T>(
    rows: &[QueryResult],
    limit: u32,
    read: impl Fn(&QueryResult) -> Result<T>,
) -> Result<Page<T>> {
    let limit = limit as usize;
    Ok(Page {
        items: rows.iter().take(limit).map(read).collect::<Result<_>>()?,
        more: rows.len() > limit,
    })
}
