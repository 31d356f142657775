//! Looks for the place in a queue that a task is moved to.

use ccm_core::Result;
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::store::TaskMove;
use ccm_core::task::{Gap, Place, Rank, Side, Spot};
use ccm_core::time::Timestamp;
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;
use sea_orm::sqlx::Sqlite;
use sea_orm::sqlx::pool::PoolConnection;

use super::Trouble;
use super::script::Script;
use super::work::Work;
use crate::error::from_db;
use crate::values::{Id, date};

/// How many of those after the gap are looked up at first. More are needed only when there is no room for long.
const LOOKED_UP: u32 = 64;

/// A look along the queue of a project, from a place in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// The first of all.
    First,
    /// The last of all.
    Last,
    /// Of those of this priority, the last before this place.
    Before(Spot),
    /// Of those of this priority, the first from this place on.
    From(Spot),
    /// Of those of this priority, the first after this place.
    After(Spot),
}

/// What looks along a queue without the task `but`, at most `limit` far.
pub(crate) fn statement(
    project: ProjectId,
    look: Look,
    but: TaskId,
    limit: u32,
) -> (String, Vec<Value>) {
    let (compare, order) = match look {
        Look::First => (None, "priority DESC, rank, id"),
        Look::Last => (None, "priority, rank DESC, id DESC"),
        Look::Before(spot) => (Some(("<", spot)), "rank DESC, id DESC"),
        Look::From(spot) => (Some((">=", spot)), "rank, id"),
        Look::After(spot) => (Some((">", spot)), "rank, id"),
    };
    let mut values = vec![project.bytes().into(), but.bytes().into()];
    let beyond = compare.map(|(sign, spot)| {
        values.push(spot.priority.into());
        values.push(spot.rank.as_number().into());
        values.push(spot.task.bytes().into());
        format!("AND priority = ? AND (rank, id) {sign} (?, ?)")
    });
    values.push(i64::from(limit).into());
    let sql = format!(
        "SELECT priority, rank, id FROM task WHERE project_id = ? AND state = 'queued' AND id <> ? {} \
         ORDER BY {order} LIMIT ?",
        beyond.unwrap_or_default()
    );
    (sql, values)
}

/// What looks for the age of what has waited longest of all that is ready, without the task `but`.
pub(crate) fn oldest(project: ProjectId, but: TaskId, now: Timestamp) -> (String, Vec<Value>) {
    const READY: &str = "project_id = ? AND state = 'queued' AND open_blockers = 0 AND fits = 1";
    let sql = format!(
        "SELECT (SELECT rank FROM task INDEXED BY task_oldest WHERE {READY} AND dated = 0 AND id <> ? \
         AND (due_at IS NULL OR due_at <= ?) ORDER BY rank, id LIMIT 1) AS rank, \
         (SELECT due_at FROM task INDEXED BY task_dated WHERE {READY} AND dated = 1 AND id <> ? AND due_at <= ? \
         ORDER BY due_at LIMIT 1) AS due_at"
    );
    let half: [Value; 3] = [
        project.bytes().into(),
        but.bytes().into(),
        now.as_micros().into(),
    ];
    (sql, [half.clone(), half].concat())
}

/// The gap that `wish` means, with as many after it as are needed; `None` if nobody is there to be next to, or if the
/// wish will be refused.
pub(super) async fn look(
    work: &Work,
    wish: &TaskMove,
    connection: &mut PoolConnection<Sqlite>,
) -> Result<Option<Gap>, Trouble> {
    let Some(task) = work.tasks.get(&wish.id) else {
        return Ok(None);
    };
    let project = task.get().task.project_id;
    let mut along = async |look, limit| {
        let rows = run(connection, statement(project, look, wish.id, limit)).await?;
        rows.iter()
            .map(read)
            .collect::<Result<Vec<Spot>, Trouble>>()
    };
    let gap = |priority, low, high, complete, side| Gap {
        priority,
        low,
        high,
        complete,
        side,
    };
    let Some((other, _)) = wish.place.neighbour() else {
        let first = wish.place == Place::First;
        let end = if first { Look::First } else { Look::Last };
        let Some(end) = along(end, 1).await?.pop() else {
            return Ok(None);
        };
        if !first {
            let side = Side::Last(wish.now);
            return Ok(Some(gap(end.priority, Some(end), Vec::new(), true, side)));
        }
        let rows = run(connection, oldest(project, wish.id, wish.now)).await?;
        let mut oldest = None;
        for row in &rows {
            let rank: Option<i64> = row.try_get("", "rank").map_err(from_db)?;
            let due: Option<i64> = row.try_get("", "due_at").map_err(from_db)?;
            let due = date(due).map(Rank::of);
            oldest = [rank.map(Rank::from_number), due]
                .into_iter()
                .flatten()
                .min();
        }
        let side = Side::First(oldest);
        return Ok(Some(gap(end.priority, None, vec![end], true, side)));
    };
    let Some(other) = work.tasks.get(&other).map(|row| row.get().task.spot()) else {
        return Ok(None);
    };
    let (low, after, side) = match wish.place {
        Place::Before(_) => {
            let low = along(Look::Before(other), 1).await?.pop();
            (low, Look::From(other), Side::High)
        }
        _ => (Some(other), Look::After(other), Side::Low),
    };
    let mut limit = LOOKED_UP;
    loop {
        let high = along(after, limit).await?;
        let complete = high.len() < limit as usize;
        let gap = gap(other.priority, low, high, complete, side);
        if complete || gap.fit().is_some() {
            return Ok(Some(gap));
        }
        limit *= 4;
    }
}

async fn run(
    connection: &mut PoolConnection<Sqlite>,
    (sql, values): (String, Vec<Value>),
) -> Result<Vec<QueryResult>, Trouble> {
    let mut script = Script::default();
    script.push(&sql, values);
    Ok(script.run(connection).await?)
}

fn read(row: &QueryResult) -> Result<Spot, Trouble> {
    let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
    let rank: i64 = row.try_get("", "rank").map_err(from_db)?;
    Ok(Spot {
        priority: row.try_get("", "priority").map_err(from_db)?,
        rank: Rank::from_number(rank),
        task: TaskId::read(&id)?,
    })
}
