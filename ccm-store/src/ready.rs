//! What is ready to run, at a cost that does not depend on the length of the queue.

use ccm_core::Result;
use ccm_core::id::TaskId;
use ccm_core::scheduler::{Candidate, Wants};
use ccm_core::store::{Ready, ReadyProject};
use ccm_core::task::Rank;
use ccm_core::time::Timestamp;
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;

use crate::error::{corrupt, from_db};
use crate::projects::ProjectRecord;
use crate::reader::Reader;
use crate::values::{Id, date, from_json};

/// The present answer, and whether the writer should tidy up for the next one.
pub(crate) struct ReadyNow {
    pub(crate) ready: Ready,
    /// Whether tasks whose date has come are still in the index of dates. The answer is right with them, but it costs
    /// more the more there are.
    pub(crate) promote: bool,
}

impl Reader {
    pub(crate) async fn ready(&self, now: Timestamp, per_project: u32) -> Result<ReadyNow> {
        let (sql, values) = query(now, per_project);
        let rows = self.all(&sql, values).await?;
        let mut answer = ReadyNow {
            ready: Ready::default(),
            promote: false,
        };
        let id = |row: &QueryResult| row.try_get::<Vec<u8>>("", "id").map_err(from_db);
        let mut rest = rows.as_slice();
        while let Some(first) = rest.first() {
            let project = id(first)?;
            let mut own = Vec::new();
            let mut length = 0;
            for row in rest {
                if id(row)? != project {
                    break;
                }
                length += 1;
                answer.promote |= row
                    .try_get::<Option<bool>>("", "task_dated")
                    .map_err(from_db)?
                    == Some(true);
                own.extend(candidate(row)?);
            }
            rest = rest.get(length..).unwrap_or_default();
            let due: Option<i64> = first.try_get("", "next_due").map_err(from_db)?;
            answer.ready.next_due = match (answer.ready.next_due, date(due)) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let candidates = choose(own, per_project as usize);
            if !candidates.is_empty() {
                let record = ProjectRecord::read(first)?;
                answer.ready.projects.push(ReadyProject {
                    project: record.project,
                    agent: record.agent,
                    last_started: record.last_started,
                    candidates,
                });
            }
        }
        Ok(answer)
    }
}

/// One statement, so that projects and tasks are of one moment. Each part is a walk along an index that stops after
/// `per_project`: what is blocked, not due or for another machine is in none of the
/// indexes that are walked.
pub(crate) fn query(now: Timestamp, per_project: u32) -> (String, Vec<Value>) {
    const READY: &str = "project_id = project.id AND state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 0 \
         AND (due_at IS NULL OR due_at <= ?)";
    const COME: &str = "project_id = project.id AND state = 'queued' AND open_blockers = 0 AND fits = 1 AND dated = 1 \
         AND due_at <= ?";
    const BY_PRIORITY: &str = "priority DESC, rank, id";
    const BY_RANK: &str = "rank, id";
    let mut values: Vec<Value> = vec![now.as_micros().into()];
    let parts: Vec<String> = [
        ("task_urgent", READY, BY_PRIORITY),
        ("task_oldest", READY, BY_RANK),
        ("task_dated", COME, BY_PRIORITY),
        ("task_dated", COME, BY_RANK),
    ]
    .into_iter()
    .map(|(index, condition, order)| {
        values.push(now.as_micros().into());
        values.push(i64::from(per_project).into());
        format!("SELECT id FROM (SELECT id FROM task INDEXED BY {index} WHERE {condition} ORDER BY {order} LIMIT ?)")
    })
    .collect();
    let sql = format!(
        "SELECT project.*, \
         (SELECT MIN(due_at) FROM task WHERE project_id = project.id AND state = 'queued' AND open_blockers = 0 \
          AND fits = 1 AND due_at IS NOT NULL AND due_at > ?) AS next_due, \
         ready.id AS task_id, ready.priority AS task_priority, ready.rank AS task_rank, \
         ready.due_at AS task_due_at, ready.dated AS task_dated, ready.tags AS task_tags, \
         ready.system_type AS task_system_type \
         FROM project LEFT JOIN task AS ready ON ready.id IN ({}) \
         WHERE project.removed_at IS NULL AND project.paused = 0 AND project.queued > 0 \
         ORDER BY project.id",
        parts.join(" UNION ALL ")
    );
    (sql, values)
}

/// The first by priority and rank, then those of the lowest ranks that are not among them.
fn choose(mut tasks: Vec<Candidate>, per_project: usize) -> Vec<Candidate> {
    tasks.sort_by_key(|task| (task.rank, task.task));
    tasks.dedup_by_key(|task| task.task);
    let mut oldest = tasks.clone();
    oldest.truncate(per_project);
    tasks.sort_by_key(|task| std::cmp::Reverse(task.priority));
    tasks.truncate(per_project);
    oldest.retain(|old| !tasks.iter().any(|task| task.task == old.task));
    tasks.extend(oldest);
    tasks
}

/// The task of a row, unless the project has none that is ready.
fn candidate(row: &QueryResult) -> Result<Option<Candidate>> {
    let id: Option<Vec<u8>> = row.try_get("", "task_id").map_err(from_db)?;
    let Some(id) = id else {
        return Ok(None);
    };
    let tags: String = row.try_get("", "task_tags").map_err(from_db)?;
    let kind: Option<String> = row.try_get("", "task_system_type").map_err(from_db)?;
    let rank: i64 = row.try_get("", "task_rank").map_err(from_db)?;
    let due: Option<i64> = row.try_get("", "task_due_at").map_err(from_db)?;
    Ok(Some(Candidate {
        task: TaskId::read(&id)?,
        priority: row.try_get("", "task_priority").map_err(from_db)?,
        rank: Rank::from_number(rank),
        due_at: date(due),
        wants: Wants {
            tags: from_json(&tags, "list of tags")?,
            system_type: kind
                .map(|kind| kind.parse().map_err(|_| corrupt("system type")))
                .transpose()?,
        },
    }))
}
