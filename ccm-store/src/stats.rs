//! What happened over a time, along the indexes of its moments.
//!
//! Each part of the time has a statement of its own: nothing has to be sorted, and between two of them others have their
//! turn.

use std::time::Duration;

use ccm_core::Result;
use ccm_core::run::Usage;
use ccm_core::stats::{Bucket, StatsQuery};
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;

use crate::error::{corrupt, from_db};
use crate::reader::Reader;
use crate::values::{Id, count, length};

impl Reader {
    pub(crate) async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>> {
        let mut buckets = Vec::with_capacity(query.span.buckets() as usize);
        for at in 0..query.span.buckets() {
            let (sql, values) = statement(query, at);
            let row = self.first(&sql, values).await?;
            buckets.push(read(&row.ok_or_else(|| corrupt("figures"))?)?);
        }
        Ok(buckets)
    }
}

fn read(row: &QueryResult) -> Result<Bucket> {
    let number = |column: &str| count(row.try_get("", column).map_err(from_db)?);
    let length =
        |column: &str| -> Result<Duration> { length(row.try_get("", column).map_err(from_db)?) };
    Ok(Bucket {
        created: number("created")?,
        succeeded: number("succeeded")?,
        failed: number("failed")?,
        cancelled: number("cancelled")?,
        started: number("started")?,
        waited: length("waited")?,
        waited_most: length("waited_most")?,
        runs: number("runs")?,
        cost_usd: row.try_get("", "cost_usd").map_err(from_db)?,
        usage: Usage {
            input_tokens: number("input_tokens")?,
            output_tokens: number("output_tokens")?,
            cache_read_tokens: number("cache_read_tokens")?,
            cache_write_tokens: number("cache_write_tokens")?,
        },
    })
}

/// The statement for a part of the time, with a value for each `?`. It is the same for every part.
pub(crate) fn statement(query: &StatsQuery, bucket: u32) -> (String, Vec<Value>) {
    let (from, to) = (query.span.start(bucket), query.span.start(bucket + 1));
    let mut values: Vec<Value> = Vec::new();
    let mut within = |moment: &str| {
        values.extend([from, to].map(|moment| Value::from(moment.as_micros())));
        let table = moment.split('.').next().unwrap_or_default();
        // A sign before it hides a column from the planner: the moments are what is searched by.
        let project = query.project.map(|project| {
            values.push(project.bytes().into());
            format!(" AND +{table}.project_id = ?")
        });
        let project = project.unwrap_or_default();
        format!("{moment} >= ? AND {moment} < ?{project}")
    };
    let (created, ended) = (within("task.created_at"), within("task.ended_at"));
    let (started, finished) = (within("run.started_at"), within("run.finished_at"));
    let state = |state: &str| format!("COUNT(*) FILTER (WHERE state = '{state}') AS {state}");
    let (succeeded, failed, cancelled) = (state("succeeded"), state("failed"), state("cancelled"));
    let sum = |column: &str| format!("coalesce(SUM({column}), 0) AS {column}");
    let tokens = [
        sum("input_tokens"),
        sum("output_tokens"),
        sum("cache_read_tokens"),
        sum("cache_write_tokens"),
    ]
    .join(", ");
    let sql = format!(
        "SELECT * FROM (SELECT COUNT(*) AS created FROM task WHERE {created}), \
         (SELECT {succeeded}, {failed}, {cancelled} FROM task WHERE {ended}), \
         (SELECT COUNT(*) AS started, coalesce(SUM({WAITED}), 0) AS waited, \
          coalesce(MAX({WAITED}), 0) AS waited_most \
          FROM run JOIN task ON task.id = run.task_id WHERE {started} AND NOT EXISTS ({EARLIER})), \
         (SELECT COUNT(*) AS runs, total(cost_usd) AS cost_usd, {tokens} FROM run WHERE {finished})"
    );
    (sql, values)
}

/// How long a task waited for its start: since it was accepted, or since it may start at all if that is later.
const WAITED: &str =
    "max(0, run.started_at - max(task.created_at, coalesce(task.not_before, task.created_at)))";

/// A run of the same task that was started before.
const EARLIER: &str = "SELECT 1 FROM run AS earlier WHERE earlier.task_id = run.task_id \
                       AND earlier.id < run.id AND earlier.started_at IS NOT NULL";
