//! The log, as readers see it.

use ccm_core::Result;
use ccm_core::event::Event;
use ccm_core::id::{LogId, Seq};
use ccm_core::store::{EventQuery, LogRange};
use ccm_core::time::Timestamp;
use sea_orm::sea_query::Value;
use sea_orm::{FromQueryResult, QueryResult};

use crate::entity::{event, meta};
use crate::error::{corrupt, from_db};
use crate::reader::Reader;
use crate::values::{Id, column, count, from_json, optional_id};

impl Reader {
    pub(crate) async fn log(&self) -> Result<LogRange> {
        let row = self
            .first("SELECT * FROM meta", vec![])
            .await?
            .ok_or_else(|| corrupt("state of its own"))?;
        let meta = meta::Model::from_query_result(&row, "").map_err(from_db)?;
        Ok(LogRange {
            log: LogId::read(&meta.log_id)?,
            pruned: Seq(count(meta.pruned_seq)?),
            head: Seq(count(meta.last_seq)?),
        })
    }

    pub(crate) async fn events(&self, query: &EventQuery) -> Result<Vec<Event>> {
        let (sql, values) = event_page(query);
        self.all(&sql, values).await?.iter().map(read).collect()
    }
}

/// A page of the log. A run's lines are found by its task, of which there are few more.
pub(crate) fn event_page(query: &EventQuery) -> (String, Vec<Value>) {
    let mut conditions = vec!["seq > ?".to_owned()];
    let mut values: Vec<Value> = vec![column(query.after.0).into()];
    // One index is enough; the narrower one is named by hiding the other column from the planner.
    let narrow = query.task.is_some() || query.run.is_some();
    if let Some(project) = query.project {
        conditions.push(
            if narrow {
                "+project_id = ?"
            } else {
                "project_id = ?"
            }
            .to_owned(),
        );
        values.push(project.bytes().into());
    }
    if let Some(task) = query.task {
        conditions.push("task_id = ?".to_owned());
        values.push(task.bytes().into());
    }
    if let Some(run) = query.run {
        if query.task.is_none() {
            conditions.push("task_id = (SELECT task_id FROM run WHERE id = ?)".to_owned());
            values.push(run.bytes().into());
        }
        conditions.push("run_id = ?".to_owned());
        values.push(run.bytes().into());
    }
    if !query.kinds.is_empty() {
        let marks = vec!["?"; query.kinds.len()].join(", ");
        conditions.push(format!("kind IN ({marks})"));
        values.extend(query.kinds.iter().map(|kind| Value::from(kind.as_str())));
    }
    values.push(i64::from(query.limit).into());
    let sql = format!(
        "SELECT * FROM event WHERE {} ORDER BY seq LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

fn read(row: &QueryResult) -> Result<Event> {
    let model = event::Model::from_query_result(row, "").map_err(from_db)?;
    Ok(Event {
        seq: Seq(count(model.seq)?),
        time: Timestamp::from_micros(model.time),
        kind: model.kind.parse().map_err(|_| corrupt("kind of event"))?,
        project_id: optional_id(model.project_id.as_ref())?,
        task_id: optional_id(model.task_id.as_ref())?,
        run_id: optional_id(model.run_id.as_ref())?,
        agent_id: optional_id(model.agent_id.as_ref())?,
        data: from_json(&model.data, "event")?,
    })
}
