//! What happened over a time: a statement for each kind of thing, along the index of its moments.

use std::time::Duration;

use ccm_core::Result;
use ccm_core::run::Usage;
use ccm_core::stats::{Bucket, StatsQuery};
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;

use crate::error::{corrupt, from_db};
use crate::reader::Reader;
use crate::values::{Id, count, length};

/// Of what a time is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// Tasks that were accepted.
    Created,
    /// Tasks that ended.
    Ended,
    /// Tasks that were started for the first time.
    Started,
    /// Runs that ended.
    Runs,
}

impl Reader {
    pub(crate) async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>> {
        let mut buckets = vec![Bucket::default(); query.span.buckets() as usize];
        for of in [Of::Created, Of::Ended, Of::Started, Of::Runs] {
            let (sql, values) = statement(of, query);
            for row in self.all(&sql, values).await? {
                let row = Row(&row);
                let at = usize::try_from(row.number("bucket")?).ok();
                let bucket = at.and_then(|at| buckets.get_mut(at));
                note(of, &row, bucket.ok_or_else(|| corrupt("moment"))?)?;
            }
        }
        Ok(buckets)
    }
}

fn note(of: Of, row: &Row<'_>, bucket: &mut Bucket) -> Result<()> {
    match of {
        Of::Created => bucket.created = row.number("tasks")?,
        Of::Ended => {
            bucket.succeeded = row.number("succeeded")?;
            bucket.failed = row.number("failed")?;
            bucket.cancelled = row.number("cancelled")?;
        }
        Of::Started => {
            bucket.started = row.number("tasks")?;
            bucket.waited = row.length("waited")?;
            bucket.waited_most = row.length("waited_most")?;
        }
        Of::Runs => {
            bucket.runs = row.number("runs")?;
            bucket.cost_usd = row.0.try_get("", "cost_usd").map_err(from_db)?;
            bucket.usage = Usage {
                input_tokens: row.number("input_tokens")?,
                output_tokens: row.number("output_tokens")?,
                cache_read_tokens: row.number("cache_read_tokens")?,
                cache_write_tokens: row.number("cache_write_tokens")?,
            };
        }
    }
    Ok(())
}

struct Row<'a>(&'a QueryResult);

impl Row<'_> {
    fn number(&self, column: &str) -> Result<u64> {
        count(self.0.try_get("", column).map_err(from_db)?)
    }

    fn length(&self, column: &str) -> Result<Duration> {
        length(self.0.try_get("", column).map_err(from_db)?)
    }
}

/// The statement, with a value for each `?`.
pub(crate) fn statement(of: Of, query: &StatsQuery) -> (String, Vec<Value>) {
    // What is waited for begins when a task is accepted, or when it may start at all if that is later.
    const WAITED: &str =
        "max(0, run.started_at - max(task.created_at, coalesce(task.not_before, task.created_at)))";
    let (moment, figures, from, first) = match of {
        Of::Created => (
            "task.created_at",
            "COUNT(*) AS tasks".to_owned(),
            "task",
            "",
        ),
        Of::Ended => (
            "task.ended_at",
            "SUM(task.state = 'succeeded') AS succeeded, SUM(task.state = 'failed') AS failed, \
             SUM(task.state = 'cancelled') AS cancelled"
                .to_owned(),
            "task",
            "",
        ),
        Of::Started => (
            "run.started_at",
            format!("COUNT(*) AS tasks, SUM({WAITED}) AS waited, MAX({WAITED}) AS waited_most"),
            "run JOIN task ON task.id = run.task_id",
            " AND NOT EXISTS (SELECT 1 FROM run AS earlier WHERE earlier.task_id = run.task_id \
             AND earlier.id < run.id AND earlier.started_at IS NOT NULL)",
        ),
        Of::Runs => (
            "run.finished_at",
            "COUNT(*) AS runs, SUM(coalesce(run.cost_usd, 0.0)) AS cost_usd, \
             SUM(run.input_tokens) AS input_tokens, SUM(run.output_tokens) AS output_tokens, \
             SUM(run.cache_read_tokens) AS cache_read_tokens, \
             SUM(run.cache_write_tokens) AS cache_write_tokens"
                .to_owned(),
            "run",
            "",
        ),
    };
    let table = moment.split('.').next().unwrap_or_default();
    let span = &query.span;
    let (begin, end) = (span.from().as_micros(), span.to().as_micros());
    let mut values: Vec<Value> = vec![
        begin.into(),
        i64::from(span.buckets()).into(),
        span.micros().into(),
        begin.into(),
        end.into(),
    ];
    // A sign before it hides a column from the planner: the moments are what is searched by.
    let project = query.project.map(|project| {
        values.push(project.bytes().into());
        format!(" AND +{table}.project_id = ?")
    });
    let sql = format!(
        "SELECT ({moment} - ?) * ? / ? AS bucket, {figures} FROM {from} \
         WHERE {moment} >= ? AND {moment} < ?{}{first} GROUP BY bucket",
        project.unwrap_or_default()
    );
    (sql, values)
}
